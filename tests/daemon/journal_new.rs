//! A journal that was begun anew, whatever the way, is told until the cloud has named it.

use std::fs;

use intercom_gateway::domain::HealthCode;
use serde_json::json;

use crate::support::{Daemon, Site, cloud::Cloud, mosquitto::Mosquitto, wait_until};

fn tells(daemon: &Daemon, token: &str, words: &str) {
    daemon.wait_reason(token, HealthCode::JournalNew, |reason| {
        reason["message"].as_str().unwrap().contains(words)
    });
}

fn is_silent(daemon: &Daemon, what: &str) {
    wait_until(what, || !daemon.has_reason(HealthCode::JournalNew));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_in_place_of_another_is_told_over_restarts_until_the_cloud_names_it() {
    let broker = Mosquitto::open();
    let (site, token) = Site::entrance_at(broker.port);
    let cloud = Cloud::connect(broker.port).await;
    let daemon = Daemon::start(&site);
    let mut session = cloud.online(None).await;
    let old = cloud.consumer.lock().status()["journal"].as_str().unwrap().to_owned();
    wait_until("the journal is noted", || site.state_dir().join("journal.json").exists());
    assert!(!daemon.has_reason(HealthCode::JournalNew), "the first one is nobody's news");
    daemon.stop();

    for file in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        let _ = fs::remove_file(site.state_dir().join(file));
    }
    let daemon = Daemon::start(&site);
    tells(&daemon, &token, &format!("in place of {old}"));
    daemon.kill();
    let daemon = Daemon::start(&site);
    tells(&daemon, &token, &format!("in place of {old}"));
    session = cloud.online(Some(&session)).await;
    let status = cloud
        .until("the new journal", |cloud| {
            Some(cloud.consumer.lock().status()).filter(|status| status["journal"] != old.as_str())
        })
        .await;
    let name = |journal: &str| json!({"journal": journal, "through": 0}).to_string();
    cloud.consumer.publish("events/committed", &name(&old), true).await;
    tells(&daemon, &token, "is a new one");
    cloud.consumer.publish("events/committed", &name(status["journal"].as_str().unwrap()), true).await;
    is_silent(&daemon, "the cloud has named it");
    daemon.stop();
    let daemon = Daemon::start(&site);
    cloud.online(Some(&session)).await;
    is_silent(&daemon, "a restart brings nothing back");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_state_directory_of_a_gateway_that_the_broker_knows_is_told() {
    let broker = Mosquitto::open();
    let ((site, _), (replaced, token)) = (Site::entrance_at(broker.port), Site::entrance_at(broker.port));
    let cloud = Cloud::connect(broker.port).await;
    let daemon = Daemon::start(&site);
    let session = cloud.online(None).await;
    let old = cloud.consumer.lock().status()["journal"].as_str().unwrap().to_owned();
    daemon.stop();
    let daemon = Daemon::start(&replaced);
    cloud.online(Some(&session)).await;
    tells(&daemon, &token, &format!("in place of {old}: the broker knows this gateway by another one"));
    let note = replaced.path("state/journal.json");
    wait_until("it is written down", || fs::read_to_string(&note).is_ok_and(|note| note.contains(&old)));
    daemon.kill();
    // By now the broker knows the new one.
    let daemon = Daemon::start(&replaced);
    tells(&daemon, &token, &format!("in place of {old}"));
    daemon.stop();
}
