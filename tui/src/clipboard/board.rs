//! The chain: which ways there are here, the first that works, and how to clear it again.

use super::native::Native;
use super::osc52::{self, Sink};
use super::{ClipboardError, Copied, Provider, tmux};

/// What the environment says about the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    pub(super) is_ssh: bool,
    pub(super) is_tmux: bool,
    pub(super) is_screen: bool,
}

impl Surroundings {
    pub(super) fn from_env() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self { is_ssh: is_set("SSH_CONNECTION"), is_tmux: is_set("TMUX"), is_screen: is_set("STY") }
    }
}

/// The ways to try, best first. Over SSH the desktop of this machine is not the one that the user sits at.
pub(super) fn ways(provider: Provider, here: Surroundings) -> Vec<Provider> {
    match provider {
        Provider::None => Vec::new(),
        Provider::Auto => [
            (!here.is_ssh).then_some(Provider::Native),
            here.is_tmux.then_some(Provider::Tmux),
            (here.is_screen && !here.is_tmux).then_some(Provider::Screen),
            (!here.is_screen || here.is_tmux).then_some(Provider::Osc52),
        ]
        .into_iter()
        .flatten()
        .collect(),
        chosen => vec![chosen],
    }
}

/// The clipboard as this process uses it. Dropping it clears what it placed.
pub(super) struct Board {
    ways: Vec<Provider>,
    native: Option<Native>,
    sink: Sink,
    used: Option<Provider>,
}

impl Board {
    pub(super) fn new(provider: Provider, here: Surroundings, sink: Sink) -> Self {
        Self { ways: ways(provider, here), native: None, sink, used: None }
    }

    pub(super) fn copy(&mut self, secret: &str) -> Result<Copied, ClipboardError> {
        self.clear();
        let mut last = ClipboardError::Off;
        for way in self.ways.clone() {
            match self.try_way(way, secret) {
                Ok(copied) => {
                    self.used = Some(way);
                    return Ok(copied);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn try_way(&mut self, way: Provider, secret: &str) -> Result<Copied, ClipboardError> {
        let sequence = match way {
            Provider::Native => {
                let native = match &mut self.native {
                    Some(native) => native,
                    empty => empty.insert(Native::open()?),
                };
                return native.copy(secret).map(|()| Copied::Placed);
            }
            Provider::Tmux => return tmux::copy(secret).map(|()| Copied::Sent).map_err(ClipboardError::Tmux),
            Provider::Screen => osc52::wrapped_for_screen(secret),
            Provider::Osc52 => osc52::sequence(secret),
            Provider::Auto | Provider::None => return Err(ClipboardError::Off),
        };
        self.sink.send(&sequence).map(|()| Copied::Sent).map_err(ClipboardError::Terminal)
    }

    /// Clears what was copied last: natively only if it is still there; a terminal cannot be asked.
    pub(super) fn clear(&mut self) {
        match self.used.take() {
            Some(Provider::Native) => {
                if let Some(native) = &mut self.native {
                    native.clear();
                }
            }
            Some(Provider::Tmux) => {
                let _ = tmux::clear();
            }
            Some(Provider::Screen) => {
                let _ = self.sink.send(&osc52::wrapped_for_screen(""));
            }
            Some(Provider::Osc52) => {
                let _ = self.sink.send(&osc52::sequence(""));
            }
            _ => {}
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_follows_the_surroundings() {
        let here = |is_ssh, is_tmux, is_screen| Surroundings { is_ssh, is_tmux, is_screen };
        assert_eq!(ways(Provider::Auto, here(false, false, false)), [Provider::Native, Provider::Osc52]);
        assert_eq!(ways(Provider::Auto, here(true, false, false)), [Provider::Osc52]);
        assert_eq!(ways(Provider::Auto, here(true, true, false)), [Provider::Tmux, Provider::Osc52]);
        assert_eq!(ways(Provider::Auto, here(true, false, true)), [Provider::Screen]);
        assert_eq!(ways(Provider::Osc52, here(false, true, true)), [Provider::Osc52]);
        assert!(ways(Provider::None, here(false, true, false)).is_empty());
    }

    #[test]
    fn what_was_sent_to_a_terminal_is_cleared_when_the_owner_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("terminal");
        let sink = Sink::Terminal(std::fs::File::create(&path).unwrap());
        let mut board = Board::new(Provider::Osc52, Surroundings::default(), sink);
        assert_eq!(board.copy("070443").unwrap(), Copied::Sent);
        drop(board);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "\x1b]52;c;MDcwNDQz\x07\x1b]52;c;\x07");
    }
}
