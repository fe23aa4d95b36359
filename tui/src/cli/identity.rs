//! `strongroom identity`: people and scripts, and their keys.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;
use strongroom_proto::ids::{IdentityId, PendingId, Slug};
use strongroom_proto::login::attestation_challenge;
use strongroom_proto::method::identity::{self, Enrol, KeyAdd, KeyRemove, Resume, Revoke, Roles, Suspend, Update};
use strongroom_proto::policy::{Hours, ServiceLimits};
use strongroom_proto::words::{IdentityKind, OrgRole};

use super::context::Context;
use super::error::CliError;
use super::key_file::{read_attestation, read_public_key};
use super::output::table;
use super::pending::waits;
use super::report::identity_report;
use super::vault::words;
use super::when;

/// `strongroom identity`
#[derive(Debug, Subcommand)]
pub(super) enum Identity {
    /// Enrol a person or script with its first key (admins)
    Enrol {
        /// The new identity, for example jana
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// The display name
        #[arg(long)]
        name: String,
        /// The SSH public key
        #[arg(long, value_name = "FILE.pub")]
        key: PathBuf,
        /// Of a security key: the file that ssh-keygen -O write-attestation made (see identity challenge)
        #[arg(long, value_name = "FILE")]
        attestation: Option<PathBuf>,
        /// technician, contractor or service
        #[arg(long, default_value = "technician")]
        kind: IdentityKind,
        /// A role over the organisation: admin or auditor; may be repeated
        #[arg(long)]
        role: Vec<OrgRole>,
        #[command(flatten)]
        limits: Limits,
    },
    /// Print the challenge with which somebody's security key attests itself when it is made
    ///
    /// ssh-keygen -t ed25519-sk -O challenge=FILE -O write-attestation=FILE2, with exactly this text in FILE; then enrol the key
    /// with --attestation FILE2.
    Challenge {
        /// Whose key it is to be
        #[arg(value_name = "SLUG")]
        slug: Slug,
    },
    /// List identities
    #[command(name = "list", visible_alias = "ls")]
    List,
    /// Tell what somebody has, took, brought in and vouched for; it is recorded (admins, org auditors)
    Report {
        /// Whom
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// How far back codes and logins are looked for [default: 90]
        #[arg(long)]
        days: Option<u32>,
    },
    /// Change a display name, an end date or a script's limits (admins, not their own)
    Update {
        /// Whose
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// The display name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        limits: Limits,
    },
    /// Add or remove roles over the organisation; what is added waits for a second person (admins)
    Role {
        /// Whose
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// A role to add: admin or auditor; may be repeated
        #[arg(long, value_name = "ROLE")]
        add: Vec<OrgRole>,
        /// A role to remove; may be repeated
        #[arg(long, value_name = "ROLE")]
        remove: Vec<OrgRole>,
    },
    /// Let certificates of the MSP's own authority log somebody in; waits for a second person (admins, not their own)
    Certificates {
        /// Whose
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// What a certificate has to name, if not the slug; may be repeated
        #[arg(long, value_name = "PRINCIPAL", conflicts_with = "withdraw")]
        principal: Vec<String>,
        /// No certificate logs them in any more: at once
        #[arg(long)]
        withdraw: bool,
    },
    /// End all sessions of an identity and keep it from logging in until it is resumed (admins)
    Suspend {
        /// Whom
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// Why, for the record
        #[arg(short, long)]
        reason: String,
    },
    /// End a suspension, or the hold that a tripwire put somebody on (admins, not their own)
    Resume {
        /// Whom
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// Why, for the record
        #[arg(short, long)]
        reason: String,
    },
    /// Keys of an identity: add, rm
    #[command(subcommand)]
    Key(Key),
    /// End an identity for good: its sessions, grants and keys, at once (admins)
    Revoke {
        /// Whom
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// Why, for the record
        #[arg(short, long)]
        reason: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// When an identity ends, and what a script is held to.
#[derive(Debug, clap::Args)]
pub(super) struct Limits {
    /// When it ends by itself, for example 2027-01-31T17:00Z; a contractor's has to
    #[arg(long, value_name = "TIME", value_parser = when::timestamp)]
    until: Option<Timestamp>,
    /// Of a script: the user of the system that it runs as, by number
    #[arg(long, value_name = "NUMBER")]
    uid: Option<u32>,
    /// Of a script: codes that it may take in an hour
    #[arg(long, value_name = "NUMBER")]
    per_hour: Option<u32>,
    /// Of a script: when it may take codes, for example "mon-fri 08:00-18:00 Europe/Berlin"
    #[arg(long, value_name = "HOURS", value_parser = super::hours::hours)]
    hours: Option<Hours>,
}

impl Limits {
    /// A script's limits, if any was given.
    fn service(&self) -> Option<ServiceLimits> {
        let limits = ServiceLimits { uid: self.uid, releases_per_hour: self.per_hour, hours: self.hours.clone() };
        (limits != ServiceLimits::default()).then_some(limits)
    }
}

/// `strongroom identity key`
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Add a key (admins, not to themselves)
    Add {
        /// Whose
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// The SSH public key
        #[arg(value_name = "FILE.pub")]
        file: PathBuf,
        /// Of a security key: the file that ssh-keygen -O write-attestation made (see identity challenge)
        #[arg(long, value_name = "FILE")]
        attestation: Option<PathBuf>,
    },
    /// Remove a key; sessions opened with it end (admins, and everybody their own)
    #[command(name = "rm")]
    Remove {
        /// Whose
        #[arg(value_name = "SLUG")]
        slug: Slug,
        /// Which, as strongroom identity list shows it
        #[arg(value_name = "SHA256:...")]
        fingerprint: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Serialize)]
struct Enrolled<'a> {
    identity: &'a Slug,
    id: IdentityId,
    fingerprint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<PendingId>,
}

