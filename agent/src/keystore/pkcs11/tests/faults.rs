//! Outages, lost logins, refused PINs and aliased handles.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use cryptoki::mechanism::Mechanism;
use cryptoki::types::AuthPin;
use strongroom_proto::ids::VaultId;
use strongroom_proto::words::Scheme;

use super::context;
use crate::keystore::fixture::{PIN, TestToken, token_test};
use crate::keystore::pkcs11::connection::PINS_PRESENTED;
use crate::keystore::pkcs11::{Pkcs11Keystore, keys, label};
use crate::keystore::{ErrorClass, Keystore, Operation, SealedSeed, Seed, SeedContext, VaultKey};

/// One sealed seed and the MAC it must give.
struct Account {
    key: VaultKey,
    context: SeedContext,
    sealed: SealedSeed,
    mac: Vec<u8>,
}

impl Account {
    fn new(keystore: &dyn Keystore, scheme: Scheme) -> Self {
        let key = keystore.create_vault_key(VaultId::random(), 1, scheme).unwrap();
        let context = context(key.vault);
        let sealed = keystore.seal(&key, &context, &Seed::new(key.kcv.repeat(3)).unwrap()).unwrap();
        let mac = keystore.otp_mac(&key, &context, &sealed, 1).unwrap().expose().to_vec();
        Self { key, context, sealed, mac }
    }

    fn both(keystore: &dyn Keystore) -> Vec<Self> {
        Scheme::ALL.iter().map(|scheme| Self::new(keystore, *scheme)).collect()
    }

    /// Whether the right MAC comes; a wrong one fails the test.
    fn serves(&self, keystore: &dyn Keystore) -> Result<(), ErrorClass> {
        let mac = keystore.otp_mac(&self.key, &self.context, &self.sealed, 1).map_err(|error| error.class())?;
        assert_eq!(mac.expose(), self.mac, "a wrong MAC");
        Ok(())
    }
}

fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

/// Every operation says "device", and none leaves a key behind.
fn expect_outage(keystore: &dyn Keystore, accounts: &[Account]) {
    for account in accounts {
        assert_eq!(account.serves(keystore), Err(ErrorClass::Device));
        let seed = Seed::new(vec![1]).unwrap();
        let refused = keystore.seal(&account.key, &account.context, &seed).err().unwrap();
        assert_eq!(refused.class(), ErrorClass::Device, "{refused}");
        let refused = keystore.create_vault_key(VaultId::random(), 1, account.key.scheme).unwrap_err();
        assert_eq!(refused.class(), ErrorClass::Device, "{refused}");
        let refused = keystore.destroy_vault_key(&account.key).unwrap_err();
        assert_eq!(refused.class(), ErrorClass::Device, "{refused}");
    }
    for refused in [keystore.health().unwrap_err(), keystore.sign(&[0; 32]).unwrap_err()] {
        assert_eq!(refused.class(), ErrorClass::Device, "{refused}");
    }
}

fn move_away(token: &TestToken) -> std::path::PathBuf {
    let away = token.tokens().with_extension("away");
    fs::rename(token.tokens(), &away).unwrap();
    away
}

token_test! {
    fn a_token_that_vanishes_is_an_outage_and_comes_back_with_a_new_start(token) {
        if !token.breaks("whose files can be damaged") {
            return;
        }
        let keystore = token.keystore();
        let accounts = Account::both(&keystore);
        let before = files(&token.tokens());
        let away = move_away(token);
        expect_outage(&keystore, &accounts);
        drop(keystore);
        for _ in 0..2 {
            assert!(Pkcs11Keystore::open(&token.config(), &token.pin()).is_err());
        }

        fs::rename(away, token.tokens()).unwrap();
        let keystore = Pkcs11Keystore::open(&token.config(), &token.pin()).unwrap();
        assert!(keystore.health().is_ok());
        for account in &accounts {
            assert_eq!(account.serves(&keystore), Ok(()));
        }
        assert_eq!(files(&token.tokens()), before, "no key was made during the outage");
        Account::both(&keystore);
    }
}

token_test! {
    fn deleted_key_files_are_an_outage_too(token) {
        if !token.breaks("whose files can be damaged") {
            return;
        }
        let keystore = token.keystore();
        let accounts = Account::both(&keystore);
        let folder = fs::read_dir(token.tokens()).unwrap().next().unwrap().unwrap().path();
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_str().unwrap().starts_with("token.") {
                fs::remove_file(path).unwrap();
            }
        }
        let before = files(&token.tokens());
        expect_outage(&keystore, &accounts);
        assert_eq!(files(&token.tokens()), before);
    }
}

token_test! {
    fn handles_never_cross_a_generation(token) {
        let keystore = token.keystore();
        let accounts: Vec<Account> = (0..8).map(|_| Account::new(&keystore, Scheme::Derived)).collect();
        // The probe at a start uses up numbers, and each use of a key some more: from here on only starts are counted.
        drop(keystore);
        let keystore = Pkcs11Keystore::open(&token.config(), &token.pin()).unwrap();
        let operation = Operation::OtpMac;
        let handles: Vec<_> = {
            let mut state = keystore.state.lock().unwrap();
            let connection = &mut state.live.connection;
            accounts.iter().map(|account| {
                let handle = connection.key(&account.key.label, operation).unwrap();
                (handle, connection.object(handle, operation).unwrap())
            }).collect()
        };
        drop(keystore);
        let keystore = Pkcs11Keystore::open(&token.config(), &token.pin()).unwrap();
        {
            let state = keystore.state.lock().unwrap();
            let connection = &state.live.connection;
            let mut aliased = 0;
            for ((handle, object), account) in handles.iter().zip(&accounts) {
                // The danger is real: the old number signs, with a key of another vault.
                let text = b"strongroom/kcv/v1";
                if let Ok(mac) = connection.session().sign(&Mechanism::Sha256Hmac, *object, text) {
                    aliased += usize::from(mac[..8] != account.key.kcv);
                }
                // The tag stops it.
                let refused = connection.object(*handle, operation).unwrap_err();
                assert_eq!(refused.class(), ErrorClass::Handle, "{refused}");
                assert_eq!(connection.hmac(*handle, text, operation).unwrap_err().class(), ErrorClass::Handle);
            }
            // Other tokens may never give a number twice; that an old handle is refused was shown there too.
            let numbers_anew = token.breaks("which numbers its objects anew at each start");
            assert!(aliased > 0 || !numbers_anew, "no handle was aliased: this test proves nothing");
        }
        for account in &accounts {
            assert_eq!(account.serves(&keystore), Ok(()));
        }
    }
}

