//! Listens, and lets every connection in that there is a place for.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Handles, Limits, Settings, Tls,
    address::Arrival,
    connection::{self, Terms},
    front::{Front, Visit},
    room::Room,
    state::Api,
    stream,
};
use crate::{
    clock::{self, Clock},
    faults, sys,
    tls::{CertificateError, CertificateUse, Expiries, InForce, SelfSigned, Served, Source},
};

/// Pause after a connection could not be accepted for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Bytes that the kernel may keep for a client that takes nothing, besides what it is known to have room for.
const UNSENT: u32 = 16 << 10;

/// How often it is asked whether a certificate of our own is to be renewed: it costs no look at the disk.
const RENEWAL: Duration = Duration::from_secs(1);
/// How often the loop turns that has nothing to do.
const BEAT: Duration = Duration::from_secs(1);

/// Why the endpoint cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", advice(source, address))]
    Listen {
        /// `http.listen`.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

fn advice(error: &io::Error, address: &SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "; another program has port {}: stop it, or set another port in http.listen",
                address.port()
            )
        }
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "; ports below 1024 are privileged: set a higher one in http.listen, like 8443".into()
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine does not have that address: set 0.0.0.0 or [::] in http.listen".into()
        }
        _ => String::new(),
    }
}

/// Listens, and reads or makes the certificate. Nothing is answered before [`Bound::serve`]. Blocks on the disk for
/// a moment.
///
/// # Errors
/// [`BindError`], for the installer to read.
pub async fn bind(settings: &Settings, clock: &Clock) -> Result<Bound, BindError> {
    let certificate = source(settings).map(|source| Served::open(source, clock.known())).transpose()?;
    let listen = || {
        let socket = if settings.listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(settings.listen)?;
        socket.listen(Limits::WAITING)
    };
    let failed = |source| BindError::Listen { address: settings.listen, source };
    let listener = listen().map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    match certificate.as_ref().map(Served::in_force) {
        Some(InForce { fingerprint, key_fingerprint, .. }) => {
            tracing::info!(
                %address,
                %fingerprint,
                %key_fingerprint,
                "https: the SHA-256 fingerprints of the certificate, and of its key, which a renewal keeps"
            );
        }
        None => tracing::info!(%address, "http, without TLS"),
    }
    Ok(Bound {
        settings: settings.clone(),
        listener,
        address,
        certificate,
        trouble: watch::Sender::new(None),
        beat: Arc::new(AtomicU64::new(clock::mono().as_nanos())),
    })
}

fn source(settings: &Settings) -> Option<Source> {
    match &settings.tls {
        Tls::SelfSigned => Some(Source::SelfSigned(SelfSigned {
            dir: settings.state_dir.join("tls"),
            gateway: settings.gateway.clone(),
            address: settings.listen.ip(),
        })),
        Tls::Files { cert, key } => Some(Source::Files { cert: cert.clone(), key: key.clone() }),
        Tls::Off => None,
    }
}

/// An endpoint that listens.
pub struct Bound {
    settings: Settings,
    listener: TcpListener,
    address: SocketAddr,
    certificate: Option<Served>,
    trouble: watch::Sender<Option<String>>,
    beat: Arc<AtomicU64>,
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate; `None` without TLS.
    pub fn certificate(&self) -> Option<&InForce> {
        self.certificate.as_ref().map(Served::in_force)
    }

    /// Why the certificate files as they are now are not in force, or our own is not renewed: a sentence for
    /// `/healthz`.
    pub fn certificate_trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// When the loop of [`Bound::serve`] last turned, on the monotonic clock, in nanoseconds; at least once a second.
    pub fn beat(&self) -> Arc<AtomicU64> {
        self.beat.clone()
    }

