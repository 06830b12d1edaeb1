//! Numbers, retransmissions, refusals, what is no answer, and how a panel is found.

use super::*;

#[test]
fn a_link_begins_at_0_and_goes_on_1_2_3_1() {
    let mut rig = Rig::new(with_key());
    let mut said = Vec::new();
    rig.secure(&key(1));
    for _ in 0..8 {
        said.extend(rig.polls(1).into_iter().map(|name| (rig.sequence, name)));
    }
    let expected = [
        (1, "POLL"),
        (2, "ISTAT"),
        (3, "POLL"),
        (1, "LSTAT"),
        (2, "POLL"),
        (3, "RSTAT"),
        (1, "POLL"),
        (2, "POLL"),
    ];
    assert_eq!(said, expected);
    let secured: Vec<Event> = rig
        .events()
        .into_iter()
        .filter(|event| matches!(event, Event::State { .. } | Event::Secured))
        .collect();
    assert_eq!(secured, [Event::Secured, state(PanelState::Online, None)]);
}

#[test]
fn set_up_is_id_cap_challenge_scrypt() {
    let mut rig = Rig::new(with_key());
    let mut numbers = Vec::new();
    assert_eq!(rig.next(), "ID");
    numbers.push((rig.sequence, frame(&rig.bytes).security.map(|block| block.kind)));
    rig.reply(&identity());
    assert_eq!(rig.next(), "CAP");
    numbers.push((rig.sequence, frame(&rig.bytes).security.map(|block| block.kind)));
    rig.reply(&capabilities());
    assert!(rig.shake_hands(&key(1)));
    numbers.push((rig.sequence, frame(&rig.bytes).security.map(|block| block.kind)));
    assert_eq!(numbers, [(0, None), (1, None), (3, Some(0x13))]);
}

#[test]
fn after_a_timeout_the_same_bytes_are_sent_twice_and_then_a_new_link_begins() {
    let mut rig = Rig::secured();
    let _ = rig.next();
    for _ in 0..2 {
        rig.time_out();
        rig.is_sent_again();
    }
    rig.time_out();
    rig.session = None;
    assert_eq!((rig.next(), rig.sequence), ("ID", 0));
    assert_eq!(rig.events(), [], "that alone is nobody's concern");
}

#[test]
fn a_reply_with_a_wrong_check_is_no_answer_and_the_same_bytes_follow() {
    let mut rig = Rig::secured();
    let _ = rig.next();
    let mut session = rig.session.clone();
    let mut reply = reply_bytes(rig.sequence, &Reply::Ack, session.as_mut());
    reply[9] ^= 4;
    assert!(matches!(rig.hear(&reply), Heard::Broken(_)));
    rig.time_out();
    rig.is_sent_again();
    assert!(matches!(rig.reply(&Reply::Ack), Heard::Done(_)));
    assert_eq!(rig.events(), []);
}

#[test]
fn busy_and_nak_1_ask_for_the_same_bytes_again_as_often_as_a_timeout_and_prove_nothing() {
    let nak_1 = nak(NakCode::Check);
    for (mut rig, number, reply) in [
        (Rig::secured(), Some(0), Reply::Busy),
        (Rig::secured(), None, nak_1.clone()),
        (Rig::plain(), Some(0), Reply::Busy),
        (Rig::plain(), None, Reply::Busy),
        (Rig::plain(), None, nak_1),
    ] {
        let _ = rig.next();
        let number = number.unwrap_or(rig.sequence);
        let mut session = rig.session.clone();
        for _ in 0..2 {
            assert!(matches!(rig.plain_reply(number, &reply), Heard::Done(_)));
            rig.is_sent_again();
        }
        // The chain has not moved: the true answer to the first copy is the answer to the last.
        let answer = reply_bytes(rig.sequence, &card(), session.as_mut());
        assert!(matches!(rig.hear(&answer), Heard::Done(_)));
        assert!(matches!(rig.events()[..], [Event::Credential { stale: false, .. }]));
        rig.session = session;

        let _ = rig.next();
        for _ in 0..3 {
            assert_ne!(frame(&rig.bytes).sequence, 0);
            let number = if number == 0 { 0 } else { rig.sequence };
            assert!(matches!(rig.plain_reply(number, &reply), Heard::Done(_)));
            rig.wait_turn();
            rig.bytes.clear();
            rig.panel.poll_transmit(rig.now, &mut rig.bytes);
        }
        assert_eq!(frame(&rig.bytes).sequence, 0, "two resends are enough");
    }
}

