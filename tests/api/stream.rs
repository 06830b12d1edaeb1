//! The stream by real HTTP, against a real journal.

use std::time::Duration;

use intercom_gateway::{
    api::{Limits, Tls},
    domain::{Health, HealthCode, Reason},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    client::{PATIENCE, ending, read_answer},
    openapi::Document,
    site::{Site, start, start_with},
    streamed::Message,
};

const STREAM: &str = "/api/local/v1/stream";
/// Of another journal.
const STRANGE: &str = "00000000-7";

/// A reader of a stream.
struct Stream {
    tcp: TcpStream,
    text: Vec<u8>,
}

impl Stream {
    /// Opens a stream with the tester's token.
    async fn open(site: &Site, query: &str, headers: &str) -> Self {
        Self::open_on(TcpStream::connect(site.address).await.unwrap(), &site.token, query, headers).await
    }

    /// HTTP/1.0 has no chunks: what follows the headers is the stream.
    async fn open_on(mut tcp: TcpStream, token: &str, query: &str, headers: &str) -> Self {
        let request =
            format!("GET {STREAM}{query} HTTP/1.0\r\nauthorization: Bearer {token}\r\n{headers}\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self { tcp, text: Vec::new() };
        let head = stream.until(b"\r\n\r\n").await.expect("an answer");
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        stream
    }

    async fn until(&mut self, end: &[u8]) -> Option<String> {
        let mut piece = [0; 4096];
        loop {
            if let Some(place) = self.text.windows(end.len()).position(|window| window == end) {
                let rest = self.text.split_off(place + end.len());
                let mut found = std::mem::replace(&mut self.text, rest);
                found.truncate(place);
                return Some(String::from_utf8(found).unwrap());
            }
            // Ended by a reset is ended too.
            let read =
                timeout(PATIENCE, self.tcp.read(&mut piece)).await.expect("something comes").unwrap_or(0);
            if read == 0 {
                return None;
            }
            self.text.extend_from_slice(&piece[..read]);
        }
    }

    /// The next message but comments, held to openapi.json; `None`: the stream has ended.
    async fn next(&mut self) -> Option<Message> {
        loop {
            let message = Message::of(&self.until(b"\n\n").await?);
            if let Some(schema) = schema(&message) {
                Document::read().holds(schema, &message.data.to_string());
                return Some(message);
            }
        }
    }

    /// The next message of this name.
    async fn wait(&mut self, name: &str) -> Message {
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("it ended before {name}"));
            if message.event == name {
                return message;
            }
        }
    }

    /// The ids of the next events.
    async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let event = self.wait("event").await;
            assert_eq!(event.data["id"], json!(event.id));
            ids.extend(event.id);
        }
        ids
    }

    /// Waits for the end, which has to be the last message; and what came before it.
    async fn end(&mut self) -> (Value, Vec<Message>) {
        let mut before = Vec::new();
        loop {
            let message = self.next().await.expect("an end");
            if message.event == "end" {
                assert_eq!(self.next().await, None, "the last one");
                return (message.data["reason"].clone(), before);
            }
            before.push(message);
        }
    }
}

/// The name of a message's schema in openapi.json; `None`: it is a comment.
fn schema(message: &Message) -> Option<&'static str> {
    match message.event.as_str() {
        "" => None,
        "panel" => Some("PanelShown"),
        "line" => Some("LineShown"),
        "bus" => Some("Bus"),
        "health" => Some("HealthShown"),
        "event" => Some("Event"),
        "gap" => Some("Gap"),
        "sample" => Some("Sample"),
        "end" => Some("End"),
        other => panic!("not in openapi.json: {other}"),
    }
}

fn id(site: &Site, sequence: u64) -> String {
    format!("{}-{sequence}", site.store.journal().identity())
}

#[tokio::test]
async fn a_stream_begins_with_how_things_are_and_goes_on_with_what_happens() {
    let site = start().await;
    let before = site.happen().await;
    let mut stream = Stream::open(&site, "", "").await;
    let first = stream.next().await.unwrap();
    assert_eq!((first.event.as_str(), &first.data["status"], first.id), ("health", &json!("ok"), None));
    let sequence = site.happen().await;
    let event = stream.next().await.unwrap();
    assert_eq!((event.event.as_str(), event.id), ("event", Some(id(&site, sequence))));
    assert_eq!(sequence, before + 1, "nothing from before it joined");
    let recorded = site.get(&format!("/api/local/v1/events?from={sequence}")).await.json();
    assert_eq!(recorded["data"][0], event.data);

    let reasons = vec![Reason::new(HealthCode::Clock, "the clock is not synchronised")];
    site.health.send_replace(Health { reasons, ..Health::default() });
    let health = stream.next().await.unwrap();
    assert_eq!((health.event.as_str(), &health.data["status"]), ("health", &json!("degraded")));
    assert_eq!(health.data["reasons"][0]["code"], "clock");
    assert_eq!(Stream::open(&site, "", "").await.next().await.unwrap(), health, "and for those who come now");
}

