//! Unlocks, light and sound, and what polls bring.

use super::*;
use crate::{
    domain::event::InputState,
    wire::osdp::control::{Colour, OutputAction, OutputControl, Tone},
};

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
        assert_eq!(rig.kind(), TurnKind::Request, "what stands before an unlock is urgent");
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
fn the_light_comes_right_behind_the_opening_and_another_opening_lets_a_poll_go_first() {
    let mut rig = Rig::secured();
    assert_eq!(rig.next(), "POLL");
    rig.reply(&Reply::Ack);
    rig.unlock(1);
    rig.feedback(2, true);
    rig.unlock(3);
    let said: Vec<_> = (0..5)
        .map(|_| {
            let said = rig.next();
            rig.reply(&Reply::Ack);
            said
        })
        .collect();
    assert_eq!(said, ["OUT", "LED", "POLL", "BUZ", "POLL"]);
    rig.unlock(4);
    assert_eq!(rig.next(), "OUT");
    rig.reply(&Reply::Ack);
    rig.unlock(5);
    assert_eq!(rig.next(), "POLL", "whatever waits, a swipe does not wait for it");
    rig.reply(&Reply::Ack);
    assert_eq!(rig.next(), "OUT");
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
    assert_eq!(said, ["green", "POLL", "one beep", "POLL", "red", "POLL", "three beeps", "POLL"]);
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
        rig.polls(6);
        rig.feedback(1, true);
        let said: Vec<_> = rig.polls(10).into_iter().filter(|name| matches!(*name, "LED" | "BUZ")).collect();
        assert_eq!(said, expected);
        assert!(rig.events().contains(&done(1, Ok(()))));
    }
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
    assert!(matches!(rig.events()[..], [Event::Credential { stale: true, .. }, Event::Keep { .. }]));
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
    let readers = |tamper, disconnected| [Event::Readers { tamper, disconnected }];
    assert_eq!(report(Reply::RStatR(vec![0, 1])), readers(false, Some(1)));
    assert_eq!(report(Reply::RStatR(vec![0, 2])), readers(true, None));
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
fn an_unlock_goes_before_polls_and_is_done_with_its_acknowledgement() {
    for answer in [Reply::Ack, Reply::OStatR(vec![1])] {
        let mut rig = Rig::secured();
        rig.unlock(1);
        assert_eq!(rig.kind(), TurnKind::Request);
        let expected = OutputControl { output: 0, action: OutputAction::TemporaryOn, timer: 30 };
        assert_eq!(rig.command(), Command::Out(vec![expected]));
        assert_eq!(frame(&rig.bytes).security.unwrap().kind, 0x17);
        assert_eq!(rig.events(), []);
        rig.reply(&answer);
        assert_eq!(rig.events(), [done(1, Ok(()))]);
        assert_eq!((rig.kind(), rig.next()), (TurnKind::Poll, "POLL"));
    }
}

#[test]
fn unlocks_that_wait_together_are_one_out_and_end_one_by_one() {
    let mut rig = Rig::secured();
    for token in 1..=8 {
        rig.unlock(token);
    }
    assert_eq!(rig.next(), "OUT");
    rig.unlock(9);
    rig.reply(&Reply::Ack);
    assert_eq!(rig.events(), (1..=8).map(|token| done(token, Ok(()))).collect::<Vec<_>>());
    assert_eq!((rig.kind(), rig.next()), (TurnKind::Poll, "POLL"), "a flood of them starves no reader");
    rig.reply(&Reply::Ack);
    assert_eq!(rig.next(), "OUT", "what came while it was on the wire needs its own");
    rig.reply(&nak(NakCode::Record));
    assert_eq!(rig.events(), [done(9, Err(Failure::Refused))]);
    assert_eq!(rig.next(), "POLL");
}

#[test]
fn a_short_unlock_does_not_cut_a_long_one_short() {
    let mut rig = Rig::secured();
    let timer = |rig: &mut Rig| match rig.command() {
        Command::Out(out) => out[0].timer,
        other => panic!("{}", other.name()),
    };
    let unlock = |rig: &mut Rig, token, tenths| {
        let tenths = NonZeroU16::new(tenths).unwrap();
        let unlock = Request::Unlock { output: 0, active: OutputActive::On, tenths };
        rig.panel.request(rig.now, Token(token), &unlock, rig.now + Duration::from_secs(2));
    };
    unlock(&mut rig, 1, 300);
    assert_eq!(timer(&mut rig), 300);
    rig.reply(&Reply::Ack);
    rig.polls_for(Duration::from_secs(9));
    unlock(&mut rig, 2, 10);
    let left = timer(&mut rig);
    assert!((200..=211).contains(&left), "{left}");
}

