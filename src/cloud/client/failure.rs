//! Why a connection failed, in words that say what to do about it.

use std::{error::Error, io};

use rumqttc::{ConnectReturnCode, ConnectionError, DisconnectReasonCode, PubAckReason, StateError};
use rustls::{AlertDescription, CertificateError};

use crate::{
    cloud::session::{End, Rival},
    sys::NoSuchHost,
};

/// A failed connection.
#[derive(Debug)]
pub(crate) struct Failure {
    error: ConnectionError,
    /// Whether the broker had accepted us.
    connected: bool,
}

/// Whom we tried to reach, and what we know of the time.
pub(crate) struct Target<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) client_id: &'a str,
    pub(crate) clock_synchronized: bool,
}

impl Target<'_> {
    /// One sentence for another client that uses our id, and what becomes of the two.
    pub(crate) fn rival(&self, rival: &Rival) -> String {
        let journal = rival.journal.as_ref().map(|journal| format!(", with journal {journal}"));
        let what = if rival.yields {
            "this one leaves the broker to it and connects for a while every ten minutes at most, for that one's journal is longer; events wait here"
        } else {
            "this one comes back each time, within a minute"
        };
        format!("{}; {what}", self.another(&journal.unwrap_or_default()))
    }

    fn another(&self, with: &str) -> String {
        format!(
            "another client connects to the broker {}:{} as {:?}{with}: every gateway needs an id of its own ([gateway] id)",
            self.host, self.port, self.client_id
        )
    }
}

impl Failure {
    pub(super) fn new(error: ConnectionError, connected: bool) -> Self {
        Self { error, connected }
    }

    /// Whether the broker meant us to stay away: coming back soon does not help.
    pub(crate) fn end(&self) -> End {
        let ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) = &self.error else {
            return End::Broken;
        };
        match reason_code {
            DisconnectReasonCode::SessionTakenOver => End::TakenOver,
            DisconnectReasonCode::NotAuthorized
            | DisconnectReasonCode::ServerBusy
            | DisconnectReasonCode::QuotaExceeded
            | DisconnectReasonCode::ConnectionRateExceeded
            | DisconnectReasonCode::AdministrativeAction => End::Rejected,
            _ => End::Broken,
        }
    }

    /// One sentence for the log and `/healthz`: what happened, and the next step.
    pub(crate) fn explain(&self, target: &Target<'_>) -> String {
        let broker = format!("the broker {}:{}", target.host, target.port);
        if let Some(tls) = self.cause::<rustls::Error>() {
            return self.explain_tls(tls, &broker, target);
        }
        if let Some(error) = self.cause::<NoSuchHost>() {
            return format!(
                "the broker's name {:?} cannot be looked up ({error}): check url of [mqtt] and this machine's DNS and network",
                target.host
            );
        }
        match &self.error {
            ConnectionError::ConnectionRefused(code) => explain_refusal(*code, &broker, target),
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
                explain_disconnect(*reason_code, reason_string.as_deref(), &broker, target)
            }
            // TCP has a shorter time of its own. Some brokers of MQTT 3 wait for more of a CONNECT that they do not understand.
            ConnectionError::Timeout(_) => {
                let tls = speaks_tls(target);
                format!(
                    "{broker} takes the connection and says nothing, not as an MQTT 5 broker does: it speaks MQTT 3 only{tls}, or is no MQTT broker, or is too busy"
                )
            }
            error if self.connected => {
                let why = self.cause::<io::Error>().map_or_else(|| error.to_string(), ToString::to_string);
                format!("the connection to {broker} broke ({why}); it is made again")
            }
            error => explain_handshake(error, self.cause(), &broker, target),
        }
    }

    /// The first error of type `T` among the causes.
    fn cause<T: Error + 'static>(&self) -> Option<&T> {
        match &self.error {
            // The library does not name this one as a source.
            ConnectionError::MqttState(StateError::Deserialization(error)) => cause(error),
            error => cause(error),
        }
    }

    fn explain_tls(&self, error: &rustls::Error, broker: &str, target: &Target<'_>) -> String {
        let clock = if target.clock_synchronized {
            ""
        } else {
            "; this gateway's clock is not synchronised, so a good certificate may look invalid until it is: check NTP"
        };
        match error {
            rustls::Error::InvalidCertificate(reason) => match reason {
                CertificateError::UnknownIssuer => format!(
                    "{broker} shows a certificate of an unknown CA: set ca_file of [mqtt] to the certificate of the CA that signed it{clock}"
                ),
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    format!("{broker} shows a certificate that has expired: renew it at the broker{clock}")
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    format!("{broker} shows a certificate that is not valid yet{clock}")
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    format!(
                        "{broker} shows a certificate for another name: url of [mqtt] must use a name that the certificate has"
                    )
                }
                other => format!("{broker} shows a certificate that is not accepted ({other}){clock}"),
            },
            rustls::Error::AlertReceived(
                alert @ (AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::HandshakeFailure
                | AlertDescription::DecryptError),
            ) => format!(
                "{broker} does not accept our certificate ({alert:?}): check cert_file and key_file of [mqtt], and which client CA the broker trusts"
            ),
            rustls::Error::InvalidMessage(_) => {
                format!(
                    "{broker} does not speak TLS on this port: use mqtt:// in url of [mqtt], or its TLS port"
                )
            }
            other if self.connected => {
                format!("the connection to {broker} broke (TLS: {other}); it is made again")
            }
            other => format!("TLS with {broker} fails: {other}"),
        }
    }
}

