use InputState::{Active, Inactive, Short};

use super::*;

/// A door with the budget of its panel.
struct Rig {
    door: Door,
    budget: Bucket,
}

impl Rig {
    /// A contact at input 0 and a button at input 1.
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut DoorSettings)) -> Self {
        let mut settings = DoorSettings {
            contact: Some(0),
            open_when_active: true,
            held_after: Duration::from_secs(30),
            debounce: DoorSettings::DEBOUNCE,
            exit: Some(1),
            exit_unlocks: false,
            exit_grace: Duration::from_secs(10),
        };
        change(&mut settings);
        Self { door: Door::new(Some(settings)), budget: Bucket::new(5, Duration::from_secs(12)) }
    }

    fn report(&mut self, now: Mono, states: &[InputState]) -> Vec<DoorEvent> {
        self.door.report(now, states, false, &mut self.budget)
    }

    fn stale_report(&mut self, now: Mono, states: &[InputState]) -> Vec<DoorEvent> {
        self.door.report(now, states, true, &mut self.budget)
    }

    fn advance(&mut self, now: Mono) -> Vec<DoorEvent> {
        self.door.advance(now, &mut self.budget)
    }
}

fn at(seconds: u64) -> Mono {
    at_ms(seconds * 1_000)
}

fn at_ms(millis: u64) -> Mono {
    Mono::ZERO + Duration::from_millis(millis)
}

fn by_key() -> UnlockedBy {
    UnlockedBy { kind: UnlockKind::Key, id: None }
}

fn by_exit() -> UnlockedBy {
    UnlockedBy { kind: UnlockKind::Exit, id: None }
}

/// Events without the plain changes of inputs.
fn moved(events: Vec<DoorEvent>) -> Vec<DoorEvent> {
    events.into_iter().filter(|event| !matches!(event, DoorEvent::Input { .. })).collect()
}

#[test]
fn an_opening_belongs_to_the_unlock_under_way() {
    let mut rig = Rig::new();
    assert_eq!(rig.report(at(0), &[Inactive, Inactive]), []);
    rig.door.unlocking(at(3), Token(1), by_key(), at(5));
    assert_eq!(moved(rig.report(at(4), &[Active, Inactive])), [DoorEvent::Opened(by_key())]);
    assert_eq!(moved(rig.report(at(6), &[Inactive, Inactive])), [DoorEvent::Closed(Some(by_key()))]);
    assert_eq!(moved(rig.report(at(8), &[Active, Inactive])), [DoorEvent::Forced]);
    assert_eq!(moved(rig.report(at(9), &[Inactive, Inactive])), [DoorEvent::Closed(None)]);
}

#[test]
fn the_exit_button_excuses_an_opening_within_its_grace() {
    for (opened_at, expected) in [(10, DoorEvent::Opened(by_exit())), (11, DoorEvent::Forced)] {
        let mut rig = Rig::new();
        rig.report(at(0), &[Inactive, Inactive]);
        let pressed = rig.report(at(0), &[Inactive, Active]);
        assert_eq!(pressed, [DoorEvent::Input { input: 1, from: Inactive, to: Active }]);
        rig.report(at(1), &[Inactive, Inactive]);
        assert_eq!(moved(rig.report(at(opened_at), &[Active, Inactive])), [expected]);
    }
}

#[test]
fn an_unlock_that_came_to_nothing_excuses_no_opening_and_hides_no_other() {
    let (key, command) = (Token(1), Token(2));
    let by_command = UnlockedBy { kind: UnlockKind::Command, id: None };
    for (failed, expected) in [
        (vec![key, command], DoorEvent::Forced),
        (vec![command], DoorEvent::Opened(by_key())),
        (vec![], DoorEvent::Opened(by_command.clone())),
    ] {
        let mut rig = Rig::new();
        rig.report(at(0), &[Inactive]);
        rig.door.unlocking(at(1), key, by_key(), at(5));
        rig.door.unlocking(at(2), command, by_command.clone(), at(5));
        failed.into_iter().for_each(|unlock| rig.door.not_unlocked(unlock));
        assert_eq!(moved(rig.report(at(3), &[Active])), [expected]);
    }
    let mut rig = Rig::new();
    rig.report(at(0), &[Inactive, Inactive]);
    rig.report(at(1), &[Inactive, Active]);
    rig.door.unlocking(at(1), Token(3), by_exit(), at(2));
    rig.door.not_unlocked(Token(3));
    assert_eq!(
        moved(rig.report(at(11), &[Active, Inactive])),
        [DoorEvent::Opened(by_exit())],
        "the button's grace stands"
    );
}

#[test]
fn a_button_unlocks_where_configured_and_never_by_an_old_report() {
    for (exit_unlocks, stale, expected) in
        [(true, false, vec![DoorEvent::ExitUnlock]), (true, true, vec![]), (false, false, vec![])]
    {
        let mut rig = Rig::with(|settings| settings.exit_unlocks = exit_unlocks);
        rig.report(at(0), &[Inactive, Inactive]);
        let pressed = [Inactive, Active];
        let events = if stale { rig.stale_report(at(1), &pressed) } else { rig.report(at(1), &pressed) };
        assert_eq!(moved(events), expected);
        let opened = if stale { DoorEvent::Forced } else { DoorEvent::Opened(by_exit()) };
        assert_eq!(moved(rig.report(at(2), &[Active, Active])), [opened]);
    }
}

