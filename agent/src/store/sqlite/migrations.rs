//! Numbered migrations, only ever added. Each is applied once, in its own transaction, and its checksum is kept: a
//! migration that was changed afterwards, or a store from a newer agent, is refused.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::store::StoreError;

const MIGRATIONS: &[(&str, &str)] = &[
    ("initial", include_str!("migrations/0001_initial.sql")),
    ("store_keys_copy", include_str!("migrations/0002_store_keys_copy.sql")),
    ("audit_term", include_str!("migrations/0003_audit_term.sql")),
    ("streams", include_str!("migrations/0004_streams.sql")),
    ("cosigned", include_str!("migrations/0005_cosigned.sql")),
    ("state_snapshot", include_str!("migrations/0006_state_snapshot.sql")),
];

/// Brings the schema up to this agent's version.
///
/// # Errors
/// [`StoreError::Open`] if the store is newer than this agent, or a migration was changed after it had been applied.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let open = |error: rusqlite::Error| StoreError::Open(error.to_string());
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS schema_version (
                 version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, sha256 BLOB NOT NULL, applied_at TEXT NOT NULL
             ) STRICT",
        )
        .map_err(open)?;
    let newest: i64 = connection
        .query_row("SELECT coalesce(max(version), 0) FROM schema_version", [], |row| row.get(0))
        .map_err(open)?;
    if usize::try_from(newest).map_or(true, |newest| newest > MIGRATIONS.len()) {
        return Err(StoreError::Open(format!("its schema {newest} is newer than this agent")));
    }
    for (place, (name, sql)) in MIGRATIONS.iter().enumerate() {
        let version = i64::try_from(place + 1).unwrap_or(i64::MAX);
        let checksum: [u8; 32] = Sha256::digest(sql).into();
        let applied: Option<Vec<u8>> = connection
            .query_row("SELECT sha256 FROM schema_version WHERE version = ?1", params![version], |row| row.get(0))
            .optional()
            .map_err(open)?;
        match applied {
            Some(before) if before == checksum => {}
            Some(_) => return Err(StoreError::Open(format!("migration {version} ({name}) was changed afterwards"))),
            None => {
                let step = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(open)?;
                step.execute_batch(sql).map_err(open)?;
                step.execute(
                    "INSERT INTO schema_version (version, name, sha256, applied_at) VALUES (?1, ?2, ?3, ?4)",
                    params![version, name, checksum, jiff::Timestamp::now().to_string()],
                )
                .map_err(open)?;
                step.commit().map_err(open)?;
            }
        }
    }
    Ok(())
}
