//! Whether a command is obeyed. Deterministic: it reads no clock and touches neither network nor disk; time comes with
//! every input, and what is to be done comes out of [`Desk::poll`].
//!
//! ```text
//!  judged ─► Registering ─ new ─► Performing ─► Keeping ─► outbox
//!    │            └─ known ─► `duplicate`
//!    └ expired, stale ─► Recalling ─ known ─► `duplicate`
//!                             └─ unknown ─► `expired`, `stale_session`
//! ```
//! Invariants:
//! - A command leaves Registering for Performing only with the store's word that its id is new and on the disk.
//! - An id is in `running` from its acceptance until its result is on the disk; its repetitions are duplicates.
//! - Before `status` online nothing is looked at; what came earlier waits, a little of it.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};
use litemap::LiteMap;
use serde_json::Value;
use uuid::Uuid;

use super::{
    Command, Order, Outcome, Request,
    outbox::{Outbox, Token},
};
use crate::{
    cloud::{session::Ack, signature::Refused},
    domain::{Bucket, ErrorCode, Mono},
};

/// Commands that are judged, performed or kept at once.
const RUNNING: usize = 32;

/// Messages that wait for `status` online, which is a second away at most. More than these are lost, as those of a
/// second earlier were.
const EARLY: usize = 16;

/// How fast commands other than unlocks are obeyed: a burst, and then one after each interval. A whole cabinet can be
/// measured in one burst.
const OTHERS: (u32, Duration) = (300, Duration::from_millis(500));

/// How fast messages that are not obeyed are answered; more than these are only counted.
const REFUSALS: (u32, Duration) = (64, Duration::from_millis(100));

/// A server's clock may be ahead of ours by so much for its `expires_at` still to be near enough.
const SKEW: SignedDuration = SignedDuration::from_millis(500);

/// What is known of the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Believed {
    /// The clock is synchronised.
    Now(Timestamp),
    /// It is not, and it is at least so late: the last synchronised time plus the time since boot.
    AtLeast(Timestamp),
    /// It never was.
    Nothing,
}

/// A message on `commands`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The object, or what of it could be read.
    pub payload: Vec<u8>,
    /// It is not from the cloud.
    pub refused: Option<Refused>,
    /// It was published with RETAIN.
    pub retained: bool,
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Commit the id, unless it is known; tell [`Desk::registered`].
    Register {
        /// The command's id.
        id: Uuid,
        /// Its name.
        command: &'static str,
        /// When it may be forgotten for want of room.
        expires_at: Timestamp,
    },
    /// Look whether the id is known; tell [`Desk::registered`].
    Recall {
        /// The command's id.
        id: Uuid,
    },
    /// Perform it, once; tell [`Desk::performed`].
    Perform(Order),
    /// Commit the result of a committed id; tell [`Desk::kept`].
    Keep {
        /// The command's id.
        id: Uuid,
        /// The message for `results`.
        result: String,
    },
    /// Publish a message on `results`; tell [`Desk::acknowledged`].
    Publish {
        /// To be told with the acknowledgement.
        token: Token,
        /// The message.
        payload: String,
    },
}

/// What the store knows of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It was new, and is on the disk now. Only after [`Effect::Register`].
    New,
    /// It was acted on before, with this result; `None`: none was committed.
    Known(Option<String>),
    /// It is not known. Only after [`Effect::Recall`].
    Unknown,
    /// There are too many ids whose time is not over.
    Full,
    /// The disk does not take it, or cannot be read: why.
    Failed(String),
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands performed.
    pub obeyed: u64,
    /// Messages that were not obeyed, whether that was answered or not.
    pub refused: u64,
    /// Results that were never published, for there were too many.
    pub dropped: u64,
}

#[derive(Debug)]
struct Running {
    command: &'static str,
    state: State,
}

#[derive(Debug)]
enum State {
    Registering { command: Command, expires_at: Timestamp, caused: Mono },
    Recalling { verdict: Outcome },
    Performing,
    Keeping { result: String },
}

/// Judges commands.
#[derive(Debug)]
pub struct Desk {
    session: Uuid,
    online: bool,
    early: VecDeque<Incoming>,
    running: LiteMap<Uuid, Running>,
    effects: VecDeque<Effect>,
    outbox: Outbox,
    unlocks: Bucket,
    others: Bucket,
    refusals: Bucket,
    counts: Counts,
}

