//! The screens as they are drawn, on a test backend: snapshots in the mono theme, every size without a panic.

mod sample;

use ratatui::style::{Color, Modifier};
use sample::{Desk, buffer, code_shown, drawn, text, trail_verified, vaults};
use strongroom::screen::message::{AgentEvent, Link, Msg, OfflineReason};
use strongroom::screen::model::Overlay;
use strongroom::screen::theme::Choice;
use strongroom_proto::error::{ErrorKind, Failure};

/// Makes a state in a terminal of this size.
type Make = fn(u16, u16, Choice) -> Desk;

/// The states that a user meets, each made by keys and answers.
const STATES: &[(&str, Make)] = &[
    ("connecting", |w, h, t| {
        let mut desk = Desk::new(w, h, t);
        desk.wait(3);
        desk
    }),
    ("not_running", |w, h, t| {
        let mut desk = Desk::new(w, h, t);
        desk.send(Msg::Link(Link::Offline { attempt: 2, reason: OfflineReason::NotRunning }));
        desk
    }),
    ("hidden", Desk::connected),
    ("shown", code_shown),
    ("last_seconds", |w, h, t| {
        let mut desk = code_shown(w, h, t);
        desk.wait(15);
        desk
    }),
    ("expired", |w, h, t| {
        let mut desk = code_shown(w, h, t);
        desk.wait(21);
        desk
    }),
    ("denied", |w, h, t| {
        let mut desk = Desk::connected(w, h, t);
        desk.press("⏎⏎");
        desk.refuse(Failure::new(ErrorKind::NeedsApproval, "acme/aws-root needs approval."));
        desk
    }),
    ("counter_question", |w, h, t| {
        let mut desk = Desk::connected(w, h, t);
        desk.press("⏎↓↓⏎");
        desk
    }),
    ("filter", |w, h, t| {
        let mut desk = Desk::connected(w, h, t);
        desk.press("/m365 tok");
        desk
    }),
    ("no_match", |w, h, t| {
        let mut desk = Desk::connected(w, h, t);
        desk.press("/qqq");
        desk
    }),
    ("wide_characters_under_help", |w, h, t| {
        let mut desk = Desk::connected(w, h, t);
        desk.press("?");
        desk
    }),
    ("offline", |w, h, t| {
        let mut desk = code_shown(w, h, t);
        desk.send(Msg::Link(Link::Offline { attempt: 3, reason: OfflineReason::NotRunning }));
        desk
    }),
    ("no_clients", |w, h, t| {
        let mut desk = Desk::connected(w, h, t);
        desk.send(Msg::Agent(AgentEvent::Vaults(Ok(vec![]))));
        desk.send(Msg::Agent(AgentEvent::Accounts(Ok(vec![]))));
        desk.wait(5);
        desk
    }),
    ("audit", trail_verified),
    ("audit_broken", |w, h, t| {
        let mut desk = trail_verified(w, h, t);
        desk.press("v");
        desk.answer_verify("acme", |leaves| leaves[41][0] ^= 1);
        desk
    }),
    ("audit_record", |w, h, t| {
        let mut desk = trail_verified(w, h, t);
        desk.press("↓↓↓⏎");
        desk
    }),
];

#[test]
fn every_state_at_every_size_class_looks_as_agreed() {
    for (columns, rows) in [(120, 40), (80, 24), (40, 12)] {
        for (name, make) in STATES {
            let desk = make(columns, rows, Choice::Mono);
            insta::assert_snapshot!(format!("{name}_{columns}x{rows}"), text(&desk));
        }
    }
    let mut desk = code_shown(40, 12, Choice::Mono);
    desk.send(Msg::Resize(31, 7));
    insta::assert_snapshot!("tiny", text(&desk));
}

#[test]
fn every_size_is_drawn_without_a_panic() {
    for (place, (name, make)) in STATES.iter().enumerate() {
        let mut desk = make(80, 24, Choice::Dark);
        // Every width for the states with most on them; every fifth, each time another one, for the rest.
        let is_full = ["shown", "audit"].contains(name);
        let (first, step) = if is_full { (1, 1) } else { (1 + place % 5, 5) };
        for columns in (first..=130).step_by(step) {
            for rows in [1, 3, 8, 12, 18, 31] {
                desk.model.area = ratatui::layout::Rect::new(0, 0, u16::try_from(columns).unwrap(), rows);
                drop(drawn(&desk));
            }
        }
    }
}

#[test]
fn every_state_can_be_walked_through_with_every_key() {
    for (_, make) in STATES {
        for (columns, rows) in [(120, 40), (80, 24), (40, 12), (20, 5)] {
            let mut desk = make(80, 24, Choice::Dark);
            desk.send(Msg::Resize(columns, rows));
            for keys in ["↑↓←→⇥⏎⎋ ", "gGjkhl", "12zrv", "cy", "/a⎋", ":x⏎", "?⎋", "nN"] {
                desk.press(keys);
                drop(drawn(&desk));
            }
        }
    }
}

#[test]
fn a_window_does_not_lose_its_border_beside_a_wide_character() {
    let mut desk = Desk::connected(80, 24, Choice::Mono);
    desk.send(Msg::Agent(AgentEvent::Vaults(Ok(vaults()
        .into_iter()
        .map(|mut vault| {
            vault.name = "東京光学株式会社東京光学株式会社".into();
            vault
        })
        .collect()))));
    // The window has its greatest width here, so its edge moves and falls into the middle of a wide character.
    for columns in 88..=96 {
        desk.model.area.width = columns;
        desk.model.overlay = Some(Overlay::Help { scroll: 0 });
        let buffer = buffer(&desk);
        let left = (1..columns).find(|x| buffer[(*x, 1)].symbol() == "┏").unwrap();
        for y in 3..20 {
            assert_eq!(buffer[(left, y)].symbol(), "┃", "column {left} row {y} at {columns}");
            assert!(unicode_width::UnicodeWidthStr::width(buffer[(left - 1, y)].symbol()) < 2);
        }
    }
}

#[test]
fn the_mono_theme_uses_no_colour_but_keeps_the_selection() {
    for (_, make) in STATES {
        let desk = make(80, 24, Choice::Mono);
        let buffer = buffer(&desk);
        assert!(buffer.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }
    let selected = buffer(&Desk::connected(80, 24, Choice::Mono));
    let reversed = (0..80).filter(|x| selected[(*x, 2)].modifier.contains(Modifier::REVERSED)).count();
    assert!(reversed > 20, "the selected client");
}

#[test]
fn exactly_one_panel_has_the_focus() {
    for (columns, rows) in [(120, 40), (80, 24), (40, 12)] {
        for keys in ["", "⏎", "⏎⏎", "⇥⇥"] {
            let mut desk = Desk::connected(columns, rows, Choice::Mono);
            desk.press(keys);
            assert_eq!(text(&desk).matches('┏').count(), 1, "{keys} at {columns}x{rows}");
        }
    }
}

#[test]
fn help_is_offered_however_narrow_the_window_is() {
    for columns in (32..=130).step_by(3) {
        for make in [Desk::connected as Make, trail_verified] {
            let desk = make(columns, 24, Choice::Mono);
            assert!(text(&desk).lines().last().unwrap().contains("? help"), "at {columns}");
        }
    }
}
