//! Modbus RTU against the specification's samples, and what must hold for any bytes.

use intercom_gateway::wire::modbus::{
    Answer, BROADCAST, BadRequest, Exception, Parsed, ParsedRequest, Request, Table, emit_reply, parse_reply,
    parse_request,
};
use proptest::{collection::vec, prelude::*, sample::select};

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

fn emitted(unit: u8, request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    request.emit(unit, &mut out).unwrap();
    out
}

fn answered(unit: u8, request: &Request, answer: &Answer) -> Vec<u8> {
    let mut out = Vec::new();
    emit_reply(unit, Ok(request), answer, &mut out);
    out
}

fn bits(text: &str) -> Vec<bool> {
    text.bytes().filter(|byte| *byte != b' ').map(|byte| byte == b'1').collect()
}

/// The samples of the Modbus application protocol 1.1b3, chapter 6, as RTU frames of device 11 (hexadecimal).
fn samples() -> Vec<(Request, &'static str, Answer, &'static str)> {
    let read = |table, start, count| Request::Read { table, start, count };
    vec![
        (
            read(Table::Coil, 0x13, 0x25),
            "11 01 00 13 00 25 0E 84",
            Answer::Bits(bits("10110011 11010110 01001101 01110000 11011")),
            "11 01 05 CD 6B B2 0E 1B 45 E6",
        ),
        (
            read(Table::Discrete, 0xc4, 0x16),
            "11 02 00 C4 00 16 BA A9",
            Answer::Bits(bits("00110101 11011011 101011")),
            "11 02 03 AC DB 35 20 18",
        ),
        (
            read(Table::Holding, 0x6b, 3),
            "11 03 00 6B 00 03 76 87",
            Answer::Words(vec![0xae41, 0x5652, 0x4340]),
            "11 03 06 AE 41 56 52 43 40 49 AD",
        ),
        (
            read(Table::Input, 8, 1),
            "11 04 00 08 00 01 B2 98",
            Answer::Words(vec![10]),
            "11 04 02 00 0A F8 F4",
        ),
        (
            Request::WriteCoil { address: 0xac, on: true },
            "11 05 00 AC FF 00 4E 8B",
            Answer::Written,
            "11 05 00 AC FF 00 4E 8B",
        ),
        (
            Request::WriteRegister { address: 1, value: 3 },
            "11 06 00 01 00 03 9A 9B",
            Answer::Written,
            "11 06 00 01 00 03 9A 9B",
        ),
        (
            Request::WriteCoils { start: 0x13, values: bits("10110011 10") },
            "11 0F 00 13 00 0A 02 CD 01 BF 0B",
            Answer::Written,
            "11 0F 00 13 00 0A 26 99",
        ),
        (
            Request::WriteRegisters { start: 1, values: vec![0x000a, 0x0102] },
            "11 10 00 01 00 02 04 00 0A 01 02 C6 F0",
            Answer::Written,
            "11 10 00 01 00 02 12 98",
        ),
    ]
}

#[test]
fn the_specifications_samples_both_ways() {
    for (request, sent, answer, replied) in samples() {
        let (sent, replied) = (bytes(sent), bytes(replied));
        assert_eq!(emitted(0x11, &request), sent, "{request:?}");
        assert_eq!(
            parse_reply(0x11, &request, None, &replied),
            Parsed::Answer(answer.clone(), replied.len()),
            "{request:?}"
        );
        assert_eq!(
            parse_request(&sent),
            ParsedRequest::Frame {
                unit: 0x11,
                function: request.function(),
                length: sent.len(),
                request: Ok(request.clone()),
            }
        );
        assert_eq!(answered(0x11, &request, &answer), replied, "{request:?}");
        assert_eq!(request.reply_length(), replied.len());
    }
}

#[test]
fn an_exception_is_told_by_its_name() {
    let request = Request::Read { table: Table::Coil, start: 0x4a1, count: 1 };
    assert_eq!(emitted(0x0a, &request), bytes("0A 01 04 A1 00 01 AC 63"));
    let refused = Answer::Exception(Exception::IllegalDataAddress);
    assert_eq!(
        parse_reply(0x0a, &request, None, &bytes("0A 81 02 B0 53")),
        Parsed::Answer(refused.clone(), 5)
    );
    assert_eq!(answered(0x0a, &request, &refused), bytes("0A 81 02 B0 53"));
}

