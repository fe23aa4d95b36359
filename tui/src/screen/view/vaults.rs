//! The Vaults screen: clients, accounts, code; beside them what happened last, where there is room.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use strongroom_proto::words::Access;

use super::super::audit::RowResult;
use super::super::model::{Model, Size};
use super::super::text::{self, fit};
use super::super::theme::Theme;
use super::super::vaults::Pane;
use super::{code, note, panel};

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect, size: Size) {
    match size {
        Size::Tiny => {}
        Size::Compact => match model.vaults.focus {
            Pane::Clients => clients(model, frame, body),
            Pane::Accounts => accounts(model, frame, body),
            Pane::Code => code::draw(model, frame, body, true),
        },
        Size::Medium => {
            let left = (body.width / 3).clamp(24, 36);
            let [left, right] = body.layout(&Layout::horizontal([Constraint::Length(left), Constraint::Fill(1)]));
            let [top, bottom] = right.layout(&Layout::vertical([Constraint::Fill(1), Constraint::Length(10)]));
            clients(model, frame, left);
            accounts(model, frame, top);
            code::draw(model, frame, bottom, model.vaults.focus == Pane::Code);
        }
        Size::Wide => {
            let [left, right] = body.layout(&Layout::horizontal([Constraint::Length(34), Constraint::Fill(1)]));
            let [top, bottom] = right.layout(&Layout::vertical([Constraint::Fill(1), Constraint::Length(12)]));
            let [middle, recently] = top.layout(&Layout::horizontal([Constraint::Fill(1), Constraint::Length(36)]));
            clients(model, frame, left);
            accounts(model, frame, middle);
            recent(model, frame, recently);
            code::draw(model, frame, bottom, model.vaults.focus == Pane::Code);
        }
    }
}

fn clients(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let vaults = &model.vaults;
    let shown: Vec<_> = vaults.visible_clients().collect();
    let all = vaults.clients.as_ref().map_or(0, Vec::len);
    let is_filtered = !vaults.filter.input.value().is_empty();
    let title = match vaults.client_at() {
        Some(at) if is_filtered => format!("Clients {}/{} of {all}", at + 1, shown.len()),
        Some(at) => format!("Clients {}/{all}", at + 1),
        None => "Clients".to_owned(),
    };
    let is_focused = vaults.focus == Pane::Clients;
    let inside = panel::draw(model, frame, area, &title, is_focused);
    if shown.is_empty() {
        let found_nothing = format!("Nothing matches \"{}\".", text::clean(vaults.filter.input.value()));
        let sentences: [&str; 2] = if is_filtered {
            [&found_nothing, "Esc clears the filter."]
        } else {
            ["No client is assigned to you yet.", "An admin or a vault's manager gives grants."]
        };
        return note(model, frame, inside, &sentences);
    }
    let theme = &model.theme;
    let width = usize::from(inside.width).saturating_sub(1);
    panel::list(model, frame, inside, shown.len(), vaults.client_at(), is_focused, |place| {
        let client = shown[place];
        let count = vaults.visible.get(place).map_or(0, |row| row.accounts.len()).to_string();
        let sign = if client.is_frozen { "■ " } else { "" };
        let right = format!(" {sign}{count} ");
        let name = fit(&client.name, width.saturating_sub(text::width(&right)));
        vec![(name, theme.text), (right, if client.is_frozen { theme.warn } else { theme.dim })]
    });
}

fn accounts(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let vaults = &model.vaults;
    let client = vaults.selected_client();
    let title = client.map_or_else(
        || "Accounts".to_owned(),
        |client| format!("{}{}", client.name, if client.is_frozen { " · ■ FROZEN" } else { "" }),
    );
    let is_focused = vaults.focus == Pane::Accounts;
    let inside = panel::draw(model, frame, area, &title, is_focused);
    let shown = vaults.visible_accounts();
    let Some(client) = client else { return };
    if shown.is_empty() {
        if vaults.accounts.is_none() {
            return note(model, frame, inside, &["Reading the accounts…"]);
        }
        if !vaults.filter.input.value().is_empty() {
            return note(model, frame, inside, &["No account here matches the filter."]);
        }
        let command = format!("strongroom account import {} --from FILE", client.vault);
        return note(model, frame, inside, &["No accounts here yet. A manager imports them:", &command]);
    }
    let theme = &model.theme;
    let width = usize::from(inside.width).saturating_sub(1);
    let name_width = (width * 2 / 5).max(width.saturating_sub(40) / 2).min(32);
    panel::list(model, frame, inside, shown.len(), Some(vaults.account_at()), is_focused, |place| {
        let account = shown[place];
        let access = if client.is_frozen { Access::Frozen } else { account.access };
        let label = if account.label.is_empty() { &account.issuer } else { &account.label };
        let label_width = width.saturating_sub(name_width + 9);
        vec![
            (fit(account.address.account.as_str(), name_width), theme.text),
            (format!(" {}", fit(label, label_width)), theme.dim),
            (format!(" {}", fit(access.as_str(), 7)), access_style(theme, access)),
        ]
    });
}

const fn access_style(theme: &Theme, access: Access) -> Style {
    match access {
        Access::Open => theme.ok,
        Access::Ask | Access::Frozen | Access::Closed => theme.warn,
        Access::Listed => theme.dim,
    }
}

fn recent(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let theme = &model.theme;
    let inside = panel::draw(model, frame, area, &format!("Recent here ({})", model.zone.label()), false);
    let rows = model.vaults.recent.as_ref().filter(|(vault, _)| Some(vault) == model.vaults.client.as_ref());
    let Some((_, rows)) = rows else {
        return note(model, frame, inside, &["Open the client to see", "what happened last."]);
    };
    if rows.is_empty() {
        return note(model, frame, inside, &["Nothing that you may read."]);
    }
    let zone = model.zone.time_zone();
    panel::list(model, frame, inside, rows.len().min(inside.height.into()), None, false, |place| {
        let row = &rows[place];
        let time = row.at.map(|at| at.to_zoned(zone.clone()).strftime("%H:%M").to_string()).unwrap_or_default();
        let verb = row.what.rsplit('.').next().unwrap_or_default();
        let style = if row.result == RowResult::Ok { theme.ok } else { theme.danger };
        vec![
            (format!("{} ", fit(&time, 5)), theme.dim),
            (format!("{} ", fit(&row.who, 7)), theme.text),
            (format!("{} ", fit(verb, 8)), theme.text),
            (fit(row.result.label(), usize::from(inside.width).saturating_sub(25)), style),
        ]
    });
}
