//! Requests a second and latency of the flat endpoint, beside axum serving the same bytes from memory, in one run:
//! `cargo bench --bench endpoint`. 10,000 flats with 100,000 keys; the load comes from 16 keep-alive connections of
//! this process, so that the two cores are shared by client and server, for both alike.
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

use std::{
    collections::HashMap,
    fmt::Write as _,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, http::header, routing::get};
use hdrhistogram::Histogram;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use intercom_gateway::{
    api::{self, Handles, Limits, Settings, Tls, Tokens},
    bus::Buses,
    clock::{Clock, Trust},
    domain::{Health, Name, SyncStatus, UplinkStatus},
    doors::Doors,
    store::{Cache, Store, StoreOptions},
    tls::Expiries,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

const FLATS: u64 = 10_000;
const KEYS_PER_FLAT: u64 = 10;
const CONNECTIONS: u64 = 16;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const PATH: &str = "/api/admin/v1/intercoms/{intercom}/flats/{flat}";

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(StoreOptions {
        dir: dir.path().to_path_buf(),
        keep: Duration::ZERO,
        max_events: 1000,
        max_journal_bytes: None,
        alone: true,
        now: Arc::new(|| Clock::system(Trust::Always).stamp()),
        clock_is_steady: Arc::new(|| true),
    })
    .expect("a store");
    let report = store.cache().import(building().as_bytes(), &[1]).expect("a valid building");
    println!("{} flats, {} keys, {CONNECTIONS} connections", report.state.flats, report.state.keys);

    let server = runtime("server");
    let client = runtime("client");
    let tokens = Tokens::open(&dir.path().join("tokens.json")).expect("no tokens yet");
    let token = tokens.add("bench", true, jiff::Timestamp::UNIX_EPOCH).expect("a token");
    let (_stop, shutdown) = watch::channel(false);
    let bodies = Arc::new(bodies(&store.cache()));

    for tls in [Tls::Off, Tls::SelfSigned] {
        let encrypted = tls != Tls::Off;
        let settings = Settings {
            listen: "127.0.0.1:0".parse().expect("an address"),
            tls,
            gateway: Name::new("bench").expect("a name"),
            state_dir: dir.path().to_path_buf(),
            timezone: "UTC".into(),
            intercoms: [1].into(),
            limits: Limits::default(),
        };
        let clock = Arc::new(Clock::system(Trust::Always));
        let handles = Handles {
            cache: store.cache(),
            journal: store.journal(),
            buses: Buses::default(),
            doors: Doors::default(),
            commissioning: api::Commissioning::default(),
            health: watch::channel(Health::default()).1,
            uplink: watch::channel(UplinkStatus::default()).1,
            sync: watch::channel(SyncStatus::default()).1,
            clock: clock.clone(),
            certificates: Expiries::default(),
            tokens: tokens.clone(),
        };
        let ours = server.block_on(async {
            let bound = api::bind(&settings, &clock).await.expect("a free port");
            let address = bound.address();
            tokio::spawn(bound.serve(handles, shutdown.clone()));
            address
        });
        let static_one = server.block_on(serve_static(bodies.clone(), encrypted.then(|| dir.path())));
        let connector = encrypted.then(|| trusting(dir.path()));

        let mut results = [Outcome::default(), Outcome::default()];
        for round in 0..=ROUNDS {
            for (outcome, address) in results.iter_mut().zip([ours, static_one]) {
                let measured = client.block_on(load(address, token.to_string(), connector.clone()));
                // The first round warms caches up.
                if round > 0 {
                    outcome.add(&measured);
                }
            }
        }
        let [ours, beside] = &results;
        println!("\n{}", if encrypted { "TLS" } else { "plaintext" });
        println!("{:<28}{:>12}{:>12}{:>12}", "", "requests/s", "p50 µs", "p99 µs");
        for (name, outcome) in [("flat endpoint", ours), ("axum, same bytes in memory", beside)] {
            println!(
                "{name:<28}{:>12.0}{:>12}{:>12}",
                outcome.rate(),
                outcome.latency.value_at_quantile(0.5),
                outcome.latency.value_at_quantile(0.99)
            );
        }
        println!("ratio {:.2}", ours.rate() / beside.rate());
    }
}

fn runtime(name: &str) -> Runtime {
    // As many threads as the daemon has.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).thread_name(name).enable_all().build().expect("a runtime")
}

