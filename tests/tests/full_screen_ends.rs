//! How the full screen begins and ends: what is asked before it opens, and a terminal that is given back on every way out.

use std::process::Command;

use strongroom_tests::clients::Clients;
use strongroom_tests::people::Person;
use strongroom_tests::pty::Terminal;
use strongroom_tests::tools;

/// The program under a shell, open; and the terminal's modes from before.
fn open(command: &Command, shows: &str) -> (Terminal, String) {
    // The modes before are those of a terminal in which nothing has run yet.
    let quiet = Terminal::start(Command::new("sleep").arg("100").env("PATH", "/usr/bin:/bin"), 80, 24);
    let before = quiet.modes();
    let terminal = Terminal::start_under_shell(command, 80, 24);
    terminal.wait_for(shows);
    assert!(terminal.is_alternate(), "the alternate screen");
    assert!(terminal.is_paste_bracketed(), "bracketed paste");
    assert_ne!(terminal.modes(), before, "the screen reads keys one by one");
    (terminal, before)
}

fn assert_given_back(terminal: &Terminal, before: &str) {
    assert!(!terminal.is_alternate(), "the alternate screen");
    assert!(!terminal.is_cursor_hidden(), "the cursor");
    assert!(!terminal.is_paste_bracketed(), "bracketed paste");
    assert_eq!(terminal.modes(), before);
}

fn signal(name: &str, pid: u32) {
    tools::run("kill", &[name, &pid.to_string()]);
}

#[tokio::test]
async fn the_terminal_is_given_back_after_q_ctrl_c_and_signals() {
    let clients = Clients::found().await;
    let command = clients.tech.strongroom(&[]);
    for (way, code) in [("q", 0), ("\x03", 0), ("-TERM", 0), ("-HUP", 0), ("-INT", 0)] {
        let (mut terminal, before) = open(&command, "acme Ltd");
        if way.starts_with('-') {
            signal(way, terminal.child_pid());
        } else {
            terminal.send(way);
        }
        let last = terminal.wait_for(&format!("[ended {code}]"));
        assert!(!last.contains("acme"), "nothing of the screen stays: {last}");
        assert_given_back(&terminal, &before);
    }
}

#[test]
fn the_terminal_is_given_back_after_a_panic_and_its_message_is_readable() {
    let example = tools::target_dir().join("examples/screen");
    assert!(example.exists(), "{} is missing: cargo build -p strongroom --examples", example.display());
    let mut command = Command::new(example);
    command.env("PATH", "/usr/bin:/bin").env("SAMPLE_LIFE_S", "2").env("SAMPLE_PANIC", "1");
    let (terminal, before) = open(&command, "Acme Dental Group");
    let last = terminal.wait_for("[ended ");
    assert!(last.contains("the panic that was asked for"), "{last}");
    assert!(!last.contains("[ended 0]"), "{last}");
    assert_given_back(&terminal, &before);
}

#[tokio::test]
async fn ctrl_z_gives_the_terminal_back_and_fg_takes_it_again_without_the_code() {
    let clients = Clients::found().await;
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "shell> ");
    for (name, value) in clients.tech.strongroom(&[]).get_envs() {
        shell.env(name, value.unwrap());
    }
    let mut terminal = Terminal::start(&shell, 80, 24);
    terminal.wait_for("shell>");
    terminal.send(&format!("{}\r", tools::program("strongroom").display()));
    terminal.wait_for("acme Ltd");
    terminal.send("/slow\r");
    terminal.wait_for("/slow Esc clears");
    terminal.send("\r");
    terminal.wait_for("space hide");
    terminal.send("\x1a");
    terminal.wait_for("Stopped");
    assert!(!terminal.is_alternate() && !terminal.is_cursor_hidden());
    // The shell reads whole lines again.
    terminal.send("echo $((6*7))\r");
    terminal.wait_for("42");
    terminal.send("fg\r");
    let back = terminal.wait_for("••• •••");
    assert!(back.contains("acme/slow"), "{back}");
    // The very next key counts.
    terminal.send("?");
    terminal.wait_for("filter clients");
    terminal.send("\x1b");
    terminal.wait_gone("filter clients");
    terminal.send("q");
    terminal.wait_until("the shell's fourth prompt", |screen| screen.matches("shell>").count() == 4);
    terminal.send("exit\r");
    assert_eq!(terminal.wait_for_end().exit_code(), 0);
}

#[tokio::test]
async fn a_passphrase_is_asked_for_before_the_screen_opens() {
    let mut clients = Clients::found().await;
    let key = clients.tech.key.display().to_string();
    tools::run("ssh-keygen", &["-q", "-p", "-P", "", "-N", "open sesame", "-f", &key]);
    let mut terminal = Terminal::start_under_shell(&clients.tech.strongroom(&[]), 80, 24);
    terminal.wait_until("the question", |screen| screen.to_lowercase().contains("passphrase"));
    assert!(!terminal.is_alternate());
    terminal.send("open sesame\r");
    let open = terminal.wait_for("acme Ltd");
    assert!(!open.contains("sesame"));
    // Logging in again does not ask again.
    clients.organisation.running().kill();
    terminal.wait_for("✗ OFFLINE");
    clients.organisation.start();
    let again = terminal.wait_for("tech · connected");
    assert!(!again.to_lowercase().contains("passphrase"), "{again}");
    terminal.send("q");
    let last = terminal.wait_for("[ended 0]");
    assert!(!last.contains("sesame"), "it is not echoed: {last}");
}

#[tokio::test]
async fn an_unknown_agent_is_asked_about_before_the_screen_opens() {
    let clients = Clients::found().await;
    let unknown = |person: &Person| {
        let mut command = person.strongroom(&[]);
        command.env("STRONGROOM_KNOWN_AGENTS", clients.organisation.root().join("none-yet"));
        command
    };
    let mut terminal = Terminal::start_under_shell(&unknown(&clients.tech), 80, 24);
    let question = terminal.wait_for("[y/N]");
    assert!(question.contains("SHA256:") && !terminal.is_alternate(), "{question}");
    terminal.send("n\r");
    let last = terminal.wait_for("[ended 4]");
    assert!(last.contains("hint:"), "{last}");
    assert!(!clients.organisation.root().join("none-yet").exists(), "a no leaves nothing behind");

    let mut terminal = Terminal::start_under_shell(&unknown(&clients.tech), 80, 24);
    terminal.wait_for("[y/N]");
    terminal.send("y\r");
    terminal.wait_for("acme Ltd");
    terminal.send("q");
    terminal.wait_for("[ended 0]");
    let mut terminal = Terminal::start_under_shell(&unknown(&clients.tech), 80, 24);
    terminal.wait_for("acme Ltd");
    terminal.send("q");
    terminal.wait_for("[ended 0]");
}

#[tokio::test]
async fn without_an_agent_the_screen_opens_and_waits_for_it() {
    let mut clients = Clients::found().await;
    clients.organisation.running().stop();
    let terminal = Terminal::start_under_shell(&clients.tech.strongroom(&[]), 80, 24);
    terminal.wait_for("The agent is not running.");
    terminal.wait_for("strongroom-agent run");
    clients.organisation.start();
    terminal.wait_for("acme Ltd");
}
