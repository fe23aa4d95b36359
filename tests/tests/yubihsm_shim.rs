//! The shim's strict mode refuses what yubihsm_pkcs11 refuses, with its answers, and what it takes works on the token beneath.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::{Session, UserType};
use strongroom_tests::faulty_module::FaultyModule;
use strongroom_tests::fresh_token::with_token;
use strongroom_tests::token::softhsm_module;

/// Authentication key 1 and its password, as yubihsm_pkcs11 wants it.
const PIN: &str = "0001password";
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> RvError {
    match answer {
        Err(Error::Pkcs11(value, _)) => value,
        other => panic!("not refused: {other:?}"),
    }
}

/// An HMAC key as the device takes it.
fn hmac_key(label: &str, id: u16) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::SHA256_HMAC),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Label(label.into()),
        Attribute::Id(id.to_be_bytes().to_vec()),
    ]
}

fn with(label: &str, id: u16, attribute: Attribute) -> Vec<Attribute> {
    let mut template = hmac_key(label, id);
    let kind = attribute.attribute_type();
    template.retain(|other| other.attribute_type() != kind);
    template.push(attribute);
    template
}

fn generate(session: &Session, template: &[Attribute]) -> Result<cryptoki::object::ObjectHandle, Error> {
    session.generate_key(&Mechanism::GenericSecretKeyGen, template)
}

fn open(module: &FaultyModule) -> Session {
    let context = Pkcs11::new(module.path()).unwrap();
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = context.get_slots_with_initialized_token().unwrap()[0];
    let offered = context.get_mechanism_list(slot).unwrap();
    assert!(offered.contains(&MechanismType::SHA256_HMAC) && !offered.contains(&MechanismType::AES_KEY_WRAP));
    context.get_mechanism_info(slot, MechanismType::SHA256_HMAC).unwrap();
    assert_eq!(refusal(context.get_mechanism_info(slot, MechanismType::AES_GCM)), RvError::MechanismInvalid);
    context.open_rw_session(slot).unwrap()
}

#[test]
fn templates_mechanisms_and_finds_are_refused_as_by_the_device() {
    with_token("templates_mechanisms_and_finds_are_refused_as_by_the_device", PIN, |_| {
        let module = FaultyModule::yubihsm_before(&softhsm_module(), 256);
        let session = open(&module);
        assert_eq!(refusal(session.login(UserType::So, Some(&PIN.into()))), RvError::UserTypeInvalid);
        for pin in ["password", "0001short", "000gpassword"] {
            assert_eq!(refusal(session.login(UserType::User, Some(&pin.into()))), RvError::PinIncorrect, "{pin}");
        }
        session.login(UserType::User, Some(&PIN.into())).unwrap();

        let types = [
            Attribute::ValueLen(32.into()),
            Attribute::AllowedMechanisms(vec![MechanismType::SHA256_HMAC]),
            Attribute::WrapWithTrusted(true),
        ];
        for attribute in types {
            let refused = refusal(generate(&session, &with("a", 1, attribute.clone())));
            assert_eq!(refused, RvError::AttributeTypeInvalid, "{attribute:?}");
        }
        let values = [
            Attribute::Token(false),
            Attribute::Private(false),
            Attribute::Sensitive(false),
            Attribute::Modifiable(true),
            Attribute::Copyable(true),
            Attribute::Destroyable(false),
            Attribute::Derive(true),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Label(vec![b'x'; 41]),
            Attribute::Id(vec![7; 16]),
        ];
        for attribute in values {
            let refused = refusal(generate(&session, &with("a", 1, attribute.clone())));
            assert_eq!(refused, RvError::AttributeValueInvalid, "{attribute:?}");
        }
        let import = |attribute| {
            let template = [with("a", 1, attribute), vec![Attribute::Value(vec![7; 32])]].concat();
            session.create_object(&template)
        };
        assert_eq!(refusal(import(Attribute::Token(false))), RvError::AttributeValueInvalid);

        // What it takes is a working HMAC-SHA-256 key.
        let key =
            generate(&session, &with("longest label that needs no meta object.", 1, Attribute::Verify(true))).unwrap();
        let mac = session.sign(&Mechanism::Sha256Hmac, key, b"text").unwrap();
        session.verify(&Mechanism::Sha256Hmac, key, b"text", &mac).unwrap();
        let imported = import(Attribute::Id(vec![0, 2])).unwrap();
        assert_eq!(session.sign(&Mechanism::Sha256Hmac, imported, b"text").unwrap().len(), 32);
        assert_eq!(refusal(generate(&session, &hmac_key("b", 1))), RvError::AttributeValueInvalid, "the id is in use");

        // What cannot be done with it.
        let wrap = session.wrap_key(&Mechanism::AesKeyWrap, key, imported);
        assert_eq!(refusal(wrap), RvError::MechanismInvalid);
        let unwrap = session.unwrap_key(&Mechanism::AesKeyWrap, key, &[0; 40], &hmac_key("c", 3));
        assert_eq!(refusal(unwrap), RvError::MechanismInvalid);
        assert_eq!(refusal(session.copy_object(key, &[])), RvError::FunctionNotSupported);
        assert_eq!(refusal(session.get_attributes(key, &[AttributeType::KeyType])), RvError::FunctionFailed);
        assert_eq!(session.get_attributes(key, &[AttributeType::Label]).unwrap().len(), 1);

        let class = Attribute::Class(ObjectClass::SECRET_KEY);
        let found = |more: Vec<Attribute>| session.find_objects(&[vec![class.clone()], more].concat()).unwrap().len();
        assert_eq!(found(vec![]), 2);
        assert_eq!(found(vec![Attribute::Label(b"a".to_vec())]), 1);
        assert_eq!(found(vec![Attribute::Id(vec![0, 1])]), 1);
        assert_eq!(found(vec![Attribute::KeyType(KeyType::SHA256_HMAC), Attribute::Token(true)]), 2);
        assert_eq!(found(vec![Attribute::Private(true)]), 0);
        assert_eq!(found(vec![Attribute::Sign(true)]), 0);
    });
}

