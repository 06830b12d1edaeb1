//! The shell around the session: performs its effects with client and store, and tells it what came.
//!
//! One loop owns everything. What takes time runs beside it, as an answer of the broker or as a job of the store, and
//! comes back as a value; nothing in the loop waits for anything else.

mod bad_messages;
mod commands;
mod connection;
mod show;
mod sync;
mod worker;

use std::{
    collections::BTreeMap, future::Future, io, mem::Discriminant, path::Path, pin::Pin, sync::Arc,
    time::Duration,
};

use bad_messages::Bad;
use commands::CommandDone;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use serde::de::IgnoredAny;
use tokio::{sync::watch, time::sleep};
use uuid::Uuid;

use super::{
    Handles, Secrets, Settings,
    client::{self, Connection, Message, Received},
    command::{self, Desk},
    health::Pace,
    message::{Committed, Presence, StatusSeen},
    retained::Board,
    session::{Ack, Effect, End, Event, Kept, ReadId, ReplayId, Session, Token, Trouble},
    signature::{self, Signatures},
    topic::{Root, Topic},
};
use crate::{
    clock,
    domain::{Mono, StoredEvent, json},
    faults,
    store::Position,
    sys,
};
use sync::{SyncDone, Syncing};
use worker::Worker;

/// The loop turns at least so often.
const TURN: Duration = Duration::from_secs(1);

/// Longest wait for the end of a connection after our good-bye.
const GOODBYE: Duration = Duration::from_millis(300);

/// Work that is waited for beside everything else.
type Job<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs the uplink until `shutdown` is true (or its sender is gone), and then says good-bye: `status` offline is
/// published, what is in flight is waited for, at most 2 s in all.
///
/// # Errors
/// A thread cannot be started, or that of the sync has ended. Whatever the broker does is told in
/// [`UplinkStatus`](crate::domain::UplinkStatus) and tried again.
pub async fn run(
    settings: Settings,
    handles: Handles,
    mut shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let worker = Worker::start(Arc::clone(&handles.worker_beat))?;
    // `status` names the journal, and a request for a sync what is in force.
    if !opened(&handles, &mut shutdown).await {
        return Ok(());
    }
    let interrupted = commands::interrupted(&handles.journal).await;
    let mut uplink = Uplink::new(settings, handles, Desk::new(interrupted), worker);
    let mut position = uplink.position.clone();
    let mut archives = uplink.archives.clone();
    let mut panels = uplink.handles.panels.clone();
    let mut lines = uplink.handles.lines.clone();
    let mut building = uplink.handles.building.clone();
    let mut health = uplink.handles.health.clone();
    let mut cache = uplink.handles.cache.state();
    uplink.show_panels();
    uplink.show_lines();
    uplink.show_sync_state();
    loop {
        faults::pause("the uplink").await;
        if uplink.syncing.worker.has_ended() {
            anyhow::bail!("the thread of the sync has ended");
        }
        uplink.turn();
        if uplink.session.is_done() {
            uplink.tell();
            return Ok(());
        }
        let wait = uplink.wait();
        tokio::select! {
            event = next_event(&mut uplink.connection), if uplink.syncing.has_room() => uplink.happened(event),
            Some(came) = uplink.answers.next() => {
                uplink.came(came);
                while let Some(Some(came)) = uplink.answers.next().now_or_never() {
                    uplink.came(came);
                }
            }
            Some(done) = uplink.jobs.next() => uplink.done(done),
            () = changed(&mut position) => {}
            () = changed(&mut archives) => {}
            () = changed(&mut panels) => uplink.show_panels(),
            () = changed(&mut lines) => uplink.show_lines(),
            () = changed(&mut building) => uplink.show_panels(),
            () = changed(&mut cache) => {}
            () = changed(&mut health) => {}
            _ = shutdown.wait_for(|stop| *stop), if !uplink.closing => {
                uplink.closing = true;
                uplink.desk.disconnected();
                uplink.look_at_journal();
                uplink.session.shut_down(clock::mono());
            }
            () = sleep(wait) => {}
        }
    }
}

/// Waits until the databases are open; whether they are before the daemon ends.
async fn opened(handles: &Handles, shutdown: &mut watch::Receiver<bool>) -> bool {
    let mut ticks = tokio::time::interval(TURN);
    let mut both = std::pin::pin!(async {
        handles.journal.opened().await.is_ok() && handles.cache.opened().await.is_ok()
    });
    loop {
        tokio::select! {
            are_open = &mut both => return are_open,
            _ = shutdown.wait_for(|stop| *stop) => return false,
            _ = ticks.tick() => handles.turned(),
        }
    }
}

