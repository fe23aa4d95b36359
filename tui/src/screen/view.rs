//! Drawing: the model in, cells out. Nothing here changes anything. Header and footer take one row each, the screens share
//! the rest; windows lie over it.

mod audit;
mod code;
mod footer;
mod header;
mod overlay;
mod panel;
mod vaults;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::message::{Link, OfflineReason};
use super::model::{Model, Size, Tab};
use super::text;

/// Draws the whole screen.
pub fn view(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let size = Size::of(area);
    if size == Size::Tiny {
        let lines =
            ["Window too small:", "strongroom needs 32x8"].map(|line| Line::raw(text::cut(line, area.width.into())));
        frame.render_widget(Paragraph::new(Vec::from(lines)), area);
        return;
    }
    let [top, body, bottom] =
        area.layout(&Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]));
    header::draw(model, frame, top);
    let body = banner(model, frame, body);
    match model.tab {
        Tab::Vaults if model.vaults.clients.is_none() => waiting(model, frame, body),
        Tab::Vaults => vaults::draw(model, frame, body, size),
        Tab::Audit => audit::draw(model, frame, body, size),
    }
    overlay::draw(model, frame, body);
    footer::draw(model, frame, bottom);
}

/// One row over the lists that says why they may be old. Gives the rest.
fn banner(model: &Model, frame: &mut Frame<'_>, body: Rect) -> Rect {
    if model.is_connected() || model.vaults.clients.is_none() {
        return body;
    }
    let [row, rest] = body.layout(&Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]));
    let sentence = match &model.link {
        Link::Offline { reason: reason @ OfflineReason::Refused(_), .. } => {
            format!(" ✗ OFFLINE, r tries again: {}", sentence(reason))
        }
        Link::Offline { reason, .. } => format!(" ✗ OFFLINE: {} The lists may be old.", sentence(reason)),
        Link::Asleep => " ○ The session ended after idling. Press any key to log in again.".to_owned(),
        Link::Connecting | Link::Connected(_) => " ○ Connecting… The lists may be old.".to_owned(),
    };
    frame.render_widget(Line::styled(text::cut(&sentence, row.width.into()), model.theme.danger), row);
    rest
}

fn sentence(reason: &OfflineReason) -> String {
    match reason {
        OfflineReason::NotRunning => "the agent is not running.".to_owned(),
        OfflineReason::Forbidden => "the agent's socket is not yours to use.".to_owned(),
        OfflineReason::Refused(why) | OfflineReason::Lost(why) => text::clean(why),
    }
}

/// The body before the first answer: what is awaited, and after two seconds what to do about it.
fn waiting(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let is_long = model.now.duration_since(model.link_since).as_secs() >= 2;
    let (first, second) = match &model.link {
        Link::Connected(_) => ("Reading your clients…".to_owned(), String::new()),
        Link::Asleep => ("The session ended after idling.".to_owned(), "Press any key to log in again.".to_owned()),
        Link::Offline { reason: reason @ OfflineReason::NotRunning, .. } => {
            (capital(&sentence(reason)), "Start it with: strongroom-agent run".to_owned())
        }
        Link::Offline { reason: reason @ OfflineReason::Forbidden, .. } => {
            (capital(&sentence(reason)), "Ask for membership of the group strongroom.".to_owned())
        }
        Link::Offline { reason: reason @ OfflineReason::Refused(_), .. } => {
            (capital(&sentence(reason)), "r tries again.".to_owned())
        }
        Link::Offline { reason, .. } => (capital(&sentence(reason)), "Trying again by itself.".to_owned()),
        Link::Connecting if is_long => {
            ("Looking for the agent…".to_owned(), "Start it with: strongroom-agent run".to_owned())
        }
        Link::Connecting => ("Looking for the agent…".to_owned(), String::new()),
    };
    note(model, frame, body, &[&first, &second]);
}

fn capital(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// A few sentences in the middle of an empty place, wrapped between words.
fn note(model: &Model, frame: &mut Frame<'_>, area: Rect, sentences: &[&str]) {
    let lines: Vec<Line<'_>> = sentences.iter().map(|sentence| Line::styled(*sentence, model.theme.dim)).collect();
    let top = area.height.saturating_sub(4) / 3;
    let place = Rect { y: area.y + top, height: area.height - top, ..area };
    let paragraph = Paragraph::new(lines).alignment(Alignment::Center).wrap(ratatui::widgets::Wrap { trim: true });
    frame.render_widget(paragraph, place);
}
