//! What a seed belongs to, and the one encoding of it that every binding covers.

use serde::{Deserialize, Serialize};
use strongroom_proto::ids::{AccountId, OrgId, VaultId};
use strongroom_proto::words::{Algorithm, OtpKind};

/// Everything a sealed seed is bound to: change one field and it no longer opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedContext {
    /// The store of the organisation.
    pub store: OrgId,
    /// The vault.
    pub vault: VaultId,
    /// The account.
    pub account: AccountId,
    /// How the moving factor is chosen and the code rendered.
    pub kind: OtpKind,
    /// The hash under the HMAC.
    pub algorithm: Algorithm,
    /// Characters of a code: 6 to 10, 5 for Steam.
    pub digits: u8,
    /// Seconds of a window; 0 for HOTP.
    pub period_s: u32,
    /// Counts the seeds that this account has had, from 1.
    pub revision: u32,
}

impl SeedContext {
    /// Encodes the context: a format label, then each field in order, every one behind its length as 4 bytes big-endian,
    /// so that no two contexts share an encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoding = Encoding::new(b"strongroom/seed-context/v1");
        encoding
            .field(self.store.as_bytes())
            .field(self.vault.as_bytes())
            .field(self.account.as_bytes())
            .field(self.kind.as_str().as_bytes())
            .field(self.algorithm.as_str().as_bytes())
            .field(&[self.digits])
            .field(&self.period_s.to_be_bytes())
            .field(&self.revision.to_be_bytes());
        encoding.into_bytes()
    }
}

/// A sequence of length-prefixed fields.
pub(super) struct Encoding(Vec<u8>);

impl Encoding {
    pub(super) fn new(label: &[u8]) -> Self {
        let mut encoding = Self(Vec::with_capacity(384));
        encoding.field(label);
        encoding
    }

    /// Appends a field. Fields come from our own types: none can reach 4 GiB.
    pub(super) fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_field_changes_the_encoding() {
        let context = SeedContext {
            store: OrgId::random(),
            vault: VaultId::random(),
            account: AccountId::random(),
            kind: OtpKind::Totp,
            algorithm: Algorithm::Sha1,
            digits: 6,
            period_s: 30,
            revision: 1,
        };
        let variants = [
            context.clone(),
            SeedContext { store: OrgId::random(), ..context.clone() },
            SeedContext { vault: VaultId::random(), ..context.clone() },
            SeedContext { account: AccountId::random(), ..context.clone() },
            SeedContext { kind: OtpKind::Hotp, ..context.clone() },
            SeedContext { algorithm: Algorithm::Sha256, ..context.clone() },
            SeedContext { digits: 8, ..context.clone() },
            SeedContext { period_s: 60, ..context.clone() },
            SeedContext { revision: 2, ..context },
        ];
        let encodings: HashSet<Vec<u8>> = variants.iter().map(SeedContext::encode).collect();
        assert_eq!(encodings.len(), variants.len());
    }

    #[test]
    fn the_encoding_is_pinned() {
        // Sealed seeds in the field depend on these bytes: a change needs a new label.
        let context = SeedContext {
            store: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
            vault: "00000000-0000-0000-0000-000000000002".parse().unwrap(),
            account: "00000000-0000-0000-0000-000000000003".parse().unwrap(),
            kind: OtpKind::Totp,
            algorithm: Algorithm::Sha1,
            digits: 6,
            period_s: 30,
            revision: 1,
        };
        let id = |last: &str| format!("00000010{}{last}", "0".repeat(30));
        let expected = [
            format!("0000001a{}", hex::encode("strongroom/seed-context/v1")),
            id("01"),
            id("02"),
            id("03"),
            format!("00000004{}", hex::encode("totp")),
            format!("00000004{}", hex::encode("SHA1")),
            "0000000106".into(),
            "000000040000001e".into(),
            "0000000400000001".into(),
        ];
        assert_eq!(hex::encode(context.encode()), expected.concat());
    }
}