/// What the broker answered.
enum Came {
    Event(Token, Ack),
    Status(Ack),
    Result(command::Token, Ack),
    Retained(Topic, Ack),
    /// To a `sync/request`.
    Asked(Ack),
    /// Topics that it does not let us subscribe to.
    Subscribed(Vec<String>),
    /// The connection ended first.
    Nothing,
}

/// What was done apart from the loop, for it takes its time.
enum Done {
    Read(ReadId, Result<Vec<Event>, String>),
    Secrets(Result<Secrets, String>),
    Renewed(Result<(), String>),
    Saved(Result<(), String>),
    Command(CommandDone),
    Sync(SyncDone),
}

struct Uplink {
    settings: Settings,
    handles: Handles,
    position: watch::Receiver<Position>,
    archives: watch::Receiver<Arc<[Position]>>,
    root: Root,
    session: Session,
    desk: Desk,
    /// Which messages from below are the cloud's.
    signatures: Signatures,
    /// Commands that wait for the end of a replay.
    replays: BTreeMap<ReplayId, Uuid>,
    syncing: Syncing,
    board: Board,
    /// When `health` goes onto the board.
    health_pace: Pace,
    /// What Home Assistant was told of.
    shown_home: Option<show::HomeSeen>,
    /// What `info` says of the clock.
    shown_clock: Option<bool>,
    /// The file of `board` is being written: nothing of it is published.
    saving: bool,
    connection: Option<Connection>,
    /// The connection under way or up: its identity, since when, and whether it is encrypted.
    identity: Uuid,
    since: jiff::Timestamp,
    tls: bool,
    /// Secrets are being read for a connection, whose will has this `last`.
    connecting: Option<u64>,
    renewing: bool,
    /// When the end of the connection is not waited for any longer.
    drop_at: Mono,
    answers: FuturesUnordered<Job<Came>>,
    jobs: FuturesUnordered<Job<Done>>,
    announcing: usize,
    closing: bool,
    connections: u64,
    online_since: Option<Mono>,
    /// Why there is no connection.
    failure: Option<String>,
    /// What the broker's rules forbid on this connection.
    forbidden: Option<String>,
    /// Who claimed to know more of our journal than there is, and when.
    ignored: Option<(Mono, String)>,
    logged_failure: Option<String>,
    /// The kind of trouble that was logged last, and when it was last seen.
    logged_trouble: Option<(Discriminant<Trouble>, Mono)>,
    logged_rival: bool,
    /// Messages on `events/committed` that could not be read.
    bad_committed: Bad,
    /// Messages on `sync/flats` that were refused; how many there were since the start.
    bad_flats: Bad,
    rejected: u64,
}

/// Returns the names of the topics that are retained at the broker; empty where they are not known.
fn remembered(file: &Path) -> String {
    let read = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return String::new(),
        read => read.map_err(|error| error.to_string()),
    };
    let is_json = |text: &String| serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string());
    read.and_then(|text| is_json(&text).map(|_| text)).unwrap_or_else(|error| {
        tracing::warn!(
            "{} cannot be read ({error}): what is retained at the broker of panels that were removed stays there",
            file.display()
        );
        String::new()
    })
}

impl Uplink {
    fn new(settings: Settings, handles: Handles, desk: Desk, worker: Worker) -> Self {
        let root = Root::new(&settings.topic_prefix, &settings.gateway);
        let remembered = remembered(&settings.retained_file);
        let position = handles.journal.position();
        let mut archives = handles.journal.archives();
        archives.mark_changed();
        let Position { journal, last, .. } = position.borrow().clone();
        let in_force = handles.cache.state().borrow().clone();
        let syncing = Syncing::new(in_force, settings.parts_file.clone(), random_seed(), worker);
        let session = Session::new(
            settings.confirm,
            journal,
            handles.journal.delivered(),
            last,
            random_seed(),
            clock::mono(),
        );
        Self {
            board: Board::new(root.clone(), &remembered),
            health_pace: Pace::new(),
            since: handles.clock.wall(),
            settings,
            handles,
            position,
            archives,
            root,
            session,
            desk,
            signatures: Signatures::default(),
            replays: BTreeMap::new(),
            syncing,
            shown_home: None,
            shown_clock: None,
            saving: false,
            connection: None,
            identity: Uuid::nil(),
            tls: false,
            connecting: None,
            renewing: false,
            drop_at: Mono::NEVER,
            answers: FuturesUnordered::new(),
            jobs: FuturesUnordered::new(),
            announcing: 0,
            closing: false,
            connections: 0,
            online_since: None,
            failure: None,
            forbidden: None,
            ignored: None,
            logged_failure: None,
            logged_trouble: None,
            logged_rival: false,
            bad_committed: Bad::default(),
            bad_flats: Bad::default(),
            rejected: 0,
        }
    }