#[tokio::test]
async fn a_stream_is_resumed_behind_the_last_event_and_says_what_is_missing() {
    let site = start().await;
    let first = site.happen().await;
    for _ in 0..99 {
        site.happen().await;
    }
    let last = first + 99;
    let resume = async |id: &str| {
        let mut stream = Stream::open(&site, "", &format!("Last-Event-ID: {id}\r\n")).await;
        assert_eq!(stream.next().await.unwrap().event, "health");
        stream
    };
    let all: Vec<String> = (1..=last).map(|sequence| id(&site, sequence)).collect();
    let mut none_missing = resume(&id(&site, last)).await;
    assert_eq!(resume(&id(&site, 0)).await.ids(all.len()).await, all);
    assert_eq!(resume(&id(&site, last - 1)).await.ids(1).await, all[all.len() - 1..]);
    for strange in [STRANGE.to_owned(), id(&site, last + 1), id(&site, 9_007_199_254_740_991)] {
        let mut stream = resume(&strange).await;
        let gap = stream.next().await.unwrap();
        let expected = json!({"journal": &*site.store.journal().identity(), "from": 1, "to": 0});
        assert_eq!((gap.event.as_str(), gap.data), ("gap", expected), "{strange}");
        assert_eq!(stream.ids(all.len()).await, all);
    }
    let next = site.happen().await;
    assert_eq!(none_missing.ids(1).await, [id(&site, next)]);
}

/// The site keeps no delivered events, and at most a thousand.
#[tokio::test]
async fn what_was_deleted_is_told_as_a_gap() {
    let site = start().await;
    let journal = site.store.journal();
    let mut last = 0;
    while journal.position().borrow().oldest < 20 {
        last = site.happen().await;
        journal.set_delivered(&journal.identity(), last);
        assert!(last < 5000, "nothing is deleted");
    }
    let mut stream = Stream::open(&site, "", &format!("Last-Event-ID: {}\r\n", id(&site, 5))).await;
    let gap = stream.wait("gap").await.data;
    assert_eq!(gap["from"], 6);
    let to = gap["to"].as_u64().unwrap();
    assert!((19..last).contains(&to), "{gap}");
    assert_eq!(stream.ids(1).await, [id(&site, to + 1)]);
}

