//! Records of logins, ends of sessions, and reads of logs.

use std::collections::BTreeMap;

use strongroom_proto::audit::record::{Actor, From, RecordOutcome};
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::ids::IdentityId;
use strongroom_proto::method::Receipt;
use strongroom_proto::words::OrgRole;

use super::Caller;
use crate::access::Operation;
use crate::identity::{Alarm, HeldBack, Vouched};
use crate::state::LogId;
use crate::state::rows::{Key, Login, Org};
use crate::store::tx::{Draft, Refusal, Tx};

/// A certificate that stands behind a login.
#[derive(Clone, Debug)]
pub struct ByCertificate {
    /// What it says.
    pub vouched: Vouched,
    /// The certified key, as a row; owner and time are set at the commit.
    pub key: Key,
}

/// Records a login after its proof was verified. The identity and its key are checked once more at the place of the
/// commit: a revocation that came first wins. A key that comes with a certificate belongs to the identity from then on, for
/// ever, like one that was enrolled.
///
/// # Errors
/// `unauthenticated` if the identity or key has ended, or the key is somebody else's.
pub fn begin(
    tx: &mut Tx<'_>,
    caller: &Caller,
    counter: Option<u32>,
    certificate: Option<&ByCertificate>,
) -> Result<(bool, Receipt), Refusal> {
    const EVENT: &str = "session.login";
    let now = tx.now;
    let active = tx.state.identities.get(&caller.identity()).is_some_and(|identity| identity.is_active(now));
    let mut draft = caller.draft(&tx.state, EVENT);
    let mut certified = true;
    if let Some(certificate) = certificate {
        let Vouched { authority, key_id, serial, until, .. } = &certificate.vouched;
        draft = draft
            .detail("ca", authority.clone())
            // Authorities draw serial numbers at random: beyond what every reader takes for an integer.
            .detail("serial", serial.to_string())
            .detail("until", until.to_string())
            .text("key_id", key_id.clone());
        certified = bind(tx, caller, certificate)?;
    }
    if !active || !certified || !caller.org_facts(&tx.state, now).key_active {
        draft.outcome = RecordOutcome::Denied;
        draft.detail.insert("kind".into(), ErrorKind::Unauthenticated.as_str().into());
        return Err(Refusal::recorded(login_refused(), LogId::Org, draft));
    }
    let before = tx.state.logins.get(&caller.identity());
    let mut counters: BTreeMap<String, u32> = before.map(|login| login.counters.clone()).unwrap_or_default();
    let mut cloned = false;
    if let Some(counter) = counter {
        // A counter that falls back may mean a cloned key; many keys keep none (0), so it alarms and does not refuse.
        cloned = counters.get(&caller.actor.key).is_some_and(|seen| counter < *seen);
        let highest = counters.entry(caller.actor.key.clone()).or_insert(counter);
        *highest = counter.max(*highest);
        draft = draft.detail("counter", counter);
    }
    if cloned {
        draft = draft.detail("alert", "signature counter fell back: the key may have been cloned");
    }
    tx.put(Login { identity: caller.identity(), at: now, counters })?;
    if ends_sole_admin(tx, caller.identity()) {
        tx.put(Org { sole_admin_ended: true, ..tx.state.org.clone() })?;
        draft = draft.detail("sole_admin_ended", 1);
    }
    let receipt = tx.append(LogId::Org, draft)?;
    Ok((cloned, receipt))
}

/// Binds a certified key to the identity; false if it is somebody else's or was removed, or if the certificate has lost its
/// worth since it was judged.
fn bind(tx: &mut Tx<'_>, caller: &Caller, certificate: &ByCertificate) -> Result<bool, Refusal> {
    let ByCertificate { vouched, key } = certificate;
    let (now, identity) = (tx.now, caller.identity());
    let named = tx.state.identities.get(&identity).is_some_and(|found| found.is_named_by(&vouched.principals));
    if !named || vouched.until <= now {
        return Ok(false);
    }
    match tx.state.keys.get(&key.fingerprint).cloned() {
        Some(known) if known.identity != identity || !known.active => return Ok(false),
        Some(known) if known.certified => {}
        Some(known) => {
            tx.put(Key { certified: true, ..known })?;
        }
        None => {
            tx.put(Key { identity, added_at: now, confirmed: false, certified: true, ..key.clone() })?;
        }
    }
    Ok(true)
}

