//! Proof of each sealing scheme: the template, the codes, the attacks. Sealing and releasing go through the code that real
//! seeds go through.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::{Algorithm, OtpKind};

use super::bench::Bench;
use super::{attacks, vectors};
use crate::keystore::pkcs11::connection::{KeyHandle, Transient};
use crate::keystore::pkcs11::fault::At;
use crate::keystore::pkcs11::resident::Unwrapped;
use crate::keystore::pkcs11::template::{self, Life};
use crate::keystore::pkcs11::{derived, resident};
use crate::keystore::secret::Scratch;
use crate::keystore::{KeystoreError, OtpMac, SeedContext};

const TEMPLATE: &str = "the template of a vault key is accepted";
/// What a derived blob of the probe is bound to.
const ASSOCIATED: &[u8] = b"strongroom/probe/v1";

/// The start's part for `resident`: one code, and the attacks that would open a seed.
pub(super) fn resident_at_start(bench: &mut Bench<'_>) {
    let Some((key, ..)) = resident_key(bench) else { return };
    let handle = bench.connection.tag(key.object);
    resident_codes(bench, handle, Algorithm::Sha1, 1);
    match resident::gives_up_seeds(bench.connection, handle, bench.operation) {
        Ok(gives) => {
            bench.judge("a seed cannot be unwrapped as readable", if gives { Err("accepted") } else { Ok("refused") });
        }
        Err(error) => bench.fail("a seed cannot be unwrapped as readable", &error),
    }
}

/// The start's part for `derived`: one code, with the store key where the token knows no session objects.
pub(super) fn derived_at_start(bench: &mut Bench<'_>, own: Option<KeyHandle>) {
    if let Some(own) = own {
        return derived_codes(bench, own, Algorithm::Sha1, 1);
    }
    let Some((key, ..)) = derived_key(bench) else { return };
    let handle = bench.connection.tag(key.object);
    derived_codes(bench, handle, Algorithm::Sha1, 1);
}

/// Everything about `resident`.
pub(super) fn resident(bench: &mut Bench<'_>) {
    let Some((key, label, template)) = resident_key(bench) else { return };
    let handle = bench.connection.tag(key.object);
    bench.seen = Some(handle);
    made_as_asked(bench, key.object, &label, &template);
    for algorithm in Algorithm::ALL {
        resident_codes(bench, handle, *algorithm, usize::MAX);
    }
    attacks::on_resident_seed(bench, handle, key.object);
    attacks::on_vault_key(bench, key.object);
    // A token that broke meanwhile would have refused everything.
    resident_codes(bench, handle, Algorithm::Sha1, 1);
}

/// Everything about `derived`; `own` is a key made beforehand, for tokens that make none.
pub(super) fn derived(bench: &mut Bench<'_>, own: Option<KeyHandle>) {
    let made = if own.is_some() { None } else { derived_key(bench) };
    let handle = match (&made, own) {
        (Some((key, ..)), _) => bench.connection.tag(key.object),
        (None, Some(own)) => own,
        (None, None) => return,
    };
    bench.seen = Some(handle);
    if let Some((key, label, template)) = &made {
        made_as_asked(bench, key.object, label, template);
    } else {
        bench.skip(TEMPLATE, "the token makes no keys: an operator does");
    }
    known_hmac(bench);
    for algorithm in Algorithm::ALL {
        derived_codes(bench, handle, *algorithm, usize::MAX);
    }
    match &made {
        Some((key, ..)) => attacks::on_vault_key(bench, key.object),
        None => attacks::without_changes(bench, handle),
    }
    derived_codes(bench, handle, Algorithm::Sha1, 1);
}

type Made<'a> = (Transient<'a>, String, Vec<Attribute>);

fn resident_key<'a>(bench: &mut Bench<'a>) -> Option<Made<'a>> {
    let made = bench.label().and_then(|label| {
        let id = bench.connection.free_id(&label, bench.operation)?;
        let template = template::resident_vault_key(bench.connection.traits(), bench.life(), &label, id);
        Ok((bench.generate(&Mechanism::AesKeyGen, &template)?, label, template))
    });
    bench.must(TEMPLATE, made)
}

fn derived_key<'a>(bench: &mut Bench<'a>) -> Option<Made<'a>> {
    let made = bench.label().and_then(|label| {
        let id = bench.connection.free_id(&label, bench.operation)?;
        let template = template::hmac_key(bench.connection.traits(), bench.life(), &label, id);
        Ok((bench.generate(&Mechanism::GenericSecretKeyGen, &template)?, label, template))
    });
    bench.must(TEMPLATE, made)
}

/// The key that the token made is the key that was asked for, and the only one under its label.
fn made_as_asked(bench: &mut Bench<'_>, object: ObjectHandle, label: &str, template: &[Attribute]) {
    let session = bench.connection.session();
    let mut different = Vec::new();
    for asked in template {
        let kind = asked.attribute_type();
        // Yes or no only. What the token does not answer counts against it where a seed depends on it.
        let must_answer = matches!(kind, AttributeType::Sensitive | AttributeType::Extractable);
        if !is_flag(asked) {
            continue;
        }
        match session.get_attributes(object, &[kind]).ok().and_then(|found| found.into_iter().next()) {
            Some(found) if found == *asked => {}
            None if !must_answer => {}
            Some(_) | None => different.push(format!("{kind:?}")),
        }
    }
    let made = if different.is_empty() { Ok("as asked") } else { Err(different.join(", ")) };
    bench.judge("it is sensitive, not extractable, and may do nothing else", made);
    let found = bench.connection.find(label, bench.operation);
    if let Some(found) = bench.must("it is found by its label", found) {
        let one = if found == [object] { Ok("one") } else { Err(found.len()) };
        bench.judge("exactly one is found", one);
    }
}