#[test]
fn nothing_is_asked_of_a_panel_that_is_not_online() {
    let mut rig = Rig::new(with_key());
    rig.unlock(1);
    assert_eq!(rig.events(), [done(1, Err(Failure::Offline))]);

    let mut rig = Rig::new(settings(Security::Required));
    rig.begin();
    rig.events();
    assert_eq!(rig.state(), PanelState::Insecure);
    rig.unlock(2);
    rig.feedback(3, false);
    assert_eq!(rig.events(), [done(2, Err(Failure::Insecure)), done(3, Err(Failure::Insecure))]);

    let mut rig = Rig::secured();
    let _ = rig.next();
    rig.wait(Duration::from_millis(6_500));
    rig.unlock(4);
    rig.wait(Duration::from_millis(1_500));
    assert_eq!(rig.events()[0], done(4, Err(Failure::Offline)), "and what waited when it vanished");

    // On the wire when it vanishes: told once, and never sent again.
    let mut rig = Rig::secured();
    rig.wait(Duration::from_millis(7_900));
    rig.unlock(5);
    assert_eq!(rig.next(), "OUT");
    rig.time_out();
    assert_eq!(rig.events()[0], done(5, Err(Failure::Offline)));
    rig.session = None;
    assert_eq!(rig.next(), "ID");
    assert_eq!(rig.events(), []);
}

#[test]
fn nothing_but_id_cap_and_challenge_is_said_in_the_clear() {
    for settings in [with_key(), settings(Security::Required), settings(Security::Install)] {
        let mut rig = Rig::new(settings);
        for _ in 0..200 {
            let reply = match rig.next() {
                "ID" => identity(),
                "CAP" => capabilities(),
                "CHLNG" => nak(NakCode::SecurityUnsupported),
                other => panic!("{other} in the clear"),
            };
            rig.plain_reply(rig.sequence, &reply);
            if let Some((_, version)) = rig.kept() {
                rig.panel.record_stored(rig.now, version);
            }
        }
        assert_eq!(rig.state(), PanelState::Insecure);
    }
}

#[test]
fn a_queued_unlock_does_not_wait_out_the_pauses_of_probes() {
    let mut rig = Rig::secured();
    for _ in 0..2 {
        rig.wait_turn();
        rig.panel.poll_transmit(rig.now, &mut Vec::new());
        rig.time_out();
    }
    assert_eq!(rig.kind(), TurnKind::Probe);
    rig.unlock(1);
    let asked = rig.now;
    let mut turns = 0;
    while rig.now < asked + Duration::from_millis(1_900) {
        assert_eq!(rig.wait_turn(), TurnKind::Request);
        rig.panel.poll_transmit(rig.now, &mut Vec::new());
        rig.time_out();
        turns += 1;
    }
    assert!((4..=6).contains(&turns), "{turns} tries in two seconds, and not more");
}

#[test]
fn too_many_lights_and_unlocks_are_refused_and_an_unlock_waits_for_no_light() {
    let mut rig = Rig::secured();
    for token in 0..17 {
        rig.feedback(token, true);
    }
    assert_eq!(rig.events(), [done(16, Err(Failure::Unconfirmed))]);
    rig.unlock(99);
    assert_eq!(rig.next(), "OUT");
    for token in 100..165 {
        rig.unlock(token);
    }
    assert_eq!(rig.events(), [done(164, Err(Failure::Unconfirmed))]);
}

#[test]
fn reads_are_stale_until_a_poll_of_their_link_finds_nothing() {
    let mut rig = Rig::new(with_key());
    rig.secure(&key(1));
    rig.events();
    assert_eq!(rig.read(&card()), [true]);
    assert_eq!(rig.read(&card()), [true]);
    let keys = Reply::Keypad { reader: 0, digits: b"12".to_vec().into() };
    assert_eq!(rig.read(&keys), [true]);
    assert_eq!(rig.state(), PanelState::Offline, "a person who waits for it to be online can present a key");
    assert_eq!(rig.read(&Reply::Ack), [false; 0]);
    assert_eq!(rig.state(), PanelState::Online);
    assert_eq!(rig.read(&card()), [false]);

    // A new link begins without an absence: the panel may hand over what was held back.
    let _ = rig.next();
    rig.plain_reply(rig.sequence, &nak(NakCode::Sequence));
    rig.secure(&key(1));
    rig.events();
    assert_eq!(rig.read(&card()), [true]);
    assert_eq!(rig.read(&Reply::Ack), [false; 0]);
    assert_eq!(rig.read(&card()), [false]);
}

