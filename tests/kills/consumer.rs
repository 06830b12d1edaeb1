//! The cloud's consumer as a process of its own: it writes an event down before it acknowledges it, and begins again where
//! its file ends.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    ops::RangeInclusive,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use rumqttc::{
    AckMode, AsyncClient, BrokerSessionResumePolicy, Event, Incoming, MqttOptions, Publish, PublishOptions,
    QoS,
};
use serde_json::{Value, json};

use crate::support::cloud::ROOT;

/// The first argument that makes this program the consumer.
pub const ROLE: &str = "be-the-consumer";

/// A running consumer; dropping it kills it.
pub struct Consumer(Child);

impl Consumer {
    /// Starts it; with `confirm` it tells the gateway what it has.
    pub fn start(port: u16, file: &Path, confirm: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([ROLE, &port.to_string(), &confirm.to_string()]).arg(file);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // One that failed has ended already; its file then lacks events, which is found out.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The events that a consumer has committed, by journal and sequence.
pub fn committed(file: &Path) -> BTreeMap<(String, u64), String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut events = BTreeMap::new();
    for line in whole_lines(&text).lines() {
        let before = events.insert(place(line).unwrap(), line.to_owned());
        assert_eq!(before, None, "twice after de-duplication");
    }
    events
}

/// The journal, and its holes below the highest sequence that a consumer has committed.
pub fn gaps(file: &Path) -> (String, Vec<RangeInclusive<u64>>) {
    let (mut gaps, mut next) = (Vec::new(), 1);
    let mut journal = String::new();
    for (identity, sequence) in committed(file).into_keys() {
        if sequence > next {
            gaps.push(next..=sequence - 1);
        }
        (journal, next) = (identity, sequence + 1);
    }
    (journal, gaps)
}

/// How many events a consumer has committed.
pub fn count(file: &Path) -> usize {
    fs::read(file).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}

/// What was being written when a kill came was not acknowledged: it comes again.
fn whole_lines(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| &text[..=end])
}

/// Journal and sequence of an event.
fn place(event: &str) -> anyhow::Result<(String, u64)> {
    let event: Value = serde_json::from_str(event)?;
    let journal = event["data"]["journal"].as_str().context("no journal")?;
    let sequence = event["sequence"].as_str().context("no sequence")?.parse()?;
    Ok((journal.to_owned(), sequence))
}

/// Is the consumer until it is killed: `PORT CONFIRM FILE`.
pub fn be_the_consumer(arguments: &[String]) -> anyhow::Result<()> {
    let [port, confirm, file] = arguments else { anyhow::bail!("PORT CONFIRM FILE") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(consume(port.parse()?, Ledger::open(Path::new(file))?, confirm.parse()?))
}

/// Connects again and again, each time by a new client: what one had under way belongs to its connection.
async fn consume(port: u16, mut ledger: Ledger, confirm: bool) -> anyhow::Result<()> {
    let mut options = MqttOptions::new("consumer", ("127.0.0.1", port));
    options
        // A consumer that confirms needs nothing kept: the gateway sends again what is not confirmed. Else the broker keeps what
        // is not acknowledged.
        .set_clean_start(confirm)
        .set_session_expiry_interval(Some(if confirm { 0 } else { 3600 }))
        // A new client takes up what the broker has kept for the last one.
        .set_broker_session_resume_policy(BrokerSessionResumePolicy::AllowBrokerOnly)
        .set_keep_alive(10)
        // An acknowledgement for each message that the broker may have under way, and a confirmation.
        .set_request_channel_capacity(1000)
        .set_ack_mode(AckMode::Manual);
    loop {
        serve_connection(options.clone(), &mut ledger, confirm).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Takes events until the connection breaks.
async fn serve_connection(options: MqttOptions, ledger: &mut Ledger, confirm: bool) -> anyhow::Result<()> {
    let (client, mut event_loop) = AsyncClient::builder(options).build();
    loop {
        match event_loop.poll().await {
            // In a session that was kept the subscription is as well.
            Ok(Event::Incoming(Incoming::ConnAck(connected))) if !connected.session_present => {
                client.try_subscribe(format!("{ROOT}/events"), QoS::AtLeastOnce)?;
            }
            Ok(Event::Incoming(Incoming::Publish(publish))) => {
                let (journal, through) = ledger.commit(&publish)?;
                client.try_ack(&publish)?;
                if confirm && through > 0 {
                    let payload = json!({"journal": journal, "through": through}).to_string();
                    let options = PublishOptions::new(QoS::AtLeastOnce).retain(true);
                    // Full: the next one confirms more.
                    let _ = client.try_publish(format!("{ROOT}/events/committed"), payload, options);
                }
            }
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
}

/// What is committed: a line an event, each once.
struct Ledger {
    file: File,
    events: BTreeMap<(String, u64), String>,
    /// Up to where there is no hole, by journal.
    through: BTreeMap<String, u64>,
}

impl Ledger {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let file = File::options().create(true).append(true).open(path)?;
        file.set_len(whole_lines(&text).len() as u64)?;
        Ok(Self { file, events: committed(path), through: BTreeMap::new() })
    }

    /// Writes the event down unless it is there already; up to where all are there.
    fn commit(&mut self, publish: &Publish) -> anyhow::Result<(String, u64)> {
        let event = std::str::from_utf8(&publish.payload)?;
        let (journal, sequence) = place(event)?;
        match self.events.get(&(journal.clone(), sequence)) {
            Some(before) => ensure!(before == event, "one id, two events: {before} and {event}"),
            None => {
                self.file.write_all(format!("{event}\n").as_bytes())?;
                self.events.insert((journal.clone(), sequence), event.to_owned());
            }
        }
        let through = self.through.entry(journal.clone()).or_default();
        while self.events.contains_key(&(journal.clone(), *through + 1)) {
            *through += 1;
        }
        Ok((journal, *through))
    }
}
