//! Whether a moment is within the hours of a policy or grant, on the clocks of its zone.

use jiff::Timestamp;
use jiff::civil::Weekday as CivilDay;
use jiff::tz::TimeZone;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::policy::{Hours, Weekday};

/// True if `hours` includes `now`. A zone that this system does not know includes nothing: it was known when the policy was
/// made, and a rule that cannot be read must not let anybody in.
#[must_use]
pub fn includes(hours: &Hours, now: Timestamp) -> bool {
    let Some(zone) = zone(hours) else { return false };
    let local = now.to_zoned(zone);
    let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
    hours.includes(day(local.weekday()), minute)
}

/// Refuses hours in a zone whose clocks the system does not know.
///
/// # Errors
/// `invalid_params` naming the zone.
pub fn check_zone(hours: Option<&Hours>) -> Result<(), Failure> {
    match hours.filter(|hours| zone(hours).is_none()) {
        Some(hours) => {
            let message = format!("hours: the time zone {} is not known here.", hours.zone);
            Err(Failure::new(ErrorKind::InvalidParams, message))
        }
        None => Ok(()),
    }
}

fn zone(hours: &Hours) -> Option<TimeZone> {
    TimeZone::get(&hours.zone).ok()
}

const fn day(day: CivilDay) -> Weekday {
    match day {
        CivilDay::Monday => Weekday::Monday,
        CivilDay::Tuesday => Weekday::Tuesday,
        CivilDay::Wednesday => Weekday::Wednesday,
        CivilDay::Thursday => Weekday::Thursday,
        CivilDay::Friday => Weekday::Friday,
        CivilDay::Saturday => Weekday::Saturday,
        CivilDay::Sunday => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(zone: &str) -> Hours {
        Hours {
            days: vec![Weekday::Monday, Weekday::Sunday],
            from: "08:00".parse().unwrap(),
            until: "18:00".parse().unwrap(),
            zone: zone.to_owned(),
        }
    }

    #[test]
    fn hours_follow_the_clocks_of_their_zone_also_when_they_change() {
        let berlin = hours("Europe/Berlin");
        for (at, within) in [
            // Mondays: UTC+1 in winter, UTC+2 in summer.
            ("2026-01-05T06:59:59Z", false),
            ("2026-01-05T07:00:00Z", true),
            ("2026-07-06T05:59:59Z", false),
            ("2026-07-06T06:00:00Z", true),
            ("2026-07-06T15:59:59Z", true),
            ("2026-07-06T16:00:00Z", false),
            // The Sunday on which clocks go forward: eight o'clock is 06:00 UTC already.
            ("2026-03-29T06:00:00Z", true),
            ("2026-03-29T05:59:59Z", false),
            // And back.
            ("2026-10-25T06:59:59Z", false),
            ("2026-10-25T07:00:00Z", true),
            // A Tuesday.
            ("2026-01-06T10:00:00Z", false),
        ] {
            assert_eq!(includes(&berlin, at.parse().unwrap()), within, "{at}");
        }
    }

    #[test]
    fn an_unknown_zone_lets_nobody_in() {
        let nowhere = hours("Europe/Atlantis");
        assert!(check_zone(Some(&nowhere)).is_err() && !includes(&nowhere, "2026-01-05T10:00:00Z".parse().unwrap()));
        assert!(check_zone(Some(&hours("UTC"))).is_ok() && check_zone(None).is_ok());
        assert!(includes(&hours("UTC"), "2026-01-05T10:00:00Z".parse().unwrap()));
    }
}
