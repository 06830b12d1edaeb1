//! Encryption, with a real TLS client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use intercom_gateway::{
    api::{Limits, Tls},
    clock::{Clock, TimeSource, Trust},
    tls::{CertificateUse, fingerprint, key_fingerprint},
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::ring, version},
};

use crate::{
    client::{ending, over, raw, read_answer},
    site::{Site, start_by, start_with},
};

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];

/// A client that trusts the certificate of the site and nothing else.
async fn connect(
    site: &Site,
    name: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(site.dir().join("tls/cert.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(site.address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

fn request(site: &Site) -> String {
    format!(
        "GET /api/admin/v1/intercoms/1/flats HTTP/1.1\r\nhost: gate.test\r\nauthorization: Bearer {}\r\n\r\n",
        site.token
    )
}

#[tokio::test]
async fn the_certificate_is_the_one_whose_fingerprint_is_told() {
    let site = start_with(Tls::SelfSigned, Limits::default()).await;
    for versions in [BOTH, &[&version::TLS12], &[&version::TLS13]] {
        for name in ["localhost", "127.0.0.1", "building-7"] {
            let mut stream = connect(&site, name, versions).await.unwrap();
            let presented = fingerprint(&stream.get_ref().1.peer_certificates().unwrap()[0]);
            assert_eq!(presented, site.certificate.as_ref().unwrap().fingerprint);
            let answer = over(&mut stream, &request(&site)).await.unwrap();
            assert_eq!(answer.status, 200);
            let path = answer.json()["meta"]["path"].as_str().unwrap().to_owned();
            assert_eq!(path, "https://gate.test/api/admin/v1/intercoms/1/flats");
        }
    }
    assert!(connect(&site, "elsewhere.test", BOTH).await.is_err(), "another's name");
}

#[tokio::test]
async fn a_413_arrives_over_tls_too() {
    let site = start_with(Tls::SelfSigned, Limits::default()).await;
    let mut stream = connect(&site, "localhost", BOTH).await.unwrap();
    let head = format!(
        "POST /api/admin/v1/intercoms/1/flats/1 HTTP/1.1\r\nauthorization: Bearer {}\r\ncontent-length: 1000000\r\n\r\n",
        site.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let _ = stream.write_all(&[b'x'; 100_000]).await;
    assert_eq!(read_answer(&mut stream, &head).await.unwrap().error().0, 413);
}

#[tokio::test]
async fn who_sends_headers_drop_by_drop_over_tls_is_given_up() {
    let limits = Limits { headers_within: Duration::from_secs(1), ..Limits::default() };
    let site = start_with(Tls::SelfSigned, limits).await;
    let (mut from, mut to) = tokio::io::split(connect(&site, "localhost", BOTH).await.unwrap());
    let dripping = tokio::spawn(async move {
        for byte in b"GET / HTTP/1.1\r\nx: ".iter().chain(std::iter::repeat(&b'y')) {
            if to.write_all(&[*byte]).await.is_err() || to.flush().await.is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(ending(&mut from).await, [0; 0]);
    dripping.await.unwrap();
}

#[tokio::test]
async fn plain_http_to_the_encrypted_port_is_told_what_to_do() {
    let site = start_with(Tls::SelfSigned, Limits::default()).await;
    let answer = raw(site.address, request(&site).as_bytes()).await.unwrap();
    let (status, message) = answer.error();
    assert!(status == 400 && message.contains("https://"), "{message}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn changed_files_are_served_without_a_restart() {
    let (one, two) = (
        start_with(Tls::SelfSigned, Limits::default()).await,
        start_with(Tls::SelfSigned, Limits::default()).await,
    );
    let tls = Tls::Files { cert: one.dir().join("tls/cert.pem"), key: one.dir().join("tls/key.pem") };
    let limits = Limits { reload_every: Duration::from_millis(20), ..Limits::default() };
    let site = start_with(tls, limits).await;
    assert_eq!(site.certificate.unwrap().fingerprint, one.certificate.as_ref().unwrap().fingerprint);
    for file in ["tls/key.pem", "tls/cert.pem"] {
        std::fs::copy(two.dir().join(file), one.dir().join(file)).unwrap();
    }
    // `two` trusts its own certificate only, and so does a client that reads its directory.
    let mut as_two = two;
    as_two.address = site.address;
    while connect(&as_two, "localhost", BOTH).await.is_err() {
        sleep(Duration::from_millis(10)).await;
    }
}

/// The machine's clock, which a time server may not have set yet.
struct Unsure(Arc<AtomicBool>);

impl TimeSource for Unsure {
    fn wall(&self) -> jiff::Timestamp {
        if self.synchronized() { Clock::system(Trust::Always).wall() } else { jiff::Timestamp::UNIX_EPOCH }
    }
    fn uptime(&self) -> Duration {
        Duration::from_secs(5)
    }
    fn synchronized(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
    fn boot_id(&self) -> Arc<str> {
        "boot".into()
    }
}

#[tokio::test]
async fn a_certificate_made_without_a_clock_is_made_again_with_its_key_once_there_is_one() {
    let is_set = Arc::new(AtomicBool::new(false));
    let clock = Arc::new(Clock::new(Box::new(Unsure(is_set.clone())), Trust::Auto));
    let limits = Limits { reload_every: Duration::from_millis(20), ..Limits::default() };
    let site = start_by(clock.clone(), Tls::SelfSigned, limits).await;
    let presented = async || {
        let mut stream = connect(&site, "localhost", BOTH).await.unwrap();
        let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        let metrics = request(&site).replace("/api/admin/v1/intercoms/1/flats", "/metrics");
        let page = over(&mut stream, &metrics).await.unwrap().body;
        let name = "intercom_gateway_certificate_expiry_timestamp_seconds{use=\"endpoint\"} ";
        let ends = page.lines().find_map(|line| line.strip_prefix(name)?.parse::<i64>().ok());
        (fingerprint(&certificate), key_fingerprint(&certificate).unwrap(), ends)
    };
    let ends = || site.certificates.get(CertificateUse::Endpoint).map(|expiry| expiry.ends().as_second());
    let first = presented().await;
    assert_eq!(first.2, ends());
    assert_eq!((&first.0, &first.1), {
        let told = site.certificate.as_ref().unwrap();
        (&told.fingerprint, &told.key_fingerprint)
    });

    is_set.store(true, Ordering::Relaxed);
    clock.refresh();
    let second = loop {
        let presented = presented().await;
        if presented.0 != first.0 && ends() != first.2 {
            break presented;
        }
        sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(second.1, first.1, "the key stays");
    let left = ends().unwrap() - clock.wall().as_second();
    assert!((823 * 86_400..=824 * 86_400).contains(&left), "{left} s");
    assert_eq!(presented().await.2, ends());
}
