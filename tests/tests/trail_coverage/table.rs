//! What each method leaves in the logs. A new method does not pass without a line in both tables.

/// A log: of the organisation, or of the vault that the call was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Log {
    Org,
    Vault,
}

use Log::{Org, Vault};

/// What a successful call leaves, in the order of each log: exactly this.
pub(crate) struct Line {
    pub(crate) method: &'static str,
    /// Which of several ways in which the method succeeds; empty if there is one.
    pub(crate) case: &'static str,
    pub(crate) leaves: &'static [(Log, &'static str)],
    /// Why it leaves nothing; empty if it does not.
    pub(crate) silent: &'static str,
}

const fn leaves(method: &'static str, leaves: &'static [(Log, &'static str)]) -> Line {
    Line { method, case: "", leaves, silent: "" }
}

const fn case(method: &'static str, case: &'static str, leaves: &'static [(Log, &'static str)]) -> Line {
    Line { method, case, leaves, silent: "" }
}

const fn silent(method: &'static str, why: &'static str) -> Line {
    Line { method, case: "", leaves: &[], silent: why }
}

const LIST: &str = "a list tells what the caller may see anyway; an answer with a secret is never a list";
const SHOW: &str = "shows no secret; that somebody was refused is recorded";
const STEP: &str = "a step towards a call that is recorded";

/// Successes.
pub(crate) const LINES: &[Line] = &[
    silent("session.open", "nobody is there yet: whoever proves who they are is recorded"),
    leaves("session.prove", &[(Org, "session.login")]),
    silent("session.challenge", STEP),
    silent("session.whoami", LIST),
    silent("session.list", LIST),
    leaves("session.end", &[(Org, "session.end")]),
    silent("vault.list", LIST),
    leaves("vault.create", &[(Org, "vault.create"), (Vault, "log.open")]),
    leaves("vault.rename", &[(Org, "vault.rename")]),
    leaves("vault.freeze", &[(Vault, "vault.freeze")]),
    leaves("vault.thaw", &[(Vault, "vault.thaw")]),
    silent("account.list", LIST),
    silent("account.show", SHOW),
    silent("account.import_begin", STEP),
    silent("account.import_rows", STEP),
    leaves("account.import_commit", &[(Vault, "account.create"), (Vault, "account.create"), (Vault, "account.import")]),
    case("account.import_commit", "replace", &[(Vault, "account.replace"), (Vault, "account.import")]),
    leaves("account.remove", &[(Vault, "account.remove")]),
    leaves("code.release", &[(Vault, "code.release")]),
    silent("grant.list", LIST),
    leaves("grant.give", &[(Org, "identity.vet"), (Vault, "grant.give")]),
    leaves("grant.end", &[(Vault, "grant.end")]),
    silent("identity.list", LIST),
    leaves("identity.enrol", &[(Org, "identity.enrol")]),
    leaves("identity.key_add", &[(Org, "identity.key_add")]),
    leaves("identity.key_remove", &[(Org, "identity.key_remove")]),
    leaves(
        "identity.revoke",
        &[
            (Org, "identity.revoke"),
            (Org, "session.end"),
            (Org, "session.end"),
            (Vault, "grant.end"),
            (Vault, "pending.reject"),
            (Vault, "rotation.due"),
        ],
    ),
    leaves("identity.update", &[(Org, "identity.update")]),
    leaves("identity.roles", &[(Org, "identity.roles")]),
    leaves("identity.certificates", &[(Org, "identity.certificates")]),
    leaves("identity.suspend", &[(Org, "identity.suspend"), (Org, "session.end")]),
    leaves("identity.resume", &[(Org, "identity.resume")]),
    leaves("identity.report", &[(Org, "identity.report")]),
    silent("group.list", LIST),
    leaves("group.create", &[(Org, "group.create")]),
    leaves("group.remove", &[(Org, "group.remove")]),
    leaves("group.member_add", &[(Org, "group.member_add")]),
    leaves("group.member_remove", &[(Org, "group.member_remove")]),
    leaves("request.make", &[(Vault, "request.make")]),
    case("request.make", "break-glass", &[(Vault, "grant.give"), (Vault, "request.break_glass")]),
    silent("request.list", LIST),
    silent("request.show", SHOW),
    leaves("request.approve", &[(Vault, "grant.give"), (Vault, "request.approve")]),
    leaves("request.deny", &[(Vault, "request.deny")]),
    leaves("request.cancel", &[(Vault, "request.cancel")]),
    case("request.cancel", "given back", &[(Vault, "grant.end")]),
    leaves("request.review", &[(Vault, "request.review")]),
    leaves("review.start", &[(Org, "review.start")]),
    silent("review.list", LIST),
    silent("review.show", SHOW),
    leaves("review.decide", &[(Vault, "review.keep")]),
    case("review.decide", "end", &[(Vault, "grant.end")]),
    leaves("review.close", &[(Org, "review.close"), (Org, "review.result"), (Vault, "review.result")]),
    leaves("canary.set", &[(Org, "canary.set")]),
    leaves("canary.clear", &[(Org, "canary.clear")]),
    silent("canary.list", LIST),
    silent("rotation.list", LIST),
    leaves("rotation.dismiss", &[(Vault, "rotation.dismiss")]),
    leaves("alert.list", &[(Vault, "alert.seen")]),
    Line {
        method: "alert.list",
        case: "again",
        leaves: &[],
        silent: "who has been told is told once more without a record",
    },
    leaves("alert.ack", &[(Vault, "alert.ack")]),
    leaves(
        "incident.open",
        &[(Org, "incident.open"), (Org, "identity.suspend"), (Org, "session.end"), (Vault, "vault.freeze")],
    ),
    silent("incident.list", LIST),
    silent("incident.show", SHOW),
    leaves(
        "incident.close",
        &[(Org, "identity.resume"), (Org, "incident.close"), (Vault, "vault.thaw"), (Vault, "incident.rotate")],
    ),
    silent("pending.list", LIST),
    silent("pending.show", SHOW),
    leaves("pending.confirm", &[(Vault, "pending.confirm")]),
    leaves("pending.reject", &[(Org, "pending.reject")]),
    silent("policy.show", SHOW),
    leaves("policy.set", &[(Vault, "policy.set")]),
    silent("policy.show_org", SHOW),
    leaves("policy.set_org", &[(Org, "policy.set")]),
    leaves("ceremony.propose", &[(Vault, "ceremony.propose")]),
    silent("ceremony.list", LIST),
    silent("ceremony.show", SHOW),
    leaves("ceremony.confirm", &[(Vault, "ceremony.confirm")]),
    leaves("ceremony.cancel", &[(Vault, "ceremony.cancel")]),
    leaves(
        "ceremony.run",
        &[
            (Vault, "ceremony.run"),
            (Vault, "ceremony.run"),
            (Vault, "vault.key_create"),
            (Vault, "vault.reseal"),
            (Vault, "vault.key_retire"),
            (Vault, "vault.rotate_key"),
        ],
    ),
    leaves("audit.read", &[(Vault, "audit.read")]),
    leaves("audit.search", &[(Vault, "audit.read")]),
    leaves("audit.erase", &[(Org, "audit.erase")]),
    silent("audit.leaves", "hashes tell nothing of what was recorded"),
    silent("audit.checkpoint", "a size and a root tell nothing of what was recorded"),
    silent("audit.snapshot", "a log whose records are all there has none"),
    leaves("audit.export", &[(Vault, "audit.export")]),
    silent("agent.status", "anybody may ask whether the agent is well"),
];

