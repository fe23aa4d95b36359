//! What keys, answers and time do to the screen.

mod sample;

use jiff::SignedDuration;
use sample::{Desk, accounts, code_shown, text, trail, trail_verified, vaults};
use strongroom::clipboard::{ClipboardError, Copied};
use strongroom::screen::audit::Verification;
use strongroom::screen::code::Code;
use strongroom::screen::message::{AgentCall, AgentEvent, Cmd, Link, Msg, OfflineReason, TrailPurpose};
use strongroom::screen::model::Tab;
use strongroom::screen::theme::Choice;
use strongroom::screen::vaults::Pane;
use strongroom_proto::error::{ErrorKind, Failure};

#[test]
fn a_code_is_shown_only_after_enter_and_leaves_by_itself() {
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.press("⏎↓↓↓");
    assert!(text(&desk).contains("••• •••"));
    assert!(!desk.calls().iter().any(|call| matches!(call, AgentCall::Release { .. })));
    desk.press("⏎");
    desk.answer("070443", 18_000, &[("marcus", 8)]);
    assert!(text(&desk).contains("marcus took this code 8s ago"));
    desk.wait(12);
    assert!(!text(&desk).contains("expires"));
    desk.wait(1);
    assert!(text(&desk).contains("5s expires"));
    desk.wait(8);
    assert!(text(&desk).contains("expired 3s ago"));
    desk.asked.clear();
    desk.wait(2);
    assert!(matches!(desk.model.code, Code::Hidden));
    assert!(desk.asked.iter().any(|cmd| matches!(cmd, Cmd::Scrub)), "no cell buffer may keep it");
}

#[test]
fn a_code_is_hidden_by_space_by_moving_by_suspending_and_by_losing_the_agent() {
    let causes: [fn(&mut Desk); 7] = [
        |desk| desk.press(" "),
        |desk| desk.press("↓"),
        |desk| desk.press("⎋"),
        |desk| desk.press("2"),
        |desk| desk.ctrl('z'),
        |desk| desk.send(Msg::Resumed),
        |desk| desk.send(Msg::Link(Link::Offline { attempt: 1, reason: OfflineReason::NotRunning })),
    ];
    for (number, cause) in causes.into_iter().enumerate() {
        let mut desk = code_shown(80, 24, Choice::Mono);
        cause(&mut desk);
        assert!(desk.model.code.shown().is_none(), "cause {number}");
        assert!(desk.asked.iter().any(|cmd| matches!(cmd, Cmd::Scrub)), "cause {number}");
    }
}

#[test]
fn a_code_without_an_end_is_hidden_after_a_minute() {
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.press("⏎↓↓⏎y");
    desk.answer("482913", 0, &[]);
    desk.wait(59);
    assert!(desk.model.code.shown().is_some());
    desk.wait(1);
    assert!(desk.model.code.shown().is_none());
}

#[test]
fn the_counter_moves_only_after_a_yes() {
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.press("⏎↓↓⏎⏎");
    assert!(desk.calls().iter().all(|call| !matches!(call, AgentCall::Release { .. })), "Enter means no");
    desk.press("⏎nc⎋");
    assert!(desk.calls().iter().all(|call| !matches!(call, AgentCall::Release { .. })), "n means no, Esc too");
    desk.press("⏎y");
    assert!(desk.calls().iter().any(|call| matches!(call, AgentCall::Release { .. })));
}

#[test]
fn a_late_answer_is_not_shown_for_another_account() {
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.press("⏎↓↓↓⏎");
    let asked = desk.calls();
    desk.press("↓⏎");
    let Some(AgentCall::Release { ticket, account, .. }) =
        asked.into_iter().find(|call| matches!(call, AgentCall::Release { .. }))
    else {
        panic!("no release");
    };
    let late = |account: &strongroom_proto::ids::AccountAddress| {
        let outcome = Ok(sample::released(account, "070443", 18_000, &[]));
        Msg::Agent(AgentEvent::Released { ticket, account: account.clone(), outcome })
    };
    desk.send(late(&account));
    assert!(desk.model.code.shown().is_none());
    desk.press("↑⏎");
    desk.send(late(&account));
    assert!(desk.model.code.shown().is_none());
}

