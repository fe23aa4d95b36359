//! `strongroom-agent restore`: a backup onto an empty machine and token. Nothing that exists is overwritten, and nothing is
//! put in its place before signature, hashes, logs and rows were checked.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use strongroom_proto::audit::export::Pin;

use super::archive::{self, ANCHORS, CONFIG, STORE, TOKEN_FOLDER};
use super::files::{Workplace, copy_new, make_private_dir, sha256_of, sync_dir, write_new};
use super::manifest::{LogLine, Manifest, TokenMaterial};
use super::pending;
use crate::audit::anchor::{Anchor, Anchors};
use crate::config::Config;
use crate::recovery::{RecoveryIdentity, open_store_keys_copy, store_keys_signer};
use crate::store::sealer::Sealer;
use crate::store::sqlite::{Snapshot, put_restore_note};

/// What is restored, and how far the operator trusts it.
pub struct Request<'a> {
    /// The backup.
    pub archive: &'a Path,
    /// Where the configuration is, or goes if there is none.
    pub config: &'a Path,
    /// Opens the backup.
    pub identity: &'a RecoveryIdentity,
    /// The agent key that must have signed it.
    pub pin: Option<&'a Pin>,
    /// The operator knows that anchors of this machine vouch for more than the backup holds.
    pub accept_lost_records: bool,
}

/// A log that an anchor of this machine knows to have been longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// The log.
    pub origin: String,
    /// Records that were vouched for.
    pub anchored: u64,
    /// Records in the backup.
    pub restored: u64,
}

/// A backup that was unpacked beside its place and checked.
pub(super) struct Staged {
    pub(super) manifest: Manifest,
    pub(super) archive_sha256: String,
    pub(super) config: Config,
    /// The archived configuration, if none was here.
    config_text: Option<Vec<u8>>,
    /// Whether every row was checked against its tag, with the recovery copy of the store keys.
    pub(super) rows_checked: bool,
    pub(super) short: Vec<Short>,
    work: Workplace,
}

/// What was restored.
pub struct Restored {
    staged: Staged,
    token_placed: bool,
    pinned: bool,
    config_path: PathBuf,
}

/// Restores a backup.
///
/// # Errors
/// Whatever keeps the backup from being believed, or something that is there already.
pub fn restore(request: &Request<'_>) -> anyhow::Result<Restored> {
    let staged = stage(request)?;
    let token = staged.token_target()?;
    staged.check_free(request, &staged.config.store_path())?;
    if let Some(folder) = &token {
        staged.place_token(folder)?;
    }
    staged.place(request, &staged.config.store_path())?;
    pending::settle(&staged.config)?;
    Ok(Restored {
        token_placed: token.is_some(),
        pinned: request.pin.is_some(),
        config_path: request.config.to_owned(),
        staged,
    })
}

/// Unpacks and checks a backup in a private working folder beside the store's place.
pub(super) fn stage(request: &Request<'_>) -> anyhow::Result<Staged> {
    if request.pin.is_none() && !request.config.exists() {
        // A configuration names a module that is loaded and a command that is run: a stranger's must not be.
        bail!(
            "{} does not exist, and the configuration in a backup is only taken if --agent-key pins who signed it: \
             say --agent-key (the agent's line in the clients' known_agents), or bring the configuration first",
            request.config.display()
        );
    }
    let (archive_sha256, _) = sha256_of(request.archive).with_context(|| format!("{}", request.archive.display()))?;
    let (manifest, text) = archive::peek(request.archive, request.identity, request.pin)?;
    let (config, config_text) = if request.config.exists() {
        (Config::read(request.config)?, None)
    } else {
        let name = format!("{CONFIG} in the backup");
        let parsed = Config::parse(std::str::from_utf8(&text).context("the archived configuration")?, &name)?;
        (parsed.read_from(request.config), Some(text))
    };
    make_private_dir(&config.data_dir).with_context(|| format!("{}", config.data_dir.display()))?;
    crate::os::check_private_dir(&config.data_dir).map_err(|flaw| anyhow::anyhow!(flaw))?;
    let work = Workplace::new(config.data_dir.join("restore.work"))?;
    let unpacked = archive::unpack(request.archive, request.identity, request.pin, work.path())?;
    if unpacked != manifest {
        bail!("the backup changed while it was read");
    }
    let short = shortfall(&pending::known_anchors(&config)?, &manifest.logs)?;
    let rows_checked = check_store(work.path(), &manifest, request.identity)?;
    Ok(Staged { manifest, archive_sha256, config, config_text, rows_checked, short, work })
}

