//! The board as the readers, the feed and the endpoint share it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::watch;

use super::{
    asked::{Asked, Line},
    board::{Board, Kind, Next},
    frames,
    watching::Watching,
};
use crate::{
    api::{Handles, TokenInfo, buses, room::Seat},
    bus::{Buses, KnownLine},
    clock,
    domain::{Health, LineStatus, Mono, Name, PanelState, PanelStatus},
    store::{Journal, Position},
};

/// All streams of an endpoint.
pub(in super::super) struct Hub {
    inner: Mutex<Inner>,
    /// The board has changed.
    news: watch::Sender<()>,
    /// Readers have come or gone.
    readers: watch::Sender<()>,
}

/// What is behind the lock. It is never held while anything is waited for. What is shown is looked up under it, so that
/// nothing older is shown later.
pub(super) struct Inner {
    pub(super) board: Board,
    pub(super) watching: Watching,
    shown: Shown,
    /// The connections of the readers.
    seats: BTreeMap<u64, (Weak<Seat>, Option<Line>)>,
    is_stopping: bool,
}

/// What the board says of panels and lines, to tell what is news.
#[derive(Default)]
struct Shown {
    panels: Vec<PanelStatus>,
    /// A piece for each bus.
    lines: Vec<Arc<[KnownLine]>>,
    health: Option<Health>,
}

/// Why nobody can join.
pub(super) enum Closed {
    /// There are as many readers as may be.
    Full,
    /// The endpoint stops.
    Stopping,
}

impl Hub {
    pub(in super::super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                board: Board::new(),
                watching: Watching::default(),
                shown: Shown::default(),
                seats: BTreeMap::new(),
                is_stopping: false,
            }),
            news: watch::Sender::new(()),
            readers: watch::Sender::new(()),
        }
    }

    /// Lets a reader in, who finds everything as it is now. `bus`: that of the line to be watched.
    ///
    /// # Errors
    /// Nobody is let in just now.
    pub(super) fn join(
        &self,
        handles: &Handles,
        token: TokenInfo,
        seat: &Arc<Seat>,
        asked: Asked,
        bus: Option<&Name>,
    ) -> Result<u64, Closed> {
        let watch = asked.watch;
        let mut inner = self.lock();
        let now = clock::mono();
        if inner.is_stopping {
            return Err(Closed::Stopping);
        }
        if inner.board.is_idle() {
            inner.shown = Shown::default();
            inner.follow_journal(now, &handles.journal);
        }
        let reader = inner.board.join(now, token, asked).ok_or(Closed::Full)?;
        inner.show(now, handles, true);
        inner.show_buses(now, &handles.buses, false);
        inner.show_health(now, &handles.health, true);
        if let (Some(line), Some(bus)) = (watch, bus) {
            inner.watching.begin(now, line, bus);
        }
        inner.seats.insert(reader, (Arc::downgrade(seat), watch));
        drop(inner);
        self.readers.send_replace(());
        self.news.send_replace(());
        Ok(reader)
    }

    /// Lets a reader go.
    pub(super) fn leave(&self, reader: u64) {
        let mut inner = self.lock();
        inner.board.leave(reader);
        if let Some((_, Some(line))) = inner.seats.remove(&reader) {
            inner.watching.end(line);
        }
        if inner.board.is_idle() {
            inner.shown = Shown::default();
        }
        drop(inner);
        self.readers.send_replace(());
    }

    /// Ends all streams, and lets nobody in any more.
    pub(in super::super) fn stop(&self) {
        self.change(|inner, now| {
            inner.is_stopping = true;
            inner.board.stop(now);
        });
    }

    /// Returns what a reader gets next.
    pub(super) fn next(&self, reader: u64) -> Next {
        self.lock().board.next(clock::mono(), reader)
    }

    /// Gives a reader what was read for it, and returns what it gets next.
    pub(super) fn supply(&self, reader: u64, journal: &str, events: Vec<(u64, axum::body::Bytes)>) -> Next {
        self.lock().board.supply(clock::mono(), reader, journal, events)
    }

    /// A notice of every change of the board.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// A notice that readers have come or gone.
    pub(super) fn readers(&self) -> watch::Receiver<()> {
        self.readers.subscribe()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.lock().board.is_idle()
    }

    /// Changes the board, and tells the readers.
    pub(super) fn change(&self, change: impl FnOnce(&mut Inner, Mono)) {
        let mut inner = self.lock();
        let before = inner.board.changes();
        change(&mut inner, clock::mono());
        let is_news = inner.board.changes() != before;
        drop(inner);
        if is_news {
            self.news.send_replace(());
        }
    }

    /// Asks without telling anybody.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&mut Inner, Mono) -> T) -> T {
        ask(&mut self.lock(), clock::mono())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the buses say of panels and lines.
struct Found {
    panels: Vec<PanelStatus>,
    lines: Vec<Arc<[KnownLine]>>,
    /// The panels of the configuration, heard or not.
    configured: Vec<Name>,
}