#[test]
fn a_copy_waits_for_the_next_window_when_this_one_is_nearly_over() {
    let mut desk = code_shown(80, 24, Choice::Mono);
    desk.wait(14);
    desk.asked.clear();
    desk.press("c");
    assert!(desk.asked.iter().all(|cmd| !matches!(cmd, Cmd::Copy { .. })));
    assert!(text(&desk).contains("waiting 4s for the next code"));
    desk.wait(4);
    let asked = desk.calls();
    assert!(asked.iter().any(|call| matches!(call, AgentCall::Release { min_remaining_s: Some(5), .. })));
    let mut desk = code_shown(80, 24, Choice::Mono);
    desk.wait(14);
    desk.press("c⎋");
    let copied = desk.asked.iter().find_map(|cmd| match cmd {
        Cmd::Copy { code, lifetime_ms } => Some((code.to_string(), *lifetime_ms)),
        _ => None,
    });
    assert_eq!(copied, Some(("070443".into(), 4000)), "Esc copies now");
    assert!(desk.model.code.shown().is_some(), "and does not hide");
}

#[test]
fn copying_a_hidden_code_shows_no_digit() {
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.press("⏎↓↓↓c");
    desk.answer("070443", 18_000, &[]);
    assert!(desk.asked.iter().any(|cmd| matches!(cmd, Cmd::Copy { code, .. } if code.as_str() == "070443")));
    assert!(text(&desk).contains("••• •••"));
    desk.send(Msg::Clipboard(Ok(Copied::Sent)));
    assert!(text(&desk).contains("Sent to your terminal's clipboard"));
    assert!(!text(&desk).contains("Copied"), "nobody knows that");
    desk.press("⏎");
    assert!(desk.calls().is_empty(), "showing what was released needs no second release");
    assert!(!text(&desk).contains("•••"));
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.press("⏎↓↓↓c");
    desk.answer("070443", 18_000, &[]);
    desk.send(Msg::Clipboard(Err(ClipboardError::Off)));
    assert!(!text(&desk).contains("•••"), "not copied: here it is");
}

#[test]
fn typed_text_never_acts_while_the_filter_is_open() {
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.press("/q2cz?:");
    assert_eq!(desk.model.filter().input.value(), "q2cz?:");
    assert!(desk.model.tab == Tab::Vaults && desk.model.overlay.is_none() && desk.asked.is_empty());
}

#[test]
fn the_filter_finds_clients_and_accounts_and_esc_clears_it() {
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.press("/acme m365");
    let shown = desk.model.vaults.visible_accounts();
    assert_eq!(
        shown.iter().map(|account| account.address.account.as_str()).collect::<Vec<_>>(),
        ["m365-admin", "m365-breakglass"]
    );
    desk.press("⏎");
    assert_eq!(desk.model.vaults.focus, Pane::Accounts);
    assert_eq!(desk.model.vaults.visible.len(), 1, "Enter keeps the filter");
    desk.press("⎋");
    assert_eq!(desk.model.vaults.visible.len(), vaults().len());
}

#[test]
fn a_shown_code_stays_in_sight_when_the_window_shrinks() {
    let mut desk = code_shown(80, 24, Choice::Mono);
    assert_eq!(desk.model.vaults.focus, Pane::Accounts);
    desk.send(Msg::Resize(40, 12));
    assert_eq!(desk.model.vaults.focus, Pane::Code);
    assert!(text(&desk).contains("space hide"), "{}", text(&desk));
    let mut hidden = Desk::connected(80, 24, Choice::Mono);
    hidden.send(Msg::Resize(40, 12));
    assert_eq!(hidden.model.vaults.focus, Pane::Clients);
}

#[test]
fn a_client_that_is_open_when_the_window_grows_gets_its_newest_records() {
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.press("⏎");
    desk.asked.clear();
    desk.send(Msg::Resize(120, 40));
    let is_recent = |cmd: &Cmd| matches!(cmd, Cmd::Call(AgentCall::Trail { purpose: TrailPurpose::Recent, .. }));
    assert!(desk.asked.iter().any(is_recent));
}

#[test]
fn a_filter_may_be_typed_before_the_lists_have_come() {
    let mut desk = Desk::new(80, 24, Choice::Mono);
    desk.press("/m365⏎");
    desk.send(Msg::Agent(AgentEvent::Vaults(Ok(vaults()))));
    desk.send(Msg::Agent(AgentEvent::Accounts(Ok(accounts()))));
    assert_eq!(desk.model.vaults.focus, Pane::Accounts);
    assert_eq!(
        desk.model.vaults.selected_account().map(|account| account.address.account.as_str()),
        Some("m365-admin")
    );
}

