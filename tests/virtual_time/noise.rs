//! Any bytes on the line: no panic, and back in step within the inter-character limit.

use std::time::Duration;

use intercom_gateway::{
    bus::{
        Exchanges, Timing,
        schedule::{LineStats, Schedule},
    },
    domain::Mono,
    panel::{
        Driver, OsEntropy,
        osdp::{KeyRecord, Panel, Security, Settings},
    },
    wire::osdp::{Check, Header, Parsed, Reply, emit, frame::Fault, parse, reply::PdId},
};
use proptest::prelude::*;

const ADDRESS: u8 = 3;

fn line(timing: Timing) -> (Schedule, Mono) {
    let settings = Settings {
        address: ADDRESS,
        security: Security::Off,
        record: KeyRecord::default(),
        key_fault: None,
        strays: Vec::new(),
        reply_timeout: Duration::from_millis(200),
        stale_after: Duration::from_secs(3),
    };
    let driver = Driver::Osdp(Box::new(Panel::new(settings, Box::new(OsEntropy))));
    let mut line = Schedule::new(timing, vec![driver], Mono::ZERO);
    let now = Mono::ZERO + timing.character * 2;
    let mut command = Vec::new();
    assert!(line.poll_transmit(now, &mut command));
    (line, now + timing.character * command.len() as u32)
}

fn answer() -> Vec<u8> {
    let identity = PdId { oui: [1, 2, 3], model: 4, version: 5, serial: 6, firmware: [7, 8, 9] };
    let reply = Reply::PdId(identity);
    let header = Header { address: ADDRESS, reply: true, sequence: 0, check: Check::Crc };
    let (mut data, mut bytes) = (Vec::new(), Vec::new());
    reply.encode_data(&mut data);
    emit(&header, None, reply.code(), &data, &mut bytes).unwrap();
    bytes
}

/// Noise, half of it made to look like the beginning of a reply.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let plain = proptest::collection::vec(any::<u8>(), 0..60);
    let headers = (any::<u8>(), 0_u8..6, any::<u8>())
        .prop_map(|(low, high, control)| vec![0xFF, 0x53, ADDRESS | 0x80, low, high, control]);
    let marks = proptest::collection::vec(prop_oneof![Just(0x53_u8), Just(0xFF), Just(0x83)], 0..20);
    proptest::collection::vec(prop_oneof![plain, headers, marks], 0..4).prop_map(|parts| parts.concat())
}

/// Hands over bytes as they come, in chunks; when the last of them has come.
fn receive(line: &mut Schedule, timing: Timing, mut now: Mono, bytes: &[u8], chunk: usize) -> Mono {
    for part in bytes.chunks(chunk) {
        now = now + timing.character * part.len() as u32;
        line.advance(now);
        line.receive(now, part);
    }
    now
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_good_reply_behind_any_noise_is_heard_within_the_limit(
        noise in noise(), chunk in 1_usize..40, buffered: bool,
    ) {
        let timing = Timing::new(115_200, 10, buffered);
        let (mut line, sent) = line(timing);
        let bytes = [&noise[..], &answer()].concat();
        // A sum of eight bits fits by chance, and then what it covers is a frame, sound or not.
        let is_frame = |from: usize| {
            let parsed = parse(&bytes[from..]);
            matches!(parsed, Parsed::Frame(..) | Parsed::Broken { fault: Fault::Structure, .. })
        };
        prop_assume!(!(0..noise.len()).any(is_frame));
        let end = receive(&mut line, timing, sent, &bytes, chunk);
        line.advance(end + timing.unfinished);
        prop_assert_eq!(line.stats().exchanges, 1);
    }

    #[test]
    fn whatever_comes_the_line_is_used_again(noise in noise(), chunk in 1_usize..40, from_ms in 0_u64..400) {
        let timing = Timing::new(115_200, 10, false);
        let (mut line, sent) = line(timing);
        let begin = sent + Duration::from_millis(from_ms);
        line.advance(begin);
        let mut now = receive(&mut line, timing, begin, &noise, chunk);
        // The time for an answer, the limit, and the pause between probes.
        let limit = now.max(sent + Duration::from_millis(200)) + timing.unfinished + Duration::from_millis(251);
        let mut turns = 0;
        while !line.poll_transmit(now, &mut Vec::new()) {
            now = now.max(line.next_time());
            prop_assert!(now <= limit);
            line.advance(now);
            turns += 1;
            prop_assert!(turns < 100, "it spins");
        }
        let LineStats { exchanges, timeouts, .. } = line.stats();
        prop_assert_eq!(exchanges + timeouts, 1);
    }
}

#[test]
fn idle_marks_are_no_noise() {
    let timing = Timing::new(9600, 10, false);
    let (mut line, sent) = line(timing);
    let bytes = [&[0xFF, 0xFF][..], &answer(), &[0xFF]].concat();
    let end = receive(&mut line, timing, sent, &bytes, 3);
    line.advance(end + timing.unfinished);
    let stats = line.stats();
    assert_eq!((stats.exchanges, stats.noise), (1, 0));
    line.receive(end + timing.unfinished, &[0xFF, 0x00]);
    assert_eq!(line.stats().noise, 1);
    assert_eq!(line.exchanges(0), Exchanges { answered: 1, lost: 0 });
}

