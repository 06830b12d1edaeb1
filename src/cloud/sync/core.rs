//! Which messages of the cloud are wanted, and when to ask it. Deterministic: it reads no clock and touches neither
//! network nor disk; time comes with every input, and what is to be done comes out of [`Sync::received`] and
//! [`Sync::poll`].
//!
//! Invariants:
//! - One message is being dealt with at a time: while [`Sync::is_busy`] nothing is received and nothing asked.
//! - An unfinished snapshot is at most [`MAX_BYTES`] of flats, and is given up for one that is wanted more.
//! - While requests wait for an answer, whatever goes wrong waits for the next one's time: a cloud that answers wrongly
//!   is asked as seldom as one that does not answer.
//! - What is in force changes only by [`Sync::applied`] and [`Sync::in_force`].

use std::{collections::VecDeque, time::Duration};

use uuid::Uuid;

use super::{
    assembly::{Assembly, Rank},
    message::Reason,
    read::{Change, Current, Head, Header, Part},
    words::{Counts, Effect, Failure, Ours, Target, Verdict},
};
use crate::{
    cloud::session::Backoff,
    domain::{
        EventBody, Mono, Silence, SyncCode, SyncError,
        event::{SyncApplied, SyncRejected},
    },
};

/// How long an answer may take before the cloud is asked again, doubling up to the second (contract §4: 60 s to 15
/// min); each is lengthened at random by up to a quarter.
const ANSWER: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(720));

/// How soon the cloud is asked again where the broker gave a request to nobody (contract §4: 5 s ± 20 %); lengthened
/// at random by up to a quarter.
const UNHEARD: Duration = Duration::from_millis(4_400);

/// Least time between two requests of a connection, whatever the cloud sends.
const SPACING: Duration = Duration::from_secs(1);

/// An unfinished snapshot whose rest does not come for so long is given up.
const GIVE_UP: Duration = Duration::from_secs(3600);

/// Most bytes of flats of a snapshot: five times those of 100,000 keys with their users.
pub(super) const MAX_BYTES: u64 = 256 << 20;

/// Requests of ours that may wait for an answer at once: one is asked again before its answer came.
const ASKED: usize = 8;

/// Refusals that are recorded as events: this many at once, and one more each time that this has passed. The others are
/// counted; the journal is for what happens at the doors.
const EVENTS: (u32, Duration) = (60, Duration::from_secs(10));

/// What is being done with the last message.
#[derive(Debug)]
enum Doing {
    Nothing,
    Keeping(Part),
    /// `snapshot`: all that is kept; else a delta.
    Applying {
        target: Target,
        requested: bool,
        snapshot: bool,
    },
}

/// The copy of one gateway.
#[derive(Debug)]
pub struct Sync {
    ours: Ours,
    online: bool,
    /// Our requests of this connection that wait for an answer, the newest last.
    asked: VecDeque<Uuid>,
    ask_at: Option<(Mono, Reason)>,
    not_before: Mono,
    waits: Backoff,
    /// As `waits`, while nobody is subscribed.
    unheard: Backoff,
    /// For the ids of requests.
    random: u64,
    /// A revision that the cloud has told of since the last request.
    heard: Option<u64>,
    assembly: Option<Assembly>,
    doing: Doing,
    error: Option<SyncError>,
    silence: Option<Silence>,
    /// Events that may be recorded, and since when they grow again.
    events: (u32, Mono),
    counts: Counts,
    effects: VecDeque<Effect>,
}

impl Sync {
    /// A copy of which `ours` is in force, not connected. `seed` is for jitter and the ids of requests.
    pub fn new(ours: Ours, seed: u64) -> Self {
        Self {
            ours,
            online: false,
            asked: VecDeque::new(),
            ask_at: None,
            not_before: Mono::ZERO,
            waits: Backoff::new(ANSWER.0, ANSWER.1, seed),
            unheard: Backoff::new(UNHEARD, UNHEARD, seed),
            random: seed,
            heard: None,
            assembly: None,
            doing: Doing::Nothing,
            error: None,
            silence: None,
            events: (EVENTS.0, Mono::ZERO),
            counts: Counts::default(),
            effects: VecDeque::new(),
        }
    }

    /// Messages may come, and requests may go.
    pub fn online(&mut self, now: Mono) {
        if !std::mem::replace(&mut self.online, true) {
            self.not_before = now;
            self.ask_at = Some((now, Reason::Connected));
        }
    }

