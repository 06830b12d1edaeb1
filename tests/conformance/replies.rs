//! Rows 070: what panels answer, and what becomes of it.

use std::time::Duration;

use intercom_gateway::{
    domain::{
        EventBody, KeyCode, PanelState, Trouble,
        event::{Decision, InputState, Reason},
    },
    panel::Failure,
    simulate::{
        action::{Action, Card, Fault, Status},
        panel::{ComsetManner, Observation, PanelSetup},
    },
    wire::osdp::{
        Check, Header, NakCode, Reply,
        code::{command, reply},
        emit,
    },
};

use crate::{
    frame::plain,
    layout::with_crc,
    rig::{ADDRESS, KNOWN, Rig, Say, Setting, UNKNOWN, own_key},
    table::Channel,
};

pub fn ack(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.forget();
    rig.card(KNOWN);
    rig.run(Duration::from_secs(1));
    // To POLL, OUT, LED and BUZ: each is over with it, and nothing is asked again.
    for code in [command::POLL, command::OUT, command::LED, command::BUZ] {
        assert!(!rig.sent_of(code).is_empty(), "{code:02X}");
    }
    assert!(rig.sent.windows(2).all(|both| both[0].bytes != both[1].bytes));
    let acknowledged = rig.said.iter().filter(|said| said.layout().code == reply::ACK).count();
    assert_eq!(acknowledged, rig.said.len() - 1, "all but the card");
    assert!(rig.was_told(|what| matches!(what, EventBody::DoorUnlocked(_))));
}

/// What PDID said is what is known of the panel.
pub fn is_known(rig: &mut Rig, channel: Channel) {
    let identity = Setting::usual(channel).setup.identity;
    let device = rig.status().device.expect("a device");
    assert_eq!(device.serial, Some(format!("{:08X}", identity.serial)));
    assert_eq!(device.firmware, Some("1.0.0".to_owned()));
    assert_eq!(device.vendor, Some("53-49-4D".to_owned()));
    assert_eq!(device.model, "53-49-4D model 1 version 1");
}

pub fn pdid(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    is_known(&mut rig, channel);
    // Another serial number is another panel, and is told.
    let usual = Setting::usual(channel).setup;
    let identity = intercom_gateway::wire::osdp::reply::PdId { serial: 0x1234_5678, ..usual.identity };
    rig.swap(PanelSetup { identity, ..usual });
    rig.run(Duration::from_secs(5));
    let is_told =
        |what: &EventBody| matches!(what, EventBody::PanelReplaced(panel) if panel.serial == "12345678");
    assert!(rig.was_told(is_told));
}

pub fn lstatr(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    for (tamper, power_failed) in [(true, false), (true, true), (false, true), (false, false)] {
        rig.forget();
        rig.act(Action::Status(Status::Local { tamper, power_failed }));
        rig.run(Duration::from_secs(1));
        let status = rig.status();
        assert_eq!((status.tamper, status.power_failed), (Some(tamper), Some(power_failed)));
        assert_eq!(rig.sent_of(command::LSTAT), [], "unasked, in answer to POLL");
        let [event] = rig.events.as_slice() else { panic!("{:?}", rig.events) };
        let (is_tamper, active) = match event {
            EventBody::PanelTamper(flag) => (true, flag.active),
            EventBody::PanelPower(flag) => (false, flag.active),
            other => panic!("{other:?}"),
        };
        assert_eq!(active, if is_tamper { tamper } else { power_failed });
    }
}

pub fn istatr(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.forget();
    rig.act(Action::Status(Status::Inputs(vec![1, 2, 3, 4])));
    rig.run(Duration::from_secs(1));
    assert_eq!(rig.sent_of(command::ISTAT), [], "unasked, in answer to POLL");
    let mut inputs = Vec::new();
    for event in &rig.events {
        let EventBody::InputChanged(change) = event else { panic!("{event:?}") };
        inputs.push((change.input, change.to));
    }
    let expected = [InputState::Active, InputState::Short, InputState::Open, InputState::Fault];
    assert_eq!(inputs, (0..).zip(expected).collect::<Vec<_>>());
}

