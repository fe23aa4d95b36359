//! Seals rows against a store that somebody else can write to: names are encrypted, and every row carries a tag over all
//! of it. The keys are random, sealed once in the token, and opened into locked memory at start.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use strongroom_proto::audit::opening::Opening;
use strongroom_proto::ids::OrgId;
use zeroize::Zeroizing;

use super::StoreError;
use crate::keystore::StoreKeys;
use crate::recovery::{Recipient, RecoveryError, store_keys_copy};
use crate::state::LogId;
use crate::state::rows::Row;

/// Length of a GCM nonce, in bytes. A nonce is random: with one key per vault 2^32 writes stay within NIST SP 800-38D §8.3.
const NONCE_LEN: usize = 12;

/// A row as engines keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// [`Row::KIND`].
    pub kind: String,
    /// [`Row::key`].
    pub key: Vec<u8>,
    /// [`Row::log`].
    pub log: [u8; 16],
    /// Counts changes from 1.
    pub version: u64,
    /// The clear part, JSON.
    pub body: String,
    /// The encrypted names: nonce ‖ ciphertext ‖ GCM tag.
    pub names: Vec<u8>,
    /// HMAC-SHA-256 over all of the above.
    pub tag: [u8; 32],
}

/// Why a stored row is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {kind} row {key} does not match its tag: {flaw}")]
pub struct Tampered {
    /// The kind of the row.
    pub kind: String,
    /// Its key in hex.
    pub key: String,
    /// What does not fit.
    pub flaw: &'static str,
}

/// Seals and opens rows.
pub struct Sealer {
    store: OrgId,
    keys: StoreKeys,
}

impl Sealer {
    /// Makes the sealer of one store.
    #[must_use]
    pub const fn new(store: OrgId, keys: StoreKeys) -> Self {
        Self { store, keys }
    }

    /// The store keys: to be sealed by another token.
    pub(crate) const fn keys(&self) -> &StoreKeys {
        &self.keys
    }

    /// The store keys, encrypted to the recovery recipients.
    ///
    /// # Errors
    /// As [`crate::recovery::seal_to`].
    pub fn recovery_copy(&self, recipients: &[Recipient]) -> Result<Vec<u8>, RecoveryError> {
        store_keys_copy(self.store, &self.keys, recipients)
    }

