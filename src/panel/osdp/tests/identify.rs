//! A panel that somebody wants to find: what it is told, when, and what becomes of the request.

use super::*;
use crate::wire::osdp::control::{
    Blink, BuzzerControl, Colour, LedControl, PermanentLed, TemporaryLed, Tone,
};

/// How many commands a quiet panel gets while one request is carried out, and more.
const ENOUGH: usize = 10;

#[test]
fn a_panel_blinks_red_and_beeps_for_its_time_and_no_longer() {
    for mut rig in [Rig::plain(), Rig::secured()] {
        rig.identify(1, 100);
        let light = LedControl {
            reader: 0,
            led: 0,
            temporary: TemporaryLed::Set,
            temporary_blink: Blink { on: 2, off: 3, on_colour: Colour::Red, off_colour: Colour::Off },
            timer: 100,
            permanent: PermanentLed::Nop,
            permanent_blink: Blink::steady(Colour::Off),
        };
        assert_eq!(rig.until("LED"), Command::Led(vec![light]));
        assert_eq!(frame(&rig.bytes).security.map(|block| block.kind), rig.session.is_some().then_some(0x17));
        rig.reply(&Reply::Ack);
        assert_eq!(rig.events(), []);
        assert_eq!(rig.polls(1), ["POLL"], "a swipe does not wait for a queue");
        let sound = BuzzerControl { reader: 0, tone: Tone::Default, on: 2, off: 3, count: 20 };
        assert_eq!(rig.command(), Command::Buz(sound));
        assert_eq!(frame(&rig.bytes).security.map(|block| block.kind), rig.session.is_some().then_some(0x17));
        rig.reply(&Reply::Ack);
        assert_eq!(rig.events(), [done(1, Ok(()))]);
        assert_eq!(rig.polls(4), ["POLL"; 4]);
    }
}

#[test]
fn an_unlock_goes_before_light_and_sound_and_an_answer_to_a_person_does() {
    let mut rig = Rig::secured();
    rig.identify(1, 100);
    rig.unlock(2);
    rig.feedback(3, true);
    assert_eq!(rig.next(), "OUT");
    rig.reply(&Reply::Ack);
    let led = rig.until("LED");
    assert!(matches!(led, Command::Led(leds) if leds[0].temporary_blink.on_colour == Colour::Green));
    rig.reply(&Reply::Ack);
    assert!(matches!(rig.until("BUZ"), Command::Buz(sound) if sound.count == 1));
    rig.reply(&Reply::Ack);
    rig.until("LED");
    rig.reply(&Reply::Ack);
    assert_eq!(rig.events(), [done(2, Ok(())), done(3, Ok(()))]);
    rig.unlock(4);
    assert_eq!(rig.next(), "OUT", "between the light and the sound as well");
    rig.reply(&Reply::Ack);
    rig.until("BUZ");
    rig.reply(&Reply::Ack);
    assert_eq!(rig.events(), [done(4, Ok(())), done(1, Ok(()))]);
}

#[test]
fn a_light_on_the_wire_that_nobody_answers_is_as_urgent_as_the_unlock_behind_it() {
    let mut rig = Rig::secured();
    rig.identify(1, 100);
    rig.until("LED");
    rig.time_out();
    rig.unlock(2);
    assert_eq!(rig.wait_turn(), TurnKind::Request);
    rig.is_sent_again();
    rig.reply(&Reply::Ack);
    assert_eq!(rig.next(), "OUT");
}

#[test]
fn what_a_panel_says_that_it_has_decides_and_what_it_does_not_mention_is_tried() {
    let refused = Err(Failure::Refused);
    for (told, takes, said, result) in [
        (Some(vec![(4, 1), (5, 1)]), ["LED", "BUZ"].as_slice(), ["LED", "BUZ"].as_slice(), Ok(())),
        (Some(vec![(4, 1), (5, 0)]), &["LED"], &["LED"], Ok(())),
        (Some(vec![(4, 0), (5, 1)]), &["BUZ"], &["BUZ"], Ok(())),
        (Some(vec![(4, 0), (5, 0)]), &["LED", "BUZ"], &[], refused),
        (Some(vec![]), &["LED", "BUZ"], &["LED", "BUZ"], Ok(())),
        (Some(vec![]), &["BUZ"], &["LED", "BUZ"], Ok(())),
        (Some(vec![(4, 1), (5, 1)]), &["LED"], &["LED", "BUZ"], Ok(())),
        (Some(vec![(4, 1)]), &[], &["LED", "BUZ"], refused),
        (Some(vec![(4, 1), (5, 0)]), &[], &["LED"], refused),
        (None, &["LED"], &["LED", "BUZ"], Ok(())),
        (None, &[], &["LED", "BUZ"], refused),
    ] {
        let case = format!("{told:?}, takes {takes:?}");
        let mut rig = Rig::telling(told);
        rig.identify(1, 100);
        assert_eq!(rig.carried_out(takes), said, "{case}");
        assert_eq!(rig.events(), [done(1, result)], "{case}");
    }
}

