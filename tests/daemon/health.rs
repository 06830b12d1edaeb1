//! What is not as it should be, for programs and for people: over HTTP, and over MQTT.

use std::time::Duration;

use intercom_gateway::{
    clock::{Clock, Trust},
    domain::HealthCode,
    simulate::action::Fault,
};
use serde_json::{Value, json};

use crate::support::{Daemon, Site, cloud::Cloud, mosquitto::Mosquitto, simulated::Panels, site::ENTRANCE};

/// Every `health` that the cloud has got.
fn told(cloud: &Cloud) -> Vec<Value> {
    let seen = cloud.consumer.lock();
    let of_health = seen.messages.iter().filter(|message| message.topic == "health");
    of_health.map(|message| message.json()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_that_goes_is_told_to_the_cloud_as_to_those_with_a_token() {
    let broker = Mosquitto::open();
    let site = Site::new(&format!(
        "[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n{ENTRANCE}secure_channel = \"off\"\n",
        broker.port
    ));
    let token = site.run(["token", "add", "installer"]).ok();
    let panels = Panels::start(&site, false);
    let cloud = Cloud::connect(broker.port).await;
    let daemon = Daemon::start(&site);
    cloud.online(None).await;
    let latest = |status: &'static str| {
        move |cloud: &Cloud| told(cloud).pop().filter(|health| health["status"] == status)
    };
    let well = cloud.until("all is well", latest("ok")).await;
    assert_eq!(well["reasons"], json!([]));

    panels.fault("entrance-1", Fault::Gone(true));
    let degraded = cloud.until("the panel is gone", latest("degraded")).await;
    let reason = &degraded["reasons"][0];
    assert_eq!((&reason["code"], &reason["panel"]), (&json!("panel_offline"), &json!("entrance-1")));
    assert!(degraded["since"].as_str() > well["since"].as_str(), "{degraded} after {well}");
    assert_eq!(
        daemon.health_for(token.trim()),
        json!({"status": "degraded", "reasons": degraded["reasons"]})
    );
    assert_eq!(daemon.health(), json!({"status": "degraded", "reasons": [{"code": "panel_offline"}]}));

    panels.fault("entrance-1", Fault::Gone(false));
    let again = cloud.until("all is well again", latest("ok")).await;
    assert!(again["since"].as_str() > degraded["since"].as_str(), "{again} after {degraded}");
    let broker = |health: &Value| health["reasons"].to_string().contains("broker");
    assert!(!told(&cloud).iter().any(broker), "the reader of this is connected: {:?}", told(&cloud));
    daemon.stop();
}

#[test]
fn a_gateway_that_has_no_bus_or_no_broker_says_so_without_naming_it() {
    let site = Site::new("[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n");
    let token = site.run(["token", "add", "installer"]).ok();
    let daemon = Daemon::start(&site);
    daemon.wait_reason(token.trim(), HealthCode::Broker, |reason| {
        reason["message"].as_str().unwrap().contains("127.0.0.1:1")
    });
    let codes = json!([{"code": "no_bus"}, {"code": "broker"}]);
    assert_eq!(daemon.health(), json!({"status": "degraded", "reasons": codes}));
    daemon.stop();
}

/// A certificate that began a month ago and ends in `hours`, with its key, PEM; and the second of its end.
fn ending_in(hours: i64) -> (String, String, i64) {
    let end = Clock::system(Trust::Always).wall().as_second() + hours * 3600;
    let at = |second: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(second.try_into().unwrap());
    let mut params = rcgen::CertificateParams::new(vec!["test".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (at(end - 30 * 86_400), at(end));
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem(), end)
}

#[test]
fn certificates_that_end_soon_or_have_ended_are_told_with_their_files_and_measured() {
    let site = Site::new(
        "[mqtt]\nurl = \"mqtts://127.0.0.1:1\"\nca_file = \"{dir}/ca.pem\"\ncert_file = \"{dir}/client.pem\"\nkey_file = \"{dir}/client.key\"\n",
    );
    let ((client, key, client_end), (authority, _, authority_end)) =
        (ending_in(10 * 24 + 12), ending_in(-24));
    for (name, text) in [("client.pem", &client), ("client.key", &key), ("ca.pem", &authority)] {
        site.write(name, text);
    }
    let token = site.run(["token", "add", "installer"]).ok();
    let daemon = Daemon::start(&site);
    for expected in [
        ["the client certificate of [mqtt], ", "client.pem, expires on ", ", in 10 days; renew it"],
        ["ca_file of [mqtt], ", "ca.pem, expired on ", "; renew it"],
    ] {
        daemon.wait_reason(token.trim(), HealthCode::Certificate, |reason| {
            let message = reason["message"].as_str().unwrap();
            expected.iter().all(|words| message.contains(words))
        });
    }
    let (_, metrics) = daemon.ask("GET", "/metrics", token.trim());
    let name = "intercom_gateway_certificate_expiry_timestamp_seconds";
    let samples: Vec<&str> =
        metrics.as_str().unwrap().lines().filter(|line| line.starts_with(name)).collect();
    assert_eq!(
        samples,
        [
            format!("{name}{{use=\"mqtt_client\"}} {client_end}"),
            format!("{name}{{use=\"mqtt_ca\"}} {authority_end}")
        ]
    );
    daemon.stop();
}