/// A sound frame of another panel's is none of the bytes that nobody sent on purpose.
#[test]
fn what_is_counted_says_what_it_was() {
    let timing = Timing::new(9600, 10, false);
    let (mut line, sent) = line(timing);
    let header = Header { address: ADDRESS + 1, reply: true, sequence: 0, check: Check::Crc };
    let mut foreign = Vec::new();
    emit(&header, None, Reply::Ack.code(), &[], &mut foreign).unwrap();
    let mut broken = answer();
    *broken.last_mut().unwrap() ^= 1;
    let begin = sent + Duration::from_millis(20);
    line.advance(begin);
    let end = receive(&mut line, timing, begin, &[&[0xFF, 0x00][..], &foreign, &answer()].concat(), 4);
    line.advance(end + timing.unfinished);
    let (of_line, of_panel) = (line.line_counters(end), line.panel_counters(end, 0));
    let LineStats { exchanges, timeouts, broken: damaged, wrong, noise, busy } = of_line.minute.stats;
    assert_eq!((exchanges, timeouts, damaged, wrong, noise), (1, 0, 0, 1, 1));
    assert_eq!((of_panel.minute.exchanges, of_panel.minute.wrong, of_panel.minute.timeouts), (1, 1, 0));
    assert_eq!(of_line.total.stats, line.stats());
    // From the first byte of the command on, which began two characters after the start.
    assert_eq!(busy, end.since(Mono::ZERO + timing.character * 2));
    assert_eq!(of_panel.total.round_trip.unwrap().max.as_micros(), busy.as_micros());

    // The next one is answered by a damaged frame, and then by nothing.
    let mut now = end + timing.unfinished;
    let mut command = Vec::new();
    while !line.poll_transmit(now, &mut command) {
        now = line.next_time().max(now);
        line.advance(now);
    }
    now = now + timing.character * command.len() as u32;
    receive(&mut line, timing, now, &broken, 4);
    while line.stats().timeouts == 0 {
        now = line.next_time().max(now);
        line.advance(now);
    }
    let panel = line.panel_counters(now, 0).minute;
    assert_eq!((panel.exchanges, panel.timeouts, panel.broken), (1, 1, 1));
    assert_eq!(line.stats().broken, 1);
}

/// A kernel whose cores are taken hands the end of an answer over late; without it the turn would be lost, and the card
/// with it for 200 ms.
#[test]
fn the_end_of_an_answer_may_come_late() {
    let timing = Timing::new(9600, 10, false);
    let answer = answer();
    for begun in 1..answer.len() {
        let (mut line, sent) = line(timing);
        let end = receive(&mut line, timing, sent, &answer[..begun], 8);
        let late = end + Duration::from_millis(45);
        while line.next_time() < late {
            line.advance(line.next_time());
        }
        line.receive(late, &answer[begun..]);
        assert_eq!(line.exchanges(0), Exchanges { answered: 1, lost: 0 }, "{begun} bytes before");
    }
}

#[test]
fn a_line_that_is_never_silent_is_used_all_the_same() {
    let timing = Timing::new(9600, 10, false);
    let (mut line, mut now) = line(timing);
    let begin = now;
    while !line.poll_transmit(now, &mut Vec::new()) {
        now = now + timing.character;
        line.advance(now);
        line.receive(now, &[0x00]);
        assert!(now.since(begin) < Duration::from_secs(4), "not in {:?}", now.since(begin));
    }
}

#[test]
fn what_comes_after_a_long_pause_is_waited_for_as_well() {
    let timing = Timing::new(115_200, 10, false);
    let (mut line, mut now) = line(timing);
    // No panel is there, and soon the next probe is due long after the last.
    let due = loop {
        now = line.next_time().max(now);
        line.advance(now);
        let due = line.next_time();
        if due.since(now) > Duration::from_millis(200) && !line.poll_transmit(now, &mut Vec::new()) {
            break due;
        }
        line.poll_transmit(now, &mut Vec::new());
    };
    now = Mono::from_nanos(due.as_nanos() - 10 * timing.character.as_nanos() as u64);
    for _ in 0..20 {
        now = now + timing.character;
        line.advance(now);
        line.receive(now, &[0x00]);
        assert!(!line.poll_transmit(now, &mut Vec::new()), "in the middle of what comes");
    }
    assert!(!line.poll_transmit(now + timing.character, &mut Vec::new()));
    assert!(line.poll_transmit(now + timing.gap, &mut Vec::new()));
}

#[test]
fn a_byte_before_a_slow_answer_makes_no_panel_quick() {
    let timing = Timing::new(9600, 10, false);
    let (mut line, sent) = line(timing);
    let stray = sent + Duration::from_millis(1);
    line.advance(stray);
    line.receive(stray, &[0x00]);
    let begin = sent + Duration::from_millis(100);
    line.advance(begin);
    let mut now = receive(&mut line, timing, begin, &answer(), 1);
    assert_eq!(line.stats().exchanges, 1);
    // From here on it is silent: every fifth probe waits as long as it took, or it would not be heard for half a minute.
    let (mut turns, mut long) = (0, 0);
    while turns < 20 {
        now = line.next_time().max(now);
        line.advance(now);
        let mut command = Vec::new();
        if line.poll_transmit(now, &mut command) {
            let asked = now + timing.character * command.len() as u32;
            turns += 1;
            long += u32::from(line.next_time().since(asked) >= Duration::from_millis(150));
        }
    }
    assert!(long >= 5, "{long} of {turns} turns wait for a slow answer");
}
