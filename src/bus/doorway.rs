//! One panel with what hangs on it towards the door: reader, keypad, lock, contact, exit button. Turns what the panel
//! reports into decisions, requests and events.
//!
//! Invariants:
//! - Every unlock that is asked of the panel ends in one `door.unlocked` or `door.unlock_failed`.
//! - Green light is shown where the panel has taken the unlock, or where there is no lock.
//! - Swipes are all told, and so is every turn of the panel's presence, which takes 8 s. Whatever else a device can bring
//!   about by itself costs the journal ten events a minute at most, all of it together, and three changes of contact and
//!   button before they count as bouncing (`input`).

use std::{num::NonZeroU16, time::Duration};

use jiff::Timestamp;

use super::{
    code_guard::CodeGuard,
    core::UNLOCK_EXPIRES,
    door::{Door, DoorEvent, DoorSettings},
    effects::{Effects, Moment, Output, Purpose, Unlock},
    keypad::{Entry, Keypad},
    standing::{Presence, Standing},
    suspects::Suspects,
};
use crate::{
    access::{self, CodeVerdict, CredentialFormat, KeyOrder, Keypads, Verdict},
    domain::{
        Bucket, Device, Durations, EventBody, Mono, Name, OutputActive, PanelState, PanelStatus, Trouble,
        event::{
            CodeEntered, CodeReason, Decision, DoorMoved, DoorUnlockFailed, DoorUnlocked, InputChanged,
            KeySwiped, KeypadEntered, PanelAt, PanelCause, PanelFlag, PanelSerial, PanelSuspect,
            RawCredential, SuspectCause, UnlockId, UnlockKind, UnlockedBy,
        },
    },
    panel::{self, Failure, Request, Token, serial_text},
};

/// How long a refused key shows red, in units of 100 ms.
const DENIED_TENTHS: NonZeroU16 = NonZeroU16::new(10).unwrap();
/// Light and sound are worth nothing later.
const FEEDBACK_EXPIRES: Duration = Duration::from_secs(2);
/// What a panel may cost the journal: ten events in any minute.
const JOURNAL: Bucket = Bucket::new(5, Duration::from_secs(12));
/// What is typed at a keypad: ten entries at once and ten a minute. Further ones are dropped, and suspect.
const ENTRIES: Bucket = Bucket::new(10, Duration::from_secs(6));

/// The configuration of a panel beyond its protocol.
#[derive(Clone, Debug)]
pub struct DoorwaySettings {
    /// The panel's name.
    pub panel: Name,
    /// Its intercom.
    pub intercom: u64,
    /// The lock, where it has one.
    pub lock: Option<LockSettings>,
    /// Contact and exit button, where it has them.
    pub door: Option<DoorSettings>,
    /// Light and sound at the reader.
    pub feedback: bool,
    /// Byte order of what the reader sends.
    pub key_order: KeyOrder,
}

/// A lock, always released by the panel's own timer.
#[derive(Clone, Copy, Debug)]
pub struct LockSettings {
    /// Output number.
    pub output: u8,
    /// How long it is released, in units of 100 ms.
    pub open: NonZeroU16,
    /// Which state of the output releases it.
    pub active: OutputActive,
}

/// A credential as it was reported.
struct Swipe<'a> {
    reader: u8,
    format: Option<u8>,
    bits: u16,
    data: &'a [u8],
    stale: bool,
}

pub(super) struct Doorway {
    pub(super) settings: DoorwaySettings,
    /// The panel's number on the bus.
    number: usize,
    door: Door,
    keypad: Keypad,
    guard: CodeGuard,
    standing: Standing,
    suspects: Suspects,
    journal: Bucket,
    entries: Bucket,
    key_to_unlock: Durations,
    /// The status as outsiders were told of it.
    shown: PanelStatus,
}

impl Doorway {
    pub(super) fn new(settings: DoorwaySettings, number: usize, now: Timestamp) -> Self {
        let (door, standing) = (Door::new(settings.door.clone()), Standing::new(now));
        Self {
            shown: standing.status(&settings, &door),
            settings,
            number,
            door,
            keypad: Keypad::default(),
            guard: CodeGuard::default(),
            standing,
            suspects: Suspects::default(),
            journal: JOURNAL,
            entries: ENTRIES,
            key_to_unlock: Durations::default(),
        }
    }

