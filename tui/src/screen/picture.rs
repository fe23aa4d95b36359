//! A drawn buffer as SVG, for the documents. Backgrounds, frames and block digits become shapes, so that the picture does
//! not depend on what a font makes of them; text keeps its columns by `textLength`.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr as _;

const CELL_WIDTH: u32 = 9;
const CELL_HEIGHT: u32 = 19;
const MARGIN: u32 = 12;
const GROUND: &str = "#16181d";
const INK: &str = "#d8dce4";

/// Draws a buffer on a dark ground.
#[must_use]
pub fn svg(buffer: &Buffer, title: &str) -> String {
    let [columns, rows] = [buffer.area.width, buffer.area.height].map(u32::from);
    let (width, height) = (columns * CELL_WIDTH + 2 * MARGIN, rows * CELL_HEIGHT + 2 * MARGIN);
    let mut shapes = Vec::new();
    let mut words: Vec<Word> = Vec::new();
    for y in 0..buffer.area.height {
        let mut x = 0;
        while x < buffer.area.width {
            let cell = &buffer[(buffer.area.x + x, buffer.area.y + y)];
            let wide = u16::try_from(cell.symbol().width()).unwrap_or(1).max(1);
            let (left, top) = (MARGIN + u32::from(x) * CELL_WIDTH, MARGIN + u32::from(y) * CELL_HEIGHT);
            let (ink, ground) = colours(cell);
            if ground != GROUND {
                shape(&mut shapes, [left, top, u32::from(wide) * CELL_WIDTH, CELL_HEIGHT], &ground);
            }
            let drawn = parts(cell.symbol());
            if drawn.is_empty() && cell.symbol() != " " {
                letter(&mut words, cell, left, top, u32::from(wide) * CELL_WIDTH, ink);
            } else {
                for [part_x, part_y, part_width, part_height] in drawn {
                    shape(&mut shapes, [left + part_x, top + part_y, part_width, part_height], &ink);
                }
            }
            x += wide;
        }
    }
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\"><title>{}</title><rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{GROUND}\"/>\
         <g shape-rendering=\"crispEdges\">\n",
        escaped(title)
    );
    // Writing into a string cannot fail.
    for Shape { place: [x, y, width, height], fill } in &shapes {
        let _ = writeln!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{fill}\"/>");
    }
    out.push_str(
        "</g>\n<g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"15\">\n",
    );
    for Word { text, x, y, width, ink, modifier } in &words {
        let weight = if modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
        let line = if modifier.contains(Modifier::UNDERLINED) { " text-decoration=\"underline\"" } else { "" };
        let text = escaped(text);
        let _ = writeln!(
            out,
            "<text x=\"{x}\" y=\"{y}\" textLength=\"{width}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{ink}\"{weight}{line}>{text}</text>"
        );
    }
    out.push_str("</g></svg>\n");
    out
}

/// A rectangle: left, top, width, height.
struct Shape {
    place: [u32; 4],
    fill: String,
}

/// Cells of one style without a gap.
struct Word {
    text: String,
    x: u32,
    y: u32,
    width: u32,
    ink: String,
    modifier: Modifier,
}

/// Adds a rectangle, or makes one of the last longer.
fn shape(shapes: &mut Vec<Shape>, [x, y, width, height]: [u32; 4], fill: &str) {
    let joins = |shape: &&mut Shape| {
        let [left, top, wide, high] = shape.place;
        shape.fill == fill && [top, high] == [y, height] && left + wide == x
    };
    match shapes.iter_mut().rev().take(6).find(joins) {
        Some(shape) => shape.place[2] += width,
        None => shapes.push(Shape { place: [x, y, width, height], fill: fill.to_owned() }),
    }
}

