//! The shell around the session: performs its effects with client and store, and tells it what came.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{sync::watch, time::sleep};
use uuid::Uuid;

use super::{
    Handles, Secrets, Settings,
    client::{self, Connection, Failure, Message, QueueFull, Received, Target},
    message::{self, Committed, Info, Presence, Status, StatusSeen},
    retained::{self, Board},
    session::{Ack, Effect, Event, ReadId, Session, Token},
    topic::{Root, Topic},
};
use crate::{
    clock,
    domain::{ClockQuality, Mono, PanelStatus, StoredEvent, UplinkStatus},
};

/// Retained topics that are published at once: events need the window more.
const ANNOUNCEMENTS: usize = 16;

/// The loop turns at least so often.
const TURN: Duration = Duration::from_secs(1);

/// Longest wait for the end of a connection after our good-bye.
const GOODBYE: Duration = Duration::from_millis(300);

/// After so long online, the same failure is worth a new line in the log.
const FORGET_LOGGED: Duration = Duration::from_secs(60);

/// Work that is waited for beside everything else.
type Job<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs the uplink until `shutdown` is true (or its sender is gone), and then says good-bye: `status` offline is
/// published, what is in flight is waited for, at most 2 s in all.
///
/// # Errors
/// None at present: whatever the broker does is told in [`UplinkStatus`] and tried again.
pub async fn run(
    settings: Settings,
    handles: Handles,
    mut shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut uplink = Uplink::new(settings, handles);
    let mut position = uplink.handles.journal.position();
    let mut panels = uplink.handles.panels.clone();
    let mut building = uplink.handles.building.clone();
    uplink.show_panels();
    loop {
        uplink.turn();
        if uplink.session.is_done() {
            uplink.tell();
            return Ok(());
        }
        let wait = uplink.wait();
        tokio::select! {
            event = next_event(&mut uplink.connection) => uplink.happened(event),
            Some(came) = uplink.answers.next() => {
                uplink.came(came);
                while let Some(Some(came)) = uplink.answers.next().now_or_never() {
                    uplink.came(came);
                }
            }
            Some(done) = uplink.jobs.next() => uplink.done(done),
            () = changed(&mut position) => {}
            () = changed(&mut panels) => uplink.show_panels(),
            () = changed(&mut building) => uplink.show_panels(),
            _ = shutdown.wait_for(|stop| *stop), if !uplink.closing => {
                uplink.closing = true;
                uplink.session.shut_down(clock::mono());
            }
            () = sleep(wait) => {}
        }
    }
}

/// What the broker answered.
enum Came {
    Event(Token, Ack),
    Status(Ack),
    Retained(Topic, Ack),
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
}

struct Uplink {
    settings: Settings,
    handles: Handles,
    root: Root,
    session: Session,
    board: Board,
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
    logged_failure: Option<String>,
    logged_trouble: Option<String>,
}

impl Uplink {
    fn new(settings: Settings, handles: Handles) -> Self {
        let root = Root::new(&settings.topic_prefix, &settings.gateway);
        let remembered = std::fs::read_to_string(&settings.retained_file).unwrap_or_default();
        let position = handles.journal.position().borrow().clone();
        let session = Session::new(
            settings.confirm,
            Arc::clone(&position.journal),
            handles.journal.delivered(),
            position.last,
            random_seed(),
            clock::mono(),
        );
        Self {
            board: Board::new(root.clone(), &remembered),
            since: handles.clock.wall(),
            settings,
            handles,
            root,
            session,
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
            logged_failure: None,
            logged_trouble: None,
        }
    }

    /// Everything that is to be done now.
    fn turn(&mut self) {
        let now = clock::mono();
        self.handles.beat.store(now.as_nanos(), std::sync::atomic::Ordering::Relaxed);
        if now >= self.drop_at {
            self.closed(None);
        }
        self.look_at_journal();
        while let Some(effect) = self.session.poll(now) {
            self.perform(effect);
        }
        self.announce();
        self.tell();
    }

    fn wait(&self) -> Duration {
        let now = clock::mono();
        self.session.deadline(now).min(self.drop_at).since(now).min(TURN)
    }

