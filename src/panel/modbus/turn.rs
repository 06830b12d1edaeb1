//! What a panel says in its turn.

use std::time::Duration;

use super::{
    PROBE_AFTER_TIMEOUTS, PROBE_BACKOFF, Panel, REPLY_TIMEOUT_MAX,
    doubt::Denial,
    frame,
    keys::Want,
    lock::Work,
    plan::{Block, Class, table},
    suspects::Trust,
};
use crate::{
    domain::{Mono, PanelState, order, profile::LockProfile},
    panel::{Failure, Token, Turn, TurnKind},
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
    /// The block of the plan with this number, which is in pieces now, whole.
    Whole(usize),
    /// Lines whose sample is wanted again.
    Again,
    Measure(Token),
    Enable,
    /// Whatever can be told from the answers that may still come late, or tells whether the line echoes.
    Sound,
}

/// Of the probes of a panel that is away, one in this many waits this long for a slow one. The others' lines are not
/// read meanwhile: with a second each time, three dead panels cost one change in sixteen (measured, half a second each).
const LONG_PROBE: (u32, Duration) = (4, Duration::from_millis(400));
/// And one in this many waits for the slowest that there may be.
const LONGEST_PROBE_EVERY: u32 = 20;
/// A panel that is well but for two answers in a row is asked again this soon, a request of somebody a little later.
const PROBE_SOON: Duration = Duration::from_millis(100);
const REQUEST_AGAIN: Duration = Duration::from_millis(250);
/// Where no panel of the line answers, there is no reason for longer pauses between probes.
const PROBE_INTERVAL_ALONE: Duration = Duration::from_millis(1250);
/// Slow things that are late are due again after this many lengths of the panel's last slow turn: however much is late,
/// one panel's slow reads push aside what is fast for one part in this many of the line's time.
const SLOW_REST: u32 = 16;
/// The same for what should not wait for a period: lines read again, coils to be written.
const AGAIN_REST: u32 = 4;
/// Lines that were to be read again and were not answered for wait this long.
const READ_AGAIN_PAUSE: Duration = Duration::from_millis(250);
/// Something that was not answered lately is waited for as long as four times the mean, at least for this.
const DOUBTED_WINDOW: Duration = Duration::from_millis(60);

/// Something that the panel is to be asked, and when it is due.
struct Wanted {
    deadline: Mono,
    job: Job,
    request: Request,
}

impl Panel {
    /// See [`crate::panel::Driver::next`].
    pub fn next(&self, now: Mono) -> Option<Turn> {
        let may_be_open = self.state != PanelState::Offline && !self.lock.is_shut();
        if self.in_flight.is_some() || self.stopping && !may_be_open {
            return None;
        }
        let is_away = self.timeouts >= PROBE_AFTER_TIMEOUTS;
        let work = self.lock.work(now).filter(|_| self.state != PanelState::Offline);
        // At the end there is nobody to disturb.
        let spaced = if is_away && !self.stopping { self.turn_ended + REQUEST_AGAIN } else { Mono::ZERO };
        let (kind, from, deadline) = match work {
            Some(work) => (TurnKind::Request, spaced, self.lock.deadline(work)),
            // What is left is a coil that is to be written off, if not just now.
            None if self.stopping => (TurnKind::Request, spaced, Mono::NEVER),
            None if is_away => {
                let (from, deadline) = self.probe_times();
                (TurnKind::Probe, from, deadline)
            }
            None => (TurnKind::Poll, Mono::ZERO, Mono::NEVER),
        };
        let from = from.max(self.not_before);
        let chosen = self.choose(now).or_else(|| self.probe(now).filter(|_| is_away));
        let Some(Wanted { deadline: due, job, request }) = chosen else {
            // Nothing is due, or nothing is left whose answer could be trusted: time has to pass.
            let later = || is_away.then(|| self.suspects.rises(now).unwrap_or(now + PROBE_BACKOFF.0));
            let from = from.max(self.wanted_at(now).or_else(later)?);
            let deadline = if kind == TurnKind::Poll { from } else { deadline };
            return Some(Turn { kind, from, deadline, window: self.window(None), answer_characters: 0 });
        };
        let deadline = if kind == TurnKind::Poll { due } else { deadline };
        let answer_characters = u32::try_from(request.reply_length()).unwrap_or(u32::MAX);
        Some(Turn { kind, from, deadline, window: self.window(Some(job)), answer_characters })
    }