    /// Everything that is to be done now.
    fn turn(&mut self) {
        let now = clock::mono();
        self.handles.turned();
        if now >= self.drop_at {
            self.closed(None);
        }
        self.look_at_journal();
        // Each may give the other something to do.
        loop {
            if let Some(effect) = self.session.poll(now) {
                self.perform(effect);
            } else if let Some(effect) = self.desk.poll(now) {
                self.obey(effect);
            } else {
                break;
            }
        }
        self.sync_turn(now);
        self.count_refused_flats();
        self.tell_bad_messages(now);
        self.show_health(now);
        self.announce();
        self.tell();
    }

    fn wait(&self) -> Duration {
        let now = clock::mono();
        let syncing = self.syncing.deadline();
        self.session
            .deadline(now)
            .min(self.desk.deadline(now))
            .min(syncing)
            .min(self.drop_at)
            .since(now)
            .min(clock::until_next(TURN))
    }

    fn look_at_journal(&mut self) {
        let Position { journal, last, delivered, .. } = self.position.borrow().clone();
        self.session.journal_is(&journal, delivered, last);
        if self.archives.has_changed().unwrap_or(false) {
            let kept = |position: &Position| Kept {
                journal: Arc::clone(&position.journal),
                delivered: position.delivered,
                last: position.last,
            };
            let kept = self.archives.borrow_and_update().iter().map(kept).collect();
            self.session.kept_are(kept);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Connect { last } => {
                self.connecting = Some(last);
                let secrets = Arc::clone(&self.settings.secrets);
                self.blocking(move || secrets(), Done::Secrets);
            }
            Effect::Subscribe => {
                let topics = [Topic::Status, Topic::Committed, Topic::Commands, Topic::SyncFlats]
                    .map(|topic| self.root.full(&topic))
                    .to_vec();
                self.with_connection(|connection| {
                    let answer = connection.subscribe(topics)?;
                    Ok(Box::pin(async { answer.await.map_or(Came::Nothing, Came::Subscribed) }))
                });
            }
            Effect::Status { online, last } => {
                let presence = if online { Presence::Online } else { Presence::Offline };
                let message = self.status(presence, last);
                self.publish(message, Came::Status);
                if online {
                    self.went_online();
                }
            }
            Effect::Announce => {
                // The network may have given this machine another address.
                self.show_home();
                self.board.announce();
            }
            Effect::Publish { token, event } => {
                let message = Message {
                    topic: self.root.full(&Topic::Events),
                    payload: event.payload,
                    retain: false,
                    content_type: Some("application/cloudevents+json"),
                };
                self.publish(message, move |ack| Came::Event(token, ack));
            }
            Effect::Read { id, journal, from, limit } => {
                let (journals, gateway) = (self.handles.journal.clone(), self.settings.gateway.clone());
                let read = move || {
                    let reader = journals.reader_of(&journal).map_err(|error| error.to_string())?;
                    let events = reader.read(from, limit).map_err(|error| error.to_string())?;
                    let event = |event: &StoredEvent| Event {
                        sequence: event.sequence,
                        payload: event.to_json(&gateway),
                    };
                    Ok(events.iter().map(event).collect())
                };
                self.blocking(read, move |read| Done::Read(id, read));
            }
            Effect::Delivered { journal, through } => self.handles.journal.set_delivered(&journal, through),
            Effect::Replayed { id, end } => self.replayed(id, &end),
            Effect::BeginNewJournal { reason } => {
                if !std::mem::replace(&mut self.renewing, true) {
                    let journal = self.handles.journal.clone();
                    self.jobs.push(Box::pin(async move {
                        let begun = journal.begin_new(&reason).await;
                        Done::Renewed(begun.map(|_| ()).map_err(|error| error.to_string()))
                    }));
                }
            }
            Effect::Ignored { journal, through, count } => self.tell_ignored(&journal, through, count),
            Effect::Disconnect => match &self.connection {
                Some(connection) => {
                    connection.disconnect();
                    self.drop_at = clock::mono() + GOODBYE;
                }
                None => self.closed(None),
            },
        }
    }

