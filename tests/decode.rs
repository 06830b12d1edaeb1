//! `decode` over captures: the SIA's conformance kit's, and a session in which a panel is given its key.

#[path = "support/not_run.rs"]
mod not_run;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use clap::Parser as _;
use intercom_gateway::cli::decode::{Decode, print};
use intercom_gateway::wire::crc;
use intercom_gateway::wire::modbus::{Answer, Request, Table, emit_reply};
use intercom_gateway::wire::osdp::capture::{CaptureLine, Io};
use intercom_gateway::wire::osdp::secure::{Challenge, PanelHandshake};
use intercom_gateway::wire::osdp::{Check, Command, Header, Reply, Scbk, Sensitive, Session, emit};
use intercom_gateway::wire::recording::pcap::{self, Event, Packet};
use serde_json::{Value, json};

const SESSION: [&str; 8] = [
    "53000900046100c066",
    "5380140004450a00170300cafedeed015002043b",
    "530013000d03110076cdcd921212d3ee6a8c8b",
    "53802b000d031200760a00170300cafede61626364656667684b7e2f98ad79bd968119a8d1d3dbdaee8efd",
    "53001b000e03130077a230f5d33b25f43434929ab208de90a74103",
    "53801b000e03140178d8f543e207ac5d2e30be9fac3aa04bea9585",
    "53002e000f021775ea64e35174e309d66ad2807354cdde659eb5226f32566390915ed77987bf517c4125ec776496",
    "53800e000f021640b1892dfe5295",
];
const NEW_KEY: &str = "d459f02f6602e5651f3b553bc283d43e";

/// A capture with a line for each of these runs of bytes.
fn capture(lines: &[Vec<u8>]) -> String {
    let line = |(n, data): (usize, &Vec<u8>)| {
        let line = CaptureLine {
            seconds: n as u64,
            nanos: 0,
            io: Io::Trace,
            data: data.clone(),
            source: "test".into(),
            redacted: false,
            note: None,
        };
        line.to_line() + "\n"
    };
    lines.iter().enumerate().map(line).collect()
}

fn session() -> Vec<Vec<u8>> {
    SESSION.iter().map(|text| [vec![0xff], hex::decode(text).unwrap()].concat()).collect()
}

fn table(text: &str, key: Option<Scbk>) -> (String, Result<(), String>) {
    let mut out = Vec::new();
    let result = print(text.as_bytes(), "c.osdpcap", key, false, &mut out);
    (String::from_utf8(out).unwrap(), result.map_err(|error| error.to_string()))
}

fn objects(text: &str, key: Option<Scbk>) -> Vec<Value> {
    objects_and_end(text.as_bytes(), key).0
}

fn objects_and_end(recording: &[u8], key: Option<Scbk>) -> (Vec<Value>, Result<(), String>) {
    let mut out = Vec::new();
    let result = print(recording, "c", key, true, &mut out);
    let objects = String::from_utf8(out).unwrap();
    let objects = objects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (objects, result.map_err(|error| error.to_string()))
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_capture() {
    let capture = capture(&session());
    assert_eq!(table(&format!("\u{feff}{capture}"), None), table(&capture, None));
    assert!(table(&capture, None).1.is_ok());
}

fn column<'a>(objects: &'a [Value], name: &str) -> Vec<&'a Value> {
    objects.iter().map(|object| &object[name]).collect()
}

/// One frame of an exchange that we write ourselves.
fn sealed(session: &mut Session, sequence: u8, reply: bool, code: u8, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let header = Header { address: 0, reply, sequence, check: Check::Crc };
    session.seal(&header, code, data, &mut out).unwrap();
    out
}

fn plain(security: Option<(u8, &[u8])>, sequence: u8, reply: bool, code: u8, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let header = Header { address: 0, reply, sequence, check: Check::Crc };
    emit(&header, security, code, data, &mut out).unwrap();
    out
}

/// A handshake with `key` as four frames, and the session that it opens.
fn handshake(key: &Scbk) -> (Vec<Vec<u8>>, Session) {
    let challenge = Challenge::new(key, false, [0x5a; 8]);
    let (panel, ccrypt) = PanelHandshake::answer(key, [1; 8], &challenge.rnd_a(), [0xa5; 8]);
    let proven = challenge.verify(&ccrypt).unwrap();
    let (rmac, _) = panel.accept(&proven.cryptogram()).unwrap();
    let mut data = Vec::new();
    Reply::Ccrypt(ccrypt).encode_data(&mut data);
    let frames = vec![
        plain(Some((0x11, &[1])), 1, false, 0x76, &challenge.rnd_a()),
        plain(Some((0x12, &[1])), 1, true, 0x76, &data),
        plain(Some((0x13, &[1])), 2, false, 0x77, &proven.cryptogram()),
        plain(Some((0x14, &[1])), 2, true, 0x78, &rmac),
    ];
    (frames, proven.finish(&rmac).unwrap())
}

