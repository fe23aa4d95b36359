//! The full screen in a real terminal against a real agent: what a technician does in a day.

use jiff::Timestamp;
use strongroom_proto::method::identity::Revoke;
use strongroom_tests::big_digits;
use strongroom_tests::clients::{Clients, SLOW_S, codes_between};
use strongroom_tests::organisation::slug;
use strongroom_tests::people::Person;
use strongroom_tests::pty::Terminal;

fn open(person: &Person, columns: u16, rows: u16) -> Terminal {
    let terminal = Terminal::start_under_shell(&person.strongroom(&[]), columns, rows);
    terminal.wait_for("acme Ltd");
    terminal
}

/// Goes to `acme/slow` and shows its code. Gives the digits on the screen.
fn reveal_slow(terminal: &mut Terminal) -> String {
    terminal.send("/slow");
    terminal.wait_until("the filtered account", |screen| screen.contains("slow@") && !screen.contains("bluewater"));
    terminal.send("\r");
    terminal.wait_for("/slow Esc clears");
    terminal.send("\r");
    let shown = terminal.wait_until("large digits", |screen| big_digits::read(screen).is_some());
    big_digits::read(&shown).unwrap()
}

#[tokio::test]
async fn a_code_is_found_shown_and_copied() {
    let clients = Clients::found().await;
    let mut terminal = open(&clients.tech, 80, 24);
    let first = terminal.wait_for("tech · connected");
    assert!(first.contains("bluewater Ltd"), "{first}");
    let from = Timestamp::now();
    let digits = reveal_slow(&mut terminal);
    assert!(codes_between(SLOW_S, from, Timestamp::now()).contains(&digits), "{digits}\n{}", terminal.text());
    assert!(terminal.clipboard().is_empty());
    terminal.send("c");
    assert_eq!(terminal.wait_for_clipboard(1), std::slice::from_ref(&digits));
    terminal.wait_for("Sent to your terminal");
    terminal.send(" ");
    terminal.wait_for("••• •••");
    assert_eq!(big_digits::read(&terminal.text()), None);
    terminal.send("q");
    terminal.wait_for("[ended 0]");
    assert_eq!(terminal.wait_for_clipboard(2), [digits, String::new()], "cleared at the end");
}

#[tokio::test]
async fn a_copied_code_is_cleared_from_the_clipboard_while_the_screen_stays() {
    let clients = Clients::found().await;
    let mut terminal = open(&clients.tech, 80, 24);
    terminal.send("/quick\r");
    terminal.wait_for("/quick Esc clears");
    let from = Timestamp::now();
    terminal.send("c");
    let copied = terminal.wait_for_clipboard(1);
    // A copy near the end of a window waits for the next one.
    let later = Timestamp::now();
    assert!(codes_between(10, from, later).contains(&copied[0]), "{copied:?}");
    assert_eq!(big_digits::read(&terminal.text()), None, "a copied code is not shown");
    assert_eq!(terminal.wait_for_clipboard(2)[1], "");
    let kept = Timestamp::now().duration_since(later).as_secs();
    assert!((10..=22).contains(&kept), "until ten seconds after the window's end: {kept} s");
    assert!(terminal.is_alternate(), "still open");
}

#[tokio::test]
async fn every_size_class_shows_where_one_is() {
    let clients = Clients::found().await;
    let mut terminal = open(&clients.tech, 80, 24);
    let digits = reveal_slow(&mut terminal);
    // Medium, wide, compact, tiny, and back, with the code on the screen.
    terminal.resize(120, 40);
    let wide =
        terminal.wait_until("the wide layout", |screen| screen.contains("Recent") && screen.contains("acme/slow"));
    assert!(wide.contains("acme Ltd") && wide.contains("space hide"), "{wide}");
    terminal.resize(40, 12);
    let compact = terminal.wait_for("Vaults › acme › slow");
    assert_eq!(big_digits::read(&compact).as_ref(), Some(&digits), "{compact}");
    assert!(!compact.contains("Clients"), "{compact}");
    terminal.resize(30, 7);
    let tiny = terminal.wait_for("Window too small");
    assert!(!tiny.contains("slow"), "{tiny}");
    terminal.resize(80, 24);
    let medium = terminal.wait_for("strongroom [1 Vaults]");
    assert_eq!(big_digits::read(&medium), Some(digits), "{medium}");
    assert!(medium.contains("Clients") && !medium.contains("Recent"), "{medium}");
}

