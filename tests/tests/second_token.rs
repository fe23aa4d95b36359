//! Two real tokens on one store: joined by two people, one taken away, back, left alone, gone.

use std::path::Path;
use std::time::{Duration, Instant};

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::CallError;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::method::account::Remove;
use strongroom_proto::method::agent::State;
use strongroom_proto::method::ceremony::Run;
use strongroom_proto::method::identity::Revoke;
use strongroom_proto::words::{CeremonyKind, Scheme, VaultRole};
use strongroom_tests::ceremony::proposal;
use strongroom_tests::organisation::{create_vault, give, import, slug, try_import};
use strongroom_tests::second_token::{Token, TwoTokens, initialise, slow, take, token_folders};
use strongroom_tests::tools;
use strongroom_tests::trail::read_log;
use strongroom_tests::workers::workers_of;

fn errors(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_go_on_when_the_first_token_is_away_and_records_say_which_token_computed_them() {
    let mut house = TwoTokens::found().await;
    assert!(house.status().await.second_token.is_none(), "a token that has not joined serves nobody");
    house.codes_are_right().await;

    let approvals = house.plan(&["token-join"]);
    house.people.organisation.running().stop();
    let one = house.run_signed(&["token-join"], &approvals[..1], true);
    assert!(errors(&one).contains("2 approvals are needed"), "{}", errors(&one));
    let twice = vec![approvals[0].clone(), approvals[0].clone()];
    assert!(errors(&house.run_signed(&["token-join"], &twice, true)).contains("approved twice"));
    assert!(errors(&house.run_signed(&["token-join"], &approvals, false)).contains("--recovery-key"));
    let plan = std::fs::read_to_string(house.plan_file()).unwrap();
    std::fs::write(house.plan_file(), plan.replace("what join", "what leave-first")).unwrap();
    assert!(errors(&house.run_signed(&["token-join"], &approvals, true)).contains("for something else"));
    std::fs::write(house.plan_file(), plan).unwrap();
    house.people.organisation.start();
    house.join();
    let again = house.plan(&["token-join"]);
    house.people.organisation.running().stop();
    assert!(errors(&house.run_signed(&["token-join"], &again, true)).contains("has joined already"));
    house.people.organisation.start();
    house.codes_are_right().await;

    house.take_away(Token::First);
    for _ in 0..3 {
        house.codes_are_right().await;
    }
    house.wait_for(Token::First, false, true).await;
    house.codes_are_right().await;
    assert_eq!(house.status().await.state, State::Ready);
    let mut manager = house.people.manager.connect().await;
    let refused = try_import(&mut manager, "acme", vec![slow("new")]).await.unwrap_err();
    assert!(matches!(refused, CallError::Failure(failure) if failure.kind == ErrorKind::HsmUnavailable));
    house.bring_back(Token::First);
    house.wait_for(Token::First, true, true).await;
    house.codes_are_right().await;

    let org = read_log(&mut house.people.organisation.admin.connect().await, None).await;
    let joined = org.iter().find(|entry| entry.is("token.join", RecordOutcome::Ok)).unwrap();
    assert_eq!(joined.record.detail["approvals"], 2);
    let (first, second) = (&joined.record.detail["first_token"], &joined.record.detail["second_token"]);
    assert!(org.iter().any(|entry| entry.is("token.joined", RecordOutcome::Ok)));
    assert!(org.iter().any(|entry| entry.record.event == "token.back" && entry.record.detail["token"] == *first));
    for vault in ["acme", "bluewater"] {
        let log = read_log(&mut manager, Some(vault)).await;
        let released = log.iter().filter(|entry| entry.is("code.release", RecordOutcome::Ok));
        let tokens: Vec<_> = released.map(|entry| entry.record.detail.get("token")).collect();
        // Before the joining nobody had to say which token it was.
        assert_eq!(
            (tokens[..2].to_vec(), tokens[2], tokens.last().unwrap()),
            (vec![None, None], Some(first), &Some(first))
        );
        assert_eq!(tokens[tokens.len() - 4], Some(second), "{vault}: {tokens:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_the_second_token_is_away_reaches_it_by_itself() {
    let mut house = TwoTokens::joined().await;
    let mut manager = house.people.manager.connect().await;
    house.take_away(Token::Second);
    house.wait_for(Token::Second, false, true).await;
    create_vault(&mut house.people.admin, "cafe", Scheme::Resident).await;
    give(&mut house.people.admin, "cafe", "manager", VaultRole::Manager).await;
    give(&mut house.people.admin, "cafe", "tech", VaultRole::Viewer).await;
    import(&mut manager, "cafe", vec![slow("till"), slow("gone")]).await;
    import(&mut manager, "acme", vec![slow("new")]).await;
    let remove = Remove { account: "cafe/gone".parse().unwrap(), reason: "a test".to_owned() };
    manager.call(&remove).await.unwrap();
    house.codes_are_right().await;
    // A rotation too: every seed of the vault is on its way once more.
    for vault in ["acme", "bluewater"] {
        let ceremony = house.people.agree(proposal(vault, CeremonyKind::RotateKey)).await;
        let mut admin = house.people.organisation.admin.connect().await;
        let without = admin.call(&Run { ceremony, recovery_key: None }).await.unwrap_err();
        assert!(matches!(without, CallError::Failure(failure) if failure.kind == ErrorKind::InvalidParams));
        house.people.finish(ceremony).await;
    }
    house.wait_for(Token::Second, false, false).await;
    // Restarted in between, as in an outage of days.
    house.people.organisation.running().stop();
    house.people.organisation.start();
    house.codes_are_right().await;

    house.bring_back(Token::Second);
    house.wait_for(Token::Second, true, true).await;
    house.take_away(Token::First);
    let mut tech = house.people.tech.connect().await;
    for account in ["cafe/till", "acme/new", "acme/slow", "bluewater/slow"] {
        assert_eq!(take(&mut tech, account).await, Ok(()), "{account}");
    }
    house.codes_are_right().await;
    house.bring_back(Token::First);
    house.wait_for(Token::First, true, true).await;
    // Identity (two halves), store key, three vault keys: those that the rotations replaced are gone.
    let begun = Instant::now();
    while house.objects(Token::Second) != 6 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} objects", house.objects(Token::Second));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let ceremony = house.people.agree(proposal("cafe", CeremonyKind::Destroy)).await;
    house.take_away(Token::Second);
    house.wait_for(Token::Second, false, true).await;
    let mut admin = house.people.organisation.admin.connect().await;
    let refused = admin.call(&Run { ceremony, recovery_key: None }).await.unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, CallError::Failure(failure) if failure.kind == ErrorKind::HsmUnavailable), "{said}");
    assert!(said.contains("Nothing was destroyed"), "{said}");
    house.bring_back(Token::Second);
    house.wait_for(Token::Second, true, true).await;
    let certificate = house.people.finish(ceremony).await.certificate.unwrap();
    assert!(certificate.text.contains("\nsecond-key sr:"), "{}", certificate.text);
    assert_eq!((house.objects(Token::First), house.objects(Token::Second)), (5, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joining_that_is_killed_again_and_again_comes_to_its_end_and_every_code_is_right() {
    let mut house = TwoTokens::found().await;
    let mut manager = house.people.manager.connect().await;
    for vault in ["acme", "bluewater"] {
        let rows = (0..150).map(|place| slow(&format!("a{place}"))).collect();
        import(&mut manager, vault, rows).await;
    }
    let approvals = house.plan(&["token-join"]);
    house.people.organisation.running().stop();
    let (mut killed, mut refused) = (0, 0);
    for round in 0..60_u64 {
        let key = std::fs::File::open(house.people.recovery.file()).unwrap();
        let mut child = house
            .signed(&["token-join"], &approvals, true)
            .stdin(key)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(40 + round * 25)).await;
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        match ended {
            Some(status) if status.success() => break,
            // The worker of the killed run before was still at the token.
            Some(_) => refused += 1,
            None => killed += 1,
        }
    }
    println!("killed {killed} times, {refused} runs found the token busy");
    assert!(killed > 3);
    let output = house.run_signed(&["token-join"], &approvals, true);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), errors(&output));
    assert!(output.status.success() || said.contains("has joined already"), "{said}");
    house.people.organisation.start();
    house.wait_for(Token::Second, true, true).await;
    let org = read_log(&mut house.people.organisation.admin.connect().await, None).await;
    let count = |event: &str| org.iter().filter(|entry| entry.is(event, RecordOutcome::Ok)).count();
    assert_eq!((count("token.join"), count("token.joined")), (1, 1));
    house.take_away(Token::First);
    let mut tech = house.people.tech.connect().await;
    for vault in ["acme", "bluewater"] {
        for place in 0..150 {
            assert_eq!(take(&mut tech, &format!("{vault}/a{place}")).await, Ok(()), "{vault}/a{place}");
        }
    }
    house.codes_are_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_starts_with_either_token_alone_and_revoked_people_stay_out() {
    let mut house = TwoTokens::joined().await;
    let leaver = house.people.organisation.enrol(&mut house.people.admin, "leaver", &[]).await;
    drop(leaver.connect().await);
    house.people.admin.call(&Revoke { identity: slug("leaver"), reason: "left".to_owned() }).await.unwrap();
    for (away, speaks) in [(Token::First, true), (Token::Second, false)] {
        house.people.organisation.running().stop();
        house.take_away(away);
        house.people.organisation.start();
        house.codes_are_right().await;
        assert!(leaver.try_connect().await.is_err(), "a revoked person logged in");
        let status = house.status().await;
        assert_eq!((status.state, status.second_token.unwrap().speaks), (State::Ready, speaks));
        // What it signs verifies with the key that the client heard.
        let out = house.people.organisation.root().join(format!("log-{speaks}")).display().to_string();
        house.people.manager.succeed(&["audit", "export", "acme", "--out", &out]);
        let pins = std::fs::read_to_string(house.people.organisation.root().join("config/strongroom/known_agents"));
        let line = pins.unwrap().lines().nth(usize::from(speaks)).unwrap().split_once(' ').unwrap().1.to_owned();
        let pin = house.people.organisation.root().join("pinned.pub");
        std::fs::write(&pin, line).unwrap();
        house.people.manager.succeed(&["audit", "verify", &out, "--key", pin.to_str().unwrap()]);
        house.bring_back(away);
        house.wait_for(away, true, true).await;
        house.codes_are_right().await;
    }
    house.people.organisation.running().stop();
    house.take_away(Token::First);
    house.take_away(Token::Second);
    let neither = tools::output(&mut house.people.organisation.launch.command(&["run"]));
    assert!(errors(&neither).contains("neither of the two tokens"), "{}", errors(&neither));
    house.bring_back(Token::First);
    house.bring_back(Token::Second);
    let doctor = tools::output(&mut house.people.organisation.launch.command(&["doctor"]));
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("second token") && said.contains("2 of its vault keys are there"), "{said}");
    let probe = tools::output(&mut house.people.organisation.launch.command(&["probe", "--second"]));
    assert!(probe.status.success(), "{}", errors(&probe));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_token_that_hangs_holds_up_nobody_and_a_counter_is_not_used_twice() {
    let mut house = TwoTokens::joined().await;
    house.codes_are_right().await;
    // The first token's workers are started first.
    let agent = house.people.organisation.running().pid();
    let mut workers = workers_of(agent);
    workers.sort_by_key(|worker| worker.0);
    let firsts = &workers[..workers.len() / 2];
    firsts.iter().for_each(|worker| worker.signal("STOP"));
    for _ in 0..3 {
        house.codes_are_right().await;
    }
    // Hung workers are replaced, and the token was never away.
    let begun = Instant::now();
    while firsts.iter().any(|worker| worker.is_running()) {
        assert!(begun.elapsed() < Duration::from_secs(30), "a hung worker is still there");
        house.codes_are_right().await;
    }
    house.wait_for(Token::First, true, true).await;
    house.codes_are_right().await;
    let log = read_log(&mut house.people.manager.connect().await, Some("acme")).await;
    let moved = log.iter().find(|entry| entry.is("code.moved", RecordOutcome::Ok)).unwrap();
    let release = moved.record.detail["release"].as_u64().unwrap();
    let release = &log[usize::try_from(release).unwrap()].record;
    assert!(release.detail.contains_key("counter") && release.detail["token"] != moved.record.detail["token"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_agent_speaks_with_the_second_tokens_key_when_the_first_stays_away() {
    let mut house = TwoTokens::joined().await;
    let first = house.people.tech.connect().await.agent_key().unwrap().to_owned();
    // While both are here, the first one's key vouches for the second one's.
    let begun = Instant::now();
    loop {
        let log = read_log(&mut house.people.organisation.admin.connect().await, None).await;
        if log.iter().any(|entry| entry.is("log.key", RecordOutcome::Ok)) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody vouched for the second key");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let before = export(&house, "before");
    house.take_away(Token::First);
    house.codes_are_right().await;
    let begun = Instant::now();
    while !house.status().await.second_token.unwrap().speaks {
        assert!(begun.elapsed() < Duration::from_secs(90), "the agent clings to a key that is away");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_ne!(house.people.tech.connect().await.agent_key().unwrap(), first);
    house.codes_are_right().await;
    exports_lead_from_one_key_to_the_next(&house, &first, &before);
    // And with the first one's again, once that has been back for a while.
    house.bring_back(Token::First);
    house.wait_for(Token::First, true, true).await;
    let begun = Instant::now();
    while house.status().await.second_token.unwrap().speaks {
        assert!(begun.elapsed() < Duration::from_secs(90), "the agent does not go back to the first token's key");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(house.people.tech.connect().await.agent_key().unwrap(), first);
    house.codes_are_right().await;
    let log = read_log(&mut house.people.organisation.admin.connect().await, None).await;
    assert_eq!(log.iter().filter(|entry| entry.is("agent.voice", RecordOutcome::Ok)).count(), 2);
}

/// A manager's export of a client's log.
fn export(house: &TwoTokens, name: &str) -> std::path::PathBuf {
    let out = house.people.organisation.root().join(name);
    house.people.manager.succeed(&["audit", "export", "acme", "--out", &out.display().to_string()]);
    out
}

/// What a client sees who pinned the first token's key, and kept a checkpoint by it, when the second one signs.
fn exports_lead_from_one_key_to_the_next(house: &TwoTokens, first: &str, before: &std::path::Path) {
    let after = export(house, "after").display().to_string();
    let root = house.people.organisation.root();
    let (pin, kept) = (root.join("first.pub"), before.join("checkpoint").display().to_string());
    std::fs::write(&pin, first).unwrap();
    let pin = pin.display().to_string();
    let verify = |folder: &str, more: &[&str]| {
        let mut command = std::process::Command::new(tools::program("strongroom"));
        command.args(["audit", "verify", folder, "--json"]).args(more).env_clear().env("HOME", "/nonexistent");
        tools::output(&mut command)
    };
    let verified = verify(&after, &["--key", &pin, "--against", &kept, "--signatures"]);
    assert!(verified.status.success(), "{}", errors(&verified));
    let said: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    let way = said["pinned_by_way_of"].as_array().unwrap();
    assert_eq!((way.len(), &way[1]), (2, &said["key"]), "{said}");
    assert!(said["pinned"] == true && said["older_checkpoints"].as_u64() >= Some(1), "{said}");
    // Never the other way round: what the first key signs is not vouched for by the second one.
    let second = said["key"].as_str().unwrap();
    assert!(errors(&verify(&before.display().to_string(), &["--key", second])).contains("is pinned"));
    let statement = std::path::Path::new(&after).join("log.keys");
    let good = std::fs::read_to_string(&statement).unwrap();
    std::fs::write(&statement, good.replace("\"at\":\"20", "\"at\":\"19")).unwrap();
    assert!(errors(&verify(&after, &["--key", &pin])).contains("line 1 of log.keys"));
    std::fs::remove_file(&statement).unwrap();
    assert!(errors(&verify(&after, &["--key", &pin])).contains("did not vouch"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_token_leaves_by_two_people_and_another_one_takes_its_place() {
    let mut house = TwoTokens::joined().await;
    house.people.organisation.running().stop();
    let leave = ["token-leave", "first"];
    let approvals = house.plan(&leave);
    let (before_first, before_second) = (house.objects(Token::First), house.objects(Token::Second));
    let other = house.run_signed(&["token-leave", "second"], &approvals, false);
    assert!(errors(&other).contains("for something else"), "{}", errors(&other));
    let one = house.run_signed(&leave, &approvals[1..], false);
    assert!(errors(&one).contains("2 approvals are needed"), "{}", errors(&one));
    let before = meta(&house);
    let output = house.run_signed(&leave, &approvals, false);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("2 of its 2 vault keys were destroyed"),
        "{said}{}",
        errors(&output)
    );
    // As if it had been killed between its commit and its last step: it is run again, and nothing starts before.
    put_meta(&house, &before);
    let killed = tools::output(&mut house.people.organisation.launch.command(&["run"]));
    assert!(errors(&killed).contains("token-leave was interrupted"), "{}", errors(&killed));
    let output = house.run_signed(&leave, &approvals, false);
    assert!(String::from_utf8_lossy(&output.stdout).contains("was at its end"), "{}", errors(&output));
    assert_eq!((house.objects(Token::First), house.objects(Token::Second)), (before_first - 2, before_second));
    // The configuration still names the token that left.
    let old = tools::output(&mut house.people.organisation.launch.command(&["run"]));
    assert!(errors(&old).contains("but the store was made with"), "{}", errors(&old));
    let config = std::fs::read_to_string(&house.people.organisation.launch.config).unwrap();
    let (head, rest) = config.split_once("\n[token]\n").unwrap();
    let (first, second) = rest.split_once("\n[second_token]\n").unwrap();
    let head: String = head.lines().filter(|line| !line.starts_with("pin ")).map(|line| format!("{line}\n")).collect();
    tools::write_private(&house.people.organisation.launch.config, &format!("{head}\n[token]\n{second}"));
    house.people.organisation.start();
    house.codes_are_right().await;
    assert!(house.status().await.second_token.is_none());
    let org = read_log(&mut house.people.organisation.admin.connect().await, None).await;
    let left = org.iter().find(|entry| entry.is("token.leave", RecordOutcome::Ok)).unwrap();
    assert_eq!((&left.record.detail["left"], &left.record.detail["approvals"]), (&"first".into(), &2.into()));

    // It comes back as the second one, and leaves while it is away.
    let pin = house.people.organisation.root().join("pin").display().to_string();
    let section = format!("\n[second_token]\n{first}pin = {{ file = \"{pin}\" }}\n");
    let config = format!("{head}\n[token]\n{second}{section}");
    tools::write_private(&house.people.organisation.launch.config, &config);
    house.join();
    house.codes_are_right().await;
    house.people.organisation.running().stop();
    house.take_away(Token::First);
    let leave = ["token-leave", "second"];
    let approvals = house.plan(&leave);
    let output = house.run_signed(&leave, &approvals, false);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("It was not here"), "{said}{}", errors(&output));
    house.people.organisation.start();
    house.codes_are_right().await;
    // And joins once more, with keys of its earlier life in it.
    house.bring_back(Token::First);
    house.join();
    house.take_away(Token::Second);
    house.codes_are_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_are_made_and_restored_and_recovered_beside_a_second_token() {
    let mut house = TwoTokens::joined().await;
    let folder = house.people.organisation.root().join("backups");
    std::fs::create_dir(&folder).unwrap();
    let back_up = |house: &TwoTokens| {
        let arguments = ["backup", "--to", folder.to_str().unwrap()];
        let output = tools::output(&mut house.people.organisation.launch.command(&arguments));
        assert!(output.status.success(), "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap().lines().next().unwrap().to_owned()
    };
    let with_key = |house: &TwoTokens, arguments: &[&str]| {
        let key = std::fs::File::open(house.people.recovery.file()).unwrap();
        house.people.organisation.launch.command(arguments).stdin(key).output().unwrap()
    };
    house.take_away(Token::First);
    house.codes_are_right().await;
    back_up(&house);
    house.bring_back(Token::First);
    house.wait_for(Token::First, true, true).await;
    let key = house.people.organisation.agent_key();
    let key = key.lines().next().unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let archive = back_up(&house);
    let drill = with_key(&house, &["drill", "--folder", folder.to_str().unwrap(), "--all", "--recovery-key", "-"]);
    let said = String::from_utf8_lossy(&drill.stdout).into_owned();
    assert!(drill.status.success(), "{said}{}\n{}", errors(&drill), house.people.organisation.running().log());

    // The machine and the first token are lost; the second one was elsewhere.
    house.people.organisation.running().stop();
    std::fs::remove_dir_all(&house.people.organisation.data_dir).unwrap();
    house.take_away(Token::First);
    let restored = with_key(&house, &["restore", &archive, "--recovery-key", "-", "--agent-key", key]);
    assert!(restored.status.success(), "{}", errors(&restored));
    house.people.organisation.start();
    house.wait_for(Token::First, true, true).await;
    house.codes_are_right().await;
    let put_back: Vec<_> = token_folders(&house.people.organisation);
    assert_eq!(put_back.len(), 2, "the backup held the first token's files and no other's: {put_back:?}");

    // The first token dies for good, and its place is taken by a new one: the second serves on.
    house.people.organisation.running().stop();
    let first = put_back.iter().find(|folder| holds(folder, "strongroom-test")).unwrap();
    std::fs::remove_dir_all(first).unwrap();
    initialise(&house.people.organisation, "strongroom-test", strongroom_tests::organisation::PIN);
    let plan = house.plan_file().display().to_string();
    let recover = ["recover", "--store", "--recovery-key", "-", "--agent-key", key, "--plan", &plan];
    let planned = with_key(&house, &recover);
    assert!(planned.status.success(), "{}", errors(&planned));
    let approvals = [&house.people.organisation.admin, &house.bea].map(|person| house.sign(person));
    let approved: Vec<&str> = approvals.iter().flat_map(|approval| ["--approval", approval.as_str()]).collect();
    let output = with_key(&house, &[&recover[..], &approved].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", errors(&output));
    house.pin_also(said.lines().last().unwrap());
    house.people.organisation.start();
    house.codes_are_right().await;
    let new = token_folders(&house.people.organisation).into_iter().find(|folder| holds(folder, "strongroom-test"));
    std::fs::rename(new.unwrap(), house.people.organisation.root().join("away")).unwrap();
    house.codes_are_right().await;
}

/// What stands beside the rows: which tokens unlock them.
fn meta(house: &TwoTokens) -> Vec<(String, Vec<u8>)> {
    let store = rusqlite::Connection::open(house.people.organisation.store()).unwrap();
    let mut rows = store.prepare("SELECT key, value FROM meta").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn put_meta(house: &TwoTokens, rows: &[(String, Vec<u8>)]) {
    let store = rusqlite::Connection::open(house.people.organisation.store()).unwrap();
    store.execute("DELETE FROM meta", []).unwrap();
    for (key, value) in rows {
        store.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", rusqlite::params![key, value]).unwrap();
    }
}

/// Whether a SoftHSM token of this label lies in a folder.
fn holds(folder: &Path, label: &str) -> bool {
    let bytes = std::fs::read(folder.join("token.object")).unwrap();
    bytes.windows(label.len()).any(|part| part == label.as_bytes())
}