#[test]
fn a_panel_that_is_busy_for_good_is_heard_and_out_of_order() {
    let mut rig = Rig::secured();
    let last = rig.now;
    rig.session = None;
    while rig.now < last + OFFLINE_AFTER {
        rig.wait_turn();
        rig.bytes.clear();
        rig.panel.poll_transmit(rig.now, &mut rig.bytes);
        rig.plain_reply(0, &Reply::Busy);
    }
    assert_eq!((rig.state(), rig.trouble()), (PanelState::Insecure, Some(Trouble::NoLink)));
    assert_eq!(rig.events(), [state(PanelState::Insecure, Some(Trouble::NoLink))]);
}

#[test]
fn nak_4_begins_a_new_link_and_so_does_whatever_ends_the_session() {
    let sealed = |code| (Rig::secured(), code, true);
    let plain = |code| (Rig::secured(), code, false);
    for (mut rig, code, in_session) in [
        (Rig::plain(), NakCode::Sequence, false),
        sealed(NakCode::Sequence),
        sealed(NakCode::SecurityUnsupported),
        sealed(NakCode::EncryptionRequired),
        plain(NakCode::UnknownCommand),
        plain(NakCode::Sequence),
        plain(NakCode::EncryptionRequired),
    ] {
        let _ = rig.next();
        let heard =
            if in_session { rig.reply(&nak(code)) } else { rig.plain_reply(rig.sequence, &nak(code)) };
        assert!(matches!(heard, Heard::Done(_)));
        rig.session = None;
        assert_eq!((rig.next(), rig.sequence), ("ID", 0), "{code}");
        assert_eq!(rig.events(), [], "a panel that was restarted does that");
    }
}

#[test]
fn an_opening_that_was_refused_is_not_asked_in_the_same_bytes() {
    for mut rig in [Rig::plain(), Rig::secured()] {
        let _ = rig.next();
        rig.plain_reply(rig.sequence, &nak(NakCode::Sequence));
        rig.session = None;
        let mut last = Vec::new();
        for _ in 0..20 {
            assert_eq!((rig.next(), rig.sequence), ("ID", 0));
            assert_ne!(
                rig.bytes, last,
                "a panel may take it for a repetition, and refuse it as it did before"
            );
            last.clone_from(&rig.bytes);
            rig.checked_reply(frame(&last).check, &nak(NakCode::Sequence));
        }
    }
}

#[test]
fn sessions_that_end_in_the_clear_again_and_again_are_suspect() {
    let mut rig = Rig::secured();
    let mut suspects = Vec::new();
    for _ in 0..3 {
        let _ = rig.next();
        rig.plain_reply(0, &Reply::Ack);
        suspects.push(rig.events().contains(&Event::Suspect(SuspectCause::Sequence)));
        rig.secure(&key(1));
        rig.events();
    }
    assert_eq!(suspects, [false, false, true]);
}

#[test]
fn every_other_nak_fails_its_command_alone() {
    for code in [NakCode::Length, NakCode::UnknownCommand, NakCode::Record, NakCode::Other(99)] {
        for mut rig in [Rig::secured(), Rig::plain()] {
            rig.unlock(7);
            assert_eq!(rig.next(), "OUT");
            let number = rig.sequence;
            assert!(matches!(rig.reply(&nak(code)), Heard::Done(_)));
            assert_eq!(rig.events(), [done(7, Err(Failure::Refused))]);
            assert_eq!((rig.next(), rig.sequence), ("POLL", number % 3 + 1));
        }
    }
}

#[test]
fn what_is_no_answer_is_skipped_and_the_answer_still_counts() {
    let mut rig = Rig::secured();
    let _ = rig.next();
    let mut session = rig.session.clone().unwrap();
    let right = reply_bytes(rig.sequence, &card(), Some(&mut session));

    let other_address = Header { address: ADDRESS + 1, ..header(rig.sequence) };
    let a_command = Header { reply: false, ..header(rig.sequence) };
    let mut wrong = Vec::new();
    for header in [other_address, a_command] {
        let mut bytes = Vec::new();
        rig.session.clone().unwrap().seal(&header, Reply::Ack.code(), &[], &mut bytes).unwrap();
        wrong.push(bytes.split_off(1));
    }
    let other_number = rig.sequence % 3 + 1;
    wrong.push(reply_bytes(other_number, &card(), rig.session.clone().as_mut()));
    wrong.push(reply_bytes(rig.sequence, &Reply::Ack, None));
    wrong.push(reply_bytes(rig.sequence, &identity(), None));
    for bytes in wrong {
        assert_eq!(rig.hear(&bytes), Heard::Wrong(bytes.len()));
        assert_eq!(rig.events(), []);
    }
    assert_eq!(rig.hear(&right), Heard::Done(right.len()));
    assert_eq!(rig.events().len(), 1);
    assert_eq!(rig.hear(&right), Heard::Wrong(right.len()), "once");
}

