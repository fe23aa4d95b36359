use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::*;

struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap())
    }

    fn public(&self) -> AgentKey {
        AgentKey::from_point(self.0.public_key().as_ref()).unwrap()
    }
}

fn statement(organisation: OrgId, old: &Key, new: &Key) -> LogKey {
    let at = "2026-12-01T08:00:00Z".parse().unwrap();
    let text = LogKey::text(organisation, &old.public(), &new.public(), at);
    let sign = |key: &Key| key.0.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    LogKey::new(organisation, [&old.public(), &new.public()], at, [sign(old).as_ref(), sign(new).as_ref()])
}

#[test]
fn a_statement_holds_only_as_both_keys_signed_it() {
    let (org, old, new) = (OrgId::random(), Key::new(), Key::new());
    let good = statement(org, &old, &new);
    assert_eq!(good.check(org), Ok([old.public(), new.public()]));
    assert_eq!(good.check(OrgId::random()), Err(LogKeyError::Organisation));
    let changed = |change: &dyn Fn(&mut LogKey)| {
        let mut statement = good.clone();
        change(&mut statement);
        statement.check(statement.organisation).unwrap_err()
    };
    let unsigned = LogKeyError::Unsigned(Which::Old);
    assert_eq!(changed(&|it| it.organisation = OrgId::random()), unsigned);
    assert_eq!(changed(&|it| it.at = "2026-12-01T08:00:01Z".parse().unwrap()), unsigned);
    assert_eq!(changed(&|it| it.new = Key::new().public().openssh()), unsigned);
    assert_eq!(changed(&|it| it.old_signature.clone_from(&it.new_signature.clone())), unsigned);
    assert_eq!(
        changed(&|it| it.new_signature.clone_from(&it.old_signature.clone())),
        LogKeyError::Unsigned(Which::New)
    );
    assert_eq!(changed(&|it| it.old = "ssh-ed25519 AAAA".to_owned()), LogKeyError::Key);
    assert_eq!(changed(&|it| std::mem::swap(&mut it.old, &mut it.new)), unsigned, "not the other way round");
}

#[test]
fn a_pin_leads_forward_over_several_keys_and_never_back() {
    let (org, keys) = (OrgId::random(), [Key::new(), Key::new(), Key::new(), Key::new()]);
    let [first, second, third, stranger] = &keys;
    let statements = [statement(org, first, second), statement(org, second, third), statement(org, stranger, first)];
    let ways = Ways::collect(&statements, org).unwrap();
    let fingerprint = |key: &Key| key.public().fingerprint();
    let way = [first, second, third].map(fingerprint);
    assert_eq!(ways.between(&way[0], &third.public()), Some(way.to_vec()));
    assert_eq!(ways.between(&way[1], &second.public()), Some(vec![way[1].clone()]));
    assert_eq!(ways.between(&way[2], &first.public()), None);
    assert_eq!(ways.between(&Key::new().public().fingerprint(), &first.public()), None);
    assert_eq!(ways.before(&second.public()), [second, first, stranger].map(Key::public));
    let mut forged = statements.to_vec();
    forged[1].new_signature = String::new();
    assert_eq!(Ways::collect(&forged, org), Err((1, LogKeyError::Unsigned(Which::New))));
}
