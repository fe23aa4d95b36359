//! The active probe on a real token: it passes on SoftHSM, fails where a profile claims too much, and leaves nothing behind.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use strongroom_proto::ids::VaultId;
use strongroom_proto::words::Scheme;

use crate::keystore::fixture::{TestToken, token_test};
use crate::keystore::pkcs11::profile::{Counted, ObjectBudget, PinForm, PinShape, Unnameable};
use crate::keystore::pkcs11::template::Life;
use crate::keystore::pkcs11::{Pkcs11Keystore, TokenConfig, TokenSelector, template};
use crate::keystore::{ErrorClass, Keystore, KeystoreError, Operation, Outcome, ProbeReport};

fn failures(report: &ProbeReport) -> Vec<&str> {
    report.rows.iter().filter(|row| row.outcome == Outcome::Failed).map(|row| row.check.as_str()).collect()
}

/// The labels of all objects in the token, as another session sees them.
fn labels(keystore: &Pkcs11Keystore) -> usize {
    let state = keystore.state.lock().unwrap();
    let connection = &state.live.connection;
    [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY]
        .map(|class| connection.session().find_objects(&[Attribute::Class(class)]).unwrap().len())
        .iter()
        .sum()
}

/// SoftHSM as a token without session objects: what a YubiHSM 2 is to the probe.
fn without_session_objects(token: &TestToken) -> TokenConfig {
    let mut config = token.config();
    config.profile.keys.session_objects = false;
    config.profile.schemes.allowed = vec![Scheme::Derived];
    config.profile.schemes.default = Scheme::Derived;
    config.profile.check().unwrap();
    config
}

token_test! {
    fn softhsm_keeps_what_its_profile_claims(token) {
        // Also before there are keys of ours: init probes first.
        let bare = Pkcs11Keystore::probe_token(&token.config(), &token.pin()).unwrap();
        assert!(bare.passed(), "{bare}");
        let keystore = token.keystore();
        keystore.create_vault_key(VaultId::random(), 1, Scheme::Resident).unwrap();
        let before = labels(&keystore);
        let report = keystore.probe().unwrap();
        assert!(report.passed(), "{report}");
        assert_eq!(labels(&keystore), before);
        for scheme in Scheme::ALL {
            for algorithm in ["SHA1", "SHA256", "SHA512"] {
                let proven = report.rows.iter().any(|row| {
                    row.scheme == Some(*scheme) && row.check.ends_with(algorithm) && row.outcome == Outcome::Passed
                });
                assert!(proven, "{scheme} {algorithm}: {report}");
            }
        }
        // What the brief promises by name.
        for attack in ["unwrapped as extractable", "as a token object", "to derive", "wrapped again", "another label", "HMAC-SHA-1", "decrypted"] {
            let refused = report.rows.iter().any(|row| row.check.contains(attack) && row.outcome == Outcome::Passed);
            assert!(refused, "{attack}: {report}");
        }
        assert!(keystore.health().is_ok());
        assert_eq!(serde_json::from_str::<ProbeReport>(&serde_json::to_string(&report).unwrap()).unwrap(), report);
    }
}

token_test! {
    fn without_session_objects_the_probe_uses_token_keys_and_destroys_them(token) {
        drop(token.keystore());
        let keystore = Pkcs11Keystore::open(&without_session_objects(token), &token.pin()).unwrap();
        let before = labels(&keystore);
        let report = keystore.probe().unwrap();
        assert!(report.passed(), "{report}");
        assert_eq!(labels(&keystore), before);

        // A probe that was killed: its key is not ours, and the next probe destroys it.
        let budget = {
            let state = keystore.state.lock().unwrap();
            let connection = &state.live.connection;
            let session = connection.management_session(Operation::Probe).unwrap();
            let template = template::hmac_key(connection.traits(), Life::Token, "sr:probe:dead", vec![1; 16]);
            session.generate_key(&Mechanism::GenericSecretKeyGen, &template).unwrap();
            connection.vault_keys()
        };
        assert_eq!((labels(&keystore), budget), (before + 1, 0));
        let report = keystore.probe().unwrap();
        assert!(report.passed() && report.rows[0].code == "1 destroyed", "{report}");
        assert_eq!(labels(&keystore), before);
    }
}

