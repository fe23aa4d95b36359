//! What a call was refused with, as tests compare it.

use strongroom_proto::client::{CallError, Client, LoginError};
use strongroom_proto::error::ErrorKind;
use strongroom_proto::method::code::Release;

/// The kind of a refusal; `None` for a success.
///
/// # Panics
/// If the call failed without an answer of the agent.
pub fn kind<T>(outcome: Result<T, CallError>) -> Option<ErrorKind> {
    match outcome {
        Err(CallError::Failure(failure)) => Some(failure.kind),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

/// The kind of a refusal of a call that was signed.
///
/// # Panics
/// As [`kind`], and if the signer failed.
pub fn signed_kind<T>(outcome: Result<T, LoginError>) -> Option<ErrorKind> {
    match outcome {
        Err(LoginError::Call(error)) => kind::<T>(Err(error)),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

/// A release of an account without anything else.
///
/// # Panics
/// If that is no address.
#[must_use]
pub fn release(account: &str) -> Release {
    let account = account.parse().expect("the test writes addresses");
    Release { account, reason: None, ticket: None, min_remaining_s: None, step_up: None }
}

/// What taking a code is refused with; `None` if it is given.
pub async fn code(client: &mut Client, account: &str) -> Option<ErrorKind> {
    kind(client.call(&release(account)).await)
}
