//! What is sealed opens only where it belongs, and keys are made only when asked for.

use std::collections::HashSet;

use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::{Algorithm, OtpKind, Scheme};

use super::context;
use crate::keystore::fixture::token_test;
use crate::keystore::pkcs11::{Pkcs11Keystore, TokenConfig, TokenSelector, derived};
use crate::keystore::{ErrorClass, Keystore, Operation, SealedSeed, Seed, SeedContext, StoreKeys, TokenId, VaultKey};

fn seed() -> Seed {
    Seed::new(b"a seed of 20 bytes!!".to_vec()).unwrap()
}

/// The class of the refusal. A MAC would fail the test.
fn refusal(keystore: &dyn Keystore, key: &VaultKey, context: &SeedContext, sealed: &SealedSeed) -> ErrorClass {
    keystore.otp_mac(key, context, sealed, 1).err().expect("no MAC may come of this").class()
}

token_test! {
    fn a_sealed_seed_opens_nowhere_else(token) {
        let keystore = token.keystore();
        for scheme in Scheme::ALL {
            let key = keystore.create_vault_key(VaultId::random(), 1, *scheme).unwrap();
            let other_key = keystore.create_vault_key(VaultId::random(), 1, *scheme).unwrap();
            let next_key = keystore.create_vault_key(key.vault, 2, *scheme).unwrap();
            let home = context(key.vault);
            let sealed = keystore.seal(&key, &home, &seed()).unwrap();
            assert_eq!(keystore.otp_mac(&key, &home, &sealed, 1).unwrap().expose().len(), 20);

            let moved = [
                SeedContext { store: OrgId::random(), ..home.clone() },
                SeedContext { account: AccountId::random(), ..home.clone() },
                SeedContext { kind: OtpKind::Hotp, ..home.clone() },
                SeedContext { algorithm: Algorithm::Sha256, ..home.clone() },
                SeedContext { digits: 8, ..home.clone() },
                SeedContext { period_s: 60, ..home.clone() },
                SeedContext { revision: 2, ..home.clone() },
            ];
            for context in &moved {
                assert_eq!(refusal(&keystore, &key, context, &sealed), ErrorClass::Data, "{scheme} {context:?}");
            }
            // To another vault: with its own key, with the old key, and with the old key's name on it.
            let away = SeedContext { vault: other_key.vault, ..home.clone() };
            assert_eq!(refusal(&keystore, &other_key, &away, &sealed), ErrorClass::Data);
            assert_eq!(refusal(&keystore, &key, &away, &sealed), ErrorClass::Data);
            let renamed = VaultKey { vault: other_key.vault, ..key.clone() };
            assert!([ErrorClass::Data, ErrorClass::KeyMismatch].contains(&refusal(&keystore, &renamed, &away, &sealed)));
            // To another key of the same vault, also if the stored number is changed with it.
            assert_eq!(refusal(&keystore, &next_key, &home, &sealed), ErrorClass::Data);
            let renumbered = SealedSeed { key_number: 2, ..sealed.clone() };
            assert_eq!(refusal(&keystore, &next_key, &home, &renumbered), ErrorClass::Data);
            let elsewhere = SealedSeed { token: TokenId::new("0/other"), ..sealed.clone() };
            assert_eq!(refusal(&keystore, &key, &home, &elsewhere), ErrorClass::Data);
            let newer = SealedSeed { version: 2, ..sealed };
            assert_eq!(refusal(&keystore, &key, &home, &newer), ErrorClass::Data);
        }
    }
}