#[test]
fn key_pairs_are_made_as_the_device_makes_them() {
    with_token("key_pairs_are_made_as_the_device_makes_them", PIN, |_| {
        let module = FaultyModule::yubihsm_before(&softhsm_module(), 256);
        let session = open(&module);
        session.login(UserType::User, Some(&PIN.into())).unwrap();
        let half =
            |label: &str| vec![Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(vec![0, 9])];
        let pair = |public: Vec<Attribute>, label: &str, private: Vec<Attribute>| {
            let public = [half("pair"), vec![Attribute::EcParams(P256.to_vec())], public].concat();
            session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &[half(label), private].concat())
        };
        let mechanisms = vec![Attribute::AllowedMechanisms(vec![MechanismType::ECDSA])];
        assert_eq!(refusal(pair(vec![], "pair", mechanisms)), RvError::AttributeTypeInvalid);
        assert_eq!(refusal(pair(vec![], "pair", vec![Attribute::Decrypt(true)])), RvError::AttributeValueInvalid);
        assert_eq!(refusal(pair(vec![Attribute::Wrap(true)], "pair", vec![])), RvError::AttributeValueInvalid);
        assert_eq!(refusal(pair(vec![], "other", vec![])), RvError::TemplateInconsistent);
        let (public, private) = pair(vec![Attribute::Verify(true)], "pair", vec![Attribute::Sign(true)]).unwrap();
        let signature = session.sign(&Mechanism::Ecdsa, private, &[7; 32]).unwrap();
        session.verify(&Mechanism::Ecdsa, public, &[7; 32], &signature).unwrap();
    });
}

#[test]
fn a_full_device_says_so() {
    with_token("a_full_device_says_so", PIN, |_| {
        let module = FaultyModule::yubihsm_before(&softhsm_module(), 256);
        let session = open(&module);
        session.login(UserType::User, Some(&PIN.into())).unwrap();
        // The device's own authentication key takes one place of 256.
        for id in 1..=255 {
            generate(&session, &hmac_key(&format!("key-{id}"), id)).unwrap();
        }
        assert_eq!(refusal(generate(&session, &hmac_key("one-more", 256))), RvError::DeviceMemory);
        let first = session.find_objects(&[Attribute::Id(vec![0, 1])]).unwrap()[0];
        session.destroy_object(first).unwrap();
        generate(&session, &hmac_key("one-more", 256)).unwrap();
    });
}