    pub(super) fn status(&self, last_seen: Option<Timestamp>) -> PanelStatus {
        PanelStatus { last_seen, ..self.shown.clone() }
    }

    /// Takes what the panel reports.
    pub(super) fn handle(&mut self, moment: &Moment<'_>, event: panel::Event, effects: &mut Effects) {
        let now = moment.mono;
        match event {
            panel::Event::Credential { reader, format, bits, data, stale } => {
                self.swiped(moment, &Swipe { reader, format, bits, data: &data, stale }, effects);
            }
            panel::Event::Keypad { reader, keys, stale } => {
                let entered = self.keypad.press(now, reader, &keys, stale);
                entered.into_iter().for_each(|entry| self.entered(moment, entry, effects));
            }
            panel::Event::Inputs { states, stale } => {
                let events = self.door.report(now, &states, stale, &mut self.journal);
                self.door_moved(now, events, effects);
            }
            panel::Event::State { state, trouble } => self.state_changed(moment, state, trouble, effects),
            panel::Event::Secured => effects.event(EventBody::PanelSecured(self.at())),
            panel::Event::Identity(identity) => self.standing.identified(identity.device()),
            panel::Event::Model { found, expected } => {
                let device = Device { model: found.clone(), vendor: None, firmware: None, serial: None };
                self.standing.identified(device);
                self.standing.model = expected.map(|expected| (found, expected));
            }
            panel::Event::Capabilities(capabilities) => self.standing.capabilities = capabilities,
            panel::Event::Readers { tamper, disconnected } => self.standing.readers(tamper, disconnected),
            panel::Event::Local { tamper, power_failed } => self.standing.case(tamper, power_failed),
            panel::Event::Replaced { serial } => {
                if self.suspects.replaced(now, serial) {
                    self.journal.charge(now);
                    let PanelAt { panel, intercom } = self.at();
                    let serial = serial_text(serial);
                    effects.event(EventBody::PanelReplaced(PanelSerial { panel, intercom, serial }));
                }
            }
            panel::Event::Suspect(cause) => self.suspects.note(cause, 1),
            panel::Event::Keep { record, version } => {
                effects.push(Output::Keep { panel: self.number, record, version });
            }
            // The core knows what was asked, and has the commutators of the lines.
            panel::Event::Done { .. }
            | panel::Event::Lines { .. }
            | panel::Event::LinesMissing { .. }
            | panel::Event::Moved { .. } => {}
        }
        self.tell(now, effects);
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, moment: &Moment<'_>, effects: &mut Effects) {
        let now = moment.mono;
        let entered = self.keypad.advance(now);
        entered.into_iter().for_each(|entry| self.entered(moment, entry, effects));
        let events = self.door.advance(now, &mut self.journal);
        self.door_moved(now, events, effects);
        self.tell(now, effects);
    }

    /// Returns when [`Doorway::advance`] has something to do.
    pub(super) fn next_time(&self) -> Mono {
        let journal = &self.journal;
        let doors = self.door.next_time(journal).min(self.keypad.next_time());
        doors.min(self.standing.next_time(journal)).min(self.suspects.next_time(journal))
    }

    /// Unlocks, where there is a lock.
    pub(super) fn unlock(&mut self, now: Mono, unlock: Unlock, effects: &mut Effects) {
        let Some(lock) = self.settings.lock else { return };
        let expires = unlock.caused + UNLOCK_EXPIRES;
        let (by, tenths) = (unlock.by.clone(), unlock.tenths);
        let request = Request::Unlock { output: lock.output, active: lock.active, tenths };
        let token = effects.ask(self.number, request, expires, Some(Purpose::Unlock(unlock)));
        // From the request on: the panel may have taken it though its acknowledgement is lost.
        self.door.unlocking(now, token, by, expires + seconds(tenths));
    }

    /// Returns how long after keys were read the panel had taken their unlocks.
    pub(super) fn key_to_unlock(&self) -> Durations {
        self.key_to_unlock
    }

