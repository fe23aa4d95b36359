//! The active probe: what a profile claims is proven on the real token, with temporary keys made by the same templates and
//! used by the same code as real ones. Nothing is believed because a mechanism list says so.
//!
//! Temporary keys are session objects where the token knows such; elsewhere token objects labelled `sr:probe:…`, destroyed
//! on every way out. What a killed probe left is destroyed by the next one.

mod attacks;
mod bench;
mod schemes;
mod vectors;

use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use strongroom_proto::words::Scheme;

use self::bench::Bench;
use super::connection::{Connection, KeyHandle};
use super::fault::At;
use super::label::{PROBE, STORE_KEYS};
use super::profile::TokenProfile;
use super::{TokenConfig, keys};
use crate::keystore::{ErrorClass, KeystoreError, Operation, ProbeReport, TokenId};

/// The part of the probe that every start makes: each allowed scheme gives a code of the RFC, and the token refuses to give
/// up a resident seed. It leaves nothing in the token: without session objects it uses the store key instead of a new one.
///
/// # Errors
/// `Unproven` naming the check that failed; the token's own class if the token is in trouble.
pub(super) fn at_start(
    connection: &mut Connection,
    profile: &TokenProfile,
    operation: Operation,
) -> Result<(), KeystoreError> {
    let own = (!profile.keys.session_objects).then(|| connection.key(STORE_KEYS, operation)).transpose()?;
    let mut bench = Bench::new(connection, operation);
    for scheme in &profile.schemes.allowed {
        bench.scheme = Some(*scheme);
        match scheme {
            Scheme::Resident => schemes::resident_at_start(&mut bench),
            Scheme::Derived => schemes::derived_at_start(&mut bench, own),
        }
    }
    bench.verdict(&profile.name)
}

/// The whole probe.
///
/// # Errors
/// The classes of the token, if it cannot be probed at all.
pub(super) fn probe(
    connection: &mut Connection,
    config: &TokenConfig,
    token: &TokenId,
    operation: Operation,
) -> Result<ProbeReport, KeystoreError> {
    connection.with_management_session(operation, |connection| run(connection, config, token, operation))?
}

fn run(
    connection: &mut Connection,
    config: &TokenConfig,
    token: &TokenId,
    operation: Operation,
) -> Result<ProbeReport, KeystoreError> {
    let profile = &config.profile;
    let module = connection.module().description();
    let left = sweep(connection, operation)?;
    let own = own_keys(connection, profile, operation);
    let held = profile.objects.map(|objects| connection.count(objects.counted, operation)).transpose()?;

    let mut bench = Bench::new(connection, operation);
    bench.note("leftovers of an earlier probe", if left == 0 { "none".into() } else { format!("{left} destroyed") });
    match (profile.objects, held) {
        (Some(objects), Some(held)) => {
            let room = if held + 2 <= objects.max { Ok(format!("{held} of {}", objects.max)) } else { Err(held) };
            bench.judge("there is room for the probe's two keys", room.map_err(|held| format!("{held} objects")));
        }
        _ => bench.skip("there is room for the probe's two keys", "the profile names no limit"),
    }
    match own {
        Some(Ok(_)) => bench.note("the keys made beforehand sign and compute", "verified".into()),
        Some(Err(ref error)) => bench.fail("the keys made beforehand sign and compute", error),
        None => attacks::identity(&mut bench),
    }
    let own = own.and_then(Result::ok);
    if own.is_some() || !profile.keys.provisioned {
        for scheme in &profile.schemes.allowed {
            bench.scheme = Some(*scheme);
            match scheme {
                Scheme::Resident => schemes::resident(&mut bench),
                Scheme::Derived => schemes::derived(&mut bench, own),
            }
        }
    }
    let Bench { rows, seen, .. } = bench;
    let mut rows = rows;
    // A handle from before must not be used after a new enumeration: it may name another key by then.
    connection.enumerate(operation)?;
    let stale = seen.map(|handle| connection.object(handle, operation).is_err());
    let left = sweep(connection, operation)?;
    let mut bench = Bench::new(connection, operation);
    if let Some(refused) = stale {
        bench.judge("a handle of an earlier generation is refused", if refused { Ok("refused") } else { Err("taken") });
    }
    bench.judge("the temporary keys are gone", if left == 0 { Ok("none left") } else { Err("destroyed only now") });
    rows.append(&mut bench.rows);
    Ok(ProbeReport { profile: profile.name.clone(), token: token.clone(), module, rows })
}

/// The keys that an operator made on a token that makes none: the store key, after both were used. `None` elsewhere.
fn own_keys(
    connection: &mut Connection,
    profile: &TokenProfile,
    operation: Operation,
) -> Option<Result<KeyHandle, KeystoreError>> {
    let mut check = || {
        let identity = keys::identity_point(connection, operation)?;
        keys::check_identity(connection, &identity, operation)?;
        keys::canary(connection, operation)?;
        connection.key(STORE_KEYS, operation)
    };
    profile.keys.provisioned.then(&mut check)
}

/// Destroys what a probe left, and counts it.
fn sweep(connection: &Connection, operation: Operation) -> Result<usize, KeystoreError> {
    let session = connection.session();
    let mut destroyed = 0;
    // The private half first: where both halves are one object, the public one is gone with it.
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        for object in session.find_objects(&[Attribute::Class(class)]).at(operation)? {
            let label = match session.get_attributes(object, &[AttributeType::Label]).at(operation) {
                Ok(attributes) => attributes.into_iter().next(),
                // Gone since: another process destroys keys too.
                Err(error) if error.class() == ErrorClass::Handle => None,
                Err(error) => return Err(error),
            };
            if matches!(label, Some(Attribute::Label(label)) if label.starts_with(PROBE.as_bytes())) {
                session.destroy_object(object).at(operation)?;
                destroyed += 1;
            }
        }
    }
    Ok(destroyed)
}
