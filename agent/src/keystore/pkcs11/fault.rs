//! PKCS#11 return values sorted into our error classes.
//!
//! The same value means different things in different calls: SoftHSM says `GENERAL_ERROR` and kryoptic `DEVICE_ERROR`
//! when a wrapped key fails its integrity check, so those of an unwrap are settled by a canary, not here.

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};

use crate::keystore::{KeystoreError, Operation};

/// Turns a cryptoki error into one of ours, naming the operation.
pub(super) trait At<T> {
    fn at(self, operation: Operation) -> Result<T, KeystoreError>;
}

impl<T> At<T> for Result<T, Error> {
    fn at(self, operation: Operation) -> Result<T, KeystoreError> {
        self.map_err(|error| classify(operation, &error))
    }
}

/// What C_Login says. Anything but a plain failure of the device counts as a refused PIN: an answer that is not understood
/// must not lead to attempt after attempt until the token locks itself.
pub(super) fn at_login(operation: Operation, error: &Error) -> KeystoreError {
    let unclear = match error {
        Error::Pkcs11(RvError::VendorDefined(_) | RvError::UnknownErrorCode(_) | RvError::EncryptedDataInvalid, _) => {
            true
        }
        error => matches!(classify(operation, error), KeystoreError::Refused { .. }),
    };
    if unclear { KeystoreError::Pin { operation, code: error.to_string() } } else { classify(operation, error) }
}

fn classify(operation: Operation, error: &Error) -> KeystoreError {
    let Error::Pkcs11(value, function) = error else {
        return KeystoreError::Refused { operation, code: error.to_string() };
    };
    let code = format!("{value:?} in {function}");
    match value {
        RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::OperationActive
        | RvError::OperationNotInitialized => KeystoreError::Session { operation, code },
        RvError::UserNotLoggedIn => KeystoreError::Login { operation, code },
        // A damaged object file shows as a key of the wrong kind: the re-find and its canary settle that as well.
        RvError::ObjectHandleInvalid
        | RvError::KeyHandleInvalid
        | RvError::WrappingKeyHandleInvalid
        | RvError::UnwrappingKeyHandleInvalid
        | RvError::KeyFunctionNotPermitted
        | RvError::KeyTypeInconsistent
        | RvError::WrappingKeyTypeInconsistent
        | RvError::UnwrappingKeyTypeInconsistent => KeystoreError::Handle { operation, code },
        RvError::DeviceRemoved
        | RvError::DeviceError
        | RvError::DeviceMemory
        | RvError::HostMemory
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid
        | RvError::SessionCount
        | RvError::FunctionFailed
        | RvError::CryptokiNotInitialized
        | RvError::GeneralError => KeystoreError::Device { operation, code },
        RvError::PinIncorrect
        | RvError::PinInvalid
        | RvError::PinLenRange
        | RvError::PinExpired
        | RvError::PinLocked
        | RvError::UserPinNotInitialized => KeystoreError::Pin { operation, code },
        RvError::EncryptedDataInvalid
        | RvError::EncryptedDataLenRange
        | RvError::WrappedKeyInvalid
        | RvError::WrappedKeyLenRange
            if matches!(function, Function::UnwrapKey | Function::Decrypt) =>
        {
            KeystoreError::Corrupt { operation }
        }
        // From any other call it is the channel to the device that was altered: yubihsm_pkcs11 says so of a bad MAC.
        RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange => KeystoreError::Device { operation, code },
        // What vendors say in words of their own is mostly that the device is away or broken.
        RvError::VendorDefined(_) | RvError::UnknownErrorCode(_) => KeystoreError::Device { operation, code },
        _ => KeystoreError::Refused { operation, code },
    }
}
