//! `kill -9` of the agent at random moments while it rotates vault keys, 50 times on the same store and token, beside releases
//! and imports: running it again always finishes, no code is ever wrong, and nothing is left over in the token.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strongroom_proto::client::{CallError, Client};
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::CeremonyId;
use strongroom_proto::method::ceremony::{List, Propose, Run};
use strongroom_proto::method::code::Release;
use strongroom_proto::words::{Algorithm, CeremonyKind, CeremonyStatus, OtpKind, Scheme};
use strongroom_tests::ceremony::{TwoPeople, hotp, proposal};
use strongroom_tests::organisation::{import, row, slug, try_import};
use strongroom_tests::people::Person;
use strongroom_tests::tools;

const KILLS: u32 = 50;
/// More than a batch.
const ACCOUNTS: usize = 70;

fn seed(name: &str) -> Vec<u8> {
    format!("the seed of {name:>20}").into_bytes()
}

fn account(name: &str) -> strongroom_proto::method::account::Row {
    row(name, OtpKind::Hotp, Algorithm::Sha1, 6, &seed(name))
}

fn random(below: usize) -> usize {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).unwrap();
    u32::from_le_bytes(bytes) as usize % below
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_50_times_while_keys_rotate_and_every_code_is_right() {
    let mut people = TwoPeople::found(&[("acme", Scheme::Resident)]).await;
    let names: Vec<String> = (0..ACCOUNTS).map(|place| format!("a{place}")).collect();
    import(&mut people.manager.connect().await, "acme", names.iter().map(|name| account(name)).collect()).await;
    let known = Arc::new(Mutex::new(names));

    // Kills fall anywhere between the start of a rotation and a little after its end, however fast this machine is.
    let ceremony = people.agree(proposal("acme", CeremonyKind::RotateKey)).await;
    let begun = Instant::now();
    people.finish(ceremony).await;
    let longest_ms = usize::try_from(begun.elapsed().as_millis()).unwrap() * 3 / 2;

    let (mut under_way, mut finished, mut resumed, mut taken) = (None, 0, 0, 0);
    for round in 0..KILLS {
        let ceremony = match under_way {
            Some(ceremony) => ceremony,
            None => {
                let scheme = [Scheme::Derived, Scheme::Resident][finished % 2];
                people.agree(Propose { scheme: Some(scheme), ..proposal("acme", CeremonyKind::RotateKey) }).await
            }
        };
        let mut load = tokio::task::JoinSet::new();
        load.spawn(take_codes(people.tech.clone(), Arc::clone(&known)));
        load.spawn(import_some(people.manager.clone(), round, Arc::clone(&known)));
        load.spawn(rotate(people.organisation.admin.clone(), people.recovery.secret(), ceremony));
        tokio::time::sleep(Duration::from_millis(random(longest_ms) as u64)).await;
        people.organisation.running().kill();
        while let Some(ended) = load.join_next().await {
            taken += ended.unwrap();
        }
        people.organisation.start();
        under_way = match status(&people.manager, ceremony).await {
            CeremonyStatus::Done => {
                finished += 1;
                None
            }
            CeremonyStatus::Running => {
                resumed += 1;
                Some(ceremony)
            }
            CeremonyStatus::Confirmed => Some(ceremony),
            other => panic!("round {round}: {other}"),
        };
    }
    if let Some(ceremony) = under_way {
        people.finish(ceremony).await;
        finished += 1;
    }
    println!("{KILLS} kills: {finished} rotations finished, {resumed} of them interrupted, {taken} codes meanwhile");
    assert!(finished > 0 && resumed > 10, "{finished} finished, {resumed} interrupted: nothing was shown");

    let mut client = people.tech.connect().await;
    let names = known.lock().unwrap().clone();
    for name in names {
        assert!(take(&mut client, &name).await, "{name}");
    }
    if people.organisation.token.breaks("whose objects are files that can be counted") {
        count_objects(&people.organisation.tokens());
    }
    people.organisation.running().stop();
    let doctor = tools::output(&mut people.organisation.launch.command(&["doctor"]));
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains("1 are in the token and match"), "{said}");
    assert!(!people.organisation.running().log().contains("SEALED"));
}

/// Counts what is left in the token's folder.
fn count_objects(tokens: &std::path::Path) {
    // No key of a killed run is left: identity (two halves), store key, and one vault key. Smaller files are objects that
    // SoftHSM was killed over while it made them: they have no label and no value yet.
    let find = [tokens.to_str().unwrap(), "-name", "*.object", "!", "-name", "token.object", "-printf", "%s\n"];
    let sizes = tools::run("find", &find);
    let objects = sizes.lines().filter(|size| size.parse::<u64>().unwrap() > 600).count();
    println!("sizes of the token's objects: {}", sizes.replace('\n', " "));
    assert_eq!(objects, 4, "objects in the token");
}

async fn status(person: &Person, ceremony: CeremonyId) -> CeremonyStatus {
    let items = person.connect().await.call(&List { vault: Some(slug("acme")) }).await.unwrap().items;
    items.into_iter().find(|item| item.ceremony == ceremony).unwrap().status
}

/// Runs the ceremony until it is done or the agent is gone.
async fn rotate(admin: Person, recovery: String, ceremony: CeremonyId) -> u64 {
    let Ok(mut client) = admin.try_connect().await else { return 0 };
    loop {
        match client.call(&Run { ceremony, recovery_key: Some(recovery.clone().into()) }).await {
            Ok(ran) if ran.status == CeremonyStatus::Done => return 0,
            Ok(_) => {}
            Err(CallError::Failure(failure)) => panic!("the ceremony was refused: {failure}"),
            Err(_) => return 0,
        }
    }
}

/// Takes one code. False if the agent is gone; a wrong code, or a refusal, fails the test.
async fn take(client: &mut Client, name: &str) -> bool {
    let account = format!("acme/{name}").parse().unwrap();
    match client.call(&Release { account, reason: None, ticket: None, min_remaining_s: None, step_up: None }).await {
        Ok(released) => {
            assert_eq!(*released.code, hotp(&seed(name), released.counter.unwrap(), 6), "{name}");
            true
        }
        Err(CallError::Failure(failure)) => panic!("{name} was refused while keys rotate: {failure}"),
        Err(_) => false,
    }
}

/// Takes codes until the agent is gone; says how many.
async fn take_codes(tech: Person, known: Arc<Mutex<Vec<String>>>) -> u64 {
    let Ok(mut client) = tech.try_connect().await else { return 0 };
    let mut taken = 0;
    loop {
        let name = {
            let known = known.lock().unwrap();
            known[random(known.len())].clone()
        };
        if !take(&mut client, &name).await {
            return taken;
        }
        taken += 1;
    }
}

/// Imports accounts until the agent is gone. One that began under the old key may be told to begin again.
async fn import_some(manager: Person, round: u32, known: Arc<Mutex<Vec<String>>>) -> u64 {
    let Ok(mut client) = manager.try_connect().await else { return 0 };
    for step in 0..5 {
        let name = format!("late-{round}-{step}");
        match try_import(&mut client, "acme", vec![account(&name)]).await {
            Ok(_) => known.lock().unwrap().push(name),
            Err(CallError::Failure(failure)) if failure.kind == ErrorKind::Conflict => {}
            Err(CallError::Failure(failure)) => panic!("the import was refused while keys rotate: {failure}"),
            Err(_) => return 0,
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    0
}
