//! Writes the pictures of the documents: `cargo run -p strongroom --example picture -- docs/pictures`. Every state is the
//! sample of the screen tests with its fixed clock, so the files change only when the screen does.

#[path = "../tests/sample/mod.rs"]
mod sample;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use sample::{Desk, code_shown, trail_verified};
use strongroom::screen::message::{Link, Msg, OfflineReason};
use strongroom::screen::picture::svg;
use strongroom::screen::theme::Choice;
use strongroom::screen::view::view;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).context("usage: picture OUTDIR")?;
    std::fs::create_dir_all(&folder)?;
    write(&folder)
}

/// Writes every picture into a folder.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    let dark = Choice::Dark;
    let mut last_seconds = code_shown(80, 24, dark);
    last_seconds.wait(14);
    let mut filtered = Desk::connected(80, 24, dark);
    filtered.press("/m365 tok");
    let mut help = Desk::connected(80, 24, dark);
    help.press("?");
    let mut record = trail_verified(100, 30, dark);
    record.press("↓↓↓⏎");
    let mut broken = trail_verified(80, 24, dark);
    broken.press("v");
    broken.answer_verify("acme", |leaves| leaves[41][0] ^= 1);
    let mut offline = code_shown(80, 24, dark);
    offline.send(Msg::Link(Link::Offline { attempt: 3, reason: OfflineReason::NotRunning }));
    offline.wait(5);
    let states = [
        ("vaults-wide", code_shown(120, 40, dark)),
        ("vaults-medium", code_shown(80, 24, dark)),
        ("vaults-compact", code_shown(40, 12, dark)),
        ("vaults-mono", code_shown(80, 24, Choice::Mono)),
        ("vaults-last-seconds", last_seconds),
        ("vaults-filter", filtered),
        ("vaults-offline", offline),
        ("help", help),
        ("audit-wide", trail_verified(120, 40, dark)),
        ("audit-broken", broken),
        ("audit-record", record),
    ];
    for (name, desk) in states {
        let area = desk.model.area;
        let mut terminal = Terminal::new(TestBackend::new(area.width, area.height))?;
        terminal.draw(|frame| view(&desk.model, frame))?;
        let path = folder.join(name).with_extension("svg");
        std::fs::write(&path, svg(terminal.backend().buffer(), &format!("Strongroom: {name}")))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
