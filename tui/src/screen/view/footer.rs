//! The last row: a toast, else the open input, else what the keys do here. `? help` is never dropped.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use tui_input::Input;

use super::super::keymap::{Action, BINDINGS, Binding};
use super::super::model::{Level, Model, Overlay};
use super::super::text;

/// Columns that a kept filter may take.
const FILTER_WIDTH_MAX: usize = 16;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, row: Rect) {
    let theme = &model.theme;
    frame.buffer_mut().set_style(row, theme.bar);
    if let Some(Overlay::Command(input)) = &model.overlay {
        return typing(model, frame, row, ":", input);
    }
    if let Some(toast) = model.messages.toast() {
        let (sign, style) = match toast.level {
            Level::Good => ("", theme.ok),
            Level::Note => ("• ", theme.warn),
            Level::Error => ("✗ ERROR ", theme.danger),
        };
        let sentence = text::cut(&format!(" {sign}{}", toast.text), row.width.into());
        frame.render_widget(Line::styled(sentence, theme.bar.patch(style)), row);
        return;
    }
    let filter = model.filter();
    if filter.is_open && model.overlay.is_none() {
        return typing(model, frame, row, "/", &filter.input);
    }
    frame.render_widget(hints(model, row.width.into()), row);
}

fn typing(model: &Model, frame: &mut Frame<'_>, row: Rect, sign: &str, input: &Input) {
    let theme = &model.theme;
    let keys = " ⏎ ok  Esc clear ";
    let keys_width = text::width(keys).min(usize::from(row.width) / 2);
    let room = usize::from(row.width).saturating_sub(keys_width + 3);
    let scroll = input.visual_scroll(room);
    let visible: String = text::clean(&input.value().chars().skip(scroll).collect::<String>());
    let line = Line::from(vec![
        Span::styled(format!(" {sign}"), theme.bar_key),
        Span::styled(text::fit(&visible, room + 1), theme.bar),
        Span::styled(text::cut(keys, keys_width), theme.bar),
    ]);
    frame.render_widget(line, row);
    let column = u16::try_from(input.visual_cursor().saturating_sub(scroll)).unwrap_or(0);
    frame.set_cursor_position(Position { x: (row.x + 2 + column).min(row.right().saturating_sub(1)), y: row.y });
}

/// The hints of the strongest contexts. Room for help is set aside first; what does not fit after it is left out.
fn hints(model: &Model, width: usize) -> Line<'static> {
    let contexts = model.contexts();
    let offered = |binding: &&Binding| !binding.hint.is_empty() && contexts.contains(&binding.context);
    let label = |binding: &Binding| binding.keys.first().map(|key| key.label()).unwrap_or_default();
    let cost = |binding: &Binding| text::width(&label(binding)) + text::width(binding.hint) + 3;
    let help = BINDINGS.iter().filter(offered).find(|binding| binding.action == Action::Help).map_or(0, cost);
    let mut room = width.saturating_sub(1 + help);
    let mut spans = vec![Span::raw(" ")];
    let filter = text::cut(&text::clean(model.filter().input.value()), FILTER_WIDTH_MAX);
    if !filter.is_empty() && model.overlay.is_none() {
        // A filter that was kept and forgotten looks like accounts that are gone.
        let (sign, clears) = (format!("/{filter}"), " Esc clears  ");
        room = room.saturating_sub(text::width(&sign) + text::width(clears));
        spans.push(Span::styled(sign, model.theme.bar.patch(model.theme.warn)));
        spans.push(Span::styled(clears, model.theme.bar));
    }
    for binding in BINDINGS.iter().filter(offered) {
        let is_help = binding.action == Action::Help;
        if !is_help && cost(binding) > room {
            continue;
        }
        room -= if is_help { 0 } else { cost(binding) };
        spans.push(Span::styled(label(binding), model.theme.bar_key));
        spans.push(Span::styled(format!(" {}  ", binding.hint), model.theme.bar));
    }
    Line::from(spans)
}
