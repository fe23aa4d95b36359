//! The golden table of access: every operation in every situation, in a file that a reviewer can read. A change of a rule
//! shows as a changed line. Write it anew with `UPDATE_GOLDEN=1 cargo test -p strongroom-agent --test access_table`.

use std::fmt::Write as _;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use strongroom_agent::access::{Denial, Facts, GrantFact, Operation, Scope, VaultFacts, decide};
use strongroom_proto::ids::{AccountId, GrantId};
use strongroom_proto::method::NAMES;
use strongroom_proto::words::{Assurance, IdentityKind, IdentityStatus, OrgRole, VaultRole};

fn account(number: u128) -> AccountId {
    AccountId::from_uuid(uuid::Uuid::from_u128(number))
}

fn now() -> Timestamp {
    Timestamp::constant(1_795_262_400, 0)
}

fn grant(role: VaultRole) -> GrantFact {
    GrantFact {
        id: GrantId::from_uuid(uuid::Uuid::from_u128(7)),
        version: 1,
        role,
        accounts: None,
        from: now() - SignedDuration::from_hours(1),
        until: None,
        closed: false,
    }
}

fn facts(roles: &[OrgRole], grants: Vec<GrantFact>) -> Facts {
    Facts {
        status: IdentityStatus::Active,
        over: false,
        kind: IdentityKind::Technician,
        key_active: true,
        roles: roles.to_vec(),
        assurance: Assurance::SoftwareKey,
        grants,
        vault: Some(vault()),
        sealed: false,
        hindrance: None,
    }
}

fn vault() -> VaultFacts {
    VaultFacts {
        min_assurance: Assurance::SoftwareKey,
        frozen: false,
        destroyed: false,
        closed: false,
        break_glass: false,
    }
}

