//! What the panel reports, and exactly what comes of it.

mod codes;

use InputState::{Active, Inactive};

use super::*;
use crate::{
    access::{Directory, DirectoryBuilder, DirectoryEntry, Now},
    bus::effects::Back,
    domain::{
        Capabilities, DoorPosition, ErrorCode, KeyCode,
        event::{FlatRef, InputState, Reason},
    },
    wire::osdp::Sensitive,
};

const KNOWN: [u8; 4] = [0x30, 0x42, 0xCA, 0xAC];
const OPEN: NonZeroU16 = NonZeroU16::new(30).unwrap();

/// What one step has led to, in order.
#[derive(Debug, PartialEq)]
enum Effect {
    Output(Output),
    Ask(Request),
}

struct Rig {
    now: Mono,
    doorway: Doorway,
    effects: Effects,
    directory: Directory,
    /// Unlocks that the panel was asked for.
    asked: Vec<(Token, Unlock)>,
}

impl Rig {
    /// A door with lock, contact and button at a panel that is online.
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut DoorwaySettings)) -> Self {
        let mut rig = Self::silent(change);
        assert_eq!(rig.state(PanelState::Online, None), [event(EventBody::PanelOnline(at())), changed()]);
        rig
    }

    /// As [`Rig::with`], not heard yet.
    fn silent(change: impl FnOnce(&mut DoorwaySettings)) -> Self {
        let mut settings = DoorwaySettings {
            panel: at().panel,
            intercom: 1,
            lock: Some(LockSettings { output: 0, open: OPEN, active: OutputActive::On }),
            door: Some(DoorSettings {
                contact: Some(0),
                open_when_active: true,
                held_after: Duration::from_secs(30),
                debounce: DoorSettings::DEBOUNCE,
                exit: Some(1),
                exit_unlocks: true,
                exit_grace: Duration::from_secs(10),
            }),
            feedback: true,
            key_order: KeyOrder::AsRead,
        };
        change(&mut settings);
        let mut builder = DirectoryBuilder::new(jiff::tz::TimeZone::UTC);
        builder.add(&DirectoryEntry {
            intercom: 1,
            flat_id: 9,
            flat: 19,
            key_id: 4,
            code: KeyCode::from_bytes(&KNOWN).unwrap(),
            user_id: None,
            expired_at: None,
            permitted: true,
        });
        Self {
            now: Mono::ZERO + Duration::from_secs(1_000),
            doorway: Doorway::new(settings, 0, jiff::Timestamp::UNIX_EPOCH),
            effects: Effects::default(),
            directory: builder.build(Some(57)),
            asked: Vec::new(),
        }
    }

    fn handle(&mut self, event: panel::Event) -> Vec<Effect> {
        self.doorway.handle(&moment(self.now, &self.directory), event, &mut self.effects);
        self.effects()
    }

    fn state(&mut self, state: PanelState, trouble: Option<Trouble>) -> Vec<Effect> {
        self.handle(panel::Event::State { state, trouble })
    }

    fn swipe(&mut self, data: [u8; 4], stale: bool) -> Vec<Effect> {
        let data = Sensitive(data.to_vec());
        self.handle(panel::Event::Credential { reader: 0, format: Some(0), bits: 32, data, stale })
    }

    fn inputs(&mut self, states: &[InputState], stale: bool) -> Vec<Effect> {
        self.handle(panel::Event::Inputs { states: states.to_vec(), stale })
    }

    fn local(&mut self, tamper: bool, power_failed: bool) -> Vec<Effect> {
        self.handle(panel::Event::Local { tamper, power_failed })
    }

    /// The panel ends the oldest unlock.
    fn end(&mut self, result: Result<(), Failure>) -> Vec<Effect> {
        let (token, unlock) = self.asked.remove(0);
        self.doorway.unlock_done(self.now, token, unlock, result, &mut self.effects);
        self.effects()
    }

    /// Lets time pass, with a look at each moment that the doorway asks for.
    fn pass(&mut self, time: Duration) -> Vec<Effect> {
        let end = self.now + time;
        while self.doorway.next_time() <= end {
            self.now = self.now.max(self.doorway.next_time());
            self.doorway.advance(&moment(self.now, &self.directory), &mut self.effects);
        }
        self.now = end;
        self.effects()
    }

    /// Everything, so that nothing is left over for the next step.
    fn effects(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some((panel, back)) = self.effects.next_back() {
            assert_eq!(panel, 0);
            let Back::Ask { token, request, expires, purpose } = back else { panic!("{back:?}") };
            assert!(expires > self.now);
            match purpose {
                Some(Purpose::Unlock(unlock)) => self.asked.push((token, unlock)),
                Some(other) => panic!("a doorway asks for no such thing: {other:?}"),
                None => {}
            }
            effects.push(Effect::Ask(request));
        }
        effects.extend(std::iter::from_fn(|| self.effects.next_output()).map(Effect::Output));
        effects
    }

    fn status(&self) -> PanelStatus {
        self.doorway.status(None)
    }
}

