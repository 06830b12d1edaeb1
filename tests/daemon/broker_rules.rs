//! The broker's rules as docs/brokers has them for mosquitto: each account can do what it is for, and nothing else.

use std::{fs, path::Path};

use rumqttc::{PublishOptions, QoS};
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    Daemon, Site,
    cloud::{Cloud, ROOT, message, verdict},
    consumer::Consumer,
    mosquitto::{Mosquitto, add_password, write_private},
};

const ACCOUNTS: [&str; 7] =
    ["test", "another", "cloud-events", "cloud-keeper", "cloud-flats", "cloud-doors", "cloud-eyes"];

/// A broker with the published settings, but for its certificate, its port and its place.
fn broker() -> Mosquitto {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/brokers");
    let published = fs::read_to_string(folder.join("mosquitto.conf")).unwrap();
    let settings: Vec<_> = published
        .lines()
        .filter(|line| {
            let name = line.split(' ').next().unwrap();
            !["listener", "certfile", "keyfile", "persistence", "persistence_location", "max_queued_messages"]
                .contains(&name)
        })
        .map(|line| line.replace("/etc/mosquitto/", "DIR/"))
        .collect();
    assert!(settings.iter().any(|line| line == "acl_file DIR/mosquitto.acl"), "{settings:?}");
    Mosquitto::prepared(&settings.join("\n"), |dir| {
        write_private(&dir.join("mosquitto.acl"), &fs::read_to_string(folder.join("mosquitto.acl")).unwrap());
        ACCOUNTS.iter().for_each(|account| add_password(dir, account, "secret"));
    })
}

async fn account(broker: &Mosquitto, name: &str) -> Cloud {
    let mut options = Consumer::options(name, broker.port);
    options.set_credentials(name, "secret");
    Cloud::with(options).await
}

/// What has come to an account, of each topic once.
fn topics(account: &Cloud) -> Vec<String> {
    let seen = account.consumer.lock();
    let mut topics: Vec<_> = seen.messages.iter().map(|message| message.topic.clone()).collect();
    if !seen.events.is_empty() {
        topics.push("events".to_owned());
    }
    topics.sort();
    topics.dedup();
    topics
}

async fn is_refused(account: &Cloud, topic: &str, payload: &str) {
    let options = PublishOptions::new(QoS::AtLeastOnce);
    let topic = format!("{ROOT}/{topic}");
    let notice = account.consumer.client.publish_tracked(&*topic, payload.to_owned(), options).await.unwrap();
    let told = notice.wait_async().await;
    assert!(format!("{told:?}").contains("NotAuthorized"), "{topic}: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_rules_of_mosquitto_let_each_do_its_work_and_nothing_else() {
    let broker = broker();
    let site = Site::new(&format!(
        "[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\nusername = \"test\"\npassword_file = \"{{dir}}/password\"\n\
         confirm = \"cloud\"\n\n[[intercom]]\nid = 1\n\n\
         [[bus]]\nname = \"street\"\nport = \"{{dir}}/street\"\nprotocol = \"osdp\"\n\n\
         [[panel]]\nname = \"entrance-1\"\nintercom = 1\nbus = \"street\"\naddress = 0\n\
         lock = {{ output = 0 }}\nsecure_channel = \"off\"\n",
        broker.port
    ));
    site.write("password", "secret");
    let [events, keeper, flats, doors, eyes, another] = [
        account(&broker, "cloud-events").await,
        account(&broker, "cloud-keeper").await,
        account(&broker, "cloud-flats").await,
        account(&broker, "cloud-doors").await,
        account(&broker, "cloud-eyes").await,
        account(&broker, "another").await,
    ];
    let daemon = Daemon::start(&site);
    let session = eyes.online(None).await;

    // The gateway may write all that it has to tell, and reads what is for it.
    eyes.until("everything retained", |eyes| {
        let expected = ["health", "info", "panels/entrance-1", "status", "sync/state"];
        (topics(eyes) == expected).then_some(())
    })
    .await;
    let current = flats
        .until("a request for flats", |flats| {
            flats.consumer.lock().last("sync/request").map(|message| message.json())
        })
        .await;
    let answer = json!({
        "kind": "snapshot", "request": current["request"], "revision": 7, "part": 1, "parts": 1, "empty": true,
        "digest": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "flats": [],
    });
    flats.consumer.publish("sync/flats", &answer.to_string(), false).await;
    eyes.until("the flats are in force", |eyes| {
        (eyes.consumer.lock().last("sync/state")?.json()["revision"] == 7).then_some(())
    })
    .await;
    doors.online(None).await;
    let result = doors.ask("report", json!({}), &session).await;
    assert_eq!(verdict(&result), ("done", ""));
    let journal = eyes.consumer.lock().status()["journal"].as_str().unwrap().to_owned();
    let through =
        events.until("events", |events| events.consumer.lock().sequences(&journal).last().copied()).await;
    let committed = json!({"journal": journal, "through": through});
    keeper.consumer.publish("events/committed", &committed.to_string(), true).await;
    doors
        .until("the gateway counts them as delivered", |_| {
            let outbox = site.run(["doctor", "--json"]);
            outbox.stdout.contains(" 0 not delivered").then_some(())
        })
        .await;

    // Each account had its own topics, and none of another's.
    assert_eq!(topics(&events), ["events"]);
    assert_eq!(topics(&flats), ["sync/request", "sync/state"]);
    assert_eq!(topics(&keeper), ["events", "results", "status"]);
    assert_eq!(topics(&doors), ["results", "status"]);
    assert!(topics(&another).is_empty(), "{:?}", topics(&another));
    let unlock = message(Uuid::new_v4(), "unlock", json!({"panel": "entrance-1"}), &session, 30).to_string();
    for nobody in [&events, &flats, &eyes, &another] {
        is_refused(nobody, "commands", &unlock).await;
    }
    for topic in ["status", "events", "sync/flats", "events/committed", "results"] {
        is_refused(&another, topic, "{}").await;
        is_refused(&doors, topic, "{}").await;
    }

    // Another account under the gateway's client id does not take its session.
    drop(another);
    // A session of that account is there, which a new client does not resume.
    let mut options = Consumer::options("test", broker.port);
    options.set_clean_start(true);
    options.set_credentials("another", "secret");
    let _thief = Cloud::with(options).await;
    assert_eq!(verdict(&doors.ask("report", json!({}), &session).await), ("done", ""));
    daemon.stop();
}
