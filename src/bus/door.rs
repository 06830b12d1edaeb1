//! The door behind a panel: contact, exit button, and which unlock an opening belongs to. Takes its time from
//! the caller.
//!
//! Invariants: an opening is `forced` unless an unlock was under way, or the exit button was pressed within its
//! grace. A first report after the start is taken as it is: no event is made of what may have happened before.
//! A button in a stale report unlocks nothing: it may have been pressed while the panel was away.

use std::time::Duration;

use crate::domain::{
    Mono,
    event::{InputState, UnlockKind, UnlockedBy},
};

/// How long after the lock's time an opening still counts as its consequence: the contact's report may wait for
/// its turn, or be sent twice.
const REPORT_DELAY: Duration = Duration::from_secs(2);

/// The configured inputs of a door (contract §2, `door`).
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// Input of the contact.
    pub contact: Option<u8>,
    /// Whether the contact is active while the door is open.
    pub open_when_active: bool,
    /// An open door is `held` after this time.
    pub held_after: Duration,
    /// Input of the exit button.
    pub exit: Option<u8>,
    /// Whether the exit button unlocks through the gateway (else it is wired to the lock).
    pub exit_unlocks: bool,
    /// An opening within this time of the button is not forced.
    pub exit_grace: Duration,
}

/// What an input report, or time, brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoorEvent {
    /// An input changed.
    Input {
        /// Its number.
        input: u8,
        /// State before.
        from: InputState,
        /// State now.
        to: InputState,
    },
    /// The door opened, and somebody is known to have unlocked it.
    Opened(UnlockedBy),
    /// The door opened without an unlock.
    Forced,
    /// The door closed, after an opening by whom.
    Closed(Option<UnlockedBy>),
    /// The door has stood open for too long.
    Held(Option<UnlockedBy>),
    /// The exit button was pressed and is to unlock.
    ExitUnlock,
}

/// One door.
#[derive(Debug)]
pub struct Door {
    settings: Option<DoorSettings>,
    inputs: Vec<InputState>,
    open_since: Option<Mono>,
    opened_by: Option<UnlockedBy>,
    held_told: bool,
    /// Unlocks that may be under way, and until when an opening is theirs; the latest last.
    unlocked: Vec<(UnlockedBy, Mono)>,
}

impl Door {
    /// A door of which nothing is known yet; without settings only input changes are told.
    pub fn new(settings: Option<DoorSettings>) -> Self {
        Self {
            settings,
            inputs: Vec::new(),
            open_since: None,
            opened_by: None,
            held_told: false,
            unlocked: Vec::new(),
        }
    }

    /// An unlock is under way that will last until `until`.
    pub fn unlocked(&mut self, now: Mono, by: UnlockedBy, until: Mono) {
        self.excuse(now, by, until + REPORT_DELAY);
    }

    /// That unlock came to nothing for certain: an opening is not its consequence. The button's grace stands.
    pub fn not_unlocked(&mut self, by: &UnlockedBy) {
        self.unlocked.retain(|(other, _)| other != by || by.kind == UnlockKind::Exit);
    }

    /// Takes a report of all inputs. `stale`: it may be an old one.
    pub fn report(&mut self, now: Mono, inputs: Vec<InputState>, stale: bool) -> Vec<DoorEvent> {
        let before = std::mem::replace(&mut self.inputs, inputs);
        let first = before.is_empty();
        let mut events = Vec::new();
        for (number, &to) in self.inputs.clone().iter().enumerate() {
            let Ok(input) = u8::try_from(number) else { break };
            let from = before.get(number).copied().unwrap_or(InputState::Unknown);
            if first || from == to {
                continue;
            }
            events.push(DoorEvent::Input { input, from, to });
            if self.settings.as_ref().is_some_and(|door| door.exit == Some(input)) && to == InputState::Active
            {
                self.exit_pressed(now, stale, &mut events);
            }
        }
        self.look_at_contact(now, first, &mut events);
        events
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: Mono) -> Option<DoorEvent> {
        if now < self.next_time() {
            return None;
        }
        self.held_told = true;
        Some(DoorEvent::Held(self.opened_by.clone()))
    }

    /// When [`Door::advance`] has something to tell.
    pub fn next_time(&self) -> Mono {
        match (&self.settings, self.open_since) {
            (Some(settings), Some(since)) if !self.held_told => since + settings.held_after,
            _ => Mono::NEVER,
        }
    }

    fn exit_pressed(&mut self, now: Mono, stale: bool, events: &mut Vec<DoorEvent>) {
        let Some(settings) = &self.settings else { return };
        let (until, unlocks) = (now + settings.exit_grace, settings.exit_unlocks && !stale);
        let by = UnlockedBy { kind: UnlockKind::Exit, id: None };
        self.excuse(now, by, until);
        if unlocks {
            events.push(DoorEvent::ExitUnlock);
        }
    }

    fn excuse(&mut self, now: Mono, by: UnlockedBy, until: Mono) {
        self.unlocked.retain(|(_, until)| *until >= now);
        let before = self.unlocked.iter().position(|(other, _)| *other == by);
        let before = before.map_or(Mono::ZERO, |position| self.unlocked.remove(position).1);
        self.unlocked.push((by, until.max(before)));
    }