fn moment(now: Mono, directory: &Directory) -> Moment<'_> {
    let wall = jiff::Timestamp::UNIX_EPOCH + now.since(Mono::ZERO);
    Moment { mono: now, wall, now: Now::Unknown, directory }
}

fn at() -> PanelAt {
    PanelAt { panel: Name::new("entrance-1").unwrap(), intercom: 1 }
}

fn event(body: EventBody) -> Effect {
    Effect::Output(Output::Event(body))
}

fn changed() -> Effect {
    Effect::Output(Output::Changed)
}

fn unlock() -> Effect {
    Effect::Ask(Request::Unlock { output: 0, active: OutputActive::On, tenths: OPEN })
}

fn light(granted: bool) -> Effect {
    let tenths = if granted { OPEN } else { DENIED_TENTHS };
    Effect::Ask(Request::Feedback { reader: 0, granted, tenths })
}

fn by_key() -> UnlockedBy {
    UnlockedBy { kind: UnlockKind::Key, id: Some(UnlockId::Number(4)) }
}

fn by_exit() -> UnlockedBy {
    UnlockedBy { kind: UnlockKind::Exit, id: None }
}

fn unlocked(by: UnlockedBy) -> Effect {
    let PanelAt { panel, intercom } = at();
    event(EventBody::DoorUnlocked(DoorUnlocked { panel, intercom, by, duration: 3.0 }))
}

fn unlock_failed(by: UnlockedBy, cause: ErrorCode) -> Effect {
    let PanelAt { panel, intercom } = at();
    event(EventBody::DoorUnlockFailed(DoorUnlockFailed { panel, intercom, by, duration: 3.0, cause }))
}

fn away(trouble: &Trouble) -> Effect {
    let PanelAt { panel, intercom } = at();
    event(EventBody::PanelOffline(PanelCause { panel, intercom, cause: trouble.to_string() }))
}

fn swiped(data: [u8; 4], reason: Reason) -> Effect {
    let PanelAt { panel, intercom } = at();
    let known = data == KNOWN;
    event(EventBody::KeySwiped(KeySwiped {
        panel,
        intercom,
        reader: 0,
        key: KeyCode::from_bytes(&data),
        raw: RawCredential(hex::encode_upper(data)),
        bits: 32,
        decision: if reason == Reason::KeyKnown { Decision::Granted } else { Decision::Denied },
        reason,
        flats: if known { vec![FlatRef { id: 9, flat: 19 }] } else { Vec::new() },
        key_id: known.then_some(4),
        user_id: None,
        reversed_known: false,
        revision: Some(57),
    }))
}

fn input(input: u8, from: InputState, to: InputState) -> Effect {
    let PanelAt { panel, intercom } = at();
    event(EventBody::InputChanged(InputChanged { panel, intercom, input, from, to }))
}

fn moved(by: Option<UnlockedBy>) -> DoorMoved {
    let PanelAt { panel, intercom } = at();
    DoorMoved { panel, intercom, by }
}

fn suspect(cause: SuspectCause, count: u64) -> Effect {
    let PanelAt { panel, intercom } = at();
    event(EventBody::PanelSuspect(PanelSuspect { panel, intercom, cause, count }))
}

fn tamper(active: bool) -> Effect {
    let PanelAt { panel, intercom } = at();
    event(EventBody::PanelTamper(PanelFlag { panel, intercom, active }))
}

#[test]
fn green_is_shown_once_the_panel_has_taken_the_unlock() {
    let mut rig = Rig::new();
    assert_eq!(rig.swipe(KNOWN, false), [unlock(), swiped(KNOWN, Reason::KeyKnown)]);
    assert_eq!(rig.end(Ok(())), [light(true), unlocked(by_key())]);
    for (failure, code) in [
        (Failure::Refused, ErrorCode::Refused),
        (Failure::Unconfirmed, ErrorCode::Unconfirmed),
        (Failure::Offline, ErrorCode::PanelOffline),
        (Failure::Stopping, ErrorCode::Interrupted),
    ] {
        rig.swipe(KNOWN, false);
        assert_eq!(rig.end(Err(failure)), [light(false), unlock_failed(by_key(), code)]);
    }
}

