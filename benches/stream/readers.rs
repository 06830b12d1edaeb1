//! Readers of the stream, a process of their own: on a real gateway their work is another machine's, so they run behind
//! everything else.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use intercom_gateway::clock;

use super::common::{
    aside::{self, Aside},
    figures::Samples,
    journalled,
};

/// Readers that read.
pub struct Readers(Aside);

/// What readers have done.
#[derive(Clone)]
pub struct Done {
    /// Messages, of all of them.
    pub messages: u64,
    /// From each event to each reader's having it.
    pub delays: Samples,
}

impl Readers {
    /// Starts them, and waits until each has the states.
    pub fn start(count: usize, address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let (count, address) = (count.to_string(), address.to_string());
        let role = ["be-the-readers", "--readers", &count, "--address", &address, "--token", token];
        let mut aside = Aside::start(role)?;
        ensure!(aside.hear()? == "reading", "they cannot read");
        Ok(Self(aside))
    }

    /// Sends them home; they tell what they have done.
    pub fn stop(self) -> anyhow::Result<Done> {
        let told = self.0.stop()?;
        let mut figures = told.split(' ').map(str::parse::<u64>);
        let messages = figures.next().context("the readers tell nothing")??;
        let delays = figures
            .map(|micros| anyhow::Ok(Duration::from_micros(micros?)))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Done { messages, delays: delays.into_iter().collect() })
    }
}

/// Is the readers until stdin ends.
pub fn read(count: usize, address: SocketAddr, token: &str) -> anyhow::Result<()> {
    let streams = (0..count).map(|_| open(address, token)).collect::<anyhow::Result<Vec<_>>>()?;
    let sockets =
        streams.iter().map(|stream| Ok(stream.get_ref().try_clone()?)).collect::<anyhow::Result<Vec<_>>>()?;
    let suspended = journalled::suspended()?;
    let threads: Vec<_> = streams
        .into_iter()
        .map(|stream| thread::Builder::new().name("reader".into()).spawn(move || follow(stream, suspended)))
        .collect::<Result<_, _>>()?;
    println!("reading");
    aside::until_told_to_end()?;
    for socket in sockets {
        socket.shutdown(std::net::Shutdown::Both)?;
    }
    let (mut messages, mut delays) = (0, Vec::new());
    for thread in threads {
        let (count, each) = thread.join().map_err(|_| anyhow::anyhow!("a reader has panicked"))??;
        messages += count;
        delays.extend(each.iter().map(|delay| delay.as_micros().to_string()));
    }
    println!("{messages} {}", delays.join(" "));
    Ok(())
}

/// Opens a stream and takes its first message. HTTP/1.0 has no chunks.
fn open(address: SocketAddr, token: &str) -> anyhow::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /api/local/v1/stream HTTP/1.0\r\nauthorization: Bearer {token}\r\n\r\n")?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    ensure!(line.contains(" 200 "), "the stream is refused: {line}");
    while line != "event: health\n" {
        line.clear();
        ensure!(stream.read_line(&mut line)? > 0, "the stream has ended");
    }
    Ok(stream)
}

/// Counts messages until the stream ends, and takes the time from each event's stamp to its being here.
fn follow(stream: BufReader<TcpStream>, suspended: Duration) -> anyhow::Result<(u64, Vec<Duration>)> {
    let (mut messages, mut delays, mut is_event) = (0, Vec::new(), false);
    for line in stream.lines() {
        let line = line?;
        if let Some(name) = line.strip_prefix("event: ") {
            ensure!(name != "gap" && name != "end", "a reader is told: {name}");
            messages += 1;
            is_event = name == "event";
        } else if let Some(data) = line.strip_prefix("data: ").filter(|_| is_event) {
            let now = clock::mono() + suspended;
            let event: serde_json::Value = serde_json::from_str(data)?;
            let uptime_ms = event["data"]["uptime_ms"].as_u64().context("an event without a stamp")?;
            delays.push(now.since(intercom_gateway::domain::Mono::from_nanos(uptime_ms * 1_000_000)));
        }
    }
    Ok((messages, delays))
}