    /// The connection is gone: what was asked on it is asked anew on the next.
    pub fn offline(&mut self) {
        self.online = false;
        self.asked.clear();
        self.ask_at = None;
        self.heard = None;
        self.silence = None;
        self.waits.reset();
        if let Some(assembly) = &mut self.assembly {
            // Its parts may still be of use: the same revision will be asked for.
            assembly.forget_request();
        }
        self.effects.retain(|effect| !matches!(effect, Effect::Ask { .. }));
    }

    /// A valid message came. Not to be called while [`Sync::is_busy`].
    pub fn received(&mut self, header: &Header, now: Mono) -> Verdict {
        if !self.online || self.is_busy() {
            return Verdict::Drop;
        }
        match header {
            Header::Current(current) => self.current(current, now),
            Header::Delta(change) => return self.delta(change, now),
            Header::Part(part) => return self.part(part, now),
        }
        Verdict::Drop
    }

    /// A message was refused before it could be understood.
    pub fn refused(&mut self, error: SyncError, now: Mono) {
        self.reject(error, now);
    }

    /// Messages were lost on the way.
    pub fn missed(&mut self, now: Mono) {
        self.heard = Some(u64::MAX);
        self.want(Reason::Gap, now);
    }

    /// The broker has taken the last request; `heard`: it gave it to somebody. What nobody heard nobody answers.
    pub fn taken(&mut self, heard: bool, now: Mono) {
        if self.asked.is_empty() {
            return;
        }
        if heard {
            self.silence = self.silence.filter(|silence| *silence != Silence::NobodySubscribed);
            return;
        }
        self.silence = Some(Silence::NobodySubscribed);
        self.waits.reset();
        let again = now + self.unheard.stretched();
        if let Some((at, _)) = &mut self.ask_at {
            *at = (*at).min(again);
        }
    }

    /// A `resync` command: ask now.
    pub fn resync(&mut self, now: Mono) {
        if self.online {
            self.ask_at = Some((now, Reason::Command));
        }
    }

    /// The part of [`Verdict::Keep`] is kept.
    pub fn kept(&mut self, now: Mono) {
        let Doing::Keeping(part) = std::mem::replace(&mut self.doing, Doing::Nothing) else { return };
        let Some(assembly) = &mut self.assembly else { return };
        assembly.keep(&part, now);
        if assembly.is_whole() {
            let target = Target {
                revision: assembly.rank.revision,
                digest: assembly.digest.clone(),
                empty: assembly.empty,
            };
            self.effects.push_back(Effect::ApplySnapshot(target.clone()));
            let requested = assembly.requested;
            self.doing = Doing::Applying { target, requested, snapshot: true };
            return;
        }
        // The rest is on its way: it has as long as an answer.
        let rest = now + ANSWER.0;
        match &mut self.ask_at {
            Some((at, _)) if *at > now => *at = (*at).max(rest),
            Some(_) => {}
            none => *none = Some((rest, Reason::Timeout)),
        }
    }

    /// What was to be applied is in force.
    pub fn applied(&mut self, ours: Ours, now: Mono) {
        let Doing::Applying { requested, snapshot, .. } = std::mem::replace(&mut self.doing, Doing::Nothing)
        else {
            return;
        };
        if snapshot {
            self.drop_assembly();
        }
        self.counts.applied += 1;
        if let Some(revision) = ours.revision {
            let applied = SyncApplied { revision, digest: ours.digest.clone() };
            self.effects.push_back(Effect::Record(EventBody::SyncApplied(applied)));
        }
        self.ours = ours;
        self.is_well();
        if requested {
            self.answered(now);
        } else if self.asked.is_empty() {
            self.ask_at = None;
            self.look_behind(now);
        }
        self.drop_old_assembly();
    }

    /// What was to be kept or applied is not.
    pub fn failed(&mut self, Failure(error): Failure, now: Mono) {
        let before = std::mem::replace(&mut self.doing, Doing::Nothing);
        let (revision, snapshot) = match before {
            Doing::Nothing => return,
            Doing::Keeping(part) => (part.head.revision, true),
            Doing::Applying { target, snapshot, .. } => (target.revision, snapshot),
        };
        if snapshot {
            self.drop_assembly();
        }
        let code = error.code;
        self.reject(error.of(Some(revision)), now);
        match code {
            SyncCode::Digest => self.want(Reason::Digest, now),
            SyncCode::Base => self.want(Reason::Gap, now),
            SyncCode::Storage if self.online && self.ask_at.is_none() => {
                self.ask_at = Some((now + self.waits.stretched(), Reason::Timeout));
            }
            _ => {}
        }
    }

    /// Something else has changed what is in force: an import.
    pub fn in_force(&mut self, ours: Ours, now: Mono) {
        if self.ours == ours {
            return;
        }
        self.ours = ours;
        self.effects.push_back(Effect::Show);
        self.drop_old_assembly();
        if self.online {
            self.ask_at = Some((now, Reason::Digest));
        }
    }

