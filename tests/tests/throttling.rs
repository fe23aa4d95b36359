//! Who tries keys is held back, and says so in the log; the colleague whose name was typed is not.

#![allow(
    unsafe_code,
    reason = "changing the user of one thread, as another user of the machine would be, has no safe wrapper"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::method::session::Whoami;
use strongroom_tests::logins::{Wire, sign};
use strongroom_tests::organisation::Organisation;
use strongroom_tests::people::Person;
use strongroom_tests::trail::read_log;

/// Some other user of the machine.
const ROGUE: u32 = 54_321;

/// Connects as another user: the kernel keeps the credentials of the thread that connects (unix(7), SO_PEERCRED).
fn connect_as(uid: u32, socket: &Path) -> UnixStream {
    let socket = socket.to_owned();
    let connecting = std::thread::spawn(move || {
        // SAFETY: the raw system call, unlike the library's function, changes this thread alone, and the thread ends here.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, -1, uid, -1) };
        assert_eq!(changed, 0, "root may become anybody");
        UnixStream::connect(socket).expect("the folder lets the group in")
    });
    connecting.join().unwrap()
}

#[tokio::test]
async fn a_rogue_user_is_held_back_and_the_colleague_whose_name_and_key_they_use_is_not() {
    // SAFETY: it only asks.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: only root can connect as two users");
        return;
    }
    let organisation = Organisation::found();
    let (root, socket) = (organisation.root().to_owned(), organisation.launch.socket.clone());
    // As an installation is: the group may enter. The rogue is in it.
    for folder in [&root, socket.parent().unwrap()] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o750)).unwrap();
    }
    let mut admin = organisation.admin.connect().await;
    let tech = organisation.enrol(&mut admin, "tech", &[]).await;
    let rogue = Person::new("rogue", &root, &socket);

    // The rogue types the colleague's name, with the colleague's public key, which is no secret, and with a key of their own.
    let mut refused = Vec::new();
    for place in 0..40 {
        let shown = if place % 2 == 0 { tech.public_key() } else { rogue.public_key() };
        let mut wire = Wire::over(connect_as(ROGUE, &socket));
        refused.push(match wire.open("tech", &shown, None) {
            Ok(opened) => wire.prove(&sign(&rogue.key, "strongroom-login@v1", &opened.text(), &[])).unwrap_err(),
            Err(kind) => kind,
        });
    }
    assert_eq!(refused[..5], ["unauthenticated"; 5]);
    assert_eq!(refused[5..].iter().filter(|kind| *kind == "rate_limited").count() + 5, 40, "{refused:?}");

    // The colleague, at the same time, by the same key: in at once.
    tech.connect().await.call(&Whoami {}).await.unwrap();
    let status = Wire::connect(&socket).call("agent.status", &json!({})).unwrap();
    assert_eq!(status["held_back"], 1);

    // It stands in the log, once, and admins are told when they log in; others are not.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let log = read_log(&mut admin, None).await;
    let throttled: Vec<_> = log.iter().filter(|entry| entry.is("session.throttled", RecordOutcome::Denied)).collect();
    assert_eq!(throttled.len(), 1);
    assert_eq!(throttled[0].record.from.as_ref().unwrap().uid, Some(ROGUE));
    assert_eq!(throttled[0].record.detail["attempts"], 5);
    let told = organisation.admin.connect().await.call(&Whoami {}).await.unwrap().session.notices;
    assert!(told.iter().any(|notice| notice.contains(&ROGUE.to_string())), "{told:?}");
    let told = tech.connect().await.call(&Whoami {}).await.unwrap().session.notices;
    assert!(told.iter().all(|notice| !notice.contains(&ROGUE.to_string())), "{told:?}");
}
