//! A small organisation to work in: two clients, a manager, a technician who sees both.

use strongroom_proto::client::{CallError, Client};
use strongroom_proto::error::ErrorKind;
use strongroom_proto::method::account::Row;
use strongroom_proto::method::vault::Create;
use strongroom_proto::words::{Algorithm, OtpKind, VaultRole};

use crate::organisation::{Organisation, give, import, row, slug};
use crate::people::Person;
use crate::schemes::scheme;
use crate::seeds::{RFC_SHA1, base32};
use crate::tools;

/// The period of `acme/slow`: so long that a test hardly ever meets the end of a window.
pub const SLOW_S: u32 = 3600;

/// The organisation and its people.
pub struct Clients {
    /// The organisation, its agent running.
    pub organisation: Organisation,
    /// The admin's connection.
    pub admin: Client,
    /// Manager of both vaults.
    pub manager: Person,
    /// Viewer in both vaults.
    pub tech: Person,
}

impl Clients {
    /// Founds it: `acme` with `slow`, `quick` (10 s) and `counter` (HOTP), `bluewater` with `vpn`, all of one seed.
    ///
    /// # Panics
    /// If any step fails.
    #[must_use]
    pub async fn found() -> Self {
        let organisation = Organisation::found();
        let mut admin = organisation.admin.connect().await;
        let manager = organisation.enrol(&mut admin, "manager", &[]).await;
        let tech = organisation.enrol(&mut admin, "tech", &[]).await;
        for vault in ["acme", "bluewater"] {
            create(&mut admin, vault).await;
            give(&mut admin, vault, "manager", VaultRole::Manager).await;
            give(&mut admin, vault, "tech", VaultRole::Viewer).await;
        }
        let totp =
            |name: &str, period_s: u32| Row { period_s, ..row(name, OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1) };
        let counter = row("counter", OtpKind::Hotp, Algorithm::Sha1, 6, RFC_SHA1);
        let mut client = manager.connect().await;
        import(&mut client, "acme", vec![totp("slow", SLOW_S), totp("quick", 10), counter]).await;
        import(&mut client, "bluewater", vec![totp("vpn", 30)]).await;
        Self { organisation, admin, manager, tech }
    }
}

/// Makes a vault; again if the token is given up because this machine is too busy.
async fn create(admin: &mut Client, name: &str) {
    for _ in 0..30 {
        let create =
            Create { vault: slug(name), name: format!("{name} Ltd"), scheme: Some(scheme()), min_assurance: None };
        match admin.call(&create).await {
            Ok(_) => return,
            Err(CallError::Failure(failure)) if failure.kind == ErrorKind::HsmUnavailable => {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            Err(error) => panic!("create {name}: {error}"),
        }
    }
    panic!("create {name}: the token does not answer");
}

/// The codes of the seed that `oathtool` computes for a period between two times, the first and the last.
#[must_use]
pub fn codes_between(period_s: u32, from: jiff::Timestamp, to: jiff::Timestamp) -> [String; 2] {
    [from, to].map(|at| {
        let (step, now) = (format!("--time-step-size={period_s}s"), format!("--now=@{}", at.as_second()));
        tools::run("oathtool", &["--totp=sha1", "--base32", &step, &now, &base32(RFC_SHA1)]).trim().to_owned()
    })
}