#[test]
fn the_conformance_kits_captures() {
    for (file, frames, shown) in [
        ("sia-1-poll-cycle.osdpcap", 16, "     4  reply         0    1  ACK        ok     -"),
        (
            "sia-2-lstatr-power.osdpcap",
            2,
            "     2  reply         0    0  LSTATR     ok     -    tamper closed, power failed",
        ),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
        let mut out = Vec::new();
        let input = BufReader::new(File::open(path).unwrap());
        print(input, file, None, false, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let rows: Vec<_> = out.lines().skip(1).collect();
        assert_eq!(rows.len(), frames, "{out}");
        assert!(rows.contains(&shown), "{out}");
        assert!(rows.iter().all(|row| row.contains(" ok ")), "{out}");
    }
}

#[test]
fn a_recorded_session_is_decrypted() {
    let read = objects(&capture(&session()), None);
    let names = ["ID", "PDID", "CHLNG", "CCRYPT", "SCRYPT", "RMAC_I", "KEYSET", "ACK"];
    assert_eq!(column(&read, "name"), names);
    assert_eq!(column(&read, "n"), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(
        read[6],
        json!({"n": 7, "direction": "command", "address": 0, "sequence": 3, "name": "KEYSET", "check": "ok",
               "mac": "ok", "data": format!("0110{NEW_KEY}")})
    );
    assert_eq!(
        read[7],
        json!({"n": 8, "direction": "reply", "address": 0, "sequence": 3, "name": "ACK", "check": "ok",
               "mac": "ok", "data": ""})
    );
    assert!(read[..6].iter().all(|frame| frame["mac"] == Value::Null));

    let (out, result) = table(&capture(&session()), None);
    assert_eq!(result, Ok(()));
    for row in [
        "     2  reply         0    0  PDID       ok     -    maker 0a0017, model 3 version 0, serial 3990814410, firmware 1.80.2",
        "     7  command       0    3  KEYSET     ok     ok   new base key (SCBK)  0110d459f02f6602e5651f3b553bc283d43e",
    ] {
        assert!(out.lines().any(|line| line == row), "{row}\n{out}");
    }
}

#[test]
fn a_key_that_the_capture_sets_opens_the_next_channel() {
    let mut lines = session();
    let (frames, mut channel) = handshake(&Scbk::from_hex(NEW_KEY).unwrap());
    lines.extend(frames);
    lines.push(sealed(&mut channel, 3, false, 0x68, &[0, 5, 30, 0]));
    lines.push(sealed(&mut channel, 3, true, 0x40, &[]));
    lines.push(sealed(&mut channel, 1, false, 0x60, &[]));
    lines.push(sealed(&mut channel, 1, true, 0x50, &[0, 0, 32, 0, 0x30, 0x42, 0xca, 0xac]));
    let (out, result) = table(&capture(&lines), None);
    assert_eq!(result, Ok(()));
    for row in [
        "    13  command       0    3  OUT        ok     ok   output 0 temporarily on 3.0 s",
        "    16  reply         0    1  RAW        ok     ok   reader 0, 32 bits, raw  000020003042caac",
    ] {
        assert!(out.lines().any(|line| line == row), "{row}\n{out}");
    }

    let alone = &lines[8..];
    let closed = objects(&capture(alone), None);
    assert_eq!(column(&closed, "mac"), vec![&Value::Null; 8], "its key is not in the capture");
    assert_ne!(closed[7]["data"], "000020003042caac");
    let (out, _) = table(&capture(alone), None);
    assert!(out.contains("a key that is not known (--key)"), "{out}");
    let opened = objects(&capture(alone), Scbk::from_hex(NEW_KEY));
    assert_eq!(opened[7]["data"], "000020003042caac");
    assert_eq!(opened[7]["mac"], "ok");
    let (out, _) = table(&capture(&lines[12..]), Scbk::from_hex(NEW_KEY));
    assert!(out.contains("its handshake is not in the capture"), "{out}");
}

#[test]
fn frames_that_were_sent_again_do_not_move_the_chain() {
    let (mut lines, mut channel) = handshake(&Scbk::default_key());
    lines.insert(1, lines[0].clone());
    let out = sealed(&mut channel, 3, false, 0x68, &[0, 5, 30, 0]);
    let ack = sealed(&mut channel, 3, true, 0x40, &[]);
    let poll = sealed(&mut channel, 1, false, 0x60, &[]);
    let keypad = sealed(&mut channel, 1, true, 0x53, &[0, 1, 0x31]);
    let busy = plain(None, 0, true, 0x79, &[]);
    lines.extend([out.clone(), busy, out.clone(), ack.clone(), out, ack, poll, keypad.clone(), keypad]);
    let read = objects(&capture(&lines), None);
    let expected = json!(["ok", null, "ok", "ok", "ok", "ok", "ok", "ok", "ok"]);
    assert_eq!(json!(column(&read[5..], "mac")), expected);
    assert_eq!(read[13]["data"], "000131");
    let (out, _) = table(&capture(&lines), None);
    assert!(out.contains("reader 0, 1 digits  000131  (sent again)"), "{out}");
}

#[test]
fn a_frame_that_was_tampered_with_is_told_and_the_next_still_read() {
    let (mut lines, mut channel) = handshake(&Scbk::default_key());
    let mut other = channel.clone();
    lines.push(sealed(&mut other, 3, false, 0x68, &[0, 2, 0, 0]));
    let last = lines.len() - 1;
    let end = lines[last].len() - 3;
    lines[last][end] ^= 1; // in the MAC; the CRC is put right again
    let body = lines[last][1..lines[last].len() - 2].to_vec();
    let crc = intercom_gateway::wire::crc::osdp_crc(&body).to_le_bytes();
    lines[last].truncate(body.len() + 1);
    lines[last].extend(crc);
    lines.push(sealed(&mut channel, 3, false, 0x60, &[]));
    let read = objects(&capture(&lines), None);
    assert_eq!(json!(column(&read[4..], "mac")), json!(["bad", "ok"]));
    assert_eq!(read[4]["check"], "ok");
}

#[test]
fn broken_frames_noise_and_neighbours_in_one_line() {
    let mut broken = plain(None, 1, false, 0x60, &[]);
    broken[6] ^= 0x80;
    let good = plain(None, 2, true, 0x99, &[0xab]);
    let line = [&[0x00, 0xff, 0x11][..], &broken, &good, &good[..6]].concat();
    let read = objects(&capture(std::slice::from_ref(&line)), None);
    assert_eq!(
        read,
        [
            json!({"n": 1, "direction": "command", "address": 0, "sequence": 1, "name": "0xe0", "check": "bad",
                   "mac": null, "data": ""}),
            json!({"n": 2, "direction": "reply", "address": 0, "sequence": 2, "name": "0x99", "check": "ok",
                   "mac": null, "data": "ab"}),
        ]
    );
    let (out, _) = table(&capture(&[line]), None);
    assert!(out.contains("line 1: 2 bytes that are no frame"), "{out}");
    assert!(out.contains("line 1: a frame ends after 5 bytes, at least 4 are missing"), "{out}");
    assert!(out.contains("0xe0       BAD    -    the check is wrong"), "{out}");
}

#[test]
fn a_good_frame_inside_what_a_broken_one_claims_is_found() {
    let good = plain(None, 1, false, 0x60, &[]);
    let claim = [&[0x53, 0x00, 0x14, 0x00, 0x04][..], &good, &[0; 6]].concat();
    let read = objects(&capture(&[claim]), None);
    assert_eq!(json!(column(&read, "check")), json!(["bad", "ok"]));
    assert_eq!(read[1]["name"], "POLL");
}

#[test]
fn bad_lines_are_named_and_do_not_stop_the_rest() {
    let good = capture(&session()[..1]);
    let text = format!("{good}what is this\n{good}{}", &good[..50]);
    let (out, result) = table(&text, None);
    assert_eq!(out.lines().filter(|line| line.contains("ID ")).count(), 2, "{out}");
    assert!(out.contains("line 4: the file is cut off in the middle of this line"), "{out}");
    let error = result.unwrap_err();
    assert!(error.starts_with("c.osdpcap:2: no OSDPCAP record (column 1)"), "{error}");
    assert!(error.ends_with("; nor can 1 more be read"), "{error}");
    let (_, result) = table(&good[..50], None);
    assert_eq!(result.unwrap_err(), "c.osdpcap:1: the file is cut off in the middle of this line");
}

#[test]
fn a_frame_that_lies_in_two_lines_is_one_and_opened() {
    let (mut lines, mut channel) = handshake(&Scbk::default_key());
    lines.push(sealed(&mut channel, 3, false, 0x60, &[]));
    lines.push(sealed(&mut channel, 3, true, 0x50, &[0, 0, 32, 0, 0x30, 0x42, 0xca, 0xac]));
    let whole = objects(&capture(&lines), None);
    assert_eq!(whole[5]["data"], "000020003042caac");
    // Every frame in two lines, and the last one in many.
    let halves =
        lines.iter().flat_map(|frame| [frame[..7].to_vec(), frame[7..].to_vec()]).collect::<Vec<_>>();
    let (read, end) = objects_and_end(capture(&halves).as_bytes(), None);
    assert_eq!((read, end), (whole.clone(), Ok(())));
    let bytes = lines.concat().iter().map(|byte| vec![*byte]).collect::<Vec<_>>();
    assert_eq!(objects_and_end(capture(&bytes).as_bytes(), None), (whole, Ok(())));
}

#[test]
fn what_is_no_frame_is_an_error_in_either_form() {
    let mut lines = vec![session()[0].clone(), vec![1, 2, 3], session()[1].clone()];
    lines.push(session()[2][..9].to_vec());
    let text = capture(&lines);
    let (read, end) = objects_and_end(text.as_bytes(), None);
    assert_eq!(json!(column(&read, "name")), json!(["ID", "PDID"]));
    assert_eq!(end.unwrap_err(), "c:2: 3 bytes that are no frame; nor can 1 more be read");
    let (out, end) = table(&text, None);
    assert!(out.contains("line 2: 3 bytes that are no frame"), "{out}");
    assert!(out.contains("line 4: a frame ends after 8 bytes, at least 11 are missing"), "{out}");
    assert!(end.is_err());
}

#[test]
fn what_the_recorder_says_is_shown_and_no_error() {
    let frame = capture(&session()[..1]).replace("\"osdpSource\"", "\"redacted\":true,\"osdpSource\"");
    let note = r#"{"timeSec":"9","timeNano":"0","io":"trace","data":"","note":"dropped 12 frames"}"#;
    let text = format!("{frame}{note}\n");
    let (read, end) = objects_and_end(text.as_bytes(), None);
    assert_eq!(end, Ok(()));
    assert_eq!(read[0]["redacted"], true);
    assert_eq!(
        read[1],
        json!({"n": null, "direction": null, "address": null, "sequence": null, "name": null,
                               "check": null, "mac": null, "data": null, "note": "dropped 12 frames"})
    );
    let (out, _) = table(&text, None);
    assert!(out.contains("line 2: dropped 12 frames") && out.contains("(redacted)"), "{out}");
}

/// A pcap file of what was sent (true) and received.
fn pcap(runs: &[(bool, Vec<u8>)]) -> Vec<u8> {
    let mut file = pcap::file_header();
    for (n, (sent, data)) in runs.iter().enumerate() {
        let event = if *sent { Event::Sent } else { Event::Received };
        Packet { seconds: n as u32, micros: 5, event, footer: 0, data: data.clone() }.emit(&mut file);
    }
    file
}

#[test]
fn modbus_in_a_pcap_file() {
    let read = Request::Read { table: Table::Input, start: 400, count: 3 };
    let write = Request::WriteCoil { address: 410, on: true };
    let (mut asked, mut answered, mut taken) = (Vec::new(), Vec::new(), Vec::new());
    read.emit(12, &mut asked).unwrap();
    emit_reply(12, Ok(&read), &Answer::Words(vec![1, 0x30, 0x42ca]), &mut answered);
    write.emit(12, &mut taken).unwrap();
    let exception = hex::decode("12".to_owned() + "8402").unwrap();
    let exception = [&exception[..], &crc::modbus_crc(&exception).to_le_bytes()].concat();
    let mut other = Vec::new();
    read.emit(0x12, &mut other).unwrap();
    let runs = [
        (true, asked.clone()),
        (false, answered[..4].to_vec()),
        (false, answered[4..].to_vec()),
        (true, taken.clone()),
        (false, taken.clone()),
        (true, other),
        (false, exception),
    ];
    let file = pcap(&runs);
    let (read, end) = objects_and_end(&file, None);
    assert_eq!(end, Ok(()));
    assert_eq!(
        read[..2],
        [
            json!({"n": 1, "direction": "command", "address": 12, "sequence": null, "name": "READ_INPUT_REGISTERS",
                   "check": "ok", "mac": null, "data": "01900003"}),
            json!({"n": 2, "direction": "reply", "address": 12, "sequence": null, "name": "READ_INPUT_REGISTERS",
                   "check": "ok", "mac": null, "data": "060001003042ca"}),
        ]
    );
    let directions = ["command", "reply", "command", "reply", "command", "reply"];
    assert_eq!(json!(column(&read, "direction")), json!(directions));
    assert_eq!(read[5]["name"], "EXCEPTION");
    let mut out = Vec::new();
    print(file.as_slice(), "c.pcap", None, false, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    for row in [
        "     2  reply        12    -  READ_INPUT_REGISTERS      ok     -    input 400–402 = 1 48 17098",
        "     3  command      12    -  WRITE_SINGLE_COIL         ok     -    coil 410 on",
        "     4  reply        12    -  WRITE_SINGLE_COIL         ok     -    written",
        "     6  reply        18    -  EXCEPTION                 ok     -    exception 02 (illegal data address)",
    ] {
        assert!(out.lines().any(|line| line == row), "{row}\n{out}");
    }

    let (read, end) = objects_and_end(&file[..file.len() - 3], None);
    assert_eq!(
        (read.len(), end.unwrap_err()),
        (5, "c:7: the file is cut off in the middle of this packet".into())
    );
    let (_, end) = objects_and_end(&pcap(&[(true, asked), (false, vec![0x77; 3])]), None);
    assert!(end.unwrap_err().starts_with("c:2: 2 bytes that are no frame"));
    let mut ethernet = file;
    ethernet[20] = 1;
    let (_, end) = objects_and_end(&ethernet, None);
    assert_eq!(end.unwrap_err(), "c cannot be decoded");
}

/// Wireshark's own reader, where it is installed.
#[test]
fn tshark_reads_what_is_written_as_pcap() {
    let read = Request::Read { table: Table::Input, start: 400, count: 3 };
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    read.emit(12, &mut asked).unwrap();
    emit_reply(12, Ok(&read), &Answer::Words(vec![1, 0x30, 0x42ca]), &mut answered);
    let mut file = pcap(&[(true, asked), (false, answered)]);
    let lost = Packet { seconds: 7, micros: 0, event: Event::Lost, footer: 300, data: Vec::new() };
    lost.emit(&mut file);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.pcap");
    std::fs::write(&path, file).unwrap();
    let fields =
        ["rtacser.eventtype", "rtacser.footer", "mbrtu.unit_id", "modbus.func_code", "modbus.regval_uint16"];
    let mut tshark = std::process::Command::new("tshark");
    tshark.arg("-r").arg(path).args(["-d", "rtacser.data,mbrtu", "-T", "fields", "-e", "frame.time_epoch"]);
    tshark.args(fields.iter().flat_map(|field| ["-e", field]));
    let Ok(output) = tshark.output() else {
        return not_run::not_run("pcap files in tshark (it is not installed)");
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|row| row.split('\t').collect()).collect();
    assert_eq!(rows.len(), 3, "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(rows[0], ["0.000005000", "0x01", "0x0000", "12", "4", ""]);
    assert_eq!(rows[1], ["1.000005000", "0x02", "0x0000", "12", "4", "1,48,17098"]);
    assert_eq!(rows[2][..3], ["7.000000000", "0x05", "0x012c"]);
}

#[test]
fn malformed_data_is_told_in_words() {
    let raw = Reply::Raw { reader: 0, format: 0, bits: 32, data: Sensitive(vec![1]) };
    let lines =
        [plain(None, 1, true, raw.code(), &[0, 0, 32]), plain(None, 1, false, Command::Id.code(), &[])];
    let (out, result) = table(&capture(&lines), None);
    assert_eq!(result, Ok(()));
    assert!(out.contains("RAW with 3 bytes of data, where at least 4 belong"), "{out}");
    assert!(out.contains("ID with 0 bytes of data, where 1 belong"), "{out}");
}

#[derive(clap::Parser)]
struct Program {
    #[command(flatten)]
    decode: Decode,
}

#[test]
fn a_key_that_is_none_is_wrong_usage_and_not_repeated() {
    let program = Program::try_parse_from(["x", "c.osdpcap", "--key", NEW_KEY, "--json"]).unwrap();
    assert!(program.decode.json && program.decode.key == Scbk::from_hex(NEW_KEY));
    let Err(error) = Program::try_parse_from(["x", "c.osdpcap", "--key", &NEW_KEY[..31]]) else {
        panic!("31 digits were taken for a key")
    };
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("32 hex digits"), "{error}");
    assert!(!error.to_string().contains(&NEW_KEY[..8]), "{error}");
}

#[test]
fn a_recording_that_is_not_there_is_named() {
    let missing = Decode { file: "no/such.osdpcap".into(), key: None, json: false };
    assert_eq!(missing.run().unwrap_err().to_string(), "cannot open the recording no/such.osdpcap");
}
