//! What the doctor says of the broker.

use super::check;
use crate::{
    cloud,
    config::Mqtt,
    domain::{Check, Name, UplinkStatus, Verdict, with_causes},
    gateway::uplink,
};

const ALONE: &str = "no [mqtt]: this gateway runs alone";

/// Judges the connection of a daemon that runs.
pub(super) fn connection(mqtt: Option<&Mqtt>, uplink: &UplinkStatus) -> Check {
    let (verdict, detail) = match (uplink.configured, uplink.connected, &uplink.error) {
        (false, ..) => (Verdict::Ok, ALONE.to_owned()),
        (_, true, None) => (Verdict::Ok, mqtt.map_or("connected".to_owned(), connected)),
        (_, true, Some(error)) => (Verdict::Warn, error.clone()),
        (_, false, error) => (Verdict::Bad, error.clone().unwrap_or_else(|| "not connected yet".to_owned())),
    };
    check("broker", verdict, detail)
}

fn connected(mqtt: &Mqtt) -> String {
    let tls = match (mqtt.broker.tls, &mqtt.ca_file) {
        (false, _) => "without TLS".to_owned(),
        (true, None) => "its certificate is good by this system's roots".to_owned(),
        (true, Some(file)) => format!("its certificate is good by {file}"),
    };
    format!("connected to {}, {tls}", mqtt.broker)
}

/// Reaches for the broker without signing on, as no daemon runs that would be connected.
pub(super) async fn reach(mqtt: Option<&Mqtt>, gateway: &Name, clock_synchronized: bool) -> Check {
    let Some(mqtt) = mqtt else { return check("broker", Verdict::Ok, ALONE) };
    let secrets = match uplink::read_secrets(mqtt, gateway) {
        Ok(secrets) => secrets,
        Err(error) => return check("broker", Verdict::Bad, with_causes(error.as_ref())),
    };
    match cloud::probe(&mqtt.broker.host, mqtt.broker.port, secrets.tls, clock_synchronized).await {
        Ok(found) => {
            let detail =
                format!("{}: {found}; whether it takes the login is seen by the daemon", mqtt.broker);
            check("broker", Verdict::Ok, detail)
        }
        Err(error) => check("broker", Verdict::Bad, error),
    }
}
