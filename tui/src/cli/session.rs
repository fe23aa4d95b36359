//! `strongroom session`, `status` and `whoami`: the agent and the connections to it.

use clap::Subcommand;
use serde::Serialize;
use strongroom_proto::ids::SessionId;
use strongroom_proto::method::agent::{
    Health, OpenAlerts, State, Status as StatusCall, StatusResult, Stream, TokenTrouble, Worker,
};
use strongroom_proto::method::session::{self, End, WhoamiResult};

use super::context::Context;
use super::error::CliError;
use super::output::{clean, table};
use super::vault::words;
use super::when;

/// `strongroom session`
#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// List sessions: your own; as an admin all
    #[command(name = "list", visible_alias = "ls")]
    List,
    /// End a session: your own; as an admin anybody's
    End {
        /// Which, as strongroom session list shows it
        #[arg(value_name = "ID")]
        id: SessionId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `strongroom status`
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Log in and show how far copies of the logs have come; for org admins and auditors
    #[arg(long)]
    streams: bool,
    /// Log in and show how many alerts wait for an answer that you may see
    #[arg(long)]
    alerts: bool,
}

/// `strongroom whoami`
#[derive(Debug, clap::Args)]
pub(super) struct Whoami {}

#[derive(Serialize)]
struct Ended {
    session: SessionId,
}

pub(super) async fn session(context: &Context, command: Session) -> Result<(), CliError> {
    match command {
        Session::List => {
            let list = context.log_in().await?.call(&session::List {}).await?;
            context.out.answer("strongroom.sessions/1", &list, &sessions_text(&list.items, context.out.terminal))
        }
        Session::End { id, yes } => {
            context.confirm(yes, &format!("Session {id} will be closed."))?;
            context.log_in().await?.call(&End { session: id }).await?;
            let sentence = if context.out.quiet { String::new() } else { format!("Ended session {id}\n") };
            context.out.answer("strongroom.session_ended/1", Ended { session: id }, &sentence)
        }
    }
}

/// Shows the agent's state; codes are given or the exit code is 7.
pub(super) async fn status(context: &Context, arguments: Status) -> Result<(), CliError> {
    let mut client =
        if arguments.streams || arguments.alerts { context.log_in().await? } else { context.connect().await? };
    let status = client.call(&StatusCall {}).await?;
    context.out.answer("strongroom.status/1", &status, &status_text(&status))?;
    let problem = match status.state {
        State::Ready => return Ok(()),
        State::HsmUnavailable => ("hsm_unavailable", "The token does not answer: no codes are given."),
        State::Sealed => ("audit_unavailable", "The store is sealed: no codes are given until an operator has looked."),
    };
    Err(CliError::locked(problem.0, problem.1).hint("on the agent's machine: strongroom-agent doctor"))
}

pub(super) async fn whoami(context: &Context, _arguments: Whoami) -> Result<(), CliError> {
    let who = context.log_in().await?.call(&session::Whoami {}).await?;
    context.out.answer("strongroom.whoami/1", &who, &whoami_text(&who))
}

fn sessions_text(items: &[session::Item], terminal: bool) -> String {
    let row = |item: &session::Item| {
        vec![
            item.identity.to_string(),
            item.assurance.to_string(),
            item.client.clone(),
            when::utc(item.since),
            when::utc(item.expires_at),
            if item.own { "this one" } else { "" }.to_owned(),
            item.session.to_string(),
        ]
    };
    let heading = ["IDENTITY", "ASSURANCE", "PROGRAM", "SINCE", "UNTIL", "", "ID"];
    table(&heading, &items.iter().map(row).collect::<Vec<_>>(), terminal)
}

