//! Rows 050-01 to 050-08: the line and its times.

use std::time::Duration;

use intercom_gateway::{
    domain::{EventBody, PanelState, event::Decision},
    simulate::{
        action::{Action, Card},
        panel::Observation,
    },
    wire::osdp::{code::command, frame::MAX_FRAME},
};

use crate::{
    rig::{ADDRESS, KNOWN, Rig, SOON, Say, Setting},
    table::Channel,
};

/// What the standard gives a panel to begin its answer in.
const REPLY: Duration = Duration::from_millis(200);

pub fn at_9600(channel: Channel) {
    at(channel, 9600);
}

pub fn at_19200(channel: Channel) {
    at(channel, 19_200);
}

pub fn at_38400(channel: Channel) {
    at(channel, 38_400);
}

pub fn at_57600(channel: Channel) {
    at(channel, 57_600);
}

pub fn at_115200(channel: Channel) {
    at(channel, 115_200);
}

pub fn at_230400(channel: Channel) {
    at(channel, 230_400);
}

/// A door works, nothing is lost, on a line whose characters are ten bits: 8N1.
fn at(channel: Channel, baud: u32) {
    let mut rig = Rig::new(Setting { baud, ..Setting::usual(channel) }).working();
    opens(&mut rig);
    let counted = rig.counted();
    assert_eq!((counted.timeouts, counted.broken, counted.wrong, counted.noise), (0, 0, 0, 0));
}

/// The known card opens, once.
pub fn opens(rig: &mut Rig) {
    let before = granted(rig);
    rig.card(KNOWN);
    rig.until("the door is told to open", |rig| {
        rig.was_told(|what| matches!(what, EventBody::DoorUnlocked(_)))
    });
    assert_eq!(granted(rig), before + 1);
}

pub fn granted(rig: &Rig) -> usize {
    let is_granted = |what: &&EventBody| matches!(what, EventBody::KeySwiped(swipe) if swipe.decision == Decision::Granted);
    rig.events.iter().filter(is_granted).count()
}

/// From the panel in what a reader read, and to it in the time of an unlock.
pub fn every_byte_passes(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    let all: Vec<u8> = (0..=255).collect();
    rig.act(Action::Card(Card { format: 0, bits: 2048, data: all.clone() }));
    let raw = hex::encode_upper(&all);
    rig.until("the bytes are told", |rig| {
        rig.was_told(|what| matches!(what, EventBody::KeySwiped(swipe) if swipe.raw.0 == raw))
    });
    for tenths in 1..=256 {
        assert_eq!(rig.unlock_ends(tenths), Ok(()), "{tenths}");
        let arrived = |what: &Observation| matches!(what, Observation::Output(out) if out.timer == tenths);
        assert!(rig.was_seen(arrived), "{tenths}");
    }
    assert_eq!(rig.counted().timeouts, 0);
}

/// Whether a command went out as the same bytes as the one before it.
pub fn was_sent_again(rig: &Rig, number: usize) -> bool {
    rig.sent[number].bytes == rig.sent[number - 1].bytes
}

pub fn one_reply_within_200_ms(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.forget();
    rig.run(Duration::from_secs(2));
    assert!(rig.sent.len() > 20);
    for (number, both) in rig.sent.windows(2).enumerate() {
        let between = |said: &&crate::rig::Passed| said.start >= both[0].end && said.end <= both[1].start;
        assert_eq!(rig.said.iter().filter(between).count(), 1, "between commands {number} and the next");
    }
    // One that begins within 200 ms is waited for, however long it then takes.
    rig.twist(|_, bytes| vec![Say { after: REPLY - Duration::from_micros(1), bytes }]);
    rig.run(Duration::from_secs(4));
    assert_eq!(rig.counted().timeouts, 0, "an answer in the last moment is none");
    assert_eq!(rig.state(), PanelState::Online);
    // One that does not come is asked for again, and not before.
    let mut is_lost = true;
    rig.twist(move |_, bytes| if std::mem::take(&mut is_lost) { Vec::new() } else { Say::soon(bytes) });
    rig.forget();
    rig.run(Duration::from_secs(1));
    let again = (1..rig.sent.len()).find(|number| was_sent_again(&rig, *number)).expect("it is asked again");
    let waited = rig.sent[again].start.since(rig.sent[again - 1].end);
    assert!(waited >= REPLY && waited < REPLY * 2, "{waited:?}");
    assert_eq!(rig.counted().timeouts, 1);
}

pub fn little_endian(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.forget();
    // 300 tenths of a second.
    assert_eq!(rig.unlock_ends(300), Ok(()));
    assert!(rig.was_seen(|what| matches!(what, Observation::Output(out) if out.timer == 300)));
    let [out] = rig.sent_of(command::OUT).try_into().expect("one OUT");
    match channel {
        Channel::Basic => assert_eq!(out.data, [0, 5, 0x2C, 0x01]),
        // Sealed: four bytes and their padding are one block.
        Channel::Secure => assert_eq!(out.data.len(), 16),
    }
    // 26 bits in four bytes, the count in two.
    rig.act(Action::Card(Card { format: 0, bits: 26, data: vec![0x80, 0x00, 0x00, 0x40] }));
    rig.until("26 bits are told", |rig| {
        rig.was_told(|what| matches!(what, EventBody::KeySwiped(swipe) if swipe.bits == 26))
    });
    let identity = Setting::usual(channel).setup.identity;
    let device = rig.status().device.expect("PDID");
    assert_eq!(device.serial, Some(format!("{:08X}", identity.serial)));
}

