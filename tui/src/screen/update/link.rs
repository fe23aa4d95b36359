//! The connection comes and goes.

use strongroom_proto::method::agent::{State, StatusResult};

use super::super::message::{AgentCall, Cmd, Link};
use super::super::model::{Level, Model, Tab};
use super::{audit, release, say};

/// The connection changed. Without it no code stays on the screen: nobody can say whether it is still ours to see.
pub(super) fn changed(model: &mut Model, link: Link) -> Vec<Cmd> {
    let was_connected = model.is_connected();
    if std::mem::discriminant(&link) != std::mem::discriminant(&model.link) {
        model.link_since = model.now;
    }
    model.link = link;
    let Link::Connected(session) = &model.link else {
        release::hide(model);
        model.audit.is_loading = false;
        if was_connected && !matches!(model.link, Link::Asleep) {
            say(model, Level::Note, "The connection to the agent is lost; codes are hidden.");
        }
        return Vec::new();
    };
    model.session = Some(session.clone());
    let mut commands = reload();
    if model.tab == Tab::Audit {
        commands.extend(audit::reload(model));
    }
    commands
}

/// Asks for everything that the lists show.
pub(super) fn reload() -> Vec<Cmd> {
    [AgentCall::Status, AgentCall::Vaults, AgentCall::Accounts].map(Cmd::Call).into()
}

/// The agent said how it is.
pub(super) fn status_came(model: &mut Model, status: &StatusResult) {
    match status.state {
        State::Ready => {}
        State::HsmUnavailable => say(model, Level::Error, "The HSM does not answer: lists work, codes do not."),
        State::Sealed => say(model, Level::Error, "The agent is sealed: nothing is released until an operator looks."),
    }
}
