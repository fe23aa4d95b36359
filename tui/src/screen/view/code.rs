//! The code panel: hidden, asked for, in force with its gauge, expired, or refused with a word and what to do.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use strongroom_proto::words::OtpKind;
use tui_big_text::{BigText, PixelSize};
use zeroize::Zeroizing;

use super::super::code::{Code, EXPIRES_SOON_S, Shown, grouped, refusal};
use super::super::model::{Model, Size};
use super::super::text::{self, cut};
use super::super::vaults::{Account, Pane};
use super::panel;

/// Rows of large digits: the font is eight pixels high, two to a row.
const DIGITS_HEIGHT: u16 = 4;
/// A clock that differs by more is worth a warning.
const CLOCK_DIFFERENCE_S_MAX: i64 = 5;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect, is_focused: bool) {
    let account = model.vaults.selected_account();
    let title = account.map_or_else(|| "Code".to_owned(), |account| account.address.to_string());
    let inside = panel::draw(model, frame, area, &title, is_focused);
    let Some(account) = account else { return };
    let theme = &model.theme;
    let mut sheet = Sheet { frame, rest: inside };
    let is_ours = model.code.account() == Some(&account.address);
    if inside.height >= 4 {
        sheet.line(heading(account), theme.dim);
    }
    match &model.code {
        Code::Shown(shown) if is_ours => in_force(model, &mut sheet, shown, account),
        Code::Asked(asked) if is_ours => {
            sheet.center(3);
            sheet.line(masked(account), theme.dim);
            sheet.skip_to(1, 1);
            let dots = ["·  ", "·· ", "···"][usize::try_from(model.now.as_second().rem_euclid(3)).unwrap_or(0)];
            let waited = model.now.duration_since(asked.since).as_secs().max(0);
            sheet.line(format!("Asking the agent {dots} {waited}s"), theme.dim);
        }
        Code::Refused { failure, .. } if is_ours => {
            let (word, advice) = refusal(failure.kind);
            sheet.center(3);
            sheet.line(word.to_owned(), theme.danger);
            sheet.words(&text::clean(&failure.message), theme.text);
            sheet.words(advice, theme.dim);
        }
        _ => {
            sheet.center(3);
            sheet.line(masked(account), theme.text);
            sheet.skip_to(1, 1);
            let keys = match (model.vaults.focus, account.kind) {
                // There the keys belong to the client: a code is not taken from whatever account happens to be first.
                (Pane::Clients, _) => "⏎ opens the client",
                (_, OtpKind::Hotp) => "⏎ next code · c copy",
                _ => "⏎ show · c copy",
            };
            sheet.line(keys.to_owned(), theme.dim);
        }
    }
}

fn heading(account: &Account) -> String {
    match (account.issuer.is_empty(), account.label.is_empty()) {
        (false, false) => format!("{} · {}", account.issuer, account.label),
        (false, true) => account.issuer.clone(),
        _ => account.label.clone(),
    }
}

/// Dots in the shape of the code.
fn masked(account: &Account) -> String {
    let digits = usize::from(account.digits.clamp(1, 10));
    let shape: &str = if account.kind == OtpKind::Steam { "XXXXX" } else { &"0".repeat(digits) };
    grouped(shape).chars().map(|character| if character == ' ' { ' ' } else { '•' }).collect()
}

fn in_force(model: &Model, sheet: &mut Sheet<'_, '_>, shown: &Shown, account: &Account) {
    let theme = &model.theme;
    let now = model.now;
    let expired_s = shown.is_expired(now).then(|| -shown.remaining(now).unwrap_or_default().as_secs());
    let soon = shown.remaining_s(now).is_some_and(|left| left <= EXPIRES_SOON_S);
    let style = match expired_s {
        Some(_) => theme.dim,
        None if soon => theme.danger,
        None => theme.code,
    };
    let notes = notes(shown, now);
    let notes_height = u16::try_from(notes.len()).unwrap_or(0);
    if shown.is_masked {
        sheet.center(4 + notes_height);
        sheet.line(masked(account), style);
        sheet.skip_to(2 + notes_height, 1);
    } else {
        sheet.digits(&shown.code, style, 2 + notes_height, model.size() == Size::Wide);
    }
    match (expired_s, shown.remaining_s(now)) {
        (Some(ago), _) => sheet.line(format!("expired {ago}s ago"), theme.dim),
        (None, Some(left)) => sheet.gauge(model, left, shown, style),
        (None, None) => sheet.line("valid until the next code is used".to_owned(), theme.dim),
    }
    for note in notes {
        sheet.line(note, theme.warn);
    }
    let keys = match (shown.copy_waits, expired_s.is_some()) {
        (true, _) => {
            format!("waiting {}s for the next code… Esc copies now", shown.remaining_s(now).unwrap_or(0).max(0))
        }
        (false, true) => "⏎ new code".to_owned(),
        (false, false) if shown.is_masked => "⏎ show · space forget".to_owned(),
        (false, false) => "c copy · space hide".to_owned(),
    };
    sheet.skip_to(1, 1);
    sheet.line(keys, if shown.copy_waits { theme.warn } else { theme.dim });
}

