//! Copies of the logs reach their receivers: a real rsyslog that is killed in the middle, files that are rotated away, programs
//! that die, receivers that hang or are not there. Nothing is missing afterwards, and nobody who takes codes notices.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::Client;
use strongroom_proto::method::agent::{Status, StatusResult};
use strongroom_proto::method::code::Release;
use strongroom_proto::method::session::Whoami;
use strongroom_proto::words::OrgRole;
use strongroom_tests::clients::Clients;
use strongroom_tests::people::Person;
use strongroom_tests::receivers::{Input, Received, Rsyslog, check, json, messages, syslog};
use strongroom_tests::trail::{Entry, read_log};

/// How long everything may take to arrive once the receiver is there.
const PATIENCE: Duration = Duration::from_secs(90);
/// Clients that take codes at once.
const TAKERS: usize = 8;

/// Releases of the long tests; `STRONGROOM_STREAM_RELEASES=20000` makes it a soak.
fn releases() -> usize {
    std::env::var("STRONGROOM_STREAM_RELEASES").ok().and_then(|count| count.parse().ok()).unwrap_or(3_000)
}

fn release(account: &str, ticket: Option<&str>) -> Release {
    Release {
        account: account.parse().unwrap(),
        reason: None,
        ticket: ticket.map(str::to_owned),
        min_remaining_s: None,
        step_up: None,
    }
}

/// Takes so many codes with several clients, half of them in either vault, and gives the slowest.
async fn take(tech: &Person, count: usize) -> Duration {
    let mut tasks = Vec::new();
    for number in 0..TAKERS {
        let mut client = tech.connect().await;
        let call = release(if number % 2 == 0 { "acme/slow" } else { "bluewater/vpn" }, None);
        tasks.push(tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            for _ in 0..count / TAKERS {
                let begun = Instant::now();
                client.call(&call).await.unwrap();
                slowest = slowest.max(begun.elapsed());
            }
            slowest
        }));
    }
    let mut slowest = Duration::ZERO;
    for task in tasks {
        slowest = slowest.max(task.await.unwrap());
    }
    slowest
}

async fn auditor(clients: &mut Clients) -> Person {
    clients.organisation.enrol(&mut clients.admin, "auditor", &[OrgRole::Auditor]).await
}

async fn logs(auditor: &Person) -> Vec<Vec<Entry>> {
    let mut reader = auditor.connect().await;
    let mut logs = Vec::new();
    for vault in [None, Some("acme"), Some("bluewater")] {
        logs.push(read_log(&mut reader, vault).await);
    }
    logs
}