pub fn ostatr(channel: Channel) {
    let usual = Setting::usual(channel);
    let setup = PanelSetup { report_outputs: true, ..usual.setup.clone() };
    let mut rig = Rig::new(Setting { setup, ..usual }).working();
    rig.forget();
    assert_eq!(rig.unlock_ends(10), Ok(()));
    rig.run(Duration::from_secs(3));
    // In answer to POLL: when it opens, and when it locks again.
    let reported = rig.said.iter().filter(|said| said.layout().code == reply::OSTATR).count();
    assert_eq!((reported, rig.state(), rig.counted().timeouts), (2, PanelState::Online, 0));
    if channel == Channel::Basic {
        // In answer to OUT.
        rig.twist(|asked, bytes| {
            let is_it = asked.code == command::OUT;
            Say::soon(if is_it { plain(asked.sequence, reply::OSTATR, &[1, 0]) } else { bytes })
        });
        assert_eq!(rig.unlock_ends(10), Ok(()));
    }
}

/// A panel that refuses every order with this code.
fn refusing(channel: Channel, nak: NakCode) -> Rig {
    let usual = Setting::usual(channel);
    let setup = PanelSetup { nak, ..usual.setup.clone() };
    let mut rig = Rig::new(Setting { setup, ..usual }).working();
    rig.act(Action::Fault(Fault::Nak(true)));
    rig.forget();
    rig
}

pub fn nak(channel: Channel) {
    for code in [2, 3, 4, 5, 6, 7, 8, 9, 0xFF] {
        let mut rig = refusing(channel, NakCode::from_byte(code));
        let ended = rig.unlock_ends(10);
        let begins_anew = !rig.sent_of(command::ID).is_empty();
        match (code, channel) {
            // The panel has lost count, or its session: the link begins anew, and the unlock is tried again in its time.
            (4, _) | (5 | 6, Channel::Secure) => {
                assert!(ended.is_err() && begins_anew, "{code}: {ended:?}, new link {begins_anew}");
            }
            _ => assert_eq!((ended, begins_anew), (Err(Failure::Refused), false), "{code}"),
        }
        assert!(rig.was_told(|what| matches!(what, EventBody::DoorUnlockFailed(_))) || code == 4);
        rig.act(Action::Fault(Fault::Nak(false)));
        rig.until("it is online", |rig| rig.state() == PanelState::Online);
        rig.run(Duration::from_secs(3));
        assert_eq!(rig.unlock_ends(10), Ok(()), "{code}");
    }
}

pub fn nak_0(channel: Channel) {
    let mut rig = refusing(channel, NakCode::Other(0));
    let wrong = rig.counted().wrong;
    assert_eq!(rig.unlock_ends(10), Err(Failure::Refused));
    assert_eq!(rig.counted().wrong, wrong + 1, "it is counted");
    assert_eq!(rig.sent_of(command::ID), [], "and the link goes on");
    rig.act(Action::Fault(Fault::Nak(false)));
    let mut is_first = true;
    if channel == Channel::Basic {
        rig.twist(move |asked, bytes| {
            let is_it = asked.code == command::POLL && std::mem::take(&mut is_first);
            Say::soon(if is_it { plain(asked.sequence, reply::NAK, &[0]) } else { bytes })
        });
        rig.run(Duration::from_secs(1));
        assert_eq!(rig.counted().wrong, wrong + 2, "in answer to POLL, too");
    }
    // What a control panel sends is commands: no NAK is among them.
    assert!(rig.sent.iter().all(|sent| !sent.layout().is_reply));
}

