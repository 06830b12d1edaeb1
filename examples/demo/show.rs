//! What a visitor sees.

use serde_json::Value;

use super::stage::Stage;
use intercom_gateway::simulate::panel::Observation;

/// What there is, and lines to copy.
pub fn introduce(stage: &Stage) {
    let config = stage.config_file.display();
    println!("A building with two buses and three panels:");
    for panel in &stage.config.panels {
        println!("  {:<11} intercom {}, bus {}", panel.name.as_str(), panel.intercom, panel.bus);
    }
    println!("\nType here:");
    println!("  card entrance-1 3042CAAC 32 0     a resident of flat 1: the door opens");
    println!("  card entrance-1 11223344 32 0     somebody who has moved out: it does not");
    println!("  card garage 5566AA77 32 0         opens the garage, and only that");
    println!("  key entrance-1 123#               digits at the keypad");
    println!("  input entrance-1 1 0 0 0          the door is opened (0 0 0 0: closed)");
    println!("  gone entrance-2 on                a panel dies (off: it is back)");
    println!("\nIn another terminal:");
    for command in ["journal --follow", "flat 1 1", "flat 2 41 --number", "check"] {
        println!("  cargo run --release -q -- --config {config} {command}");
    }
    println!("\nCtrl-C ends it.\n");
}

/// Prints events as they come.
pub fn follow_journal(stage: &Stage) -> anyhow::Result<()> {
    let journal = stage.journal(true)?;
    std::thread::spawn(move || {
        for event in journal.map_while(Result::ok) {
            if let Ok(event) = serde_json::from_str::<Value>(&event) {
                println!("{}", in_words(&event));
            }
        }
    });
    Ok(())
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
    for key in ["panel", "decision", "reason", "digits", "cause", "input", "to", "duration"] {
        match &data[key] {
            Value::Null => {}
            Value::String(text) => line.push_str(&format!(" {text}")),
            other => line.push_str(&format!(" {key}={other}")),
        }
    }
    line
}