    /// What to do now; to be called until it has nothing to say, after every input and at [`Sync::deadline`].
    pub fn poll(&mut self, now: Mono) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        match self.ask_at {
            Some((at, reason)) if self.online && !self.is_busy() && now >= at.max(self.not_before) => {
                Some(self.ask(reason, now))
            }
            _ => None,
        }
    }

    /// When [`Sync::poll`] is to be called although nothing came.
    pub fn deadline(&self) -> Mono {
        match self.ask_at {
            Some((at, _)) if self.online && !self.is_busy() => at.max(self.not_before),
            _ => Mono::NEVER,
        }
    }

    /// Whether something is being kept or applied.
    pub fn is_busy(&self) -> bool {
        !matches!(self.doing, Doing::Nothing)
    }

    /// What is in force.
    pub fn ours(&self) -> &Ours {
        &self.ours
    }

    /// Why the last message was refused; `None`: nothing was since the last success.
    pub fn error(&self) -> Option<&SyncError> {
        self.error.as_ref()
    }

    /// Why nobody answers; `None`: somebody did, or has the time to.
    pub fn silence(&self) -> Option<Silence> {
        self.silence
    }

    /// What happened since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn current(&mut self, current: &Current, now: Mono) {
        let head = &current.head;
        if self.is_ours(head) {
            self.has_ours(head, now);
        } else if self.request_of(head) > 0 {
            let message = "the cloud says that this is current, and ours is another";
            self.reject(SyncError::new(SyncCode::Digest, message).of(Some(head.revision)), now);
            self.want(Reason::Digest, now);
        } else if self.is_above_ours(head, now) {
            self.heard = self.heard.max(Some(head.revision));
            self.want(Reason::Gap, now);
        }
    }

    fn delta(&mut self, change: &Change, now: Mono) -> Verdict {
        let head = &change.head;
        if self.is_ours(head) {
            self.has_ours(head, now);
            return Verdict::Drop;
        }
        let requested = self.request_of(head) > 0;
        if !requested && !self.is_above_ours(head, now) {
            return Verdict::Drop;
        }
        if Some(change.base) != self.ours.revision {
            let ours = self.ours.revision.map_or("none".to_owned(), |revision| revision.to_string());
            let message = format!("it builds on revision {}, ours is {ours}", change.base);
            self.reject(SyncError::new(SyncCode::Base, message).of(Some(head.revision)).at("base"), now);
            self.heard = self.heard.max(Some(head.revision));
            self.want(Reason::Gap, now);
            return Verdict::Drop;
        }
        let target = Target { revision: head.revision, digest: head.digest.clone(), empty: change.empty };
        self.doing = Doing::Applying { target: target.clone(), requested, snapshot: false };
        Verdict::Apply { base: change.base, target }
    }

    fn part(&mut self, part: &Part, now: Mono) -> Verdict {
        let head = &part.head;
        if self.is_ours(head) {
            self.has_ours(head, now);
            return Verdict::Drop;
        }
        let request = self.request_of(head);
        let is_news = self.is_above_ours(head, now);
        let rank = Rank { back: if is_news { 0 } else { request }, revision: head.revision };
        let assembly = match self.assembly.take() {
            Some(assembly) if assembly.has_place_for(part) => assembly,
            before if request == 0 && !is_news => {
                self.assembly = before;
                return Verdict::Drop;
            }
            Some(before) if rank < before.rank => {
                if is_news {
                    self.heard = self.heard.max(Some(head.revision));
                }
                self.assembly = Some(before);
                return Verdict::Drop;
            }
            _ => Assembly::new(part, rank, now),
        };
        let assembly = self.assembly.insert(assembly);
        assembly.rank = assembly.rank.max(rank);
        assembly.requested |= request > 0;
        if assembly.has(part.part) {
            return Verdict::Drop;
        }
        if assembly.bytes().saturating_add(part.bytes) > MAX_BYTES {
            self.drop_assembly();
            let message = format!("a snapshot may have at most {} MiB of flats", MAX_BYTES >> 20);
            self.reject(SyncError::new(SyncCode::Invalid, message).of(Some(head.revision)).at("flats"), now);
            return Verdict::Drop;
        }
        let fresh = assembly.is_new();
        self.doing = Doing::Keeping(part.clone());
        Verdict::Keep { fresh }
    }

    fn is_ours(&self, head: &Head) -> bool {
        self.ours.revision == Some(head.revision) && self.ours.digest == head.digest
    }

    /// What is ours already only publishes `sync/state` again, and answers our request.
    fn has_ours(&mut self, head: &Head, now: Mono) {
        self.is_well();
        if self.request_of(head) > 0 {
            self.answered(now);
        }
    }

    /// Whether an unrequested revision is news. Another content under our own number is no news, but a reason to ask.
    fn is_above_ours(&mut self, head: &Head, now: Mono) -> bool {
        if self.ours.revision == Some(head.revision) {
            self.want(Reason::Digest, now);
        }
        Some(head.revision) > self.ours.revision
    }

    /// Which of our open requests this answers, from 1; 0: none.
    fn request_of(&self, head: &Head) -> usize {
        let is_it = |request: &Uuid| self.asked.iter().position(|asked| asked == request);
        head.request.as_ref().and_then(is_it).map_or(0, |index| index + 1)
    }

    fn is_well(&mut self) {
        self.error = None;
        self.effects.push_back(Effect::Show);
    }

    fn answered(&mut self, now: Mono) {
        self.asked.clear();
        self.silence = None;
        self.ask_at = None;
        self.waits.reset();
        if let Some(assembly) = &mut self.assembly {
            assembly.forget_request();
        }
        self.drop_old_assembly();
        self.look_behind(now);
        if self.ask_at.is_none()
            && let Some(assembly) = &self.assembly
        {
            self.ask_at = Some((assembly.progress + ANSWER.0, Reason::Timeout));
        }
    }

    /// Asks where more has been heard of than what is in force now.
    fn look_behind(&mut self, now: Mono) {
        if self.heard.take() > self.ours.revision {
            self.want(Reason::Gap, now);
        }
    }

    /// Asks at once; while an answer is waited for, when that is due.
    fn want(&mut self, reason: Reason, now: Mono) {
        if !self.online {
            return;
        }
        match &mut self.ask_at {
            Some((_, due)) if !self.asked.is_empty() => *due = reason,
            Some((_, Reason::Connected | Reason::Command)) => {}
            ask_at => *ask_at = Some((now, reason)),
        }
    }

    fn ask(&mut self, reason: Reason, now: Mono) -> Effect {
        let is_under_way = self.assembly.as_ref().is_some_and(|assembly| assembly.requested);
        if reason == Reason::Timeout && !self.asked.is_empty() && !is_under_way {
            self.silence.get_or_insert(Silence::NoAnswer);
        }
        let id = self.new_id();
        if self.asked.len() == ASKED {
            self.asked.pop_front();
            if let Some(assembly) = &mut self.assembly {
                assembly.rank.back = assembly.rank.back.saturating_sub(1);
            }
        }
        self.asked.push_back(id);
        self.ask_at = Some((now + self.waits.stretched(), Reason::Timeout));
        self.not_before = now + SPACING;
        self.heard = None;
        self.counts.requests += 1;
        if self.assembly.as_ref().is_some_and(|assembly| now.since(assembly.progress) >= GIVE_UP) {
            self.drop_assembly();
        }
        Effect::Ask { id, reason }
    }

    fn drop_assembly(&mut self) {
        if self.assembly.take().is_some() {
            self.effects.push_back(Effect::Clear);
        }
    }

    /// An unfinished snapshot that nobody asked for is of use only while it is news.
    fn drop_old_assembly(&mut self) {
        let old =
            |assembly: &Assembly| !assembly.requested && Some(assembly.rank.revision) <= self.ours.revision;
        if self.assembly.as_ref().is_some_and(old) {
            self.drop_assembly();
        }
    }

    fn reject(&mut self, error: SyncError, now: Mono) {
        let index = SyncCode::ALL.iter().position(|code| *code == error.code).unwrap_or(0);
        self.counts.rejected[index] += 1;
        let (left, since) = &mut self.events;
        let grown = now.since(*since).as_nanos() / EVENTS.1.as_nanos();
        if grown > 0 {
            *left = left.saturating_add(u32::try_from(grown).unwrap_or(u32::MAX)).min(EVENTS.0);
            *since = now;
        }
        if *left > 0 {
            *left -= 1;
            let body = EventBody::SyncRejected(SyncRejected { error: error.clone() });
            self.effects.push_back(Effect::Record(body));
        }
        self.error = Some(error);
        self.effects.push_back(Effect::Show);
    }

    fn new_id(&mut self) -> Uuid {
        let mut half = || {
            // splitmix64: its sequence from a random seed is as good as random for ids.
            self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (mixed ^ (mixed >> 31)).to_be_bytes()
        };
        let (high, low) = (half(), half());
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high);
        bytes[8..].copy_from_slice(&low);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}
