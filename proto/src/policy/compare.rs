//! How two policies differ, and where the second is weaker: that needs a second person.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{BreakGlass, Harvest, Hours, OrgPolicy, Requests, VaultPolicy};

/// One key of a policy that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Difference {
    /// The key as it stands in TOML, tables before it: `requests.approvals`.
    pub key: String,
    /// Its value before, as JSON; absent if it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its value after, as JSON; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// True if it allows more than before: a second person has to confirm it.
    pub weaker: bool,
}

/// A policy that can be compared with another of its kind.
pub trait Compare: Serialize {
    /// The keys, tables before them, under which `self` allows more than `before` did. The key of a table means all of it.
    fn weaker_than(&self, before: &Self) -> Vec<String>;
}

/// Every key that differs, in order.
#[must_use]
pub fn differences<P: Compare>(before: &P, after: &P) -> Vec<Difference> {
    let weaker = after.weaker_than(before);
    let (before, after) = (flat(before), flat(after));
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| Difference {
            key: key.clone(),
            before: before.get(key).cloned(),
            after: after.get(key).cloned(),
            weaker: weaker
                .iter()
                .any(|word| key == word || key.strip_prefix(word.as_str()).is_some_and(|rest| rest.starts_with('.'))),
        })
        .collect()
}

/// True if `after` allows anything that `before` did not.
#[must_use]
pub fn weakened<P: Compare>(before: &P, after: &P) -> bool {
    !after.weaker_than(before).is_empty()
}

/// The values by dotted key, as compact JSON.
fn flat<P: Serialize>(policy: &P) -> BTreeMap<String, String> {
    fn walk(key: String, value: &Value, into: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                    walk(key, value, into);
                }
            }
            other => {
                into.insert(key, other.to_string());
            }
        }
    }
    let mut values = BTreeMap::new();
    // A policy is plain data: it always has a JSON form.
    walk(String::new(), &serde_json::to_value(policy).unwrap_or_default(), &mut values);
    values
}

/// A limit that was raised or lifted.
fn raised<T: PartialOrd>(before: Option<T>, after: Option<T>) -> bool {
    before.is_some_and(|before| after.is_none_or(|after| after > before))
}

/// A demand that was dropped.
const fn dropped(before: bool, after: bool) -> bool {
    before && !after
}

fn opened(before: Option<&Hours>, after: Option<&Hours>) -> bool {
    before.is_some_and(|before| after.is_none_or(|after| !after.is_within(before)))
}

fn slackened(before: Option<&Harvest>, after: Option<&Harvest>) -> bool {
    before.is_some_and(|before| {
        after.is_none_or(|after| after.accounts > before.accounts || after.within_min < before.within_min)
    })
}

impl Compare for VaultPolicy {
    fn weaker_than(&self, before: &Self) -> Vec<String> {
        // Taken apart, so that a new field cannot be forgotten here.
        let Self {
            min_assurance,
            signed_release,
            exclusive_window,
            reason_required,
            ticket_required,
            ticket_pattern,
            releases_per_hour,
            hours,
            requests:
                Requests { approvals, longest_h, expire_after_h, escalate_after_min, exclusive, ticket_required: asks },
            break_glass,
            harvest,
        } = self;
        let glass = |policy: &Option<BreakGlass>| policy.as_ref().map_or(0, |glass| glass.longest_min);
        [
            ("min_assurance", *min_assurance < before.min_assurance),
            ("signed_release", dropped(before.signed_release, *signed_release)),
            ("exclusive_window", dropped(before.exclusive_window, *exclusive_window)),
            ("reason_required", dropped(before.reason_required, *reason_required)),
            ("ticket_required", dropped(before.ticket_required, *ticket_required)),
            // Whether one pattern allows less than another is nobody's guess.
            ("ticket_pattern", before.ticket_pattern.is_some() && *ticket_pattern != before.ticket_pattern),
            ("releases_per_hour", raised(before.releases_per_hour, *releases_per_hour)),
            ("hours", opened(before.hours.as_ref(), hours.as_ref())),
            ("requests.approvals", *approvals < before.requests.approvals),
            ("requests.longest_h", *longest_h > before.requests.longest_h),
            ("requests.expire_after_h", *expire_after_h > before.requests.expire_after_h),
            // Sooner lets more people decide.
            ("requests.escalate_after_min", *escalate_after_min < before.requests.escalate_after_min),
            ("requests.exclusive", dropped(before.requests.exclusive, *exclusive)),
            ("requests.ticket_required", dropped(before.requests.ticket_required, *asks)),
            ("break_glass", glass(break_glass) > glass(&before.break_glass)),
            ("harvest", slackened(before.harvest.as_ref(), harvest.as_ref())),
        ]
        .into_iter()
        .filter(|(_, weaker)| *weaker)
        .map(|(key, _)| key.to_owned())
        .collect()
    }
}

