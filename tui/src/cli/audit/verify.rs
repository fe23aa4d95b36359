//! `strongroom audit verify`: an exported folder, offline. Settings play no part: the pin comes from the command line
//! alone, because a reader must know what they pinned.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use strongroom_proto::audit::export::{Pin, Signatures, Signers, Verified, verify_folder, verify_signatures};
use strongroom_proto::audit::pruned::Pruned;
use strongroom_proto::audit::witness::WitnessKey;

use super::super::context::Context;
use super::super::error::CliError;
use super::super::output::clean;
use super::super::when;
use super::prove;

/// Longest file with a key or a checkpoint, in bytes.
const SHORT_FILE_LEN_MAX: u64 = 16 * 1024;
/// Longest list of signers, in bytes: some thousand keys.
const SIGNERS_LEN_MAX: u64 = 4 * 1024 * 1024;

/// `strongroom audit verify`
#[derive(Debug, clap::Args)]
pub(in super::super) struct Verify {
    /// The exported folder, or that of one record
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The key that must have signed: SHA256:..., or a file with the public key
    #[arg(long, value_name = "PIN")]
    key: Option<PathBuf>,
    /// A checkpoint kept from before: the log must have grown from it
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// The key of a witness that must have signed a checkpoint of this log, NAME+ID+BASE64; may be given again
    #[arg(long, value_name = "KEY")]
    witness: Vec<String>,
    /// Check every signature that technicians made over their calls too
    #[arg(long)]
    signatures: bool,
    /// The public keys that may have signed calls, one a line (.pub, authorized_keys or allowed_signers)
    #[arg(long, value_name = "FILE", requires = "signatures")]
    signers: Option<PathBuf>,
    /// An older key of the agent that calls were signed for: SHA256:..., or a file; may be given again
    #[arg(long, value_name = "PIN", requires = "signatures")]
    agent_key: Vec<PathBuf>,
}

/// `strongroom.verified/1`: members are only ever added.
#[derive(Serialize)]
struct Body {
    log: String,
    size: u64,
    root: String,
    key: String,
    pinned: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pinned_by_way_of: Vec<String>,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
    older_checkpoints: usize,
    opened: u64,
    withheld: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pruned: Option<Pruned>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signatures: Option<SignaturesBody>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    witnesses: Vec<WitnessBody>,
}

#[derive(Serialize)]
struct WitnessBody {
    name: String,
    size: u64,
    at: Timestamp,
}

#[derive(Serialize)]
struct SignaturesBody {
    proved: u64,
    digest_only: u64,
    withheld: u64,
    unsigned_releases: u64,
    signers_given: bool,
    keys: BTreeMap<String, u64>,
}

pub(super) fn verify(context: &Context, arguments: &Verify) -> Result<(), CliError> {
    let pin = arguments.key.as_deref().map(pin).transpose()?;
    let witnesses = arguments.witness.iter().map(|text| {
        WitnessKey::parse(text).map_err(|error| CliError::usage(format!("The witness's key is none: {error}.")))
    });
    let witnesses: Vec<WitnessKey> = witnesses.collect::<Result<_, _>>()?;
    if prove::is_proof(&arguments.folder) {
        if arguments.against.is_some() || arguments.signatures || !arguments.witness.is_empty() {
            let what = "--against, --signatures and --witness are for whole logs: this folder holds one record.";
            return Err(CliError::usage(what));
        }
        return prove::verify(context, &arguments.folder, pin.as_ref());
    }
    let kept = arguments.against.as_deref().map(short_file).transpose()?;
    let verified = verify_folder(&arguments.folder, pin.as_ref(), kept.as_deref())
        .map_err(|error| CliError::unverified(&error))?;
    let witnesses = witnesses.iter().map(|key| witnessed(&verified, key)).collect::<Result<_, _>>()?;
    let signatures = arguments.signatures.then(|| signatures(arguments, &verified)).transpose()?;
    warn_unpinned(context, verified.pinned);
    let body = Body { witnesses, ..body(&verified, signatures) };
    let text = if context.out.quiet { String::new() } else { text(&verified, &body) };
    context.out.answer("strongroom.verified/1", body, &text)
}

/// What a witness signed of this log; it must have signed something.
fn witnessed(verified: &Verified, key: &WitnessKey) -> Result<WitnessBody, CliError> {
    let name = clean(key.name());
    match verified.witnessed_by(key).map_err(|error| CliError::unverified(&error))? {
        Some((size, at)) => Ok(WitnessBody { name, size, at }),
        None => Err(CliError::failure(format!(
            "NOT VERIFIED: the witness {name} signed none of this folder's checkpoints."
        ))),
    }
}