fn situations() -> Vec<(&'static str, Facts)> {
    let viewer = || vec![grant(VaultRole::Viewer)];
    let limited = GrantFact { accounts: Some(vec![account(1)]), ..grant(VaultRole::Viewer) };
    let elsewhere = GrantFact { accounts: Some(vec![account(2)]), ..grant(VaultRole::Viewer) };
    let ended = GrantFact { until: Some(now()), ..grant(VaultRole::Viewer) };
    let coming = GrantFact { from: now() + SignedDuration::from_secs(1), ..grant(VaultRole::Viewer) };
    let strict = Some(VaultFacts { min_assurance: Assurance::HardwareTouch, ..vault() });
    let frozen = Some(VaultFacts { frozen: true, ..vault() });
    let destroyed = Some(VaultFacts { frozen: true, destroyed: true, ..vault() });
    let closed = Some(VaultFacts { closed: true, ..vault() });
    let glass = Some(VaultFacts { break_glass: true, ..vault() });
    let frozen_glass = Some(VaultFacts { break_glass: true, frozen: true, ..vault() });
    let night = GrantFact { closed: true, ..grant(VaultRole::Viewer) };
    let hindered = |denial| Facts { hindrance: Some(denial), ..facts(&[], viewer()) };
    let service = |grants| Facts { kind: IdentityKind::Service, ..facts(&[], grants) };
    vec![
        ("nobody here", facts(&[], vec![])),
        ("viewer", facts(&[], viewer())),
        ("viewer of this account", facts(&[], vec![limited.clone()])),
        ("viewer of another account", facts(&[], vec![elsewhere])),
        ("viewer until now", facts(&[], vec![ended])),
        ("viewer from tomorrow", facts(&[], vec![coming])),
        ("viewer, vault frozen", Facts { vault: frozen, ..facts(&[], viewer()) }),
        ("viewer, login too weak", Facts { vault: strict, ..facts(&[], viewer()) }),
        ("viewer, vault's hours over", Facts { vault: closed, ..facts(&[], viewer()) }),
        ("viewer, grant's hours over", facts(&[], vec![night.clone()])),
        ("viewer by two, one's hours over", facts(&[], vec![night, grant(VaultRole::Viewer)])),
        ("viewer, on hold", Facts { status: IdentityStatus::Held, ..facts(&[], viewer()) }),
        ("viewer, end date passed", Facts { over: true, ..facts(&[], viewer()) }),
        ("viewer, release not signed", hindered(Denial::NeedsSignature)),
        ("viewer, no reason given", hindered(Denial::NeedsReason)),
        ("viewer, no ticket that fits", hindered(Denial::NeedsTicket)),
        ("viewer, limit reached", hindered(Denial::Limited { wait_s: 7 })),
        ("viewer, one account too many", hindered(Denial::Harvest)),
        ("viewer, account checked out", hindered(Denial::CheckedOut)),
        ("viewer, window taken", hindered(Denial::WindowTaken)),
        ("script, viewer of this account", service(vec![limited.clone()])),
        ("script, as another user", Facts { hindrance: Some(Denial::OtherUid), ..service(vec![limited.clone()]) }),
        ("script, on hold", Facts { status: IdentityStatus::Held, ..service(vec![limited.clone()]) }),
        ("nobody here, vault sealed", Facts { sealed: true, ..facts(&[], vec![]) }),
        ("viewer, vault sealed", Facts { sealed: true, ..facts(&[], viewer()) }),
        ("viewer, suspended", Facts { status: IdentityStatus::Suspended, ..facts(&[], viewer()) }),
        ("viewer, revoked", Facts { status: IdentityStatus::Revoked, ..facts(&[], viewer()) }),
        ("viewer, key removed", Facts { key_active: false, ..facts(&[], viewer()) }),
        ("eligible", facts(&[], vec![grant(VaultRole::Eligible)])),
        ("eligible, break-glass known", Facts { vault: glass, ..facts(&[], vec![grant(VaultRole::Eligible)]) }),
        (
            "eligible, the same, vault frozen",
            Facts { vault: frozen_glass, ..facts(&[], vec![grant(VaultRole::Eligible)]) },
        ),
        ("eligible, on hold", Facts { status: IdentityStatus::Held, ..facts(&[], vec![grant(VaultRole::Eligible)]) }),
        ("manager", facts(&[], vec![grant(VaultRole::Manager)])),
        ("manager, on hold", Facts { status: IdentityStatus::Held, ..facts(&[], vec![grant(VaultRole::Manager)]) }),
        ("manager, vault frozen", Facts { vault: frozen, ..facts(&[], vec![grant(VaultRole::Manager)]) }),
        ("manager, login too weak", Facts { vault: strict, ..facts(&[], vec![grant(VaultRole::Manager)]) }),
        ("manager and viewer", facts(&[], vec![grant(VaultRole::Manager), grant(VaultRole::Viewer)])),
        ("vault auditor", facts(&[], vec![grant(VaultRole::Auditor)])),
        ("admin", facts(&[OrgRole::Admin], vec![])),
        ("admin, vault frozen", Facts { vault: frozen, ..facts(&[OrgRole::Admin], vec![]) }),
        ("admin, login too weak", Facts { vault: strict, ..facts(&[OrgRole::Admin], vec![]) }),
        ("admin and viewer", facts(&[OrgRole::Admin], viewer())),
        ("admin, on hold", Facts { status: IdentityStatus::Held, ..facts(&[OrgRole::Admin], vec![]) }),
        ("admin, break-glass known", Facts { vault: glass, ..facts(&[OrgRole::Admin], vec![]) }),
        ("admin, suspended", Facts { status: IdentityStatus::Suspended, ..facts(&[OrgRole::Admin], vec![]) }),
        ("admin, revoked", Facts { status: IdentityStatus::Revoked, ..facts(&[OrgRole::Admin], vec![]) }),
        ("org auditor", facts(&[OrgRole::Auditor], vec![])),
        ("nobody here, vault destroyed", Facts { vault: destroyed, ..facts(&[], vec![]) }),
        ("auditor, vault destroyed", Facts { vault: destroyed, ..facts(&[], vec![grant(VaultRole::Auditor)]) }),
        ("admin, vault destroyed", Facts { vault: destroyed, ..facts(&[OrgRole::Admin], vec![]) }),
        ("org auditor, vault destroyed", Facts { vault: destroyed, ..facts(&[OrgRole::Auditor], vec![]) }),
    ]
}

