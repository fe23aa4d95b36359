//! `strongroom audit who-could`: who held the right to take an account's code at a time, told by replaying exported logs, and who
//! took one. Needs neither agent nor token, and believes only folders that verify.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use strongroom_proto::audit::export::{
    LOG_FILE, OPENINGS_FILE, Pin, Verified, is_pruned_line, pruned_state, verify_folder,
};
use strongroom_proto::audit::record::{Record, RecordOutcome};
use strongroom_proto::audit::replay::{ClientVault, LogState, Office, Says};
use strongroom_proto::ids::{AccountId, IdentityId};

use super::super::context::Context;
use super::super::error::CliError;
use super::super::output::clean;
use super::super::when;
use super::verify::{pin, warn_unpinned};

/// `strongroom audit who-could`
#[derive(Debug, clap::Args)]
pub(in super::super) struct WhoCould {
    /// The exported log of the client
    #[arg(value_name = "DIR")]
    vault: PathBuf,
    /// The exported log of the organisation: it says who is who, and in which group
    #[arg(long, value_name = "DIR")]
    org: PathBuf,
    /// The account: its name or its id
    #[arg(long, value_name = "ACCOUNT")]
    account: String,
    /// When
    #[arg(long, value_name = "TIME", value_parser = when::timestamp)]
    at: Timestamp,
    /// How long before and after a code counts as taken then
    #[arg(long, value_name = "TIME", value_parser = when::duration, default_value = "60s")]
    within: std::time::Duration,
    /// The key that must have signed: SHA256:..., or a file with the public key
    #[arg(long, value_name = "PIN")]
    key: Option<PathBuf>,
}