/// Recomputes every log and, with the recovery copy of the store keys, every row's tag. True if the rows were checked.
fn check_store(work: &Path, manifest: &Manifest, identity: &RecoveryIdentity) -> anyhow::Result<bool> {
    let store = Snapshot::open(&work.join(STORE))?;
    let org = store.meta()?.org;
    if org != manifest.organisation {
        bail!("the store in the backup belongs to another organisation than its manifest says");
    }
    let logs: Vec<LogLine> = store.log_ends()?.iter().map(LogLine::from).collect();
    if logs != manifest.logs {
        bail!("the logs in the backup do not come to the roots that its manifest names");
    }
    let Some(copy) = store.store_keys_copy()? else { return Ok(false) };
    // Keys that the manifest's signer did not vouch for check nothing.
    match store_keys_signer(org, &copy.recipients, &copy.copy, &copy.signature) {
        Some(signer) if signer.openssh() == manifest.agent_key => {}
        _ => return Ok(false),
    }
    let keys = open_store_keys_copy(identity, org, &copy.copy).context("the recovery copy of the store keys")?;
    let anchors = Anchors::read(&work.join(ANCHORS))?;
    let state = store.load(&Sealer::new(org, keys), &anchors)?;
    if let Some((_, flaw)) = state.sealed.iter().next() {
        bail!("the store in the backup does not match its logs: {flaw}");
    }
    Ok(true)
}

/// The logs of which this machine's anchors vouch for more than the backup holds.
fn shortfall(known: &[Anchors], logs: &[LogLine]) -> anyhow::Result<Vec<Short>> {
    let mut short: Vec<Short> = Vec::new();
    for (origin, anchor) in
        known.iter().flat_map(|anchors| anchors.origins().filter_map(|origin| Some((origin, anchors.of(origin)?))))
    {
        let restored = logs.iter().find(|log| log.origin == origin);
        let size = restored.map_or(0, |log| log.size);
        if anchor.size > size {
            match short.iter_mut().find(|known| known.origin == origin) {
                Some(known) => known.anchored = known.anchored.max(anchor.size),
                None => short.push(Short { origin: origin.to_owned(), anchored: anchor.size, restored: size }),
            }
        } else if restored.is_some_and(|log| log.size == anchor.size && log.root != hex::encode(anchor.root)) {
            bail!("the log {origin} in the backup is another one than this machine's anchors vouch for");
        }
    }
    Ok(short)
}

/// Whether the second folder holds exactly the files of the first.
fn same_files(one: &Path, other: &Path) -> anyhow::Result<bool> {
    for entry in fs::read_dir(one)? {
        let entry = entry?;
        let there = other.join(entry.file_name());
        if !there.is_file() || sha256_of(&entry.path())? != sha256_of(&there)? {
            return Ok(false);
        }
    }
    Ok(fs::read_dir(one)?.count() == fs::read_dir(other)?.count())
}

impl Staged {
    /// The unpacked copy of the store.
    pub(super) fn store_copy(&self) -> PathBuf {
        self.work.path().join(STORE)
    }

    /// Where the token's files go, if the backup has them and the configuration names a place.
    fn token_target(&self) -> anyhow::Result<Option<PathBuf>> {
        if self.manifest.token_material != TokenMaterial::SoftHsm2 {
            return Ok(None);
        }
        let storage = self.config.token_folder().context(
            "the backup has the files of a SoftHSM token, but the configuration names no place for them: set [token] storage",
        )?;
        for entry in fs::read_dir(self.work.path().join(TOKEN_FOLDER))? {
            let entry = entry?;
            let folder = storage.join(entry.file_name());
            // A run that was killed may have put it there already.
            if folder.exists() && !same_files(&entry.path(), &folder)? {
                bail!("{} exists already: nothing is overwritten", folder.display());
            }
        }
        Ok(Some(storage.to_owned()))
    }

    /// Refuses to write over anything, and to lose what the anchors vouch for unless somebody said so.
    pub(super) fn check_free(&self, request: &Request<'_>, store: &Path) -> anyhow::Result<()> {
        if !self.short.is_empty() && !request.accept_lost_records {
            let lost: u64 = self.short.iter().map(|short| short.anchored - short.restored).sum();
            bail!(
                "this machine's anchors vouch for {lost} records in {} logs that the backup does not hold: it is older. \
                 Revocations among them would be lost. Look for a newer backup, or say --accept-lost-records",
                self.short.len()
            );
        }
        for suffix in ["", "-wal", "-shm"] {
            let mut name = store.as_os_str().to_owned();
            name.push(suffix);
            let path = PathBuf::from(name);
            if path.exists() {
                bail!("{} exists already: nothing is overwritten. Move it away first", path.display());
            }
        }
        Ok(())
    }

    fn place_token(&self, storage: &Path) -> anyhow::Result<()> {
        make_private_dir(storage)?;
        // Under another name until it is whole: half a token must neither serve nor stand in the way of the next run.
        let staging = Workplace::new(storage.join(".restoring"))?;
        for entry in fs::read_dir(self.work.path().join(TOKEN_FOLDER))? {
            let from = entry?.path();
            let name = from.file_name().unwrap_or_default();
            let (to, place) = (staging.path().join(name), storage.join(name));
            if place.exists() {
                continue;
            }
            make_private_dir(&to)?;
            for file in fs::read_dir(&from)? {
                let file = file?.path();
                copy_new(&file, &to.join(file.file_name().unwrap_or_default()))?;
            }
            sync_dir(&to)?;
            fs::rename(&to, &place)?;
        }
        sync_dir(storage)?;
        Ok(())
    }

