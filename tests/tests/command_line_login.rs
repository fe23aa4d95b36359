//! Logging in with every kind of key and every way to sign, against a real agent, a real ssh-agent and OpenSSH's own
//! software security key.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use strongroom_proto::words::VaultRole;
use strongroom_tests::agent::repository;
use strongroom_tests::clients::Clients;
use strongroom_tests::organisation::give;
use strongroom_tests::people::Person;
use strongroom_tests::tools;

/// An ssh-agent of its own. Killed when dropped.
struct SshAgent {
    child: Child,
    socket: PathBuf,
}

impl SshAgent {
    fn start(root: &Path, provider: &str) -> Self {
        let socket = root.join("ssh-agent.sock");
        let mut command = Command::new("ssh-agent");
        command.args(["-D", "-a"]).arg(&socket).args(["-P", provider]).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let begun = Instant::now();
        while !socket.exists() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the ssh-agent does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { child, socket }
    }

    fn add(&self, arguments: &[&str]) {
        let output = tools::output(Command::new("ssh-add").args(arguments).env("SSH_AUTH_SOCK", &self.socket));
        assert!(output.status.success(), "ssh-add {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `strongroom` of somebody who has only the public half and this agent.
    fn call(&self, person: &Person, arguments: &[&str]) -> String {
        let mut command = person.strongroom(arguments);
        command.env("STRONGROOM_KEY", person.key.with_extension("pub")).env("SSH_AUTH_SOCK", &self.socket);
        let output = tools::output(&mut command);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {errors}", person.slug);
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn keys_of_every_type_log_in_from_a_file_and_from_the_ssh_agent() {
    let mut clients = Clients::found().await;
    let root = clients.organisation.root().to_owned();
    let ssh_agent = SshAgent::start(&root, "/nonexistent");
    let types: [(&str, &[&str]); 5] = [
        ("ed", &["-t", "ed25519"]),
        ("rsa3072", &["-t", "rsa", "-b", "3072"]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("p521", &["-t", "ecdsa", "-b", "521"]),
    ];
    for (name, key_type) in types {
        let person = Person::with_key_type(name, &root, &clients.organisation.launch.socket, key_type);
        clients.organisation.enrol_person(&mut clients.admin, &person, &[]).await;
        give(&mut clients.admin, "acme", name, VaultRole::Viewer).await;
        assert_eq!(person.succeed(&["code", "acme/slow"]).trim_end().len(), 6, "{name} by file");
        assert!(person.succeed(&["whoami"]).contains("software-key"), "{name}");
        // Only the ssh-agent knows it now.
        ssh_agent.add(&["-q", &person.key.display().to_string()]);
        std::fs::remove_file(&person.key).unwrap();
        assert_eq!(ssh_agent.call(&person, &["code", "acme/slow"]).trim_end().len(), 6, "{name} by ssh-agent");
        ssh_agent.add(&["-q", "-D"]);
    }
}

#[tokio::test]
async fn a_command_of_ones_own_signs() {
    let clients = Clients::found().await;
    let key = clients.tech.key.display().to_string();
    let hidden = format!("{key}-elsewhere");
    std::fs::rename(&key, &hidden).unwrap();
    let sign = format!("ssh-keygen -q -Y sign -n \"$STRONGROOM_NAMESPACE\" -f {hidden}");
    let call = |sign: &str| {
        let mut command = clients.tech.strongroom(&["whoami", "--sign-cmd", sign]);
        command.env("STRONGROOM_KEY", format!("{key}.pub"));
        tools::output(&mut command)
    };
    let output = call(&sign);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("tech (Test tech)"));
    let refused = call("cat >/dev/null; echo no card >&2; exit 1");
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no card"));
}

#[tokio::test]
async fn security_keys_log_in_through_the_ssh_agent() {
    let provider = match std::env::var_os("STRONGROOM_SK_PROVIDER") {
        Some(provider) => PathBuf::from(provider),
        None => PathBuf::from(tools::run(&repository("tests/fetch-sk-dummy.sh").display().to_string(), &[]).trim()),
    };
    let provider = provider.canonicalize().unwrap().display().to_string();
    let mut clients = Clients::found().await;
    let root = clients.organisation.root().to_owned();
    let ssh_agent = SshAgent::start(&root, &provider);
    for (name, key_type) in [("sk-ed", "ed25519-sk"), ("sk-ec", "ecdsa-sk")] {
        let arguments = ["-t", key_type, "-w", &provider];
        let person = Person::with_key_type(name, &root, &clients.organisation.launch.socket, &arguments);
        clients.organisation.enrol_person(&mut clients.admin, &person, &[]).await;
        give(&mut clients.admin, "acme", name, VaultRole::Viewer).await;
        ssh_agent.add(&["-q", "-S", &provider, &person.key.display().to_string()]);
        std::fs::remove_file(&person.key).unwrap();
        let who = ssh_agent.call(&person, &["whoami"]);
        // Without an attestation at enrolment nobody knows that it is hardware.
        assert!(who.contains("software-key"), "{who}");
        assert_eq!(ssh_agent.call(&person, &["code", "acme/slow"]).trim_end().len(), 6);
    }
    // Nobody's key is attested: a vault that asks for hardware would be a trap, and is refused.
    let admin = &clients.organisation.admin;
    let refused = admin.call(&["vault", "create", "strict", "--name", "Strict", "--min-assurance", "hardware-touch"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("attestation"));
}
