//! Sealing seeds anew under another key of their vault, and handing them over to their client. Seeds are open in here and
//! nowhere else: a `derived` one comes from its own seal, a `resident` one, which never leaves the token, from its recovery
//! copy. What comes out is sealed or encrypted again.

use strongroom_proto::words::Scheme;
use zeroize::Zeroizing;

use super::{Live, derived, keys, sealing};
use crate::keystore::batch::{HandOver, StoredSeed};
use crate::keystore::secret::Scratch;
use crate::keystore::{KeystoreError, Operation, OtpMac, PROBE_FACTOR, SealedSeed, Seed, TokenId, VaultKey};
use crate::recovery::{ClientRecipient, RecoveryIdentity, hand_over, open_copy, seal_to_client};

/// Seals a seed under another key of its vault, and proves that both seals hold the same seed.
pub(super) fn reseal(
    live: &mut Live,
    scratch: &mut Scratch,
    token: &TokenId,
    seed: &StoredSeed,
    to: &VaultKey,
    identity: Option<&RecoveryIdentity>,
) -> Result<SealedSeed, KeystoreError> {
    let operation = Operation::Reseal;
    let block = match (seed.key.scheme, identity) {
        (Scheme::Derived, _) => open_derived(live, scratch, token, seed)?,
        (Scheme::Resident, Some(identity)) => recovered(seed, identity, operation)?.block(seed.context.algorithm),
        (Scheme::Resident, None) => return Err(not_recovered(seed, operation)),
    };
    let sealed = sealing::seal(live, scratch, token, to, &seed.context, &block)?;
    drop(block);
    let before = probe(live, scratch, token, seed)?;
    let after = sealing::otp_mac(live, scratch, token, to, &seed.context, &sealed, PROBE_FACTOR)?;
    // Neither leaves this process, so the time that the comparison takes tells nobody anything.
    if before.expose() == after.expose() { Ok(sealed) } else { Err(not_recovered(seed, operation)) }
}

/// Says whether the recovery copy opens with this key and holds the seed that is sealed.
pub(super) fn is_recoverable(
    live: &mut Live,
    scratch: &mut Scratch,
    token: &TokenId,
    seed: &StoredSeed,
    identity: &RecoveryIdentity,
) -> Result<bool, KeystoreError> {
    match verified_copy(live, scratch, token, seed, identity, Operation::CheckRecoverable) {
        Ok(_) => Ok(true),
        Err(KeystoreError::NotRecovered { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Opens every copy, checks it against the sealed seed, and encrypts the list of accounts to the client.
pub(super) fn hand_over_file(
    live: &mut Live,
    scratch: &mut Scratch,
    token: &TokenId,
    order: &HandOver,
    identity: &RecoveryIdentity,
) -> Result<Vec<u8>, KeystoreError> {
    let operation = Operation::HandOver;
    let refused = |code: String| KeystoreError::Refused { operation, code };
    let recipient = ClientRecipient::parse(&order.recipient).map_err(|error| refused(error.to_string()))?;
    let mut document = hand_over::Document::begin(order);
    for account in &order.accounts {
        let seed = verified_copy(live, scratch, token, &account.seed, identity, operation)?;
        document.add(account, &seed);
    }
    seal_to_client(&recipient, &document.end()).map_err(|error| refused(error.to_string()))
}

/// Computes the probe's MAC under the key that the store names: the seed is there, and opens.
pub(super) fn probe(
    live: &mut Live,
    scratch: &mut Scratch,
    token: &TokenId,
    seed: &StoredSeed,
) -> Result<OtpMac, KeystoreError> {
    sealing::otp_mac(live, scratch, token, &seed.key, &seed.context, &seed.sealed, PROBE_FACTOR)
}

pub(super) fn verified_copy(
    live: &mut Live,
    scratch: &mut Scratch,
    token: &TokenId,
    seed: &StoredSeed,
    identity: &RecoveryIdentity,
    operation: Operation,
) -> Result<Seed, KeystoreError> {
    let opened = recovered(seed, identity, operation)?;
    let copied = derived::mac(seed.context.algorithm, &opened.block(seed.context.algorithm), PROBE_FACTOR);
    let held = probe(live, scratch, token, seed)?;
    if copied.is_some_and(|copied| copied.expose() == held.expose()) {
        Ok(opened)
    } else {
        Err(not_recovered(seed, operation))
    }
}

fn recovered(seed: &StoredSeed, identity: &RecoveryIdentity, operation: Operation) -> Result<Seed, KeystoreError> {
    let (context, opened) = open_copy(identity, &seed.copy).map_err(|_| not_recovered(seed, operation))?;
    // A copy of another account's seed, or of an older one, must not come back under this name.
    if context == seed.context { Ok(opened) } else { Err(not_recovered(seed, operation)) }
}

fn not_recovered(seed: &StoredSeed, operation: Operation) -> KeystoreError {
    KeystoreError::NotRecovered { operation, account: seed.context.account.to_string() }
}

/// The padded seed of a `derived` seal.
fn open_derived(
    live: &mut Live,
    scratch: &mut Scratch,
    token: &TokenId,
    seed: &StoredSeed,
) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    let operation = Operation::Reseal;
    sealing::check_belongs(token, &seed.key, &seed.context, &seed.sealed, operation)?;
    let handle = keys::verified(&mut live.connection, &seed.key, operation)?;
    let seed_key = derived::seed_key(&live.connection, handle, &seed.context, &seed.sealed.salt, operation)?;
    let associated = seed.sealed.associated_data(&seed.context).into_bytes();
    derived::with_opened(&seed_key, &associated, &seed.sealed.blob, scratch, |block| Zeroizing::new(block.to_vec()))
        .ok_or(KeystoreError::Corrupt { operation })
}
