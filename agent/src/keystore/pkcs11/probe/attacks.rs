//! What somebody with the PIN and the module could try. Each must fail; the negative control is in the tests, where the same
//! probe finds a key without its unwrap template out.

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectHandle};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use super::bench::Bench;
use super::schemes::{UNWRAPPED, own_wrapping_key, value_of};
use crate::keystore::KeystoreError;
use crate::keystore::pkcs11::connection::{KeyHandle, Transient};
use crate::keystore::pkcs11::fault::At;
use crate::keystore::pkcs11::profile::Unnameable;
use crate::keystore::pkcs11::resident::{self, MECHANISM as KEY_WRAP};
use crate::keystore::pkcs11::template;
use crate::keystore::pkcs11::{IDENTITY_MECHANISM, keys};

/// Attacks on a sealed resident seed, and on the seed while it is unwrapped.
pub(super) fn on_resident_seed(bench: &mut Bench<'_>, key: KeyHandle, vault_key: ObjectHandle) {
    let (connection, operation) = (bench.connection, bench.operation);
    let session = connection.session();
    let blob = match resident::wrap(connection, key, &[0x5a; 64], operation) {
        Ok(blob) => blob,
        Err(error) => return bench.fail("a seed can be sealed to attack it", &error),
    };
    use Attribute::{Derive, Extractable, Sensitive, Token};
    let wishes: [(&str, [Attribute; 4]); 5] = [
        (
            "a seed cannot be unwrapped as extractable",
            [Sensitive(true), Extractable(true), Token(false), Derive(false)],
        ),
        ("... nor as not sensitive", [Sensitive(false), Extractable(false), Token(false), Derive(false)]),
        ("... nor as both", [Sensitive(false), Extractable(true), Token(false), Derive(false)]),
        ("... nor as a token object", [Sensitive(true), Extractable(false), Token(true), Derive(false)]),
        ("... nor to derive from it", [Sensitive(true), Extractable(false), Token(false), Derive(true)]),
    ];
    for (check, wish) in wishes {
        let template = [UNWRAPPED.as_slice(), &wish].concat();
        let unwrapped = session.unwrap_key(&KEY_WRAP, vault_key, &blob, &template);
        bench.refused(check, unwrapped.map(|object| Transient::new(session, object)));
    }
    for (check, mechanism) in [
        ("a sealed seed cannot be decrypted (ECB)", Mechanism::AesEcb),
        ("a sealed seed cannot be decrypted (CBC)", Mechanism::AesCbc([0; 16])),
    ] {
        bench.refused(check, session.decrypt(&mechanism, vault_key, blob.get(..64).unwrap_or(&blob)));
    }
    bench.refused(
        "a sealed seed cannot be unwrapped by another mechanism",
        session.unwrap_key(
            &Mechanism::AesKeyWrapPad,
            vault_key,
            &blob,
            &template::unwrapped(connection.traits(), true, false),
        ),
    );
    let template = template::unwrapped_seed(connection.traits());
    let unwrapped = session.unwrap_key(&KEY_WRAP, vault_key, &blob, &template).at(operation);
    let Some(object) = bench.must("a seed is unwrapped for one code", unwrapped) else { return };
    let seed = Transient::new(session, object);
    bench.judge("... and cannot be read then", unreadable(bench, seed.object));
    bench.refused("... nor wrapped again", session.wrap_key(&KEY_WRAP, vault_key, seed.object));
    match own_wrapping_key(bench) {
        Some(own) => bench
            .refused("... nor wrapped under a key of one's own", session.wrap_key(&KEY_WRAP, own.object, seed.object)),
        None => bench.skip("... nor wrapped under a key of one's own", "the token makes no such key"),
    }
    for (check, change) in
        [("... nor made extractable", Extractable(true)), ("... nor made readable", Sensitive(false))]
    {
        bench.refused(check, session.update_attributes(seed.object, std::slice::from_ref(&change)));
        bench.refused(&format!("{check} in a copy"), copy(bench, seed.object, change));
    }
    bench.refused("... nor kept as a token object", copy(bench, seed.object, Token(true)));
}