/// What the technician should know beside the code.
fn notes(shown: &Shown, now: Timestamp) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(taken) = shown.taken_by.iter().max_by_key(|taken| taken.at) {
        // Both times are the agent's clock: how long ago must not depend on this machine's.
        let agent_now = now.as_second().saturating_add(shown.clock_ahead_s);
        let ago = agent_now.saturating_sub(taken.at.as_second()).max(0);
        let more = shown.taken_by.iter().filter(|other| other.identity != taken.identity).count();
        let others = if more > 0 { format!(" and {more} more") } else { String::new() };
        notes.push(format!("{}{others} took this code {ago}s ago", taken.identity));
    }
    if shown.clock_ahead_s.abs() > CLOCK_DIFFERENCE_S_MAX {
        notes.push(format!("! clocks differ by {}s", shown.clock_ahead_s.abs()));
    }
    notes
}

/// The rest of the panel, filled from the top, each line in the middle.
struct Sheet<'a, 'frame> {
    frame: &'a mut Frame<'frame>,
    rest: Rect,
}

impl Sheet<'_, '_> {
    fn take(&mut self, height: u16) -> Rect {
        let taken = Rect { height: height.min(self.rest.height), ..self.rest };
        self.rest.y += taken.height;
        self.rest.height -= taken.height;
        taken
    }

    /// Leaves up to `most` rows empty as long as `needed` rows remain.
    fn skip_to(&mut self, needed: u16, most: u16) {
        let spare = self.rest.height.saturating_sub(needed).min(most);
        self.take(spare);
    }

    /// Leaves so much empty that `needed` rows stand in the middle.
    fn center(&mut self, needed: u16) {
        let spare = self.rest.height.saturating_sub(needed) / 2;
        self.take(spare);
    }

    fn line(&mut self, text: String, style: Style) {
        let row = self.take(1);
        if row.height == 1 {
            let line = Line::styled(cut(&text, row.width.into()), style).centered();
            self.frame.render_widget(line, row);
        }
    }

    /// A sentence over as many lines as it needs.
    fn words(&mut self, sentence: &str, style: Style) {
        let width = usize::from(self.rest.width).saturating_sub(2);
        let mut line = String::new();
        for word in sentence.split_whitespace() {
            if !line.is_empty() && text::width(&line) + 1 + text::width(word) > width {
                self.line(std::mem::take(&mut line), style);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(line, style);
    }

    /// The code in the largest digits that fit; letters and long codes as plain text. The text is borrowed all the way
    /// into the cells, so that no copy of it is left behind unwiped.
    fn digits(&mut self, code: &str, style: Style, needed_below: u16, is_wide: bool) {
        let text = grouped(code);
        let length = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
        let is_digits = code.bytes().all(|byte| byte.is_ascii_digit());
        let fits = |columns: u16| is_digits && length.saturating_mul(columns) <= self.rest.width;
        let has_height = self.rest.height >= DIGITS_HEIGHT + needed_below.saturating_sub(1);
        let size = match () {
            () if has_height && is_wide && fits(8) => Some((PixelSize::HalfHeight, 8)),
            () if has_height && fits(4) => Some((PixelSize::Quadrant, 4)),
            () => None,
        };
        let Some((pixels, columns)) = size else {
            self.skip_to(needed_below + 1, 2);
            return self.plain(&text, style);
        };
        self.skip_to(DIGITS_HEIGHT + needed_below, 1);
        let row = self.take(DIGITS_HEIGHT);
        let width = length * columns;
        let place = Rect { x: row.x + (row.width - width) / 2, width, ..row };
        let big = BigText::builder().pixel_size(pixels).style(style).lines([Line::raw(text.as_str())]).build();
        self.frame.render_widget(big, place);
    }

    fn plain(&mut self, text: &Zeroizing<String>, style: Style) {
        let row = self.take(1);
        if row.height == 1 {
            self.frame.render_widget(Line::styled(text.as_str(), style).centered(), row);
        }
    }

    fn gauge(&mut self, model: &Model, left_s: i64, shown: &Shown, style: Style) {
        let row = self.take(1);
        if row.height == 0 {
            return;
        }
        let word = if left_s <= EXPIRES_SOON_S { " expires" } else { "" };
        let label = format!(" {left_s:>2}s{word} ");
        let room = usize::from(row.width).saturating_sub(text::width(&label) + 1);
        let period = i64::from(shown.period_s).max(1);
        let ahead = usize::try_from(left_s.clamp(0, period)).unwrap_or(0);
        let filled = room * ahead / usize::try_from(period).unwrap_or(1).max(1);
        let line = Line::from(vec![
            Span::styled(label, style),
            Span::styled("━".repeat(filled), style),
            Span::styled("·".repeat(room - filled), model.theme.dim),
        ]);
        self.frame.render_widget(line, row);
    }
}
