//! Templates of the keys in the token. Every usage that a key must not have is refused explicitly: SoftHSM grants most of
//! them to a key that doesn't mention them. What a token refuses to hear about, by its profile, is left out at the end.

use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use sha2::{Digest, Sha256};

use super::profile::{HmacKind, KeyTraits, Unnameable};

/// CKA_UNWRAP_TEMPLATE: `CKF_ARRAY_ATTRIBUTE | 0x212` (PKCS #11 v2.40 §4.10.2). cryptoki has no name for it.
pub(super) const UNWRAP_TEMPLATE: AttributeType = AttributeType::VendorDefined(0x4000_0212);

/// P-256's object identifier 1.2.840.10045.3.1.7 in DER (RFC 5480 §2.1.1.1).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Where an object lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// In the token, until it is destroyed.
    Token,
    /// Until its session ends.
    Session,
}

/// The AES-256 vault key of `resident`: it wraps and unwraps by RFC 3394 and does nothing else, and what it unwraps is a
/// session object that never leaves the token. Without the unwrap template anybody with the PIN could unwrap a seed as
/// extractable and read it.
pub(super) fn resident_vault_key(traits: &KeyTraits, life: Life, label: &str, id: Vec<u8>) -> Vec<Attribute> {
    let mut template = secret_key(KeyType::AES, life, label, id);
    template.extend([Attribute::Wrap(true), Attribute::Unwrap(true), Attribute::Sign(false)]);
    template.push(Attribute::AllowedMechanisms(vec![MechanismType::AES_KEY_WRAP]));
    template.push(unwrap_template());
    nameable(traits, template)
}

/// The same key without the list of mechanisms and the unwrap template: never made to keep; it is an attacker's own key,
/// and the negative control of the attack tests.
pub(super) fn weak_resident_vault_key(life: Life, label: &str) -> Vec<Attribute> {
    let mut template = secret_key(KeyType::AES, life, label, id(label, 16));
    template.extend([Attribute::Wrap(true), Attribute::Unwrap(true), Attribute::Sign(false)]);
    template
}

/// An HMAC-SHA-256 key: the vault key of `derived`, and the token's store key.
pub(super) fn hmac_key(traits: &KeyTraits, life: Life, label: &str, id: Vec<u8>) -> Vec<Attribute> {
    let key_type = match traits.hmac {
        HmacKind::GenericSecret => KeyType::GENERIC_SECRET,
        HmacKind::Sha256Hmac => KeyType::SHA256_HMAC,
    };
    let mut template = secret_key(key_type, life, label, id);
    if traits.hmac == HmacKind::Sha256Hmac {
        // The type says the length, and a YubiHSM 2 refuses to hear it again.
        template.retain(|attribute| !matches!(attribute, Attribute::ValueLen(_)));
    }
    template.extend([Attribute::Wrap(false), Attribute::Unwrap(false), Attribute::Sign(true)]);
    template.push(Attribute::AllowedMechanisms(vec![MechanismType::SHA256_HMAC]));
    nameable(traits, template)
}

fn secret_key(key_type: KeyType, life: Life, label: &str, id: Vec<u8>) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(key_type),
        Attribute::ValueLen(32.into()),
        Attribute::Token(life == Life::Token),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Copyable(false),
        Attribute::Destroyable(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
        Attribute::Label(label.into()),
        Attribute::Id(id),
    ]
}

/// The public half of the agent identity: readable without a PIN, so that `doctor` can show it.
pub(super) fn identity_public(traits: &KeyTraits, life: Life, label: &str, id: Vec<u8>) -> Vec<Attribute> {
    let template = vec![
        Attribute::Token(life == Life::Token),
        Attribute::Private(false),
        Attribute::Modifiable(false),
        Attribute::Verify(true),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::EcParams(P256.to_vec()),
        Attribute::Label(label.into()),
        Attribute::Id(id),
    ];
    let mut template = nameable(traits, template);
    if traits.cannot_name(Unnameable::PublicPrivate) {
        template.retain(|attribute| !matches!(attribute, Attribute::Private(_)));
    }
    template
}

