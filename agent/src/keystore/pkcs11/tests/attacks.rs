//! What somebody with the PIN and the module can do to a seed: nothing that reveals it. The negative control is the same
//! key without its unwrap template: every attack on the seed succeeds there, so these tests can fail.

use std::sync::LazyLock;

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use strongroom_proto::ids::VaultId;
use strongroom_proto::words::Scheme;

use super::context;
use crate::keystore::fixture::token_test;
use crate::keystore::pkcs11::profile::{KeyTraits, TokenProfile};
use crate::keystore::pkcs11::template::Life;
use crate::keystore::pkcs11::{Pkcs11Keystore, template};
use crate::keystore::{Keystore, Seed};

const SECRET: &[u8] = b"recognisable-seed-7q";
static TRAITS: LazyLock<KeyTraits> = LazyLock::new(|| TokenProfile::default().keys);
const KEY_WRAP: Mechanism<'static> = Mechanism::AesKeyWrap;

/// The attacker's logged-in read-write session: the login is the process's.
fn attacker(keystore: &Pkcs11Keystore) -> Session {
    let state = keystore.state.lock().unwrap();
    state.live.connection.management_session(crate::keystore::Operation::Open).unwrap()
}

fn find(session: &Session, label: &str) -> ObjectHandle {
    session.find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(label.into())]).unwrap()[0]
}

fn unwrap_with(session: &Session, key: ObjectHandle, blob: &[u8], wish: &[Attribute]) -> Result<ObjectHandle, RvError> {
    let mut template = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::GENERIC_SECRET)];
    template.extend_from_slice(wish);
    session.unwrap_key(&KEY_WRAP, key, blob, &template).map_err(value)
}

fn value(error: Error) -> RvError {
    match error {
        Error::Pkcs11(value, _) => value,
        other => panic!("{other}"),
    }
}

fn read(session: &Session, object: ObjectHandle) -> Option<Vec<u8>> {
    session.get_attributes(object, &[AttributeType::Value]).ok()?.into_iter().find_map(|attribute| match attribute {
        Attribute::Value(value) => Some(value),
        _ => None,
    })
}

/// Every way to ask for a seed that can be read, wrapped, kept or derived from.
fn wishes() -> Vec<Vec<Attribute>> {
    use Attribute::{Derive, Extractable, Sensitive, Token};
    let fixed = |sensitive, extractable, token, derive| {
        vec![Sensitive(sensitive), Extractable(extractable), Token(token), Derive(derive)]
    };
    vec![
        fixed(true, true, false, false),
        fixed(false, false, false, false),
        fixed(false, true, false, false),
        fixed(true, false, true, false),
        fixed(true, false, false, true),
        fixed(false, true, true, true),
        vec![Sensitive(false), Extractable(true)],
        vec![Extractable(true)],
        vec![],
        vec![Sensitive(true), Extractable(false), Token(false), Derive(false), Extractable(true)],
    ]
}

token_test! {
    fn with_the_pin_a_resident_seed_cannot_be_read(token) {
        let keystore = token.keystore();
        let key = keystore.create_vault_key(VaultId::random(), 1, Scheme::Resident).unwrap();
        let home = context(key.vault);
        let sealed = keystore.seal(&key, &home, &Seed::new(SECRET.to_vec()).unwrap()).unwrap();
        let session = attacker(&keystore);
        let vault_key = find(&session, &key.label);

        for wish in wishes() {
            match unwrap_with(&session, vault_key, &sealed.blob, &wish) {
                // kryoptic fills in what a wish leaves open: then it must be as the vault key says.
                Ok(object) if wish.is_empty() => {
                    let protection = [Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::Token(false)];
                    let asked = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::Token];
                    assert_eq!(session.get_attributes(object, &asked).unwrap(), protection);
                    assert!(read(&session, object).is_none_or(|value| value.is_empty()));
                }
                refused => assert_eq!(refused, Err(RvError::TemplateInconsistent), "{wish:?}"),
            }
        }
        // As a key of another kind the token may take it, but 64 bytes are no AES key: nothing can be done with it.
        let aes = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Token(false),
            Attribute::Derive(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(true),
            Attribute::Unwrap(true),
        ];
        if let Ok(seed) = session.unwrap_key(&KEY_WRAP, vault_key, &sealed.blob, &aes) {
            assert!(session.encrypt(&Mechanism::AesEcb, seed, &[0; 16]).is_err());
            assert!(session.decrypt(&Mechanism::AesEcb, seed, &[0; 16]).is_err());
            let import = session.create_object(&template::imported_block(&TRAITS, &[1; 64])).unwrap();
            assert!(session.wrap_key(&KEY_WRAP, seed, import).is_err());
        }
        // The one way that is left gives a key that signs, and nothing else.
        let seed = session.unwrap_key(&KEY_WRAP, vault_key, &sealed.blob, &template::unwrapped_seed(&TRAITS)).unwrap();
        assert!(read(&session, seed).is_none_or(|value| value.is_empty()));
        assert_eq!(value(session.wrap_key(&KEY_WRAP, vault_key, seed).unwrap_err()), RvError::KeyUnextractable);
        for change in [Attribute::Extractable(true), Attribute::Sensitive(false)] {
            assert!(session.update_attributes(seed, std::slice::from_ref(&change)).is_err(), "{change:?}");
            assert!(session.copy_object(seed, &[change]).is_err());
        }
        assert!(session.copy_object(seed, &[Attribute::Token(true)]).is_err());
    }
}