fn status_text(status: &StatusResult) -> String {
    let state = match status.state {
        State::Ready => "ready",
        State::HsmUnavailable if status.token_trouble == Some(TokenTrouble::PinRefused) => {
            "NO CODES: the token refused the PIN; correct it, then restart the agent"
        }
        State::HsmUnavailable => "NO CODES: the token does not answer",
        State::Sealed => "NO CODES: sealed until an operator has looked",
    };
    let health = |health: Health| match health {
        Health::Ok => "ok",
        Health::Failing => "FAILING",
    };
    let mut pairs = vec![
        ("state", state.to_owned()),
        ("token", health(status.token).to_owned()),
        ("store", health(status.store).to_owned()),
    ];
    let replaced = |worker: &Worker| match worker.restarts {
        0 => String::new(),
        1 => ", replaced once".to_owned(),
        times => format!(", replaced {times} times"),
    };
    let line = |worker: &Worker| {
        let state = health(worker.health);
        format!("{state} for {} s, {} MiB{}", worker.for_s, worker.resident_kib / 1024, replaced(worker))
    };
    pairs.extend(status.workers.iter().map(|worker| ("worker", line(worker))));
    if let Some(second) = &status.second_token {
        let waiting = if second.complete { "has every seed" } else { "NOT every seed has reached it" };
        let trouble = match second.trouble {
            Some(TokenTrouble::PinRefused) => ", refused the PIN: correct it, then restart the agent",
            _ => "",
        };
        pairs.push(("second token", format!("{}, {waiting}{trouble}", health(second.health))));
        pairs.extend(second.workers.iter().map(|worker| ("its worker", line(worker))));
        if second.speaks {
            pairs.push(("agent key", "the second token's: the first one is away".to_owned()));
        }
    }
    pairs.extend([
        ("agent", format!("version {}, protocol {}", status.version, status.protocol)),
        ("running since", when::utc(status.started_at)),
        ("its clock", when::utc(status.now)),
    ]);
    if status.held_back > 0 {
        pairs.push(("held back", format!("logins of {} users or keys", status.held_back)));
    }
    pairs.extend(status.alerts.map(|alerts| ("alerts", alerts_text(alerts))));
    pairs.extend(status.streams.iter().map(|stream| ("stream", stream_text(stream))));
    pairs.extend(status.overdue.iter().map(|sentence| ("overdue", sentence.clone())));
    lines(&pairs)
}

fn alerts_text(alerts: OpenAlerts) -> String {
    let OpenAlerts { open, unseen, level } = alerts;
    if open == 0 {
        return "none open".to_owned();
    }
    let escalated = if level == 0 { String::new() } else { format!(", ESCALATED to level {level}") };
    format!("{open} open, {unseen} new to you{escalated}: strongroom alert ls")
}

fn stream_text(stream: &Stream) -> String {
    let state = if stream.connected { "connected" } else { "NOT connected" };
    let lag = match stream.records_behind {
        0 => "up to date".to_owned(),
        count => format!("{count} records behind, the oldest of {} s ago", stream.behind_s),
    };
    let error = stream.last_error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    format!("{}, {state}, {lag}{error}", stream.name)
}

fn whoami_text(who: &WhoamiResult) -> String {
    let session = &who.session;
    let mut pairs = vec![
        ("identity", format!("{} ({})", session.identity, session.name)),
        ("kind", who.kind.to_string()),
        ("roles", if session.roles.is_empty() { "-".to_owned() } else { words(&session.roles) }),
        ("key", who.key.clone()),
        ("assurance", session.assurance.to_string()),
        ("session until", when::utc(session.expires_at)),
    ];
    if who.sole_admin {
        pairs.push(("sole admin", "yes: changes need nobody else yet, and are marked".to_owned()));
    }
    lines(&pairs)
}

fn lines(pairs: &[(&str, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name:<14}{}\n", clean(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_agent_says_so_in_words() {
        let at = "2026-11-21T19:00:00Z".parse().unwrap();
        let status = StatusResult {
            version: "0.1.0".into(),
            protocol: 1,
            instance: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
            started_at: at,
            now: at,
            state: State::Sealed,
            token: Health::Ok,
            store: Health::Failing,
            workers: vec![Worker { health: Health::Ok, for_s: 61, restarts: 1, resident_kib: 20_480, in_flight: 0 }],
            token_trouble: None,
            held_back: 2,
            certificates: false,
            second_token: None,
            alerts: Some(OpenAlerts { open: 2, unseen: 1, level: 3 }),
            overdue: vec!["there is no backup yet".into()],
            streams: vec![Stream {
                name: "siem".parse().unwrap(),
                connected: false,
                records_behind: 12,
                behind_s: 901,
                last_error: Some("Connection refused".into()),
            }],
        };
        let text = status_text(&status);
        assert!(text.starts_with("state         NO CODES: sealed"), "{text}");
        assert!(text.contains("store         FAILING\n"), "{text}");
        assert!(text.contains("worker        ok for 61 s, 20 MiB, replaced once\n"), "{text}");
        assert!(text.contains("held back     logins of 2 users or keys\n"), "{text}");
        let stream =
            "stream        siem, NOT connected, 12 records behind, the oldest of 901 s ago: Connection refused\n";
        assert!(text.contains(stream), "{text}");
        assert!(
            text.contains("alerts        2 open, 1 new to you, ESCALATED to level 3: strongroom alert ls\n"),
            "{text}"
        );
        assert!(text.contains("overdue       there is no backup yet\n"), "{text}");
        assert!(text.contains("its clock     2026-11-21 19:00:00Z\n"), "{text}");
    }
}
