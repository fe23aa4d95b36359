//! What is true and what is seen: one plain value. `update` changes it, `view` draws it, nobody else touches it.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use ratatui::layout::Rect;
use tui_input::Input;

use super::audit::Audit;
use super::code::Code;
use super::keymap::Context;
use super::message::{Link, Session};
use super::text;
use super::theme::{Choice, Theme};
use super::vaults::Vaults;
use strongroom_proto::ids::AccountAddress;

/// How long a toast stays; an error stays until a key is pressed.
const TOAST_LIFE: SignedDuration = SignedDuration::from_secs(4);
/// How many messages are kept for `:messages`.
const MESSAGES_LEN_MAX: usize = 50;

/// The whole state of the front end.
pub struct Model {
    /// The time of the message that is being handled.
    pub now: Timestamp,
    /// The terminal's columns and rows.
    pub area: Rect,
    /// The theme.
    pub theme: Theme,
    /// The connection to the agent.
    pub link: Link,
    /// Since when the connection is as it is.
    pub link_since: Timestamp,
    /// The last session; stays while offline, so that the lists keep their meaning.
    pub session: Option<Session>,
    /// The open screen.
    pub tab: Tab,
    /// The Vaults screen.
    pub vaults: Vaults,
    /// The code panel.
    pub code: Code,
    /// The Audit screen.
    pub audit: Audit,
    /// What lies over the screen.
    pub overlay: Option<Overlay>,
    /// Toasts, newest last.
    pub messages: Messages,
    /// Whether times are shown in local time.
    pub zone: Zone,
    /// True if the next frame differs from the last.
    pub dirty: bool,
    /// Counts releases, so that each answer finds its question.
    pub ticket: u64,
}

impl Model {
    /// Makes the state at start.
    #[must_use]
    pub fn new(now: Timestamp, columns: u16, rows: u16, theme: Choice) -> Self {
        Self {
            now,
            area: Rect::new(0, 0, columns, rows),
            theme: Theme::new(theme),
            link: Link::Connecting,
            link_since: now,
            session: None,
            tab: Tab::Vaults,
            vaults: Vaults::default(),
            code: Code::Hidden,
            audit: Audit::default(),
            overlay: None,
            messages: Messages::default(),
            zone: Zone::Utc,
            dirty: true,
            ticket: 0,
        }
    }

    /// How much room there is.
    #[must_use]
    pub const fn size(&self) -> Size {
        Size::of(self.area)
    }

    /// True if calls can be made.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        matches!(self.link, Link::Connected(_))
    }

    /// The contexts whose keys hold now, the strongest first.
    #[must_use]
    pub fn contexts(&self) -> Vec<Context> {
        let screen = match self.tab {
            Tab::Vaults => Context::Vaults,
            Tab::Audit => Context::Audit,
        };
        match &self.overlay {
            Some(Overlay::Command(_)) => vec![Context::Command, Context::Always],
            Some(Overlay::NextCode(_)) => vec![Context::Confirm, Context::Always],
            Some(Overlay::Help { .. } | Overlay::Messages { .. } | Overlay::Record { .. }) => {
                vec![Context::Popup, Context::Always]
            }
            None if self.filter().is_open => vec![Context::Filter, Context::Always],
            None => vec![screen, Context::Global, Context::Always],
        }
    }

    /// The filter of the open screen.
    #[must_use]
    pub const fn filter(&self) -> &Filter {
        match self.tab {
            Tab::Vaults => &self.vaults.filter,
            Tab::Audit => &self.audit.filter,
        }
    }

    /// The filter of the open screen.
    pub const fn filter_mut(&mut self) -> &mut Filter {
        match self.tab {
            Tab::Vaults => &mut self.vaults.filter,
            Tab::Audit => &mut self.audit.filter,
        }
    }
}

/// The screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    /// Clients, accounts, code.
    Vaults,
    /// The trail.
    Audit,
}

/// The layout classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Too small for anything but a message.
    Tiny,
    /// One panel at a time.
    Compact,
    /// Two columns.
    Medium,
    /// Three columns and large digits.
    Wide,
}

impl Size {
    /// Chooses the class for a terminal.
    #[must_use]
    pub const fn of(area: Rect) -> Self {
        if area.width < 32 || area.height < 8 {
            Self::Tiny
        } else if area.width < 70 || area.height < 18 {
            Self::Compact
        } else if area.width < 110 || area.height < 30 {
            Self::Medium
        } else {
            Self::Wide
        }
    }
}

/// Windows over the screen.
pub enum Overlay {
    /// The keys.
    Help {
        /// First line shown.
        scroll: usize,
    },
    /// The last messages.
    Messages {
        /// First line shown.
        scroll: usize,
    },
    /// One record of the trail.
    Record {
        /// Its place in the log.
        seq: u64,
        /// First line shown.
        scroll: usize,
    },
    /// The command line.
    Command(Input),
    /// Asks before the counter of a HOTP account moves on.
    NextCode(AccountAddress),
}

/// A filter line.
#[derive(Default)]
pub struct Filter {
    /// What was typed.
    pub input: Input,
    /// True while keys go into it.
    pub is_open: bool,
}

/// How times are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Coordinated universal time.
    Utc,
    /// The zone of this machine.
    Local,
}

impl Zone {
    /// The time zone.
    #[must_use]
    pub fn time_zone(self) -> jiff::tz::TimeZone {
        match self {
            Self::Utc => jiff::tz::TimeZone::UTC,
            Self::Local => jiff::tz::TimeZone::system(),
        }
    }

    /// The word beside times.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Utc => "UTC",
            Self::Local => "local",
        }
    }
}

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something worked.
    Good,
    /// Something to know.
    Note,
    /// Something failed.
    Error,
}

/// A message to the user.
pub struct Message {
    /// When.
    pub at: Timestamp,
    /// How grave.
    pub level: Level,
    /// One sentence, safe to draw.
    pub text: String,
}

/// The last messages, one of them on the screen.
#[derive(Default)]
pub struct Messages {
    list: VecDeque<Message>,
    is_shown: bool,
}

impl Messages {
    /// Says something. The text is made safe to draw: it may carry a sentence from the agent.
    pub fn push(&mut self, at: Timestamp, level: Level, sentence: &str) {
        if self.list.len() == MESSAGES_LEN_MAX {
            self.list.pop_front();
        }
        self.list.push_back(Message { at, level, text: text::clean(sentence) });
        self.is_shown = true;
    }

    /// The message on the screen, if there is one.
    #[must_use]
    pub fn toast(&self) -> Option<&Message> {
        self.list.back().filter(|_| self.is_shown)
    }

    /// Takes the toast away when its time has come. True if it went.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let over =
            self.toast().is_some_and(|toast| toast.level != Level::Error && now.duration_since(toast.at) >= TOAST_LIFE);
        self.is_shown &= !over;
        over
    }

    /// Takes an error away: a key was pressed.
    pub fn dismiss_error(&mut self) {
        if self.toast().is_some_and(|toast| toast.level == Level::Error) {
            self.is_shown = false;
        }
    }

    /// Every kept message, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Message> {
        self.list.iter().rev()
    }
}
