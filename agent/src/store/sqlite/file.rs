//! The store file: where it is, who may open it, and what has to be known before it can be unlocked.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use strongroom_proto::ids::OrgId;

use super::migrations::migrate;
use crate::store::StoreError;

/// Freed when the disk is full, so that a revocation can still be written.
pub(super) const RESERVE_LEN: usize = 1024 * 1024;
/// Keys of what the second token needs.
const SECOND_TOKEN: &str = "second-token";
const SECOND_KEYS: &str = "second-store-keys";

/// What is kept beside the rows, in clear: enough to unlock them with the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The organisation and the store.
    pub org: OrgId,
    /// The token that sealed the store keys.
    pub token: String,
    /// The store keys, sealed in the token.
    pub sealed_store_keys: Vec<u8>,
    /// The same of the second token, if one has joined.
    pub second: Option<SecondMeta>,
}

/// What the second token needs to unlock the rows without the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondMeta {
    /// The token.
    pub token: String,
    /// The store keys, sealed in it.
    pub sealed_store_keys: Vec<u8>,
}

/// The store keys, encrypted to the recovery recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreKeysCopy {
    /// To whom (`age1…`).
    pub recipients: Vec<String>,
    /// An age v1 file.
    pub copy: Vec<u8>,
    /// The agent identity key's signature over both, armoured; empty in copies from before there was one.
    pub signature: String,
}

/// An opened store file, locked against other agents.
#[derive(Debug)]
pub struct StoreFile {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    /// Held for the life of the store: a second agent on one file would fork the logs.
    _lock: File,
}

impl StoreFile {
    /// Makes a new store file, mode 0600. Its folder must exist and be private.
    ///
    /// # Errors
    /// [`StoreError::Open`] if a file is there already, [`StoreError::InUse`] if an agent uses it.
    pub fn create(path: &Path, meta: &Meta) -> Result<Self, StoreError> {
        if path.exists() {
            return Err(StoreError::Open(format!("{} exists already", path.display())));
        }
        let lock = lock(path)?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| StoreError::Open(format!("{}: {error}", path.display())))?;
        let mut connection = connect(path)?;
        migrate(&mut connection)?;
        let put = |key: &str, value: &[u8]| {
            connection
                .execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", params![key, value])
                .map_err(|error| StoreError::Open(error.to_string()))
        };
        put("org", meta.org.as_bytes())?;
        put("token", meta.token.as_bytes())?;
        put("store-keys", &meta.sealed_store_keys)?;
        Ok(Self { path: path.to_owned(), connection, _lock: lock })
    }

    /// Opens an existing store file.
    ///
    /// # Errors
    /// [`StoreError::Open`] if there is none or it is no store, [`StoreError::InUse`] if another agent has it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Open(format!("{} does not exist: run strongroom-agent init", path.display())));
        }
        let lock = lock(path)?;
        let mut connection = connect(path)?;
        migrate(&mut connection)?;
        make_reserve(path);
        Ok(Self { path: path.to_owned(), connection, _lock: lock })
    }

    /// Reads what is needed to unlock the rows.
    ///
    /// # Errors
    /// [`StoreError::Open`] if it is missing or malformed.
    pub fn meta(&self) -> Result<Meta, StoreError> {
        read_meta(&self.connection)
    }

    /// Hands the store over to another token: its id, and the store keys as it sealed them.
    ///
    /// # Errors
    /// [`StoreError::Commit`].
    pub fn rehome(&mut self, token: &str, sealed_store_keys: &[u8]) -> Result<(), StoreError> {
        let commit = |error: rusqlite::Error| StoreError::Commit(error.to_string());
        let change = self.connection.transaction().map_err(commit)?;
        for (key, value) in [("token", token.as_bytes()), ("store-keys", sealed_store_keys)] {
            change.execute("UPDATE meta SET value = ?2 WHERE key = ?1", params![key, value]).map_err(commit)?;
        }
        change.commit().map_err(commit)
    }

    /// Keeps what the second token needs to unlock the rows, or forgets it.
    ///
    /// # Errors
    /// [`StoreError::Commit`].
    pub fn keep_second(&mut self, second: Option<&SecondMeta>) -> Result<(), StoreError> {
        write_second(&mut self.connection, second)
    }

    /// Takes the note that a restore left for the next start, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn restore_note(&self) -> Result<Option<String>, StoreError> {
        let note: Option<Vec<u8>> = self
            .connection
            .query_row("SELECT value FROM meta WHERE key = 'restored'", [], |row| row.get(0))
            .optional()
            .map_err(|error| StoreError::Read(error.to_string()))?;
        Ok(note.map(|note| String::from_utf8_lossy(&note).into_owned()))
    }
}

