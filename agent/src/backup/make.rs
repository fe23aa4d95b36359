//! `strongroom-agent backup`: one archive, made beside a running agent.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::ids::Instance;

use super::archive::{self, ANCHORS, CONFIG, KNOWN_AGENTS, MANIFEST, SIGNATURE, STORE, TOKEN_FOLDER, TOKEN_NOTE};
use super::beside::open_token;
use super::files::{Hashing, Workplace, create_new, sha256_of, sync_dir};
use super::manifest::{FORMAT, FileLine, LogLine, Manifest, NAMESPACE, TokenMaterial};
use super::names::{backup_name, thin_out};
use super::{hook, token_files};
use crate::audit::anchor::Anchors;
use crate::config::Config;
use crate::identity::{agent_public_key, sign_as_agent};
use crate::keystore::Keystore;
use crate::keystore::worker::blocking::BlockingWorker;
use crate::pin::PinSource;
use crate::recovery::{Recipient, SealingWriter};
use crate::store::sealer::Sealer;
use crate::store::sqlite::{Snapshot, snapshot};

/// Signs a SHA-256 digest with the agent identity key: raw `r || s`.
pub type Sign<'a> = &'a (dyn Fn(&[u8; 32]) -> anyhow::Result<[u8; 64]> + Sync);

/// What a backup is made of.
pub struct Maker<'a> {
    /// The configuration; its file goes into the backup.
    pub config: &'a Config,
    /// Opens the copy, so that it is verified before it is kept.
    pub sealer: &'a Sealer,
    /// The first token's id.
    pub token: &'a str,
    /// Whether it is here: the files of one that is away cannot be taken along.
    pub token_is_here: bool,
    /// The agent identity key.
    pub agent_key: AgentKey,
    /// The run of the agent; absent for the command.
    pub instance: Option<Instance>,
    /// Signs the manifest.
    pub sign: Sign<'a>,
}

/// A backup that was made and read back.
#[derive(Clone, Debug)]
pub struct Made {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256, 64 hex digits.
    pub sha256: String,
    /// Its length in bytes.
    pub size: u64,
    /// What it holds.
    pub manifest: Manifest,
}

/// A file that is small enough for memory: its name in the archive, and what it holds.
type Small = (String, Vec<u8>);

/// What the token's own procedure is, for tokens whose keys do not leave them as files.
const TOKEN_NOTE_TEXT: &str = "\
The keys of this token are not in this backup: they do not leave the device as files.

Keep the vendor's own backup of it, made by two custodians:
  YubiHSM 2       yubihsm-shell: put-wrap-key, then get-wrapped for each object, onto a second device
  Luna            partition cloning to a backup HSM (lunacm: partition archive backup)
  nShield         the security world's kmdata folder, with the administrator card set
  CloudHSM        the cluster's own backups; restore into a new cluster
  TPM 2.0         none: its keys die with it
  SoftHSM         set [token] storage, and the agent takes the token's folder along

Without it the way back is: strongroom-agent recover, onto a new token, from the recovery copies in the store.
";

