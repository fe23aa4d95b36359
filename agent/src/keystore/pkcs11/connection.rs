//! One life of the module in this process: from C_Initialize and login until C_Finalize, with its sessions and handles.
//!
//! After C_Finalize and C_Initialize an old object handle silently names *another key*, and closing an old session closes
//! a new one of the same number (seen on SoftHSM and kryoptic). Therefore handles carry the generation they were found in,
//! and sessions are never closed by being dropped: C_Finalize ends them all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::fault::{At, at_login};
use super::label::{IDENTITY, PREFIX, STORE_KEYS};
use super::{TokenConfig, token_file};
use crate::keystore::{KeystoreError, Operation, TokenId};

/// Counts the enumerations of this process. A handle is good for the one it came from.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// A key's handle and the generation it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyHandle {
    generation: u64,
    handle: ObjectHandle,
}

/// What is known of a key since the last enumeration.
#[derive(Clone, Copy, Debug)]
struct Found {
    key: KeyHandle,
    /// The key-check value, once computed in this generation.
    kcv: Option<[u8; 8]>,
    /// Several objects bear the label: none of them is trusted.
    ambiguous: bool,
}

/// The initialised module. C_Finalize when dropped.
pub(super) struct Module(Pkcs11);

impl Module {
    /// Loads and initialises the module. Only one keystore per process may: login state is the process's.
    pub(super) fn initialise(config: &TokenConfig, operation: Operation) -> Result<Self, KeystoreError> {
        let unusable =
            |reason: String| KeystoreError::Module { operation, module: config.module.display().to_string(), reason };
        // SoftHSM looks for its tokens while it initialises.
        config.storage.as_deref().map_or(Ok(()), token_file::guard).map_err(|error| KeystoreError::System {
            operation,
            reason: format!("the token's files cannot be kept safe: {error}"),
        })?;
        let context = Pkcs11::new(&config.module).map_err(|error| unusable(error.to_string()))?;
        let initialise = || context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        let initialised = match initialise() {
            // A keystore that reopens was the only one of its process, so this is its own earlier life, whose C_Finalize
            // failed.
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) if operation == Operation::Reopen => {
                context.clone().finalize().and_then(|()| initialise())
            }
            other => other,
        };
        match initialised {
            Ok(()) => Ok(Self(context)),
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
                Err(unusable("this process uses it already".into()))
            }
            Err(error) => Err(error).at(operation),
        }
    }

    /// Finds the one slot whose token bears the label. Slots that answer an error are passed over: one damaged token must
    /// not hide the others.
    pub(super) fn slot(&self, config: &TokenConfig, operation: Operation) -> Result<(Slot, TokenId), KeystoreError> {
        let fits = |slot: Slot| {
            let token = self.0.get_token_info(slot).ok().filter(|token| token.token_initialized())?;
            let serial_fits = config.serial.as_deref().is_none_or(|serial| serial == token.serial_number());
            (token.label() == config.label && serial_fits)
                .then(|| (slot, TokenId::new(format!("{}/{}", token.serial_number(), token.label()))))
        };
        let mut found: Vec<(Slot, TokenId)> =
            self.0.get_slots_with_token().at(operation)?.into_iter().filter_map(fits).collect();
        match (found.len(), found.pop()) {
            (1, Some(slot)) => Ok(slot),
            (count, _) => Err(KeystoreError::NoToken { operation, label: config.label.clone(), found: count }),
        }
    }

    pub(super) fn log_in(
        &self,
        slot: Slot,
        pin: &SecretString,
        operation: Operation,
    ) -> Result<Sessions, KeystoreError> {
        let parked = self.0.open_ro_session_no_drop(slot).at(operation)?;
        present_pin(&parked, pin, operation)?;
        Ok(Sessions { work: self.0.open_ro_session_no_drop(slot).at(operation)?, parked })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Err(error) = self.0.clone().finalize() {
            tracing::debug!(cause = %error, "the module could not be finalised");
        }
    }
}

