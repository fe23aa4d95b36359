//! `account.*`: lists, and imports as begin / rows / commit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::{AccountAddress, AccountId, ImportId};
use strongroom_proto::method::Changed;
use strongroom_proto::method::account::{
    DIGITS_MAX, DIGITS_MIN, ImportBegin, ImportBegun, ImportCommit, ImportRows, ImportStaged, Imported, Item, List,
    ListResult, PERIOD_S_MAX, Remove, Row, SEED_LEN_MAX, SEED_LEN_MIN, STEAM_DIGITS, Show, Shown,
};
use strongroom_proto::words::{Access, OtpKind};

use super::connection::Import;
use super::{Agent, Answer, Connection};
use crate::access::{Denial, Operation};
use crate::commands::account::{self as command, Staged};
use crate::commands::{Caller, NAME_LEN_MAX, REASON_LEN_MAX, check_some_text, check_text};
use crate::keystore::Seed;
use crate::recovery::{Recipient, recovery_copy};
use crate::second::import_copy;
use crate::state::State;
use crate::state::rows::{Account, AccountNames, RecoveryCopy, SealedSeedRow};

/// Accounts of one page: 1 MiB of answer at the longest names.
const PAGE_LEN: usize = 500;
/// Rows of one call.
const ROWS_MAX: usize = 200;
/// Rows of one import.
const IMPORT_MAX: usize = 10_000;
/// Imports that one connection may have open.
const IMPORTS_OPEN_MAX: usize = 4;

pub(super) async fn list(
    agent: &Agent,
    connection: &mut Connection,
    params: List,
) -> Result<Answer<ListResult>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    if let Some(slug) = &params.vault {
        let vault = view.vault(slug).ok_or_else(Failure::not_found)?;
        let _terms = caller.may_in(&view, vault.id, Operation::VaultSee, now).map_err(Denial::failure)?;
    }
    let after: Option<AccountAddress> = match &params.cursor {
        Some(cursor) => Some(
            cursor
                .parse()
                .map_err(|_| Failure::new(ErrorKind::InvalidParams, "cursor is not one that this agent gave."))?,
        ),
        None => None,
    };
    let mut items = Vec::new();
    let mut next = None;
    'vaults: for (slug, id) in &view.vault_slugs {
        if params.vault.as_ref().is_some_and(|only| only != slug) {
            continue;
        }
        if after.as_ref().is_some_and(|after| *slug < after.vault) {
            continue;
        }
        for account in view.accounts_of(*id) {
            let address = AccountAddress { vault: slug.clone(), account: account.names.slug.clone() };
            if after.as_ref().is_some_and(|after| address <= *after) {
                continue;
            }
            if caller.may_in(&view, *id, Operation::AccountSee(account.id), now).is_err() {
                continue;
            }
            if items.len() == PAGE_LEN {
                next = items.last().map(|item: &Item| item.account.to_string());
                break 'vaults;
            }
            items.push(item(&view, &caller, account, address, now));
        }
    }
    Ok(ListResult { items, next }.into())
}

fn item(view: &State, caller: &Caller, account: &Account, address: AccountAddress, now: jiff::Timestamp) -> Item {
    let access = match caller.may_in(view, account.vault, Operation::CodeRelease(account.id), now) {
        Ok(_) => Access::Open,
        Err(Denial::Frozen) => Access::Frozen,
        Err(Denial::NeedsApproval) => Access::Ask,
        Err(Denial::Closed | Denial::Held) => Access::Closed,
        Err(_) => Access::Listed,
    };
    Item {
        account: address,
        id: account.id,
        issuer: account.names.issuer.clone(),
        label: account.names.label.clone(),
        kind: account.kind,
        algorithm: account.algorithm,
        digits: account.digits,
        period_s: account.period_s,
        access,
    }
}

pub(super) async fn show(agent: &Agent, connection: &mut Connection, params: Show) -> Result<Answer<Shown>, Failure> {
    let caller = connection.caller(agent)?;
    let view = agent.store.view();
    let now = agent.now();
    let found = view.vault(&params.account.vault).and_then(|vault| view.account(vault.id, &params.account.account));
    let Some(account) = found else {
        return Err(agent.nothing_there(&caller, params.account.to_string(), "account.show").await);
    };
    if let Err(denial) = caller.may_in(&view, account.vault, Operation::AccountSee(account.id), now) {
        return Err(agent.refuse(&caller, denial, Some(account.vault), "account.show").await);
    }
    let scheme = view.seeds.get(&account.id).map(|row| row.sealed.scheme);
    let shown = Shown {
        item: item(&view, &caller, account, params.account, now),
        next_counter: (account.kind == OtpKind::Hotp).then_some(account.next_counter),
        scheme: scheme.ok_or_else(|| Failure::new(ErrorKind::Internal, "This account has no seed for this token."))?,
        recoverable: view.recovery.contains_key(&account.id),
    };
    Ok(shown.into())
}

