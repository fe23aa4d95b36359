//! What each message changes, and what it asks for. No terminal, no clock, no socket here: the runner sets `model.now`
//! before it hands over a message and acts on what comes back.

mod audit;
mod link;
mod release;
mod vaults;

use crossterm::event::{Event, KeyEvent, KeyEventKind};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler as _;

use super::code::Code;
use super::keymap::{self, Action};
use super::message::{AgentEvent, Cmd, Link, Msg};
use super::model::{Level, Model, Overlay, Size, Tab, Zone};
use super::text;
use super::vaults::Pane;

/// Longest filter or command, in characters.
const INPUT_LEN_MAX: usize = 100;

/// Changes the model and says what to do.
pub fn update(model: &mut Model, message: Msg) -> Vec<Cmd> {
    let was_shown = model.code.shown().is_some();
    model.dirty |= !matches!(message, Msg::Tick);
    let mut commands = match message {
        Msg::Key(event) if event.kind == KeyEventKind::Release => Vec::new(),
        Msg::Key(event) => pressed(model, &event),
        Msg::Paste(pasted) => paste(model, &pasted),
        Msg::Resize(columns, rows) => {
            (model.area.width, model.area.height) = (columns, rows);
            vaults::resized(model)
        }
        Msg::Tick => tick(model),
        Msg::Resumed => {
            release::hide(model);
            vec![Cmd::Redraw]
        }
        Msg::Terminated => quit(model),
        Msg::Link(link) => link::changed(model, link),
        Msg::Agent(event) => answered(model, event),
        Msg::Clipboard(outcome) => {
            release::copied(model, outcome);
            Vec::new()
        }
    };
    if was_shown && model.code.shown().is_none() {
        // First of all: before the terminal is given back, its second screen must not keep the digits either.
        commands.insert(0, Cmd::Scrub);
    }
    commands
}

fn answered(model: &mut Model, event: AgentEvent) -> Vec<Cmd> {
    match event {
        AgentEvent::Vaults(outcome) => vaults::clients_came(model, outcome),
        AgentEvent::Accounts(outcome) => vaults::accounts_came(model, outcome),
        AgentEvent::Released { ticket, account, outcome } => return release::answered(model, ticket, account, outcome),
        AgentEvent::Trail { vault, purpose, before, outcome } => {
            audit::page_came(model, vault, purpose, before, outcome);
        }
        AgentEvent::Verified { vault, outcome } => audit::verified(model, vault, outcome),
        AgentEvent::Status(Ok(status)) => link::status_came(model, &status),
        AgentEvent::Status(Err(failure)) => say(model, Level::Error, &failure.message),
    }
    Vec::new()
}

fn tick(model: &mut Model) -> Vec<Cmd> {
    let expired = model.messages.expire(model.now);
    let moves = !model.is_connected() || !matches!(model.code, Code::Hidden | Code::Refused { .. });
    model.dirty |= expired || moves;
    release::tick(model)
}

fn quit(model: &mut Model) -> Vec<Cmd> {
    release::hide(model);
    vec![Cmd::Quit]
}

fn pressed(model: &mut Model, event: &KeyEvent) -> Vec<Cmd> {
    model.messages.dismiss_error();
    if matches!(model.link, Link::Asleep) {
        // The key that wakes does nothing else: its user could not see what it would do.
        let action = keymap::lookup(&model.contexts(), event);
        return if action == Some(Action::Quit) { quit(model) } else { vec![Cmd::Wake] };
    }
    let action = keymap::lookup(&model.contexts(), event);
    if model.size() == Size::Tiny && !matches!(action, Some(Action::Quit | Action::Suspend | Action::Redraw)) {
        return Vec::new();
    }
    match action {
        Some(action) => act(model, action),
        None => typed(model, event),
    }
}

fn act(model: &mut Model, action: Action) -> Vec<Cmd> {
    match action {
        Action::Quit => return quit(model),
        Action::Suspend => {
            release::hide(model);
            return vec![Cmd::Suspend];
        }
        Action::Redraw => return vec![Cmd::Redraw],
        Action::Zone => {
            model.zone = if model.zone == Zone::Utc { Zone::Local } else { Zone::Utc };
            return Vec::new();
        }
        _ => {}
    }
    if model.overlay.is_some() {
        return act_on_overlay(model, action);
    }
    if model.filter().is_open {
        return act_on_filter(model, action);
    }
    match action {
        Action::Help => model.overlay = Some(Overlay::Help { scroll: 0 }),
        Action::Messages => model.overlay = Some(Overlay::Messages { scroll: 0 }),
        Action::Command => model.overlay = Some(Overlay::Command(Input::default())),
        Action::ShowVaults => model.tab = Tab::Vaults,
        Action::ShowAudit => {
            release::hide(model);
            model.tab = Tab::Audit;
            return audit::entered(model);
        }
        Action::Filter => model.filter_mut().is_open = true,
        Action::Reload if !model.is_connected() => return vec![Cmd::Wake],
        Action::Back if release::is_copy_waiting(model) => return release::copy_now(model),
        Action::Back if !model.filter().input.value().is_empty() => clear_filter(model),
        _ => {
            return match model.tab {
                Tab::Vaults => vaults::act(model, action),
                Tab::Audit => audit::act(model, action),
            };
        }
    }
    Vec::new()
}