    /// Seals a row at a version.
    ///
    /// # Errors
    /// [`StoreError::Encoding`] if the row cannot be written down.
    pub fn seal<R: Row>(&self, row: &R, version: u64) -> Result<StoredRow, StoreError> {
        let encoding = |_| StoreError::Encoding(R::KIND);
        let body = serde_json::to_string(row).map_err(encoding)?;
        let plain = Zeroizing::new(serde_json::to_vec(row.names()).map_err(encoding)?);
        let mut stored = StoredRow {
            kind: R::KIND.to_owned(),
            key: row.key(),
            log: row.log().to_bytes(),
            version,
            body,
            names: Vec::new(),
            tag: [0; 32],
        };
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| StoreError::Encoding(R::KIND))?;
        let sealed = self
            .names_cipher(stored.log)
            .encrypt((&nonce).into(), Payload { msg: &plain, aad: &self.names_context(&stored) })
            .map_err(|_| StoreError::Encoding(R::KIND))?;
        stored.names = [nonce.as_slice(), &sealed].concat();
        stored.tag = self.row_mac(&stored).finalize().into_bytes().into();
        Ok(stored)
    }

    /// Opens a row after checking its tag.
    ///
    /// # Errors
    /// [`Tampered`] if anything in the row was changed, or it stands under another key or log.
    pub fn open<R: Row>(&self, stored: &StoredRow) -> Result<R, Tampered> {
        let tampered = |flaw| Tampered { kind: stored.kind.clone(), key: hex::encode(&stored.key), flaw };
        self.row_mac(stored).verify_slice(&stored.tag).map_err(|_| tampered("tag"))?;
        let (nonce, sealed) = stored.names.split_at_checked(NONCE_LEN).ok_or_else(|| tampered("names"))?;
        let nonce: &[u8; NONCE_LEN] = nonce.try_into().map_err(|_| tampered("names"))?;
        let plain = self
            .names_cipher(stored.log)
            .decrypt(nonce.into(), Payload { msg: sealed, aad: &self.names_context(stored) })
            .map(Zeroizing::new)
            .map_err(|_| tampered("names"))?;
        let mut row: R = serde_json::from_str(&stored.body).map_err(|_| tampered("body"))?;
        row.set_names(serde_json::from_slice(&plain).map_err(|_| tampered("names"))?);
        if row.key() != stored.key || row.log().to_bytes() != stored.log || stored.kind != R::KIND {
            return Err(tampered("key"));
        }
        Ok(row)
    }

    /// Tags the end of a log, so that a head put together by hand is noticed.
    #[must_use]
    pub fn head_tag(&self, log: LogId, frontier: &[u8], state: &[u8; 32], last_ts: &str) -> [u8; 32] {
        self.mac(&[b"head", &log.to_bytes(), frontier, state, last_ts.as_bytes()]).finalize().into_bytes().into()
    }

    /// Under what a value of a field of a log's records stands in the index: 64 bits of an HMAC. Without the key the index shows
    /// neither values nor which logs have the same.
    #[must_use]
    pub fn term(&self, log: LogId, field: &str, value: &[u8]) -> i64 {
        let tag = self.mac(&[b"term", &log.to_bytes(), field.as_bytes(), value]).finalize().into_bytes();
        i64::from_be_bytes(tag.first_chunk::<8>().copied().unwrap_or_default())
    }

    /// Encrypts a text that belongs to a place of a log: the openings of a record.
    ///
    /// # Errors
    /// [`StoreError::Encoding`] if there is no randomness.
    pub fn seal_text(&self, log: LogId, place: &[u8], text: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| StoreError::Encoding("opening"))?;
        let aad = self.framed(&[b"opening", &log.to_bytes(), place]);
        let sealed = self
            .names_cipher(log.to_bytes())
            .encrypt((&nonce).into(), Payload { msg: text, aad: &aad })
            .map_err(|_| StoreError::Encoding("opening"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Encrypts the openings of one record together; nothing if there are none.
    ///
    /// # Errors
    /// [`StoreError::Encoding`].
    pub fn seal_openings(&self, log: LogId, seq: u64, openings: &[Opening]) -> Result<Option<Vec<u8>>, StoreError> {
        if openings.is_empty() {
            return Ok(None);
        }
        let plain = serde_json::to_vec(openings).map(Zeroizing::new).map_err(|_| StoreError::Encoding("opening"))?;
        self.seal_text(log, &seq.to_be_bytes(), &plain).map(Some)
    }

    /// Opens [`Sealer::seal_text`]. `None` if it was changed or moved.
    #[must_use]
    pub fn open_text(&self, log: LogId, place: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce: &[u8; NONCE_LEN] = nonce.try_into().ok()?;
        let aad = self.framed(&[b"opening", &log.to_bytes(), place]);
        self.names_cipher(log.to_bytes())
            .decrypt(nonce.into(), Payload { msg: sealed, aad: &aad })
            .map(Zeroizing::new)
            .ok()
    }

    fn row_mac(&self, row: &StoredRow) -> Hmac<Sha256> {
        self.mac(&[
            b"row",
            row.kind.as_bytes(),
            &row.key,
            &row.log,
            &row.version.to_be_bytes(),
            row.body.as_bytes(),
            &row.names,
        ])
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = keyed(self.keys.tags());
        mac.update(&self.framed(parts));
        mac
    }

    /// One cipher per log: what is known of one client's key says nothing about another's.
    fn names_cipher(&self, log: [u8; 16]) -> Aes256Gcm {
        let mut mac = keyed(self.keys.names());
        mac.update(b"strongroom/names/v1");
        mac.update(&log);
        let key = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
        Aes256Gcm::new((&*key).into())
    }

    fn names_context(&self, row: &StoredRow) -> Vec<u8> {
        self.framed(&[b"names", row.kind.as_bytes(), &row.key, &row.log, &row.version.to_be_bytes()])
    }

    /// Length-prefixes the parts, the store's id first: two lists of parts never have the same bytes.
    fn framed(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut framed = Vec::with_capacity(64 + parts.iter().map(|part| part.len() + 8).sum::<usize>());
        for part in std::iter::once(self.store.as_bytes().as_slice()).chain(parts.iter().copied()) {
            framed.extend_from_slice(&(part.len() as u64).to_be_bytes());
            framed.extend_from_slice(part);
        }
        framed
    }
}

/// HMAC-SHA-256 with a 32-byte key.
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // The type allows any key length, so the error cannot occur; an all-zero stand-in would be worse than an abort.
    #[allow(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104 §2)")]
    <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length")
}
