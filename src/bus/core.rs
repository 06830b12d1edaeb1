//! A line with its doorways: everything of a bus that can be tested without a port or a clock. Deterministic: takes its time
//! from the caller, and returns what is to be done as [`Output`]s.
//!
//! ```text
//!  bytes ─► Schedule ─► panel events ─┬─► Doorway ─────┬─► Effects ─┬─► Output  (the shell performs them)
//!              ▲                      └─► Commutators ─┘            └─► back to the panels, before the next turn
//!              └───────────────────────────────────────────────────────────┘
//!
//!  Running ── stop ──► Stopping: what is asked for is refused, what waits fails, coils are shut,
//!                      what is on the wire is finished ──► quiet
//! ```
//! A single panel goes the same way while the others run on: `retire`, `is_retired`, `remove`; another is taken by `add`.
//!
//! Invariants: what a reply leads to is done before the next turn is chosen, so an unlock waits for nobody's poll. Each
//! unlock, each measurement and each panel that is to blink ends exactly once, whatever happens.

use std::{num::NonZeroU16, time::Duration};

use litemap::LiteMap;

pub use super::effects::{Moment, Output};
use super::{
    commutators::Commutators,
    doorway::{Doorway, DoorwaySettings},
    effects::{Back, Effects, Purpose, Unlock},
    rates::{KeptRate, Rates},
    refused::{PairRefused, RekeyRefused, UnknownFlat, UnknownPanel, UnlockRefused},
    schedule::{Schedule, Timing},
};
use crate::{
    domain::{Mono, Name, event::UnlockedBy, order},
    lines::{Commutator, FlatLines},
    panel::{
        self, Driver, Failure, Request, Token,
        osdp::{self, PanelKey},
    },
    survey::Walk,
};

/// An unlock that its panel has not taken within this time of its cause is withdrawn (contract §5).
pub const UNLOCK_EXPIRES: Duration = Duration::from_secs(2);
/// A measurement that its panel has not made within this time of being asked for is withdrawn.
pub const MEASURE_EXPIRES: Duration = Duration::from_secs(2);
/// A panel that has not begun to blink within this time of being asked to is asked no more.
const IDENTIFY_EXPIRES: Duration = Duration::from_secs(2);

/// A panel of the line, with what hangs on it.
pub struct Panel {
    /// Towards the door.
    pub doorway: DoorwaySettings,
    /// Towards the line: its protocol.
    pub driver: Driver,
    /// Towards handsets, where it has lines.
    pub commutator: Option<Commutator>,
}

/// A panel without lines.
impl From<(DoorwaySettings, Driver)> for Panel {
    fn from((doorway, driver): (DoorwaySettings, Driver)) -> Self {
        Self { doorway, driver, commutator: None }
    }
}

/// A bus without its port.
pub struct Core {
    pub(super) schedule: Schedule,
    /// By the panels' numbers; one that was taken away leaves its number to nobody.
    pub(super) doorways: Vec<Option<Doorway>>,
    /// The numbers in the order in which the panels are shown.
    pub(super) shown: Vec<usize>,
    pub(super) commutators: Commutators,
    pub(super) effects: Effects,
    /// Requests whose end concerns somebody, with the panel's number.
    pending: LiteMap<Token, (usize, Purpose)>,
    /// Where the configuration leaves the line's rate to us.
    pub(super) rates: Option<Rates>,
}

impl Core {
    /// Makes a bus whose panels have not been heard yet.
    pub fn new(timing: Timing, panels: Vec<impl Into<Panel>>, moment: &Moment<'_>) -> Self {
        let mut core = Self {
            schedule: Schedule::new(timing, Vec::new(), moment.mono),
            doorways: Vec::with_capacity(panels.len()),
            shown: Vec::with_capacity(panels.len()),
            commutators: Commutators::new(Vec::new()),
            effects: Effects::default(),
            pending: LiteMap::new(),
            rates: None,
        };
        for panel in panels {
            core.place(moment, panel.into());
        }
        core
    }

