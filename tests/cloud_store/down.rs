//! Flats and commands, down to a real gateway.

use serde_json::{Value, json};

use crate::{
    part::{Part, give, prepare},
    support::{
        Daemon, Site,
        cloud::ROOT,
        consumer::Consumer,
        flats::{self, KNOWN, flat},
        mosquitto::Mosquitto,
        postgres::Postgres,
        simulated::Panels,
        site::ENTRANCE,
        wait_until,
    },
};

pub fn flats_and_commands() {
    let Some(postgres) = Postgres::start() else { return };
    prepare(&postgres);
    let broker = Mosquitto::open();
    let site = Site::new(&format!(
        "[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n{ENTRANCE}secure_channel = \"off\"\nlock = {{ output = 0 }}\n",
        broker.port
    ));
    let panels = Panels::start(&site, false);
    let log = site.path("cloud.log");
    let file = site.write("flats.json", &json!({"flats": [flats::known()]}).to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let seen = runtime.block_on(async { Consumer::start("seen", broker.port, ROOT, false) });
    let _cloud =
        Part::start(broker.port, &postgres, &["--gateway", "test", "--flats", file.to_str().unwrap()], &log);
    let _daemon = Daemon::start(&site);
    let in_force = |flats: u64| {
        wait_until("the gateway has the store's flats", || {
            let state = seen.lock().last("sync/state").map_or(Value::Null, |message| message.json());
            let ours = postgres.rows("select digest from buildings where gateway = 'test'", &[]);
            state["flats"] == flats
                && ours.first().is_some_and(|row| state["digest"] == row.get::<_, &str>(0))
        });
    };
    in_force(1);
    panels.card("entrance-1", KNOWN);
    panels.wait_opened("entrance-1");

    // A change is a delta, and nothing is left to be told.
    let more: Vec<Value> = (20..40).map(|id| flat(1, id, id, &[(id, "00000000000001")])).collect();
    site.write("flats.json", &json!({"flats": more}).to_string());
    in_force(20);
    wait_until("nothing is left to be told", || postgres.number("select count(*) from changes") == 0);
    let deltas = seen.lock().messages.iter().filter(|message| message.json()["kind"] == "delta").count();
    assert_eq!(deltas, 1);

    let opened =
        give(broker.port, &postgres, &["--gateway", "test", "unlock", "entrance-1", "--duration", "1"]);
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    panels.wait_opened("entrance-1");
    let refused = give(broker.port, &postgres, &["--gateway", "test", "unlock", "nowhere"]);
    assert!(!refused.status.success());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("unlock is failed: this gateway has no panel"),
        "{refused:?}"
    );
    let away = give(broker.port, &postgres, &["--gateway", "nobody", "resync"]);
    assert!(String::from_utf8_lossy(&away.stderr).contains("nobody is not online"), "{away:?}");
    let results = postgres.rows("select result->>'status' from commands order by sent_at", &[]);
    assert_eq!(results.iter().map(|row| row.get(0)).collect::<Vec<&str>>(), ["done", "failed"]);
}
