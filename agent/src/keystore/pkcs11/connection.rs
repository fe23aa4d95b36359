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
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::fault::{At, at_login};
use super::label::{self, IDENTITY, PREFIX, PROBE};
use super::profile::{Counted, KeyTraits};
use super::{TokenConfig, template, token_file};
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
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) => Ok(Self(context)),
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
                Err(unusable("this process uses it already".into()))
            }
            Err(error) => Err(error).at(operation),
        }
    }

    /// Finds the one slot whose token fits.
    pub(super) fn slot(&self, config: &TokenConfig, operation: Operation) -> Result<(Slot, TokenId), KeystoreError> {
        let slots = self.0.get_slots_with_token().at(operation)?.into_iter();
        let mut found: Vec<(Slot, TokenId)> =
            slots.filter_map(|slot| Some((slot, config.selector.fits(&self.0, slot)?))).collect();
        match (found.len(), found.pop()) {
            (1, Some(slot)) => Ok(slot),
            (count, _) => Err(KeystoreError::NoToken { operation, label: config.selector.to_string(), found: count }),
        }
    }

    /// The module's description of itself.
    pub(super) fn description(&self) -> String {
        self.0.get_library_info().map_or_else(
            |error| error.to_string(),
            |info| {
                let version = info.library_version();
                format!("{} {}.{}", info.library_description(), version.major(), version.minor())
            },
        )
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
    traits: KeyTraits,
    // Last, so that nothing above outlives C_Finalize.
    module: Module,
}

impl Connection {
    /// Logs in, unless the PIN cannot be one of this kind of token: an attempt is not spent on it.
    pub(super) fn open(
        module: Module,
        slot: Slot,
        config: &TokenConfig,
        pin: &SecretString,
        operation: Operation,
    ) -> Result<Self, KeystoreError> {
        let profile = &config.profile;
        if !profile.pin.fits(pin.expose_secret()) {
            let form = profile.pin.describe();
            return Err(KeystoreError::PinForm { operation, profile: profile.name.clone(), form });
        }
        let sessions = module.log_in(slot, pin, operation)?;
        let traits = profile.keys.clone();
        let mut connection = Self { sessions, slot, generation: 0, keys: HashMap::new(), traits, module };
        connection.enumerate(operation)?;
        Ok(connection)
    }

    pub(super) fn session(&self) -> &Session {
        &self.sessions.work
    }

    pub(super) fn traits(&self) -> &KeyTraits {
        &self.traits
    }

    pub(super) fn module(&self) -> &Module {
        &self.module
    }

    /// Does the work in a session that may change the token, and ends that session and its objects afterwards.
    pub(super) fn with_management_session<T>(
        &mut self,
        operation: Operation,
        work: impl FnOnce(&mut Self) -> T,
    ) -> Result<T, KeystoreError> {
        let session = self.management_session(operation)?;
        let usual = std::mem::replace(&mut self.sessions.work, session);
        let done = work(self);
        if let Err(error) = std::mem::replace(&mut self.sessions.work, usual).close() {
            tracing::debug!(cause = %error, "a management session could not be closed");
        }
        Ok(done)
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
        let ours = |label: &String| label.starts_with(PREFIX) && !label.starts_with(PROBE);
        let Some(label) = String::from_utf8(label).ok().filter(ours) else { return Ok(()) };
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

    /// The number of vault keys in the token, as of the last enumeration.
    pub(super) fn vault_keys(&self) -> u32 {
        let count = self.keys.keys().filter(|label| label::is_vault_key(label)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The first spare key by label, as of the last enumeration.
    pub(super) fn spare_key(&self) -> Option<(String, KeyHandle)> {
        let spares = self.keys.iter().filter(|(label, found)| label.starts_with(label::SPARE) && !found.ambiguous);
        spares.min_by(|one, two| one.0.cmp(two.0)).map(|(label, found)| (label.clone(), found.key))
    }

    /// Counts what an object budget counts, asking the token anew.
    pub(super) fn count(&mut self, counted: Counted, operation: Operation) -> Result<u32, KeystoreError> {
        let mut count = 0_usize;
        match counted {
            Counted::VaultKeys => {
                self.enumerate(operation)?;
                return Ok(self.vault_keys());
            }
            Counted::AllObjects => {
                // By class only, which every token understands. The public half of a pair is no object of its own.
                for class in
                    [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY, ObjectClass::CERTIFICATE, ObjectClass::DATA]
                {
                    count += self.session().find_objects(&[Attribute::Class(class)]).at(operation)?.len();
                }
            }
        }
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// The `CKA_ID` of a key to be made. Two bytes are soon taken by chance (256 objects collide with even odds), so the
    /// token is asked, and the next number is tried.
    pub(super) fn free_id(&self, label: &str, operation: Operation) -> Result<Vec<u8>, KeystoreError> {
        if self.traits.id_len != 2 {
            return Ok(template::id(label, self.traits.id_len));
        }
        // More in a row than a token of such ids holds at all.
        for step in 0..512 {
            let id = template::short_id(label, step);
            if !self.is_taken(&id, operation)? {
                return Ok(id.to_vec());
            }
        }
        Err(KeystoreError::Refused { operation, code: "no free object number".into() })
    }

    fn is_taken(&self, id: &[u8], operation: Operation) -> Result<bool, KeystoreError> {
        for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
            let template = [Attribute::Class(class), Attribute::Id(id.to_vec())];
            if !self.session().find_objects(&template).at(operation)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The object of a key handle, if it is of this generation.
    pub(super) fn object(&self, key: KeyHandle, operation: Operation) -> Result<ObjectHandle, KeystoreError> {
        if key.generation == self.generation {
            Ok(key.handle)
        } else {
            Err(KeystoreError::Handle { operation, code: "a handle of an earlier generation".into() })
        }
    }

    /// A handle that this connection has just got from the token, with its generation.
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

/// A temporary object that is destroyed when this goes out of scope, on the way of an error too.
pub(super) struct Transient<'a> {
    session: &'a Session,
    pub(super) object: ObjectHandle,
    may_be_gone: bool,
}

impl<'a> Transient<'a> {
    pub(super) fn new(session: &'a Session, object: ObjectHandle) -> Self {
        Self { session, object, may_be_gone: false }
    }

    /// An object that may end with another one: the public half of a pair.
    pub(super) fn new_if_still_there(session: &'a Session, object: ObjectHandle) -> Self {
        Self { session, object, may_be_gone: true }
    }
}

impl Drop for Transient<'_> {
    fn drop(&mut self) {
        match self.session.destroy_object(self.object) {
            Err(error) if !self.may_be_gone => {
                // A session object stays in the token's memory, sensitive, until the session ends.
                tracing::warn!(cause = %error, "a temporary object could not be destroyed");
            }
            Ok(()) | Err(_) => {}
        }
    }
}
