//! Rows 050-09: the frame.

use std::time::Duration;

use intercom_gateway::{
    domain::{EventBody, PanelState},
    panel::osdp::Security,
    simulate::{
        action::{Action, Fault},
        panel::{ChannelSetup, PanelSetup},
    },
    wire::osdp::{
        Check, Header,
        code::{command, reply},
        emit,
    },
};

use crate::{
    layout::with_crc,
    line::{granted, opens, was_sent_again},
    rig::{ADDRESS, Asked, KNOWN, Rig, Say, Setting, own_key},
    support::{Site, site::ENTRANCE},
    table::Channel,
};

/// A run in which everything is sent that is sent to a panel that is well.
fn everything(channel: Channel) -> Rig {
    let mut rig = Rig::at_work(channel);
    rig.card(KNOWN);
    rig.run(Duration::from_secs(1));
    rig.identify(20);
    rig.run(Duration::from_secs(1));
    rig.act(Action::Restart);
    rig.run(Duration::from_secs(3));
    rig
}

pub fn frame_layout(channel: Channel) {
    let rig = everything(channel);
    for sent in &rig.sent {
        let frame = sent.layout();
        assert_eq!((frame.address, frame.is_reply), (ADDRESS, false));
        assert_eq!(frame.mac.is_some(), matches!(frame.block, Some((0x15..=0x18, _))));
    }
    // A frame that does not hold its parts is no answer, though its CRC is right.
    let mut rig = Rig::at_work(channel);
    let mut is_first = true;
    rig.twist(move |asked, bytes| match std::mem::take(&mut is_first) {
        true => Say::soon(with_crc(block_too_long(asked.sequence))),
        false => Say::soon(bytes),
    });
    rig.forget();
    rig.run(Duration::from_secs(1));
    assert!(was_sent_again(&rig, 1) || was_sent_again(&rig, 2), "it is asked again");
    assert_eq!(rig.counted().broken, 1);
}

/// A security block that is longer than its frame.
fn block_too_long(sequence: u8) -> Vec<u8> {
    vec![0xFF, 0x53, ADDRESS | 0x80, 10, 0, 0x0C | sequence, 0x20, 0x40, 0, 0, 0]
}

pub fn number_0(channel: Channel) {
    let mut rig = Rig::new(Setting::usual(channel));
    rig.run(Duration::from_secs(2));
    let numbers: Vec<u8> = rig.sent.iter().map(|sent| sent.layout().sequence).collect();
    let expected: Vec<u8> =
        std::iter::once(0).chain([1, 2, 3].into_iter().cycle()).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
    // The panel begins anew: so does the link, with ID at 0.
    rig.forget();
    rig.act(Action::Restart);
    rig.run(Duration::from_secs(2));
    let restarts = |rig: &Rig| {
        let ids = rig.sent_of(command::ID);
        assert!(ids.iter().all(|id| id.sequence == 0 && id.block.is_none()));
        ids.len()
    };
    assert_eq!((restarts(&rig), rig.state()), (1, PanelState::Online));
    // And where it answers with 0.
    let mut is_first = true;
    rig.forget();
    rig.twist(move |_, bytes| match std::mem::take(&mut is_first) {
        true => Say::soon(plain(0, reply::ACK, &[])),
        false => Say::soon(bytes),
    });
    rig.run(Duration::from_secs(2));
    assert_eq!((restarts(&rig), rig.state()), (1, PanelState::Online));
    opens(&mut rig);
}

/// An answer in the clear, with its mark.
pub fn plain(sequence: u8, code: u8, data: &[u8]) -> Vec<u8> {
    let header = Header { address: ADDRESS, reply: true, sequence, check: Check::Crc };
    let mut bytes = Vec::new();
    emit(&header, None, code, data, &mut bytes).unwrap();
    bytes
}

pub fn som(channel: Channel) {
    for sent in everything(channel).sent {
        assert_eq!(sent.bytes[..2], [0xFF, 0x53]);
    }
}

pub fn addresses(channel: Channel) {
    for address in [0, 1, 0x53, 0x7E] {
        let usual = Setting::usual(channel);
        let setup = PanelSetup { address, ..usual.setup.clone() };
        let mut rig = Rig::new(Setting { setup, ..usual }).working();
        assert!(rig.sent.iter().all(|sent| sent.layout().address == address));
        opens(&mut rig);
        // Another's answer is none.
        let mut is_first = true;
        rig.twist(move |_, mut bytes| {
            if std::mem::take(&mut is_first) {
                bytes[2] ^= 0x02;
                bytes = with_crc(bytes);
            }
            Say::soon(bytes)
        });
        rig.run(Duration::from_secs(1));
        assert_eq!((rig.counted().wrong, rig.counted().timeouts), (1, 1));
    }
}