impl Compare for OrgPolicy {
    fn weaker_than(&self, before: &Self) -> Vec<String> {
        let Self { portfolio_cap_percent, session_idle_min, session_longest_h, confirm_within_h, harvest, vault } =
            self;
        let own = [
            ("portfolio_cap_percent", raised(before.portfolio_cap_percent, *portfolio_cap_percent)),
            ("session_idle_min", raised(before.session_idle_min, *session_idle_min)),
            ("session_longest_h", raised(before.session_longest_h, *session_longest_h)),
            ("confirm_within_h", *confirm_within_h > before.confirm_within_h),
            ("harvest", slackened(before.harvest.as_ref(), harvest.as_ref())),
        ];
        let own = own.into_iter().filter(|(_, weaker)| *weaker).map(|(key, _)| key.to_owned());
        // What new vaults begin with.
        own.chain(vault.weaker_than(&before.vault).into_iter().map(|key| format!("vault.{key}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::TicketPattern;
    use crate::words::Assurance;

    /// A policy in which every demand is made and every limit is set.
    fn strict() -> VaultPolicy {
        serde_json::from_str(
            r#"{"min_assurance":"hardware-verified","signed_release":true,"exclusive_window":true,
                "reason_required":true,"ticket_required":true,"ticket_pattern":"T-[0-9]+","releases_per_hour":10,
                "hours":{"days":["mon"],"from":"08:00","until":"18:00","zone":"UTC"},
                "requests":{"approvals":3,"longest_h":4,"expire_after_h":4,"escalate_after_min":240,"exclusive":true,
                    "ticket_required":true},
                "harvest":{"accounts":3,"within_min":10}}"#,
        )
        .unwrap()
    }

    #[test]
    fn giving_up_everything_weakens_every_key_and_taking_it_back_none() {
        let lax = VaultPolicy { break_glass: Some(BreakGlass::default()), ..VaultPolicy::default() };
        let weaker = lax.weaker_than(&strict());
        let keys = [
            "min_assurance",
            "signed_release",
            "exclusive_window",
            "reason_required",
            "ticket_required",
            "ticket_pattern",
            "releases_per_hour",
            "hours",
            "requests.approvals",
            "requests.longest_h",
            "requests.expire_after_h",
            "requests.escalate_after_min",
            "requests.exclusive",
            "requests.ticket_required",
            "break_glass",
            "harvest",
        ];
        assert_eq!(weaker, keys);
        assert!(!weakened(&lax, &strict()) && !weakened(&lax, &lax));
    }

    #[test]
    fn each_single_slackening_is_seen() {
        let check = |key: &str, change: fn(&mut VaultPolicy)| {
            let mut after = strict();
            change(&mut after);
            assert_eq!(after.weaker_than(&strict()), [key]);
            assert!(!weakened(&after, &strict()), "{key} backwards");
        };
        check("min_assurance", |policy| policy.min_assurance = Assurance::HardwareTouch);
        check("releases_per_hour", |policy| policy.releases_per_hour = Some(11));
        check("releases_per_hour", |policy| policy.releases_per_hour = None);
        check("hours", |policy| policy.hours = None);
        check("requests.escalate_after_min", |policy| policy.requests.escalate_after_min = 60);
        check("break_glass", |policy| policy.break_glass = Some(BreakGlass { longest_min: 1 }));
        check("harvest", |policy| policy.harvest = Some(Harvest { accounts: 4, within_min: 10 }));
        check("harvest", |policy| policy.harvest = Some(Harvest { accounts: 3, within_min: 9 }));
        // Another pattern may allow other tickets: a second person looks.
        let other = VaultPolicy { ticket_pattern: Some(TicketPattern::new("T-[0-9]{4}").unwrap()), ..strict() };
        assert_eq!(other.weaker_than(&strict()), ["ticket_pattern"]);
    }

    #[test]
    fn differences_name_keys_values_and_what_is_weaker() {
        let before = OrgPolicy { portfolio_cap_percent: Some(20), ..OrgPolicy::default() };
        let mut after = OrgPolicy { portfolio_cap_percent: Some(10), ..OrgPolicy::default() };
        after.vault.requests.longest_h = 24;
        after.vault.break_glass = Some(BreakGlass { longest_min: 30 });
        let found = differences(&before, &after);
        let shown: Vec<_> = found
            .iter()
            .map(|one| (one.key.as_str(), one.before.as_deref(), one.after.as_deref(), one.weaker))
            .collect();
        assert_eq!(
            shown,
            [
                ("portfolio_cap_percent", Some("20"), Some("10"), false),
                ("vault.break_glass.longest_min", None, Some("30"), true),
                ("vault.requests.longest_h", Some("8"), Some("24"), true),
            ]
        );
        assert!(differences(&after, &after).is_empty());
    }
}
