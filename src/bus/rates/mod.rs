//! The rate of a line with `baud = "auto"`: found, and on an OSDP line raised to the fastest that every panel holds.
//! Deterministic: takes its time from the caller.
//!
//! ```text
//!  Finding ─► Steady(home) ── all are well ──► Raising: written down ─► one panel after the other, by COMSET ─► trial
//!                 ▲  ▲                                │                          │                                │
//!                 │  └─── everybody is brought home ──┴──── refused, lost, damaged ┴───────── anything lost ──────┤
//!                 └──────────────────────────── home is the new rate ◄──────────────────────── nothing lost ──────┘
//! ```
//! Each panel is asked at the rate that it is at, turn by turn, so doors open on a line that is between two rates, and one that
//! has lost its rate, or was swapped, is brought along like any other: what stands here decides where panels should be, and
//! [`crate::panel::osdp`] where each is looked for.
//!
//! Invariants: one panel at a time is on its way. Nothing is raised before it is written down from where to where, and nothing
//! depends on that: without it all rates are tried.

mod modbus;
mod words;

use std::{collections::BTreeSet, time::Duration};

use litemap::LiteMap;

pub(super) use self::words::{Act, Seen};
pub use self::words::{Cause, KeptRate, Said};
use super::schedule::Exchanges;
use crate::{
    domain::Mono,
    panel::osdp::{self, Bearing, RATES, Unmoved},
};

/// After the first panel was found the others have this long to be found, before it is said what the line's rate is.
const FOUND_WITHIN: Duration = Duration::from_secs(10);
/// All panels are well for this long before the line is raised by one step.
const WELL_FOR: Duration = Duration::from_secs(5);
/// Answers at the new rate that a panel gives before it counts as arrived, and at the line's own.
const ANSWERS: u32 = 10;
const ANSWERS_AT_HOME: u32 = 3;
/// Exchanges of each panel without a loss that make a rate the line's.
const TRIAL: u64 = 100;
/// A rate that was not held is not tried again for this long: panels write their flash at each change.
const NOT_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// A raise that comes to nothing for other reasons is not tried again for this long.
const LATER: Duration = Duration::from_secs(600);
/// What is begun is given up after this long.
const LONGEST: Duration = Duration::from_secs(600);
/// How long a panel that did not come home is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(2);
const REFUSED_LEFT_ALONE: Duration = Duration::from_secs(3600);
/// How often in a row a panel is told to come home before the line comes to it.
const TRIES_HOME: u32 = 3;
/// How often it is looked how panels are.
const LOOK: Duration = Duration::from_millis(100);
/// A rate that the line does not go beyond for a time.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// The slowest that is not tried.
    below: u32,
    cause: Cause,
    until: Mono,
}

#[derive(Debug)]
struct Raise {
    to: u32,
    /// Somebody measures there: nothing that is lost is the end of it, and all come home when he has done.
    is_held: bool,
    begun: Mono,
    /// The version of what is kept that has to be on the disk first.
    version: u64,
    /// What each panel had answered and lost when it arrived.
    arrived: LiteMap<usize, Exchanges>,
}

/// The rate of one line.
pub(super) struct Rates {
    is_modbus: bool,
    /// Those that may be, the slowest first.
    rates: Vec<u32>,
    kept: Option<KeptRate>,
    /// How often what is kept has changed, and what of it is on the disk.
    version: u64,
    stored: u64,
    home: Option<u32>,
    /// Every panel has held that, now or in an earlier run.
    is_proven: bool,
    begun: Option<Mono>,
    first_found: Option<Mono>,
    expected: Option<u32>,
    known: BTreeSet<usize>,
    raise: Option<Raise>,
    /// Why the panels did not come to the rate at which somebody wanted to measure.
    not_held: Option<(u32, Cause)>,
    /// Somebody measures the line: it is not raised meanwhile.
    is_measured: bool,
    /// The panel that has to be well before the line is raised, and whether it is never told another rate.
    waits_for: Option<(usize, bool)>,
    limit: Option<Limit>,
    /// Who is on its way, and since when.
    moving: Option<(usize, u32, Mono)>,
    /// Panels that are left alone where they are, for a time.
    left_alone: LiteMap<usize, Mono>,
    /// How often each panel in a row was not brought home.
    failures: LiteMap<usize, u32>,
    /// Panels that stay where they are: why, and where that is.
    fixed: LiteMap<usize, (Unmoved, Option<u32>)>,
    well_since: Option<Mono>,
    looked: Mono,
    /// Modbus: the rate that is tried, the how manieth it is, since when.
    tried: (usize, Mono),
}

