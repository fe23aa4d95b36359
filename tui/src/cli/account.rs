//! `strongroom account add` and `rm`. A secret comes from a masked prompt or from standard input, never from an argument
//! or a variable: both are readable by others and end up in histories.

use std::io::Read as _;

use serde::Serialize;
use strongroom_proto::ids::AccountAddress;
use strongroom_proto::method::account::{DIGITS_MAX, DIGITS_MIN, PERIOD_S_MAX, Remove as RemoveCall, STEAM_DIGITS};
use strongroom_proto::words::{Algorithm, OtpKind};
use zeroize::Zeroizing;

use super::context::Context;
use super::error::CliError;
use super::rows;
use crate::import::{Candidate, DIGITS_DEFAULT, LINE_LEN_MAX, PERIOD_S_DEFAULT, parse_secret, parse_uri};
use crate::login::ask_hidden;

/// `strongroom account add`
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// The new account, for example acme/m365-admin
    #[arg(value_name = "VAULT/SLUG")]
    account: AccountAddress,
    /// Read the secret from standard input instead of asking; base32 or a whole otpauth:// URI
    #[arg(long)]
    secret_stdin: bool,
    /// Who asks for the code, for example Microsoft
    #[arg(long)]
    issuer: Option<String>,
    /// The login it belongs to, for example admin@acme.example
    #[arg(long)]
    label: Option<String>,
    /// totp, hotp or steam [default: totp]
    #[arg(long)]
    kind: Option<OtpKind>,
    /// Digits of a code, 6 to 10 [default: 6]
    #[arg(long, value_parser = clap::value_parser!(u8).range(i64::from(DIGITS_MIN)..=i64::from(DIGITS_MAX)))]
    digits: Option<u8>,
    /// Seconds of a window [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=i64::from(PERIOD_S_MAX)))]
    period: Option<u32>,
    /// SHA1, SHA256 or SHA512 [default: SHA1]
    #[arg(long)]
    algorithm: Option<Algorithm>,
    /// The next counter; needed for hotp
    #[arg(long)]
    counter: Option<u64>,
    /// Give an account that exists this new seed: it keeps grants and history
    #[arg(long)]
    replace: bool,
}

/// `strongroom account rm`
#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// Which account
    #[arg(value_name = "CLIENT/ACCOUNT")]
    account: AccountAddress,
    /// Why, for the record
    #[arg(short, long)]
    reason: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Account<'a> {
    account: &'a AccountAddress,
}

pub(super) async fn add(context: &Context, arguments: Add) -> Result<(), CliError> {
    let secret = read_secret(context, arguments.secret_stdin)?;
    let candidate = candidate(&arguments, secret.trim())?;
    drop(secret);
    for note in &candidate.notes {
        context.out.say(&format!("note: {note}"));
    }
    let mut client = context.log_in().await?;
    let row = rows::row(&candidate, arguments.account.account.clone());
    let imported = rows::import(&mut client, &arguments.account.vault, "manual", arguments.replace, vec![row]).await?;
    let account = &arguments.account;
    context.out.changed(
        "strongroom.account_added/1",
        Account { account },
        &imported.receipt,
        &format!("Added {account}"),
    )
}

pub(super) async fn remove(context: &Context, arguments: Remove) -> Result<(), CliError> {
    let account = &arguments.account;
    let consequence = format!("{account} and its sealed seed will be removed for good.");
    context.confirm(arguments.yes, &consequence)?;
    let mut client = context.log_in().await?;
    let changed = client.call(&RemoveCall { account: account.clone(), reason: arguments.reason.clone() }).await?;
    context.out.changed(
        "strongroom.account_removed/1",
        Account { account },
        &changed.receipt,
        &format!("Removed {account}"),
    )
}

fn read_secret(context: &Context, from_stdin: bool) -> Result<Zeroizing<String>, CliError> {
    if from_stdin {
        let mut text = Zeroizing::new(String::with_capacity(LINE_LEN_MAX + 64));
        std::io::stdin()
            .lock()
            .take(LINE_LEN_MAX as u64 + 1)
            .read_to_string(&mut text)
            .map_err(|_| CliError::failure("The secret on standard input cannot be read as text."))?;
        return if text.len() > LINE_LEN_MAX {
            Err(CliError::failure("The secret on standard input is longer than 4 KiB."))
        } else {
            Ok(text)
        };
    }
    if !context.may_ask() {
        return Err(CliError::usage("There is no terminal to ask for the secret.").hint("use --secret-stdin"));
    }
    ask_hidden("Secret (base32 or otpauth:// URI, not shown): ").map_err(|error| {
        match error.kind() {
            // The prompt takes Ctrl-C as a key.
            std::io::ErrorKind::Interrupted => CliError::cancelled(),
            _ => CliError::caused("cannot read the secret", &error),
        }
    })
}