pub fn nak_1(channel: Channel) {
    let usual = Setting::usual(channel);
    let setup = PanelSetup { nak_bad_check: true, ..usual.setup.clone() };
    let mut rig = Rig::new(Setting { setup, ..usual }).working();
    rig.forget();
    let before = rig.counted().timeouts;
    // The next commands, the order to open among them, arrive damaged.
    rig.damage = 2;
    assert_eq!(rig.unlock_ends(10), Ok(()));
    let is_refusal =
        |said: &&crate::rig::Passed| said.layout().code == reply::NAK && said.layout().data == [1];
    assert_eq!(rig.said.iter().filter(is_refusal).count(), 2);
    let again = rig.sent.windows(2).filter(|both| both[0].bytes == both[1].bytes).count();
    assert_eq!((again, rig.sent_of(command::ID).len()), (2, 0), "the same again, on the same link");
    assert_eq!(rig.counted().timeouts, before);
    let is_open = |what: &&Observation| matches!(what, Observation::Output(_));
    assert_eq!(rig.seen.iter().filter(is_open).count(), 1);
}

/// A panel that says this of itself.
fn saying(setting: Setting, capabilities: Vec<[u8; 3]>) -> Rig {
    let mut rig = Rig::new(setting);
    rig.twist(move |asked, bytes| match asked.code {
        command::CAP => Say::soon(plain(asked.sequence, reply::PDCAP, capabilities.as_flattened())),
        _ => Say::soon(bytes),
    });
    rig
}

pub fn pdcap(channel: Channel) {
    let counts = |mut rig: Rig| {
        rig.card(UNKNOWN);
        rig.run(Duration::from_secs(1));
        [command::ISTAT, command::LED, command::BUZ].map(|code| rig.sent_of(code).len())
    };
    let usual = || Setting::usual(channel);
    assert_eq!(counts(Rig::new(usual()).working()), [1, 1, 1]);
    let crc = [8, 1, 0];
    assert_eq!(counts(saying(usual(), vec![[1, 1, 0], [4, 4, 1], [5, 2, 1], crc]).working()), [0, 1, 1]);
    assert_eq!(counts(saying(usual(), vec![[1, 4, 4], [5, 2, 1], crc]).working()), [1, 0, 1]);
    assert_eq!(counts(saying(usual(), vec![[1, 4, 4], [4, 1, 1], [5, 0, 0], crc]).working()), [1, 1, 0]);
    let mut rig = saying(usual(), vec![[1, 4, 7], [2, 4, 3], [13, 0, 2], crc]).working();
    let capabilities = rig.status().capabilities;
    assert_eq!(
        (capabilities.inputs, capabilities.outputs, capabilities.readers),
        (Some(7), Some(3), Some(2))
    );
}

/// Where the first answer is lost, the panel is asked by checksum, too; what PDCAP says of CRC is then in force.
pub fn check_characters(channel: Channel) {
    let is_by_crc = |sent: &crate::rig::Passed| sent.bytes[5] & 0x04 != 0;
    let mut rig = Rig::new(Setting::usual(channel));
    let mut is_first = true;
    rig.twist(move |_, bytes| if std::mem::take(&mut is_first) { Vec::new() } else { Say::soon(bytes) });
    let mut rig = rig.working();
    assert!(is_by_crc(&rig.sent[0]) && !is_by_crc(&rig.sent[1]), "first by CRC, then by checksum");
    rig.sent.retain(|sent| sent.bytes[6] != command::ID && sent.bytes[6] != command::CAP);
    assert!(rig.sent.iter().all(is_by_crc), "it says that it knows CRC");
    if channel == Channel::Basic {
        // One that knows no CRC is spoken to as it can hear.
        let usual = Setting::usual(channel);
        let setup = PanelSetup { only_check: Some(Check::Checksum), ..usual.setup.clone() };
        let rig = Rig::new(Setting { setup, ..usual }).working();
        assert!(!is_by_crc(rig.sent.last().unwrap()));
    }
}

pub fn secure_channel(channel: Channel) {
    let rig = saying(Setting::usual(channel), vec![[8, 1, 0], [9, 1, 1]]).working();
    assert!(rig.panel.is_secured());
    // One that says that it has none, and has none.
    let without = Setting { key: Some(own_key()), ..Setting::usual(Channel::Basic) };
    let without = Setting { security: Setting::usual(channel).security, ..without };
    let mut rig = saying(without, vec![[8, 1, 0], [9, 0, 0]]);
    rig.run(Duration::from_secs(20));
    let status = rig.status();
    assert_eq!((status.state, status.trouble), (PanelState::Insecure, Some(Trouble::NoSecureChannel)));
    assert_eq!(rig.sent_of(command::POLL), []);
}