#[test]
fn what_no_frame_can_carry_is_refused_and_leaves_the_buffer_alone() {
    let mut out = vec![1, 2];
    let none = Request::Read { table: Table::Input, start: 0, count: 0 };
    assert_eq!(none.emit(1, &mut out), Err(BadRequest::Count { count: 0, most: 125 }));
    let many = Request::WriteCoils { start: 0, values: vec![true; 1969] };
    assert_eq!(many.emit(1, &mut out), Err(BadRequest::Count { count: 1969, most: 1968 }));
    let beyond = Request::Read { table: Table::Coil, start: 65_535, count: 2 };
    assert_eq!(beyond.emit(1, &mut out), Err(BadRequest::Range { start: 65_535, count: 2 }));
    assert_eq!(out, [1, 2]);
    let longest = Request::WriteCoils { start: 0, values: vec![true; 1968] };
    longest.emit(BROADCAST, &mut out).unwrap();
    assert_eq!(out.len() - 2, 255);
}

#[test]
fn an_answer_counts_only_with_its_address_function_and_length() {
    let request = Request::Read { table: Table::Input, start: 0, count: 3 };
    let frame = |unit, table, words: usize| {
        let asked = Request::Read { table, start: 9, count: words as u16 };
        answered(unit, &asked, &Answer::Words(vec![7; words]))
    };
    assert!(matches!(parse_reply(5, &request, None, &frame(5, Table::Input, 3)), Parsed::Answer(..)));
    for (unit, table, words) in
        [(6, Table::Input, 3), (5, Table::Holding, 3), (5, Table::Input, 2), (5, Table::Input, 4)]
    {
        let foreign = frame(unit, table, words);
        assert_eq!(
            parse_reply(5, &request, None, &foreign),
            Parsed::Foreign(foreign.len()),
            "{unit} {table:?} {words}"
        );
        let unfinished = parse_reply(5, &request, None, &foreign[..foreign.len() - 1]);
        assert_eq!(unfinished, Parsed::Incomplete, "it may yet be a whole frame");
    }
    let written = Request::WriteRegister { address: 1, value: 2 };
    let other = answered(5, &Request::WriteRegister { address: 1, value: 3 }, &Answer::Written);
    assert_eq!(parse_reply(5, &written, None, &other), Parsed::Foreign(8));
}

#[test]
fn an_echo_is_dropped_and_a_write_counts_on_its_second_copy() {
    let read = Request::Read { table: Table::Holding, start: 0x6b, count: 3 };
    let own = emitted(0x11, &read);
    let mut buffer = own.clone();
    buffer.extend(bytes("11 03 06 AE 41 56 52 43 40 49 AD"));
    for end in 1..own.len() {
        assert_eq!(parse_reply(0x11, &read, Some(&own), &buffer[..end]), Parsed::Incomplete);
    }
    assert_eq!(parse_reply(0x11, &read, Some(&own), &buffer), Parsed::Echo(8));
    assert!(matches!(parse_reply(0x11, &read, None, &buffer[8..]), Parsed::Answer(..)));

    let write = Request::WriteCoil { address: 3, on: true };
    let own = emitted(0x11, &write);
    assert_eq!(parse_reply(0x11, &write, Some(&own), &own), Parsed::Echo(8));
    assert_eq!(parse_reply(0x11, &write, None, &own), Parsed::Answer(Answer::Written, 8));
}

fn request() -> impl Strategy<Value = Request> {
    let read = (select(Table::ALL.to_vec()), any::<u16>(), 1..=2000_u16).prop_map(|(table, start, count)| {
        let count = count.min(table.most());
        Request::Read { table, start: start.min(u16::MAX - count + 1), count }
    });
    prop_oneof![
        4 => read,
        1 => (any::<u16>(), any::<bool>()).prop_map(|(address, on)| Request::WriteCoil { address, on }),
        1 => any::<(u16, u16)>().prop_map(|(address, value)| Request::WriteRegister { address, value }),
        1 => (0..60_000_u16, vec(any::<bool>(), 1..=1968))
            .prop_map(|(start, values)| Request::WriteCoils { start, values }),
        1 => (0..60_000_u16, vec(any::<u16>(), 1..=123))
            .prop_map(|(start, values)| Request::WriteRegisters { start, values }),
    ]
}

