//! With `signing_key_file` only the cloud's own messages are obeyed.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Daemon, Site,
    cloud::{Cloud, message, verdict},
    mosquitto::Mosquitto,
    signing::{self, pem},
    site::binary,
};

fn sign(object: &Value, seed: u8) -> String {
    signing::sign(&object.to_string(), seed)
}

fn site(broker: &Mosquitto) -> Site {
    Site::new(&format!(
        "[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\nconfirm = \"cloud\"\nsigning_key_file = \"{{dir}}/cloud.pem\"\n\n\
         [[intercom]]\nid = 1\n",
        broker.port
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_signed_messages_for_this_gateway_are_obeyed() {
    let broker = Mosquitto::open();
    let site = site(&broker);
    site.write("cloud.pem", &(pem(1) + &pem(2)));
    let cloud = Cloud::connect(broker.port).await;
    let daemon = Daemon::start(&site);
    let session = cloud.online(None).await;
    let report = |gateway: Value| {
        let mut report = message(Uuid::new_v4(), "report", json!({}), &session, 30);
        report["gateway"] = gateway;
        report
    };
    for seed in [1, 2] {
        let good = report(json!("test"));
        cloud.send_raw(&sign(&good, seed), false).await;
        let id = good["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(verdict(&cloud.result(id, 0).await), ("done", ""));
    }
    let plain = report(json!("test"));
    assert_eq!(verdict(&cloud.ask_message(&plain).await), ("rejected", "unsigned"));
    for (message, seed, expected) in [
        (report(json!("test")), 3, "unsigned"),
        (report(json!("other")), 1, "wrong_gateway"),
        (report(Value::Null), 1, "wrong_gateway"),
    ] {
        cloud.send_raw(&sign(&message, seed), false).await;
        let id = message["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(verdict(&cloud.result(id, 0).await), ("rejected", expected));
    }

    // Confirmations too: an unsigned one delivers nothing.
    let journal = cloud.consumer.lock().status()["journal"].clone();
    let last = cloud
        .until("events", |cloud| cloud.consumer.lock().sequences(journal.as_str().unwrap()).last().copied())
        .await;
    let committed = json!({"journal": journal, "through": last, "gateway": "test"});
    cloud.consumer.publish("events/committed", &committed.to_string(), false).await;
    let delivered = |cloud: &Cloud| {
        let report = cloud.all_results().into_iter().rev().find(|result| result["status"] == "done");
        report.unwrap()["data"].to_string().contains(" 0 not delivered")
    };
    let again = report(json!("test"));
    cloud.send_raw(&sign(&again, 1), false).await;
    cloud.result(again["id"].as_str().unwrap().parse().unwrap(), 0).await;
    assert!(!delivered(&cloud));
    cloud.consumer.publish("events/committed", &sign(&committed, 2), true).await;
    let last = report(json!("test"));
    cloud.send_raw(&sign(&last, 1), false).await;
    cloud.result(last["id"].as_str().unwrap().parse().unwrap(), 0).await;
    assert!(delivered(&cloud), "{:?}", cloud.all_results().last());
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_what_is_not_the_clouds_is_counted_and_a_line_each_in_the_log() {
    const EACH: usize = 25;
    let broker = Mosquitto::open();
    let site = site(&broker);
    site.write("cloud.pem", &pem(1));
    let cloud = Cloud::connect(broker.port).await;
    let daemon = Daemon::start(&site);
    let session = cloud.online(None).await;
    for _ in 0..EACH {
        cloud.consumer.publish("events/committed", "{\"through\":", false).await;
        cloud.consumer.publish("sync/flats", "unsigned", false).await;
        cloud.consumer.publish("sync/flats", "retained", true).await;
    }
    let mut report = message(Uuid::new_v4(), "report", json!({}), &session, 30);
    report["gateway"] = json!("test");
    cloud.send_raw(&sign(&report, 1), false).await;
    cloud.result(report["id"].as_str().unwrap().parse().unwrap(), 0).await;
    // Flats are read beside the rest.
    let refused = "\"gateway.sync.rejected\"";
    cloud
        .until("all refusals", |_| {
            (site.run(["journal", "--json"]).ok().matches(refused).count() == 2 * EACH).then_some(())
        })
        .await;
    let log = daemon.stop();
    for said in ["events/committed is not understood", "flats from the cloud are refused"] {
        let lines: Vec<_> = log.iter().filter(|line| line.contains(said)).collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("count="), "{}", lines[0]);
    }
}

#[test]
fn a_file_without_keys_is_found_by_check() {
    let broker = Mosquitto::open();
    let site = site(&broker);
    let check = |text: &str| {
        site.write("cloud.pem", text);
        let output = binary().arg("--config").arg(site.config_path()).arg("check").output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert!(check("").contains("holds no public key in PEM"));
    let other = pem(1).replace("MCowBQYDK2Vw", "MCowBQYDK2Vu");
    assert!(check(&(pem(2) + &other)).contains("not of Ed25519"));
    assert!(!check(&pem(1)).contains("signing_key_file"));
}
