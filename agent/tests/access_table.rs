//! The golden table of access: every operation in every situation, in a file that a reviewer can read. A change of a rule
//! shows as a changed line. Write it anew with `UPDATE_GOLDEN=1 cargo test -p strongroom-agent --test access_table`.

use std::fmt::Write as _;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use strongroom_agent::access::{Denial, Facts, GrantFact, Operation, Scope, VaultFacts, decide};
use strongroom_proto::ids::{AccountId, GrantId};
use strongroom_proto::method::NAMES;
use strongroom_proto::words::{Assurance, IdentityStatus, OrgRole, VaultRole};

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
    }
}

fn facts(roles: &[OrgRole], grants: Vec<GrantFact>) -> Facts {
    Facts {
        status: IdentityStatus::Active,
        key_active: true,
        roles: roles.to_vec(),
        assurance: Assurance::SoftwareKey,
        grants,
        vault: Some(VaultFacts { min_assurance: Assurance::SoftwareKey, frozen: false, destroyed: false }),
        sealed: false,
    }
}

fn situations() -> Vec<(&'static str, Facts)> {
    let viewer = || vec![grant(VaultRole::Viewer)];
    let limited = GrantFact { accounts: Some(vec![account(1)]), ..grant(VaultRole::Viewer) };
    let elsewhere = GrantFact { accounts: Some(vec![account(2)]), ..grant(VaultRole::Viewer) };
    let ended = GrantFact { until: Some(now()), ..grant(VaultRole::Viewer) };
    let coming = GrantFact { from: now() + SignedDuration::from_secs(1), ..grant(VaultRole::Viewer) };
    let strict = Some(VaultFacts { min_assurance: Assurance::HardwareTouch, frozen: false, destroyed: false });
    let frozen = Some(VaultFacts { min_assurance: Assurance::SoftwareKey, frozen: true, destroyed: false });
    let destroyed = Some(VaultFacts { min_assurance: Assurance::SoftwareKey, frozen: true, destroyed: true });
    vec![
        ("nobody here", facts(&[], vec![])),
        ("viewer", facts(&[], viewer())),
        ("viewer of this account", facts(&[], vec![limited])),
        ("viewer of another account", facts(&[], vec![elsewhere])),
        ("viewer until now", facts(&[], vec![ended])),
        ("viewer from tomorrow", facts(&[], vec![coming])),
        ("viewer, vault frozen", Facts { vault: frozen, ..facts(&[], viewer()) }),
        ("viewer, login too weak", Facts { vault: strict, ..facts(&[], viewer()) }),
        ("nobody here, vault sealed", Facts { sealed: true, ..facts(&[], vec![]) }),
        ("viewer, vault sealed", Facts { sealed: true, ..facts(&[], viewer()) }),
        ("viewer, suspended", Facts { status: IdentityStatus::Suspended, ..facts(&[], viewer()) }),
        ("viewer, revoked", Facts { status: IdentityStatus::Revoked, ..facts(&[], viewer()) }),
        ("viewer, key removed", Facts { key_active: false, ..facts(&[], viewer()) }),
        ("eligible", facts(&[], vec![grant(VaultRole::Eligible)])),
        ("manager", facts(&[], vec![grant(VaultRole::Manager)])),
        ("manager, vault frozen", Facts { vault: frozen, ..facts(&[], vec![grant(VaultRole::Manager)]) }),
        ("manager, login too weak", Facts { vault: strict, ..facts(&[], vec![grant(VaultRole::Manager)]) }),
        ("manager and viewer", facts(&[], vec![grant(VaultRole::Manager), grant(VaultRole::Viewer)])),
        ("vault auditor", facts(&[], vec![grant(VaultRole::Auditor)])),
        ("admin", facts(&[OrgRole::Admin], vec![])),
        ("admin, vault frozen", Facts { vault: frozen, ..facts(&[OrgRole::Admin], vec![]) }),
        ("admin, login too weak", Facts { vault: strict, ..facts(&[OrgRole::Admin], vec![]) }),
        ("admin and viewer", facts(&[OrgRole::Admin], viewer())),
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
        ("see the vault", O::VaultSee, &["vault.list", "account.list", "grant.list"]),
        ("make a vault", O::VaultCreate, &["vault.create"]),
        ("rename the vault", O::VaultRename, &["vault.rename"]),
        ("freeze", O::VaultFreeze, &["vault.freeze"]),
        ("thaw", O::VaultThaw, &["vault.thaw"]),
        ("see the account", O::AccountSee(account(1)), &["account.list", "account.show"]),
        ("import", O::AccountImport, &["account.import_begin", "account.import_rows", "account.import_commit"]),
        ("remove the account", O::AccountRemove(account(1)), &["account.remove"]),
        ("take a code", O::CodeRelease(account(1)), &["code.release"]),
        ("see all grants", O::GrantSee, &["grant.list"]),
        ("give viewer", O::GrantGive { role: VaultRole::Viewer, own: false }, &["grant.give"]),
        ("give viewer to oneself", O::GrantGive { role: VaultRole::Viewer, own: true }, &["grant.give"]),
        ("give eligible", O::GrantGive { role: VaultRole::Eligible, own: false }, &["grant.give"]),
        ("give manager", O::GrantGive { role: VaultRole::Manager, own: false }, &["grant.give"]),
        ("give manager to oneself", O::GrantGive { role: VaultRole::Manager, own: true }, &["grant.give"]),
        ("give auditor", O::GrantGive { role: VaultRole::Auditor, own: false }, &["grant.give"]),
        ("end a viewer's grant", O::GrantEnd { role: VaultRole::Viewer, own: false }, &["grant.end"]),
        ("end a manager's grant", O::GrantEnd { role: VaultRole::Manager, own: false }, &["grant.end"]),
        ("end one's own grant", O::GrantEnd { role: VaultRole::Viewer, own: true }, &["grant.end"]),
        ("read the trail", O::TrailRead, &["audit.read", "audit.leaves", "audit.checkpoint"]),
        ("export the trail", O::TrailExport, &["audit.export"]),
        ("read the org log", O::OrgTrailRead, &["audit.read", "audit.leaves", "audit.checkpoint", "audit.export"]),
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
        ("see all sessions", O::SessionSeeAll, &["session.list"]),
        ("end a session", O::SessionEnd { own: false }, &["session.end"]),
        ("end one's own session", O::SessionEnd { own: true }, &["session.end"]),
    ]
}

/// Methods that decide nothing: they make a session, or say what everybody may know.
const UNDECIDED: [&str; 5] = ["session.open", "session.prove", "session.challenge", "session.whoami", "agent.status"];

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
            let _ = writeln!(table, "  {situation:<29} {}", outcome(&facts, operation));
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
