//! Accepting connections and serving HTTP/1.1 on them.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, http::Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{interval, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    CertificateError, Handles, Limits, Settings,
    guard::Guard,
    routes::{Api, OPEN, router},
    stream::{Guarded, last_answer},
    tls::{Certificates, Reload},
};
use crate::clock;

/// After an answer that ends the connection, the rest of what the client sends is taken for so long: closed at
/// once, its kernel would throw the answer away.
const LINGER: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The first byte of every TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 22;

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
        let Self { settings, listener, certificates, beat, .. } = self;
        let limits = settings.limits;
        let tls = certificates.as_ref().map(|certificates| TlsAcceptor::from(certificates.config.clone()));
        let guard = Guard::new(handles.tokens.clone());
        let api = Arc::new(Api::new(settings, handles, tls.is_some()));
        let mut gate = Gate {
            front: Front {
                router: TowerToHyperService::new(router(api.clone())),
                api,
                guard: Arc::new(guard),
            },
            tls,
            limits,
            shutdown: shutdown.clone(),
            connections: JoinSet::new(),
        };
        let places = Arc::new(Semaphore::new(limits.connections));
        let mut tick = interval(Duration::from_secs(1));
        let reloading = certificates.and_then(|certificates| certificates.reload);
        let mut reload = pin!(reload_for_ever(reloading, limits.reload_every));
        let mut told = pin!(shutdown.wait_for(|told| *told));
        loop {
            beat.store(clock::mono().as_nanos(), Ordering::Relaxed);
            tokio::select! {
                _ = &mut told => break,
                accepted = accept(&listener, &places) => gate.admit(accepted),
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

/// The next connection, once there is a place for it: others wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    match listener.accept().await {
        Ok((stream, from)) => Ok((stream, from, place)),
        Err(error) => {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            Err(error)
        }
    }
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

/// What every connection gets.
struct Gate {
    front: Front,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    shutdown: watch::Receiver<bool>,
    connections: JoinSet<()>,
}

impl Gate {
    fn admit(&mut self, accepted: io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)>) {
        let (stream, from, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                return;
            }
        };
        let (tls, limits, shutdown) = (self.tls.clone(), self.limits, self.shutdown.clone());
        let client = Client { front: self.front.clone(), from: from.ip() };
        self.connections.spawn(async move {
            let _place = place;
            client.front.api.counters.connections.fetch_add(1, Ordering::Relaxed);
            // Answers are small and written whole: waiting for more to send only delays them.
            let _ = stream.set_nodelay(true);
            let counted = client.front.clone();
            match tls {
                None => converse(stream, client, limits, shutdown).await,
                Some(tls) => {
                    if let Some(stream) = encrypted(stream, tls, limits).await {
                        converse(stream, client, limits, shutdown).await;
                    }
                }
            }
            counted.api.counters.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// The TLS handshake. Who speaks plain HTTP to the port is told so.
async fn encrypted(
    mut stream: TcpStream,
    tls: TlsAcceptor,
    limits: Limits,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    let mut first = [0];
    let handshake = async {
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first != [TLS_HANDSHAKE] {
            let answer =
                last_answer("400 Bad Request", "This port speaks HTTPS: write https:// in the address.");
            stream.write_all(&answer).await?;
            linger(stream).await;
            return Ok(None);
        }
        tls.accept(stream).await.map(Some)
    };
    match timeout(limits.headers_within, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS connection");
            None
        }
        Err(_) => None,
    }
}

/// Serves the requests of one connection until either side ends it.
async fn converse<S>(stream: S, client: Client, limits: Limits, mut shutdown: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers_within)
        .max_buf_size(Limits::HEADERS)
        .half_close(true)
        .serve_connection(TokioIo::new(Guarded::new(stream, limits.stalled_for)), client);
    let served = {
        let mut told = pin!(shutdown.wait_for(|told| *told));
        let mut ending = false;
        loop {
            tokio::select! {
                biased;
                served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break served,
                _ = &mut told, if !ending => {
                    ending = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
    linger(connection.into_parts().io.into_inner().into_inner()).await;
}

/// Ends our side, and takes what the client still sends.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let rest = async {
        stream.shutdown().await?;
        let mut sink = [0; 2048];
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether it hears us is its own affair by now.
    let _ = timeout(LINGER, rest).await;
}

/// The door of the endpoint: decides about the token before anything else.
#[derive(Clone)]
struct Front {
    api: Arc<Api>,
    guard: Arc<Guard>,
    router: TowerToHyperService<Router>,
}

struct Client {
    front: Front,
    from: IpAddr,
}

impl hyper::service::Service<hyper::Request<Incoming>> for Client {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        let admitted = match self.front.guard.admit(request.headers(), self.from) {
            Ok(token) => {
                request.extensions_mut().insert(token);
                Ok(())
            }
            Err(_) if OPEN.contains(&request.uri().path()) => Ok(()),
            Err(refused) => Err(refused),
        };
        let api = self.front.api.clone();
        let answer = admitted.map(|()| hyper::service::Service::call(&self.front.router, request));
        Box::pin(async move {
            let response = match answer {
                Ok(answer) => answer.await?,
                Err(refused) => refused,
            };
            api.counters.count(response.status());
            Ok(response)
        })
    }
}