impl Found {
    fn look(buses: &Buses) -> Self {
        let handles = buses.handles();
        let names = |panels: Arc<Vec<crate::bus::PanelHandle>>| {
            panels.iter().map(|panel| panel.name.clone()).collect::<Vec<_>>()
        };
        Self {
            panels: handles.iter().flat_map(|bus| bus.status.borrow().panels.clone()).collect(),
            lines: handles.iter().map(|bus| bus.lines.borrow().clone()).collect(),
            configured: handles.iter().flat_map(|bus| names(bus.panels())).collect(),
        }
    }
}

impl Inner {
    /// Takes note of how panels and lines are. `fresh`: those who come now are to get all as it is now, last measurements
    /// included, which are no news to the others.
    pub(super) fn show(&mut self, now: Mono, handles: &Handles, fresh: bool) {
        let found = Found::look(&handles.buses);
        let before = std::mem::take(&mut self.shown);
        for (place, panel) in found.panels.iter().enumerate() {
            let is_news = !before.panels.get(place).is_some_and(|shown| is_alike(shown, panel));
            if is_news || fresh {
                self.board.set(now, Kind::Panel, place, frames::message("panel", panel), is_news);
            }
        }
        self.board.truncate(Kind::Panel, found.panels.len());
        for gone in before.panels {
            let is_here = found.configured.contains(&gone.panel)
                || found.panels.iter().any(|panel| panel.panel == gone.panel);
            if !is_here && gone.state != PanelState::Unconfigured {
                let since = handles.clock.wall();
                let gone = PanelStatus::new(gone.panel, gone.intercom, PanelState::Unconfigured, since);
                self.board.is_gone(now, frames::message("panel", &gone));
            }
        }
        let mut shown = before.lines.iter().flat_map(|lines| lines.iter());
        let mut place = 0;
        for line in found.lines.iter().flat_map(|lines| lines.iter()) {
            let is_news = !shown.next().is_some_and(|shown| is_same(&shown.status, &line.status));
            if is_news || fresh {
                self.board.set(now, Kind::Line, place, frames::message("line", &line.status), is_news);
            }
            place += 1;
        }
        self.board.truncate(Kind::Line, place);
        self.shown = Shown { panels: found.panels, lines: found.lines, health: before.health };
    }

    /// Takes note of what was counted on the buses.
    pub(super) fn show_buses(&mut self, now: Mono, buses: &Buses, is_news: bool) {
        let handles = buses.handles();
        for (place, bus) in handles.iter().enumerate() {
            self.board.set(now, Kind::Bus, place, frames::message("bus", &buses::Row::of(bus)), is_news);
        }
        self.board.truncate(Kind::Bus, handles.len());
    }

    /// Takes note of how the gateway is. `with_words`: other words for the same are news too.
    pub(super) fn show_health(&mut self, now: Mono, health: &watch::Receiver<Health>, with_words: bool) {
        let health = health.borrow().clone();
        let is_news = match &self.shown.health {
            None => true,
            Some(shown) => *shown != health && (with_words || !shown.is_like(&health)),
        };
        if is_news {
            self.board.set(now, Kind::Health, 0, frames::health(&health), true);
            self.shown.health = Some(health);
        }
    }

    /// Takes note of where the journal stands.
    pub(super) fn follow_journal(&mut self, now: Mono, journal: &Journal) -> Position {
        let position = journal.position().borrow().clone();
        if position.is_open() {
            self.board.journal_is(now, &position.journal, position.last);
        }
        position
    }

    /// Ends what is slow, and cuts off what does not take its end.
    pub(super) fn advance(&mut self, now: Mono) {
        for reader in self.board.advance(now) {
            if let Some(seat) = self.seats.get(&reader).and_then(|(seat, _)| seat.upgrade()) {
                seat.give_up();
            }
        }
    }
}

/// Whether nothing is news but when the panel was last heard (contract §4).
fn is_alike(one: &PanelStatus, other: &PanelStatus) -> bool {
    let PanelStatus {
        panel,
        intercom,
        state,
        since,
        last_seen: _,
        tamper,
        power_failed,
        door,
        held,
        trouble,
        device: _,
    } = one;
    *panel == other.panel
        && (intercom, state, since) == (&other.intercom, &other.state, &other.since)
        && (tamper, power_failed, door, held)
            == (&other.tamper, &other.power_failed, &other.door, &other.held)
        && *trouble == other.trouble
}

/// Whether nothing is news but a measurement.
fn is_same(one: &LineStatus, other: &LineStatus) -> bool {
    let LineStatus {
        intercom,
        flat,
        flat_id,
        state,
        raw: _,
        value: _,
        unit,
        thresholds,
        since,
        measured_at: _,
        panel: _,
        line: _,
    } = one;
    (intercom, flat, flat_id, state) == (&other.intercom, &other.flat, &other.flat_id, &other.state)
        && (since, unit, thresholds) == (&other.since, &other.unit, &other.thresholds)
}
