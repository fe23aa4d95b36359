//! Making and destroying keys. Everything here refuses rather than guesses: a key is made only when asked for by name, and
//! nothing is made in place of a key that was not found.

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use secrecy::SecretString;
use strongroom_proto::ids::VaultId;
use strongroom_proto::words::Scheme;

use super::connection::{Connection, Module};
use super::fault::At;
use super::label::{self, IDENTITY, STORE_KEYS};
use super::profile::ObjectBudget;
use super::template::Life;
use super::{TokenConfig, keys, resident, template};
use crate::keystore::os;
use crate::keystore::{KeystoreError, Operation, VaultKey};

/// From this length on, in bytes, a `CKA_ID` is drawn for each key and tells it from all others.
const OWN_ID_LEN: usize = 16;

/// Makes the store key and the agent identity on a token that has no identity yet.
pub(super) fn provision(config: &TokenConfig, pin: &SecretString) -> Result<(), KeystoreError> {
    let operation = Operation::Provision;
    let module = Module::initialise(config, operation)?;
    let (slot, _) = module.slot(config, operation)?;
    let mut connection = Connection::open(module, slot, config, pin, operation)?;
    if config.profile.keys.provisioned {
        // Made with the token's own tool: here they are only proven, below.
        return check_own_keys(&mut connection, operation);
    }
    // The identity is made last: a token that has it is complete, and one that a killed run left with the store key alone
    // is taken up again.
    refuse_existing(&connection, IDENTITY, operation)?;
    check_objects(&mut connection, config, 2, operation)?;
    let session = connection.management_session(operation)?;
    let made = generate_own_keys(&connection, &session, operation);
    close(session);
    made?;
    make_durable(config, operation)?;
    connection.enumerate(operation)?;
    check_own_keys(&mut connection, operation)
}

fn check_own_keys(connection: &mut Connection, operation: Operation) -> Result<(), KeystoreError> {
    let identity = keys::identity_point(connection, operation)?;
    keys::check_identity(connection, &identity, operation)?;
    keys::canary(connection, operation)?;
    Ok(())
}

/// Makes the store key, unless an earlier run did, and then the identity.
fn generate_own_keys(connection: &Connection, session: &Session, operation: Operation) -> Result<(), KeystoreError> {
    let traits = connection.traits();
    if connection.find(STORE_KEYS, operation)?.is_empty() {
        let id = own_id(connection, STORE_KEYS, operation)?;
        let template = template::hmac_key(traits, Life::Token, STORE_KEYS, id);
        generate(session, &Mechanism::GenericSecretKeyGen, &template, STORE_KEYS, operation)?;
    }
    let id = connection.free_id(IDENTITY, operation)?;
    session
        .generate_key_pair(
            &Mechanism::EccKeyPairGen,
            &template::identity_public(traits, Life::Token, IDENTITY, id.clone()),
            &template::identity_private(traits, Life::Token, IDENTITY, id),
        )
        .at(operation)
        .map(drop)
}

/// Makes a vault key, checks that it is what was asked for, and makes it durable.
pub(super) fn create_vault_key(
    connection: &mut Connection,
    config: &TokenConfig,
    canary: &[u8],
    vault: VaultId,
    number: u32,
    scheme: Scheme,
) -> Result<VaultKey, KeystoreError> {
    let operation = Operation::CreateVaultKey;
    let label = label::vault_key(vault, number);
    if !config.profile.schemes.allowed.contains(&scheme) {
        return Err(KeystoreError::SchemeNotAllowed { operation, profile: config.profile.name.clone(), scheme });
    }
    if let Some(budget) = config.key_budget {
        // Counted anew: other processes make keys too.
        connection.enumerate(operation)?;
        if connection.vault_keys() >= budget {
            return Err(KeystoreError::Budget { operation, budget });
        }
    }
    // "No objects" may be a lie: only of a search that finds the store key is it believed.
    if connection.find(STORE_KEYS, operation)?.is_empty() {
        return Err(KeystoreError::Device { operation, code: "its keys are gone".into() });
    }
    refuse_existing(connection, &label, operation)?;
    // A token whose files are gone still makes keys: only one that can use its own may.
    keys::canary(connection, operation)?;
    if config.profile.keys.provisioned {
        let claimed = claim_spare(connection, &label, operation)?;
        let proved = prove(connection, config, canary, vault, number, scheme);
        if matches!(proved, Err(KeystoreError::NotHardened { .. })) {
            discard(connection, claimed, &label, operation);
        }
        return proved;
    }
    check_objects(connection, config, 1, operation)?;
    let id = own_id(connection, &label, operation)?;
    let (traits, life) = (connection.traits(), Life::Token);
    let (mechanism, template) = match scheme {
        Scheme::Resident => (Mechanism::AesKeyGen, template::resident_vault_key(traits, life, &label, id)),
        Scheme::Derived => (Mechanism::GenericSecretKeyGen, template::hmac_key(traits, life, &label, id)),
    };
    let session = connection.management_session(operation)?;
    let made = generate(&session, &mechanism, &template, &label, operation);
    close(session);
    let made = made?;
    // The token is asked: what is remembered under this label is not what was just made.
    connection.forget(&label);
    let proved = prove(connection, config, canary, vault, number, scheme);
    if proved.is_err() {
        // Nothing was sealed under it. What else bears the label was made by somebody else, and may be in use: this call may
        // come so late that its caller gave up long ago.
        discard(connection, made, &label, operation);
    }
    proved
}