/// Keeps the recovery copy of the store keys in the place of earlier ones.
///
/// # Errors
/// [`StoreError::Commit`].
pub fn keep_store_keys_copy(path: &Path, copy: &StoreKeysCopy) -> Result<(), StoreError> {
    let commit = |error: rusqlite::Error| StoreError::Commit(error.to_string());
    let mut connection = connect(path)?;
    let change = connection.transaction().map_err(commit)?;
    change.execute("DELETE FROM store_keys_copy", []).map_err(commit)?;
    let recipients = copy.recipients.join(" ");
    change
        .execute("INSERT INTO store_keys_copy (recipients, copy) VALUES (?1, ?2)", params![recipients, copy.copy])
        .map_err(commit)?;
    change
        .execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('store-keys-signature', ?1)",
            params![copy.signature.as_bytes()],
        )
        .map_err(commit)?;
    change.commit().map_err(commit)
}

/// As [`StoreFile::keep_second`], beside a store that is open in this process.
///
/// # Errors
/// [`StoreError::Commit`].
pub fn keep_second(path: &Path, second: Option<&SecondMeta>) -> Result<(), StoreError> {
    write_second(&mut connect(path)?, second)
}

fn write_second(connection: &mut Connection, second: Option<&SecondMeta>) -> Result<(), StoreError> {
    let commit = |error: rusqlite::Error| StoreError::Commit(error.to_string());
    let change = connection.transaction().map_err(commit)?;
    change.execute("DELETE FROM meta WHERE key IN (?1, ?2)", params![SECOND_TOKEN, SECOND_KEYS]).map_err(commit)?;
    if let Some(SecondMeta { token, sealed_store_keys }) = second {
        for (key, value) in [(SECOND_TOKEN, token.as_bytes()), (SECOND_KEYS, sealed_store_keys)] {
            change.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", params![key, value]).map_err(commit)?;
        }
    }
    change.commit().map_err(commit)
}

/// Makes the second token the only one: the store is its own from now on. In one step, so that whenever this is killed one of
/// the two unlocks the rows.
///
/// # Errors
/// [`StoreError::Commit`].
pub fn promote_second(path: &Path, second: &SecondMeta) -> Result<(), StoreError> {
    let commit = |error: rusqlite::Error| StoreError::Commit(error.to_string());
    let mut connection = connect(path)?;
    let change = connection.transaction().map_err(commit)?;
    for (key, value) in [("token", second.token.as_bytes()), ("store-keys", &second.sealed_store_keys)] {
        change.execute("UPDATE meta SET value = ?2 WHERE key = ?1", params![key, value]).map_err(commit)?;
    }
    change.execute("DELETE FROM meta WHERE key IN (?1, ?2)", params![SECOND_TOKEN, SECOND_KEYS]).map_err(commit)?;
    change.commit().map_err(commit)
}

/// Leaves a note for the next start that this store was put back from a backup, or removes it.
///
/// # Errors
/// [`StoreError::Commit`].
pub fn put_restore_note(path: &Path, note: Option<&str>) -> Result<(), StoreError> {
    let commit = |error: rusqlite::Error| StoreError::Commit(error.to_string());
    let connection = connect(path)?;
    let done = match note {
        Some(note) => connection
            .execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('restored', ?1)", params![note.as_bytes()]),
        None => connection.execute("DELETE FROM meta WHERE key = 'restored'", []),
    };
    done.map(|_| ()).map_err(commit)
}