token_test! {
    fn parts_of_two_sealed_seeds_do_not_make_a_third(token) {
        let keystore = token.keystore();
        for scheme in Scheme::ALL {
            let key = keystore.create_vault_key(VaultId::random(), 1, *scheme).unwrap();
            let [one, two] = [context(key.vault), context(key.vault)];
            let [from, into] = [&one, &two].map(|context| keystore.seal(&key, context, &seed()).unwrap());
            let mixed = [
                SealedSeed { blob: from.blob.clone(), ..into.clone() },
                SealedSeed { blob: from.blob.clone(), salt: from.salt.clone(), ..into.clone() },
            ];
            for sealed in mixed {
                // Two equal seeds wrap to one blob (RFC 3394 is deterministic): moving it changes nothing then.
                if sealed != into {
                    assert_eq!(refusal(&keystore, &key, &two, &sealed), ErrorClass::Data, "{scheme}");
                }
            }
            let other = keystore.seal(&key, &one, &Seed::new(vec![1; 20]).unwrap()).unwrap();
            let moved = SealedSeed { blob: other.blob, salt: other.salt, ..into };
            assert_eq!(refusal(&keystore, &key, &two, &moved), ErrorClass::Data, "{scheme}");
        }
    }
}

token_test! {
    fn a_key_seals_only_for_its_own_vault(token) {
        let keystore = token.keystore();
        for scheme in Scheme::ALL {
            let key = keystore.create_vault_key(VaultId::random(), 1, *scheme).unwrap();
            let refused = keystore.seal(&key, &context(VaultId::random()), &seed()).err().unwrap();
            assert_eq!(refused.class(), ErrorClass::Data, "{refused}");
        }
    }
}

token_test! {
    fn every_part_of_its_origin_changes_the_key_of_a_derived_seed(token) {
        let keystore = token.keystore();
        let key = keystore.create_vault_key(VaultId::random(), 1, Scheme::Derived).unwrap();
        let home = context(key.vault);
        let mut state = keystore.state.lock().unwrap();
        let connection = &mut state.live.connection;
        let handle = connection.key(&key.label, Operation::Seal).unwrap();
        let seed_key = |context: &SeedContext, salt: u8| {
            derived::seed_key(connection, handle, context, &[salt; 16], Operation::Seal).unwrap().to_vec()
        };
        let keys: HashSet<Vec<u8>> = [
            seed_key(&home, 0),
            seed_key(&home, 1),
            seed_key(&SeedContext { vault: VaultId::random(), ..home.clone() }, 0),
            seed_key(&SeedContext { account: AccountId::random(), ..home.clone() }, 0),
            seed_key(&SeedContext { revision: 2, ..home.clone() }, 0),
        ].into();
        assert_eq!(keys.len(), 5);
    }
}

token_test! {
    fn an_altered_sealed_seed_gives_no_mac(token) {
        let keystore = token.keystore();
        for scheme in Scheme::ALL {
            let key = keystore.create_vault_key(VaultId::random(), 1, *scheme).unwrap();
            let home = context(key.vault);
            let sealed = keystore.seal(&key, &home, &seed()).unwrap();
            let mut altered = Vec::new();
            for place in 0..sealed.blob.len() {
                let mut one = sealed.clone();
                one.blob[place] ^= 1;
                altered.push(one);
            }
            for place in 0..sealed.binding.len() {
                let mut one = sealed.clone();
                one.binding[place] ^= 0x80;
                altered.push(one);
            }
            for place in 0..sealed.salt.len() {
                let mut one = sealed.clone();
                one.salt[place] ^= 0x80;
                altered.push(one);
            }
            altered.push(SealedSeed { blob: Vec::new(), ..sealed.clone() });
            altered.push(SealedSeed { blob: vec![0; 1 << 20], ..sealed.clone() });
            altered.push(SealedSeed { blob: sealed.blob[..8].to_vec(), ..sealed.clone() });
            altered.push(SealedSeed { blob: [sealed.blob.clone(), vec![0]].concat(), ..sealed.clone() });
            altered.push(SealedSeed { binding: Vec::new(), salt: Vec::new(), ..sealed.clone() });
            for one in &altered {
                assert_eq!(refusal(&keystore, &key, &home, one), ErrorClass::Data, "{one:?}");
            }
            assert!(keystore.otp_mac(&key, &home, &sealed, 1).is_ok());
        }
    }
}

