//! The sections of the service itself: `[gateway]`, `[journal]`, `[http]`, `[mqtt]`.

use std::net::SocketAddr;

use jiff::tz::TimeZone;

use super::{
    Broker, CertificateFiles, ClockMode, Confirm, Gateway, Http, Journal, Mqtt, SecretFile, Tls,
    address::{host_and_port, is_loopback},
    read::Section,
    values::{Input, choice, path, secret_file, text, truth, whole},
    zone,
};
use crate::domain::Name;

/// Default of `gateway.state_dir`.
const STATE_DIR: &str = "/var/lib/intercom-gateway";
/// Defaults of `[journal]`.
const KEEP_DAYS: i64 = 30;
const MAX_EVENTS: i64 = 1_000_000;
/// Default of `http.listen`.
const LISTEN: &str = "0.0.0.0:8443";
/// Default of `mqtt.topic_prefix`, and its longest: below MQTT's 65,535 bytes with room for our own levels.
const TOPIC_PREFIX: &str = "intercom/v1";
const TOPIC_PREFIX_MAX: usize = 1024;

/// `[gateway]`. `id_needed`: the uplink needs an id that does not change with the host's name.
pub(super) fn gateway(mut section: Section<'_>, host_name: &str, id_needed: bool) -> Gateway {
    let id = if section.has("id") || !may_be_default(&section, host_name, id_needed) {
        section.get("id", name)
    } else {
        Some(section.get_or("id", host_name.to_lowercase(), name))
    };
    let gateway = Gateway {
        id: id.unwrap_or_else(|| Name::new("unnamed").expect("a name")),
        state_dir: section.get_or("state_dir", STATE_DIR, path),
        timezone: section.get_or("timezone", "UTC", timezone),
        clock: section.get_or(
            "clock",
            "auto",
            choice(&[("auto", ClockMode::Auto), ("trusted", ClockMode::Trusted)]),
        ),
    };
    section.finish();
    gateway
}

/// Whether the host's name stands in for a missing id; why it does not is noted.
fn may_be_default(section: &Section<'_>, host_name: &str, id_needed: bool) -> bool {
    if id_needed {
        section.problem(
            "id",
            "is missing, and must be set where there is an [mqtt]; write for example id = \"building-7\"",
        );
        return false;
    }
    let is_name = Name::new(&host_name.to_lowercase()).is_ok();
    if !is_name {
        let message = format!(
            "is missing, and the host name {host_name:?} cannot stand in for it; write for example id = \"building-7\""
        );
        section.problem("id", message);
    }
    is_name
}

/// `[journal]`.
pub(super) fn journal(mut section: Section<'_>) -> Journal {
    let journal = Journal {
        keep_days: section.get_or("keep_days", KEEP_DAYS, whole(1..=36_500)),
        max_events: section.get_or("max_events", MAX_EVENTS, whole(1..=1_000_000_000)),
    };
    section.finish();
    journal
}

#[derive(Clone, Copy, Debug)]
enum TlsWord {
    SelfSigned,
    Files,
    Off,
}

/// `[http]`.
pub(super) fn http(mut section: Section<'_>) -> Http {
    const TLS: &[(&str, TlsWord)] =
        &[("self-signed", TlsWord::SelfSigned), ("files", TlsWord::Files), ("off", TlsWord::Off)];
    let listen = section.get_or("listen", LISTEN, listen);
    let word = section.get_or("tls", "self-signed", choice(TLS));
    let allow_plaintext = section.get_or("allow_plaintext", false, truth);
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
    let allow_plaintext = section.get_or("allow_plaintext", false, truth);
    let username = section.get("username", text);
    let password_file = section.get("password_file", secret_file);
    let ca_file = section.get("ca_file", secret_file);
    let cert_file = section.get("cert_file", secret_file);
    let key_file = section.get("key_file", secret_file);
    let topic_prefix = section.get_or("topic_prefix", TOPIC_PREFIX, topic_prefix);
    let confirm = section.get_or(
        "confirm",
        "broker",
        choice(&[("broker", Confirm::Broker), ("cloud", Confirm::Cloud)]),
    );
    let signing_key_file = section.get("signing_key_file", secret_file);
    let home_assistant = section.get_or("home_assistant", false, truth);

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
    let zone = zone::find(&text(input)?, |name| TimeZone::get(name).ok());
    zone.map_err(|unknown| {
        if jiff::tz::db().is_definitively_empty() {
            return format!("{unknown}, for this machine has no time zones; sudo apt-get install tzdata");
        }
        format!("{unknown}; write an IANA name like \"UTC\" or \"Europe/Berlin\"")
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
