//! The command line of managers and admins against a real agent: accounts, vaults, grants, identities.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::Value;
use strongroom_tests::clients::Clients;
use strongroom_tests::people::Person;
use strongroom_tests::seeds::{RFC_4226, RFC_SHA1, base32};
use strongroom_tests::tools::write_private;

/// Runs `strongroom` with something on its standard input. Gives exit code, output and errors.
fn call(person: &Person, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = person.strongroom(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn accounts(person: &Person, vault: &str) -> Vec<String> {
    person.succeed(&["ls", vault]).lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_is_imported_whole_or_not_at_all_with_a_report_by_line() {
    let clients = Clients::found().await;
    let secret = base32(RFC_SHA1);
    let good = format!(
        "otpauth://totp/Microsoft:admin@acme.example?secret={secret}&issuer=Microsoft\n\
         # a comment\n\
         otpauth://totp/Microsoft:admin@acme.example?secret={}%3D%3D&digits=8&algorithm=sha1\n\
         otpauth://hotp/VPN:tech?secret={secret}&counter=5\n",
        secret.to_lowercase()
    );
    let file = clients.organisation.root().join("list.txt");
    write_private(&file, &good);
    let (code, said, errors) =
        call(&clients.manager, &["account", "import", "acme", "--from", &file.display().to_string(), "--dry-run"], "");
    assert_eq!(code, 0, "{said}{errors}");
    assert!(said.contains("line 1: acme/microsoft-admin") && said.contains("Would import 3 accounts"), "{said}");
    assert_eq!(accounts(&clients.tech, "acme").len(), 3, "a rehearsal changes nothing");

    let bad = format!("{good}otpauth://totp/broken?secret=NOT!BASE32\n");
    let (code, said, errors) = call(&clients.manager, &["account", "import", "acme", "--from", "-"], &bad);
    assert_eq!((code, said.as_str()), (1, ""), "{errors}");
    assert!(errors.contains("LEFT OUT") && errors.contains("Nothing was imported"), "{errors}");
    assert!(!errors.contains("NOT!BASE32") && !errors.contains(&secret), "no secret is repeated: {errors}");
    assert_eq!(accounts(&clients.tech, "acme").len(), 3, "one bad row, nothing imported");

    let (code, said, errors) = call(&clients.manager, &["account", "import", "acme", "--from", "-"], &good);
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("Imported 3 accounts into acme (record "), "{said}");
    assert!(said.contains("line 3: acme/microsoft-admin-2") && said.contains("line 4: acme/vpn-tech"), "{said}");
    assert_eq!(accounts(&clients.tech, "acme").len(), 6);
    assert_eq!(clients.tech.succeed(&["code", "acme/vpn-tech"]).trim_end(), RFC_4226[5]);

    // A slug that is taken is the agent's refusal, and again nothing happens.
    let before = accounts(&clients.tech, "acme");
    let (code, said, errors) = call(&clients.manager, &["account", "import", "acme", "--from", "-", "--json"], &good);
    assert_eq!((code, said.as_str()), (1, ""), "{errors}");
    assert_eq!(object(&errors)["error"]["kind"], "conflict");
    assert_eq!(accounts(&clients.tech, "acme"), before);
    let (code, ..) = call(&clients.tech, &["account", "import", "acme", "--from", "-"], &good);
    assert_eq!(code, 4, "a viewer imports nothing");

    let (code, said, errors) =
        call(&clients.manager, &["account", "import", "bluewater", "--from", "-", "--skip-bad", "--json"], &bad);
    assert_eq!(code, 9, "{errors}");
    let report = object(&said);
    assert_eq!((&report["imported"], &report["skipped"]), (&3.into(), &1.into()), "{report}");
}

#[tokio::test]
async fn an_account_comes_is_shown_and_goes() {
    let clients = Clients::found().await;
    let add = ["account", "add", "acme/firewall", "--secret-stdin", "--issuer", "Fortinet", "--digits", "8"];
    let (code, said, errors) = call(&clients.manager, &add, &format!("{}\n", base32(RFC_SHA1)));
    assert_eq!(code, 0, "{errors}");
    assert!(said.starts_with("Added acme/firewall (record "), "{said}");
    let shown = clients.tech.succeed(&["show", "acme/firewall"]);
    assert!(shown.contains("Fortinet") && shown.contains("totp, SHA1, 8 digits"), "{shown}");
    let shown = object(&clients.tech.succeed(&["show", "acme/firewall", "--json"]));
    assert_eq!((&shown["schema"], &shown["account"]), (&"strongroom.account/1".into(), &"acme/firewall".into()));
    assert_eq!(clients.tech.succeed(&["code", "acme/firewall"]).trim_end().len(), 8);
    let (code, _, errors) = call(&clients.manager, &add, &base32(RFC_SHA1));
    assert_eq!(code, 1, "it is taken: {errors}");
    let (code, ..) = call(&clients.manager, &["account", "rm", "acme/firewall", "--reason", "gone"], "");
    assert_eq!(code, 2, "without a terminal only --yes removes");
    let (code, ..) = call(&clients.tech, &["account", "rm", "acme/firewall", "--reason", "gone", "--yes"], "");
    assert_eq!(code, 4);
    clients.manager.succeed(&["account", "rm", "acme/firewall", "--reason", "gone", "--yes"]);
    assert_eq!(clients.tech.call(&["code", "acme/firewall"]).status.code(), Some(3));
}

#[tokio::test]
async fn vaults_are_made_renamed_frozen_and_thawed() {
    let clients = Clients::found().await;
    let admin = &clients.organisation.admin;
    let made = object(&admin.succeed(&["vault", "create", "harbor", "--name", "Harbor Ltd", "--json"]));
    assert_eq!((&made["schema"], &made["vault"]), (&"strongroom.vault_created/1".into(), &"harbor".into()));
    assert_eq!(clients.manager.call(&["vault", "create", "x", "--name", "X"]).status.code(), Some(4));
    admin.succeed(&["vault", "rename", "harbor", "--to", "harborview", "--name", "Harborview"]);
    let listed = admin.succeed(&["vault", "ls"]);
    assert!(listed.contains("harborview\tHarborview\t") && !listed.contains("harbor\t"), "{listed}");
    admin.succeed(&["vault", "rename", "acme", "--to", "acme2"]);
    clients.tech.succeed(&["code", "acme2/slow"]);

    let (code, ..) = call(&clients.tech, &["vault", "freeze", "acme2", "--reason", "incident"], "");
    assert_eq!(code, 4);
    clients.manager.succeed(&["vault", "freeze", "acme2", "--reason", "incident"]);
    let frozen = clients.tech.call(&["code", "acme2/slow"]);
    assert_eq!(frozen.status.code(), Some(4), "{}", String::from_utf8_lossy(&frozen.stderr));
    assert!(String::from_utf8_lossy(&frozen.stderr).contains("thaw"));
    assert!(clients.tech.succeed(&["vault", "ls"]).contains("FROZEN"));
    assert_eq!(clients.manager.call(&["vault", "thaw", "acme2", "--reason", "over"]).status.code(), Some(4));
    admin.succeed(&["vault", "thaw", "acme2", "--reason", "over"]);
    clients.tech.succeed(&["code", "acme2/slow"]);
}

#[tokio::test]
async fn grants_are_given_for_a_time_listed_and_ended() {
    let mut clients = Clients::found().await;
    let guest = clients.organisation.enrol(&mut clients.admin, "guest", &[]).await;
    let give =
        ["grant", "give", "acme", "guest", "viewer", "--for", "8h", "--account", "slow", "--ticket", "INC-7", "--json"];
    let given = object(&clients.manager.succeed(&give));
    assert_eq!(given["schema"], "strongroom.grant_given/1");
    let grant = given["grant"].as_str().unwrap().to_owned();
    guest.succeed(&["code", "acme/slow"]);
    assert_eq!(guest.call(&["code", "acme/quick"]).status.code(), Some(3), "only that account");
    let listed = object(&clients.manager.succeed(&["grant", "list", "acme", "--of", "guest", "--json"]));
    let item = &listed["items"][0];
    assert_eq!(
        (&item["grant"], &item["role"], &item["given_by"]),
        (&grant.as_str().into(), &"viewer".into(), &"manager".into())
    );
    let [from, until] = ["from", "until"].map(|key| item[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
    assert!((until.duration_since(from).as_secs() - 8 * 3600).abs() <= 2, "{item}");
    assert_eq!(
        clients.manager.call(&["grant", "give", "acme", "manager", "viewer"]).status.code(),
        Some(4),
        "to oneself"
    );
    assert_eq!(clients.manager.call(&["grant", "give", "acme", "guest", "manager"]).status.code(), Some(4));
    clients.manager.succeed(&["grant", "end", &grant, "--yes"]);
    assert_eq!(guest.call(&["code", "acme/slow"]).status.code(), Some(3));
    clients.manager.succeed(&["grant", "give", "acme", "guest", "viewer", "--for", "2s"]);
    guest.succeed(&["code", "acme/slow"]);
    std::thread::sleep(std::time::Duration::from_millis(2200));
    assert_eq!(guest.call(&["code", "acme/slow"]).status.code(), Some(3), "it ended by itself");
}

#[tokio::test]
async fn people_are_enrolled_get_keys_and_are_revoked() {
    let clients = Clients::found().await;
    let (admin, root) = (&clients.organisation.admin, clients.organisation.root());
    let jana = Person::new("jana", root, &clients.organisation.launch.socket);
    let public = jana.key.with_extension("pub").display().to_string();
    let private = jana.key.display().to_string();
    let (code, _, errors) = call(admin, &["identity", "enrol", "jana", "--name", "Jana", "--key", &private], "");
    assert!(code == 2 && errors.contains("is a private key"), "{errors}");
    let enrolled = object(&admin.succeed(&["identity", "enrol", "jana", "--name", "Jana", "--key", &public, "--json"]));
    assert_eq!(enrolled["schema"], "strongroom.identity_enrolled/1");
    assert!(jana.succeed(&["whoami"]).contains("jana (Jana)"));
    assert_eq!(jana.call(&["identity", "enrol", "x", "--name", "X", "--key", &public]).status.code(), Some(4));

    let second = Person::new("jana-laptop", root, &clients.organisation.launch.socket);
    let second_public = second.key.with_extension("pub").display().to_string();
    let added = object(&admin.succeed(&["identity", "key", "add", "jana", &second_public, "--json"]));
    let fingerprint = added["fingerprint"].as_str().unwrap();
    let by_laptop = |words: &[&str]| {
        let words = [words, &["--identity", "jana"]].concat();
        second.call(&words).status.code()
    };
    assert_eq!(by_laptop(&["whoami"]), Some(0));
    admin.succeed(&["identity", "key", "rm", "jana", fingerprint, "--yes"]);
    assert_eq!(by_laptop(&["whoami"]), Some(4));

    let listed = admin.succeed(&["identity", "list"]);
    assert!(listed.contains("jana\tJana\ttechnician\tactive\t"), "{listed}");
    let revoked = object(&admin.succeed(&["identity", "revoke", "tech", "--reason", "left", "--yes", "--json"]));
    assert_eq!((&revoked["identity"], &revoked["grants"], &revoked["vaults"]), (&"tech".into(), &2.into(), &2.into()));
    let refused = clients.tech.call(&["code", "acme/slow"]);
    assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(
        admin.succeed(&["identity", "list"]).lines().any(|line| line.starts_with("tech\t") && line.contains("revoked"))
    );
}