#[test]
fn what_people_do_at_the_door_counts_only_encrypted_and_is_suspect_in_any_other_form() {
    let keys = Reply::Keypad { reader: 0, digits: b"12".to_vec().into() };
    let fmt = Reply::Fmt { reader: 0, direction: 0, data: b"12".to_vec().into() };
    for reply in [card(), keys, fmt, Reply::IStatR(vec![1, 1])] {
        let mut rig = Rig::secured();
        let _ = rig.next();
        let bytes = reply_bytes(rig.sequence, &reply, None);
        assert_eq!(rig.hear(&bytes), Heard::Wrong(bytes.len()), "in the clear it is no answer");
        assert_eq!(rig.events(), [Event::Suspect(SuspectCause::Plaintext)]);
        // With a MAC and in the clear it is an answer, and tells nothing.
        let bytes = rig.mac_only(&reply);
        assert_eq!(rig.hear(&bytes), Heard::Done(bytes.len()));
        assert_eq!(rig.events(), [Event::Suspect(SuspectCause::Plaintext)]);
        assert_eq!(rig.next(), "POLL");
    }
}

#[test]
fn three_wrong_macs_end_a_session_and_each_is_told() {
    let mut rig = Rig::secured();
    let _ = rig.next();
    for guess in 1..=3 {
        let mut session = rig.session.clone().unwrap();
        let mut bytes = reply_bytes(rig.sequence, &card(), Some(&mut session));
        bytes.truncate(bytes.len() - 6);
        bytes.extend([guess, 0, 0, 0]);
        let bytes = with_check(bytes);
        let expected = if guess < 3 { Heard::Wrong(bytes.len()) } else { Heard::Done(bytes.len()) };
        assert_eq!(rig.hear(&bytes), expected);
        assert_eq!(rig.events(), [Event::Suspect(SuspectCause::WrongMac)]);
    }
    rig.session = None;
    assert_eq!((rig.next(), rig.sequence), ("ID", 0));
}

#[test]
fn a_late_repetition_of_an_earlier_reply_is_no_answer_and_no_guess() {
    for mut rig in [Rig::secured(), Rig::plain()] {
        let _ = rig.next();
        let reply = reply_bytes(rig.sequence, &card(), rig.session.as_mut());
        assert_eq!(rig.hear(&reply), Heard::Done(reply.len()));
        assert_eq!(rig.events().len(), 1);
        let _ = rig.next();
        assert_eq!(rig.hear(&reply), Heard::Wrong(reply.len()));
        assert_eq!(rig.events(), []);
    }
    let mut rig = Rig::secured();
    let mut earlier = Vec::new();
    for _ in 0..9 {
        let _ = rig.next();
        let reply = reply_bytes(rig.sequence, &Reply::Ack, rig.session.as_mut());
        rig.hear(&reply);
        earlier.push(reply);
    }
    let _ = rig.next();
    for reply in earlier.iter().chain(&earlier) {
        assert_eq!(rig.hear(reply), Heard::Wrong(reply.len()));
    }
    assert_eq!(rig.events(), []);
}

#[test]
fn a_reply_with_number_0_asks_for_a_new_link_unless_it_is_the_old_opening() {
    let mut rig = Rig::plain();
    let _ = rig.next();
    let opening = reply_bytes(0, &identity(), None);
    assert_eq!(rig.hear(&opening), Heard::Wrong(opening.len()));
    assert!(matches!(rig.plain_reply(0, &Reply::Ack), Heard::Done(_)));
    assert_eq!((rig.next(), rig.sequence), ("ID", 0));
}

