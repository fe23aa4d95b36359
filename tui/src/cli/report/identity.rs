//! `strongroom identity report`, also `strongroom report identity`: what somebody has, took, brought in and vouched for, before they leave and after.

use strongroom_proto::ids::Slug;
use strongroom_proto::method::identity::{Report, Reported};

use super::super::context::Context;
use super::super::error::CliError;
use super::super::output::{clean, table};
use super::super::when;

pub(in super::super) async fn report(context: &Context, identity: Slug, days: Option<u32>) -> Result<(), CliError> {
    let reported = context.log_in().await?.call(&Report { identity, days }).await?;
    context.out.answer("strongroom.identity_report/1", &reported, &text(&reported, context.out.terminal))
}

fn text(report: &Reported, terminal: bool) -> String {
    let since = when::utc(report.since);
    let mut text = format!("{} is {}; {} logins since {since}\n", report.identity, report.status, report.logins);
    if report.break_glass > 0 {
        text += &format!("{} times access was taken by break-glass\n", report.break_glass);
    }
    let section = |title: &str, heading: &[&str], rows: &[Vec<String>]| {
        if rows.is_empty() {
            format!("\n{title}: none\n")
        } else {
            format!("\n{title}\n{}", table(heading, rows, terminal))
        }
    };
    let keys = report.keys.iter().map(|key| {
        let state = match (key.active, key.confirmed) {
            (true, true) => "active",
            (true, false) => "waits",
            (false, _) => "removed",
        };
        vec![
            key.fingerprint.clone(),
            key.algorithm.clone(),
            state.to_owned(),
            when::utc(key.added_at),
            clean(&key.comment),
        ]
    });
    text += &section("Keys", &["FINGERPRINT", "TYPE", "STATE", "SINCE", "COMMENT"], &keys.collect::<Vec<_>>());
    let grants = report.grants.iter().map(|grant| {
        let ends = match (grant.ended_at, grant.until) {
            (Some(ended), _) => format!("ended {}", when::utc(ended)),
            (None, Some(until)) => format!("until {}", when::utc(until)),
            (None, None) => "standing".to_owned(),
        };
        let by = grant.group.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        vec![grant.vault.to_string(), grant.role.to_string(), by, ends]
    });
    text += &section("Rights", &["VAULT", "ROLE", "BY GROUP", "ENDS"], &grants.collect::<Vec<_>>());
    let codes = report.codes.iter().map(|codes| {
        vec![
            format!("{}/{}", codes.vault, clean(&codes.account)),
            codes.releases.to_string(),
            when::utc(codes.first),
            when::utc(codes.last),
        ]
    });
    text += &section("Codes taken", &["ACCOUNT", "TIMES", "FIRST", "LAST"], &codes.collect::<Vec<_>>());
    let seeds = report.knows.iter().map(|seed| {
        let listed = if seed.listed { "on the rotation list" } else { "replace it once they leave" };
        vec![seed.account.to_string(), seed.cause.to_string(), listed.to_owned()]
    });
    text += &section("Seeds they know", &["ACCOUNT", "BECAUSE", "STATE"], &seeds.collect::<Vec<_>>());
    let vouched = report.vouched.iter().map(|vouch| {
        let whom = vouch.for_identity.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        vec![when::utc(vouch.at), clean(&vouch.what), whom, clean(&vouch.id)]
    });
    text + &section("Vouched for", &["WHEN", "WHAT", "FOR", "ID"], &vouched.collect::<Vec<_>>())
}
