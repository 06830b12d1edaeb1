//! Somebody on the wire holds a resident's swipe back, and lets it go when the resident has left.

use std::time::Duration;

use super::{AGAIN, Entrance, FRESH, FRESH_ID, HELD, NOTICED, SWIPED, UNLOCKED, is_trouble};
use crate::support::rogue::OUT;

/// Exchanges after a panel's return in which an unlock would have come.
const SOON: u32 = 20;
/// Something answers, but no POLL in the secure channel.
const INSECURE: &str = "insecure";
/// Nothing answers; or, in plaintext, something does, but no POLL in order.
const OFFLINE: &str = "offline";

/// Holds a card back by this attack until the panel is no longer called online, and lets it go.
///
/// The card must open nothing. Meanwhile the panel must be in this state, and health tell of it; afterwards the panel
/// must return by itself.
fn a_swipe_opens_nothing_after(attack: &str, state: &str) {
    opens_nothing_after(Entrance::secured(""), attack, state);
}

fn opens_nothing_after(mut entrance: Entrance, attack: &str, state: &str) {
    entrance.open();
    let outs = entrance.rogue.commands(OUT).len();
    entrance.rogue.wire(attack);
    entrance.rogue.card(HELD);
    let trouble = entrance.row_within(NOTICED, |row| is_trouble(row) && row["state"] == state);
    let is_degraded = trouble.is_some() && entrance.is_degraded();

    entrance.rogue.wire("pass");
    entrance.wait_state("online");
    entrance.rogue.mark(SOON, AGAIN);
    let outs = entrance.rogue.commands(OUT).len() - outs;
    entrance.open();
    assert!(
        entrance.decisions(HELD).iter().all(|decision| decision == "denied") && outs == 0,
        "the swipe that was held back opened: {outs} OUT, {:#?}",
        entrance.events.so_far()
    );
    assert!(trouble.is_some(), "the panel was never called {state} with an error");
    assert!(is_degraded, "health was ok all the time");
    entrance.daemon.stop();
}

#[test]
fn a_swipe_behind_busy_opens_nothing() {
    a_swipe_opens_nothing_after("busy", INSECURE);
}

#[test]
fn a_swipe_whose_answer_is_kept_while_busy_keeps_its_command_open_opens_nothing() {
    a_swipe_opens_nothing_after("held_reply", INSECURE);
}

#[test]
fn a_swipe_that_waits_while_every_challenge_is_swallowed_opens_nothing() {
    a_swipe_opens_nothing_after("no_challenge", INSECURE);
}

#[test]
fn a_swipe_that_waits_while_a_plaintext_number_0_answers_everything_opens_nothing() {
    a_swipe_opens_nothing_after("number_zero", INSECURE);
}

#[test]
fn a_swipe_at_a_panel_in_whose_place_somebody_answers_id_opens_nothing() {
    a_swipe_opens_nothing_after("only_identity", INSECURE);
}

#[test]
fn a_swipe_among_replies_that_were_all_kept_opens_nothing() {
    a_swipe_opens_nothing_after("held_replies", OFFLINE);
}

#[test]
fn a_swipe_at_a_panel_that_was_cut_off_opens_nothing() {
    a_swipe_opens_nothing_after("silence", OFFLINE);
}

#[test]
fn a_swipe_behind_busy_in_plaintext_opens_nothing() {
    opens_nothing_after(Entrance::start("secure_channel = \"off\"", &[]), "busy", OFFLINE);
}

/// Holds a card back by this attack for no longer than a panel may be silent and is called online.
fn four_seconds_are_too_long(attack: &str) {
    let mut entrance = Entrance::secured("");
    entrance.open();
    entrance.rogue.hold(Duration::from_secs(4), attack, HELD);
    entrance.wait_state("online");
    entrance.open();
    let decisions = entrance.decisions(HELD);
    assert!(decisions.iter().all(|decision| decision == "denied"), "{decisions:?}");
    entrance.daemon.stop();
}

#[test]
fn a_swipe_that_busy_has_held_for_four_seconds_opens_nothing() {
    four_seconds_are_too_long("busy");
}

#[test]
fn a_swipe_whose_answer_was_held_for_four_seconds_opens_nothing() {
    four_seconds_are_too_long("held_reply");
}

#[test]
fn a_swipe_that_a_number_0_has_held_for_four_seconds_opens_nothing() {
    four_seconds_are_too_long("number_zero");
}

#[test]
fn a_swipe_that_silence_has_held_for_four_seconds_opens_nothing() {
    four_seconds_are_too_long("silence");
}

#[test]
fn a_panel_that_is_busy_for_a_moment_opens_all_the_same() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    // What a busy machine delays beyond the limit is refused: then once more.
    let opens = (0..5).any(|_| {
        entrance.rogue.hold(Duration::from_millis(200), "busy", FRESH);
        let swipe = entrance.events.wait_within(AGAIN, |event| {
            (event["type"] == SWIPED && event["data"]["decision"] == "denied")
                || (event["type"] == UNLOCKED && event["data"]["by"]["id"] == FRESH_ID)
        });
        swipe.is_some_and(|event| event["type"] == UNLOCKED)
    });
    assert!(opens, "{:#?}", entrance.events.so_far());
    entrance.daemon.stop();
}

#[test]
fn busy_keeps_a_command_open_no_longer_than_a_few_tries() {
    let mut entrance = Entrance::secured("");
    entrance.open();
    entrance.rogue.wire("busy");
    let mark = entrance.rogue.mark(40, NOTICED);
    assert!(mark.repeats <= 5, "the same command was sent {} times", mark.repeats);
    entrance.rogue.wire("pass");
    entrance.open();
    entrance.daemon.stop();
}