/// Panels of version 2.1 do not say it; later ones say more than is known here.
pub fn version(channel: Channel) {
    for says in [vec![], vec![[16, 0, 0]], vec![[16, 1, 0]], vec![[16, 2, 0]], vec![[16, 9, 0], [200, 7, 7]]]
    {
        let all = [vec![[8, 1, 0], [1, 4, 4]], says].concat();
        let mut rig = saying(Setting::usual(channel), all).working();
        assert_eq!(rig.unlock_ends(10), Ok(()));
    }
}

pub fn raw(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    let mut swipe = |format: u8, bits: u16, data: &[u8]| {
        rig.forget();
        rig.act(Action::Card(Card { format, bits, data: data.to_vec() }));
        rig.run(Duration::from_secs(1));
        let swipes = rig.events.iter().filter_map(|event| match event {
            EventBody::KeySwiped(swipe) => Some(swipe.clone()),
            _ => None,
        });
        let [swipe] = swipes.collect::<Vec<_>>().try_into().expect("one swipe");
        (swipe, rig.was_seen(|what| matches!(what, Observation::Output(_))))
    };
    let (known, is_open) = swipe(0, 32, &KNOWN);
    assert_eq!((known.decision, known.reason, is_open), (Decision::Granted, Reason::KeyKnown, true));
    assert_eq!((known.key, known.bits), (KeyCode::from_bytes(&KNOWN), 32));
    let (unknown, is_open) = swipe(0, 32, &UNKNOWN);
    assert_eq!((unknown.decision, unknown.reason, is_open), (Decision::Denied, Reason::KeyUnknown, false));
    // 26 bits of Wiegand: an even parity, 24 bits, an odd parity.
    let (wiegand, _) = swipe(1, 26, &[0x00, 0x00, 0x80, 0x00]);
    assert_eq!((wiegand.key, wiegand.bits), (KeyCode::from_bytes(&[0x00, 0x01, 0x00]), 26));
    let (broken, _) = swipe(1, 26, &[0x80, 0x00, 0x80, 0x00]);
    assert_eq!((broken.key, broken.reason), (None, Reason::Unreadable));
}

pub fn keypad(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.forget();
    rig.keys(b"99*0123456789#");
    rig.until("the digits are told", |rig| {
        rig.was_told(|what| matches!(what, EventBody::KeypadEntered(entry) if entry.digits.as_deref() == Some("0123456789")))
    });
}

/// No test of what the gateway does: nobody asks a panel for it.
/// What COM says counts, not what was asked.
pub fn com(_: Channel) {
    let com = Reply::Com { address: ADDRESS, baud: 38_400 };
    let mut data = Vec::new();
    com.encode_data(&mut data);
    assert_eq!((com.code(), data.as_slice()), (0x54, [ADDRESS, 0x00, 0x96, 0x00, 0x00].as_slice()));
    assert_eq!(Reply::decode(0x54, &data), Ok(com));
    for (manner, rate) in [
        (ComsetManner::Takes { keeps: true, ends_link: false }, 19_200),
        (ComsetManner::Takes { keeps: true, ends_link: true }, 19_200),
        (ComsetManner::Refuses, 9600),
    ] {
        let mut setting = Setting::usual(Channel::Secure);
        setting.setup.comset = manner;
        let mut rig = Rig::new(setting).working();
        rig.find_rate(&[9600, 19_200]);
        rig.run(Duration::from_secs(60));
        let said = rig.said.iter().filter(|said| said.layout().code == reply::COM).count();
        assert_eq!((rig.line_baud(), rig.state()), (Some(rate), PanelState::Online), "{manner:?}");
        assert_eq!(said > 0, rate != 9600, "{manner:?}");
    }
}

