//! A large organisation: what grows with it, and what must not.

use std::fmt::Write as _;
use std::time::Instant;

use strongroom_proto::method::account::List;
use strongroom_proto::method::code::Release;
use strongroom_proto::words::{Algorithm, OtpKind, Scheme, VaultRole};

use super::clients::Taker;
use super::figures::Latency;
use super::say;
use crate::organisation::{Organisation, create_vault, give, import, row};
use crate::seeds::RFC_SHA1;

/// How large it is.
struct Size {
    vaults: usize,
    accounts_each: usize,
    identities: usize,
}

impl Size {
    const FULL: Self = Self { vaults: 1_000, accounts_each: 10, identities: 200 };
    const QUICK: Self = Self { vaults: 3, accounts_each: 2, identities: 3 };
}

pub(super) async fn run(quick: bool) -> anyhow::Result<()> {
    let size = if quick { Size::QUICK } else { Size::FULL };
    let mut text =
        format!("{} vaults of {} accounts, {} identities\n\n", size.vaults, size.accounts_each, size.identities);
    let mut line = |name: &str, since: Instant, per: usize| {
        let ms = since.elapsed().as_secs_f64() * 1e3;
        let _ = writeln!(text, "{name:<46}{ms:>10.0} ms{:>10.2} ms each", ms / per.max(1) as f64);
    };
    let mut organisation = Organisation::found();
    let mut admin = organisation.admin.connect().await;
    let begun = Instant::now();
    let manager = organisation.enrol(&mut admin, "manager", &[]).await;
    let technician = organisation.enrol(&mut admin, "tech", &[]).await;
    for number in 2..size.identities {
        organisation.enrol(&mut admin, &format!("tech-{number}"), &[]).await;
    }
    line("enrolling, with ssh-keygen", begun, size.identities);

    let begun = Instant::now();
    for number in 0..size.vaults {
        let vault = vault(number);
        create_vault(&mut admin, &vault, Scheme::Derived).await;
        give(&mut admin, &vault, "manager", VaultRole::Manager).await;
        give(&mut admin, &vault, "tech", VaultRole::Viewer).await;
    }
    line("vaults with key and two grants", begun, size.vaults);

    let begun = Instant::now();
    let mut importer = manager.connect().await;
    for number in 0..size.vaults {
        let rows = (0..size.accounts_each)
            .map(|account| row(&format!("account-{account}"), OtpKind::Totp, Algorithm::Sha1, 6, RFC_SHA1))
            .collect();
        import(&mut importer, &vault(number), rows).await;
    }
    line("imports", begun, size.vaults);

    let begun = Instant::now();
    organisation.running().stop();
    line("stopping", begun, 1);
    let begun = Instant::now();
    organisation.start();
    line("starting", begun, 1);

    let begun = Instant::now();
    let mut client = technician.connect().await;
    line("the first login", begun, 1);
    let begun = Instant::now();
    let (mut pages, mut accounts, mut cursor) = (0, 0, None);
    loop {
        let page = client.call(&List { vault: None, cursor }).await?;
        pages += 1;
        accounts += page.items.len();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    line(&format!("listing {accounts} accounts in {pages} pages"), begun, pages);

    let release = |number: usize| -> anyhow::Result<Release> {
        let account = format!("{}/account-0", vault(number)).parse()?;
        Ok(Release { account, reason: None, ticket: None, min_remaining_s: None, step_up: None })
    };
    let mut taker = Taker::new(client, release(0)?);
    let same = taker.latency(200).await?;
    let mut times = Vec::new();
    for number in 0..size.vaults {
        taker = taker.with(release(number)?);
        let begun = Instant::now();
        taker.take().await?;
        times.push(begun.elapsed());
    }
    let spread = Latency::of(times);
    for (name, latency) in [("releases from one vault, µs", same), ("releases from each vault in turn, µs", spread)] {
        let _ = writeln!(text, "{name:<46}{:>10.0} p50{:>10.0} p99", latency.p50_us, latency.p99_us);
    }
    say(&text);
    Ok(())
}

fn vault(number: usize) -> String {
    format!("client-{number}")
}