fn act_on_overlay(model: &mut Model, action: Action) -> Vec<Cmd> {
    if matches!(action, Action::Refuse) {
        model.overlay = None;
        return Vec::new();
    }
    let page = usize::from(model.area.height / 2).max(1);
    match (&mut model.overlay, action) {
        (Some(Overlay::Help { scroll } | Overlay::Messages { scroll } | Overlay::Record { scroll, .. }), _) => {
            *scroll = match action {
                Action::Up => scroll.saturating_sub(1),
                Action::Down => *scroll + 1,
                Action::PageUp => scroll.saturating_sub(page),
                Action::PageDown => *scroll + page,
                _ => *scroll,
            };
            Vec::new()
        }
        (Some(Overlay::Command(input)), Action::Confirm) => {
            let word = input.value().trim().to_owned();
            model.overlay = None;
            run(model, &word)
        }
        (Some(Overlay::NextCode(account)), Action::Confirm) => {
            let account = account.clone();
            model.overlay = None;
            release::ask(model, account, super::code::Purpose::Read)
        }
        _ => Vec::new(),
    }
}

fn run(model: &mut Model, word: &str) -> Vec<Cmd> {
    if let Some(action) = keymap::command(&model.contexts(), word) {
        return act(model, action);
    }
    if !word.is_empty() {
        say(model, Level::Error, &format!("\"{}\" is no command here; ? lists them.", text::cut(word, 20)));
    }
    Vec::new()
}

fn act_on_filter(model: &mut Model, action: Action) -> Vec<Cmd> {
    match action {
        Action::Confirm => model.filter_mut().is_open = false,
        Action::Refuse => clear_filter(model),
        _ => {}
    }
    match (model.tab, action) {
        (Tab::Vaults, Action::Confirm) if model.vaults.accounts.is_none() => {
            // Typed faster than the lists come: what was asked for will be there.
            model.vaults.focus = Pane::Accounts;
            Vec::new()
        }
        (Tab::Vaults, Action::Confirm) => vaults::act(model, Action::Forward),
        (Tab::Vaults, Action::Up | Action::Down) => vaults::act(model, action),
        (Tab::Audit, Action::Up | Action::Down) => audit::act(model, action),
        _ => Vec::new(),
    }
}

fn clear_filter(model: &mut Model) {
    let filter = model.filter_mut();
    filter.is_open = false;
    filter.input.reset();
    refilter(model);
}

fn refilter(model: &mut Model) {
    match model.tab {
        Tab::Vaults => vaults::refiltered(model),
        Tab::Audit => model.audit.refresh(),
    }
}

/// The input that takes what is typed, if one is open.
fn input(model: &mut Model) -> Option<&mut Input> {
    let filter = match model.tab {
        Tab::Vaults => &mut model.vaults.filter,
        Tab::Audit => &mut model.audit.filter,
    };
    match &mut model.overlay {
        Some(Overlay::Command(input)) => Some(input),
        None if filter.is_open => Some(&mut filter.input),
        _ => None,
    }
}

fn typed(model: &mut Model, event: &KeyEvent) -> Vec<Cmd> {
    let Some(input) = input(model) else { return Vec::new() };
    let is_full = input.value().chars().count() >= INPUT_LEN_MAX;
    if !(is_full && matches!(event.code, crossterm::event::KeyCode::Char(_))) {
        input.handle_event(&Event::Key(*event));
    }
    if model.overlay.is_none() {
        refilter(model);
    }
    Vec::new()
}

fn paste(model: &mut Model, pasted: &str) -> Vec<Cmd> {
    let Some(input) = input(model) else { return Vec::new() };
    let room = INPUT_LEN_MAX.saturating_sub(input.value().chars().count());
    for character in pasted.chars().filter(|character| !character.is_control()).take(room) {
        input.handle(tui_input::InputRequest::InsertChar(character));
    }
    if model.overlay.is_none() {
        refilter(model);
    }
    Vec::new()
}

/// Shows a toast.
fn say(model: &mut Model, level: Level, sentence: &str) {
    model.messages.push(model.now, level, sentence);
}