#[tokio::test]
async fn at_40x12_one_drills_down_and_back() {
    let clients = Clients::found().await;
    let mut terminal = open(&clients.tech, 40, 12);
    terminal.send("\r");
    terminal.wait_for("Vaults › acme");
    terminal.send("G");
    terminal.send("\r");
    terminal.wait_until("large digits", |screen| big_digits::read(screen).is_some());
    terminal.wait_for("Vaults › acme › slow");
    terminal.send("\x1b");
    let accounts = terminal.wait_for("counter");
    assert_eq!(big_digits::read(&accounts), None, "{accounts}");
    terminal.send("\x1b");
    terminal.wait_for("bluewater Ltd");
    terminal.send("?");
    terminal.wait_for("filter clients");
}

#[tokio::test]
async fn a_counter_moves_only_after_a_yes() {
    let clients = Clients::found().await;
    let mut terminal = open(&clients.tech, 80, 24);
    terminal.send("/counter\r");
    terminal.wait_for("/counter Esc clears");
    terminal.send("\r");
    terminal.wait_for("y yes · N no");
    terminal.send("n");
    terminal.wait_gone("y yes · N no");
    terminal.send("\r");
    terminal.wait_for("y yes · N no");
    terminal.send("y");
    let shown = terminal.wait_until("large digits", |screen| big_digits::read(screen).is_some());
    assert_eq!(big_digits::read(&shown).as_deref(), Some("755224"), "the first of RFC 4226, none was spent");
}

#[tokio::test]
async fn the_trail_is_shown_and_verified() {
    let clients = Clients::found().await;
    let mut terminal = open(&clients.manager, 80, 24);
    terminal.send("2");
    let trail = terminal.wait_for("account.import");
    assert!(trail.contains("✓ ok"), "{trail}");
    terminal.send("v");
    terminal.wait_for("✓ verified");
    terminal.send("\r");
    terminal.wait_for("actor");
    // Esc followed at once by another key would be Alt.
    terminal.send("\x1b");
    terminal.wait_gone("Record #");
    terminal.send("/grant");
    terminal
        .wait_until("the filtered trail", |screen| screen.contains("grant.give") && !screen.contains("account.import"));
}

#[tokio::test]
async fn without_the_agent_the_code_goes_and_comes_back_only_on_request() {
    let mut clients = Clients::found().await;
    let mut terminal = open(&clients.tech, 80, 24);
    reveal_slow(&mut terminal);
    clients.organisation.running().kill();
    let offline = terminal.wait_for("✗ OFFLINE");
    assert_eq!(big_digits::read(&offline), None, "{offline}");
    assert!(offline.contains("slow"), "the lists stay: {offline}");
    terminal.send("\r");
    terminal.wait_for("Offline: no code without the agent");
    clients.organisation.start();
    let back = terminal.wait_for("tech · connected");
    assert_eq!(big_digits::read(&back), None, "{back}");
    terminal.send("\r");
    terminal.wait_until("large digits", |screen| big_digits::read(screen).is_some());
}

#[tokio::test]
async fn somebody_who_is_revoked_while_looking_sees_no_code_and_learns_why() {
    let mut clients = Clients::found().await;
    let mut terminal = open(&clients.tech, 80, 24);
    reveal_slow(&mut terminal);
    let revoke = Revoke { identity: slug("tech"), reason: "left".to_owned() };
    clients.admin.call(&revoke).await.unwrap();
    let gone = terminal.wait_for("✗ OFFLINE, r tries again");
    assert_eq!(big_digits::read(&gone), None, "{gone}");
    terminal.send("r");
    terminal.wait_for("✗ OFFLINE, r tries again");
    terminal.send("\r");
    terminal.wait_for("Offline: no code without the agent");
    terminal.send("q");
    terminal.wait_for("[ended 0]");
}