    /// Something happened on the connection.
    fn happened(&mut self, event: client::Event) {
        let now = clock::mono();
        match event {
            client::Event::Connected(limits) => {
                self.session.connected(&self.identity.to_string(), limits.receive_maximum, now);
            }
            client::Event::Received(received) => {
                self.look_at_journal();
                self.received(received, now);
            }
            client::Event::Closed(failure) => self.closed(failure),
        }
    }

    fn received(&mut self, received: Received, now: Mono) {
        let topic = self.root.parse(&received.topic);
        if topic == Some(Topic::Status) {
            // Ours, and unsigned; what is no status is to be replaced like that of another session.
            let status: StatusSeen = json::from_slice(&received.payload).unwrap_or_default();
            return self.session.status_seen(&status, received.retain, now);
        }
        if topic == Some(Topic::SyncFlats) {
            // As much as it is, it is opened beside the loop.
            return self.flats_received(received, now);
        }
        let signatures = self.signatures.clone();
        let opened = signatures.open(&received.payload);
        let opened = opened.as_deref().map_err(|refused| *refused);
        match topic {
            Some(Topic::Committed) => self.committed_received(opened, received.retain, now),
            Some(Topic::Commands) => self.command_received(&received, opened, now),
            _ => tracing::debug!(topic = received.topic, retain = received.retain, "a message of no use"),
        }
    }

    fn committed_received(&mut self, opened: Result<&[u8], signature::Refused>, retained: bool, now: Mono) {
        let committed = opened
            .map_err(|refused| refused.to_string())
            .and_then(|payload| json::from_slice::<Committed>(payload).map_err(|error| error.to_string()));
        match committed {
            Ok(committed) => self.session.committed_seen(&committed, retained, now),
            Err(error) => self.bad_committed.add(1, &error),
        }
    }

    /// The broker answered.
    fn came(&mut self, came: Came) {
        let now = clock::mono();
        match came {
            Came::Event(token, ack) => self.session.acknowledged(token, ack, now),
            Came::Status(ack) => {
                self.note_forbidden(&Topic::Status, &ack);
                self.session.status_acknowledged(now);
            }
            Came::Result(token, ack) => self.result_acknowledged(token, &ack, now),
            Came::Retained(topic, ack) => {
                self.announcing = self.announcing.saturating_sub(1);
                if !self.note_forbidden(&topic, &ack) {
                    self.board.done(&topic);
                }
            }
            Came::Asked(ack) => {
                if !self.note_forbidden(&Topic::SyncRequest, &ack) {
                    self.syncing.core.taken(ack == Ack::Accepted, now);
                }
            }
            Came::Subscribed(refused) => {
                if let Some(topic) = refused.first() {
                    self.forbid(format!(
                        "the broker does not let this gateway subscribe to {topic}: let it read its topics `status`, `commands`, `events/committed` and `sync/flats`"
                    ));
                }
                self.session.subscribed(now);
            }
            Came::Nothing => {}
        }
    }

    fn done(&mut self, done: Done) {
        let now = clock::mono();
        match done {
            Done::Read(id, Ok(events)) => self.session.read(id, events),
            Done::Read(id, Err(reason)) => self.session.read_failed(id, reason, now),
            Done::Secrets(secrets) => {
                if let Some(last) = self.connecting.take()
                    && let Err(reason) = secrets.and_then(|secrets| self.open(secrets, last))
                {
                    self.failed(reason);
                    self.session.disconnected(End::Broken, now);
                }
            }
            Done::Command(done) => self.command_done(done, now),
            Done::Renewed(renewed) => {
                self.renewing = false;
                self.look_at_journal();
                match renewed {
                    Ok(()) => self.session.renewed(),
                    Err(error) => tracing::error!(error, "no new journal can be begun; tried again"),
                }
            }
            Done::Sync(done) => self.sync_done(done, now),
            Done::Saved(saved) => {
                self.saving = false;
                if let Err(error) = saved {
                    let file = self.settings.retained_file.display();
                    tracing::warn!(%file, error, "the retained topics cannot be noted; those of panels that go may stay");
                }
            }
        }
    }

    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
        done: impl FnOnce(Result<T, String>) -> Done + Send + 'static,
    ) {
        let work = sys::blocking(work);
        self.jobs.push(Box::pin(async { done(sys::finished(work).await) }));
    }
}

async fn next_event(connection: &mut Option<Connection>) -> client::Event {
    match connection {
        Some(connection) => connection.event().await,
        None => std::future::pending().await,
    }
}

/// Ends when the value has changed; never, where nobody can change it any more.
async fn changed<T>(value: &mut watch::Receiver<T>) {
    if value.changed().await.is_err() {
        std::future::pending().await
    }
}

fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness gateways may come back together; that is no reason to stay away.
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