/// The parked session only keeps the login alive (closing the last session of a process logs it out); the other works.
pub(super) struct Sessions {
    parked: Session,
    work: Session,
}

/// How often this process presented a PIN.
#[cfg(test)]
pub(super) static PINS_PRESENTED: AtomicU64 = AtomicU64::new(0);

/// Presents the PIN once. "Already logged in" is success: the login belongs to the process.
fn present_pin(session: &Session, pin: &SecretString, operation: Operation) -> Result<(), KeystoreError> {
    #[cfg(test)]
    PINS_PRESENTED.fetch_add(1, Ordering::Relaxed);
    match session.login(UserType::User, Some(pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(error) => Err(at_login(operation, &error)),
    }
}

/// A logged-in token with its keys enumerated.
pub(super) struct Connection {
    sessions: Sessions,
    slot: Slot,
    generation: u64,
    keys: HashMap<String, Found>,
    // Last, so that nothing above outlives C_Finalize.
    module: Module,
}

impl Connection {
    pub(super) fn open(
        module: Module,
        slot: Slot,
        pin: &SecretString,
        operation: Operation,
    ) -> Result<Self, KeystoreError> {
        let sessions = module.log_in(slot, pin, operation)?;
        let mut connection = Self { sessions, slot, generation: 0, keys: HashMap::new(), module };
        connection.enumerate(operation)?;
        Ok(connection)
    }

    pub(super) fn session(&self) -> &Session {
        &self.sessions.work
    }

    /// A session for making and destroying objects. Close it with [`Session::close`].
    pub(super) fn management_session(&self, operation: Operation) -> Result<Session, KeystoreError> {
        self.module.0.open_rw_session_no_drop(self.slot).at(operation)
    }

    /// Replaces the working session.
    pub(super) fn renew_session(&mut self, operation: Operation) -> Result<(), KeystoreError> {
        let fresh = self.module.0.open_ro_session_no_drop(self.slot).at(operation)?;
        let old = std::mem::replace(&mut self.sessions.work, fresh);
        // An operation may still be active in it. If the session is gone already, its number may not be in use again,
        // because this process opens sessions under this connection's lock only.
        if let Err(error) = old.close() {
            tracing::debug!(cause = %error, "an ended session could not be closed");
        }
        Ok(())
    }

    /// Whether the token says that this process is logged out. (Its word for being logged in proves nothing.)
    pub(super) fn is_logged_out(&self) -> bool {
        let info = self.sessions.parked.get_session_info();
        info.is_ok_and(|info| matches!(info.session_state(), SessionState::RoPublic | SessionState::RwPublic))
    }

    /// Logs in again; all handles of the earlier login are dead.
    pub(super) fn renew_login(&mut self, pin: &SecretString, operation: Operation) -> Result<(), KeystoreError> {
        present_pin(&self.sessions.parked, pin, operation)?;
        self.enumerate(operation)
    }

    /// Finds every key of ours at once and starts a new generation. (SoftHSM's find is linear: 0.3 s at 10,000 keys. A
    /// look-up per request would be paid every time.)
    pub(super) fn enumerate(&mut self, operation: Operation) -> Result<(), KeystoreError> {
        self.keys.clear();
        self.generation = GENERATION.fetch_add(1, Ordering::Relaxed) + 1;
        for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
            for handle in self.session().find_objects(&[Attribute::Class(class)]).at(operation)? {
                self.note(handle, operation)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, handle: ObjectHandle, operation: Operation) -> Result<(), KeystoreError> {
        let attributes = self.session().get_attributes(handle, &[AttributeType::Label]).at(operation)?;
        let Some(Attribute::Label(label)) = attributes.into_iter().next() else { return Ok(()) };
        let Some(label) = String::from_utf8(label).ok().filter(|label| label.starts_with(PREFIX)) else {
            return Ok(());
        };
        let key = KeyHandle { generation: self.generation, handle };
        self.keys.entry(label).and_modify(|found| found.ambiguous |= found.key != key).or_insert(Found {
            key,
            kcv: None,
            ambiguous: false,
        });
        Ok(())
    }

    /// The handle of the one key with this label: from the enumeration, else by one look-up (another process may have
    /// made it since).
    pub(super) fn key(&mut self, label: &str, operation: Operation) -> Result<KeyHandle, KeystoreError> {
        if !self.keys.contains_key(label) {
            for handle in self.find(label, operation)? {
                self.note(handle, operation)?;
            }
        }
        match self.keys.get(label) {
            Some(found) if found.ambiguous => Err(KeystoreError::KeyMismatch { operation, label: label.into() }),
            Some(found) => Ok(found.key),
            None => Err(KeystoreError::KeyMissing { operation, label: label.into() }),
        }
    }

    /// Asks the token for objects with this label, secret keys first, past the cache.
    pub(super) fn find(&self, label: &str, operation: Operation) -> Result<Vec<ObjectHandle>, KeystoreError> {
        // Class and label only: longer templates make a YubiHSM 2 find nothing.
        let class = if label == IDENTITY { ObjectClass::PRIVATE_KEY } else { ObjectClass::SECRET_KEY };
        self.session().find_objects(&[Attribute::Class(class), Attribute::Label(label.into())]).at(operation)
    }

    pub(super) fn forget(&mut self, label: &str) {
        self.keys.remove(label);
    }

    /// The number of vault keys in the token.
    pub(super) fn vault_keys(&self) -> usize {
        self.keys.keys().filter(|label| ![IDENTITY, STORE_KEYS].contains(&label.as_str())).count()
    }

    /// The object of a key handle, if it is of this generation.
    pub(super) fn object(&self, key: KeyHandle, operation: Operation) -> Result<ObjectHandle, KeystoreError> {
        if key.generation == self.generation {
            Ok(key.handle)
        } else {
            Err(KeystoreError::Handle { operation, code: "a handle of an earlier generation".into() })
        }
    }

    #[cfg(test)]
    pub(super) fn tag(&self, handle: ObjectHandle) -> KeyHandle {
        KeyHandle { generation: self.generation, handle }
    }

    /// Makes one label lead to another key's object, as an aliased handle would.
    #[cfg(test)]
    pub(super) fn alias(&mut self, label: &str, other: &str) {
        let wrong = self.keys[other].key;
        self.keys.insert(label.into(), Found { key: wrong, kcv: None, ambiguous: false });
    }

    pub(super) fn known_kcv(&self, label: &str) -> Option<[u8; 8]> {
        self.keys.get(label).and_then(|found| found.kcv)
    }

    pub(super) fn remember_kcv(&mut self, label: &str, kcv: [u8; 8]) {
        if let Some(found) = self.keys.get_mut(label) {
            found.kcv = Some(kcv);
        }
    }

    /// Computes HMAC-SHA-256 in the token.
    pub(super) fn hmac(
        &self,
        key: KeyHandle,
        message: &[u8],
        operation: Operation,
    ) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        let object = self.object(key, operation)?;
        self.session().sign(&Mechanism::Sha256Hmac, object, message).map(Zeroizing::new).at(operation)
    }
}

/// A session object that is destroyed when this goes out of scope, on the way of an error too.
pub(super) struct Transient<'a> {
    session: &'a Session,
    pub(super) object: ObjectHandle,
}

impl<'a> Transient<'a> {
    pub(super) fn new(session: &'a Session, object: ObjectHandle) -> Self {
        Self { session, object }
    }
}

impl Drop for Transient<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.session.destroy_object(self.object) {
            // It stays in the token's memory, sensitive, until the session ends.
            tracing::warn!(cause = %error, "a seed's session object could not be destroyed");
        }
    }
}
