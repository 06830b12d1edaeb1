//! The sections of the service itself: `[gateway]`, `[journal]`, `[http]`, `[mqtt]`.

use std::net::SocketAddr;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::{
    Broker, CertificateFiles, ClockMode, Confirm, Gateway, Http, Journal, Mqtt, SecretFile, Tls,
    address::{host_and_port, is_loopback},
    read::{Input, Section, choice, path, secret_file, text, truth, whole},
};
use crate::domain::Name;

/// Default of `gateway.state_dir`.
const STATE_DIR: &str = "/var/lib/intercom-gateway";
/// Defaults of `[journal]`.
const KEEP_DAYS: u32 = 30;
const MAX_EVENTS: u64 = 1_000_000;
/// Default of `http.listen`.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 8443);
/// Default of `mqtt.topic_prefix`, and its longest: below MQTT's 65,535 bytes with room for our own levels.
const TOPIC_PREFIX: &str = "intercom/v1";
const TOPIC_PREFIX_MAX: usize = 1024;

/// `[gateway]`. `id_needed`: the uplink needs an id that does not change with the host's name.
pub(super) fn gateway(mut section: Section<'_>, host_name: &str, id_needed: bool) -> Gateway {
    let id = if section.has("id") {
        section.get("id", name)
    } else {
        section.get("id", name);
        default_id(&section, host_name, id_needed)
    };
    let gateway = Gateway {
        id: id.unwrap_or_else(|| Name::new("unnamed").expect("a name")),
        state_dir: section.get("state_dir", path).unwrap_or_else(|| STATE_DIR.into()),
        timezone: section.get("timezone", timezone).unwrap_or(TimeZone::UTC),
        clock: section
            .get("clock", choice(&[("auto", ClockMode::Auto), ("trusted", ClockMode::Trusted)]))
            .unwrap_or_default(),
    };
    section.finish();
    gateway
}

fn default_id(section: &Section<'_>, host_name: &str, id_needed: bool) -> Option<Name> {
    if id_needed {
        section.problem(
            "id",
            "is missing, and must be set where there is an [mqtt]; write for example id = \"building-7\"",
        );
        return None;
    }
    let id = Name::new(&host_name.to_lowercase());
    if id.is_err() {
        let message = format!(
            "is missing, and the host name {host_name:?} cannot stand in for it; write for example id = \"building-7\""
        );
        section.problem("id", message);
    }
    id.ok()
}

/// `[journal]`.
pub(super) fn journal(mut section: Section<'_>) -> Journal {
    let journal = Journal {
        keep_days: section.get("keep_days", whole(1..=36_500)).unwrap_or(KEEP_DAYS),
        max_events: section.get("max_events", whole(1..=1_000_000_000)).unwrap_or(MAX_EVENTS),
    };
    section.finish();
    journal
}

#[derive(Clone, Copy)]
enum TlsWord {
    SelfSigned,
    Files,
    Off,
}

/// `[http]`.
pub(super) fn http(mut section: Section<'_>) -> Http {
    const TLS: &[(&str, TlsWord)] =
        &[("self-signed", TlsWord::SelfSigned), ("files", TlsWord::Files), ("off", TlsWord::Off)];
    let listen = section.get("listen", listen).unwrap_or(LISTEN);
    let word = section.get("tls", choice(TLS)).unwrap_or(TlsWord::SelfSigned);
    let allow_plaintext = section.get("allow_plaintext", truth).unwrap_or(false);
    let cert_file = section.get("cert_file", secret_file);
    let key_file = section.get("key_file", secret_file);
    let tls = match word {
        TlsWord::Files => {
            for key in ["cert_file", "key_file"].into_iter().filter(|key| !section.has(key)) {
                section.problem(key, "is missing; tls = \"files\" needs both cert_file and key_file");
            }
            let files = cert_file.zip(key_file);
            files.map_or(Tls::SelfSigned, |(cert_file, key_file)| {
                Tls::Files(CertificateFiles { cert_file, key_file })
            })
        }
        TlsWord::SelfSigned => Tls::SelfSigned,
        TlsWord::Off => Tls::Off,
    };
    if !matches!(word, TlsWord::Files) {
        for key in ["cert_file", "key_file"].into_iter().filter(|key| section.has(key)) {
            section.problem(key, "is only read with tls = \"files\"; set that, or remove the key");
        }
    }
    if matches!(word, TlsWord::Off) && !listen.ip().is_loopback() && !allow_plaintext {
        let message = format!(
            "\"off\" sends tokens in the clear on {listen}; listen on 127.0.0.1, use \"self-signed\" or \"files\", or set allow_plaintext = true"
        );
        section.problem("tls", message);
    }
    section.finish();
    Http { listen, tls, allow_plaintext }
}

