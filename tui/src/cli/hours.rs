//! Days and hours as people type and read them: `mon-fri 08:00-18:00 Europe/Berlin`.

use strongroom_proto::policy::{Hours, Weekday};

/// Reads days, hours and a time zone.
///
/// # Errors
/// A sentence for people.
pub(super) fn hours(text: &str) -> Result<Hours, String> {
    let wrong = || format!("\"{text}\" are no hours: write for example \"mon-fri 08:00-18:00 Europe/Berlin\"");
    let words: Vec<&str> = text.split_whitespace().collect();
    let [days, times, zone] = words.as_slice() else { return Err(wrong()) };
    let (from, until) = times.split_once('-').ok_or_else(wrong)?;
    let hours = Hours {
        days: days.split(',').map(span).collect::<Option<Vec<_>>>().ok_or_else(wrong)?.concat(),
        from: from.parse()?,
        until: until.parse()?,
        zone: (*zone).to_owned(),
    };
    hours.check()?;
    Ok(hours)
}

/// One day, or all from one to another.
fn span(text: &str) -> Option<Vec<Weekday>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let place = |word: &str| Weekday::ALL.iter().position(|day| day.as_str() == word);
    let (first, last) = (place(first)?, place(last)?);
    // A span over Sunday goes on with Monday.
    let count = (last + Weekday::ALL.len() - first) % Weekday::ALL.len() + 1;
    Some(Weekday::ALL.iter().cycle().skip(first).take(count).copied().collect())
}

/// Shows days, hours and time zone.
pub(super) fn words(hours: &Hours) -> String {
    let days: Vec<&str> = hours.days.iter().map(|day| day.as_str()).collect();
    format!("{} {}-{} {}", days.join(","), hours.from, hours.until, hours.zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_days_times_and_a_zone() {
        for (text, shown) in [
            ("mon-fri 08:00-18:00 Europe/Berlin", "mon,tue,wed,thu,fri 08:00-18:00 Europe/Berlin"),
            ("sat,sun 00:00-24:00 UTC", "sat,sun 00:00-24:00 UTC"),
            ("sat-mon 22:00-06:00 UTC", "sat,sun,mon 22:00-06:00 UTC"),
            ("wed 09:00-09:00 UTC", "wed 09:00-09:00 UTC"),
        ] {
            assert_eq!(words(&hours(text).unwrap()), shown, "{text}");
        }
        for text in [
            "",
            "mon-fri 08:00-18:00",
            "mon-fri 8-18 UTC",
            "monday 08:00-18:00 UTC",
            "mon 08:00-25:00 UTC",
            "mon 24:00-06:00 UTC",
            "mon 08:00-18:00 ../etc",
        ] {
            assert!(hours(text).is_err(), "{text}");
        }
    }
}