#[test]
fn what_the_poll_that_opens_a_link_brings_is_told_as_stale() {
    let mut rig = Rig::new(settings(Security::Off));
    while rig.next() != "POLL" {
        rig.time_out();
    }
    rig.checked_reply(frame(&rig.bytes.clone()).check, &card());
    let events = rig.events();
    let told = events.iter().filter(|event| matches!(event, Event::Credential { stale: true, .. })).count();
    assert_eq!(told, 1, "{events:?}");
    assert_eq!((rig.next(), rig.sequence), ("ID", 1));
}

#[test]
fn a_panel_never_heard_is_asked_by_crc_by_checksum_and_in_plaintext_by_poll() {
    for (settings, poll) in [(settings(Security::Off), "POLL"), (with_key(), "ID")] {
        let mut rig = Rig::new(settings);
        let mut asked = Vec::new();
        for _ in 0..8 {
            let name = rig.next();
            asked.push((name, frame(&rig.bytes).check));
            assert_eq!(rig.sequence, 0);
            rig.time_out();
        }
        let (crc, sum) = (Check::Crc, Check::Checksum);
        let expected = [
            ("ID", crc),
            ("ID", sum),
            ("ID", crc),
            ("ID", crc),
            ("ID", crc),
            (poll, sum),
            (poll, crc),
            ("ID", crc),
        ];
        assert_eq!(asked, expected);
    }
}

#[test]
fn a_panel_that_knows_only_the_checksum_is_served_by_it() {
    let mut rig = Rig::new(settings(Security::Off));
    let _ = rig.next();
    rig.time_out();
    assert_eq!(rig.next(), "ID");
    rig.checksum_reply(&identity());
    assert_eq!(rig.next(), "CAP");
    assert_eq!(frame(&rig.bytes).check, Check::Checksum);
    rig.checksum_reply(&Reply::PdCap(vec![Capability { function: 8, level: 0, count: 0 }]));
    let _ = rig.next();
    assert_eq!(frame(&rig.bytes).check, Check::Checksum);
}

#[test]
fn a_late_answer_by_crc_to_an_opening_by_checksum_means_crc() {
    let mut rig = Rig::new(settings(Security::Off));
    let _ = rig.next();
    rig.time_out();
    let _ = rig.next();
    assert_eq!(frame(&rig.bytes).check, Check::Checksum);
    rig.reply(&identity());
    assert_eq!(rig.next(), "CAP");
    assert_eq!(frame(&rig.bytes).check, Check::Crc);
}

#[test]
fn a_panel_that_refuses_the_checksum_as_a_wrong_check_is_asked_by_crc_again() {
    let mut rig = Rig::new(settings(Security::Off));
    let _ = rig.next();
    rig.time_out();
    let _ = rig.next();
    rig.checksum_reply(&nak(NakCode::Check));
    let _ = rig.next();
    assert_eq!(frame(&rig.bytes).check, Check::Crc);
}

#[test]
fn a_panel_found_by_checksum_goes_over_to_crc_where_it_knows_it() {
    let mut rig = Rig::new(settings(Security::Off));
    let _ = rig.next();
    rig.time_out();
    let _ = rig.next();
    rig.checksum_reply(&identity());
    let _ = rig.next();
    rig.checksum_reply(&capabilities());
    let _ = rig.next();
    assert_eq!(frame(&rig.bytes).check, Check::Crc);
}

#[test]
fn a_panel_that_answers_no_id_before_a_poll_is_met_by_one() {
    let mut rig = Rig::new(settings(Security::Off));
    while rig.next() != "POLL" {
        rig.time_out();
    }
    rig.reply(&Reply::Ack);
    assert_eq!((rig.next(), rig.sequence), ("ID", 1));
    rig.reply(&identity());
    assert_eq!((rig.next(), rig.sequence), ("CAP", 2));
    rig.reply(&capabilities());
    assert_eq!((rig.next(), rig.sequence), ("POLL", 3));
    assert_eq!(rig.state(), PanelState::Offline, "the POLL that opened the link does not count");
    rig.reply(&Reply::Ack);
    assert_eq!(rig.state(), PanelState::Online);
}

#[test]
fn offline_is_eight_seconds_without_a_poll_in_order_to_the_nanosecond() {
    let mut rig = Rig::secured();
    let last = rig.now;
    let _ = rig.next();
    assert_eq!(rig.panel.next_time(), last + OFFLINE_AFTER);
    rig.panel.advance(Mono::from_nanos((last + OFFLINE_AFTER).as_nanos() - 1));
    assert_eq!(rig.events(), []);
    rig.panel.advance(last + OFFLINE_AFTER);
    assert_eq!(rig.events(), [state(PanelState::Offline, Some(Trouble::Silent { seconds: 8 }))]);

    let mut rig = Rig::new(with_key());
    rig.wait(OFFLINE_AFTER);
    assert_eq!(rig.events(), [state(PanelState::Offline, Some(Trouble::NeverHeard))]);
    rig.wait(OFFLINE_AFTER);
    assert_eq!(rig.events(), [], "told once");
}

