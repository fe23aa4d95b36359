//! The closed vocabularies of the wire: roles, assurance, OTP kinds and schemes. One word per thing, in code, on the
//! wire and on the screen.

use serde::{Deserialize, Serialize};

/// Declares a closed vocabulary: an enum whose wire word, text and list of members come from one place.
macro_rules! vocabulary {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every member, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word used on the wire and on the screen.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::words::UnknownWord;

            fn from_str(text: &str) -> Result<Self, $crate::words::UnknownWord> {
                Self::ALL.iter().copied().find(|member| member.as_str() == text).ok_or_else(|| $crate::words::UnknownWord {
                    word: text.chars().take(40).collect(),
                    allowed: Self::ALL.iter().map(|member| member.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

pub(crate) use vocabulary;

/// A word outside a closed vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{word}\" is none of: {allowed}")]
pub struct UnknownWord {
    pub(crate) word: String,
    pub(crate) allowed: String,
}

vocabulary! {
    /// A right within one vault.
    VaultRole {
        /// Takes codes and reads the trail of the accounts it may use.
        Viewer = "viewer",
        /// Sees the vault and may request access; takes no codes.
        Eligible = "eligible",
        /// Manages accounts and viewers, reads the trail; takes no codes.
        Manager = "manager",
        /// Reads the trail.
        Auditor = "auditor",
    }
}

vocabulary! {
    /// A right over the whole organisation.
    OrgRole {
        /// Manages identities, vaults and policy; takes no codes.
        Admin = "admin",
        /// Reads all trails and reports.
        Auditor = "auditor",
    }
}

vocabulary! {
    /// How an identity proved itself at login, weakest first. It describes the login to Strongroom only: a typed OTP is
    /// never phishing-resistant (NIST SP 800-63B-4 §3.2.5).
    Assurance {
        /// An SSH key in software, or a FIDO key whose hardware nobody has attested.
        SoftwareKey = "software-key",
        /// An attested FIDO key, touched.
        HardwareTouch = "hardware-touch",
        /// An attested FIDO key, touched, with its PIN or fingerprint.
        HardwareVerified = "hardware-verified",
    }
}

vocabulary! {
    /// What acts.
    IdentityKind {
        /// A person.
        Technician = "technician",
        /// A person from outside, whose access ends on a date that is set beforehand.
        Contractor = "contractor",
        /// A script: takes codes of listed accounts, and nothing else.
        Service = "service",
    }
}

vocabulary! {
    /// The life of an identity.
    IdentityStatus {
        /// May log in.
        Active = "active",
        /// May log in and look, and takes no codes until somebody else has looked: a tripwire put them on hold.
        Held = "held",
        /// May not log in until somebody else resumes them.
        Suspended = "suspended",
        /// Never again.
        Revoked = "revoked",
    }
}

vocabulary! {
    /// How the moving factor and the rendering of a one-time password are chosen.
    OtpKind {
        /// Time-based (RFC 6238).
        Totp = "totp",
        /// Counter-based (RFC 4226).
        Hotp = "hotp",
        /// Time-based with Steam's alphabet of 26 characters, five of them.
        Steam = "steam",
    }
}

vocabulary! {
    /// The hash under HMAC (RFC 6238 §1.2).
    Algorithm {
        /// HMAC-SHA-1, the default of RFC 4226.
        Sha1 = "SHA1",
        /// HMAC-SHA-256.
        Sha256 = "SHA256",
        /// HMAC-SHA-512.
        Sha512 = "SHA512",
    }
}

impl Algorithm {
    /// The block size of the hash, in bytes: keys are padded to it without changing the HMAC (RFC 2104 §2).
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

vocabulary! {
    /// How a seed is protected by its vault key (ARCHITECTURE.md, "Sealing").
    Scheme {
        /// Wrapped under an AES key of the token; opened only inside the token.
        Resident = "resident",
        /// Encrypted under a key that the token derives; opened in locked memory for microseconds.
        Derived = "derived",
    }
}

vocabulary! {
    /// What the caller can do with an account now.
    Access {
        /// May take a code.
        Open = "open",
        /// May ask for access.
        Ask = "ask",
        /// Sees the account without a right to its codes.
        Listed = "listed",
        /// Nothing is released while the vault is frozen.
        Frozen = "frozen",
        /// Not now: outside the hours in which codes are given, or on hold.
        Closed = "closed",
    }
}

vocabulary! {
    /// What two people do together to a vault (ARCHITECTURE.md, "Ceremonies").
    CeremonyKind {
        /// Seals every seed anew under a new vault key, of the same scheme or another, and destroys the old key.
        RotateKey = "rotate-key",
        /// Destroys the vault key, and with it every seed.
        Destroy = "destroy",
        /// Gives the seeds to the client, encrypted to the client's own key.
        HandOver = "hand-over",
    }
}

vocabulary! {
    /// How far a ceremony is.
    CeremonyStatus {
        /// Waits for a second person.
        Proposed = "proposed",
        /// Two people have signed; it can be run.
        Confirmed = "confirmed",
        /// It has begun and has not come to its end: run it again.
        Running = "running",
        /// It is over.
        Done = "done",
        /// Somebody took it back, or one of the two lost the right to it.
        Cancelled = "cancelled",
        /// Nobody confirmed or ran it in time.
        Expired = "expired",
    }
}

vocabulary! {
    /// What one person did and a second has to confirm.
    PendingKind {
        /// A key of an identity.
        Key = "key",
        /// A grant: somebody's first, or one beyond the portfolio cap.
        Grant = "grant",
        /// Membership in a group.
        Member = "member",
        /// Roles over the organisation.
        Roles = "roles",
        /// Login by certificate.
        Certificates = "certificates",
        /// The erasure of somebody's names from the trail.
        Erasure = "erasure",
        /// A vault's policy that allows more than before.
        VaultPolicy = "vault-policy",
        /// The organisation's policy that allows more than before.
        OrgPolicy = "org-policy",
    }
}

vocabulary! {
    /// How far a pending change is.
    PendingStatus {
        /// Waits for a second person.
        Waiting = "waiting",
        /// A second person confirmed it.
        Confirmed = "confirmed",
        /// Somebody rejected it or took it back.
        Rejected = "rejected",
        /// Nobody confirmed it in time, or who proposed it has lost the right to.
        Lapsed = "lapsed",
    }
}

vocabulary! {
    /// How somebody asks for access.
    RequestKind {
        /// Others approve first.
        Access = "access",
        /// At once; somebody else reviews it afterwards.
        BreakGlass = "break-glass",
    }
}

vocabulary! {
    /// How somebody who has left came to know a seed.
    RotationCause {
        /// They brought it in.
        Imported = "imported",
        /// It was given out in a ceremony of theirs.
        HandedOver = "handed-over",
    }
}

vocabulary! {
    /// Why a seed has to be replaced after an incident.
    IncidentCause {
        /// Somebody of the incident took its codes.
        Taken = "taken",
        /// Its codes were given in a vault of the incident.
        Exposed = "exposed",
        /// It is on the rotation list.
        Listed = "listed",
    }
}

vocabulary! {
    /// How far a request is.
    RequestStatus {
        /// Waits for approvals.
        Waiting = "waiting",
        /// Its grant was given.
        Approved = "approved",
        /// Somebody refused it.
        Denied = "denied",
        /// Who made it took it back.
        Cancelled = "cancelled",
        /// Nobody decided in time.
        Expired = "expired",
    }
}
