//! The bench of a probe: makes temporary keys and writes down how each check went.

use std::fmt::Display;

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use strongroom_proto::words::Scheme;

use crate::keystore::pkcs11::connection::{Connection, KeyHandle, Transient};
use crate::keystore::pkcs11::fault::At;
use crate::keystore::pkcs11::label::PROBE;
use crate::keystore::pkcs11::template::Life;
use crate::keystore::{ErrorClass, KeystoreError, Operation, Outcome, ProbeRow};

pub(super) struct Bench<'a> {
    pub(super) connection: &'a Connection,
    pub(super) operation: Operation,
    /// The scheme that is being proven.
    pub(super) scheme: Option<Scheme>,
    pub(super) rows: Vec<ProbeRow>,
    /// A handle that was used.
    pub(super) seen: Option<KeyHandle>,
    /// The first sign that the token itself is in trouble: then a refusal proves nothing.
    trouble: Option<KeystoreError>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(connection: &'a Connection, operation: Operation) -> Self {
        Self { connection, operation, scheme: None, rows: Vec::new(), seen: None, trouble: None }
    }

    /// Where temporary keys live.
    pub(super) fn life(&self) -> Life {
        if self.connection.traits().session_objects { Life::Session } else { Life::Token }
    }

    /// A label that no other probe has.
    pub(super) fn label(&self) -> Result<String, KeystoreError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| KeystoreError::System {
            operation: self.operation,
            reason: format!("no randomness: {error}"),
        })?;
        Ok(format!("{PROBE}{}", hex::encode(random)))
    }

    /// Makes a key that is destroyed when this goes out of scope.
    pub(super) fn generate(
        &self,
        mechanism: &Mechanism<'_>,
        template: &[Attribute],
    ) -> Result<Transient<'a>, KeystoreError> {
        let session = self.connection.session();
        session.generate_key(mechanism, template).map(|object| Transient::new(session, object)).at(self.operation)
    }

    fn row(&mut self, check: &str, outcome: Outcome, code: impl Display) {
        let code = code.to_string();
        self.rows.push(ProbeRow { check: check.into(), scheme: self.scheme, outcome, code });
    }

    pub(super) fn note(&mut self, check: &str, found: String) {
        self.row(check, Outcome::Passed, found);
    }

    pub(super) fn skip(&mut self, check: &str, why: &str) {
        self.row(check, Outcome::Skipped, why);
    }

    pub(super) fn judge(&mut self, check: &str, found: Result<impl Display, impl Display>) {
        match found {
            Ok(found) => self.row(check, Outcome::Passed, found),
            Err(found) => self.row(check, Outcome::Failed, found),
        }
    }

    /// Notes a failure, and whether it is the token's.
    pub(super) fn fail(&mut self, check: &str, error: &KeystoreError) {
        let of_the_token = matches!(
            error.class(),
            ErrorClass::Session | ErrorClass::Login | ErrorClass::Handle | ErrorClass::Device | ErrorClass::Pin
        );
        if of_the_token && self.trouble.is_none() {
            self.trouble = Some(error.clone());
        }
        self.row(check, Outcome::Failed, code(error));
    }

    /// Something that must work. Gives its result back.
    pub(super) fn must<T>(&mut self, check: &str, result: Result<T, KeystoreError>) -> Option<T> {
        match result {
            Ok(value) => {
                self.row(check, Outcome::Passed, "ok");
                Some(value)
            }
            Err(error) => {
                self.fail(check, &error);
                None
            }
        }
    }

    /// An attack: something that the token must refuse. A token that is gone refuses everything, which proves nothing.
    pub(super) fn refused<T>(&mut self, check: &str, result: Result<T, Error>) {
        match result {
            Ok(_) => self.row(check, Outcome::Failed, "accepted"),
            Err(Error::Pkcs11(
                value @ (RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::UserNotLoggedIn
                | RvError::CryptokiNotInitialized
                | RvError::DeviceRemoved
                | RvError::TokenNotPresent
                | RvError::ObjectHandleInvalid
                | RvError::KeyHandleInvalid
                | RvError::OperationActive),
                function,
            )) => {
                let error = Err::<(), _>(Error::Pkcs11(value, function)).at(self.operation);
                if let Err(error) = error {
                    self.fail(check, &error);
                }
            }
            Err(Error::Pkcs11(value, _)) => self.row(check, Outcome::Passed, format!("{value:?}")),
            Err(error) => self.row(check, Outcome::Passed, error),
        }
    }

    /// What the rows amount to at a start.
    pub(super) fn verdict(self, profile: &str) -> Result<(), KeystoreError> {
        if let Some(trouble) = self.trouble {
            return Err(trouble);
        }
        match self.rows.into_iter().find(|row| row.outcome == Outcome::Failed) {
            None => Ok(()),
            Some(ProbeRow { check, scheme, code, .. }) => Err(KeystoreError::Unproven {
                operation: self.operation,
                profile: profile.into(),
                check: scheme.map_or(check.clone(), |scheme| format!("{scheme}: {check}")),
                code,
            }),
        }
    }
}

/// What the token answered, without the sentence around it.
fn code(error: &KeystoreError) -> String {
    match error {
        KeystoreError::Session { code, .. }
        | KeystoreError::Login { code, .. }
        | KeystoreError::Handle { code, .. }
        | KeystoreError::Device { code, .. }
        | KeystoreError::Pin { code, .. }
        | KeystoreError::Refused { code, .. } => code.clone(),
        KeystoreError::KeyMissing { label, .. } => format!("no key {label}"),
        other => other.to_string(),
    }
}