#[test]
fn from_a_key_to_its_unlock_is_measured_where_the_panel_took_it() {
    let mut rig = Rig::new();
    rig.swipe(KNOWN, false);
    rig.now = rig.now + Duration::from_millis(70);
    rig.end(Ok(()));
    rig.swipe(KNOWN, false);
    rig.end(Err(Failure::Unconfirmed));
    // The exit button's unlock is no key's.
    let unlock = Unlock { by: by_exit(), caused: rig.now, tenths: OPEN, reader: None, request: None };
    rig.doorway.unlock(rig.now, unlock, &mut rig.effects);
    rig.effects();
    rig.end(Ok(()));
    let took = rig.doorway.key_to_unlock();
    assert_eq!((took.count(), took.sum()), (1, Duration::from_millis(70)));
}

#[test]
fn a_swipe_that_opens_nothing_shows_red_and_a_panel_without_a_lock_shows_green_at_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.swipe([1; 4], false), [light(false), swiped([1; 4], Reason::KeyUnknown)]);
    assert_eq!(rig.swipe(KNOWN, true), [light(false), swiped(KNOWN, Reason::Stale)]);
    let mut lockless = Rig::with(|settings| settings.lock = None);
    let green = Effect::Ask(Request::Feedback { reader: 0, granted: true, tenths: DENIED_TENTHS });
    assert_eq!(lockless.swipe(KNOWN, false), [green, swiped(KNOWN, Reason::KeyKnown)]);
    let mut dark = Rig::with(|settings| settings.feedback = false);
    assert_eq!(dark.swipe([1; 4], false), [swiped([1; 4], Reason::KeyUnknown)]);
    assert_eq!(dark.swipe(KNOWN, false), [unlock(), swiped(KNOWN, Reason::KeyKnown)]);
    assert_eq!(dark.end(Ok(())), [unlocked(by_key())]);
}

#[test]
fn presence_is_told_when_it_turns_and_a_change_of_trouble_is_one_of_status() {
    let silent = || Trouble::Silent { seconds: 8 };
    let mut rig = Rig::silent(|_| {});
    let never = Trouble::NeverHeard;
    assert_eq!(rig.state(PanelState::Offline, Some(never.clone())), [away(&never), changed()]);
    assert_eq!(rig.state(PanelState::Insecure, Some(Trouble::WrongKey)), [changed()]);
    assert_eq!(rig.status().trouble, Some(Trouble::WrongKey));
    assert_eq!(rig.state(PanelState::Online, None), [event(EventBody::PanelOnline(at())), changed()]);
    let since = rig.status().since;
    rig.now = rig.now + Duration::from_secs(5);
    assert_eq!(rig.state(PanelState::Online, None), []);
    assert_eq!(rig.status().since, since);
    assert_eq!(rig.state(PanelState::Offline, Some(silent())), [away(&silent()), changed()]);
    assert_eq!(rig.state(PanelState::Offline, Some(silent())), []);
    let mut undecided = Rig::silent(|_| {});
    assert_eq!(undecided.state(PanelState::Offline, None), [], "no verdict yet");
    let mut insecure = Rig::silent(|_| {});
    let key = Trouble::NoKey;
    assert_eq!(insecure.state(PanelState::Insecure, Some(key.clone())), [away(&key), changed()]);
}

