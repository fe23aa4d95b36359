//! The one task that talks to the agent: connects, logs in, makes one call after the other, notices when the connection
//! breaks, and tries again. It knows no screen; the screen knows no socket.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::message::{AgentCall, AgentEvent, Link, Msg, OfflineReason, Session};

/// First pause between attempts; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Something that can open a session with an agent.
pub trait Dial: Send + 'static {
    /// An open session.
    type Line: Line;

    /// Connects and logs in.
    fn dial(&mut self) -> impl Future<Output = Result<Dialed<Self::Line>, OfflineReason>> + Send;
}

/// An open session.
pub trait Line: Send {
    /// Makes one call. A refusal by the agent is an event; a broken connection is the error.
    fn call(&mut self, call: AgentCall) -> impl Future<Output = Result<AgentEvent, Lost>> + Send;

    /// Waits until the connection breaks. Must lose nothing when dropped.
    fn closed(&mut self) -> impl Future<Output = Lost> + Send;
}

/// A session that has just begun.
pub struct Dialed<L> {
    /// To make calls on.
    pub line: L,
    /// Whose it is.
    pub session: Session,
    /// The agent ends it after this long without a call.
    pub idle_timeout: Duration,
}

/// The connection broke: why, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost(pub String);

/// What the worker is asked for.
pub enum Order {
    /// Make a call. Dropped while there is no connection.
    Call(AgentCall),
    /// Try now: the user is there.
    Wake,
}

/// How a session ended.
enum End {
    /// Nobody asked for anything for as long as the session may idle.
    Idled,
    Lost(Lost),
    /// The screen is gone.
    Over,
}

