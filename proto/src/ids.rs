//! Names and numbers that identify things. Each id is a type of its own, so that one cannot stand for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest slug, in bytes.
pub const SLUG_LEN_MAX: usize = 63;

/// A text that is no slug.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text breaks the rule for slugs.
    #[error("a name is 1 to 63 characters from a-z, 0-9 and '-', starting with a letter or digit")]
    Slug,
    /// The text is not `vault/account`.
    #[error("an account is addressed as CLIENT/ACCOUNT in small letters, for example acme/m365-admin")]
    Address,
    /// The text is no id of this kind.
    #[error("not an id")]
    Id,
}

/// A short stable name: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

impl Slug {
    /// Checks and takes a slug.
    ///
    /// # Errors
    /// [`IdError::Slug`] if the text breaks the rule.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let mut bytes = text.bytes();
        let starts_well = bytes.next().is_some_and(allowed);
        if starts_well && text.len() <= SLUG_LEN_MAX && bytes.all(|byte| allowed(byte) || byte == b'-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Slug)
        }
    }

    /// The slug that sorts before all others: where a range scan starts.
    #[must_use]
    pub fn lowest() -> Self {
        Self("0".to_owned())
    }

    /// Makes the nearest slug of any text: lower case, runs of other characters become one hyphen. `None` if nothing is
    /// left.
    #[must_use]
    pub fn derive(text: &str) -> Option<Self> {
        let mut slug = String::new();
        for character in text.chars().flat_map(char::to_lowercase) {
            if character.is_ascii_lowercase() || character.is_ascii_digit() {
                slug.push(character);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
            if slug.len() == SLUG_LEN_MAX {
                break;
            }
        }
        Self::new(slug.trim_end_matches('-')).ok()
    }

    /// The slug as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Slug {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(&text)
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl FromStr for Slug {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The address of an account as people type it: `acme/m365-admin`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountAddress {
    /// The vault's slug.
    pub vault: Slug,
    /// The account's slug within the vault.
    pub account: Slug,
}

impl FromStr for AccountAddress {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (vault, account) = text.split_once('/').ok_or(IdError::Address)?;
        Ok(Self {
            vault: Slug::new(vault).map_err(|_| IdError::Address)?,
            account: Slug::new(account).map_err(|_| IdError::Address)?,
        })
    }
}

impl TryFrom<String> for AccountAddress {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<AccountAddress> for String {
    fn from(address: AccountAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for AccountAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{}/{}", self.vault, self.account))
    }
}

/// Declares an id: a random UUID of its own type.
macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Draws a new random id (UUID version 4: it tells neither time nor volume).
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// Takes an id from its UUID.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The 16 bytes of the id.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text).map(Self).map_err(|_| IdError::Id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }
    };
}

id! {
    /// Identifies the organisation (one store) for as long as the store lives.
    OrgId
}
id! {
    /// Identifies a vault for ever; its slug and name may change.
    VaultId
}
id! {
    /// Identifies an account for ever; its slug and vault address may change.
    AccountId
}
id! {
    /// Identifies who acts, for ever.
    IdentityId
}
id! {
    /// Identifies a grant for ever.
    GrantId
}
id! {
    /// Identifies one authenticated connection.
    SessionId
}
id! {
    /// Identifies one run of the agent.
    Instance
}
id! {
    /// Identifies one import between its begin and its commit.
    ImportId
}
id! {
    /// Identifies a ceremony for ever.
    CeremonyId
}
id! {
    /// Identifies a group of identities for ever.
    GroupId
}
id! {
    /// Identifies a request for access for ever.
    RequestId
}
id! {
    /// Identifies a recertification for ever.
    CampaignId
}
id! {
    /// Identifies a decoy for ever.
    CanaryId
}
id! {
    /// Identifies a change that waits, or waited, for a second person.
    PendingId
}
id! {
    /// Identifies an incident for ever.
    IncidentId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_refused_when_it_breaks_the_rule() {
        for text in ["", "-a", "A", "a_b", "ü", "a/b", &"a".repeat(64)] {
            assert_eq!(Slug::new(text), Err(IdError::Slug), "{text}");
        }
        for text in ["a", "0", "m365-admin", &"a".repeat(63)] {
            assert_eq!(Slug::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_slug_is_derived_from_what_people_write() {
        let derived = |text: &str| Slug::derive(text).map(String::from);
        assert_eq!(derived("Microsoft 365 (Admin)").as_deref(), Some("microsoft-365-admin"));
        assert_eq!(derived("  --x--  ").as_deref(), Some("x"));
        assert_eq!(derived("東京"), None);
        assert_eq!(derived(&"ab-".repeat(40)).map(|slug| slug.len()), Some(62));
    }

    #[test]
    fn an_address_needs_exactly_one_slash() {
        assert!("acme/m365-admin".parse::<AccountAddress>().is_ok());
        for text in ["acme", "acme/", "/x", "a/b/c", "Acme/x"] {
            assert_eq!(text.parse::<AccountAddress>(), Err(IdError::Address), "{text}");
        }
    }
}
