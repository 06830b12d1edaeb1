//! The door behind a panel: contact, exit button, and which unlock an opening belongs to. Takes its time from
//! the caller.
//!
//! Invariants:
//! - An opening is `forced` unless an unlock was under way, or the exit button was seen pressed within its grace, when the
//!   contact moved.
//! - Of a first report no event is made: nobody knows when what it says came about.
//! - A press is a change to active in a report that is certainly of just now. Never the first report after the start or an
//!   absence, never a stale one: the button may have been pressed while nobody could see who opened.
//! - A press unlocks however restless the button is: somebody may want out.

use std::time::Duration;

use super::input::{Change, Input, Use};
use crate::{
    domain::{
        Bucket, DoorPosition, Mono,
        event::{InputState, UnlockKind, UnlockedBy},
    },
    panel::Token,
};

/// How long after the lock's time an opening still counts as its consequence: the contact's report may wait for
/// its turn, or be sent twice.
const REPORT_DELAY: Duration = Duration::from_secs(2);
/// Unlocks by the button: four at once and then one in ten seconds, or a bouncing button would fill the journal.
const PRESSES: Bucket = Bucket::new(4, Duration::from_secs(10));

/// The configured inputs of a door (contract §2, `door`).
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// Input of the contact.
    pub contact: Option<u8>,
    /// Whether the contact is active while the door is open.
    pub open_when_active: bool,
    /// An open door is `held` after this time.
    pub held_after: Duration,
    /// For this time after a change of contact or button, further changes are folded into one.
    pub debounce: Duration,
    /// Input of the exit button.
    pub exit: Option<u8>,
    /// Whether the exit button unlocks through the gateway (else it is wired to the lock).
    pub exit_unlocks: bool,
    /// An opening within this time of the button is not forced.
    pub exit_grace: Duration,
}

impl DoorSettings {
    /// The default of [`DoorSettings::debounce`].
    pub const DEBOUNCE: Duration = Duration::from_millis(100);
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

/// What excuses an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excuse {
    /// An unlock, by its request to the panel.
    Unlock(Token),
    /// The exit button's grace.
    Grace,
}

/// One door.
#[derive(Debug)]
pub struct Door {
    settings: Option<DoorSettings>,
    inputs: Vec<Input>,
    /// Where a look for changes begins, so that no input is always the last.
    rotation: usize,
    /// The reports of the button are of just now.
    live: bool,
    /// Something was reported since the panel came.
    heard: bool,
    presses: Bucket,
    /// Whom the last movement of the contact to open belongs to.
    opening_by: Option<UnlockedBy>,
    open_since: Option<Mono>,
    opened_by: Option<UnlockedBy>,
    held_told: bool,
    /// Excuses, whose they are and until when; the latest last.
    excuses: Vec<(Excuse, UnlockedBy, Mono)>,
}

impl Door {
    /// Makes a door of which nothing is known yet; without settings only input changes are told.
    pub fn new(settings: Option<DoorSettings>) -> Self {
        Self {
            settings,
            inputs: Vec::new(),
            rotation: 0,
            live: false,
            heard: false,
            presses: PRESSES,
            opening_by: None,
            open_since: None,
            opened_by: None,
            held_told: false,
            excuses: Vec::new(),
        }
    }

    /// Returns where the door is; `None`: it has no contact, the contact does not tell, or the panel has been away and
    /// has not told yet.
    pub fn position(&self) -> Option<DoorPosition> {
        if !self.heard {
            return None;
        }
        let contact = self.inputs.get(usize::from(self.settings.as_ref()?.contact?))?;
        let open = self.is_open(contact.told()?)?;
        Some(if open { DoorPosition::Open } else { DoorPosition::Closed })
    }

    /// Whether the door is known to stand open, and has for longer than `held_after`.
    pub fn is_held(&self) -> bool {
        self.held_told && self.position() == Some(DoorPosition::Open)
    }

    /// Notes an unlock that may be under way until `until`, or is: a later word about the same replaces the earlier.
    pub(super) fn unlocking(&mut self, now: Mono, unlock: Token, by: UnlockedBy, until: Mono) {
        self.excuse(now, Excuse::Unlock(unlock), by, until + REPORT_DELAY);
    }

    /// Notes that an unlock came to nothing for certain: an opening is not its consequence.
    pub(super) fn not_unlocked(&mut self, unlock: Token) {
        self.excuses.retain(|(excuse, ..)| *excuse != Excuse::Unlock(unlock));
    }

    /// Notes that the panel is away. Of the contact the last state is kept, so that a change meanwhile is told; of the
    /// button none, or a press that nobody saw would open.
    pub fn away(&mut self) {
        self.heard = false;
        let exit = self.settings.as_ref().and_then(|door| door.exit);
        if let Some(button) = exit.and_then(|input| self.inputs.get_mut(usize::from(input))) {
            button.forget();
        }
    }