/// The private half: signs digests, nothing else.
pub(super) fn identity_private(traits: &KeyTraits, life: Life, label: &str, id: Vec<u8>) -> Vec<Attribute> {
    let template = vec![
        Attribute::Token(life == Life::Token),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Copyable(false),
        Attribute::Sign(true),
        Attribute::SignRecover(false),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::AllowedMechanisms(vec![MechanismType::ECDSA]),
        Attribute::Label(label.into()),
        Attribute::Id(id),
    ];
    nameable(traits, template)
}

/// Leaves out what the token refuses to hear about. What remains is never weaker than the token's own rules: a profile may
/// only name attributes whose protection the token gives by itself, and the probe proves that it does.
fn nameable(traits: &KeyTraits, mut template: Vec<Attribute>) -> Vec<Attribute> {
    template.retain(|attribute| {
        let named = match attribute {
            Attribute::AllowedMechanisms(_) => Unnameable::AllowedMechanisms,
            Attribute::VendorDefined((kind, _)) if *kind == UNWRAP_TEMPLATE => Unnameable::UnwrapTemplate,
            Attribute::Modifiable(_) => Unnameable::Modifiable,
            Attribute::Copyable(_) => Unnameable::Copyable,
            Attribute::Destroyable(_) => Unnameable::Destroyable,
            Attribute::Encrypt(false)
            | Attribute::Decrypt(false)
            | Attribute::Sign(false)
            | Attribute::SignRecover(false)
            | Attribute::Verify(false)
            | Attribute::Wrap(false)
            | Attribute::Unwrap(false)
            | Attribute::Derive(false) => Unnameable::DeniedUsages,
            _ => return true,
        };
        !traits.cannot_name(named)
    });
    template
}

/// A seed's block on its way in: a session object that exists only to be wrapped.
pub(super) fn imported_block(traits: &KeyTraits, block: &[u8]) -> Vec<Attribute> {
    let template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(true),
        Attribute::Copyable(false),
        Attribute::Derive(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Value(block.to_vec()),
    ];
    nameable(traits, template)
}

/// A seed for the time of one HMAC and its confirmation. It must name exactly what the unwrap template names. VALUE_LEN is absent because
/// SoftHSM refuses it here.
pub(super) fn unwrapped_seed(traits: &KeyTraits) -> Vec<Attribute> {
    unwrapped(traits, false, true)
}

/// As [`unwrapped_seed`], but with the protection that the caller chooses: for probes that must fail.
pub(super) fn unwrapped(traits: &KeyTraits, extractable: bool, sensitive: bool) -> Vec<Attribute> {
    let template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(sensitive),
        Attribute::Extractable(extractable),
        Attribute::Derive(false),
        Attribute::Sign(true),
        Attribute::Verify(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Copyable(false),
    ];
    nameable(traits, template)
}

/// CKA_UNWRAP_TEMPLATE = { SENSITIVE 1, EXTRACTABLE 0, TOKEN 0, DERIVE 0 } as the bytes of a `CK_ATTRIBUTE` array. Its
/// pointers lead to statics, so they outlive every call.
pub(super) fn unwrap_template() -> Attribute {
    static YES: u8 = 1;
    static NO: u8 = 0;
    let entry = |kind: usize, value: &'static u8| {
        [kind, std::ptr::from_ref(value).expose_provenance(), 1].map(usize::to_ne_bytes).concat()
    };
    let entries = [entry(0x103, &YES), entry(0x162, &NO), entry(0x001, &NO), entry(0x10c, &NO)].concat();
    Attribute::VendorDefined((UNWRAP_TEMPLATE, entries))
}

/// CKA_ID: bytes drawn from the label, so that both halves of a pair agree and tools can tell keys apart. Two bytes are the
/// number of an object on a YubiHSM 2, where 0 (any) and 0xffff are not numbers.
pub(super) fn id(label: &str, len: u8) -> Vec<u8> {
    let digest: [u8; 32] = Sha256::digest(label).into();
    if len == 2 {
        return short_id(label, 0).to_vec();
    }
    digest.into_iter().take(usize::from(len)).collect()
}