/// Checks a key that was just made, and that the token is still the right one and computes as it always did.
fn prove(
    connection: &mut Connection,
    config: &TokenConfig,
    canary: &[u8],
    vault: VaultId,
    number: u32,
    scheme: Scheme,
) -> Result<VaultKey, KeystoreError> {
    let operation = Operation::CreateVaultKey;
    let label = label::vault_key(vault, number);
    make_durable(config, operation)?;
    // Read back by a look-up of its own: what counts is what the token will find tomorrow.
    let handle = connection.key(&label, operation)?;
    if scheme == Scheme::Resident && resident::gives_up_seeds(connection, handle, operation)? {
        return Err(KeystoreError::NotHardened { operation, label });
    }
    let kcv = keys::kcv(connection, handle, scheme, operation)?;
    let key = VaultKey { vault, number, scheme, label, kcv };
    // Asked again: under a key-check value that was computed wrong the key would never be believed.
    keys::verified_anew(connection, &key, operation)?;
    keys::check_canary(connection, canary, operation)?;
    Ok(key)
}

/// Destroys the one object that this call made, as far as the token lets it.
fn discard(connection: &mut Connection, made: ObjectHandle, label: &str, operation: Operation) {
    if let Err(error) = destroy(connection, made, label, operation) {
        tracing::warn!(cause = %error, label, "a key that nothing uses was left in the token");
    }
    connection.forget(label);
}

/// Gives a spare key the label of a vault key: on a token that makes no keys, an operator made it for this.
fn claim_spare(connection: &mut Connection, label: &str, operation: Operation) -> Result<ObjectHandle, KeystoreError> {
    // Made since the last enumeration, perhaps.
    connection.enumerate(operation)?;
    let (spare, key) =
        connection.spare_key().ok_or_else(|| KeystoreError::NoSpareKey { operation, label: label::SPARE.into() })?;
    let object = connection.object(key, operation)?;
    let session = connection.management_session(operation)?;
    let claimed = session.update_attributes(object, &[Attribute::Label(label.into())]).at(operation);
    close(session);
    connection.forget(&spare);
    claimed.map(|()| object)
}

/// Refuses to make so many more objects if that would touch the reserve. Everything in the token counts, not only what is
/// ours: what runs out is the device.
fn check_objects(
    connection: &mut Connection,
    config: &TokenConfig,
    more: u32,
    operation: Operation,
) -> Result<(), KeystoreError> {
    let Some(ObjectBudget { max, reserve, counted }) = config.profile.objects else { return Ok(()) };
    let held = connection.count(counted, operation)?;
    if held.saturating_add(more).saturating_add(reserve) > max {
        return Err(KeystoreError::ObjectBudget { operation, held, max, reserve });
    }
    Ok(())
}

/// Destroys a vault key whose key-check value was just verified.
pub(super) fn destroy_vault_key(connection: &mut Connection, key: &VaultKey) -> Result<(), KeystoreError> {
    let operation = Operation::DestroyVaultKey;
    let handle = match keys::verified_anew(connection, key, operation) {
        Err(missing @ KeystoreError::KeyMissing { .. }) => {
            // The caller takes this for destroyed, and certifies it.
            check_absent(connection, &key.label, operation)?;
            return Err(missing);
        }
        verified => verified?,
    };
    let object = connection.object(handle, operation)?;
    destroy(connection, object, &key.label, operation)
}