token_test! {
    fn a_wrong_key_under_the_right_label_gives_nothing(token) {
        let keystore = token.keystore();
        for scheme in Scheme::ALL {
            let [one, two] = [Account::new(&keystore, *scheme), Account::new(&keystore, *scheme)];
            let alias = || {
                let mut state = keystore.state.lock().unwrap();
                state.live.connection.alias(&one.key.label, &two.key.label);
            };
            alias();
            assert_eq!(one.serves(&keystore), Err(ErrorClass::KeyMismatch));
            alias();
            let seed = Seed::new(vec![1]).unwrap();
            let refused = keystore.seal(&one.key, &one.context, &seed).err().unwrap();
            assert_eq!(refused.class(), ErrorClass::KeyMismatch, "{refused}");
            alias();
            assert_eq!(keystore.destroy_vault_key(&one.key).unwrap_err().class(), ErrorClass::KeyMismatch);
            // The wrong handle was forgotten, the right one found again.
            assert_eq!((one.serves(&keystore), two.serves(&keystore)), (Ok(()), Ok(())));
        }
    }
}

token_test! {
    fn a_lost_login_and_a_stuck_session_are_renewed_once_and_unseen(token) {
        let keystore = token.keystore();
        let accounts = Account::both(&keystore);
        for account in &accounts {
            with_session(&keystore, |session| session.logout().unwrap());
            assert_eq!(account.serves(&keystore), Ok(()));
            with_session(&keystore, |session| session.logout().unwrap());
            keystore.health().unwrap();
            with_session(&keystore, |session| session.logout().unwrap());
            keystore.sign(&[7; 32]).unwrap();
            // An operation left active blocks its session for every other.
            {
                let mut state = keystore.state.lock().unwrap();
                let connection = &mut state.live.connection;
                let store_key = connection.key(label::STORE_KEYS, Operation::Health).unwrap();
                let object = connection.object(store_key, Operation::Health).unwrap();
                connection.session().sign_init(&Mechanism::Sha256Hmac, object).unwrap();
                assert!(keys::canary(connection, Operation::Health).is_err());
            }
            assert_eq!(account.serves(&keystore), Ok(()));
        }
    }
}

fn with_session(keystore: &Pkcs11Keystore, work: impl FnOnce(&cryptoki::session::Session)) {
    let state = keystore.state.lock().unwrap();
    let session = state.live.connection.management_session(Operation::Open).unwrap();
    work(&session);
    session.close().unwrap();
}

token_test! {
    fn a_wrong_pin_is_presented_exactly_once(token) {
        drop(token.keystore());
        let before = PINS_PRESENTED.load(Ordering::Relaxed);
        let refused = Pkcs11Keystore::open(&token.config(), &"wrong-pin".into()).err().unwrap();
        assert_eq!(refused.class(), ErrorClass::Pin, "{refused}");
        assert!(!refused.to_string().contains("wrong-pin"));
        assert_eq!(PINS_PRESENTED.load(Ordering::Relaxed), before + 1);
        // The right one still opens.
        assert!(Pkcs11Keystore::open(&token.config(), &token.pin()).is_ok());
    }
}

token_test! {
    fn a_pin_that_was_changed_meanwhile_is_presented_exactly_once(token) {
        let keystore = token.keystore();
        let accounts = Account::both(&keystore);
        with_session(&keystore, |session| {
            session.set_pin(&AuthPin::from(PIN), &AuthPin::from("a-new-pin-81")).unwrap();
            session.logout().unwrap();
        });
        let before = PINS_PRESENTED.load(Ordering::Relaxed);
        for _ in 0..3 {
            for account in &accounts {
                assert_eq!(account.serves(&keystore), Err(ErrorClass::Pin));
            }
        }
        assert_eq!(PINS_PRESENTED.load(Ordering::Relaxed), before + 1);
        drop(keystore);
        let keystore = Pkcs11Keystore::open(&token.config(), &"a-new-pin-81".into()).unwrap();
        assert_eq!(accounts[0].serves(&keystore), Ok(()));
    }
}

token_test! {
    fn keys_made_and_destroyed_meanwhile_disturb_nobody(token) {
        let keystore = token.keystore();
        let accounts = Account::both(&keystore);
        std::thread::scope(|scope| {
            for account in accounts.iter().cycle().take(4) {
                scope.spawn(|| (0..200).for_each(|_| assert_eq!(account.serves(&keystore), Ok(()))));
            }
            for number in 1..20 {
                let key = keystore.create_vault_key(VaultId::random(), number, Scheme::Resident).unwrap();
                keystore.destroy_vault_key(&key).unwrap();
            }
        });
        assert!(keystore.health().is_ok());
    }
}
