//! One panel with what hangs on it: reader, keypad, lock, door. Turns what the panel reports into decisions,
//! requests and events.

use std::num::NonZeroU16;

use jiff::Timestamp;

use super::{
    door::{Door, DoorEvent, DoorSettings},
    effects::{Keep, Moment},
    keypad::Keypad,
};
use crate::{
    access::{self, CredentialFormat, KeyOrder, PanelTrust, Verdict},
    domain::{
        Device, EventBody, Mono, Name, OutputActive, PanelState, PanelStatus, Trouble,
        event::{
            Decision, DoorMoved, InputChanged, KeySwiped, KeypadEntered, PanelAt, PanelCause, PanelFlag,
            PanelSerial, RawCredential, UnlockId, UnlockKind, UnlockedBy,
        },
    },
    panel::{self, Identity},
};

/// How long a refused key shows red, in units of 100 ms.
const DENIED_TENTHS: NonZeroU16 = NonZeroU16::new(10).unwrap();

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

/// What a doorway wants done.
pub(super) enum Want {
    Event(EventBody),
    Keep(Keep),
    Unlock(UnlockedBy),
    Feedback {
        reader: u8,
        granted: bool,
        tenths: NonZeroU16,
    },
    /// The panel's status has changed.
    Changed,
}

pub(super) struct Doorway {
    pub(super) settings: DoorwaySettings,
    pub(super) door: Door,
    keypad: Keypad,
    status: PanelStatus,
    case_tamper: Option<bool>,
    reader_tamper: Option<bool>,
}

impl Doorway {
    pub(super) fn new(settings: DoorwaySettings, now: Timestamp) -> Self {
        let status = PanelStatus {
            panel: settings.panel.clone(),
            intercom: settings.intercom,
            state: PanelState::Offline,
            since: now,
            last_seen: None,
            tamper: None,
            power_failed: None,
            door: None,
            held: false,
            trouble: None,
            device: None,
        };
        let door = Door::new(settings.door.clone());
        Self { settings, door, keypad: Keypad::default(), status, case_tamper: None, reader_tamper: None }
    }

    pub(super) fn status(&self, last_seen: Option<Timestamp>) -> PanelStatus {
        PanelStatus { last_seen, ..self.status.clone() }
    }

    pub(super) fn handle(&mut self, moment: &Moment<'_>, event: panel::Event, wants: &mut Vec<Want>) {
        match event {
            panel::Event::State { state, trouble } => self.state_changed(moment, state, trouble, wants),
            panel::Event::Secured => wants.push(Want::Event(EventBody::PanelSecured(self.at()))),
            panel::Event::Identity(identity) => {
                self.status.device = Some(device(&identity));
                wants.push(Want::Keep(Keep::Serial(identity.serial)));
                wants.push(Want::Changed);
            }
            panel::Event::Replaced { serial } => {
                let PanelAt { panel, intercom } = self.at();
                let serial = serial_text(serial);
                wants.push(Want::Event(EventBody::PanelReplaced(PanelSerial { panel, intercom, serial })));
            }
            panel::Event::Credential { reader, format, bits, data, stale, trusted } => {
                let trust = match (stale, trusted) {
                    (true, _) => PanelTrust::Stale,
                    (false, false) => PanelTrust::Insecure,
                    (false, true) => PanelTrust::Live,
                };
                self.swiped(moment, reader, format, bits, &data, trust, wants);
            }
            panel::Event::Keypad { reader, keys, stale: false } => {
                let entered = self.keypad.press(moment.mono, reader, &keys);
                wants.extend(entered.into_iter().map(|digits| self.entered(reader, digits)));
            }
            // Old digits would be completed by new ones, to a code that nobody typed.
            panel::Event::Keypad { stale: true, .. } => {}
            panel::Event::Inputs { states, stale } => {
                let events = self.door.report(moment.mono, states, stale);
                self.door_moved(events, wants);
            }
            panel::Event::Outputs(_) => {}
            panel::Event::Local { tamper, power_failed } => {
                self.case_tamper = Some(tamper);
                self.tamper_changed(wants);
                let before = self.status.power_failed.replace(power_failed);
                if before != Some(power_failed) {
                    wants.push(Want::Changed);
                    // A first report is an event only where it tells of trouble; so with tamper.
                    if before.is_some() || power_failed {
                        wants.push(Want::Event(EventBody::PanelPower(self.flag(power_failed))));
                    }
                }
            }
            panel::Event::Readers { tamper, disconnected: _ } => {
                self.reader_tamper = Some(tamper);
                self.tamper_changed(wants);
            }
            panel::Event::StoreKey { key, serial } => {
                wants.push(Want::Keep(Keep::Key { key, serial, proven: false }));
            }
            panel::Event::KeyProven { key, serial } => {
                wants.push(Want::Keep(Keep::Key { key, serial, proven: true }));
            }
            panel::Event::Suspect(_) | panel::Event::Capabilities { .. } | panel::Event::Keep { .. } => {}
            panel::Event::Model { found, expected } => self.identified(found, expected.as_deref(), wants),
            // The core knows what was asked, and has the commutators of the lines.
            panel::Event::Done { .. } | panel::Event::Lines { .. } | panel::Event::LinesMissing { .. } => {}
        }
    }

    pub(super) fn advance(&mut self, now: Mono, wants: &mut Vec<Want>) {
        let entered = self.keypad.advance(now);
        wants.extend(entered.into_iter().map(|(reader, digits)| self.entered(reader, digits)));
        let held = self.door.advance(now);
        self.door_moved(held.into_iter().collect(), wants);
    }

    pub(super) fn next_time(&self) -> Mono {
        self.door.next_time().min(self.keypad.next_time())
    }

