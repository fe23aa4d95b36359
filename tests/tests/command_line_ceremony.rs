//! Ceremonies as people hold them: on the command line, with the recovery key on standard input.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::Value;
use strongroom_proto::words::{Algorithm, OtpKind, Scheme};
use strongroom_tests::ceremony::{RecoveryPair, TwoPeople, hotp};
use strongroom_tests::clock::shifted;
use strongroom_tests::organisation::{import, row};
use strongroom_tests::people::Person;
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::tools;

/// Runs `strongroom` with something on its standard input. Gives exit code, output and errors.
fn call(person: &Person, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = person.strongroom(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that does not read ends before all was written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn proposed(person: &Person, arguments: &[&str]) -> String {
    let answer: Value = serde_json::from_str(&person.succeed(&[arguments, &["--json"]].concat())).unwrap();
    assert_eq!(answer["schema"], "strongroom.ceremony_proposed/1");
    answer["ceremony"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn two_people_rotate_hand_over_and_destroy() {
    let people = TwoPeople::found(&[("acme", Scheme::Resident)]).await;
    let (admin, manager, tech) = (&people.organisation.admin, &people.manager, &people.tech);
    let rows = vec![row("vpn", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1)];
    import(&mut manager.connect().await, "acme", rows).await;
    let key = std::fs::read_to_string(people.recovery.file()).unwrap();

    let (code, said, errors) = call(manager, &["vault", "rotate-key", "acme", "--reason", "yearly"], "");
    assert_eq!(code, 0, "{errors}");
    assert!(said.starts_with("Proposed rotate-key of acme: ") && errors.contains("one of: admin"), "{said}{errors}");
    let id = said.split_whitespace().nth(4).unwrap().to_owned();
    assert!(errors.contains(&format!("strongroom ceremony confirm {id}")), "{errors}");
    let run = ["ceremony", "run", &id, "--recovery-key", "-"];
    assert_eq!(call(manager, &run, &key).0, 5, "nobody has confirmed");
    assert_eq!(call(manager, &["ceremony", "confirm", &id, "--yes"], "").0, 4, "one's own");
    assert_eq!(call(admin, &["ceremony", "confirm", &id], "").0, 2, "without a terminal only --yes confirms");
    let (code, said, errors) = call(admin, &["ceremony", "confirm", &id, "--yes"], "");
    assert!(code == 0 && said.starts_with("Confirmed ") && errors.contains("yearly"), "{said}{errors}");
    assert_eq!(call(manager, &["ceremony", "run", &id], "").0, 2, "resident seeds need the recovery key");
    let (code, said, errors) = call(manager, &run, &key);
    assert!(code == 0 && said.contains("Rotated the key of acme: 1 accounts"), "{said}{errors}");
    assert!(!format!("{said}{errors}").contains("AGE-SECRET"));
    let listed = manager.succeed(&["ceremony", "ls", "acme"]);
    assert!(listed.starts_with(&format!("{id}\tacme\trotate-key\tdone\tmanager\tadmin\t")), "{listed}");
    assert_eq!(tech.succeed(&["code", "acme/vpn"]).trim_end(), hotp(RFC_SHA1, 0, 6));

    let client = RecoveryPair::new();
    let to = client.recipient();
    let id = proposed(admin, &["vault", "hand-over", "acme", "--to", &to, "--reason", "leaves us"]);
    manager.succeed(&["ceremony", "confirm", &id, "--yes"]);
    let file = people.organisation.root().join("acme.age");
    let out = file.display().to_string();
    let run = ["ceremony", "run", &id, "--recovery-key", "-", "--out", &out];
    assert_eq!(call(admin, &run[..5], &key).0, 2, "the file needs a place");
    let (code, said, errors) = call(admin, &run, &key);
    assert!(code == 0 && said.contains("Handed 1 accounts of acme over"), "{said}{errors}");
    assert!(client.open(&file).contains("otpauth://hotp/Test:vpn%40example?secret="));

    assert_eq!(call(admin, &["vault", "destroy", "acme", "--reason", "left"], "").0, 2, "nobody typed its name");
    assert_eq!(call(admin, &["vault", "destroy", "acme", "--name", "acne", "--reason", "left"], "").0, 2);
    let id = proposed(admin, &["vault", "destroy", "acme", "--name", "acme", "--reason", "left"]);
    manager.succeed(&["ceremony", "confirm", &id, "--yes"]);
    let certificate = people.organisation.root().join("certificate");
    let (code, said, errors) = call(admin, &["ceremony", "run", &id, "--out", certificate.to_str().unwrap()], "");
    assert!(code == 0 && said.contains("Destroyed acme: 1 seeds"), "{said}{errors}");
    let allowed = people.organisation.root().join("allowed");
    std::fs::write(&allowed, format!("agent {}\n", people.organisation.agent_key())).unwrap();
    let verify = format!(
        "ssh-keygen -Y verify -f {} -I agent -n strongroom-certificate@v1 -s {c}.sig < {c}",
        allowed.display(),
        c = certificate.display()
    );
    assert!(tools::run("sh", &["-c", &verify]).contains("Good"));
    assert!(admin.succeed(&["ceremony", "show", &id]).contains("BEGIN SSH SIGNATURE"));
    assert!(admin.succeed(&["vault", "ls"]).contains("DESTROYED"));
    assert_eq!(call(tech, &["code", "acme/vpn"], "").0, 3);
}

#[tokio::test]
async fn a_ceremony_that_waited_too_long_is_expired() {
    let mut people = TwoPeople::found(&[("acme", Scheme::Derived)]).await;
    let id = proposed(&people.organisation.admin, &["vault", "rotate-key", "acme", "--reason", "yearly"]);
    let tomorrow = shifted("+25h");
    people.organisation.running().stop();
    people.organisation.launch.environment = tomorrow.clone();
    people.organisation.start();
    let mut command = people.manager.strongroom(&["ceremony", "confirm", &id, "--yes"]);
    let output = tools::output(command.envs(tomorrow));
    assert_eq!(output.status.code(), Some(8), "{}", String::from_utf8_lossy(&output.stderr));
}
