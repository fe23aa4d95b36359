//! The Vaults screen: moving, opening, what the lists bring.

use strongroom_proto::error::Failure;
use strongroom_proto::method::{account, vault};

use super::super::code::Purpose;
use super::super::keymap::Action;
use super::super::message::{AgentCall, Cmd, TrailPurpose};
use super::super::model::{Level, Model, Size};
use super::super::vaults::{Account, Client, Pane};
use super::{link, release, say};

/// Does what a key asks for.
pub(super) fn act(model: &mut Model, action: Action) -> Vec<Cmd> {
    match action {
        Action::Up => step(model, -1),
        Action::Down => step(model, 1),
        Action::PageUp => step(model, -i64::from(model.area.height / 2)),
        Action::PageDown => step(model, i64::from(model.area.height / 2)),
        Action::First => step(model, i64::from(i32::MIN)),
        Action::Last => step(model, i64::from(i32::MAX)),
        Action::Forward | Action::NextPane => return forward(model, action == Action::NextPane),
        Action::Backward | Action::Back => back(model),
        Action::Open => return open(model),
        Action::Hide => release::hide(model),
        Action::Copy => return copy(model),
        Action::Reload if model.is_connected() => return link::reload(),
        _ => {}
    }
    Vec::new()
}

fn step(model: &mut Model, by: i64) {
    let moved = |at: usize, len: usize| {
        let last = i64::try_from(len).unwrap_or(i64::MAX).saturating_sub(1).max(0);
        let to = i64::try_from(at).unwrap_or(0).saturating_add(by).clamp(0, last);
        usize::try_from(to).unwrap_or(0)
    };
    let before = model.vaults.selected_account().map(|account| account.address.clone());
    match model.vaults.focus {
        Pane::Clients => {
            let at = moved(model.vaults.client_at().unwrap_or(0), model.vaults.visible.len());
            let chosen = model.vaults.visible_clients().nth(at).map(|client| client.vault.clone());
            model.vaults.client = chosen;
        }
        Pane::Accounts => {
            let accounts = model.vaults.visible_accounts();
            let at = moved(model.vaults.account_at(), accounts.len());
            let chosen = accounts.get(at).map(|account| account.address.clone());
            if let Some(address) = chosen {
                model.vaults.account.insert(address.vault.clone(), address);
            }
        }
        Pane::Code => {}
    }
    if model.vaults.selected_account().map(|account| account.address.clone()) != before {
        release::hide(model);
    }
}

/// To the panel on the right. Opening a client reads its newest records: not before, because reading is recorded.
fn forward(model: &mut Model, around: bool) -> Vec<Cmd> {
    match model.vaults.focus {
        Pane::Clients if model.vaults.selected_client().is_some() => {
            model.vaults.focus = Pane::Accounts;
            return recent(model);
        }
        Pane::Accounts if model.size() == Size::Compact && model.vaults.selected_account().is_some() => {
            model.vaults.focus = Pane::Code;
        }
        Pane::Accounts | Pane::Code if around => model.vaults.focus = Pane::Clients,
        _ => {}
    }
    Vec::new()
}

/// The window has another size. One panel at a time must not lose the code out of sight while it is on the screen, and the
/// panel that only the wide layout has must not stay empty.
pub(super) fn resized(model: &mut Model) -> Vec<Cmd> {
    let selected = model.vaults.selected_account().map(|account| &account.address);
    if model.size() == Size::Compact && model.code.account().is_some() && model.code.account() == selected {
        model.vaults.focus = Pane::Code;
    }
    let is_known = model.vaults.recent.as_ref().map(|(vault, _)| vault) == model.vaults.client.as_ref();
    if model.vaults.focus == Pane::Clients || is_known { Vec::new() } else { recent(model) }
}

fn back(model: &mut Model) {
    release::hide(model);
    model.vaults.focus = match model.vaults.focus {
        Pane::Code => Pane::Accounts,
        Pane::Accounts | Pane::Clients => Pane::Clients,
    };
}

fn open(model: &mut Model) -> Vec<Cmd> {
    if model.vaults.focus == Pane::Clients {
        return forward(model, false);
    }
    if model.size() == Size::Compact {
        model.vaults.focus = Pane::Code;
    }
    let Some(account) = model.vaults.selected_account() else { return Vec::new() };
    let (address, kind) = (account.address.clone(), account.kind);
    release::reveal(model, address, kind)
}

fn copy(model: &mut Model) -> Vec<Cmd> {
    if model.vaults.focus == Pane::Clients && model.code.account().is_none() {
        say(model, Level::Note, "Open a client first: ⏎.");
        return Vec::new();
    }
    let Some(account) = model.vaults.selected_account() else { return Vec::new() };
    let (address, kind) = (account.address.clone(), account.kind);
    release::copy(model, address, kind, Purpose::Copy)
}

/// The newest records of the selected client, for the panel that only the wide layout has.
pub(super) fn recent(model: &Model) -> Vec<Cmd> {
    match model.vaults.client.clone() {
        Some(vault) if model.size() == Size::Wide && model.is_connected() => {
            let purpose = TrailPurpose::Recent;
            vec![Cmd::Call(AgentCall::Trail { vault: Some(vault), before: None, purpose })]
        }
        _ => Vec::new(),
    }
}

/// The filter changed.
pub(super) fn refiltered(model: &mut Model) {
    let before = model.vaults.selected_account().map(|account| account.address.clone());
    model.vaults.refresh();
    if model.vaults.selected_account().map(|account| account.address.clone()) != before {
        release::hide(model);
    }
}

/// The vaults came. One that is gone was taken away or renamed: the user is told, and its code is hidden.
pub(super) fn clients_came(model: &mut Model, outcome: Result<Vec<vault::Item>, Failure>) {
    match outcome {
        Ok(items) => {
            let gone: Vec<String> = model
                .vaults
                .clients
                .iter()
                .flatten()
                .filter(|client| items.iter().all(|item| item.id != client.id))
                .map(|client| client.name.clone())
                .collect();
            model.vaults.clients = Some(items.into_iter().map(Client::from).collect());
            refiltered(model);
            if !gone.is_empty() {
                say(model, Level::Note, &format!("No longer yours to see: {}.", gone.join(", ")));
            }
        }
        Err(failure) => say(model, Level::Error, &failure.message),
    }
}

/// The accounts came.
pub(super) fn accounts_came(model: &mut Model, outcome: Result<Vec<account::Item>, Failure>) {
    match outcome {
        Ok(items) => {
            model.vaults.accounts = Some(items.into_iter().map(Account::from).collect());
            refiltered(model);
        }
        Err(failure) => say(model, Level::Error, &failure.message),
    }
}
