use super::*;
use crate::sshsig;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn key(seed: u8) -> String {
    let key = ssh_key::PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]));
    key.public_key().to_openssh().unwrap().trim().to_owned()
}

fn check(agents: &KnownAgents, socket: &str, key: &str) -> PinVerdict {
    let fingerprint = sshsig::fingerprint(&PublicKey::from_openssh(key).unwrap());
    agents.check(Path::new(socket), key, &fingerprint)
}

#[test]
fn a_pinned_agent_passes_and_a_changed_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_agents");
    let (good, evil) = (key(1), key(2));
    std::fs::write(&file, format!("# ours\n\n/run/a.sock {good} comment here\n/run/a%20b.sock {evil}\n")).unwrap();
    let agents = KnownAgents::new(None, Some(file.clone()));
    assert_eq!(check(&agents, "/run/a.sock", &good), PinVerdict::Pinned);
    assert_eq!(check(&agents, "/run/a.sock", &evil), PinVerdict::Mismatch);
    assert_eq!(check(&agents, "/run/a b.sock", &evil), PinVerdict::Pinned);
    assert_eq!(check(&agents, "/run/c.sock", &good), PinVerdict::Unknown);
    std::fs::write(&file, format!("* {good}\n")).unwrap();
    assert_eq!(check(&agents, "/run/c.sock", &good), PinVerdict::Pinned);
    assert_eq!(check(&agents, "/run/c.sock", &evil), PinVerdict::Mismatch);
}

#[test]
fn a_file_that_others_may_write_or_that_is_broken_decides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_agents");
    let good = key(1);
    let agents = KnownAgents::new(None, Some(file.clone())).ask(|_| true);
    std::fs::write(&file, "/run/a.sock ssh-ed25519\n").unwrap();
    assert!(matches!(check(&agents, "/run/a.sock", &good), PinVerdict::Unusable(reason) if reason.contains("line 1")));
    std::fs::write(&file, format!("/run/a.sock {good}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o620)).unwrap();
    assert!(matches!(check(&agents, "/run/a.sock", &good), PinVerdict::Unusable(_)));
}

#[test]
fn trust_on_first_use_asks_once_and_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config/known_agents");
    let (good, evil) = (key(1), key(2));
    let silent = KnownAgents::new(None, Some(file.clone()));
    assert_eq!(check(&silent, "/run/a.sock", &good), PinVerdict::Unknown);
    assert!(!file.exists());

    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let agents = KnownAgents::new(None, Some(file.clone())).ask(move |newcomer| {
        count.fetch_add(1, Ordering::SeqCst);
        newcomer.fingerprint.starts_with("SHA256:")
    });
    assert_eq!(check(&agents, "/run/a.sock", &good), PinVerdict::Pinned);
    assert_eq!(check(&agents, "/run/a.sock", &good), PinVerdict::Pinned);
    assert_eq!(check(&agents, "/run/a.sock", &evil), PinVerdict::Mismatch);
    assert_eq!(check(&agents, "/run/b.sock", &evil), PinVerdict::Pinned);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(check(&silent, "/run/a.sock", &good), PinVerdict::Pinned);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let refusing = KnownAgents::new(None, Some(file)).ask(|_| false);
    assert_eq!(check(&refusing, "/run/c.sock", &good), PinVerdict::Unknown);
}

#[test]
fn the_systems_file_counts_only_if_root_alone_writes_it_and_then_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let (system, user) = (folder.path().join("system"), folder.path().join("user"));
    let (good, evil) = (key(1), key(2));
    std::fs::write(&system, format!("* {good}\n")).unwrap();
    std::fs::write(&user, format!("* {evil}\n")).unwrap();
    let agents = KnownAgents::new(Some(system.clone()), Some(user)).ask(|_| true);
    if std::fs::metadata(&system).unwrap().uid() == ROOT {
        assert_eq!(check(&agents, "/run/a.sock", &good), PinVerdict::Pinned);
        assert_eq!(check(&agents, "/run/a.sock", &evil), PinVerdict::Mismatch);
    } else {
        assert!(matches!(check(&agents, "/run/a.sock", &good), PinVerdict::Unusable(_)));
    }
}
