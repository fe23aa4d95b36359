//! The keys, as data: where, which, what, and how help says it. Only keys that every terminal sends. Printable keys never
//! act while an input is open, because those contexts do not include the ones that bind them.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Where a binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Everywhere, inputs and dialogs included.
    Always,
    /// Wherever nothing is being typed.
    Global,
    /// The Vaults screen.
    Vaults,
    /// The Audit screen.
    Audit,
    /// An open filter line.
    Filter,
    /// An open command line.
    Command,
    /// A question with yes and no.
    Confirm,
    /// A window over the screen that is only read.
    Popup,
}

impl Context {
    /// The heading in help.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::Global => "Everywhere",
            Self::Vaults => "Vaults",
            Self::Audit => "Audit",
            Self::Filter => "While filtering",
            Self::Command => "Command line",
            Self::Confirm => "Question",
            Self::Popup => "Window",
        }
    }
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its sentence in the table below")]
pub enum Action {
    Quit,
    Suspend,
    Redraw,
    Help,
    Messages,
    Command,
    ShowVaults,
    ShowAudit,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Forward,
    Backward,
    NextPane,
    Open,
    Back,
    Hide,
    Copy,
    Filter,
    Zone,
    Verify,
    Reload,
    Confirm,
    Refuse,
}

/// One line of the table.
pub struct Binding {
    /// Where it holds.
    pub context: Context,
    /// The keys, each of them enough; none for what only the command line does.
    pub keys: &'static [Key],
    /// What it does.
    pub action: Action,
    /// The word in the command line; empty where it makes no sense there.
    pub name: &'static str,
    /// The sentence in help.
    pub text: &'static str,
    /// The word in the footer; empty if it stays out of it.
    pub hint: &'static str,
}

/// A key as terminals send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A key without modifiers.
    Plain(KeyCode),
    /// A character with Ctrl.
    Ctrl(char),
}

impl Key {
    /// True if the event is this key. Shift is ignored with characters: the character says it already.
    #[must_use]
    pub fn matches(self, event: &KeyEvent) -> bool {
        let modifiers = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
        match self {
            Self::Plain(code) => modifiers.is_empty() && event.code == code,
            Self::Ctrl(character) => modifiers == KeyModifiers::CONTROL && event.code == KeyCode::Char(character),
        }
    }

    /// The key as help writes it.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Ctrl(character) => format!("Ctrl-{}", character.to_ascii_uppercase()),
            Self::Plain(code) => match code {
                KeyCode::Char(' ') => "Space".into(),
                KeyCode::Char(character) => character.to_string(),
                KeyCode::F(number) => format!("F{number}"),
                KeyCode::Enter => "⏎".into(),
                KeyCode::Esc => "Esc".into(),
                KeyCode::Tab => "⇥".into(),
                KeyCode::Up => "↑".into(),
                KeyCode::Down => "↓".into(),
                KeyCode::Left => "←".into(),
                KeyCode::Right => "→".into(),
                KeyCode::PageUp => "PgUp".into(),
                KeyCode::PageDown => "PgDn".into(),
                KeyCode::Home => "Home".into(),
                KeyCode::End => "End".into(),
                other => format!("{other:?}"),
            },
        }
    }
}

const fn char(character: char) -> Key {
    Key::Plain(KeyCode::Char(character))
}

const fn key(code: KeyCode) -> Key {
    Key::Plain(code)
}

/// Declares the table one line per binding.
macro_rules! bindings {
    ($($context:ident [$($key:expr),*] $action:ident $name:literal $hint:literal $text:literal;)+) => {
        &[$(Binding {
            context: Context::$context,
            keys: &[$($key),*],
            action: Action::$action,
            name: $name,
            text: $text,
            hint: $hint,
        },)+]
    };
}

