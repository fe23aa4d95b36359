//! `strongroom code`: the main job, in one connection.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use strongroom_proto::client::CallError;
use strongroom_proto::error::ErrorKind;
use strongroom_proto::ids::AccountAddress;
use strongroom_proto::method::Receipt;
use strongroom_proto::method::code::{Release, Released, Taken};
use zeroize::Zeroizing;

use super::context::Context;
use super::error::CliError;
use super::when;
use crate::clipboard::{Copied, Provider, copy_secret};

/// `strongroom code`
#[derive(Debug, clap::Args)]
pub(super) struct Code {
    /// Of which account, for example acme/m365-admin
    #[arg(value_name = "CLIENT/ACCOUNT")]
    account: AccountAddress,
    /// Why, for the record
    #[arg(short, long)]
    reason: Option<String>,
    /// Ticket number, for the record
    #[arg(short, long)]
    ticket: Option<String>,
    /// Wait for the next window if fewer seconds are left in this one
    #[arg(long, value_name = "SECONDS")]
    min_remaining: Option<u32>,
    /// Copy the code instead of printing it
    #[arg(short, long)]
    copy: bool,
}

/// `strongroom.code/1`: members are only ever added.
#[derive(Serialize)]
struct Body<'a> {
    account: &'a AccountAddress,
    code: &'a str,
    valid_from: Option<Timestamp>,
    valid_until: Option<Timestamp>,
    remaining_ms: Option<u64>,
    window_taken_by: &'a [Taken],
    receipt: &'a Receipt,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<u64>,
}

pub(super) async fn code(context: &Context, arguments: Code) -> Result<(), CliError> {
    if arguments.copy && context.clipboard()? == Provider::None {
        return Err(
            CliError::failure("Copying is turned off in the settings.").hint("leave out --copy to print the code")
        );
    }
    let (mut client, signer) = context.log_in_to_sign().await?;
    if let Some(min_remaining) = arguments.min_remaining {
        // The agent may wait for the next window before it answers.
        client.set_timeout(context.timeout() + Duration::from_secs(min_remaining.into()));
    }
    let release = Release {
        account: arguments.account,
        reason: arguments.reason,
        ticket: arguments.ticket,
        min_remaining_s: arguments.min_remaining,
        step_up: None,
    };
    let released = match client.call(&release).await {
        // The vault's policy asks for a signature: a touch, with a security key, and no question.
        Err(CallError::Failure(failure)) if failure.kind == ErrorKind::NeedsSignature => {
            client.call_signed(release, signer.as_ref()).await?
        }
        other => other?,
    };
    if let Some(notice) = taken_notice(&released.window_taken_by, Timestamp::now()) {
        context.out.say(&notice);
    }
    if arguments.copy {
        copy(context, &released)?;
    }
    if context.out.json {
        context.out.write_json("strongroom.code/1", body(&released))
    } else if arguments.copy {
        Ok(())
    } else if context.out.terminal {
        context.out.write(&terminal_line(&released))
    } else {
        context.out.write(&piped_line(&released))
    }
}

/// Copies the code; a small process stays behind and clears the clipboard in time.
fn copy(context: &Context, released: &Released) -> Result<(), CliError> {
    /// A counter-based code has no end of its own.
    const LIFETIME: Duration = Duration::from_secs(20);
    let lifetime = released.remaining_ms.map_or(LIFETIME, Duration::from_millis);
    let copied = copy_secret(context.clipboard()?, released.code.as_str(), lifetime)
        .map_err(|error| CliError::caused("the code was not copied", &error).hint("leave out --copy to print it"))?;
    context.out.say(match copied {
        Copied::Placed => "Copied.",
        Copied::Sent => "Sent to your terminal's clipboard.",
    });
    Ok(())
}

fn body(released: &Released) -> Body<'_> {
    Body {
        account: &released.account,
        code: released.code.as_str(),
        valid_from: released.valid_from,
        valid_until: released.valid_until,
        remaining_ms: released.remaining_ms,
        window_taken_by: &released.window_taken_by,
        receipt: &released.receipt,
        counter: released.counter,
    }
}

/// Exactly the digits: whatever else stood here would end up in a login form.
fn piped_line(released: &Released) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n", released.code.as_str()))
}

fn terminal_line(released: &Released) -> Zeroizing<String> {
    let code = grouped(&released.code);
    let validity = match (released.remaining_ms, released.counter) {
        (Some(remaining_ms), _) => format!("valid {}s", remaining_ms / 1000),
        (None, Some(counter)) => format!("counter {counter}"),
        (None, None) => "valid once".to_owned(),
    };
    Zeroizing::new(format!("{}   {validity} · {}\n", code.as_str(), released.account))
}