impl Desk {
    /// A desk without a connection. `interrupted`: ids and names of commands that an earlier run has begun and not
    /// ended.
    pub fn new(interrupted: impl IntoIterator<Item = (Uuid, String)>) -> Self {
        let bucket = |(burst, every)| Bucket::new(burst, every);
        let mut desk = Self {
            session: Uuid::nil(),
            online: false,
            early: VecDeque::new(),
            running: LiteMap::new(),
            effects: VecDeque::new(),
            outbox: Outbox::default(),
            unlocks: Bucket::of_unlocks(),
            others: bucket(OTHERS),
            refusals: bucket(REFUSALS),
            counts: Counts::default(),
        };
        for (id, command) in interrupted {
            // Whatever an earlier version called it.
            let known = super::KINDS.iter().find(|kind| **kind == command);
            let command = known.copied().unwrap_or("unknown");
            desk.running.insert(id, Running { command, state: State::Performing });
            desk.performed(id, interrupted_outcome());
        }
        desk
    }

    /// A connection is made that goes by `session`; nothing is obeyed yet.
    pub fn connected(&mut self, session: Uuid) {
        self.session = session;
        self.disconnected();
    }

    /// `status` online is published: what came meanwhile is judged, and what comes from now on.
    pub fn online(&mut self, time: Believed, now: Mono) {
        self.online = true;
        for incoming in std::mem::take(&mut self.early) {
            self.judge(&incoming, time, now);
        }
    }

    /// The connection is gone, or is being closed. What was begun goes on.
    pub fn disconnected(&mut self) {
        self.online = false;
        self.early.clear();
        self.outbox.forget();
    }

    /// A message came.
    pub fn received(&mut self, mut incoming: Incoming, time: Believed, now: Mono) {
        if self.online {
            self.judge(&incoming, time, now);
        } else if self.early.len() < EARLY {
            // Longer ones are refused for their length.
            incoming.payload.truncate(super::request::LONGEST + 1);
            self.early.push_back(incoming);
        } else {
            self.counts.refused += 1;
        }
    }

    /// What the store said of an id.
    pub fn registered(&mut self, id: Uuid, registered: Registered, time: Believed, now: Mono) {
        let Some(Running { command: kind, state }) = self.running.get_mut(&id) else { return };
        let kind = *kind;
        let state = std::mem::replace(state, State::Performing);
        let (begun, verdict) = match state {
            State::Registering { command, expires_at, caused } => (
                Some(Order { id, command, caused }),
                is_expired(expires_at, &time).then_some(Outcome::Expired),
            ),
            State::Recalling { verdict } => (None, Some(verdict)),
            other => {
                self.running.insert(id, Running { command: kind, state: other });
                return;
            }
        };
        match (registered, begun, verdict) {
            (Registered::New, Some(order), verdict) => {
                // An unlock's own two seconds are watched by its bus; with no clock the session has decided.
                let late = verdict.filter(|_| !decided_by_session(&order.command, &time));
                match late {
                    Some(verdict) => self.performed(id, verdict),
                    None => {
                        self.counts.obeyed += 1;
                        self.effects.push_back(Effect::Perform(order));
                    }
                }
            }
            (Registered::Known(Some(first)), ..) => {
                self.running.remove(&id);
                let first = serde_json::from_str(&first).unwrap_or(Value::Null);
                self.refuse(Some(id), Some(kind), &Outcome::Duplicate(first), now);
            }
            // It does not run here, so the run that began it is over.
            (Registered::Known(None), ..) => self.performed(id, interrupted_outcome()),
            (Registered::Full, ..) => {
                self.running.remove(&id);
                let outcome = Outcome::rejected(
                    ErrorCode::RateLimited,
                    "too many commands of the last day are still valid: give them an earlier expires_at",
                );
                self.refuse(Some(id), Some(kind), &outcome, now);
            }
            (Registered::Failed(why), Some(_), _) => {
                self.running.remove(&id);
                let message = format!("nothing was done, for the id cannot be kept: {why}");
                self.refuse(Some(id), Some(kind), &Outcome::failed(ErrorCode::Storage, message), now);
            }
            (_, _, verdict) => {
                self.running.remove(&id);
                self.refuse(Some(id), Some(kind), &verdict.unwrap_or(Outcome::Expired), now);
            }
        }
    }

