//! The command's end of the control socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
};

use anyhow::Context;

use super::{Reply, Request};
use crate::domain::json;

/// A connection to a running daemon.
pub struct Client {
    stream: UnixStream,
}

/// A daemon's answer: what it said, and what follows.
pub struct Answer {
    /// The value of `ok`.
    pub value: serde_json::Value,
    /// The rest of the stream.
    pub rest: BufReader<UnixStream>,
}

impl Client {
    /// Connects; `None`: no daemon is running.
    ///
    /// # Errors
    /// One may be running, but the socket cannot be opened.
    pub fn connect(socket: &Path) -> anyhow::Result<Option<Self>> {
        match UnixStream::connect(socket) {
            Ok(stream) => Ok(Some(Self { stream })),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(error).with_context(|| format!("cannot open {}: run this with sudo", socket.display()))
            }
            Err(error) => Err(error)
                .with_context(|| format!("cannot open {}: check state_dir of [gateway]", socket.display())),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The daemon's own sentence, or the connection broke.
    pub fn ask(mut self, request: &Request) -> anyhow::Result<Answer> {
        self.send(request)?;
        self.receive()
    }

    /// As [`Client::ask`], with a document behind the request, up to the end of what is sent.
    ///
    /// # Errors
    /// As [`Client::ask`], or the document cannot be read.
    pub fn ask_with(mut self, request: &Request, document: &mut impl Read) -> anyhow::Result<Answer> {
        self.send(request)?;
        match io::copy(document, &mut self.stream) {
            // A daemon that has seen enough of the document answers and stops reading.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
            result => drop(result.context("cannot send the document")?),
        }
        // As above: it may have closed its side.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.receive()
    }

    fn send(&mut self, request: &Request) -> anyhow::Result<()> {
        let mut line = json::text(request);
        line.push('\n');
        self.stream.write_all(line.as_bytes()).context("the daemon does not listen")
    }

    fn receive(self) -> anyhow::Result<Answer> {
        let mut rest = BufReader::new(self.stream);
        let mut line = String::new();
        rest.read_line(&mut line).context("the daemon does not answer")?;
        match serde_json::from_str(&line).context("the daemon ended before it could answer")? {
            Reply::Ok(value) => Ok(Answer { value, rest }),
            Reply::Error(error) => Err(anyhow::anyhow!(error)),
        }
    }
}
