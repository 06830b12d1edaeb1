//! The daemon's end of the control socket.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    net::Shutdown,
    num::NonZeroU16,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use super::{For, LONGEST_REQUEST, ListedToken, Reply, Request, Sockets, certify, lately, listen, scan};
use crate::{
    api::{Local, Tokens},
    backup::FlatsSummary,
    bus::BusHandle,
    clock::Clock,
    domain::{EventBody, Name, Occurrence, event::SyncApplied, json, with_causes},
    doors::{Doors, Flats},
    gateway::{
        configured::Configured,
        doctor::Doctor,
        records::Records,
        reload::{Reload, Wish},
        reports,
        traces::Traces,
        units::{Beat, Part, Units},
    },
    store::{Cache, Journal, StoreError},
    sys::{self, files::nameless},
};

/// How often a socket that could not be made is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Commands served at once; more wait. An installer has two hands.
const CONNECTIONS: usize = 16;
/// Callers that follow what happens, besides: they stay, and take no place from a command.
const FOLLOWERS: usize = 8;
/// A caller that neither gives nor takes a byte for so long is given up.
pub(super) const STALLED: Duration = Duration::from_secs(30);
/// How long a caller waits for a database that is being opened.
const OPENING: Duration = Duration::from_secs(10);
/// How long a caller may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long `panel pair` keeps the door to the default key open (contract §1).
const PAIRING_TIME: Duration = Duration::from_secs(600);
/// Most bytes of a document to import: a hundred times what 100,000 keys take.
const LARGEST_DOCUMENT: u64 = 1 << 30;
/// The file that a document is kept in until all of it is here, where it needs a name.
const DOCUMENT: &str = "intercom-gateway.import";
/// Most bytes of a configuration.
const LARGEST_CONFIGURATION: u64 = 1 << 20;