    /// Puts configuration, anchors and, last, the store in their places, with a note for the next start. The anchors that
    /// were here are given up by [`pending::settle`], when what lacks their records cannot be forgotten any more.
    pub(super) fn place(&self, request: &Request<'_>, store: &Path) -> anyhow::Result<()> {
        let now = Timestamp::now();
        if let Some(text) = &self.config_text {
            if let Some(folder) = request.config.parent() {
                make_private_dir(folder)?;
            }
            let new = request.config.with_extension("restoring");
            let _ = fs::remove_file(&new);
            write_new(&new, text)
                .and_then(|()| fs::rename(&new, request.config))
                .with_context(|| format!("{}", request.config.display()))?;
        }
        self.place_anchors()?;
        let staged = self.work.path().join(STORE);
        put_restore_note(&staged, Some(&self.note(now)))?;
        File::open(&staged)?.sync_all()?;
        fs::rename(&staged, store)?;
        sync_dir(&self.config.data_dir)?;
        Ok(())
    }

    /// The anchors become what the signed manifest says.
    fn place_anchors(&self) -> anyhow::Result<()> {
        let path = self.config.anchor_path();
        if let Some(folder) = path.parent() {
            make_private_dir(folder)?;
        }
        pending::set_aside(&path)?;
        let mut anchors = Anchors::read(&path)?;
        let mut moved = Vec::with_capacity(self.manifest.logs.len());
        for log in &self.manifest.logs {
            let root = hex::decode(&log.root).ok().and_then(|root| root.try_into().ok()).context("a root")?;
            moved.push((log.origin.clone(), Anchor { size: log.size, root }));
        }
        anchors.advance(moved)?;
        Ok(())
    }

    fn note(&self, now: Timestamp) -> String {
        let lost: u64 = self.short.iter().map(|short| short.anchored - short.restored).sum();
        serde_json::json!({
            "backup_at": self.manifest.made_at.to_string(),
            "archive_sha256": self.archive_sha256,
            "restored_at": now.to_string(),
            "records_lost": lost,
            "logs_short": self.short.len(),
            "signer": self.manifest.signer(),
        })
        .to_string()
    }
}

impl Restored {
    /// What was done, what is missing and what to do next, in words.
    #[must_use]
    pub fn report(&self) -> String {
        let Staged { manifest, config, config_text, rows_checked, short, .. } = &self.staged;
        let hours = Timestamp::now().duration_since(manifest.made_at).as_hours();
        let signer =
            if self.pinned { "the pinned key" } else { "UNPINNED: compare this key with what clients have pinned" };
        let mut text = format!(
            "Restored the backup of {} ({hours} h old), signed by {} ({signer}).\n\
             {} vaults, {} accounts, {} of them with a recovery copy; {} logs match the manifest{}.\n",
            manifest.made_at,
            manifest.signer(),
            manifest.vaults,
            manifest.accounts,
            manifest.recovery_copies,
            manifest.logs.len(),
            if *rows_checked { ", and every row its tag" } else { " (rows are checked at the start, by the token)" },
        );
        text.push_str(&format!(
            "What happened after {} is lost: grants, imports, and revocations. Who was revoked before stays revoked;\n\
             revoke again whoever left since then.\n",
            manifest.made_at
        ));
        for Short { origin, anchored, restored } in short {
            text.push_str(&format!("  {origin}: {anchored} records were vouched for, {restored} are here\n"));
        }
        text.push_str("\nIn place:\n");
        text.push_str(&format!(
            "  store    {}\n  anchors  {}\n",
            config.store_path().display(),
            config.anchor_path().display()
        ));
        match config_text {
            Some(_) => text.push_str(&format!("  config   {}\n", self.config_path.display())),
            None => text.push_str(&format!("  config   {} was here and stays\n", self.config_path.display())),
        }
        if let (true, Some(folder)) = (self.token_placed, config.token_folder()) {
            text.push_str(&format!("  token    {}\n", folder.display()));
        }
        text.push_str("\nMissing, to be brought by hand:\n  the PIN of the token: no backup holds it\n");
        if !config.token.config().module.exists() {
            text.push_str(&format!("  the PKCS#11 module {}\n", config.token.config().module.display()));
        }
        if self.token_placed {
            text.push_str("  softhsm2.conf, with directories.tokendir as [token] storage says\n");
        } else {
            text.push_str(&format!(
                "  the keys of the token {}: by the vendor's own procedure (its note is token/README.txt in the backup);\n  \
                 if that token is dead: strongroom-agent recover, onto a new one\n",
                manifest.token
            ));
        }
        text.push_str(
            "\nNext: strongroom-agent doctor, then strongroom-agent run. The start records store.restored.\n",
        );
        text
    }
}
