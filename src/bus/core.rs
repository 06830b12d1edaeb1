//! A line with its stations: everything of a bus that can be tested without a port or a clock.
//!
//! ```text
//!  bytes ─► Line ─► panel events ─► Station ─► decision ─► unlock request ─► back to the panel, before the next turn
//!                                      └──────► Output::Event, Keep, Changed …  (the shell performs them)
//! ```
//! Invariant: what a reply leads to is done before the next turn is chosen, so an unlock waits for nobody's poll.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU16,
    time::Duration,
};

use jiff::Timestamp;

use super::{
    line::{Line, LineStats, Timing},
    station::{Station, StationSettings, Want},
};
use crate::{
    access::{Directory, Now},
    domain::{
        EventBody, Mono, Name, PanelStatus,
        event::{DoorUnlockFailed, DoorUnlocked, UnlockedBy},
    },
    panel::{self, Driver, Failure, Request, Token},
    wire::osdp::Scbk,
};

/// An unlock that its panel has not taken within this time of its cause is withdrawn (contract §5).
pub const UNLOCK_EXPIRES: Duration = Duration::from_secs(2);
/// Light and sound are worth nothing later.
const FEEDBACK_EXPIRES: Duration = Duration::from_secs(2);

/// The present, in all the ways that a bus needs it.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// For deadlines.
    pub mono: Mono,
    /// For `since` and `last_seen`.
    pub wall: Timestamp,
    /// For expiry dates.
    pub now: Now,
    /// The keys in force.
    pub directory: &'a Directory,
}

/// What has to be remembered of a panel across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Its key. Not proven: it must be on disk, synced, before [`Core::key_stored`] is called.
    Key {
        /// The key.
        key: Scbk,
        /// Serial number of the device.
        serial: Option<u32>,
        /// Whether a handshake has proven it.
        proven: bool,
    },
    /// Its serial number.
    Serial(u32),
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Something happened.
    Event(EventBody),
    /// Something has to be remembered.
    Keep {
        /// The panel's number on the bus.
        panel: usize,
        /// What.
        keep: Keep,
    },
    /// A remote unlock is over.
    Unlocked {
        /// The caller's number of the request.
        request: u64,
        /// What became of it.
        result: Result<(), Failure>,
    },
    /// A panel's status has changed.
    Changed,
}

/// Why a remote unlock was not even tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnlockRefused {
    /// No panel of that name on this bus.
    #[error("there is no such panel on this bus")]
    UnknownPanel,
    /// The panel has no lock in the configuration.
    #[error("the panel has no lock: add `lock = {{ output = 0 }}` to its [[panel]]")]
    NoLock,
}

enum Pending {
    Unlock { station: usize, by: UnlockedBy, tenths: NonZeroU16, request: Option<u64> },
    Feedback,
}

/// A bus without its port.
pub struct Core {
    line: Line,
    stations: Vec<Station>,
    pending: BTreeMap<Token, Pending>,
    next_token: u64,
    outputs: VecDeque<Output>,
}

