//! Everything that can happen to the front end and everything it can ask for: two closed enums. All wake-ups come through
//! one channel in one order; only the runner acts.

use crossterm::event::KeyEvent;
use jiff::Timestamp;
use strongroom_proto::error::Failure;
use strongroom_proto::ids::{AccountAddress, Slug};
use strongroom_proto::method::{account, agent, audit, code, vault};
use strongroom_proto::words::OrgRole;
use zeroize::Zeroizing;

use super::verify::VerifiedLog;
use crate::clipboard::{ClipboardError, Copied};

/// What happened.
pub enum Msg {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has this many columns and rows now.
    Resize(u16, u16),
    /// Time has passed; comes four times a second.
    Tick,
    /// The process was stopped and goes on, or the terminal needs everything drawn anew.
    Resumed,
    /// Somebody ends the program: SIGTERM, SIGHUP, a closed terminal.
    Terminated,
    /// The connection to the agent changed.
    Link(Link),
    /// The agent answered a call.
    Agent(AgentEvent),
    /// The clipboard was asked to take a code.
    Clipboard(Result<Copied, ClipboardError>),
}

/// The connection to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// No connection yet.
    Connecting,
    /// Logged in.
    Connected(Session),
    /// No connection; the next attempt comes by itself.
    Offline {
        /// How many attempts have failed in a row.
        attempt: u32,
        /// Why the last one failed.
        reason: OfflineReason,
    },
    /// The session ended after idling; the next key logs in again.
    Asleep,
}

/// Who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The identity.
    pub identity: Slug,
    /// Roles over the organisation.
    pub roles: Vec<OrgRole>,
    /// When the session ends in any case.
    pub expires_at: Timestamp,
}

/// Why there is no connection, by what the user does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfflineReason {
    /// Nobody listens: start the agent.
    NotRunning,
    /// The socket belongs to somebody else: ask for access.
    Forbidden,
    /// The agent refused the login or proved to be another one.
    Refused(String),
    /// The connection broke.
    Lost(String),
}

/// A call to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentCall {
    /// Lists the vaults.
    Vaults,
    /// Lists all visible accounts.
    Accounts,
    /// Takes a code.
    Release {
        /// Comes back with the answer, so that a late one is not shown for another account.
        ticket: u64,
        /// Of which account.
        account: AccountAddress,
        /// Seconds that the code must still live.
        min_remaining_s: Option<u32>,
    },
    /// Reads a page of a log, newest first.
    Trail {
        /// Which; `None` is the org log.
        vault: Option<Slug>,
        /// Backward from just before this record.
        before: Option<u64>,
        /// What the page is for.
        purpose: TrailPurpose,
    },
    /// Fetches checkpoint and leaves of a log and checks them.
    Verify {
        /// Which; `None` is the org log.
        vault: Option<Slug>,
    },
    /// Asks how the agent is.
    Status,
}

/// What a page of a log is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailPurpose {
    /// The table of the Audit screen.
    Table,
    /// The recent activity beside the accounts.
    Recent,
}

/// The answer to a call, or its refusal.
pub enum AgentEvent {
    /// To [`AgentCall::Vaults`].
    Vaults(Result<Vec<vault::Item>, Failure>),
    /// To [`AgentCall::Accounts`].
    Accounts(Result<Vec<account::Item>, Failure>),
    /// To [`AgentCall::Release`].
    Released {
        /// The ticket of the call.
        ticket: u64,
        /// Of which account.
        account: AccountAddress,
        /// The code.
        outcome: Result<Box<code::Released>, Failure>,
    },
    /// To [`AgentCall::Trail`].
    Trail {
        /// Which log.
        vault: Option<Slug>,
        /// What the page is for.
        purpose: TrailPurpose,
        /// Where the page began; `None` for the newest.
        before: Option<u64>,
        /// The page.
        outcome: Result<audit::Page, Failure>,
    },
    /// To [`AgentCall::Verify`].
    Verified {
        /// Which log.
        vault: Option<Slug>,
        /// The checked tree, or why it does not hold.
        outcome: Result<VerifiedLog, VerifyFailure>,
    },
    /// To [`AgentCall::Status`].
    Status(Result<agent::StatusResult, Failure>),
}

/// Why a log was not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyFailure {
    /// The agent did not hand over what is needed.
    Unavailable(Failure),
    /// What it handed over contradicts itself or the pinned key.
    Broken(String),
}

/// What the front end asks the runner to do.
pub enum Cmd {
    /// Ask the agent.
    Call(AgentCall),
    /// Log in again after idling.
    Wake,
    /// Put a code into the clipboard and clear it after this many milliseconds at the latest.
    Copy {
        /// The code.
        code: Zeroizing<String>,
        /// How long the code lives, in milliseconds.
        lifetime_ms: u64,
    },
    /// Draw every cell again.
    Redraw,
    /// Draw so that no cell buffer keeps what was shown before.
    Scrub,
    /// Stop the process as Ctrl-Z does.
    Suspend,
    /// End.
    Quit,
}