impl Rates {
    /// Returns those of a line that was left so.
    pub(super) fn new(is_modbus: bool, rates: Vec<u32>, kept: Option<KeptRate>, now: Mono) -> Self {
        Self {
            is_modbus,
            rates,
            kept,
            version: 0,
            stored: 0,
            home: kept.filter(|_| is_modbus).map(|kept| kept.baud),
            is_proven: false,
            begun: None,
            first_found: None,
            expected: None,
            known: BTreeSet::new(),
            raise: None,
            not_held: None,
            is_measured: false,
            waits_for: None,
            limit: None,
            moving: None,
            left_alone: LiteMap::new(),
            failures: LiteMap::new(),
            fixed: LiteMap::new(),
            well_since: None,
            looked: Mono::ZERO,
            tried: (0, now),
        }
    }

    /// The line's rate; `None`: it is not found yet.
    pub(super) fn home(&self) -> Option<u32> {
        self.home
    }

    /// Why the line is not faster than it is, where something was tried.
    pub(super) fn limit(&self) -> Option<(u32, Cause)> {
        self.limit.map(|limit| (limit.below, limit.cause))
    }

    /// The panel that keeps the line from being raised, and whether it is never told another rate.
    pub(super) fn waits_for(&self) -> Option<(usize, bool)> {
        self.waits_for
    }

    /// Sets the rates that the port takes.
    pub(super) fn set_rates(&mut self, rates: Vec<u32>) {
        self.rates = rates;
    }

    /// Sets whether somebody measures the line, so that it is to stay as it is.
    pub(super) fn set_measured(&mut self, is_measured: bool) {
        self.is_measured = is_measured;
    }

    /// Has all panels go to a rate, for somebody who measures there, until [`Rates::release`]. Returns whether that is begun: it
    /// is not while the line is between two rates.
    pub(super) fn hold(&mut self, now: Mono, to: u32) -> (bool, Vec<Act>) {
        let mut acts = Vec::new();
        let Some(home) = self.home.filter(|_| !self.is_modbus) else { return (false, acts) };
        if self.raise.is_some() || self.moving.is_some() || to == home || !self.rates.contains(&to) {
            return (false, acts);
        }
        self.keep(KeptRate { baud: home, to: Some(to) }, &mut acts);
        self.not_held = None;
        let (version, arrived) = (self.version, LiteMap::new());
        self.raise = Some(Raise { to, is_held: true, begun: now, version, arrived });
        (true, acts)
    }

    /// Whether all panels are at the rate that is held; why they are not, where they come home.
    pub(super) fn held(&self, seen: &[usize]) -> Result<bool, (u32, Cause)> {
        if let Some(why) = self.not_held {
            return Err(why);
        }
        let arrived = |raise: &Raise| seen.iter().all(|number| raise.arrived.contains_key(number));
        Ok(self.raise.as_ref().is_some_and(arrived))
    }

    /// Has all panels come home, and forgets what was not held before: the cable may be another.
    pub(super) fn release(&mut self) {
        self.raise.take_if(|raise| raise.is_held);
        (self.not_held, self.limit, self.well_since) = (None, None, None);
        self.left_alone.clear();
    }

    /// The other rates at which the line can be measured.
    pub(super) fn others(&self) -> Vec<u32> {
        self.rates.iter().copied().filter(|rate| Some(*rate) != self.home && !self.is_modbus).collect()
    }

    /// Notes that what is kept is on the disk.
    pub(super) fn stored(&mut self, version: u64) {
        self.stored = self.stored.max(version);
    }

    /// When [`Rates::look`] has something to do.
    pub(super) fn next_time(&self) -> Mono {
        if self.looked == Mono::ZERO { Mono::ZERO } else { self.looked + LOOK }
    }