    fn look_at_journal(&mut self) {
        let (journal, last) = {
            let position = self.handles.journal.position();
            let position = position.borrow();
            (Arc::clone(&position.journal), position.last)
        };
        self.session.journal_is(&journal, last);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Connect { last } => {
                self.connecting = Some(last);
                let secrets = Arc::clone(&self.settings.secrets);
                self.blocking(move || secrets(), Done::Secrets);
            }
            Effect::Subscribe => {
                let topics = [Topic::Status, Topic::Committed].map(|topic| self.root.full(&topic)).to_vec();
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
            Effect::Announce => self.board.announce(),
            Effect::Publish { token, event } => {
                let message = Message {
                    topic: self.root.full(&Topic::Events),
                    payload: event.payload,
                    retain: false,
                    content_type: Some("application/cloudevents+json"),
                };
                self.publish(message, move |ack| Came::Event(token, ack));
            }
            Effect::Read { id, from, limit } => {
                let (reader, gateway) = (self.handles.journal.reader(), self.settings.gateway.clone());
                let read = move || {
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
            Effect::BeginNewJournal { reason } => {
                if !std::mem::replace(&mut self.renewing, true) {
                    let journal = self.handles.journal.clone();
                    self.jobs.push(Box::pin(async move {
                        let begun = journal.begin_new(&reason).await;
                        Done::Renewed(begun.map(|_| ()).map_err(|error| error.to_string()))
                    }));
                }
            }
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
                self.received(&received, now);
            }
            client::Event::Closed(failure) => self.closed(failure),
        }
    }

    fn received(&mut self, received: &Received, now: Mono) {
        match self.root.parse(&received.topic) {
            Some(Topic::Status) => {
                // What is no status of ours is to be replaced like that of another session.
                let status: StatusSeen = serde_json::from_slice(&received.payload).unwrap_or_default();
                self.session.status_seen(&status, now);
            }
            Some(Topic::Committed) => match serde_json::from_slice::<Committed>(&received.payload) {
                Ok(committed) => self.session.committed_seen(&committed, now),
                Err(error) => tracing::warn!(%error, "events/committed is not understood, and ignored"),
            },
            _ => tracing::debug!(topic = received.topic, retain = received.retain, "a message of no use"),
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
            Came::Retained(topic, ack) => {
                self.announcing = self.announcing.saturating_sub(1);
                if !self.note_forbidden(&topic, &ack) {
                    self.board.done(&topic);
                }
            }
            Came::Subscribed(refused) => {
                if let Some(topic) = refused.first() {
                    self.forbid(format!(
                        "the broker does not let this gateway subscribe to {topic}: let it read its topics `status` and `events/committed`"
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
                    self.session.disconnected(false, now);
                }
            }
            Done::Renewed(renewed) => {
                self.renewing = false;
                self.look_at_journal();
                match renewed {
                    Ok(()) => self.session.renewed(),
                    Err(error) => tracing::error!(error, "no new journal can be begun; tried again"),
                }
            }
            Done::Saved(saved) => {
                self.saving = false;
                if let Err(error) = saved {
                    let file = self.settings.retained_file.display();
                    tracing::warn!(%file, error, "the retained topics cannot be noted; those of panels that go may stay");
                }
            }
        }
    }

    fn open(&mut self, secrets: Secrets, last: u64) -> Result<(), String> {
        self.tls = secrets.tls.is_some();
        self.identity = Uuid::new_v4();
        self.since = self.handles.clock.wall();
        let connection = Connection::open(client::Options {
            client_id: self.settings.gateway.to_string(),
            host: self.settings.host.clone(),
            port: self.settings.port,
            username: self.settings.username.clone(),
            secrets,
            will: self.status(Presence::Offline, last),
        })?;
        self.connection = Some(connection);
        Ok(())
    }

    /// The connection is gone, or is taken for gone.
    fn closed(&mut self, failure: Option<Failure>) {
        let rejected = failure.as_ref().is_some_and(Failure::is_rejection);
        self.connection = None;
        self.connecting = None;
        self.drop_at = Mono::NEVER;
        self.answers = FuturesUnordered::new();
        self.announcing = 0;
        self.forbidden = None;
        self.handles.journal.set_online(false);
        let target = Target {
            host: &self.settings.host,
            port: self.settings.port,
            tls: self.tls,
            client_id: self.settings.gateway.as_str(),
            clock_synchronized: self.handles.clock.is_synchronized(),
        };
        match failure {
            Some(failure) if !self.closing => self.failed(failure.explain(&target)),
            _ => self.online_since = None,
        }
        self.session.disconnected(rejected, clock::mono());
    }

    /// Notes why there is no connection; a line in the log where that is news.
    fn failed(&mut self, reason: String) {
        let held = self.online_since.take().is_some_and(|since| clock::mono().since(since) >= FORGET_LOGGED);
        if held || self.logged_failure.as_deref() != Some(reason.as_str()) {
            tracing::warn!("{reason}");
            self.logged_failure = Some(reason.clone());
        }
        self.failure = Some(reason);
    }

    fn went_online(&mut self) {
        self.handles.journal.set_online(true);
        if self.online_since.is_none() {
            self.online_since = Some(clock::mono());
            self.connections += 1;
            self.failure = None;
            let broker = format!("{}:{}", self.settings.host, self.settings.port);
            tracing::info!(broker, session = %self.identity, "connected to the broker");
        }
    }

    fn status(&self, presence: Presence, last: u64) -> Message {
        let status = Status {
            status: presence,
            session: self.identity,
            version: self.settings.version.clone(),
            boot: self.handles.clock.stamp().boot.to_string(),
            since: self.since,
            journal: self.handles.journal.identity().to_string(),
            last,
        };
        self.retained(&Topic::Status, message::to_json(&status))
    }

    /// Puts on the board what panels and configuration are now.
    fn show_panels(&mut self) {
        let panels = self.handles.panels.borrow().clone();
        for status in &panels {
            let mark = message::to_json(&PanelStatus { last_seen: None, ..status.clone() });
            self.board.set(Topic::Panel(status.panel.clone()), message::to_json(status), mark);
        }
        self.board.remove(
            |topic| matches!(topic, Topic::Panel(name) if !panels.iter().any(|status| status.panel == *name)),
        );
        self.show_info();
    }

    fn show_info(&mut self) {
        let clock = self.handles.clock.stamp().clock;
        self.shown_clock = Some(clock == ClockQuality::Synchronized);
        let info = {
            let (building, panels) = (self.handles.building.borrow(), self.handles.panels.borrow());
            message::to_json(&Info::new(&self.settings.version, &building, &panels, clock))
        };
        self.board.set(Topic::Info, info.clone(), info);
    }

    /// Publishes what is due on the board, after its names are on disk.
    fn announce(&mut self) {
        if self.shown_clock != Some(self.handles.clock.is_synchronized()) {
            self.show_info();
        }
        if !self.saving
            && let Some(text) = self.board.take_unsaved()
        {
            self.saving = true;
            let file = self.settings.retained_file.clone();
            self.blocking(
                move || retained::save(&file, &text).map_err(|error| error.to_string()),
                Done::Saved,
            );
        }
        while self.session.is_online() && !self.saving && self.announcing < ANNOUNCEMENTS {
            let Some((topic, payload)) = self.board.next() else { return };
            self.announcing += 1;
            let message = self.retained(&topic, payload);
            self.publish(message, move |ack| Came::Retained(topic, ack));
        }
    }

    fn retained(&self, topic: &Topic, payload: String) -> Message {
        Message {
            topic: self.root.full(topic),
            payload,
            retain: true,
            content_type: Some("application/json"),
        }
    }

    /// Whether the broker does not let us publish `topic`; it is told, once a connection.
    fn note_forbidden(&mut self, topic: &Topic, ack: &Ack) -> bool {
        let why = match ack {
            Ack::Accepted | Ack::NoSubscribers => return false,
            Ack::Refused(reason) => reason.clone(),
            Ack::TooLarge { bytes, limit } => {
                format!("{bytes} bytes are more than the {limit} that it takes")
            }
        };
        self.forbid(format!("the broker refuses `{topic}` ({why}): let this gateway write its topics"));
        true
    }

    fn forbid(&mut self, sentence: String) {
        if self.forbidden.is_none() {
            tracing::warn!("{sentence}");
            self.forbidden = Some(sentence);
        }
    }

    fn publish(&mut self, message: Message, came: impl FnOnce(Ack) -> Came + Send + 'static) {
        self.with_connection(|connection| {
            let answer = connection.publish(message)?;
            Ok(Box::pin(async { answer.await.map_or(Came::Nothing, came) }))
        });
    }

    fn with_connection(&mut self, ask: impl FnOnce(&Connection) -> Result<Job<Came>, QueueFull>) {
        match self.connection.as_ref().map(ask) {
            Some(Ok(answer)) => self.answers.push(answer),
            // Never more is under way than the queue holds, so the event loop is gone or stuck: start afresh.
            Some(Err(QueueFull)) => {
                self.failed(
                    "the MQTT client does not take messages any more; the connection is made again".into(),
                );
                self.drop_at = clock::mono();
            }
            None => {}
        }
    }

    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
        done: impl FnOnce(Result<T, String>) -> Done + Send + 'static,
    ) {
        let work = tokio::task::spawn_blocking(work);
        self.jobs.push(Box::pin(async {
            done(work.await.unwrap_or_else(|error| Err(format!("a thread failed: {error}"))))
        }));
    }

    /// Tells how the uplink is, and logs what is new about events that do not flow.
    fn tell(&mut self) {
        let trouble = self.session.trouble().map(ToString::to_string).filter(|_| self.online_since.is_some());
        let counts = self.session.counts();
        let status = UplinkStatus {
            configured: true,
            connected: self.online_since.is_some(),
            error: self.failure.clone().or_else(|| self.forbidden.clone()).or_else(|| trouble.clone()),
            connections: self.connections,
            published: counts.published,
            confirmed: counts.confirmed,
            refused: counts.refused,
        };
        self.handles.uplink.send_if_modified(|shown| {
            let changed = *shown != status;
            shown.clone_from(&status);
            changed
        });
        if let Some(trouble) = trouble.filter(|trouble| self.logged_trouble.as_ref() != Some(trouble)) {
            tracing::warn!("{trouble}");
            self.logged_trouble = Some(trouble);
        }
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
