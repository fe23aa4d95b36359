//! Days and hours in which something is allowed, in a named time zone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::words::vocabulary;

vocabulary! {
    /// A day of the week.
    Weekday {
        /// Monday.
        Monday = "mon",
        /// Tuesday.
        Tuesday = "tue",
        /// Wednesday.
        Wednesday = "wed",
        /// Thursday.
        Thursday = "thu",
        /// Friday.
        Friday = "fri",
        /// Saturday.
        Saturday = "sat",
        /// Sunday.
        Sunday = "sun",
    }
}

/// Minutes of a day.
const DAY_MIN: u16 = 24 * 60;
const DAYS: usize = Weekday::ALL.len();
/// Longest name of a time zone, in bytes.
const ZONE_LEN_MAX: usize = 64;

/// A time of day, `HH:MM` from `00:00` to `24:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClockTime(u16);

impl ClockTime {
    /// Minutes since midnight, 0 to 1440.
    #[must_use]
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

impl FromStr for ClockTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let flaw = || format!("{text:?} is no time of day: write HH:MM, 00:00 to 24:00");
        // Looked at byte by byte: a number's own parser takes a sign.
        let digits = |part: &str| match part.as_bytes() {
            [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(u16::from(tens - b'0') * 10 + u16::from(ones - b'0')),
            _ => None,
        };
        let (hours, minutes) = text.split_once(':').ok_or_else(flaw)?;
        let (hours, minutes) = digits(hours).zip(digits(minutes)).ok_or_else(flaw)?;
        let time = hours * 60 + minutes;
        if minutes < 60 && time <= DAY_MIN { Ok(Self(time)) } else { Err(flaw()) }
    }
}

impl TryFrom<String> for ClockTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let shown: String = text.chars().take(20).collect();
        shown.parse()
    }
}

impl fmt::Display for ClockTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl From<ClockTime> for String {
    fn from(time: ClockTime) -> Self {
        time.to_string()
    }
}

/// Days and hours of a week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// On these days.
    pub days: Vec<Weekday>,
    /// From this time on.
    pub from: ClockTime,
    /// Until this time, exclusive. At or before `from`, it is that of the next day: a night shift belongs to the day on
    /// which it begins.
    pub until: ClockTime,
    /// Whose clocks: a name of the IANA time zone database, `Europe/Berlin`.
    pub zone: String,
}

impl Hours {
    /// Checks what can be checked without a time zone database.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.days.is_empty() {
            return Err("there is no day: nothing would ever be allowed".into());
        }
        if self.from.0 == DAY_MIN {
            return Err("from is 24:00: write 00:00 of the next day".into());
        }
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
        if self.zone.is_empty() || self.zone.len() > ZONE_LEN_MAX || !self.zone.bytes().all(name) {
            return Err("zone is no name of a time zone: write one like Europe/Berlin".into());
        }
        Ok(())
    }

    /// Whether a minute of a day of the local week is within.
    #[must_use]
    pub fn includes(&self, day: Weekday, minute: u16) -> bool {
        let (from, until) = (self.from.0, self.until.0);
        let begins = |day: &Weekday| self.days.contains(day);
        if from < until {
            return begins(&day) && (from..until).contains(&minute);
        }
        // Over midnight: the evening of a listed day, or the morning after one.
        (begins(&day) && minute >= from) || (begins(&before(day)) && minute < until)
    }

    /// Whether everything within is also within `other`. Two zones never compare: their clocks change on different days.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.zone == other.zone
            && Weekday::ALL
                .iter()
                .all(|day| (0..DAY_MIN).all(|minute| !self.includes(*day, minute) || other.includes(*day, minute)))
    }
}

fn before(day: Weekday) -> Weekday {
    let place = Weekday::ALL.iter().position(|other| *other == day).unwrap_or(0);
    Weekday::ALL[(place + DAYS - 1) % DAYS]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(days: &[Weekday], from: &str, until: &str) -> Hours {
        Hours { days: days.to_vec(), from: from.parse().unwrap(), until: until.parse().unwrap(), zone: "UTC".into() }
    }

    #[test]
    fn times_of_day_are_two_digits_each() {
        for (text, minutes) in [("00:00", 0), ("08:05", 485), ("24:00", 1440)] {
            let time: ClockTime = text.parse().unwrap();
            assert_eq!((time.minutes(), time.to_string().as_str()), (minutes, text));
        }
        for text in ["", "8:00", "08:60", "24:01", "-1:00", "08:00:00", "08.00", "+8:00"] {
            assert!(text.parse::<ClockTime>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_night_shift_belongs_to_the_day_on_which_it_begins() {
        use Weekday::{Friday, Monday, Saturday, Sunday};
        let day = hours(&[Monday], "08:00", "18:00");
        assert!(day.includes(Monday, 480) && !day.includes(Monday, 479) && !day.includes(Monday, 1080));
        let night = hours(&[Friday, Sunday], "22:00", "06:00");
        assert!(night.includes(Friday, 1320) && night.includes(Saturday, 359) && !night.includes(Saturday, 360));
        assert!(night.includes(Monday, 0) && !night.includes(Friday, 0) && !night.includes(Saturday, 1400));
        let whole = hours(&[Monday], "00:00", "24:00");
        assert!(whole.includes(Monday, 0) && whole.includes(Monday, 1439) && !whole.includes(Sunday, 1439));
        // The same time on both ends is a whole day from there.
        let around = hours(&[Monday], "09:00", "09:00");
        assert!(
            around.includes(Monday, 540) && around.includes(Weekday::Tuesday, 539) && !around.includes(Monday, 539)
        );
    }

    #[test]
    fn narrower_hours_are_within_wider_ones() {
        use Weekday::{Monday, Tuesday};
        let wide = hours(&[Monday, Tuesday], "08:00", "18:00");
        let narrow = hours(&[Tuesday], "09:00", "17:00");
        assert!(narrow.is_within(&wide) && !wide.is_within(&narrow) && wide.is_within(&wide));
        let elsewhere = Hours { zone: "Europe/Berlin".into(), ..narrow };
        assert!(!elsewhere.is_within(&wide));
    }

    #[test]
    fn hours_that_mean_nothing_are_refused() {
        let good = hours(&[Weekday::Monday], "08:00", "18:00");
        good.check().unwrap();
        assert!(Hours { days: vec![], ..good.clone() }.check().is_err());
        assert!(Hours { zone: "Mars/../etc".into(), ..good.clone() }.check().is_err());
        assert!(Hours { zone: String::new(), ..good.clone() }.check().is_err());
        assert!(Hours { from: "24:00".parse().unwrap(), ..good }.check().is_err());
    }
}
