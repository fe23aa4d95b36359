//! `strongroom policy`: the rules of a vault and of the organisation, as TOML.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use serde::de::DeserializeOwned;
use strongroom_proto::ids::{PendingId, Slug};
use strongroom_proto::method::policy::{Set, SetOrg, SetResult, Show, ShowOrg};
use strongroom_proto::policy::{Difference, OrgPolicy, VaultPolicy};

use super::context::Context;
use super::error::CliError;

/// Longest policy that is read, in bytes.
const FILE_LEN_MAX: u64 = 64 * 1024;
/// Every key at its default, with what it means.
const EXAMPLE: &str = include_str!("../../../proto/policy.example.toml");
/// For editors.
const SCHEMA: &str = include_str!("../../../proto/policy.schema.json");

/// `strongroom policy`
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Show a client's policy as TOML; without a client, the organisation's (admins and auditors)
    Show {
        /// Whose
        #[arg(value_name = "VAULT")]
        vault: Option<Slug>,
    },
    /// Put a policy in the place of a client's, or of the organisation's (admins)
    Set {
        /// Whose
        #[arg(value_name = "VAULT")]
        vault: Option<Slug>,
        /// The new policy, TOML; - is standard input
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Print an organisation's policy with every key at its default, and what each means
    Example,
    /// Print the JSON schema of an organisation's policy, for editors
    Schema,
}

/// `strongroom.policy_set/1`: members are only ever added.
#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vault: Option<&'a Slug>,
    dry_run: bool,
    in_force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<PendingId>,
    differences: &'a [Difference],
}

#[derive(Serialize)]
struct Policies<'a, P> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vault: Option<&'a Slug>,
    policy: &'a P,
}

pub(super) async fn policy(context: &Context, command: Policy) -> Result<(), CliError> {
    match command {
        Policy::Show { vault: Some(vault) } => {
            let shown = context.log_in().await?.call(&Show { vault: vault.clone() }).await?;
            let body = Policies { vault: Some(&vault), policy: &shown.policy };
            context.out.answer("strongroom.policy/1", body, &toml(&shown.policy)?)
        }
        Policy::Show { vault: None } => {
            let shown = context.log_in().await?.call(&ShowOrg {}).await?;
            let body = Policies { vault: None, policy: &shown.policy };
            context.out.answer("strongroom.policy/1", body, &toml(&shown.policy)?)
        }
        Policy::Set { vault: Some(vault), from, dry_run, yes } => {
            let policy: VaultPolicy = read(&from)?;
            policy.check().map_err(|flaw| CliError::usage(format!("{}: {flaw}.", from.display())))?;
            let mut client = context.log_in().await?;
            let replaces = client.call(&Show { vault: vault.clone() }).await?.policy;
            let call = Set { vault: vault.clone(), replaces, policy, dry_run: true };
            let rehearsed = client.call(&call).await?;
            if !goes_on(context, &rehearsed, dry_run, yes)? {
                return report(context, Some(&vault), &rehearsed, true);
            }
            let result = client.call(&Set { dry_run: false, ..call }).await?;
            report(context, Some(&vault), &result, false)
        }
        Policy::Set { vault: None, from, dry_run, yes } => {
            let policy: OrgPolicy = read(&from)?;
            policy.check().map_err(|flaw| CliError::usage(format!("{}: {flaw}.", from.display())))?;
            let mut client = context.log_in().await?;
            let replaces = client.call(&ShowOrg {}).await?.policy;
            let call = SetOrg { replaces, policy, dry_run: true };
            let rehearsed = client.call(&call).await?;
            if !goes_on(context, &rehearsed, dry_run, yes)? {
                return report(context, None, &rehearsed, true);
            }
            let result = client.call(&SetOrg { dry_run: false, ..call }).await?;
            report(context, None, &result, false)
        }
        Policy::Example => context.out.write(EXAMPLE),
        Policy::Schema => context.out.write(SCHEMA),
    }
}

fn toml<P: Serialize>(policy: &P) -> Result<String, CliError> {
    toml::to_string(policy).map_err(|error| CliError::caused("the policy cannot be written as TOML", &error))
}

fn read<P: DeserializeOwned>(path: &Path) -> Result<P, CliError> {
    let failed = |error: std::io::Error| CliError::caused(&format!("cannot read {}", path.display()), &error);
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().take(FILE_LEN_MAX).read_to_string(&mut text).map_err(failed)?;
    } else {
        std::fs::File::open(path).map_err(failed)?.take(FILE_LEN_MAX).read_to_string(&mut text).map_err(failed)?;
    }
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        CliError::usage(format!("{}:{line}: {}", path.display(), error.message()))
            .hint("strongroom policy example shows every key")
    })
}