    /// What came of a command that was performed.
    pub fn performed(&mut self, id: Uuid, outcome: Outcome) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let result = outcome.to_json(Some(id), Some(running.command));
        running.state = State::Keeping { result: result.clone() };
        self.effects.push_back(Effect::Keep { id, result });
    }

    /// A result is on the disk, or could not be brought there: then a repetition after a restart is `interrupted`.
    pub fn kept(&mut self, id: Uuid) {
        if let Some(Running { state: State::Keeping { result }, .. }) = self.running.remove(&id) {
            self.outbox.push(result, false);
        }
    }

    /// The broker answered for a result.
    pub fn acknowledged(&mut self, token: Token, ack: &Ack, now: Mono) {
        self.outbox.acknowledged(token, ack, now);
    }

    /// What to do now; to be called until it has nothing to say, after every input and at [`Desk::deadline`].
    pub fn poll(&mut self, now: Mono) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        let (token, payload) = self.online.then(|| self.outbox.poll(now))??;
        Some(Effect::Publish { token, payload })
    }

    /// When [`Desk::poll`] is to be called although nothing came.
    pub fn deadline(&self, now: Mono) -> Mono {
        if self.online { self.outbox.deadline(now) } else { Mono::NEVER }
    }

    /// What happened since the start.
    pub fn counts(&self) -> Counts {
        Counts { dropped: self.outbox.dropped(), ..self.counts }
    }

    fn judge(&mut self, incoming: &Incoming, time: Believed, now: Mono) {
        let refused = incoming.refused.map(|refused| (ErrorCode::from(refused), refused.to_string()));
        let retained = incoming
            .retained
            .then(|| (ErrorCode::Retained, "a command must be published without RETAIN".to_owned()));
        if let Some((code, message)) = refused.or(retained) {
            let (id, command) = Request::names(&incoming.payload);
            let rejected = super::Rejected::new(id, command, code, message);
            return self.reject(&rejected, now);
        }
        match Request::parse(&incoming.payload) {
            Ok(request) => self.judge_request(request, &time, now),
            Err(rejected) => self.reject(&rejected, now),
        }
    }

    fn judge_request(&mut self, request: Request, time: &Believed, now: Mono) {
        let Request { id, command, expires_at, session } = request;
        let kind = command.kind();
        if self.running.contains_key(&id) {
            return self.refuse(Some(id), Some(kind), &Outcome::Duplicate(Value::Null), now);
        }
        let unlocks = matches!(command, Command::Unlock(_));
        let bucket = if unlocks { &mut self.unlocks } else { &mut self.others };
        if self.running.len() >= RUNNING || !bucket.take(now) {
            let outcome = Outcome::rejected(
                ErrorCode::RateLimited,
                "commands come faster than this gateway obeys them; send it again later",
            );
            return self.refuse(Some(id), Some(kind), &outcome, now);
        }
        let (state, effect) = match self.verdict(&command, expires_at, session, time) {
            Some(verdict) => (State::Recalling { verdict }, Effect::Recall { id }),
            None => (
                State::Registering { command, expires_at, caused: now },
                Effect::Register { id, command: kind, expires_at },
            ),
        };
        self.running.insert(id, Running { command: kind, state });
        self.effects.push_back(effect);
    }

    /// Why it is not to be obeyed, unless it has been before.
    fn verdict(
        &self,
        command: &Command,
        expires_at: Timestamp,
        session: Option<Uuid>,
        time: &Believed,
    ) -> Option<Outcome> {
        if matches!(command, Command::Unlock(_)) {
            match session {
                None => {
                    let message = "an unlock must carry the session of the retained status";
                    return Some(Outcome::rejected(ErrorCode::Invalid, message));
                }
                Some(session) if session != self.session => {
                    let message = "it is meant for an earlier connection; read the retained status again";
                    return Some(Outcome::rejected(ErrorCode::StaleSession, message));
                }
                Some(_) => {}
            }
        }
        if decided_by_session(command, time) {
            return None;
        }
        if is_expired(expires_at, time) {
            return Some(Outcome::Expired);
        }
        let longest = SignedDuration::try_from(command.longest_validity()).unwrap_or_default() + SKEW;
        match time {
            Believed::Now(present) if expires_at.duration_since(*present) > longest => {
                let seconds = command.longest_validity().as_secs();
                let message = format!("expires_at must be at most {seconds} s ahead");
                Some(Outcome::rejected(ErrorCode::Invalid, message))
            }
            _ => None,
        }
    }

    fn reject(&mut self, rejected: &super::Rejected, now: Mono) {
        let outcome = Outcome::Rejected(rejected.failure.clone());
        self.refuse(rejected.id, rejected.command.as_deref(), &outcome, now);
    }

    /// Answers a message that nothing was done for.
    fn refuse(&mut self, id: Option<Uuid>, command: Option<&str>, outcome: &Outcome, now: Mono) {
        self.counts.refused += 1;
        if self.refusals.take(now) {
            self.outbox.push(outcome.to_json(id, command), true);
        }
    }
}

/// While nobody vouches for the clock, an unlock's session is all that tells whether it is meant (contract §4).
fn decided_by_session(command: &Command, time: &Believed) -> bool {
    matches!(command, Command::Unlock(_)) && !matches!(time, Believed::Now(_))
}

fn is_expired(expires_at: Timestamp, time: &Believed) -> bool {
    match time {
        Believed::Now(present) | Believed::AtLeast(present) => expires_at <= *present,
        Believed::Nothing => false,
    }
}

fn interrupted_outcome() -> Outcome {
    Outcome::failed(ErrorCode::Interrupted, "the gateway ended before it was done; it is not done again")
}