#[test]
fn a_panel_that_is_heard_and_answers_no_poll_is_not_online_and_says_why() {
    for (mut rig, expected) in [(Rig::secured(), PanelState::Insecure), (Rig::plain(), PanelState::Offline)] {
        let last = rig.now;
        rig.session = None;
        while rig.now < last + OFFLINE_AFTER {
            assert_eq!(rig.state(), PanelState::Online);
            rig.wait_turn();
            rig.bytes.clear();
            rig.panel.poll_transmit(rig.now, &mut rig.bytes);
            let number = frame(&rig.bytes).sequence;
            rig.plain_reply(number, &nak(NakCode::Sequence));
            rig.wait(SOON * 20);
        }
        let told = (expected, Some(Trouble::NoLink));
        assert_eq!((rig.state(), rig.trouble()), told);
        assert_eq!(rig.events(), [state(told.0, told.1)]);
    }
}

#[test]
fn two_timeouts_in_a_row_make_a_panel_one_to_be_probed_and_an_answer_undoes_it() {
    let mut rig = Rig::secured();
    let kind = |rig: &Rig| rig.panel.next(rig.now).unwrap().kind;
    let _ = rig.next();
    rig.time_out();
    assert_eq!(kind(&rig), TurnKind::Poll);
    rig.is_sent_again();
    rig.time_out();
    assert_eq!(kind(&rig), TurnKind::Probe);
    rig.is_sent_again();
    rig.reply(&Reply::Ack);
    assert_eq!(kind(&rig), TurnKind::Poll);
}

#[test]
fn links_that_end_again_and_again_are_set_up_without_haste() {
    let mut rig = Rig::secured();
    let mut kinds = Vec::new();
    for _ in 0..6 {
        let _ = rig.next();
        rig.plain_reply(0, &Reply::Ack);
        rig.session = None;
        assert_eq!(rig.next(), "ID");
        rig.reply(&identity());
        kinds.push(rig.panel.next(rig.now).unwrap().kind);
        assert!(rig.shake_hands(&key(1)));
    }
    assert_eq!((kinds[0], kinds[5]), (TurnKind::SetUp, TurnKind::Probe), "{kinds:?}");
}

#[test]
fn a_reply_that_cannot_be_read_is_an_answer_and_tells_nothing() {
    let mut rig = Rig::plain();
    let _ = rig.next();
    let mut bytes = Vec::new();
    emit(&header(rig.sequence), None, 0x50, &[0, 0, 200], &mut bytes).unwrap();
    assert!(matches!(rig.hear(&bytes[1..]), Heard::Done(_)));
    assert_eq!(rig.events(), []);
    let number = rig.sequence;
    assert_eq!((rig.next(), rig.sequence), ("POLL", number % 3 + 1));
}

#[test]
fn what_was_read_is_told_though_its_count_is_wrong() {
    let odd = |code: u8, data: &[u8]| {
        let mut rig = Rig::plain();
        let _ = rig.next();
        let mut bytes = Vec::new();
        emit(&header(rig.sequence), None, code, data, &mut bytes).unwrap();
        assert!(matches!(rig.hear(&bytes[1..]), Heard::Done(_)));
        let events = rig.events();
        let [event] = &events[..] else { panic!("{events:?}") };
        event.clone()
    };
    // FMT that counts two more characters than it has.
    let fmt = odd(0x51, &[0, 0, 7, b'1', b'2', b'3', b'4', b'5']);
    assert!(matches!(fmt, Event::Credential { format: None, bits: 40, .. }), "{fmt:?}");
    let keys = odd(0x53, &[0, 9, b'1', b'2']);
    assert!(matches!(&keys, Event::Keypad { keys, .. } if keys.0 == b"12"), "{keys:?}");
    let raw = odd(0x50, &[0, 0, 200, 0, 1]);
    assert!(matches!(&raw, Event::Credential { bits: 200, data, .. } if data.0 == [1]), "{raw:?}");
}