pub(super) async fn import_begin(
    agent: &Agent,
    connection: &mut Connection,
    params: ImportBegin,
) -> Result<Answer<ImportBegun>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("source", &params.source, 40)?;
    let view = agent.store.view();
    let Some(vault) = view.vault(&params.vault) else {
        return Err(agent.nothing_there(&caller, params.vault.to_string(), "account.import").await);
    };
    if let Err(denial) = caller.may_in(&view, vault.id, Operation::AccountImport, agent.now()) {
        return Err(agent.refuse(&caller, denial, Some(vault.id), "account.import").await);
    }
    if connection.imports.len() >= IMPORTS_OPEN_MAX {
        return Err(Failure::new(
            ErrorKind::Conflict,
            "Too many imports are open on this connection; commit one first.",
        ));
    }
    let import = ImportId::random();
    connection
        .imports
        .insert(import, Import { vault: vault.id, replace: params.replace, source: params.source, staged: Vec::new() });
    Ok(ImportBegun { import }.into())
}

pub(super) async fn import_rows(
    agent: &Agent,
    connection: &mut Connection,
    params: ImportRows,
) -> Result<Answer<ImportStaged>, Failure> {
    let caller = connection.caller(agent)?;
    let import = connection.imports.get(&params.import).ok_or_else(no_import)?;
    if params.rows.len() > ROWS_MAX || import.staged.len() + params.rows.len() > IMPORT_MAX {
        return Err(Failure::new(
            ErrorKind::TooLarge,
            format!("At most {ROWS_MAX} rows a call and {IMPORT_MAX} an import."),
        ));
    }
    let (vault, replace) = (import.vault, import.replace);
    let mut names: std::collections::BTreeSet<_> =
        import.staged.iter().map(|staged| staged.account.names.slug.clone()).collect();
    let view = agent.store.view();
    let _terms = caller.may_in(&view, vault, Operation::AccountImport, agent.now()).map_err(Denial::failure)?;
    let mut staged = Vec::with_capacity(params.rows.len());
    for row in params.rows {
        let replaced = view.account(vault, &row.account);
        let conflict = |what: &str| {
            let message = format!("The account name {} {what}.", row.account);
            Err(Failure::new(ErrorKind::Conflict, message))
        };
        if !names.insert(row.account.clone()) {
            return conflict("stands in this import twice");
        }
        if replaced.is_some() && !replace {
            return conflict("is taken: an import with replace gives that account the new seed");
        }
        staged.push(stage(agent, &view, vault, &row, replaced).await?);
    }
    let import = connection.imports.get_mut(&params.import).ok_or_else(no_import)?;
    import.staged.extend(staged);
    Ok(ImportStaged { staged: import.staged.len() as u64 }.into())
}

