//! A survey of a line that belongs to nobody else: at what speed, whose turn, how long is waited.
//!
//! ```text
//!  Listening ─ every speed was silent ─► Idle ─ ask ─► Awaiting ─ whole answer ─► Settling ─┐
//!      │                                  ▲               └ time is up ─────────────────────┤
//!      └ another master ─► Over           └──────── next question, address, speed ──────────┘
//! ```

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::{Finding, Found, Plan, Speed, ear::Ear, finding::Lists, found::Verdict, inquiry::Inquiry};
use crate::{
    domain::Mono,
    panel::{Entropy, Heard},
    wire::osdp::frame::MARK,
};

/// How long is listened at each speed. A master polls several times within it.
const LISTEN: Duration = Duration::from_millis(800);
/// How long a panel may take to begin its answer (OSDP 2.2, 5.7); Modbus devices are asked within the same.
const WINDOW: Duration = Duration::from_millis(200);
/// How long one is waited for that was heard too late.
const PATIENCE: Duration = Duration::from_secs(1);
/// What an adapter by USB adds to a silence. It is the latency timer of the most common one; a network may add more.
const ADAPTER: Duration = Duration::from_millis(15);
/// Silence after which the rest of a frame is not waited for, and the same by USB (as `bus::timing`).
const UNFINISHED: Duration = Duration::from_millis(50);
const UNFINISHED_BUFFERED: Duration = Duration::from_millis(150);
/// Silence before a question, where it is longer than 3.5 characters: what Modbus demands is enough for OSDP, too.
const SHORTEST_GAP: Duration = Duration::from_micros(1750);
/// Characters after which a line that never falls silent is used all the same.
const LONGEST: u32 = 1440;
/// Bytes within [`LISTEN`] that are more than a relay that switches or a hand at the plug makes.
const HEARD: usize = 8;
/// The same while addresses are asked at which nobody is.
const UNASKED: usize = 24;

/// Addresses from which nothing but damaged answers comes, with none that is whole, before the rest is not asked.
const HOPELESS: usize = 8;
/// Silence between two bytes that are not of one answer: a UART may gather eight at 9600 baud before it hands them over.
const APART: Duration = Duration::from_millis(10);

/// What a survey has for its caller, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The port is to be set to this speed, and what it has received is to be dropped, before anything else is done.
    Speed(Speed),
    /// This address is asked next: how far it is.
    Progress {
        /// At what speed.
        speed: Speed,
        /// The address.
        address: u8,
    },
    /// A panel was found.
    Panel(Speed, Box<Found>),
    /// Something else is to be told.
    Finding(Finding),
}

/// How many bytes came one after the other, idle marks left out: an answer is many at once, noise is not.
#[derive(Default)]
struct Burst {
    last: Mono,
    length: usize,
    longest: usize,
}

impl Burst {
    fn take(&mut self, now: Mono, bytes: &[u8]) {
        if now.since(self.last) > APART {
            self.length = 0;
        }
        self.last = now;
        self.length = self.length.saturating_add(bytes.iter().filter(|byte| **byte != MARK).count());
        self.longest = self.longest.max(self.length);
    }

    /// Takes back what was whole, though it was no answer.
    fn leave_out(&mut self, bytes: usize) {
        self.length = self.length.saturating_sub(bytes);
        self.longest = self.length;
    }
}

enum State {
    Listening {
        until: Mono,
    },
    /// Nothing is under way.
    Idle,
    Awaiting {
        deadline: Mono,
    },
    Settling {
        until: Mono,
    },
    Over,
}

/// A survey of a line.
pub struct Survey {
    plan: Plan,
    entropy: Box<dyn Entropy>,
    /// What the port is set to.
    speed: Option<Speed>,
    /// How many speeds have been begun with.
    begun: usize,
    state: State,
    /// Speeds that are still to be listened at, and what was heard at each before anybody was asked.
    unheard: VecDeque<Speed>,
    ears: Vec<Ear>,
    /// Addresses that are still to be asked, with how long each may take.
    queue: VecDeque<(u8, Duration)>,
    inquiry: Option<(Inquiry, Duration)>,
    received: Vec<u8>,
    burst: Burst,
    /// End of the last byte on the line, either way, and since when it has not been silent.
    quiet_since: Mono,
    busy_since: Mono,
    /// At this speed.
    lists: Lists,
    late: BTreeSet<u8>,
    /// At all of them.
    found: usize,
    any_damaged: bool,
    /// Bytes that were part of nothing whole: all, and those in the time of addresses at which nobody is.
    heard: usize,
    unasked: usize,
    heard_before: usize,
    zeros: usize,
    outputs: VecDeque<Output>,
}

