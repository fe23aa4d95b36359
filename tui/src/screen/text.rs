//! Text from elsewhere, made safe and made to fit. What the agent sends (client names, labels, error sentences) is data
//! that other people typed: it must neither drive the terminal nor break a column.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// Stands for a character that is not drawn.
const REPLACEMENT: char = '\u{fffd}';

/// Replaces every character that could drive the terminal or reorder the line: control characters (terminal escape
/// injection), bidirectional controls (a label that reads as another one, CVE-2021-42574), invisible and tag characters.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().map(|character| if is_unsafe(character) { REPLACEMENT } else { character }).collect()
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns that a text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    text.graphemes(true).map(|grapheme| grapheme.width()).sum()
}

/// Cuts a text to at most `columns`, between graphemes, with `…` where something was cut.
#[must_use]
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut kept = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        used += grapheme.width();
        if used > room {
            break;
        }
        kept.push_str(grapheme);
    }
    kept.push('…');
    kept
}

/// Cuts or pads a text to exactly `columns`.
#[must_use]
pub fn fit(text: &str, columns: usize) -> String {
    let mut fitted = cut(text, columns);
    let missing = columns.saturating_sub(width(&fitted));
    fitted.extend(std::iter::repeat_n(' ', missing));
    fitted
}

/// Breaks a text into lines of at most `columns`, at graphemes: for texts without words, such as records.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let wide = grapheme.width();
        if used + wide > columns.max(2) {
            lines.push(String::new());
            used = 0;
        }
        used += wide;
        if let Some(line) = lines.last_mut() {
            line.push_str(grapheme);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_would_drive_the_terminal_is_replaced() {
        assert_eq!(clean("a\x1b]52;c;eA==\x07b"), "a\u{fffd}]52;c;eA==\u{fffd}b");
        assert_eq!(clean("nimda\u{202e}x\u{2066}y\u{9b}2J"), "nimda\u{fffd}x\u{fffd}y\u{fffd}2J");
        for character in ['\u{61c}', '\u{200b}', '\u{200f}', '\u{2028}', '\u{2060}', '\u{feff}', '\u{e0041}', '\u{7f}']
        {
            assert_eq!(clean(&character.to_string()), "\u{fffd}", "{character:?}");
        }
        assert_eq!(clean("Café 東京 🦷"), "Café 東京 🦷");
    }

    #[test]
    fn a_column_is_as_wide_as_asked_for_whatever_it_holds() {
        for text in ["", "abc", "東京光学株式会社", "a東b京c", "e\u{301}e\u{301}e\u{301}e\u{301}", "👩‍👩‍👧‍👦 family"]
        {
            for columns in 0..20 {
                assert_eq!(width(&fit(text, columns)), columns, "{text:?} in {columns}");
            }
        }
        assert_eq!(cut("東京光学", 6), "東京…");
        assert_eq!(cut("東京光学", 8), "東京光学");
    }

    #[test]
    fn wrapping_loses_nothing() {
        let text = "東京{\"a\":1}光学";
        assert_eq!(wrap(text, 4).concat(), text);
        assert!(wrap(text, 4).iter().all(|line| width(line) <= 4));
    }
}