/// `[mqtt]`.
pub(super) fn mqtt(mut section: Section<'_>) -> Option<Mqtt> {
    let broker = section.require("url", "\"mqtts://broker.example.org:8883\"", broker_url);
    let allow_plaintext = section.get("allow_plaintext", truth).unwrap_or(false);
    let username = section.get("username", text);
    let password_file = section.get("password_file", secret_file);
    let ca_file = section.get("ca_file", secret_file);
    let cert_file = section.get("cert_file", secret_file);
    let key_file = section.get("key_file", secret_file);
    let topic_prefix = section.get("topic_prefix", topic_prefix).unwrap_or_else(|| TOPIC_PREFIX.into());
    let confirm = section
        .get("confirm", choice(&[("broker", Confirm::Broker), ("cloud", Confirm::Cloud)]))
        .unwrap_or_default();
    let signing_key_file = section.get("signing_key_file", secret_file);
    let home_assistant = section.get("home_assistant", truth).unwrap_or(false);

    for (key, other) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
        if section.has(key) && !section.has(other) {
            section.problem(other, format!("is missing; a client certificate needs {key} and {other}"));
        }
    }
    if section.has("password_file") && !section.has("username") {
        section.problem("username", "is missing; a password_file goes with a username");
    }
    if let Some(broker) = broker.as_ref().filter(|broker| !broker.tls) {
        if !is_loopback(&broker.host) && !allow_plaintext {
            section.problem(
                "url",
                "mqtt:// sends events and commands in the clear; write mqtts://, or set allow_plaintext = true",
            );
        }
        for key in ["ca_file", "cert_file", "key_file"].into_iter().filter(|key| section.has(key)) {
            section.problem(key, "is only read with mqtts://; use that, or remove the key");
        }
    }
    section.finish();
    Some(Mqtt {
        broker: broker?,
        allow_plaintext,
        username,
        password_file,
        ca_file,
        client_certificate: certificate(cert_file, key_file),
        topic_prefix,
        confirm,
        signing_key_file,
        home_assistant,
    })
}

fn certificate(cert_file: Option<SecretFile>, key_file: Option<SecretFile>) -> Option<CertificateFiles> {
    let (cert_file, key_file) = cert_file.zip(key_file)?;
    Some(CertificateFiles { cert_file, key_file })
}

/// A [`Name`].
pub(super) fn name(input: &Input<'_>) -> Result<Name, String> {
    Name::new(&text(input)?).map_err(|error| error.to_string())
}

fn timezone(input: &Input<'_>) -> Result<TimeZone, String> {
    let text = text(input)?;
    // Names that the system has dropped, as Debian 13 has Europe/Kiev, are known all the same.
    let found = TimeZone::get(&text).or_else(|_| TimeZoneDatabase::bundled().get(&text));
    found.map_err(|_| {
        format!("{text:?} is no time zone; write an IANA name like \"UTC\" or \"Europe/Berlin\"")
    })
}

fn listen(input: &Input<'_>) -> Result<SocketAddr, String> {
    let text = text(input)?;
    text.parse().map_err(|_| {
        format!("{text:?} is no address with a port; write for example \"0.0.0.0:8443\", \"127.0.0.1:8443\" or \"[::]:8443\"")
    })
}

fn broker_url(input: &Input<'_>) -> Result<Broker, String> {
    let text = text(input)?;
    let (tls, rest) = match text.split_once("://") {
        Some(("mqtts", rest)) => (true, rest),
        Some(("mqtt", rest)) => (false, rest),
        _ => {
            return Err(
                "must begin with mqtts:// or mqtt://, like \"mqtts://broker.example.org:8883\"".into()
            );
        }
    };
    if rest.contains('@') {
        return Err("must not carry a user or password; use username and password_file".into());
    }
    let (host, port) = host_and_port(rest.strip_suffix('/').unwrap_or(rest))?;
    Ok(Broker { tls, host, port: port.unwrap_or(if tls { 8883 } else { 1883 }) })
}

fn topic_prefix(input: &Input<'_>) -> Result<String, String> {
    let text = text(input)?;
    let wrong = |c: char| matches!(c, '+' | '#' | '$') || c.is_control();
    if text.is_empty() || text.starts_with('/') || text.ends_with('/') || text.contains(wrong) {
        return Err(format!(
            "{text:?} is no topic prefix: no + # $ and no control characters, no slash at either end, like \"intercom/v1\""
        ));
    }
    if text.len() > TOPIC_PREFIX_MAX {
        return Err(format!("must be at most {TOPIC_PREFIX_MAX} bytes long"));
    }
    Ok(text)
}
