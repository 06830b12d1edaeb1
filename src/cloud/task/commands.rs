//! Commands: what came on `commands` goes to the desk, and what the desk asks for to store, gateway and broker.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Came, Done, Uplink};
use crate::{
    clock::{self, Clock},
    cloud::{
        client::{Message, Received},
        command::{
            Answer, Believed, Command, Effect, EventRange, Incoming, Order, Outcome, Registered, Token,
        },
        session::{Ack, ReplayEnd, ReplayId, ReplayRefused},
        signature,
        topic::Topic,
    },
    domain::{ErrorCode, Mono},
    store::{Begun, StoreError},
    sys,
};

/// Something that a command waited for.
pub(super) enum CommandDone {
    Registered(Uuid, Registered),
    Performed(Uuid, Outcome),
    /// The first and the last sequence in the time that a replay asked for; `None`: there is no event in it.
    Found(Uuid, String, Result<Option<(u64, u64)>, String>),
    Kept(Uuid),
}

impl Uplink {
    /// A message on `commands`.
    pub(super) fn command_received(
        &mut self,
        received: &Received,
        opened: Result<&[u8], signature::Refused>,
        now: Mono,
    ) {
        let payload = match opened {
            Ok(payload) => payload.to_vec(),
            Err(_) => signature::claimed(&received.payload).into_owned(),
        };
        let incoming = Incoming { payload, refused: opened.err(), retained: received.retain };
        self.desk.received(incoming, believed(&self.handles.clock), now);
    }

    /// The connection of this session is online.
    pub(super) fn obey_from_now_on(&mut self) {
        self.desk.online(believed(&self.handles.clock), clock::mono());
    }

    pub(super) fn command_done(&mut self, done: CommandDone, now: Mono) {
        match done {
            CommandDone::Registered(id, registered) => {
                self.desk.registered(id, registered, believed(&self.handles.clock), now);
            }
            CommandDone::Performed(id, outcome) => self.desk.performed(id, outcome),
            CommandDone::Found(id, journal, Ok(Some((from, to)))) => self.replay(id, &journal, from, to),
            CommandDone::Found(id, _, Ok(None)) => {
                let none = Answer::Replayed { events: 0, absent: Vec::new() };
                self.desk.performed(id, Outcome::done(&none));
            }
            CommandDone::Found(id, _, Err(why)) => {
                self.desk.performed(id, Outcome::failed(ErrorCode::Storage, why));
            }
            CommandDone::Kept(id) => self.desk.kept(id),
        }
    }

    pub(super) fn result_acknowledged(&mut self, token: Token, ack: &Ack, now: Mono) {
        self.note_forbidden(&Topic::Results, ack);
        self.desk.acknowledged(token, ack, now);
    }

    /// Does what the desk asks for.
    pub(super) fn obey(&mut self, effect: Effect) {
        match effect {
            Effect::Register { id, command, expires_at } => {
                let journal = self.handles.journal.clone();
                self.jobs.push(Box::pin(async move {
                    let registered = match journal.begin_command(id, command, expires_at).await {
                        Ok(Begun::New) => Registered::New,
                        Ok(Begun::Known(first)) => Registered::Known(first),
                        Ok(Begun::Full) => Registered::Full,
                        Err(error) => Registered::Failed(error.to_string()),
                    };
                    Done::Command(CommandDone::Registered(id, registered))
                }));
            }
            Effect::Recall { id } => {
                let reader = self.handles.journal.reader();
                self.blocking(
                    move || reader.command(id).map_err(|error: StoreError| error.to_string()),
                    move |known| {
                        let registered = match known {
                            Ok(Some(first)) => Registered::Known(first),
                            Ok(None) => Registered::Unknown,
                            Err(why) => Registered::Failed(why),
                        };
                        Done::Command(CommandDone::Registered(id, registered))
                    },
                );
            }
            Effect::Perform(order) => self.perform_order(order),
            Effect::Keep { id, result } => {
                let journal = self.handles.journal.clone();
                self.jobs.push(Box::pin(async move {
                    if let Err(error) = journal.end_command(id, result).await {
                        tracing::warn!(%id, %error, "the result of a command cannot be kept");
                    }
                    Done::Command(CommandDone::Kept(id))
                }));
            }
            Effect::Publish { token, payload } => {
                let message = Message {
                    topic: self.root.full(&Topic::Results),
                    payload,
                    retain: false,
                    content_type: Some("application/json"),
                };
                self.publish(message, move |ack| Came::Result(token, ack));
            }
        }
    }

