use super::*;
use crate::login::test_keys::{Agent, Key, KeyFolder, TestPerson, ssh_keygen_accepts};

fn person() -> Arc<dyn Person> {
    Arc::new(TestPerson { passphrase: "secret", ..TestPerson::default() })
}

fn signs(signer: &dyn Signer, key: &Key) -> bool {
    let signature = signer.sign("strongroom-login@v1", b"text\n").unwrap();
    ssh_keygen_accepts(&key.public_line(), "strongroom-login@v1", b"text\n", &signature)
}

#[test]
fn a_named_file_wins_and_a_public_one_is_found_in_the_agent_or_beside() {
    let folder = KeyFolder::new();
    let agent = Agent::start(&folder);
    let (held, beside) = (folder.make("ed25519", "", ""), folder.make("ed25519", "", ""));
    agent.add(&held, &[]);
    let (held_public, beside_public) = (held.public_path(), beside.public_path());
    let broken = folder.path().join("broken.pub");
    let sock = Some(agent.socket.as_os_str());
    let wish = |path| Wish { key: Some(path), ssh_auth_sock: sock, ..Wish::default() };

    assert!(signs(&*choose(wish(&beside.path), person()).unwrap(), &beside));
    assert!(signs(&*choose(wish(&beside_public), person()).unwrap(), &beside));
    std::fs::remove_file(&held.path).unwrap();
    assert!(signs(&*choose(wish(&held_public), person()).unwrap(), &held));
    let alone = Wish { ssh_auth_sock: None, ..wish(&held_public) };
    assert!(matches!(choose(alone, person()), Err(ChooseError::NotHeld { .. })));
    std::fs::write(&broken, "x").unwrap();
    assert!(matches!(choose(wish(&broken), person()), Err(ChooseError::Public { .. })));
}

#[test]
fn a_key_with_a_passphrase_is_taken_from_the_agent_without_asking() {
    let folder = KeyFolder::new();
    let agent = Agent::start(&folder);
    let (key, unlocked) = (folder.make("ed25519", "", "secret"), folder.path().join("unlocked"));
    std::fs::copy(&key.path, &unlocked).unwrap();
    let status = std::process::Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "secret", "-N", "", "-f"])
        .arg(&unlocked)
        .status()
        .unwrap();
    assert!(status.success());
    agent.add(&Key { path: unlocked }, &[]);
    let silent = Arc::new(TestPerson::default());
    let wish = Wish { key: Some(&key.path), ssh_auth_sock: Some(agent.socket.as_os_str()), ..Wish::default() };
    assert!(signs(&*choose(wish, silent.clone()).unwrap(), &key));
    assert_eq!(silent.questions.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert!(signs(&*choose(Wish { ssh_auth_sock: None, ..wish }, person()).unwrap(), &key));
}

#[test]
fn security_keys_sign_from_the_agent() {
    let folder = KeyFolder::new();
    let agent = Agent::start(&folder);
    let key = folder.make("ed25519-sk", "", "");
    agent.add(&key, &[]);
    let wish = Wish { key: Some(&key.path), ssh_auth_sock: Some(agent.socket.as_os_str()), ..Wish::default() };
    assert!(signs(&*choose(wish, person()).unwrap(), &key));
}

#[test]
fn without_a_named_key_the_agents_only_one_is_taken_and_none_by_chance() {
    let folder = KeyFolder::new();
    let agent = Agent::start(&folder);
    let wish = Wish { ssh_auth_sock: Some(agent.socket.as_os_str()), ..Wish::default() };
    assert!(matches!(choose(Wish::default(), person()), Err(ChooseError::Agent(AgentError::NotSet))));
    assert!(matches!(choose(wish, person()), Err(ChooseError::NoneHeld)));
    let (first, second) = (folder.make("ed25519", "", ""), folder.make("ecdsa", "256", ""));
    agent.add(&first, &[]);
    assert!(signs(&*choose(wish, person()).unwrap(), &first));
    agent.add(&second, &[]);
    let several = choose(wish, person());
    assert!(matches!(several, Err(ChooseError::Several(names)) if names.len() == 2));
}

#[test]
fn a_signing_command_needs_to_know_its_key() {
    let folder = KeyFolder::new();
    let key = folder.make("ed25519", "", "");
    let command = format!("ssh-keygen -q -Y sign -n \"$STRONGROOM_NAMESPACE\" -f {}", key.path.display());
    let wish = Wish { sign_command: Some(&command), ..Wish::default() };
    assert!(matches!(choose(wish, person()), Err(ChooseError::CommandWithoutKey)));
    for path in [key.public_path(), key.path.clone()] {
        assert!(signs(&*choose(Wish { key: Some(&path), ..wish }, person()).unwrap(), &key));
    }
}

/// Certifies a key as `ssh-keygen -s` is told to.
fn certify(key: &Key, authority: &Key, validity: &str) -> std::path::PathBuf {
    let mut command = std::process::Command::new("ssh-keygen");
    command.args(["-q", "-I", "jana", "-n", "jana", "-V", validity, "-s"]).arg(&authority.path).arg(key.public_path());
    assert!(command.status().unwrap().success());
    let mut path = key.path.clone().into_os_string();
    path.push("-cert.pub");
    path.into()
}

#[test]
fn a_certificate_is_offered_beside_its_key_unless_it_has_ended() {
    let folder = KeyFolder::new();
    let agent = Agent::start(&folder);
    let (key, authority) = (folder.make("ed25519", "", ""), folder.make("ed25519", "", ""));
    let sock = Some(agent.socket.as_os_str());
    let file = certify(&key, &authority, "-2h:-1h");
    let named = |path: &Path| choose(Wish { key: Some(path), ..Wish::default() }, person()).unwrap();
    assert_eq!(named(&key.path).certificate(), None);
    // Who names it wants the agent's word on it.
    assert!(named(&file).certificate().is_some());

    certify(&key, &authority, "+1h");
    let line = std::fs::read_to_string(&file).unwrap();
    for path in [&key.path, &key.public_path(), &file] {
        let signer = named(path);
        assert!(line.starts_with(signer.certificate().unwrap()), "{}", path.display());
        assert!(signs(&*signer, &key), "the key signs, not the certificate");
    }
    // Somebody else's certificate under this name is no certificate of this key.
    let other = folder.make("ed25519", "", "");
    let others = certify(&other, &authority, "+1h");
    std::fs::copy(&file, &others).unwrap();
    assert_eq!(named(&other.path).certificate(), None);

    // The ssh-agent holds key and certificate: one key, offered with it; and with the longer one of two.
    agent.add(&key, &[]);
    certify(&key, &authority, "+3h");
    agent.add(&key, &[]);
    let line = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&key.path).unwrap();
    std::fs::remove_file(&file).unwrap();
    let signer = choose(Wish { ssh_auth_sock: sock, ..Wish::default() }, person()).unwrap();
    assert!(line.starts_with(signer.certificate().unwrap()));
    assert!(signs(&*signer, &key));

    // And it may hold the key under the certificate's name only.
    let removed = agent.ssh_add().args(["-q", "-d"]).arg(key.public_path()).status().unwrap();
    assert!(removed.success());
    let signer = choose(Wish { ssh_auth_sock: sock, ..Wish::default() }, person()).unwrap();
    assert!(signs(&*signer, &key));
}