/// Each operation with the methods that ask for it.
fn operations() -> Vec<(&'static str, Operation, &'static [&'static str])> {
    use Operation as O;
    vec![
        ("see the vault", O::VaultSee, &["vault.list", "account.list", "grant.list", "policy.show"]),
        ("make a vault", O::VaultCreate, &["vault.create"]),
        ("rename the vault", O::VaultRename, &["vault.rename"]),
        ("freeze", O::VaultFreeze, &["vault.freeze"]),
        ("thaw", O::VaultThaw, &["vault.thaw"]),
        ("see the account", O::AccountSee(account(1)), &["account.list", "account.show"]),
        ("import", O::AccountImport, &["account.import_begin", "account.import_rows", "account.import_commit"]),
        ("remove the account", O::AccountRemove(account(1)), &["account.remove"]),
        ("take a code", O::CodeRelease(account(1)), &["code.release"]),
        ("see all grants", O::GrantSee, &["grant.list", "review.list", "review.show"]),
        ("give viewer", O::GrantGive { role: VaultRole::Viewer, own: false }, &["grant.give"]),
        ("give viewer to oneself", O::GrantGive { role: VaultRole::Viewer, own: true }, &["grant.give"]),
        ("give eligible", O::GrantGive { role: VaultRole::Eligible, own: false }, &["grant.give"]),
        ("give manager", O::GrantGive { role: VaultRole::Manager, own: false }, &["grant.give"]),
        ("give manager to oneself", O::GrantGive { role: VaultRole::Manager, own: true }, &["grant.give"]),
        ("give auditor", O::GrantGive { role: VaultRole::Auditor, own: false }, &["grant.give"]),
        ("end a viewer's grant", O::GrantEnd { role: VaultRole::Viewer, own: false }, &["grant.end"]),
        ("end a manager's grant", O::GrantEnd { role: VaultRole::Manager, own: false }, &["grant.end"]),
        ("end one's own grant", O::GrantEnd { role: VaultRole::Viewer, own: true }, &["grant.end"]),
        ("read the trail", O::TrailRead, &["audit.read", "audit.search", "audit.leaves", "audit.checkpoint"]),
        ("export the trail", O::TrailExport, &["audit.export", "audit.snapshot"]),
        (
            "read the org log",
            O::OrgTrailRead,
            &["audit.read", "audit.search", "audit.leaves", "audit.checkpoint", "audit.export", "audit.snapshot"],
        ),
        ("see all identities", O::IdentitySeeAll, &["identity.list"]),
        ("enrol", O::IdentityEnrol, &["identity.enrol"]),
        ("add a key", O::KeyAdd { own: false }, &["identity.key_add"]),
        ("add a key to oneself", O::KeyAdd { own: true }, &["identity.key_add"]),
        ("remove a key", O::KeyRemove { own: false }, &["identity.key_remove"]),
        ("remove one's own key", O::KeyRemove { own: true }, &["identity.key_remove"]),
        ("revoke", O::IdentityRevoke { own: false }, &["identity.revoke"]),
        ("revoke oneself", O::IdentityRevoke { own: true }, &["identity.revoke"]),
        ("see ceremonies", O::CeremonySee, &["ceremony.list", "ceremony.show"]),
        ("propose a ceremony", O::CeremonyPropose { gives: false }, &["ceremony.propose"]),
        ("propose a hand-over", O::CeremonyPropose { gives: true }, &["ceremony.propose"]),
        ("confirm a ceremony", O::CeremonyConfirm { own: false, gives: false }, &["ceremony.confirm"]),
        ("confirm one's own ceremony", O::CeremonyConfirm { own: true, gives: false }, &["ceremony.confirm"]),
        ("confirm a hand-over", O::CeremonyConfirm { own: false, gives: true }, &["ceremony.confirm"]),
        ("confirm one's own hand-over", O::CeremonyConfirm { own: true, gives: true }, &["ceremony.confirm"]),
        ("cancel a ceremony", O::CeremonyCancel, &["ceremony.cancel"]),
        ("run a ceremony as one of the two", O::CeremonyRun { party: true, gives: false }, &["ceremony.run"]),
        ("run a ceremony of others", O::CeremonyRun { party: false, gives: false }, &["ceremony.run"]),
        ("run a hand-over as one of the two", O::CeremonyRun { party: true, gives: true }, &["ceremony.run"]),
        ("run a hand-over of others", O::CeremonyRun { party: false, gives: true }, &["ceremony.run"]),
        ("change the vault's policy", O::PolicySet, &["policy.set"]),
        ("see the organisation's policy", O::OrgPolicySee, &["policy.show_org"]),
        ("change the organisation's policy", O::OrgPolicySet, &["policy.set_org"]),
        ("see all groups", O::GroupSee, &["group.list"]),
        ("make or remove a group", O::GroupManage, &["group.create", "group.remove"]),
        ("put somebody into a group", O::MemberAdd { own: false }, &["group.member_add"]),
        ("put oneself into a group", O::MemberAdd { own: true }, &["group.member_add"]),
        ("take somebody out of a group", O::MemberRemove { own: false }, &["group.member_remove"]),
        ("take oneself out of a group", O::MemberRemove { own: true }, &["group.member_remove"]),
        (
            "change an identity",
            O::IdentityUpdate { own: false },
            &["audit.erase", "identity.update", "identity.certificates"],
        ),
        ("change oneself", O::IdentityUpdate { own: true }, &["identity.update", "identity.certificates"]),
        ("change somebody's roles", O::RolesChange { own: false }, &["identity.roles"]),
        ("change one's own roles", O::RolesChange { own: true }, &["identity.roles"]),
        ("suspend", O::IdentitySuspend { own: false }, &["identity.suspend"]),
        ("suspend oneself", O::IdentitySuspend { own: true }, &["identity.suspend"]),
        ("resume", O::IdentityResume { own: false }, &["identity.resume"]),
        ("resume oneself", O::IdentityResume { own: true }, &["identity.resume"]),
        ("ask for access", O::RequestMake { lapsed: false }, &["request.make"]),
        ("ask again after a grant ran out", O::RequestMake { lapsed: true }, &["request.make"]),
        ("break the glass", O::BreakGlass, &["request.make"]),
        ("see the vault's requests", O::RequestSee, &["request.list", "request.show"]),
        (
            "decide on a request",
            O::RequestDecide { own: false, escalated: false },
            &["request.approve", "request.deny"],
        ),
        (
            "decide on a request that has escalated",
            O::RequestDecide { own: false, escalated: true },
            &["request.approve", "request.deny"],
        ),
        (
            "decide on one's own request",
            O::RequestDecide { own: true, escalated: true },
            &["request.approve", "request.deny"],
        ),
        ("review a break-glass", O::RequestReview { own: false }, &["request.review"]),
        ("review one's own break-glass", O::RequestReview { own: true }, &["request.review"]),
        ("begin or close a recertification", O::CampaignManage, &["review.start", "review.close"]),
        ("see all recertifications", O::CampaignSee, &["review.list"]),
        ("keep or end a grant in one", O::ReviewDecide { own: false }, &["review.decide"]),
        ("keep or end one's own", O::ReviewDecide { own: true }, &["review.decide"]),
        ("say what is a canary", O::CanaryManage, &["canary.set", "canary.clear", "canary.list"]),
        ("see the rotation list", O::RotationSee, &["rotation.list"]),
        ("answer for keeping a seed on it", O::RotationDismiss, &["rotation.dismiss"]),
        ("see what raised an alarm", O::AlertSee, &["alert.list"]),
        ("answer an alert", O::AlertAck { own: false }, &["alert.ack"]),
        ("answer an alert about oneself", O::AlertAck { own: true }, &["alert.ack"]),
        ("open or close an incident", O::IncidentManage, &["incident.open", "incident.close"]),
        ("see an incident", O::IncidentSee, &["incident.list", "incident.show"]),
        ("read what somebody took and knows", O::IdentityReport, &["identity.report"]),
        ("see what waits for a second person", O::PendingSee, &["pending.list", "pending.show"]),
        (
            "confirm a colleague's key",
            O::PendingConfirm { own: false, manages: false, office: false },
            &["pending.confirm", "pending.reject"],
        ),
        (
            "confirm the key of somebody in one's vault",
            O::PendingConfirm { own: false, manages: true, office: false },
            &["pending.confirm", "pending.reject"],
        ),
        (
            "confirm what oneself did or gains by",
            O::PendingConfirm { own: true, manages: true, office: false },
            &["pending.confirm"],
        ),
        (
            "confirm another admin",
            O::PendingConfirm { own: false, manages: true, office: true },
            &["pending.confirm", "pending.reject"],
        ),
        (
            "confirm a grant or policy of the vault",
            O::PendingConfirmIn { own: false },
            &["pending.confirm", "pending.reject"],
        ),
        ("confirm the same, one's own", O::PendingConfirmIn { own: true }, &["pending.confirm"]),
        ("see all sessions", O::SessionSeeAll, &["session.list"]),
        ("end a session", O::SessionEnd { own: false }, &["session.end"]),
        ("end one's own session", O::SessionEnd { own: true }, &["session.end"]),
    ]
}

/// Methods that decide nothing: they make a session, say what everybody may know, or give up what is one's own.
const UNDECIDED: [&str; 6] =
    ["session.open", "session.prove", "session.challenge", "session.whoami", "agent.status", "request.cancel"];

fn outcome(facts: &Facts, operation: Operation) -> String {
    match decide(facts, operation, now()) {
        Ok(terms) => {
            let by = if terms.grant.is_some() { "grant" } else { "office" };
            let scope = match terms.scope {
                Scope::Whole => "",
                Scope::Only(_) => ", listed accounts",
            };
            format!("ALLOWED by {by}{scope}")
        }
        Err(denial) => {
            let why = match denial {
                Denial::Hidden => "does not exist",
                Denial::NoRight => "no right",
                Denial::OwnHand => "not by one's own hand",
                Denial::NeedsApproval => "may ask",
                Denial::NeedsAssurance(_) => "stronger login",
                Denial::Frozen => "frozen",
                Denial::Held => "on hold",
                Denial::Closed => "not at this hour",
                Denial::NeedsSignature => "sign it",
                Denial::NeedsReason => "give a reason",
                Denial::NeedsTicket => "give a ticket",
                Denial::Limited { .. } => "too many this hour",
                Denial::Harvest => "trips the wire",
                Denial::CheckedOut => "somebody else has it",
                Denial::WindowTaken => "somebody else took it",
                Denial::OtherUid => "wrong user of the system",
                Denial::Destroyed => "destroyed",
                Denial::Ended => "session over",
                Denial::Sealed => "store does not match its log",
            };
            format!("{:<15} {why}", denial.failure().kind)
        }
    }
}

#[test]
fn every_operation_in_every_situation_is_as_the_golden_table_says() {
    let mut table = String::from(
        "Who may do what. One block an operation, one line a situation of the caller in that vault.\n\
         Error kinds are PROTOCOL.md's. Made by agent/tests/access_table.rs.\n",
    );
    for (name, operation, methods) in operations() {
        let _ = write!(table, "\n{name} ({})\n", methods.join(", "));
        for (situation, facts) in situations() {
            let _ = writeln!(table, "  {situation:<33} {}", outcome(&facts, operation));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/access.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &table).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (have, want)) in table.lines().zip(golden.lines()).enumerate() {
        assert_eq!(have, want, "line {} of access.txt", number + 1);
    }
    assert_eq!(table.lines().count(), golden.lines().count(), "access.txt has all lines and no others");
}

#[test]
fn every_method_stands_in_the_table() {
    let named: Vec<&str> = operations().iter().flat_map(|(_, _, methods)| methods.iter().copied()).collect();
    for method in NAMES {
        assert!(named.contains(method) || UNDECIDED.contains(method), "{method} is not in the access table");
    }
    for method in named {
        assert!(NAMES.contains(&method), "{method} does not exist");
    }
}

#[test]
fn no_situation_without_a_viewer_grant_takes_a_code() {
    for (situation, facts) in situations() {
        let viewer = facts.grants.iter().any(|grant| grant.role == VaultRole::Viewer && grant.in_force(now()));
        if !viewer {
            assert!(decide(&facts, Operation::CodeRelease(account(1)), now()).is_err(), "{situation}");
        }
    }
}

#[test]
fn no_seeds_leave_a_frozen_vault_or_after_a_login_that_is_too_weak() {
    let gives = |operation: &Operation| {
        matches!(
            operation,
            Operation::CeremonyPropose { gives: true }
                | Operation::CeremonyConfirm { gives: true, .. }
                | Operation::CeremonyRun { gives: true, .. }
        )
    };
    for (name, operation, _) in operations().into_iter().filter(|(_, operation, _)| gives(operation)) {
        for (situation, facts) in situations() {
            if facts.vault.is_some_and(|vault| vault.frozen || vault.min_assurance > facts.assurance) {
                assert!(decide(&facts, operation, now()).is_err(), "{name}: {situation}");
            }
        }
    }
}
