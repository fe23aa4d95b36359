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

/// Everybody's word for somebody else, found once for a whole report.
pub(super) struct Approvals<'a> {
    evidence: &'a Evidence,
    /// Confirmations by the id of the change.
    confirmed: BTreeMap<String, Vec<&'a Entry>>,
    /// Records of a request by its id: asked, approved, reviewed.
    requests: BTreeMap<String, Vec<&'a Entry>>,
    given: BTreeMap<GrantId, &'a Entry>,
}

impl<'a> Approvals<'a> {
    pub(super) fn new(evidence: &'a Evidence) -> Self {
        let mut approvals =
            Self { evidence, confirmed: BTreeMap::new(), requests: BTreeMap::new(), given: BTreeMap::new() };
        for (_, entry) in evidence.all().filter(|(_, entry)| entry.happened(&entry.record.event)) {
            match entry.record.event.as_str() {
                "pending.confirm" => {
                    approvals.confirmed.entry(entry.fact("pending").unwrap_or_default()).or_default().push(entry);
                }
                "request.make" | "request.break_glass" | "request.approve" | "request.review" => {
                    approvals.requests.entry(entry.fact("request").unwrap_or_default()).or_default().push(entry);
                }
                "grant.give" => {
                    approvals.given.extend(entry.record.target.grant.map(|grant| (grant, entry)));
                }
                _ => {}
            }
        }
        approvals
    }

    /// Who confirmed what waited for a second person.
    pub(super) fn confirmers(&self, waited: &Entry) -> Vec<String> {
        let confirmed = waited.fact("pending").and_then(|pending| self.confirmed.get(&pending));
        confirmed.into_iter().flatten().map(|entry| self.evidence.actor(entry)).collect()
    }

    /// The records of a request under one event.
    pub(super) fn of_request(&self, request: &str, event: &str) -> impl Iterator<Item = &'a Entry> {
        self.requests.get(request).into_iter().flatten().copied().filter(move |entry| entry.record.event == event)
    }

    /// What stands behind a grant, as far as the logs tell.
    pub(super) fn behind(&self, grant: GrantId) -> Behind {
        let Some(given) = self.given.get(&grant) else { return Behind::default() };
        let text =
            |entry: Option<&Entry>, name| entry.and_then(|entry| entry.text(name)).unwrap_or_default().to_owned();
        let Some(request) = given.fact("request") else {
            let approvers = [vec![self.evidence.actor(given)], self.confirmers(given)].concat().join(", ");
            let (reason, ticket) = (text(Some(given), "reason"), text(Some(given), "ticket"));
            return Behind { how: "given", approvers, reason, ticket };
        };
        let (how, asked, decided) = if given.fact("request_kind").as_deref() == Some("break-glass") {
            ("break-glass", "request.break_glass", "request.review")
        } else {
            ("request", "request.make", "request.approve")
        };
        let approvers: Vec<String> =
            self.of_request(&request, decided).map(|entry| self.evidence.actor(entry)).collect();
        let asked = self.of_request(&request, asked).next();
        Behind { how, approvers: approvers.join(", "), reason: text(asked, "reason"), ticket: text(asked, "ticket") }
    }
}
