//! What is asked of the databases of a state directory that is going to be exchanged for another one: nobody has them
//! open.

use std::{fs::File, path::Path};

use super::{
    Store, StoreError,
    archives::Archives,
    cache, connect, events,
    open::{self, Paths},
};
use crate::domain::Stamp;

impl Store {
    /// Locks the databases of `dir` for as long as the result lives: no daemon and no command opens them for writing.
    ///
    /// # Errors
    /// [`StoreError::InUse`]: somebody has them; there is no such directory.
    pub fn lock(dir: &Path) -> Result<File, StoreError> {
        open::lock(&Paths::of(dir).lock, dir)
    }
}

/// Returns how many flats the cache of `dir` holds; no cache: none.
///
/// # Errors
/// It cannot be read.
pub fn flats_in(dir: &Path) -> Result<u64, StoreError> {
    let file = Paths::of(dir).cache;
    if !file.exists() {
        return Ok(0);
    }
    let read = connect::bystander(&file).and_then(|cache| cache::state(&cache));
    read.map(|state| state.flats).map_err(|source| StoreError::Read { file, source })
}

/// Returns the last moment at which the journal of `dir` knew the clock to be right; `None`: never, or it cannot be
/// read.
pub fn time_floor_in(dir: &Path) -> Option<Stamp> {
    connect::bystander(&Paths::of(dir).journal)
        .and_then(|journal| events::time_floor(&journal))
        .ok()
        .flatten()
}

/// Returns the name of the file that the journal of `dir` is to be kept in, under its identity; `None`: there is
/// none, or it cannot be read.
pub fn kept_name(dir: &Path) -> Option<String> {
    let position = connect::bystander(&Paths::of(dir).journal).and_then(|journal| events::position(&journal));
    let path = Archives::at(dir).path(&position.ok()?.journal);
    Some(path.file_name()?.to_str()?.to_owned())
}
