//! What a panel says in its turn.

use std::time::Duration;

use super::{
    Class, PROBE_BACKOFF, Panel, REPLY_TIMEOUT, frame,
    keys::Want,
    lock::Work,
    plan::{Block, table},
    suspects::Trust,
};
use crate::{
    domain::{Mono, PanelState, profile::LockProfile},
    panel::{Pace, Token, Turn},
    wire::modbus::{Request, Table},
};

/// A request on the wire.
pub(super) struct InFlight {
    pub(super) job: Job,
    pub(super) request: Request,
    /// The frame, as an echo would bring it back.
    pub(super) bytes: Vec<u8>,
    /// Its echo was heard.
    pub(super) echoed: bool,
    pub(super) sent: Mono,
}

/// Why a request is sent, which is what its answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Lock(Work),
    Identity,
    /// Takes a code off the queue.
    Next,
    Code,
    /// The block with this number.
    Block(usize),
    /// Lines whose sample is wanted again.
    Again,
    Measure(Token),
    Enable,
    /// Whatever can be told from the answers that may still come late, or tells whether the line echoes.
    Sound,
}

/// Of the probes of a panel that is away, one in so many waits so long for a slow one. The others' lines are not read
/// meanwhile: with a second each time, three dead panels cost one change in sixteen (measured, half a second each).
const LONG_PROBE: (u32, Duration) = (4, Duration::from_millis(400));
/// And one in so many for the slowest that there may be.
const LONGEST_PROBE_EVERY: u32 = 20;
/// Turns about fast things, after which a slow one has its turn: a wire too slow for all is slow for all.
const FAST_IN_A_ROW: u32 = 8;
/// A thousandth of a period, the unit of [`Turn::stretch`].
const PER_MILLE: u128 = 1000;

impl Panel {
    /// See [`crate::panel::Driver::turn`].
    pub fn turn(&self, now: Mono) -> Option<Turn> {
        if now < self.not_before {
            return None;
        }
        self.choose(now).map(|(turn, ..)| turn)
    }

    /// See [`crate::panel::Driver::not_before`].
    pub fn not_before(&self) -> Mono {
        if self.in_flight.is_some() {
            return Mono::NEVER;
        }
        let blocks = self.blocks.iter().filter(|block| !block.refused).map(|block| block.due);
        let again = self.again.values().copied();
        let lock = self.lock.work_at().map(|(at, _)| at);
        let keys = self.keys.as_ref().and_then(|keys| match keys.want(self.seen) {
            Want::Nothing => keys.next_at(),
            _ => Some(Mono::ZERO),
        });
        let waiting = self.identity_wanted || self.echo_unsure || !self.measurements.is_empty();
        let now = waiting.then_some(Mono::ZERO);
        let wanted = blocks.chain(again).chain(lock).chain(keys).chain(self.enables.next_time()).chain(now);
        let mut at = wanted.min().unwrap_or(Mono::NEVER).max(self.not_before).max(self.seen);
        // Where nothing is left whose answer could be trusted, time has to pass.
        while at != Mono::NEVER && self.choose(at).is_none() {
            match self.suspects.rises(at) {
                Some(later) => at = later,
                None => return at + PROBE_BACKOFF.0,
            }
        }
        at
    }

    /// See [`crate::panel::Driver::is_urgent`].
    pub fn is_urgent(&self, now: Mono) -> bool {
        self.pace() == Pace::Live && self.lock.work(now).is_some()
    }