impl Survey {
    /// Begins, at the first speed.
    pub fn new(plan: Plan, entropy: Box<dyn Entropy>, now: Mono) -> Self {
        let mut survey = Self {
            unheard: plan.speeds.iter().copied().collect(),
            plan,
            entropy,
            speed: None,
            begun: 0,
            state: State::Over,
            ears: Vec::new(),
            queue: VecDeque::new(),
            inquiry: None,
            received: Vec::new(),
            burst: Burst::default(),
            quiet_since: now,
            busy_since: now,
            lists: Lists::default(),
            late: BTreeSet::new(),
            found: 0,
            any_damaged: false,
            heard: 0,
            unasked: 0,
            heard_before: 0,
            zeros: 0,
            outputs: VecDeque::new(),
        };
        survey.listen(now);
        survey
    }

    /// Returns whether nothing is left to be done, but to take the outputs.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Returns the next output. To be asked until there is none, before anything else.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Appends the next question to `out`, where it is time for one.
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        if !matches!(self.state, State::Idle) || now < self.line_free_at() {
            return false;
        }
        if self.inquiry.as_ref().is_some_and(|(inquiry, _)| now < inquiry.not_before()) {
            return false;
        }
        let begin = out.len();
        let Some((inquiry, window)) = &mut self.inquiry else { return false };
        if !inquiry.ask(now, out) {
            return false;
        }
        let window = *window + if self.plan.is_buffered { ADAPTER } else { Duration::ZERO };
        let sent =
            now + self.character().saturating_mul(u32::try_from(out.len() - begin).unwrap_or(u32::MAX));
        self.received.clear();
        self.burst = Burst::default();
        (self.quiet_since, self.busy_since) = (sent, sent);
        self.state = State::Awaiting { deadline: sent + window };
        true
    }

    /// Takes bytes that came in.
    pub fn receive(&mut self, now: Mono, bytes: &[u8]) {
        if now >= self.silent_from() {
            self.busy_since = now;
        }
        self.quiet_since = self.quiet_since.max(now);
        match self.state {
            State::Listening { .. } => {
                if let Some(ear) = self.ears.last_mut() {
                    ear.hear(bytes);
                }
            }
            State::Awaiting { .. } | State::Settling { .. } => {
                self.burst.take(now, bytes);
                self.received.extend_from_slice(bytes);
                self.listen_to(now);
            }
            State::Idle => self.note_noise(bytes),
            State::Over => {}
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: Mono) {
        match self.state {
            State::Listening { until } if now >= until => self.listened(now),
            State::Awaiting { .. } | State::Settling { .. } if now >= self.silent_at() => {
                // An unfinished frame stays unfinished: its first byte may have been noise before a good one.
                while !self.received.is_empty() && now >= self.silent_at() {
                    let first = self.received.remove(0);
                    self.note_noise(&[first]);
                    self.listen_to(now);
                }
                if self.received.is_empty() {
                    self.end_question(now);
                }
            }
            _ => {}
        }
    }

    /// Returns when something is to be done next, if nothing is received before.
    pub fn next_time(&self) -> Mono {
        match self.state {
            State::Listening { until } => until,
            State::Idle => {
                let not_before =
                    self.inquiry.as_ref().map_or(Mono::ZERO, |(inquiry, _)| inquiry.not_before());
                self.line_free_at().max(not_before)
            }
            State::Awaiting { .. } | State::Settling { .. } => self.silent_at(),
            State::Over => Mono::NEVER,
        }
    }

    fn character(&self) -> Duration {
        self.speed.map_or(Duration::ZERO, |speed| speed.character())
    }

    fn silent_from(&self) -> Mono {
        self.quiet_since + (self.character() * 7 / 2).max(SHORTEST_GAP)
    }

    fn line_free_at(&self) -> Mono {
        self.silent_from().min(self.busy_since + self.character() * LONGEST)
    }

    /// Returns when what has been received will be no more than it is, unless more comes before.
    fn silent_at(&self) -> Mono {
        let (State::Awaiting { deadline: end } | State::Settling { until: end }) = self.state else {
            return Mono::NEVER;
        };
        let unfinished = if self.plan.is_buffered { UNFINISHED_BUFFERED } else { UNFINISHED };
        let silent = if self.received.is_empty() { end } else { self.quiet_since + unfinished };
        // Endless noise puts nothing off.
        silent.min(end + self.character() * LONGEST)
    }

    /// Listens at the next speed; where each was listened at, begins to ask.
    fn listen(&mut self, now: Mono) {
        let Some(speed) = self.unheard.pop_front() else { return self.begin_speed(now) };
        self.set_speed(now, speed);
        self.ears.push(Ear::default());
        self.state = State::Listening { until: now + LISTEN };
    }

    fn set_speed(&mut self, now: Mono, speed: Speed) {
        if self.speed.replace(speed) != Some(speed) {
            self.outputs.push_back(Output::Speed(speed));
        }
        self.received.clear();
        (self.quiet_since, self.busy_since) = (now, now);
    }

    /// The line was listened to at this speed.
    fn listened(&mut self, now: Mono) {
        let Some(ear) = self.ears.last_mut() else { return };
        ear.end();
        let addresses = ear.masters();
        if let Some(speed) = self.speed.filter(|_| !addresses.is_empty()) {
            return self.give_up(speed, addresses);
        }
        // Somebody sends at a speed that was not asked for: who is it?
        if self.unheard.is_empty() && self.ears.len() == self.plan.speeds.len() && self.any_unknown() {
            let is_new = |speed: &Speed| !self.plan.speeds.contains(speed);
            self.unheard = self.plan.language.usual_speeds().filter(is_new).collect();
        }
        self.listen(now);
    }

    /// Whether something was heard that made no sense.
    fn any_unknown(&self) -> bool {
        self.ears.iter().any(|ear| ear.bytes >= HEARD && !is_shorted(ear.bytes, ear.zeros))
    }

    fn give_up(&mut self, speed: Speed, addresses: BTreeSet<u8>) {
        self.outputs.push_back(Output::Finding(Finding::OtherMaster { speed, addresses }));
        self.inquiry = None;
        self.state = State::Over;
    }

    /// Asks all addresses at the next speed; after the last one, says what the line is like.
    fn begin_speed(&mut self, now: Mono) {
        let Some(speed) = self.plan.speeds.get(self.begun).copied() else { return self.end() };
        self.begun = self.begun.saturating_add(1);
        self.set_speed(now, speed);
        self.queue = self.plan.language.addresses().map(|address| (address, WINDOW)).collect();
        self.lists.begin();
        self.late.clear();
        self.next_address(now);
    }

    fn next_address(&mut self, now: Mono) {
        if self.queue.is_empty() {
            self.queue = self.late.iter().map(|address| (*address, PATIENCE)).collect();
            self.late.clear();
        }
        let (Some((address, window)), Some(speed)) = (self.queue.pop_front(), self.speed) else {
            self.end_speed();
            return self.begin_speed(now);
        };
        let inquiry = Inquiry::new(&self.plan.language, address, self.plan.thorough, &mut *self.entropy);
        self.inquiry = Some((inquiry, window));
        self.heard_before = self.heard;
        self.outputs.push_back(Output::Progress { speed, address });
        self.state = State::Idle;
    }

    fn listen_to(&mut self, now: Mono) {
        let mut dropped = 0_usize;
        let mut is_done = false;
        while let Some((inquiry, _)) = &mut self.inquiry {
            let rest = self.received.get(dropped..).unwrap_or_default();
            match inquiry.hear(now, rest) {
                Heard::Waiting => break,
                Heard::Own(length) | Heard::Wrong(length) => {
                    self.burst.leave_out(length);
                    dropped = dropped.saturating_add(length);
                }
                Heard::Noise(length) | Heard::Broken(length) => {
                    let noise: Vec<u8> = rest.get(..length).unwrap_or(rest).to_vec();
                    dropped = dropped.saturating_add(length);
                    self.note_noise(&noise);
                }
                Heard::Done(length) | Heard::Improper(length) => {
                    dropped = dropped.saturating_add(length);
                    is_done = true;
                }
            }
        }
        self.received.drain(..dropped.min(self.received.len()));
        if is_done && let Some((inquiry, _)) = &self.inquiry {
            self.state = State::Settling { until: now + inquiry.listens_on_for() };
        }
    }

    fn end_question(&mut self, now: Mono) {
        let is_unanswered = matches!(self.state, State::Awaiting { .. });
        let (Some((inquiry, _)), Some(speed)) = (&mut self.inquiry, self.speed) else { return };
        if is_unanswered {
            inquiry.unanswered(self.burst.longest);
        } else {
            inquiry.settled();
        }
        let answers = inquiry.answers();
        let (masters, strays) = (std::mem::take(&mut answers.masters), std::mem::take(&mut answers.strays));
        self.state = State::Idle;
        if !masters.is_empty() {
            return self.give_up(speed, masters);
        }
        let verdict = inquiry.verdict();
        // Who answers while another is asked was waited for too short a time.
        let is_waiting = |address: &u8| self.queue.iter().any(|(waiting, _)| waiting == address);
        let late: Vec<u8> = strays
            .into_iter()
            .filter(|address| !self.lists.answering.contains(address) && !is_waiting(address))
            .collect();
        self.late.extend(late);
        if let Some(verdict) = verdict {
            self.judge(speed, verdict);
            self.next_address(now);
        }
    }

    fn judge(&mut self, speed: Speed, verdict: Verdict) {
        let Some((mut inquiry, window)) = self.inquiry.take() else { return };
        let is_patient = window > WINDOW;
        let echoes = inquiry.answers().echoes;
        self.outputs.extend(self.lists.echoed(echoes).map(Output::Finding));
        match verdict {
            Verdict::Silent => {
                let heard = self.heard.saturating_sub(self.heard_before);
                self.unasked = self.unasked.saturating_add(heard);
            }
            Verdict::Damaged(address) => {
                self.lists.damaged.push(address);
                // Whatever is asked, and whether anybody is there: nothing is to be found at this speed.
                if self.lists.damaged.len() >= HOPELESS && self.lists.answering.is_empty() {
                    self.queue.clear();
                }
            }
            Verdict::Found(found) => self.found(speed, *found, is_patient),
        }
    }

    fn found(&mut self, speed: Speed, found: Found, is_late: bool) {
        self.found = self.found.saturating_add(1);
        self.lists.answering.insert(found.address);
        let findings = found.findings(speed, is_late);
        self.outputs.push_back(Output::Panel(speed, Box::new(found)));
        self.outputs.extend(findings.into_iter().map(Output::Finding));
    }

    fn end_speed(&mut self) {
        let Some(speed) = self.speed else { return };
        if self.found == 0 && is_shorted(self.heard, self.zeros) {
            return;
        }
        self.any_damaged |= !self.lists.damaged.is_empty();
        let findings = self.lists.damaged_findings(speed);
        self.outputs.extend(findings.into_iter().map(Output::Finding));
    }

    /// Everything was asked: what is the line like?
    fn end(&mut self) {
        self.state = State::Over;
        let heard = self.ears.iter().map(|ear| ear.bytes).sum::<usize>().saturating_add(self.heard);
        let zeros = self.ears.iter().map(|ear| ear.zeros).sum::<usize>().saturating_add(self.zeros);
        let is_nobody = self.found == 0 && !self.any_damaged;
        let speeds = self.plan.speeds.clone();
        if is_nobody && heard >= HEARD && is_shorted(heard, zeros) {
            self.tell(Finding::Shorted);
        } else if self.ears.iter().any(|ear| ear.bytes >= HEARD) || self.unasked >= UNASKED {
            self.tell(Finding::Noise { speeds });
        } else if is_nobody {
            self.tell(Finding::Silent { speeds });
        }
        if !self.plan.thorough {
            self.tell(Finding::NotThorough);
        }
    }

    fn tell(&mut self, finding: Finding) {
        self.outputs.push_back(Output::Finding(finding));
    }

    fn note_noise(&mut self, bytes: &[u8]) {
        let count = bytes.iter().filter(|byte| **byte != MARK).count();
        self.heard = self.heard.saturating_add(count);
        self.zeros = self.zeros.saturating_add(bytes.iter().filter(|byte| **byte == 0).count());
    }
}

/// Whether what was heard is a level: nearly all of it, for its edges may read as something else.
fn is_shorted(heard: usize, zeros: usize) -> bool {
    zeros.saturating_mul(10) >= heard.saturating_mul(9)
}