/// Adds a character to the last word, or begins one.
fn letter(words: &mut Vec<Word>, cell: &Cell, left: u32, top: u32, width: u32, ink: String) {
    let y = top + 14;
    let joins = |word: &&mut Word| {
        word.ink == ink && word.modifier == cell.modifier && word.y == y && word.x + word.width == left
    };
    // A wide character stands alone: a font that lacks it would shift the whole word.
    match words.last_mut().filter(joins).filter(|_| width == CELL_WIDTH) {
        Some(word) => {
            word.text.push_str(cell.symbol());
            word.width += width;
        }
        None => words.push(Word { text: cell.symbol().to_owned(), x: left, y, width, ink, modifier: cell.modifier }),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Ink and ground of a cell.
fn colours(cell: &Cell) -> (String, String) {
    let mut ink = rgb(cell.fg).unwrap_or_else(|| INK.to_owned());
    let mut ground = rgb(cell.bg).unwrap_or_else(|| GROUND.to_owned());
    if cell.modifier.contains(Modifier::REVERSED) {
        std::mem::swap(&mut ink, &mut ground);
    }
    if cell.modifier.contains(Modifier::DIM) {
        ink = "#8a8f98".to_owned();
    }
    (ink, ground)
}

/// The colour that a terminal gives; `None` for its own.
fn rgb(colour: Color) -> Option<String> {
    let (red, green, blue) = match colour {
        Color::Rgb(red, green, blue) => (red, green, blue),
        Color::Indexed(index @ 16..=231) => {
            let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
            let cube = index - 16;
            (level(cube / 36), level(cube / 6 % 6), level(cube % 6))
        }
        Color::Indexed(index @ 232..) => {
            let grey = 8 + 10 * (index - 232);
            (grey, grey, grey)
        }
        _ => return None,
    };
    Some(format!("#{red:02x}{green:02x}{blue:02x}"))
}

/// The rectangles of a block or line character within its cell; none for letters.
fn parts(symbol: &str) -> Vec<[u32; 4]> {
    const HALF_X: u32 = 4;
    const HALF_Y: u32 = 9;
    let quadrants = |bits: u8| {
        // Bits: upper left, upper right, lower left, lower right.
        [
            (8, [0, 0, HALF_X, HALF_Y]),
            (4, [HALF_X, 0, CELL_WIDTH - HALF_X, HALF_Y]),
            (2, [0, HALF_Y, HALF_X, CELL_HEIGHT - HALF_Y]),
            (1, [HALF_X, HALF_Y, CELL_WIDTH - HALF_X, CELL_HEIGHT - HALF_Y]),
        ]
        .into_iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, part)| part)
        .collect()
    };
    // Arms: left, right, up, down, from the middle of the cell.
    let arms = |thick: u32, bits: u8| {
        let (x, y) = (HALF_X - thick / 2, HALF_Y - thick / 2);
        [
            (8, [0, y, x + thick, thick]),
            (4, [x, y, CELL_WIDTH - x, thick]),
            (2, [x, 0, thick, y + thick]),
            (1, [x, y, thick, CELL_HEIGHT - y]),
        ]
        .into_iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, part)| part)
        .collect()
    };
    match symbol {
        "▘" => quadrants(8),
        "▝" => quadrants(4),
        "▀" => quadrants(12),
        "▖" => quadrants(2),
        "▌" => quadrants(10),
        "▞" => quadrants(6),
        "▛" => quadrants(14),
        "▗" => quadrants(1),
        "▚" => quadrants(9),
        "▐" => quadrants(5),
        "▜" => quadrants(13),
        "▄" => quadrants(3),
        "▙" => quadrants(11),
        "▟" => quadrants(7),
        "█" => quadrants(15),
        "─" => arms(1, 12),
        "│" => arms(1, 3),
        "┌" => arms(1, 5),
        "┐" => arms(1, 9),
        "└" => arms(1, 6),
        "┘" => arms(1, 10),
        "━" => arms(2, 12),
        "┃" => arms(2, 3),
        "┏" => arms(2, 5),
        "┓" => arms(2, 9),
        "┗" => arms(2, 6),
        "┛" => arms(2, 10),
        "║" => arms(1, 3),
        _ => Vec::new(),
    }
}