fn is_flag(attribute: &Attribute) -> bool {
    use Attribute as A;
    matches!(
        attribute,
        A::Token(_)
            | A::Private(_)
            | A::Sensitive(_)
            | A::Extractable(_)
            | A::Modifiable(_)
            | A::Copyable(_)
            | A::Encrypt(_)
            | A::Decrypt(_)
            | A::Sign(_)
            | A::Verify(_)
            | A::Wrap(_)
            | A::Unwrap(_)
            | A::Derive(_)
    )
}

/// Compares codes with the vectors, at most so many.
fn codes<S>(
    bench: &mut Bench<'_>,
    algorithm: Algorithm,
    most: usize,
    seal: impl FnOnce(&[u8]) -> Result<S, KeystoreError>,
    mac: impl Fn(&S, u64) -> Result<OtpMac, KeystoreError>,
) {
    let check = format!("the codes of RFC 4226 and 6238, {algorithm}");
    let sealed = vectors::seed(algorithm, bench.operation).and_then(|seed| seal(&seed.block(algorithm)));
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(error) => return bench.fail(&check, &error),
    };
    let mut right = 0;
    for (counter, digits, code) in vectors::of(algorithm).into_iter().take(most) {
        match mac(&sealed, counter) {
            Ok(mac) if vectors::gives(&mac, digits, code) => right += 1,
            Ok(_) => return bench.judge(&check, Err::<&str, _>(format!("a wrong code after {right} right ones"))),
            Err(error) => return bench.fail(&check, &error),
        }
    }
    bench.note(&check, format!("{right} right"));
}

fn resident_codes(bench: &mut Bench<'_>, key: KeyHandle, algorithm: Algorithm, most: usize) {
    let (connection, operation) = (bench.connection, bench.operation);
    codes(
        bench,
        algorithm,
        most,
        |block| resident::wrap(connection, key, block, operation),
        |blob, counter| match resident::mac(connection, key, blob, algorithm, counter, operation)? {
            Unwrapped::Mac(mac) => Ok(mac),
            Unwrapped::RefusedBlob(refused) => Err(refused),
        },
    );
}

fn derived_codes(bench: &mut Bench<'_>, key: KeyHandle, algorithm: Algorithm, most: usize) {
    let (connection, operation) = (bench.connection, bench.operation);
    let context = SeedContext {
        store: OrgId::random(),
        vault: VaultId::random(),
        account: AccountId::random(),
        kind: OtpKind::Totp,
        algorithm,
        digits: 8,
        period_s: 30,
        revision: 1,
    };
    // The vault is new, so the key below is new too: no salt is needed to tell it from others.
    let seed_key = || derived::seed_key(connection, key, &context, &[0; derived::SALT_LEN], operation);
    let wrong_len = || KeystoreError::Device { operation, code: "a MAC of the wrong length".into() };
    codes(
        bench,
        algorithm,
        most,
        |block| derived::encrypt(&seed_key()?, ASSOCIATED, block.to_vec().into()).ok_or_else(wrong_len),
        |blob, counter| {
            let release = |block: &[u8]| derived::mac(algorithm, block, counter);
            derived::with_opened(&seed_key()?, ASSOCIATED, blob, &mut Scratch::new(), release)
                .flatten()
                .ok_or(KeystoreError::Corrupt { operation })
        },
    );
}

/// A known key gives the known MAC. (All else about `derived` would hold with any function in HMAC's place.)
fn known_hmac(bench: &mut Bench<'_>) {
    const CHECK: &str = "HMAC-SHA-256 of RFC 4231 §4.7";
    if bench.life() == Life::Token {
        return bench.skip(CHECK, "no known key is put into a token to stay");
    }
    let session = bench.connection.session();
    let mut template = template::imported_block(bench.connection.traits(), &vectors::HMAC_KEY);
    template.retain(|attribute| !matches!(attribute, Attribute::Sign(_)));
    template.push(Attribute::Sign(true));
    let mac = session.create_object(&template).at(bench.operation).and_then(|object| {
        let key = Transient::new(session, object);
        session.sign(&Mechanism::Sha256Hmac, key.object, vectors::HMAC_MESSAGE).at(bench.operation)
    });
    match mac {
        Ok(mac) if mac == vectors::HMAC_SHA256 => bench.note(CHECK, "right".into()),
        Ok(_) => bench.judge(CHECK, Err::<&str, _>("a wrong MAC")),
        Err(error) => bench.fail(CHECK, &error),
    }
}

/// An attacker's own AES key under which something could be carried away. `None` where the token makes no such key.
pub(super) fn own_wrapping_key<'a>(bench: &Bench<'a>) -> Option<Transient<'a>> {
    let label = bench.label().ok()?;
    bench.generate(&Mechanism::AesKeyGen, &template::weak_resident_vault_key(Life::Session, &label)).ok()
}

/// The value of an object, if the token gives it away.
pub(super) fn value_of(bench: &Bench<'_>, object: ObjectHandle) -> Option<Vec<u8>> {
    let found = bench.connection.session().get_attributes(object, &[AttributeType::Value]).ok()?;
    found.into_iter().find_map(|attribute| match attribute {
        Attribute::Value(value) if !value.is_empty() => Some(value),
        _ => None,
    })
}

/// The class and type that every template of an unwrapped seed starts with.
pub(super) const UNWRAPPED: [Attribute; 2] =
    [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::GENERIC_SECRET)];
