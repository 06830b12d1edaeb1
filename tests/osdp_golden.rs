//! OSDP frames of other makers, byte by byte: a recorded session in which a panel is given its key, and what the
//! frames of our own must look like.

use intercom_gateway::wire::osdp::control::{OutputAction, OutputControl};
use intercom_gateway::wire::osdp::reply::{Ccrypt, PdId};
use intercom_gateway::wire::osdp::secure::{Challenge, PanelHandshake};
use intercom_gateway::wire::osdp::{
    Check, Command, Frame, Header, Parsed, Reply, Scbk, Session, emit, parse,
};

const ID: &str = "53000900046100c066";
const PDID: &str = "5380140004450a00170300cafedeed015002043b";
const CHLNG: &str = "530013000d03110076cdcd921212d3ee6a8c8b";
const CCRYPT: &str = "53802b000d031200760a00170300cafede61626364656667684b7e2f98ad79bd968119a8d1d3dbdaee8efd";
const SCRYPT: &str = "53001b000e03130077a230f5d33b25f43434929ab208de90a74103";
const RMAC_I: &str = "53801b000e03140178d8f543e207ac5d2e30be9fac3aa04bea9585";
const KEYSET: &str =
    "53002e000f021775ea64e35174e309d66ad2807354cdde659eb5226f32566390915ed77987bf517c4125ec776496";
const ACK: &str = "53800e000f021640b1892dfe5295";
const NEW_KEY: &str = "d459f02f6602e5651f3b553bc283d43e";

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn frame(raw: &[u8]) -> Frame<'_> {
    match parse(raw) {
        Parsed::Frame(frame, length) if length == raw.len() => frame,
        other => panic!("{other:?}"),
    }
}

fn reply(raw: &[u8]) -> Reply {
    let frame = frame(raw);
    assert!(frame.reply);
    Reply::decode(frame.code, frame.data).unwrap()
}

/// What we would send for it.
fn emitted(header: Header, security: Option<(u8, &[u8])>, command: &Command) -> String {
    let (mut data, mut out) = (Vec::new(), Vec::new());
    command.encode_data(&mut data);
    emit(&header, security, command.code(), &data, &mut out).unwrap();
    assert_eq!(out.remove(0), 0xff);
    hex::encode(out)
}

fn command_header(sequence: u8) -> Header {
    Header { address: 0, reply: false, sequence, check: Check::Crc }
}

#[test]
fn identification() {
    assert_eq!(emitted(command_header(0), None, &Command::Id), ID);
    let expected =
        PdId { oui: [0x0a, 0x00, 0x17], model: 3, version: 0, serial: 0xedde_feca, firmware: [1, 80, 2] };
    assert_eq!(reply(&bytes(PDID)), Reply::PdId(expected));
}

#[test]
fn the_control_panels_side_of_a_recorded_handshake_and_key_change() {
    let challenge = Challenge::new(&Scbk::default_key(), true, *b"\xcd\xcd\x92\x12\x12\xd3\xee\x6a");
    let flag = challenge.key_flag();
    assert_eq!(emitted(command_header(1), Some((0x11, &flag)), &challenge.command()), CHLNG);
    let Reply::Ccrypt(ccrypt) = reply(&bytes(CCRYPT)) else { panic!("no CCRYPT") };
    let proven = challenge.verify(&ccrypt).unwrap();
    assert_eq!(emitted(command_header(2), Some((0x13, &flag)), &proven.command()), SCRYPT);
    let raw = bytes(RMAC_I);
    let Reply::RmacI(rmac) = reply(&raw) else { panic!("no RMAC_I") };
    assert_eq!(frame(&raw).security.map(|block| (block.kind, block.data.to_vec())), Some((0x14, vec![1])));
    let mut session = proven.finish(&rmac).unwrap();

    let (mut data, mut out) = (Vec::new(), Vec::new());
    Command::Keyset(Scbk::from_hex(NEW_KEY).unwrap()).encode_data(&mut data);
    session.seal(&command_header(3), 0x75, &data, &mut out).unwrap();
    assert_eq!(hex::encode(&out[1..]), KEYSET);
    assert_eq!(session.open(&frame(&bytes(ACK))), Ok(vec![]));
}