/// Attacks on a temporary vault key of either scheme.
pub(super) fn on_vault_key(bench: &mut Bench<'_>, key: ObjectHandle) {
    let (session, traits) = (bench.connection.session(), bench.connection.traits());
    bench.judge("the vault key cannot be read", unreadable(bench, key));
    let mut changes = vec![
        ("... nor made extractable", Attribute::Extractable(true)),
        ("... nor made readable", Attribute::Sensitive(false)),
        ("... nor made to decrypt", Attribute::Decrypt(true)),
        ("... nor made to derive", Attribute::Derive(true)),
    ];
    if !traits.cannot_name(Unnameable::Modifiable) {
        changes.push(("... nor made modifiable", Attribute::Modifiable(true)));
        changes.push(("... nor given another label", Attribute::Label(b"sr:probe:taken".to_vec())));
    }
    if !traits.cannot_name(Unnameable::AllowedMechanisms) {
        let any = Attribute::AllowedMechanisms(vec![MechanismType::AES_ECB]);
        changes.push(("... nor given another mechanism", any));
    }
    if !traits.cannot_name(Unnameable::UnwrapTemplate) {
        let none = Attribute::VendorDefined((template::UNWRAP_TEMPLATE, Vec::new()));
        changes.push(("... nor relieved of its unwrap template", none));
    }
    for (check, change) in changes {
        bench.refused(check, session.update_attributes(key, std::slice::from_ref(&change)));
    }
    bench.refused("... nor copied as extractable", copy(bench, key, Attribute::Extractable(true)));
    bench.refused("... nor copied as readable", copy(bench, key, Attribute::Sensitive(false)));
    other_uses(bench, key);
    match own_wrapping_key(bench) {
        Some(own) => {
            bench.refused("... nor wrapped under a key of one's own", session.wrap_key(&KEY_WRAP, own.object, key))
        }
        None => bench.skip("... nor wrapped under a key of one's own", "the token makes no such key"),
    }
    if traits.cannot_name(Unnameable::AllowedMechanisms) {
        bench.skip("it computes no HMAC-SHA-1 (an OTP of its own)", "the profile cannot forbid it");
    } else {
        let mac = session.sign(&Mechanism::Sha1Hmac, key, b"strongroom/probe/v1");
        bench.refused("it computes no HMAC-SHA-1 (an OTP of its own)", mac);
    }
}

/// The attacks that change nothing, for a key that is to stay.
pub(super) fn without_changes(bench: &mut Bench<'_>, key: KeyHandle) {
    let Some(object) =
        bench.must("the key made beforehand is in the token", bench.connection.object(key, bench.operation))
    else {
        return;
    };
    bench.judge("it cannot be read", unreadable(bench, object));
    other_uses(bench, object);
    bench.skip("it cannot be changed or copied", "tried on temporary keys only, and the token makes none");
}

fn other_uses(bench: &mut Bench<'_>, key: ObjectHandle) {
    let session = bench.connection.session();
    for (check, mechanism) in
        [("... nor used to decrypt (ECB)", Mechanism::AesEcb), ("... nor (CBC)", Mechanism::AesCbc([0; 16]))]
    {
        bench.refused(check, session.decrypt(&mechanism, key, &[0; 64]));
    }
    bench.refused("... nor used to encrypt", session.encrypt(&Mechanism::AesEcb, key, &[0; 64]));
}

/// The agent identity's templates: a pair made by them signs what its public half verifies, and does not leave the token.
pub(super) fn identity(bench: &mut Bench<'_>) {
    let (connection, operation) = (bench.connection, bench.operation);
    let session = connection.session();
    let made = bench.label().and_then(|label| {
        let (traits, life) = (connection.traits(), bench.life());
        let id = connection.free_id(&label, operation)?;
        let public = template::identity_public(traits, life, &label, id.clone());
        let private = template::identity_private(traits, life, &label, id);
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).at(operation)
    });
    let Some((public, private)) = bench.must("the templates of an identity are accepted", made) else { return };
    // Destroyed in the other order: where both halves are one object, the private one takes the public one with it.
    let public = Transient::new_if_still_there(session, public);
    let private = Transient::new(session, private);
    let verified = keys::point(connection, public.object, operation).and_then(|point| {
        let text = b"strongroom/probe/v1";
        let digest = Sha256::digest(text);
        let signature = session.sign(&IDENTITY_MECHANISM, private.object, &digest).at(operation)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(text, &signature)
            .map_err(|_| KeystoreError::Refused { operation, code: "the signature is wrong".into() })
    });
    bench.must("its signature verifies", verified);
    bench.judge("it cannot be read", unreadable(bench, private.object));
    bench.refused(
        "... nor made extractable",
        session.update_attributes(private.object, &[Attribute::Extractable(true)]),
    );
    bench.refused("... nor copied as extractable", copy(bench, private.object, Attribute::Extractable(true)));
    match own_wrapping_key(bench) {
        Some(own) => {
            let wrapped = session.wrap_key(&Mechanism::AesKeyWrapPad, own.object, private.object);
            bench.refused("... nor wrapped under a key of one's own", wrapped);
        }
        None => bench.skip("... nor wrapped under a key of one's own", "the token makes no such key"),
    }
}

fn unreadable(bench: &Bench<'_>, object: ObjectHandle) -> Result<&'static str, &'static str> {
    if value_of(bench, object).is_some() { Err("readable") } else { Ok("nothing comes") }
}

fn copy<'a>(
    bench: &Bench<'a>,
    object: ObjectHandle,
    change: Attribute,
) -> Result<Transient<'a>, cryptoki::error::Error> {
    let session = bench.connection.session();
    session.copy_object(object, &[change]).map(|copy| Transient::new(session, copy))
}