#[test]
fn a_button_that_is_found_pressed_was_not_seen_pressed() {
    let mut rig = Rig::with(|settings| settings.exit_unlocks = true);
    assert_eq!(rig.report(at(0), &[Inactive, Active]), [], "after the start");
    rig.report(at(1), &[Inactive, Inactive]);
    rig.door.away();
    assert_eq!(rig.report(at(60), &[Inactive, Active]), [], "after an absence");
    assert_eq!(moved(rig.report(at(61), &[Active, Active])), [DoorEvent::Forced]);
    rig.report(at(62), &[Inactive, Inactive]);
    assert_eq!(moved(rig.report(at(64), &[Inactive, Active])), [DoorEvent::ExitUnlock], "seen");
}

#[test]
fn a_press_that_is_still_so_at_the_end_of_the_debounce_counts_then() {
    let mut rig = Rig::with(|settings| settings.exit_unlocks = true);
    rig.report(at_ms(0), &[Inactive, Inactive]);
    assert_eq!(moved(rig.report(at_ms(5_000), &[Inactive, Active])), [DoorEvent::ExitUnlock]);
    rig.report(at_ms(6_000), &[Inactive, Inactive]);
    assert_eq!(rig.report(at_ms(6_050), &[Inactive, Active]), []);
    assert_eq!(rig.door.next_time(&rig.budget), at_ms(6_100));
    assert_eq!(moved(rig.advance(at_ms(6_100))), [DoorEvent::ExitUnlock]);
}

#[test]
fn an_opening_belongs_to_what_was_under_way_when_the_contact_moved() {
    let mut rig = Rig::new();
    rig.report(at_ms(0), &[Active, Inactive, Inactive]);
    rig.door.unlocking(at_ms(0), Token(1), by_key(), at_ms(3_000));
    assert_eq!(moved(rig.report(at_ms(4_940), &[Inactive; 3])), [DoorEvent::Closed(None)]);
    assert_eq!(rig.report(at_ms(4_990), &[Active, Inactive, Inactive]), []);
    assert_eq!(moved(rig.report(at_ms(5_020), &[Active, Inactive, Active])), [], "another input changes");
    assert_eq!(moved(rig.advance(at_ms(5_040))), [DoorEvent::Opened(by_key())]);
}

#[test]
fn a_door_left_open_is_told_once() {
    let mut rig = Rig::new();
    rig.report(at(0), &[Inactive]);
    rig.report(at(1), &[Active]);
    assert_eq!(rig.door.next_time(&rig.budget), at(31));
    assert_eq!(rig.advance(at(30)), []);
    assert!(!rig.door.is_held());
    assert_eq!(rig.advance(at(31)), [DoorEvent::Held(None)]);
    assert!(rig.door.is_held());
    assert_eq!(rig.advance(at(99)), []);
    assert_eq!(rig.door.next_time(&rig.budget), Mono::NEVER);
}

#[test]
fn a_faulty_contact_is_no_opening_and_the_first_report_no_event() {
    let mut rig = Rig::new();
    assert_eq!(rig.report(at(0), &[Active]), []);
    assert_eq!(rig.report(at(1), &[Short]), [DoorEvent::Input { input: 0, from: Active, to: Short }]);
    assert_eq!(moved(rig.report(at(2), &[Active])), []);
    assert_eq!(rig.advance(at(30)), [DoorEvent::Held(None)], "open since the start, by an unknown hand");
}

#[test]
fn a_contact_may_be_active_while_the_door_is_closed() {
    let mut rig = Rig::with(|settings| settings.open_when_active = false);
    assert_eq!(rig.door.position(), None);
    assert_eq!(rig.report(at(0), &[Active, Inactive]), []);
    assert_eq!(rig.door.position(), Some(DoorPosition::Closed));
    assert_eq!(moved(rig.report(at(1), &[Inactive, Inactive])), [DoorEvent::Forced]);
    assert_eq!(rig.door.position(), Some(DoorPosition::Open));
    assert_eq!(moved(rig.report(at(3), &[Active, Inactive])), [DoorEvent::Closed(None)]);
}

#[test]
fn a_later_word_about_an_unlock_replaces_the_earlier() {
    for (opened_at, expected) in [(6, DoorEvent::Opened(by_key())), (7, DoorEvent::Forced)] {
        let mut rig = Rig::new();
        rig.report(at(0), &[Inactive]);
        rig.door.unlocking(at(0), Token(1), by_key(), at(20));
        rig.door.unlocking(at(1), Token(1), by_key(), at(4));
        assert_eq!(moved(rig.report(at(opened_at), &[Active])), [expected]);
    }
}

#[test]
fn a_restless_button_unlocks_by_a_press_and_by_nothing_else() {
    let mut rig = Rig::with(|settings| settings.exit_unlocks = true);
    rig.report(at(0), &[Inactive, Inactive]);
    for bounce in 1..=3 {
        rig.report(at_ms(bounce * 400 - 200), &[Inactive, Active]);
        rig.report(at_ms(bounce * 400), &[Inactive, Inactive]);
    }
    assert_eq!(rig.report(at(5), &[Inactive, Active]), [DoorEvent::ExitUnlock]);
    assert_eq!(rig.report(at(15), &[Inactive, Active]), [], "it is held down");
    assert_eq!(rig.report(at(25), &[Inactive, Inactive]), [], "it is let go");
}

#[test]
fn inputs_that_change_all_the_time_are_told_in_turn() {
    let mut rig = Rig::new();
    let mut told = [0; 6];
    for step in 0..60 {
        let state = if step % 2 == 0 { Inactive } else { Active };
        for event in rig.report(at(step * 12), &[Inactive, Inactive, state, state, state, state]) {
            let DoorEvent::Input { input, .. } = event else { panic!("{event:?}") };
            told[usize::from(input)] += 1;
        }
    }
    assert_eq!(told[..2], [0, 0]);
    assert!(told[2..].iter().all(|count| *count >= 10), "{told:?}");
}