    /// Takes a panel that has not been heard yet. Returns its number: they count up from 0, and none is used twice.
    pub fn add(&mut self, moment: &Moment<'_>, panel: impl Into<Panel>) -> usize {
        let number = self.place(moment, panel.into());
        // Before it is asked for the first time.
        self.look_at_rates(moment.mono);
        self.effects.push(Output::Changed);
        self.effects.push(Output::LinesChanged);
        number
    }

    fn place(&mut self, moment: &Moment<'_>, panel: Panel) -> usize {
        let Panel { doorway, driver, commutator } = panel;
        let number = self.schedule.add(driver);
        self.doorways.push(Some(Doorway::new(doorway, number, moment.wall)));
        self.commutators.add(commutator);
        self.shown.push(number);
        if let Some(rates) = &mut self.rates {
            rates.look_again();
        }
        number
    }

    /// Begins the orderly end of one panel, as [`Core::stop`] does for all of them; the others run on. Time and bytes are to
    /// be given until [`Core::is_retired`], which is within two seconds and a turn of the line, unless a lock does not
    /// answer.
    pub fn retire(&mut self, moment: &Moment<'_>, number: usize) {
        self.schedule.retire(moment.mono, number);
        self.commutators.stop(moment.mono, |panel| panel == number);
        self.settle(moment);
    }

    /// Returns whether nothing is left to be done for a panel after [`Core::retire`].
    pub fn is_retired(&self, number: usize) -> bool {
        let is_it = |panel: usize| panel == number;
        self.schedule.is_quiet_at(number)
            && !self.pending.values().any(|(panel, _)| is_it(*panel))
            && !self.commutators.is_measuring(is_it)
    }

    /// Takes a panel away; what is still asked of it fails with [`Failure::Stopping`].
    pub fn remove(&mut self, moment: &Moment<'_>, number: usize) {
        let asked = self.pending.iter().filter(|(_, (panel, _))| *panel == number);
        let asked: Vec<Token> = asked.map(|(token, _)| *token).collect();
        for token in asked {
            self.request_done(moment.mono, token, Err(Failure::Stopping));
        }
        self.schedule.remove(moment.mono, number);
        self.commutators.remove(number, &mut self.effects);
        if let Some(doorway) = self.doorways.get_mut(number) {
            *doorway = None;
        }
        self.shown.retain(|shown| *shown != number);
        self.effects.push(Output::Changed);
        self.effects.push(Output::LinesChanged);
        self.settle(moment);
    }

    /// Shows panels in the order of these names from now on.
    pub fn arrange(&mut self, names: &[Name]) {
        let doorways = &self.doorways;
        let place = |number: &usize| {
            let doorway = doorways.get(*number).and_then(Option::as_ref);
            doorway.and_then(|doorway| names.iter().position(|name| *name == doorway.settings.panel))
        };
        order::sort_by_key(&mut self.shown, place);
    }

    /// Sets how old the last empty answer of an OSDP panel may be for a swipe to count: the line's cycle is another.
    pub fn set_stale_after(&mut self, stale_after: Duration) {
        for number in 0..self.doorways.len() {
            if let Some(panel) = self.schedule.driver(number).and_then(Driver::osdp) {
                panel.set_stale_after(stale_after);
            }
        }
    }

    /// Sends no poll before `until`: the keys are not read yet. Links are set up meanwhile.
    pub fn hold_polls(&mut self, until: Mono) {
        self.schedule.hold_polls(until);
    }

    /// Finds the line's rate, among these, and raises that of an OSDP line to the fastest that every panel holds. `kept`: how an
    /// earlier run left it.
    pub fn find_rate(&mut self, moment: &Moment<'_>, rates: Vec<u32>, kept: Option<KeptRate>) {
        let is_modbus = (0..self.doorways.len())
            .any(|number| self.schedule.driver(number).is_some_and(|driver| driver.modbus().is_some()));
        self.rates = Some(Rates::new(is_modbus, rates, kept, moment.mono));
        self.settle(moment);
    }

    /// Sets the rates that the port takes, as it is now.
    pub fn set_rates(&mut self, all: Vec<u32>) {
        if let Some(rates) = &mut self.rates {
            rates.set_rates(all);
        }
    }

