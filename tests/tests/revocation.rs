//! After a revocation has returned, not one code reaches that identity, and the logs' order says the same: 1,000 rounds,
//! while sixteen clients take codes without pause.

#![allow(unsafe_code, reason = "looking into a socket's queue without taking from it has no safe wrapper")]

use std::collections::{HashMap, HashSet};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::Client;
use strongroom_proto::ids::{IdentityId, Slug};
use strongroom_proto::method::code::Release;
use strongroom_proto::method::identity::Revoke;
use strongroom_proto::words::{Algorithm, OrgRole, OtpKind, VaultRole};
use strongroom_tests::organisation::{Organisation, create_vault, give, import, row, slug};
use strongroom_tests::people::Person;
use strongroom_tests::schemes::vaults;
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::trail::read_log;

/// Clients that take codes all the time; the next one to be revoked is one of them.
const CLIENTS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_code_after_a_revocation_first_250_rounds() {
    rounds(250, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_code_after_a_revocation_second_250_rounds() {
    rounds(250, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_code_after_a_revocation_third_250_rounds() {
    rounds(250, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_code_after_a_revocation_fourth_250_rounds() {
    rounds(250, 3).await;
}

async fn rounds(count: u32, part: u32) {
    let organisation = Arc::new(Organisation::found());
    let mut admin = organisation.admin.connect().await;
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let auditor = organisation.enrol(&mut admin, "auditor", &[OrgRole::Auditor]).await;
    for (vault, scheme) in vaults() {
        create_vault(&mut admin, vault, scheme).await;
        give(&mut admin, vault, "manager", VaultRole::Manager).await;
        let rows = vec![
            row("totp", OtpKind::Totp, Algorithm::Sha1, 10, RFC_SHA1),
            row("hotp", OtpKind::Hotp, Algorithm::Sha1, 10, RFC_SHA1),
        ];
        import(&mut manager.connect().await, vault, rows).await;
    }

    // Newcomers join at one end and are revoked at the other: between the ends the others take codes without pause.
    let (join, mut joined) = tokio::sync::mpsc::channel(CLIENTS);
    let next = Arc::new(AtomicU32::new(0));
    for _ in 0..2 {
        let (organisation, join, next) = (Arc::clone(&organisation), join.clone(), Arc::clone(&next));
        let mut admin = organisation.admin.connect().await;
        tokio::spawn(async move {
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if turn >= count + CLIENTS as u32 {
                    return;
                }
                let victim = Victim::begin(&organisation, &mut admin, turn, part).await;
                if join.send(victim).await.is_err() {
                    return;
                }
            }
        });
    }
    while joined.len() < CLIENTS {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let mut revoked = HashSet::new();
    let mut codes = 0;
    for round in 0..count {
        let victim = joined.recv().await.unwrap();
        victim.wait_for_a_code().await;
        // The moment of the revocation moves through the life of a release.
        tokio::time::sleep(Duration::from_micros(u64::from(round * 37 + part * 11) % 2_500)).await;
        let revoke = Revoke { identity: victim.slug.clone(), reason: "left".to_owned() };
        let answer = admin.call(&revoke).await.unwrap();
        victim.must_be_cut_off(round);
        assert_eq!((answer.sessions, answer.grants, answer.vaults), (1, 2, 2), "round {round}");
        revoked.insert(victim.id);
        codes += victim.end(round).await;
    }
    println!("{count} revocations of identities that had taken {codes} codes");
    check_logs(&mut auditor.connect().await, &revoked).await;
}

/// In each vault's log no release after the end of the grant; in the org log nothing but refusals and ends of sessions.
async fn check_logs(auditor: &mut Client, revoked: &HashSet<IdentityId>) {
    for vault in vaults().map(|(vault, _)| Some(vault)).into_iter().chain([None]) {
        let ends = if vault.is_some() { "grant.end" } else { "identity.revoke" };
        let mut over: HashMap<IdentityId, u64> = HashMap::new();
        let mut released = 0;
        for entry in read_log(auditor, vault).await {
            let seq = entry.record.seq;
            if entry.is(ends, RecordOutcome::Ok) {
                over.insert(entry.record.target.identity.unwrap(), seq);
            }
            let Some(actor) = entry.record.actor.as_ref().map(|actor| actor.identity) else { continue };
            if !revoked.contains(&actor) {
                continue;
            }
            released += u64::from(entry.is("code.release", RecordOutcome::Ok));
            let late = over.contains_key(&actor)
                && entry.record.outcome == RecordOutcome::Ok
                && entry.record.event != "session.end";
            assert!(!late, "{vault:?}: record {seq} ({}) by an identity revoked before", entry.record.event);
        }
        assert!(revoked.iter().all(|identity| over.contains_key(identity)), "{vault:?}: ends are missing");
        assert!(vault.is_none() || released > 0, "{vault:?}: no victim took anything there");
    }
}

fn wanted(turn: u32) -> Release {
    let accounts = ["acme/totp", "bluewater/totp", "acme/hotp", "acme/totp", "bluewater/hotp"];
    let account = accounts[turn as usize % accounts.len()].parse().unwrap();
    Release { account, reason: None, ticket: None, min_remaining_s: None, step_up: None }
}

/// Somebody who takes codes on a socket that the test looks into.
struct Victim {
    slug: Slug,
    id: IdentityId,
    shared: Arc<Shared>,
    reader: tokio::task::JoinHandle<()>,
    /// Holds the logged-in connection open; it is read through `shared` only.
    _client: Client,
}

struct Shared {
    /// Held while the queue is read, so that nothing leaves it between the revocation and the look.
    socket: Mutex<UnixStream>,
    codes: AtomicU64,
    cut: AtomicBool,
    late: AtomicU64,
    closed: AtomicBool,
}

impl Victim {
    /// Enrols somebody with a viewer grant in each vault, and lets them take codes from now on.
    async fn begin(organisation: &Organisation, admin: &mut Client, turn: u32, part: u32) -> Self {
        let name = format!("victim-{turn}");
        let person = Person::quick(&name, organisation.root(), &organisation.launch.socket);
        let id = organisation.enrol_person(admin, &person, &[]).await;
        for (vault, _) in vaults() {
            give(admin, vault, &name, VaultRole::Viewer).await;
        }
        let stream = tokio::net::UnixStream::connect(&organisation.launch.socket).await.unwrap();
        let stream = stream.into_std().unwrap();
        let socket = stream.try_clone().unwrap();
        let client = person.connect_over(tokio::net::UnixStream::from_std(stream).unwrap()).await.unwrap();
        let shared = Arc::new(Shared {
            socket: Mutex::new(socket),
            codes: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            late: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let reader = tokio::spawn(take(Arc::clone(&shared), turn + part));
        Self { slug: slug(&name), id, shared, reader, _client: client }
    }

    async fn wait_for_a_code(&self) {
        let begun = std::time::Instant::now();
        while self.shared.codes.load(Ordering::SeqCst) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "the victim gets no codes");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    /// Called as soon as the revocation has returned: no code may lie in the queue, none may be read from now on.
    fn must_be_cut_off(&self, round: u32) {
        let socket = self.shared.socket.lock().unwrap();
        self.shared.cut.store(true, Ordering::SeqCst);
        let mut queue = [0_u8; 8192];
        // SAFETY: the descriptor is open while the lock is held, and the buffer is as long as is said.
        let seen = unsafe {
            libc::recv(socket.as_raw_fd(), queue.as_mut_ptr().cast(), queue.len(), libc::MSG_PEEK | libc::MSG_DONTWAIT)
        };
        drop(socket);
        let seen = String::from_utf8_lossy(&queue[..usize::try_from(seen).unwrap_or(0)]).into_owned();
        assert!(!seen.contains("\"code\":\""), "round {round}: a code lies in the queue after the revocation: {seen}");
    }

    async fn end(self, round: u32) -> u64 {
        tokio::time::timeout(Duration::from_secs(5), self.reader).await.expect("the connection ends").unwrap();
        assert_eq!(self.shared.late.load(Ordering::SeqCst), 0, "round {round}: codes came after the revocation");
        assert!(self.shared.closed.load(Ordering::SeqCst), "round {round}: the connection is still open");
        self.shared.codes.load(Ordering::SeqCst)
    }
}

/// Asks for codes without pause, one to three ahead, and reads a little late now and then, as real readers do.
async fn take(shared: Arc<Shared>, turn: u32) {
    use std::io::{Read as _, Write as _};
    let ahead = 1 + u64::from(turn % 3);
    // Slower than the commits of a revocation: only waiting for the reader keeps a code out of its queue.
    let pause_us = [100, 900, 30_000, 900][turn as usize % 4];
    let (mut asked, mut answered) = (0_u64, 0_u64);
    let mut held = String::new();
    loop {
        let mut idle = true;
        {
            let mut socket = shared.socket.lock().unwrap();
            while asked < answered + ahead {
                asked += 1;
                let params = serde_json::to_value(wanted(turn + u32::try_from(asked).unwrap())).unwrap();
                let call = serde_json::json!({"jsonrpc": "2.0", "id": asked + 100, "method": "code.release", "params": params});
                if socket.write_all(format!("{call}\n").as_bytes()).is_err() {
                    break;
                }
            }
            let mut bytes = [0; 8192];
            match socket.read(&mut bytes) {
                Ok(0) => {
                    shared.closed.store(true, Ordering::SeqCst);
                    return;
                }
                Ok(count) => {
                    idle = false;
                    held.push_str(&String::from_utf8_lossy(&bytes[..count]));
                    while let Some((line, rest)) = held.split_once('\n') {
                        answered += 1;
                        if line.contains("\"code\":\"") {
                            let late = shared.cut.load(Ordering::SeqCst);
                            shared.late.fetch_add(u64::from(late), Ordering::SeqCst);
                            shared.codes.fetch_add(1, Ordering::SeqCst);
                        }
                        held = rest.to_owned();
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // A connection that was closed with calls unread ends with a reset.
                Err(_) => {
                    shared.closed.store(true, Ordering::SeqCst);
                    return;
                }
            }
        }
        if idle || pause_us > 100 {
            tokio::time::sleep(Duration::from_micros(pause_us)).await;
        }
    }
}
