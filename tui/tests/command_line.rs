//! The program as scripts see it: streams and exit codes, without an agent.

#![allow(clippy::unwrap_used, reason = "in a test program a failure is the message")]

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// The program with an empty environment and a home of its own.
fn strongroom(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
    command.env_clear().env("HOME", home).stdin(Stdio::null());
    command
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    strongroom(home).args(arguments).output().unwrap()
}

fn run_with_input(home: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = strongroom(home)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // The program may stop reading early: that is its right.
    let _ = pipe.write_all(input);
    drop(pipe);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn without_a_terminal_the_full_screen_is_a_usage_error() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("\nhint: strongroom --help"), "{}", text(&output.stderr));
}

#[test]
fn an_absent_agent_is_exit_code_6_and_the_error_is_on_standard_error() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("agent.sock");
    let output = run(home.path(), &["status", "--sock", socket.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(6));
    assert_eq!(text(&output.stdout), "");
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["schema"], "strongroom.error/1");
    assert_eq!(error["error"]["code"], 6);
    assert_eq!(error["error"]["kind"], "agent_unreachable");
    assert!(error["error"]["message"].as_str().unwrap().contains("agent.sock"));
    assert!(error["error"]["hint"].is_string());
}

#[test]
fn an_agent_that_hangs_is_exit_code_8_and_one_that_hangs_up_is_6() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("agent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let arguments = ["status", "--timeout", "1s", "--sock", socket.to_str().unwrap()];
    let hung = run(home.path(), &arguments);
    assert_eq!(hung.status.code(), Some(8), "{}", text(&hung.stderr));
    let closer = std::thread::spawn(move || drop((listener.accept().unwrap(), listener.accept().unwrap())));
    let closed = run(home.path(), &arguments);
    closer.join().unwrap();
    assert_eq!(closed.status.code(), Some(6), "{}", text(&closed.stderr));
}

#[test]
fn the_variable_names_the_socket_and_the_flag_wins() {
    let home = tempfile::tempdir().unwrap();
    let by_variable = strongroom(home.path()).arg("status").env("STRONGROOM_SOCK", "/variable").output().unwrap();
    assert!(text(&by_variable.stderr).contains("/variable"), "{}", text(&by_variable.stderr));
    let both =
        strongroom(home.path()).args(["status", "--sock", "/flag"]).env("STRONGROOM_SOCK", "/v").output().unwrap();
    assert!(text(&both.stderr).contains("/flag"), "{}", text(&both.stderr));
}

#[test]
fn help_is_found_by_word_and_by_flag() {
    let home = tempfile::tempdir().unwrap();
    for (word, flag) in
        [(vec!["help"], vec!["--help"]), (vec!["help", "vault", "create"], vec!["vault", "create", "--help"])]
    {
        let (word, flag) = (run(home.path(), &word), run(home.path(), &flag));
        assert_eq!((word.status.code(), text(&word.stdout)), (Some(0), text(&flag.stdout)));
    }
}