token_test! {
    /// Behind the binding stands the token's own integrity check (RFC 3394 §2.2.3): reached here with a binding made for
    /// the altered blob.
    fn an_altered_blob_with_a_good_binding_is_refused_by_the_token(token) {
        let keystore = token.keystore();
        let key = keystore.create_vault_key(VaultId::random(), 1, Scheme::Resident).unwrap();
        let home = context(key.vault);
        let mut sealed = keystore.seal(&key, &home, &seed()).unwrap();
        sealed.blob[30] ^= 1;
        sealed.binding = keystore.state.lock().unwrap().live.binder.bind(&sealed, &home);
        assert_eq!(refusal(&keystore, &key, &home, &sealed), ErrorClass::Data);
        assert!(keystore.health().is_ok());
    }
}

token_test! {
    fn sealed_seeds_hide_length_and_equality(token) {
        let keystore = token.keystore();
        let key = keystore.create_vault_key(VaultId::random(), 1, Scheme::Derived).unwrap();
        let home = context(key.vault);
        let blobs: HashSet<Vec<u8>> = (0..8).map(|_| keystore.seal(&key, &home, &seed()).unwrap().blob).collect();
        assert_eq!(blobs.len(), 8, "the same seed is never sealed to the same bytes");
        for scheme in Scheme::ALL {
            let key = keystore.create_vault_key(VaultId::random(), 1, *scheme).unwrap();
            for (algorithm, expected) in [(Algorithm::Sha1, [72, 92]), (Algorithm::Sha512, [136, 156])] {
                let home = SeedContext { algorithm, ..context(key.vault) };
                for len in [1, 20, 64, 300] {
                    let sealed = keystore.seal(&key, &home, &Seed::new(vec![9; len]).unwrap()).unwrap();
                    assert_eq!(sealed.blob.len(), expected[*scheme as usize]);
                }
            }
        }
    }
}

token_test! {
    fn what_was_sealed_before_a_restart_opens_after_it(token) {
        let keystore = token.keystore();
        let keys = Scheme::ALL.iter().map(|scheme| keystore.create_vault_key(VaultId::random(), 1, *scheme).unwrap());
        let stored: Vec<(VaultKey, SeedContext, SealedSeed, Vec<u8>)> = keys.map(|key| {
            let home = context(key.vault);
            let sealed = keystore.seal(&key, &home, &seed()).unwrap();
            let mac = keystore.otp_mac(&key, &home, &sealed, 7).unwrap().expose().to_vec();
            (key, home, sealed, mac)
        }).collect();
        let identity = keystore.identity_key().to_vec();
        drop(keystore);
        let keystore = Pkcs11Keystore::open(&token.config(), &token.pin()).unwrap();
        assert_eq!(keystore.identity_key(), identity);
        for (key, home, sealed, mac) in stored {
            assert_eq!(keystore.otp_mac(&key, &home, &sealed, 7).unwrap().expose(), mac);
        }
    }
}

token_test! {
    fn a_vault_key_is_made_once_and_destroyed_only_if_it_is_the_recorded_one(token) {
        let keystore = token.keystore();
        for scheme in Scheme::ALL {
            let key = keystore.create_vault_key(VaultId::random(), 1, *scheme).unwrap();
            let again = keystore.create_vault_key(key.vault, 1, *scheme).unwrap_err();
            assert_eq!(again.class(), ErrorClass::Usage, "{again}");
            let home = context(key.vault);
            let sealed = keystore.seal(&key, &home, &seed()).unwrap();

            let wrong = VaultKey { kcv: [0; 8], ..key.clone() };
            assert_eq!(keystore.destroy_vault_key(&wrong).unwrap_err().class(), ErrorClass::KeyMismatch);
            assert_eq!(keystore.seal(&wrong, &home, &seed()).err().unwrap().class(), ErrorClass::KeyMismatch);
            assert_eq!(refusal(&keystore, &wrong, &home, &sealed), ErrorClass::KeyMismatch);

            keystore.destroy_vault_key(&key).unwrap();
            assert_eq!(refusal(&keystore, &key, &home, &sealed), ErrorClass::KeyMissing);
            assert_eq!(keystore.destroy_vault_key(&key).unwrap_err().class(), ErrorClass::KeyMissing);
            // A new key under the old label is not the old key.
            let impostor = keystore.create_vault_key(key.vault, 1, *scheme).unwrap();
            assert_ne!(impostor.kcv, key.kcv);
            assert_eq!(refusal(&keystore, &key, &home, &sealed), ErrorClass::KeyMismatch);
        }
    }
}

