//! The embedded engine: one SQLite file, one writer thread with group commit, a few readers. It owns its file alone
//! (flock), so the verified state lives in memory and the file is only ever appended to from it.

mod cursors;
mod file;
mod index;
mod load;
mod migrations;
mod prune;
mod read;
mod recent;
mod search;
mod snapshot;
mod verify;
mod writer;

use std::sync::{Arc, RwLock};

use jiff::Timestamp;
use strongroom_proto::ids::Instance;
use strongroom_proto::method::Receipt;
use tokio::sync::oneshot;

pub use self::cursors::{Place, StreamRow};
pub use self::file::{
    Meta, SecondMeta, StoreFile, StoreKeysCopy, keep_second, keep_store_keys_copy, promote_second, put_restore_note,
};
pub use self::index::{Indexer, run as keep_indexed};
pub(crate) use self::load::take_window;
pub(crate) use self::read::recorded_at;
pub use self::read::{Page, Readers, StoredRecord};
pub use self::search::{Found, Query};
pub use self::snapshot::{LogEnd, Snapshot, snapshot};
use self::writer::{End, Job, Queue, Writer};
use super::durable::Durable;
use super::sealer::Sealer;
use super::tx::{Refusal, Tx};
use super::{Refused, StoreError};
use crate::audit::anchor::Anchors;
use crate::state::State;

/// The wall clock. Injected, so that tests can move it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The store of a running agent. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    queue: Arc<Queue>,
    published: Arc<RwLock<Arc<State>>>,
    readers: Arc<Readers>,
}

impl Store {
    /// Verifies the file and starts its writer thread.
    ///
    /// # Errors
    /// [`StoreError::Read`] if it cannot be read. A store that can be read but does not match its logs starts sealed.
    pub fn start(
        file: StoreFile,
        sealer: impl Into<Arc<Sealer>>,
        instance: Instance,
        clock: Clock,
        anchors: &Anchors,
    ) -> Result<Self, StoreError> {
        let org = file.meta()?.org;
        let sealer: Arc<Sealer> = sealer.into();
        let state = load::load(&file.connection, Some(&file.path), &sealer, org, anchors)?;
        let published = Arc::new(RwLock::new(Arc::new(state.clone())));
        let readers = Arc::new(Readers::new(file.path.clone(), Arc::clone(&sealer), Arc::clone(&published)));
        let queue = Arc::new(Queue::new());
        let writer = Writer::new(file, sealer, instance, clock, state, Arc::clone(&published), Arc::clone(&queue));
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Open(error.to_string()))?;
        Ok(Self { queue, published, readers })
    }

    /// The state as of the last commit. For showing things and for preparing; never the basis of a release.
    #[must_use]
    pub fn view(&self) -> Arc<State> {
        Arc::clone(&self.published.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// What rows are sealed with.
    #[must_use]
    pub fn sealer(&self) -> &Arc<Sealer> {
        self.readers.sealer()
    }

    /// The readers of records.
    #[must_use]
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Queues a command at once, also before the future is polled; it resolves once the command is durable. The command
    /// may be run more than once; only the last run counts.
    ///
    /// # Errors
    /// [`Refused::Denied`] with the command's own refusal, [`Refused::Store`] if nothing could be committed.
    pub fn submit<T, C>(&self, command: C) -> impl Future<Output = Result<Durable<T>, Refused>> + Send + use<T, C>
    where
        T: Send + 'static,
        C: FnMut(&mut Tx<'_>) -> Result<(T, Receipt), Refusal> + Send + 'static,
    {
        self.submit_as(false, command)
    }

    /// As [`Store::submit`]. An urgent command goes ahead of everything that waits, and is tried even on a full disk: for
    /// what ends access, and only once it is known that the caller may do it.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn submit_as<T, C>(
        &self,
        urgent: bool,
        command: C,
    ) -> impl Future<Output = Result<Durable<T>, Refused>> + Send + use<T, C>
    where
        T: Send + 'static,
        C: FnMut(&mut Tx<'_>) -> Result<(T, Receipt), Refusal> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let queued = self.queue.push(Box::new(Command { command, value: None, answer, urgent }));
        async move {
            queued.map_err(Refused::Store)?;
            answered.await.unwrap_or(Err(Refused::Store(StoreError::Closed)))
        }
    }

    /// Keeps a signed checkpoint. It proves what the log already says, so it is no record of its own.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub async fn keep_checkpoint(&self, log: crate::state::LogId, size: u64, note: String) -> Result<(), StoreError> {
        self.keep(writer::Keepsake::Checkpoint { log, size, note }).await
    }

    /// Keeps the newest checkpoint of a log that a witness signed too.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub async fn keep_cosigned(
        &self,
        log: crate::state::LogId,
        witness: String,
        size: u64,
        note: String,
    ) -> Result<(), StoreError> {
        self.keep(writer::Keepsake::Cosigned { log, witness, size, note }).await
    }

    /// Puts other openings in the place of those of some records; nothing in the place of those that have none any more. What was
    /// there is overwritten in the file.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub async fn replace_openings(
        &self,
        log: crate::state::LogId,
        rows: Vec<(u64, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        self.keep(writer::Keepsake::Openings { log, rows }).await
    }

    async fn keep(&self, what: writer::Keepsake) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue.push_note(writer::Note { what, answer })?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Why the whole store is sealed, if it is.
    #[must_use]
    pub fn sealed(&self) -> Option<String> {
        self.queue.sealed().or_else(|| self.view().sealed.get(&crate::state::LogId::Org).cloned())
    }

    /// Ends the writer after what is queued, and waits for it.
    pub async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        self.queue.close(answer);
        let _ = answered.await;
    }
}

/// A command with the place its answer goes to.
struct Command<T, C> {
    command: C,
    value: Option<(T, Receipt)>,
    answer: oneshot::Sender<Result<Durable<T>, Refused>>,
    urgent: bool,
}

impl<T, C> Job for Command<T, C>
where
    T: Send + 'static,
    C: FnMut(&mut Tx<'_>) -> Result<(T, Receipt), Refusal> + Send + 'static,
{
    fn urgent(&self) -> bool {
        self.urgent
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Refusal> {
        self.value = Some((self.command)(tx)?);
        Ok(())
    }

    fn settle(self: Box<Self>, end: End) {
        let answer = match (end, self.value) {
            (End::Committed, Some((value, receipt))) => Ok(Durable::new(value, receipt)),
            (End::Denied(failure), _) => Err(Refused::Denied(failure)),
            (End::Failed(error), _) => Err(Refused::Store(error)),
            (End::Committed, None) => Err(Refused::Store(StoreError::Encoding("answer"))),
        };
        // The caller may have gone; the record stays.
        let _ = self.answer.send(answer);
    }
}
