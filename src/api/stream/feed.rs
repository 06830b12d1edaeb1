//! Puts on the board what happens, while anybody reads it.

use std::{convert::Infallible, future, pin::Pin, sync::Arc, time::Duration};

use axum::body::Bytes;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{sync::watch, time::sleep};

use super::{asked::Line, frames, hub::Hub};
use crate::{
    api::Handles,
    bus::{BusStatus, KnownLine},
    clock,
    domain::{LineStatus, Mono, Name, StoredEvent},
    store::{JournalReader, StoreError},
};

/// How often it is looked who is slow.
const LOOK: Duration = Duration::from_secs(1);
/// Looks from one row of a bus to the next, and from one comment to the next (contract §3).
const BUS_EVERY: u64 = 5;
const COMMENT_EVERY: u64 = 15;
/// Events that are read at once.
const PAGE: usize = 64;

/// A line, its bus, when its measurement began, and what is known then; `None`: it could not be measured.
type Measured = (Line, Name, Mono, Option<LineStatus>);
type Measuring = FuturesUnordered<Pin<Box<dyn Future<Output = Measured> + Send>>>;

/// What a bus says.
type Statuses = watch::Receiver<BusStatus>;
type Lines = watch::Receiver<Arc<[KnownLine]>>;

/// Events that are being read.
struct Reading {
    journal: Arc<str>,
    /// The last one that there was when it began.
    last: u64,
    read: Pin<Box<dyn Future<Output = Result<Messages, StoreError>> + Send>>,
}

/// Events as messages, with their sequences.
pub(super) type Messages = Vec<(u64, Bytes)>;

/// Feeds the board for as long as it is polled. While nobody reads, it waits for somebody.
pub(in super::super) async fn feed(hub: Arc<Hub>, handles: Handles, gateway: Name) -> Infallible {
    let mut readers = hub.readers();
    loop {
        readers.borrow_and_update();
        if hub.is_idle() {
            // The sender is in `hub`.
            let _ = readers.changed().await;
            continue;
        }
        Feed { hub: &hub, handles: &handles, gateway: &gateway, looks: 0, troubled: false }
            .run(&mut readers)
            .await;
    }
}

/// While somebody reads.
struct Feed<'a> {
    hub: &'a Hub,
    handles: &'a Handles,
    gateway: &'a Name,
    /// How often it was looked who is slow.
    looks: u64,
    /// The journal could not be read, and that was logged.
    troubled: bool,
}

