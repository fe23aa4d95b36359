//! Fetches what a report is made from: lists, and whole logs that are checked against their checkpoints while they arrive.

use jiff::Timestamp;
use strongroom_proto::agent_key::AgentKey;
use strongroom_proto::audit::checkpoint::{Checkpoint, SignedCheckpoint};
use strongroom_proto::audit::export::Pin;
use strongroom_proto::audit::merkle::{Frontier, leaf_hash};
use strongroom_proto::audit::pruned::Pruned;
use strongroom_proto::client::Client;
use strongroom_proto::ids::Slug;
use strongroom_proto::method::audit::{self, Item, PAGE_LEN_MAX};
use strongroom_proto::method::session::Whoami;
use strongroom_proto::method::{account, canary, grant, group, identity, rotation, vault};
use strongroom_proto::words::VaultRole;

use super::super::audit::pruned::leaves;
use super::super::error::CliError;
use super::evidence::{Entry, Evidence, Lists, Log};

/// Whether a report is about the organisation's log, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Org {
    /// It says nothing without it.
    Needed,
    /// It says more with it.
    IfReadable,
    /// It does not look at it.
    No,
    /// It looks at nothing else.
    Alone,
}

/// Fetches everything over a connection that has logged in. `only` limits it to some vaults, without the organisation.
///
/// # Errors
/// What the agent answers; `unverified` if a log is not what its checkpoint says.
pub(super) async fn gather(client: &mut Client, only: &[Slug], org: Org) -> Result<Evidence, CliError> {
    let me = client.call(&Whoami {}).await?;
    let oversees = !me.session.roles.is_empty();
    if matches!(org, Org::Needed | Org::Alone) && !oversees {
        return Err(CliError::new(
            super::super::error::EXIT_DENIED,
            "denied",
            "This report is made from the organisation's log.",
        )
        .hint("admins and auditors of the organisation read it"));
    }
    let lists = lists(client, only).await?;
    // A log that the caller may not read is not asked for: the attempt would be recorded as one.
    let readable = |item: &&vault::Item| oversees || item.roles.iter().any(|role| *role != VaultRole::Eligible);
    let vaults = lists.vaults.iter().filter(|_| org != Org::Alone).filter(readable);
    let mut wanted: Vec<Option<Slug>> = vaults.map(|item| Some(item.vault.clone())).collect();
    // What is made about one client may be given to it: the organisation's log tells of the others.
    if org != Org::No && oversees && only.is_empty() {
        wanted.insert(0, None);
    }
    let mut logs = Vec::new();
    for vault in wanted {
        logs.push(log(client, vault).await?);
    }
    Ok(Evidence::new(Timestamp::now(), logs, lists))
}

/// Lists leave no record and leave out what the caller may not see.
async fn lists(client: &mut Client, only: &[Slug]) -> Result<Lists, CliError> {
    for vault in only {
        // A vault that does not exist for the caller is an error, and not a report about nothing.
        client.call(&account::List { vault: Some(vault.clone()), cursor: None }).await?;
    }
    let mut lists = Lists {
        vaults: client.call(&vault::List {}).await?.items,
        grants: client.call(&grant::List::default()).await?.items,
        groups: client.call(&group::List {}).await?.items,
        identities: client.call(&identity::List {}).await?.items,
        rotations: client.call(&rotation::List::default()).await?.items,
        canaries: client.call(&canary::List {}).await?.items,
        accounts: accounts(client, None).await?,
    };
    if !only.is_empty() {
        lists.vaults.retain(|item| only.contains(&item.vault));
        lists.grants.retain(|item| only.contains(&item.vault));
        lists.rotations.retain(|item| only.contains(&item.account.vault));
        lists.canaries.retain(|item| only.contains(&item.account.vault));
        lists.accounts.retain(|item| only.contains(&item.account.vault));
        let grants = &lists.grants;
        lists.groups.retain(|item| grants.iter().any(|grant| grant.group.as_ref() == Some(&item.group)));
        let groups = &lists.groups;
        lists.identities.retain(|item| {
            let member = |group: &group::Item| group.members.iter().any(|member| member.identity == item.identity);
            grants.iter().any(|grant| grant.identity.as_ref() == Some(&item.identity)) || groups.iter().any(member)
        });
    }
    Ok(lists)
}

/// All accounts that the caller sees, of one vault or of all.
pub(super) async fn accounts(client: &mut Client, vault: Option<&Slug>) -> Result<Vec<account::Item>, CliError> {
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let page = client.call(&account::List { vault: vault.cloned(), cursor }).await?;
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(items);
        }
    }
}

async fn log(client: &mut Client, vault: Option<Slug>) -> Result<Log, CliError> {
    let signed = client.call(&audit::Checkpoint { vault: vault.clone() }).await?;
    let checkpoint = vouched(client, &signed.checkpoint, &signed.public_key)?;
    let mut entries = Vec::new();
    let pruned = signed.pruned;
    let complete = fetch(client, vault.as_ref(), &checkpoint, pruned.as_ref(), |item| {
        entries.extend(Entry::read(item));
        Ok(())
    })
    .await?;
    Ok(Log {
        vault,
        origin: checkpoint.origin.to_string(),
        size: checkpoint.size,
        root: hex::encode(checkpoint.root),
        complete,
        pruned,
        entries,
    })
}