#[test]
fn a_kept_filter_is_not_forgotten() {
    for (width, height) in [(120, 40), (80, 24), (40, 12)] {
        let mut desk = Desk::connected(width, height, Choice::Mono);
        desk.press("/m365⏎");
        let footer = text(&desk).lines().last().unwrap_or_default().to_owned();
        assert!(footer.contains("/m365 Esc clears") && footer.contains("? help"), "{footer}");
        desk.press("⎋");
        assert!(!text(&desk).contains("/m365 Esc"), "{}", text(&desk));
    }
}

#[test]
fn what_the_agent_sends_cannot_drive_the_terminal() {
    let evil = "a\x1b]52;c;eA==\x07\u{202e}gpj.exe\u{9b}2J";
    let mut desk = Desk::connected(120, 40, Choice::Mono);
    desk.send(Msg::Agent(AgentEvent::Vaults(Ok(vaults()
        .into_iter()
        .map(|mut vault| {
            vault.name = evil.into();
            vault
        })
        .collect()))));
    desk.send(Msg::Agent(AgentEvent::Accounts(Ok(accounts()
        .into_iter()
        .map(|mut account| {
            account.issuer = evil.into();
            account.label = evil.into();
            account
        })
        .collect()))));
    desk.press("⏎⏎");
    desk.refuse(Failure::new(ErrorKind::Denied, evil));
    desk.send(Msg::Agent(AgentEvent::Vaults(Err(Failure::new(ErrorKind::Internal, evil)))));
    let mut seen = text(&desk);
    desk.press("2");
    let (mut page, _) = trail(60, 60);
    for item in &mut page.items {
        item.record = evil.into();
    }
    let vault = Some("acme".parse().unwrap());
    desk.send(Msg::Agent(AgentEvent::Trail { vault, purpose: TrailPurpose::Table, before: None, outcome: Ok(page) }));
    desk.press("⏎");
    seen.push_str(&text(&desk));
    desk.send(Msg::Link(Link::Offline { attempt: 1, reason: OfflineReason::Lost(evil.into()) }));
    seen.push_str(&text(&desk));
    assert!(seen.contains("gpj.exe"));
    let bad = |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
    assert!(!seen.chars().any(bad));
}

#[test]
fn a_changed_record_is_named_and_a_name_that_fits_no_commitment_is_not_shown() {
    let mut desk = trail_verified(120, 40, Choice::Mono);
    assert!(text(&desk).contains("✓ verified 60 records"));
    desk.press("v");
    desk.answer_verify("acme", |leaves| leaves[41][0] ^= 1);
    assert!(text(&desk).contains("✗ BROKEN at #41"));
    let mut desk = Desk::connected(120, 40, Choice::Mono);
    desk.press("2");
    let (mut page, _) = trail(60, 60);
    for item in &mut page.items {
        item.openings.iter_mut().filter(|one| one.field == "actor.name").for_each(|one| one.value = "mallory".into());
    }
    let vault = Some("acme".parse().unwrap());
    desk.send(Msg::Agent(AgentEvent::Trail { vault, purpose: TrailPurpose::Table, before: None, outcome: Ok(page) }));
    assert!(!text(&desk).contains("mallory"));
    desk.press("⏎");
    assert!(text(&desk).contains("does not fit its commitment"));
}

#[test]
fn older_pages_are_fetched_at_the_end_and_checked_too() {
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.press("2");
    desk.answer_trail("acme", TrailPurpose::Table, 40);
    desk.press("v");
    desk.answer_verify("acme", |leaves| leaves[5][0] ^= 1);
    assert!(matches!(desk.model.audit.verification, Verification::Verified(_)), "#5 is not loaded yet");
    desk.calls();
    desk.press("G");
    let before = Some(20);
    assert!(desk.calls().iter().any(|call| matches!(call, AgentCall::Trail { before: Some(20), .. })));
    let (mut page, _) = trail(60, 60);
    page.items.drain(..40);
    page.next = None;
    let vault = Some("acme".parse().unwrap());
    desk.send(Msg::Agent(AgentEvent::Trail { vault, purpose: TrailPurpose::Table, before, outcome: Ok(page) }));
    assert!(matches!(desk.model.audit.verification, Verification::Broken { seq: Some(5), .. }));
    assert_eq!(desk.model.audit.visible_rows().len(), 60);
}