#[derive(Serialize)]
struct KeyAdded<'a> {
    identity: &'a Slug,
    fingerprint: &'a str,
    in_force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<PendingId>,
}

#[derive(Serialize)]
struct Touched<'a> {
    identity: &'a Slug,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<PendingId>,
}

#[derive(Serialize)]
struct Challenge<'a> {
    identity: &'a Slug,
    challenge: &'a str,
}

#[derive(Serialize)]
struct CertificatesChanged<'a> {
    identity: &'a Slug,
    in_force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<PendingId>,
    sessions: u64,
}

#[derive(Serialize)]
struct Suspended<'a> {
    identity: &'a Slug,
    sessions: u64,
    drained: bool,
}

#[derive(Serialize)]
struct KeyChanged<'a> {
    identity: &'a Slug,
    fingerprint: &'a str,
}

#[derive(Serialize)]
struct Revoked<'a> {
    identity: &'a Slug,
    sessions: u64,
    grants: u64,
    groups: u64,
    requests: u64,
    vaults: u64,
    rotate: u64,
    drained: bool,
}

pub(super) async fn identity(context: &Context, command: Identity) -> Result<(), CliError> {
    match command {
        Identity::Enrol { slug, name, key, attestation, kind, role, limits } => {
            let public_key = read_public_key(&key)?;
            let attestation = read_attestation(attestation.as_deref())?;
            let call = Enrol {
                identity: slug.clone(),
                name,
                kind,
                roles: role,
                public_key,
                attestation,
                until: limits.until,
                service: limits.service(),
            };
            let enrolled = context.log_in().await?.call(&call).await?;
            let fingerprint = &enrolled.fingerprint;
            let body = Enrolled { identity: &slug, id: enrolled.id, fingerprint, pending: enrolled.pending };
            let roles = match enrolled.pending {
                Some(pending) => format!("; roles: strongroom pending show {pending}"),
                None => String::new(),
            };
            let sentence = format!("Enrolled {slug} with key {fingerprint}{roles}");
            context.out.changed("strongroom.identity_enrolled/1", body, &enrolled.receipt, &sentence)
        }
        Identity::List => {
            let list = context.log_in().await?.call(&identity::List {}).await?;
            context.out.answer("strongroom.identities/1", &list, &text(&list.items, context.out.terminal))
        }
        Identity::Challenge { slug } => {
            let client = context.log_in().await?;
            let text = client.agent_fingerprint().map(|agent| attestation_challenge(agent, &slug)).unwrap_or_default();
            let body = Challenge { identity: &slug, challenge: &text };
            context.out.answer("strongroom.attestation_challenge/1", &body, &text)
        }
        Identity::Key(Key::Add { slug, file, attestation }) => {
            let public_key = read_public_key(&file)?;
            let attestation = read_attestation(attestation.as_deref())?;
            let call = KeyAdd { identity: slug.clone(), public_key, attestation };
            let added = context.log_in().await?.call(&call).await?;
            let fingerprint = &added.fingerprint;
            let (in_force, pending) = (added.in_force, added.pending);
            let body = KeyAdded { identity: &slug, fingerprint, in_force, pending };
            let sentence = waits(&format!("{slug} logs in with {fingerprint}"), in_force, pending);
            context.out.changed("strongroom.key_added/1", body, &added.receipt, &sentence)
        }
        Identity::Key(Key::Remove { slug, fingerprint, yes }) => {
            context.confirm(yes, &format!("{slug} can no longer log in with {fingerprint}."))?;
            let call = KeyRemove { identity: slug.clone(), fingerprint: fingerprint.clone() };
            let changed = context.log_in().await?.call(&call).await?;
            let body = KeyChanged { identity: &slug, fingerprint: &fingerprint };
            let sentence = format!("Removed key {fingerprint} from {slug}");
            context.out.changed("strongroom.key_removed/1", body, &changed.receipt, &sentence)
        }
        Identity::Revoke { slug, reason, yes } => revoke(context, &slug, reason, yes).await,
        Identity::Update { slug, name, limits } => {
            let call = Update { identity: slug.clone(), name, until: limits.until, service: limits.service() };
            let changed = context.log_in().await?.call(&call).await?;
            let body = Touched { identity: &slug, pending: None };
            let sentence = format!("Changed {slug}");
            context.out.changed("strongroom.identity_updated/1", body, &changed.receipt, &sentence)
        }
        Identity::Role { slug, add, remove } => {
            let gained = !add.is_empty();
            let call = Roles { identity: slug.clone(), add, remove };
            let changed = context.log_in().await?.call(&call).await?;
            let body = Touched { identity: &slug, pending: changed.pending };
            let sentence = match changed.pending.filter(|_| gained) {
                Some(pending) => {
                    format!("Changed the roles of {slug}; what is added: strongroom pending show {pending}")
                }
                None => format!("Changed the roles of {slug}"),
            };
            context.out.changed("strongroom.roles_changed/1", body, &changed.receipt, &sentence)
        }
        Identity::Certificates { slug, principal, withdraw } => {
            let principals = (!withdraw).then_some(principal);
            let call = identity::Certificates { identity: slug.clone(), principals };
            let changed = context.log_in().await?.call(&call).await?;
            let (in_force, pending, sessions) = (changed.in_force, changed.pending, changed.sessions);
            let body = CertificatesChanged { identity: &slug, in_force, pending, sessions };
            let sentence = if withdraw {
                format!("No certificate logs {slug} in any more: ended {sessions} sessions")
            } else {
                waits(&format!("{slug} logs in by certificate"), in_force, pending)
            };
            context.out.changed("strongroom.certificates_changed/1", body, &changed.receipt, &sentence)
        }
        Identity::Suspend { slug, reason } => suspend(context, &slug, reason).await,
        Identity::Report { slug, days } => identity_report(context, slug, days).await,
        Identity::Resume { slug, reason } => {
            let changed = context.log_in().await?.call(&Resume { identity: slug.clone(), reason }).await?;
            let body = Touched { identity: &slug, pending: None };
            let sentence = format!("{slug} may act again");
            context.out.changed("strongroom.identity_resumed/1", body, &changed.receipt, &sentence)
        }
    }
}