/// Takes a checkpoint if the agent that proved itself at the login has signed it.
pub(super) fn vouched(client: &Client, note: &str, public_key: &str) -> Result<Checkpoint, CliError> {
    let key = AgentKey::from_text(public_key).map_err(|error| CliError::unverified(&error))?;
    let pin = client.agent_key().map(Pin::parse).transpose();
    let pin = pin.map_err(|error| CliError::caused("The agent's key cannot be pinned", &error))?;
    if pin.is_some_and(|pin| pin != Pin::from(key)) {
        return Err(CliError::failure("NOT VERIFIED: the checkpoint is by another key than this agent's."));
    }
    let signed = SignedCheckpoint::parse(note).map_err(|error| CliError::unverified(&error))?;
    signed.verify(&key).cloned().map_err(|error| CliError::unverified(&error))
}

/// Fetches the records of a checkpoint, in order, and says whether all of them came; those that were pruned as their hashes. If they did, their root must be the
/// checkpoint's. The sink sees each record before that is known.
pub(super) async fn fetch(
    client: &mut Client,
    vault: Option<&Slug>,
    checkpoint: &Checkpoint,
    pruned: Option<&Pruned>,
    mut sink: impl FnMut(&Item) -> Result<(), CliError>,
) -> Result<bool, CliError> {
    let mut tree = Frontier::new();
    if let Some(pruned) = pruned.filter(|pruned| pruned.until <= checkpoint.size) {
        leaves(client, vault, pruned.until).await?.into_iter().for_each(|leaf| tree.push(leaf));
    }
    let mut next = Some(tree.size());
    let mut whole = true;
    while let Some(from) = next.filter(|from| *from < checkpoint.size) {
        let read = audit::Read { vault: vault.cloned(), from: Some(from), before: None, limit: Some(PAGE_LEN_MAX) };
        let page = client.call(&read).await?;
        for item in page.items.iter().take_while(|item| item.seq < checkpoint.size) {
            whole &= item.seq == tree.size();
            tree.push(leaf_hash(item.record.as_bytes()));
            sink(item)?;
        }
        // An agent that does not go forward would keep this going for ever.
        next = page.next.filter(|next| *next > from);
    }
    whole &= tree.size() == checkpoint.size;
    if whole && tree.root() != checkpoint.root {
        return Err(CliError::failure(format!(
            "NOT VERIFIED: the records of {} are not those of its checkpoint.",
            checkpoint.origin
        ))
        .hint("the agent or its store is broken; keep what it answers as evidence"));
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use strongroom_proto::audit::checkpoint::Origin;
    use strongroom_proto::audit::merkle::root_of;

    use super::super::super::scripted::agent;
    use super::*;

    fn page(seqs: &[u64], next: Option<u64>) -> Value {
        let item = |seq: &u64| json!({ "seq": seq, "record": format!("r{seq}"), "openings": [] });
        json!({ "log": "l", "size": 9, "items": seqs.iter().map(item).collect::<Vec<_>>(), "next": next })
    }

    async fn fetched(pages: Vec<Value>, root_over: u64) -> (Result<bool, CliError>, Vec<u64>) {
        let root = root_of((0..root_over).map(|seq| leaf_hash(format!("r{seq}").as_bytes())));
        let checkpoint = Checkpoint { origin: Origin::parse("l").unwrap(), size: 4, root };
        let (mut client, _) = agent(pages);
        let mut seen = Vec::new();
        let outcome = fetch(&mut client, None, &checkpoint, None, |item| {
            seen.push(item.seq);
            Ok(())
        })
        .await;
        (outcome, seen)
    }

    #[tokio::test]
    async fn a_whole_log_is_read_to_its_checkpoint_and_has_its_root() {
        let pages = vec![page(&[0, 1], Some(2)), page(&[2, 3, 4], Some(5))];
        assert_eq!(fetched(pages, 4).await, (Ok(true), vec![0, 1, 2, 3]));
    }

    #[tokio::test]
    async fn a_log_with_gaps_is_said_to_have_them() {
        assert_eq!(fetched(vec![page(&[0, 3], None)], 4).await, (Ok(false), vec![0, 3]));
        assert_eq!(fetched(vec![page(&[], None)], 4).await, (Ok(false), vec![]));
        assert_eq!(fetched(vec![page(&[0], Some(0))], 4).await, (Ok(false), vec![0]), "no endless reading");
    }

    #[tokio::test]
    async fn another_history_is_no_evidence() {
        let (outcome, _) = fetched(vec![page(&[0, 1, 2, 3], None)], 3).await;
        assert!(outcome.unwrap_err().message.contains("NOT VERIFIED"));
    }
}
