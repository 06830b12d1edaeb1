//! A line with its doorways: everything of a bus that can be tested without a port or a clock.
//!
//! ```text
//!  bytes ─► Schedule ─► panel events ─► Doorway ─► decision ─► unlock request ─► back to the panel, before the next turn
//!                      │               └──────► Output::Event, Keep, Changed …  (the shell performs them)
//!                      └► lines: Commutators ─► Output::Event, LinesChanged …, and back to the panel: read again
//! ```
//! Invariant: what a reply leads to is done before the next turn is chosen, so an unlock waits for nobody's poll.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU16,
    time::Duration,
};

pub use super::effects::{Keep, Moment, Output};
use super::{
    commutators::{self, Commutators, KnownLine},
    doorway::{Doorway, DoorwaySettings, Want},
    schedule::{LineStats, Schedule, Timing},
};
use crate::{
    domain::{
        EventBody, Mono, Name, PanelStatus,
        event::{DoorUnlockFailed, DoorUnlocked, UnlockedBy},
    },
    lines::{Commutator, FlatLines},
    panel::{self, Driver, Failure, Request, Token},
};

/// An unlock that its panel has not taken within this time of its cause is withdrawn (contract §5).
pub const UNLOCK_EXPIRES: Duration = Duration::from_secs(2);
/// A measurement that its panel has not made within this time of being asked for is withdrawn.
pub const MEASURE_EXPIRES: Duration = Duration::from_secs(2);
/// Light and sound are worth nothing later.
const FEEDBACK_EXPIRES: Duration = Duration::from_secs(2);

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

/// No panel of this bus has a line of that flat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no panel on this bus has a line of that flat")]
pub struct UnknownFlat;

/// A panel on the line.
pub struct Member {
    /// What hangs on it.
    pub doorway: DoorwaySettings,
    /// Its protocol.
    pub driver: Driver,
    /// Its lines, where it has some.
    pub commutator: Option<Commutator>,
}

/// A panel without lines.
impl From<(DoorwaySettings, Driver)> for Member {
    fn from((doorway, driver): (DoorwaySettings, Driver)) -> Self {
        Self { doorway, driver, commutator: None }
    }
}

enum Pending {
    Unlock { doorway: usize, by: UnlockedBy, tenths: NonZeroU16, request: Option<u64> },
    Measure { request: u64 },
    Feedback,
}

/// A bus without its port.
pub struct Core {
    schedule: Schedule,
    doorways: Vec<Doorway>,
    commutators: Commutators,
    pending: BTreeMap<Token, Pending>,
    next_token: u64,
    outputs: VecDeque<Output>,
}