pub fn long_replies(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    // Beside the data of MFGREP: frame and OUI; in a session block and MAC too, and data in whole blocks of AES.
    let lengths: &[usize] = match channel {
        Channel::Basic => &[128 - 11, 129, 500, 1000, MAX_FRAME - 11],
        Channel::Secure => &[128 - 14 - 3, 500, 1000, 1424 - 1 - 3],
    };
    for length in lengths {
        let before = rig.counted().exchanges;
        rig.forget();
        rig.act(Action::Manufacturer { vendor: 0x0053_494D, data: vec![0x53; *length] });
        rig.run(Duration::from_secs(4));
        let longest = rig.said.iter().map(|said| said.bytes.len() - 1).max().unwrap();
        assert!((128..=MAX_FRAME).contains(&longest), "{longest}");
        assert!(
            (1..rig.sent.len()).all(|number| !was_sent_again(&rig, number)),
            "{length}: it is asked again"
        );
        assert!(rig.counted().exchanges > before + 20);
        let longest_there_is = if channel == Channel::Basic { MAX_FRAME } else { 1438 };
        assert!(longest == longest_there_is || Some(length) != lengths.last(), "{longest}");
    }
    // As long as a credential may be; nobody knows it.
    let data = vec![0x53; if channel == Channel::Basic { 1428 } else { 1419 }];
    rig.act(Action::Card(Card {
        format: 0,
        bits: u16::try_from(data.len() * 8).unwrap(),
        data: data.clone(),
    }));
    rig.until("the long credential is told", |rig| {
        let length = data.len() * 2;
        rig.was_told(|what| matches!(what, EventBody::KeySwiped(swipe) if swipe.raw.0.len() == length))
    });
    let counted = rig.counted();
    assert_eq!((counted.timeouts, counted.broken, counted.noise), (0, 0, 0));
}

pub fn idle_characters_and_a_mark(channel: Channel) {
    for baud in [9600, 230_400] {
        let mut rig = Rig::new(Setting { baud, ..Setting::usual(channel) }).working();
        let idle = Duration::from_nanos(10 * 1_000_000_000 / u64::from(baud)) * 2;
        // At once, late, not at all, and broken.
        let mut number = 0_u32;
        rig.twist(move |_, mut bytes| {
            number += 1;
            if number.is_multiple_of(11) {
                *bytes.last_mut().unwrap() ^= 1;
            }
            let after = match number % 7 {
                0 => return Vec::new(),
                1 => Duration::ZERO,
                2 => Duration::from_millis(150),
                _ => SOON,
            };
            vec![Say { after, bytes }]
        });
        rig.unlock(10);
        rig.run(Duration::from_secs(20));
        let mut passed: Vec<_> = rig.sent.iter().map(|sent| (sent, true)).collect();
        passed.extend(rig.said.iter().map(|said| (said, false)));
        passed.sort_by_key(|(passed, _)| passed.start);
        for both in passed.windows(2) {
            let ((before, _), (after, is_ours)) = (both[0], both[1]);
            if is_ours {
                let pause = after.start.since(before.end);
                assert!(pause >= idle && after.start >= before.end, "{pause:?} before a command at {baud}");
                assert_eq!(after.bytes[..2], [0xFF, 0x53]);
            }
        }
        assert_eq!(rig.state(), PanelState::Online);
    }
}

pub fn pauses_and_marks(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    // 19 ms between any two characters of an answer, here and there.
    let mut at = 0;
    rig.twist(move |_, bytes| {
        at = (at + 3) % bytes.len();
        let (one, other) = bytes.split_at(at);
        let pause = if one.is_empty() { SOON } else { Duration::from_millis(19) };
        vec![Say { after: SOON, bytes: one.to_vec() }, Say { after: pause, bytes: other.to_vec() }]
    });
    rig.forget();
    rig.run(Duration::from_secs(3));
    opens(&mut rig);
    assert_eq!((rig.counted().timeouts, rig.counted().broken), (0, 0), "with pauses");
    // Behind marks, noise, and what looks like the beginning of a longer frame.
    for before in [&[0xFF; 9][..], &[0x00, 0x80, 0xFF, 0xFF], &[0x53, ADDRESS | 0x80, 0x40, 0x00, 0xFF]] {
        rig.twist(move |_, bytes| Say::soon([before, &bytes].concat()));
        rig.forget();
        rig.run(Duration::from_secs(3));
        opens(&mut rig);
        assert_eq!(rig.counted().timeouts, 0, "behind {before:02X?}");
    }
    // The rest of one never comes: it is asked for again, and what it brought is told once.
    let mut cuts = 0;
    rig.twist(move |_, mut bytes| {
        cuts += 1;
        if cuts == 1 {
            bytes.truncate(bytes.len() / 2);
        }
        Say::soon(bytes)
    });
    rig.forget();
    rig.card(KNOWN);
    rig.run(Duration::from_secs(3));
    assert!((1..rig.sent.len()).any(|number| was_sent_again(&rig, number)));
    assert_eq!((rig.counted().timeouts, granted(&rig)), (1, 1));
}