#[test]
fn what_the_panel_does_not_have_is_wrong_while_it_is_online_and_nothing_worse_is() {
    let mut rig = Rig::silent(|settings| settings.lock.as_mut().unwrap().output = 1);
    let has = |inputs, outputs| {
        panel::Event::Capabilities(Capabilities { inputs, outputs, ..Capabilities::default() })
    };
    assert_eq!(rig.handle(has(Some(1), Some(1))), [changed()]);
    rig.state(PanelState::Online, None);
    assert_eq!(rig.status().trouble, Some(Trouble::NoSuchOutput { output: 1, has: 1 }));
    assert_eq!(rig.handle(has(Some(1), Some(2))), [changed()]);
    assert_eq!(rig.status().trouble, Some(Trouble::NoSuchInput { input: 1, has: 1 }));
    assert_eq!(rig.handle(has(Some(0), None)), [changed()]);
    assert_eq!(rig.status().trouble, Some(Trouble::NoSuchInput { input: 0, has: 0 }));
    let readers = |disconnected| panel::Event::Readers { tamper: false, disconnected };
    assert_eq!(rig.handle(has(Some(2), Some(2))), [changed()]);
    assert_eq!(rig.handle(readers(Some(1))), [changed()]);
    assert_eq!(rig.status().trouble, Some(Trouble::ReaderDisconnected { reader: 1 }));
    rig.state(PanelState::Online, Some(Trouble::NoLink));
    assert_eq!(rig.status().trouble, Some(Trouble::NoLink), "what the driver says goes first");
    rig.state(PanelState::Offline, Some(Trouble::NeverHeard));
    assert_eq!(rig.status().trouble, Some(Trouble::NeverHeard));
    rig.state(PanelState::Online, None);
    assert_eq!(rig.handle(readers(None)), [changed()]);
    assert_eq!(rig.status().trouble, None);
    rig.handle(has(None, None));
    assert_eq!(rig.status().trouble, None, "what it does not say is not wrong");
}

#[test]
fn another_model_than_the_profiles_is_wrong_until_it_is_the_right_one() {
    let mut rig = Rig::new();
    let model = |found: &str| panel::Event::Model { found: found.into(), expected: Some("KM-100".into()) };
    assert_eq!(rig.handle(model("KM-20")), [changed()]);
    let trouble = Trouble::OtherModel { found: "KM-20".into(), expected: "KM-100".into() };
    assert_eq!(rig.status().trouble, Some(trouble));
    assert_eq!(rig.handle(model("KM-100")), [changed()]);
    assert_eq!(rig.status().trouble, None);
    assert_eq!(rig.status().device.unwrap().model, "KM-100");
}

#[test]
fn the_status_says_where_the_door_is() {
    let mut rig = Rig::new();
    assert_eq!((rig.status().door, rig.status().held), (None, false));
    assert_eq!(rig.inputs(&[Inactive, Inactive], false), [changed()]);
    assert_eq!(rig.status().door, Some(DoorPosition::Closed));
    let opened = [input(0, Inactive, Active), event(EventBody::DoorForced(moved(None))), changed()];
    assert_eq!(rig.inputs(&[Active, Inactive], false), opened);
    assert_eq!((rig.status().door, rig.status().held), (Some(DoorPosition::Open), false));
    assert_eq!(rig.pass(Duration::from_secs(30)), [event(EventBody::DoorHeld(moved(None))), changed()]);
    assert!(rig.status().held);
    let closed = [input(0, Active, Inactive), event(EventBody::DoorClosed(moved(None))), changed()];
    assert_eq!(rig.inputs(&[Inactive, Inactive], false), closed);
    assert!(!rig.status().held);
    let cut = [input(0, Inactive, InputState::Open), changed()];
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.inputs(&[InputState::Open, Inactive], false), cut);
    assert_eq!(rig.status().door, None, "a cut wire says nothing of the door");
}

#[test]
fn of_a_panel_that_is_away_nobody_knows_where_the_door_is() {
    let mut rig = Rig::new();
    let place = |rig: &Rig| (rig.status().door, rig.status().held);
    rig.inputs(&[Inactive, Inactive], false);
    rig.inputs(&[Active, Inactive], false);
    rig.pass(Duration::from_secs(30));
    assert_eq!(place(&rig), (Some(DoorPosition::Open), true));
    for away in [PanelState::Offline, PanelState::Insecure] {
        rig.state(away, Some(Trouble::NoLink));
        assert_eq!(place(&rig), (None, false), "{away:?}");
        rig.state(PanelState::Online, None);
        assert_eq!(place(&rig), (None, false), "it has not told yet what it is now");
        assert_eq!(rig.inputs(&[Active, Inactive], false), [changed()]);
        assert_eq!(place(&rig), (Some(DoorPosition::Open), true), "as it was, which is no new event");
    }
}

