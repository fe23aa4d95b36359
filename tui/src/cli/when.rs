//! Times and lengths of time as people type and read them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Reads a length of time: a whole number with `s`, `m`, `h`, `d` or `w`.
///
/// # Errors
/// A sentence for people.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no length of time: write for example 30s, 15m, 8h, 2d or 1w");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit_s: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let digits_only = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|&number| digits_only && number > 0).ok_or_else(wrong)?;
    let seconds =
        number.checked_mul(unit_s).filter(|&seconds| seconds <= 100 * 365 * 24 * 60 * 60).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

/// Reads a point in time, RFC 3339 with its zone.
///
/// # Errors
/// A sentence for people.
pub(super) fn timestamp(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no time with a zone: write for example 2026-11-30T18:00Z"))
}

/// Shows a time to the second, in UTC.
pub(super) fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Shows how long ago something was, roughly.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).max(SignedDuration::ZERO).as_secs();
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_carry_their_unit() {
        for (text, seconds) in [("30s", 30), ("15m", 900), ("8h", 28_800), ("2d", 172_800), ("1w", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "8", "0h", "-1h", "+1h", "1.5h", "8 h", "1y", "99999999999999999999w", "9999w", "8ü"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_carry_their_zone() {
        assert_eq!(utc(timestamp("2026-11-30T18:00+01:00").unwrap()), "2026-11-30 17:00:00Z");
        assert_eq!(utc(timestamp("2026-11-30T18:00Z").unwrap()), "2026-11-30 18:00:00Z");
        for text in ["2026-11-30", "2026-11-30T18:00", "tomorrow"] {
            assert!(timestamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn distances_are_rounded_down() {
        let now = timestamp("2026-11-30T18:00Z").unwrap();
        for (seconds, text) in
            [(-5, "0 s ago"), (8, "8 s ago"), (150, "2 min ago"), (7300, "2 h ago"), (200_000, "2 d ago")]
        {
            assert_eq!(ago(now - SignedDuration::from_secs(seconds), now), text);
        }
    }
}
