//! What yubihsm_pkcs11 refuses, and the answer it gives (yubihsm-shell 2.8.0: read in its source, most of it also run against
//! Yubico's simulated device). What it accepts is translated into what SoftHSM understands, so that a YubiHSM profile runs
//! on a SoftHSM token beneath.
//!
//! In one point this is stricter than the device: labels over 40 bytes and ids of other than 2 bytes cost a second object
//! there, and are refused here.

pub(crate) mod template;

use cryptoki_sys::{
    CK_ATTRIBUTE_TYPE, CK_FALSE, CK_KEY_TYPE, CK_MECHANISM_TYPE, CK_OBJECT_CLASS, CK_RV, CK_TRUE, CK_ULONG,
    CK_USER_TYPE, CKA_CLASS, CKA_COPYABLE, CKA_DECRYPT, CKA_DERIVE, CKA_DESTROYABLE, CKA_EC_PARAMS, CKA_ENCRYPT,
    CKA_EXTRACTABLE, CKA_ID, CKA_KEY_TYPE, CKA_LABEL, CKA_MODIFIABLE, CKA_PRIVATE, CKA_SENSITIVE, CKA_SIGN,
    CKA_SUBJECT, CKA_TOKEN, CKA_UNWRAP, CKA_VALUE, CKA_VALUE_LEN, CKA_VERIFY, CKA_WRAP, CKK_AES, CKK_EC,
    CKK_EC_EDWARDS, CKK_GENERIC_SECRET, CKK_SHA_1_HMAC, CKK_SHA256_HMAC, CKK_SHA384_HMAC, CKK_SHA512_HMAC, CKM_AES_CBC,
    CKM_AES_CBC_PAD, CKM_AES_ECB, CKM_AES_KEY_GEN, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EC_KEY_PAIR_GEN, CKM_ECDH1_DERIVE,
    CKM_ECDSA, CKM_ECDSA_SHA1, CKM_ECDSA_SHA256, CKM_ECDSA_SHA384, CKM_ECDSA_SHA512, CKM_EDDSA,
    CKM_GENERIC_SECRET_KEY_GEN, CKM_SHA_1, CKM_SHA_1_HMAC, CKM_SHA256, CKM_SHA256_HMAC, CKM_SHA384, CKM_SHA384_HMAC,
    CKM_SHA512, CKM_SHA512_HMAC, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_SECRET_KEY, CKR_ATTRIBUTE_TYPE_INVALID,
    CKR_ATTRIBUTE_VALUE_INVALID, CKR_DEVICE_MEMORY, CKR_FUNCTION_FAILED, CKR_MECHANISM_INVALID, CKR_PIN_INCORRECT,
    CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT, CKR_USER_TYPE_INVALID, CKU_USER,
};
use template::Template;

/// Functions it does not have.
pub(crate) const LACKS: [&str; 17] = [
    "C_InitToken",
    "C_InitPIN",
    "C_SetPIN",
    "C_CopyObject",
    "C_GetOperationState",
    "C_SetOperationState",
    "C_SetAttributeValue",
    "C_DigestKey",
    "C_SignRecoverInit",
    "C_SignRecover",
    "C_VerifyRecoverInit",
    "C_VerifyRecover",
    "C_DigestEncryptUpdate",
    "C_DecryptDigestUpdate",
    "C_SignEncryptUpdate",
    "C_DecryptVerifyUpdate",
    "C_WaitForSlotEvent",
];

/// The answer of a full device.
pub(crate) const FULL: CK_RV = CKR_DEVICE_MEMORY;
/// The answer to an id that is in use.
pub(crate) const ID_IN_USE: CK_RV = CKR_ATTRIBUTE_VALUE_INVALID;
/// What takes room in it: a key pair is one object.
pub(crate) const COUNTED: [CK_OBJECT_CLASS; 2] = [CKO_SECRET_KEY, CKO_PRIVATE_KEY];

