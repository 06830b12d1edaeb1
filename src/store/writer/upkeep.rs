//! What keeps the journal within its disk: room for new events, the cursor on it, and what is old.

use tokio::time::Instant;

use super::{BALLAST_INTERVAL, JournalWriter, ROOM_TRIES, connect, journal::JournalFile};
use crate::{
    domain::{ClockQuality, Occurrence, Stamp},
    store::StoreError,
};

impl JournalWriter {
    /// Sequence of the first committed event, and how many of the pending ones are committed.
    pub(super) fn commit_making_room(
        &mut self,
        report: Option<&Occurrence>,
    ) -> rusqlite::Result<(u64, usize)> {
        let now = (self.options.now)();
        let mut count = self.pending.len();
        let mut tries = 0;
        loop {
            let cursor = self.cursor(!self.options.alone);
            let batch = self.pending.get(..count).unwrap_or(&self.pending);
            match self.journal.commit(batch, report, cursor, &now) {
                Ok(first) => return Ok((first, count)),
                Err(error) if connect::is_full(&error) && tries < ROOM_TRIES => {
                    tries += 1;
                    count = if tries % 2 == 0 { count.div_ceil(2) } else { count };
                    if !self.make_room(&now)? && count == 1 {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes at once, beside the events; on a full disk the oldest of them make room.
    pub(super) fn with_room<T>(
        &mut self,
        mut write: impl FnMut(&mut JournalFile, &Stamp) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let now = (self.options.now)();
        let mut tries = 0;
        let written = loop {
            let written = self.takes_writes().and_then(|()| write(&mut self.journal, &now));
            // As for events: what was committed while the file system became read-only is on no disk.
            match written.and_then(|written| self.takes_writes().map(|()| written)) {
                Err(error) if connect::is_full(&error) && tries < ROOM_TRIES => {
                    tries += 1;
                    match self.make_room(&now) {
                        Ok(true) => {}
                        Ok(false) | Err(_) => break Err(error),
                    }
                }
                result => break result,
            }
        };
        if tries > 0 {
            self.publish();
            self.tell_health();
        }
        written.map_err(|source| StoreError::Write { file: "journal.db".into(), source })
    }

    /// On a full disk: first the ballast, then the oldest events; `false` where there is nothing left to give.
    pub(super) fn make_room(&mut self, now: &Stamp) -> rusqlite::Result<bool> {
        if self.place.is_memory() {
            return self
                .journal
                .free_space("the disk cannot be written, and memory holds no more events", now);
        }
        if self.ballast.disk_has_room() {
            return self.journal.free_space("journal.db has its largest size", now);
        }
        if !self.disk_full {
            tracing::error!("journal.db: the disk is full; the reserve and then the oldest events go");
        }
        self.disk_full = true;
        if self.ballast.release() {
            self.ballast_due = Instant::now() + BALLAST_INTERVAL;
            self.journal.economise(true)?;
            return Ok(true);
        }
        self.journal.free_space("the disk is full", now)
    }

    pub(super) fn leave_economy(&mut self) {
        match self.journal.economise(false) {
            Ok(()) => {
                tracing::info!("journal.db: the disk has room again");
                self.disk_full = false;
            }
            Err(error) => tracing::warn!(%error, "journal.db: could not be let grow again"),
        }
    }

    /// Deletes delivered events older than `keep`, and whole journals, by a clock that has been right for long; whether
    /// there is more.
    pub(super) fn prune_by_age(&mut self) -> bool {
        let now = (self.options.now)();
        if now.clock != ClockQuality::Synchronized
            || self.options.keep.is_zero()
            || !(self.options.clock_is_steady)()
        {
            return false;
        }
        let keep = jiff::SignedDuration::try_from(self.options.keep).unwrap_or(jiff::SignedDuration::MAX);
        let Ok(before) = now.time.checked_sub(keep) else { return false };
        match self.journal.prune_by_age(before) {
            Ok(more) => {
                self.publish();
                // Each is opened for it: once a round, not at each of its steps.
                if !more {
                    self.archives.prune(self.options.keep);
                    self.shared.archives.send_replace(self.archives.positions());
                }
                more
            }
            Err(error) => {
                tracing::warn!(%error, "journal.db: old events could not be deleted");
                false
            }
        }
    }

    pub(super) fn keep_cursor(&mut self) {
        match self.journal.deliver(self.cursor(true)) {
            Ok(()) => self.publish(),
            // It goes with the next commit; until then a restart sends some events again.
            Err(error) => tracing::warn!(%error, "journal.db: what was delivered could not be noted"),
        }
    }
}