impl Maker<'_> {
    /// Makes a backup in a folder, reads it back, and gives it its name: under that name there is a whole backup or none.
    ///
    /// # Errors
    /// If there are no recovery recipients, if the store does not match its logs, or whatever else is in the way.
    pub fn make(&self, folder: &Path) -> anyhow::Result<Made> {
        if !folder.is_dir() {
            bail!("{} is no folder: make it first, owned by the agent's user", folder.display());
        }
        let work = self.config.data_dir.join("backup.work");
        let lock = self.config.data_dir.join("backup.lock");
        let lock = File::options().write(true).create(true).truncate(false).open(lock)?;
        lock.try_lock().map_err(|_| anyhow::anyhow!("another backup is being made"))?;
        let work = Workplace::new(work).context("no private working folder")?;

        // Anchors before the store: a log may grow in between, but must not fall short of them.
        let anchors = Anchors::read(&self.config.anchor_path())?;
        let anchors_text = match fs::read(self.config.anchor_path()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let made_at = Timestamp::from_second(Timestamp::now().as_second())?;
        let copy = work.path().join(STORE);
        snapshot(&self.config.store_path(), &copy)?;
        let opened = Snapshot::open(&copy)?;
        let state = opened.load(self.sealer, &anchors)?;
        if let Some((log, flaw)) = state.sealed.iter().next() {
            bail!(
                "the store does not match its logs ({}: {flaw}): no backup is made of it",
                hex::encode(log.to_bytes())
            );
        }
        let recipients = &state.org.recovery_recipients;
        if recipients.is_empty() {
            bail!(
                "this organisation has no recovery recipients (it was founded with --no-recovery): a backup is \
                 encrypted to them, so none can be made"
            );
        }
        let parsed = recipients.iter().map(|text| Recipient::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let logs = opened.log_ends()?;
        drop(opened);

        let (small, token_material) = self.small_files(anchors_text)?;
        let mut files: Vec<FileLine> = small.iter().map(|(name, bytes)| line(name, bytes)).collect();
        let (sha256, size) = sha256_of(&copy)?;
        files.push(FileLine { name: STORE.to_owned(), size, sha256 });
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            made_at,
            organisation: state.org.id,
            instance: self.instance,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            agent_key: self.agent_key.openssh(),
            token: self.token.to_owned(),
            token_material,
            recovery_recipients: recipients.clone(),
            vaults: state.vaults.len() as u64,
            accounts: state.accounts.len() as u64,
            recovery_copies: state.recovery.len() as u64,
            logs: logs.iter().map(LogLine::from).collect(),
            files,
        };
        let mut text = serde_json::to_vec_pretty(&manifest)?;
        text.push(b'\n');
        let public = agent_public_key(self.agent_key.point())?;
        let signature = sign_as_agent(&public, |digest| (self.sign)(digest), NAMESPACE, &text)?;

        let (name, part) = free_names(folder, made_at)?;
        let written = self.write(&part, &parsed, made_at, &text, &signature, &small, &copy);
        let read_back = written.and_then(|sealed| {
            // What the disk gives back is what was sealed: nobody here could open it to look.
            if sha256_of(&part)? == sealed {
                Ok(sealed)
            } else {
                bail!("the disk gave back another file than was written")
            }
        });
        let (sha256, size) = read_back.inspect_err(|_| {
            let _ = fs::remove_file(&part);
        })?;
        fs::rename(&part, &name)?;
        sync_dir(folder)?;
        Ok(Made { path: name, sha256, size, manifest })
    }

    /// All files but the store. The configuration comes first: a restore reads from it where everything goes.
    fn small_files(&self, anchors: Vec<u8>) -> anyhow::Result<(Vec<Small>, TokenMaterial)> {
        let mut small = Vec::new();
        let config = self.config.file.as_deref().context("the configuration was not read from a file")?;
        let pin = match &self.config.pin {
            PinSource::File(path) => Some(path.as_path()),
            _ => None,
        };
        if pin
            .is_some_and(|pin| fs::canonicalize(pin).ok().is_some_and(|pin| fs::canonicalize(config).ok() == Some(pin)))
        {
            bail!("{} is both the configuration and the PIN file: a backup never holds a PIN", config.display());
        }
        small.push((CONFIG.to_owned(), fs::read(config).with_context(|| format!("{}", config.display()))?));
        let known = format!("{} {}\n", self.config.socket.display(), self.agent_key.openssh());
        small.push((KNOWN_AGENTS.to_owned(), known.into_bytes()));
        small.push((ANCHORS.to_owned(), anchors));
        let Some(storage) = self.config.token_folder().filter(|_| self.token_is_here) else {
            small.push((TOKEN_NOTE.to_owned(), TOKEN_NOTE_TEXT.as_bytes().to_vec()));
            return Ok((small, TokenMaterial::Elsewhere));
        };
        // After the store: every key that a row of the copy names is there.
        for file in token_files::read_all(storage, self.token, pin)? {
            small.push((format!("{TOKEN_FOLDER}{}", file.name), file.bytes));
        }
        Ok((small, TokenMaterial::SoftHsm2))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one file, in their order")]
    fn write(
        &self,
        part: &Path,
        recipients: &[Recipient],
        at: Timestamp,
        manifest: &[u8],
        signature: &str,
        small: &[Small],
        store: &Path,
    ) -> anyhow::Result<(String, u64)> {
        let sealing = SealingWriter::new(recipients, Hashing::new(create_new(part)?))?;
        let mut tar = tar::Builder::new(sealing);
        archive::append(&mut tar, MANIFEST, manifest.len() as u64, at, manifest)?;
        archive::append(&mut tar, SIGNATURE, signature.len() as u64, at, signature.as_bytes())?;
        for (name, bytes) in small {
            archive::append(&mut tar, name, bytes.len() as u64, at, bytes.as_slice())?;
        }
        let content = File::open(store)?;
        archive::append(&mut tar, STORE, content.metadata()?.len(), at, content)?;
        let file = tar.into_inner()?.finish()?;
        file.inner().sync_all()?;
        Ok(file.finish())
    }
}

fn line(name: &str, bytes: &[u8]) -> FileLine {
    use sha2::Digest as _;
    FileLine { name: name.to_owned(), size: bytes.len() as u64, sha256: hex::encode(sha2::Sha256::digest(bytes)) }
}

/// The name that the backup will have, and the one it is written under. Two of one second are told apart by the clock.
fn free_names(folder: &Path, made_at: Timestamp) -> anyhow::Result<(PathBuf, PathBuf)> {
    for second in 0..60 {
        let name = backup_name(made_at.checked_add(jiff::SignedDuration::from_secs(second))?);
        let (path, part) = (folder.join(&name), folder.join(format!(".{name}.part")));
        if !path.exists() {
            match fs::remove_file(&part) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => return Ok((path, part)),
            }
        }
    }
    bail!("{} has a backup for every second of this minute", folder.display())
}