pub(crate) const SIGNS: [CK_MECHANISM_TYPE; 10] = [
    CKM_SHA_1_HMAC,
    CKM_SHA256_HMAC,
    CKM_SHA384_HMAC,
    CKM_SHA512_HMAC,
    CKM_ECDSA,
    CKM_ECDSA_SHA1,
    CKM_ECDSA_SHA256,
    CKM_ECDSA_SHA384,
    CKM_ECDSA_SHA512,
    CKM_EDDSA,
];
pub(crate) const ENCRYPTS: [CK_MECHANISM_TYPE; 3] = [CKM_AES_ECB, CKM_AES_CBC, CKM_AES_CBC_PAD];
/// Its own mechanisms only, which no module beneath has.
pub(crate) const WRAPS: [CK_MECHANISM_TYPE; 0] = [];
pub(crate) const DERIVES: [CK_MECHANISM_TYPE; 1] = [CKM_ECDH1_DERIVE];
const OTHERS: [CK_MECHANISM_TYPE; 8] = [
    CKM_GENERIC_SECRET_KEY_GEN,
    CKM_AES_KEY_GEN,
    CKM_EC_KEY_PAIR_GEN,
    CKM_EC_EDWARDS_KEY_PAIR_GEN,
    CKM_SHA_1,
    CKM_SHA256,
    CKM_SHA384,
    CKM_SHA512,
];

/// Its key types for HMAC, with the length that the key gets.
const HMAC_KEYS: [(CK_KEY_TYPE, CK_ULONG); 4] =
    [(CKK_SHA_1_HMAC, 20), (CKK_SHA256_HMAC, 32), (CKK_SHA384_HMAC, 48), (CKK_SHA512_HMAC, 64)];

/// Longest label that needs no second object.
const LABEL_LEN_MAX: usize = 40;

pub(crate) fn offers(offered: &[CK_MECHANISM_TYPE], mechanism: CK_MECHANISM_TYPE) -> Result<(), CK_RV> {
    if offered.contains(&mechanism) { Ok(()) } else { Err(CKR_MECHANISM_INVALID) }
}

/// All it offers of what the tests could use.
pub(crate) fn mechanisms() -> Vec<CK_MECHANISM_TYPE> {
    [SIGNS.as_slice(), &ENCRYPTS, &DERIVES, &OTHERS].concat()
}

pub(crate) fn has(mechanism: CK_MECHANISM_TYPE) -> Result<(), CK_RV> {
    offers(&mechanisms(), mechanism)
}

/// The PIN is four hex digits, the id of the authentication key, and a password of 8 to 64 characters. There is no security
/// officer.
pub(crate) fn login(user: CK_USER_TYPE, pin: &[u8]) -> Result<(), CK_RV> {
    let Some((id, password)) = pin.split_first_chunk::<4>() else { return Err(CKR_PIN_INCORRECT) };
    if user != CKU_USER {
        Err(CKR_USER_TYPE_INVALID)
    } else if id.iter().all(u8::is_ascii_hexdigit) && (8..=64).contains(&password.len()) {
        Ok(())
    } else {
        Err(CKR_PIN_INCORRECT)
    }
}

/// What an attribute of a new key must be.
enum Must {
    Be(u8),
    /// Anything: looked at elsewhere, or ignored.
    Whatever,
}

/// Checks every attribute against a list; what is not on it is refused by type.
fn check(template: &Template, known: impl Fn(CK_ATTRIBUTE_TYPE) -> Option<Must>) -> Result<(), CK_RV> {
    for (kind, value) in template.iter() {
        let fits = match (kind, known(kind).ok_or(CKR_ATTRIBUTE_TYPE_INVALID)?) {
            (CKA_ID, _) => value.len() == 2,
            (CKA_LABEL, _) => value.len() <= LABEL_LEN_MAX,
            (_, Must::Be(flag)) => value == [flag],
            (_, Must::Whatever) => true,
        };
        if !fits {
            return Err(CKR_ATTRIBUTE_VALUE_INVALID);
        }
    }
    Ok(())
}

fn hmac_key(kind: CK_ATTRIBUTE_TYPE) -> Option<Must> {
    match kind {
        CKA_TOKEN | CKA_PRIVATE | CKA_SENSITIVE | CKA_DESTROYABLE => Some(Must::Be(CK_TRUE)),
        CKA_MODIFIABLE | CKA_COPYABLE | CKA_DERIVE | CKA_ENCRYPT | CKA_DECRYPT | CKA_WRAP | CKA_UNWRAP => {
            Some(Must::Be(CK_FALSE))
        }
        CKA_CLASS | CKA_KEY_TYPE | CKA_ID | CKA_LABEL | CKA_SIGN | CKA_VERIFY | CKA_EXTRACTABLE => Some(Must::Whatever),
        _ => None,
    }
}

