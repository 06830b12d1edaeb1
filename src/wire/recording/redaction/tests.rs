use super::*;
use crate::wire::{
    modbus::emit_reply,
    osdp::{
        Header, Scbk, Session, emit,
        secure::{Challenge, PanelHandshake},
    },
    recording::{Frames, ModbusFrames},
};

const CARD: [u8; 4] = [0x30, 0x42, 0xca, 0xac];

fn secret() -> Secret {
    Secret::new(&[7; 32])
}

fn header(reply: bool, check: Check) -> Header {
    Header { address: 3, reply, sequence: 1, check }
}

fn plain(reply: bool, security: Option<(u8, &[u8])>, code: u8, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    emit(&header(reply, Check::Crc), security, code, data, &mut out).unwrap();
    out
}

/// What is shown of runs of bytes, each of one sender.
fn shown(redactor: &mut OsdpRedactor, runs: &[(Io, Vec<u8>)]) -> Vec<Content> {
    let mut frames = Frames::default();
    let mut found: Vec<_> = runs.iter().flat_map(|(io, bytes)| frames.push(&(), *io, bytes)).collect();
    found.extend(frames.finish());
    found.iter().flat_map(|found| redactor.show(found)).collect()
}

/// What is shown of one reply; it must be a sound frame with its mark.
fn shown_reply(bytes: Vec<u8>) -> (Vec<u8>, bool) {
    let contents = shown(&mut OsdpRedactor::new(secret()), &[(Io::In, bytes)]);
    let [Content::Bytes { bytes, redacted, .. }] = contents.as_slice() else { panic!("{contents:?}") };
    let Parsed::Frame(frame, _) = parse(&bytes[1..]) else { panic!("its check is wrong") };
    (frame.data.to_vec(), *redacted)
}

fn holds(haystack: &[Content], needle: &[u8]) -> bool {
    haystack.iter().any(|content| match content {
        Content::Bytes { bytes, .. } => bytes.windows(needle.len()).any(|window| window == needle),
        Content::Remark(_) => false,
    })
}

#[test]
fn cards_are_pseudonyms_digits_zeros_and_all_else_stays() {
    let raw = [&[0, 1, 32, 0][..], &CARD].concat();
    let (data, redacted) = shown_reply(plain(true, None, reply::RAW, &raw));
    assert!(redacted && data[..4] == raw[..4] && data.len() == raw.len());
    assert_eq!(data[4..], hmac::sign(&secret().0, &CARD).as_ref()[..4], "it is the plain HMAC");
    let (again, _) = shown_reply(plain(true, None, reply::RAW, &raw));
    assert_eq!(data, again, "the same key is the same pseudonym");

    let keypad = [0, 4, b'1', b'2', b'3', 0x0d];
    assert_eq!(shown_reply(plain(true, None, reply::KEYPAD, &keypad)), (b"\0\x040000".to_vec(), true));
    let unknown = shown_reply(plain(true, None, 0xb1, &CARD));
    assert!(unknown.1 && unknown.0 != CARD, "what a maker adds is unreadable");
    let state = plain(true, None, reply::ISTATR, &[0, 1]);
    assert_eq!(shown_reply(state), (vec![0, 1], false));
}

#[test]
fn a_frame_with_a_mac_alone_is_changed_and_a_sealed_one_is_not() {
    let (_, mut session) = handshake(&Scbk::new([9; 16]));
    let raw = [&[0, 1, 32, 0][..], &CARD].concat();
    let mut mac_only = Vec::new();
    session.seal_unencrypted(&header(true, Check::Checksum), reply::RAW, &raw, &mut mac_only).unwrap();
    let (data, redacted) = shown_reply(mac_only);
    assert!(redacted && data[4..] != CARD);
    let mut sealed = Vec::new();
    session.seal(&header(true, Check::Crc), reply::RAW, &raw, &mut sealed).unwrap();
    let contents = shown(&mut OsdpRedactor::new(secret()), &[(Io::In, sealed.clone())]);
    assert_eq!(contents, [Content::Bytes { io: Io::In, bytes: sealed, redacted: false }]);
}

fn handshake(key: &Scbk) -> (Vec<(Io, Vec<u8>)>, Session) {
    let flag = [u8::from(!key.is_default())];
    let challenge = Challenge::new(key, key.is_default(), [0x5a; 8]);
    let (panel, ccrypt) = PanelHandshake::answer(key, [1; 8], &challenge.rnd_a(), [0xa5; 8]);
    let proven = challenge.verify(&ccrypt).unwrap();
    let (rmac, _) = panel.accept(&proven.cryptogram()).unwrap();
    let mut data = Vec::new();
    crate::wire::osdp::Reply::Ccrypt(ccrypt).encode_data(&mut data);
    let frames = vec![
        (Io::Out, plain(false, Some((0x11, &flag)), command::CHLNG, &challenge.rnd_a())),
        (Io::In, plain(true, Some((0x12, &flag)), reply::CCRYPT, &data)),
        (Io::Out, plain(false, Some((0x13, &flag)), command::SCRYPT, &proven.cryptogram())),
        (Io::In, plain(true, Some((0x14, &[1])), reply::RMAC_I, &rmac)),
    ];
    (frames, proven.finish(&rmac).unwrap())
}

