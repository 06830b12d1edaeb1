//! Numbers, retransmissions, refusals, what is no answer, and how a panel is found.

use super::*;

#[test]
fn a_link_begins_at_0_and_goes_on_1_2_3_1() {
    let mut rig = Rig::new(with_key());
    let mut said = Vec::new();
    rig.secure(&key(1));
    for _ in 0..10 {
        said.extend(rig.polls(1).into_iter().map(|name| (rig.sequence, name)));
    }
    let expected = [
        (1, "POLL"),
        (2, "ISTAT"),
        (3, "POLL"),
        (1, "LSTAT"),
        (2, "POLL"),
        (3, "OSTAT"),
        (1, "POLL"),
        (2, "RSTAT"),
        (3, "POLL"),
        (1, "POLL"),
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
    let first = rig.bytes.clone();
    for _ in 0..2 {
        rig.time_out();
        rig.bytes.clear();
        assert!(rig.panel.poll_transmit(rig.now, &mut rig.bytes));
        assert_eq!(rig.bytes, first);
    }
    rig.time_out();
    assert_eq!((rig.next(), rig.sequence), ("ID", 0));
    assert_eq!(rig.events(), [], "that alone is nobody's concern");
}

#[test]
fn a_reply_with_a_wrong_check_is_no_answer_and_the_same_bytes_follow() {
    let mut rig = Rig::secured();
    let _ = rig.next();
    let first = rig.bytes.clone();
    let mut session = rig.session.clone();
    let mut reply = reply_bytes(rig.sequence, &Reply::Ack, session.as_mut());
    reply[9] ^= 4;
    assert!(matches!(rig.hear(&reply), Heard::Broken(_)));
    rig.time_out();
    rig.bytes.clear();
    rig.panel.poll_transmit(rig.now, &mut rig.bytes);
    assert_eq!(rig.bytes, first);
    assert!(matches!(rig.reply(&Reply::Ack), Heard::Done(_)));
    assert_eq!(rig.events(), []);
}

#[test]
fn busy_is_asked_again_with_the_same_bytes_and_an_unchanged_mac_chain() {
    for (mut rig, number) in [(Rig::secured(), 0), (Rig::plain(), 0), (Rig::plain(), 3)] {
        let _ = rig.next();
        let first = rig.bytes.clone();
        for _ in 0..10 {
            let number = if number == 0 { 0 } else { rig.sequence };
            assert!(matches!(rig.plain_reply(number, &Reply::Busy), Heard::Done(_)));
            assert_eq!(rig.panel.not_before(), rig.now + BUSY_PAUSE);
            rig.wait(BUSY_PAUSE);
            rig.bytes.clear();
            rig.panel.poll_transmit(rig.now, &mut rig.bytes);
            assert_eq!(rig.bytes, first);
        }
        assert!(matches!(rig.reply(&card()), Heard::Done(_)));
        assert!(matches!(rig.events()[..], [Event::Credential { .. }]));
        assert_ne!(rig.next(), "ID");
    }
}

#[test]
fn nak_1_asks_for_the_same_bytes_again() {
    let mut rig = Rig::plain();
    rig.unlock(1);
    assert_eq!(rig.next(), "OUT");
    let first = rig.bytes.clone();
    for _ in 0..2 {
        assert!(matches!(rig.reply(&nak(NakCode::Check)), Heard::Done(_)));
        assert_eq!((rig.next(), &rig.bytes), ("OUT", &first));
    }
    rig.reply(&nak(NakCode::Check));
    assert_eq!((rig.next(), rig.sequence), ("ID", 0), "two resends are enough");
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
        plain(NakCode::Check),
        plain(NakCode::UnknownCommand),
        plain(NakCode::Sequence),
        plain(NakCode::EncryptionRequired),
    ] {
        let _ = rig.next();
        let heard =
            if in_session { rig.reply(&nak(code)) } else { rig.plain_reply(rig.sequence, &nak(code)) };
        assert!(matches!(heard, Heard::Done(_)));
        assert_eq!((rig.next(), rig.sequence), ("ID", 0), "{code}");
        assert_eq!(rig.events(), []);
    }
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
    // The MAC belongs to the command after this one.
    let mut stranger = Rig::secured();
    let _ = stranger.polls(2);
    wrong.push(reply_bytes(rig.sequence, &card(), stranger.session.as_mut()));
    wrong.push(reply_bytes(rig.sequence, &card(), None));
    wrong.push(reply_bytes(rig.sequence, &Reply::Ack, None));
    for bytes in wrong {
        assert_eq!(rig.hear(&bytes), Heard::Skip(bytes.len()));
        assert_eq!(rig.events(), []);
    }
    assert_eq!(rig.hear(&right), Heard::Done(right.len()));
    assert_eq!(rig.events().len(), 1);
    assert_eq!(rig.hear(&right), Heard::Skip(right.len()), "once");
}