token_test! {
    fn a_profile_that_claims_too_much_is_found_out_and_does_not_open(token) {
        if !token.breaks("which grants what a template does not deny") {
            return;
        }
        drop(token.keystore());
        // Negative control: without the unwrap template the same attacks succeed, and the probe says so.
        let mut weak = token.config();
        weak.profile.keys.unnameable = vec![Unnameable::UnwrapTemplate];
        let report = Pkcs11Keystore::probe_token(&weak, &token.pin()).unwrap();
        let failed = failures(&report);
        assert!(failed.contains(&"a seed cannot be unwrapped as extractable"), "{report}");
        assert!(failed.contains(&"... nor as not sensitive"), "{report}");
        let refused = Pkcs11Keystore::open(&weak, &token.pin()).err().unwrap();
        assert!(matches!(refused, KeystoreError::Unproven { .. }), "{refused}");
        assert_eq!(refused.class(), ErrorClass::Usage);
        assert!(refused.to_string().contains("resident: a seed cannot be unwrapped as readable"), "{refused}");

        // Usages that SoftHSM grants to a key that does not mention them.
        let mut silent = token.config();
        silent.profile.keys.unnameable = vec![Unnameable::DeniedUsages, Unnameable::AllowedMechanisms];
        let report = Pkcs11Keystore::probe_token(&silent, &token.pin()).unwrap();
        assert!(failures(&report).contains(&"a sealed seed cannot be decrypted (ECB)"), "{report}");
        // Keys that can be changed and copied afterwards.
        let mut open = token.config();
        open.profile.keys.unnameable = vec![Unnameable::Modifiable, Unnameable::Copyable];
        let report = Pkcs11Keystore::probe_token(&open, &token.pin()).unwrap();
        assert!(failures(&report).contains(&"... nor made to derive"), "{report}");
        // A template that the token does not take at all.
        let mut wrong = token.config();
        wrong.profile.keys.hmac = crate::keystore::pkcs11::profile::HmacKind::Sha256Hmac;
        let refused = Pkcs11Keystore::open(&wrong, &token.pin()).err().unwrap();
        assert!(matches!(refused, KeystoreError::Unproven { .. }), "{refused}");
    }
}

token_test! {
    fn a_pin_of_another_form_is_not_presented(token) {
        use std::sync::atomic::Ordering;
        use crate::keystore::pkcs11::connection::PINS_PRESENTED;
        let mut config = token.config();
        config.profile.pin = PinForm { shape: PinShape::YubihsmAuthKey, len_min: 8, len_max: 64 };
        let refused = Pkcs11Keystore::open(&config, &token.pin()).err().unwrap();
        assert!(matches!(refused, KeystoreError::PinForm { .. }), "{refused}");
        assert_eq!((refused.class(), PINS_PRESENTED.load(Ordering::Relaxed)), (ErrorClass::Pin, 0));
        let text = format!("{refused} {refused:?}");
        assert!(text.contains("four hexadecimal digits") && !text.contains(crate::keystore::fixture::PIN), "{text}");
    }
}

token_test! {
    fn the_object_budget_counts_what_is_not_ours_and_keeps_a_reserve(token) {
        let keystore = token.keystore();
        let foreign = {
            let state = keystore.state.lock().unwrap();
            let connection = &state.live.connection;
            let session = connection.management_session(Operation::Open).unwrap();
            session.generate_key(&Mechanism::AesKeyGen, &template::weak_resident_vault_key(Life::Token, "foreign")).unwrap()
        };
        let _ = foreign;
        drop(keystore);
        // Identity, store key and the foreign one are three; two are kept free.
        let mut config = token.config();
        config.profile.objects = Some(ObjectBudget { max: 6, reserve: 2, counted: Counted::AllObjects });
        let keystore = Pkcs11Keystore::open(&config, &token.pin()).unwrap();
        let key = keystore.create_vault_key(VaultId::random(), 1, Scheme::Derived).unwrap();
        let over = keystore.create_vault_key(VaultId::random(), 1, Scheme::Derived).unwrap_err();
        assert_eq!(over.class(), ErrorClass::Budget);
        assert_eq!(over, KeystoreError::ObjectBudget { operation: Operation::CreateVaultKey, held: 4, max: 6, reserve: 2 });
        keystore.destroy_vault_key(&key).unwrap();
        keystore.create_vault_key(VaultId::random(), 1, Scheme::Derived).unwrap();
        drop(keystore);
        let mut full = token.config();
        full.profile.objects = Some(ObjectBudget { max: 5, reserve: 1, counted: Counted::AllObjects });
        let report = Pkcs11Keystore::probe_token(&full, &token.pin()).unwrap();
        assert_eq!(failures(&report), ["there is room for the probe's two keys"], "{report}");
    }
}

token_test! {
    fn a_scheme_that_the_profile_does_not_allow_gets_no_key(token) {
        drop(token.keystore());
        let keystore = Pkcs11Keystore::open(&without_session_objects(token), &token.pin()).unwrap();
        let before = labels(&keystore);
        let refused = keystore.create_vault_key(VaultId::random(), 1, Scheme::Resident).unwrap_err();
        assert_eq!(refused.class(), ErrorClass::Usage);
        let said = format!("{} does not allow the scheme resident", token.kind.profile());
        assert!(refused.to_string().contains(&said), "{refused}");
        assert_eq!(labels(&keystore), before);
    }
}

