//! What making and destroying vault keys does to keys that are not its own, at the module's boundary: another worker may have
//! made one under the same label, and a search may lie.

use strongroom_agent::keystore::pkcs11::{Pkcs11Keystore, TokenConfig, TokenProfile};
use strongroom_agent::keystore::{ErrorClass, Keystore, VaultKey};
use strongroom_proto::ids::VaultId;
use strongroom_proto::words::Scheme;
use strongroom_tests::faulty_module::FaultyModule;
use strongroom_tests::fresh_token::{FreshToken, LABEL, with_token};
use strongroom_tests::token::softhsm_module;

const PIN: &str = "test-pin-5302";

fn open(token: &FreshToken) -> (FaultyModule, Pkcs11Keystore) {
    let module = FaultyModule::before(&softhsm_module());
    let config = TokenConfig {
        module: module.path().to_owned(),
        storage: Some(token.tokens()),
        ..TokenConfig::new(TokenProfile::default(), LABEL)
    };
    Pkcs11Keystore::provision(&config, &PIN.into()).unwrap();
    let keystore = Pkcs11Keystore::open(&config, &PIN.into()).unwrap();
    (module, keystore)
}

#[test]
fn a_late_creation_never_destroys_the_key_that_another_made() {
    with_token("a_late_creation_never_destroys_the_key_that_another_made", PIN, |token| {
        let (module, keystore) = open(token);
        for scheme in [Scheme::Resident, Scheme::Derived] {
            let live = keystore.create_vault_key(VaultId::random(), 1, scheme).unwrap();
            let mut met = 0;
            // The look for the label comes too early to see the other's key, whichever look it is.
            for after in 0..6 {
                for also in ["", "C_GenerateKey 0x5 times=1", "C_GenerateKey lose=0x5 times=1"] {
                    module.fault(&[&format!("C_FindObjects empty after={after} times=1"), also]);
                    let (made, calls) = module.during(|| keystore.create_vault_key(live.vault, 1, scheme));
                    module.lift();
                    assert!(made.is_err(), "{scheme}, {after}, {also}");
                    met += usize::from(calls.keys_asked_for() > 0);
                    keystore
                        .check_vault_key(&live)
                        .unwrap_or_else(|error| panic!("{scheme}, {after}, {also}: {error}"));
                }
            }
            assert!(met >= 3, "{scheme}: no key was made beside the other");
        }
    });
}

#[test]
fn a_key_is_reported_gone_only_by_a_search_that_finds_others() {
    with_token("a_key_is_reported_gone_only_by_a_search_that_finds_others", PIN, |token| {
        let (module, keystore) = open(token);
        let key = keystore.create_vault_key(VaultId::random(), 1, Scheme::Derived).unwrap();
        // What was remembered of the key is forgotten with the first look at it that does not fit.
        let other = VaultKey { kcv: [0; 8], ..key.clone() };
        assert_eq!(keystore.destroy_vault_key(&other).unwrap_err().class(), ErrorClass::KeyMismatch);
        module.fault(&["C_FindObjects empty"]);
        assert_eq!(keystore.destroy_vault_key(&key).unwrap_err().class(), ErrorClass::Device);
        assert_eq!(keystore.discard_vault_key(key.vault, key.number).unwrap_err().class(), ErrorClass::Device);
        // A lie about this one search is found out too.
        module.fault(&["C_FindObjects empty times=1"]);
        assert_eq!(keystore.destroy_vault_key(&key).unwrap_err().class(), ErrorClass::Device);
        module.lift();
        keystore.check_vault_key(&key).unwrap();
        keystore.destroy_vault_key(&key).unwrap();
        assert_eq!(keystore.destroy_vault_key(&key).unwrap_err().class(), ErrorClass::KeyMissing);
        assert!(!keystore.discard_vault_key(key.vault, key.number).unwrap());
    });
}