    /// Has all panels looked at anew at once: one has come.
    pub(super) fn look_again(&mut self) {
        self.looked = Mono::ZERO;
    }

    /// Looks how the panels are, and says what is to be done.
    pub(super) fn look(&mut self, now: Mono, seen: &[Seen]) -> Vec<Act> {
        let mut acts = Vec::new();
        self.looked = now;
        if self.is_modbus {
            self.find_modbus(now, seen, &mut acts);
            self.known.extend(seen.iter().map(|seen| seen.number));
            return acts;
        }
        self.welcome(seen, &mut acts);
        if self.home.is_none() {
            self.find(now, seen, &mut acts);
        }
        let Some(home) = self.home else { return acts };
        if let Some((number, _, since)) = self.moving {
            let is_gone = !seen.iter().any(|seen| seen.number == number);
            if !is_gone && now < since + LONGEST {
                // A panel that goes away on its way is the end of a raise; its own way goes on.
                if let Some(away) = self.away(seen)
                    && self.raise.is_some()
                {
                    self.fail(now, Cause::Away(away), LATER, &mut acts);
                }
                return acts;
            }
            self.moving = None;
        }
        if self.raise.is_some() {
            self.go_on(now, seen, &mut acts);
            return acts;
        }
        self.bring_home(now, home, seen, &mut acts);
        self.raise(now, home, seen, &mut acts);
        acts
    }

    /// Takes note of what became of a panel that was to take a rate.
    pub(super) fn moved(
        &mut self,
        now: Mono,
        number: usize,
        to: u32,
        result: Result<(), Unmoved>,
        exchanges: Exchanges,
    ) -> Vec<Act> {
        let mut acts = Vec::new();
        self.moving.take_if(|(moving, ..)| *moving == number);
        match (&mut self.raise, result) {
            (Some(raise), Ok(())) if raise.to == to => {
                raise.arrived.insert(number, exchanges);
            }
            (Some(raise), Err(unmoved)) if raise.to == to => {
                // It may have been in the middle of a restart, which says nothing of the rate.
                let pause = if unmoved == Unmoved::Unheard { LATER } else { NOT_AGAIN };
                self.fail(now, Cause::Unmoved(number, unmoved), pause, &mut acts);
            }
            (_, Ok(())) => {
                self.fixed.remove(&number);
                self.failures.remove(&number);
            }
            (_, Err(unmoved)) => {
                let failures = self.failures.entry(number).or_default();
                *failures = failures.saturating_add(1);
                let is_final =
                    !matches!(unmoved, Unmoved::Lossy | Unmoved::Unheard) || *failures >= TRIES_HOME;
                let pause = if is_final { REFUSED_LEFT_ALONE } else { LEFT_ALONE };
                self.left_alone.insert(number, now + pause);
                if is_final {
                    self.failures.remove(&number);
                    self.fixed.insert(number, (unmoved, None));
                }
            }
        }
        acts
    }

    /// Has new panels looked for where they may be.
    fn welcome(&mut self, seen: &[Seen], acts: &mut Vec<Act>) {
        for Seen { number, .. } in seen {
            if self.known.insert(*number) {
                let kept = self.kept;
                let home = self.home.or(kept.map(|kept| kept.baud)).unwrap_or(RATES[0]);
                let rates = osdp::Rates { home, other: kept.and_then(|kept| kept.to) };
                acts.push(Act::Seek { number: *number, rates, is_certain: self.is_proven });
            }
        }
        self.known.retain(|number| seen.iter().any(|seen| seen.number == *number));
    }