token_test! {
    fn the_key_budget_is_kept(token) {
        drop(token.keystore());
        let config = TokenConfig { key_budget: Some(2), ..token.config() };
        let keystore = Pkcs11Keystore::open(&config, &token.pin()).unwrap();
        let first = keystore.create_vault_key(VaultId::random(), 1, Scheme::Derived).unwrap();
        keystore.create_vault_key(VaultId::random(), 1, Scheme::Resident).unwrap();
        let over = keystore.create_vault_key(VaultId::random(), 1, Scheme::Resident).unwrap_err();
        assert_eq!(over.class(), ErrorClass::Budget, "{over}");
        keystore.destroy_vault_key(&first).unwrap();
        keystore.create_vault_key(VaultId::random(), 1, Scheme::Resident).unwrap();
    }
}

token_test! {
    fn store_keys_open_only_for_their_store(token) {
        let keystore = token.keystore();
        let (store, keys) = (OrgId::random(), StoreKeys::random().unwrap());
        let sealed = keystore.seal_store_keys(store, &keys).unwrap();
        assert_eq!(sealed.len(), 109);
        let opened = keystore.open_store_keys(store, &sealed).unwrap();
        assert_eq!((opened.tags(), opened.names()), (keys.tags(), keys.names()));
        assert!(!sealed.windows(16).any(|window| keys.tags().starts_with(window)));
        let refused = |store, bytes: &[u8]| keystore.open_store_keys(store, bytes).err().map(|error| error.class());
        assert_eq!(refused(OrgId::random(), &sealed), Some(ErrorClass::Data));
        for place in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[place] ^= 1;
            assert_eq!(refused(store, &altered), Some(ErrorClass::Data), "byte {place}");
        }
        for len in [0, 1, 17, 44, 108] {
            assert_eq!(refused(store, &sealed[..len]), Some(ErrorClass::Data), "{len} bytes");
        }
    }
}

token_test! {
    fn the_identity_signs_what_its_public_key_verifies(token) {
        use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
        use sha2::{Digest, Sha256};
        let keystore = token.keystore();
        let signature = keystore.sign(&Sha256::digest(b"a checkpoint").into()).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, keystore.identity_key().to_vec());
        public.verify(b"a checkpoint", &signature).unwrap();
        assert!(public.verify(b"another", &signature).is_err());
        assert!(keystore.token().as_str().ends_with("/strongroom-test"));
    }
}

token_test! {
    fn provisioning_refuses_what_is_there_and_opening_what_is_not(token) {
        let bare = Pkcs11Keystore::open(&token.config(), &token.pin()).err().unwrap();
        assert_eq!(bare.class(), ErrorClass::KeyMissing, "{bare}");
        let keystore = token.keystore();
        let beside = Pkcs11Keystore::open(&token.config(), &token.pin()).err().unwrap();
        assert_eq!(beside.class(), ErrorClass::Usage, "{beside}");
        assert!(keystore.health().is_ok(), "the refused second one did no harm");
        drop(keystore);
        let twice = Pkcs11Keystore::provision(&token.config(), &token.pin()).unwrap_err();
        assert_eq!(twice.class(), ErrorClass::Usage, "{twice}");
        let unknown = TokenConfig { selector: TokenSelector::labelled("nobody"), ..token.config() };
        assert_eq!(Pkcs11Keystore::open(&unknown, &token.pin()).err().unwrap().class(), ErrorClass::Usage);
        let no_module = TokenConfig { module: "/nonexistent.so".into(), ..token.config() };
        assert_eq!(Pkcs11Keystore::open(&no_module, &token.pin()).err().unwrap().class(), ErrorClass::Usage);
    }
}