/// Believes that nothing bears a label only of a token whose searches find the store key, before and after.
fn check_absent(connection: &Connection, label: &str, operation: Operation) -> Result<(), KeystoreError> {
    let broken = |code: &str| Err(KeystoreError::Device { operation, code: code.into() });
    let finds = || connection.find(STORE_KEYS, operation).map(|found| !found.is_empty());
    if !finds()? {
        return broken("its keys are gone");
    }
    if !connection.find(label, operation)?.is_empty() {
        return broken("a key was not found and then was");
    }
    if finds()? { Ok(()) } else { broken("its keys are gone") }
}

/// Destroys everything under the label of a vault key that was never used.
pub(super) fn discard_vault_key(
    connection: &mut Connection,
    vault: VaultId,
    number: u32,
) -> Result<bool, KeystoreError> {
    let operation = Operation::DiscardVaultKey;
    let label = label::vault_key(vault, number);
    // "No objects" is also what a token says whose files are gone.
    keys::canary(connection, operation)?;
    let found = connection.find(&label, operation)?;
    for object in &found {
        destroy(connection, *object, &label, operation)?;
    }
    check_absent(connection, &label, operation)?;
    Ok(!found.is_empty())
}

fn destroy(
    connection: &mut Connection,
    object: ObjectHandle,
    label: &str,
    operation: Operation,
) -> Result<(), KeystoreError> {
    let session = connection.management_session(operation)?;
    let destroyed = session.destroy_object(object).at(operation);
    close(session);
    connection.forget(label);
    destroyed
}

fn refuse_existing(connection: &Connection, label: &str, operation: Operation) -> Result<(), KeystoreError> {
    if connection.find(label, operation)?.is_empty() {
        Ok(())
    } else {
        Err(KeystoreError::Exists { operation, label: label.into() })
    }
}

/// The `CKA_ID` of a key that this call makes: random where there is room, so that its object is known from one that
/// somebody else makes under the same label.
fn own_id(connection: &Connection, label: &str, operation: Operation) -> Result<Vec<u8>, KeystoreError> {
    let mut id = connection.free_id(label, operation)?;
    if id.len() >= OWN_ID_LEN {
        getrandom::fill(&mut id)
            .map_err(|_| KeystoreError::System { operation, reason: "no random bytes for the id of a key".into() })?;
    }
    Ok(id)
}

/// Generates a secret key. SoftHSM before 2.7 can fail with `GENERAL_ERROR` while another process searches: one more try.
/// What the first left is destroyed if it is certainly its own.
fn generate(
    session: &Session,
    mechanism: &Mechanism<'_>,
    template: &[Attribute],
    label: &str,
    operation: Operation,
) -> Result<ObjectHandle, KeystoreError> {
    match session.generate_key(mechanism, template) {
        Err(Error::Pkcs11(RvError::GeneralError, _)) => {
            let is_own = |attribute: &Attribute| matches!(attribute, Attribute::Id(id) if id.len() >= OWN_ID_LEN);
            let can_tell = template.iter().any(is_own);
            let sought = |attribute: &&Attribute| {
                matches!(attribute, Attribute::Label(_) | Attribute::Class(_)) || is_own(attribute)
            };
            let search: Vec<Attribute> = template.iter().filter(sought).cloned().collect();
            for left in session.find_objects(&search).at(operation)? {
                if !can_tell {
                    return Err(KeystoreError::Exists { operation, label: label.into() });
                }
                session.destroy_object(left).at(operation)?;
            }
            session.generate_key(mechanism, template).at(operation)
        }
        other => other.at(operation),
    }
}

fn close(session: Session) {
    if let Err(error) = session.close() {
        tracing::debug!(cause = %error, "a management session could not be closed");
    }
}

fn make_durable(config: &TokenConfig, operation: Operation) -> Result<(), KeystoreError> {
    config.storage.as_deref().map_or(Ok(()), os::sync_file_system).map_err(|error| KeystoreError::System {
        operation,
        reason: format!("the new key could not be made durable: {error}"),
    })
}