/// Waits until everything of the logs has come; gives how much of it came twice.
async fn arrived(logs: &[Vec<Entry>], read: impl Fn() -> Vec<Received>) -> usize {
    let begun = Instant::now();
    loop {
        match check(&read(), logs) {
            Ok(repeated) => return repeated,
            Err(missing) => assert!(begun.elapsed() < PATIENCE, "{missing}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn status(client: &mut Client) -> StatusResult {
    client.call(&Status {}).await.unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Streams into rsyslog, which is killed while codes are taken and started again.
async fn through_rsyslog(input: Input, to: &str, folder: &Path, count: usize) {
    let out = folder.join("received");
    let rsyslog = Rsyslog::start(folder, &input, &out);
    let mut clients = Clients::found().await;
    let auditor = auditor(&mut clients).await;
    clients.organisation.configure(&format!("[[stream]]\nname = \"siem\"\nformat = \"rfc5424\"\nto = \"{to}\"\n"));
    let tech = clients.tech.clone();
    let taking = tokio::spawn(async move { take(&tech, count).await });
    // In the middle of the load: once some of it has come.
    let begun = Instant::now();
    while messages(&[&out], syslog).len() < count / 10 {
        assert!(begun.elapsed() < PATIENCE, "nothing comes: {}", clients.organisation.running().log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rsyslog.kill();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let rsyslog = Rsyslog::start(folder, &input, &out);
    let slowest = taking.await.unwrap();
    let logs = logs(&auditor).await;
    let total: usize = logs.iter().map(Vec::len).sum();
    assert!(total > count, "{total} records");
    let repeated = arrived(&logs, || messages(&[&out], syslog)).await;
    println!("{total} records, {repeated} sent again, the slowest release {} ms", slowest.as_millis());
    assert!(repeated > 0, "what the killed receiver had in memory was sent again");
    // A restart in order sends again what lies within the last 256 KiB, and marks it.
    clients.organisation.restart();
    let logs = self::logs(&auditor).await;
    arrived(&logs, || messages(&[&out], syslog)).await;
    rsyslog.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missing_after_rsyslog_was_killed_on_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    through_rsyslog(Input::Tcp(port), &format!("tcp:127.0.0.1:{port}"), folder.path(), releases()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missing_after_rsyslog_was_killed_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let to = format!("unix:{}", socket.display());
    through_rsyslog(Input::Unix(socket), &to, folder.path(), releases() / 3).await;
}

fn file_stream(name: &str, path: &Path, more: &str) -> String {
    let path = path.display();
    format!("[[stream]]\nname = \"{name}\"\nformat = \"json\"\nto = \"file:{path}\"\n{more}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_survive_rotation_and_a_killed_agent_and_hold_no_other_vaults_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (all, acme, named, ocsf) = (path("all"), path("acme"), path("named"), path("ocsf"));
    let mut clients = Clients::found().await;
    let auditor = auditor(&mut clients).await;
    let sections = [
        file_stream("all", &all, ""),
        file_stream("acme", &acme, "logs = [\"acme\"]"),
        file_stream("named", &named, "openings = true"),
        file_stream("ocsf", &ocsf, "").replace("json", "ocsf"),
    ];
    clients.organisation.configure(&sections.concat());
    let call = release("acme/slow", Some("INC-4711-canary"));
    clients.tech.connect().await.call(&call).await.unwrap();
    take(&clients.tech, 400).await;
    let rotated = path("all.1");
    std::fs::rename(&all, &rotated).unwrap();
    take(&clients.tech, 400).await;
    // In the middle of the load.
    let tech = clients.tech.clone();
    let taking = tokio::spawn(async move {
        let mut client = tech.connect().await;
        while client.call(&release("acme/slow", None)).await.is_ok() {}
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    clients.organisation.running().kill();
    taking.await.unwrap();
    clients.organisation.start();
    take(&clients.tech, 80).await;

    let logs = logs(&auditor).await;
    let repeated = arrived(&logs, || messages(&[&rotated, &all], json)).await;
    println!("{repeated} records were written again after the kill");
    assert!(!messages(&[&rotated], json).is_empty() && !messages(&[&all], json).is_empty(), "both files have records");
    arrived(&logs[1..2], || messages(&[&acme], json)).await;
    arrived(&logs, || messages(&[&named], json)).await;
    // Nothing of another log in a vault's stream: neither its origin nor any id that it names.
    let copy = std::fs::read_to_string(&acme).unwrap();
    let bluewater = &logs[2][0].record.log;
    let vault = bluewater.rsplit('/').next().unwrap();
    let accounts = logs[2].iter().filter_map(|entry| entry.record.target.account).map(|account| account.to_string());
    let mut foreign: Vec<String> = accounts.collect();
    foreign.extend([vault.to_owned(), logs[0][0].record.log.clone(), "bluewater".to_owned()]);
    assert!(foreign.len() > 100 && foreign.iter().all(|id| !copy.contains(id)), "another vault's ids");
    // Names and tickets only where they were asked for.
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert!(text(&named).contains("INC-4711-canary") && text(&named).contains("\"value\":\"tech\""));
    assert!([&all, &rotated, &acme, &ocsf].iter().all(|path| !text(path).contains("INC-4711-canary")));
    let bytes: Vec<&str> = logs[1].iter().map(|entry| entry.leaf.as_str()).collect();
    let events = text(&ocsf);
    assert!(bytes.iter().all(|leaf| events.contains(leaf)), "every record as an event");
    let event: serde_json::Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    assert_eq!(event["metadata"]["version"], "1.8.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_dies_is_started_again_and_gets_what_it_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (out, died) = (folder.path().join("out"), folder.path().join("died"));
    let mut clients = Clients::found().await;
    let auditor = auditor(&mut clients).await;
    take(&clients.tech, 400).await;
    // The first time it reads more than it writes, and dies of it.
    let script = format!(
        "if [ -e {died} ]; then exec cat >> {out}; fi; touch {died}; head -n 100 >> {out}; exit 3",
        died = died.display(),
        out = out.display()
    );
    let section = format!(
        "[[stream]]\nname = \"pipe\"\nformat = \"json\"\nto = \"command:\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n"
    );
    clients.organisation.configure(&section);
    take(&clients.tech, 400).await;
    let logs = logs(&auditor).await;
    let repeated = arrived(&logs, || messages(&[&out], json)).await;
    assert!(repeated >= 100, "the first lines came twice: {repeated}");
    let log = clients.organisation.running().log();
    assert!(died.exists() && log.contains("a stream is broken"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_slows_down_neither_releases_nor_another_stream() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fine");
    // It takes connections, by the kernel alone, and never reads.
    let hangs = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = hangs.local_addr().unwrap().port();
    let mut clients = Clients::found().await;
    let auditor = auditor(&mut clients).await;
    let before = Instant::now();
    take(&clients.tech, 1_600).await;
    let before = before.elapsed();
    let hanging = format!("[[stream]]\nname = \"hangs\"\nformat = \"json\"\nto = \"tcp:127.0.0.1:{port}\"\n");
    clients.organisation.configure(&format!("{hanging}\n{}", file_stream("fine", &file, "")));
    let with = Instant::now();
    let slowest = take(&clients.tech, 1_600).await;
    let with = with.elapsed();
    println!("1,600 releases took {} ms, beside a hanging receiver {} ms", before.as_millis(), with.as_millis());
    assert!(with < before * 4 + Duration::from_secs(2), "{with:?} after {before:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let logs = logs(&auditor).await;
    arrived(&logs, || messages(&[&file], json)).await;
    let begun = Instant::now();
    assert!(clients.organisation.running().stop().success());
    assert!(begun.elapsed() < Duration::from_secs(15), "a hanging receiver does not keep the agent from stopping");
    drop(hangs);
}

/// Reads what comes behind lengths (RFC 6587) until the other side ends.
fn frames(stream: TcpStream, out: &Path) {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let mut reader = BufReader::new(stream);
    let mut file = std::fs::File::options().create(true).append(true).open(out).unwrap();
    loop {
        let mut length = Vec::new();
        if reader.read_until(b' ', &mut length).unwrap_or(0) == 0 {
            return;
        }
        let length: usize =
            String::from_utf8(length).unwrap().trim().parse().expect("a length stands before a message");
        let mut message = vec![0; length];
        if reader.read_exact(&mut message).is_err() {
            return;
        }
        file.write_all(&[&message[..], b"\n"].concat()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_receiver_is_told_once_and_so_is_its_return() {
    let folder = tempfile::tempdir().unwrap();
    let out: PathBuf = folder.path().join("received");
    let port = free_port();
    let mut clients = Clients::found().await;
    let auditor = auditor(&mut clients).await;
    clients.organisation.configure(&format!(
        "[[stream]]\nname = \"acme-siem\"\nformat = \"rfc5424\"\nto = \"tcp:127.0.0.1:{port}\"\nalert_after_s = 3\n"
    ));
    let is = |event: &str, entry: &Entry| entry.record.event == event;
    let count = async |event: &str| {
        let entries = read_log(&mut auditor.connect().await, None).await;
        entries.iter().filter(|entry| is(event, entry)).count()
    };
    let begun = Instant::now();
    while count("stream.behind").await == 0 {
        assert!(begun.elapsed() < PATIENCE, "nobody is told");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let mut reader = auditor.connect().await;
    let told = status(&mut reader).await;
    let stream = &told.streams[0];
    assert_eq!((stream.name.as_str(), stream.connected), ("acme-siem", false));
    assert!(stream.records_behind > 10 && stream.behind_s >= 3, "{stream:?}");
    assert!(stream.last_error.as_ref().unwrap().contains("refused"), "{stream:?}");
    assert!(told.overdue.iter().any(|sentence| sentence.contains("acme-siem")), "{:?}", told.overdue);
    let notices = reader.call(&Whoami {}).await.unwrap().session.notices;
    assert!(notices.iter().any(|notice| notice.contains("acme-siem")), "{notices:?}");
    let text = auditor.succeed(&["status", "--streams"]);
    assert!(text.contains("stream        acme-siem, NOT connected"), "{text}");
    // Who reads no trail learns that a copy is behind, not which.
    let mut tech = clients.tech.connect().await;
    let mut nobody = Client::connect(&clients.organisation.launch.socket).await.unwrap();
    for told in [status(&mut tech).await, status(&mut nobody).await] {
        assert!(told.streams.is_empty());
        assert!(told.overdue.iter().any(|sentence| sentence.contains("a copy of the trail")), "{:?}", told.overdue);
        assert!(!told.overdue.concat().contains("acme-siem"), "{:?}", told.overdue);
    }
    assert!(tech.call(&Whoami {}).await.unwrap().session.notices.iter().all(|notice| !notice.contains("siem")));
    // The same outage after a restart, and after its own record has waited longer than it may.
    clients.organisation.restart();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(count("stream.behind").await, 1, "once in an outage");

    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let path = out.clone();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| frames(stream, &path)));
    let begun = Instant::now();
    while count("stream.caught_up").await == 0 {
        assert!(begun.elapsed() < PATIENCE, "nobody is told that it is over");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((count("stream.behind").await, count("stream.caught_up").await), (1, 1));
    let logs = logs(&auditor).await;
    arrived(&logs, || messages(&[&out], syslog)).await;
    let alarm = logs[0].iter().find(|entry| is("stream.behind", entry)).unwrap();
    assert_eq!(alarm.record.outcome, RecordOutcome::Failed);
    assert!(alarm.record.detail.contains_key("alert") && alarm.record.detail["stream"] == "acme-siem");
    let over = logs[0].iter().find(|entry| is("stream.caught_up", entry)).unwrap();
    assert!(over.record.detail["behind_s"].as_u64().unwrap() >= 5);
    let told = status(&mut auditor.connect().await).await;
    assert!(told.streams[0].connected && told.streams[0].last_error.is_none(), "{:?}", told.streams);
    assert!(told.overdue.iter().all(|sentence| !sentence.contains("siem")), "{:?}", told.overdue);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_from_now_on_begins_with_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("now");
    let mut clients = Clients::found().await;
    let before = read_log(&mut clients.organisation.admin.connect().await, None).await;
    clients.organisation.configure(&file_stream("now", &file, "from = \"now\"\nlogs = [\"org\", \"acme\"]"));
    clients.tech.connect().await.call(&release("acme/slow", None)).await.unwrap();
    let begun = Instant::now();
    let released = |message: &Received| message.record.contains("\"event\":\"code.release\"");
    while !messages(&[&file], json).iter().any(released) {
        assert!(begun.elapsed() < PATIENCE, "nothing comes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let first = messages(&[&file], json).into_iter().find(|message| message.log == before[0].record.log).unwrap();
    assert!(first.seq >= before.len() as u64 && !first.resent, "{first:?}");
    // After a restart it goes on where it was, however it is said to begin.
    clients.organisation.restart();
    clients.tech.connect().await.call(&release("acme/slow", None)).await.unwrap();
    let begun = Instant::now();
    while messages(&[&file], json).iter().filter(|message| released(message)).count() < 2 {
        assert!(begun.elapsed() < PATIENCE, "nothing comes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let places: Vec<u64> =
        messages(&[&file], json).iter().filter(|message| message.log == first.log).map(|message| message.seq).collect();
    assert!(places.windows(2).all(|pair| pair[1] == pair[0] + 1), "{places:?}");
}