fn aes_key(kind: CK_ATTRIBUTE_TYPE) -> Option<Must> {
    match kind {
        CKA_TOKEN | CKA_PRIVATE | CKA_SENSITIVE => Some(Must::Be(CK_TRUE)),
        CKA_MODIFIABLE | CKA_COPYABLE | CKA_DERIVE | CKA_SIGN | CKA_VERIFY | CKA_WRAP | CKA_UNWRAP => {
            Some(Must::Be(CK_FALSE))
        }
        CKA_CLASS | CKA_KEY_TYPE | CKA_ID | CKA_LABEL | CKA_VALUE_LEN | CKA_ENCRYPT | CKA_DECRYPT | CKA_EXTRACTABLE => {
            Some(Must::Whatever)
        }
        _ => None,
    }
}

fn public_key(kind: CK_ATTRIBUTE_TYPE) -> Option<Must> {
    match kind {
        CKA_TOKEN => Some(Must::Be(CK_TRUE)),
        CKA_MODIFIABLE | CKA_DECRYPT | CKA_SIGN | CKA_WRAP | CKA_UNWRAP => Some(Must::Be(CK_FALSE)),
        CKA_CLASS | CKA_KEY_TYPE | CKA_ID | CKA_LABEL | CKA_EC_PARAMS | CKA_VERIFY | CKA_ENCRYPT | CKA_COPYABLE
        | CKA_PRIVATE | CKA_EXTRACTABLE | CKA_DERIVE => Some(Must::Whatever),
        _ => None,
    }
}

fn private_key(kind: CK_ATTRIBUTE_TYPE) -> Option<Must> {
    match kind {
        CKA_TOKEN | CKA_PRIVATE | CKA_SENSITIVE | CKA_DESTROYABLE => Some(Must::Be(CK_TRUE)),
        CKA_MODIFIABLE | CKA_COPYABLE | CKA_ENCRYPT | CKA_DECRYPT | CKA_VERIFY | CKA_WRAP | CKA_UNWRAP => {
            Some(Must::Be(CK_FALSE))
        }
        CKA_CLASS | CKA_KEY_TYPE | CKA_ID | CKA_LABEL | CKA_SIGN | CKA_EXTRACTABLE | CKA_DERIVE | CKA_SUBJECT => {
            Some(Must::Whatever)
        }
        _ => None,
    }
}

/// The length of an HMAC key of the asked type. A generic secret is none of its types.
fn hmac_len(template: &Template) -> Result<CK_ULONG, CK_RV> {
    let asked = template.number(CKA_KEY_TYPE).ok_or(CKR_TEMPLATE_INCOMPLETE)?;
    let known = HMAC_KEYS.iter().find(|(kind, _)| *kind == asked);
    known.map(|(_, len)| *len).ok_or(CKR_ATTRIBUTE_VALUE_INVALID)
}

/// The same key in SoftHSM's words: a generic secret that can do nothing that was not asked for.
fn translated(asked: &Template) -> Template {
    let mut template = asked.clone();
    template.set_number(CKA_CLASS, CKO_SECRET_KEY);
    for (kind, flag) in [(CKA_TOKEN, CK_TRUE), (CKA_PRIVATE, CK_TRUE), (CKA_SENSITIVE, CK_TRUE)] {
        template.default_flag(kind, flag);
    }
    for kind in [CKA_EXTRACTABLE, CKA_SIGN, CKA_VERIFY, CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE] {
        template.default_flag(kind, CK_FALSE);
    }
    template
}

