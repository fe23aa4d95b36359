//! The pseudo-terminal shows what a terminal would.

use super::*;

#[test]
fn a_program_sees_its_terminal_and_its_end_is_seen() {
    let mut command = Command::new("sh");
    command.env("PATH", "/usr/bin:/bin").args(["-c", "stty size; read answer; echo \"got $answer\"; exit 7"]);
    let mut terminal = Terminal::start(&command, 60, 12);
    terminal.wait_for("12 60");
    terminal.send("yes\n");
    terminal.wait_for("got yes");
    assert_eq!(terminal.wait_for_end().exit_code(), 7);
}

#[test]
fn only_whole_frames_and_clipboard_texts_are_published() {
    let mut command = Command::new("sh");
    let script = "printf '\\033[?1049h\\033[?2026hone\\033[?2026l'; printf ' half'; sleep 1; \
                  printf '\\033[?2026l\\033]52;c;MDcwNDQz\\007'; read line; printf '\\033[?1049l'; read line";
    command.env("PATH", "/usr/bin:/bin").args(["-c", script]);
    let mut terminal = Terminal::start(&command, 60, 12);
    assert_eq!(terminal.wait_for("one").trim_end(), "one", "the second half of the frame is not there yet");
    assert_eq!(terminal.wait_for_clipboard(1), ["070443"]);
    assert_eq!(terminal.text().lines().next(), Some("one half"));
    assert!(terminal.is_alternate());
    terminal.send("\n");
    terminal.wait_gone("one");
    assert!(!terminal.is_alternate());
}

#[test]
fn a_terminal_left_in_disorder_is_noticed_under_the_shell() {
    let mut command = Command::new("sh");
    command.env("PATH", "/usr/bin:/bin").args(["-c", "read line; stty raw; kill -TERM $$"]);
    let mut terminal = Terminal::start_under_shell(&command, 60, 12);
    let before = terminal.modes();
    terminal.send("\n");
    terminal.wait_for("[ended 143]");
    assert_ne!(terminal.modes(), before);
}
