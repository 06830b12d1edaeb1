//! Unlocks, light and sound, and what polls bring.

use super::*;
use crate::{
    domain::event::InputState,
    wire::osdp::control::{Colour, OutputAction, OutputControl, Tone},
};

#[test]
fn an_unlock_goes_before_polls_and_is_done_with_its_acknowledgement() {
    for answer in [Reply::Ack, Reply::OStatR(vec![1])] {
        let mut rig = Rig::secured();
        rig.unlock(1);
        assert!(rig.panel.is_urgent());
        let expected = OutputControl { output: 0, action: OutputAction::TemporaryOn, timer: 30 };
        assert_eq!(rig.command(), Command::Out(vec![expected]));
        assert_eq!(frame(&rig.bytes).security.unwrap().kind, 0x17);
        assert_eq!(rig.events(), []);
        rig.reply(&answer);
        assert_eq!(rig.events(), [done(1, Ok(()))]);
        assert!(!rig.panel.is_urgent());
        assert_eq!(rig.next(), "POLL");
    }
}

#[test]
fn a_lock_that_is_active_off_is_switched_off_for_its_time() {
    let mut rig = Rig::plain();
    let tenths = NonZeroU16::new(5).unwrap();
    let unlock = Request::Unlock { output: 3, active: OutputActive::Off, tenths };
    rig.panel.request(rig.now, Token(1), &unlock, rig.now + SOON);
    let expected = OutputControl { output: 3, action: OutputAction::TemporaryOff, timer: 5 };
    assert_eq!(rig.command(), Command::Out(vec![expected]));
}

#[test]
fn an_unlock_that_nobody_took_within_its_time_is_withdrawn() {
    // Queued: the panel is busy with something else, say a command without an answer.
    let mut rig = Rig::secured();
    let _ = rig.next();
    rig.unlock(1);
    assert!(rig.panel.next_time() <= rig.now + Duration::from_secs(2));
    rig.wait(Duration::from_secs(2));
    assert_eq!(rig.events(), [done(1, Err(Failure::Unconfirmed))]);
    rig.reply(&Reply::Ack);
    assert_eq!(rig.next(), "POLL");

    // On the wire, unanswered: no further copy, and the number is not used for anything else.
    let mut rig = Rig::secured();
    rig.unlock(2);
    assert_eq!(rig.next(), "OUT");
    rig.time_out();
    rig.wait(Duration::from_millis(1_800));
    assert_eq!(rig.events(), [done(2, Err(Failure::Unconfirmed))]);
    rig.session = None;
    assert_eq!((rig.next(), rig.sequence), ("ID", 0));

    // On the wire, and its answer may still come: then it counts.
    let mut rig = Rig::secured();
    rig.wait(SOON);
    rig.unlock(3);
    rig.now = rig.now + Duration::from_millis(1_990);
    assert_eq!(rig.next(), "OUT");
    rig.wait(Duration::from_millis(50));
    assert_eq!(rig.events(), []);
    rig.reply(&Reply::Ack);
    assert_eq!(rig.events(), [done(3, Ok(()))]);
}

#[test]
fn an_unlock_survives_a_new_link_and_no_longer_than_its_time() {
    for slow in [false, true] {
        let mut rig = Rig::secured();
        rig.unlock(1);
        assert_eq!(rig.next(), "OUT");
        rig.plain_reply(rig.sequence, &nak(NakCode::EncryptionRequired));
        assert_eq!(rig.events(), []);
        assert!(rig.panel.is_urgent(), "what stands before an unlock is urgent");
        if slow {
            rig.wait(Duration::from_secs(2));
            assert_eq!(rig.events(), [done(1, Err(Failure::Unconfirmed))]);
        }
        rig.secure(&key(1));
        let next = if slow { "POLL" } else { "OUT" };
        assert_eq!(rig.next(), next);
    }
}

#[test]
fn nothing_is_asked_of_a_panel_that_is_offline_or_insecure() {
    let mut rig = Rig::new(with_key());
    rig.unlock(1);
    assert_eq!(rig.events(), [done(1, Err(Failure::Offline))]);

    let mut rig = Rig::new(settings(Security::Required));
    rig.begin();
    rig.settle();
    rig.events();
    rig.unlock(2);
    rig.feedback(3, false);
    assert_eq!(rig.events(), [done(2, Err(Failure::Insecure))]);
    let said = rig.polls(9);
    let expected = ["ISTAT", "POLL", "LSTAT", "POLL", "OSTAT", "POLL", "RSTAT", "POLL", "LED"];
    assert_eq!(said, expected, "a light does no harm, and status goes before it");

    let mut rig = Rig::secured();
    let _ = rig.next();
    rig.wait(Duration::from_millis(6_500));
    rig.unlock(4);
    rig.wait(Duration::from_millis(1_500));
    assert_eq!(rig.events()[0], done(4, Err(Failure::Offline)), "and what waited when it vanished");
}

