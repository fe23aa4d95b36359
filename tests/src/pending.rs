//! What waits for a second person, as tests confirm it.

use strongroom_proto::client::{Client, LoginError};
use strongroom_proto::ids::PendingId;
use strongroom_proto::method::Changed;
use strongroom_proto::method::pending::{Confirm, Item, List, Show};

use crate::people::Person;

/// Reads a change and confirms what was read, on a connection of its own.
///
/// # Errors
/// The agent's refusal.
///
/// # Panics
/// If the change is shown and cannot be written down.
pub async fn confirm(person: &Person, pending: PendingId) -> Result<Changed, LoginError> {
    let mut client = person.connect().await;
    let shown = client.call(&Show { pending }).await?;
    let digest = shown.item.content().digest().expect("it can be written down");
    assert_eq!(digest, shown.item.digest, "what is shown is what is to be signed");
    client.call_signed(Confirm { pending, digest, in_person: false, step_up: None }, &person.signer()).await
}

/// Tries to confirm a change whose digest is known from elsewhere.
///
/// # Errors
/// The agent's refusal.
pub async fn confirm_unseen(person: &Person, pending: PendingId, digest: &str) -> Result<Changed, LoginError> {
    let confirm = Confirm { pending, digest: digest.to_owned(), in_person: false, step_up: None };
    person.connect().await.call_signed(confirm, &person.signer()).await
}

/// What waits for a second person, as far as a client may know of it.
///
/// # Panics
/// If the agent refuses.
pub async fn waiting(client: &mut Client) -> Vec<Item> {
    client.call(&List { all: false }).await.expect("changes are listed").items
}