async fn revoke(context: &Context, slug: &Slug, reason: String, yes: bool) -> Result<(), CliError> {
    context.confirm(yes, &format!("{slug} will lose all sessions, grants and keys for good."))?;
    let revoked = context.log_in().await?.call(&Revoke { identity: slug.clone(), reason }).await?;
    let identity::Revoked { sessions, grants, groups, requests, vaults, rotate, drained, receipt } = revoked;
    if !drained {
        context.out.say("A client of theirs has not read its last reply yet: a code in it can still be used.");
    }
    let body = Revoked { identity: slug, sessions, grants, groups, requests, vaults, rotate, drained };
    let sentence = format!("Revoked {slug}: ended {sessions} sessions and {grants} grants in {vaults} vaults");
    if rotate > 0 {
        context.out.say(&format!("They knew {rotate} seeds, which should be replaced: strongroom rotation ls"));
    }
    context.out.changed("strongroom.identity_revoked/1", body, &receipt, &sentence)
}

async fn suspend(context: &Context, slug: &Slug, reason: String) -> Result<(), CliError> {
    let suspended = context.log_in().await?.call(&Suspend { identity: slug.clone(), reason }).await?;
    let (sessions, drained) = (suspended.sessions, suspended.drained);
    if !drained {
        context.out.say("A client of theirs has not read its last reply yet: a code in it can still be used.");
    }
    let body = Suspended { identity: slug, sessions, drained };
    let sentence = format!("Suspended {slug}: ended {sessions} sessions");
    context.out.changed("strongroom.identity_suspended/1", body, &suspended.receipt, &sentence)
}

fn text(items: &[identity::Item], terminal: bool) -> String {
    let mut rows = Vec::new();
    for item in items {
        let last_login = item.last_login.map_or_else(|| "never".to_owned(), when::utc);
        let who = [
            item.identity.to_string(),
            item.name.clone(),
            item.kind.to_string(),
            item.status.to_string(),
            if item.roles.is_empty() { "-".to_owned() } else { words(&item.roles) },
            last_login,
            item.until.map_or_else(|| "-".to_owned(), when::utc),
        ];
        let shown = |key: &identity::Key| {
            let waits = if key.confirmed { "" } else { " (waits)" };
            format!("{}{waits}", key.fingerprint)
        };
        let mut keys: Vec<String> = item.keys.iter().filter(|key| key.active).map(shown).collect();
        if let Some(principals) = &item.principals {
            keys.push(format!("certificates for {}", principals.join(", ")));
        }
        if keys.is_empty() {
            keys.push("-".to_owned());
        }
        rows.extend(keys.into_iter().map(|key| who.iter().cloned().chain([key]).collect()));
    }
    table(&["IDENTITY", "NAME", "KIND", "STATUS", "ROLES", "LAST LOGIN", "UNTIL", "KEY"], &rows, terminal)
}
