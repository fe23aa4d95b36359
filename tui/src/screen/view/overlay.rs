//! Windows over the screen: help, messages, one record, and the question before a counter moves.

use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Paragraph};

use super::super::audit::{Row, Verification};
use super::super::keymap::{BINDINGS, Context};
use super::super::model::{Level, Model, Overlay, Tab};
use super::super::text::{self, clean, fit, wrap};
use super::panel;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let width = body.width.saturating_sub(4).min(84);
    let inside = usize::from(width.saturating_sub(4));
    match &model.overlay {
        None | Some(Overlay::Command(_)) => {}
        Some(Overlay::Help { scroll }) => window(model, frame, body, width, "Help", help(model, inside), *scroll),
        Some(Overlay::Messages { scroll }) => {
            window(model, frame, body, width, "Messages", messages(model, inside), *scroll);
        }
        Some(Overlay::Record { seq, scroll }) => {
            if let Some(row) = model.audit.rows.iter().flatten().find(|row| row.seq == *seq) {
                window(model, frame, body, width, &format!("Record #{seq}"), record(model, row, inside), *scroll);
            }
        }
        Some(Overlay::NextCode(account)) => {
            let lines = vec![
                Line::raw(text::cut(&account.to_string(), inside)),
                Line::raw(text::cut("Take the next code?", inside)),
                Line::styled(text::cut("It moves the counter on, for everybody.", inside), model.theme.warn),
                Line::raw(""),
                Line::styled(text::cut("y yes · N no", inside), model.theme.accent),
            ];
            window(model, frame, body, width.min(48), "Next code", lines, 0);
        }
    }
}

fn window(
    model: &Model,
    frame: &mut Frame<'_>,
    body: Rect,
    width: u16,
    title: &str,
    lines: Vec<Line<'_>>,
    scroll: usize,
) {
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2).min(body.height);
    let area = body.centered(width.into(), height.into());
    panel::clear(area, frame.buffer_mut());
    let theme = &model.theme;
    let block = Block::bordered()
        .border_type(BorderType::Thick)
        .border_style(theme.border_focus)
        .title(Span::styled(format!(" {title} "), theme.accent))
        .padding(ratatui::widgets::Padding::horizontal(1));
    let inside = block.inner(area);
    let first = scroll.min(lines.len().saturating_sub(inside.height.into()));
    let has_more = lines.len() > first + usize::from(inside.height);
    let block =
        if has_more { block.title_bottom(Line::styled(" ↓ more ", theme.dim).right_aligned()) } else { block };
    let shown: Vec<Line<'_>> = lines.into_iter().skip(first).take(inside.height.into()).collect();
    frame.render_widget(Paragraph::new(shown).alignment(Alignment::Left).block(block), area);
}

fn help(model: &Model, width: usize) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let screen = if model.tab == Tab::Vaults { Context::Vaults } else { Context::Audit };
    let mut lines = Vec::new();
    for context in [screen, Context::Global, Context::Filter, Context::Always] {
        if !lines.is_empty() {
            lines.push(Line::raw(""));
        }
        lines.push(Line::styled(context.title(), theme.accent));
        for binding in BINDINGS.iter().filter(|binding| binding.context == context) {
            let keys: Vec<String> = binding.keys.iter().map(|key| key.label()).collect();
            let keys = fit(&keys.join(" "), 10);
            let name = if binding.name.is_empty() { String::new() } else { format!("  :{}", binding.name) };
            let sentence = text::cut(&format!("{}{name}", binding.text), width.saturating_sub(13));
            lines.push(Line::from(vec![Span::styled(format!("  {keys} "), theme.accent), Span::raw(sentence)]));
        }
    }
    lines
}

fn messages(model: &Model, width: usize) -> Vec<Line<'static>> {
    let zone = model.zone.time_zone();
    let lines: Vec<Line<'static>> = model
        .messages
        .newest_first()
        .flat_map(|message| {
            let time = message.at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string();
            let (sign, style) = match message.level {
                Level::Good => ("", model.theme.ok),
                Level::Note => ("• ", model.theme.warn),
                Level::Error => ("✗ ERROR ", model.theme.danger),
            };
            wrap(&format!("{time} {sign}{}", message.text), width)
                .into_iter()
                .map(move |line| Line::styled(line, style))
        })
        .collect();
    if lines.is_empty() { vec![Line::raw("No messages yet.")] } else { lines }
}

/// A record as it stands, its leaf hash, and what its openings say.
fn record(model: &Model, row: &Row, width: usize) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let mut lines = Vec::new();
    let mut field = |name: &str, value: &str, style: Style| {
        for (place, part) in wrap(&clean(value), width.saturating_sub(11)).into_iter().enumerate() {
            let name = if place == 0 { fit(name, 10) } else { " ".repeat(10) };
            lines.push(Line::from(vec![Span::styled(format!("{name} "), theme.dim), Span::styled(part, style)]));
        }
    };
    let time = row.at.map(|at| at.to_zoned(model.zone.time_zone()).strftime("%Y-%m-%d %H:%M:%S").to_string());
    field("Time", &format!("{} {}", time.unwrap_or_default(), model.zone.label()), theme.text);
    field("Who", &row.who, theme.text);
    field("What", &row.what, theme.text);
    field("Account", &row.target, theme.text);
    field("Result", row.result.label(), theme.text);
    field("From", &row.from, theme.text);
    field("Receipt", &format!("#{} leaf {}", row.seq, hex::encode(row.leaf())), theme.text);
    let (state, style) = match &model.audit.verification {
        Verification::Verified(log) if row.seq < log.size => ("✓ this record is under the signed root", theme.ok),
        Verification::Verified(_) => ("newer than the verified checkpoint: v verifies again", theme.warn),
        Verification::Broken { seq: Some(seq), .. } if *seq == row.seq => {
            ("✗ BROKEN: not the record of this leaf", theme.danger)
        }
        Verification::Broken { .. } => ("✗ the log does not hold", theme.danger),
        _ => ("not verified: v verifies the log", theme.dim),
    };
    field("Log", state, style);
    for (name, value, fits) in &row.openings {
        let (sign, style) = if *fits { ("✓", theme.ok) } else { ("✗ does not fit its commitment:", theme.danger) };
        field("Opening", &format!("{sign} {name} = {value}"), style);
    }
    field("Record", &row.bytes, theme.text);
    lines
}
