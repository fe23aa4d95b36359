//! Opens the full screen over the sample of the screen tests instead of an agent, to look at and to play with:
//! `cargo run -p strongroom --example screen`. The environment variable `SAMPLE_LIFE_S` makes the connection break after
//! so many seconds and come back; with `SAMPLE_PANIC` set it panics instead, to see the terminal given back.

#[path = "../tests/sample/mod.rs"]
mod sample;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use strongroom::screen::message::{AgentCall, AgentEvent, OfflineReason, Session, VerifyFailure};
use strongroom::screen::verify::VerifiedLog;
use strongroom::screen::worker::{Dial, Dialed, Line, Lost};
use strongroom::screen::{Setup, run_with};
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::words::Access;

struct Sample {
    dialled: u32,
    life: Duration,
}

struct Connection {
    life: Duration,
}

impl Dial for Sample {
    type Line = Connection;

    async fn dial(&mut self) -> Result<Dialed<Connection>, OfflineReason> {
        self.dialled += 1;
        if self.dialled % 5 != 1 {
            return Err(OfflineReason::NotRunning);
        }
        let session = Session {
            identity: "jana".parse().map_err(|_| OfflineReason::Forbidden)?,
            roles: vec![],
            expires_at: Timestamp::now() + SignedDuration::from_hours(24),
        };
        Ok(Dialed { line: Connection { life: self.life }, session, idle_timeout: Duration::from_secs(3600) })
    }
}

impl Line for Connection {
    async fn call(&mut self, call: AgentCall) -> Result<AgentEvent, Lost> {
        tokio::time::sleep(Duration::from_millis(60)).await;
        Ok(match call {
            AgentCall::Vaults => AgentEvent::Vaults(Ok(sample::vaults())),
            AgentCall::Accounts => AgentEvent::Accounts(Ok(sample::accounts())),
            AgentCall::Release { ticket, account, .. } => {
                let item = sample::accounts().into_iter().find(|item| item.account == account);
                let access = item.as_ref().map(|item| item.access);
                let code = match item.map(|item| item.digits) {
                    Some(5) => "2TWMR",
                    Some(8) => "48291307",
                    _ => "070443",
                };
                let left_ms = 30_000 - u64::try_from(Timestamp::now().as_millisecond().rem_euclid(30_000)).unwrap_or(0);
                let mut released = sample::released(&account, code, left_ms, &[("marcus", 8)]);
                let ahead = Timestamp::now().duration_since(sample::now());
                released.valid_until = released.valid_until.map(|until| until + ahead);
                released.window_taken_by.iter_mut().for_each(|taken| taken.at += ahead);
                let outcome = match access {
                    Some(Access::Open) => Ok(released),
                    _ => Err(Failure::new(ErrorKind::NeedsApproval, format!("{account} needs approval."))),
                };
                AgentEvent::Released { ticket, account, outcome }
            }
            AgentCall::Trail { vault, before, purpose } => {
                AgentEvent::Trail { vault, purpose, before, outcome: Ok(sample::trail(60, 60).0) }
            }
            AgentCall::Verify { vault } if vault.is_none() => {
                AgentEvent::Verified { vault, outcome: Err(VerifyFailure::Broken("sample".into())) }
            }
            AgentCall::Verify { vault } => {
                let leaves = Arc::new(sample::trail(60, 1).1);
                AgentEvent::Verified { vault, outcome: Ok(VerifiedLog { size: 60, leaves }) }
            }
            AgentCall::Status => AgentEvent::Status(Err(Failure::new(ErrorKind::Internal, "This is the sample."))),
        })
    }

    async fn closed(&mut self) -> Lost {
        tokio::time::sleep(self.life).await;
        assert!(std::env::var_os("SAMPLE_PANIC").is_none(), "the panic that was asked for");
        Lost("The sample went away.".into())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let life = std::env::var("SAMPLE_LIFE_S").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let setup =
        Setup { theme: None, clipboard: strongroom::clipboard::Provider::Auto, clock: Arc::new(Timestamp::now) };
    run_with(setup, Sample { dialled: 0, life: Duration::from_secs(life) }).await?;
    Ok(())
}