pub fn set_up_address(channel: Channel) {
    // Whatever goes wrong, it is not tried.
    let mut rig = everything(channel);
    rig.act(Action::Fault(Fault::Mute(true)));
    rig.run(Duration::from_secs(60));
    assert!(rig.sent.iter().all(|sent| sent.bytes[2] == ADDRESS));
    let site = Site::new(&ENTRANCE.replace("address = 0", "address = 127"));
    let refused = site.run(["check"]).failed(2);
    assert!(refused.contains("address") && refused.contains("126"), "{refused}");
}

pub fn length(channel: Channel) {
    // Of what is sent, by `layout`.
    let mut rig = everything(channel);
    let says = |bytes: &[u8]| usize::from(u16::from_le_bytes([bytes[3], bytes[4]]));
    assert!(rig.sent.iter().all(|sent| says(&sent.bytes) == sent.bytes.len() - 1));
    // One too many, and one too few: no answer, and noticed.
    for wrong in [1_i8, -1] {
        let mut is_first = true;
        let broken = rig.counted().timeouts;
        rig.twist(move |_, mut bytes| {
            if std::mem::take(&mut is_first) {
                bytes[3] = bytes[3].wrapping_add_signed(wrong);
                bytes = with_crc(bytes);
            }
            Say::soon(bytes)
        });
        rig.forget();
        rig.run(Duration::from_secs(1));
        assert!((1..rig.sent.len()).any(|number| was_sent_again(&rig, number)), "{wrong}");
        assert_eq!(rig.counted().timeouts, broken + 1);
    }
    opens(&mut rig);
}

pub fn control(channel: Channel) {
    for sent in everything(channel).sent {
        let control = sent.bytes[5];
        assert_eq!(control & 0xF0, 0, "reserved");
        assert_eq!(control & 0x04, 0x04, "CRC");
        assert_eq!(control & 0x08 != 0, sent.layout().block.is_some());
    }
    // Reserved bits of an answer are for later editions.
    let mut rig = Rig::at_work(channel);
    if channel == Channel::Basic {
        rig.twist(|_, mut bytes| {
            bytes[5] |= 0xF0;
            Say::soon(with_crc(bytes))
        });
    }
    opens(&mut rig);
    assert_eq!(rig.counted().timeouts, 0);
}

pub fn security_block(channel: Channel) {
    let rig = everything(channel);
    for sent in &rig.sent {
        let frame = sent.layout();
        let expected = match frame.code {
            command::ID | command::CAP => None,
            command::CHLNG => Some((0x11, vec![1])),
            command::SCRYPT => Some((0x13, vec![1])),
            _ if frame.data.is_empty() => Some((0x15, Vec::new())),
            _ => Some((0x17, Vec::new())),
        };
        assert_eq!(frame.block, expected, "{:02X}", frame.code);
        if matches!(frame.block, Some((0x17, _))) {
            assert_eq!(frame.data.len() % 16, 0);
        }
    }
    // What bears a block of another step, or none, is no answer in a session.
    let mut rig = Rig::at_work(channel);
    rig.card(KNOWN);
    let mut is_first = true;
    rig.twist(move |_, mut bytes| {
        if std::mem::take(&mut is_first) {
            bytes[7] = 0x16;
            bytes = with_crc(bytes);
        }
        Say::soon(bytes)
    });
    rig.run(Duration::from_secs(2));
    assert_eq!((rig.counted().wrong, granted(&rig)), (1, 1), "told once, and the other noticed");
}

pub fn code_byte(channel: Channel) {
    let mut rig = everything(channel);
    let mut codes: Vec<u8> = rig.sent.iter().map(|sent| sent.layout().code).collect();
    codes.sort_unstable();
    codes.dedup();
    let mut expected = vec![command::POLL, command::ID, command::CAP, command::LSTAT, command::ISTAT];
    expected.extend([command::RSTAT, command::OUT, command::LED, command::BUZ]);
    if channel == Channel::Secure {
        expected.extend([command::CHLNG, command::SCRYPT]);
    }
    assert_eq!(codes, expected);
    // The code of an answer says what it is: the same four bytes as a card, and as something else.
    rig.forget();
    let data = [&[0, 0, 32, 0][..], &KNOWN].concat();
    if channel == Channel::Basic {
        for (code, cards) in [(reply::RSTATR, 0), (reply::RAW, 1)] {
            let (mut is_first, data) = (true, data.clone());
            rig.twist(move |asked, bytes| {
                let is_it = asked.code == command::POLL && std::mem::take(&mut is_first);
                Say::soon(if is_it { plain(asked.sequence, code, &data) } else { bytes })
            });
            rig.run(Duration::from_secs(1));
            assert_eq!(granted(&rig), cards, "{code:02X}");
        }
    }
}