/// Makes the account out of secret and flags; a URI brings its own parameters and leaves only names to the flags.
fn candidate(arguments: &Add, secret: &str) -> Result<Candidate, CliError> {
    let refused = |problem| CliError::caused("Nothing was added", &problem);
    let named = |text: &Option<String>| text.as_deref().map(crate::import::name).transpose().map_err(refused);
    let (issuer, label) = (named(&arguments.issuer)?, named(&arguments.label)?);
    if secret.contains("://") {
        let Add { kind, digits, period, algorithm, counter, .. } = arguments;
        if kind.is_some() || digits.is_some() || period.is_some() || algorithm.is_some() || counter.is_some() {
            return Err(CliError::usage("A URI brings its own kind, digits, period, algorithm and counter.")
                .hint("leave those flags out"));
        }
        let mut candidate = parse_uri(secret).map_err(refused)?;
        candidate.issuer = issuer.unwrap_or(candidate.issuer);
        candidate.label = label.unwrap_or(candidate.label);
        return Ok(candidate);
    }
    let kind = arguments.kind.unwrap_or(OtpKind::Totp);
    let unfit = match kind {
        OtpKind::Hotp if arguments.counter.is_none() => Some("An HOTP account needs --counter, its next counter."),
        OtpKind::Hotp if arguments.period.is_some() => Some("An HOTP account has no period."),
        OtpKind::Totp | OtpKind::Steam if arguments.counter.is_some() => Some("Only an HOTP account has a counter."),
        OtpKind::Steam if arguments.digits.is_some() => Some("Steam codes always have 5 characters."),
        OtpKind::Steam if arguments.algorithm.is_some_and(|algorithm| algorithm != Algorithm::Sha1) => {
            Some("Steam codes are made with SHA1 only.")
        }
        _ => None,
    };
    if let Some(sentence) = unfit {
        return Err(CliError::usage(sentence));
    }
    let (seed, notes) = parse_secret(secret).map_err(refused)?;
    Ok(Candidate {
        line: 1,
        issuer: issuer.unwrap_or_default(),
        label: label.unwrap_or_default(),
        kind,
        algorithm: arguments.algorithm.unwrap_or(Algorithm::Sha1),
        digits: if kind == OtpKind::Steam { STEAM_DIGITS } else { arguments.digits.unwrap_or(DIGITS_DEFAULT) },
        period_s: if kind == OtpKind::Hotp { 0 } else { arguments.period.unwrap_or(PERIOD_S_DEFAULT) },
        counter: arguments.counter.unwrap_or_default(),
        seed,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        add: Add,
    }

    fn add(flags: &str, secret: &str) -> Result<Candidate, CliError> {
        let words = std::iter::once("add").chain(std::iter::once("acme/x")).chain(flags.split_whitespace());
        candidate(&<Line as clap::Parser>::try_parse_from(words).unwrap().add, secret)
    }

    #[test]
    fn a_bare_secret_takes_its_parameters_from_the_flags() {
        let plain = add("", SECRET).ok().unwrap();
        assert_eq!((plain.kind, plain.digits, plain.period_s), (OtpKind::Totp, 6, 30));
        assert_eq!(plain.seed.as_slice(), b"12345678901234567890");
        let hotp = add("--kind hotp --counter 9 --digits 8 --issuer VPN", SECRET).ok().unwrap();
        assert_eq!((hotp.kind, hotp.digits, hotp.period_s, hotp.counter), (OtpKind::Hotp, 8, 0, 9));
        assert_eq!(hotp.issuer, "VPN");
        let steam = add("--kind steam", SECRET).ok().unwrap();
        assert_eq!((steam.digits, steam.period_s), (5, 30));
    }

    #[test]
    fn a_uri_brings_its_own_parameters() {
        let uri = format!("otpauth://totp/ACME:bob?secret={SECRET}&digits=8");
        let read = add("--label jana", &uri).ok().unwrap();
        assert_eq!((read.digits, read.issuer.as_str(), read.label.as_str()), (8, "ACME", "jana"));
        assert_eq!(add("--digits 6", &uri).err().unwrap().code, 2);
    }

    #[test]
    fn flags_that_contradict_each_other_are_usage_errors() {
        for flags in [
            "--kind hotp",
            "--kind hotp --counter 1 --period 30",
            "--counter 1",
            "--kind steam --digits 6",
            "--kind steam --algorithm SHA256",
        ] {
            assert_eq!(add(flags, SECRET).err().unwrap().code, 2, "{flags}");
        }
    }

    #[test]
    fn a_refused_secret_is_not_echoed() {
        let error = add("", "GEZDGNBVGY3TQOJ0GEZDGNBVGY3TQOJQ").err().unwrap();
        assert!(!error.message.contains("GEZDGNBV"), "{}", error.message);
        assert!(error.message.contains("character 16"), "{}", error.message);
    }
}
