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

use hyper_util::service::TowerToHyperService;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{interval, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    CertificateError, Handles, Limits, Settings,
    address::Arrival,
    connection::{self, Terms},
    front::{Client, Front},
    guard::Guard,
    routes::{Api, router},
    tls::{Certificates, Reload},
};
use crate::clock;

/// Pause after a connection could not be accepted for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

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
    #[error("cannot serve HTTPS: {0}")]
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
pub async fn bind(settings: &Settings) -> Result<Bound, BindError> {
    let certificates = Certificates::prepare(settings)?;
    let listen = || {
        let socket = if settings.listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(settings.listen)?;
        socket.listen(Limits::WAITING)
    };
    let failed = |source| BindError::Listen { address: settings.listen, source };
    let listener = listen().map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    match &certificates {
        Some(certificates) => {
            tracing::info!(%address, fingerprint = %certificates.fingerprint, "https: the certificate's SHA-256 fingerprint");
        }
        None => tracing::info!(%address, "http, without TLS"),
    }
    let trouble =
        certificates.as_ref().and_then(|certificates| Some(certificates.reload.as_ref()?.trouble()));
    Ok(Bound {
        settings: settings.clone(),
        listener,
        address,
        certificates,
        trouble: trouble.unwrap_or_else(|| watch::Sender::new(None).subscribe()),
        beat: Arc::new(AtomicU64::new(clock::mono().as_nanos())),
    })
}

/// An endpoint that listens.
pub struct Bound {
    settings: Settings,
    listener: TcpListener,
    address: SocketAddr,
    certificates: Option<Certificates>,
    trouble: watch::Receiver<Option<String>>,
    beat: Arc<AtomicU64>,
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// SHA-256 fingerprint of the certificate; `None` without TLS.
    pub fn fingerprint(&self) -> Option<&str> {
        self.certificates.as_ref().map(|certificates| certificates.fingerprint.as_str())
    }

    /// Why the certificate files as they are now are not in force, a sentence for `/healthz`.
    pub fn certificate_trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.clone()
    }

    /// When the loop of [`Bound::serve`] last turned, on the monotonic clock, in nanoseconds; at least once a second.
    pub fn beat(&self) -> Arc<AtomicU64> {
        self.beat.clone()
    }

    /// Serves until `shutdown` is true or its sender is gone; then accepts nothing any more, gives the requests under
    /// way [`Limits::drain`] to end, and returns.
    pub async fn serve(self, handles: Handles, mut shutdown: watch::Receiver<bool>) {
        let Self { settings, listener, address, certificates, beat, .. } = self;
        let limits = settings.limits;
        let tls = certificates.as_ref().map(|certificates| TlsAcceptor::from(certificates.config.clone()));
        let guard = Guard::new(handles.tokens.clone());
        let api = Arc::new(Api::new(settings, handles));
        let mut gate = Gate {
            front: Front {
                router: TowerToHyperService::new(router(api.clone())),
                api,
                guard: Arc::new(guard),
            },
            tls,
            limits,
            address,
            shutdown: shutdown.clone(),
            connections: JoinSet::new(),
        };
        let mut tick = interval(Duration::from_secs(1));
        let reloading = certificates.and_then(|certificates| certificates.reload);
        let mut reload = pin!(reload_for_ever(reloading, limits.reload_every));
        let mut told = pin!(shutdown.wait_for(|told| *told));
        loop {
            beat.store(clock::mono().as_nanos(), Ordering::Relaxed);
            tokio::select! {
                _ = &mut told => break,
                accepted = accept(&listener) => gate.admit(accepted),
                Some(ended) = gate.connections.join_next() => noted(ended),
                _ = tick.tick() => {}
                never = &mut reload => match never {},
            }
        }
        drop(listener);
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
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
    accepted
}

async fn reload_for_ever(reload: Option<Reload>, every: Duration) -> Infallible {
    let Some(mut reload) = reload else { return std::future::pending().await };
    loop {
        tokio::time::sleep(every).await;
        let looked = tokio::task::spawn_blocking(move || {
            reload.look();
            reload
        });
        match looked.await {
            Ok(back) => reload = back,
            Err(error) => {
                tracing::error!(%error, "the certificate files are looked at no more");
                return std::future::pending().await;
            }
        }
    }
}

fn noted(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task has panicked");
    }
}

/// Lets connections in, and gives each what it needs.
struct Gate {
    front: Front,
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
        let Some((seat, lost)) = self.front.api.room.enter(from.ip()) else {
            tracing::debug!(%from, "no place is left for a connection");
            return;
        };
        let seat = Arc::new(seat);
        let client = Client {
            front: self.front.clone(),
            from: from.ip(),
            arrival: Arrival {
                https: self.tls.is_some(),
                reached: stream.local_addr().unwrap_or(self.address),
            },
            seat: seat.clone(),
        };
        let terms = Terms { tls: self.tls.clone(), limits: self.limits, shutdown: self.shutdown.clone() };
        self.connections.spawn(async move {
            // Answers are small and written whole: waiting for more to send only delays them.
            let _ = stream.set_nodelay(true);
            tokio::select! {
                biased;
                _ = lost => tracing::debug!(%from, "a connection without a good token gives its place to a new one"),
                () = connection::serve(stream, terms, client, || seat.has_asked()) => {}
            }
        });
    }
}