#[test]
fn a_log_that_shrank_or_was_rewritten_is_broken_even_if_it_is_signed() {
    type Tamper = fn(&mut Vec<[u8; 32]>);
    let tampers: [(Tamper, &str); 2] = [
        (|leaves| leaves.truncate(59), "✗ BROKEN: the log has shrunk from 60 records to 59"),
        (|leaves| leaves[3] = [0; 32], "✗ BROKEN at #3"),
    ];
    for (tamper, expected) in tampers {
        let mut desk = Desk::connected(120, 40, Choice::Mono);
        desk.press("2");
        desk.answer_trail("acme", TrailPurpose::Table, 1);
        desk.press("v");
        desk.answer_verify("acme", |_| {});
        desk.press("v");
        desk.answer_verify("acme", tamper);
        let seen = text(&desk);
        assert!(seen.contains(expected), "{seen}");
    }
}

#[test]
fn a_record_at_another_place_is_not_read() {
    let mut desk = Desk::connected(120, 40, Choice::Mono);
    desk.press("2");
    let (mut page, _) = trail(60, 2);
    page.items[0].seq = 61;
    let vault = Some("acme".parse().unwrap());
    desk.send(Msg::Agent(AgentEvent::Trail { vault, purpose: TrailPurpose::Table, before: None, outcome: Ok(page) }));
    assert_eq!(text(&desk).matches("✗ UNREADABLE").count(), 1);
}

#[test]
fn a_vault_that_was_taken_away_is_named_and_its_code_hidden() {
    let mut desk = code_shown(80, 24, Choice::Mono);
    desk.send(Msg::Agent(AgentEvent::Vaults(Ok(vaults().into_iter().skip(1).collect()))));
    assert!(desk.model.code.shown().is_none());
    assert!(text(&desk).contains("No longer yours to see: Acme Dental Group."));
}

#[test]
fn a_refused_login_says_why_and_is_tried_again_on_request() {
    let mut desk = Desk::new(80, 24, Choice::Mono);
    let reason = OfflineReason::Refused("the agent's key is NOT the pinned one.".into());
    desk.send(Msg::Link(Link::Offline { attempt: 1, reason }));
    let seen = text(&desk);
    assert!(seen.contains("The agent's key is NOT the pinned one.") && seen.contains("r tries again."), "{seen}");
    desk.press("r");
    assert!(matches!(desk.asked.as_slice(), [Cmd::Wake]));
}

#[test]
fn an_asleep_session_takes_the_next_key_only_to_wake() {
    let mut desk = code_shown(80, 24, Choice::Mono);
    desk.send(Msg::Link(Link::Asleep));
    desk.asked.clear();
    desk.press("⏎");
    assert!(matches!(desk.asked.as_slice(), [Cmd::Wake]));
}

#[test]
fn errors_stay_until_a_key_and_messages_keep_them() {
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.send(Msg::Agent(AgentEvent::Vaults(Err(Failure::new(ErrorKind::Internal, "Something broke.")))));
    desk.wait(60);
    assert!(text(&desk).contains("✗ ERROR Something broke."));
    desk.press("j");
    assert!(!text(&desk).contains("Something broke."));
    desk.press(":mess⏎");
    assert!(text(&desk).contains("Something broke."));
}

#[test]
fn a_wrong_clock_on_this_machine_does_not_show_a_dead_code_as_good() {
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.model.now += SignedDuration::from_hours(1);
    desk.press("⏎↓↓↓⏎");
    let mut released = sample::released(&"acme/m365-admin".parse().unwrap(), "070443", 18_000, &[("marcus", 8)]);
    released.valid_until = Some(sample::now() + SignedDuration::from_secs(18));
    let account = released.account.clone();
    let ticket = desk.model.ticket;
    desk.send(Msg::Agent(AgentEvent::Released { ticket, account, outcome: Ok(released) }));
    let seen = text(&desk);
    assert!(seen.contains("18s") && seen.contains("clocks differ by 3600s"), "{seen}");
    assert!(seen.contains("marcus took this code 8s ago"));
}