#[test]
fn a_press_that_is_seen_unlocks_and_excuses_and_no_other_does() {
    let pressed = [input(1, Inactive, Active)];
    let mut rig = Rig::new();
    rig.inputs(&[Inactive, Inactive], false);
    let effects = rig.inputs(&[Inactive, Active], false);
    assert_eq!(effects, [unlock(), input(1, Inactive, Active)]);
    assert_eq!(rig.end(Ok(())), [unlocked(by_exit())]);
    rig.pass(Duration::from_secs(1));
    rig.inputs(&[Inactive, Inactive], false);
    // The panel goes away; on its return the button is found pressed.
    rig.pass(Duration::from_secs(20));
    rig.state(PanelState::Offline, Some(Trouble::Silent { seconds: 8 }));
    rig.state(PanelState::Online, None);
    assert_eq!(
        rig.inputs(&[Inactive, Active], false),
        [changed()],
        "a first report: the door is known again"
    );
    rig.pass(Duration::from_secs(1));
    rig.inputs(&[Inactive, Inactive], true);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.inputs(&[Inactive, Active], true), pressed, "a stale report");
    rig.pass(Duration::from_secs(1));
    let forced = [input(0, Inactive, Active), event(EventBody::DoorForced(moved(None))), changed()];
    assert_eq!(rig.inputs(&[Active, Active], false), forced);
}

#[test]
fn a_change_of_the_contact_during_an_absence_is_told() {
    let mut rig = Rig::new();
    rig.inputs(&[Inactive, Inactive], false);
    rig.state(PanelState::Offline, Some(Trouble::Silent { seconds: 8 }));
    let forced = [input(0, Inactive, Active), event(EventBody::DoorForced(moved(None)))];
    assert_eq!(rig.inputs(&[Active, Inactive], true), forced);
    assert_eq!(rig.status().door, None, "it is not back yet");
    rig.state(PanelState::Online, None);
    assert_eq!(rig.status().door, Some(DoorPosition::Open));
}

#[test]
fn a_button_that_bounces_lets_people_out_and_costs_ten_events_a_minute() {
    let mut rig = Rig::new();
    rig.inputs(&[Inactive, Inactive], false);
    let (mut unlocks, mut events) = (Vec::new(), 0);
    for step in 0..3_000_u32 {
        let state = if step.is_multiple_of(2) { Active } else { Inactive };
        let mut effects = rig.inputs(&[Inactive, state], false);
        effects.extend(rig.pass(Duration::from_millis(100)));
        unlocks.extend(effects.contains(&unlock()).then_some(rig.now));
        events += effects.iter().filter(|effect| matches!(effect, Effect::Output(Output::Event(_)))).count();
    }
    assert!(unlocks.windows(2).all(|two| two[1].since(two[0]) <= Duration::from_secs(11)));
    assert!(unlocks.len() <= 4 + 30, "{}", unlocks.len());
    assert!(events <= 15, "{events} changes of the button in five minutes");
}

#[test]
fn an_unlock_that_fails_takes_no_excuse_from_another_of_the_same_key() {
    let mut rig = Rig::new();
    rig.inputs(&[Inactive, Inactive], false);
    rig.swipe(KNOWN, false);
    rig.end(Ok(()));
    rig.swipe(KNOWN, false);
    rig.end(Err(Failure::Refused));
    let opened = event(EventBody::DoorOpened(moved(Some(by_key()))));
    assert_eq!(rig.inputs(&[Active, Inactive], false), [input(0, Inactive, Active), opened, changed()]);
}

#[test]
fn an_unlock_excuses_until_two_seconds_after_its_end_and_not_longer() {
    for (seconds, excused) in [(5, true), (6, false)] {
        let mut rig = Rig::new();
        rig.inputs(&[Inactive, Inactive], false);
        rig.swipe(KNOWN, false);
        rig.end(Ok(()));
        rig.pass(Duration::from_secs(seconds));
        let effects = rig.inputs(&[Active, Inactive], false);
        let forced = event(EventBody::DoorForced(moved(None)));
        assert_eq!(!effects.contains(&forced), excused, "after {seconds} s");
    }
}

#[test]
fn what_flaps_is_told_ten_times_a_minute_and_as_it_is_in_the_end() {
    let mut rig = Rig::new();
    assert_eq!(rig.local(false, false), [changed()]);
    let mut told = Vec::new();
    for step in 1..=6_000_u32 {
        let on = step.is_multiple_of(2);
        let mut effects = rig.local(on, !on);
        let identity = panel::Identity { vendor: [1; 3], model: (1, 1), serial: step, firmware: [0; 3] };
        effects.extend(rig.handle(panel::Event::Identity(identity)));
        effects.extend(rig.handle(panel::Event::Replaced { serial: step }));
        effects.extend(rig.handle(panel::Event::Suspect(SuspectCause::WrongMac)));
        effects.extend(rig.inputs(&[Inactive, Inactive, if on { Active } else { Inactive }], false));
        effects.extend(rig.pass(Duration::from_millis(20)));
        let events = effects.iter().filter(|effect| matches!(effect, Effect::Output(Output::Event(_))));
        told.extend(events.map(|_| rig.now));
    }
    // Three other devices are told in any case.
    for fourteen in told.windows(14) {
        assert!(fourteen[13].since(fourteen[0]) >= Duration::from_secs(60));
    }
    rig.pass(Duration::from_secs(600));
    assert_eq!((rig.status().tamper, rig.status().power_failed), (Some(true), Some(false)));
    assert_eq!(rig.status().device.unwrap().serial.as_deref(), Some("00001770"));
    assert_eq!(rig.doorway.next_time(), Mono::NEVER);
}

