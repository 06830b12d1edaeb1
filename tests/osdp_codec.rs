//! Properties of OSDP's codec: what is emitted parses, whatever comes parses to something, noise is left behind.

use intercom_gateway::wire::osdp::capture::{CaptureLine, Io};
use intercom_gateway::wire::osdp::control::{
    Blink, BuzzerControl, Colour, LedControl, OutputAction, OutputControl, PermanentLed, TemporaryLed,
    TextControl, TextLine, TextMode, Tone,
};
use intercom_gateway::wire::osdp::decoder::{Decoder, Item};
use intercom_gateway::wire::osdp::frame::{BROADCAST, Fault, MARK, MAX_FRAME};
use intercom_gateway::wire::osdp::reply::{Capability, Ccrypt, Nak, PdId};
use intercom_gateway::wire::osdp::secure::{Challenge, OpenError, PanelHandshake};
use intercom_gateway::wire::osdp::{
    Check, Command, Frame, Header, NakCode, Parsed, Reply, Scbk, SecurityBlock, Sensitive, Session, emit,
    parse,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn data(length: std::ops::Range<usize>) -> impl Strategy<Value = Sensitive> {
    vec(any::<u8>(), length).prop_map(Sensitive)
}

fn blink() -> impl Strategy<Value = Blink> {
    (any::<u8>(), any::<u8>(), select(Colour::ALL), select(Colour::ALL))
        .prop_map(|(on, off, on_colour, off_colour)| Blink { on, off, on_colour, off_colour })
}

fn led() -> impl Strategy<Value = LedControl> {
    let temporary = (select(TemporaryLed::ALL), blink(), any::<u16>());
    let permanent = (select(PermanentLed::ALL), blink());
    (any::<(u8, u8)>(), temporary, permanent).prop_map(|((reader, led), temporary, permanent)| LedControl {
        reader,
        led,
        temporary: temporary.0,
        temporary_blink: temporary.1,
        timer: temporary.2,
        permanent: permanent.0,
        permanent_blink: permanent.1,
    })
}

fn output() -> impl Strategy<Value = OutputControl> {
    (any::<u8>(), select(OutputAction::ALL), any::<u16>()).prop_map(|(output, action, timer)| OutputControl {
        output,
        action,
        timer,
    })
}

fn buzzer() -> impl Strategy<Value = BuzzerControl> {
    (select(Tone::ALL), any::<(u8, u8, u8, u8)>())
        .prop_map(|(tone, (reader, on, off, count))| BuzzerControl { reader, tone, on, off, count })
}

fn text() -> impl Strategy<Value = TextControl> {
    (select(TextMode::ALL), any::<(u8, u8, u8, u8)>(), "[ -~]{0,255}").prop_map(
        |(mode, (reader, seconds, row, column), text)| TextControl {
            reader,
            mode,
            seconds,
            row,
            column,
            text: TextLine::new(&text).unwrap(),
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        select(vec![
            Command::Poll,
            Command::Id,
            Command::Cap,
            Command::Lstat,
            Command::Istat,
            Command::Ostat,
            Command::Rstat
        ]),
        vec(output(), 1..20).prop_map(Command::Out),
        vec(led(), 1..8).prop_map(Command::Led),
        buzzer().prop_map(Command::Buz),
        text().prop_map(Command::Text),
        (0..BROADCAST, any::<u32>()).prop_map(|(address, baud)| Command::Comset { address, baud }),
        any::<[u8; 16]>().prop_map(|key| Command::Keyset(Scbk::new(key))),
        any::<[u8; 8]>().prop_map(Command::Chlng),
        any::<[u8; 16]>().prop_map(Command::Scrypt),
        any::<u16>().prop_map(Command::AcuRxSize),
        (any::<[u8; 3]>(), data(0..200)).prop_map(|(oui, data)| Command::Mfg { oui, data }),
        (0xa0_u8.., data(0..200)).prop_map(|(code, data)| Command::Other { code, data }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let states = || vec(any::<u8>(), 0..40);
    prop_oneof![
        select(vec![Reply::Ack, Reply::Busy]),
        (any::<u8>(), states())
            .prop_map(|(reason, details)| Reply::Nak(Nak { reason: NakCode::from_byte(reason), details })),
        (any::<[u8; 3]>(), any::<(u8, u8)>(), any::<u32>(), any::<[u8; 3]>()).prop_map(
            |(oui, (model, version), serial, firmware)| Reply::PdId(PdId {
                oui,
                model,
                version,
                serial,
                firmware
            })
        ),
        vec(
            any::<(u8, u8, u8)>().prop_map(|(function, level, count)| Capability { function, level, count }),
            0..20
        )
        .prop_map(Reply::PdCap),
        any::<(bool, bool)>().prop_map(|(tamper, power_failed)| Reply::LStatR { tamper, power_failed }),
        states().prop_map(Reply::IStatR),
        states().prop_map(Reply::OStatR),
        states().prop_map(Reply::RStatR),
        (any::<(u8, u8)>(), data(0..60), 0_u16..8).prop_map(|((reader, format), data, spare)| {
            let bits = (u16::try_from(data.len()).unwrap() * 8).saturating_sub(spare);
            Reply::Raw { reader, format, bits, data }
        }),
        (any::<(u8, u8)>(), data(0..256)).prop_map(|((reader, direction), data)| Reply::Fmt {
            reader,
            direction,
            data
        }),
        (any::<u8>(), data(0..256)).prop_map(|(reader, digits)| Reply::Keypad { reader, digits }),
        (0..BROADCAST, any::<u32>()).prop_map(|(address, baud)| Reply::Com { address, baud }),
        any::<([u8; 8], [u8; 8], [u8; 16])>().prop_map(|(cuid, rnd_b, cryptogram)| Reply::Ccrypt(Ccrypt {
            cuid,
            rnd_b,
            cryptogram
        })),
        any::<[u8; 16]>().prop_map(Reply::RmacI),
        (any::<[u8; 3]>(), data(0..200)).prop_map(|(oui, data)| Reply::MfgRep { oui, data }),
        (0xa0_u8.., data(0..200)).prop_map(|(code, data)| Reply::Other { code, data }),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    (0..=BROADCAST, any::<bool>(), 0_u8..4, select(&[Check::Crc, Check::Checksum][..]))
        .prop_map(|(address, reply, sequence, check)| Header { address, reply, sequence, check })
}

/// Bytes in which the beginnings of frames are frequent.
fn noise(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => any::<u8>(), 1 => select(vec![0x53, 0xff, 0x00, 0x01, 0x04, 0x0c])];
    vec(byte, length)
}

/// Reads a whole buffer as a receiver does whose line has fallen silent: frames with the place of their SOM.
fn frames(buffer: &[u8]) -> Vec<(usize, Frame<'_>)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < buffer.len() {
        at += match parse(&buffer[at..]) {
            Parsed::Incomplete { missing } => {
                assert!(missing > 0);
                1
            }
            Parsed::Noise(drop) | Parsed::Broken { drop, .. } => drop,
            Parsed::Frame(frame, length) => {
                found.push((at, frame));
                length
            }
        };
    }
    assert_eq!(at, buffer.len(), "nothing beyond the end is dropped");
    found
}

fn opened(scbk: [u8; 16], rnd_a: [u8; 8], rnd_b: [u8; 8]) -> (Session, Session) {
    let scbk = Scbk::new(scbk);
    let challenge = Challenge::new(&scbk, false, rnd_a);
    let (panel, ccrypt) = PanelHandshake::answer(&scbk, [0; 8], &rnd_a, rnd_b);
    let proven = challenge.verify(&ccrypt).unwrap();
    let (rmac, panel) = panel.accept(&proven.cryptogram()).unwrap();
    (proven.finish(&rmac).unwrap(), panel)
}

fn only_frame(bytes: &[u8]) -> Frame<'_> {
    assert_eq!(bytes[0], MARK);
    let Parsed::Frame(frame, length) = parse(&bytes[1..]) else { panic!("{:?}", parse(&bytes[1..])) };
    assert_eq!(length, bytes.len() - 1);
    frame
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_command_comes_back(command in command()) {
        let mut data = Vec::new();
        command.encode_data(&mut data);
        prop_assert_eq!(Command::decode(command.code(), &data), Ok(command));
    }

    #[test]
    fn every_reply_comes_back(reply in reply()) {
        let mut data = Vec::new();
        reply.encode_data(&mut data);
        prop_assert_eq!(Reply::decode(reply.code(), &data), Ok(reply));
    }

    /// Whatever is accepted is exactly what we would write: no length, count or filler is overlooked, but the counts of FMT
    /// and KEYPAD, which some panels have wrong.
    #[test]
    fn what_decodes_encodes_to_the_same_bytes(code in any::<u8>(), data in noise(0..80)) {
        let mut written = Vec::new();
        if let Ok(command) = Command::decode(code, &data) {
            command.encode_data(&mut written);
            prop_assert_eq!(&written, &data);
        }
        written.clear();
        match Reply::decode(code, &data) {
            Ok(Reply::LStatR { .. }) | Err(_) => {}
            Ok(reply) => {
                reply.encode_data(&mut written);
                let counted = match reply {
                    Reply::Fmt { .. } => Some(2),
                    Reply::Keypad { .. } => Some(1),
                    _ => None,
                };
                let mut data = data;
                if let Some(counted) = counted {
                    data[counted] = (data.len() - counted - 1) as u8;
                }
                prop_assert_eq!(&written, &data);
            }
        }
    }

    #[test]
    fn every_frame_comes_back(
        header in header(),
        security in proptest::option::of((0x11_u8..0x15, vec(any::<u8>(), 0..4))),
        code in any::<u8>(),
        data in vec(any::<u8>(), 0..1400),
    ) {
        let mut out = Vec::new();
        let block = security.as_ref().map(|(kind, data)| (*kind, data.as_slice()));
        emit(&header, block, code, &data, &mut out).unwrap();
        let frame = only_frame(&out);
        prop_assert_eq!(frame.header(), header);
        prop_assert_eq!(frame.security, block.map(|(kind, data)| SecurityBlock { kind, data }));
        prop_assert_eq!((frame.code, frame.data, frame.mac), (code, data.as_slice(), None));
        prop_assert_eq!(frame.raw, &out[1..]);
        for end in 1..out.len().min(64) {
            let parsed = parse(&out[1..end]);
            prop_assert!(matches!(parsed, Parsed::Incomplete { missing } if missing <= out.len() - end), "{parsed:?}");
        }
    }

    #[test]
    fn any_bytes_parse_to_something_and_come_to_an_end(bytes in noise(0..3000)) {
        for (_, frame) in frames(&bytes) {
            let _ = Command::decode(frame.code, frame.data);
            let _ = Reply::decode(frame.code, frame.data);
            let mut session = opened([1; 16], [2; 8], [3; 8]).0;
            prop_assert!(session.open(&frame).is_err());
        }
    }

    /// The reader of captures over the same, with its handshakes and keys in between.
    #[test]
    fn any_capture_is_read_to_its_end(lines in vec(noise(0..300), 1..6)) {
        let mut decoder = Decoder::new(None);
        let mut before = 0;
        for data in lines {
            before += data.len();
            let line = CaptureLine { seconds: 0, nanos: 0, io: Io::Trace, data, source: String::new(), redacted: false, note: None };
            for (_, item) in decoder.line(1, &line) {
                match item {
                    Item::Frame(record) => prop_assert!(record.data.len() < before && record.details().len() < 20_000),
                    Item::Noise(bytes) | Item::Unfinished { bytes, .. } => prop_assert!(bytes <= before),
                    Item::Note(_) => {}
                }
            }
        }
    }

    /// Behind noise, in which anything may look like the beginning of a frame, and behind broken frames.
    #[test]
    fn a_good_frame_is_found_behind_noise(
        before in noise(0..200),
        header in header(),
        data in vec(any::<u8>(), 0..40),
        after in noise(0..20),
    ) {
        let mut bytes = before;
        let start = bytes.len() + 1;
        emit(&header, None, 0x60, &data, &mut bytes).unwrap();
        let raw = bytes[start..].to_vec();
        bytes.extend_from_slice(&after);
        let found = frames(&bytes);
        // Noise may be a frame of its own by chance; then, and only then, it may take bytes of ours.
        let swallowed = found.iter().any(|(at, frame)| *at < start && at + frame.raw.len() > start);
        prop_assert!(swallowed || found.iter().any(|(at, frame)| *at == start && frame.raw == raw));
    }

    /// A CRC-16 sees every burst of up to 16 bits. (LEN and CTRL say what the check is, so they are left alone.)
    #[test]
    fn a_changed_byte_is_seen(data in vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let header = Header { address: 5, reply: true, sequence: 2, check: Check::Crc };
        let mut bytes = Vec::new();
        emit(&header, None, 0x50, &data, &mut bytes).unwrap();
        let places: Vec<usize> = [2].into_iter().chain(6..bytes.len()).collect();
        bytes[*at.get(&places)] ^= flip;
        let length = bytes.len() - 1;
        let parsed = parse(&bytes[1..]);
        prop_assert!(
            matches!(parsed, Parsed::Broken { drop: 1, length: claimed, fault: Fault::Check, .. } if claimed == length),
            "{parsed:?}"
        );
    }

    /// Both ends, over any conversation: what one seals the other opens; what was changed or is of an earlier turn is
    /// refused, and changes nothing.
    #[test]
    fn a_secure_conversation(
        (scbk, rnd_a, rnd_b) in any::<([u8; 16], [u8; 8], [u8; 8])>(),
        turns in vec((command(), reply(), any::<prop::sample::Index>(), 1_u8..), 1..8),
    ) {
        let (mut control_panel, mut panel) = opened(scbk, rnd_a, rnd_b);
        let (mut sequence, mut last_command, mut last_reply) = (0, Vec::new(), Vec::new());
        for (command, reply, at, flip) in turns {
            sequence = sequence % 3 + 1;
            let header = Header { address: 9, reply: false, sequence, check: Check::Crc };
            let (mut data, mut out) = (Vec::new(), Vec::new());
            command.encode_data(&mut data);
            control_panel.seal(&header, command.code(), &data, &mut out).unwrap();
            let frame = only_frame(&out);
            let kind = if data.is_empty() { 0x15 } else { 0x17 };
            prop_assert_eq!(frame.security.map(|block| block.kind), Some(kind));
            tampered_is_refused(&frame, &mut panel, at, flip);
            if !last_command.is_empty() {
                prop_assert_eq!(panel.open(&only_frame(&last_command)), Err(OpenError::Mac), "replayed");
                prop_assert_eq!(control_panel.open(&only_frame(&last_reply)), Err(OpenError::Mac), "replayed");
            }
            prop_assert_eq!(panel.open(&frame), Ok(data));
            last_command = out;

            let (mut data, mut out) = (Vec::new(), Vec::new());
            reply.encode_data(&mut data);
            panel.seal(&Header { reply: true, ..header }, reply.code(), &data, &mut out).unwrap();
            let frame = only_frame(&out);
            tampered_is_refused(&frame, &mut control_panel, at, flip);
            prop_assert_eq!(control_panel.open(&frame), Ok(data));
            last_reply = out;
        }
    }
}

fn tampered_is_refused(frame: &Frame<'_>, session: &mut Session, at: prop::sample::Index, flip: u8) {
    let covered = frame.authenticated().len() + 4;
    let mut raw = frame.raw.to_vec();
    raw[at.index(covered)] ^= flip;
    let tampered = Frame {
        code: raw[7],
        data: &raw[8..covered - 4],
        mac: raw[covered - 4..covered].try_into().ok(),
        raw: &raw,
        ..*frame
    };
    assert_eq!(session.open(&tampered), Err(OpenError::Mac));
}

#[test]
fn lengths_outside_the_standard_are_noise() {
    for length in [0_u16, 6, 1441, u16::MAX] {
        let [low, high] = length.to_le_bytes();
        assert_eq!(parse(&[0x53, 0, low, high, 4, 0x60]), Parsed::Noise(1), "{length}");
    }
    let mut out = Vec::new();
    let header = Header { address: 1, reply: false, sequence: 0, check: Check::Crc };
    let fits = vec![0; MAX_FRAME - 8];
    emit(&header, None, 0x80, &fits, &mut out).unwrap();
    assert_eq!(only_frame(&out).data.len(), fits.len());
    let before = out.clone();
    assert!(emit(&header, None, 0x80, &[fits, vec![0]].concat(), &mut out).is_err());
    assert_eq!(out, before);
}

#[test]
fn a_right_check_over_parts_that_do_not_fit() {
    for body in [
        &[0x53_u8, 1, 9, 0, 0x08, 4, 0x15, 0x60][..], // the security block takes the code's place
        &[0x53, 1, 9, 0, 0x08, 1, 0x15, 0x60],        // a security block without a kind
        &[0x53, 1, 11, 0, 0x08, 2, 0x15, 0x60, 1, 2], // a MAC of two bytes
    ] {
        let checksum = body.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        let bytes = [body, &[checksum]].concat();
        let parsed = parse(&bytes);
        assert!(
            matches!(parsed, Parsed::Broken { drop, address: 1, fault: Fault::Structure, .. } if drop == bytes.len()),
            "{parsed:?}"
        );
    }
}

#[test]
fn credentials_do_not_show_in_debug() {
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        Reply::decode(0x50, &[0, 0, 16, 0, 0xab, 0xcd]).unwrap(),
        Reply::decode(0x53, &[0, 2, 0x31, 0x32]).unwrap(),
        Command::decode(0x75, &[&[1, 16][..], &[0xab; 16]].concat()).unwrap(),
        Frame {
            address: 1,
            reply: true,
            sequence: 1,
            check: Check::Crc,
            security: None,
            code: 0x50,
            data: &[0xab],
            mac: None,
            raw: &[0xab],
        },
        opened([0xab; 16], [1; 8], [2; 8]).0,
    );
    for secret in ["171", "205", "ab", "AB", "49"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