/// Groups digits for reading: 3+3, 4+3, 4+4, 3+3+3, 5+5. Steam codes stay whole.
fn grouped(code: &str) -> Zeroizing<String> {
    let sizes: &[usize] = match code.len() {
        6 => &[3, 3],
        7 => &[4, 3],
        8 => &[4, 4],
        9 => &[3, 3, 3],
        10 => &[5, 5],
        _ => return Zeroizing::new(code.to_owned()),
    };
    let mut grouped = Zeroizing::new(String::with_capacity(16));
    let mut place = 0;
    for &size in sizes {
        if place > 0 {
            grouped.push(' ');
        }
        grouped.push_str(code.get(place..place + size).unwrap_or_default());
        place += size;
    }
    grouped
}

/// A verifier takes a code once (RFC 6238 §5.2), so a colleague's code may be used up.
fn taken_notice(taken: &[Taken], now: Timestamp) -> Option<String> {
    let latest = taken.iter().max_by_key(|taken| taken.at)?;
    let ago = when::ago(latest.at, now);
    let others = match taken.len() {
        1 => String::new(),
        count => format!(" ({} releases before yours)", count),
    };
    Some(format!("{} took this code {ago}{others}; if it is refused, take the next one", latest.identity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_proto::ids::Slug;
    use strongroom_proto::words::OtpKind;

    fn totp() -> Released {
        Released {
            account: "acme/m365-admin".parse().unwrap(),
            kind: OtpKind::Totp,
            code: Zeroizing::new("070443".into()),
            period_s: 30,
            valid_from: Some("2026-11-21T19:00:00Z".parse().unwrap()),
            valid_until: Some("2026-11-21T19:00:30Z".parse().unwrap()),
            remaining_ms: Some(18_432),
            counter: None,
            window_taken_by: vec![],
            receipt: Receipt { log: "strongroom/o/v".into(), seq: 41, leaf: "ab".into() },
        }
    }

    fn hotp() -> Released {
        Released {
            kind: OtpKind::Hotp,
            code: Zeroizing::new("755224".into()),
            period_s: 0,
            valid_from: None,
            valid_until: None,
            remaining_ms: None,
            counter: Some(0),
            ..totp()
        }
    }

    fn marcus(at: &str) -> Taken {
        Taken { identity: Slug::new("marcus").unwrap(), at: at.parse().unwrap() }
    }

    #[test]
    fn a_pipe_gets_the_digits_alone() {
        assert_eq!(piped_line(&totp()).as_str(), "070443\n");
    }

    #[test]
    fn a_person_gets_groups_and_the_time_left() {
        assert_eq!(terminal_line(&totp()).as_str(), "070 443   valid 18s · acme/m365-admin\n");
        assert_eq!(terminal_line(&hotp()).as_str(), "755 224   counter 0 · acme/m365-admin\n");
        for (code, expected) in [
            ("1234567", "1234 567"),
            ("12345678", "1234 5678"),
            ("123456789", "123 456 789"),
            ("1234567890", "12345 67890"),
            ("PV9M4", "PV9M4"),
        ] {
            assert_eq!(grouped(code).as_str(), expected);
        }
    }

    #[test]
    fn the_json_object_is_fixed() {
        let mut released = totp();
        released.window_taken_by = vec![marcus("2026-11-21T19:00:04Z")];
        assert_eq!(
            serde_json::to_string(&body(&released)).unwrap(),
            r#"{"account":"acme/m365-admin","code":"070443","valid_from":"2026-11-21T19:00:00Z","valid_until":"2026-11-21T19:00:30Z","remaining_ms":18432,"window_taken_by":[{"identity":"marcus","at":"2026-11-21T19:00:04Z"}],"receipt":{"log":"strongroom/o/v","seq":41,"leaf":"ab"}}"#
        );
        let hotp = hotp();
        let text = serde_json::to_string(&body(&hotp)).unwrap();
        assert!(text.contains(r#""valid_from":null,"valid_until":null,"remaining_ms":null"#), "{text}");
        assert!(text.ends_with(r#""counter":0}"#), "{text}");
    }

    #[test]
    fn a_taken_window_names_the_last_colleague() {
        let now = "2026-11-21T19:00:12Z".parse().unwrap();
        assert_eq!(taken_notice(&[], now), None);
        let one = [marcus("2026-11-21T19:00:04Z")];
        assert_eq!(
            taken_notice(&one, now).unwrap(),
            "marcus took this code 8 s ago; if it is refused, take the next one"
        );
        let two = [marcus("2026-11-21T19:00:04Z"), marcus("2026-11-21T19:00:10Z")];
        assert!(
            taken_notice(&two, now).unwrap().starts_with("marcus took this code 2 s ago (2 releases before yours)")
        );
    }
}
