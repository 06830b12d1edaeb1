//! The MQTT client: the one place that knows `rumqttc`, so that it can be exchanged.
//!
//! ```text
//! Connection ── publish, subscribe ──► bounded queue ──► poll task (owns the event loop) ──► socket
//!      ▲                                                     │
//!      └──── events: connected, messages, closed ◄───────────┘      acknowledgements: a future for each publish
//! ```
//! Invariants, each from a failure that was measured:
//! - A connection has a client of its own, a clean start and no session expiry. The library's own reconnecting is
//!   never used: after its first error the task ends, and with it everything in flight.
//! - The event loop is polled by a task that does nothing else: never inside `select!`, which could cancel a poll
//!   half-way, and nothing is published from there, which could wait for itself.
//! - Every publish is tracked: its acknowledgement is that of its own PUBACK, with the reason.

mod failure;
mod probe;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, EventLoop, Incoming, MqttOptions, PubAckReason,
    PublishNotice, PublishOptions, PublishProperties, PublishResult, QoS, SubscribeFilter,
    SubscribeReasonCode, Transport,
};
use rustls::ClientConfig;
use tokio::{sync::mpsc, task::JoinHandle};
use zeroize::Zeroizing;

pub(super) use failure::{Failure, Target};
pub use probe::probe;

use super::{session::Ack, signature::Signatures};
use crate::sys;

/// Largest packet that we take (contract §4), and largest payload that we send.
pub(super) const MAX_PACKET: u32 = 1 << 20;

/// Pings are this far apart; a broker that is gone without a word is noticed after two of them.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Longest time for name look-up, TCP, TLS and CONNACK together.
const CONNECT: Duration = Duration::from_secs(20);

/// Longest time of these for the look-up and TCP, with all of the broker's addresses.
const CONNECT_TCP: Duration = Duration::from_secs(10);

/// Publishes that may wait for the event loop, and as many that may be unacknowledged. Full: [`Connection::publish`] gives
/// the message back, and the caller waits for acknowledgements first; it never has that many under way.
const QUEUE: u16 = 512;

/// Publishes written to the socket at once.
const WRITE_BATCH: usize = 128;

/// What came that nobody has looked at, up to a mebibyte each. Full: the event loop waits, and so does the broker.
const EVENTS: usize = 1;

/// Publishes that the broker may have under way to us (MQTT 5, 3.1.2.11.3), up to a mebibyte each.
const RECEIVE_MAXIMUM: u16 = 4;

/// Packets read from the socket at once: acknowledgements, and no more publishes than [`RECEIVE_MAXIMUM`].
const READ_BATCH: usize = 16;

/// Password, certificates and keys, fresh for each connection.
#[derive(Default)]
pub struct Secrets {
    /// Goes with [`Settings::username`](super::Settings::username).
    pub password: Option<Zeroizing<String>>,
    /// How TLS is spoken; `None`: a plain connection.
    pub tls: Option<Arc<ClientConfig>>,
    /// Which messages are the cloud's.
    pub signatures: Signatures,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// A message to publish, QoS 1.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The whole topic.
    pub(super) topic: String,
    /// The payload; empty clears what is retained.
    pub(super) payload: String,
    /// Whether the broker keeps it.
    pub(super) retain: bool,
    /// The payload's media type.
    pub(super) content_type: Option<&'static str>,
}

/// A message that came.
pub(super) struct Received {
    /// The whole topic.
    pub(super) topic: String,
    /// RETAIN as it was published.
    pub(super) retain: bool,
    /// The payload.
    pub(super) payload: Vec<u8>,
}

/// What happens on a connection.
pub(super) enum Event {
    /// The broker accepted us.
    Connected(Limits),
    /// A message came.
    Received(Received),
    /// The connection is gone, or could not be made; nothing more comes. `None`: after our own good-bye.
    Closed(Option<Failure>),
}

/// What the broker takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Publishes that may be unacknowledged.
    pub(super) receive_maximum: u16,
    /// Bytes of a packet.
    pub(super) max_packet: usize,
}

/// How to connect.
pub(super) struct Options {
    pub(super) client_id: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) username: Option<String>,
    pub(super) secrets: Secrets,
    pub(super) will: Message,
}

/// The client's queue is full.
#[derive(Debug)]
pub(super) struct QueueFull;

/// A future that ends with the broker's answer; `None` where the connection ended first.
pub(super) type Answer<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

/// One connection. Dropping it cuts the line, and the broker publishes the will.
pub(super) struct Connection {
    client: AsyncClient,
    events: mpsc::Receiver<Event>,
    poll: JoinHandle<()>,
    max_packet: usize,
}