/// Every binding. Within a context the first match wins; hints appear in this order.
pub const BINDINGS: &[Binding] = bindings! {
    Vaults  [key(KeyCode::Enter)] Open "" "show" "open the client, show the code";
    Vaults  [char('c'), char('y')] Copy "copy" "copy" "copy the code; the clipboard is cleared by itself";
    Vaults  [char(' ')] Hide "hide" "" "hide the code";
    Vaults  [char('/')] Filter "find" "find" "filter clients and accounts as you type";
    Vaults  [key(KeyCode::Tab)] NextPane "" "pane" "next panel";
    Vaults  [key(KeyCode::Right), char('l')] Forward "" "" "panel to the right";
    Vaults  [key(KeyCode::Left), char('h')] Backward "" "" "panel to the left";

    Audit   [key(KeyCode::Enter)] Open "" "detail" "the whole record";
    Audit   [char('/')] Filter "find" "find" "filter the records that are loaded";
    Audit   [char('v')] Verify "verify" "verify" "check the whole log against its signed checkpoint";
    Audit   [key(KeyCode::Right), char('l'), key(KeyCode::Tab)] Forward "" "log" "next client's log";
    Audit   [key(KeyCode::Left), char('h')] Backward "" "" "previous client's log";

    Global  [char('?'), key(KeyCode::F(1))] Help "help" "help" "this window";
    Global  [key(KeyCode::Up), char('k')] Up "" "" "up";
    Global  [key(KeyCode::Down), char('j')] Down "" "" "down";
    Global  [key(KeyCode::PageUp)] PageUp "" "" "a page up";
    Global  [key(KeyCode::PageDown)] PageDown "" "" "a page down";
    Global  [key(KeyCode::Home), char('g')] First "" "" "the first";
    Global  [key(KeyCode::End), char('G')] Last "" "" "the last";
    Global  [key(KeyCode::Esc)] Back "" "" "one step back; never quits";
    Global  [char('1')] ShowVaults "vaults" "" "Vaults screen";
    Global  [char('2')] ShowAudit "audit" "" "Audit screen";
    Global  [char('z')] Zone "zone" "" "UTC or local time";
    Global  [char('r')] Reload "reload" "" "ask the agent again";
    Global  [char(':')] Command "" "" "command line: takes the words after a colon here";
    Global  [] Messages "messages" "" "the last messages";
    Global  [char('q')] Quit "quit" "quit" "quit";

    Filter  [key(KeyCode::Enter)] Confirm "" "keep" "keep the filter and open";
    Filter  [key(KeyCode::Esc)] Refuse "" "clear" "clear the filter";
    Filter  [key(KeyCode::Up)] Up "" "" "up";
    Filter  [key(KeyCode::Down)] Down "" "" "down";

    Command [key(KeyCode::Enter)] Confirm "" "run" "run the command";
    Command [key(KeyCode::Esc)] Refuse "" "close" "close";

    Confirm [char('y')] Confirm "" "yes" "yes";
    Confirm [char('n'), char('N'), key(KeyCode::Esc), key(KeyCode::Enter), char('q')] Refuse "" "no" "no";

    Popup   [key(KeyCode::Esc), key(KeyCode::Enter), char('q'), char('?')] Refuse "" "close" "close";
    Popup   [key(KeyCode::Up), char('k')] Up "" "" "up";
    Popup   [key(KeyCode::Down), char('j')] Down "" "" "down";
    Popup   [key(KeyCode::PageUp)] PageUp "" "" "a page up";
    Popup   [key(KeyCode::PageDown), char(' ')] PageDown "" "" "a page down";

    Always  [Key::Ctrl('c')] Quit "" "" "quit";
    Always  [Key::Ctrl('z')] Suspend "suspend" "" "suspend";
    Always  [Key::Ctrl('l')] Redraw "redraw" "" "draw everything again";
};

/// Finds what a key does in the given contexts, the first context first.
#[must_use]
pub fn lookup(contexts: &[Context], event: &KeyEvent) -> Option<Action> {
    contexts.iter().find_map(|context| {
        BINDINGS
            .iter()
            .find(|binding| binding.context == *context && binding.keys.iter().any(|key| key.matches(event)))
            .map(|binding| binding.action)
    })
}

/// Finds an action by its word or the only word that starts so.
#[must_use]
pub fn command(contexts: &[Context], word: &str) -> Option<Action> {
    let known = |binding: &&Binding| !binding.name.is_empty() && contexts.contains(&binding.context);
    let mut named = BINDINGS.iter().filter(known);
    if let Some(exact) = named.clone().find(|binding| binding.name == word) {
        return Some(exact.action);
    }
    let first = named.find(|binding| !word.is_empty() && binding.name.starts_with(word))?;
    named.all(|binding| !binding.name.starts_with(word)).then_some(first.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_bound_twice_in_one_context() {
        for (place, binding) in BINDINGS.iter().enumerate() {
            for other in BINDINGS[place + 1..].iter().filter(|other| other.context == binding.context) {
                assert!(binding.keys.iter().all(|key| !other.keys.contains(key)), "{} / {}", binding.text, other.text);
            }
        }
    }

    #[test]
    fn no_printable_key_acts_while_something_is_typed() {
        for binding in BINDINGS {
            if matches!(binding.context, Context::Filter | Context::Command | Context::Always) {
                let printable = |key: &Key| matches!(key, Key::Plain(KeyCode::Char(_)));
                assert!(!binding.keys.iter().any(printable), "{}", binding.text);
            }
        }
    }

    #[test]
    fn a_command_is_found_by_its_beginning_if_that_is_unique() {
        let contexts = [Context::Global, Context::Audit, Context::Always];
        assert_eq!(command(&contexts, "verify"), Some(Action::Verify));
        assert_eq!(command(&contexts, "ver"), Some(Action::Verify));
        assert_eq!(command(&contexts, "re"), None, "reload and redraw");
        assert_eq!(command(&contexts, "messages"), Some(Action::Messages));
        assert_eq!(command(&contexts, "copy"), None, "not on this screen");
        assert_eq!(command(&contexts, ""), None);
    }
}
