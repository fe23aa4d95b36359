//! Two people, a recovery pair, and what they do to vaults together.

use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use strongroom_proto::client::{Client, LoginError};
use strongroom_proto::ids::CeremonyId;
use strongroom_proto::method::Changed;
use strongroom_proto::method::ceremony::{Confirm, List, Propose, Proposed, Ran, Run};
use strongroom_proto::words::{CeremonyKind, CeremonyStatus, OrgRole, Scheme, VaultRole};

use crate::organisation::{Organisation, Setup, create_vault, give, slug};
use crate::people::Person;
use crate::token::Kind;
use crate::tools;

/// An age pair, as `age-keygen` makes it.
pub struct RecoveryPair {
    folder: tempfile::TempDir,
}

impl RecoveryPair {
    /// Makes a pair.
    ///
    /// # Panics
    /// If `age-keygen` is not installed.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a private folder can be made");
        let pair = Self { folder };
        tools::run("age-keygen", &["-o", &pair.file().display().to_string()]);
        pair
    }

    /// The file with the private half.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("recovery-key")
    }

    /// The public half.
    #[must_use]
    pub fn recipient(&self) -> String {
        tools::run("age-keygen", &["-y", &self.file().display().to_string()]).trim().to_owned()
    }

    /// The private half, `AGE-SECRET-KEY-1…`.
    ///
    /// # Panics
    /// If the file is gone.
    #[must_use]
    pub fn secret(&self) -> String {
        let text = std::fs::read_to_string(self.file()).expect("age-keygen wrote it");
        text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).expect("it holds a key").to_owned()
    }

    /// Has `age` open a file.
    #[must_use]
    pub fn open(&self, file: &Path) -> String {
        tools::run("age", &["-d", "-i", &self.file().display().to_string(), &file.display().to_string()])
    }
}

impl Default for RecoveryPair {
    fn default() -> Self {
        Self::new()
    }
}

/// An organisation with two people who may hold ceremonies together, and one who takes codes.
pub struct TwoPeople {
    /// The organisation; its first admin is one of the two.
    pub organisation: Organisation,
    /// The recovery pair.
    pub recovery: RecoveryPair,
    /// The other: manager of every vault.
    pub manager: Person,
    /// Viewer of every vault.
    pub tech: Person,
    /// The first admin's connection.
    pub admin: Client,
}

impl TwoPeople {
    /// Founds it with these vaults, empty.
    ///
    /// # Panics
    /// If any step fails.
    #[must_use]
    pub async fn found(vaults: &[(&str, Scheme)]) -> Self {
        Self::found_on(None, vaults).await
    }

    /// As [`Self::found`], on a kind of token that the test says.
    ///
    /// # Panics
    /// As [`Self::found`].
    pub async fn found_on(token: Option<Kind>, vaults: &[(&str, Scheme)]) -> Self {
        let recovery = RecoveryPair::new();
        let setup = Setup { recovery_recipients: vec![recovery.recipient()], token, ..Setup::default() };
        let organisation = Organisation::found_with(&setup);
        let mut admin = organisation.admin.connect().await;
        let manager = organisation.enrol(&mut admin, "manager", &[]).await;
        let tech = organisation.enrol(&mut admin, "tech", &[]).await;
        for (vault, scheme) in vaults {
            create_vault(&mut admin, vault, *scheme).await;
            give(&mut admin, vault, "manager", VaultRole::Manager).await;
            give(&mut admin, vault, "tech", VaultRole::Viewer).await;
        }
        Self { organisation, recovery, manager, tech, admin }
    }

    /// Enrols an auditor of the organisation.
    pub async fn auditor(&mut self) -> Person {
        self.organisation.enrol(&mut self.admin, "auditor", &[OrgRole::Auditor]).await
    }

    /// The admin proposes, the manager confirms.
    ///
    /// # Panics
    /// If the agent refuses.
    pub async fn agree(&self, proposal: Propose) -> CeremonyId {
        let proposed = propose(&self.organisation.admin, proposal).await.expect("it is proposed");
        confirm(&self.manager, proposed.ceremony).await.expect("it is confirmed");
        proposed.ceremony
    }

    /// Runs a ceremony to its end as the admin, with the recovery key.
    ///
    /// # Panics
    /// If the agent refuses.
    pub async fn finish(&self, ceremony: CeremonyId) -> Ran {
        let mut client = self.organisation.admin.connect().await;
        loop {
            let run = Run { ceremony, recovery_key: Some(self.recovery.secret().into()) };
            let ran = client.call(&run).await.unwrap_or_else(|error| panic!("run: {error}"));
            if ran.status == CeremonyStatus::Done {
                return ran;
            }
        }
    }
}

/// A proposal with nothing special about it.
#[must_use]
pub fn proposal(vault: &str, kind: CeremonyKind) -> Propose {
    Propose {
        vault: slug(vault),
        kind,
        scheme: None,
        name: (kind == CeremonyKind::Destroy).then(|| slug(vault)),
        recipient: None,
        reason: "a test".to_owned(),
        ticket: None,
        step_up: None,
    }
}

/// Proposes as somebody, on a connection of its own.
///
/// # Errors
/// The agent's refusal.
pub async fn propose(person: &Person, proposal: Propose) -> Result<Proposed, LoginError> {
    person.connect().await.call_signed(proposal, &person.signer()).await
}

/// Reads a ceremony and confirms what was read.
///
/// # Errors
/// The agent's refusal.
///
/// # Panics
/// If the ceremony is not listed.
pub async fn confirm(person: &Person, ceremony: CeremonyId) -> Result<Changed, LoginError> {
    let mut client = person.connect().await;
    let items = client.call(&List { vault: None }).await.expect("ceremonies are listed").items;
    let item = items.iter().find(|item| item.ceremony == ceremony).expect("the ceremony is listed");
    let digest = item.content().digest().expect("it can be written down");
    client.call_signed(Confirm { ceremony, digest, step_up: None }, &person.signer()).await
}

/// The code of a counter as RFC 4226 §5.3 computes it, for SHA-1.
///
/// # Panics
/// Never: HMAC takes every key.
#[must_use]
pub fn hotp(seed: &[u8], counter: u64, digits: u32) -> String {
    let mac = Hmac::<sha1::Sha1>::new_from_slice(seed).expect("any length").chain_update(counter.to_be_bytes());
    let mac = mac.finalize().into_bytes();
    let offset = usize::from(mac[19] & 15);
    let binary = u32::from_be_bytes([mac[offset], mac[offset + 1], mac[offset + 2], mac[offset + 3]]) & 0x7fff_ffff;
    format!("{:0width$}", u64::from(binary) % 10_u64.pow(digits), width = digits as usize)
}

#[cfg(test)]
mod tests {
    use crate::seeds::{RFC_4226, RFC_SHA1};

    #[test]
    fn hotp_is_that_of_the_standard() {
        for (counter, code) in (0..).zip(RFC_4226) {
            assert_eq!(super::hotp(RFC_SHA1, counter, 6), code);
        }
    }
}
