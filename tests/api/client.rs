//! A client that sends any bytes and shows what came back.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::openapi::Document;

/// How long something may take that comes at once, on however busy a machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body, which has to be JSON and to say so.
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Whether it is hyper's own answer to what is no HTTP/1.1 request, or does not become one within 64 KiB: without a
    /// body, and the last on its connection.
    pub fn is_bare(&self) -> bool {
        matches!(self.status, 400 | 431)
            && self.body.is_empty()
            && (self.header("content-type"), self.header("connection")) == (None, Some("close"))
    }

    /// An error: JSON with a sentence.
    pub fn error(&self) -> (u16, String) {
        let message =
            self.json()["message"].as_str().unwrap_or_else(|| panic!("no message: {self:?}")).to_owned();
        assert!(!message.is_empty() && (400..=599).contains(&self.status) && self.status != 500, "{self:?}");
        (self.status, message)
    }

    /// The fields that a 422 finds fault with.
    pub fn fields(&self) -> Vec<String> {
        assert_eq!(self.status, 422, "{self:?}");
        let errors = self.json()["errors"].as_object().expect("errors").clone();
        for causes in errors.values() {
            assert!(causes[0].as_str().is_some_and(|cause| cause.len() > 5), "{self:?}");
        }
        errors.keys().cloned().collect()
    }
}

/// Sends `bytes` and reads one answer; `None`: the connection was ended without any.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other side may refuse and end before it has read all.
    let _ = stream.write_all(bytes).await;
    read_answer(&mut stream, bytes).await
}

/// Reads the answer to a request, of which the first line is enough, and holds it to openapi.json.
pub async fn read_answer<S: AsyncRead + Unpin>(stream: &mut S, request: impl AsRef<[u8]>) -> Option<Answer> {
    let with_body = !request.as_ref().starts_with(b"HEAD");
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let mut lines = head.split("\r\n");
            let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
            let headers: Vec<(String, String)> = lines
                .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{head}")))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            let length = headers.iter().find(|(key, _)| key == "content-length");
            let length = length.filter(|_| with_body).map_or(0, |(_, length)| length.parse().unwrap());
            let mut body = bytes.split_off(end + 4);
            while body.len() < length {
                let read = stream.read(&mut piece).await.unwrap();
                assert!(read > 0, "the answer broke off: {head}");
                body.extend_from_slice(&piece[..read]);
            }
            let answer = Answer { status, headers, body: String::from_utf8(body).unwrap() };
            hold(request.as_ref(), &answer);
            return Some(answer);
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

/// A connection from 127.0.0.`host`: to the gateway each is another client's address.
pub async fn connect_as(host: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, host], 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Waits until the other side ends the connection, and returns what came before.
pub async fn ending<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut rest = Vec::new();
    // Ended by a reset is ended too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the connection is ended");
    rest
}

/// One request over a stream that stays open.
pub async fn over<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &str) -> Option<Answer> {
    stream.write_all(request.as_bytes()).await.ok()?;
    read_answer(stream, request).await
}

/// Holds an answer to what openapi.json says of such a request. What is no request has no answer there.
fn hold(request: &[u8], answer: &Answer) {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
    if !answer.is_bare() {
        let content_type = answer.header("content-type");
        Document::read().accepts(method, target, answer.status, content_type, &answer.body);
    }
}