/// True if this login makes a second admin active for the first time.
fn ends_sole_admin(tx: &Tx<'_>, identity: IdentityId) -> bool {
    let is_admin =
        |id: &IdentityId| tx.state.identities.get(id).is_some_and(|found| found.roles.contains(&OrgRole::Admin));
    !tx.state.org.sole_admin_ended
        && is_admin(&identity)
        && tx.state.logins.keys().any(|other| *other != identity && is_admin(other))
}

/// The one answer to a failed login: it does not tell which part was wrong.
#[must_use]
pub fn login_refused() -> Failure {
    Failure::new(
        ErrorKind::Unauthenticated,
        "The login was refused: unknown identity, or a key, certificate or signature that does not fit.",
    )
}

/// Records a failed login. `identity` and `reason` are for the log, never for the caller.
///
/// # Errors
/// Only if it cannot be written down.
pub fn failed(tx: &mut Tx<'_>, from: &From, asked: &str, key: &str, reason: &str) -> Result<((), Receipt), Refusal> {
    let mut draft = Draft::new("session.login")
        .detail("kind", ErrorKind::Unauthenticated.as_str())
        .detail("reason", reason)
        .text("asked", asked);
    draft.outcome = RecordOutcome::Denied;
    draft.from = Some(from.clone());
    draft.target.key = Some(key.to_owned());
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Records that somebody's logins are held back, because proofs of theirs failed again and again. Never the colleague whose
/// name was typed: that is in the records of the failures.
///
/// # Errors
/// Only if it cannot be written down.
pub fn throttled(tx: &mut Tx<'_>, alarm: &Alarm) -> Result<((), Receipt), Refusal> {
    let mut draft = Draft::new("session.throttled")
        .detail("attempts", alarm.attempts)
        .detail("alert", "logins are held back: proofs failed again and again");
    draft.outcome = RecordOutcome::Denied;
    draft.detail.insert("kind".into(), ErrorKind::RateLimited.as_str().into());
    match &alarm.who {
        HeldBack::Uid(uid) => draft.from = Some(From { client: String::new(), pid: None, uid: Some(*uid) }),
        HeldBack::Key(key) => draft.target.key = Some(key.clone()),
    }
    let receipt = tx.append(LogId::Org, draft)?;
    Ok(((), receipt))
}

/// Records the end of a session that ended by itself.
///
/// # Errors
/// Only if it cannot be written down.
pub fn ended(tx: &mut Tx<'_>, caller: &Caller, cause: &str) -> Result<((), Receipt), Refusal> {
    let receipt = tx.append(LogId::Org, caller.draft(&tx.state, "session.end").detail("cause", cause))?;
    Ok(((), receipt))
}

/// Records that somebody ended a session, their own or as an admin another's.
///
/// # Errors
/// The refusal.
pub fn end(tx: &mut Tx<'_>, caller: &Caller, ended: &Actor) -> Result<((), Receipt), Refusal> {
    let own = ended.identity == caller.identity();
    let cause = if own { "ended" } else { "ended by an admin" };
    let mut draft = caller.draft(&tx.state, "session.end").detail("session", ended.session.to_string());
    draft.target.identity = Some(ended.identity);
    let _terms = caller
        .may(&tx.state, Operation::SessionEnd { own }, tx.now)
        .map_err(|denial| caller.refused(&tx.state, denial, None, draft.clone()))?;
    let receipt = tx.append(LogId::Org, draft.detail("cause", cause))?;
    Ok(((), receipt))
}

/// Records that somebody read or exported a log, in that log.
///
/// # Errors
/// Only if it cannot be written down.
pub fn log_read(tx: &mut Tx<'_>, caller: &Caller, log: LogId, event: &'static str) -> Result<((), Receipt), Refusal> {
    let receipt = tx.append(log, caller.draft(&tx.state, event))?;
    Ok(((), receipt))
}