#[test]
fn wrong_arguments_are_exit_code_2_in_both_dresses() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["code"][..], &["code", "acme"], &["nonsense"], &["grant", "give", "acme", "jana", "boss"]] {
        let plain = run(home.path(), arguments);
        assert_eq!((plain.status.code(), text(&plain.stdout)), (Some(2), ""), "{arguments:?}");
        let json = run(home.path(), &[arguments, &["--json"]].concat());
        assert_eq!((json.status.code(), text(&json.stdout)), (Some(2), ""), "{arguments:?}");
        let error: serde_json::Value = serde_json::from_slice(&json.stderr).unwrap();
        assert_eq!(error["error"]["kind"], "usage", "{arguments:?}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(arguments != ["code"] || message.ends_with("not provided: <CLIENT/ACCOUNT>"), "{message}");
    }
    assert_eq!(run(home.path(), &["code", "acme/x"]).status.code(), Some(2), "nobody said who logs in");
    assert_eq!(run(home.path(), &["--help"]).status.code(), Some(0));
    assert_eq!(text(&run(home.path(), &["--version"]).stdout), concat!("strongroom ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn what_cannot_be_taken_back_needs_yes_without_a_terminal() {
    let home = tempfile::tempdir().unwrap();
    let id = "00000000-0000-4000-8000-000000000001";
    for arguments in [
        &["account", "rm", "acme/x", "--reason", "r"][..],
        &["identity", "revoke", "jana", "--reason", "r"],
        &["identity", "key", "rm", "jana", "SHA256:x"],
        &["grant", "end", id],
        &["session", "end", id],
    ] {
        let output = run(home.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("hint: add --yes"), "{arguments:?}");
    }
}

#[test]
fn an_import_is_rehearsed_without_an_agent_and_echoes_no_secret() {
    let home = tempfile::tempdir().unwrap();
    let good = format!("otpauth://totp/Microsoft:admin@acme.example?secret={SECRET}&issuer=Microsoft\n");
    let bad = format!("{good}otpauth://totp/x?secret={SECRET}1\n");
    let arguments = ["account", "import", "acme", "--from", "-", "--dry-run"];
    let cases = [
        (&good, &[][..], 0),
        (&bad, &[], 1),
        (&bad, &["--skip-bad"], 9),
        (&bad, &["--json"], 1),
        (&good, &["--json"], 0),
    ];
    for (input, flags, code) in cases {
        let output = run_with_input(home.path(), &[&arguments, flags].concat(), input.as_bytes());
        assert_eq!(output.status.code(), Some(code), "{flags:?}");
        let said = [text(&output.stdout), text(&output.stderr)].concat();
        assert!(!said.contains(&SECRET[..16]), "{said}");
        assert_eq!(said.contains("acme/microsoft-admin"), code != 1, "{said}");
        assert_eq!(said.contains("character 33"), code != 0, "{said}");
        assert_eq!(output.stdout.is_empty(), code == 1, "{said}");
    }
}

#[test]
fn an_import_is_bounded() {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["account", "import", "acme", "--from", "-", "--dry-run"];
    let output = run_with_input(home.path(), &arguments, &vec![b'#'; 3 * 1024 * 1024]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("longer than 1 MiB"), "{}", text(&output.stderr));
}

#[test]
fn a_secret_on_standard_input_is_checked_before_anybody_is_called() {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["account", "add", "acme/x", "--secret-stdin"];
    let wrong = run_with_input(home.path(), &arguments, b"GEZDGNBVGY3TQOJ0\n");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("character 16"), "{}", text(&wrong.stderr));
    let long = run_with_input(home.path(), &arguments, &[b'A'; 8192]);
    assert!(text(&long.stderr).contains("longer than 4 KiB"), "{}", text(&long.stderr));
    let none = run(home.path(), &["account", "add", "acme/x"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("--secret-stdin"), "{}", text(&none.stderr));
}

#[test]
fn a_closed_pipe_ends_the_program_quietly() {
    let home = tempfile::tempdir().unwrap();
    let list = home.path().join("list.txt");
    let row = |number| format!("otpauth://totp/x{number}?secret={SECRET}&digits=6&period={}\n", number + 1);
    std::fs::write(&list, (0..5000).map(row).collect::<String>()).unwrap();
    let mut child = strongroom(home.path())
        .args(["account", "import", "acme", "--dry-run", "--from"])
        .arg(&list)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGPIPE));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_full_disk_behind_standard_output_is_a_failure() {
    let home = tempfile::tempdir().unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = strongroom(home.path()).args(["completions", "bash"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("standard output"), "{}", text(&output.stderr));
}

#[test]
fn a_mistake_in_the_settings_names_file_and_line_and_stops_no_offline_command() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".config/strongroom");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), "identity = \"jana\"\nkee = \"x\"\n").unwrap();
    let output = run(home.path(), &["whoami"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("config.toml line 2: unknown field `kee`"), "{}", text(&output.stderr));
    let output = run(home.path(), &["audit", "verify", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("NOT VERIFIED: log.pub cannot be read"), "{}", text(&output.stderr));
}