/// A request with an answer to it that has the content of `filling`.
fn exchange() -> impl Strategy<Value = (Request, Answer)> {
    (request(), vec(any::<u16>(), 2000), proptest::option::weighted(0.2, 1..=255_u8)).prop_map(
        |(request, filling, exception)| {
            let answer = match (&request, exception) {
                (_, Some(code)) => Answer::Exception(Exception::from_code(code)),
                (Request::Read { table, count, .. }, None) if table.is_bits() => {
                    Answer::Bits(filling.iter().take(usize::from(*count)).map(|word| word & 1 == 1).collect())
                }
                (Request::Read { count, .. }, None) => {
                    Answer::Words(filling.into_iter().take(usize::from(*count)).collect())
                }
                _ => Answer::Written,
            };
            (request, answer)
        },
    )
}

/// Drops what the parser says, as a line does, until the answer is there or no more can be said. Each step that is
/// not an answer has to drop at least one byte.
fn hear(unit: u8, request: &Request, mut buffer: &[u8]) -> Option<Answer> {
    loop {
        match parse_reply(unit, request, None, buffer) {
            Parsed::Answer(answer, _) => return Some(answer),
            Parsed::Incomplete => return None,
            Parsed::Echo(length)
            | Parsed::Foreign(length)
            | Parsed::Broken(length)
            | Parsed::Noise(length) => {
                assert!((1..=buffer.len()).contains(&length));
                buffer = &buffer[length..];
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn requests_and_answers_survive_the_line((request, answer) in exchange(), unit in 1..=247_u8) {
        let sent = emitted(unit, &request);
        prop_assert!(sent.len() <= 256);
        let ParsedRequest::Frame { unit: to, request: read, length, .. } = parse_request(&sent) else {
            panic!("{sent:02x?} is not read");
        };
        prop_assert_eq!((to, read, length), (unit, Ok(request.clone()), sent.len()));
        let replied = answered(unit, &request, &answer);
        for end in 0..replied.len() {
            prop_assert_eq!(parse_reply(unit, &request, None, &replied[..end]), Parsed::Incomplete);
        }
        prop_assert_eq!(parse_reply(unit, &request, None, &replied), Parsed::Answer(answer, replied.len()));
    }

    #[test]
    fn noise_before_an_answer_does_not_hide_it((request, answer) in exchange(), noise in vec(any::<u8>(), 0..20)) {
        let mut buffer = noise.clone();
        buffer.extend(answered(200, &request, &answer));
        // Noise may by chance begin as the answer does; then only silence tells, and the line drops a byte.
        let begins = |rest: &[u8]| rest[0] == 200;
        prop_assume!(noise.is_empty() || !(0..noise.len()).any(|start| begins(&noise[start..])));
        prop_assert_eq!(hear(200, &request, &buffer), Some(answer));
    }

    #[test]
    fn a_damaged_answer_is_none((request, answer) in exchange(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut replied = answered(9, &request, &answer);
        let at = at.index(replied.len());
        replied[at] ^= flip;
        prop_assert_eq!(hear(9, &request, &replied), None);
    }

    #[test]
    fn any_bytes_are_taken_without_panic(request in request(), unit in any::<u8>(), buffer in vec(any::<u8>(), 0..300)) {
        hear(unit, &request, &buffer);
        match parse_request(&buffer) {
            ParsedRequest::Incomplete => {}
            ParsedRequest::Noise(length) | ParsedRequest::Frame { length, .. } => {
                prop_assert!((1..=buffer.len()).contains(&length));
            }
        }
    }

    #[test]
    fn what_is_not_confusable_is_never_taken_for_the_answer((asked, _) in exchange(), (other, answer) in exchange()) {
        prop_assume!(!asked.is_confusable(&other) && !matches!(answer, Answer::Exception(_)));
        prop_assert_eq!(hear(9, &asked, &answered(9, &other, &answer)), None);
    }
}
