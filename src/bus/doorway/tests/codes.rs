//! What is typed at a keypad, and exactly what comes of it.

use super::*;
use crate::access::DirectoryCode;

const CODE: &str = "0012";

/// A door of an intercom with the code 0012, and one that has expired.
fn coded() -> Rig {
    let mut rig = Rig::new();
    let mut builder = DirectoryBuilder::new(jiff::tz::TimeZone::UTC);
    let mut add = |code_id, code: &str, permitted| {
        builder.add_code(&DirectoryCode {
            intercom: 1,
            flat_id: 9,
            flat: 19,
            code_id,
            code: code.parse().unwrap(),
            expired_at: None,
            user_expired_at: None,
            permitted,
        });
    };
    add(7, CODE, true);
    add(8, "4444", false);
    rig.directory = builder.build(Some(57));
    rig
}

impl Rig {
    fn type_in(&mut self, reader: u8, keys: &str, stale: bool) -> Vec<Effect> {
        let keys = Sensitive(keys.as_bytes().to_vec());
        self.handle(panel::Event::Keypad { reader, keys, stale })
    }
}

fn entered(reader: u8, reason: CodeReason) -> Effect {
    let PanelAt { panel, intercom } = at();
    let (code_id, flats) = match reason {
        CodeReason::CodeKnown => (Some(7), vec![FlatRef { id: 9, flat: 19 }]),
        CodeReason::NotPermitted => (Some(8), vec![FlatRef { id: 9, flat: 19 }]),
        _ => (None, Vec::new()),
    };
    let decision = if reason == CodeReason::CodeKnown { Decision::Granted } else { Decision::Denied };
    event(EventBody::CodeEntered(CodeEntered {
        panel,
        intercom,
        reader,
        decision,
        reason,
        code_id,
        flats,
        revision: Some(57),
    }))
}

fn by_code() -> UnlockedBy {
    UnlockedBy { kind: UnlockKind::Code, id: Some(UnlockId::Number(7)) }
}

fn red(reader: u8) -> Effect {
    Effect::Ask(Request::Feedback { reader, granted: false, tenths: DENIED_TENTHS })
}

#[test]
fn a_code_opens_and_shows_green_once_the_panel_has_taken_it() {
    let mut rig = coded();
    assert_eq!(rig.type_in(0, "00", false), []);
    assert_eq!(rig.type_in(0, "12#", false), [unlock(), entered(0, CodeReason::CodeKnown)]);
    assert_eq!(rig.end(Ok(())), [light(true), unlocked(by_code())]);
    assert_eq!(rig.doorway.key_to_unlock().count(), 0, "that is of keys");
}

#[test]
fn a_pause_ends_a_code_too() {
    let mut rig = coded();
    rig.type_in(0, CODE, false);
    assert_eq!(rig.pass(Duration::from_millis(4_999)), []);
    assert_eq!(rig.pass(Duration::from_millis(1)), [unlock(), entered(0, CodeReason::CodeKnown)]);
}

#[test]
fn what_does_not_open_shows_red_and_the_digits_are_in_no_event() {
    let mut rig = coded();
    assert_eq!(rig.type_in(0, "4444#", false), [red(0), entered(0, CodeReason::NotPermitted)]);
    assert_eq!(rig.type_in(0, "12#", false), [red(0), entered(0, CodeReason::CodeUnknown)]);
    assert_eq!(rig.type_in(0, "00", true), []);
    assert_eq!(rig.type_in(0, "0012#", false), [red(0), entered(0, CodeReason::Stale)]);
    assert_eq!(rig.type_in(0, "0012#", true), [red(0), entered(0, CodeReason::Stale)]);
    let written = format!("{:?}", rig.type_in(0, "87654#", false));
    assert!(!written.contains("87654"), "{written}");
}

#[test]
fn the_door_without_a_lock_shows_green_at_once() {
    let mut rig = Rig::with(|settings| settings.lock = None);
    rig.directory = coded().directory;
    let green = Effect::Ask(Request::Feedback { reader: 0, granted: true, tenths: DENIED_TENTHS });
    assert_eq!(rig.type_in(0, "0012#", false), [green, entered(0, CodeReason::CodeKnown)]);
}

#[test]
fn five_unknown_codes_block_their_reader_and_a_code_that_opens_does_not_reset_the_count() {
    let mut rig = coded();
    let unknown = |reader| [red(reader), entered(reader, CodeReason::CodeUnknown)];
    for _ in 0..4 {
        assert_eq!(rig.type_in(1, "9999#", false), unknown(1));
        rig.pass(Duration::from_secs(10));
        rig.type_in(1, "0012#", false);
        rig.end(Ok(()));
        assert_eq!(rig.type_in(1, "4444#", false), [red(1), entered(1, CodeReason::NotPermitted)]);
        rig.pass(Duration::from_secs(20));
    }
    let fifth = [red(1), entered(1, CodeReason::CodeUnknown), suspect(SuspectCause::Codes, 5)];
    assert_eq!(rig.type_in(1, "9999#", false), fifth);
    assert_eq!(rig.type_in(1, "0012#", false), [red(1), entered(1, CodeReason::Blocked)]);
    assert_eq!(rig.type_in(0, "0012#", false), [unlock(), entered(0, CodeReason::CodeKnown)]);
    // The panel leaves and comes back.
    rig.state(PanelState::Offline, Some(Trouble::Silent { seconds: 8 }));
    rig.state(PanelState::Online, None);
    rig.pass(Duration::from_millis(29_999));
    assert_eq!(rig.type_in(1, "0012#", false), [red(1), entered(1, CodeReason::Blocked)]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.type_in(1, "0012#", false), [unlock(), entered(1, CodeReason::CodeKnown)]);
    assert_eq!(rig.type_in(1, "9999#", false), unknown(1));
    assert_eq!(
        rig.type_in(1, "0012#", false),
        [red(1), entered(1, CodeReason::Blocked)],
        "one is enough now"
    );
}

#[test]
fn digits_are_not_told_where_they_may_be_a_code() {
    let mut rig = Rig::new();
    let told = |digits: Option<&str>| {
        let PanelAt { panel, intercom } = at();
        let digits = digits.map(str::to_owned);
        [event(EventBody::KeypadEntered(KeypadEntered { panel, intercom, reader: 0, digits }))]
    };
    assert_eq!(rig.type_in(0, "0012#", false), told(Some("0012")));
    assert_eq!(rig.type_in(0, "0012#", true), []);
    rig.directory = Directory::default();
    assert_eq!(rig.type_in(0, "0012#", false), told(None));
    let mut builder = DirectoryBuilder::new(jiff::tz::TimeZone::UTC);
    builder.had_codes(Some(1), Some(jiff::Timestamp::UNIX_EPOCH));
    rig.directory = builder.build(Some(58));
    assert_eq!(rig.type_in(0, "0012#", false), told(None));
}