/// Reads the recovery copy of the store keys, if there is one.
pub(super) fn read_store_keys_copy(connection: &Connection) -> Result<Option<StoreKeysCopy>, StoreError> {
    // A store from before the table has none.
    let known: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'store_keys_copy'", [], |row| row.get(0))
        .map_err(|error| StoreError::Read(error.to_string()))?;
    if known == 0 {
        return Ok(None);
    }
    let signature: Option<Vec<u8>> = connection
        .query_row("SELECT value FROM meta WHERE key = 'store-keys-signature'", [], |row| row.get(0))
        .optional()
        .map_err(|error| StoreError::Read(error.to_string()))?;
    connection
        .query_row("SELECT recipients, copy FROM store_keys_copy LIMIT 1", [], |row| {
            let recipients: String = row.get(0)?;
            Ok(StoreKeysCopy {
                recipients: recipients.split(' ').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
                copy: row.get(1)?,
                signature: signature.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default(),
            })
        })
        .optional()
        .map_err(|error| StoreError::Read(error.to_string()))
}

/// Reads what is needed to unlock the rows.
pub(super) fn read_meta(connection: &Connection) -> Result<Meta, StoreError> {
    let optional = |key: &str| -> Result<Option<Vec<u8>>, StoreError> {
        connection
            .query_row("SELECT value FROM meta WHERE key = ?1", params![key], |row| row.get(0))
            .optional()
            .map_err(|error| StoreError::Open(error.to_string()))
    };
    let value = |key: &str| -> Result<Vec<u8>, StoreError> {
        optional(key)?.ok_or_else(|| StoreError::Open(format!("the store has no {key}: init did not finish")))
    };
    let org: [u8; 16] =
        value("org")?.try_into().map_err(|_| StoreError::Open("the store's id is malformed".to_owned()))?;
    Ok(Meta {
        org: OrgId::from_uuid(uuid::Uuid::from_bytes(org)),
        token: String::from_utf8_lossy(&value("token")?).into_owned(),
        sealed_store_keys: value("store-keys")?,
        second: match (optional(SECOND_TOKEN)?, optional(SECOND_KEYS)?) {
            (Some(token), Some(sealed_store_keys)) => {
                Some(SecondMeta { token: String::from_utf8_lossy(&token).into_owned(), sealed_store_keys })
            }
            _ => None,
        },
    })
}

/// Opens a connection for writing, with every promise checked rather than hoped for.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let open = |error: rusqlite::Error| StoreError::Open(format!("{}: {error}", path.display()));
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(open)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA busy_timeout = 2000;",
        )
        .map_err(open)?;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(open)?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).map_err(open)?;
    // NORMAL loses acknowledged records at a power cut; a code without its record is what must never happen.
    if mode != "wal" || synchronous != 2 {
        return Err(StoreError::Open(format!("{}: write-ahead log with full sync is not available", path.display())));
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Opens a connection for what can be made anew from the logs: its commits wait for no sync, so that a slow disk holds up no release
/// for them. In a write-ahead log what a power cut takes of them is their end, whole commits, and never what was synced later.
pub(super) fn connect_unsynced(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection
        .execute_batch("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;")
        .map_err(|error| StoreError::Open(error.to_string()))?;
    Ok(connection)
}

/// Opens a connection that can only read.
pub(super) fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    let read = |error: rusqlite::Error| StoreError::Read(error.to_string());
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(read)?;
    connection
        .execute_batch(
            "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA busy_timeout = 2000;",
        )
        .map_err(read)?;
    Ok(connection)
}

/// Puts the reserve file beside the store. Failing is no fault: then the disk is full already.
pub(super) fn make_reserve(path: &Path) {
    let reserve = reserve_path(path);
    if reserve.exists() {
        return;
    }
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&reserve)
        .and_then(|mut file| file.write_all(&vec![0x5a; RESERVE_LEN]).and_then(|()| file.sync_all()));
    if let Err(error) = made {
        tracing::warn!(%error, "no disk reserve for revocations");
        let _ = std::fs::remove_file(&reserve);
    }
}

/// Frees the reserve. True if there was one.
pub(super) fn free_reserve(path: &Path) -> bool {
    std::fs::remove_file(reserve_path(path)).is_ok()
}

fn reserve_path(path: &Path) -> PathBuf {
    path.with_extension("reserve")
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let lock_path = path.with_extension("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(|error| StoreError::Open(format!("{}: {error}", lock_path.display())))?;
    file.try_lock().map(|()| file).map_err(|_| StoreError::InUse)
}