fn explain_refusal(code: ConnectReturnCode, broker: &str, target: &Target<'_>) -> String {
    match code {
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => format!(
            "{broker} refuses the login: check username and password_file of [mqtt], and the broker's account and rules for {:?}",
            target.client_id
        ),
        ConnectReturnCode::RefusedProtocolVersion | ConnectReturnCode::UnsupportedProtocolVersion => {
            format!("{broker} does not speak MQTT 5: update it, or enable MQTT 5 there")
        }
        ConnectReturnCode::ClientIdentifierNotValid | ConnectReturnCode::BadClientId => {
            format!(
                "{broker} does not accept the client id {:?}, which is this gateway's id",
                target.client_id
            )
        }
        ConnectReturnCode::Banned => format!("{broker} has banned {:?}: ask its operator", target.client_id),
        other => format!("{broker} refuses the connection ({}); it is tried again", words(&other)),
    }
}

fn explain_disconnect(
    code: DisconnectReasonCode,
    reason: Option<&str>,
    broker: &str,
    target: &Target<'_>,
) -> String {
    match code {
        DisconnectReasonCode::SessionTakenOver => target.another(""),
        code => {
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{broker} ended the connection ({}{reason}); it is made again", words(&code))
        }
    }
}

/// Before the CONNACK a broker that speaks another language shows as one that talks nonsense or hangs up.
fn explain_handshake(
    error: &ConnectionError,
    io: Option<&io::Error>,
    broker: &str,
    target: &Target<'_>,
) -> String {
    match (error, io.map(io::Error::kind)) {
        (_, Some(io::ErrorKind::ConnectionRefused)) => {
            format!("nothing listens at {broker}: is it running, and are host and port of url right?")
        }
        (_, Some(io::ErrorKind::TimedOut)) => {
            format!("{broker} does not answer: check the address, the network and firewalls")
        }
        (_, Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)) => {
            format!("{broker} cannot be reached: this machine has no route to it; check its network")
        }
        (ConnectionError::MqttState(_) | ConnectionError::NotConnAck(_), _) => {
            let tls = speaks_tls(target);
            format!(
                "{broker} does not answer as an MQTT 5 broker: it speaks MQTT 3 only{tls}, or is no MQTT broker ({error})"
            )
        }
        (ConnectionError::Tls(_), _) => format!(
            "{broker} breaks the TLS handshake off ({error}): does it speak TLS on this port, or is url to say mqtt://?"
        ),
        (error, _) => {
            let why = io.map_or_else(|| error.to_string(), ToString::to_string);
            format!("{broker} cannot be reached: {why}")
        }
    }
}

/// What else may be wrong where nothing that makes sense comes.
fn speaks_tls(target: &Target<'_>) -> &'static str {
    if target.tls { "" } else { ", or speaks TLS on this port (mqtts://)" }
}

/// What a broker said to a publish, in words.
pub(super) fn publish_reason(reason: PubAckReason) -> String {
    words(&reason)
}

/// `NotAuthorized` as `not authorized`.
fn words(code: &impl std::fmt::Debug) -> String {
    let mut words = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    words
}

/// The first error of type `T` among the causes of `error`. Errors within an [`io::Error`] are not among its sources
/// but in it.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| cause::<T>(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'_> =
        Target { host: "broker", port: 1883, tls: false, client_id: "building-7", clock_synchronized: true };

    fn ended(reason_code: DisconnectReasonCode) -> Failure {
        let error = StateError::ServerDisconnect { reason_code, reason_string: None };
        Failure::new(ConnectionError::MqttState(error), true)
    }

    #[test]
    fn a_session_that_went_to_another_client_is_told_from_other_ends() {
        for (code, end) in [
            (DisconnectReasonCode::SessionTakenOver, End::TakenOver),
            (DisconnectReasonCode::QuotaExceeded, End::Rejected),
            (DisconnectReasonCode::ServerShuttingDown, End::Broken),
        ] {
            assert_eq!(ended(code).end(), end, "{code:?}");
        }
        let said = ended(DisconnectReasonCode::SessionTakenOver).explain(&TARGET);
        assert_eq!(
            said,
            "another client connects to the broker broker:1883 as \"building-7\": every gateway needs an id of its own ([gateway] id)"
        );
    }

    #[test]
    fn of_two_clients_with_one_id_each_says_what_becomes_of_it() {
        let of = |journal: Option<&str>, yields| {
            TARGET.rival(&Rival { journal: journal.map(ToOwned::to_owned), yields })
        };
        assert!(of(Some("9f3c2a41"), true).contains("with journal 9f3c2a41: every gateway needs"));
        assert!(of(Some("9f3c2a41"), true).contains("; this one leaves the broker to it"));
        assert!(of(None, false).ends_with("; this one comes back each time, within a minute"));
    }
}
