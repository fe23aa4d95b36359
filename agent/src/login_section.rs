//! The configuration's `[login]`: ways to log in beside enrolled keys.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde::Deserialize;

use crate::identity::{Authorities, KeyRefusal, VendorError, Vendors};

/// Longest file of authorities, in bytes.
const FILE_LEN_MAX: u64 = 64 * 1024;

/// Ways to log in beside enrolled keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Login {
    /// OpenSSH user certificates.
    pub certificates: Certificates,
    /// Makers of security keys whose attestations count.
    pub attestation: Attestation,
}

/// Makers of security keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attestation {
    /// A folder of their X.509 certificates, in PEM or DER.
    pub roots: Option<PathBuf>,
}

impl Attestation {
    /// The makers; none if no folder is named.
    ///
    /// # Errors
    /// Each [`VendorError`] under its condition.
    pub fn vendors(&self) -> Result<Vendors, VendorError> {
        self.roots.as_deref().map_or_else(|| Ok(Vendors::default()), Vendors::read)
    }
}

/// Whose certificates are taken, and which.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Certificates {
    /// Public keys of authorities, as lines of `.pub` files.
    pub authorities: Vec<String>,
    /// A file with one such line for each; empty lines and those that begin with `#` are passed over.
    pub authorities_file: Option<PathBuf>,
    /// A list of revoked keys, read anew at each login by certificate.
    pub krl: Option<PathBuf>,
    /// The longest life of a certificate, in hours.
    pub max_lifetime_h: u64,
}

impl Default for Certificates {
    fn default() -> Self {
        Self { authorities: Vec::new(), authorities_file: None, krl: None, max_lifetime_h: 24 }
    }
}

/// Why the authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Their file cannot be read.
    #[error("the authorities' file {path} cannot be read")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Their file is too long.
    #[error("the authorities' file {0} is longer than {FILE_LEN_MAX} bytes")]
    TooLong(PathBuf),
    /// One of them is not a key that may log in itself.
    #[error("authority {place} cannot be trusted")]
    Key {
        /// Which, from 1: those of the configuration first, then those of the file.
        place: usize,
        /// What is wrong with it.
        source: KeyRefusal,
    },
}

impl Certificates {
    /// The authorities with their limits; none if none is named.
    ///
    /// # Errors
    /// Each [`AuthorityError`] under its condition.
    pub fn authorities(&self) -> Result<Authorities, AuthorityError> {
        let mut lines = self.authorities.clone();
        if let Some(path) = &self.authorities_file {
            let text = read(path)?;
            let keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.extend(keys.map(str::to_owned));
        }
        let hours = i64::try_from(self.max_lifetime_h).unwrap_or(i64::MAX).min(24 * 366 * 100);
        Authorities::new(&lines, self.krl.clone(), SignedDuration::from_hours(hours))
            .map_err(|(place, source)| AuthorityError::Key { place, source })
    }
}

fn read(path: &Path) -> Result<String, AuthorityError> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_string(&mut text))
        .map_err(|source| AuthorityError::File { path: path.to_owned(), source })?;
    if text.len() as u64 > FILE_LEN_MAX { Err(AuthorityError::TooLong(path.to_owned())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOUZkJyXVV7bDTg1cKEyW7ZfBnozjvs2JB1W95s1VwAL msp-ca";

    #[test]
    fn authorities_come_from_the_configuration_and_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pub");
        std::fs::write(&path, format!("# the MSP's own\n\n{KEY}\n")).unwrap();
        let none = Certificates::default();
        assert!(!none.authorities().unwrap().any());
        let by_file = Certificates { authorities_file: Some(path.clone()), ..none.clone() };
        assert!(by_file.authorities().unwrap().any());
        let by_both = Certificates { authorities: vec![KEY.to_owned(), "ssh-dss AAAA x".to_owned()], ..by_file };
        assert!(matches!(by_both.authorities(), Err(AuthorityError::Key { place: 2, source: KeyRefusal::Dsa })));
        std::fs::write(&path, "hello").unwrap();
        let broken =
            Certificates { authorities: vec![KEY.to_owned()], authorities_file: Some(path.clone()), ..none.clone() };
        assert!(matches!(broken.authorities(), Err(AuthorityError::Key { place: 2, .. })));
        std::fs::write(&path, " ".repeat(70_000)).unwrap();
        assert!(matches!(broken.authorities(), Err(AuthorityError::TooLong(_))));
        let missing = Certificates { authorities_file: Some(folder.path().join("x")), ..none };
        assert!(matches!(missing.authorities(), Err(AuthorityError::File { .. })));
    }
}
