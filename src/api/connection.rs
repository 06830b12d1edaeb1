//! One connection from its first byte to its end: TLS, the requests, and the time that a client has for each.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{self, pin},
    time::Duration,
};

use axum::body::Body;
use hyper::{body::Incoming, server::conn::http1, service::HttpService};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    sync::watch,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Limits, error::Problem, front::ALWAYS, patient::Patient};

/// After an answer that ends the connection, the rest of what the client sends is taken for this long: closed at
/// once, its kernel would throw the answer away.
const LINGER: Duration = Duration::from_secs(1);
/// What is read of a request's line and headers, bytes and headers. Beyond it hyper answers by itself, without a body;
/// what only exceeds [`Limits::HEADERS`] or [`Limits::HEADER_LINES`] is refused behind it, in JSON.
const READ: usize = 4 * Limits::HEADERS;
const READ_HEADERS: usize = 5 * Limits::HEADER_LINES;
/// The first byte of every TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 22;

/// How a connection is served.
pub(super) struct Terms {
    /// `None`: in plaintext.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: Limits,
    /// True once the endpoint stops: idle connections end at once, others after the request under way.
    pub(super) shutdown: watch::Receiver<bool>,
}

/// Serves one connection until either side ends it. `has_asked` says whether `service` has been called yet: until
/// then the client has had [`Limits::headers_within`] for handshake and headers together. `patience` says for how long it
/// may take nothing.
pub(super) async fn serve<S, V>(
    stream: S,
    terms: Terms,
    service: V,
    has_asked: impl Fn() -> bool,
    patience: impl Fn() -> Duration + Unpin,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    V: HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Unpin> + Unpin,
{
    let Terms { tls, limits, shutdown } = terms;
    let by = Instant::now() + limits.headers_within;
    match tls {
        None => converse(Patient::new(stream, patience), service, limits, by, has_asked, shutdown).await,
        Some(tls) => {
            if let Some(stream) = encrypted(stream, tls, by).await {
                converse(Patient::new(stream, patience), service, limits, by, has_asked, shutdown).await;
            }
        }
    }
}

/// The TLS handshake. Who speaks plain HTTP to the port is told so.
async fn encrypted<S>(stream: S, tls: TlsAcceptor, by: Instant) -> Option<TlsStream<BufReader<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Of one byte: it is looked at, and what follows goes past the buffer.
    let mut stream = BufReader::with_capacity(1, stream);
    let handshake = async {
        let Some(first) = stream.fill_buf().await?.first().copied() else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if first != TLS_HANDSHAKE {
            let answer =
                last_answer("400 Bad Request", "This port speaks HTTPS: write https:// in the address.");
            stream.write_all(&answer).await?;
            linger(stream).await;
            return Ok(None);
        }
        tls.accept(stream).await.map(Some)
    };
    match timeout_at(by, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS connection");
            None
        }
        Err(_) => None,
    }
}

