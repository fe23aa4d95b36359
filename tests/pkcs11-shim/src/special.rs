//! Functions that a rule or the strict mode looks into, beyond answering or delaying them.

use super::*;
use crate::yubihsm;
use crate::yubihsm::template::Template;

/// Refuses or goes on with what the strict mode gave.
macro_rules! strict {
    ($judged:expr) => {
        match $judged {
            Ok(accepted) => accepted,
            Err(refusal) => return refusal,
        }
    };
}

/// The type of a mechanism; 0, which is RSA key generation, of none.
fn kind(mechanism: *mut CK_MECHANISM) -> CK_MECHANISM_TYPE {
    // SAFETY: a caller passes a mechanism or null (PKCS #11 v2.40 §5.1.1); it lives through the call.
    unsafe { mechanism.as_ref() }.map_or(0, |mechanism| mechanism.mechanism)
}

/// A caller's template, copied.
fn template(attributes: *mut CK_ATTRIBUTE, count: CK_ULONG) -> Template {
    // SAFETY: a caller passes an array of so many attributes with their values, which lives through the call.
    unsafe { Template::copy(attributes, count) }
}

macro_rules! starts_operation {
    ($($name:ident may $mechanisms:ident;)*) => {
        $(pub(super) unsafe extern "C" fn $name(
            session: CK_SESSION_HANDLE,
            mechanism: *mut CK_MECHANISM,
            key: CK_OBJECT_HANDLE,
        ) -> CK_RV {
            through(stringify!($name), |call| {
                if call.strict {
                    strict!(yubihsm::offers(&yubihsm::$mechanisms, kind(mechanism)));
                }
                forward!(call, $name, session, mechanism, key)
            })
        })*
    };
}

starts_operation! {
    C_SignInit may SIGNS;
    C_VerifyInit may SIGNS;
    C_EncryptInit may ENCRYPTS;
    C_DecryptInit may ENCRYPTS;
}

pub(super) unsafe extern "C" fn C_Login(
    session: CK_SESSION_HANDLE,
    user: cryptoki_sys::CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    len: CK_ULONG,
) -> CK_RV {
    through("C_Login", |call| {
        if call.strict {
            // SAFETY: a caller passes so many bytes of a PIN, or null; they live through the call.
            let pin = (!pin.is_null()).then(|| unsafe { std::slice::from_raw_parts(pin, size(len)) });
            strict!(yubihsm::login(user, pin.unwrap_or_default()));
        }
        forward!(call, C_Login, session, user, pin, len)
    })
}

pub(super) unsafe extern "C" fn C_Sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    len: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_len: *mut CK_ULONG,
) -> CK_RV {
    // A question for the length is no signature: not a rule's business.
    let question = signature.is_null();
    let name = if question { "C_Sign(length)" } else { "C_Sign" };
    through(name, |call| {
        let value = forward!(call, C_Sign, session, data, len, signature, signature_len);
        if call.flip && value == CKR_OK && !question {
            // SAFETY: the module has just written a signature of at least one byte there.
            unsafe { *signature ^= 1 };
        }
        value
    })
}

pub(super) unsafe extern "C" fn C_WrapKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    wrapping: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    wrapped: *mut CK_BYTE,
    len: *mut CK_ULONG,
) -> CK_RV {
    let name = if wrapped.is_null() { "C_WrapKey(length)" } else { "C_WrapKey" };
    through(name, |call| {
        if call.strict {
            strict!(yubihsm::offers(&yubihsm::WRAPS, kind(mechanism)));
        }
        forward!(call, C_WrapKey, session, mechanism, wrapping, key, wrapped, len)
    })
}

#[allow(clippy::too_many_arguments, reason = "the standard's")]
pub(super) unsafe extern "C" fn C_UnwrapKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
    wrapped: *mut CK_BYTE,
    len: CK_ULONG,
    attributes: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    unwrapped: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    through("C_UnwrapKey", |call| {
        if call.strict {
            strict!(yubihsm::offers(&yubihsm::WRAPS, kind(mechanism)));
        }
        forward!(call, C_UnwrapKey, session, mechanism, key, wrapped, len, attributes, count, unwrapped)
    })
}

pub(super) unsafe extern "C" fn C_DeriveKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
    attributes: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    derived: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    through("C_DeriveKey", |call| {
        if call.strict {
            strict!(yubihsm::offers(&yubihsm::DERIVES, kind(mechanism)));
        }
        forward!(call, C_DeriveKey, session, mechanism, key, attributes, count, derived)
    })
}

pub(super) unsafe extern "C" fn C_GetMechanismList(
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    through("C_GetMechanismList", |call| {
        if !call.strict || count.is_null() {
            return forward!(call, C_GetMechanismList, slot, list, count);
        }
        let offered = yubihsm::mechanisms();
        // SAFETY: the caller's number of places, which is read and written as the standard says (v2.40 §5.2).
        let places = size(unsafe { count.replace(offered.len() as CK_ULONG) });
        if list.is_null() {
            return CKR_OK;
        }
        if places < offered.len() {
            return cryptoki_sys::CKR_BUFFER_TOO_SMALL;
        }
        // SAFETY: the caller has so many places, and the two lists are apart.
        unsafe { std::ptr::copy_nonoverlapping(offered.as_ptr(), list, offered.len()) };
        CKR_OK
    })
}

pub(super) unsafe extern "C" fn C_GetMechanismInfo(
    slot: CK_SLOT_ID,
    mechanism: CK_MECHANISM_TYPE,
    info: *mut cryptoki_sys::CK_MECHANISM_INFO,
) -> CK_RV {
    through("C_GetMechanismInfo", |call| {
        if call.strict {
            strict!(yubihsm::has(mechanism));
        }
        forward!(call, C_GetMechanismInfo, slot, mechanism, info)
    })
}