token_test! {
    fn with_the_pin_a_vault_key_does_nothing_but_its_work(token) {
        let keystore = token.keystore();
        let session = attacker(&keystore);
        for scheme in Scheme::ALL {
            let key = keystore.create_vault_key(VaultId::random(), 1, *scheme).unwrap();
            let sealed = keystore.seal(&key, &context(key.vault), &Seed::new(SECRET.to_vec()).unwrap()).unwrap();
            let vault_key = find(&session, &key.label);

            assert!(read(&session, vault_key).is_none_or(|value| value.is_empty()));
            let blob = &sealed.blob[..64];
            for mechanism in [Mechanism::AesEcb, Mechanism::AesCbc([0; 16]), Mechanism::AesCbcPad([0; 16])] {
                assert!(session.decrypt(&mechanism, vault_key, blob).is_err(), "{mechanism:?}");
                assert!(session.encrypt(&mechanism, vault_key, blob).is_err(), "{mechanism:?}");
            }
            let changes = [
                Attribute::Extractable(true),
                Attribute::Sensitive(false),
                Attribute::Decrypt(true),
                Attribute::Encrypt(true),
                Attribute::Derive(true),
                Attribute::Modifiable(true),
                Attribute::Copyable(true),
                Attribute::Label(b"sr:other".to_vec()),
                Attribute::AllowedMechanisms(vec![MechanismType::AES_ECB]),
                Attribute::VendorDefined((template::UNWRAP_TEMPLATE, Vec::new())),
            ];
            for change in changes {
                let refused = session.update_attributes(vault_key, std::slice::from_ref(&change));
                assert_eq!(value(refused.unwrap_err()), RvError::ActionProhibited, "{change:?}");
                assert!(session.copy_object(vault_key, &[change]).is_err());
            }
            assert!(session.copy_object(vault_key, &[]).is_err());
            // Wrapping under a mechanism whose blobs could be opened or forged otherwise.
            let import = session.create_object(&template::imported_block(&TRAITS, &[1; 64])).unwrap();
            for mechanism in [Mechanism::AesKeyWrapPad, Mechanism::AesCbcPad([0; 16])] {
                assert!(session.wrap_key(&mechanism, vault_key, import).is_err(), "{mechanism:?}");
            }
            // Carrying the vault key away under a key of one's own, or another mechanism.
            let own = session.generate_key(&Mechanism::AesKeyGen, &template::weak_resident_vault_key(Life::Token, "own")).unwrap();
            for mechanism in [KEY_WRAP, Mechanism::AesKeyWrapPad, Mechanism::AesCbcPad([0; 16])] {
                assert!(session.wrap_key(&mechanism, own, vault_key).is_err(), "{mechanism:?}");
                assert!(session.unwrap_key(&Mechanism::AesKeyWrapPad, vault_key, &sealed.blob, &template::unwrapped(&TRAITS, true, false)).is_err());
            }
            session.destroy_object(own).unwrap();
            // Under `derived` the key MACs with SHA-256 only: no OTPs of its own.
            assert!(session.sign(&Mechanism::Sha1Hmac, vault_key, b"x").is_err());
            assert_eq!(session.sign(&Mechanism::Sha256Hmac, vault_key, b"x").is_ok(), *scheme == Scheme::Derived);
        }
    }
}

token_test! {
    fn with_the_pin_the_agent_identity_cannot_be_taken_away(token) {
        let keystore = token.keystore();
        let session = attacker(&keystore);
        let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(b"sr:agent-identity".to_vec())];
        let identity = session.find_objects(&template).unwrap()[0];
        assert!(read(&session, identity).is_none_or(|value| value.is_empty()));
        assert!(session.update_attributes(identity, &[Attribute::Extractable(true)]).is_err());
        assert!(session.copy_object(identity, &[]).is_err());
        let own = session.generate_key(&Mechanism::AesKeyGen, &template::weak_resident_vault_key(Life::Token, "own")).unwrap();
        assert!(session.wrap_key(&Mechanism::AesKeyWrapPad, own, identity).is_err());
    }
}

token_test! {
    fn control_without_the_unwrap_template_the_same_attacks_read_the_seed(token) {
        let keystore = token.keystore();
        let session = attacker(&keystore);
        let weak = session.generate_key(&Mechanism::AesKeyGen, &template::weak_resident_vault_key(Life::Token, "weak")).unwrap();
        let block = Seed::new(SECRET.to_vec()).unwrap().block(strongroom_proto::words::Algorithm::Sha1).to_vec();
        let import = session.create_object(&template::imported_block(&TRAITS, &block)).unwrap();
        let blob = session.wrap_key(&KEY_WRAP, weak, import).unwrap();
        let readable = wishes().into_iter().filter(|wish| {
            unwrap_with(&session, weak, &blob, wish)
                .is_ok_and(|object| read(&session, object).as_deref() == Some(block.as_slice()))
        });
        assert!(readable.count() >= 2, "the attacks no longer work where they must: these tests prove nothing");
        // The probe that create_vault_key makes tells the two apart.
        let state = keystore.state.lock().unwrap();
        let connection = &state.live.connection;
        let weak = connection.tag(weak);
        let operation = crate::keystore::Operation::CreateVaultKey;
        assert!(super::super::resident::gives_up_seeds(connection, weak, operation).unwrap());
    }
}