    /// Takes the answer to [`Output::KeepRate`]: this version is on the disk.
    pub fn rate_stored(&mut self, moment: &Moment<'_>, version: u64) {
        if let Some(rates) = &mut self.rates {
            rates.stored(version);
        }
        self.settle(moment);
    }

    /// Returns the line's rate; `None`: it is not found yet.
    pub fn line_baud(&self) -> Option<u32> {
        self.rates.as_ref().map_or_else(|| Some(self.schedule.timing().baud), Rates::home)
    }

    /// Returns why the line is not faster than it is, where that is known.
    pub fn rate_limit(&self) -> Option<String> {
        let rates = self.rates.as_ref()?;
        match (rates.limit(), rates.waits_for()) {
            (Some((below, cause)), _) => Some(self.held(below, cause)),
            (None, Some((number, is_plain))) => {
                let name = self.panel_name(number)?;
                Some(if is_plain {
                    format!(
                        "panel {name} has secure_channel = \"off\", and outside of a secure channel no panel is told another rate"
                    )
                } else {
                    format!("panel {name} is not online, and every panel has to hold a faster rate")
                })
            }
            (None, None) => None,
        }
    }

    /// Returns the rate to which the port is to be set before what was given last is sent.
    pub fn port_baud(&self) -> u32 {
        self.schedule.baud()
    }