#[test]
fn an_unlock_that_waits_when_the_panel_turns_out_insecure_fails() {
    let mut rig = Rig::secured();
    rig.unlock(1);
    assert_eq!(rig.next(), "OUT");
    rig.plain_reply(rig.sequence, &nak(NakCode::SecurityUnsupported));
    rig.session = None;
    for _ in 0..2 {
        rig.begin();
        assert_eq!(rig.next(), "CHLNG");
        rig.plain_reply(rig.sequence, &nak(NakCode::SecurityUnsupported));
    }
    rig.begin();
    assert!(rig.events().contains(&done(1, Err(Failure::Insecure))));
    assert_eq!(rig.polls(9).into_iter().filter(|name| *name == "OUT").count(), 0);
}

#[test]
fn light_then_sound_and_a_poll_between_all_commands() {
    let mut rig = Rig::secured();
    rig.feedback(1, true);
    rig.feedback(2, false);
    let mut said = Vec::new();
    for _ in 0..8 {
        let command = rig.command();
        said.push(match command {
            Command::Led(leds) => match leds[0].temporary_blink.on_colour {
                Colour::Green => "green",
                _ => "red",
            },
            Command::Buz(buzzer) => {
                assert_eq!(buzzer.tone, Tone::Default);
                if buzzer.count == 1 { "one beep" } else { "three beeps" }
            }
            other => other.name(),
        });
        rig.reply(&Reply::Ack);
    }
    assert_eq!(said, ["POLL", "green", "POLL", "one beep", "POLL", "red", "POLL", "three beeps"]);
    assert_eq!(rig.events(), [done(1, Ok(())), done(2, Ok(()))]);
}

#[test]
fn light_and_sound_are_asked_of_those_who_have_them() {
    for (has, expected) in [
        (vec![(4, 1), (5, 1)], vec!["LED", "BUZ"]),
        (vec![(4, 1)], vec!["LED"]),
        (vec![(5, 1), (4, 0)], vec!["BUZ"]),
        (vec![], vec![]),
    ] {
        let mut rig = Rig::new(settings(Security::Off));
        let _ = rig.next();
        rig.reply(&identity());
        let _ = rig.next();
        let all = has.iter().map(|&(function, level)| Capability { function, level, count: 1 });
        rig.reply(&Reply::PdCap(all.collect()));
        rig.settle();
        rig.feedback(1, true);
        let said: Vec<_> = rig.polls(10).into_iter().filter(|name| matches!(*name, "LED" | "BUZ")).collect();
        assert_eq!(said, expected);
        assert!(rig.events().contains(&done(1, Ok(()))));
    }
}

#[test]
fn a_full_queue_gives_a_light_away_for_an_unlock() {
    let mut rig = Rig::secured();
    for token in 0..17 {
        rig.feedback(token, true);
    }
    assert_eq!(rig.events(), [done(16, Err(Failure::Unconfirmed))]);
    rig.unlock(99);
    assert_eq!(rig.events(), [done(0, Err(Failure::Unconfirmed))]);
    assert_eq!(rig.next(), "OUT");
}

#[test]
fn reads_are_stale_until_a_poll_finds_nothing() {
    let mut rig = Rig::new(with_key());
    rig.secure(&key(1));
    rig.events();
    let read = |rig: &mut Rig, reply: &Reply| {
        while rig.next() != "POLL" {
            rig.reply(&Reply::LStatR { tamper: false, power_failed: false });
        }
        rig.reply(reply);
        let stale = rig.events().into_iter().filter_map(|event| match event {
            Event::Credential { stale, trusted, .. } => Some((stale, trusted)),
            Event::Keypad { stale, .. } => Some((stale, true)),
            _ => None,
        });
        stale.collect::<Vec<_>>()
    };
    assert_eq!(read(&mut rig, &card()), [(true, true)]);
    assert_eq!(read(&mut rig, &card()), [(true, true)]);
    let keys = Reply::Keypad { reader: 0, digits: b"12".to_vec().into() };
    assert_eq!(read(&mut rig, &keys), [(true, true)]);
    assert_eq!(read(&mut rig, &Reply::Ack), []);
    assert_eq!(read(&mut rig, &card()), [(false, true)]);

    // A new link without an absence changes nothing; an absence does.
    let _ = rig.next();
    rig.plain_reply(rig.sequence, &nak(NakCode::Sequence));
    rig.secure(&key(1));
    rig.events();
    assert_eq!(read(&mut rig, &card()), [(false, true)]);
    rig.wait(OFFLINE_AFTER);
    rig.secure(&key(1));
    rig.events();
    assert_eq!(read(&mut rig, &card()), [(true, true)]);
}