    /// Tells what became of an unlock.
    pub(super) fn unlock_done(
        &mut self,
        now: Mono,
        token: Token,
        unlock: Unlock,
        result: Result<(), Failure>,
        effects: &mut Effects,
    ) {
        let Unlock { by, caused, tenths, reader, request } = unlock;
        let PanelAt { panel, intercom } = self.at();
        let duration = f64::from(tenths.get()) / 10.0;
        let body = match result {
            Ok(()) => {
                if by.kind == UnlockKind::Key {
                    self.key_to_unlock.observe(now.since(caused));
                }
                self.door.unlocking(now, token, by.clone(), now + seconds(tenths));
                EventBody::DoorUnlocked(DoorUnlocked { panel, intercom, by, duration })
            }
            Err(failure) => {
                // Not confirmed is not certain: the panel may have done it.
                if failure != Failure::Unconfirmed {
                    self.door.not_unlocked(token);
                }
                let cause = failure.code();
                EventBody::DoorUnlockFailed(DoorUnlockFailed { panel, intercom, by, duration, cause })
            }
        };
        if let Some(reader) = reader {
            self.feedback(now, reader, result.is_ok(), effects);
        }
        effects.event(body);
        if let Some(request) = request {
            effects.push(Output::Unlocked { request, result });
        }
    }

    fn at(&self) -> PanelAt {
        PanelAt { panel: self.settings.panel.clone(), intercom: self.settings.intercom }
    }

    fn flag(&self, active: bool) -> PanelFlag {
        let PanelAt { panel, intercom } = self.at();
        PanelFlag { panel, intercom, active }
    }

    /// Tells what is due within the panel's budget, and whether its status is another now.
    fn tell(&mut self, now: Mono, effects: &mut Effects) {
        if let Some(active) = self.standing.tell_tamper(now, &mut self.journal) {
            effects.event(EventBody::PanelTamper(self.flag(active)));
        }
        if let Some(active) = self.standing.tell_power(now, &mut self.journal) {
            effects.event(EventBody::PanelPower(self.flag(active)));
        }
        while let Some((cause, count)) = self.suspects.tell(now, &mut self.journal) {
            let PanelAt { panel, intercom } = self.at();
            effects.event(EventBody::PanelSuspect(PanelSuspect { panel, intercom, cause, count }));
        }
        self.standing.show_device(now, &mut self.journal);
        let status = self.standing.status(&self.settings, &self.door);
        if status != self.shown {
            self.shown = status;
            effects.push(Output::Changed);
        }
    }

    fn state_changed(
        &mut self,
        moment: &Moment<'_>,
        state: PanelState,
        trouble: Option<Trouble>,
        effects: &mut Effects,
    ) {
        let Some(presence) = self.standing.change(moment.wall, state, trouble) else { return };
        self.journal.charge(moment.mono);
        effects.event(match presence {
            Presence::Online => EventBody::PanelOnline(self.at()),
            Presence::Away(trouble) => {
                self.keypad.clear();
                self.door.away();
                let PanelAt { panel, intercom } = self.at();
                EventBody::PanelOffline(PanelCause { panel, intercom, cause: trouble.to_string() })
            }
        });
    }

    fn swiped(&mut self, moment: &Moment<'_>, swipe: &Swipe<'_>, effects: &mut Effects) {
        let Swipe { reader, format, bits, data, stale } = *swipe;
        let now = moment.mono;
        let format = format.map_or(CredentialFormat::Text, CredentialFormat::from_osdp);
        let credential = access::read_credential(format, bits, data, self.settings.key_order);
        let verdict = access::decide(moment.directory, self.settings.intercom, credential, stale, moment.now);
        // The unlock goes first: it must not wait for the making of an event.
        let by = UnlockedBy { kind: UnlockKind::Key, id: verdict.key_id.map(UnlockId::Number) };
        self.decided(now, reader, verdict.decision, by, effects);
        effects.event(self.swipe_event(moment, swipe, verdict));
        self.suspects.swiped(now);
    }

    /// Does at the door what was decided at a reader.
    fn decided(&mut self, now: Mono, reader: u8, decision: Decision, by: UnlockedBy, effects: &mut Effects) {
        match (decision, self.settings.lock) {
            (Decision::Granted, Some(lock)) => {
                let unlock =
                    Unlock { by, caused: now, tenths: lock.open, reader: Some(reader), request: None };
                self.unlock(now, unlock, effects);
            }
            (decision, _) => self.feedback(now, reader, decision == Decision::Granted, effects),
        }
    }