    /// Says where the line is, once its panels are found.
    fn find(&mut self, now: Mono, seen: &[Seen], acts: &mut Vec<Act>) {
        // One answer may be one of many that were lost.
        let is_found = |bearing: &Bearing| bearing.is_online;
        let found: Vec<u32> = seen.iter().filter_map(|seen| seen.bearing.filter(is_found)?.baud).collect();
        let begun = *self.begun.get_or_insert(now);
        let Some(slowest) = found.iter().copied().min() else {
            // The line was there before, even if no panel answers now.
            if let Some(kept) = self.kept.filter(|_| now >= begun + FOUND_WITHIN * 2) {
                self.is_proven = true;
                self.settle(kept.baud, seen, acts);
            }
            return;
        };
        let since = *self.first_found.get_or_insert(now);
        if found.len() < seen.len() && now < since + FOUND_WITHIN {
            if self.expected != Some(slowest) {
                self.expected = Some(slowest);
                let rates = osdp::Rates { home: slowest, other: None };
                let seek = |seen: &Seen| Act::Seek { number: seen.number, rates, is_certain: false };
                acts.extend(seen.iter().map(seek));
            }
            return;
        }
        // Where all are on their way to another rate, it is from there that they come.
        let is_it =
            |kept: &KeptRate| found.contains(&kept.baud) || found.iter().all(|baud| Some(*baud) == kept.to);
        let kept = self.kept.filter(is_it).map(|kept| kept.baud);
        let home = kept.unwrap_or(slowest);
        self.is_proven = kept.is_some();
        self.settle(home, seen, acts);
        acts.push(Act::Say(Said::Found(home)));
        let to = self.kept.and_then(|kept| kept.to).filter(|to| *to != home);
        self.keep(KeptRate { baud: home, to }, acts);
    }

    /// Makes a rate the line's.
    fn settle(&mut self, home: u32, seen: &[Seen], acts: &mut Vec<Act>) {
        self.home = Some(home);
        acts.push(Act::Line(home));
        let rates = osdp::Rates { home, other: None };
        let is_certain = self.is_proven;
        acts.extend(seen.iter().map(|seen| Act::Seek { number: seen.number, rates, is_certain }));
    }

    fn keep(&mut self, kept: KeptRate, acts: &mut Vec<Act>) {
        if self.kept != Some(kept) {
            self.kept = Some(kept);
            self.version = self.version.saturating_add(1);
            acts.push(Act::Keep(kept, self.version));
        }
    }

    /// Brings one panel that is elsewhere to the line's rate; or the line to a panel that does not come.
    fn bring_home(&mut self, now: Mono, home: u32, seen: &[Seen], acts: &mut Vec<Act>) {
        self.left_alone.retain(|_, until| *until > now);
        let elsewhere = |seen: &&Seen| {
            let bearing = seen.bearing.filter(|bearing| bearing.baud.is_some_and(|baud| baud != home));
            bearing.is_some_and(|bearing| bearing.is_ready)
        };
        let stray = seen.iter().filter(elsewhere).find(|seen| !self.left_alone.contains_key(&seen.number));
        if let Some(Seen { number, .. }) = stray {
            self.moving = Some((*number, home, now));
            return acts.push(Act::Move { number: *number, to: home, answers: ANSWERS_AT_HOME });
        }
        let is_home = |seen: &Seen| seen.bearing.and_then(|bearing| bearing.baud) == Some(home);
        for Seen { number, bearing, .. } in seen {
            if let (Some((_, place)), Some(baud)) =
                (self.fixed.get_mut(number), bearing.and_then(|bearing| bearing.baud))
            {
                *place = Some(baud);
            }
        }
        self.fixed.retain(|number, (_, place)| {
            *place != Some(home) && seen.iter().any(|seen| seen.number == *number)
        });
        // A panel that stays where it is has the line come to it, where it is slower: every panel holds that.
        let places = self.fixed.iter().filter_map(|(number, (why, place))| Some(((*place)?, *number, *why)));
        if let Some((place, number, why)) = places.min_by_key(|(place, ..)| *place)
            && place < home
        {
            let cause = Cause::Unmoved(number, why);
            self.limit = Some(Limit { below: home, cause, until: now + NOT_AGAIN });
            self.left_alone.clear();
            self.is_proven = false;
            acts.push(Act::Say(Said::Held(place, home, cause)));
            self.settle(place, seen, acts);
            return self.keep(KeptRate { baud: place, to: Some(home) }, acts);
        }
        if seen.iter().all(is_home) {
            self.keep(KeptRate { baud: home, to: None }, acts);
            let is_online = |seen: &Seen| seen.bearing.is_some_and(|bearing| bearing.is_online);
            if !self.is_proven && seen.iter().all(is_online) {
                self.is_proven = true;
                self.settle(home, seen, acts);
            }
        }
    }