impl Feed<'_> {
    /// Feeds until nobody reads.
    async fn run(&mut self, readers: &mut watch::Receiver<()>) {
        let mut position = self.handles.journal.position();
        let mut health = self.handles.health.clone();
        let mut tokens = self.handles.tokens.changes();
        let mut set = self.handles.buses.watch();
        let (mut statuses, mut lines) = self.said();
        let mut reading = None;
        let mut measuring = Measuring::new();
        // Whatever has happened since the first one joined.
        position.mark_changed();
        self.show();
        self.revoke();
        while !self.hub.is_idle() {
            self.measure(&measuring);
            let until = self.hub.ask(|inner, now| inner.watching.next_time().since(now));
            tokio::select! {
                Ok(()) = tokens.changed() => self.revoke(),
                Ok(()) = position.changed(), if reading.is_none() => reading = self.read_on(),
                events = finished(&mut reading) => {
                    if self.take(reading.take(), events) {
                        position.mark_changed();
                    }
                }
                Some((line, bus, begun, status)) = measuring.next() => self.measured(line, &bus, begun, status),
                Ok(()) = set.changed() => {
                    (statuses, lines) = self.said();
                    self.show();
                }
                () = any_changed(&mut statuses, &mut lines) => self.show(),
                Ok(()) = health.changed() => {
                    self.hub.change(|inner, now| inner.show_health(now, &self.handles.health, false));
                }
                Ok(()) = readers.changed() => {}
                () = sleep(until) => {}
                () = sleep(clock::until_next(LOOK)) => {
                    self.look();
                    // What could not be read is tried again.
                    position.mark_changed();
                }
            }
        }
    }

    /// What is done once a second.
    fn look(&mut self) {
        self.looks += 1;
        let is_time = |every| self.looks.is_multiple_of(every);
        self.hub.change(|inner, now| {
            inner.look_for_absent(now, self.handles);
            if is_time(BUS_EVERY) {
                inner.show_buses(now, &self.handles.buses, true);
                // Words may hold a figure that counts up: they are news now and then.
                inner.show_health(now, &self.handles.health, true);
            }
            if is_time(COMMENT_EVERY) {
                inner.board.comment(now);
            }
            inner.advance(now);
        });
    }

    fn said(&self) -> (Vec<Statuses>, Vec<Lines>) {
        self.handles.buses.handles().iter().map(|bus| (bus.status.clone(), bus.lines.clone())).unzip()
    }

    fn show(&self) {
        self.hub.change(|inner, now| inner.show(now, self.handles, false));
    }

    fn revoke(&self) {
        let tokens = &self.handles.tokens;
        self.hub.change(|inner, now| inner.board.revoke(now, |token| tokens.in_force(token)));
    }

    /// Begins to read what the board does not have yet.
    fn read_on(&self) -> Option<Reading> {
        let mut next = None;
        self.hub.change(|inner, now| {
            let position = inner.follow_journal(now, &self.handles.journal);
            let (journal, last) = inner.board.position();
            next = (*journal == *position.journal && last < position.last).then_some((
                journal,
                last + 1,
                position.last,
            ));
        });
        let (journal, from, last) = next?;
        let (reader, gateway, of) = (self.handles.journal.reader(), self.gateway.clone(), journal.clone());
        let read = Box::pin(async move { read(&reader, &gateway, &of, from).await });
        Some(Reading { journal, last, read })
    }

    /// Puts up what was read; whether there may be more.
    fn take(&mut self, reading: Option<Reading>, read: Result<Messages, StoreError>) -> bool {
        let Some(Reading { journal, last, .. }) = reading else { return false };
        let events = match read {
            Ok(events) => events,
            Err(error) => {
                if !std::mem::replace(&mut self.troubled, true) {
                    tracing::warn!(%error, "events cannot be read for those who follow them");
                }
                return false;
            }
        };
        self.troubled = false;
        self.hub.change(|inner, now| {
            if *inner.board.position().0 != *journal {
                return;
            }
            if events.is_empty() {
                inner.board.events_are_gone(now, last);
            } else {
                inner.board.events(now, events);
            }
        });
        true
    }

    /// Begins the measurements that are due.
    fn measure(&self, measuring: &Measuring) {
        let due = || self.hub.ask(|inner, now| inner.watching.take_due(now).map(|due| (due, now)));
        for ((line, bus), begun) in std::iter::from_fn(due) {
            let doors = self.handles.doors.clone();
            measuring.push(Box::pin(async move {
                // Why it is not measured is told by the states of line and panel.
                let status = doors.measure(line.0, line.1).await.ok();
                (line, bus, begun, status)
            }));
        }
    }

    fn measured(&self, line: Line, bus: &Name, begun: Mono, status: Option<LineStatus>) {
        self.hub.change(|inner, now| {
            inner.watching.measured(now, bus, begun);
            if let Some(message) = status.and_then(|status| frames::sample(&status)) {
                inner.board.sample(now, line, message);
            }
        });
    }
}

/// Reads a page of events as messages, from a sequence on; none where another journal goes on by now.
pub(super) async fn read(
    reader: &JournalReader,
    gateway: &Name,
    journal: &str,
    from: u64,
) -> Result<Messages, StoreError> {
    let events = reader.read_async(from, PAGE).await?;
    let ours = events.iter().filter(|event| *event.journal == *journal);
    let message = |event: &StoredEvent| {
        (event.sequence, frames::event(journal, event.sequence, &event.to_json(gateway)))
    };
    Ok(ours.map(message).collect())
}

/// Waits for what is being read, for ever where nothing is.
async fn finished(reading: &mut Option<Reading>) -> Result<Messages, StoreError> {
    match reading {
        Some(reading) => reading.read.as_mut().await,
        None => future::pending().await,
    }
}

/// Waits until any bus says something, for ever where there are none.
async fn any_changed<T, U>(some: &mut [watch::Receiver<T>], others: &mut [watch::Receiver<U>]) {
    let some = some.iter_mut().map(|said| changed(said).left_future());
    let others = others.iter_mut().map(|said| changed(said).right_future());
    let mut changes: FuturesUnordered<_> = some.chain(others).collect();
    if changes.next().await.is_none() {
        future::pending().await
    }
}

/// Waits until a bus says something; for ever where it has ended.
async fn changed<T>(said: &mut watch::Receiver<T>) {
    if said.changed().await.is_err() {
        future::pending().await
    }
}
