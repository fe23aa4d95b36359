//! Seeds that come as copies: under the recovery key, and under an import identity that only this token opens.

use strongroom_proto::ids::{OrgId, VaultId};
use strongroom_proto::words::Scheme;

use super::context;
use crate::keystore::batch::{CopiedSeed, CopyKey, StoredSeed};
use crate::keystore::fixture::token_test;
use crate::keystore::{Keystore, KeystoreError, PROBE_FACTOR, Seed, SeedContext, VaultKey};
use crate::recovery::test_pairs::Pair;
use crate::recovery::{Recipient, recovery_copy};

const SEED: &[u8] = b"a seed of 20 bytes!!";

fn copied(vault: VaultId, recipient: Recipient) -> CopiedSeed {
    let context = context(vault);
    let copy = recovery_copy(&context, &Seed::new(SEED.to_vec()).unwrap(), &[recipient]).unwrap();
    CopiedSeed { context, copy }
}

/// What a token makes of the seed when it gets it as such.
fn expected(keystore: &dyn Keystore, key: &VaultKey, context: &SeedContext) -> Vec<u8> {
    let sealed = keystore.seal(key, context, &Seed::new(SEED.to_vec()).unwrap()).unwrap();
    keystore.otp_mac(key, context, &sealed, PROBE_FACTOR).unwrap().expose().to_vec()
}

token_test! {
    fn a_copy_gives_the_macs_of_its_seed_in_every_scheme_and_by_either_key(token) {
        let keystore = token.keystore();
        let (pair, store) = (Pair::new(), OrgId::random());
        let import = keystore.make_import_identity(store).unwrap();
        for (number, scheme) in (1..).zip(Scheme::ALL) {
            let key = keystore.create_vault_key(VaultId::random(), number, *scheme).unwrap();
            let by_recovery = copied(key.vault, pair.recipient());
            let by_import = copied(key.vault, Recipient::parse(&import.recipient).unwrap());
            let identity = pair.identity();
            let opens = [
                (by_recovery, CopyKey::Recovery(&identity)),
                (by_import, CopyKey::Import { store, sealed: &import.sealed }),
            ];
            for (copy, opens) in opens {
                let sealed = keystore.seal_copies(std::slice::from_ref(&copy), &key, &opens).unwrap().remove(0);
                let mac = keystore.otp_mac(&key, &copy.context, &sealed, PROBE_FACTOR).unwrap();
                assert_eq!(mac.expose(), expected(&keystore, &key, &copy.context), "{scheme}");
            }
        }
    }
}

token_test! {
    fn an_import_identity_opens_for_its_store_only_and_its_private_half_is_not_in_clear(token) {
        let keystore = token.keystore();
        let store = OrgId::random();
        let import = keystore.make_import_identity(store).unwrap();
        assert_eq!(import.sealed.len(), 77, "the format is fixed");
        let key = keystore.create_vault_key(VaultId::random(), 1, Scheme::Derived).unwrap();
        let copy = copied(key.vault, Recipient::parse(&import.recipient).unwrap());
        let mut altered = import.sealed.clone();
        altered[40] ^= 1;
        let other = keystore.make_import_identity(store).unwrap();
        let take = |copy: &CopiedSeed, store, sealed: &[u8]| {
            keystore.seal_copies(std::slice::from_ref(copy), &key, &CopyKey::Import { store, sealed })
        };
        for (attack, store, sealed) in
            [("another store's", OrgId::random(), &import.sealed), ("altered", store, &altered)]
        {
            assert!(matches!(take(&copy, store, sealed), Err(KeystoreError::Corrupt { .. })), "{attack}");
        }
        assert!(matches!(take(&copy, store, &import.sealed[..76]), Err(KeystoreError::Corrupt { .. })), "cut");
        assert!(matches!(take(&copy, store, &other.sealed), Err(KeystoreError::NotRecovered { .. })), "another pair");
        // A copy that was put beside another account, or is of an earlier seed.
        let moved = CopiedSeed { context: context(key.vault), ..copy.clone() };
        let newer = CopiedSeed { context: SeedContext { revision: 2, ..copy.context.clone() }, ..copy.clone() };
        for bad in [moved, newer] {
            assert!(matches!(take(&bad, store, &import.sealed), Err(KeystoreError::NotRecovered { .. })));
        }
        take(&copy, store, &import.sealed).unwrap();
    }
}

token_test! {
    fn a_copy_for_another_token_needs_the_recovery_key_whatever_the_scheme(token) {
        let keystore = token.keystore();
        let (pair, stranger, other) = (Pair::new(), Pair::new(), Pair::new());
        for (number, scheme) in (1..).zip(Scheme::ALL) {
            let key = keystore.create_vault_key(VaultId::random(), number, *scheme).unwrap();
            let CopiedSeed { context, copy } = copied(key.vault, pair.recipient());
            let sealed = keystore.seal(&key, &context, &Seed::new(SEED.to_vec()).unwrap()).unwrap();
            let stored = [StoredSeed { context, key, sealed, copy }];
            let recipient = other.recipient().to_string();
            let refused = keystore.copy_to(&stored, &recipient, &stranger.identity());
            assert!(matches!(refused, Err(KeystoreError::NotRecovered { .. })), "{scheme}");
            assert!(matches!(keystore.copy_to(&stored, "age1x", &pair.identity()), Err(KeystoreError::Refused { .. })));
            let copies = keystore.copy_to(&stored, &recipient, &pair.identity()).unwrap();
            let opened = other.age_opens(&copies[0]);
            assert!(opened.status.success() && opened.stdout.windows(28).any(|part| part == b"YSBzZWVkIG9mIDIwIGJ5dGVzISE="), "{scheme}");
        }
    }
}
