//! Making and destroying keys. Everything here refuses rather than guesses: a key is made only when asked for by name, and
//! nothing is made in place of a key that was not found.

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::Session;
use secrecy::SecretString;
use strongroom_proto::ids::VaultId;
use strongroom_proto::words::Scheme;

use super::connection::{Connection, Module};
use super::fault::At;
use super::label::{self, IDENTITY, STORE_KEYS};
use super::{TokenConfig, keys, resident, template};
use crate::keystore::os;
use crate::keystore::{KeystoreError, Operation, VaultKey};

/// Makes the agent identity and the store key on a token that has neither.
pub(super) fn provision(config: &TokenConfig, pin: &SecretString) -> Result<(), KeystoreError> {
    let operation = Operation::Provision;
    let module = Module::initialise(config, operation)?;
    let (slot, _) = module.slot(config, operation)?;
    let mut connection = Connection::open(module, slot, pin, operation)?;
    for label in [IDENTITY, STORE_KEYS] {
        refuse_existing(&connection, label, operation)?;
    }
    let session = connection.management_session(operation)?;
    let made = generate_own_keys(&session, operation);
    close(session);
    made?;
    make_durable(config, operation)?;
    connection.enumerate(operation)?;
    let identity = keys::identity_point(&connection, operation)?;
    keys::check_identity(&mut connection, &identity, operation)?;
    keys::canary(&mut connection, operation)?;
    Ok(())
}

/// Makes both or, unless the token fails at that too, neither.
fn generate_own_keys(session: &Session, operation: Operation) -> Result<(), KeystoreError> {
    let (public, private) = session
        .generate_key_pair(
            &Mechanism::EccKeyPairGen,
            &template::identity_public(IDENTITY),
            &template::identity_private(IDENTITY),
        )
        .at(operation)?;
    let made = generate(session, &Mechanism::GenericSecretKeyGen, &template::hmac_key(STORE_KEYS), operation);
    if made.is_err() {
        for half in [private, public] {
            if let Err(error) = session.destroy_object(half) {
                tracing::warn!(cause = %error, "half of an identity key was left in the token");
            }
        }
    }
    made
}

/// Makes a vault key, checks that it is what was asked for, and makes it durable.
pub(super) fn create_vault_key(
    connection: &mut Connection,
    config: &TokenConfig,
    vault: VaultId,
    number: u32,
    scheme: Scheme,
) -> Result<VaultKey, KeystoreError> {
    let operation = Operation::CreateVaultKey;
    let label = label::vault_key(vault, number);
    if let Some(budget) = config.key_budget {
        // Counted anew: other processes make keys too.
        connection.enumerate(operation)?;
        if connection.vault_keys() >= budget as usize {
            return Err(KeystoreError::Budget { operation, budget });
        }
    }
    refuse_existing(connection, &label, operation)?;
    // A token whose files are gone still makes keys: only one that can use its own may.
    keys::canary(connection, operation)?;
    let (mechanism, template) = match scheme {
        Scheme::Resident => (Mechanism::AesKeyGen, template::resident_vault_key(&label)),
        Scheme::Derived => (Mechanism::GenericSecretKeyGen, template::hmac_key(&label)),
    };
    let session = connection.management_session(operation)?;
    let made = generate(&session, &mechanism, &template, operation);
    close(session);
    made?;
    make_durable(config, operation)?;
    // Read back by a look-up of its own: what counts is what the token will find tomorrow.
    let handle = connection.key(&label, operation)?;
    if scheme == Scheme::Resident && resident::gives_up_seeds(connection, handle, operation)? {
        let object = connection.object(handle, operation)?;
        destroy(connection, object, &label, operation)?;
        return Err(KeystoreError::NotHardened { operation, label });
    }
    let kcv = keys::kcv(connection, handle, scheme, operation)?;
    connection.remember_kcv(&label, kcv);
    Ok(VaultKey { vault, number, scheme, label, kcv })
}

/// Destroys a vault key whose key-check value was just verified.
pub(super) fn destroy_vault_key(connection: &mut Connection, key: &VaultKey) -> Result<(), KeystoreError> {
    let operation = Operation::DestroyVaultKey;
    let handle = keys::verified_anew(connection, key, operation)?;
    let object = connection.object(handle, operation)?;
    destroy(connection, object, &key.label, operation)
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
    Ok(!found.is_empty())
}

fn destroy(
    connection: &mut Connection,
    object: cryptoki::object::ObjectHandle,
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

/// Generates a secret key. SoftHSM before 2.7 can fail with `GENERAL_ERROR` while another process searches: one more try,
/// unless the first left something behind.
fn generate(
    session: &Session,
    mechanism: &Mechanism<'_>,
    template: &[Attribute],
    operation: Operation,
) -> Result<(), KeystoreError> {
    match session.generate_key(mechanism, template) {
        Err(Error::Pkcs11(RvError::GeneralError, _)) => {
            let own = |attribute: &&Attribute| matches!(attribute, Attribute::Label(_) | Attribute::Class(_));
            let search: Vec<Attribute> = template.iter().filter(own).cloned().collect();
            for left in session.find_objects(&search).at(operation)? {
                session.destroy_object(left).at(operation)?;
            }
            session.generate_key(mechanism, template).at(operation).map(drop)
        }
        other => other.at(operation).map(drop),
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