/// Checks a row and seals its seed at once: what is staged holds no seed.
async fn stage(
    agent: &Agent,
    view: &State,
    vault: strongroom_proto::ids::VaultId,
    row: &Row,
    replaced: Option<&Account>,
) -> Result<Staged, Failure> {
    check_row(row)?;
    let invalid = |what: &str| Failure::new(ErrorKind::InvalidParams, format!("{}: {what}.", row.account));
    let bytes = BASE64.decode(row.seed.as_bytes()).map_err(|_| invalid("the seed is no base64"))?;
    if !(SEED_LEN_MIN..=SEED_LEN_MAX).contains(&bytes.len()) {
        drop(zeroize::Zeroizing::new(bytes));
        return Err(invalid(&format!("a seed has {SEED_LEN_MIN} to {SEED_LEN_MAX} bytes")));
    }
    let seed = Seed::new(bytes).map_err(|error| invalid(&error.to_string()))?;
    let account = Account {
        id: replaced.map_or_else(AccountId::random, |account| account.id),
        vault,
        kind: row.kind,
        algorithm: row.algorithm,
        digits: row.digits,
        period_s: row.period_s,
        next_counter: row.counter,
        revision: replaced.map_or(1, |account| account.revision + 1),
        created_at: agent.now(),
        seed_by: None,
        names: AccountNames { slug: row.account.clone(), issuer: row.issuer.clone(), label: row.label.clone() },
    };
    let context = account.seed_context(view.org_id());
    let recipients = &view.org.recovery_recipients;
    let recovery = if recipients.is_empty() {
        None
    } else {
        let parsed = recipients
            .iter()
            .map(|recipient| Recipient::parse(recipient))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Failure::new(ErrorKind::Internal, "A recovery recipient is malformed."))?;
        let copy = recovery_copy(&context, &seed, &parsed)
            .map_err(|_| Failure::new(ErrorKind::Internal, "The recovery copy could not be made."))?;
        Some(RecoveryCopy {
            account: account.id,
            vault,
            revision: account.revision,
            recipients: recipients.clone(),
            copy: BASE64.encode(copy),
        })
    };
    let key = view
        .newest_vault_key(vault)
        .map(|row| row.key.clone())
        .ok_or_else(|| Failure::new(ErrorKind::Internal, "This vault has no key."))?;
    // Always by way of a copy, whether the second token is there or not: it has one way in.
    let import = import_copy(view, &context, &seed)
        .map_err(|_| Failure::new(ErrorKind::Internal, "The copy for the second token could not be made."))?;
    let sealed = agent.token(agent.workers.seal(key, context, &seed)).await?;
    Ok(Staged { seed: SealedSeedRow { account: account.id, vault, sealed }, account, recovery, import })
}

fn check_row(row: &Row) -> Result<(), Failure> {
    let invalid = |what: String| Err(Failure::new(ErrorKind::InvalidParams, format!("{}: {what}.", row.account)));
    check_text("issuer", &row.issuer, NAME_LEN_MAX)?;
    check_text("label", &row.label, NAME_LEN_MAX)?;
    match row.kind {
        OtpKind::Steam if row.digits != STEAM_DIGITS => {
            return invalid(format!("a Steam code has {STEAM_DIGITS} characters"));
        }
        OtpKind::Totp | OtpKind::Hotp if !(DIGITS_MIN..=DIGITS_MAX).contains(&row.digits) => {
            return invalid(format!("a code has {DIGITS_MIN} to {DIGITS_MAX} digits"));
        }
        _ => {}
    }
    match row.kind {
        OtpKind::Hotp if row.period_s != 0 => invalid("HOTP has no period: give 0".to_owned()),
        OtpKind::Hotp if row.counter >= 1 << 53 => invalid("the counter is too large".to_owned()),
        OtpKind::Totp | OtpKind::Steam if row.period_s == 0 || row.period_s > PERIOD_S_MAX => {
            invalid(format!("a period has 1 to {PERIOD_S_MAX} seconds"))
        }
        OtpKind::Totp | OtpKind::Steam if row.counter != 0 => invalid("only HOTP has a counter: give 0".to_owned()),
        _ => Ok(()),
    }
}

pub(super) async fn import_commit(
    agent: &Agent,
    connection: &mut Connection,
    params: ImportCommit,
) -> Result<Answer<Imported>, Failure> {
    let caller = connection.caller(agent)?;
    let import = connection.imports.remove(&params.import).ok_or_else(no_import)?;
    if import.staged.is_empty() {
        return Err(Failure::new(ErrorKind::InvalidParams, "This import has no rows."));
    }
    let Import { vault, source, staged, .. } = import;
    let durable = agent.store.submit(move |tx| command::import(tx, &caller, vault, &source, &staged)).await?;
    let (accounts, receipt) = durable.into_parts();
    agent.wake_second();
    Ok(Imported { accounts, receipt }.into())
}

pub(super) async fn remove(
    agent: &Agent,
    connection: &mut Connection,
    params: Remove,
) -> Result<Answer<Changed>, Failure> {
    let caller = connection.caller(agent)?;
    check_some_text("reason", &params.reason, REASON_LEN_MAX)?;
    let durable = agent.store.submit(move |tx| command::remove(tx, &caller, &params.account, &params.reason)).await?;
    Ok(Changed { receipt: durable.into_parts().1 }.into())
}

fn no_import() -> Failure {
    Failure::new(ErrorKind::NotFound, "There is no such import on this connection.")
}
