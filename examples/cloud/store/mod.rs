//! Where everything is kept: in this process, or in PostgreSQL.

mod memory;
mod postgres;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use intercom_gateway::domain::Mono;
use serde_json::Value;
use uuid::Uuid;

use self::{memory::Memory, postgres::Postgres};
use super::{
    building::Flats,
    events::Event,
    journals::{JournalId, Replay},
};

/// A way to a store.
pub enum Place {
    Memory(Arc<Mutex<Memory>>),
    /// By its URL, which may have a password in it.
    Postgres(String),
}

/// An open store, of one part.
pub enum Store {
    Memory(Arc<Mutex<Memory>>),
    Postgres(Box<Postgres>),
}

/// What a look of the keeper has found.
#[derive(Default)]
pub struct Kept {
    /// To be published as `events/committed`.
    pub committed: Vec<(JournalId, u64)>,
    /// To be asked for.
    pub replays: Vec<Replay>,
}

/// Revision and digest.
pub type State = (u64, String);

impl Place {
    /// A store by its URL, or this process.
    pub fn named(url: Option<String>) -> Self {
        url.map_or_else(|| Self::Memory(Arc::default()), Self::Postgres)
    }

    /// Makes the tables, where they are not there yet.
    pub async fn prepare(&self) -> anyhow::Result<()> {
        match self {
            Self::Memory(_) => anyhow::bail!("--store says where the tables are to be made"),
            Self::Postgres(url) => Postgres::open(url).await?.prepare().await,
        }
    }

    /// Opens it. What is in memory is the same for all parts; of a database each has a connection of its own, and loses it
    /// with whatever was under way.
    pub async fn open(&self) -> anyhow::Result<Store> {
        Ok(match self {
            Self::Memory(memory) => Store::Memory(Arc::clone(memory)),
            Self::Postgres(url) => Store::Postgres(Box::new(Postgres::open(url).await?)),
        })
    }
}

impl Store {
    /// Whether it outlives this process.
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Stores events, those that are not there yet, durably and all at once.
    pub async fn put(&mut self, events: Vec<Event>) -> anyhow::Result<()> {
        match self {
            Self::Memory(memory) => lock(memory).put(&events),
            Self::Postgres(postgres) => postgres.put(events).await?,
        }
        Ok(())
    }

    /// Whether this is the keeper's, which only one may be at a time.
    pub async fn may_keep(&mut self) -> anyhow::Result<bool> {
        match self {
            Self::Memory(memory) => {
                lock(memory).journals.forget_told();
                Ok(true)
            }
            Self::Postgres(postgres) => postgres.may_keep().await,
        }
    }

    /// Looks at what has come since the last look; what is missing for `patience` is asked for.
    pub async fn keep(&mut self, now: Mono, patience: Duration) -> anyhow::Result<Kept> {
        match self {
            Self::Memory(memory) => {
                let journals = &mut lock(memory).journals;
                Ok(Kept { committed: journals.committed(), replays: journals.replays(now, patience) })
            }
            Self::Postgres(postgres) => postgres.keep(now, patience).await,
        }
    }

    /// A gateway said that these are not in its journal.
    pub async fn gone(
        &mut self,
        journal: &JournalId,
        range: std::ops::RangeInclusive<u64>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Memory(memory) => {
                let journals = &mut lock(memory).journals;
                journals.gone(journal.clone(), range);
                eprintln!("{} events are gone for good", journals.lost());
            }
            Self::Postgres(postgres) => postgres.gone(journal, range).await?,
        }
        Ok(())
    }

    /// An earlier run came as far as this; what is kept knows it by itself.
    pub fn resume(&mut self, journal: JournalId, through: u64) {
        if let Self::Memory(memory) = self {
            lock(memory).journals.resume(journal, through);
        }
    }

    /// Makes the partitions of the next days.
    pub async fn make_days(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Postgres(postgres) => postgres.make_days().await,
        }
    }

    /// The flats of a gateway become these, as its next revision. Here the digest is computed, and nowhere else.
    pub async fn change(&mut self, gateway: &str, flats: Flats) -> anyhow::Result<()> {
        match self {
            Self::Memory(memory) => lock(memory).change(gateway, flats),
            Self::Postgres(postgres) => postgres.change(gateway, flats).await?,
        }
        Ok(())
    }

    /// What is to be in force at a gateway.
    pub async fn state(&mut self, gateway: &str) -> anyhow::Result<Option<State>> {
        match self {
            Self::Memory(memory) => Ok(lock(memory).state(gateway)),
            Self::Postgres(postgres) => postgres.state(gateway).await,
        }
    }

    /// All flats of a gateway, as documents, and what they are.
    pub async fn flats(&mut self, gateway: &str) -> anyhow::Result<Option<(State, Vec<String>)>> {
        match self {
            Self::Memory(memory) => Ok(lock(memory).flats(gateway)),
            Self::Postgres(postgres) => postgres.flats(gateway).await,
        }
    }

    /// What gateways are to be told of changes, in order; `None` is all of their flats. Of several servers one has it, until
    /// [`Store::forget_changes`] or its end.
    pub async fn changes(&mut self) -> anyhow::Result<Vec<(String, Option<String>)>> {
        match self {
            Self::Memory(memory) => Ok(std::mem::take(&mut lock(memory).changes)),
            Self::Postgres(postgres) => postgres.changes().await,
        }
    }

    /// The broker has what [`Store::changes`] gave.
    pub async fn forget_changes(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Postgres(postgres) => postgres.forget_changes().await,
        }
    }

    /// A command is about to be sent.
    pub async fn note_command(&mut self, id: Uuid, gateway: &str, command: &Value) -> anyhow::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Postgres(postgres) => postgres.note_command(id, gateway, command).await,
        }
    }

    /// What became of a command.
    pub async fn note_result(&mut self, id: Uuid, result: &Value) -> anyhow::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Postgres(postgres) => postgres.note_result(id, result).await,
        }
    }
}

/// A panic of another part leaves nothing half done here.
fn lock(memory: &Mutex<Memory>) -> std::sync::MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
