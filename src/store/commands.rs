//! Ids of commands, so that each is acted on once, ever (contract §4).

use jiff::Timestamp;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Journal, JournalReader, StoreError, writer::JournalMessage};

/// What the journal knew of a command that was to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing; its id is on the disk now.
    New,
    /// It was begun before, and this was its result; `None`: it has none.
    Known(Option<String>),
    /// Nothing, and there is no room: all the ids that are kept belong to commands that are still valid.
    Full,
}

/// A command that was begun and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedCommand {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub command: String,
}

/// A command whose id is to be committed.
pub(super) struct NewCommand {
    pub(super) id: Uuid,
    pub(super) command: &'static str,
    pub(super) expires_at: Timestamp,
}

impl Journal {
    /// Commits a command's id, unless it is known; the id is synced when this returns. Ids are kept until 7 days have
    /// passed both by the clock and of running time, and where they need too much room those go first whose time is over.
    ///
    /// # Errors
    /// Where the disk does not take it: the command must not be acted on.
    pub async fn begin_command(
        &self,
        id: Uuid,
        command: &'static str,
        expires_at: Timestamp,
    ) -> Result<Begun, StoreError> {
        let (reply, begun) = oneshot::channel();
        let new = NewCommand { id, command, expires_at };
        self.ask(JournalMessage::BeginCommand(new, reply)).await?;
        begun.await.map_err(|_| StoreError::Stopped)?
    }

    /// Commits the result of a command that was begun, an opaque text; of no effect where its id is not known.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub async fn end_command(&self, id: Uuid, result: String) -> Result<(), StoreError> {
        let (reply, ended) = oneshot::channel();
        self.ask(JournalMessage::EndCommand(id, result, reply)).await?;
        ended.await.map_err(|_| StoreError::Stopped)?
    }

    async fn ask(&self, message: JournalMessage) -> Result<(), StoreError> {
        self.queue.send(message).await.map_err(|_| StoreError::Stopped)
    }
}

impl JournalReader {
    /// What is known of a command: `None`: nothing; `Some(None)`: it was begun and has no result. Blocks.
    pub fn command(&self, id: Uuid) -> Result<Option<Option<String>>, StoreError> {
        self.readers.look_up(|connection| {
            let mut statement = connection.prepare_cached("SELECT result FROM commands WHERE id = ?1")?;
            let mut rows = statement.query([id.as_bytes()])?;
            rows.next()?.map(|row| row.get(0)).transpose()
        })
    }

    /// The commands that were begun and have not ended, in the order in which they came. Blocks.
    pub fn unfinished_commands(&self) -> Result<Vec<UnfinishedCommand>, StoreError> {
        self.readers.look_up(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT id, command FROM commands WHERE result IS NULL ORDER BY n")?;
            let rows = statement.query_map([], |row| {
                Ok(UnfinishedCommand { id: Uuid::from_bytes(row.get(0)?), command: row.get(1)? })
            })?;
            rows.collect()
        })
    }
}