/// `strongroom.who_could/1`: members are only ever added.
#[derive(Debug, Serialize)]
struct Body {
    account: AccountId,
    at: Timestamp,
    pinned: bool,
    could: Vec<Somebody>,
    did: Vec<Taken>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Somebody {
    identity: IdentityId,
    name: Option<String>,
}

#[derive(Debug, Serialize)]
struct Taken {
    #[serde(flatten)]
    who: Somebody,
    seq: u64,
    ts: Timestamp,
    outcome: RecordOutcome,
}

/// One opening, as far as it is asked for here.
#[derive(Deserialize)]
struct Named {
    seq: u64,
    field: String,
    value: String,
}

pub(super) fn who_could(context: &Context, arguments: &WhoCould) -> Result<(), CliError> {
    let pin = arguments.key.as_deref().map(pin).transpose()?;
    let (vault, org) = (verified(&arguments.vault, pin.as_ref())?, verified(&arguments.org, pin.as_ref())?);
    let (of_vault, of_org) = (vault.origin.as_str(), org.origin.as_str());
    let organisation = |origin: &str| origin.rsplit_once('/').map(|(before, _)| before.to_owned());
    if !of_org.ends_with("/org") || of_vault.ends_with("/org") || organisation(of_vault) != organisation(of_org) {
        return Err(CliError::usage("These are not a client's log and the log of the same organisation."));
    }
    if vault.last_at < Some(arguments.at) && org.last_at < Some(arguments.at) {
        return Err(CliError::failure("Both logs end before that time: export them anew."));
    }
    warn_unpinned(context, vault.pinned);
    let body = told(arguments, &vault, &org)?;
    let text = text(&body);
    context.out.answer("strongroom.who_could/1", body, &text)
}

fn verified(folder: &Path, pin: Option<&Pin>) -> Result<Verified, CliError> {
    verify_folder(folder, pin, None).map_err(|error| CliError::unverified(&error))
}

/// What the pruned records of a folder had said, if any were: then it must have been before the time that is asked about.
fn before(folder: &Path, verified: &Verified, at: Timestamp) -> Result<Option<Says>, CliError> {
    let state = pruned_state(folder, verified).map_err(|error| CliError::unverified(&error))?;
    match state {
        Some(LogState { last_at, .. }) if at < last_at => Err(CliError::failure(format!(
            "The records of {} from before {} were pruned: take an export from before.",
            verified.origin,
            when::utc(last_at)
        ))),
        state => Ok(state.map(|state| state.says)),
    }
}

fn told(arguments: &WhoCould, verified: &Verified, org: &Verified) -> Result<Body, CliError> {
    let at = arguments.at;
    let (vault, pinned) = (verified.origin.as_str(), verified.pinned);
    let office = before(&arguments.org, org, at)?.map_or_else(|| Some(Office::default()), Says::into_office);
    let mut office = office.ok_or_else(|| CliError::failure("The state in the folder is not of this log."))?;
    let mut people = BTreeMap::new();
    let unsaid = |error| CliError::caused("The log cannot be replayed", &error);
    let names = openings(&arguments.org, "target.name")?;
    for record in records(&arguments.org)? {
        let record = record?;
        if let (Some(identity), Some(name)) = (record.target.identity, names.get(&record.seq)) {
            people.insert(identity, name.clone());
        }
        if record.ts <= at {
            office.take(&record).map_err(unsaid)?;
        }
    }
    let id = vault.rsplit_once('/').and_then(|(_, id)| id.parse().ok());
    let begun = id.and_then(|id| office.vaults.get(&id));
    let begun = begun.ok_or_else(|| CliError::failure("The organisation had no such client then."))?;
    let names = openings(&arguments.vault, "account.name")?;
    let told = before(&arguments.vault, verified, at)?.map_or_else(|| Some(ClientVault::new(begun)), Says::into_vault);
    let mut told = told.ok_or_else(|| CliError::failure("The state in the folder is not of this log."))?;
    let mut account = arguments.account.parse::<AccountId>().ok();
    let margin = SignedDuration::try_from(arguments.within).unwrap_or(SignedDuration::ZERO);
    let somebody = |identity| Somebody { identity, name: people.get(&identity).cloned() };
    let mut releases = Vec::new();
    for record in records(&arguments.vault)? {
        let record = record?;
        if record.event == "account.create" && names.get(&record.seq) == Some(&arguments.account) && record.ts <= at {
            account = record.target.account;
        }
        let near = record.ts.duration_since(at).abs() <= margin;
        if record.event == "code.release" && near && record.outcome != RecordOutcome::Failed {
            releases.push(record.clone());
        }
        if record.ts <= at {
            told.take(&record).map_err(unsaid)?;
        }
    }
    let account = account.ok_or_else(|| {
        CliError::failure(format!("There was no account {} then.", clean(&arguments.account)))
            .hint("give its id if its name was erased or withheld, or the record of its making pruned")
    })?;
    let mut could: Vec<Somebody> = told.could_release(&office, account, at).into_iter().map(somebody).collect();
    could.sort_by(|one, other| (&one.name, one.identity).cmp(&(&other.name, other.identity)));
    let of_account = releases.into_iter().filter(|record| record.target.account == Some(account));
    let did = of_account.filter_map(|record| {
        let who = somebody(record.actor.as_ref()?.identity);
        Some(Taken { who, seq: record.seq, ts: record.ts, outcome: record.outcome })
    });
    Ok(Body { account, at, pinned, could, did: did.collect() })
}

/// The records of a folder that has been verified.
fn records(folder: &Path) -> Result<impl Iterator<Item = Result<Record, CliError>> + use<>, CliError> {
    let lines = lines(&folder.join(LOG_FILE))?;
    let lines = lines.filter(|line| !line.as_ref().is_ok_and(|line| is_pruned_line(line)));
    let read = |line: std::io::Result<String>| {
        let broken = || CliError::failure("The folder was changed while it was read.");
        serde_json::from_str(&line.map_err(|_| broken())?).map_err(|_| broken())
    };
    Ok(lines.map(read))
}

/// The values of one field by record; none if they are withheld.
fn openings(folder: &Path, field: &str) -> Result<BTreeMap<u64, String>, CliError> {
    let path = folder.join(OPENINGS_FILE);
    let mut values = BTreeMap::new();
    if path.exists() {
        for line in lines(&path)?.map_while(Result::ok) {
            if let Ok(named) = serde_json::from_str::<Named>(&line)
                && named.field == field
            {
                values.insert(named.seq, named.value);
            }
        }
    }
    Ok(values)
}

fn lines(path: &Path) -> Result<std::io::Lines<BufReader<File>>, CliError> {
    let file =
        File::open(path).map_err(|error| CliError::caused(&format!("cannot read {}", path.display()), &error))?;
    Ok(BufReader::new(file).lines())
}

fn text(body: &Body) -> String {
    let name = |somebody: &Somebody| clean(&somebody.name.clone().unwrap_or_else(|| somebody.identity.to_string()));
    let mut text =
        format!("{} people could take a code of {} at {}:\n", body.could.len(), body.account, when::utc(body.at));
    for somebody in &body.could {
        text.push_str(&format!("  {}\n", name(somebody)));
    }
    text.push_str("Hours, policies and limits may have kept some of them from it.\n");
    text.push_str(&format!("{} times somebody did, or was refused:\n", body.did.len()));
    for taken in &body.did {
        let refused = if taken.outcome == RecordOutcome::Ok { "" } else { "  REFUSED" };
        text.push_str(&format!("  {}  #{}  {}{refused}\n", when::utc(taken.ts), taken.seq, name(&taken.who)));
    }
    text
}
