//! Takes the values from the trail that an erasure is about: every opening that says a name, wherever the record is about that
//! person or by them. Begun anew after a restart; a value that is gone already is nothing to do.

use strongroom_proto::audit::opening::Opening;
use strongroom_proto::audit::record::Record;
use strongroom_proto::ids::IdentityId;

use crate::commands::erasure;
use crate::handler::Agent;
use crate::state::LogId;
use crate::store::StoreError;
use crate::store::sqlite::{Page, Store};

/// Records that are read at once, and rewritten in one commit at most.
const PAGE_LEN: u32 = 200;
/// What names who acted.
const OF_ACTOR: [&str; 2] = ["actor.name", "key_id"];
/// What names whom a record is about.
const OF_TARGET: [&str; 3] = ["target.name", "target.new_name", "principals"];

/// Carries out what was settled.
pub(crate) async fn erase(agent: &Agent) {
    let due: Vec<IdentityId> = {
        let view = agent.store.view();
        view.erasures.values().filter(|erasure| erasure.done_at.is_none()).map(|erasure| erasure.identity).collect()
    };
    for identity in due {
        match sweep(&agent.store, identity).await {
            Ok(counts) => {
                let values: u64 = counts.iter().map(|(_, count)| count).sum();
                match agent.store.submit(move |tx| erasure::done(tx, identity, &counts)).await {
                    Ok(_) => tracing::info!(%identity, values, "names were erased"),
                    Err(refused) => tracing::warn!(?refused, "an erasure could not be recorded"),
                }
            }
            Err(error) => tracing::warn!(%error, "an erasure did not come to its end: it will be tried again"),
        }
    }
}

/// Goes through every log; gives how many values went from which.
async fn sweep(store: &Store, identity: IdentityId) -> Result<Vec<(LogId, u64)>, StoreError> {
    let view = store.view();
    let mut counts = Vec::new();
    for (log, head) in &view.heads {
        // What does not match its log is evidence.
        if view.sealed.contains_key(log) {
            continue;
        }
        let (size, mut place, mut gone) = (head.frontier.size(), view.kept_from(*log), 0);
        while place < size {
            let (rows, next, count) = page(store, *log, place, identity).await?;
            if !rows.is_empty() {
                store.replace_openings(*log, rows).await?;
            }
            (place, gone) = (next, gone + count);
        }
        if gone > 0 {
            counts.push((*log, gone));
        }
    }
    Ok(counts)
}

type Rewritten = Vec<(u64, Option<Vec<u8>>)>;

/// The records of a page whose openings change, sealed anew; where to go on; how many values go.
async fn page(
    store: &Store,
    log: LogId,
    place: u64,
    identity: IdentityId,
) -> Result<(Rewritten, u64, u64), StoreError> {
    let store = store.clone();
    let called = store.view().erasures.get(&identity).and_then(|erasure| erasure.names.clone());
    let work = move || {
        let records = store.readers().records(log, Page::From(place), PAGE_LEN)?;
        let next = records.last().map_or(u64::MAX, |last| last.seq + 1);
        let (mut rows, mut gone) = (Vec::new(), 0);
        for stored in records {
            let Ok(record) = serde_json::from_str::<Record>(&stored.record) else { continue };
            let before = stored.openings.len();
            // What somebody typed at a login that failed names nobody else.
            let typed = |opening: &Opening| {
                opening.field == "asked" && called.as_ref().is_some_and(|called| opening.value == called.as_str())
            };
            let goes = |opening: &Opening| names(&record, opening, identity) || typed(opening);
            let kept: Vec<Opening> = stored.openings.into_iter().filter(|opening| !goes(opening)).collect();
            if kept.len() < before {
                gone += (before - kept.len()) as u64;
                rows.push((stored.seq, store.sealer().seal_openings(log, stored.seq, &kept)?));
            }
        }
        Ok((rows, next, gone))
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Read("an erasure ended".to_owned()))?
}

/// True if an opening names the person.
fn names(record: &Record, opening: &Opening, identity: IdentityId) -> bool {
    let acted = record.actor.as_ref().is_some_and(|actor| actor.identity == identity);
    let field = opening.field.as_str();
    (acted && OF_ACTOR.contains(&field)) || (record.target.identity == Some(identity) && OF_TARGET.contains(&field))
}
