//! Every style on the screen. Colours never carry meaning alone: each state has a word and a sign too, and the mono theme
//! has no colour at all.

use ratatui::style::{Color, Modifier, Style};

/// Which theme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// For light text on a dark ground.
    Dark,
    /// For dark text on a light ground.
    Light,
    /// Without colours: bold, reversed and dim only.
    Mono,
}

impl Choice {
    /// Chooses from the environment: `NO_COLOR` and `TERM=dumb` mean mono, then `COLORFGBG`, else dark. The terminal is
    /// not asked for its background: the question blocks where nobody answers.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        if set("NO_COLOR").is_some() || set("TERM").as_deref() == Some("dumb") {
            return Self::Mono;
        }
        let ground = set("COLORFGBG").and_then(|value| value.rsplit(';').next()?.parse::<u8>().ok());
        match ground {
            Some(7 | 9..=15) => Self::Light,
            _ => Self::Dark,
        }
    }
}

/// The styles by meaning.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// Body text: the terminal's own colours, so that either ground works.
    pub text: Style,
    /// Secondary text.
    pub dim: Style,
    /// Titles and keys.
    pub accent: Style,
    /// Header and footer.
    pub bar: Style,
    /// The open tab.
    pub tab: Style,
    /// Keys within the footer.
    pub bar_key: Style,
    /// The selected row of the focused panel.
    pub selected: Style,
    /// The selected row of another panel.
    pub marked: Style,
    /// Border of the focused panel.
    pub border_focus: Style,
    /// Border of the others.
    pub border: Style,
    /// Good.
    pub ok: Style,
    /// Needs attention.
    pub warn: Style,
    /// Bad, or about to end.
    pub danger: Style,
    /// A code in force.
    pub code: Style,
}

impl Theme {
    /// Makes a theme.
    #[must_use]
    pub fn new(choice: Choice) -> Self {
        match choice {
            Choice::Dark => Self::coloured(&DARK),
            Choice::Light => Self::coloured(&LIGHT),
            Choice::Mono => Self::mono(),
        }
    }

    fn coloured(palette: &Palette) -> Self {
        let [text, bold] = [Style::new(), Style::new().add_modifier(Modifier::BOLD)];
        Self {
            text,
            dim: text.fg(palette.dim),
            accent: text.fg(palette.accent),
            bar: text.fg(palette.bar_text).bg(palette.bar),
            tab: bold.fg(palette.on_accent).bg(palette.accent),
            bar_key: bold.fg(palette.accent).bg(palette.bar),
            selected: bold.fg(palette.on_accent).bg(palette.accent),
            marked: bold.fg(palette.bar_text).bg(palette.mark),
            border_focus: text.fg(palette.accent),
            border: text.fg(palette.dim),
            ok: text.fg(palette.ok),
            warn: text.fg(palette.warn),
            danger: bold.fg(palette.danger),
            code: text.fg(palette.ok),
        }
    }

    fn mono() -> Self {
        let text = Style::new();
        let [bold, dim] = [text.add_modifier(Modifier::BOLD), text.add_modifier(Modifier::DIM)];
        let reversed = text.add_modifier(Modifier::REVERSED);
        Self {
            text,
            dim,
            accent: bold,
            bar: text,
            tab: reversed,
            bar_key: bold,
            selected: reversed,
            marked: bold,
            border_focus: bold,
            border: dim,
            ok: text,
            warn: bold,
            danger: bold.add_modifier(Modifier::UNDERLINED),
            code: bold,
        }
    }
}

/// Colours of one ground, from the 256-colour table that every current terminal has.
struct Palette {
    dim: Color,
    accent: Color,
    on_accent: Color,
    bar: Color,
    bar_text: Color,
    mark: Color,
    ok: Color,
    warn: Color,
    danger: Color,
}

const DARK: Palette = Palette {
    dim: Color::Indexed(245),
    accent: Color::Indexed(80),
    on_accent: Color::Indexed(16),
    bar: Color::Indexed(236),
    bar_text: Color::Indexed(253),
    mark: Color::Indexed(240),
    ok: Color::Indexed(150),
    warn: Color::Indexed(179),
    danger: Color::Indexed(210),
};

const LIGHT: Palette = Palette {
    dim: Color::Indexed(241),
    accent: Color::Indexed(24),
    on_accent: Color::Indexed(231),
    bar: Color::Indexed(254),
    bar_text: Color::Indexed(235),
    mark: Color::Indexed(252),
    ok: Color::Indexed(22),
    warn: Color::Indexed(94),
    danger: Color::Indexed(124),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_chooses_the_theme() {
        let choose = |pairs: &[(&str, &str)]| {
            Choice::detect(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned()))
        };
        assert_eq!(choose(&[]), Choice::Dark);
        assert_eq!(choose(&[("NO_COLOR", "")]), Choice::Dark, "an empty NO_COLOR is unset (no-color.org)");
        assert_eq!(choose(&[("NO_COLOR", "1"), ("COLORFGBG", "0;15")]), Choice::Mono);
        assert_eq!(choose(&[("TERM", "dumb")]), Choice::Mono);
        assert_eq!(choose(&[("COLORFGBG", "0;15")]), Choice::Light);
        assert_eq!(choose(&[("COLORFGBG", "15;default;0")]), Choice::Dark);
        assert_eq!(choose(&[("COLORFGBG", "12;8")]), Choice::Dark, "8 is dark grey");
    }
}
