//! Seeds sealed anew: between all schemes, from the right copy only, and never out of the keystore.

use strongroom_proto::ids::VaultId;
use strongroom_proto::words::Scheme;

use super::context;
use crate::keystore::batch::StoredSeed;
use crate::keystore::fixture::token_test;
use crate::keystore::{Keystore, KeystoreError, Seed, SeedContext, VaultKey};
use crate::recovery::recovery_copy;
use crate::recovery::test_pairs::Pair;

fn stored(keystore: &dyn Keystore, key: &VaultKey, pair: &Pair, bytes: &[u8]) -> StoredSeed {
    let context = context(key.vault);
    let seed = Seed::new(bytes.to_vec()).unwrap();
    let sealed = keystore.seal(key, &context, &seed).unwrap();
    let copy = recovery_copy(&context, &seed, &[pair.recipient()]).unwrap();
    StoredSeed { context, key: key.clone(), sealed, copy }
}

fn mac(keystore: &dyn Keystore, seed: &StoredSeed, counter: u64) -> Vec<u8> {
    keystore.otp_mac(&seed.key, &seed.context, &seed.sealed, counter).unwrap().expose().to_vec()
}

token_test! {
    fn a_seed_moves_between_schemes_and_gives_the_same_macs(token) {
        let keystore = token.keystore();
        let pair = Pair::new();
        let vault = VaultId::random();
        let mut number = 0;
        for from in Scheme::ALL {
            for to in Scheme::ALL {
                number += 2;
                let key = keystore.create_vault_key(vault, number, *from).unwrap();
                let next = keystore.create_vault_key(vault, number + 1, *to).unwrap();
                let seed = stored(&keystore, &key, &pair, b"a seed of 20 bytes!!");
                let before = mac(&keystore, &seed, 7);
                let sealed = keystore.reseal(std::slice::from_ref(&seed), &next, Some(&pair.identity())).unwrap().remove(0);
                let moved = StoredSeed { key: next.clone(), sealed, ..seed.clone() };
                keystore.check_sealed(std::slice::from_ref(&moved)).unwrap();
                keystore.destroy_vault_key(&key).unwrap();
                assert_eq!(mac(&keystore, &moved, 7), before, "{from} to {to}");
                assert!(keystore.check_sealed(&[seed]).is_err(), "the old key is gone");
            }
        }
    }
}

token_test! {
    fn only_the_copy_of_this_very_seed_is_taken(token) {
        let keystore = token.keystore();
        let (pair, stranger) = (Pair::new(), Pair::new());
        let vault = VaultId::random();
        let key = keystore.create_vault_key(vault, 1, Scheme::Resident).unwrap();
        let next = keystore.create_vault_key(vault, 2, Scheme::Resident).unwrap();
        let seed = stored(&keystore, &key, &pair, b"a seed of 20 bytes!!");
        let other = stored(&keystore, &key, &pair, b"another seed, longer");
        let forged = {
            // The right account with another seed: somebody who may write to the store could put it there.
            let wrong = Seed::new(b"a seed that was not!".to_vec()).unwrap();
            recovery_copy(&seed.context, &wrong, &[pair.recipient()]).unwrap()
        };
        let older = SeedContext { revision: 2, ..seed.context.clone() };
        let older = recovery_copy(&older, &Seed::new(b"a seed of 20 bytes!!".to_vec()).unwrap(), &[pair.recipient()]);
        for (attack, copy) in
            [("another account's", other.copy.clone()), ("forged", forged), ("of another revision", older.unwrap()), ("none", vec![])]
        {
            let bad = StoredSeed { copy, ..seed.clone() };
            let refused = keystore.reseal(std::slice::from_ref(&bad), &next, Some(&pair.identity()));
            assert!(matches!(refused, Err(KeystoreError::NotRecovered { .. })), "{attack}");
            let lost = keystore.check_recoverable(&[other.clone(), bad], &pair.identity()).unwrap();
            assert_eq!(lost, [seed.context.account], "{attack}");
        }
        let by_stranger = keystore.reseal(std::slice::from_ref(&seed), &next, Some(&stranger.identity()));
        assert!(matches!(by_stranger, Err(KeystoreError::NotRecovered { .. })));
        assert!(matches!(keystore.reseal(&[seed], &next, None), Err(KeystoreError::NotRecovered { .. })));
    }
}

token_test! {
    fn an_unused_key_is_discarded_by_its_name_alone(token) {
        let keystore = token.keystore();
        let vault = VaultId::random();
        let kept = keystore.create_vault_key(vault, 1, Scheme::Resident).unwrap();
        keystore.create_vault_key(vault, 2, Scheme::Derived).unwrap();
        assert!(keystore.discard_vault_key(vault, 2).unwrap());
        assert!(!keystore.discard_vault_key(vault, 2).unwrap(), "it is gone");
        keystore.check_vault_key(&kept).unwrap();
        keystore.create_vault_key(vault, 2, Scheme::Resident).unwrap();
    }
}
