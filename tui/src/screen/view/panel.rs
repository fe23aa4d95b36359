//! A bordered panel and a list of rows in it. The focused panel has a thick border, so that it shows without colour too.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Scrollbar, ScrollbarOrientation, ScrollbarState, Widget as _};
use unicode_width::UnicodeWidthStr as _;

use super::super::model::Model;
use super::super::text;

/// Draws a panel and gives its inside.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect, title: &str, is_focused: bool) -> Rect {
    let theme = &model.theme;
    let (border, kind) =
        if is_focused { (theme.border_focus, BorderType::Thick) } else { (theme.border, BorderType::Plain) };
    let title = text::cut(&format!(" {title} "), usize::from(area.width.saturating_sub(4)));
    let block = Block::bordered()
        .border_type(kind)
        .border_style(border)
        .title(Line::from(vec![Span::styled(title, if is_focused { theme.accent } else { theme.dim })]));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    inside
}

/// One row of a list: pieces of text, each with its style.
pub(super) type Pieces = Vec<(String, Style)>;

/// Draws the rows around the selected one, with a bar on the border when not all fit. The cursor of the terminal goes to
/// the selected row of the focused list: screen readers follow it.
pub(super) fn list(
    model: &Model,
    frame: &mut Frame<'_>,
    inside: Rect,
    len: usize,
    selected: Option<usize>,
    is_focused: bool,
    row: impl Fn(usize) -> Pieces,
) {
    let theme = &model.theme;
    let height = usize::from(inside.height);
    let first = selected.unwrap_or(0).saturating_sub(height / 2).min(len.saturating_sub(height));
    for (line, place) in (first..len).take(height).enumerate() {
        let is_selected = selected == Some(place);
        let style = match (is_selected, is_focused) {
            (true, true) => theme.selected,
            (true, false) => theme.marked,
            (false, _) => theme.text,
        };
        let mut spans = vec![Span::styled(if is_selected { "▌" } else { " " }, style)];
        spans.extend(row(place).into_iter().map(|(text, own)| {
            // Over the selection every piece takes its style, or coloured words would vanish in it.
            Span::styled(text, if is_selected { style } else { own })
        }));
        let y = inside.y + u16::try_from(line).unwrap_or(0);
        let place = Rect { y, height: 1, ..inside };
        frame.buffer_mut().set_style(place, style);
        frame.render_widget(Line::from(spans), place);
        if is_selected && is_focused && model.overlay.is_none() && !model.filter().is_open {
            frame.set_cursor_position(Position { x: inside.x, y });
        }
    }
    if len > height && height > 0 {
        let mut state =
            ScrollbarState::new(len.saturating_sub(height) + 1).position(first).viewport_content_length(height);
        let bar = Scrollbar::new(ScrollbarOrientation::VerticalRight)
            .begin_symbol(None)
            .end_symbol(None)
            .style(if is_focused { theme.border_focus } else { theme.border });
        frame.render_stateful_widget(bar, inside.outer(Margin::new(1, 0)), &mut state);
    }
}

/// Blanks a place for a window. A wide character that begins just left of it would swallow the window's border, so it
/// goes too (ratatui#2526).
pub(super) fn clear(area: Rect, buffer: &mut Buffer) {
    Clear.render(area, buffer);
    let Some(x) = area.x.checked_sub(1).filter(|x| *x >= buffer.area.x) else { return };
    for y in area.top()..area.bottom() {
        if let Some(cell) = buffer.cell_mut((x, y))
            && cell.symbol().width() > 1
        {
            cell.set_symbol(" ");
        }
    }
}
