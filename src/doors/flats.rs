//! New flats: into the cache, and from there into force.

use std::{io::Read, sync::Arc};

use arc_swap::ArcSwap;

use super::Refusal;
use crate::store::{Cache, CacheError, CacheState, Delta, ImportError, Snapshot, StoreError};

/// Brings what the cache holds into force; blocks until the next swipe is decided by it.
pub type Load = dyn Fn() -> Result<(), StoreError> + Send + Sync;

/// The way of flats to the doors; cheap to clone.
#[derive(Clone)]
pub struct Flats {
    cache: Cache,
    /// Those of the configuration.
    intercoms: Arc<ArcSwap<Vec<u64>>>,
    load: Arc<Load>,
}

impl Flats {
    /// Takes the cache, the intercoms of the configuration, and what brings the cache into force.
    pub fn new(cache: Cache, intercoms: &[u64], load: Arc<Load>) -> Self {
        Self { cache, intercoms: Arc::new(ArcSwap::from_pointee(intercoms.to_vec())), load }
    }

    /// Takes other intercoms of the configuration. Flats of those that went stay until the cloud says otherwise.
    pub fn set_intercoms(&self, intercoms: &[u64]) {
        self.intercoms.store(Arc::new(intercoms.to_vec()));
    }

    /// Replaces all flats by a document, and returns what is in force then. Blocks.
    ///
    /// # Errors
    /// [`Refusal::Document`], [`Refusal::NotWritten`]: nothing has changed. [`Refusal::NotInForce`]: it is in the cache, and
    /// doors are decided by what was loaded before.
    pub fn import(&self, document: impl Read) -> Result<CacheState, Refusal> {
        let report = self.cache.import(document, &self.intercoms.load()).map_err(refusal)?;
        self.bring_into_force()?;
        Ok(report.state)
    }

    /// Replaces all flats by those that `flats` hands over as text, one by one: all of them, or none. Returns what the
    /// cache holds then, which [`Flats::bring_into_force`] is for. Blocks.
    ///
    /// # Errors
    /// What `flats` says; [`Refusal::Document`], [`Refusal::NotWritten`]. Nothing has changed.
    pub fn apply_snapshot<E: From<Refusal>>(
        &self,
        snapshot: Snapshot,
        flats: impl FnOnce(&mut dyn FnMut(&str) -> Result<(), Refusal>) -> Result<(), E>,
    ) -> Result<CacheState, E> {
        let all = |put: &mut dyn FnMut(&str) -> Result<(), CacheError>| {
            flats(&mut |json| put(json).map_err(|error| refusal(error.into()))).map_err(Ended::Caller)
        };
        self.cache.apply_snapshot(snapshot, &self.intercoms.load(), all).map_err(|ended| match ended {
            Ended::Caller(error) => error,
            Ended::Cache(error) => refusal(error.into()).into(),
        })
    }

    /// Changes what a delta says: all of it, or nothing. Returns what the cache holds then, which
    /// [`Flats::bring_into_force`] is for. Blocks.
    ///
    /// # Errors
    /// [`Refusal::Document`], [`Refusal::NotWritten`]: nothing has changed.
    pub fn apply_delta(&self, delta: Delta) -> Result<CacheState, Refusal> {
        self.cache.apply_delta(delta).map_err(|error| refusal(error.into()))
    }

    /// Brings what the cache holds into force. Blocks until the next swipe is decided by it.
    ///
    /// # Errors
    /// [`Refusal::NotInForce`]: doors are decided by what was loaded before.
    pub fn bring_into_force(&self) -> Result<(), Refusal> {
        (self.load)().map_err(Refusal::NotInForce)
    }
}

/// Why a snapshot came to no end.
enum Ended<E> {
    Cache(CacheError),
    Caller(E),
}

impl<E> From<CacheError> for Ended<E> {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

fn refusal(error: ImportError) -> Refusal {
    match error {
        ImportError::Cache(error @ (CacheError::Storage(_) | CacheError::Stopped)) => {
            Refusal::NotWritten(error)
        }
        ImportError::Read(_)
        | ImportError::Document { .. }
        | ImportError::Flat(_)
        | ImportError::Cache(_) => Refusal::Document(error),
    }
}