/// Shows what would change and asks; false if it stays at the rehearsal.
fn goes_on(context: &Context, rehearsed: &SetResult, dry_run: bool, yes: bool) -> Result<bool, CliError> {
    if dry_run {
        return Ok(false);
    }
    if rehearsed.differences.is_empty() {
        return Err(CliError::failure("This is the policy already."));
    }
    context.out.say_lines(&lines(&rehearsed.differences));
    let consequence = if rehearsed.in_force {
        "The policy will change now."
    } else {
        "It allows more than before, so it will change once a second person has confirmed it."
    };
    context.confirm(yes, consequence)?;
    Ok(true)
}

fn report(context: &Context, vault: Option<&Slug>, result: &SetResult, dry_run: bool) -> Result<(), CliError> {
    let body = Outcome {
        vault,
        dry_run,
        in_force: result.in_force,
        pending: result.pending,
        differences: &result.differences,
    };
    let Some(receipt) = result.receipt.as_ref() else {
        let mut text = lines(&result.differences);
        if text.is_empty() {
            text = "Nothing would change.\n".to_owned();
        } else if !result.in_force {
            text.push_str("It allows more than before: a second person would have to confirm it.\n");
        }
        return context.out.answer("strongroom.policy_set/1", body, &text);
    };
    let whose = vault.map_or_else(|| "the organisation".to_owned(), ToString::to_string);
    let sentence = match result.pending {
        Some(pending) if !result.in_force => {
            format!("The new policy of {whose} waits for a second person: strongroom pending confirm {pending}")
        }
        _ => format!("Changed the policy of {whose}"),
    };
    context.out.changed("strongroom.policy_set/1", body, receipt, &sentence)
}

fn lines(differences: &[Difference]) -> String {
    differences.iter().map(|one| format!("{}\n", super::output::clean(&difference(one)))).collect()
}

/// One key that changes, for people.
pub(super) fn difference(one: &Difference) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let weaker = if one.weaker { "  (allows more)" } else { "" };
    format!("{}: {} -> {}{weaker}", one.key, value(&one.before), value(&one.after))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_example_shows_every_key_at_its_default() {
        let example: OrgPolicy = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(example, OrgPolicy::default());
        // What has no default stands behind a comment sign: taken away, it is read too.
        let lines: Vec<&str> = EXAMPLE.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).collect();
        let full: OrgPolicy = toml::from_str(&lines.join("\n")).unwrap();
        full.check().unwrap();
        let Value::Object(keys) = serde_json::to_value(&full).unwrap() else { panic!("an object") };
        assert_eq!(keys.len(), 6, "every key of the organisation is shown: {keys:?}");
        let Value::Object(keys) = &keys["vault"] else { panic!("an object") };
        assert_eq!(keys.len(), 11, "every key of a vault is shown: {keys:?}");
        check_schema(&serde_json::from_str(SCHEMA).unwrap(), &serde_json::to_value(&full).unwrap(), "");
    }

    /// The schema names the keys of a full policy and no others.
    fn check_schema(schema: &Value, value: &Value, path: &str) {
        let Value::Object(members) = value else { return };
        let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("{path} has no properties"));
        assert_eq!(schema["additionalProperties"], false, "{path}");
        let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
        let (mut known, mut found) = (names(properties), names(members));
        known.sort();
        found.sort();
        assert_eq!(known, found, "{path}");
        for (name, member) in members {
            check_schema(&properties[name], member, &format!("{path}.{name}"));
        }
    }

    #[test]
    fn a_policy_survives_its_toml() {
        let text = "min_assurance = \"hardware-touch\"\n[requests]\napprovals = 2\n[break_glass]\nlongest_min = 30\n";
        let policy: VaultPolicy = toml::from_str(text).unwrap();
        assert_eq!(toml::from_str::<VaultPolicy>(&toml(&policy).unwrap()).unwrap(), policy);
    }

    #[test]
    fn a_slip_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        std::fs::write(&path, "signed_release = true\n\n[requests]\naproval = 2\n").unwrap();
        let error = read::<VaultPolicy>(&path).unwrap_err();
        assert!(error.message.contains("policy.toml:4: unknown field `aproval`"), "{}", error.message);
    }
}
