//! What a visitor sees.

use serde_json::Value;

use super::stage::{EVERYTHING, Stage};
use intercom_gateway::simulate::panel::Observation;

/// What there is, and lines to copy.
pub fn introduce(stage: &Stage) {
    let config = stage.config_file.display();
    println!("A building with three buses and four panels:");
    for panel in &stage.config.panels {
        println!("  {:<11} intercom {}, bus {}", panel.name.as_str(), panel.intercom, panel.bus);
    }
    println!("\nType here:");
    println!("  card entrance-1 3042CAAC 32 0     a resident of flat 1: the door opens");
    println!("  card entrance-1 11223344 32 0     somebody who has moved out: it does not");
    println!("  card garage 5566AA77 32 0         opens the garage, and only that");
    println!(
        "  key entrance-1 93552#             a visitor's code: the door opens (five wrong ones block the keypad)"
    );
    println!("  input entrance-1 1 0 0 0          the door is opened (0 0 0 0: closed)");
    println!(
        "  line risers 3 lifted              the handset of flat 3 is lifted (hung, button, short, cut)"
    );
    println!(
        "  row risers 2 dead on              a wire of the cabinet breaks: flats 11 to 20 (off: it is whole)"
    );
    println!("  gone entrance-2 on                a panel dies (off: it is back)");
    println!("\nIn another terminal:");
    for command in ["journal --follow", "flat 2 41 --number", "check"] {
        println!("  cargo run --release -q -- --config {config} {command}");
    }
    let (certificate, port, token) = (stage.certificate(), stage.https_port, &stage.token);
    println!(
        "  curl --cacert {} -H 'Authorization: Bearer {token}' https://localhost:{port}/api/admin/v1/intercoms/1/flats/1",
        certificate.display()
    );
    println!(
        "  curl --cacert {} -H 'Authorization: Bearer {token}' https://localhost:{port}/api/local/v1/lines?intercom=1",
        certificate.display()
    );
    println!("  mosquitto_sub -V 5 -p {} -t '{EVERYTHING}' -v", stage.broker.port);
    println!(
        "\nIn a browser, which has to be let past the gateway's own certificate; the page asks for the token:"
    );
    println!("  https://localhost:{port}/");
    println!("  {token}");
    println!("\nBelow is what the cloud's stand-in consumes, and what the doors do. Ctrl-C ends it.\n");
}

/// Prints what the stand-in for the cloud consumes.
pub fn tell_cloud(stage: &Stage) {
    let consumed = stage.consumed.lock().expect("not poisoned");
    for (topic, payload) in consumed.iter() {
        let Ok(payload) = serde_json::from_slice::<Value>(&payload) else { continue };
        match topic.strip_prefix("intercom/v1/demo/") {
            Some("events") => println!("{}", in_words(&payload)),
            Some(topic) => println!(
                "{topic}: {}",
                payload["state"].as_str().or(payload["status"].as_str()).unwrap_or("…")
            ),
            None => {}
        }
    }
}

/// Prints what the panels do to their doors.
pub fn tell_doors(stage: &Stage) {
    let sightings = stage.sightings.lock().expect("not poisoned");
    for sighting in sightings.iter() {
        if let Observation::OutputState { output, on } = sighting.what {
            println!("  [{}] output {output} is {}", sighting.panel, if on { "on" } else { "off" });
        }
    }
}

fn in_words(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let data = &event["data"];
    let mut line = format!("{}  {}", text(&event["time"]), text(&event["type"]));
    for key in [
        "panel", "decision", "reason", "digits", "cause", "input", "flat", "from", "to", "duration", "lines",
        "state", "cleared",
    ] {
        match &data[key] {
            Value::Null => {}
            Value::String(text) => line.push_str(&format!(" {text}")),
            other => line.push_str(&format!(" {key}={other}")),
        }
    }
    line
}