/// Checks what technicians signed.
fn signatures(arguments: &Verify, verified: &Verified) -> Result<SignaturesBody, CliError> {
    let signers = arguments.signers.as_deref().map(|path| {
        let text = text_of(path, SIGNERS_LEN_MAX)?;
        Signers::parse(&text).map_err(|error| CliError::caused(&format!("{} names no signers", path.display()), &error))
    });
    let signers = signers.transpose()?;
    let agents = arguments.agent_key.iter().map(|key| pin(key).map(|pin| pin.fingerprint().to_owned()));
    let agents: Vec<String> = agents.collect::<Result<_, _>>()?;
    let found = verify_signatures(&arguments.folder, verified, &agents, signers.as_ref());
    let Signatures { proved, digest_only, withheld, unsigned_releases, keys } =
        found.map_err(|error| CliError::unverified(&error))?;
    Ok(SignaturesBody { proved, digest_only, withheld, unsigned_releases, signers_given: signers.is_some(), keys })
}

pub(super) fn warn_unpinned(context: &Context, pinned: bool) {
    if !pinned {
        context.out.say(
            "warning: unpinned: the key was found inside the folder, so anybody could have made it; \
             pin the agent's key with --key",
        );
    }
}

/// A fingerprint as it stands, else the content of a file.
pub(super) fn pin(value: &Path) -> Result<Pin, CliError> {
    let text = match value.to_str() {
        Some(text) if text.starts_with("SHA256:") => text.to_owned(),
        _ => short_file(value)?,
    };
    Pin::parse(&text).map_err(|error| {
        CliError::usage(format!("The pin is no key: {}", super::super::error::chain(&error)))
            .hint("give the agent's fingerprint SHA256:..., or a file with its public key")
    })
}

fn short_file(path: &Path) -> Result<String, CliError> {
    text_of(path, SHORT_FILE_LEN_MAX)
}

fn text_of(path: &Path, len_max: u64) -> Result<String, CliError> {
    let failed = |error: std::io::Error| CliError::caused(&format!("cannot read {}", path.display()), &error);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(len_max).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn body(verified: &Verified, signatures: Option<SignaturesBody>) -> Body {
    Body {
        log: verified.origin.to_string(),
        size: verified.size,
        root: hex::encode(verified.root),
        key: verified.key.fingerprint(),
        pinned: verified.pinned,
        pinned_by_way_of: verified.way.clone(),
        first_at: verified.first_at,
        last_at: verified.last_at,
        older_checkpoints: verified.older_checkpoints,
        opened: verified.opened,
        withheld: verified.withheld,
        pruned: verified.pruned.clone(),
        signatures,
        witnesses: Vec::new(),
    }
}

fn text(verified: &Verified, body: &Body) -> String {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), when::utc);
    let pinned = match (verified.pinned, verified.way.first()) {
        (true, Some(first)) => format!("pinned by way of {first}, which vouched for it"),
        (true, None) => "pinned".to_owned(),
        (false, _) => "UNPINNED".to_owned(),
    };
    let mut lines = vec![
        format!("Verified: {} records, complete and unaltered.", body.size),
        format!("log          {}", body.log),
        format!("from, to     {}, {}", time(body.first_at), time(body.last_at)),
        format!("root         {}", body.root),
        format!("key          {} ({pinned})", body.key),
        format!("checkpoints  {} older ones agree", body.older_checkpoints),
        format!("values       {} shown and fitting, {} withheld", body.opened, body.withheld),
    ];
    for WitnessBody { name, size, at } in &body.witnesses {
        lines.push(format!("witness      {name} signed the first {size} records, {}", when::utc(*at)));
    }
    if let Some(pruned) = &body.pruned {
        lines[0] = format!("Verified: {} records, unaltered; complete but for what was pruned.", body.size);
        lines.insert(1, super::pruned::sentence(pruned));
    }
    if let Some(signatures) = &body.signatures {
        let SignaturesBody { proved, digest_only, withheld, unsigned_releases, signers_given, keys } = signatures;
        lines.push(format!(
            "signatures   {proved} prove their calls, {digest_only} prove the digest of one, {withheld} withheld; {unsigned_releases} codes without"
        ));
        let whose = if *signers_given { "all are signers that you gave" } else { "whose they are, the log alone says" };
        lines.extend(keys.iter().map(|(key, count)| format!("  {count:>9}  by {key}")));
        lines.extend((!keys.is_empty()).then(|| format!("             {whose}")));
    }
    clean_lines(&lines)
}

fn clean_lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{}\n", clean(line))).collect()
}