impl Connection {
    /// Begins to connect; [`Connection::event`] tells what becomes of it.
    ///
    /// # Errors
    /// A sentence, where certificates or keys are no such.
    pub(super) fn open(options: Options) -> Result<Self, String> {
        let mut mqtt = MqttOptions::new(options.client_id, (options.host.clone(), options.port));
        mqtt.set_clean_start(true)
            .set_keep_alive(u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX))
            .set_connect_timeout(CONNECT)
            .set_request_channel_capacity(QUEUE.into())
            // A slot for each is made at once: for the 65,535 that MQTT allows they would take 18 MB.
            .set_outgoing_inflight_upper_limit(QUEUE)
            .set_max_request_batch(WRITE_BATCH)
            .set_read_batch_size(READ_BATCH)
            .set_session_expiry_interval(Some(0))
            .set_max_packet_size(Some(MAX_PACKET))
            .set_receive_maximum(Some(RECEIVE_MAXIMUM))
            .set_last_will(will(options.will));
        match (options.username, options.secrets.password) {
            (Some(username), Some(password)) => {
                mqtt.set_credentials(username, password.as_bytes().to_vec());
            }
            (Some(username), None) => {
                mqtt.set_username(username);
            }
            (None, _) => {}
        }
        if let Some(tls) = options.secrets.tls {
            mqtt.set_transport(Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(tls)));
        }
        let (host, port) = (options.host, options.port);
        mqtt.set_socket_connector(move |_, _| {
            let host = host.clone();
            async move { sys::connect(&host, port, CONNECT_TCP).await }
        });
        let (client, event_loop) =
            AsyncClient::builder(mqtt).try_build().map_err(|error| error.to_string())?;
        let (sender, events) = mpsc::channel(EVENTS);
        Ok(Self { client, events, poll: sys::spawn(poll(event_loop, sender)), max_packet: usize::MAX })
    }

    /// The next thing that happens. May be cancelled.
    pub(super) async fn event(&mut self) -> Event {
        let event = self.events.recv().await.unwrap_or(Event::Closed(None));
        if let Event::Connected(limits) = event {
            self.max_packet = limits.max_packet;
        }
        event
    }

    /// Subscribes to `topics` with Retain As Published; ends with those that the broker refuses.
    pub(super) fn subscribe(&self, topics: Vec<String>) -> Result<Answer<Vec<String>>, QueueFull> {
        let filters = topics.iter().map(|topic| SubscribeFilter {
            preserve_retain: true,
            ..SubscribeFilter::new(topic.as_str(), QoS::AtLeastOnce)
        });
        let notice = self.client.try_subscribe_many_tracked(filters).map_err(|_| QueueFull)?;
        Ok(Box::pin(async move {
            let codes = notice.wait_async().await.ok()?.return_codes;
            let refused = |code: &SubscribeReasonCode| !matches!(code, SubscribeReasonCode::Success(_));
            Some(
                topics
                    .into_iter()
                    .zip(codes)
                    .filter(|(_, code)| refused(code))
                    .map(|(topic, _)| topic)
                    .collect(),
            )
        }))
    }

    /// Publishes `message`.
    pub(super) fn publish(&self, message: Message) -> Result<Answer<Ack>, QueueFull> {
        // Topic, payload, and what MQTT puts around them: fixed header, lengths, packet id, properties.
        let bytes =
            message.topic.len() + message.payload.len() + message.content_type.map_or(0, str::len) + 20;
        let limit = self.max_packet.min(MAX_PACKET as usize);
        if bytes > limit {
            return Ok(Box::pin(std::future::ready(Some(Ack::TooLarge { bytes, limit }))));
        }
        let properties = PublishProperties {
            content_type: message.content_type.map(str::to_owned),
            ..PublishProperties::default()
        };
        let options = PublishOptions::at_least_once().retain(message.retain).properties(properties);
        let notice = self
            .client
            .try_publish_tracked(message.topic, message.payload, options)
            .map_err(|_| QueueFull)?;
        Ok(Box::pin(answer(notice)))
    }

    /// Says good-bye, so that the broker drops the will; the connection then closes.
    pub(super) fn disconnect(&self) {
        // Full queue or closed already: dropping the connection does the rest.
        let _ = self.client.try_disconnect_now();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

async fn answer(notice: PublishNotice) -> Option<Ack> {
    match notice.wait_async().await {
        Ok(PublishResult::Qos1(ack)) => Some(match ack.reason {
            PubAckReason::Success => Ack::Accepted,
            PubAckReason::NoMatchingSubscribers => Ack::NoSubscribers,
            reason => Ack::Refused(failure::publish_reason(reason)),
        }),
        Ok(_) => None,
        Err(rumqttc::PublishNoticeError::RetainNotSupported) => {
            Some(Ack::Refused("it keeps no retained messages".into()))
        }
        Err(_) => None,
    }
}

fn will(message: Message) -> rumqttc::LastWill {
    rumqttc::LastWill::new(message.topic, message.payload, QoS::AtLeastOnce, message.retain, None)
}

/// Polls until the first error. The receiver may be gone: then nobody wants to know.
async fn poll(mut event_loop: EventLoop, events: mpsc::Sender<Event>) {
    let mut connected = false;
    loop {
        let event = match event_loop.poll().await {
            Ok(rumqttc::Event::Incoming(Incoming::ConnAck(ack)))
                if ack.code == ConnectReturnCode::Success =>
            {
                connected = true;
                let properties = ack.properties.as_ref();
                let max_packet = properties.and_then(|properties| properties.max_packet_size);
                Event::Connected(Limits {
                    receive_maximum: properties
                        .and_then(|properties| properties.receive_max)
                        .unwrap_or(u16::MAX),
                    max_packet: max_packet.map_or(usize::MAX, |size| size as usize),
                })
            }
            Ok(rumqttc::Event::Incoming(Incoming::Publish(publish))) => Event::Received(Received {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                retain: publish.retain,
                payload: publish.payload.into(),
            }),
            Ok(_) => continue,
            Err(ConnectionError::RequestsDone) => Event::Closed(None),
            Err(error) => Event::Closed(Some(Failure::new(error, connected))),
        };
        let closed = matches!(event, Event::Closed(_));
        if events.send(event).await.is_err() || closed {
            return;
        }
    }
}
