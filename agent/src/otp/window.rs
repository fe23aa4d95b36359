//! The window of time that a code belongs to.

use super::OtpError;

/// One window: its moving factor and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The moving factor T (RFC 6238 §4.2, with T0 = 0).
    pub counter: u64,
    /// When it begins, in seconds after 1970.
    pub from_unix_s: u64,
    /// When it ends, in seconds after 1970; this second belongs to the next window.
    pub until_unix_s: u64,
}

impl Window {
    /// The window after this one.
    ///
    /// # Errors
    /// As [`window_at`].
    pub fn next(&self) -> Result<Self, OtpError> {
        let period_s = u32::try_from(self.until_unix_s - self.from_unix_s).map_err(|_| OtpError::Period)?;
        window_at(self.until_unix_s, period_s)
    }
}

/// Finds the window of a time, for windows of `period_s` seconds.
///
/// # Errors
/// [`OtpError::Period`] if the period is 0, [`OtpError::Time`] if the window ends beyond what can be expressed.
pub fn window_at(unix_s: u64, period_s: u32) -> Result<Window, OtpError> {
    let period = u64::from(period_s);
    let counter = unix_s.checked_div(period).ok_or(OtpError::Period)?;
    let from_unix_s = counter * period; // at most unix_s
    let until_unix_s = from_unix_s.checked_add(period).ok_or(OtpError::Time { unix_s })?;
    Ok(Window { counter, from_unix_s, until_unix_s })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_and_ends_on_the_period() {
        let window = window_at(1_111_111_109, 30).unwrap();
        assert_eq!(window.counter, 0x0235_23ec); // RFC 6238 Appendix B
        assert_eq!((window.from_unix_s, window.until_unix_s), (1_111_111_080, 1_111_111_110));
        assert_eq!(window_at(1_111_111_110, 30).unwrap(), window.next().unwrap());
        assert_eq!(window_at(0, 1).unwrap(), Window { counter: 0, from_unix_s: 0, until_unix_s: 1 });
    }

    #[test]
    fn impossible_windows_are_refused() {
        assert_eq!(window_at(59, 0), Err(OtpError::Period));
        assert_eq!(window_at(u64::MAX, 30), Err(OtpError::Time { unix_s: u64::MAX }));
    }
}
