//! Templates of the keys in the token. Every usage that a key must not have is refused explicitly: SoftHSM grants most of
//! them to a key that doesn't mention them.

use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use sha2::{Digest, Sha256};

/// CKA_UNWRAP_TEMPLATE: `CKF_ARRAY_ATTRIBUTE | 0x212` (PKCS #11 v2.40 §4.10.2). cryptoki has no name for it.
pub(super) const UNWRAP_TEMPLATE: AttributeType = AttributeType::VendorDefined(0x4000_0212);

/// P-256's object identifier 1.2.840.10045.3.1.7 in DER (RFC 5480 §2.1.1.1).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// The AES-256 vault key of `resident`: it wraps and unwraps by RFC 3394 and does nothing else, and what it unwraps is a
/// session object that never leaves the token. Without the unwrap template anybody with the PIN could unwrap a seed as
/// extractable and read it.
pub(super) fn resident_vault_key(label: &str) -> Vec<Attribute> {
    let mut template = weak_resident_vault_key(label);
    template.push(Attribute::AllowedMechanisms(vec![MechanismType::AES_KEY_WRAP]));
    template.push(unwrap_template());
    template
}

/// The same key without the list of mechanisms and the unwrap template: never made for real; it is the negative control
/// of the attack tests.
pub(super) fn weak_resident_vault_key(label: &str) -> Vec<Attribute> {
    let mut template = secret_key(KeyType::AES, label);
    template.extend([Attribute::Wrap(true), Attribute::Unwrap(true), Attribute::Sign(false)]);
    template
}

/// An HMAC-SHA-256 key: the vault key of `derived`, and the token's store key.
pub(super) fn hmac_key(label: &str) -> Vec<Attribute> {
    let mut template = secret_key(KeyType::GENERIC_SECRET, label);
    template.extend([Attribute::Wrap(false), Attribute::Unwrap(false), Attribute::Sign(true)]);
    template.push(Attribute::AllowedMechanisms(vec![MechanismType::SHA256_HMAC]));
    template
}

fn secret_key(key_type: KeyType, label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(key_type),
        Attribute::ValueLen(32.into()),
        Attribute::Token(true),
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
        Attribute::Id(id(label)),
    ]
}

/// The public half of the agent identity: readable without a PIN, so that `doctor` can show it.
pub(super) fn identity_public(label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Modifiable(false),
        Attribute::Verify(true),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::EcParams(P256.to_vec()),
        Attribute::Label(label.into()),
        Attribute::Id(id(label)),
    ]
}

/// The private half: signs digests, nothing else.
pub(super) fn identity_private(label: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
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
        Attribute::Id(id(label)),
    ]
}

/// A seed's block on its way in: a session object that exists only to be wrapped.
pub(super) fn imported_block(block: &[u8]) -> Vec<Attribute> {
    vec![
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
    ]
}

/// A seed for the time of one HMAC and its confirmation. It must name exactly what the unwrap template names. VALUE_LEN is absent because
/// SoftHSM refuses it here.
pub(super) fn unwrapped_seed() -> [Attribute; 14] {
    unwrapped(false, true)
}

/// As [`unwrapped_seed`], but with the protection that the caller chooses: for probes that must fail.
pub(super) fn unwrapped(extractable: bool, sensitive: bool) -> [Attribute; 14] {
    [
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
    ]
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

/// CKA_ID: 16 bytes drawn from the label, so that both halves of a pair agree and tools can tell keys apart.
fn id(label: &str) -> Vec<u8> {
    Sha256::digest(label).iter().take(16).copied().collect()
}