/// C_GenerateKey: gives the template for the module beneath.
pub(crate) fn generates(mechanism: CK_MECHANISM_TYPE, asked: &Template) -> Result<Template, CK_RV> {
    match mechanism {
        CKM_GENERIC_SECRET_KEY_GEN => {
            let len = hmac_len(asked)?;
            check(asked, hmac_key)?;
            let mut template = translated(asked);
            template.set_number(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
            template.set_number(CKA_VALUE_LEN, len);
            Ok(template)
        }
        CKM_AES_KEY_GEN => {
            check(asked, aes_key)?;
            match asked.number(CKA_VALUE_LEN) {
                Some(16 | 24 | 32) if asked.number(CKA_KEY_TYPE).is_none_or(|kind| kind == CKK_AES) => {
                    Ok(translated(asked))
                }
                Some(_) => Err(CKR_ATTRIBUTE_VALUE_INVALID),
                None => Err(CKR_TEMPLATE_INCOMPLETE),
            }
        }
        _ => Err(CKR_MECHANISM_INVALID),
    }
}

/// C_GenerateKeyPair: fills in what the device takes for granted.
pub(crate) fn generates_pair(
    mechanism: CK_MECHANISM_TYPE,
    public: &mut Template,
    private: &mut Template,
) -> Result<(), CK_RV> {
    let key_type = match mechanism {
        CKM_EC_KEY_PAIR_GEN => CKK_EC,
        CKM_EC_EDWARDS_KEY_PAIR_GEN => CKK_EC_EDWARDS,
        _ => return Err(CKR_MECHANISM_INVALID),
    };
    check(public, public_key)?;
    check(private, private_key)?;
    for (half, class) in [(&*public, CKO_PUBLIC_KEY), (&*private, CKO_PRIVATE_KEY)] {
        let other = |kind, expected| half.number(kind).is_some_and(|found| found != expected);
        if other(CKA_CLASS, class) || other(CKA_KEY_TYPE, key_type) {
            return Err(CKR_TEMPLATE_INCONSISTENT);
        }
    }
    // One object on the device: one id and one label.
    for kind in [CKA_ID, CKA_LABEL] {
        if private.get(kind).is_some() && public.get(kind).is_some_and(|public| Some(public) != private.get(kind)) {
            return Err(CKR_TEMPLATE_INCONSISTENT);
        }
    }
    for half in [public, &mut *private] {
        half.default_flag(CKA_TOKEN, CK_TRUE);
    }
    for (kind, flag) in [(CKA_PRIVATE, CK_TRUE), (CKA_SENSITIVE, CK_TRUE), (CKA_EXTRACTABLE, CK_FALSE)] {
        private.default_flag(kind, flag);
    }
    Ok(())
}

/// C_CreateObject: HMAC keys only; other objects are of no use to the tests.
pub(crate) fn creates(asked: &Template) -> Result<Template, CK_RV> {
    hmac_len(asked)?;
    check(asked, |kind| if kind == CKA_VALUE { Some(Must::Whatever) } else { hmac_key(kind) })?;
    if asked.get(CKA_VALUE).is_none() {
        return Err(CKR_TEMPLATE_INCONSISTENT);
    }
    let mut template = translated(asked);
    template.set_number(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    Ok(template)
}

/// C_FindObjectsInit: a search that names PRIVATE or SIGN finds nothing, whatever there is.
pub(crate) fn searches(mut wanted: Template) -> Template {
    if [CKA_PRIVATE, CKA_SIGN].iter().any(|kind| wanted.get(*kind).is_some()) {
        // No object has this class.
        wanted.set_number(CKA_CLASS, CK_OBJECT_CLASS::MAX - 1);
    }
    if wanted.number(CKA_KEY_TYPE).is_some_and(|asked| HMAC_KEYS.iter().any(|(kind, _)| *kind == asked)) {
        wanted.set_number(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    }
    wanted
}

/// C_GetAttributeValue: it fails at the key type of its HMAC keys, and knows no length of theirs. (Of AES keys it knows both;
/// the tests make none, so all secret keys are treated alike here.)
pub(crate) fn reads(object: &Template, mut asked: impl Iterator<Item = CK_ATTRIBUTE_TYPE>) -> Result<(), CK_RV> {
    if object.number(CKA_CLASS) != Some(CKO_SECRET_KEY) {
        return Ok(());
    }
    asked.try_for_each(|kind| match kind {
        CKA_KEY_TYPE => Err(CKR_FUNCTION_FAILED),
        CKA_VALUE_LEN => Err(CKR_ATTRIBUTE_TYPE_INVALID),
        _ => Ok(()),
    })
}