/// The building as one document of `import`.
fn building() -> String {
    let user = |id: u64| {
        format!(
            r#"{{"id":{id},"name":"Resident {id}","login":"resident{id}@mail.example","created_at":"2022-11-11 14:45:58","updated_at":"2022-11-11 14:45:58","expired_at":"2122-11-11 14:45:57","is_licence_limit_reached":false,"ptz_priority":1,"access_token_id":null}}"#
        )
    };
    let mut text = String::from(r#"{"revision":1,"flats":["#);
    for flat in 1..=FLATS {
        let keys: Vec<_> = (0..KEYS_PER_FLAT)
            .map(|n| {
                let id = (flat - 1) * KEYS_PER_FLAT + n + 1;
                let owner = user(flat * 3 + n % 3);
                format!(
                    r#"{{"id":{id},"key":"{:014X}","user":{owner},"created_at":"2022-11-11 14:46:16","updated_at":"2022-11-14 15:56:40"}}"#,
                    id * 7919
                )
            })
            .collect();
        let users: Vec<_> = (0..3).map(|n| user(flat * 3 + n)).collect();
        let separator = if flat == 1 { "" } else { "," };
        let _ = write!(
            text,
            r#"{separator}{{"intercom":1,"id":{flat},"flat":{flat},"key_count":{KEYS_PER_FLAT},"users_count":3,"keys":[{}],"users":[{}],"properties":{{"is_analog_line_enable":true,"is_sip_line_enable":true,"is_can_manage_resistance":true}}}}"#,
            keys.join(","),
            users.join(",")
        );
    }
    text + "]}"
}

fn bodies(cache: &Cache) -> HashMap<u64, Bytes> {
    let body = |flat| cache.flat_body(1, flat).expect("readable").expect("imported").into();
    (1..=FLATS).map(|flat| (flat, body(flat))).collect()
}

/// axum as its documentation serves a path, plain; over TLS as its example with hyper does.
async fn serve_static(bodies: Arc<HashMap<u64, Bytes>>, tls: Option<&Path>) -> SocketAddr {
    let answer = move |axum::extract::Path((_, flat)): axum::extract::Path<(u64, u64)>| {
        let body = bodies.get(&flat).cloned().unwrap_or_default();
        async move { ([(header::CONTENT_TYPE, "application/json")], body) }
    };
    let router = Router::new().route(PATH, get(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    match tls.map(acceptor) {
        None => {
            let listener =
                axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true)));
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        Some(acceptor) => {
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
                    tokio::spawn(async move {
                        let _ = stream.set_nodelay(true);
                        let stream = acceptor.accept(stream).await.expect("our own client");
                        let connection = hyper::server::conn::http1::Builder::new();
                        connection.serve_connection(TokioIo::new(stream), service).await
                    });
                }
            });
        }
    }
    address
}

fn certificate(dir: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(dir.join("tls/cert.pem")).expect("made at the start")
}

fn acceptor(dir: &Path) -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_file(dir.join("tls/key.pem")).expect("made at the start");
    let config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate(dir)], key)
        .expect("they belong together");
    Arc::new(config).into()
}

fn trusting(dir: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(dir)).expect("a certificate");
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config).into()
}

struct Outcome {
    requests: u64,
    seconds: f64,
    latency: Histogram<u64>,
}

impl Default for Outcome {
    fn default() -> Self {
        Self { requests: 0, seconds: 0.0, latency: Histogram::new(3).expect("three digits") }
    }
}

impl Outcome {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.seconds += other.seconds;
        self.latency.add(&other.latency).expect("the same bounds");
    }

    fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Keeps every connection busy for a round.
async fn load(address: SocketAddr, token: String, tls: Option<TlsConnector>) -> Outcome {
    let begin = Instant::now();
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let (token, tls) = (token.clone(), tls.clone());
            tokio::spawn(async move {
                let stream = TcpStream::connect(address).await.expect("it listens");
                stream.set_nodelay(true).expect("a TCP connection");
                match tls {
                    None => ask(stream, number, &token, begin).await,
                    Some(tls) => {
                        let name = "localhost".try_into().expect("a name");
                        ask(tls.connect(name, stream).await.expect("trusted"), number, &token, begin).await
                    }
                }
            })
        })
        .collect();
    let mut outcome = Outcome::default();
    for task in tasks {
        outcome.latency.add(task.await.expect("no panic")).expect("the same bounds");
    }
    outcome.seconds = begin.elapsed().as_secs_f64();
    outcome.requests = outcome.latency.len();
    outcome
}

/// One connection: a request for some flat, its answer, the next. Returns latencies in microseconds.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    number: u64,
    token: &str,
    begin: Instant,
) -> Histogram<u64> {
    let mut latency = Histogram::new(3).expect("three digits");
    let mut buffer = vec![0; 64 << 10];
    let mut request = String::new();
    // A walk that visits flats far apart, so that no page of the database is likely to be the last one's.
    let mut flat = number * 613;
    while begin.elapsed() < ROUND {
        flat = (flat + 7_919) % FLATS;
        request.clear();
        let _ = write!(
            request,
            "GET /api/admin/v1/intercoms/1/flats/{} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n",
            flat + 1
        );
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await.expect("connected");
        let mut filled = 0;
        let mut whole = None;
        while whole.is_none_or(|whole| filled < whole) {
            let read = stream.read(&mut buffer[filled..]).await.expect("connected");
            assert!(read > 0, "the server ended the connection");
            filled += read;
            if whole.is_none() {
                whole = length(&buffer[..filled]);
            }
        }
        let micros = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
        latency.record(micros.max(1)).expect("in bounds");
    }
    latency
}

/// Bytes of the whole answer, once its head is there.
fn length(answer: &[u8]) -> Option<usize> {
    const FIELD: &[u8] = b"content-length: ";
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..head]));
    let field = answer.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
    let digits = answer[field..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(head + digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}