pub fn codes_in_range(channel: Channel) {
    let mut rig = everything(channel);
    assert!(rig.sent.iter().all(|sent| (0x60..=0x7F).contains(&sent.layout().code)));
    // What the standard does not have means nothing, and the link goes on.
    rig.forget();
    if channel == Channel::Basic {
        for code in [0x00, 0x3F, 0x5F, 0xAA, 0xFF] {
            let mut is_first = true;
            rig.twist(move |asked, bytes| {
                let is_it = asked.code == command::POLL && std::mem::take(&mut is_first);
                Say::soon(if is_it { plain(asked.sequence, code, &KNOWN) } else { bytes })
            });
            rig.run(Duration::from_secs(1));
            assert_eq!(rig.state(), PanelState::Online, "{code:02X}");
            assert_eq!(rig.events, [], "{code:02X}");
        }
    }
    opens(&mut rig);
}

pub fn crc_alone(channel: Channel) {
    let mut rig = everything(channel);
    // Losses do not change it.
    let mut number = 0;
    rig.twist(move |_, bytes| {
        number += 1;
        if number % 3 == 0 { Vec::new() } else { Say::soon(bytes) }
    });
    rig.run(Duration::from_secs(20));
    assert!(rig.sent.iter().all(|sent| sent.bytes[5] & 0x04 != 0));
    assert_eq!(rig.state(), PanelState::Online);
}

pub fn bad_crc(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.forget();
    rig.card(KNOWN);
    let mut number = 0;
    rig.twist(move |_, mut bytes| {
        number += 1;
        if matches!(number, 1 | 2 | 7) {
            *bytes.last_mut().unwrap() ^= 0x55;
        }
        Say::soon(bytes)
    });
    rig.run(Duration::from_secs(3));
    let again = (1..rig.sent.len()).filter(|number| was_sent_again(&rig, *number)).count();
    assert_eq!((again, rig.counted().broken, granted(&rig)), (3, 3, 1));
    assert!(rig.was_told(|what| matches!(what, EventBody::DoorUnlocked(_))));
}

pub fn cleartext(channel: Channel) {
    if channel == Channel::Secure {
        let rig = everything(channel);
        for sent in &rig.sent {
            let frame = sent.layout();
            let is_clear = !matches!(frame.block, Some((0x15 | 0x17, _)));
            let may_be = [command::ID, command::CAP, command::COMSET, command::CHLNG, command::SCRYPT];
            assert!(!is_clear || may_be.contains(&frame.code), "{:02X} in the clear", frame.code);
        }
        return;
    }
    // A panel that has no secure channel, where one is wanted.
    let setup = PanelSetup::new(ADDRESS, ChannelSetup::Unsupported, 7);
    let setting =
        Setting { setup, security: Security::Required, key: Some(own_key()), ..Setting::usual(channel) };
    let mut rig = Rig::new(setting);
    rig.card(KNOWN);
    rig.run(Duration::from_secs(60));
    assert!(rig.sent.len() > 10 && rig.state() == PanelState::Insecure);
    for sent in &rig.sent {
        assert!(matches!(sent.layout().code, command::ID | command::CAP | command::CHLNG));
    }
    assert_eq!(granted(&rig), 0);
}

pub fn wrong_number(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.forget();
    rig.card(KNOWN);
    let mut is_first = true;
    let wrong = move |asked: &Asked, mut bytes: Vec<u8>| {
        if std::mem::take(&mut is_first) {
            bytes[5] = (bytes[5] & !3) | (asked.sequence % 3 + 1);
            bytes = with_crc(bytes);
        }
        Say::soon(bytes)
    };
    rig.twist(wrong);
    rig.run(Duration::from_secs(2));
    let again = (1..rig.sent.len()).filter(|number| was_sent_again(&rig, *number)).count();
    assert_eq!((again, rig.counted().wrong, rig.counted().timeouts, granted(&rig)), (1, 1, 1, 1));
}
