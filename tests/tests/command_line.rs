//! The command line against a real agent: the contract with scripts, that is results, JSON objects and exit codes.

use std::io::Write as _;
use std::process::{Output, Stdio};

use jiff::Timestamp;
use serde_json::Value;
use strongroom_proto::words::VaultRole;
use strongroom_tests::clients::{Clients, SLOW_S, codes_between};
use strongroom_tests::organisation::give;
use strongroom_tests::people::Person;
use strongroom_tests::pty::Terminal;

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Runs `strongroom` with something on its standard input.
fn call_with_input(person: &Person, arguments: &[&str], input: &str) -> Output {
    let mut child = person
        .strongroom(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn scripts_get_digits_and_objects_and_people_get_a_line() {
    let mut clients = Clients::found().await;
    let tech = clients.tech.clone();
    let from = Timestamp::now();
    let piped = tech.call(&["code", "acme/slow"]);
    let digits = stdout(&piped).strip_suffix('\n').unwrap();
    assert!(codes_between(SLOW_S, from, Timestamp::now()).iter().any(|code| code == digits), "{digits}");
    assert_eq!((code(&piped), stderr(&piped)), (0, ""), "the digits and nothing else");

    let object: Value = serde_json::from_str(&tech.succeed(&["code", "acme/slow", "--json"])).unwrap();
    let mut expected =
        ["schema", "account", "code", "valid_from", "valid_until", "remaining_ms", "window_taken_by", "receipt"];
    expected.sort_unstable();
    assert_eq!(keys(&object), expected);
    assert_eq!(keys(&object["receipt"]), ["leaf", "log", "seq"]);
    assert_eq!(object["schema"], "strongroom.code/1");
    assert_eq!(object["account"], "acme/slow");
    assert_eq!(object["code"], digits);
    assert_eq!(object["receipt"]["leaf"].as_str().unwrap().len(), 64);
    assert!(object["window_taken_by"].as_array().unwrap().is_empty(), "one's own code is nobody else's");
    let other = clients.organisation.enrol(&mut clients.admin, "other", &[]).await;
    give(&mut clients.admin, "acme", "other", VaultRole::Viewer).await;
    let by_other: Value = serde_json::from_str(&other.succeed(&["code", "acme/slow", "--json"])).unwrap();
    assert_eq!(keys(&by_other["window_taken_by"][0]), ["at", "identity"]);
    assert_eq!(by_other["window_taken_by"][0]["identity"], "tech");
    let warned = other.call(&["code", "acme/slow"]);
    assert!(stderr(&warned).contains("tech took this code"), "{}", stderr(&warned));
    assert_eq!(stdout(&warned).trim_end(), digits);

    let list: Value = serde_json::from_str(&tech.succeed(&["ls", "--json"])).unwrap();
    assert_eq!(keys(&list), ["items", "schema"]);
    assert_eq!(list["schema"], "strongroom.list/1");
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 4);
    for item in items {
        assert_eq!(keys(item), ["access", "account", "issuer", "kind", "label", "vault"]);
    }
    let slow = items.iter().find(|item| item["account"] == "acme/slow").unwrap();
    let words = ["access", "issuer", "kind", "label", "vault"].map(|key| slow[key].as_str().unwrap());
    assert_eq!(words, ["open", "Test", "totp", "slow@example", "acme"]);
    assert_eq!(tech.succeed(&["ls", "bluewater"]), "bluewater/vpn\tTest\tvpn@example\ttotp\topen\n");

    let terminal = Terminal::start_under_shell(&tech.strongroom(&["code", "acme/slow"]), 80, 24);
    let shown = terminal.wait_for("[ended 0]");
    let grouped = format!("{} {}   valid ", &digits[..3], &digits[3..]);
    assert!(shown.contains(&grouped) && shown.contains("s · acme/slow"), "{shown}");
    let terminal = Terminal::start_under_shell(&tech.strongroom(&["ls"]), 80, 24);
    let shown = terminal.wait_for("[ended 0]");
    assert!(shown.contains("ACCOUNT") && shown.contains("acme/slow"), "{shown}");
}

#[tokio::test]
async fn a_copied_code_is_not_printed_and_leaves_the_clipboard_by_itself() {
    let clients = Clients::found().await;
    let from = Timestamp::now();
    let command = clients.tech.strongroom(&["code", "acme/quick", "--copy", "--min-remaining", "5"]);
    let terminal = Terminal::start_under_shell(&command, 80, 24);
    let shown = terminal.wait_for("[ended 0]");
    let copied = terminal.wait_for_clipboard(1);
    assert!(codes_between(10, from, Timestamp::now()).contains(&copied[0]), "{copied:?}");
    assert!(shown.contains("Sent to your terminal's clipboard.") && !shown.contains(&copied[0]), "{shown}");
    assert_eq!(terminal.wait_for_clipboard(2)[1], "");
}

#[tokio::test]
async fn each_refusal_has_its_exit_code() {
    let mut clients = Clients::found().await;
    let stranger = clients.organisation.enrol(&mut clients.admin, "stranger", &[]).await;
    let waiting = clients.organisation.enrol(&mut clients.admin, "waiting", &[]).await;
    give(&mut clients.admin, "acme", "waiting", VaultRole::Eligible).await;

    // An account that one may not see answers exactly like one that does not exist.
    let hidden = stranger.call(&["code", "acme/slow"]);
    let absent = stranger.call(&["code", "acmf/slow"]);
    assert_eq!((code(&hidden), code(&absent)), (3, 3));
    assert_eq!(stderr(&hidden).replace("acme/slow", "X"), stderr(&absent).replace("acmf/slow", "X"));
    assert_eq!(stdout(&hidden), "");
    let [hidden, absent] = ["acme/slow", "acmf/slow"].map(|name| stranger.call(&["show", name, "--json"]));
    assert_eq!(code(&hidden), 3);
    assert_eq!(stderr(&hidden).replace("acme/slow", "X"), stderr(&absent).replace("acmf/slow", "X"));
    assert_eq!(stranger.succeed(&["ls"]), "");

    let denied = clients.organisation.admin.call(&["code", "acme/slow"]);
    assert_eq!((code(&denied), stdout(&denied)), (4, ""), "{}", stderr(&denied));
    let approval = waiting.call(&["code", "acme/slow", "--json"]);
    assert_eq!((code(&approval), stdout(&approval)), (5, ""));
    let object: Value = serde_json::from_str(stderr(&approval)).unwrap();
    assert_eq!(object["schema"], "strongroom.error/1");
    assert_eq!((&object["error"]["kind"], &object["error"]["code"]), (&"needs_approval".into(), &5.into()));
    assert_eq!(code(&clients.tech.call(&["code", "no slash"])), 2);
    let nobody = clients.tech.strongroom(&["ls", "--identity", "nobody"]).output().unwrap();
    assert_eq!(code(&nobody), 4, "{}", stderr(&nobody));
    assert!(stderr(&nobody).contains("hint:"), "{}", stderr(&nobody));

    clients.organisation.running().stop();
    let gone = clients.tech.call(&["code", "acme/slow"]);
    assert_eq!((code(&gone), stdout(&gone)), (6, ""));
    assert!(stderr(&gone).contains("strongroom-agent run"), "{}", stderr(&gone));
}

#[tokio::test]
async fn without_the_token_lists_work_and_codes_are_exit_code_7() {
    let clients = Clients::found().await;
    if !clients.organisation.token.breaks("whose files can be moved away") {
        return;
    }
    let tokens = clients.organisation.tokens();
    let away = tokens.with_extension("away");
    std::fs::rename(&tokens, &away).unwrap();
    let refused = clients.tech.call(&["code", "acme/slow"]);
    assert_eq!((code(&refused), stdout(&refused)), (7, ""), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("doctor"), "{}", stderr(&refused));
    std::fs::rename(&away, &tokens).unwrap();
    assert_eq!(clients.tech.succeed(&["ls", "acme"]).lines().count(), 3);
}

#[tokio::test]
async fn somebody_learns_who_they_are_and_how_the_agent_is() {
    let clients = Clients::found().await;
    let who: Value = serde_json::from_str(&clients.tech.succeed(&["whoami", "--json"])).unwrap();
    assert_eq!(who["schema"], "strongroom.whoami/1");
    assert!(clients.tech.succeed(&["whoami"]).contains("tech (Test tech)"));
    assert!(clients.tech.succeed(&["status"]).contains("state         ready\n"));
    let status: Value = serde_json::from_str(&clients.tech.succeed(&["status", "--json"])).unwrap();
    assert_eq!((&status["schema"], &status["state"]), (&"strongroom.status/1".into(), &"ready".into()));
    let sessions: Value = serde_json::from_str(&clients.manager.succeed(&["session", "list", "--json"])).unwrap();
    let own = sessions["items"].as_array().unwrap().iter().find(|item| item["own"] == true).unwrap();
    assert_eq!(own["identity"], "manager");
    let all = clients.organisation.admin.succeed(&["session", "list"]);
    // The harness's own connection as admin is open, and is ended here.
    let id = all.lines().find(|line| line.contains("tests/1")).unwrap().rsplit('\t').next().unwrap().to_owned();
    assert_eq!(code(&clients.tech.call(&["session", "end", &id, "--yes"])), 3, "{id} is not theirs");
    clients.organisation.admin.succeed(&["session", "end", &id, "--yes"]);
    assert!(!clients.organisation.admin.succeed(&["session", "list"]).contains(&id));
}

#[tokio::test]
async fn names_that_others_chose_cannot_drive_the_terminal() {
    let clients = Clients::found().await;
    let uri = "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    // Neither on the way in ...
    let refused = call_with_input(
        &clients.manager,
        &["account", "add", "acme/evil", "--secret-stdin", "--label", "a\u{1b}]0;pwned\u{7}b"],
        uri,
    );
    assert_ne!(code(&refused), 0);
    assert!(!stderr(&refused).contains('\u{1b}'), "{:?}", stderr(&refused));
    // ... nor in what is said about what was typed.
    for words in [["code", "acme/\u{1b}[2J"], ["ls", "\u{1b}[31mx"], ["show", "acme/sl\u{202e}ow"]] {
        let refused = clients.tech.call(&words);
        assert_eq!(code(&refused), 2, "{words:?}");
        let said = stderr(&refused);
        assert!(!said.contains('\u{1b}') && !said.contains('\u{202e}'), "{said:?}");
    }
}
