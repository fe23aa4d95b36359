//! `strongroom request`: access for a while, asked for and approved, or taken at once and looked at afterwards.

use std::time::{Duration, Instant};

use clap::Subcommand;
use serde::Serialize;
use strongroom_proto::ids::{GrantId, RequestId, Slug};
use strongroom_proto::method::request::{
    Approve, Cancel, Deny, Item, List, Make as MakeCall, Review, Show, Shown, WAIT_S_MAX,
};
use strongroom_proto::words::{RequestKind, RequestStatus};

use super::context::Context;
use super::error::{CliError, EXIT_DENIED, EXIT_TIMED_OUT};
use super::output::{clean, table};
use super::vault::words;
use super::when;

/// `strongroom request`
#[derive(Debug, Subcommand)]
pub(super) enum Request {
    /// Ask for access to a client, or to some of its accounts
    Make(Make),
    /// List what waits for approvals or for a review
    #[command(name = "ls", visible_alias = "list")]
    List {
        /// Only this client
        #[arg(value_name = "VAULT")]
        vault: Option<Slug>,
        /// Those of the last 90 days that are over too
        #[arg(long)]
        all: bool,
    },
    /// Show one request, and who may decide it
    Show {
        /// Which
        #[arg(value_name = "ID")]
        request: RequestId,
    },
    /// Approve what a colleague asks for; your key signs exactly what is shown
    Approve {
        /// Which
        #[arg(value_name = "ID")]
        request: RequestId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Deny a request
    Deny {
        /// Which
        #[arg(value_name = "ID")]
        request: RequestId,
        /// Why, for the record and for who asked
        #[arg(short, long)]
        reason: String,
    },
    /// Take your own request back, or give up early what it came to
    #[command(visible_alias = "end")]
    Cancel {
        /// Which
        #[arg(value_name = "ID")]
        request: RequestId,
    },
    /// Say whether a colleague's break-glass was justified
    Review {
        /// Which
        #[arg(value_name = "ID")]
        request: RequestId,
        /// It was
        #[arg(long, conflicts_with = "unjustified", required_unless_present = "unjustified")]
        justified: bool,
        /// It was not
        #[arg(long)]
        unjustified: bool,
        /// What you found, for the record
        #[arg(short, long)]
        note: String,
    },
}

/// `strongroom request make`
#[derive(Debug, clap::Args)]
pub(super) struct Make {
    /// Where
    #[arg(value_name = "VAULT")]
    vault: Slug,
    /// Only this account; may be repeated
    #[arg(long = "account", value_name = "SLUG")]
    accounts: Vec<Slug>,
    /// For how long from the approval on, for example 2h
    #[arg(long = "for", id = "length", value_name = "TIME", value_parser = when::duration, default_value = "1h")]
    length: Duration,
    /// Why, for the record and for who approves
    #[arg(short, long)]
    reason: String,
    /// Ticket number
    #[arg(short, long)]
    ticket: Option<String>,
    /// At once, in an emergency: somebody else reviews it afterwards
    #[arg(long)]
    break_glass: bool,
    /// Wait until it is decided; exits with 0 if it was approved, 4 if denied, 8 if nobody decided in time
    #[arg(long)]
    wait: bool,
    /// The longest wait [default: until the request expires]
    #[arg(long, value_name = "TIME", value_parser = when::duration, requires = "wait")]
    wait_for: Option<Duration>,
}

/// `strongroom.request_made/1`: members are only ever added.
#[derive(Serialize)]
struct Outcome {
    request: RequestId,
    status: RequestStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<GrantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<jiff::Timestamp>,
}

#[derive(Serialize)]
struct Touched {
    request: RequestId,
}

pub(super) async fn request(context: &Context, command: Request) -> Result<(), CliError> {
    match command {
        Request::Make(arguments) => make(context, arguments).await,
        Request::List { vault, all } => {
            let list = context.log_in().await?.call(&List { vault, all }).await?;
            context.out.answer("strongroom.requests/1", &list, &text(&list.items, context.out.terminal))
        }
        Request::Show { request } => {
            let shown = context.log_in().await?.call(&Show { request, wait_s: None }).await?;
            context.out.answer("strongroom.request/1", &shown, &sheet(&shown))
        }
        Request::Approve { request, yes } => approve(context, request, yes).await,
        Request::Deny { request, reason } => {
            let changed = context.log_in().await?.call(&Deny { request, reason }).await?;
            let sentence = format!("Denied {request}");
            context.out.changed("strongroom.request_denied/1", Touched { request }, &changed.receipt, &sentence)
        }
        Request::Cancel { request } => {
            let changed = context.log_in().await?.call(&Cancel { request }).await?;
            let sentence = format!("Gave up {request}");
            context.out.changed("strongroom.request_cancelled/1", Touched { request }, &changed.receipt, &sentence)
        }
        Request::Review { request, justified, note, .. } => {
            let changed = context.log_in().await?.call(&Review { request, justified, note }).await?;
            let sentence = format!("Reviewed {request}");
            context.out.changed("strongroom.request_reviewed/1", Touched { request }, &changed.receipt, &sentence)
        }
    }
}

async fn make(context: &Context, arguments: Make) -> Result<(), CliError> {
    let vault = arguments.vault;
    let call = MakeCall {
        vault: vault.clone(),
        accounts: (!arguments.accounts.is_empty()).then_some(arguments.accounts),
        duration_s: arguments.length.as_secs(),
        reason: arguments.reason,
        ticket: arguments.ticket,
        break_glass: arguments.break_glass,
    };
    let mut client = context.log_in().await?;
    let made = client.call(&call).await?;
    let request = made.request;
    if !arguments.wait || made.grant.is_some() {
        let sentence = match made.until {
            Some(until) => format!("You have access to {vault} until {}; it will be reviewed", when::utc(until)),
            None => format!("Asked for access to {vault}: request {request}; may decide: {}", names(&made.may_decide)),
        };
        let body = Outcome { request, status: made.status, grant: made.grant, until: made.until };
        return context.out.changed("strongroom.request_made/1", body, &made.receipt, &sentence);
    }
    context.out.say(&format!("Request {request} waits for {}.", names(&made.may_decide)));
    // The agent answers when there is news, at the latest after `WAIT_S_MAX`.
    client.set_timeout(context.timeout() + Duration::from_secs(WAIT_S_MAX.into()));
    let patience = arguments.wait_for.map(|patience| Instant::now() + patience);
    loop {
        let left = patience.map_or(u64::MAX, |until| until.saturating_duration_since(Instant::now()).as_secs());
        let wait_s = u32::try_from(left).unwrap_or(WAIT_S_MAX).min(WAIT_S_MAX);
        let item = client.call(&Show { request, wait_s: Some(wait_s) }).await?.item;
        if item.status == RequestStatus::Waiting && wait_s > 0 {
            continue;
        }
        return decided(context, item);
    }
}

/// What a script is told at the end of its wait.
fn decided(context: &Context, item: Item) -> Result<(), CliError> {
    let Item { request, status, grant, until, vault, answer, .. } = item;
    let body = Outcome { request, status, grant, until };
    let text = match (status, until) {
        (RequestStatus::Approved, Some(until)) => format!("You have access to {vault} until {}\n", when::utc(until)),
        _ => String::new(),
    };
    context.out.answer("strongroom.request_made/1", body, &text)?;
    match status {
        RequestStatus::Approved => Ok(()),
        RequestStatus::Denied => {
            let why = answer.map_or_else(String::new, |answer| format!(": {answer}"));
            Err(CliError::new(EXIT_DENIED, "denied", format!("The request was denied{why}")))
        }
        RequestStatus::Cancelled => Err(CliError::new(EXIT_DENIED, "denied", "The request was cancelled.")),
        RequestStatus::Expired => {
            Err(CliError::new(EXIT_TIMED_OUT, "expired", "Nobody decided on the request in time."))
        }
        RequestStatus::Waiting => {
            Err(CliError::new(EXIT_TIMED_OUT, "timed_out", "Nobody has decided on the request yet; it still waits.")
                .hint(format!("strongroom request show {request}")))
        }
    }
}

async fn approve(context: &Context, request: RequestId, yes: bool) -> Result<(), CliError> {
    let (mut client, signer) = context.log_in_to_sign().await?;
    let shown = client.call(&Show { request, wait_s: None }).await?;
    // Computed from what is shown: an agent that shows one thing and has another signed is found out.
    let digest = shown.item.content().digest().filter(|digest| *digest == shown.item.digest);
    let digest = digest.ok_or_else(|| CliError::failure("The agent shows another request than it wants signed."))?;
    context.out.say_lines(&sheet(&shown));
    context.confirm(yes, "You approve this with your key.")?;
    let approved = client.call_signed(Approve { request, digest, step_up: None }, signer.as_ref()).await?;
    let who = &shown.item.requester;
    let sentence = match approved.until {
        Some(until) => format!("Approved: {who} has access to {} until {}", shown.item.vault, when::utc(until)),
        None => format!("Approved; {} more approvals are needed", approved.missing),
    };
    let body = Outcome { request, status: approved.status, grant: approved.grant, until: approved.until };
    context.out.changed("strongroom.request_approved/1", body, &approved.receipt, &sentence)
}

fn names(slugs: &[Slug]) -> String {
    let names: Vec<String> = slugs.iter().map(ToString::to_string).collect();
    if names.is_empty() { "nobody yet".to_owned() } else { names.join(", ") }
}

fn length(seconds: u64) -> String {
    match (seconds / 3600, seconds % 3600 / 60) {
        (0, minutes) => format!("{minutes}m"),
        (hours, 0) => format!("{hours}h"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    }
}

fn state(item: &Item) -> String {
    match (item.kind, &item.review) {
        (RequestKind::BreakGlass, None) => "break-glass, not reviewed".to_owned(),
        (RequestKind::BreakGlass, Some(_)) => "break-glass, reviewed".to_owned(),
        (RequestKind::Access, _) if item.status == RequestStatus::Waiting => {
            format!("waiting, {} of {}", item.approvals.len(), item.needed)
        }
        (RequestKind::Access, _) => item.status.to_string(),
    }
}

fn text(items: &[Item], terminal: bool) -> String {
    let row = |item: &Item| {
        vec![
            item.request.to_string(),
            item.vault.to_string(),
            item.requester.to_string(),
            item.accounts.as_deref().map_or_else(|| "all".to_owned(), words),
            length(item.duration_s),
            state(item),
            when::utc(item.created_at),
            if item.yours { "you" } else { "-" }.to_owned(),
            item.reason.clone(),
        ]
    };
    let heading = ["ID", "VAULT", "WHO", "ACCOUNTS", "FOR", "STATE", "SINCE", "DECIDES", "REASON"];
    table(&heading, &items.iter().map(row).collect::<Vec<_>>(), terminal)
}

fn sheet(Shown { item, may_decide }: &Shown) -> String {
    let mut lines = vec![
        ("request", item.request.to_string()),
        ("vault", item.vault.to_string()),
        ("who", item.requester.to_string()),
        ("accounts", item.accounts.as_deref().map_or_else(|| "all".to_owned(), words)),
        ("for", length(item.duration_s)),
        ("reason", item.reason.clone()),
    ];
    lines.extend(item.ticket.as_ref().map(|ticket| ("ticket", ticket.clone())));
    if item.exclusive {
        lines.push(("exclusive", "nobody else takes codes of these accounts meanwhile".to_owned()));
    }
    lines.push(("state", state(item)));
    lines.push(("since", when::utc(item.created_at)));
    if item.status == RequestStatus::Waiting {
        lines.push(("expires", when::utc(item.expires_at)));
    }
    lines.extend(item.escalates_at.filter(|at| *at > item.created_at).map(|at| ("admins from", when::utc(at))));
    let approvals: Vec<Slug> = item.approvals.iter().map(|approval| approval.identity.clone()).collect();
    if !approvals.is_empty() {
        lines.push(("approved by", names(&approvals)));
    }
    lines.extend(item.until.map(|until| ("until", when::utc(until))));
    lines.extend(item.decided_by.as_ref().map(|who| ("decided by", who.to_string())));
    lines.extend(item.answer.as_ref().map(|answer| ("answer", answer.clone())));
    if let Some(review) = &item.review {
        let found = if review.justified { "justified" } else { "not justified" };
        lines.push(("review", format!("{found}, by {} on {}", review.identity, when::utc(review.at))));
    }
    lines.push(("may decide", names(may_decide)));
    lines.iter().map(|(name, value)| format!("{name:<12} {}\n", clean(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_hours_and_minutes() {
        for (seconds, text) in [(60, "1m"), (3600, "1h"), (5400, "1h30m"), (86_400, "24h")] {
            assert_eq!(length(seconds), text);
        }
    }
}
