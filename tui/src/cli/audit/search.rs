//! Which records: a filter, the logs that somebody may read, and pages of them until there are enough.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use strongroom_proto::audit::pruned::Pruned;
use strongroom_proto::audit::record::RecordOutcome;
use strongroom_proto::client::Client;
use strongroom_proto::ids::{SessionId, Slug};
use strongroom_proto::method::audit::{Item, PAGE_LEN_MAX, Page, Read, Search};
use strongroom_proto::method::{session, vault};
use strongroom_proto::words::{OrgRole, VaultRole};

use super::super::error::CliError;
use super::super::when;

/// What records have to be like to be shown.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(super) struct Filter {
    /// Only what this person or script did, or what was about them
    #[arg(long, value_name = "NAME")]
    who: Option<Slug>,
    /// Only this event, for example code.release
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// Only what happened (ok), was refused (denied) or went wrong (failed)
    #[arg(long, value_name = "OUTCOME", value_parser = outcome)]
    outcome: Option<RecordOutcome>,
    /// Only records with this ticket
    #[arg(long, value_name = "TICKET")]
    ticket: Option<String>,
    /// Only what this session did, from its login to its end
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// Not before this time
    #[arg(long, value_name = "TIME", value_parser = when::timestamp)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = when::timestamp)]
    until: Option<Timestamp>,
    /// Only this day, in UTC: 2026-11-30
    #[arg(long, value_name = "DATE", conflicts_with_all = ["since", "until"])]
    day: Option<Date>,
    /// Only of this account of the vault
    #[arg(skip)]
    pub(super) account: Option<Slug>,
}

fn outcome(text: &str) -> Result<RecordOutcome, String> {
    match text {
        "ok" => Ok(RecordOutcome::Ok),
        "denied" => Ok(RecordOutcome::Denied),
        "failed" => Ok(RecordOutcome::Failed),
        _ => Err(format!("\"{text}\" is no outcome: write ok, denied or failed")),
    }
}

impl Filter {
    fn question(&self, vault: Option<Slug>, before: Option<u64>, limit: u32) -> Result<Search, CliError> {
        let (mut since, mut until) = (self.since, self.until);
        if let Some(day) = self.day {
            let utc = |day: Date| day.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
            let next = day.checked_add(1.day());
            let beyond = |_| CliError::usage(format!("--day {day}: there is no such day in a log."));
            since = Some(utc(day).map_err(beyond)?);
            until = Some(next.and_then(utc).map_err(beyond)?);
        }
        Ok(Search {
            vault,
            identity: self.who.clone(),
            account: self.account.clone(),
            event: self.event.clone(),
            outcome: self.outcome,
            session: self.session,
            ticket: self.ticket.clone(),
            since,
            until,
            before,
            limit: Some(limit),
        })
    }
}

/// What was read of a log.
pub(super) struct Trail {
    pub(super) log: String,
    pub(super) size: u64,
    pub(super) items: Vec<Item>,
    /// The pruning that the reading ended at, if it came so far.
    pub(super) pruned: Option<Pruned>,
}

/// Reads backward from the end until there are enough records, and turns them round: the newest last, as in any log.
pub(super) async fn newest(
    client: &mut Client,
    vault: Option<Slug>,
    filter: &Filter,
    limit: u32,
) -> Result<Trail, CliError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut trail = Trail { log: String::new(), size: 0, items: Vec::new(), pruned: None };
    let mut before = None;
    loop {
        let missing = u32::try_from(limit - trail.items.len()).unwrap_or(PAGE_LEN_MAX).min(PAGE_LEN_MAX);
        let page = page(client, vault.clone(), filter, before, missing).await?;
        (trail.log, trail.size) = (page.log, page.size);
        let at_end = page.next.is_none() && trail.items.len() + page.items.len() <= limit;
        trail.pruned = page.pruned.filter(|_| at_end);
        trail.items.extend(page.items);
        trail.items.truncate(limit);
        match page.next {
            // The agent must go towards the beginning, or this would never end.
            Some(next) if trail.items.len() < limit && before.is_none_or(|before| next < before) => before = Some(next),
            _ => break,
        }
    }
    trail.items.reverse();
    Ok(trail)
}