#[test]
fn a_first_report_is_an_event_where_it_tells_of_trouble() {
    let mut rig = Rig::new();
    assert_eq!(rig.local(true, false), [tamper(true), changed()]);
    assert_eq!(rig.local(false, false), [tamper(false), changed()]);
    assert_eq!(rig.local(false, false), []);
}

#[test]
fn a_flood_of_cards_is_told_whole_and_as_suspect_once_a_minute() {
    let mut rig = Rig::new();
    let mut told = Vec::new();
    for _ in 0..51 {
        told.extend(rig.swipe([1; 4], false));
        told.extend(rig.pass(Duration::from_millis(100)));
    }
    assert_eq!(told.iter().filter(|effect| **effect == swiped([1; 4], Reason::KeyUnknown)).count(), 51);
    assert_eq!(told.last(), Some(&suspect(SuspectCause::Flood, 51)));
}

#[test]
fn typing_is_told_and_what_nobody_can_type_is_suspect() {
    let mut rig = Rig::new();
    let mut type_in = |keys: &[u8], stale| {
        rig.handle(panel::Event::Keypad { reader: 0, keys: Sensitive(keys.to_vec()), stale })
    };
    let PanelAt { panel, intercom } = at();
    let entered = |digits: &str| {
        let (panel, digits) = (panel.clone(), Some(digits.to_owned()));
        event(EventBody::KeypadEntered(KeypadEntered { panel, intercom, reader: 0, digits }))
    };
    assert_eq!(type_in(b"9", true), []);
    assert_eq!(type_in(b"12#", false), [entered("12")]);
    assert_eq!(type_in(b"1#2#3#4#5#6#7#8#9#", false).len(), 9);
    assert_eq!(type_in(b"3#", false), [suspect(SuspectCause::Flood, 1)]);
}

#[test]
fn a_record_of_keys_is_handed_on_whole() {
    let mut rig = Rig::new();
    let record = Box::new(panel::osdp::KeyRecord { serial: Some(7), ..Default::default() });
    let effects = rig.handle(panel::Event::Keep { record: record.clone(), version: 3 });
    assert_eq!(effects, [Effect::Output(Output::Keep { panel: 0, record, version: 3 })]);
}

#[test]
fn an_unlock_excuses_from_its_request_on_whether_it_is_confirmed_or_not() {
    // Two seconds to be taken, three open, two for the report.
    for (seconds, excused) in [(7, true), (8, false)] {
        for result in [None, Some(Failure::Unconfirmed)] {
            let mut rig = Rig::new();
            rig.inputs(&[Inactive, Inactive], false);
            rig.swipe(KNOWN, false);
            if let Some(failure) = result {
                rig.end(Err(failure));
            }
            rig.pass(Duration::from_secs(seconds));
            let effects = rig.inputs(&[Active, Inactive], false);
            let forced = event(EventBody::DoorForced(moved(None)));
            assert_eq!(!effects.contains(&forced), excused, "after {seconds} s, {result:?}");
        }
    }
}

#[test]
fn an_unlock_that_was_refused_for_certain_excuses_nothing() {
    let mut rig = Rig::new();
    rig.inputs(&[Inactive, Inactive], false);
    rig.swipe(KNOWN, false);
    rig.end(Err(Failure::Refused));
    let forced = event(EventBody::DoorForced(moved(None)));
    assert!(rig.inputs(&[Active, Inactive], false).contains(&forced));
}

#[test]
fn the_status_says_when_the_panel_was_last_seen() {
    let rig = Rig::new();
    let seen = Some(jiff::Timestamp::UNIX_EPOCH + Duration::from_secs(5));
    assert_eq!(rig.doorway.status(seen), PanelStatus { last_seen: seen, ..rig.status() });
}
