//! `shim.conf`: what the shim forwards to and what it does wrong, one thing a line.
//!
//! ```text
//! module /usr/lib/softhsm/libsofthsm2.so    the real module; read once
//! log calls.log                             each call with its return value; beside the shim unless absolute
//! strict yubihsm                            refuse what a YubiHSM 2 refuses
//! objects 256                               how many objects the strict device holds, its own authentication key included
//! C_Sign 0x30 times=2                       the next two calls are not made and answer CKR_DEVICE_ERROR
//! C_Login delay=500                         every call is made 500 ms late
//! * 0x32 after=3                            every function, from the fourth call on
//! ```
//!
//! After a function (or `*`) comes what happens: a return value, `delay=MS`, `lose=RV` (the call is made, its result is lost
//! and it answers RV), `hang`, `crash`, `empty` (C_FindObjects finds nothing and says CKR_OK), `flip` (one bit of what C_Sign
//! gives), `leak=BYTES`. The first rule that applies counts; `after` and `times` count calls since the file was changed.

use std::path::PathBuf;
use std::time::Duration;

use cryptoki_sys::CK_RV;

/// The name of the settings' file, beside the library.
pub const FILE: &str = "shim.conf";

/// What is done to a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) delay: Duration,
    /// Not forwarded: answered with this.
    pub(crate) answer: Option<CK_RV>,
    /// Forwarded, then answered with this.
    pub(crate) lose: Option<CK_RV>,
    pub(crate) hang: bool,
    pub(crate) crash: bool,
    pub(crate) empty: bool,
    pub(crate) flip: bool,
    pub(crate) leak: usize,
}

/// A line of the form `FUNCTION WHAT...`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    function: String,
    deed: Deed,
    after: u64,
    times: u64,
    seen: u64,
}

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) module: PathBuf,
    pub(crate) log: Option<PathBuf>,
    pub(crate) strict: bool,
    pub(crate) objects: usize,
    rules: Vec<Rule>,
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first line that does not fit.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut settings = Self { module: PathBuf::new(), log: None, strict: false, objects: 256, rules: Vec::new() };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            settings.line(line).ok_or_else(|| format!("{FILE}: \"{line}\" does not fit"))?;
        }
        if settings.module.as_os_str().is_empty() { Err(format!("{FILE}: no module is named")) } else { Ok(settings) }
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        let rest = rest.trim();
        match word {
            "module" => self.module = rest.into(),
            "log" => self.log = Some(rest.into()),
            "strict" => self.strict = (rest == "yubihsm").then_some(true)?,
            "objects" => self.objects = rest.parse().ok()?,
            function if function == "*" || function.starts_with("C_") => self.rules.push(Rule::parse(function, rest)?),
            _ => return None,
        }
        Some(())
    }

    /// Counts a call and says what is done to it.
    pub(crate) fn deed(&mut self, function: &str) -> Deed {
        let mut deed = Deed::default();
        let mut found = false;
        for rule in self.rules.iter_mut().filter(|rule| rule.function == function || rule.function == "*") {
            rule.seen += 1;
            let place = rule.seen;
            if !found && place > rule.after && place - rule.after <= rule.times {
                (deed, found) = (rule.deed, true);
            }
        }
        deed
    }
}

impl Rule {
    fn parse(function: &str, what: &str) -> Option<Self> {
        let mut rule =
            Self { function: function.to_owned(), deed: Deed::default(), after: 0, times: u64::MAX, seen: 0 };
        let deed = &mut rule.deed;
        for word in what.split_whitespace() {
            match word.split_once('=') {
                None if word.starts_with("0x") => deed.answer = Some(return_value(word)?),
                None if word == "hang" => deed.hang = true,
                None if word == "crash" => deed.crash = true,
                None if word == "empty" => deed.empty = true,
                None if word == "flip" => deed.flip = true,
                Some(("delay", ms)) => deed.delay = Duration::from_millis(ms.parse().ok()?),
                Some(("lose", value)) => deed.lose = Some(return_value(value)?),
                Some(("leak", bytes)) => deed.leak = bytes.parse().ok()?,
                Some(("after", calls)) => rule.after = calls.parse().ok()?,
                Some(("times", calls)) => rule.times = calls.parse().ok()?,
                _ => return None,
            }
        }
        Some(rule)
    }
}

fn return_value(word: &str) -> Option<CK_RV> {
    CK_RV::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rules: &str) -> Settings {
        Settings::parse(&format!("# a comment\nmodule /real.so\nlog calls.log\n\n{rules}")).unwrap()
    }

    #[test]
    fn the_first_rule_that_applies_counts_and_each_has_its_window() {
        let mut settings = settings("C_Sign 0x30 after=1 times=2\nC_Sign delay=5\n* lose=0x5 after=9");
        let device = Deed { answer: Some(0x30), ..Deed::default() };
        let late = Deed { delay: Duration::from_millis(5), ..Deed::default() };
        for expected in [late, device, device, late, late] {
            assert_eq!(settings.deed("C_Sign"), expected);
        }
        for _ in 0..4 {
            assert_eq!(settings.deed("C_Login"), Deed::default());
        }
        assert_eq!(settings.deed("C_Login"), Deed { lose: Some(5), ..Deed::default() });
    }

    #[test]
    fn several_things_can_happen_to_one_call() {
        let mut settings = settings("strict yubihsm\nobjects 9\nC_Sign delay=1 leak=4096 flip");
        let deed = settings.deed("C_Sign");
        assert_eq!((deed.delay, deed.leak, deed.flip), (Duration::from_millis(1), 4096, true));
        assert_eq!((settings.strict, settings.objects), (true, 9));
    }

    #[test]
    fn a_line_that_does_not_fit_is_named() {
        for wrong in ["C_Sign", "C_Sign 48", "C_Sign 0x", "strict luna", "modul /x", "C_Sign times=x", "C_Sign explode"]
        {
            let error = Settings::parse(&format!("module /real.so\n{wrong}")).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
        assert!(Settings::parse("log x").unwrap_err().contains("no module"));
    }
}