    /// From when on the next probe may go, and when it is due.
    fn probe_times(&self) -> (Mono, Mono) {
        match self.turn_ended {
            Mono::ZERO => (Mono::ZERO, Mono::ZERO),
            ended if self.state == PanelState::Online => (ended + PROBE_SOON, ended + PROBE_SOON),
            ended => (ended + self.backoff.min(PROBE_INTERVAL_ALONE), ended + self.backoff),
        }
    }

    /// When something is wanted that can be asked for, where nothing can be now; `None`: nothing will be.
    fn wanted_at(&self, now: Mono) -> Option<Mono> {
        let blocks = self.blocks.iter().map(|(_, block)| block.due_at());
        let merge = self.blocks.to_merge().map(|(at, ..)| at);
        let again = self.again.values().copied();
        let lock = self.lock.work_at().map(|(at, _)| at);
        let keys = self.keys.as_ref().and_then(|keys| match keys.want(now) {
            Want::Nothing => keys.next_at(),
            Want::Code => Some(self.code_doubt.not_before().max(now)),
            Want::Look => self.count_block().map(|(_, block)| block.doubt.not_before().max(now)),
            Want::Next => Some(now),
        });
        let identity = self.identity_wanted.then(|| self.identity_doubt.not_before().max(now));
        let waiting = self.echo_unsure || !self.measurements.is_empty();
        let wanted = blocks
            .chain(merge)
            .chain(identity)
            .chain(again)
            .chain(lock)
            .chain(keys)
            .chain(self.enables.next_time());
        let wanted = wanted.chain(waiting.then_some(now)).min();
        let at = if self.stopping { self.lock.work_at().map(|(at, _)| at) } else { wanted };
        let mut at = at?.max(self.not_before).max(now);
        while self.choose(at).is_none() {
            match self.suspects.rises(at) {
                Some(later) => at = later,
                None => return Some(at + PROBE_BACKOFF.0),
            }
        }
        Some(at)
    }