    fn at(&self) -> PanelAt {
        PanelAt { panel: self.settings.panel.clone(), intercom: self.settings.intercom }
    }

    fn flag(&self, active: bool) -> PanelFlag {
        let PanelAt { panel, intercom } = self.at();
        PanelFlag { panel, intercom, active }
    }

    fn state_changed(
        &mut self,
        moment: &Moment<'_>,
        state: PanelState,
        trouble: Option<Trouble>,
        wants: &mut Vec<Want>,
    ) {
        let before = std::mem::replace(&mut self.status.state, state);
        if before != state {
            self.status.since = moment.wall;
        }
        let PanelAt { panel, intercom } = self.at();
        match (before, state) {
            (_, PanelState::Offline) => {
                self.keypad.clear();
                let cause = trouble.as_ref().map_or_else(|| "no valid reply".to_owned(), ToString::to_string);
                wants.push(Want::Event(EventBody::PanelOffline(PanelCause { panel, intercom, cause })));
            }
            (PanelState::Offline, _) => wants.push(Want::Event(EventBody::PanelOnline(self.at()))),
            _ => {}
        }
        self.status.trouble = trouble;
        wants.push(Want::Changed);
    }

    /// A Modbus panel told who it is. Another one than its profile is for works as far as it can (contract §2).
    fn identified(&mut self, found: String, expected: Option<&str>, wants: &mut Vec<Want>) {
        self.status.trouble = expected
            .filter(|expected| *expected != found)
            .map(|expected| Trouble::OtherModel { found: found.clone(), expected: expected.to_owned() });
        self.status.device = Some(Device { model: found, firmware: None, serial: None });
        wants.push(Want::Changed);
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one reply")]
    fn swiped(
        &mut self,
        moment: &Moment<'_>,
        reader: u8,
        format: Option<u8>,
        bits: u16,
        data: &[u8],
        trust: PanelTrust,
        wants: &mut Vec<Want>,
    ) {
        let format = format.map_or(CredentialFormat::Text, CredentialFormat::from_osdp);
        let credential = access::read_credential(format, bits, data, self.settings.key_order);
        let verdict = access::decide(moment.directory, self.settings.intercom, credential, trust, moment.now);
        let granted = verdict.decision == Decision::Granted;
        let by = UnlockedBy { kind: UnlockKind::Key, id: verdict.key_id.map(UnlockId::Number) };
        // The unlock goes first: it must not wait for the making of an event.
        if granted && self.settings.lock.is_some() {
            wants.push(Want::Unlock(by));
        }
        if self.settings.feedback && trust != PanelTrust::Stale {
            let open = self.settings.lock.map_or(DENIED_TENTHS, |lock| lock.open);
            let tenths = if granted { open } else { DENIED_TENTHS };
            wants.push(Want::Feedback { reader, granted, tenths });
        }
        wants.push(Want::Event(self.swipe_event(moment, reader, bits, data, verdict)));
    }

    fn swipe_event(
        &self,
        moment: &Moment<'_>,
        reader: u8,
        bits: u16,
        data: &[u8],
        verdict: Verdict,
    ) -> EventBody {
        EventBody::KeySwiped(KeySwiped {
            panel: self.settings.panel.clone(),
            intercom: self.settings.intercom,
            reader,
            key: verdict.key,
            raw: RawCredential(hex::encode_upper(data)),
            bits,
            decision: verdict.decision,
            reason: verdict.reason,
            flats: verdict.flats,
            key_id: verdict.key_id,
            user_id: verdict.user_id,
            reversed_known: verdict.reversed_known,
            revision: moment.directory.revision(),
        })
    }

    fn entered(&self, reader: u8, digits: String) -> Want {
        let PanelAt { panel, intercom } = self.at();
        Want::Event(EventBody::KeypadEntered(KeypadEntered { panel, intercom, reader, digits }))
    }

    fn tamper_changed(&mut self, wants: &mut Vec<Want>) {
        let tamper = self.case_tamper == Some(true) || self.reader_tamper == Some(true);
        let before = self.status.tamper.replace(tamper);
        if before != Some(tamper) {
            wants.push(Want::Changed);
            if before.is_some() || tamper {
                wants.push(Want::Event(EventBody::PanelTamper(self.flag(tamper))));
            }
        }
    }

    fn door_moved(&mut self, events: Vec<DoorEvent>, wants: &mut Vec<Want>) {
        for event in events {
            let PanelAt { panel, intercom } = self.at();
            let moved = |by| DoorMoved { panel: panel.clone(), intercom, by };
            let body = match event {
                DoorEvent::Input { input, from, to } => {
                    EventBody::InputChanged(InputChanged { panel: panel.clone(), intercom, input, from, to })
                }
                DoorEvent::Opened(by) => EventBody::DoorOpened(moved(Some(by))),
                DoorEvent::Forced => EventBody::DoorForced(moved(None)),
                DoorEvent::Closed(by) => EventBody::DoorClosed(moved(by)),
                DoorEvent::Held(by) => EventBody::DoorHeld(moved(by)),
                DoorEvent::ExitUnlock => {
                    wants.push(Want::Unlock(UnlockedBy { kind: UnlockKind::Exit, id: None }));
                    continue;
                }
            };
            wants.push(Want::Event(body));
        }
    }
}

fn device(identity: &Identity) -> Device {
    let [a, b, c] = identity.vendor;
    let (model, version) = identity.model;
    let [major, minor, build] = identity.firmware;
    Device {
        model: format!("{a:02X}-{b:02X}-{c:02X} model {model} version {version}"),
        firmware: Some(format!("{major}.{minor}.{build}")),
        serial: Some(serial_text(identity.serial)),
    }
}

fn serial_text(serial: u32) -> String {
    format!("{serial:08X}")
}