/// The two-byte id that is tried after `step` others were found taken.
pub(super) fn short_id(label: &str, step: u16) -> [u8; 2] {
    let digest: [u8; 32] = Sha256::digest(label).into();
    let [first, second, ..] = digest;
    let drawn = u32::from(u16::from_be_bytes([first, second])) + u32::from(step);
    // 1 to 0xfffe.
    u16::try_from(drawn % 0xfffe + 1).unwrap_or(1).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::profile::TokenProfile;
    use super::*;

    fn traits(profile: &str) -> KeyTraits {
        TokenProfile::find(profile).unwrap().keys
    }

    fn kinds(template: &[Attribute]) -> Vec<AttributeType> {
        template.iter().map(Attribute::attribute_type).collect()
    }

    #[test]
    fn a_yubihsm_is_told_only_what_it_accepts() {
        use AttributeType as Type;
        let traits = traits("yubihsm2");
        let hmac = hmac_key(&traits, Life::Token, "sr:x", id("sr:x", traits.id_len));
        let expected = [
            Type::Class,
            Type::KeyType,
            Type::Token,
            Type::Private,
            Type::Sensitive,
            Type::Extractable,
            Type::Label,
            Type::Id,
            Type::Sign,
        ];
        assert_eq!(kinds(&hmac), expected);
        assert!(hmac.contains(&Attribute::KeyType(KeyType::SHA256_HMAC)));
        assert!(hmac.contains(&Attribute::Token(true)) && hmac.contains(&Attribute::Extractable(false)));
        assert!(hmac.iter().all(|attribute| !matches!(attribute, Attribute::Id(id) if id.len() != 2)));
        let private = identity_private(&traits, Life::Token, "sr:x", id("sr:x", 2));
        let expected =
            [Type::Token, Type::Private, Type::Sensitive, Type::Extractable, Type::Sign, Type::Label, Type::Id];
        assert_eq!(kinds(&private), expected);
        let public = identity_public(&traits, Life::Token, "sr:x", id("sr:x", 2));
        assert_eq!(kinds(&public), [Type::Token, Type::Verify, Type::EcParams, Type::Label, Type::Id]);
    }

    #[test]
    fn softhsm_and_kryoptic_get_the_hardened_templates() {
        for profile in ["softhsm2", "kryoptic"] {
            let traits = traits(profile);
            let id = id("sr:x", traits.id_len);
            assert_eq!(id.len(), 16);
            let resident = resident_vault_key(&traits, Life::Token, "sr:x", id.clone());
            let hmac = hmac_key(&traits, Life::Token, "sr:x", id.clone());
            assert_eq!((resident.len(), hmac.len()), (21, 20));
            for refused in [Attribute::Extractable(false), Attribute::Modifiable(false), Attribute::Derive(false)] {
                assert!(resident.contains(&refused) && hmac.contains(&refused), "{refused:?}");
            }
            assert!(kinds(&resident).contains(&UNWRAP_TEMPLATE));
            assert!(resident.contains(&Attribute::AllowedMechanisms(vec![MechanismType::AES_KEY_WRAP])));
            assert!(hmac.contains(&Attribute::ValueLen(32.into())));
            assert_eq!(identity_private(&traits, Life::Token, "sr:x", id.clone()).len(), 14);
            assert_eq!(identity_public(&traits, Life::Token, "sr:x", id).len(), 9);
        }
    }

    #[test]
    fn a_session_key_differs_from_its_original_in_nothing_else() {
        let traits = traits("softhsm2");
        let [token, session] =
            [Life::Token, Life::Session].map(|life| resident_vault_key(&traits, life, "sr:x", id("sr:x", 16)));
        let different: Vec<_> = token.iter().zip(&session).filter(|(token, session)| token != session).collect();
        // The unwrap template is the same bytes: its pointers lead to the same statics.
        assert_eq!(different, [(&Attribute::Token(true), &Attribute::Token(false))]);
    }

    #[test]
    fn two_byte_ids_are_drawn_from_the_label_and_never_forbidden() {
        assert_eq!(id("sr:store-keys", 2), id("sr:store-keys", 2));
        assert_ne!(id("sr:store-keys", 2), id("sr:agent-identity", 2));
        let all: HashSet<[u8; 2]> = (0..0xfffe).map(|step| short_id("sr:x", step)).collect();
        assert_eq!(all.len(), 0xfffe, "every number comes, each once");
        assert!(!all.contains(&[0, 0]) && !all.contains(&[0xff, 0xff]));
    }
}