    fn perform_order(&mut self, order: Order) {
        let id = order.id;
        tracing::info!(%id, command = order.command.kind(), "the cloud commands");
        match order.command {
            Command::Replay { journal, range: EventRange::Sequences { from, to } } => {
                self.replay(id, &journal, from, to);
            }
            Command::Replay { journal, range: EventRange::Times { since, until } } => {
                self.find(id, journal, since, until);
            }
            Command::Resync => {
                self.syncing.core.resync(clock::mono());
                self.desk.performed(id, Outcome::done(&Answer::Nothing));
            }
            Command::Unlock(_) | Command::MeasureLine { .. } | Command::Report | Command::LogLevel { .. } => {
                let outcome = (Arc::clone(&self.handles.perform))(order);
                self.jobs
                    .push(Box::pin(async move { Done::Command(CommandDone::Performed(id, outcome.await)) }));
            }
        }
    }

    fn replay(&mut self, id: Uuid, journal: &str, from: u64, to: u64) {
        match self.session.replay(journal, from, to) {
            Ok(replay) => drop(self.replays.insert(replay, id)),
            Err(refused) => self.refuse(id, &refused),
        }
    }

    fn refuse(&mut self, id: Uuid, refused: &ReplayRefused) {
        let code = if refused.is_unknown() { ErrorCode::UnknownJournal } else { ErrorCode::RateLimited };
        self.desk.performed(id, Outcome::failed(code, refused.to_string()));
    }

    /// Looks for the sequences of a time, to replay them.
    fn find(&mut self, id: Uuid, journal: String, since: Timestamp, until: Timestamp) {
        if let Err(refused) = self.session.knows(&journal) {
            return self.refuse(id, &refused);
        }
        let reader = self.handles.journal.reader_of(&journal);
        self.blocking(
            move || {
                let found = reader.and_then(|reader| reader.between(since, until));
                found.map_err(|error: StoreError| error.to_string())
            },
            move |found| Done::Command(CommandDone::Found(id, journal, found)),
        );
    }

    /// A replay is over.
    pub(super) fn replayed(&mut self, replay: ReplayId, end: &ReplayEnd) {
        let Some(id) = self.replays.remove(&replay) else { return };
        let outcome = match end {
            ReplayEnd::Sent { events, absent } => {
                Outcome::done(&Answer::Replayed { events: *events, absent: absent.clone() })
            }
            ReplayEnd::JournalEnded => {
                Outcome::failed(ErrorCode::UnknownJournal, "a new journal was begun meanwhile")
            }
        };
        self.desk.performed(id, outcome);
    }
}

fn believed(clock: &Clock) -> Believed {
    if clock.is_synchronized() {
        return Believed::Now(clock.wall());
    }
    let seconds = clock.trusted_seconds();
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or(Believed::Nothing, Believed::AtLeast)
}

/// The commands that an earlier run has begun and not ended.
pub(super) async fn interrupted(journal: &crate::store::Journal) -> Vec<(Uuid, String)> {
    let reader = journal.reader();
    let reading = sys::blocking(move || reader.unfinished_commands());
    match sys::finished(reading).await {
        Ok(unfinished) => unfinished.into_iter().map(|command| (command.id, command.command)).collect(),
        Err(error) => {
            // Told to those who repeat one of them.
            tracing::warn!(%error, "commands that were interrupted cannot be read");
            Vec::new()
        }
    }
}