/// Makes a backup by command: opens the token for itself, beside the agent if one is running.
///
/// # Errors
/// As [`Maker::make`], or if token or command fail.
pub fn backup(config: &Config, folder: &Path, command: Option<&str>) -> anyhow::Result<Made> {
    crate::os::check_private_dir(&config.data_dir).map_err(|flaw| anyhow::anyhow!(flaw))?;
    let meta = Snapshot::open(&config.store_path())?.meta()?;
    let (keystore, sealed, token_is_here) = match (open_token(config), meta.second.as_ref().zip(config.second())) {
        (Ok(first), _) => (first, &meta.sealed_store_keys, true),
        (Err(error), Some((second, (token, pin)))) => {
            tracing::warn!(error = %format!("{error:#}"), "the first token is away: the second one signs this backup");
            let keystore = BlockingWorker::start(token, pin, false).context("neither token can be opened")?;
            (keystore, &second.sealed_store_keys, false)
        }
        (Err(error), None) => return Err(error),
    };
    let expected = if token_is_here { Some(&meta.token) } else { meta.second.as_ref().map(|second| &second.token) };
    if expected.is_none_or(|expected| expected != keystore.token().as_str()) {
        bail!("this is the token {}, but the store was made with {}", keystore.token(), meta.token);
    }
    let keys = keystore.open_store_keys(meta.org, sealed)?;
    let maker = Maker {
        config,
        sealer: &Sealer::new(meta.org, keys),
        token: &meta.token,
        token_is_here,
        agent_key: AgentKey::from_point(keystore.identity_key())?,
        instance: None,
        sign: &|digest| Ok(keystore.sign(digest)?),
    };
    let made = maker.make(folder)?;
    after(&made, command)?;
    Ok(made)
}

/// Runs the command for a backup.
///
/// # Errors
/// If it cannot be started or its exit code is not 0.
pub fn after(made: &Made, command: Option<&str>) -> anyhow::Result<()> {
    command.map_or(Ok(()), |command| hook::run(command, &made.path))
}

/// Removes old backups of a folder after a good one was made.
///
/// # Errors
/// The operating system's.
pub fn retain(config: &Config, folder: &Path, made: &Made) -> std::io::Result<Vec<PathBuf>> {
    thin_out(folder, config.backup.keep, &made.path)
}