#[test]
fn nothing_is_asked_of_a_panel_whose_reads_are_stale() {
    let mut rig = Rig::new(with_key());
    rig.wait(OFFLINE_AFTER);
    assert_eq!(rig.events(), [state(PanelState::Offline, Some(NEVER_HEARD))]);
    rig.secure(&key(1));
    let told = rig.events();
    assert!(
        matches!(told[..], [Event::Identity(_), Event::KeyProven { .. }, Event::Secured]),
        "who it is is told at once, that it is up is not: {told:?}"
    );
    assert_eq!(rig.next(), "POLL");
    rig.reply(&card());
    let told = rig.events();
    assert!(matches!(told[..], [Event::Credential { stale: true, trusted: true, .. }]), "{told:?}");
    rig.unlock(1);
    rig.feedback(2, true);
    assert_eq!(rig.events(), [done(1, Err(Failure::Offline)), done(2, Err(Failure::Offline))]);
    assert_eq!(rig.polls(1), ["ISTAT"]);
    assert_eq!(
        rig.events(),
        [Event::Inputs { states: vec![InputState::Inactive; 2], stale: true }],
        "an answer to anything but a POLL ends no absence"
    );
    rig.settle();
    assert_eq!(rig.events(), [state(PanelState::Online, None)]);
    rig.unlock(3);
    assert_eq!(rig.polls(1), ["OUT"]);
    assert_eq!(rig.events(), [done(3, Ok(()))]);
}

#[test]
fn a_refused_poll_makes_the_panel_be_up_and_its_reads_stay_stale() {
    let mut rig = Rig::new(with_key());
    rig.secure(&key(1));
    rig.events();
    assert_eq!(rig.next(), "POLL");
    rig.reply(&nak(NakCode::UnknownCommand));
    assert_eq!(rig.events(), [state(PanelState::Online, None)]);
    rig.polls(1);
    rig.events();
    assert_eq!(rig.next(), "POLL");
    rig.reply(&card());
    assert!(matches!(rig.events()[..], [Event::Credential { stale: true, .. }]));

    let mut rig = Rig::new(settings(Security::Off));
    rig.begin();
    rig.events();
    assert_eq!(rig.next(), "POLL");
    rig.reply(&nak(NakCode::EncryptionRequired));
    assert!(matches!(rig.events()[..], [Event::State { state: PanelState::Insecure, error: Some(_) }]));
    let _ = rig.polls(1);
    rig.events();
    assert_eq!(rig.polls(1), ["POLL"]);
    assert_eq!(rig.events(), [state(PanelState::Online, None)]);
}

#[test]
fn a_poll_that_only_opens_the_link_ends_no_absence() {
    let mut rig = Rig::new(settings(Security::Off));
    while rig.next() != "POLL" {
        rig.time_out();
    }
    rig.reply(&Reply::Ack);
    let _ = rig.next();
    rig.reply(&identity());
    let _ = rig.next();
    rig.reply(&capabilities());
    rig.events();
    assert_eq!(rig.next(), "POLL");
    rig.reply(&card());
    assert!(matches!(rig.events()[..], [Event::Credential { stale: true, .. }]));
}

#[test]
fn reads_of_an_insecure_panel_are_told_as_such() {
    let mut rig = Rig::new(settings(Security::Required));
    rig.begin();
    assert_eq!(rig.polls(2)[0], "POLL");
    rig.events();
    assert_eq!(rig.next(), "POLL");
    rig.reply(&card());
    assert!(matches!(rig.events()[..], [Event::Credential { trusted: false, stale: false, .. }]));
}

#[test]
fn reports_become_events() {
    let mut rig = Rig::secured();
    let mut report = |reply: Reply| {
        let _ = rig.next();
        rig.reply(&reply);
        rig.events()
    };
    let states = vec![
        InputState::Inactive,
        InputState::Active,
        InputState::Short,
        InputState::Open,
        InputState::Fault,
        InputState::Unknown,
        InputState::Unknown,
    ];
    assert_eq!(report(Reply::IStatR(vec![0, 1, 2, 3, 4, 5, 77])), [Event::Inputs { states, stale: false }]);
    assert_eq!(report(Reply::OStatR(vec![0, 1])), [Event::Outputs(vec![false, true])]);
    assert_eq!(report(Reply::RStatR(vec![0, 1])), [Event::ReaderTamper(false)]);
    assert_eq!(report(Reply::RStatR(vec![0, 2])), [Event::ReaderTamper(true)]);
    assert_eq!(
        report(Reply::LStatR { tamper: true, power_failed: false }),
        [Event::Local { tamper: true, power_failed: false }]
    );
    let characters = Reply::Fmt { reader: 1, direction: 0, data: b"12345".to_vec().into() };
    assert!(matches!(report(characters)[..], [Event::Credential { reader: 1, format: None, bits: 40, .. }]));
    assert_eq!(report(Reply::MfgRep { oui: [1, 2, 3], data: vec![1].into() }), []);
    assert_eq!(report(Reply::Other { code: 0x99, data: vec![].into() }), []);
}

#[test]
fn a_panel_that_always_has_something_to_tell_is_online_in_the_end() {
    let mut rig = Rig::new(with_key());
    rig.secure(&key(1));
    let mut polls = 0;
    while rig.panel.state != PanelState::Online {
        polls += u32::from(rig.next() == "POLL");
        rig.reply(&Reply::IStatR(vec![1, 0]));
        assert!(polls <= SETTLED_AFTER);
    }
    assert!(polls > 64, "as many reads as panels hold come first");
    rig.events();
    while rig.next() != "POLL" {
        rig.reply(&Reply::Ack);
    }
    rig.reply(&card());
    assert!(matches!(rig.events()[..], [Event::Credential { stale: true, .. }]));
    rig.unlock(1);
    assert_eq!(rig.next(), "OUT");
}
