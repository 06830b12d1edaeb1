//! What goes over the line of a bus, told to the one who records it.
//!
//! Invariant: the bus never waits for the recorder, and never wakes it: what finds the queue full is counted, and the
//! count goes with the next run that finds room.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
};

use jiff::Timestamp;

use crate::domain::{EventBody, Name};

/// Runs that may wait: at 230400 baud there are 1,400 a second, and the recorder looks four times a second.
const RUNS: usize = 1024;
/// Bytes of the line that may wait; runs are mostly of 15, and 1440 at most.
const BYTES: usize = 128 << 10;

/// The end of the bus; [`Tap::default`] leads nowhere.
#[derive(Debug, Default)]
pub struct Tap(Option<Line>);

#[derive(Debug)]
struct Line {
    runs: SyncSender<Run>,
    queued: Arc<AtomicUsize>,
    /// Runs that found no room since the last one that did.
    lost: u64,
}

/// The end of the recorder.
#[derive(Debug)]
pub struct Runs {
    runs: Receiver<Run>,
    queued: Arc<AtomicUsize>,
}

/// Something that happened on the line.
#[derive(Debug)]
pub struct Run {
    /// When, on the wall clock, in nanoseconds since 1970-01-01 UTC.
    pub nanos: u64,
    /// How many runs before it found no room.
    pub lost: u64,
    /// What.
    pub what: Happened,
}

/// What happened on a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Happened {
    /// The gateway sent these bytes.
    Sent(Box<[u8]>),
    /// It received these.
    Received(Box<[u8]>),
    /// Something that one wants to know the reason of.
    Incident(Incident),
    /// Something about the port.
    Said(&'static str),
}

/// What one wants to know the reason of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incident {
    /// A panel is offline.
    PanelLost(Name),
    /// A panel did not open.
    UnlockFailed(Name),
}

/// Makes a tap and its other end.
pub fn tap() -> (Tap, Runs) {
    let (sender, runs) = sync_channel(RUNS);
    let queued = Arc::new(AtomicUsize::new(0));
    (Tap(Some(Line { runs: sender, queued: queued.clone(), lost: 0 })), Runs { runs, queued })
}

impl Tap {
    /// Whether anybody records.
    pub(super) const fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Tells of bytes that were sent.
    pub(super) fn sent(&mut self, at: Timestamp, bytes: &[u8]) {
        self.tell(at, bytes.len(), || Happened::Sent(bytes.into()));
    }

    /// Tells of bytes that were received.
    pub(super) fn received(&mut self, at: Timestamp, bytes: &[u8]) {
        self.tell(at, bytes.len(), || Happened::Received(bytes.into()));
    }

    /// Tells of an event, where it is one that one wants to know the reason of.
    pub(super) fn event(&mut self, at: Timestamp, body: &EventBody) {
        let incident = match body {
            EventBody::PanelOffline(data) => Incident::PanelLost(data.panel.clone()),
            EventBody::DoorUnlockFailed(data) => Incident::UnlockFailed(data.panel.clone()),
            _ => return,
        };
        self.tell(at, 0, || Happened::Incident(incident));
    }

    /// Tells of something about the port.
    pub(super) fn said(&mut self, at: Timestamp, text: &'static str) {
        self.tell(at, 0, || Happened::Said(text));
    }

    fn tell(&mut self, at: Timestamp, bytes: usize, what: impl FnOnce() -> Happened) {
        let Some(line) = &mut self.0 else { return };
        // Nobody else adds.
        if line.queued.load(Ordering::Relaxed).saturating_add(bytes) > BYTES {
            line.lost += 1;
            return;
        }
        let nanos = u64::try_from(at.as_nanosecond()).unwrap_or_default();
        line.queued.fetch_add(bytes, Ordering::Relaxed);
        // Full: counted. Nobody records any more: counted in vain.
        match line.runs.try_send(Run { nanos, lost: line.lost, what: what() }) {
            Ok(()) => line.lost = 0,
            Err(_) => {
                line.queued.fetch_sub(bytes, Ordering::Relaxed);
                line.lost += 1;
            }
        }
    }
}

impl Runs {
    /// Returns the next run that waits.
    ///
    /// # Errors
    /// There is none now; or the bus has ended.
    pub fn next(&self) -> Result<Run, TryRecvError> {
        let run = self.runs.try_recv()?;
        if let Happened::Sent(bytes) | Happened::Received(bytes) = &run.what {
            self.queued.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn what_finds_no_room_is_counted_with_the_next_that_does() {
        let (mut tap, runs) = tap();
        for byte in 0..=u8::MAX {
            (0..5).for_each(|_| tap.sent(AT, &[byte]));
        }
        for _ in 0..RUNS {
            assert_eq!(runs.next().unwrap().lost, 0);
        }
        assert!(matches!(runs.next(), Err(TryRecvError::Empty)));
        tap.received(AT, &[1]);
        assert_eq!(runs.next().unwrap().lost, 5 * 256 - RUNS as u64);
        tap.said(AT, "again");
        assert_eq!(runs.next().unwrap().lost, 0);
    }

    #[test]
    fn many_bytes_are_no_more_than_may_wait() {
        let (mut tap, runs) = tap();
        (0..RUNS).for_each(|_| tap.received(AT, &[7; 1440]));
        let waiting = std::iter::from_fn(|| runs.next().ok()).count();
        assert_eq!(waiting, BYTES / 1440);
        tap.received(AT, &[7; 1440]);
        assert_eq!(runs.next().unwrap().lost, (RUNS - BYTES / 1440) as u64);
        drop(tap);
        assert!(matches!(runs.next(), Err(TryRecvError::Disconnected)));
        Tap::default().sent(AT, &[1]);
    }
}
