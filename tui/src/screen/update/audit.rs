//! The Audit screen: which log, paging back, verifying.

use strongroom_proto::error::Failure;
use strongroom_proto::ids::Slug;
use strongroom_proto::method::audit::Page;

use super::super::audit::{Row, Verification};
use super::super::keymap::Action;
use super::super::message::{AgentCall, Cmd, TrailPurpose, VerifyFailure};
use super::super::model::{Level, Model, Overlay};
use super::super::text::clean;
use super::super::verify::VerifiedLog;
use super::say;

/// How near to the last loaded record the next page is fetched.
const PREFETCH_ROWS: usize = 20;

/// The screen was opened: the log of the selected client, newest records.
pub(super) fn entered(model: &mut Model) -> Vec<Cmd> {
    let wanted = model.vaults.client.clone();
    let logs = logs(model);
    if !model.audit.is_chosen || (wanted.is_some() && model.audit.log != wanted) {
        let log = if logs.contains(&wanted) { wanted } else { logs.into_iter().next().flatten() };
        model.audit.choose(log);
    }
    reload(model)
}

/// The logs that the caller may ask for: the org log for those with a role in it, then one for each vault.
#[must_use]
pub(crate) fn logs(model: &Model) -> Vec<Option<Slug>> {
    let org = model.session.as_ref().is_some_and(|session| !session.roles.is_empty()).then_some(None);
    let vaults = model.vaults.clients.iter().flatten().map(|client| Some(client.vault.clone()));
    org.into_iter().chain(vaults).collect()
}

/// Reads the newest page again.
pub(super) fn reload(model: &mut Model) -> Vec<Cmd> {
    if !model.is_connected() || (model.audit.log.is_none() && !logs(model).contains(&None)) {
        return Vec::new();
    }
    model.audit.is_loading = true;
    page(model, None)
}

fn page(model: &Model, before: Option<u64>) -> Vec<Cmd> {
    let (vault, purpose) = (model.audit.log.clone(), TrailPurpose::Table);
    vec![Cmd::Call(AgentCall::Trail { vault, before, purpose })]
}

/// Does what a key asks for.
pub(super) fn act(model: &mut Model, action: Action) -> Vec<Cmd> {
    let half = i64::from(model.area.height / 2);
    match action {
        Action::Up => step(model, -1),
        Action::Down => step(model, 1),
        Action::PageUp => step(model, -half),
        Action::PageDown => step(model, half),
        Action::First => step(model, i64::from(i32::MIN)),
        Action::Last => step(model, i64::from(i32::MAX)),
        Action::Forward => turn(model, 1),
        Action::Backward => turn(model, -1),
        Action::Open => {
            model.overlay = model.audit.selected.map(|seq| Overlay::Record { seq, scroll: 0 });
            Vec::new()
        }
        Action::Verify => verify(model),
        Action::Reload => reload(model),
        _ => Vec::new(),
    }
}

fn step(model: &mut Model, by: i64) -> Vec<Cmd> {
    let rows = model.audit.visible_rows();
    let last = i64::try_from(rows.len()).unwrap_or(0) - 1;
    let at = i64::try_from(model.audit.selected_at().unwrap_or(0)).unwrap_or(0);
    let to = usize::try_from(at.saturating_add(by).clamp(0, last.max(0))).unwrap_or(0);
    let chosen = rows.get(to).map(|row| row.seq);
    let is_near_end = to + PREFETCH_ROWS >= rows.len();
    model.audit.selected = chosen;
    match model.audit.older {
        Some(older) if by > 0 && is_near_end && !model.audit.is_loading && model.is_connected() => {
            model.audit.is_loading = true;
            page(model, Some(older))
        }
        _ => Vec::new(),
    }
}

/// To the next or previous log, around the end.
fn turn(model: &mut Model, by: isize) -> Vec<Cmd> {
    let logs = logs(model);
    let (Ok(len), Some(at)) = (isize::try_from(logs.len()), logs.iter().position(|log| *log == model.audit.log)) else {
        return Vec::new();
    };
    let to = usize::try_from((isize::try_from(at).unwrap_or(0) + by).rem_euclid(len)).unwrap_or(0);
    if to == at {
        return Vec::new();
    }
    model.audit.choose(logs.into_iter().nth(to).flatten());
    reload(model)
}

fn verify(model: &mut Model) -> Vec<Cmd> {
    if !model.is_connected() {
        say(model, Level::Error, "Offline: the checkpoint comes from the agent.");
        return Vec::new();
    }
    if matches!(model.audit.verification, Verification::Running) || !model.audit.is_chosen {
        return Vec::new();
    }
    model.audit.verification = Verification::Running;
    vec![Cmd::Call(AgentCall::Verify { vault: model.audit.log.clone() })]
}

/// A page came; one of a log that was left meanwhile is dropped.
pub(super) fn page_came(
    model: &mut Model,
    vault: Option<Slug>,
    purpose: TrailPurpose,
    before: Option<u64>,
    outcome: Result<Page, Failure>,
) {
    if purpose == TrailPurpose::Recent {
        // Who may not read the trail sees an empty panel: no reason to say so at every client.
        if let Some(vault) = vault {
            let items = outcome.map(|page| page.items).unwrap_or_default();
            let rows = items.into_iter().map(|item| Row::new(item, &model.vaults)).collect();
            model.vaults.recent = Some((vault, rows));
        }
        return;
    }
    if vault != model.audit.log {
        return;
    }
    model.audit.is_loading = false;
    match outcome {
        Ok(page) => {
            let rows = page.items.into_iter().map(|item| Row::new(item, &model.vaults)).collect();
            model.audit.refusal = None;
            model.audit.size = page.size;
            model.audit.older = page.next;
            model.audit.kept_from = page.pruned.map_or(0, |pruned| pruned.until);
            model.audit.add(rows, before.is_none());
        }
        Err(failure) if model.audit.rows.is_none() => model.audit.refusal = Some(clean(&failure.message)),
        Err(failure) => say(model, Level::Error, &failure.message),
    }
}

/// A verification ended.
pub(super) fn verified(model: &mut Model, vault: Option<Slug>, outcome: Result<VerifiedLog, VerifyFailure>) {
    if vault == model.audit.log {
        model.audit.judge(outcome);
    }
}
