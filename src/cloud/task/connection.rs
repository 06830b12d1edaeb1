//! One connection after the other: opened with fresh secrets, and what is told of its end.

use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use uuid::Uuid;

use super::{Came, Job, Uplink};
use crate::{
    clock,
    cloud::{
        Secrets,
        client::{self, Connection, Failure, Message, QueueFull, Target},
        message::{self, Presence, Status},
        session::{Ack, End},
        topic::Topic,
    },
    domain::Mono,
};

/// After so long online, the same failure is worth a new line in the log.
pub(super) const FORGET_LOGGED: Duration = Duration::from_secs(60);

impl Uplink {
    pub(super) fn open(&mut self, mut secrets: Secrets, last: u64) -> Result<(), String> {
        self.signatures = std::mem::take(&mut secrets.signatures);
        self.tls = secrets.tls.is_some();
        self.identity = Uuid::new_v4();
        self.session.connecting(&self.identity.to_string());
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
        self.desk.connected(self.identity);
        Ok(())
    }

    /// The connection is gone, or is taken for gone.
    pub(super) fn closed(&mut self, failure: Option<Failure>) {
        let end = failure.as_ref().map_or(End::Broken, Failure::end);
        self.connection = None;
        self.connecting = None;
        self.drop_at = Mono::NEVER;
        self.answers = FuturesUnordered::new();
        self.announcing = 0;
        self.forbidden = None;
        self.hide_health();
        self.handles.journal.set_online(false);
        self.desk.disconnected();
        let was_online = self.online_since.is_some();
        let is_rivals = was_online && self.session.rival(clock::mono()).is_some();
        match failure {
            // Told with all that is known of the other client, once.
            Some(failure) if end == End::TakenOver || is_rivals => {
                self.online_since = None;
                self.failure = Some(failure.explain(&self.target()));
            }
            Some(failure) if !self.closing => self.failed(failure.explain(&self.target())),
            _ => self.online_since = None,
        }
        self.session.disconnected(end, clock::mono());
    }

    pub(super) fn target(&self) -> Target<'_> {
        Target {
            host: &self.settings.host,
            port: self.settings.port,
            tls: self.tls,
            client_id: self.settings.gateway.as_str(),
            clock_synchronized: self.handles.clock.is_synchronized(),
        }
    }

    /// Notes why there is no connection; a line in the log where that is news.
    pub(super) fn failed(&mut self, reason: String) {
        let held = self.online_since.take().is_some_and(|since| clock::mono().since(since) >= FORGET_LOGGED);
        if held || self.logged_failure.as_deref() != Some(reason.as_str()) {
            tracing::warn!("{reason}");
            self.logged_failure = Some(reason.clone());
        }
        self.failure = Some(reason);
    }

    pub(super) fn went_online(&mut self) {
        self.handles.journal.set_online(true);
        self.obey_from_now_on();
        if self.online_since.is_none() {
            let now = clock::mono();
            self.online_since = Some(now);
            self.health_pace.online(now);
            self.connections += 1;
            self.failure = None;
            let broker = format!("{}:{}", self.settings.host, self.settings.port);
            tracing::info!(broker, session = %self.identity, "connected to the broker");
        }
    }

    pub(super) fn status(&self, presence: Presence, last: u64) -> Message {
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

    pub(super) fn publish(&mut self, message: Message, came: impl FnOnce(Ack) -> Came + Send + 'static) {
        self.with_connection(|connection| {
            let answer = connection.publish(message)?;
            Ok(Box::pin(async { answer.await.map_or(Came::Nothing, came) }))
        });
    }

    pub(super) fn with_connection(&mut self, ask: impl FnOnce(&Connection) -> Result<Job<Came>, QueueFull>) {
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
}