impl Core {
    /// A bus whose panels have not been heard yet.
    pub fn new(timing: Timing, panels: Vec<impl Into<Member>>, moment: &Moment<'_>) -> Self {
        let (mut doorways, mut drivers, mut commutators) = (Vec::new(), Vec::new(), Vec::new());
        for Member { doorway, driver, commutator } in panels.into_iter().map(Into::into) {
            doorways.push(Doorway::new(doorway, moment.wall));
            drivers.push(driver);
            commutators.push(commutator);
        }
        Self {
            schedule: Schedule::new(timing, drivers, moment.mono),
            doorways,
            commutators: Commutators::new(commutators),
            pending: BTreeMap::new(),
            next_token: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Appends the next frame to `out` where it is time for one.
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        self.schedule.poll_transmit(now, out)
    }

    /// Bytes came in.
    pub fn receive(&mut self, moment: &Moment<'_>, bytes: &[u8]) {
        self.schedule.receive(moment.mono, bytes);
        self.settle(moment);
    }

    /// Lets time pass.
    pub fn advance(&mut self, moment: &Moment<'_>) {
        self.schedule.advance(moment.mono);
        for number in 0..self.doorways.len() {
            let Some(doorway) = self.doorways.get_mut(number) else { break };
            if doorway.next_time() <= moment.mono {
                let mut wants = Vec::new();
                doorway.advance(moment.mono, &mut wants);
                self.fulfil(moment, number, wants);
            }
        }
        self.commutators.advance(moment.mono);
        self.settle(moment);
    }

    /// When something is to be done next, if nothing is received before.
    pub fn next_time(&self) -> Mono {
        let doorways = self.doorways.iter().map(Doorway::next_time).min().unwrap_or(Mono::NEVER);
        doorways.min(self.schedule.next_time()).min(self.commutators.next_time())
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
            .doorways
            .get(number)
            .and_then(|doorway| doorway.settings.lock)
            .ok_or(UnlockRefused::NoLock)?;
        self.request_unlock(moment, number, tenths.unwrap_or(lock.open), by, Some(request), caused);
        self.settle(moment);
        Ok(())
    }

    /// Measures the line of a flat, by its number on the door; ends in [`Output::Measured`] with `request`. `caused`:
    /// when it was asked for, which its two seconds count from.
    ///
    /// # Errors
    /// No panel here has a line of that flat.
    pub fn measure(
        &mut self,
        moment: &Moment<'_>,
        (intercom, flat): (u64, u64),
        request: u64,
        caused: Mono,
    ) -> Result<(), UnknownFlat> {
        let is_of = |number: usize| {
            self.doorways.get(number).is_some_and(|doorway| doorway.settings.intercom == intercom)
        };
        let (number, line) = self.commutators.find(flat, is_of).ok_or(UnknownFlat)?;
        let token = self.token(Pending::Measure { request });
        let until = caused + MEASURE_EXPIRES;
        self.commutators.measure(request, number, line, until);
        if let Some(driver) = self.schedule.driver(number) {
            driver.request(moment.mono, token, &Request::Measure { line }, until);
        }
        self.settle(moment);
        Ok(())
    }

    /// What the cloud says of flats now. Gives the panels and flats whose own resistances cannot be used because
    /// thresholds would not ascend; the panel's stay in force there.
    pub fn set_flats(&mut self, moment: &Moment<'_>, flats: &FlatLines) -> Vec<(Name, u64)> {
        let mut unusable = Vec::new();
        for (number, doorway) in self.doorways.iter().enumerate() {
            let DoorwaySettings { panel, intercom, .. } = &doorway.settings;
            let flats = self.commutators.set_flats(moment, number, *intercom, flats);
            unusable.extend(flats.into_iter().map(|flat| (panel.clone(), flat)));
            if let Some(driver) = self.schedule.driver(number) {
                driver.set_enables(self.commutators.enables(number));
            }
        }
        self.settle(moment);
        unusable
    }

    /// The answer to [`Keep::Key`] that is not proven.
    pub fn key_stored(&mut self, moment: &Moment<'_>, panel: usize, stored: bool) {
        if let Some(driver) = self.schedule.driver(panel) {
            driver.key_stored(moment.mono, stored);
        }
        self.settle(moment);
    }

    /// Lets a swapped panel in by the default key. `None`: no such panel here; `false`: it has no secure channel.
    pub fn arm_pairing(&mut self, panel: &Name, until: Mono) -> Option<bool> {
        let number = self.number_of(panel)?;
        self.schedule.driver(number).map(|driver| driver.arm_pairing(until))
    }

    /// The port was closed and opened again.
    pub fn reopened(&mut self, moment: &Moment<'_>) {
        self.schedule.reopened(moment.mono);
        self.settle(moment);
    }

    /// When any panel last answered.
    pub fn last_heard(&self) -> Mono {
        self.schedule.last_heard()
    }

    /// The line's counters.
    pub fn stats(&self) -> LineStats {
        self.schedule.stats()
    }

    /// The status of every panel.
    pub fn statuses(&mut self, moment: &Moment<'_>) -> Vec<PanelStatus> {
        let mut statuses = Vec::with_capacity(self.doorways.len());
        for (number, doorway) in self.doorways.iter().enumerate() {
            let heard = self.schedule.driver(number).and_then(|driver| driver.last_heard());
            let last_seen = heard.and_then(|at| moment.wall.checked_sub(moment.mono.since(at)).ok());
            statuses.push(doorway.status(last_seen));
        }
        statuses
    }

    /// What is known of every line.
    pub fn lines(&self) -> Vec<KnownLine> {
        self.commutators.lines().collect()
    }

    /// By how much the lines of each panel that has some are read less often than they should be: 1 is as they should.
    pub fn stretches(&mut self) -> Vec<(Name, f64)> {
        let mut stretches = Vec::new();
        for (number, doorway) in
            self.doorways.iter().enumerate().filter(|(number, _)| self.commutators.has(*number))
        {
            let stretch = self.schedule.driver(number).and_then(|driver| driver.stretch());
            stretches.extend(stretch.map(|stretch| (doorway.settings.panel.clone(), stretch)));
        }
        stretches
    }

    /// The name of a panel by its number.
    pub fn panel_name(&self, number: usize) -> Option<Name> {
        self.doorways.get(number).map(|doorway| doorway.settings.panel.clone())
    }

    fn number_of(&self, panel: &Name) -> Option<usize> {
        self.doorways.iter().position(|doorway| doorway.settings.panel == *panel)
    }

    /// Takes everything that the panels have to tell.
    fn settle(&mut self, moment: &Moment<'_>) {
        for number in 0..self.doorways.len() {
            while let Some(event) = self.schedule.driver(number).and_then(Driver::poll_event) {
                match event {
                    panel::Event::Done { token, result } => self.request_done(moment, token, result),
                    panel::Event::Lines { first, raws } => {
                        self.commutators.sampled(moment, number, first, &raws)
                    }
                    panel::Event::LinesMissing { first, count } => {
                        self.commutators.missing(moment, number, first, count);
                    }
                    event => {
                        let mut wants = Vec::new();
                        if let Some(doorway) = self.doorways.get_mut(number) {
                            doorway.handle(moment, event, &mut wants);
                        }
                        self.fulfil(moment, number, wants);
                    }
                }
            }
        }
        self.fulfil_boards(moment.mono);
    }

    fn fulfil_boards(&mut self, now: Mono) {
        while let Some(want) = self.commutators.poll_want(now) {
            match want {
                commutators::Want::Event(body) => self.outputs.push_back(Output::Event(body)),
                commutators::Want::Changed => self.outputs.push_back(Output::LinesChanged),
                commutators::Want::ReadAgain { panel, line, at } => {
                    if let Some(driver) = self.schedule.driver(panel) {
                        driver.read_again(line, at);
                    }
                }
                commutators::Want::Measured { request, result } => {
                    self.outputs.push_back(Output::Measured { request, result });
                }
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
                    let lock = self.doorways.get(number).and_then(|doorway| doorway.settings.lock);
                    if let Some(lock) = lock {
                        self.request_unlock(moment, number, lock.open, by, None, moment.mono);
                    }
                }
                Want::Feedback { reader, granted, tenths } => {
                    let token = self.token(Pending::Feedback);
                    if let Some(driver) = self.schedule.driver(number) {
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
        let token = self.token(Pending::Unlock { doorway: number, by: by.clone(), tenths, request });
        let expires = caused + UNLOCK_EXPIRES;
        let Some(doorway) = self.doorways.get_mut(number) else { return };
        // From the request on: the panel may have taken it though its acknowledgement is lost.
        doorway.door.unlocked(moment.mono, by, expires + seconds(tenths));
        let Some(lock) = doorway.settings.lock else { return };
        if let Some(driver) = self.schedule.driver(number) {
            let unlock = Request::Unlock { output: lock.output, active: lock.active, tenths };
            driver.request(moment.mono, token, &unlock, expires);
        }
    }

    fn request_done(&mut self, moment: &Moment<'_>, token: Token, result: Result<(), Failure>) {
        let (number, by, tenths, request) = match self.pending.remove(&token) {
            Some(Pending::Unlock { doorway, by, tenths, request }) => (doorway, by, tenths, request),
            Some(Pending::Measure { request }) => return self.commutators.measured(request, result),
            Some(Pending::Feedback) | None => return,
        };
        let Some(doorway) = self.doorways.get_mut(number) else { return };
        let (panel, intercom) = (doorway.settings.panel.clone(), doorway.settings.intercom);
        let duration = f64::from(tenths.get()) / 10.0;
        let body = match result {
            Ok(()) => {
                doorway.door.unlocked(moment.mono, by.clone(), moment.mono + seconds(tenths));
                EventBody::DoorUnlocked(DoorUnlocked { panel, intercom, by, duration })
            }
            Err(failure) => {
                // Not confirmed is not certain: the panel may have done it.
                if failure != Failure::Unconfirmed {
                    doorway.door.not_unlocked(&by);
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