    /// Takes a report of all inputs. `stale`: it may be an old one.
    pub(super) fn report(
        &mut self,
        now: Mono,
        states: &[InputState],
        stale: bool,
        budget: &mut Bucket,
    ) -> Vec<DoorEvent> {
        (self.live, self.heard) = (!stale, true);
        let mut events = Vec::new();
        self.inputs.resize_with(self.inputs.len().max(states.len()), Input::default);
        let (contact, exit) = self.settings.as_ref().map_or((None, None), |door| (door.contact, door.exit));
        let mut pressed = false;
        for (number, state) in states.iter().enumerate() {
            let (is_contact, is_exit) = (is(contact, number), is(exit, number));
            let may_open = is_contact && self.is_open(*state) == Some(true);
            let Some(input) = self.inputs.get_mut(number) else { break };
            let is_first = input.told().is_none();
            let moved = input.report(now, *state);
            if may_open && (moved || is_first) {
                self.opening_by = self.excused_by(now);
            }
            if is_contact && is_first {
                // As it is found: the beginning of no story.
                self.moved_to(now, *state, true, &mut events);
            }
            pressed |= is_exit && moved && *state == InputState::Active;
        }
        self.tell(now, budget, &mut events);
        let is_slow = exit.and_then(|input| self.inputs.get(usize::from(input))).is_some_and(Input::is_slow);
        if pressed && is_slow {
            self.pressed(now, &mut events);
        }
        events
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, now: Mono, budget: &mut Bucket) -> Vec<DoorEvent> {
        let mut events = Vec::new();
        self.tell(now, budget, &mut events);
        if self.held_at() <= now {
            self.held_told = true;
            events.push(DoorEvent::Held(self.opened_by.clone()));
        }
        events
    }

    /// Returns when [`Door::advance`] has something to tell.
    pub(super) fn next_time(&self, budget: &Bucket) -> Mono {
        let due = |(number, input): (usize, &Input)| input.due(self.use_of(number), budget);
        let inputs = self.inputs.iter().enumerate().map(due).min();
        self.held_at().min(inputs.unwrap_or(Mono::NEVER))
    }

    fn held_at(&self) -> Mono {
        match (&self.settings, self.open_since) {
            (Some(settings), Some(since)) if !self.held_told => since + settings.held_after,
            _ => Mono::NEVER,
        }
    }

    fn use_of(&self, number: usize) -> Use {
        let of_door = |door: &&DoorSettings| is(door.contact, number) || is(door.exit, number);
        self.settings.as_ref().filter(of_door).map_or(Use::Other, |door| Use::Door(door.debounce))
    }

    /// Tells the changes that are due: contact and button first.
    fn tell(&mut self, now: Mono, budget: &mut Bucket, events: &mut Vec<DoorEvent>) {
        let count = self.inputs.len();
        let (contact, exit) = self.settings.as_ref().map_or((None, None), |door| (door.contact, door.exit));
        let of_door = [contact, exit].into_iter().flatten().map(usize::from);
        let rotation = self.rotation;
        let others = (0..count).map(|offset| (rotation + offset) % count);
        for number in of_door.chain(others) {
            let of = self.use_of(number);
            let Some(input) = self.inputs.get_mut(number) else { continue };
            let Some(Change { from, to }) = input.tell(now, of, budget) else { continue };
            let Ok(input) = u8::try_from(number) else { continue };
            events.push(DoorEvent::Input { input, from, to });
            if of == Use::Other {
                self.rotation = number + 1;
            }
            if is(contact, number) {
                self.moved_to(now, to, false, events);
            }
            let slow = self.inputs.get(number).is_some_and(Input::is_slow);
            if is(exit, number) && to == InputState::Active && !slow {
                self.pressed(now, events);
            }
        }
    }

    fn pressed(&mut self, now: Mono, events: &mut Vec<DoorEvent>) {
        let Some(settings) = self.settings.as_ref().filter(|_| self.live) else { return };
        let (until, unlocks) = (now + settings.exit_grace, settings.exit_unlocks);
        let by = UnlockedBy { kind: UnlockKind::Exit, id: None };
        self.excuse(now, Excuse::Grace, by, until);
        if unlocks && self.presses.take(now) {
            events.push(DoorEvent::ExitUnlock);
        }
    }

    fn excuse(&mut self, now: Mono, excuse: Excuse, by: UnlockedBy, until: Mono) {
        self.excuses.retain(|(other, _, until)| *until >= now && *other != excuse);
        self.excuses.push((excuse, by, until));
    }

    fn excused_by(&self, now: Mono) -> Option<UnlockedBy> {
        let mut latest_first = self.excuses.iter().rev();
        latest_first.find(|(.., until)| now <= *until).map(|(_, by, _)| by.clone())
    }

    /// Whether a state of the contact is that of an open door. A short or cut wire says nothing of the door; it is told as
    /// a change of the input.
    fn is_open(&self, contact: InputState) -> Option<bool> {
        let open_when_active = self.settings.as_ref()?.open_when_active;
        match contact {
            InputState::Active => Some(open_when_active),
            InputState::Inactive => Some(!open_when_active),
            _ => None,
        }
    }

    fn moved_to(&mut self, now: Mono, contact: InputState, first: bool, events: &mut Vec<DoorEvent>) {
        match (self.is_open(contact), self.open_since) {
            (Some(true), None) => {
                self.open_since = Some(now);
                self.held_told = false;
                self.opened_by = self.opening_by.take();
                if !first {
                    events.push(self.opened_by.clone().map_or(DoorEvent::Forced, DoorEvent::Opened));
                }
            }
            (Some(false), Some(_)) => {
                self.open_since = None;
                events.push(DoorEvent::Closed(self.opened_by.take()));
            }
            _ => {}
        }
    }
}

fn is(configured: Option<u8>, number: usize) -> bool {
    configured.is_some_and(|input| usize::from(input) == number)
}

#[cfg(test)]
mod tests;