    /// See [`crate::panel::Driver::poll_transmit`].
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        self.advance(now);
        if self.in_flight.is_some() {
            return false;
        }
        let Some((turn, job, request)) = self.choose(now).or_else(|| self.probe(now)) else { return false };
        self.fast_turns = if turn.class == Class::Fast { self.fast_turns.saturating_add(1) } else { 0 };
        let Some(bytes) = frame(self.unit, &request) else { return false };
        if let Job::Lock(work) = job {
            self.lock.sent(now, work);
        }
        out.extend_from_slice(&bytes);
        self.in_flight = Some(InFlight { job, request, bytes, echoed: false, sent: now });
        true
    }

    /// See [`crate::panel::Driver::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Mono) {
        let Some(in_flight) = self.in_flight.take() else { return };
        self.seen = now;
        self.timeouts = self.timeouts.saturating_add(1);
        if self.state == PanelState::Offline {
            self.probes = self.probes.wrapping_add(1);
            self.backoff = self.backoff.saturating_add(PROBE_BACKOFF.0).min(PROBE_BACKOFF.1);
        }
        // The one copy of a write was its echo, or its answer on a line that does not echo.
        self.echo_unsure |= in_flight.echoed && self.echo.is_none();
        if in_flight.job == Job::Next
            && let Some(keys) = &mut self.keys
        {
            keys.lost();
        }
        self.suspects.push(now, in_flight.request);
    }

    /// How many characters the answer in flight has.
    pub fn reply_characters(&self) -> u32 {
        let length = self.in_flight.as_ref().map_or(0, |in_flight| in_flight.request.reply_length());
        u32::try_from(length).unwrap_or(u32::MAX)
    }

    /// See [`crate::panel::Driver::reply_window`].
    pub fn reply_window(&self) -> Duration {
        // Twice the mean: one late answer does not make a panel slow, that it is always late does.
        let usual = self.reply_time.saturating_mul(2).clamp(REPLY_TIMEOUT.0, REPLY_TIMEOUT.1);
        let (long_every, long) = LONG_PROBE;
        match self.state {
            PanelState::Offline if self.probes.is_multiple_of(LONGEST_PROBE_EVERY) => REPLY_TIMEOUT.1,
            PanelState::Offline if self.probes.is_multiple_of(long_every) => usual.max(long),
            _ => usual,
        }
    }

    /// What is worth most now, in a shape that nothing late can be taken for.
    fn choose(&self, now: Mono) -> Option<(Turn, Job, Request)> {
        let mut wanted = self.wanted(now);
        let slow_first = self.fast_turns >= FAST_IN_A_ROW;
        let worth = |turn: Turn| (slow_first && turn.class < Class::Fast, turn);
        wanted.sort_by_key(|(turn, ..)| std::cmp::Reverse(worth(*turn)));
        let is_clear = |request: &Request| self.suspects.trust(now, request) == Trust::Full;
        for (turn, job, request) in &wanted {
            if is_clear(request) {
                return Some((*turn, *job, request.clone()));
            }
            if let Job::Block(number) = job {
                let shorter = self.blocks.get(*number).into_iter().flat_map(Block::shorter);
                if let Some(request) = shorter.into_iter().find(is_clear) {
                    return Some((*turn, *job, request));
                }
            }
        }
        let (first, ..) = wanted.first()?;
        if let Some(request) = self.sounding(now, Trust::Full) {
            return Some((*first, Job::Sound, request));
        }
        wanted.into_iter().find(|(_, _, request)| self.suspects.trust(now, request) >= Trust::Fair)
    }

    /// All that is due.
    fn wanted(&self, now: Mono) -> Vec<(Turn, Job, Request)> {
        let mut wanted = Vec::new();
        let mut add = |class, stretch, job, request: Option<Request>| {
            wanted.extend(request.map(|request| (Turn { class, stretch }, job, request)));
        };
        if self.echo_unsure {
            add(Class::Urgent, u32::MAX, Job::Sound, self.sounding(now, Trust::Full));
        }
        if let Some(work) = self.lock.work(now) {
            add(Class::Urgent, u32::MAX, Job::Lock(work), self.lock.request(work));
            // Nothing goes before a lock that may be open and must not be.
            if work == Work::Shut {
                return wanted;
            }
        }
        if self.identity_wanted {
            add(Class::Fast, u32::MAX, Job::Identity, self.identity_request());
        }
        if let (Some(keys), Some(profile)) = (&self.keys, &self.profile.keys) {
            match keys.want(now) {
                Want::Next => {
                    let address = profile.next.address;
                    let next = match table(profile.next.kind) {
                        Table::Coil => Request::WriteCoil { address, on: true },
                        _ => Request::WriteRegister { address, value: 1 },
                    };
                    add(Class::Fast, u32::MAX, Job::Next, Some(next));
                }
                Want::Code => {
                    let code = (table(profile.code.kind), profile.code.address, profile.words);
                    let (table, start, count) = code;
                    add(Class::Fast, u32::MAX, Job::Code, Some(Request::Read { table, start, count }));
                }
                Want::Look => {
                    let look = self.blocks.iter().enumerate().find(|(_, block)| self.has_count(block));
                    if let Some((number, block)) = look {
                        add(Class::Fast, u32::MAX, Job::Block(number), Some(block.request()));
                    }
                }
                Want::Nothing => {}
            }
        }
        if let Some(measurement) = self.measurements.front() {
            let request = self.line_request(measurement.line, 1);
            add(Class::Fast, u32::MAX, Job::Measure(measurement.token), request);
        }
        add(Class::Again, 0, Job::Again, self.again_request(now));
        add(Class::Again, 0, Job::Enable, self.enables.request(now, self.limits.bits));
        for (number, block) in self.blocks.iter().enumerate() {
            if !block.refused && block.due <= now {
                let period = block.period.as_nanos().max(1);
                let elapsed = now.since(block.last).as_nanos().saturating_mul(PER_MILLE);
                let stretch = elapsed.checked_div(period).unwrap_or_default();
                let stretch = u32::try_from(stretch).unwrap_or(u32::MAX);
                add(block.class, stretch, Job::Block(number), Some(block.request()));
            }
        }
        wanted
    }

    /// What a panel is asked that owes nothing now, to see whether it is there.
    fn probe(&self, now: Mono) -> Option<(Turn, Job, Request)> {
        let turn = Turn { class: Class::Slow, stretch: 0 };
        let request = self.sounding(now, Trust::Full).or_else(|| self.sounding(now, Trust::Fair));
        request.map(|request| (turn, Job::Sound, request))
    }

    /// A request that changes nothing, and whose answer can be trusted so far; the shortest answer first.
    fn sounding(&self, now: Mono, trust: Trust) -> Option<Request> {
        let mut candidates: Vec<Request> = Vec::new();
        let one = |table, start| Request::Read { table, start, count: 1 };
        match self.profile.lock {
            Some(LockProfile::Coil(address)) => candidates.push(one(Table::Coil, address)),
            Some(LockProfile::Pulse { address, .. }) => candidates.push(one(Table::Holding, address)),
            None => {}
        }
        for block in &self.blocks {
            candidates.push(block.request());
            candidates.extend(block.shorter());
        }
        candidates
            .extend(self.profile.keys.as_ref().map(|keys| one(table(keys.next.kind), keys.next.address)));
        candidates.extend(self.identity_request());
        candidates.sort_by_key(Request::reply_length);
        candidates.into_iter().find(|request| self.suspects.trust(now, request) >= trust)
    }

    fn identity_request(&self) -> Option<Request> {
        let identity = self.profile.identity.as_ref()?;
        let (table, start) = (table(identity.model.kind), identity.model.address);
        Some(Request::Read { table, start, count: identity.words })
    }

    fn line_request(&self, line: u16, count: u16) -> Option<Request> {
        let lines = self.profile.lines.as_ref()?;
        let start = lines.value.address.checked_add(line.saturating_sub(1))?;
        Some(Request::Read { table: table(lines.value.kind), start, count })
    }

    /// Lines to be read again now, neighbours together.
    fn again_request(&self, now: Mono) -> Option<Request> {
        /// Lines between two that are wanted may be read along.
        const BETWEEN: u16 = 4;
        let mut due = self.again.iter().filter(|(_, at)| **at <= now).map(|(line, _)| *line);
        let first = due.next()?;
        let last = due.fold(first, |last, line| {
            let is_near = line.saturating_sub(last) <= BETWEEN;
            let fits = line.saturating_sub(first) < self.limits.words;
            if is_near && fits { line } else { last }
        });
        self.line_request(first, last.saturating_sub(first).saturating_add(1))
    }

    fn has_count(&self, block: &Block) -> bool {
        self.profile.keys.as_ref().is_some_and(|keys| {
            block.table == table(keys.count.kind)
                && (block.start..=block.start.saturating_add(block.count.saturating_sub(1)))
                    .contains(&keys.count.address)
        })
    }
}
