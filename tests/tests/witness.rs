//! Witnesses, each another program in another language: `witness.py` signs checkpoints after it has checked for itself that each log
//! only grew. It sees a log that was rolled back, its absence is on record, and a bad one does no harm.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_tests::clients::Clients;
use strongroom_tests::tools;
use strongroom_tests::trail::read_log;

/// A witness's own folder and key.
struct Witness {
    folder: PathBuf,
    name: &'static str,
    log_key: PathBuf,
}

/// A running witness. Ended when dropped.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn script() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/witness.py").to_owned()
}

impl Witness {
    fn new(root: &Path, name: &'static str, agent_key: &str) -> Self {
        let folder = root.join(name);
        std::fs::create_dir(&folder).unwrap();
        let witness = Self { log_key: folder.join("log.pub"), folder, name };
        tools::run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", &witness.path("key")]);
        std::fs::write(witness.folder.join("agent.pub"), agent_key).unwrap();
        let pem = tools::run("ssh-keygen", &["-e", "-m", "PKCS8", "-f", &witness.path("agent.pub")]);
        std::fs::write(&witness.log_key, pem).unwrap();
        witness
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn vkey(&self) -> String {
        tools::run("python3", &[&script(), "vkey", self.name, &self.path("key")]).trim().to_owned()
    }

    fn serve(&self, lie: &[&str]) -> Served {
        let socket = self.path("socket");
        let _ = std::fs::remove_file(&socket);
        let log_key = self.log_key.display().to_string();
        let mut command = Command::new("python3");
        command.args([&script(), "serve", self.name, &self.path("key"), &log_key, &self.path("state"), &socket]);
        let served = Served(command.args(lie).stdin(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the witness does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        served
    }

    /// Its section, reached over its socket.
    fn section(&self) -> String {
        let (name, key) = (self.name, self.vkey());
        format!("[[witness]]\nname = \"{name}\"\nkey = \"{key}\"\nto = \"unix:{}\"\nevery_s = 1\n", self.path("socket"))
    }

    /// Its section, reached by a program.
    fn section_of_command(&self, lie: &[&str]) -> String {
        let log_key = self.log_key.display().to_string();
        let command = [&script()[..], "once", self.name, &self.path("key"), &log_key, &self.path("state")];
        let command: Vec<String> = std::iter::once("python3")
            .chain(command)
            .chain(lie.iter().copied())
            .map(|word| format!("{word:?}"))
            .collect();
        let (name, key, command) = (self.name, self.vkey(), command.join(", "));
        format!(
            "[[witness]]\nname = \"{name}\"\nkey = \"{key}\"\nto = \"command:\"\ncommand = [{command}]\nevery_s = 1\n"
        )
    }

    /// The sizes that it has signed, by log.
    fn signed(&self) -> serde_json::Map<String, Value> {
        let text = std::fs::read_to_string(self.folder.join("state")).unwrap_or_else(|_| "{}".to_owned());
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until it has signed this much of every log.
    async fn has_signed(&self, logs: usize, least: u64) {
        let begun = Instant::now();
        while self.signed().len() < logs || self.signed().values().any(|log| log[0].as_u64().unwrap() < least) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", self.signed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn records(clients: &Clients, event: &str) -> Vec<Record> {
    let log = read_log(&mut clients.organisation.admin.connect().await, None).await;
    log.into_iter().map(|entry| entry.record).filter(|record| record.event == event).collect()
}

async fn recorded(clients: &Clients, event: &str, count: usize) -> Vec<Record> {
    let begun = Instant::now();
    loop {
        let found = records(clients, event).await;
        if found.len() >= count {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "{} {event}", found.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn verify(folder: &str, more: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(tools::program("strongroom"));
    command.args(["audit", "verify", folder]).args(more).env_clear().env("HOME", "/nonexistent");
    let output = tools::output(&mut command);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_are_witnessed_and_exports_prove_it() {
    let mut clients = Clients::found().await;
    let root = clients.organisation.root().to_owned();
    let key = clients.organisation.agent_key();
    let (one, two) = (Witness::new(&root, "one", &key), Witness::new(&root, "two", &key));
    let stranger = Witness::new(&root, "stranger", &key);
    let served = one.serve(&[]);
    clients.organisation.configure(&format!("{}{}", one.section(), two.section_of_command(&[])));
    one.has_signed(3, 1).await;
    two.has_signed(3, 1).await;
    for _ in 0..3 {
        clients.tech.succeed(&["code", "acme/slow"]);
    }
    for witness in [&one, &two] {
        let begun = Instant::now();
        while !witness.signed().iter().any(|(log, at)| !log.ends_with("/org") && at[0].as_u64() >= Some(10)) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", witness.signed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    let out = root.join("export").display().to_string();
    clients.manager.succeed(&["audit", "export", "acme", "--out", &out]);
    let pin = root.join("pin.pub");
    std::fs::write(&pin, &key).unwrap();
    let pin = pin.display().to_string();
    let (code, said, complaint) =
        verify(&out, &["--key", &pin, "--witness", &one.vkey(), "--witness", &two.vkey(), "--json"]);
    assert_eq!(code, 0, "{complaint}");
    let said: Value = serde_json::from_str(&said).unwrap();
    let witnessed = said["witnesses"].as_array().unwrap();
    assert_eq!(witnessed.len(), 2, "{said}");
    assert!(witnessed.iter().all(|witness| witness["size"].as_u64().unwrap() >= 10), "{said}");
    assert_eq!(verify(&out, &["--key", &pin]).0, 0, "and nobody has to ask for them");
    let (code, _, complaint) = verify(&out, &["--key", &pin, "--witness", &stranger.vkey()]);
    assert!(code == 1 && complaint.contains("stranger") && complaint.contains("signed none"), "{complaint}");
    let (code, _, complaint) = verify(&out, &["--witness", "nonsense"]);
    assert!(code != 0 && complaint.contains("NAME+ID+BASE64"), "{complaint}");
    // verify.py, which knows no witnesses, takes the folder too.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/verify.py");
    assert!(tools::run("python3", &[script, &out, "--key", &pin]).starts_with("verified"));

    // Away, and back: once each on record, and codes go on.
    drop(served);
    clients.tech.succeed(&["code", "acme/slow"]);
    let away = recorded(&clients, "witness.refused", 1).await;
    assert!(away[0].outcome == RecordOutcome::Failed && away[0].detail["witness"] == "one", "{away:?}");
    assert!(away[0].detail.contains_key("alert"));
    let _served = one.serve(&[]);
    let back = recorded(&clients, "witness.back", 1).await;
    assert_eq!(back[0].detail["witness"], "one");
    // A restarted agent asks how far the witness is, and goes on from there.
    clients.organisation.restart();
    clients.tech.succeed(&["code", "acme/slow"]);
    let before = one.signed();
    let begun = Instant::now();
    while one.signed() == before {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing was witnessed after the restart");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_rolled_back_is_seen_by_its_witness() {
    let mut clients = Clients::found().await;
    let root = clients.organisation.root().to_owned();
    let witness = Witness::new(&root, "one", &clients.organisation.agent_key());
    let _served = witness.serve(&[]);
    clients.organisation.running().stop();
    let (data, copy) = (clients.organisation.data_dir.clone(), root.join("copy"));
    tools::run("cp", &["-r", &data.display().to_string(), &copy.display().to_string()]);
    clients.organisation.start();
    clients.organisation.configure(&witness.section());
    for _ in 0..5 {
        clients.tech.succeed(&["code", "acme/slow"]);
    }
    let begun = Instant::now();
    while !witness.signed().values().any(|log| log[0].as_u64() >= Some(15)) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", witness.signed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The store and its anchors are put back together: nothing on this machine can tell.
    clients.organisation.running().stop();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&copy, &data).unwrap();
    clients.organisation.start();
    let seen = recorded(&clients, "witness.refused", 1).await;
    assert!(
        seen.iter().any(|record| {
            let reason = record.detail["reason"].as_str().unwrap();
            reason.contains("rolled back") || reason.contains("another log") || reason.contains("422")
        }),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_witness_does_no_harm() {
    let mut clients = Clients::found().await;
    let root = clients.organisation.root().to_owned();
    let key = clients.organisation.agent_key();
    let lies = ["garbage", "huge", "forge", "blank", "hang"];
    let witnesses: Vec<Witness> = lies.iter().map(|lie| Witness::new(&root, lie, &key)).collect();
    let served: Vec<Served> = witnesses.iter().zip(lies).map(|(witness, lie)| witness.serve(&[lie])).collect();
    let sections: String = witnesses.iter().map(Witness::section).collect();
    clients.organisation.configure(&sections);
    clients.tech.succeed(&["code", "acme/slow"]);
    let refused = recorded(&clients, "witness.refused", 4).await;
    for (lie, words) in
        [("garbage", "does not hold"), ("huge", "too long"), ("forge", "does not hold"), ("blank", "does not hold")]
    {
        let of = refused.iter().filter(|record| record.detail["witness"] == lie);
        let reasons: Vec<&str> = of.map(|record| record.detail["reason"].as_str().unwrap()).collect();
        assert!(reasons.iter().all(|reason| reason.contains(words)), "{lie}: {reasons:?}");
    }
    let begun = Instant::now();
    clients.tech.succeed(&["code", "acme/slow"]);
    assert!(begun.elapsed() < Duration::from_secs(5), "codes do not wait for witnesses");
    let out = root.join("export").display().to_string();
    clients.manager.succeed(&["audit", "export", "acme", "--out", &out]);
    assert_eq!(verify(&out, &[]).0, 0);
    let stopping = Instant::now();
    clients.organisation.running().stop();
    assert!(stopping.elapsed() < Duration::from_secs(15), "a witness that hangs holds up no stop");
    drop(served);
}