    /// Begins to raise the line by one step, where all is well and a faster rate has not failed.
    fn raise(&mut self, now: Mono, home: u32, seen: &[Seen], acts: &mut Vec<Act>) {
        self.limit.take_if(|limit| limit.until <= now);
        let is_well = |seen: &Seen| {
            seen.bearing.is_some_and(|bearing| {
                bearing.baud == Some(home) && bearing.is_ready && !bearing.is_unlocking
            })
        };
        let next = self.rates.iter().copied().find(|rate| *rate > home);
        let waits_for = |seen: &Seen| {
            let Bearing { is_plain, is_online, .. } = seen.bearing?;
            (is_plain || !is_online).then_some((seen.number, is_plain))
        };
        self.waits_for = next.and_then(|_| seen.iter().find_map(waits_for));
        if self.is_measured || self.moving.is_some() || seen.is_empty() || !seen.iter().all(is_well) {
            self.well_since = None;
            return;
        }
        if now < *self.well_since.get_or_insert(now) + WELL_FOR {
            return;
        }
        let Some(to) = next.filter(|to| self.limit.is_none_or(|limit| *to < limit.below)) else { return };
        self.keep(KeptRate { baud: home, to: Some(to) }, acts);
        let (version, arrived) = (self.version, LiteMap::new());
        self.raise = Some(Raise { to, is_held: false, begun: now, version, arrived });
        acts.push(Act::Say(Said::Raising(to)));
    }

    /// Goes on with a raise.
    fn go_on(&mut self, now: Mono, seen: &[Seen], acts: &mut Vec<Act>) {
        let away = self.away(seen);
        let Some(raise) = &self.raise else { return };
        if now >= raise.begun + LONGEST || (self.stored < raise.version && now >= raise.begun + LATER / 20) {
            return self.fail(now, Cause::NotKept, LATER, acts);
        }
        if let Some(away) = away {
            return self.fail(now, Cause::Away(away), LATER, acts);
        }
        if self.stored < raise.version {
            return;
        }
        let lost = seen.iter().find(|seen| {
            let then = raise.arrived.get(&seen.number);
            then.is_some_and(|then| seen.exchanges.lost > then.lost) && !raise.is_held
        });
        if let Some(Seen { number, .. }) = lost {
            return self.fail(now, Cause::Lost(*number), NOT_AGAIN, acts);
        }
        let (to, arrived) = (raise.to, &raise.arrived);
        if let Some(next) = seen.iter().find(|seen| !arrived.contains_key(&seen.number)) {
            if next.bearing.is_some_and(|bearing| bearing.is_ready) {
                self.moving = Some((next.number, to, now));
                acts.push(Act::Move { number: next.number, to, answers: ANSWERS });
            }
            return;
        }
        if raise.is_held {
            return;
        }
        let has_held = |seen: &Seen| {
            let then = arrived.get(&seen.number).map_or(u64::MAX, |then| then.answered);
            let is_there = seen.bearing.is_some_and(|bearing| bearing.is_ready && bearing.baud == Some(to));
            is_there && seen.exchanges.answered.saturating_sub(then) >= TRIAL
        };
        if seen.iter().all(has_held) {
            self.raise = None;
            self.well_since = None;
            self.is_proven = true;
            self.settle(to, seen, acts);
            self.keep(KeptRate { baud: to, to: None }, acts);
            acts.push(Act::Say(Said::Raised(to)));
        }
    }

    /// A panel that is not online any more.
    fn away(&self, seen: &[Seen]) -> Option<usize> {
        let is_away = |seen: &&Seen| seen.bearing.is_some_and(|bearing| !bearing.is_online);
        seen.iter().find(is_away).map(|seen| seen.number)
    }

    /// Ends a raise: everybody is brought home.
    fn fail(&mut self, now: Mono, cause: Cause, pause: Duration, acts: &mut Vec<Act>) {
        let (Some(raise), Some(home)) = (self.raise.take(), self.home) else { return };
        self.well_since = None;
        if raise.is_held {
            self.not_held = Some((raise.to, cause));
            return;
        }
        self.limit = Some(Limit { below: raise.to, cause, until: now + pause });
        acts.push(Act::Say(Said::Held(home, raise.to, cause)));
    }
}
