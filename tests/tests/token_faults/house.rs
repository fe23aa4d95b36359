//! A keystore behind a module that fails on command, with a sealed seed of each scheme.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strongroom_agent::keystore::pkcs11::{Pkcs11Keystore, TokenConfig, TokenProfile};
use strongroom_agent::keystore::{ErrorClass, Keystore, SealedSeed, Seed, SeedContext, VaultKey};
use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::{Algorithm, OtpKind, Scheme};
use strongroom_tests::faulty_module::FaultyModule;
use strongroom_tests::fresh_token::{FreshToken, LABEL};
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::token::softhsm_module;

pub(crate) const PIN: &str = "test-pin-5302";
/// RFC 4226 Appendix D: the HMAC-SHA-1 of count 1.
const RFC_MAC: &str = "75a48a19d4cbe100644e8ac1397eea747a2d33ab";

/// What is asked of the keystore.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    Code(Scheme),
    Sign,
    Seal(Scheme),
    Create(Scheme),
    Health,
}

impl fmt::Display for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(scheme) => write!(formatter, "code, {scheme}"),
            Self::Sign => formatter.write_str("signature"),
            Self::Seal(scheme) => write!(formatter, "seal, {scheme}"),
            Self::Create(scheme) => write!(formatter, "vault key, {scheme}"),
            Self::Health => formatter.write_str("health"),
        }
    }
}

/// The RFC's seed, sealed.
#[derive(Clone)]
struct Account {
    key: VaultKey,
    context: SeedContext,
    sealed: SealedSeed,
}

fn context(vault: VaultId) -> SeedContext {
    SeedContext {
        store: OrgId::random(),
        vault,
        account: AccountId::random(),
        kind: OtpKind::Hotp,
        algorithm: Algorithm::Sha1,
        digits: 6,
        period_s: 0,
        revision: 1,
    }
}

impl Account {
    fn seal(keystore: &dyn Keystore, key: VaultKey) -> Result<Self, ErrorClass> {
        let context = context(key.vault);
        let seed = Seed::new(RFC_SHA1.to_vec()).unwrap();
        let sealed = keystore.seal(&key, &context, &seed).map_err(|error| error.class())?;
        Ok(Self { key, context, sealed })
    }

    /// The RFC's MAC, or a refusal. Anything else fails the test.
    fn serve(&self, keystore: &dyn Keystore) -> Result<(), ErrorClass> {
        let mac = keystore.otp_mac(&self.key, &self.context, &self.sealed, 1).map_err(|error| error.class())?;
        assert_eq!(hex::encode(mac.expose()), RFC_MAC, "a wrong MAC came out");
        Ok(())
    }
}

pub(crate) struct House {
    pub(crate) module: Arc<FaultyModule>,
    config: TokenConfig,
    keystore: Option<Pkcs11Keystore>,
    accounts: Vec<Account>,
    /// What was sealed or made under a fault and must prove to be good.
    unproved: Mutex<(Vec<Account>, Vec<VaultKey>)>,
}

impl House {
    pub(crate) fn new(token: &FreshToken) -> Self {
        let module = Arc::new(FaultyModule::before(&softhsm_module()));
        let config = TokenConfig {
            module: module.path().to_owned(),
            storage: Some(token.tokens()),
            ..TokenConfig::new(TokenProfile::default(), LABEL)
        };
        Pkcs11Keystore::provision(&config, &PIN.into()).unwrap();
        let mut house = Self { module, config, keystore: None, accounts: Vec::new(), unproved: Mutex::default() };
        house.try_open().unwrap();
        for scheme in [Scheme::Resident, Scheme::Derived] {
            let key = house.keystore().create_vault_key(VaultId::random(), 1, scheme).unwrap();
            house.accounts.push(Account::seal(house.keystore(), key).unwrap());
        }
        assert_eq!(house.serve_all(), Ok(()));
        house
    }

    pub(crate) fn keystore(&self) -> &Pkcs11Keystore {
        self.keystore.as_ref().expect("the keystore is open")
    }

    pub(crate) fn close(&mut self) {
        self.keystore = None;
    }

    /// Puts a fresh keystore in the place of this one, as a supervisor does with a worker.
    pub(crate) fn restart(&mut self) -> Result<(), ErrorClass> {
        self.close();
        self.try_open()
    }

    pub(crate) fn try_open(&mut self) -> Result<(), ErrorClass> {
        self.keystore = Some(Pkcs11Keystore::open(&self.config, &PIN.into()).map_err(|error| error.class())?);
        Ok(())
    }

    fn account(&self, scheme: Scheme) -> &Account {
        self.accounts.iter().find(|account| account.key.scheme == scheme).unwrap()
    }

    pub(crate) fn ask(&self, asked: Asked) -> Result<(), ErrorClass> {
        // Between two workers nobody serves.
        let Some(keystore) = &self.keystore else { return Err(ErrorClass::Device) };
        match asked {
            Asked::Code(scheme) => self.account(scheme).serve(keystore),
            Asked::Sign => keystore.sign(&[7; 32]).map(drop).map_err(|error| error.class()),
            Asked::Seal(scheme) => {
                let sealed = Account::seal(keystore, self.account(scheme).key.clone())?;
                self.unproved.lock().unwrap().0.push(sealed);
                Ok(())
            }
            Asked::Create(scheme) => {
                let key = keystore.create_vault_key(VaultId::random(), 1, scheme).map_err(|error| error.class())?;
                self.unproved.lock().unwrap().1.push(key);
                Ok(())
            }
            Asked::Health => keystore.health().map_err(|error| error.class()),
        }
    }

    fn serve_all(&self) -> Result<(), ErrorClass> {
        let keystore = self.keystore.as_ref().ok_or(ErrorClass::Device)?;
        self.accounts.iter().try_for_each(|account| account.serve(keystore))
    }

    /// Asks for codes as an agent does, and starts afresh where one is refused, until both come. Then uses what was sealed or
    /// made under the fault.
    pub(crate) fn recover(&mut self) -> (Duration, &'static str) {
        let begun = Instant::now();
        let mut by = "itself";
        while let Err(class) = self.serve_all() {
            assert_ne!(class, ErrorClass::Pin, "the PIN was given up");
            assert!(begun.elapsed() < Duration::from_secs(10), "it does not recover: {class:?}");
            by = "a fresh start";
            let _outcome = self.restart();
        }
        let recovered = begun.elapsed();
        self.prove();
        (recovered, by)
    }

    /// Opens a new keystore, as a restart after somebody has looked does.
    pub(crate) fn recover_by_a_person(&mut self) -> (Duration, &'static str) {
        let begun = Instant::now();
        self.close();
        self.try_open().unwrap();
        self.serve_all().unwrap();
        (begun.elapsed(), "a restart")
    }

    fn prove(&mut self) {
        let (sealed, keys) = std::mem::take(&mut *self.unproved.lock().unwrap());
        for account in sealed {
            assert_eq!(account.serve(self.keystore()), Ok(()), "what was sealed under a fault does not open");
        }
        for key in keys {
            let account = Account::seal(self.keystore(), key).expect("a key made under a fault can be used");
            assert_eq!(account.serve(self.keystore()), Ok(()));
        }
    }
}

/// Files below a folder.
pub(crate) fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}