#[test]
fn reads_behind_three_seconds_of_held_answers_are_stale() {
    let mut rig = Rig::secured();
    while rig.next() != "POLL" {
        rig.reply(&Reply::Ack);
    }
    let sent = rig.now;
    rig.reply(&Reply::Ack);
    rig.now = sent + STALE_AFTER - SOON;
    assert_eq!(rig.read(&card()), [false], "exactly at the limit");
    assert_eq!(rig.read(&card()), [true], "and behind it");
    assert_eq!(rig.read(&Reply::Ack), [false; 0]);
    assert_eq!(rig.read(&card()), [false]);
}

#[test]
fn a_panel_that_refuses_polls_is_not_online_and_says_why() {
    for (reason, why) in [
        (NakCode::UnknownCommand, Trouble::NoLink),
        (NakCode::EncryptionRequired, Trouble::NeedsSecureChannel),
    ] {
        let mut rig = Rig::new(settings(Security::Off));
        rig.begin();
        rig.events();
        let begin = rig.now;
        while rig.now < begin + OFFLINE_AFTER {
            assert_eq!((rig.state(), rig.trouble()), (PanelState::Offline, None));
            let _ = rig.next();
            rig.reply(&nak(reason));
            rig.wait(SOON * 20);
        }
        assert_eq!((rig.state(), rig.trouble()), (PanelState::Offline, Some(why)));
        let _ = rig.polls(2);
        assert_eq!((rig.state(), rig.trouble()), (PanelState::Online, None));
    }
}

#[test]
fn a_panel_that_always_has_something_to_tell_is_online_in_the_end_and_stays_stale() {
    let mut rig = Rig::new(with_key());
    rig.secure(&key(1));
    let begin = rig.now;
    while rig.state() != PanelState::Online {
        let _ = rig.next();
        rig.reply(&Reply::IStatR(vec![1, 0]));
        assert!(rig.now <= begin + Duration::from_millis(3_100));
    }
    rig.events();
    assert_eq!(rig.read(&card()), [true]);
    rig.unlock(1);
    assert_eq!(rig.next(), "OUT");
}

#[test]
fn a_stop_refuses_what_waits_and_finishes_what_is_on_the_wire() {
    let mut rig = Rig::secured();
    rig.unlock(1);
    rig.feedback(2, true);
    rig.panel.stop(rig.now);
    assert_eq!(rig.events(), [done(1, Err(Failure::Stopping)), done(2, Err(Failure::Stopping))]);
    assert!(rig.panel.is_quiet() && rig.panel.next(rig.now).is_none());
    rig.unlock(3);
    assert_eq!(rig.events(), [done(3, Err(Failure::Stopping))]);

    let mut rig = Rig::secured();
    rig.unlock(1);
    assert_eq!(rig.next(), "OUT");
    rig.panel.stop(rig.now);
    assert!(!rig.panel.is_quiet() && rig.events().is_empty());
    rig.time_out();
    rig.is_sent_again();
    rig.reply(&Reply::Ack);
    assert_eq!(rig.events(), [done(1, Ok(()))], "the door opened, and the caller hears so");
    assert!(rig.panel.is_quiet());
}

impl Rig {
    fn kind(&self) -> TurnKind {
        self.panel.next(self.now).unwrap().kind
    }

    /// Answers the next POLL; which of what was read is stale.
    fn read(&mut self, reply: &Reply) -> Vec<bool> {
        while self.next() != "POLL" {
            self.reply(&Reply::LStatR { tamper: false, power_failed: false });
        }
        self.events();
        self.reply(reply);
        let stale = self.events().into_iter().filter_map(|event| match event {
            Event::Credential { stale, .. } | Event::Keypad { stale, .. } => Some(stale),
            _ => None,
        });
        stale.collect()
    }
}