    /// Appends the next frame to `out` where it is time for one.
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        self.schedule.poll_transmit(now, out)
    }

    /// Takes bytes that came in.
    pub fn receive(&mut self, moment: &Moment<'_>, bytes: &[u8]) {
        self.schedule.receive(moment.mono, bytes);
        self.settle(moment);
    }

    /// Lets time pass.
    pub fn advance(&mut self, moment: &Moment<'_>) {
        self.schedule.advance(moment.mono);
        let doorways = self.doorways.iter_mut().flatten();
        for doorway in doorways.filter(|doorway| doorway.next_time() <= moment.mono) {
            doorway.advance(moment, &mut self.effects);
        }
        self.commutators.advance(moment.mono);
        self.settle(moment);
    }

    /// Begins an orderly end: from now on what is asked of panels is refused with [`Failure::Stopping`], what waits ends
    /// so, locks that the gateway times are shut, and what is on the wire is finished. Time and bytes are to be given
    /// until [`Core::is_quiet`], which is within two seconds and a turn of the line, unless a lock does not answer.
    pub fn stop(&mut self, moment: &Moment<'_>) {
        self.schedule.stop(moment.mono);
        self.commutators.stop(moment.mono, |_| true);
        self.settle(moment);
    }

    /// Whether nothing is left to be done after [`Core::stop`], but to perform its outputs.
    pub fn is_quiet(&self) -> bool {
        self.pending.is_empty() && !self.commutators.is_measuring(|_| true) && self.schedule.is_quiet()
    }

    /// Returns when something is to be done next, if nothing is received before.
    pub fn next_time(&self) -> Mono {
        let doorways = self.doorways.iter().flatten().map(Doorway::next_time).min().unwrap_or(Mono::NEVER);
        let rates = self.rates.as_ref().map_or(Mono::NEVER, Rates::next_time);
        doorways.min(self.schedule.next_time()).min(self.commutators.next_time()).min(rates)
    }

    /// Returns the next thing for the shell to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.effects.next_output()
    }

    /// Unlocks by command or token; ends in [`Output::Unlocked`] with `request`. `tenths`: units of 100 ms, by
    /// default as the lock is configured. `caused`: when it was asked for, which its two seconds count from.
    ///
    /// # Errors
    /// [`UnlockRefused`]: there is no such lock here.
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
        let doorway = self.doorways.get_mut(number).and_then(Option::as_mut);
        let doorway = doorway.ok_or(UnlockRefused::UnknownPanel)?;
        let lock = doorway.settings.lock.ok_or(UnlockRefused::NoLock)?;
        let tenths = tenths.unwrap_or(lock.open);
        let unlock = Unlock { by, caused, tenths, reader: None, request: Some(request) };
        doorway.unlock(moment.mono, unlock, &mut self.effects);
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
        let doorway = |number: usize| self.doorways.get(number)?.as_ref();
        let is_of = |number| doorway(number).is_some_and(|doorway| doorway.settings.intercom == intercom);
        let (number, line) = self.commutators.find(flat, is_of).ok_or(UnknownFlat)?;
        let until = caused + MEASURE_EXPIRES;
        self.commutators.measure(request, number, line, until);
        self.effects.ask(number, Request::Measure { line }, until, Some(Purpose::Measure(request)));
        self.settle(moment);
        Ok(())
    }

    /// Has a panel blink and beep for `tenths` of 100 ms; ends in [`Output::Identified`] with `request`. `caused`: when
    /// it was asked for, which its two seconds count from.
    ///
    /// # Errors
    /// There is no such panel here.
    pub fn identify(
        &mut self,
        moment: &Moment<'_>,
        panel: &Name,
        tenths: NonZeroU16,
        request: u64,
        caused: Mono,
    ) -> Result<(), UnknownPanel> {
        let number = self.number_of(panel).ok_or(UnknownPanel)?;
        let purpose = Some(Purpose::Identify(request));
        self.effects.ask(number, Request::Identify { tenths }, caused + IDENTIFY_EXPIRES, purpose);
        self.settle(moment);
        Ok(())
    }

    /// Takes what the cloud says of flats now. Returns the panels and flats whose own resistances cannot be used because
    /// thresholds would not ascend; the panel's stay in force there.
    pub fn set_flats(&mut self, moment: &Moment<'_>, flats: &FlatLines) -> Vec<(Name, u64)> {
        let mut unusable = Vec::new();
        for (number, doorway) in numbered(&self.shown, &self.doorways) {
            let DoorwaySettings { panel, intercom, .. } = &doorway.settings;
            let flats = self.commutators.set_flats(moment, number, *intercom, flats);
            unusable.extend(flats.into_iter().map(|flat| (panel.clone(), flat)));
            if let Some(panel) = self.schedule.driver(number).and_then(Driver::modbus) {
                panel.set_enables(self.commutators.enables(number));
            }
        }
        self.settle(moment);
        unusable
    }

    /// Takes the answer to [`Output::Keep`]: this version of the record is on the disk, synced.
    pub fn record_stored(&mut self, moment: &Moment<'_>, panel: usize, version: u64) {
        if let Some(panel) = self.schedule.driver(panel).and_then(Driver::osdp) {
            panel.record_stored(moment.mono, version);
        }
        self.settle(moment);
    }

    /// Lets a swapped panel in by the default key.
    ///
    /// # Errors
    /// [`PairRefused`]: there is no such panel here, or it has no secure channel.
    pub fn arm_pairing(&mut self, moment: &Moment<'_>, panel: &Name, until: Mono) -> Result<(), PairRefused> {
        let number = self.number_of(panel).ok_or(PairRefused::UnknownPanel)?;
        let driver = self.schedule.driver(number).ok_or(PairRefused::UnknownPanel)?;
        let armed = driver.osdp().is_some_and(|panel| panel.arm_pairing(moment.mono, until));
        self.settle(moment);
        if armed { Ok(()) } else { Err(PairRefused::NoSecureChannel) }
    }

    /// Sets another key in a panel's session: `to`, the one of the configuration, or, where that has none, a new one. Ends
    /// in [`Output::Rekeyed`] with `request`.
    ///
    /// # Errors
    /// [`RekeyRefused`]: nothing is begun.
    pub fn rekey(
        &mut self,
        moment: &Moment<'_>,
        panel: &Name,
        to: Option<PanelKey>,
        request: u64,
    ) -> Result<(), RekeyRefused> {
        let number = self.number_of(panel).ok_or(RekeyRefused::UnknownPanel)?;
        let driver = self.schedule.driver(number).ok_or(RekeyRefused::UnknownPanel)?;
        let token = self.effects.token();
        driver.osdp().ok_or(osdp::RekeyRefused::NoSecureChannel)?.rekey(moment.mono, token, to)?;
        self.pending.insert(token, (number, Purpose::Rekey(request)));
        self.settle(moment);
        Ok(())
    }

    /// Takes note that the port was closed and opened again, perhaps with another adapter.
    pub fn reopened(&mut self, moment: &Moment<'_>, timing: Timing) {
        self.schedule.reopened(moment.mono, timing);
        self.settle(moment);
    }

    /// Lets somebody ask addresses of the line that are no panel's.
    pub fn invite(&mut self, guest: Walk) {
        self.schedule.invite(guest);
    }

    /// Returns the guest, while there is one.
    pub fn guest(&mut self) -> Option<&mut Walk> {
        self.schedule.guest()
    }

    /// Gives the guest no turn any more.
    pub fn dismiss(&mut self) {
        self.schedule.dismiss();
    }

    /// Begins to examine the line anew: what is counted is beside its statistics.
    pub fn examine(&mut self) {
        self.schedule.examine();
        if let Some(rates) = &mut self.rates {
            rates.set_measured(true);
        }
    }

    /// Ends the examination.
    pub fn end_examination(&mut self) {
        self.schedule.end_examination();
        if let Some(rates) = &mut self.rates {
            rates.set_measured(false);
        }
    }

    /// Takes everything that the panels have to tell, and gives back what it leads to.
    fn settle(&mut self, moment: &Moment<'_>) {
        self.hand_back(moment);
        for number in 0..self.doorways.len() {
            while let Some(event) = self.schedule.driver(number).and_then(Driver::poll_event) {
                self.handle(moment, number, event);
                self.hand_back(moment);
            }
        }
        self.commutators.settle(moment.mono, &mut self.effects);
        self.hand_back(moment);
        self.look_at_rates(moment.mono);
    }

    fn handle(&mut self, moment: &Moment<'_>, number: usize, event: panel::Event) {
        match event {
            panel::Event::Done { token, result } => self.request_done(moment.mono, token, result),
            panel::Event::Lines { first, raws } => self.commutators.sampled(moment, number, first, &raws),
            panel::Event::Moved { to, result } => {
                let exchanges = self.schedule.exchanges(number);
                let moved = |rates: &mut Rates| rates.moved(moment.mono, number, to, result, exchanges);
                let acts = self.rates.as_mut().map(moved).unwrap_or_default();
                self.do_for_rate(acts);
            }
            panel::Event::LinesMissing { first, count } => {
                self.commutators.missing(moment, number, first, count);
            }
            event => {
                if let Some(doorway) = self.doorways.get_mut(number).and_then(Option::as_mut) {
                    doorway.handle(moment, event, &mut self.effects);
                }
            }
        }
    }

    fn hand_back(&mut self, moment: &Moment<'_>) {
        while let Some((number, back)) = self.effects.next_back() {
            let Some(driver) = self.schedule.driver(number) else { continue };
            match back {
                Back::ReadAgain { line, at } => {
                    if let Some(panel) = driver.modbus() {
                        panel.read_again(line, at);
                    }
                }
                Back::Ask { token, request, expires, purpose } => {
                    if let Some(purpose) = purpose {
                        self.pending.insert(token, (number, purpose));
                    }
                    driver.request(moment.mono, token, &request, expires);
                }
            }
        }
    }

    fn request_done(&mut self, now: Mono, token: Token, result: Result<(), Failure>) {
        match self.pending.remove(&token) {
            Some((number, Purpose::Unlock(unlock))) => {
                if let Some(doorway) = self.doorways.get_mut(number).and_then(Option::as_mut) {
                    doorway.unlock_done(now, token, unlock, result, &mut self.effects);
                }
            }
            Some((_, Purpose::Measure(request))) => {
                self.commutators.measured(request, result, &mut self.effects);
            }
            Some((_, Purpose::Rekey(request))) => {
                self.effects.push(Output::Rekeyed { request, result });
            }
            Some((_, Purpose::Identify(request))) => {
                self.effects.push(Output::Identified { request, result });
            }
            None => {}
        }
    }
}

/// The doorways in the order in which they are shown, with their numbers.
pub(super) fn numbered<'a>(
    shown: &'a [usize],
    doorways: &'a [Option<Doorway>],
) -> impl Iterator<Item = (usize, &'a Doorway)> {
    shown.iter().filter_map(|number| Some((*number, doorways.get(*number)?.as_ref()?)))
}
