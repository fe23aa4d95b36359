//! Remote use: a real sshd forwards the agent's socket. The login is the same; the user that sshd runs as grants nothing.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_tests::clients::Clients;
use strongroom_tests::logins::{Wire, sign};
use strongroom_tests::people::Person;
use strongroom_tests::tools;
use strongroom_tests::trail::read_log;

/// Where Debian has it; sshd wants to be called by its whole path.
const SSHD: &str = "/usr/sbin/sshd";
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A private sshd on loopback that lets one key in, and nothing but forwards.
fn start_sshd(root: &Path, key: &Person) -> (Running, u16) {
    let host_key = root.join("host-key");
    tools::run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &host_key.display().to_string()]);
    let authorized = root.join("authorized_keys");
    std::fs::write(&authorized, format!("{}\n", key.public_key())).unwrap();
    // Root's sshd goes into this empty folder before anybody has logged in; the package makes it at boot.
    if tools::run("id", &["-u"]).trim() == "0" {
        std::fs::create_dir_all("/run/sshd").unwrap();
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = root.join("sshd_config");
    let text = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nPermitRootLogin prohibit-password\nAllowStreamLocalForwarding yes\n",
        host_key.display(),
        authorized.display()
    );
    std::fs::write(&config, text).unwrap();
    let log = std::fs::File::create(root.join("sshd.log")).unwrap();
    let mut command = Command::new(SSHD);
    command.args(["-D", "-e", "-f"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let running = Running(command.spawn().expect("tests/run.sh installs openssh-server"));
    wait_for("sshd does not listen", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    (running, port)
}

fn forward(root: &Path, port: u16, key: &Person, to: &Path) -> (Running, PathBuf) {
    let folder = root.join("laptop");
    std::fs::create_dir(&folder).unwrap();
    let local = folder.join("local.sock");
    let user = tools::run("id", &["-un"]);
    let mut command = Command::new("ssh");
    command.args(["-N", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    command.args(["-o", "IdentitiesOnly=yes", "-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes", "-p"]);
    command.arg(port.to_string()).arg("-i").arg(&key.key);
    command.arg("-L").arg(format!("{}:{}", local.display(), to.display()));
    command.arg(format!("{}@127.0.0.1", user.trim())).env_remove("SSH_AUTH_SOCK");
    let log = std::fs::File::create(root.join("ssh.log")).unwrap();
    let running = Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    wait_for("ssh does not forward", || local.exists());
    (running, local)
}

#[tokio::test]
async fn the_agent_is_used_through_a_forward_and_sshds_user_grants_nothing() {
    let clients = Clients::found().await;
    let (root, socket) = (clients.organisation.root().to_owned(), clients.organisation.launch.socket.clone());
    // What lets somebody into the machine is another key than what logs in at the agent.
    let way = Person::new("way", &root, &socket);
    let (_sshd, port) = start_sshd(&root, &way);
    let (_ssh, local) = forward(&root, port, &way, &socket);

    // The command works there as it does at the agent's own socket.
    let through = |arguments: &[&str], key: Option<&Path>| {
        let mut command = clients.tech.strongroom(arguments);
        command.env("STRONGROOM_SOCK", &local);
        key.map(|key| command.env("STRONGROOM_KEY", key));
        tools::output(&mut command)
    };
    let pinned = format!("{} {}\n", local.display(), clients.organisation.agent_key());
    let known = root.join(strongroom_tests::people::KNOWN_AGENTS);
    let before = std::fs::read_to_string(&known).unwrap();
    tools::write_private(&known, &format!("{before}{pinned}"));
    let code = through(&["code", "acme/slow"], None);
    assert!(code.status.success(), "{}", String::from_utf8_lossy(&code.stderr));
    assert_eq!(String::from_utf8_lossy(&code.stdout).trim_end().len(), 6);

    // Without a login nothing is said, and the key that opened the way opens nothing here.
    let mut wire = Wire::connect(&local);
    for method in ["vault.list", "session.whoami", "identity.list"] {
        assert_eq!(wire.call(method, &json!({})).unwrap_err(), "unauthenticated", "{method}");
    }
    let release = json!({"account": "acme/slow"});
    assert_eq!(wire.call("code.release", &release).unwrap_err(), "unauthenticated");
    for name in ["tech", "admin"] {
        let mut wire = Wire::connect(&local);
        let opened = wire.open(name, &way.public_key(), None).unwrap();
        let proof = sign(&way.key, "strongroom-login@v1", &opened.text(), &[]);
        assert_eq!(wire.prove(&proof).unwrap_err(), "unauthenticated", "{name}");
    }
    assert_eq!(through(&["whoami"], Some(&way.key)).status.code(), Some(4));

    // The record says whose the connection was: sshd's, not the technician's program.
    let log = read_log(&mut clients.manager.connect().await, Some("acme")).await;
    let released = log.iter().rfind(|entry| entry.is("code.release", RecordOutcome::Ok)).unwrap();
    let from = released.record.from.clone().unwrap();
    let name = std::fs::read_to_string(format!("/proc/{}/comm", from.pid.unwrap())).unwrap_or_default();
    assert!(name.is_empty() || name.trim() == "sshd", "{name}");
    assert_eq!(from.uid.unwrap().to_string(), tools::run("id", &["-u"]).trim());
}
