//! A code's short life on the screen: asked for, shown or copied, hidden. Each showing is one release and one record.

use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::AccountAddress;
use strongroom_proto::method::code::Released;
use strongroom_proto::words::OtpKind;

use super::super::code::{Asked, COPY_REMAINING_S_MIN, Code, Purpose, Shown};
use super::super::message::{AgentCall, Cmd, Link};
use super::super::model::{Level, Model, Overlay, Tab};
use super::{say, vaults};
use crate::clipboard::{ClipboardError, Copied};

/// Hides the code and forgets a waiting copy.
pub(super) fn hide(model: &mut Model) {
    if model.code.account().is_some() {
        model.code = Code::Hidden;
        model.dirty = true;
    }
}

/// Shows a code: one that was only copied is unmasked, else a new one is released. A HOTP code moves the counter on, so
/// that is asked first.
pub(super) fn reveal(model: &mut Model, account: AccountAddress, kind: OtpKind) -> Vec<Cmd> {
    let now = model.now;
    match &mut model.code {
        Code::Asked(asked) if asked.account == account => return Vec::new(),
        Code::Shown(shown) if shown.account == account && !shown.is_expired(now) => {
            if shown.is_masked {
                shown.is_masked = false;
                shown.since = now;
                return Vec::new();
            }
            if kind != OtpKind::Hotp {
                return Vec::new();
            }
        }
        _ => {}
    }
    if kind == OtpKind::Hotp {
        model.overlay = Some(Overlay::NextCode(account));
        return Vec::new();
    }
    ask(model, account, Purpose::Read)
}

/// Asks the agent for a code.
pub(super) fn ask(model: &mut Model, account: AccountAddress, purpose: Purpose) -> Vec<Cmd> {
    if !model.is_connected() {
        let sentence = match model.link {
            Link::Connecting => "Still looking for the agent.",
            _ => "Offline: no code without the agent.",
        };
        say(model, Level::Error, sentence);
        return Vec::new();
    }
    model.ticket += 1;
    let ticket = model.ticket;
    let copies = matches!(purpose, Purpose::Copy | Purpose::CopyAndRead);
    let min_remaining_s = copies.then(|| u32::try_from(COPY_REMAINING_S_MIN).unwrap_or(0));
    model.code = Code::Asked(Asked { ticket, account: account.clone(), purpose, since: model.now });
    vec![Cmd::Call(AgentCall::Release { ticket, account, min_remaining_s })]
}

/// Copies: the code on the screen if it lives long enough, else the next window's; a hidden one is released first.
pub(super) fn copy(model: &mut Model, account: AccountAddress, kind: OtpKind, purpose: Purpose) -> Vec<Cmd> {
    let now = model.now;
    match &mut model.code {
        Code::Asked(asked) if asked.account == account => Vec::new(),
        Code::Shown(shown) if shown.account == account && !shown.is_expired(now) => {
            if shown.remaining_s(now).is_some_and(|left| left < COPY_REMAINING_S_MIN) {
                shown.copy_waits = true;
                return Vec::new();
            }
            let lifetime_ms = shown.lifetime_ms(now);
            vec![Cmd::Copy { code: shown.code.clone(), lifetime_ms }]
        }
        _ if kind == OtpKind::Hotp => {
            // Copying a hidden HOTP code would move the counter without a question: it goes through the dialog.
            model.overlay = Some(Overlay::NextCode(account));
            Vec::new()
        }
        _ => ask(model, account, purpose),
    }
}

/// True while a copy waits for the next window.
pub(super) fn is_copy_waiting(model: &Model) -> bool {
    model.code.shown().is_some_and(|shown| shown.copy_waits)
}

/// Esc while a copy waits: copies what is there now.
pub(super) fn copy_now(model: &mut Model) -> Vec<Cmd> {
    let now = model.now;
    let Some(shown) = model.code.shown_mut() else { return Vec::new() };
    shown.copy_waits = false;
    vec![Cmd::Copy { code: shown.code.clone(), lifetime_ms: shown.lifetime_ms(now) }]
}

/// The agent answered. A late answer for something that was left is wiped unseen; its record stands.
pub(super) fn answered(
    model: &mut Model,
    ticket: u64,
    account: AccountAddress,
    outcome: Result<Box<Released>, Failure>,
) -> Vec<Cmd> {
    let Code::Asked(asked) = &model.code else { return Vec::new() };
    if asked.ticket != ticket || asked.account != account {
        return Vec::new();
    }
    let purpose = asked.purpose;
    match outcome {
        Ok(released) => {
            let shown = Shown::new(*released, purpose, model.now);
            let mut commands = Vec::new();
            if purpose != Purpose::Read {
                commands.push(Cmd::Copy { code: shown.code.clone(), lifetime_ms: shown.lifetime_ms(model.now) });
            }
            model.code = Code::Shown(Box::new(shown));
            if model.tab == Tab::Vaults {
                commands.extend(vaults::recent(model));
            }
            commands
        }
        Err(failure) => {
            // What is not there any more must leave the list too.
            let stale = matches!(failure.kind, ErrorKind::NotFound | ErrorKind::Frozen);
            model.code = Code::Refused { account, failure };
            if stale { super::link::reload() } else { Vec::new() }
        }
    }
}

/// Time passes: codes expire, waiting copies get their next window.
pub(super) fn tick(model: &mut Model) -> Vec<Cmd> {
    let now = model.now;
    let Some(shown) = model.code.shown() else { return Vec::new() };
    if shown.copy_waits && shown.is_expired(now) {
        let (account, is_masked) = (shown.account.clone(), shown.is_masked);
        return ask(model, account, if is_masked { Purpose::Copy } else { Purpose::CopyAndRead });
    }
    if shown.is_over(now) {
        hide(model);
    }
    Vec::new()
}

/// The clipboard answered. What only travelled to the terminal is never called copied.
pub(super) fn copied(model: &mut Model, outcome: Result<Copied, ClipboardError>) {
    match outcome {
        Ok(Copied::Placed) => say(model, Level::Good, "✓ Copied; the clipboard is cleared by itself."),
        Ok(Copied::Sent) => {
            let is_masked = model.code.shown().is_some_and(|shown| shown.is_masked);
            let advice = if is_masked { "; ⏎ shows the code." } else { "." };
            say(model, Level::Good, &format!("Sent to your terminal's clipboard{advice}"));
        }
        Err(error) => {
            if let Some(shown) = model.code.shown_mut() {
                shown.is_masked = false;
            }
            say(model, Level::Error, &format!("Not copied: {error}."));
        }
    }
}