    fn look_at_contact(&mut self, now: Mono, first: bool, events: &mut Vec<DoorEvent>) {
        let Some(settings) = &self.settings else { return };
        let contact = settings.contact.and_then(|input| self.inputs.get(usize::from(input)));
        // A short or cut wire says nothing of the door; it is told as a change of the input.
        let open = match contact {
            Some(InputState::Active) => settings.open_when_active,
            Some(InputState::Inactive) => !settings.open_when_active,
            _ => return,
        };
        match (open, self.open_since) {
            (true, None) => {
                self.open_since = Some(now);
                self.held_told = false;
                let mut latest_first = self.unlocked.iter().rev();
                self.opened_by = latest_first.find(|(_, until)| now <= *until).map(|(by, _)| by.clone());
                if !first {
                    events.push(self.opened_by.clone().map_or(DoorEvent::Forced, DoorEvent::Opened));
                }
            }
            (false, Some(_)) => {
                self.open_since = None;
                events.push(DoorEvent::Closed(self.opened_by.take()));
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use InputState::{Active, Inactive, Short};

    fn door() -> Door {
        Door::new(Some(DoorSettings {
            contact: Some(0),
            open_when_active: true,
            held_after: Duration::from_secs(30),
            exit: Some(1),
            exit_unlocks: false,
            exit_grace: Duration::from_secs(10),
        }))
    }

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    fn by_key() -> UnlockedBy {
        UnlockedBy { kind: UnlockKind::Key, id: None }
    }

    /// Events without the plain changes of inputs.
    fn moved(events: Vec<DoorEvent>) -> Vec<DoorEvent> {
        events.into_iter().filter(|event| !matches!(event, DoorEvent::Input { .. })).collect()
    }

    #[test]
    fn an_opening_belongs_to_the_unlock_under_way() {
        let mut door = door();
        assert_eq!(door.report(at(0), vec![Inactive, Inactive], false), []);
        door.unlocked(at(3), by_key(), at(5));
        assert_eq!(moved(door.report(at(4), vec![Active, Inactive], false)), [DoorEvent::Opened(by_key())]);
        assert_eq!(
            moved(door.report(at(6), vec![Inactive, Inactive], false)),
            [DoorEvent::Closed(Some(by_key()))]
        );
        assert_eq!(moved(door.report(at(8), vec![Active, Inactive], false)), [DoorEvent::Forced]);
        assert_eq!(moved(door.report(at(9), vec![Inactive, Inactive], false)), [DoorEvent::Closed(None)]);
    }

    #[test]
    fn the_exit_button_excuses_an_opening_within_its_grace() {
        let exit = UnlockedBy { kind: UnlockKind::Exit, id: None };
        for (opened_at, expected) in [(10, DoorEvent::Opened(exit)), (11, DoorEvent::Forced)] {
            let mut door = door();
            door.report(at(0), vec![Inactive, Inactive], false);
            let pressed = door.report(at(0), vec![Inactive, Active], false);
            assert_eq!(pressed, [DoorEvent::Input { input: 1, from: Inactive, to: Active }]);
            door.report(at(1), vec![Inactive, Inactive], false);
            assert_eq!(moved(door.report(at(opened_at), vec![Active, Inactive], false)), [expected]);
        }
    }

    #[test]
    fn an_unlock_that_came_to_nothing_excuses_no_opening_and_hides_no_other() {
        let command = UnlockedBy { kind: UnlockKind::Command, id: None };
        let exit = UnlockedBy { kind: UnlockKind::Exit, id: None };
        for (failed, expected) in [
            (vec![by_key(), command.clone()], DoorEvent::Forced),
            (vec![command.clone()], DoorEvent::Opened(by_key())),
            (vec![], DoorEvent::Opened(command.clone())),
        ] {
            let mut door = door();
            door.report(at(0), vec![Inactive], false);
            door.unlocked(at(1), by_key(), at(5));
            door.unlocked(at(2), command.clone(), at(5));
            failed.iter().for_each(|by| door.not_unlocked(by));
            assert_eq!(moved(door.report(at(3), vec![Active], false)), [expected]);
        }
        let mut door = door();
        door.report(at(0), vec![Inactive, Inactive], false);
        door.report(at(1), vec![Inactive, Active], false);
        door.unlocked(at(1), exit.clone(), at(2));
        door.not_unlocked(&exit);
        assert_eq!(moved(door.report(at(11), vec![Active, Inactive], false)), [DoorEvent::Opened(exit)]);
    }

    #[test]
    fn a_button_unlocks_where_configured_and_never_by_an_old_report() {
        for (exit_unlocks, stale, expected) in
            [(true, false, vec![DoorEvent::ExitUnlock]), (true, true, vec![]), (false, false, vec![])]
        {
            let settings = DoorSettings { exit_unlocks, ..door().settings.unwrap() };
            let mut door = Door::new(Some(settings));
            door.report(at(0), vec![Inactive, Inactive], false);
            assert_eq!(moved(door.report(at(1), vec![Inactive, Active], stale)), expected);
        }
    }

    #[test]
    fn a_door_left_open_is_told_once() {
        let mut door = door();
        door.report(at(0), vec![Inactive], false);
        door.report(at(1), vec![Active], false);
        assert_eq!(door.next_time(), at(31));
        assert_eq!(door.advance(at(30)), None);
        assert_eq!(door.advance(at(31)), Some(DoorEvent::Held(None)));
        assert_eq!(door.advance(at(99)), None);
        assert_eq!(door.next_time(), Mono::NEVER);
    }

    #[test]
    fn a_faulty_contact_is_no_opening_and_the_first_report_no_event() {
        let mut door = door();
        assert_eq!(door.report(at(0), vec![Active], false), []);
        assert_eq!(
            door.report(at(1), vec![Short], false),
            [DoorEvent::Input { input: 0, from: Active, to: Short }]
        );
        assert_eq!(moved(door.report(at(2), vec![Active], false)), []);
        assert_eq!(
            door.advance(at(30)),
            Some(DoorEvent::Held(None)),
            "open since the start, whoever opened it"
        );
    }
}