/// Serves the requests. The headers of the first one have to be there at `by`.
async fn converse<S, P, V>(
    stream: Patient<S, P>,
    service: V,
    limits: Limits,
    by: Instant,
    has_asked: impl Fn() -> bool,
    mut shutdown: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Fn() -> Duration + Unpin,
    V: HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Unpin> + Unpin,
{
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers_within)
        .max_buf_size(READ)
        .max_headers(READ_HEADERS)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let served = {
        let mut told = pin!(shutdown.wait_for(|told| *told));
        let mut late = pin!(sleep_until(by));
        let (mut ending, mut in_time) = (false, false);
        loop {
            tokio::select! {
                biased;
                served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break served,
                _ = &mut told, if !ending => {
                    ending = true;
                    pin::Pin::new(&mut connection).graceful_shutdown();
                }
                () = &mut late, if !in_time => {
                    in_time = has_asked();
                    if !in_time {
                        break Ok(());
                    }
                }
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
    linger(connection.into_parts().io.into_inner().into_inner()).await;
}

/// A whole answer with a JSON body, after which the connection is closed.
fn last_answer(status: &str, message: &str) -> Vec<u8> {
    let body = Problem::text(message);
    let always: String = ALWAYS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{always}connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
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

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use axum::http::Response;
    use hyper::service::service_fn;
    use rustls_pki_types::{PrivateKeyDer, ServerName};
    use tokio::{
        io::{DuplexStream, duplex, split},
        task::JoinHandle,
        time::sleep,
    };
    use tokio_rustls::{
        TlsConnector,
        rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring},
    };

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Both sides of TLS, with a certificate that the client trusts.
    fn tls() -> (TlsAcceptor, TlsConnector) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server).into(), Arc::new(client).into())
    }

    /// The client's side of a connection that is served with the contract's limits.
    fn served(tls: Option<TlsAcceptor>) -> (DuplexStream, JoinHandle<()>) {
        let (near, far) = duplex(64 << 10);
        let asked = Arc::new(AtomicBool::new(false));
        let asks = asked.clone();
        let service = service_fn(move |_| {
            asks.store(true, Ordering::Relaxed);
            ready(Ok(Response::new(Body::from("ok"))))
        });
        let (stop, shutdown) = watch::channel(false);
        let terms = Terms { tls, limits: Limits::default(), shutdown };
        let serving = tokio::spawn(async move {
            let patience = || Limits::default().stalled_for;
            serve(near, terms, service, || asked.load(Ordering::Relaxed), patience).await;
            drop(stop);
        });
        (far, serving)
    }

    /// Sends a byte a second, of headers without an end, until the connection is ended.
    async fn drip<S: AsyncRead + AsyncWrite>(stream: S) {
        let (mut from, mut to) = split(stream);
        let mut answers = Vec::new();
        let dripping = async {
            loop {
                let _ = to.write_all(b"y").await;
                let _ = to.flush().await;
                sleep(seconds(1)).await;
            }
        };
        tokio::select! {
            () = dripping => {}
            _ = from.read_to_end(&mut answers) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn handshake_and_headers_share_their_ten_seconds() {
        let (acceptor, connector) = tls();
        let began = Instant::now();
        let (far, serving) = served(Some(acceptor));
        sleep(seconds(7)).await;
        let far = connector.connect(ServerName::try_from("localhost").unwrap(), far).await.unwrap();
        drip(far).await;
        assert_eq!(began.elapsed().as_secs(), 10);
        serving.await.unwrap();

        let began = Instant::now();
        let (far, _) = served(None);
        drip(far).await;
        assert_eq!(began.elapsed().as_secs(), 10);
    }

    /// A stream may have nothing to say for longer than a client may take nothing.
    #[tokio::test(start_paused = true)]
    async fn an_answer_that_pauses_is_not_one_that_is_not_taken() {
        let (near, mut far) = duplex(64 << 10);
        let service = service_fn(|_| {
            let pieces = futures_util::stream::unfold(0, |piece| async move {
                sleep(seconds(40)).await;
                (piece < 3).then_some((io::Result::Ok("x"), piece + 1))
            });
            ready(Ok(Response::new(Body::from_stream(pieces))))
        });
        let (_stop, shutdown) = watch::channel(false);
        let terms = Terms { tls: None, limits: Limits::default(), shutdown };
        let patience = || seconds(10);
        let serving = tokio::spawn(async move { serve(near, terms, service, || true, patience).await });
        far.write_all(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        far.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("1\r\nx\r\n0\r\n\r\n"), "{answer}");
        serving.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn every_further_request_has_ten_seconds_of_its_own() {
        let (mut far, _) = served(None);
        for _ in 0..3 {
            sleep(seconds(9)).await;
            far.write_all(REQUEST).await.unwrap();
            let mut answer = [0; 15];
            far.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            while far.read_u8().await.unwrap() != b'k' {}
        }
        let began = Instant::now();
        drip(far).await;
        assert_eq!(began.elapsed().as_secs(), 10);
    }
}