#[test]
fn a_late_repetition_of_the_last_reply_is_no_answer_to_the_next_command() {
    for mut rig in [Rig::secured(), Rig::plain()] {
        let _ = rig.next();
        let reply = reply_bytes(rig.sequence, &card(), rig.session.as_mut());
        assert_eq!(rig.hear(&reply), Heard::Done(reply.len()));
        assert_eq!(rig.events().len(), 1);
        let _ = rig.next();
        assert_eq!(rig.hear(&reply), Heard::Skip(reply.len()));
        assert_eq!(rig.events(), []);
    }
}

#[test]
fn a_reply_with_number_0_asks_for_a_new_link_unless_it_is_the_old_opening() {
    let mut rig = Rig::plain();
    let _ = rig.next();
    let opening = reply_bytes(0, &identity(), None);
    assert_eq!(rig.hear(&opening), Heard::Skip(opening.len()));
    assert!(matches!(rig.plain_reply(0, &Reply::Ack), Heard::Done(_)));
    assert_eq!((rig.next(), rig.sequence), ("ID", 0));
}

#[test]
fn a_panel_never_heard_is_asked_by_crc_by_checksum_and_by_poll() {
    let mut rig = Rig::new(settings(Security::Off));
    let mut asked = Vec::new();
    for _ in 0..8 {
        let again = rig.panel.probes_again();
        let name = rig.next();
        asked.push((name, frame(&rig.bytes).check, again));
        assert_eq!(rig.sequence, 0);
        rig.time_out();
    }
    let (crc, sum) = (Check::Crc, Check::Checksum);
    let expected = [
        ("ID", crc, false),
        ("ID", sum, true),
        ("ID", crc, false),
        ("ID", crc, false),
        ("ID", crc, false),
        ("POLL", sum, true),
        ("POLL", crc, false),
        ("ID", crc, false),
    ];
    assert_eq!(asked, expected);
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
fn a_late_answer_by_crc_to_a_probe_by_checksum_means_crc() {
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
    assert_eq!(frame(&rig.bytes).check, Check::Checksum, "the same bytes");
    rig.time_out();
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
fn a_known_panel_that_is_gone_is_now_and_then_asked_as_a_new_one_would_have_to_be() {
    let mut rig = Rig::secured();
    rig.session = None;
    for _ in 0..2 {
        rig.bytes.clear();
        rig.panel.poll_transmit(rig.now, &mut rig.bytes);
        rig.time_out();
    }
    rig.wait(OFFLINE_AFTER);
    let mut asked = Vec::new();
    for _ in 0..16 {
        let name = rig.next();
        asked.push((name, frame(&rig.bytes).check));
        rig.time_out();
    }
    assert_eq!(asked.iter().filter(|asked| **asked == ("ID", Check::Crc)).count(), 14);
    assert_eq!(asked[13], ("POLL", Check::Crc));
    assert_eq!(asked[15], ("ID", Check::Checksum));
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
    assert_eq!(rig.panel.state, PanelState::Offline, "the POLL that opened the link does not count");
    rig.reply(&Reply::Ack);
    assert_eq!(rig.panel.state, PanelState::Online);
}

#[test]
fn offline_is_eight_seconds_without_a_valid_reply_to_the_nanosecond() {
    let mut rig = Rig::secured();
    let last = rig.now;
    let _ = rig.next();
    assert_eq!(rig.panel.next_time(), last + OFFLINE_AFTER);
    rig.panel.advance(Mono::from_nanos((last + OFFLINE_AFTER).as_nanos() - 1));
    assert_eq!(rig.events(), []);
    rig.panel.advance(last + OFFLINE_AFTER);
    assert_eq!(rig.events(), [state(PanelState::Offline, Some("no valid reply for 8 s"))]);
    assert!(!rig.panel.is_up());

    let mut rig = Rig::new(with_key());
    rig.wait(OFFLINE_AFTER);
    assert_eq!(rig.events(), [state(PanelState::Offline, Some(NEVER_HEARD))]);
    rig.wait(OFFLINE_AFTER);
    assert_eq!(rig.events(), [], "told once");
}

#[test]
fn two_timeouts_in_a_row_make_a_panel_one_to_be_probed_and_an_answer_undoes_it() {
    let mut rig = Rig::secured();
    let _ = rig.next();
    rig.time_out();
    assert_eq!(rig.panel.pace(), Pace::Live);
    rig.bytes.clear();
    rig.panel.poll_transmit(rig.now, &mut rig.bytes);
    rig.time_out();
    assert_eq!(rig.panel.pace(), Pace::Probe);
    rig.panel.poll_transmit(rig.now, &mut Vec::new());
    rig.reply(&Reply::Ack);
    assert_eq!(rig.panel.pace(), Pace::Live);
}

#[test]
fn a_reply_that_cannot_be_read_is_passed_over() {
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
fn a_card_whose_length_is_wrong_is_a_card_all_the_same() {
    let mut rig = Rig::plain();
    let _ = rig.next();
    let data = crate::wire::osdp::Sensitive(vec![1]);
    rig.reply(&Reply::Raw { reader: 0, format: 0, bits: 200, data: data.clone() });
    let events = rig.events();
    assert!(
        matches!(&events[..], [Event::Credential { bits: 200, data: read, .. }] if *read == data),
        "{events:?}"
    );
}