impl Core {
    /// A bus whose panels have not been heard yet.
    pub fn new(timing: Timing, panels: Vec<(StationSettings, Driver)>, moment: &Moment<'_>) -> Self {
        let (settings, drivers): (Vec<_>, Vec<_>) = panels.into_iter().unzip();
        Self {
            line: Line::new(timing, drivers, moment.mono),
            stations: settings.into_iter().map(|settings| Station::new(settings, moment.wall)).collect(),
            pending: BTreeMap::new(),
            next_token: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Appends the next frame to `out` where it is time for one.
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        self.line.poll_transmit(now, out)
    }

    /// Bytes came in.
    pub fn receive(&mut self, moment: &Moment<'_>, bytes: &[u8]) {
        self.line.receive(moment.mono, bytes);
        self.settle(moment);
    }

    /// Lets time pass.
    pub fn advance(&mut self, moment: &Moment<'_>) {
        self.line.advance(moment.mono);
        for number in 0..self.stations.len() {
            let Some(station) = self.stations.get_mut(number) else { break };
            if station.next_time() <= moment.mono {
                let mut wants = Vec::new();
                station.advance(moment.mono, &mut wants);
                self.fulfil(moment, number, wants);
            }
        }
        self.settle(moment);
    }

    /// When something is to be done next, if nothing is received before.
    pub fn next_time(&self) -> Mono {
        let stations = self.stations.iter().map(Station::next_time).min().unwrap_or(Mono::NEVER);
        stations.min(self.line.next_time())
    }

    /// The next thing for the shell to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Unlocks by command or token; ends in [`Output::Unlocked`] with `request`. `tenths`: units of 100 ms, by
    /// default as the lock is configured. `caused`: when it was asked for, which its two seconds count from.
    pub fn unlock(
        &mut self,
        moment: &Moment<'_>,
        panel: &Name,
        tenths: Option<NonZeroU16>,
        by: UnlockedBy,
        request: u64,
        caused: Mono,
    ) -> Result<(), UnlockRefused> {
        let number = self.number_of(panel).ok_or(UnlockRefused::UnknownPanel)?;
        let lock = self
            .stations
            .get(number)
            .and_then(|station| station.settings.lock)
            .ok_or(UnlockRefused::NoLock)?;
        self.request_unlock(moment, number, tenths.unwrap_or(lock.open), by, Some(request), caused);
        self.settle(moment);
        Ok(())
    }

    /// The answer to [`Keep::Key`] that is not proven.
    pub fn key_stored(&mut self, moment: &Moment<'_>, panel: usize, stored: bool) {
        if let Some(driver) = self.line.driver(panel) {
            driver.key_stored(moment.mono, stored);
        }
        self.settle(moment);
    }

    /// Lets a swapped panel in by the default key. `None`: no such panel here; `false`: it has no secure channel.
    pub fn arm_pairing(&mut self, panel: &Name, until: Mono) -> Option<bool> {
        let number = self.number_of(panel)?;
        self.line.driver(number).map(|driver| driver.arm_pairing(until))
    }

    /// The port was closed and opened again.
    pub fn reopened(&mut self, moment: &Moment<'_>) {
        self.line.reopened(moment.mono);
        self.settle(moment);
    }

    /// When any panel last answered.
    pub fn last_heard(&self) -> Mono {
        self.line.last_heard()
    }

    /// The line's counters.
    pub fn stats(&self) -> LineStats {
        self.line.stats()
    }

    /// The status of every panel.
    pub fn statuses(&mut self, moment: &Moment<'_>) -> Vec<PanelStatus> {
        let mut statuses = Vec::with_capacity(self.stations.len());
        for (number, station) in self.stations.iter().enumerate() {
            let heard = self.line.driver(number).and_then(|driver| driver.last_heard());
            let last_seen = heard.and_then(|at| moment.wall.checked_sub(moment.mono.since(at)).ok());
            statuses.push(station.status(last_seen));
        }
        statuses
    }

    /// The name of a panel by its number.
    pub fn panel_name(&self, number: usize) -> Option<Name> {
        self.stations.get(number).map(|station| station.settings.panel.clone())
    }

    fn number_of(&self, panel: &Name) -> Option<usize> {
        self.stations.iter().position(|station| station.settings.panel == *panel)
    }

    /// Takes everything that the panels have to tell.
    fn settle(&mut self, moment: &Moment<'_>) {
        for number in 0..self.stations.len() {
            while let Some(event) = self.line.driver(number).and_then(Driver::poll_event) {
                if let panel::Event::Done { token, result } = event {
                    self.request_done(moment, token, result);
                    continue;
                }
                let mut wants = Vec::new();
                if let Some(station) = self.stations.get_mut(number) {
                    station.handle(moment, event, &mut wants);
                }
                self.fulfil(moment, number, wants);
            }
        }
    }

    fn fulfil(&mut self, moment: &Moment<'_>, number: usize, wants: Vec<Want>) {
        for want in wants {
            match want {
                Want::Event(body) => self.outputs.push_back(Output::Event(body)),
                Want::Keep(keep) => self.outputs.push_back(Output::Keep { panel: number, keep }),
                Want::Changed => self.outputs.push_back(Output::Changed),
                Want::Unlock(by) => {
                    let lock = self.stations.get(number).and_then(|station| station.settings.lock);
                    if let Some(lock) = lock {
                        self.request_unlock(moment, number, lock.open, by, None, moment.mono);
                    }
                }
                Want::Feedback { reader, granted, tenths } => {
                    let token = self.token(Pending::Feedback);
                    if let Some(driver) = self.line.driver(number) {
                        let feedback = Request::Feedback { reader, granted, tenths };
                        driver.request(moment.mono, token, &feedback, moment.mono + FEEDBACK_EXPIRES);
                    }
                }
            }
        }
    }

    fn request_unlock(
        &mut self,
        moment: &Moment<'_>,
        number: usize,
        tenths: NonZeroU16,
        by: UnlockedBy,
        request: Option<u64>,
        caused: Mono,
    ) {
        let token = self.token(Pending::Unlock { station: number, by: by.clone(), tenths, request });
        let expires = caused + UNLOCK_EXPIRES;
        let Some(station) = self.stations.get_mut(number) else { return };
        // From the request on: the panel may have taken it though its acknowledgement is lost.
        station.door.unlocked(moment.mono, by, expires + seconds(tenths));
        let Some(lock) = station.settings.lock else { return };
        if let Some(driver) = self.line.driver(number) {
            let unlock = Request::Unlock { output: lock.output, active: lock.active, tenths };
            driver.request(moment.mono, token, &unlock, expires);
        }
    }

    fn request_done(&mut self, moment: &Moment<'_>, token: Token, result: Result<(), Failure>) {
        let Some(Pending::Unlock { station: number, by, tenths, request }) = self.pending.remove(&token)
        else {
            return;
        };
        let Some(station) = self.stations.get_mut(number) else { return };
        let (panel, intercom) = (station.settings.panel.clone(), station.settings.intercom);
        let duration = f64::from(tenths.get()) / 10.0;
        let body = match result {
            Ok(()) => {
                station.door.unlocked(moment.mono, by.clone(), moment.mono + seconds(tenths));
                EventBody::DoorUnlocked(DoorUnlocked { panel, intercom, by, duration })
            }
            Err(failure) => {
                // Not confirmed is not certain: the panel may have done it.
                if failure != Failure::Unconfirmed {
                    station.door.not_unlocked(&by);
                }
                let cause = failure.code().to_owned();
                EventBody::DoorUnlockFailed(DoorUnlockFailed { panel, intercom, by, duration, cause })
            }
        };
        self.outputs.push_back(Output::Event(body));
        if let Some(request) = request {
            self.outputs.push_back(Output::Unlocked { request, result });
        }
    }

    fn token(&mut self, pending: Pending) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.pending.insert(token, pending);
        token
    }
}

fn seconds(tenths: NonZeroU16) -> Duration {
    Duration::from_millis(100) * u32::from(tenths.get())
}