/// What a refused call leaves: one record with the outcome `denied`, or nothing.
pub(crate) enum Refused {
    /// A denial in this log, under this event.
    Denied(Log, &'static str),
    /// Nothing, because.
    Nothing(&'static str),
    /// It is not refused, because.
    Allowed(&'static str),
}

use Refused::{Allowed, Denied, Nothing};

/// A method that somebody calls without the right to it: a viewer of the vault, and somebody who may not know of it.
pub(crate) struct Refusal {
    pub(crate) method: &'static str,
    pub(crate) viewer: Refused,
    pub(crate) stranger: Refused,
}

/// In the vault's log for who may know the vault, else in the org log.
const fn vault(method: &'static str, event: &'static str) -> Refusal {
    Refusal { method, viewer: Denied(Vault, event), stranger: Denied(Org, event) }
}

/// In the org log for everybody.
const fn org(method: &'static str, event: &'static str) -> Refusal {
    Refusal { method, viewer: Denied(Org, event), stranger: Denied(Org, event) }
}

const fn nothing(method: &'static str, why: &'static str) -> Refusal {
    Refusal { method, viewer: Nothing(why), stranger: Nothing(why) }
}

const LISTS: &str = "refusals of lists leave no record: a list leaves out what must not be seen";
const OPEN: &str = "nobody with a session is refused";

/// Refusals.
pub(crate) const REFUSALS: &[Refusal] = &[
    nothing("session.open", "who it is shows at session.prove"),
    org("session.prove", "session.login"),
    nothing("session.challenge", OPEN),
    nothing("session.whoami", OPEN),
    nothing("session.list", OPEN),
    org("session.end", "session.end"),
    nothing("vault.list", OPEN),
    org("vault.create", "vault.create"),
    vault("vault.rename", "vault.rename"),
    vault("vault.freeze", "vault.freeze"),
    vault("vault.thaw", "vault.thaw"),
    nothing("account.list", LISTS),
    // A viewer sees every account of the vault: what they are refused does not exist.
    org("account.show", "account.show"),
    vault("account.import_begin", "account.import"),
    nothing("account.import_rows", "an import is known to the connection that began it alone"),
    nothing("account.import_commit", "an import is known to the connection that began it alone"),
    vault("account.remove", "account.remove"),
    vault("code.release", "code.release"),
    nothing("grant.list", LISTS),
    vault("grant.give", "grant.give"),
    vault("grant.end", "grant.end"),
    nothing("identity.list", OPEN),
    org("identity.enrol", "identity.enrol"),
    org("identity.key_add", "identity.key_add"),
    org("identity.key_remove", "identity.key_remove"),
    org("identity.revoke", "identity.revoke"),
    org("identity.update", "identity.update"),
    org("identity.roles", "identity.roles"),
    org("identity.certificates", "identity.certificates"),
    org("identity.suspend", "identity.suspend"),
    org("identity.resume", "identity.resume"),
    org("identity.report", "identity.report"),
    nothing("group.list", OPEN),
    org("group.create", "group.create"),
    org("group.remove", "group.remove"),
    org("group.member_add", "group.member_add"),
    org("group.member_remove", "group.member_remove"),
    Refusal {
        method: "request.make",
        viewer: Nothing("who has the access already is told so"),
        stranger: Denied(Org, "request.make"),
    },
    nothing("request.list", LISTS),
    org("request.show", "request.show"),
    vault("request.approve", "request.approve"),
    vault("request.deny", "request.deny"),
    // Others' requests do not exist for who wants to take one back.
    org("request.cancel", "request.cancel"),
    vault("request.review", "request.review"),
    org("review.start", "review.start"),
    nothing("review.list", OPEN),
    vault("review.show", "review.show"),
    vault("review.decide", "review.decide"),
    org("review.close", "review.close"),
    org("canary.set", "canary.set"),
    org("canary.clear", "canary.clear"),
    nothing("canary.list", OPEN),
    nothing("rotation.list", LISTS),
    vault("rotation.dismiss", "rotation.dismiss"),
    nothing("alert.list", LISTS),
    vault("alert.ack", "alert.ack"),
    org("incident.open", "incident.open"),
    nothing("incident.list", OPEN),
    org("incident.show", "incident.show"),
    org("incident.close", "incident.close"),
    nothing("pending.list", OPEN),
    org("pending.show", "pending.show"),
    vault("pending.confirm", "pending.confirm"),
    vault("pending.reject", "pending.reject"),
    Refusal {
        method: "policy.show",
        viewer: Allowed("everybody who sees the vault sees its rules"),
        stranger: Denied(Org, "policy.show"),
    },
    vault("policy.set", "policy.set"),
    org("policy.show_org", "policy.show_org"),
    org("policy.set_org", "policy.set"),
    vault("ceremony.propose", "ceremony.propose"),
    nothing("ceremony.list", LISTS),
    vault("ceremony.show", "ceremony.show"),
    vault("ceremony.confirm", "ceremony.confirm"),
    vault("ceremony.cancel", "ceremony.cancel"),
    vault("ceremony.run", "ceremony.run"),
    Refusal {
        method: "audit.read",
        viewer: Allowed("a viewer reads the trail of the accounts"),
        stranger: Denied(Org, "audit.read"),
    },
    Refusal {
        method: "audit.search",
        viewer: Allowed("a viewer searches the trail of the accounts"),
        stranger: Denied(Org, "audit.read"),
    },
    org("audit.erase", "audit.erase"),
    Refusal {
        method: "audit.leaves",
        viewer: Allowed("a viewer may check the tree"),
        stranger: Denied(Org, "audit.read"),
    },
    Refusal {
        method: "audit.checkpoint",
        viewer: Allowed("a viewer may check the tree"),
        stranger: Denied(Org, "audit.read"),
    },
    vault("audit.snapshot", "audit.read"),
    vault("audit.export", "audit.export"),
    nothing("agent.status", OPEN),
];
