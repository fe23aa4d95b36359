//! Running `destroy`: the log is signed as it stands, the keys go, the certificate is made, and everything else goes.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use strongroom_proto::error::{ErrorKind, Failure};
use strongroom_proto::login::CERTIFICATE_NAMESPACE;
use strongroom_proto::method::ceremony::{Certificate, Ran};
use strongroom_proto::words::CeremonyStatus;

use super::rotate::destroy_keys;
use super::run::Work;
use crate::commands::ceremony::destroy as command;
use crate::keystore::{KeystoreError, VaultKey};
use crate::state::ceremony::Party;
use crate::state::{LogId, State};

pub(super) async fn destroy(work: &mut Work<'_>) -> Result<Ran, Failure> {
    let (agent, vault) = (work.agent, work.ceremony.vault);
    let view = agent.store.view();
    let keys: Vec<VaultKey> = view.vault_keys_of(vault).map(|row| row.key.clone()).collect();
    let second_keys: Vec<VaultKey> = view.second_keys_of(vault).map(|row| row.key.clone()).collect();
    // Held to the end: no key is made for this vault there any more.
    let _alone = match &agent.second {
        Some(second) => Some(second.alone.lock().await),
        None => None,
    };
    let accounts = view.accounts_of(vault).count() as u64;
    let checkpoint = agent.checkpointer.sign(LogId::Vault(vault)).await.map_err(|error| {
        tracing::error!(%error, "the log was not signed before its vault is destroyed");
        Failure::new(ErrorKind::HsmUnavailable, "The vault's log could not be signed; nothing was destroyed.")
    })?;
    // A code that is on its way ends first.
    drop(agent.keys_in_use.write().await);
    // The second token first: if it is away, nothing is destroyed, because the certificate would not be true.
    destroy_second(work, &second_keys).await?;
    destroy_keys(work, keys.clone()).await?;
    let text = text(work, &view, (&keys, &second_keys), &checkpoint.note);
    let certificate = certify(work, text).await?;
    let sha256 = hex::encode(Sha256::digest(&certificate.text));
    let kept = certificate.clone();
    work.commit(move |tx, caller, ceremony| command::finish(tx, caller, ceremony, &kept, &sha256)).await?;
    agent.anchor(vec![LogId::Org, LogId::Vault(vault)]).await;
    Ok(Ran {
        status: CeremonyStatus::Done,
        done: accounts,
        accounts,
        certificate: Some(certificate),
        file: None,
        receipt: work.receipt.clone(),
    })
}

async fn destroy_second(work: &Work<'_>, keys: &[VaultKey]) -> Result<(), Failure> {
    if keys.is_empty() {
        return Ok(());
    }
    let message = "The second token is away, and its keys of this vault have to be destroyed too: bring it back, or let it \
                   leave (strongroom-agent token-leave). Nothing was destroyed.";
    let away = || Failure::new(ErrorKind::HsmUnavailable, message);
    let second = work.agent.second.as_ref().filter(|second| second.workers.serves()).ok_or_else(away)?;
    for key in keys {
        match second.workers.destroy_vault_key(key.clone()).await {
            Ok(()) | Err(KeystoreError::KeyMissing { .. }) => {}
            Err(error) => return work.agent.token(async { Err(error) }).await,
        }
    }
    Ok(())
}

/// What the agent certifies: lines of `word value`.
fn text(work: &Work<'_>, view: &State, (keys, second_keys): (&[VaultKey], &[VaultKey]), checkpoint: &str) -> String {
    let mut note = checkpoint.lines();
    let (origin, size, root) =
        (note.next().unwrap_or_default(), note.next().unwrap_or_default(), note.next().unwrap_or_default());
    let ceremony = &work.ceremony;
    let mut text = format!(
        "strongroom-certificate-v1\norganisation {}\nvault {}\nceremony {}\nlog {origin}\ncheckpoint-size {size}\ncheckpoint-root {root}\n",
        view.org_id(),
        ceremony.vault,
        ceremony.id
    );
    for VaultKey { number, scheme, label, kcv, .. } in keys {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "key {label} number {number} scheme {scheme} kcv {}", hex::encode(kcv));
    }
    if let Some(second) = view.joined() {
        let _ = writeln!(text, "second-token {}", second.token);
    }
    for VaultKey { number, scheme, label, kcv, .. } in second_keys {
        let _ = writeln!(text, "second-key {label} number {number} scheme {scheme} kcv {}", hex::encode(kcv));
    }
    let person = |party: Option<&Party>| {
        party
            .and_then(|party| Some(format!("{} {}", view.identities.get(&party.identity)?.names.slug, party.key)))
            .unwrap_or_default()
    };
    let _ = writeln!(text, "accounts {}", view.accounts_of(ceremony.vault).count());
    let _ = writeln!(text, "proposed-by {}", person(Some(&ceremony.proposer)));
    let _ = writeln!(text, "confirmed-by {}", person(ceremony.confirmer.as_ref()));
    let _ = writeln!(text, "destroyed-at {}", work.agent.now());
    text.push_str(
        "statement The keys above were destroyed in their token: no seed sealed under them opens again. Recovery copies\n\
         statement were removed from the store; copies in older backups open with the offline recovery key alone.\n",
    );
    text
}

async fn certify(work: &Work<'_>, text: String) -> Result<Certificate, Failure> {
    let broken = |error: crate::identity::EndorsementError| {
        tracing::error!(%error, "the certificate was not signed");
        Failure::new(ErrorKind::Internal, "The certificate could not be signed; run it again.")
    };
    let voice = work.agent.voices.current();
    let proof = &voice.proof;
    let digest = proof.statement_digest(CERTIFICATE_NAMESPACE, &text).map_err(broken)?;
    let raw = work.agent.token(voice.workers.sign(digest)).await?;
    let signature = proof.statement(CERTIFICATE_NAMESPACE, &text, &raw).map_err(broken)?;
    Ok(Certificate { text, signature })
}