    /// Shows whether the door was unlocked. A stale swipe shows red as well: who presented it a moment ago, while the link
    /// came about, learns to present it again.
    fn feedback(&self, now: Mono, reader: u8, granted: bool, effects: &mut Effects) {
        if !self.settings.feedback {
            return;
        }
        let open = self.settings.lock.map_or(DENIED_TENTHS, |lock| lock.open);
        let tenths = if granted { open } else { DENIED_TENTHS };
        let request = Request::Feedback { reader, granted, tenths };
        effects.ask(self.number, request, now + FEEDBACK_EXPIRES, None);
    }

    fn swipe_event(&self, moment: &Moment<'_>, swipe: &Swipe<'_>, verdict: Verdict) -> EventBody {
        let PanelAt { panel, intercom } = self.at();
        EventBody::KeySwiped(KeySwiped {
            panel,
            intercom,
            reader: swipe.reader,
            key: verdict.key,
            raw: RawCredential(hex::encode_upper(swipe.data)),
            bits: swipe.bits,
            decision: verdict.decision,
            reason: verdict.reason,
            flats: verdict.flats,
            key_id: verdict.key_id,
            user_id: verdict.user_id,
            reversed_known: verdict.reversed_known,
            revision: moment.directory.revision(),
        })
    }

    /// Decides about what was typed where there are codes, or tells it. Where there are codes, the digits go no
    /// further.
    fn entered(&mut self, moment: &Moment<'_>, entry: Entry, effects: &mut Effects) {
        let (now, Entry { reader, digits, stale }) = (moment.mono, entry);
        let keypads = moment.directory.keypads(self.settings.intercom, moment.now);
        if keypads != Keypads::Codes && digits.is_empty() {
            return;
        }
        if !self.entries.take(now) {
            return self.suspects.note(SuspectCause::Flood, 1);
        }
        let PanelAt { panel, intercom } = self.at();
        if keypads != Keypads::Codes {
            let digits = (keypads == Keypads::Digits).then_some(digits);
            return effects.event(EventBody::KeypadEntered(KeypadEntered {
                panel,
                intercom,
                reader,
                digits,
            }));
        }
        let verdict = if stale {
            CodeVerdict::denied(CodeReason::Stale)
        } else if self.guard.is_blocked(now, reader) {
            CodeVerdict::denied(CodeReason::Blocked)
        } else {
            access::decide_code(moment.directory, intercom, &digits, moment.now)
        };
        let CodeVerdict { decision, reason, code_id, flats } = verdict;
        let by = UnlockedBy { kind: UnlockKind::Code, id: code_id.map(UnlockId::Number) };
        self.decided(now, reader, decision, by, effects);
        if reason == CodeReason::CodeUnknown
            && let Some(guesses) = self.guard.unknown(now, reader)
        {
            self.suspects.note(SuspectCause::Codes, guesses);
        }
        let revision = moment.directory.revision();
        effects.event(EventBody::CodeEntered(CodeEntered {
            panel,
            intercom,
            reader,
            decision,
            reason,
            code_id,
            flats,
            revision,
        }));
    }

    fn door_moved(&mut self, now: Mono, events: Vec<DoorEvent>, effects: &mut Effects) {
        for event in events {
            let PanelAt { panel, intercom } = self.at();
            let moved = |by| DoorMoved { panel: panel.clone(), intercom, by };
            effects.event(match event {
                DoorEvent::Input { input, from, to } => {
                    EventBody::InputChanged(InputChanged { panel, intercom, input, from, to })
                }
                DoorEvent::Opened(by) => EventBody::DoorOpened(moved(Some(by))),
                DoorEvent::Forced => EventBody::DoorForced(moved(None)),
                DoorEvent::Closed(by) => EventBody::DoorClosed(moved(by)),
                DoorEvent::Held(by) => EventBody::DoorHeld(moved(by)),
                DoorEvent::ExitUnlock => {
                    let Some(lock) = self.settings.lock else { continue };
                    let by = UnlockedBy { kind: UnlockKind::Exit, id: None };
                    let unlock = Unlock { by, caused: now, tenths: lock.open, reader: None, request: None };
                    self.unlock(now, unlock, effects);
                    continue;
                }
            });
        }
    }
}

fn seconds(tenths: NonZeroU16) -> Duration {
    Duration::from_millis(100) * u32::from(tenths.get())
}

#[cfg(test)]
mod tests;
