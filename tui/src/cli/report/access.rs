//! `strongroom report access`: who may do what where, and how that changed.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_proto::ids::GrantId;
use strongroom_proto::method::grant::Item;
use strongroom_proto::words::IdentityStatus;

use super::super::when;
use super::approvals;
use super::document::{Cell, Column, Control, Section, row};
use super::evidence::{Entry, Evidence, Log, Period};

pub(super) const CONTROLS: &[Control] = &[
    Control {
        standard: "SOC 2",
        ids: "CC6.2, CC6.3",
        about: "rights are given for a reason, by somebody else, and no wider than needed",
    },
    Control {
        standard: "ISO/IEC 27001:2022",
        ids: "A.5.15, A.5.18, A.8.2, A.8.3",
        about: "who has access to what, and since when",
    },
    Control { standard: "CIS Controls v8.1", ids: "6.1, 6.2, 6.8", about: "giving, ending and grouping of rights" },
    Control {
        standard: "PCI DSS 4.0.1",
        ids: "7.2.1 to 7.2.5, 7.3",
        about: "rights by role and need, nothing by default, with an approver",
    },
];

/// The people behind a grant: one identity, or everybody in the group now.
pub(super) fn holders(evidence: &Evidence, grant: &Item) -> Vec<String> {
    match (&grant.identity, &grant.group) {
        (Some(identity), _) => vec![identity.to_string()],
        (None, Some(slug)) => match evidence.lists.groups.iter().find(|group| group.group == *slug) {
            Some(group) => {
                let members = group.members.iter().filter(|member| !member.pending);
                members.map(|member| member.identity.to_string()).collect()
            }
            None => vec![format!("group {slug}")],
        },
        (None, None) => Vec::new(),
    }
}

/// What is held now.
pub(super) fn now(evidence: &Evidence) -> Vec<Section> {
    vec![matrix(evidence), grants(evidence), offices(evidence)]
}

fn matrix(evidence: &Evidence) -> Section {
    let mut cells: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let vaults: BTreeSet<String> = evidence.lists.vaults.iter().map(|item| item.vault.to_string()).collect();
    for grant in &evidence.lists.grants {
        let mut role = grant.role.to_string();
        if let Some(group) = &grant.group {
            role += &format!(" via {group}");
        }
        if let Some(until) = grant.until {
            role += &format!(" until {}", when::utc(until));
        }
        if grant.pending {
            role += " (waits for a second person)";
        }
        for holder in holders(evidence, grant) {
            cells.entry((holder, grant.vault.to_string())).or_default().insert(role.clone());
        }
    }
    let people: BTreeSet<&String> = cells.keys().map(|(who, _)| who).collect();
    let row = |who: &&String| {
        let roles = vaults.iter().map(|vault| {
            let roles = cells.get(&((*who).clone(), vault.clone()));
            Cell::from(roles.map(|roles| roles.iter().cloned().collect::<Vec<_>>().join("; ")))
        });
        std::iter::once(Cell::from(who.as_str())).chain(roles).collect()
    };
    let rows = people.iter().map(row).collect();
    let mut section = Section::new("matrix", "Who has which role where", &["who"], rows)
        .note("As it is at the moment of the report, not at the end of the period.");
    section.columns.extend(vaults.into_iter().map(|vault| Column { heading: vault.clone(), key: vault }));
    section
}

fn grants(evidence: &Evidence) -> Section {
    let behind = approvals::by_grant(evidence);
    let mut rows = Vec::new();
    for grant in &evidence.lists.grants {
        let accounts = grant.accounts.as_ref().map_or_else(
            || "all".to_owned(),
            |accounts| accounts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        );
        let behind = behind.get(&grant.grant).cloned().unwrap_or_default();
        for holder in holders(evidence, grant) {
            rows.push(row![
                grant.vault.to_string(),
                holder,
                grant.role.as_str(),
                accounts.clone(),
                grant.group.as_ref().map(ToString::to_string),
                grant.from,
                grant.until,
                if grant.hours.is_some() { "some" } else { "all" },
                if grant.pending { "waits" } else { "in force" },
                if behind.approvers.is_empty() { grant.given_by.to_string() } else { behind.approvers.clone() },
                behind.reason.clone(),
                behind.ticket.clone(),
                grant.grant.to_string(),
            ]);
        }
    }
    let columns = [
        "vault",
        "who",
        "role",
        "accounts",
        "group",
        "since",
        "until",
        "hours",
        "state",
        "approved_by",
        "reason",
        "ticket",
        "grant",
    ];
    Section::new("grants", "Grants", &columns, rows).note("Without an end a grant is standing.")
}

fn offices(evidence: &Evidence) -> Section {
    let holders = evidence.lists.identities.iter().filter(|item| !item.roles.is_empty());
    let rows = holders.filter(|item| item.status != IdentityStatus::Revoked).map(|item| {
        let roles: Vec<&str> = item.roles.iter().map(|role| role.as_str()).collect();
        row![
            item.identity.to_string(),
            item.name.clone(),
            roles.join(", "),
            item.status.as_str(),
            item.until,
            item.last_login
        ]
    });
    Section::new(
        "offices",
        "Roles over the organisation",
        &["who", "name", "roles", "status", "until", "last_login"],
        rows.collect(),
    )
    .note("Admins manage people and vaults and take no codes unless a grant says so.")
}

/// What was given and ended over the period.
pub(super) fn changes(evidence: &Evidence, period: Period) -> Vec<Section> {
    let roles = roles(evidence);
    let mut changes: Vec<(&Log, &Entry, &str)> = Vec::new();
    for log in evidence.vault_logs() {
        for entry in log.entries.iter().filter(|entry| period.has(entry.at())) {
            let what = match entry.record.event.as_str() {
                "grant.give" if entry.number("in_force") == Some(0) => "given, waits",
                "grant.give" => "given",
                "grant.end" => "ended",
                "group.member_add" => "joined group",
                "group.member_remove" => "left group",
                "pending.confirm" if entry.record.target.grant.is_some() => "confirmed",
                "pending.reject" | "pending.lapse" if entry.record.target.grant.is_some() => "never confirmed",
                _ => continue,
            };
            if entry.happened(&entry.record.event) {
                changes.push((log, entry, what));
            }
        }
    }
    changes.sort_by_key(|(_, entry, _)| entry.at());
    let rows = changes.into_iter().map(|(log, entry, what)| {
        let grant = entry.record.target.grant;
        let role = entry.fact("role").or_else(|| roles.get(&grant?).cloned());
        let why = entry.text("reason").map(str::to_owned).or_else(|| entry.fact("cause"));
        row![
            entry.at(),
            log.name(),
            what,
            evidence.target(entry),
            role,
            evidence.actor(entry),
            why.or_else(|| entry.fact("request_kind")),
            entry.text("ticket"),
            grant.map(|grant| grant.to_string()),
            entry.record.seq,
        ]
    });
    let columns = ["at", "vault", "change", "who", "role", "by", "why", "ticket", "grant", "record"];
    vec![Section::new("changes", "Rights given and ended", &columns, rows.collect())]
}

fn roles(evidence: &Evidence) -> BTreeMap<GrantId, String> {
    let given = evidence.happened("grant.give");
    given.filter_map(|(_, entry)| Some((entry.record.target.grant?, entry.fact("role")?))).collect()
}
