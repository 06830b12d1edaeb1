//! Somebody guesses MACs, or speaks in plaintext in the midst of a secure channel.

use serde_json::Value;

use super::{
    Entrance, FRESH, HELD, OPEN_DOOR, REQUIRED, SECURED, SUSPECT, SWIPED, WATCHED, most_in_a_minute,
};
use crate::support::rogue::{CAP, CHLNG, COMSET, ID, OUT, SCRYPT};

#[test]
fn a_right_mac_behind_wrong_ones_is_not_believed_and_the_guesses_are_told() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    entrance.rogue.behave("guesses");
    entrance.rogue.card(HELD);
    entrance.rogue.wait_struck();
    entrance.rogue.behave("honest");
    let told = entrance.events.wait("a suspect, or the swipe", |event| {
        event["type"] == SUSPECT || (event["type"] == SWIPED && event["data"]["raw"] == HELD)
    });
    let data = &told["data"];
    assert_eq!((&told["type"], &data["cause"]), (&SUSPECT.into(), &"wrong_mac".into()), "{told}");
    assert!(data["count"].as_u64().is_some_and(|count| count >= 1), "{told}");
    entrance.open();
    assert_eq!(entrance.decisions(HELD), [] as [String; 0], "the session had ended");
    entrance.daemon.stop();
}

#[test]
fn wrong_macs_end_sessions_and_are_told_once_a_minute_at_most() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    entrance.rogue.behave("guesses_wrong");
    entrance.rogue.mark(200, WATCHED);
    entrance.wait_trouble();
    assert!(entrance.is_degraded());
    entrance.rogue.behave("honest");
    entrance.wait_state("online");
    entrance.open();
    let told = entrance.suspects("wrong_mac");
    assert!(!told.is_empty(), "{:#?}", entrance.events.so_far());
    assert_eq!(most_in_a_minute(&told), 1, "{told:#?}");
    entrance.daemon.stop();
}

/// Reads a card in a secure channel by a behaviour that does not encrypt it.
fn is_not_believed(behaviour: &str) {
    let mut entrance = Entrance::secured("");
    entrance.open();
    let outs = entrance.rogue.commands(OUT).len();
    entrance.rogue.behave(behaviour);
    entrance.rogue.card(HELD);
    entrance.rogue.wait_struck();
    entrance.rogue.behave("honest");
    let told = entrance.events.wait("a suspect, or the swipe", |event| {
        event["type"] == SUSPECT || (event["type"] == SWIPED && event["data"]["raw"] == HELD)
    });
    assert_eq!(
        (&told["type"], &told["data"]["cause"]),
        (&SUSPECT.into(), &"plaintext".into()),
        "{behaviour}: {told}"
    );
    entrance.wait_state("online");
    entrance.rogue.card("FEEDBEEF");
    entrance.events.wait("the swipe behind it", |event| event["data"]["raw"] == "FEEDBEEF");
    assert_eq!(entrance.decisions(HELD), [] as [String; 0]);
    assert_eq!(entrance.rogue.commands(OUT).len(), outs);
    entrance.open();
    entrance.daemon.stop();
}

#[test]
fn a_card_in_plaintext_in_a_session_is_not_believed() {
    is_not_believed("read_in_plaintext");
}

#[test]
fn a_card_with_a_mac_that_is_not_encrypted_is_not_believed() {
    is_not_believed("read_unencrypted");
}

#[test]
fn a_panel_that_refuses_a_secure_channel_is_asked_for_nothing_else() {
    let mut entrance = Entrance::start(REQUIRED, &["--behave", "no_secure_channel"]);
    entrance.rogue.card(HELD);
    assert_eq!(entrance.wait_trouble()["state"], "insecure");
    let mark = entrance.rogue.mark(30, WATCHED);
    assert_eq!(mark.polls, 0);
    let is_in_the_clear = |word: &Value| word["seen"] == "command" && word["sealed"] == false;
    let words = entrance.rogue.told.so_far();
    let mut codes: Vec<u64> = words
        .iter()
        .filter(|word| is_in_the_clear(word))
        .map(|word| word["code"].as_u64().unwrap())
        .collect();
    codes.sort_unstable();
    codes.dedup();
    let allowed = [ID, CAP, COMSET, CHLNG, SCRYPT].map(u64::from);
    assert!(codes.iter().all(|code| allowed.contains(code)), "in the clear: {codes:02x?}");
    let (status, refused) = entrance.daemon.ask("POST", OPEN_DOOR, &entrance.token);
    assert_eq!((status, &refused["code"]), (422, &"insecure".into()), "{refused}");
    assert_eq!(entrance.decisions(HELD), [] as [String; 0], "nothing that it says is believed");
    entrance.daemon.stop();
}

#[test]
fn a_plaintext_nak_1_in_a_session_costs_one_resend() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    let challenges = entrance.rogue.commands(CHLNG).len();
    entrance.rogue.wire("check_failed");
    entrance.rogue.wait_struck();
    entrance.rogue.card(FRESH);
    entrance.open();
    assert_eq!(entrance.rogue.commands(CHLNG).len(), challenges, "a new handshake");
    let secured = entrance.events.count(|event: &Value| event["type"] == SECURED);
    assert_eq!(secured, 1);
    entrance.daemon.stop();
}