pub fn ccrypt(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    let said: Vec<_> = rig.said.iter().map(|said| said.layout()).collect();
    let is_it = |frame: &&crate::layout::Layout| frame.code == reply::CCRYPT;
    assert_eq!(said.iter().filter(is_it).count(), 1);
    // One whose cryptogram does not fit is from somebody without the key: no SCRYPT, no session.
    rig.twist(|asked, mut bytes| {
        if asked.code == command::CHLNG {
            let last = bytes.len() - 3;
            bytes[last] ^= 1;
            bytes = with_crc(bytes);
        }
        Say::soon(bytes)
    });
    rig.act(Action::Restart);
    rig.run(Duration::from_secs(1));
    rig.forget();
    rig.run(Duration::from_secs(15));
    assert!(!rig.sent_of(command::CHLNG).is_empty());
    assert_eq!(rig.sent_of(command::SCRYPT), []);
    assert_eq!(rig.status().trouble, Some(Trouble::WrongKey));
    rig.untwist();
    rig.until("it is online again", |rig| rig.state() == PanelState::Online);
}

pub fn rmac_i(channel: Channel) {
    let rig = Rig::at_work(channel);
    let said: Vec<_> = rig.said.iter().map(|said| said.layout()).collect();
    let at = said.iter().position(|frame| frame.code == reply::RMAC_I).expect("RMAC_I");
    assert_eq!((said[at].block.as_ref(), said[at].data.len()), (Some(&(0x14, vec![1])), 16));
    // The chain of MACs that begins with it holds: both sides go on without a resend.
    assert!(said.len() > at + 20 && rig.counted().wrong == 0 && rig.counted().timeouts == 0);
}

pub fn malformed_rmac_i(channel: Channel) {
    let header = |sequence| Header { address: ADDRESS, reply: true, sequence, check: Check::Crc };
    let frame = move |sequence: u8, kind: u8, flag: u8, data: &[u8]| {
        let mut bytes = Vec::new();
        emit(&header(sequence), Some((kind, &[flag])), reply::RMAC_I, data, &mut bytes).unwrap();
        bytes
    };
    let right_but = move |bytes: &[u8]| bytes[9..bytes.len() - 2].to_vec();
    type Malformed = Box<dyn Fn(u8, &[u8]) -> Vec<u8>>;
    let all: [(&str, Malformed); 6] = [
        ("other bytes", Box::new(move |number, _| frame(number, 0x14, 1, &[0x11; 16]))),
        ("one byte less", Box::new(move |number, right| frame(number, 0x14, 1, &right_but(right)[..15]))),
        (
            "one byte more",
            Box::new(move |number, right| frame(number, 0x14, 1, &[&right_but(right)[..], &[0]].concat())),
        ),
        ("nothing", Box::new(move |number, _| frame(number, 0x14, 1, &[]))),
        ("a refusal", Box::new(move |number, right| frame(number, 0x14, 0xFF, &right_but(right)))),
        ("another step", Box::new(move |number, right| frame(number, 0x12, 1, &right_but(right)))),
    ];
    for (what, malformed) in all {
        let mut rig = Rig::new(Setting::usual(channel));
        rig.twist(move |asked, bytes| match asked.code {
            command::SCRYPT => Say::soon(malformed(asked.sequence, &bytes)),
            _ => Say::soon(bytes),
        });
        rig.run(Duration::from_secs(20));
        let sent: Vec<_> = rig.sent.iter().map(|sent| sent.layout()).collect();
        assert!(sent.iter().any(|frame| frame.code == command::SCRYPT), "{what}");
        assert!(sent.iter().all(|frame| frame.mac.is_none()), "{what}: a session is used");
        for both in sent.windows(2).filter(|both| both[0].code == command::SCRYPT) {
            let is_over = (both[1].code, both[1].sequence) == (command::ID, 0);
            assert!(is_over || both[0] == both[1], "{what}: after it comes {:02X}", both[1].code);
        }
        assert_eq!(rig.state(), PanelState::Insecure, "{what}");
        rig.untwist();
        rig.until("it is online", |rig| rig.state() == PanelState::Online);
    }
}
