//! A person at the screen: keys in, answers of the sample's agent in, what is drawn out.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::SignedDuration;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use strongroom::screen::message::{AgentCall, AgentEvent, Cmd, Link, Msg, Session, TrailPurpose};
use strongroom::screen::model::Model;
use strongroom::screen::theme::Choice;
use strongroom::screen::update::update;
use strongroom::screen::verify::VerifiedLog;
use strongroom::screen::view::view;
use strongroom_proto::ids::Slug;

use super::{accounts, now, released, trail, vaults};

/// A screen with a conversation: feeds messages and answers, as the agent of this sample would.
pub struct Desk {
    pub model: Model,
    /// Everything that was asked for and not answered by [`Desk::press`] itself.
    pub asked: Vec<Cmd>,
}

impl Desk {
    /// A screen that has just started.
    pub fn new(columns: u16, rows: u16, theme: Choice) -> Self {
        Self { model: Model::new(now(), columns, rows, theme), asked: Vec::new() }
    }

    /// A screen that is connected and has its lists.
    pub fn connected(columns: u16, rows: u16, theme: Choice) -> Self {
        let mut desk = Self::new(columns, rows, theme);
        desk.connect();
        desk
    }

    pub fn connect(&mut self) {
        self.send(Msg::Link(Link::Connected(Session {
            identity: "jana".parse().unwrap(),
            roles: vec![],
            expires_at: now() + SignedDuration::from_hours(24),
        })));
        self.send(Msg::Agent(AgentEvent::Vaults(Ok(vaults()))));
        self.send(Msg::Agent(AgentEvent::Accounts(Ok(accounts()))));
        self.asked.clear();
    }

    pub fn send(&mut self, message: Msg) {
        let commands = update(&mut self.model, message);
        self.asked.extend(commands);
    }

    /// Types keys: characters, and `⏎`, `⎋` (Esc), `↑`, `↓`, `←`, `→`, `⇥` for the named ones.
    pub fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            let code = match key {
                '⏎' => KeyCode::Enter,
                '⎋' => KeyCode::Esc,
                '↑' => KeyCode::Up,
                '↓' => KeyCode::Down,
                '←' => KeyCode::Left,
                '→' => KeyCode::Right,
                '⇥' => KeyCode::Tab,
                character => KeyCode::Char(character),
            };
            self.send(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        }
    }

    pub fn ctrl(&mut self, character: char) {
        self.send(Msg::Key(KeyEvent::new(KeyCode::Char(character), KeyModifiers::CONTROL)));
    }

    /// Lets time pass in ticks of a quarter of a second.
    pub fn wait(&mut self, seconds: i64) {
        for _ in 0..seconds * 4 {
            self.model.now += SignedDuration::from_millis(250);
            self.send(Msg::Tick);
        }
    }

    /// The calls that were made, oldest first; they are taken out.
    pub fn calls(&mut self) -> Vec<AgentCall> {
        let (calls, rest) = std::mem::take(&mut self.asked).into_iter().partition(|cmd| matches!(cmd, Cmd::Call(_)));
        self.asked = rest;
        calls.into_iter().filter_map(|cmd| if let Cmd::Call(call) = cmd { Some(call) } else { None }).collect()
    }

    /// Answers the release that was asked for last.
    pub fn answer(&mut self, code: &str, remaining_ms: u64, taken_by: &[(&str, i64)]) {
        let release = self.calls().into_iter().rev().find_map(|call| match call {
            AgentCall::Release { ticket, account, .. } => Some((ticket, account)),
            _ => None,
        });
        let (ticket, account) = release.expect("a release was asked for");
        let mut outcome = released(&account, code, remaining_ms, taken_by);
        outcome.valid_until = outcome.valid_until.map(|until| until + (self.model.now - now()));
        self.send(Msg::Agent(AgentEvent::Released { ticket, account, outcome: Ok(outcome) }));
    }

    /// Refuses the release that was asked for last.
    pub fn refuse(&mut self, failure: strongroom_proto::error::Failure) {
        let release = self.calls().into_iter().rev().find_map(|call| match call {
            AgentCall::Release { ticket, account, .. } => Some((ticket, account)),
            _ => None,
        });
        let (ticket, account) = release.expect("a release was asked for");
        self.send(Msg::Agent(AgentEvent::Released { ticket, account, outcome: Err(failure) }));
    }

    /// Answers reads of the trail with `len` of 60 records.
    pub fn answer_trail(&mut self, vault: &str, purpose: TrailPurpose, len: u64) {
        let vault = Some(vault.parse::<Slug>().unwrap());
        let outcome = Ok(trail(60, len).0);
        self.send(Msg::Agent(AgentEvent::Trail { vault, purpose, before: None, outcome }));
    }

    /// Answers a verification with the true leaves, changed by `tamper`.
    pub fn answer_verify(&mut self, vault: &str, tamper: impl Fn(&mut Vec<[u8; 32]>)) {
        let mut leaves = trail(60, 1).1;
        tamper(&mut leaves);
        let outcome = Ok(VerifiedLog { size: leaves.len() as u64, leaves: Arc::new(leaves) });
        self.send(Msg::Agent(AgentEvent::Verified { vault: Some(vault.parse().unwrap()), outcome }));
    }
}

/// The screen of the README: Acme is open, the code of m365-admin is shown.
pub fn code_shown(columns: u16, rows: u16, theme: Choice) -> Desk {
    let mut desk = Desk::connected(columns, rows, theme);
    desk.press("⏎");
    desk.answer_trail("acme", TrailPurpose::Recent, 30);
    desk.press("↓↓↓⏎");
    desk.answer("070443", 18_000, &[("marcus", 8)]);
    desk.answer_trail("acme", TrailPurpose::Recent, 30);
    desk
}

/// The trail of Acme, verified.
pub fn trail_verified(columns: u16, rows: u16, theme: Choice) -> Desk {
    let mut desk = Desk::connected(columns, rows, theme);
    desk.press("2");
    desk.answer_trail("acme", TrailPurpose::Table, 60);
    desk.press("v");
    desk.answer_verify("acme", |_| {});
    desk
}

pub fn drawn(desk: &Desk) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(desk.model.area.width, desk.model.area.height)).unwrap();
    terminal.draw(|frame| view(&desk.model, frame)).unwrap();
    terminal
}

pub fn text(desk: &Desk) -> String {
    drawn(desk).backend().to_string()
}

pub fn buffer(desk: &Desk) -> Buffer {
    drawn(desk).backend().buffer().clone()
}
