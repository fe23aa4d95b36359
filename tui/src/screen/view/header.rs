//! The first row: where you are on the left, the connection on the right.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::message::Link;
use super::super::model::{Model, Size, Tab};
use super::super::text;
use super::super::vaults::Pane;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, row: Rect) {
    let theme = &model.theme;
    let size = model.size();
    let (words, style) = connection(model, size);
    let right_width = u16::try_from(text::width(&words)).unwrap_or(0).min(row.width);
    let left_width = usize::from(row.width - right_width).saturating_sub(1);
    let left = match size {
        Size::Compact | Size::Tiny => {
            Line::from(vec![Span::styled(text::cut(&breadcrumb(model), left_width), theme.bar)])
        }
        Size::Medium | Size::Wide => {
            let mut spans = vec![Span::styled(" strongroom ", theme.bar_key)];
            for (tab, label) in [(Tab::Vaults, "1 Vaults"), (Tab::Audit, "2 Audit")] {
                if tab == model.tab {
                    spans.push(Span::styled(format!("[{label}]"), theme.tab));
                } else {
                    spans.push(Span::styled(format!(" {label} "), theme.bar));
                }
            }
            Line::from(spans)
        }
    };
    frame.buffer_mut().set_style(row, theme.bar);
    frame.render_widget(left, Rect { width: row.width - right_width, ..row });
    let right = Rect { x: row.right() - right_width, width: right_width, ..row };
    frame.render_widget(Line::styled(words, theme.bar.patch(style)), right);
}

fn connection(model: &Model, size: Size) -> (String, ratatui::style::Style) {
    let theme = &model.theme;
    let is_narrow = size == Size::Compact;
    match &model.link {
        Link::Connecting if is_narrow => ("○ ".into(), theme.warn),
        Link::Connecting => ("○ connecting ".into(), theme.warn),
        Link::Connected(_) if is_narrow => ("● ".into(), theme.ok),
        Link::Connected(session) => (format!("● {} · connected ", text::cut(session.identity.as_str(), 20)), theme.ok),
        Link::Offline { .. } if is_narrow => ("✗ offline ".into(), theme.danger),
        Link::Offline { attempt, .. } => (format!("✗ offline, retry {attempt} "), theme.danger),
        Link::Asleep => ("○ asleep ".into(), theme.warn),
    }
}

/// The path to what is shown, for the layout with one panel at a time.
fn breadcrumb(model: &Model) -> String {
    if model.tab == Tab::Audit {
        let log = model.audit.log.as_ref().map_or("org", |vault| vault.as_str());
        return format!(" Audit › {log}");
    }
    let mut path = String::from(" Vaults");
    let client = model.vaults.selected_client();
    if let Some(client) = client.filter(|_| model.vaults.focus != Pane::Clients) {
        path.push_str(&format!(" › {}", client.vault));
    }
    if let Some(account) = model.vaults.selected_account().filter(|_| model.vaults.focus == Pane::Code) {
        path.push_str(&format!(" › {}", account.address.account));
    }
    path
}