async fn page(
    client: &mut Client,
    vault: Option<Slug>,
    filter: &Filter,
    before: Option<u64>,
    limit: u32,
) -> Result<Page, CliError> {
    if *filter == Filter::default() {
        return Ok(client.call(&Read { vault, from: None, before, limit: Some(limit) }).await?);
    }
    Ok(client.call(&filter.question(vault, before, limit)?).await?)
}

/// The logs that the caller may read: the organisation's first, if it is among them.
pub(super) async fn readable(client: &mut Client) -> Result<Vec<Option<Slug>>, CliError> {
    let roles = client.call(&session::Whoami {}).await?.session.roles;
    let mut logs = Vec::new();
    if roles.contains(&OrgRole::Admin) || roles.contains(&OrgRole::Auditor) {
        logs.push(None);
    }
    let reads = [VaultRole::Viewer, VaultRole::Manager, VaultRole::Auditor];
    for item in client.call(&vault::List {}).await?.items {
        // Asking for the others would leave a refusal on record for each.
        if roles.contains(&OrgRole::Auditor) || item.roles.iter().any(|role| reads.contains(role)) {
            logs.push(Some(item.vault));
        }
    }
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use super::super::super::scripted::agent;
    use super::*;
    use serde_json::{Value, json};

    fn page(seqs: &[u64], next: Option<u64>) -> Value {
        let item = |&seq: &u64| json!({ "seq": seq, "record": "{}", "openings": [] });
        json!({ "log": "l", "size": 10, "items": seqs.iter().map(item).collect::<Vec<_>>(), "next": next })
    }

    async fn read(pages: Vec<Value>, filter: &Filter, limit: u32) -> (Vec<u64>, Vec<Value>) {
        let (mut client, asked) = agent(pages);
        let trail = newest(&mut client, Some(Slug::new("acme").unwrap()), filter, limit).await.unwrap();
        drop(client);
        (trail.items.iter().map(|item| item.seq).collect(), asked.await.unwrap())
    }

    #[tokio::test]
    async fn the_newest_records_come_last_and_reading_stops_when_there_are_enough() {
        let pages = vec![page(&[9, 8, 7], Some(7)), page(&[6, 5, 4], Some(4))];
        let (seqs, asked) = read(pages, &Filter::default(), 5).await;
        assert_eq!(seqs, [5, 6, 7, 8, 9]);
        assert_eq!(asked[0], json!(["audit.read", { "vault": "acme", "limit": 5 }]));
        assert_eq!(asked[1], json!(["audit.read", { "vault": "acme", "before": 7, "limit": 2 }]));
    }

    #[tokio::test]
    async fn a_filter_is_the_agents_work_and_pages_without_a_match_are_passed_over() {
        let filter =
            Filter { ticket: Some("T-1".into()), day: Some("2026-11-30".parse().unwrap()), ..Filter::default() };
        let (seqs, asked) = read(vec![page(&[], Some(7)), page(&[3], None)], &filter, 50).await;
        assert_eq!(seqs, [3]);
        let asked_for = json!({ "vault": "acme", "ticket": "T-1", "since": "2026-11-30T00:00:00Z", "until": "2026-12-01T00:00:00Z", "limit": 50 });
        assert_eq!(asked[0], json!(["audit.search", asked_for]));
        assert_eq!((&asked[1][1]["before"], &asked[1][1]["limit"]), (&json!(7), &json!(50)));
    }

    #[tokio::test]
    async fn a_log_that_does_not_go_back_ends_the_search() {
        let pages = vec![page(&[9], Some(9)), page(&[9], Some(9)), page(&[9], Some(9))];
        assert_eq!(read(pages, &Filter::default(), 50).await.1.len(), 2);
    }
}