/// Runs until the screen hangs up.
pub async fn run<D: Dial>(mut dialer: D, mut orders: mpsc::Receiver<Order>, messages: mpsc::Sender<Msg>) {
    let mut attempt = 0;
    let mut pause = PAUSE_MIN;
    loop {
        let reason = match dialer.dial().await {
            Ok(dialed) => {
                // What was asked before the screen knows of this session was meant for the one before.
                while orders.try_recv().is_ok() {}
                (attempt, pause) = (0, PAUSE_MIN);
                if messages.send(Msg::Link(Link::Connected(dialed.session))).await.is_err() {
                    return;
                }
                match serve(dialed.line, dialed.idle_timeout, &mut orders, &messages).await {
                    End::Over => return,
                    End::Lost(Lost(reason)) => OfflineReason::Lost(reason),
                    End::Idled => {
                        // Logging in again by itself would undo the idle timeout.
                        if messages.send(Msg::Link(Link::Asleep)).await.is_err() || !woken(&mut orders).await {
                            return;
                        }
                        continue;
                    }
                }
            }
            Err(reason) => reason,
        };
        attempt += 1;
        let waits_for_user = matches!(reason, OfflineReason::Refused(_));
        if messages.send(Msg::Link(Link::Offline { attempt, reason })).await.is_err() {
            return;
        }
        // A refused login is not repeated by itself: it would ask for touches and feed the agent's throttle.
        let goes_on = if waits_for_user {
            woken(&mut orders).await
        } else {
            tokio::select! {
                () = sleep(pause) => true,
                goes_on = woken(&mut orders) => goes_on,
            }
        };
        if !goes_on {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Waits for the user; false if the screen is gone.
async fn woken(orders: &mut mpsc::Receiver<Order>) -> bool {
    loop {
        match orders.recv().await {
            Some(Order::Wake) => return true,
            Some(Order::Call(_)) => {}
            None => return false,
        }
    }
}

async fn serve<L: Line>(
    mut line: L,
    idle_timeout: Duration,
    orders: &mut mpsc::Receiver<Order>,
    messages: &mpsc::Sender<Msg>,
) -> End {
    let mut last_call = Instant::now();
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            lost = line.closed() => {
                // The agent's clock and ours run apart by less than this.
                let has_idled = last_call.elapsed() + Duration::from_secs(5) >= idle_timeout;
                return if has_idled { End::Idled } else { End::Lost(lost) };
            }
        };
        let call = match order {
            Some(Order::Call(call)) => call,
            Some(Order::Wake) => continue,
            None => return End::Over,
        };
        last_call = Instant::now();
        match line.call(call).await {
            Ok(event) => {
                if messages.send(Msg::Agent(event)).await.is_err() {
                    return End::Over;
                }
            }
            Err(lost) => return End::Lost(lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a connection takes here.
    const DIAL: Duration = Duration::from_millis(50);

    /// Answers nothing and breaks after a while.
    struct Short(Duration);

    impl Line for Short {
        async fn call(&mut self, _: AgentCall) -> Result<AgentEvent, Lost> {
            Err(Lost("broken".into()))
        }

        async fn closed(&mut self) -> Lost {
            sleep(self.0).await;
            Lost("closed".into())
        }
    }

    struct Script(Vec<Result<Duration, OfflineReason>>);

    impl Dial for Script {
        type Line = Short;

        async fn dial(&mut self) -> Result<Dialed<Short>, OfflineReason> {
            if self.0.is_empty() {
                return std::future::pending().await;
            }
            sleep(DIAL).await;
            self.0.remove(0).map(|life| Dialed {
                line: Short(life),
                session: Session {
                    identity: "jana".parse().unwrap(),
                    roles: vec![],
                    expires_at: jiff::Timestamp::UNIX_EPOCH,
                },
                idle_timeout: Duration::from_secs(60),
            })
        }
    }

    fn start(script: Vec<Result<Duration, OfflineReason>>) -> (mpsc::Sender<Order>, mpsc::Receiver<Msg>) {
        let (orders, receiver) = mpsc::channel(8);
        let (sender, messages) = mpsc::channel(8);
        tokio::spawn(run(Script(script), receiver, sender));
        (orders, messages)
    }

    async fn next(messages: &mut mpsc::Receiver<Msg>) -> Link {
        match messages.recv().await {
            Some(Msg::Link(link)) => link,
            _ => panic!("no link message"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_tries_again_with_growing_pauses_and_counts_anew_after_success() {
        let gone = || Err(OfflineReason::NotRunning);
        let (_orders, mut messages) = start(vec![gone(), gone(), gone(), Ok(Duration::from_secs(1)), gone()]);
        let began = Instant::now();
        for expected in 1..=3 {
            assert_eq!(
                next(&mut messages).await,
                Link::Offline { attempt: expected, reason: OfflineReason::NotRunning }
            );
        }
        assert!(matches!(next(&mut messages).await, Link::Connected(_)));
        assert_eq!(began.elapsed().as_millis() / 100, 9, "four connections and pauses of 100, 200 and 400 ms");
        let reason = OfflineReason::Lost("closed".into());
        assert_eq!(next(&mut messages).await, Link::Offline { attempt: 1, reason });
    }

    #[tokio::test(start_paused = true)]
    async fn an_idled_session_waits_for_the_user() {
        let (orders, mut messages) = start(vec![Ok(Duration::from_secs(60)), Ok(Duration::from_secs(600))]);
        assert!(matches!(next(&mut messages).await, Link::Connected(_)));
        assert_eq!(next(&mut messages).await, Link::Asleep);
        sleep(Duration::from_secs(3600)).await;
        assert!(messages.try_recv().is_err(), "it must not log in by itself");
        orders.send(Order::Wake).await.unwrap();
        assert!(matches!(next(&mut messages).await, Link::Connected(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_before_the_screen_knew_of_the_session_is_not_done() {
        let (orders, mut messages) = start(vec![Ok(Duration::from_secs(600))]);
        orders.send(Order::Call(AgentCall::Status)).await.unwrap();
        assert!(matches!(next(&mut messages).await, Link::Connected(_)));
        sleep(Duration::from_secs(10)).await;
        assert!(messages.try_recv().is_err(), "the call would have broken the connection");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_login_is_not_repeated_by_itself() {
        let (orders, mut messages) =
            start(vec![Err(OfflineReason::Refused("no".into())), Ok(Duration::from_secs(600))]);
        assert!(matches!(next(&mut messages).await, Link::Offline { .. }));
        sleep(Duration::from_secs(3600)).await;
        assert!(messages.try_recv().is_err());
        orders.send(Order::Wake).await.unwrap();
        assert!(matches!(next(&mut messages).await, Link::Connected(_)));
    }
}
