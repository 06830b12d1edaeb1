//! The board as the readers, the feed and the endpoint share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use litemap::LiteMap;
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
    seats: LiteMap<u64, (Weak<Seat>, Option<Line>)>,
    is_stopping: bool,
}

/// What the board says of panels and lines, to tell what is news.
#[derive(Default)]
struct Shown {
    panels: Vec<PanelStatus>,
    /// Panels of which their bus says nothing any more, while they are still configured: they are about to go, or to begin
    /// again.
    absent: Vec<PanelStatus>,
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
                seats: LiteMap::new(),
                is_stopping: false,
            }),
            news: watch::Sender::new(()),
            readers: watch::Sender::new(()),
        }
    }

    /// Lets a reader in, who finds everything as it is now. `bus`: that of the line to be watched. One of this machine has no
    /// token, and no seat at the endpoint.
    ///
    /// # Errors
    /// Nobody is let in just now.
    pub(super) fn join(
        &self,
        handles: &Handles,
        token: Option<TokenInfo>,
        seat: Weak<Seat>,
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
        inner.seats.insert(reader, (seat, watch));
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
#[cfg_attr(test, derive(Clone))]
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
        self.show_found(now, Found::look(&handles.buses), handles.clock.wall(), fresh);
    }

    fn show_found(&mut self, now: Mono, found: Found, wall: jiff::Timestamp, fresh: bool) {
        let before = std::mem::take(&mut self.shown);
        for (place, panel) in found.panels.iter().enumerate() {
            let is_news = !before.panels.get(place).is_some_and(|shown| is_alike(shown, panel));
            if is_news || fresh {
                self.board.set(now, Kind::Panel, place, frames::message("panel", panel), is_news);
            }
        }
        self.board.truncate(Kind::Panel, found.panels.len());
        // A bus stops telling of a panel before the panel leaves its handle: both are looked at until it is clear.
        let is_told = |panel: &PanelStatus| found.panels.iter().any(|told| told.panel == panel.panel);
        let (absent, gone): (Vec<_>, Vec<_>) = before
            .absent
            .into_iter()
            .chain(before.panels)
            .filter(|panel| !is_told(panel) && panel.state != PanelState::Unconfigured)
            .partition(|panel| found.configured.contains(&panel.panel));
        for gone in gone {
            let gone = PanelStatus::new(gone.panel, gone.intercom, PanelState::Unconfigured, wall);
            self.board.is_gone(now, frames::message("panel", &gone));
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
        self.shown = Shown { panels: found.panels, absent, lines: found.lines, health: before.health };
    }

    /// Looks again at panels of which it was not clear whether they are gone.
    pub(super) fn look_for_absent(&mut self, now: Mono, handles: &Handles) {
        if !self.shown.absent.is_empty() {
            self.show(now, handles, false);
        }
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
        capabilities: _,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Tokens;

    const WALL: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

    fn name(name: &str) -> Name {
        name.parse().unwrap()
    }

    fn found(told: &[&str], configured: &[&str]) -> Found {
        let told = told.iter().map(|panel| PanelStatus::new(name(panel), 1, PanelState::Online, WALL));
        let configured = configured.iter().map(|panel| name(panel)).collect();
        Found { panels: told.collect(), lines: Vec::new(), configured }
    }

    /// A reload ends a panel in steps, and the board may be brought up to date between any two of them.
    #[test]
    fn a_panel_that_is_removed_is_announced_once_whenever_the_board_looks() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&dir.path().join("tokens.json")).unwrap();
        tokens.add("reader", false, WALL).unwrap();
        let token = tokens.list().swap_remove(0);
        for (steps, announced) in [
            (&[found(&["gate"], &["gate"])][..], 1),
            (&[found(&["gate"], &["gate", "front"]), found(&["gate"], &["gate"])], 1),
            (&[found(&["front", "gate"], &["gate"]), found(&["gate"], &["gate"])], 1),
            (&[found(&[], &["gate", "front"]), found(&["gate"], &["gate"]), found(&["gate"], &["gate"])], 1),
            // It begins again under its name.
            (&[found(&["gate"], &["gate", "front"]), found(&["gate", "front"], &["gate", "front"])], 0),
        ] {
            let hub = Hub::new();
            let mut inner = hub.lock();
            let reader = inner.board.join(Mono::ZERO, token.clone(), Asked::default()).unwrap();
            inner.show_found(Mono::ZERO, found(&["front", "gate"], &["front", "gate"]), WALL, true);
            let mut told = String::new();
            let mut read = |inner: &mut Inner| {
                while let Next::Send(messages) = inner.board.next(Mono::ZERO, reader) {
                    told.push_str(std::str::from_utf8(&messages).unwrap());
                }
            };
            for step in steps {
                read(&mut inner);
                inner.show_found(Mono::ZERO, step.clone(), WALL, false);
            }
            read(&mut inner);
            assert_eq!(told.matches("unconfigured").count(), announced, "{told}");
            assert!(inner.shown.absent.is_empty());
        }
    }
}