    /// Serves until `shutdown` is true or its sender is gone; then accepts nothing any more, gives the requests under
    /// way [`Limits::drain`] to end, and returns.
    pub async fn serve(self, handles: Handles, mut shutdown: watch::Receiver<bool>) {
        let Self { settings, listener, address, certificate, trouble, beat } = self;
        let limits = settings.limits;
        let tls = certificate.as_ref().map(|certificate| TlsAcceptor::from(certificate.config()));
        let certificate = certificate.map(|certificate| Certificate {
            served: certificate,
            trouble,
            expiries: handles.certificates.clone(),
            clock: handles.clock.clone(),
        });
        if let Some(certificate) = &certificate {
            certificate.tell();
        }
        let api = Arc::new(Api::new(settings, handles));
        let streams = api.streams.clone();
        let feeding = stream::feed(streams.clone(), api.handles.clone(), api.settings.gateway.clone());
        let mut gate = Gate {
            room: api.room.clone(),
            front: Arc::new(Front::new(api)),
            tls,
            limits,
            address,
            shutdown: shutdown.clone(),
            connections: JoinSet::new(),
        };
        let mut renewal = pin!(renew_for_ever(certificate, limits.reload_every));
        let mut feeding = pin!(feeding);
        let mut told = pin!(shutdown.wait_for(|told| *told));
        loop {
            beat.store(clock::mono().as_nanos(), Ordering::Relaxed);
            faults::pause("the endpoint").await;
            tokio::select! {
                _ = &mut told => break,
                accepted = accept(&listener) => gate.admit(accepted),
                Some(ended) = gate.connections.join_next() => noted(ended),
                () = sleep(clock::until_next(BEAT)) => {}
                never = &mut renewal => match never {},
                never = &mut feeding => match never {},
            }
        }
        drop(listener);
        streams.stop();
        let drained = async {
            while let Some(ended) = gate.connections.join_next().await {
                noted(ended)
            }
        };
        if timeout(limits.drain, drained).await.is_err() {
            tracing::warn!("some requests did not end in time and are cut off");
        }
    }
}

async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let accepted = listener.accept().await;
    if accepted.is_err() {
        sleep(ACCEPT_PAUSE).await;
    }
    accepted
}

/// The certificate that is served, and who is told of it.
struct Certificate {
    served: Served,
    trouble: watch::Sender<Option<String>>,
    expiries: Expiries,
    clock: Arc<Clock>,
}

impl Certificate {
    fn tell(&self) {
        self.expiries.set(CertificateUse::Endpoint, self.served.in_force().expiry.clone());
        let trouble = self.served.trouble();
        self.trouble.send_if_modified(|told| {
            let is_news = told.as_deref() != trouble;
            *told = trouble.map(ToOwned::to_owned);
            is_news
        });
    }
}

async fn renew_for_ever(certificate: Option<Certificate>, files_every: Duration) -> Infallible {
    let Some(mut certificate) = certificate else { return std::future::pending().await };
    let every = if certificate.served.is_of_files() { files_every } else { files_every.min(RENEWAL) };
    loop {
        sleep(clock::until_next(every)).await;
        if !certificate.served.is_due(certificate.clock.known()) {
            continue;
        }
        let looking = sys::blocking(move || {
            certificate.served.look(certificate.clock.known());
            certificate
        });
        certificate = sys::finished(looking).await;
        certificate.tell();
    }
}

fn noted(ended: Result<(), tokio::task::JoinError>) {
    // What went wrong is logged; its words may be the caller's.
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("a connection was given up: its task has panicked");
    }
}

/// Lets connections in, and gives each what it needs.
struct Gate {
    room: Arc<Room>,
    front: Arc<Front>,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    /// What it listens on.
    address: SocketAddr,
    shutdown: watch::Receiver<bool>,
    connections: JoinSet<()>,
}

impl Gate {
    fn admit(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                return;
            }
        };
        let Some((seat, lost)) = self.room.enter(from.ip()) else {
            tracing::debug!(%from, "no place is left for a connection");
            return;
        };
        let seat = Arc::new(seat);
        let visit = Visit {
            front: self.front.clone(),
            from: from.ip(),
            seat: seat.clone(),
            arrival: Arrival {
                https: self.tls.is_some(),
                reached: stream.local_addr().unwrap_or(self.address),
            },
        };
        let terms = Terms { tls: self.tls.clone(), limits: self.limits, shutdown: self.shutdown.clone() };
        self.connections.spawn(async move {
            // Answers are small and written whole: waiting for more to send only delays them.
            let _ = stream.set_nodelay(true);
            // It only makes a client that takes nothing known sooner.
            let _ = sys::keep_unsent_below(&stream, UNSENT);
            // A phone that has left the building says no goodbye, and a stream that has little to say would never be found
            // to be stuck.
            let _ = sys::give_up_after(&stream, terms.limits.stalled_for);
            tokio::select! {
                biased;
                _ = lost => tracing::debug!(%from, "a connection is cut off: it has lost its place, or does not read its stream"),
                () = connection::serve(stream, terms, visit, || seat.has_asked(), || seat.patience()) => {}
            }
        });
    }
}