token_test! {
    fn two_byte_ids_that_are_taken_are_passed_over(token) {
        drop(token.keystore());
        let mut config = without_session_objects(token);
        config.profile.keys.id_len = 2;
        let keystore = Pkcs11Keystore::open(&config, &token.pin()).unwrap();
        let state = keystore.state.lock().unwrap();
        let connection = &state.live.connection;
        let session = connection.management_session(Operation::Open).unwrap();
        for expected in 0..3 {
            let id = connection.free_id("sr:x", Operation::Open).unwrap();
            assert_eq!(id, template::short_id("sr:x", expected));
            let template = template::hmac_key(connection.traits(), Life::Token, &format!("other-{expected}"), id);
            session.generate_key(&Mechanism::GenericSecretKeyGen, &template).unwrap();
        }
    }
}

token_test! {
    fn a_token_that_makes_no_keys_gives_spare_ones(token) {
        drop(token.keystore());
        let mut config = without_session_objects(token);
        config.profile.keys.provisioned = true;
        // SoftHSM lets a key be relabelled only if it may be changed, as tpm2-pkcs11 does.
        config.profile.keys.unnameable = vec![Unnameable::Modifiable];
        Pkcs11Keystore::provision(&config, &token.pin()).unwrap();
        let keystore = Pkcs11Keystore::open(&config, &token.pin()).unwrap();
        let report = keystore.probe().unwrap();
        assert!(report.passed(), "{report}");
        let vault = VaultId::random();
        let none = keystore.create_vault_key(vault, 1, Scheme::Derived).unwrap_err();
        assert!(matches!(none, KeystoreError::NoSpareKey { .. }), "{none}");
        assert!(none.to_string().contains("sr:spare:1"), "{none}");
        {
            let state = keystore.state.lock().unwrap();
            let connection = &state.live.connection;
            let session = connection.management_session(Operation::Open).unwrap();
            for label in ["sr:spare:2", "sr:spare:1"] {
                let template = template::hmac_key(connection.traits(), Life::Token, label, vec![label.len() as u8; 16]);
                session.generate_key(&Mechanism::GenericSecretKeyGen, &template).unwrap();
            }
        }
        let [one, two] = [1, 2].map(|number| keystore.create_vault_key(vault, number, Scheme::Derived).unwrap());
        assert_ne!(one.kcv, two.kcv);
        assert!(keystore.create_vault_key(vault, 3, Scheme::Derived).is_err());
        drop(keystore);
        let keystore = Pkcs11Keystore::open(&config, &token.pin()).unwrap();
        keystore.check_vault_key(&one).unwrap();
        keystore.check_vault_key(&two).unwrap();
        keystore.destroy_vault_key(&one).unwrap();
        assert_eq!(keystore.check_vault_key(&one).unwrap_err().class(), ErrorClass::KeyMissing);
    }
}

token_test! {
    fn a_token_is_chosen_by_what_is_asked_of_it(token) {
        if !token.breaks("whose maker's and model's names stand in this test") {
            return;
        }
        let keystore = token.keystore();
        let serial = keystore.token().as_str().split('/').next().unwrap().to_owned();
        drop(keystore);
        let open = |selector: TokenSelector| {
            let config = TokenConfig { selector, ..token.config() };
            Pkcs11Keystore::open(&config, &token.pin()).map(drop)
        };
        open(TokenSelector { serial: Some(serial.clone()), ..TokenSelector::default() }).unwrap();
        let uri: crate::keystore::pkcs11::uri::TokenUri =
            format!("pkcs11:manufacturer=SoftHSM%20project;model=SoftHSM%20v2;serial={serial};token=strongroom-test").parse().unwrap();
        open(uri.selector.clone()).unwrap();
        open(TokenSelector { library_manufacturer: Some("SoftHSM".into()), slot_manufacturer: Some("SoftHSM project".into()), ..uri.selector.clone() }).unwrap();
        for wrong in [
            TokenSelector { serial: Some("0".into()), ..uri.selector.clone() },
            TokenSelector { model: Some("YubiHSM".into()), ..uri.selector.clone() },
            TokenSelector { slot_id: Some(9_999_999_999), ..uri.selector.clone() },
            TokenSelector { library_version: Some("1.0".into()), ..uri.selector },
        ] {
            let refused = open(wrong.clone()).unwrap_err();
            assert!(matches!(refused, KeystoreError::NoToken { found: 0, .. }), "{wrong:?}: {refused}");
        }
    }
}