/// What the control socket may reach.
#[derive(Clone)]
pub struct Control {
    pub(crate) gateway: Name,
    pub(crate) state_dir: PathBuf,
    pub(crate) journal: Journal,
    pub(crate) cache: Cache,
    pub(crate) flats: Flats,
    pub(crate) clock: Arc<Clock>,
    pub(crate) doors: Doors,
    pub(crate) tokens: Tokens,
    pub(crate) config: Configured,
    pub(crate) doctor: Arc<Doctor>,
    pub(crate) watched: Local,
    pub(crate) reload: Reload,
    pub(crate) traces: Traces,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Control {
    /// Makes the sockets, and serves callers there for the life of the daemon; `trouble` tells why those of the control
    /// socket are not served. They are there on return, so that a command may follow the announcement of the start at once.
    pub fn start(self, units: &Units, sockets: Sockets, trouble: watch::Sender<Option<String>>) {
        let made = listen(&sockets.control, For::Everything);
        let status = sockets.status.map(|path| (listen(&path, For::Looking), path));
        units.spawn(Part::ControlSocket, |beat| async move {
            let looking = async {
                if let Some((made, path)) = status {
                    // Doors and commands do not wait for those who look: it is no reason in health.
                    let untold = watch::Sender::default();
                    self.clone().serve(&path, For::Looking, made, untold, &beat).await;
                }
            };
            tokio::join!(
                self.clone().serve(&sockets.control, For::Everything, made, trouble, &beat),
                looking,
                self.watched.clone().feed(),
            );
        });
    }

    /// `made` is the first attempt to make the socket; one that failed is repeated.
    async fn serve(
        self,
        path: &Path,
        what_for: For,
        mut made: anyhow::Result<UnixListener>,
        trouble: watch::Sender<Option<String>>,
        beat: &Beat,
    ) {
        loop {
            match made {
                Ok(listener) => {
                    trouble.send_replace(None);
                    return self.serve_at(listener, what_for, beat).await;
                }
                Err(error) => {
                    let error = with_causes(error.as_ref());
                    if trouble.send_replace(Some(error.clone())).as_ref() != Some(&error) {
                        tracing::error!("{error}; tried again every {} s", RETRY.as_secs());
                    }
                }
            }
            beat.wait(tokio::time::sleep(RETRY)).await;
            made = listen(path, what_for);
        }
    }

    async fn serve_at(self, listener: UnixListener, what_for: For, beat: &Beat) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let followers = Arc::new(Semaphore::new(FOLLOWERS));
        loop {
            let Ok(place) = beat.wait(places.clone().acquire_owned()).await else { return };
            match beat.wait(listener.accept()).await {
                Ok((stream, _)) => {
                    let (control, followers) = (self.clone(), followers.clone());
                    sys::spawn(async move {
                        if let Err(error) = control.answer(stream, what_for, place, followers).await {
                            tracing::debug!(%error, "a caller at the control socket went away");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket accepts no caller");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn answer(
        self,
        mut stream: UnixStream,
        what_for: For,
        place: OwnedSemaphorePermit,
        followers: Arc<Semaphore>,
    ) -> io::Result<()> {
        let request = match timeout(REQUEST_TIMEOUT, read_request(&mut stream)).await {
            Ok(Ok(request)) => request,
            Ok(Err(error)) => return reply(&mut stream, &Reply::Error(error.to_string())).await,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        if what_for == For::Looking && !request.only_looks() {
            let refused = "this socket is for looking only: run the command with sudo";
            return reply(&mut stream, &Reply::Error(refused.to_owned())).await;
        }
        match request {
            Request::Flat { intercom, flat, by_number } => {
                let answer = self.flat(intercom, flat, by_number).await;
                reply(&mut stream, &answer).await
            }
            Request::Import => self.import(stream).await,
            Request::Export => self.export(stream, false).await,
            Request::Backup => self.export(stream, true).await,
            Request::Journal(asked) if asked.follow => {
                drop(place);
                match followers.try_acquire_owned() {
                    Ok(_follower) => self.send_journal(stream, asked).await,
                    Err(_) => reply(&mut stream, &full()).await,
                }
            }
            Request::Journal(asked) => self.send_journal(stream, asked).await,
            Request::Doctor => {
                let checks = serde_json::json!(self.doctor.examine().await);
                reply(&mut stream, &Reply::Ok(checks)).await
            }
            Request::Metrics => reply(&mut stream, &Reply::Ok(self.watched.metrics().into())).await,
            Request::Watch { events } => {
                drop(place);
                match followers.try_acquire_owned() {
                    Ok(_follower) => self.send_watched(stream, events).await,
                    Err(_) => reply(&mut stream, &full()).await,
                }
            }
            Request::Pair { panel } => {
                let answer = self.pair(&panel).await;
                reply(&mut stream, &answer).await
            }
            Request::Rekey { panel } => {
                let answer = self.rekey(&panel).await;
                reply(&mut stream, &answer).await
            }
            Request::Identify { panel, tenths } => {
                let answer = self.identify(&panel, tenths).await;
                reply(&mut stream, &answer).await
            }
            Request::Lately { bus } => lately::send(&self, stream, &bus).await,
            Request::Certify { bus, rates } => certify::send(&self, stream, &bus, rates).await,
            Request::Scan { bus, thorough } => scan::send(&self, stream, &bus, thorough).await,
            Request::Reload => {
                let answer = self.wish(Wish::Reload).await;
                reply(&mut stream, &answer).await
            }
            Request::Abort => {
                let answer = self.wish(Wish::Abort).await;
                reply(&mut stream, &answer).await
            }
            Request::Apply { name, seconds } => {
                let answer = match timeout(STALLED, text(&mut stream)).await {
                    Ok(Ok(text)) => {
                        let time = Duration::from_secs(seconds);
                        self.wish(Wish::Apply { name, text, time }).await
                    }
                    Ok(Err(error)) => Reply::Error(error.to_string()),
                    Err(_) => return Err(io::ErrorKind::TimedOut.into()),
                };
                reply(&mut stream, &answer).await
            }
            Request::OnTrial => {
                let on_trial = serde_json::json!(self.reload.hold().await);
                reply(&mut stream, &Reply::Ok(on_trial)).await
            }
            Request::TokenAdd { .. } | Request::TokenList | Request::TokenRevoke { .. } => {
                // Two syncs of a small file.
                let answer = sys::blocking(move || self.token(&request));
                let answer = answer.await.unwrap_or_else(|_| failed());
                reply(&mut stream, &answer).await
            }
        }
    }

    async fn flat(&self, intercom: u64, flat: u64, by_number: bool) -> Reply {
        if let Err(error) = in_time(self.cache.opened()).await {
            return Reply::Error(error);
        }
        let cache = self.cache.reader();
        let read = sys::blocking(move || {
            if by_number {
                cache.flat_body_by_number(intercom, flat)
            } else {
                cache.flat_body(intercom, flat)
            }
        });
        match read.await {
            Ok(Ok(Some(body))) => Reply::Ok(String::from_utf8_lossy(&body).into()),
            Ok(Ok(None)) => {
                let what = if by_number { "number" } else { "record id" };
                Reply::Error(format!("intercom {intercom} has no flat with {what} {flat}"))
            }
            Ok(Err(error)) => Reply::Error(error.to_string()),
            Err(_) => failed(),
        }
    }

    async fn import(self, stream: UnixStream) -> io::Result<()> {
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(STALLED))?;
        let source = stream.try_clone()?;
        let control = self.clone();
        let imported = sys::blocking(move || {
            // All of it is here before the cache is touched: a caller that stalls holds up no revocation.
            let document = spool(source, &control.state_dir).map_err(|error| error.to_string())?;
            control.flats.import(document).map_err(|refusal| refusal.to_string())
        });
        let answer = match imported.await {
            Ok(Ok(state)) => {
                if let Some(revision) = state.revision {
                    let body = EventBody::SyncApplied(SyncApplied { revision, digest: state.digest.clone() });
                    reports::append(&self.journal, Occurrence { stamp: self.clock.stamp(), body });
                }
                Reply::Ok(serde_json::json!({
                    "revision": state.revision, "flats": state.flats, "keys": state.keys, "users": state.users,
                    "on_disk": self.cache.is_on_disk(),
                }))
            }
            Ok(Err(error)) => Reply::Error(error),
            Err(_) => failed(),
        };
        // What was not read of a refused document would reset the connection and take the answer along.
        stream.shutdown(Shutdown::Read)?;
        stream.set_nonblocking(true)?;
        reply(&mut UnixStream::from_std(stream)?, &answer).await
    }

    /// Sends the cache; `with_summary`, and what it is together.
    async fn export(&self, mut stream: UnixStream, with_summary: bool) -> io::Result<()> {
        if let Err(error) = in_time(self.cache.opened()).await {
            return reply(&mut stream, &Reply::Error(error)).await;
        }
        reply(&mut stream, &Reply::Ok(serde_json::Value::Null)).await?;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(STALLED))?;
        let cache = self.cache.reader();
        let written = sys::blocking(move || {
            let mut out = io::BufWriter::new(stream);
            let state = cache.export(&mut out).map_err(io::Error::other)?;
            if with_summary {
                writeln!(out, "{}", json::text(&FlatsSummary::from(&state)))?;
            }
            out.flush()
        });
        match written.await {
            Ok(written) => written,
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn token(&self, request: &Request) -> Reply {
        let answer = match request {
            Request::TokenAdd { name, read_only } => {
                let added = self.tokens.add(name.as_str(), *read_only, self.clock.wall());
                added.map(|token| token.as_str().into())
            }
            Request::TokenRevoke { name } => self.tokens.revoke(name.as_str()).map(serde_json::Value::Bool),
            _ => {
                let listed: Vec<ListedToken> = self.tokens.list().into_iter().map(Into::into).collect();
                Ok(serde_json::json!(listed))
            }
        };
        answer.map_or_else(|error| Reply::Error(error.to_string()), Reply::Ok)
    }

    async fn pair(&self, panel: &Name) -> Reply {
        match self.doors.pair(panel, PAIRING_TIME).await {
            Ok(()) => Reply::Ok(PAIRING_TIME.as_secs().into()),
            Err(refusal) => Reply::Error(refusal.to_string()),
        }
    }

    /// Returns a bus by its name, or what to tell who asked for it.
    pub(super) fn bus(&self, name: &Name) -> Result<Arc<BusHandle>, String> {
        let buses = self.doors.buses().handles();
        buses.iter().find(|bus| bus.name == *name).cloned().ok_or_else(|| {
            let known: Vec<&str> = buses.iter().map(|bus| bus.name.as_str()).collect();
            format!("the daemon has no bus {name}; there are: {}", known.join(", "))
        })
    }

    /// Sets the key of the panel's `secure_key_file` as it is now, or, where it has none, one that is chosen.
    async fn rekey(&self, panel: &Name) -> Reply {
        let configured = self.config.now().panel(panel).cloned();
        let to = sys::blocking(move || configured.as_ref().map_or(Ok(None), Records::key_to_set));
        let done = match to.await {
            Ok(Ok(to)) => self.doors.rekey(panel, to).await,
            Ok(Err(error)) => {
                return Reply::Error(format!("the new key of panel {panel} cannot be used: {error}"));
            }
            Err(_) => return failed(),
        };
        match done {
            Ok(()) => Reply::Ok(serde_json::Value::Null),
            Err(refusal) => Reply::Error(refusal.to_string()),
        }
    }

    async fn wish(&self, wish: Wish) -> Reply {
        match self.reload.wish(wish).await {
            Ok(outcome) => Reply::Ok(serde_json::json!(outcome)),
            Err(error) => Reply::Error(error),
        }
    }

    async fn identify(&self, panel: &Name, tenths: NonZeroU16) -> Reply {
        match self.doors.identify(panel.as_str(), tenths).await {
            Ok(_) => Reply::Ok(serde_json::Value::Null),
            Err(refusal) => Reply::Error(refusal.to_string()),
        }
    }
}

/// Waits for a database that is being opened, but not as long as a check may take.
pub(super) async fn in_time<T>(opened: impl Future<Output = Result<T, StoreError>>) -> Result<(), String> {
    match timeout(OPENING, opened).await {
        Ok(opened) => opened.map(|_| ()).map_err(|error| error.to_string()),
        Err(_) => Err("the database is still being opened and checked: try again in a minute".to_owned()),
    }
}

/// What a caller is told who is one too many.
fn full() -> Reply {
    Reply::Error(format!("{FOLLOWERS} others follow what happens already: end one of them"))
}

/// What a caller is told whose command has panicked: its words may be personal data, and its place is in the log.
fn failed() -> Reply {
    Reply::Error("the command has failed inside of the daemon: see its log".to_owned())
}

/// Returns a document as a file without a name, beside the databases or, failing that, among temporary files.
fn spool(source: impl Read, state_dir: &Path) -> io::Result<File> {
    let among_temporary = || nameless(&std::env::temp_dir().join(DOCUMENT));
    let mut file = nameless(&state_dir.join(DOCUMENT)).or_else(|_| among_temporary())?;
    let copied = io::copy(&mut source.take(LARGEST_DOCUMENT + 1), &mut file);
    match copied {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            let seconds = STALLED.as_secs();
            let stalled = format!("no byte of the document came for {seconds} s: nothing was imported");
            return Err(io::Error::new(io::ErrorKind::TimedOut, stalled));
        }
        Ok(length) if length > LARGEST_DOCUMENT => {
            let largest = format!("the document is larger than {} MiB", LARGEST_DOCUMENT >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, largest));
        }
        copied => drop(copied?),
    }
    file.rewind()?;
    Ok(file)
}

/// Reads a configuration to the end of what the caller sends.
async fn text(stream: &mut UnixStream) -> io::Result<String> {
    let mut text = Vec::new();
    stream.take(LARGEST_CONFIGURATION + 1).read_to_end(&mut text).await?;
    if text.len() as u64 > LARGEST_CONFIGURATION {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the file is above 1 MiB: this is no configuration",
        ));
    }
    String::from_utf8(text)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the file is no text in UTF-8"))
}

/// Reads byte by byte: what follows the line is the document.
async fn read_request(stream: &mut UnixStream) -> io::Result<Request> {
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => break,
            byte if line.len() < LONGEST_REQUEST => line.push(byte),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "the request line is too long")),
        }
    }
    json::from_slice(&line).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("this daemon does not understand the request: {error}"),
        )
    })
}

/// Sends text or bytes to a caller, who is given up where he takes none of it for too long.
pub(super) async fn send(out: &mut (impl AsyncWrite + Unpin), content: impl AsRef<[u8]>) -> io::Result<()> {
    timeout(STALLED, out.write_all(content.as_ref())).await.map_err(io::Error::from)?
}

pub(super) async fn reply(stream: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = json::text(reply);
    line.push('\n');
    stream.write_all(line.as_bytes()).await
}
