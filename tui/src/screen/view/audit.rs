//! The Audit screen: one log as a table, and in its border whether it holds.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

use super::super::audit::{Row, RowResult, Verification};
use super::super::model::{Model, Size};
use super::super::text::{self, fit};
use super::{note, panel};

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect, size: Size) {
    let audit = &model.audit;
    let title = title(model, size);
    let inside = panel::draw(model, frame, body, &title, true);
    let (words, style) = verdict(model, size);
    let room = usize::from(body.width).saturating_sub(text::width(&title) + 8);
    let words = text::cut(&words, room);
    let width = u16::try_from(text::width(&words)).unwrap_or(0);
    if width > 0 {
        let place = Rect { x: body.right().saturating_sub(width + 3), y: body.y, width: width + 2, height: 1 };
        frame.render_widget(Line::styled(format!(" {words} "), style), place);
    }
    if let Some(refusal) = &audit.refusal {
        return note(
            model,
            frame,
            inside,
            &[refusal, "Viewers read the trail of their accounts; → shows the next log."],
        );
    }
    if !audit.is_chosen {
        return note(model, frame, inside, &["No log is yours to read."]);
    }
    if audit.rows.is_none() {
        return note(model, frame, inside, &["Reading the trail…"]);
    }
    let rows = audit.visible_rows();
    if rows.is_empty() {
        let is_filtered = !audit.filter.input.value().is_empty();
        let sentence = if is_filtered { "No loaded record matches. Esc clears the filter." } else { "Nothing yet." };
        return note(model, frame, inside, &[sentence]);
    }
    let [head, table] = inside.layout(&Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]));
    let columns = Columns::of(usize::from(inside.width).saturating_sub(1), size);
    let bold = model.theme.text.add_modifier(Modifier::BOLD);
    let names = columns.head(model.zone.label());
    frame.render_widget(Line::styled(format!(" {names}"), bold), head);
    let zone = model.zone.time_zone();
    panel::list(model, frame, table, rows.len(), audit.selected_at(), true, |place| {
        columns.row(model, rows[place], &zone)
    });
}

fn title(model: &Model, size: Size) -> String {
    let audit = &model.audit;
    let clients = model.vaults.clients.as_deref().unwrap_or_default();
    let name = match &audit.log {
        Some(vault) => {
            clients.iter().find(|client| client.vault == *vault).map_or(vault.as_str(), |client| client.name.as_str())
        }
        None if audit.is_chosen => "organisation",
        None => return "Audit trail".to_owned(),
    };
    if size == Size::Compact {
        return text::cut(name, 14);
    }
    let at = audit.selected_at().map_or(0, |at| at + 1);
    let shown = audit.visible.len();
    let loaded = audit.rows.as_ref().map_or(0, Vec::len);
    let of = if shown < loaded { format!("{at} of {shown} filtered") } else { format!("{at} of {loaded}") };
    let more = match (audit.older, audit.kept_from) {
        (Some(_), _) => ", more below".to_owned(),
        (None, 0) => String::new(),
        (None, kept_from) => format!(", before #{kept_from} pruned"),
    };
    format!("Audit trail · {} · {of}{more}", text::cut(name, 30))
}

/// Whether the log holds, in words.
fn verdict(model: &Model, size: Size) -> (String, Style) {
    let theme = &model.theme;
    match &model.audit.verification {
        Verification::Unasked => ("not verified".into(), theme.dim),
        Verification::Running => ("verifying…".into(), theme.warn),
        Verification::Verified(_) if size == Size::Compact => ("✓ verified".into(), theme.ok),
        Verification::Verified(log) => (format!("✓ verified {} records", log.size), theme.ok),
        Verification::Broken { seq: Some(seq), .. } => (format!("✗ BROKEN at #{seq}"), theme.danger),
        Verification::Broken { seq: None, reason } if size != Size::Compact => {
            (format!("✗ BROKEN: {reason}"), theme.danger)
        }
        Verification::Broken { .. } => ("✗ BROKEN".into(), theme.danger),
        Verification::Unavailable(reason) => (format!("? not verified: {reason}"), theme.warn),
    }
}

/// Column widths; 0 leaves a column out.
struct Columns {
    time: usize,
    who: usize,
    what: usize,
    target: usize,
    result: usize,
    from: usize,
}

impl Columns {
    fn of(width: usize, size: Size) -> Self {
        let (time, who, what, result, from) = match size {
            Size::Tiny | Size::Compact => (11, 8, 0, 9, 0),
            // The longest event that people meet is identity.key_remove.
            Size::Medium => (14, 10, 19, 12, 0),
            Size::Wide => (19, 10, 19, 23, 19),
        };
        let used = [time, who, what, result, from].iter().map(|column| column + usize::from(*column > 0)).sum();
        Self { time, who, what, target: width.saturating_sub(used), result, from }
    }

    fn head(&self, zone: &str) -> String {
        let names = [
            (format!("Time ({zone})"), self.time),
            ("Who".into(), self.who),
            ("What".into(), self.what),
            ("Account".into(), self.target),
            ("Result".into(), self.result),
            ("From".into(), self.from),
        ];
        names.iter().filter(|(_, width)| *width > 0).map(|(name, width)| fit(name, *width) + " ").collect()
    }

    fn row(&self, model: &Model, row: &Row, zone: &jiff::tz::TimeZone) -> panel::Pieces {
        let theme = &model.theme;
        let format = match self.time {
            19 => "%Y-%m-%d %H:%M:%S",
            14 => "%m-%d %H:%M:%S",
            _ => "%m-%d %H:%M",
        };
        let time = row.at.map(|at| at.to_zoned(zone.clone()).strftime(format).to_string()).unwrap_or_default();
        let style = if row.result == RowResult::Ok { theme.ok } else { theme.danger };
        let result = match &row.result {
            RowResult::Denied(kind) | RowResult::Failed(kind) if !kind.is_empty() && self.result > 12 => {
                format!("{} {kind}", row.result.label())
            }
            _ => row.result.label().to_owned(),
        };
        [
            (time, self.time, theme.dim),
            (row.who.clone(), self.who, theme.text),
            (row.what.clone(), self.what, theme.text),
            (row.target.clone(), self.target, theme.text),
            (result, self.result, style),
            (row.from.clone(), self.from, theme.dim),
        ]
        .into_iter()
        .filter(|(_, width, _)| *width > 0)
        .map(|(text, width, style)| (fit(&text, width) + " ", style))
        .collect()
    }
}
