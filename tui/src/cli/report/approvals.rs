//! Who stands behind a grant: the record of each use of a shared login has to say who allowed it and why (PCI DSS 8.2.2).

use std::collections::BTreeMap;

use strongroom_proto::ids::GrantId;

use super::evidence::{Entry, Evidence};

/// How somebody came to a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Behind {
    /// `given`, `request` or `break-glass`.
    pub(super) how: &'static str,
    /// Who gave, confirmed or approved it; for a break-glass, who looked at it afterwards.
    pub(super) approvers: String,
    /// Why it was given or asked for.
    pub(super) reason: String,
    /// For which ticket.
    pub(super) ticket: String,
}

/// Every grant that the logs tell of.
pub(super) fn by_grant(evidence: &Evidence) -> BTreeMap<GrantId, Behind> {
    let pairs = evidence.happened("grant.give");
    pairs.filter_map(|(_, entry)| Some((entry.record.target.grant?, behind(evidence, entry)))).collect()
}

fn behind(evidence: &Evidence, given: &Entry) -> Behind {
    let Some(request) = given.fact("request") else {
        let mut approvers = vec![evidence.actor(given)];
        approvers.extend(confirmers(evidence, given));
        let text = |name| given.text(name).unwrap_or_default().to_owned();
        return Behind {
            how: "given",
            approvers: approvers.join(", "),
            reason: text("reason"),
            ticket: text("ticket"),
        };
    };
    let of_request = |entry: &Entry| entry.fact("request").as_deref() == Some(request.as_str());
    let named = |event: &'static str| {
        let those = evidence.happened(event).filter(|(_, entry)| of_request(entry));
        those.map(|(_, entry)| evidence.actor(entry)).collect::<Vec<_>>().join(", ")
    };
    let is_glass = given.fact("request_kind").as_deref() == Some("break-glass");
    let (how, asked, decided) = if is_glass {
        ("break-glass", "request.break_glass", "request.review")
    } else {
        ("request", "request.make", "request.approve")
    };
    let asked = evidence.happened(asked).find(|(_, entry)| of_request(entry));
    let text = |name| asked.and_then(|(_, entry)| entry.text(name)).unwrap_or_default().to_owned();
    Behind { how, approvers: named(decided), reason: text("reason"), ticket: text("ticket") }
}

/// Who confirmed what waited for a second person.
pub(super) fn confirmers(evidence: &Evidence, waited: &Entry) -> Vec<String> {
    let Some(pending) = waited.fact("pending") else { return Vec::new() };
    let confirmed = evidence
        .happened("pending.confirm")
        .filter(|(_, entry)| entry.fact("pending").as_deref() == Some(pending.as_str()));
    confirmed.map(|(_, entry)| evidence.actor(entry)).collect()
}
