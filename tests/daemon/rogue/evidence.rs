//! Whatever a panel's line brings unproven: it neither fills the journal nor excuses anything.

use serde_json::{Value, json};

use super::{AGAIN, CHANGED, Entrance, KEY, REQUIRED, SUSPECT, SWIPED, WATCHED, WITH_KEY, most_in_a_minute};
use crate::support::rogue::SERIAL;

const REPLACED: &str = "intercom.panel.replaced";
/// Events a minute and panel that unproven things may cost.
const FEW: usize = 10;
const DOOR: &str = "door = { input = 0, exit_input = 1, exit_grace = \"60s\" }";

/// Returns all events of the panel so far.
fn of_the_panel(entrance: &Entrance) -> Vec<Value> {
    entrance.events.so_far().into_iter().filter(|event| event["subject"] == "entrance-1").collect()
}

#[test]
fn a_plaintext_device_that_always_reads_cards_writes_no_events() {
    let mut entrance = Entrance::start(REQUIRED, &["--behave", "reads_always"]);
    entrance.rogue.mark(200, WATCHED);
    let trouble = entrance.wait_trouble();
    assert_eq!(trouble["state"], "insecure");
    let events = of_the_panel(&entrance);
    assert_eq!(entrance.events.count_type(SWIPED), 0, "nothing that it says is believed");
    assert!(most_in_a_minute(&events) <= FEW, "{events:#?}");
    entrance.daemon.stop();
}

#[test]
fn forged_serial_numbers_are_told_a_few_times() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    entrance.rogue.behave("changes_serial");
    entrance.rogue.mark(200, WATCHED);
    let told = about_serials(&entrance);
    assert!(most_in_a_minute(&told) <= FEW, "{} times", told.len());
    entrance.wait_trouble();
    entrance.daemon.stop();
}

#[test]
fn forged_serial_numbers_before_true_handshakes_are_told_a_few_times_and_the_door_opens() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    entrance.rogue.wire("forged_serials");
    entrance.rogue.mark(300, WATCHED);
    let told = about_serials(&entrance);
    assert!(most_in_a_minute(&told) <= FEW, "{} times", told.len());
    entrance.rogue.wire("pass");
    entrance.wait_state("online");
    entrance.open();
    entrance.daemon.stop();
}

/// Returns what the journal says of serial numbers that changed.
fn about_serials(entrance: &Entrance) -> Vec<Value> {
    let is_about_it = |event: &Value| event["type"] == REPLACED || event["type"] == SUSPECT;
    of_the_panel(entrance).into_iter().filter(is_about_it).collect()
}

#[test]
fn two_panels_that_take_turns_in_one_place_are_told_once_each() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    for _ in 0..3 {
        for serial in [SERIAL + 1, SERIAL] {
            entrance.rogue.swap(Some(KEY), serial, true);
            entrance.open();
        }
    }
    let serials: Vec<Value> = about_serials(&entrance)
        .into_iter()
        .filter(|event| event["type"] == REPLACED)
        .map(|event| event["data"]["serial"].clone())
        .collect();
    assert_eq!(serials.first(), Some(&json!("00001001")), "{serials:?}");
    assert!(serials.len() <= 2, "{serials:?}");
    entrance.daemon.stop();
}

#[test]
fn an_exit_press_in_plaintext_excuses_no_opening() {
    let mut entrance = Entrance::secured(DOOR);
    // The first report is only what later ones are compared with.
    entrance.rogue.inputs("00000000");
    entrance.rogue.inputs("00000100");
    entrance.events.wait("an input", |event| event["type"] == CHANGED && event["data"]["input"] == 2);
    entrance.rogue.wire("exit_pressed");
    let trouble = entrance.wait_trouble();
    assert_eq!(trouble["state"], "insecure");
    entrance.rogue.mark(20, AGAIN);
    entrance.rogue.wire("pass");
    entrance.wait_state("online");
    entrance.rogue.inputs("01000100");
    let opening = entrance.events.wait("the opening", |event| {
        event["type"] == "intercom.door.opened" || event["type"] == "intercom.door.forced"
    });
    assert_eq!(opening["type"], "intercom.door.forced", "{opening}");
    let presses = |event: &Value| event["type"] == CHANGED && event["data"]["input"] == 1;
    assert_eq!(entrance.events.count(presses), 0, "nobody has pressed it");
    entrance.daemon.stop();
}

/// Lets the contact bounce for a time; what was done about it must be few events, and the last one true.
fn bounces(mut entrance: Entrance) {
    entrance.wait_state("online");
    entrance.rogue.inputs("00000000");
    entrance.open();
    entrance.rogue.behave("bounces");
    entrance.rogue.mark(400, WATCHED);
    entrance.rogue.behave("honest");
    entrance.rogue.inputs("00000000");
    entrance.open();
    let is_about_it = |event: &Value| {
        let of = |kind: &str| event["type"] == kind;
        of(CHANGED)
            || of(SUSPECT)
            || of("intercom.door.opened")
            || of("intercom.door.closed")
            || of("intercom.door.forced")
    };
    let told: Vec<Value> = of_the_panel(&entrance).into_iter().filter(is_about_it).collect();
    assert!(!told.is_empty(), "it is told");
    assert!(most_in_a_minute(&told) <= FEW, "{} events", told.len());
    assert_eq!(entrance.row()["state"], "online");
    entrance.daemon.stop();
}

#[test]
fn a_contact_that_bounces_in_a_secure_channel_is_a_few_events() {
    bounces(Entrance::secured(DOOR));
}

#[test]
fn a_contact_that_bounces_in_plaintext_is_a_few_events() {
    bounces(Entrance::start(&format!("{DOOR}\nsecure_channel = \"off\""), &WITH_KEY));
}