pub(super) unsafe extern "C" fn C_GenerateKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    attributes: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    // A probe's keys end with their session: a test that counts keys means those that stay.
    let token = template(attributes, count).iter().any(|(kind, value)| kind == cryptoki_sys::CKA_TOKEN && value == [1]);
    through(if token { "C_GenerateKey" } else { "C_GenerateKey(session)" }, |call| {
        if !call.strict {
            return forward!(call, C_GenerateKey, session, mechanism, attributes, count, key);
        }
        let asked = template(attributes, count);
        let mut wanted = strict!(yubihsm::generates(kind(mechanism), &asked));
        strict!(room(call, session, &asked));
        let mut raw = wanted.raw();
        forward!(call, C_GenerateKey, session, mechanism, raw.as_mut_ptr(), raw.len() as CK_ULONG, key)
    })
}

#[allow(clippy::too_many_arguments, reason = "the standard's")]
pub(super) unsafe extern "C" fn C_GenerateKeyPair(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    public: *mut CK_ATTRIBUTE,
    public_count: CK_ULONG,
    private: *mut CK_ATTRIBUTE,
    private_count: CK_ULONG,
    public_key: *mut CK_OBJECT_HANDLE,
    private_key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    through("C_GenerateKeyPair", |call| {
        let (mut public, mut private) = (template(public, public_count), template(private, private_count));
        if call.strict {
            strict!(yubihsm::generates_pair(kind(mechanism), &mut public, &mut private));
            strict!(room(call, session, &private));
        }
        let (mut public, mut private) = (public.raw(), private.raw());
        let lens = [&public, &private].map(|raw| raw.len() as CK_ULONG);
        let arrays = (public.as_mut_ptr(), private.as_mut_ptr());
        forward!(
            call,
            C_GenerateKeyPair,
            session,
            mechanism,
            arrays.0,
            lens[0],
            arrays.1,
            lens[1],
            public_key,
            private_key
        )
    })
}

pub(super) unsafe extern "C" fn C_CreateObject(
    session: CK_SESSION_HANDLE,
    attributes: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    object: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    through("C_CreateObject", |call| {
        if !call.strict {
            return forward!(call, C_CreateObject, session, attributes, count, object);
        }
        let asked = template(attributes, count);
        let mut wanted = strict!(yubihsm::creates(&asked));
        strict!(room(call, session, &asked));
        let mut raw = wanted.raw();
        forward!(call, C_CreateObject, session, raw.as_mut_ptr(), raw.len() as CK_ULONG, object)
    })
}

pub(super) unsafe extern "C" fn C_FindObjectsInit(
    session: CK_SESSION_HANDLE,
    attributes: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    through("C_FindObjectsInit", |call| {
        if !call.strict {
            return forward!(call, C_FindObjectsInit, session, attributes, count);
        }
        let mut wanted = yubihsm::searches(template(attributes, count));
        let mut raw = wanted.raw();
        forward!(call, C_FindObjectsInit, session, raw.as_mut_ptr(), raw.len() as CK_ULONG)
    })
}

pub(super) unsafe extern "C" fn C_FindObjects(
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    most: CK_ULONG,
    found: *mut CK_ULONG,
) -> CK_RV {
    through("C_FindObjects", |call| {
        let value = forward!(call, C_FindObjects, session, objects, most, found);
        if call.empty && value == CKR_OK && !found.is_null() {
            // SAFETY: the caller's place for the number of objects, which the module has just written.
            unsafe { *found = 0 };
        }
        value
    })
}

pub(super) unsafe extern "C" fn C_GetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    attributes: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    through("C_GetAttributeValue", |call| {
        if call.strict && !attributes.is_null() {
            let mut class = Template::class();
            let mut raw = class.raw();
            let value = forward!(call, C_GetAttributeValue, session, object, raw.as_mut_ptr(), 1);
            if value != CKR_OK {
                return value;
            }
            // SAFETY: a caller passes an array of so many attributes; only their types are read.
            let asked = unsafe { std::slice::from_raw_parts(attributes, size(count)) };
            strict!(yubihsm::reads(&class, asked.iter().map(|attribute| attribute.type_)));
        }
        forward!(call, C_GetAttributeValue, session, object, attributes, count)
    })
}

/// Whether the device has room for one more object and none of this id: asks the real module.
fn room(call: &crate::shim::Call<'_>, session: CK_SESSION_HANDLE, wanted: &Template) -> Result<(), CK_RV> {
    let count = |mut search: Template| {
        let mut raw = search.raw();
        let begun = forward!(call, C_FindObjectsInit, session, raw.as_mut_ptr(), raw.len() as CK_ULONG);
        if begun != CKR_OK {
            return Err(begun);
        }
        let mut objects = [0; 512];
        let mut found = 0;
        let value = forward!(call, C_FindObjects, session, objects.as_mut_ptr(), 512, &raw mut found);
        forward!(call, C_FindObjectsFinal, session);
        if value == CKR_OK { Ok(size(found)) } else { Err(value) }
    };
    let mut used = 1; // the authentication key
    for class in yubihsm::COUNTED {
        used += count(Template::of_class(class))?;
        if let Some(same_id) = wanted.same_id(class)
            && count(same_id)? > 0
        {
            return Err(yubihsm::ID_IN_USE);
        }
    }
    if used < call.objects { Ok(()) } else { Err(yubihsm::FULL) }
}

fn size(count: CK_ULONG) -> usize {
    usize::try_from(count).unwrap_or(0)
}
