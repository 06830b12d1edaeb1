//! A connection to the broker and what comes over it, until it breaks; the next one is another link.

use std::time::Duration;

use anyhow::{Context, bail};
use rumqttc::{
    AckMode, AsyncClient, Event, EventLoop, Incoming, MqttOptions, Publish, PublishNotice, PublishOptions,
    QoS, SubscribeFilter,
};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::JoinHandle,
    time::timeout,
};
use uuid::Uuid;

use super::{Cloud, building::MESSAGE};

/// Messages that the broker is to have under way to us.
const UNDER_WAY: u16 = 2000;

/// Messages that find room here, so that the connection's task never waits: else its keep-alive would stop, too. More than
/// there are packet identifiers cannot be under way, whatever a broker makes of Receive Maximum.
const MESSAGES: usize = 1 << 16;

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A link; dropping it ends the connection. What is not acknowledged by then goes to others of a shared group, or comes
/// again from the gateway.
pub struct Link {
    client: AsyncClient,
    /// Messages in order; last, why the connection broke.
    messages: mpsc::Receiver<Result<Publish, String>>,
    task: JoinHandle<()>,
}

impl Link {
    /// Connects, and waits until the broker has taken up all subscriptions.
    pub async fn open(cloud: &Cloud, filters: &[String]) -> anyhow::Result<Self> {
        let (host, port) = &cloud.broker;
        let mut options = MqttOptions::new(format!("cloud-{}", Uuid::new_v4()), (host.as_str(), *port));
        // While nobody is subscribed the broker says so to the gateways, and they keep their events. A session that is kept
        // would go on hoarding its share of a group.
        options
            .set_clean_start(true)
            .set_session_expiry_interval(Some(0))
            .set_max_packet_size(Some(1 << 20))
            .set_receive_maximum(Some(UNDER_WAY))
            .set_request_channel_capacity(usize::from(UNDER_WAY))
            .set_ack_mode(AckMode::Manual)
            .set_keep_alive(10);
        let (client, event_loop) = AsyncClient::builder(options).build();
        let (sender, messages) = mpsc::channel(MESSAGES);
        let (subscribed, ready) = oneshot::channel();
        let task = tokio::spawn(poll(event_loop, sender, subscribed));
        let mut link = Self { client, messages, task };
        let filters = filters.iter().map(|filter| SubscribeFilter::new(filter.as_str(), QoS::AtLeastOnce));
        link.client.subscribe_many(filters).await?;
        match timeout(PATIENCE, ready).await {
            Ok(Ok(())) => Ok(link),
            Ok(Err(_)) => Err(link.failure().await),
            Err(_) => bail!("the broker does not answer"),
        }
    }

    /// The next message.
    pub async fn receive(&mut self) -> anyhow::Result<Publish> {
        self.messages.recv().await.context("the connection's task has ended")?.map_err(anyhow::Error::msg)
    }

    /// The next message and what else is there, `most` altogether.
    pub async fn receive_many(&mut self, most: usize) -> anyhow::Result<Vec<Publish>> {
        let mut messages = vec![self.receive().await?];
        while messages.len() < most
            && let Ok(message) = self.messages.try_recv()
        {
            messages.push(message.map_err(anyhow::Error::msg)?);
        }
        Ok(messages)
    }

    /// Tells the broker that a message is done with.
    pub async fn acknowledge(&self, message: &Publish) -> anyhow::Result<()> {
        Ok(self.client.ack(message).await?)
    }

    /// Publishes, unless the message is larger than a gateway takes: it would never see it, and nobody would say so.
    /// What is given can be waited for: the broker then has the message.
    pub async fn publish(
        &self,
        topic: String,
        payload: String,
        retain: bool,
    ) -> anyhow::Result<Option<PublishNotice>> {
        if payload.len() > MESSAGE {
            let bytes = payload.len();
            eprintln!("a message on {topic} has {bytes} bytes, {MESSAGE} are taken: not published");
            return Ok(None);
        }
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(retain);
        Ok(Some(self.client.publish_tracked(topic, payload, options).await?))
    }

    /// Why the connection broke, after what came before.
    async fn failure(&mut self) -> anyhow::Error {
        loop {
            if let Err(error) = self.receive().await {
                return error;
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Polls, and nothing else: a poll that is cancelled half-way loses what it has read.
async fn poll(
    mut events: EventLoop,
    messages: mpsc::Sender<Result<Publish, String>>,
    subscribed: oneshot::Sender<()>,
) {
    let mut subscribed = Some(subscribed);
    let why = loop {
        match events.poll().await {
            Ok(Event::Incoming(Incoming::SubAck(ack))) => {
                let refused = ack
                    .return_codes
                    .iter()
                    .find(|code| !matches!(code, rumqttc::SubscribeReasonCode::Success(_)));
                if let Some(code) = refused {
                    break format!("the broker refuses a subscription: {code:?}");
                }
                // Given up: then nobody waits for it.
                let _ = subscribed.take().map(|subscribed| subscribed.send(()));
            }
            // There is room for all that may be under way at QoS 1; what somebody publishes at QoS 0 may be lost.
            Ok(Event::Incoming(Incoming::Publish(publish))) => match messages.try_send(Ok(publish)) {
                Ok(()) => {}
                Err(TrySendError::Full(Ok(publish))) if publish.qos == QoS::AtMostOnce => {}
                Err(TrySendError::Full(_)) => {
                    break "the broker has more under way to us than it may".to_owned();
                }
                Err(TrySendError::Closed(_)) => return,
            },
            Ok(_) => {}
            Err(error) => break format!("the broker: {error}"),
        }
    };
    // Gone: nobody asks why.
    let _ = messages.send(Err(why)).await;
}