#[tokio::test]
async fn a_new_journal_is_told_to_those_who_read_and_given_from_its_first_event_on() {
    let site = start().await;
    let mut stream = Stream::open(&site, "", "").await;
    site.happen().await;
    stream.ids(1).await;
    let new = site.store.journal().begin_new("a test").await.unwrap();
    let gap = stream.wait("gap").await.data;
    assert_eq!((&gap["journal"], &gap["from"]), (&json!(&*new), &json!(1)));
    let next = format!("{new}-{}", gap["to"].as_u64().unwrap() + 1);
    site.happen().await;
    assert_eq!(stream.ids(1).await, [next]);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named() {
    let site = start().await;
    let token = format!("authorization: Bearer {}\r\n", site.token);
    for bad in ["x", "9f3c2a41", "9f3c2a41-x", "-1", "9f3c2a41-99999999999999999999"] {
        let headers = format!("{token}Last-Event-ID: {bad}\r\n");
        assert_eq!(site.ask_with("GET", STREAM, &headers, "").await.fields(), ["Last-Event-ID"], "{bad}");
    }
    for bad in ["1", "x/y", "1/0", "1/12"] {
        assert_eq!(site.get(&format!("{STREAM}?watch={bad}")).await.fields(), ["watch"], "{bad}");
    }
    let unknown = site.get(&format!("{STREAM}?watch=1/12")).await.json();
    let sentence = unknown["errors"]["watch"][0].as_str().unwrap();
    assert!(sentence.contains("flat 12 of intercom 1"), "{sentence}");
    assert_eq!(site.ask_with("GET", STREAM, "", "").await.status, 401);
}

#[tokio::test]
async fn revoking_its_token_ends_a_stream_at_once_and_no_other() {
    let site = start().await;
    let reader = site.tokens.add("reader", true, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let tcp = TcpStream::connect(site.address).await.unwrap();
    let mut revoked = Stream::open_on(tcp, &reader, "", "").await;
    let mut other = Stream::open(&site, "", "").await;
    revoked.wait("health").await;
    site.tokens.revoke("reader").unwrap();
    assert_eq!(revoked.end().await.0, "revoked");
    let sequence = site.happen().await;
    assert_eq!(other.ids(1).await, [id(&site, sequence)]);
}

#[tokio::test]
async fn the_end_of_the_endpoint_ends_its_streams_within_the_drain() {
    let site = start().await;
    let mut stream = Stream::open(&site, "", "").await;
    stream.wait("health").await;
    site.stop.send_replace(true);
    assert_eq!(stream.end().await.0, "stopping");
    site.serving.await.unwrap();
}

#[tokio::test]
async fn the_seventeenth_stream_is_refused_and_a_client_that_has_gone_leaves_its_place() {
    let site = start().await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(Stream::open(&site, "", "").await);
    }
    let refused = site.get(STREAM).await;
    let (status, sentence) = refused.error();
    assert!(status == 503 && sentence.contains("16 streams"), "{sentence}");
    assert!(refused.header("retry-after").is_some());
    drop(streams.pop());
    let mut seventeenth = Stream::open(&site, "", "").await;
    let sequence = site.happen().await;
    for stream in streams.iter_mut().chain([&mut seventeenth]) {
        assert_eq!(stream.ids(1).await, [id(&site, sequence)]);
    }
}

/// It has taken the headers and then nothing more, by a small window.
#[tokio::test]
async fn a_reader_that_reads_nothing_is_cut_off_and_holds_nobody_up() {
    let limits = Limits { stream_stalled_for: Duration::from_secs(1), ..Limits::default() };
    let site = start_with(Tls::Off, limits).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let tcp = socket.connect(site.address).await.unwrap();
    let mut stalled = Stream::open_on(tcp, &site.token, "", "").await;
    let mut reads = Stream::open(&site, "", "").await;
    let mut next = site.store.journal().last() + 1;
    // Until its window is full and 256 events wait besides. The journal records its own events among these.
    let cut_off = async {
        loop {
            futures_util::future::join_all((0..50).map(|_| site.happen())).await;
            for sequence in next..next + 50 {
                assert_eq!(reads.ids(1).await, [id(&site, sequence)]);
            }
            next += 50;
            if site.get("/metrics").await.body.contains("http_connections 2\n") {
                break;
            }
        }
    };
    timeout(PATIENCE, cut_off).await.expect("it is cut off");
    // What it gets is what was sent before, and an end where there was room for one.
    let rest = String::from_utf8(ending(&mut stalled.tcp).await).unwrap();
    let got = rest.matches("event: event\n").count() as u64;
    assert!(got + 256 < next, "{got} of {next}");
    let last = site.happen().await;
    while reads.ids(1).await != [id(&site, last)] {}
}

#[tokio::test]
async fn a_burst_of_events_cuts_nobody_off_that_reads() {
    let site = start().await;
    let mut stream = Stream::open(&site, "", "").await;
    let last = site.happen().await;
    futures_util::future::join_all((0..600).map(|_| site.happen())).await;
    let ids: Vec<String> = (last..=last + 600).map(|sequence| id(&site, sequence)).collect();
    assert_eq!(stream.ids(601).await, ids);
}

#[tokio::test]
async fn browsers_get_it_in_chunks_on_a_connection_that_it_ends() {
    let site = start().await;
    let mut tcp = TcpStream::connect(site.address).await.unwrap();
    let request = format!("GET {STREAM} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", site.token);
    tcp.write_all(request.as_bytes()).await.unwrap();
    let answer = read_answer(&mut tcp, &request).await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(
        (answer.header("connection"), answer.header("cache-control")),
        (Some("close"), Some("no-store"))
    );
    site.stop.send_replace(true);
    let rest = String::from_utf8(ending(&mut tcp).await).unwrap();
    assert!(rest.ends_with("event: end\ndata: {\"reason\":\"stopping\"}\n\n\r\n0\r\n\r\n"), "{rest}");
}