    /// See [`crate::panel::Driver::poll_transmit`].
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        self.advance(now);
        if self.in_flight.is_some() {
            return false;
        }
        let Some(Wanted { job, request, .. }) = self.choose(now).or_else(|| self.probe(now)) else {
            return false;
        };
        let Some(bytes) = frame(self.unit, &request) else { return false };
        if let Job::Lock(work) = job {
            self.lock.sent(now, work);
        }
        self.opened = job == Job::Lock(Work::Open);
        out.extend_from_slice(&bytes);
        self.in_flight = Some(InFlight { job, request, bytes, echoed: false, sent: now });
        true
    }

    /// See [`crate::panel::Driver::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Mono) {
        let Some(in_flight) = self.in_flight.take() else { return };
        self.turn_over(now, &in_flight);
        self.timeouts = self.timeouts.saturating_add(1);
        if self.state == PanelState::Offline {
            self.probes = self.probes.wrapping_add(1);
            self.backoff = self.backoff.saturating_add(PROBE_BACKOFF.0).min(PROBE_BACKOFF.1);
        }
        // The one copy of a write was its echo, or its answer on a line that does not echo.
        self.echo_unsure |= in_flight.echoed && self.echo.is_none();
        let InFlight { job, request, .. } = in_flight;
        match job {
            Job::Lock(work) => {
                self.lock.unanswered(now, work, self.answers);
                if self.stopping {
                    for token in self.lock.give_up() {
                        self.done(token, Err(Failure::Unconfirmed));
                    }
                }
            }
            Job::Enable => self.enables.written(now, &request, false),
            Job::Again => {
                for (_, at) in self.again.iter_mut().filter(|(_, at)| **at <= now) {
                    *at = now + READ_AGAIN_PAUSE;
                }
            }
            Job::Sound if !self.unheard.contains(&request) => self.unheard.push(request.clone()),
            Job::Sound | Job::Measure(_) => {}
            job => self.denied(now, job, &request, Denial::Silent(self.answers)),
        }
        self.tell_trouble();
        self.suspects.push(now, request);
    }

    /// A turn has ended.
    pub(super) fn turn_over(&mut self, now: Mono, in_flight: &InFlight) {
        self.turn_ended = now;
        let is_slow = match in_flight.job {
            Job::Block(number) => self.blocks.get(number).is_some_and(|block| block.class == Class::Slow),
            Job::Again | Job::Enable | Job::Whole(_) => true,
            _ => false,
        };
        if is_slow {
            (self.slow_ended, self.slow_turn) = (now, now.since(in_flight.sent));
        }
    }

    /// How long it may take to begin its answer.
    fn window(&self, job: Option<Job>) -> Duration {
        // Twice the mean: one late answer does not make a panel slow, that it is always late does.
        let usual = self.reply_time.saturating_mul(2).clamp(self.reply_timeout, REPLY_TIMEOUT_MAX);
        let (long_every, long) = LONG_PROBE;
        match self.state {
            PanelState::Offline if self.probes.is_multiple_of(LONGEST_PROBE_EVERY) => REPLY_TIMEOUT_MAX,
            PanelState::Offline if self.probes.is_multiple_of(long_every) => usual.max(long),
            PanelState::Online if job.is_some_and(|job| self.is_doubted(job)) => {
                self.reply_time.saturating_mul(4).clamp(DOUBTED_WINDOW.min(usual), usual)
            }
            _ => usual,
        }
    }

    fn is_doubted(&self, job: Job) -> bool {
        match job {
            Job::Block(number) => self.blocks.get(number).is_some_and(|block| block.doubt.is_doubted()),
            Job::Identity => self.identity_doubt.is_doubted(),
            Job::Code => self.code_doubt.is_doubted(),
            Job::Next => self.next_doubt.is_doubted(),
            _ => false,
        }
    }

    /// What is due first, in a shape that nothing late can be taken for.
    fn choose(&self, now: Mono) -> Option<Wanted> {
        let mut wanted = self.wanted(now);
        wanted.sort_by_key(|wanted| wanted.deadline);
        let is_clear = |request: &Request| self.suspects.trust(now, request) == Trust::Full;
        for Wanted { deadline, job, request } in &wanted {
            let (deadline, job) = (*deadline, *job);
            if is_clear(request) {
                return Some(Wanted { deadline, job, request: request.clone() });
            }
            if let Job::Block(number) = job {
                let shorter = self.blocks.get(number).into_iter().flat_map(Block::shorter);
                if let Some(request) = shorter.into_iter().find(is_clear) {
                    return Some(Wanted { deadline, job, request });
                }
            }
        }
        let deadline = wanted.first()?.deadline;
        if let Some(request) = self.sounding(now, Trust::Full) {
            return Some(Wanted { deadline, job: Job::Sound, request });
        }
        wanted.into_iter().find(|wanted| self.suspects.trust(now, &wanted.request) >= Trust::Fair)
    }

    /// When something of a class is due that was to be asked at a time.
    fn deadline(&self, class: Class, at: Mono, period: Duration) -> Mono {
        let rested = |turns: u32| self.slow_ended + self.slow_turn.saturating_mul(turns);
        match class {
            Class::Fast => at,
            Class::Again => at.max(rested(AGAIN_REST)),
            Class::Slow => (at + period).max(rested(SLOW_REST)),
        }
    }

    /// All that is to be asked now.
    fn wanted(&self, now: Mono) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        let mut add = |deadline, job, request: Option<Request>| {
            wanted.extend(request.map(|request| Wanted { deadline, job, request }));
        };
        if self.echo_unsure {
            add(Mono::ZERO, Job::Sound, self.sounding(now, Trust::Full));
        }
        if let Some(work) = self.lock.work(now) {
            // Between two writes that open, something else that is due has its turn: a flood leaves the reader alone.
            let opened = work == Work::Open && self.opened;
            add(if opened { now } else { Mono::ZERO }, Job::Lock(work), self.lock.request(now, work));
            // Nothing goes before a lock that may be open and must not be.
            if work == Work::Shut {
                return wanted;
            }
        }
        // What follows from the last turn is due since then.
        let since = self.turn_ended;
        if self.stopping {
            return wanted;
        }
        if self.identity_wanted && self.identity_doubt.not_before() <= now {
            add(since, Job::Identity, self.identity_request());
        }
        if let (Some(keys), Some(profile)) = (&self.keys, &self.profile.keys) {
            match keys.want(now) {
                Want::Next => {
                    let address = profile.next.address;
                    let next = match table(profile.next.kind) {
                        Table::Coil => Request::WriteCoil { address, on: true },
                        _ => Request::WriteRegister { address, value: 1 },
                    };
                    add(since, Job::Next, Some(next));
                }
                Want::Code if self.code_doubt.not_before() <= now => {
                    let code = (table(profile.code.kind), profile.code.address, profile.words);
                    let (table, start, count) = code;
                    add(since, Job::Code, Some(Request::Read { table, start, count }));
                }
                Want::Look => {
                    let look = self.count_block();
                    if let Some((number, block)) = look.filter(|(_, block)| block.doubt.not_before() <= now) {
                        add(since, Job::Block(number), Some(block.request()));
                    }
                }
                Want::Code | Want::Nothing => {}
            }
        }
        if let Some(measurement) = self.measurements.front() {
            let request = self.line_request(measurement.line, 1);
            add(measurement.asked, Job::Measure(measurement.token), request);
        }
        let again = self.again.values().min().copied().unwrap_or(now);
        add(self.deadline(Class::Again, again, Duration::ZERO), Job::Again, self.again_request(now));
        let enable = self.enables.next_time().unwrap_or(now);
        let enables = self.enables.request(now, self.limits.bits);
        add(self.deadline(Class::Again, enable, Duration::ZERO), Job::Enable, enables);
        if let Some((at, number, whole)) = self.blocks.to_merge().filter(|(at, ..)| *at <= now) {
            add(self.deadline(Class::Slow, at, whole.period), Job::Whole(number), Some(whole.request()));
        }
        for (number, block) in self.blocks.iter().filter(|(_, block)| block.due_at() <= now) {
            // What may not be there at all can wait, however fast it should be.
            let class = if block.doubt.missing().is_some() { Class::Slow } else { block.class };
            let deadline = self.deadline(class, block.due_at(), block.period);
            add(deadline, Job::Block(number), Some(block.request()));
        }
        wanted
    }

    /// What a panel is asked that owes nothing now, to see whether it is there.
    fn probe(&self, now: Mono) -> Option<Wanted> {
        let request = self.sounding(now, Trust::Full).or_else(|| self.sounding(now, Trust::Fair))?;
        Some(Wanted { deadline: now, job: Job::Sound, request })
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
        for (_, block) in self.blocks.iter().filter(|(_, block)| block.doubt.missing().is_none()) {
            candidates.push(block.request());
            candidates.extend(block.shorter());
        }
        candidates
            .extend(self.profile.keys.as_ref().map(|keys| one(table(keys.next.kind), keys.next.address)));
        candidates.extend(self.identity_request());
        order::sort_by_key(&mut candidates, |request| {
            (self.unheard.contains(request), request.reply_length())
        });
        candidates.into_iter().find(|request| self.suspects.trust(now, request) >= trust)
    }

    fn identity_request(&self) -> Option<Request> {
        let identity = self.profile.identity.as_ref()?;
        let (table, start) = (table(identity.model.kind), identity.model.address);
        Some(Request::Read { table, start, count: identity.words })
    }

    pub(super) fn line_request(&self, line: u16, count: u16) -> Option<Request> {
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

    /// The block that tells how many codes wait.
    fn count_block(&self) -> Option<(usize, &Block)> {
        let count = self.profile.keys.as_ref()?.count;
        self.blocks.iter().find(|(_, block)| block.covers(count))
    }
}