#[test]
fn nothing_is_left_of_a_session_under_the_default_key() {
    let (mut runs, mut session) = handshake(&Scbk::default_key());
    let mut keyset = Vec::new();
    let key = [&[1, 16][..], &[0xc5; 16]].concat();
    session.seal(&header(false, Check::Crc), command::KEYSET, &key, &mut keyset).unwrap();
    runs.push((Io::Out, keyset));
    // A panel that acknowledges in plaintext.
    runs.push((Io::In, plain(true, None, reply::ACK, &[])));
    let (next, _) = handshake(&Scbk::new([0xc5; 16]));
    runs.extend(next);
    let contents = shown(&mut OsdpRedactor::new(secret()), &runs);
    let remarks: Vec<_> = contents.iter().filter(|content| matches!(content, Content::Remark(_))).collect();
    let wanted = [Remark::Hidden(3), Remark::Shown(3, 6)].map(Content::Remark);
    assert_eq!(remarks, wanted.iter().collect::<Vec<_>>());
    assert_eq!(contents.len(), 6, "the next handshake is there: {contents:?}");
}

#[test]
fn what_is_no_frame_is_left_out_wherever_it_was_cut() {
    let mut broken = plain(true, None, reply::RAW, &[&[0, 1, 32, 0][..], &CARD].concat());
    let end = broken.len() - 1;
    broken[end] ^= 1;
    for cut in 0..broken.len() {
        for runs in [&broken[..cut], &broken[cut..], &broken] {
            let contents = shown(&mut OsdpRedactor::new(secret()), &[(Io::In, runs.to_vec())]);
            assert!(!holds(&contents, &CARD[1..3]), "cut at {cut}");
        }
    }
    let contents = shown(&mut OsdpRedactor::new(secret()), &[(Io::In, broken)]);
    let Content::Remark(remark) = &contents[0] else { panic!("{contents:?}") };
    assert_eq!(remark.to_string(), "16 bytes left out: a frame of panel 3, code 0x50: the check is wrong");
}

#[test]
fn key_registers_are_pseudonyms_wherever_a_read_begins() {
    let keys = KeyRegisters { unit: 12, table: Table::Input, start: 401, count: 4 };
    let mut redactor = ModbusRedactor::new(secret());
    redactor.learn(&[keys, keys]);
    let registers = [7_u16, 0, 0, 0x3042, 0xcaac, 9];
    for start in 400..405_u16 {
        for count in 1..=(406 - start) {
            let request = Request::Read { table: Table::Input, start, count };
            let from = usize::from(start - 400);
            let words = registers[from..from + usize::from(count)].to_vec();
            let (mut asked, mut answered) = (Vec::new(), Vec::new());
            request.emit(12, &mut asked).unwrap();
            emit_reply(12, Ok(&request), &Answer::Words(words.clone()), &mut answered);
            let mut frames = ModbusFrames::default();
            frames.push(&(), Io::Out, &asked);
            let found = frames.push(&(), Io::In, &answered);
            let content = redactor.show(&found[0].0, &found[0].1);
            let Content::Bytes { bytes, redacted, .. } = &content else { panic!("{content:?}") };
            let has_key = words.iter().any(|word| matches!(*word, 0x3042 | 0xcaac));
            assert_eq!(*redacted, has_key, "{start} {count}");
            for part in [[0x30, 0x42], [0xca, 0xac]] {
                assert!(!holds(std::slice::from_ref(&content), &part), "{start} {count}");
            }
            assert_eq!(bytes[..3], answered[..3]);
            assert!(
                bytes
                    .split_last_chunk::<2>()
                    .is_some_and(|(body, crc)| *crc == modbus_crc(body).to_le_bytes())
            );
            // Late: nobody knows what it answers.
            let other = Request::Read { table: Table::Coil, start: 0, count: 1 };
            let (mut asked, mut frames) = (Vec::new(), ModbusFrames::default());
            other.emit(12, &mut asked).unwrap();
            frames.push(&(), Io::Out, &asked);
            let mut late = frames.push(&(), Io::In, &answered);
            late.extend(frames.finish());
            let late: Vec<_> = late.iter().map(|(found, answered)| redactor.show(found, answered)).collect();
            assert!(!holds(&late, &[0x30, 0x42]) && !holds(&late, &[0xca, 0xac]), "{start} {count}");
        }
    }
}
