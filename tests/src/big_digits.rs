//! Reads the large digits of the full screen back off the terminal, as a person would.

/// The ten digits side by side, four by four cells each: the public-domain font `font8x8`, two by two pixels to a cell.
const FONT: [&str; 4] = [
    "▟▀▜▖▗█  ▟▀▙ ▟▀▙  ▟█ █▀▀ ▗▛▘ █▀█ ▟▀▙ ▟▀▙ ",
    "█▗█▌ █   ▄▛  ▄▛ ▟▘█ ▀▀▙ █▄▖  ▗▛ ▜▄▛ ▜▄█ ",
    "█▛▐▌ █  ▟▘▄ ▄ █ ▀▀█▘▄ █ █ █  █  █ █  ▗▛ ",
    "▝▀▀ ▀▀▀ ▀▀▀ ▝▀▘  ▝▀▘▝▀▘ ▝▀▘  ▀  ▝▀▘ ▝▀  ",
];
/// Columns and rows of a digit.
const CELLS: usize = 4;

type Glyph = [[char; CELLS]; CELLS];

/// The longest row of large digits on a screen, if there is one of at least six.
#[must_use]
pub fn read(screen: &str) -> Option<String> {
    let lines: Vec<Vec<char>> = screen.lines().map(|line| line.chars().collect()).collect();
    let font = FONT.map(|line| line.chars().collect::<Vec<_>>());
    let digits: Vec<Glyph> = (0..10).map(|digit| glyph(&font, 0, digit * CELLS)).collect();
    let width = lines.iter().map(Vec::len).max().unwrap_or(0);
    let mut best = String::new();
    for top in 0..lines.len().saturating_sub(CELLS - 1) {
        for left in 0..width {
            let found = row_from(&lines, &digits, top, left, width);
            if found.len() > best.len() {
                best = found;
            }
        }
    }
    (best.len() >= 6).then_some(best)
}

/// The digits that begin exactly here; a gap as wide as a digit groups them.
fn row_from(lines: &[Vec<char>], digits: &[Glyph], top: usize, left: usize, width: usize) -> String {
    let digit_at = |left: usize| {
        let seen = glyph(&lines[top..], 0, left);
        digits
            .iter()
            .position(|digit| *digit == seen)
            .and_then(|digit| char::from_digit(u32::try_from(digit).ok()?, 10))
    };
    let mut found = String::new();
    let mut left = left;
    while left < width {
        if let Some(digit) = digit_at(left) {
            found.push(digit);
            left += CELLS;
        } else if !found.is_empty() && digit_at(left + CELLS).is_some() {
            left += CELLS;
        } else {
            break;
        }
    }
    found
}

fn glyph(lines: &[Vec<char>], top: usize, left: usize) -> Glyph {
    let cell = |row: usize, column: usize| lines.get(top + row).and_then(|line| line.get(left + column)).copied();
    std::array::from_fn(|row| std::array::from_fn(|column| cell(row, column).unwrap_or(' ')))
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_are_read_from_a_panel() {
        let screen = "│            ▟▀▜▖█▀█ ▟▀▜▖     ▟█  ▟█ ▟▀▙             │\n\
                      │            █▗█▌ ▗▛ █▗█▌    ▟▘█ ▟▘█  ▄▛             │\n\
                      │            █▛▐▌ █  █▛▐▌    ▀▀█▘▀▀█▘▄ █             │\n\
                      │            ▝▀▀  ▀  ▝▀▀      ▝▀▘ ▝▀▘▝▀▘             │";
        assert_eq!(super::read(screen).as_deref(), Some("070443"));
        assert_eq!(super::read("••• •••"), None);
    }
}
