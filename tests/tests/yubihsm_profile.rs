//! The profile `yubihsm2` on a module that refuses what yubihsm_pkcs11 refuses: as far as software goes.

use strongroom_agent::keystore::pkcs11::{Pkcs11Keystore, TokenConfig, TokenProfile};
use strongroom_agent::keystore::{Keystore as _, KeystoreError, Seed, SeedContext};
use strongroom_proto::client::CallError;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::method::code::Release;
use strongroom_proto::method::vault;
use strongroom_proto::words::{Algorithm, OtpKind, Scheme, VaultRole};
use strongroom_tests::faulty_module::FaultyModule;
use strongroom_tests::fresh_token::{LABEL, with_token};
use strongroom_tests::organisation::{Organisation, Setup, create_vault, give, import, row, slug};
use strongroom_tests::seeds::RFC_SHA1;
use strongroom_tests::token::{Kind, softhsm_module};
use strongroom_tests::tools;

/// Authentication key 1 and its password.
const PIN: &str = "0001password";
/// RFC 4226, appendix D: the HMAC of counter 1.
const RFC_MAC: &str = "75a48a19d4cbe100644e8ac1397eea747a2d33ab";

#[test]
fn provisioned_probed_sealed_released_and_full() {
    with_token("provisioned_probed_sealed_released_and_full", PIN, |token| {
        let module = FaultyModule::yubihsm_before(&softhsm_module(), 20);
        let mut profile = TokenProfile::find("yubihsm2").unwrap();
        profile.objects.as_mut().unwrap().max = 20;
        let config = TokenConfig {
            module: module.path().to_owned(),
            storage: Some(token.tokens()),
            ..TokenConfig::new(profile, LABEL)
        };
        let report = Pkcs11Keystore::probe_token(&config, &PIN.into()).unwrap();
        assert!(report.passed(), "{report}");
        Pkcs11Keystore::provision(&config, &PIN.into()).unwrap();
        let keystore = Pkcs11Keystore::open(&config, &PIN.into()).unwrap();
        let report = keystore.probe().unwrap();
        assert!(report.passed(), "{report}");

        let refused = keystore.create_vault_key(VaultId::random(), 1, Scheme::Resident).unwrap_err();
        assert!(matches!(refused, KeystoreError::SchemeNotAllowed { .. }), "{refused}");
        let mut made = 0;
        let full = loop {
            let vault = VaultId::random();
            let key = match keystore.create_vault_key(vault, 1, Scheme::Derived) {
                Ok(key) => key,
                Err(full) => break full,
            };
            made += 1;
            let context = SeedContext {
                store: OrgId::random(),
                vault,
                account: AccountId::random(),
                kind: OtpKind::Hotp,
                algorithm: Algorithm::Sha1,
                digits: 6,
                period_s: 0,
                revision: 1,
            };
            let sealed = keystore.seal(&key, &context, &Seed::new(RFC_SHA1.to_vec()).unwrap()).unwrap();
            let mac = keystore.otp_mac(&key, &context, &sealed, 1).unwrap();
            assert_eq!(hex::encode(mac.expose()), RFC_MAC);
        };
        // 20 objects, less a reserve of 8, the identity and the store key.
        assert_eq!(made, 10, "{full}");
        assert!(matches!(full, KeystoreError::ObjectBudget { .. }), "{full}");
        drop(keystore);
        // A second start finds every key by its label and believes the same ones.
        Pkcs11Keystore::open(&config, &PIN.into()).unwrap().health().unwrap();
    });
}

#[test]
fn a_pin_of_another_form_is_never_presented() {
    with_token("a_pin_of_another_form_is_never_presented", PIN, |token| {
        let module = FaultyModule::yubihsm_before(&softhsm_module(), 256);
        let config = TokenConfig {
            module: module.path().to_owned(),
            storage: Some(token.tokens()),
            ..TokenConfig::new(TokenProfile::find("yubihsm2").unwrap(), LABEL)
        };
        for pin in ["password", "0001", "00g1password"] {
            let refused = Pkcs11Keystore::provision(&config, &pin.into()).unwrap_err();
            assert!(matches!(refused, KeystoreError::PinForm { .. }), "{refused}");
            assert!(pin == "password" || !refused.to_string().contains(pin), "{refused}");
        }
        assert_eq!(module.calls().count("C_Login"), 0);
    });
}

#[tokio::test]
async fn an_agent_serves_from_it() {
    let module = FaultyModule::yubihsm_before(&softhsm_module(), 256);
    let setup = Setup {
        module: Some(module.path().to_owned()),
        profile: Some("yubihsm2"),
        pin: Some(PIN),
        token: Some(Kind::SoftHsm),
        ..Setup::default()
    };
    let organisation = Organisation::found_with(&setup);
    let mut admin = organisation.admin.connect().await;
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let tech = organisation.enrol(&mut admin, "tech", &[]).await;
    create_vault(&mut admin, "acme", Scheme::Derived).await;
    give(&mut admin, "acme", "manager", VaultRole::Manager).await;
    give(&mut admin, "acme", "tech", VaultRole::Viewer).await;
    import(&mut manager.connect().await, "acme", vec![row("hotp", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1)]).await;
    let mut client = tech.connect().await;
    for code in ["755224", "287082", "359152"] {
        let release = Release {
            account: "acme/hotp".parse().unwrap(),
            reason: None,
            ticket: None,
            min_remaining_s: None,
            step_up: None,
        };
        assert_eq!(*client.call(&release).await.unwrap().code, code, "RFC 4226, appendix D");
    }
    // What the token cannot do is said to whoever asks for it.
    let resident = vault::Create {
        vault: slug("bluewater"),
        name: "Bluewater".into(),
        scheme: Some(Scheme::Resident),
        min_assurance: None,
    };
    match admin.call(&resident).await {
        Err(CallError::Failure(failure)) => {
            assert_eq!(failure.kind, ErrorKind::InvalidParams);
            assert!(failure.message.contains("resident"), "{}", failure.message);
        }
        other => panic!("{:?}", other.map(|_| "made")),
    }
    let probe = tools::output(&mut organisation.launch.command(&["probe"]));
    let table = String::from_utf8_lossy(&probe.stdout).into_owned();
    assert!(probe.status.success(), "{table}{}", String::from_utf8_lossy(&probe.stderr));
    assert!(table.contains("yubihsm2"), "{table}");
}