#[test]
fn the_panels_side_of_the_same() {
    let raw = bytes(CHLNG);
    let Ok(Command::Chlng(rnd_a)) = Command::decode(frame(&raw).code, frame(&raw).data) else { panic!() };
    let cuid = *b"\x0a\x00\x17\x03\x00\xca\xfe\xde";
    let (handshake, ccrypt) = PanelHandshake::answer(&Scbk::default_key(), cuid, &rnd_a, *b"abcdefgh");
    assert_eq!(reply(&bytes(CCRYPT)), Reply::Ccrypt(ccrypt));
    let raw = bytes(SCRYPT);
    let Ok(Command::Scrypt(cryptogram)) = Command::decode(frame(&raw).code, frame(&raw).data) else {
        panic!()
    };
    let (rmac, mut session) = handshake.accept(&cryptogram).unwrap();
    assert_eq!(reply(&bytes(RMAC_I)), Reply::RmacI(rmac));

    let raw = bytes(KEYSET);
    let data = session.open(&frame(&raw)).unwrap();
    assert_eq!(hex::encode(&data), format!("0110{NEW_KEY}"));
    let expected = Command::Keyset(Scbk::from_hex(NEW_KEY).unwrap());
    assert_eq!(Command::decode(frame(&raw).code, &data), Ok(expected));
    let mut out = Vec::new();
    session.seal(&Header { reply: true, ..command_header(3) }, 0x40, &[], &mut out).unwrap();
    assert_eq!(hex::encode(&out[1..]), ACK);
}

#[test]
fn power_failure_and_the_lengths_that_the_timing_rests_on() {
    let expected = Reply::LStatR { tamper: false, power_failed: true };
    assert_eq!(reply(&bytes("53800a00044800010fa1")), expected);

    let mut control_panel = opened(&Scbk::new([9; 16])).0;
    let mut length = |code, data: &[u8], reply| {
        let mut out = Vec::new();
        control_panel.seal(&Header { reply, ..command_header(1) }, code, data, &mut out).unwrap();
        out.len()
    };
    assert_eq!(length(0x60, &[], false), 15, "POLL");
    assert_eq!(length(0x40, &[], true), 15, "ACK");
    let mut out_data = Vec::new();
    OutputControl { output: 0, action: OutputAction::TemporaryOn, timer: 30 }.encode(&mut out_data);
    assert_eq!(out_data, [0, 5, 30, 0]);
    assert_eq!(length(0x68, &out_data, false), 31, "OUT");
    assert_eq!(length(0x50, &[0, 0, 32, 0, 0x30, 0x42, 0xca, 0xac], true), 31, "RAW");
}

#[test]
fn a_wrong_key_or_cryptogram_ends_the_handshake() {
    let rnd_a = [1; 8];
    let challenge = Challenge::new(&Scbk::new([1; 16]), false, rnd_a);
    let (_, other) = PanelHandshake::answer(&Scbk::new([2; 16]), [0; 8], &rnd_a, [5; 8]);
    assert!(challenge.verify(&other).is_err());
    let (panel, right) = PanelHandshake::answer(&Scbk::new([1; 16]), [0; 8], &rnd_a, [5; 8]);
    assert!(challenge.verify(&Ccrypt { rnd_b: [6; 8], ..right }).is_err(), "another random number");
    let proven = challenge.verify(&right).unwrap();
    assert!(panel.clone().accept(&right.cryptogram).is_err(), "the client's cryptogram reflected");
    let (mut rmac, _) = panel.accept(&proven.cryptogram()).unwrap();
    rmac[15] ^= 1;
    assert!(proven.finish(&rmac).is_err());
}

fn opened(scbk: &Scbk) -> (Session, Session) {
    let challenge = Challenge::new(scbk, false, [7; 8]);
    let (panel, ccrypt) = PanelHandshake::answer(scbk, [1; 8], &challenge.rnd_a(), [8; 8]);
    let proven = challenge.verify(&ccrypt).unwrap();
    let (rmac, panel) = panel.accept(&proven.cryptogram()).unwrap();
    (proven.finish(&rmac).unwrap(), panel)
}
