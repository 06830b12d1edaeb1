//! Brokers that refuse, and how that is told: one reason in words, no end of trying, nothing lost.

#[path = "support/consumer.rs"]
mod consumer;
#[path = "support/mosquitto.rs"]
mod mosquitto;
#[path = "support/pki.rs"]
mod pki;
#[path = "support/uplink.rs"]
mod uplink;

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use consumer::Consumer;
use intercom_gateway::{
    clock::{Clock, TimeSource, Trust},
    cloud::Secrets,
    tls::{Pem, client_config},
};
use mosquitto::{Mosquitto, add_password, write_private};
use pki::{Ca, Signed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use uplink::{Gateway, ROOT, Uplink, eventually};
use zeroize::Zeroizing;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_a_new_one_is_taken_up_without_a_restart() {
    let broker = Mosquitto::prepared("allow_anonymous false\npassword_file DIR/passwords\n", |dir| {
        add_password(dir, "building-7", "right");
    });
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("password");
    write_private(&file, "wrong");
    let mut uplink = Uplink::to(broker.port).secrets(move || {
        let password = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
        Ok(Secrets { password: Some(Zeroizing::new(password)), tls: None, ..Secrets::default() })
    });
    uplink.username = Some("building-7".into());
    let dir = tempfile::tempdir().unwrap();
    let gateway = uplink.start(dir.path());
    gateway.error_has("refuses the login: check username and password_file").await;
    assert!(!gateway.status().connected);
    assert!(!gateway.error().contains("wrong"));

    write_private(&secrets.path().join("password"), "right");
    gateway.online().await;
    assert_eq!(gateway.status().error, None);
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_cannot_be_read_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let readable = Arc::new(AtomicBool::new(false));
    let broker = Mosquitto::open();
    let now = Arc::clone(&readable);
    let gateway = Uplink::to(broker.port)
        .secrets(move || {
            if now.load(Ordering::Relaxed) {
                Ok(Secrets::default())
            } else {
                Err("/etc/x: there is no such file".into())
            }
        })
        .start(dir.path());
    gateway.error_has("/etc/x: there is no such file").await;
    readable.store(true, Ordering::Relaxed);
    gateway.online().await;
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_forbid_events_lose_none() {
    let rules = |events: &str| {
        format!(
            "user building-7\ntopic readwrite {ROOT}/status\ntopic read {ROOT}/events/committed\ntopic write {ROOT}/info\ntopic write {ROOT}/sync/request\ntopic write {ROOT}/sync/state\ntopic read {ROOT}/sync/flats\n{events}\nuser cloud\ntopic read {ROOT}/#\n"
        )
    };
    let broker = Mosquitto::prepared(
        "allow_anonymous false\npassword_file DIR/passwords\nacl_file DIR/rules\n",
        |dir| {
            add_password(dir, "building-7", "p");
            add_password(dir, "cloud", "p");
            write_private(&dir.join("rules"), &rules(""));
        },
    );
    let mut options = rumqttc::MqttOptions::new("cloud", ("127.0.0.1", broker.port));
    options.set_credentials("cloud", "p");
    let cloud = Consumer::with(options, ROOT, false);
    let mut uplink = Uplink::to(broker.port).secrets(|| {
        Ok(Secrets { password: Some(Zeroizing::new("p".into())), tls: None, ..Secrets::default() })
    });
    uplink.username = Some("building-7".into());
    let dir = tempfile::tempdir().unwrap();
    let gateway = uplink.start(dir.path());
    gateway.events(150).await;
    eventually("both refusals were counted", || gateway.status().refused > 0).await;
    // Panels are forbidden too, and that is told first.
    gateway.error_has("the broker refuses `panels/entrance-1` (not authorized)").await;
    assert!(gateway.status().connected);
    assert_eq!(gateway.journal.delivered(), 0);

    broker.file("rules", &rules(&format!("topic write {ROOT}/events\ntopic write {ROOT}/panels/+")));
    broker.reload();
    gateway.delivered().await;
    eventually("the consumer has all of it", || cloud.lock().events.len() == 150).await;
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_refused_is_told_and_events_flow() {
    // Of mosquitto's ways to write rules only this plugin refuses subscriptions; files of rules refuse in silence.
    let settings = "allow_anonymous true\nplugin DIR/dynsec.so\nplugin_opt_config_file DIR/dynsec.json\n";
    let rules = |subscribe: bool| {
        format!(
            r#"{{"defaultACLAccess":{{"publishClientSend":true,"publishClientReceive":true,"subscribe":{subscribe},"unsubscribe":true}}}}"#
        )
    };
    let mut broker = Mosquitto::prepared(settings, |dir| {
        std::os::unix::fs::symlink(dynamic_security(), dir.join("dynsec.so")).unwrap();
        write_private(&dir.join("dynsec.json"), &rules(false));
    });
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).start(dir.path());
    gateway.online().await;
    gateway.error_has("does not let this gateway subscribe to intercom/v1/building-7/status").await;
    gateway.events(5).await;
    eventually("events are sent", || gateway.status().published > 0).await;

    broker.kill();
    broker.file("dynsec.json", &rules(true));
    broker.start();
    let cloud = Consumer::start("cloud", broker.port, ROOT, false);
    gateway.delivered().await;
    eventually("the consumer has all of it", || cloud.lock().events.len() == 5).await;
    eventually("the error is over", || gateway.status().error.is_none()).await;
    gateway.shut_down().await;
}

/// The plugin that comes with mosquitto.
fn dynamic_security() -> std::path::PathBuf {
    let name = "mosquitto_dynamic_security.so";
    let mut places: Vec<_> = std::fs::read_dir("/usr/lib").unwrap().map(|dir| dir.unwrap().path()).collect();
    places.push("/usr/lib".into());
    let found = places.into_iter().map(|place| place.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is needed by this test: apt-get install mosquitto"))
}

/// A broker with TLS that demands a client certificate of `clients`.
fn tls_broker(server: &Signed, clients: &Ca) -> Mosquitto {
    let settings = "allow_anonymous true\ncafile DIR/clients.pem\ncertfile DIR/server.pem\nkeyfile DIR/server.key\nrequire_certificate true\n";
    Mosquitto::prepared(settings, |dir| {
        write_private(&dir.join("clients.pem"), &clients.pem);
        write_private(&dir.join("server.pem"), &server.certificate);
        write_private(&dir.join("server.key"), &server.key);
    })
}

fn tls_gateway(broker: &Mosquitto, host: &str, roots: &str, client: Option<&Signed>, dir: &Path) -> Gateway {
    tls_uplink(broker, host, roots, client).start(dir)
}

fn tls_uplink(broker: &Mosquitto, host: &str, roots: &str, client: Option<&Signed>) -> Uplink {
    let pem = |key: &str, text: &str| {
        Pem::new(format!("{key} of [mqtt]"), Zeroizing::new(text.as_bytes().to_vec()))
    };
    let roots = pem("ca_file", roots);
    let own = client.map(|own| (pem("cert_file", &own.certificate), pem("key_file", &own.key)));
    let uplink = Uplink::to(broker.port).secrets(move || {
        let tls = client_config(Some(&roots), own.as_ref().map(|(chain, key)| (chain, key)));
        let tls = Some(tls.map_err(|error| error.to_string())?);
        Ok(Secrets { password: None, tls, ..Secrets::default() })
    });
    Uplink { host: host.into(), ..uplink }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_a_ca_of_ones_own_and_client_certificates() {
    let (ca, other) = (Ca::new("ours"), Ca::new("others"));
    let (server, client) = (ca.server("localhost"), ca.client("building-7"));
    let broker = tls_broker(&server, &ca);
    let dir = tempfile::tempdir().unwrap();

    let gateway = tls_gateway(&broker, "localhost", &ca.pem, Some(&client), dir.path());
    gateway.online().await;
    gateway.shut_down().await;

    let strange = other.client("building-7");
    let refusals: [(&str, &str, Option<&Signed>, &str); 4] = [
        ("localhost", &other.pem, Some(&client), "a certificate of an unknown CA: set ca_file"),
        ("127.0.0.1", &ca.pem, Some(&client), "a certificate for another name"),
        ("localhost", &ca.pem, None, "does not accept our certificate"),
        ("localhost", &ca.pem, Some(&strange), "does not accept our certificate"),
    ];
    for (host, roots, client, expected) in refusals {
        let gateway = tls_gateway(&broker, host, roots, client, dir.path());
        gateway.error_has(expected).await;
        assert!(!gateway.status().connected);
        gateway.shut_down().await;
    }

    // Keys and certificates that are none.
    let gateway = tls_gateway(&broker, "localhost", "no PEM", Some(&client), dir.path());
    gateway.error_has("ca_file of [mqtt] holds no certificate").await;
    gateway.shut_down().await;
    let mixed = Signed { certificate: client.certificate.clone(), key: strange.key };
    let gateway = tls_gateway(&broker, "localhost", &ca.pem, Some(&mixed), dir.path());
    gateway.error_has("do not go together").await;
    gateway.shut_down().await;

    // A broker without TLS, asked for TLS, and the other way round.
    let plain = Mosquitto::open();
    let gateway = tls_gateway(&plain, "localhost", &ca.pem, Some(&client), dir.path());
    gateway.error_has("does it speak TLS on this port").await;
    gateway.shut_down().await;
    let gateway = Uplink::to(broker.port).start(dir.path());
    gateway.error_has("or speaks TLS on this port (mqtts://)").await;
    gateway.shut_down().await;
}

/// A clock that nobody has set.
struct Unset;

impl TimeSource for Unset {
    fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
    fn uptime(&self) -> Duration {
        Duration::from_secs(5)
    }
    fn synchronized(&self) -> bool {
        false
    }
    fn boot_id(&self) -> Arc<str> {
        "boot".into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_told_and_so_is_a_clock_that_may_be_at_fault() {
    let ca = Ca::new("ours");
    let broker = tls_broker(&ca.expired_server("localhost"), &ca);
    let client = ca.client("building-7");
    let dir = tempfile::tempdir().unwrap();
    let gateway = tls_gateway(&broker, "localhost", &ca.pem, Some(&client), dir.path());
    gateway.error_has("a certificate that has expired").await;
    assert!(!gateway.error().contains("clock"));
    gateway.shut_down().await;

    let clock = Clock::new(Box::new(Unset), Trust::Auto);
    let gateway = tls_uplink(&broker, "localhost", &ca.pem, Some(&client)).start_with(dir.path(), clock);
    gateway.error_has("this gateway's clock is not synchronised").await;
    gateway.shut_down().await;
}

/// Answers every connection with `answer`, or hangs up.
async fn strange_broker(answer: &'static [u8]) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut connect = [0; 1024];
            let _ = stream.read(&mut connect).await;
            let _ = stream.write_all(answer).await;
        }
    });
    (port, connections)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_another_language_is_told_once_and_tried_again() {
    // An MQTT 3.1.1 CONNACK with "unacceptable protocol version", as NATS 2.9 sends; hanging up, as RabbitMQ 3.10 does; HTTP.
    for answer in [&[0x20, 0x02, 0x00, 0x01][..], b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let (port, connections) = strange_broker(answer).await;
        let dir = tempfile::tempdir().unwrap();
        let gateway = Uplink::to(port).start(dir.path());
        gateway.error_has("MQTT 5").await;
        let error = gateway.error();
        eventually("it is tried again", || connections.load(Ordering::Relaxed) >= 3).await;
        assert_eq!(gateway.error(), error, "the same failure has the same words");
        gateway.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_takes_the_connection_and_says_nothing_is_not_the_networks_fault() {
    // As amqtt 0.12 does, which knows MQTT 3.1.1 alone and waits for the rest of what it takes a CONNECT for.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.push(stream);
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(port).start(dir.path());
    gateway.error_has("MQTT 5").await;
    assert!(!gateway.error().contains("firewall"), "{}", gateway.error());
    gateway.shut_down().await;
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_failure_that_stays_the_same_is_one_line_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // The uplink runs on this thread, as the test's runtime has no other.
    let _guard = tracing::subscriber::set_default(subscriber);
    let (port, connections) = strange_broker(b"").await;
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(port).start(dir.path());
    eventually("it is tried again and again", || connections.load(Ordering::Relaxed) >= 4).await;
    gateway.shut_down().await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("does not answer as an MQTT 5 broker").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_exist_and_a_port_where_nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let uplink = Uplink { host: "broker.invalid".into(), ..Uplink::to(1) };
    let gateway = uplink.start(dir.path());
    gateway.error_has("the broker's name \"broker.invalid\" cannot be looked up").await;
    gateway.shut_down().await;
    let gateway = Uplink::to(mosquitto::free_port()).start(dir.path());
    gateway.error_has("nothing listens at the broker 127.0.0.1:").await;
    gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_of_one_name_are_told() {
    let broker = Mosquitto::open();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Uplink::to(broker.port).start(one.path());
    first.online().await;
    let second = Uplink::to(broker.port).start(two.path());
    first.error_has("every gateway needs an id of its own").await;
    first.shut_down().await;
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_broker_finds_too_large_blocks_those_after_it_and_says_so() {
    let mut broker = Mosquitto::with("allow_anonymous true\nmax_packet_size 2000\n");
    let cloud = Consumer::start("cloud", broker.port, ROOT, false);
    eventually("the consumer is there", || cloud.lock().subscribed > 0).await;
    let dir = tempfile::tempdir().unwrap();
    let gateway = Uplink::to(broker.port).start(dir.path());
    gateway.events(5).await;
    gateway.delivered().await;
    let large = gateway.event("5".repeat(3000));
    gateway.journal.append_durable(large).await.unwrap();
    gateway.events(5).await;
    gateway.error_has("events are kept here from sequence 6 on, for it needs").await;
    assert_eq!(gateway.journal.delivered(), 5);

    // What the broker has taken and not yet handed on is gone with it.
    eventually("the consumer has the first ones", || cloud.lock().events.len() == 5).await;
    broker.kill();
    broker.set("allow_anonymous true\n");
    broker.start();
    gateway.delivered().await;
    eventually("the consumer has all of it", || cloud.lock().events.len() == 11).await;
    gateway.shut_down().await;
}