#[test]
fn what_was_not_taken_within_its_time_is_withdrawn() {
    // Queued behind a command without an answer.
    let mut rig = Rig::secured();
    let _ = rig.next();
    rig.identify(1, 100);
    assert!(rig.panel.next_time() <= rig.now + EXPIRES);
    rig.wait(EXPIRES);
    assert_eq!(rig.events(), [done(1, Err(Failure::Unconfirmed))]);
    rig.reply(&Reply::Ack);
    assert_eq!(rig.polls(ENOUGH), ["POLL"; ENOUGH]);

    // On the wire, unanswered: told in time. Its bytes are what is repeated, so that an unlock waits for no new link;
    // the sound is not asked for any more.
    let mut rig = Rig::secured();
    rig.identify(2, 100);
    let expires = rig.now + EXPIRES;
    rig.until("LED");
    rig.time_out();
    assert!(rig.panel.next_time() <= expires);
    rig.wait(expires.since(rig.now));
    assert_eq!(rig.events(), [done(2, Err(Failure::Unconfirmed))]);
    rig.is_sent_again();
    rig.reply(&Reply::Ack);
    assert_eq!(rig.polls(ENOUGH), ["POLL"; ENOUGH]);
    assert_eq!(rig.events(), []);

    // The light is on, and the sound comes to nothing: it was found all the same.
    let mut rig = Rig::secured();
    rig.identify(3, 100);
    let expires = rig.now + EXPIRES;
    rig.until("LED");
    rig.reply(&Reply::Ack);
    rig.wait(expires.since(rig.now));
    assert_eq!(rig.events(), [done(3, Ok(()))]);
    assert_eq!(rig.polls(ENOUGH), ["POLL"; ENOUGH]);
}

#[test]
fn a_link_that_ends_takes_the_light_on_the_wire_along() {
    let mut rig = Rig::secured();
    rig.identify(1, 100);
    rig.until("LED");
    rig.plain_reply(rig.sequence, &nak(NakCode::EncryptionRequired));
    assert_eq!(rig.events(), [done(1, Err(Failure::Unconfirmed))]);
}

#[test]
fn a_panel_that_is_not_online_is_not_asked() {
    let mut rig = Rig::new(with_key());
    rig.identify(1, 100);
    assert_eq!(rig.events(), [done(1, Err(Failure::Offline))]);

    let mut rig = Rig::new(settings(Security::Required));
    rig.begin();
    rig.events();
    assert_eq!(rig.state(), PanelState::Insecure);
    rig.identify(2, 100);
    assert_eq!(rig.events(), [done(2, Err(Failure::Insecure))]);

    let mut rig = Rig::secured();
    rig.panel.request(rig.now, Token(3), &Request::Identify { tenths: TENTHS }, rig.now);
    assert_eq!(rig.events(), [done(3, Err(Failure::Unconfirmed))], "its time was over when it came");
}

#[test]
fn a_stop_ends_it_wherever_it_is() {
    let mut rig = Rig::secured();
    rig.identify(1, 100);
    rig.panel.stop(rig.now);
    assert_eq!(rig.events(), [done(1, Err(Failure::Stopping))]);
    rig.identify(2, 100);
    assert_eq!(rig.events(), [done(2, Err(Failure::Stopping))]);

    let on_the_wire = || {
        let mut rig = Rig::secured();
        rig.identify(1, 100);
        rig.until("LED");
        rig.panel.stop(rig.now);
        assert_eq!(rig.events(), []);
        rig
    };
    let mut rig = on_the_wire();
    rig.reply(&Reply::Ack);
    assert_eq!(rig.events(), [done(1, Ok(()))], "it blinks");
    let mut rig = on_the_wire();
    rig.reply(&nak(NakCode::Record));
    assert_eq!(rig.events(), [done(1, Err(Failure::Stopping))], "whether it has a sound is not known");
    let mut rig = on_the_wire();
    rig.now = rig.now + Duration::from_millis(200);
    rig.panel.handle_timeout(rig.now);
    assert!(rig.panel.next_time() <= rig.now, "the end does not wait for its time to be over");
    rig.panel.advance(rig.now);
    assert_eq!(rig.events(), [done(1, Err(Failure::Unconfirmed))]);
    assert!(rig.panel.is_quiet() && rig.panel.next(rig.now).is_none());
}

const TENTHS: NonZeroU16 = NonZeroU16::new(100).unwrap();
const EXPIRES: Duration = Duration::from_secs(2);

impl Rig {
    /// In plaintext with a device that tells these functions and levels; `None`: it refuses CAP.
    fn telling(told: Option<Vec<(u8, u8)>>) -> Self {
        let mut rig = Self::new(settings(Security::Off));
        let _ = rig.next();
        rig.reply(&identity());
        assert_eq!(rig.next(), "CAP");
        let capability = |(function, level)| Capability { function, level, count: 1 };
        rig.reply(&match told {
            Some(told) => Reply::PdCap(told.into_iter().map(capability).collect()),
            None => nak(NakCode::UnknownCommand),
        });
        rig.settle();
        rig.polls(8);
        rig.events();
        rig
    }

    fn identify(&mut self, token: u64, tenths: u16) {
        let identify = Request::Identify { tenths: NonZeroU16::new(tenths).unwrap() };
        self.panel.request(self.now, Token(token), &identify, self.now + EXPIRES);
    }

    /// Answers POLLs by ACK up to the next command of this name, which it returns.
    fn until(&mut self, name: &str) -> Command {
        loop {
            let command = self.command();
            if command.name() == name {
                return command;
            }
            assert_eq!(command.name(), "POLL");
            self.reply(&Reply::Ack);
        }
    }

    /// Takes some commands, and refuses lights and sounds but these; what it was asked for.
    fn carried_out(&mut self, takes: &[&str]) -> Vec<&'static str> {
        let mut said = Vec::new();
        for _ in 0..ENOUGH {
            let name = self.next();
            let is_show = matches!(name, "LED" | "BUZ");
            said.extend(is_show.then_some(name));
            self.reply(&if is_show && !takes.contains(&name) { nak(NakCode::Record) } else { Reply::Ack });
        }
        said
    }
}
