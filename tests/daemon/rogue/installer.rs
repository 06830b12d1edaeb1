//! What an installer has to be told: a panel that does not do what the configuration says, or says odd things.

use serde_json::{Value, json};

use super::{Entrance, FRESH, REQUIRED, SWIPED, WITH_KEY, found_within};
use crate::support::{
    lines::PATIENCE,
    rogue::{Colour, FMT, KEYPAD, OUT, RSTATR},
};

/// Waits for the error of a panel that is online, and returns it with what health says.
fn told(entrance: &Entrance) -> (String, String) {
    let row = entrance.wait_row("an error", |row| row["state"] == "online" && row["error"].is_string());
    assert!(entrance.is_degraded());
    let (_, health) = entrance.daemon.ask("GET", "/healthz", &entrance.token);
    (row["error"].as_str().unwrap().to_lowercase(), health.to_string())
}

/// Starts a panel with four inputs and two outputs, with settings that name another one.
fn counts_from_zero(settings: &str, number: &str) {
    let entrance = Entrance::secured(settings);
    let (error, health) = told(&entrance);
    assert!(error.contains("from 0") && error.contains(number), "{error}");
    assert!(health.contains("entrance-1"), "{health}");
    entrance.daemon.stop();
}

#[test]
fn an_input_that_the_panel_does_not_have_is_told() {
    counts_from_zero("door = { input = 4 }", "4");
}

#[test]
fn an_exit_button_that_the_panel_does_not_have_is_told() {
    counts_from_zero("door = { input = 0, exit_input = 4 }", "4");
}

#[test]
fn an_output_that_the_panel_does_not_have_is_told() {
    counts_from_zero("lock = { output = 2 }", "2");
}

#[test]
fn the_light_is_green_only_after_the_panel_has_taken_the_unlock() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    assert_eq!(entrance.rogue.wait_light(), Colour::Green);
    entrance.rogue.card("FEEDBEEF");
    assert_eq!(entrance.rogue.wait_light(), Colour::Red);
    entrance.rogue.behave("refuses_output");
    entrance.rogue.card(FRESH);
    entrance.rogue.wait_command(OUT);
    assert_eq!(entrance.rogue.wait_light(), Colour::Red, "OUT was refused");
    let failed = entrance.events.wait_type("intercom.door.unlock_failed");
    assert_eq!(failed["data"]["cause"], "refused");
    entrance.rogue.behave("honest");
    entrance.rogue.card(FRESH);
    entrance.rogue.wait_command(OUT);
    assert_eq!(entrance.rogue.wait_light(), Colour::Green);
    entrance.daemon.stop();
}

#[test]
fn a_reader_that_is_not_connected_is_told() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    assert_eq!(entrance.row()["error"], Value::Null);
    entrance.rogue.report(RSTATR, "01");
    let (error, health) = told(&entrance);
    assert!(error.contains("reader"), "{error}");
    assert!(health.contains("entrance-1"), "{health}");
    entrance.rogue.report(RSTATR, "00");
    entrance.wait_row("its end", |row| row["state"] == "online" && row["error"].is_null());
    entrance.daemon.stop();
}

#[test]
fn a_panel_that_refuses_every_number_from_the_start_is_in_trouble() {
    for settings in ["secure_channel = \"off\"", REQUIRED] {
        let options = [&WITH_KEY[..], &["--behave", "refuses_numbers"]].concat();
        let mut entrance = Entrance::start(settings, &options);
        entrance.wait_trouble();
        assert!(entrance.is_degraded());
        entrance.rogue.behave("honest");
        entrance.wait_state("online");
        entrance.open();
        entrance.daemon.stop();
    }
}

#[test]
fn a_panel_that_begins_to_refuse_every_number_is_in_trouble() {
    for (settings, state) in [("secure_channel = \"off\"", "offline"), (REQUIRED, "insecure")] {
        let mut entrance = Entrance::start(settings, &WITH_KEY);
        entrance.open();
        entrance.rogue.behave("refuses_numbers");
        assert_eq!(entrance.wait_trouble()["state"], state, "heard, but no POLL is answered");
        assert!(entrance.is_degraded());
        entrance.rogue.behave("honest");
        entrance.open();
        entrance.daemon.stop();
    }
}

#[test]
fn a_line_that_loses_three_of_four_replies_is_told() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    entrance.rogue.wire("three_of_four_lost");
    let told = found_within(PATIENCE, || {
        let (_, health) = entrance.daemon.ask("GET", "/healthz", &entrance.token);
        let words = health.to_string();
        let is_named = words.contains("street") || words.contains("entrance-1");
        (health["status"] == "degraded" && is_named).then_some(())
    });
    told.expect("health does not name what is wrong");
    entrance.daemon.stop();
}

#[test]
fn characters_whose_count_is_wrong_are_a_swipe_that_is_unreadable() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    // Reader 0, forwards, ten characters, of which eight follow.
    entrance.rogue.report(FMT, &format!("00000a{}", hex::encode("3042CAAC")));
    let swipe =
        entrance.events.wait("the swipe", |event| event["type"] == SWIPED && event["data"]["raw"] != FRESH);
    assert_eq!(
        (&swipe["data"]["decision"], &swipe["data"]["reason"]),
        (&json!("denied"), &json!("unreadable"))
    );
    // Behind the green of the card before.
    while entrance.rogue.wait_light() != Colour::Red {}
    entrance.daemon.stop();
}

#[test]
fn keys_whose_count_is_wrong_are_taken_as_they_are() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    // Reader 0, five keys, of which three follow: 1, 2, #.
    entrance.rogue.report(KEYPAD, "000531320d");
    entrance.rogue.report(KEYPAD, "000233340d");
    let entered = entrance.events.wait_type("intercom.keypad.entered");
    assert_eq!(entered["data"]["digits"], "12");
    let entered = entrance.events.wait_type("intercom.keypad.entered");
    assert_eq!(entered["data"]["digits"], "34");
    entrance.daemon.stop();
}
