//! Which keys are tried, how a panel is paired, and what is never said in plaintext.

use super::*;

fn installing() -> Settings {
    settings(Security::Install)
}

/// SCBK-D is up; the key that is to be stored.
fn pairing() -> (Rig, Scbk) {
    let mut rig = Rig::new(installing());
    rig.secure(&Scbk::default_key());
    let key = stored_key(&mut rig).expect("a key to store");
    (rig, key)
}

fn stored_key(rig: &mut Rig) -> Option<Scbk> {
    rig.events().into_iter().find_map(|event| match event {
        Event::StoreKey { key, serial } => {
            assert_eq!(serial, Some(SERIAL));
            Some(key)
        }
        _ => None,
    })
}

/// The flag of the next challenge: 0 SCBK-D, 1 the panel's own key. The challenge is refused.
fn challenge(rig: &mut Rig) -> u8 {
    assert_eq!(rig.next(), "CHLNG");
    let flag = frame(&rig.bytes).security.unwrap().data[0];
    rig.plain_reply(rig.sequence, &nak(NakCode::EncryptionRequired));
    flag
}

#[test]
fn keyset_is_sent_only_when_the_key_is_on_disk_and_proven_by_a_new_link() {
    let (mut rig, new) = pairing();
    rig.settle();
    assert_eq!(rig.panel.state, PanelState::Insecure);
    assert!(!rig.polls(12).contains(&"KEYSET"));
    rig.panel.key_stored(rig.now, true);
    assert_eq!(rig.command(), Command::Keyset(new.clone()));
    assert_eq!(frame(&rig.bytes).security.unwrap().kind, 0x17);
    rig.reply(&Reply::Ack);
    rig.events();
    rig.secure(&new);
    assert_eq!(
        rig.events(),
        [
            Event::KeyProven { key: new, serial: Some(SERIAL) },
            Event::Secured,
            state(PanelState::Online, None)
        ]
    );
}

#[test]
fn the_acknowledgement_of_keyset_may_come_in_plaintext() {
    let (mut rig, new) = pairing();
    rig.panel.key_stored(rig.now, true);
    assert_eq!(rig.next(), "KEYSET");
    assert!(matches!(rig.plain_reply(rig.sequence, &card()), Heard::Skip(_)), "nothing else may");
    assert!(matches!(rig.plain_reply(rig.sequence, &Reply::Ack), Heard::Done(_)));
    rig.secure(&new);
    rig.settle();
    assert_eq!(rig.panel.state, PanelState::Online);
}

#[test]
fn without_an_acknowledgement_of_keyset_both_keys_are_tried() {
    let (mut rig, new) = pairing();
    rig.panel.key_stored(rig.now, true);
    for _ in 0..3 {
        rig.bytes.clear();
        rig.panel.poll_transmit(rig.now, &mut rig.bytes);
        rig.time_out();
    }
    rig.session = None;
    let mut flags = Vec::new();
    for _ in 0..4 {
        rig.begin();
        flags.push(challenge(&mut rig));
    }
    assert_eq!(flags, [1, 1, 0, 0], "each twice: a late answer is no proof");
    rig.begin();
    rig.wait(HANDSHAKE_RETRY);
    assert!(rig.shake_hands(&new));
    rig.settle();
    assert_eq!(rig.panel.state, PanelState::Online);
}

#[test]
fn a_key_that_cannot_be_stored_is_never_set_and_tried_again_later() {
    let (mut rig, first) = pairing();
    rig.panel.key_stored(rig.now, false);
    assert!(!rig.polls(12).contains(&"KEYSET"));
    assert_eq!(stored_key(&mut rig), None);
    rig.polls_for(STORE_RETRY);
    let second = stored_key(&mut rig).unwrap();
    assert_ne!(first, second);
    rig.panel.key_stored(rig.now, true);
    assert_eq!(rig.command(), Command::Keyset(second));
}

#[test]
fn one_key_is_stored_at_a_time_though_the_session_is_lost_meanwhile() {
    let (mut rig, first) = pairing();
    for _ in 0..2 {
        let _ = rig.next();
        rig.plain_reply(rig.sequence, &nak(NakCode::Sequence));
        rig.secure(&Scbk::default_key());
        assert_eq!(stored_key(&mut rig), None, "a second key, and one answer for both");
        assert!(!rig.polls(3).contains(&"KEYSET"));
    }
    rig.panel.key_stored(rig.now, true);
    assert_eq!(rig.command(), Command::Keyset(first));
}

#[test]
fn a_stored_key_is_not_set_outside_a_session() {
    // The answer comes when the link is down; the session after that sends it.
    let (mut rig, new) = pairing();
    let _ = rig.next();
    rig.plain_reply(rig.sequence, &nak(NakCode::Sequence));
    rig.session = None;
    rig.panel.key_stored(rig.now, true);
    for _ in 0..4 {
        rig.begin();
        challenge(&mut rig);
    }
    rig.begin();
    assert!(!rig.polls(20).contains(&"KEYSET"), "in plaintext");
    rig.wait(HANDSHAKE_RETRY);
    assert!(!rig.shake_hands(&Scbk::default_key()), "its own key is tried first");
    rig.begin();
    assert!(!rig.shake_hands(&Scbk::default_key()));
    rig.secure(&Scbk::default_key());
    assert_eq!(rig.command(), Command::Keyset(new), "the same key, without storing it again");
}

#[test]
fn a_refused_keyset_is_not_repeated_in_plaintext() {
    let (mut rig, _) = pairing();
    rig.panel.key_stored(rig.now, true);
    assert_eq!(rig.next(), "KEYSET");
    rig.reply(&nak(NakCode::Record));
    let _ = rig.next();
    rig.plain_reply(rig.sequence, &nak(NakCode::Sequence));
    rig.session = None;
    for _ in 0..4 {
        rig.begin();
        challenge(&mut rig);
    }
    rig.begin();
    for _ in 0..40 {
        rig.wait(STORE_RETRY);
        rig.panel.handshake_at = Mono::NEVER;
        let name = rig.next();
        assert_ne!(name, "KEYSET");
        rig.reply(&Reply::Ack);
    }
}

#[test]
fn a_proven_key_is_the_last_on_disk_though_another_is_being_stored() {
    let kept_key = Some(KeptKey { scbk: key(2), proven: true });
    let mut rig = Rig::new(Settings { kept_key, ..installing() });
    assert!(rig.panel.arm_pairing(Mono::NEVER));
    for _ in 0..2 {
        rig.begin();
        assert_eq!(challenge(&mut rig), 1);
    }
    rig.secure(&Scbk::default_key());
    assert!(stored_key(&mut rig).is_some());
    // The old panel is put back before the disk has answered.
    let _ = rig.next();
    rig.plain_reply(rig.sequence, &nak(NakCode::Sequence));
    rig.session = None;
    for _ in 0..2 {
        rig.begin();
        assert_eq!(challenge(&mut rig), 0);
    }
    rig.begin();
    rig.wait(HANDSHAKE_RETRY);
    assert!(rig.shake_hands(&key(2)));
    assert!(rig.events().contains(&Event::KeyProven { key: key(2), serial: Some(SERIAL) }));
    rig.panel.key_stored(rig.now, true);
    assert!(!rig.polls(12).contains(&"KEYSET"));
    let _ = rig.next();
    rig.plain_reply(rig.sequence, &nak(NakCode::Sequence));
    rig.secure(&key(2));
    assert_eq!(rig.panel.state, PanelState::Online);
}

#[test]
fn a_late_answer_to_an_earlier_challenge_changes_no_state() {
    let mut rig = Rig::secured();
    let _ = rig.next();
    rig.plain_reply(rig.sequence, &nak(NakCode::Sequence));
    rig.session = None;
    rig.begin();
    assert!(!rig.shake_hands(&key(99)), "made with another RND.A, it looks like another key");
    rig.secure(&key(1));
    assert_eq!(rig.events(), []);
    assert_eq!(rig.panel.state, PanelState::Online);
}

#[test]
fn a_wrong_key_makes_insecure_with_the_reason_and_is_tried_again_later() {
    let mut rig = Rig::new(with_key());
    for _ in 0..2 {
        rig.begin();
        assert!(!rig.shake_hands(&key(99)));
    }
    rig.begin();
    rig.settle();
    let told = rig.events().pop().unwrap();
    let Event::State { state: PanelState::Insecure, error: Some(error) } = told else { panic!("{told:?}") };
    assert!(error.contains("another key"));
    assert!(!rig.polls(20).contains(&"CHLNG"));
    rig.wait(HANDSHAKE_RETRY);
    assert!(rig.shake_hands(&key(1)));
    assert_eq!(rig.panel.state, PanelState::Online);
}

#[test]
fn scrypt_that_the_panel_refuses_is_a_wrong_key_too() {
    let mut rig = Rig::new(with_key());
    for _ in 0..2 {
        rig.begin();
        let Command::Chlng(rnd_a) = rig.command() else { panic!() };
        let (_, ccrypt) = PanelHandshake::answer(&key(1), [0; 8], &rnd_a, [1; 8]);
        rig.block_reply(0x12, 1, &Reply::Ccrypt(ccrypt));
        assert_eq!(rig.next(), "SCRYPT");
        rig.block_reply(0x14, 0xFF, &Reply::RmacI([0; 16]));
    }
    rig.begin();
    rig.settle();
    assert_eq!(rig.panel.state, PanelState::Insecure);
}

#[test]
fn the_default_key_is_never_tried_unless_pairing_is_allowed() {
    let kept = |proven| Some(KeptKey { scbk: key(2), proven });
    let cases = [
        (settings(Security::Required), vec![]),
        (Settings { kept_key: kept(true), ..settings(Security::Required) }, vec![1]),
        (Settings { kept_key: kept(true), ..installing() }, vec![1]),
        (Settings { fixed_key: Some(key(1)), kept_key: kept(true), ..installing() }, vec![1]),
        (installing(), vec![0]),
        (Settings { kept_key: kept(false), ..installing() }, vec![1, 0]),
    ];
    for (settings, expected) in cases {
        let mut rig = Rig::new(settings);
        let mut flags = Vec::new();
        for _ in 0..20 {
            match rig.next() {
                "ID" => rig.reply(&identity()),
                "CAP" => rig.reply(&capabilities()),
                "CHLNG" => {
                    flags.push(frame(&rig.bytes).security.unwrap().data[0]);
                    rig.plain_reply(rig.sequence, &nak(NakCode::EncryptionRequired))
                }
                _ => rig.reply(&Reply::Ack),
            };
        }
        flags.dedup();
        assert_eq!(flags, expected);
    }
}

#[test]
fn a_configured_key_works_though_it_is_the_default_one() {
    let mut rig = Rig::new(Settings { fixed_key: Some(Scbk::default_key()), ..settings(Security::Required) });
    rig.secure(&Scbk::default_key());
    assert_eq!(frame(&rig.bytes).security.unwrap().data, [1]);
    rig.settle();
    assert_eq!(rig.panel.state, PanelState::Online);
    assert_eq!(stored_key(&mut rig), None);
}

#[test]
fn every_challenge_is_a_new_one() {
    let mut rig = Rig::new(with_key());
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        match rig.command() {
            Command::Id => rig.reply(&identity()),
            Command::Cap => rig.reply(&capabilities()),
            Command::Chlng(rnd_a) => {
                assert!(seen.insert(rnd_a));
                rig.plain_reply(rig.sequence, &nak(NakCode::Sequence))
            }
            other => panic!("{}", other.name()),
        };
    }
    assert!(seen.len() > 10);
}

#[test]
fn without_randomness_there_is_no_secure_channel_and_no_key() {
    let mut rig = Rig::with(with_key(), None);
    rig.begin();
    rig.settle();
    let told = rig.events().pop().unwrap();
    let Event::State { state: PanelState::Insecure, error: Some(error) } = told else { panic!("{told:?}") };
    assert!(error.contains("random"));
    assert!(!rig.polls(10).contains(&"CHLNG"));
    rig.wait(HANDSHAKE_RETRY);
    assert!(!rig.polls(10).contains(&"CHLNG"), "asked for again, still none");

    let mut rig = Rig::new(installing());
    rig.secure(&Scbk::default_key());
    assert!(stored_key(&mut rig).is_some());
    let mut rig = Rig::new(installing());
    rig.begin();
    rig.shake_hands_then_lose_randomness();
    assert_eq!(stored_key(&mut rig), None);
    rig.panel.entropy = Box::new(Counting(Some(7)));
    rig.polls_for(STORE_RETRY);
    assert!(stored_key(&mut rig).is_some());
}

impl Rig {
    fn shake_hands_then_lose_randomness(&mut self) {
        let Command::Chlng(rnd_a) = self.command() else { panic!() };
        self.panel.entropy = Box::new(Counting(None));
        let default = Scbk::default_key();
        let (handshake, ccrypt) = PanelHandshake::answer(&default, [0; 8], &rnd_a, [1; 8]);
        self.block_reply(0x12, 0, &Reply::Ccrypt(ccrypt));
        let Command::Scrypt(cryptogram) = self.command() else { panic!() };
        let (rmac, session) = handshake.accept(&cryptogram).unwrap();
        self.block_reply(0x14, 1, &Reply::RmacI(rmac));
        self.session = Some(session);
    }
}

#[test]
fn another_serial_number_is_told_and_lets_nobody_in() {
    let kept_key = Some(KeptKey { scbk: key(2), proven: true });
    let mut rig = Rig::new(Settings { kept_key, known_serial: Some(1), ..installing() });
    rig.begin();
    let told = rig.events();
    assert_eq!(told[0], Event::Replaced { serial: SERIAL });
    assert!(matches!(told[1], Event::Identity(identity) if identity.serial == SERIAL));
    assert_eq!(challenge(&mut rig), 1);
    rig.begin();
    assert_eq!(challenge(&mut rig), 1);
    rig.begin();
    rig.settle();
    assert_eq!(rig.panel.state, PanelState::Insecure);
    rig.events();
    // `panel pair` does not wait for the next attempt.
    assert!(rig.panel.arm_pairing(rig.now + Duration::from_secs(600)));
    assert_eq!(challenge(&mut rig), 1);
    rig.begin();
    assert_eq!(challenge(&mut rig), 1);
    rig.begin();
    assert!(rig.shake_hands(&Scbk::default_key()));
    assert!(stored_key(&mut rig).is_some());
}

#[test]
fn a_panel_that_demands_security_is_told_where_none_is_configured() {
    let mut rig = Rig::plain();
    let _ = rig.next();
    rig.reply(&nak(NakCode::EncryptionRequired));
    let told = rig.events().pop().unwrap();
    let Event::State { state: PanelState::Insecure, error: Some(error) } = told else { panic!("{told:?}") };
    assert!(error.contains("secure_channel"));
    let _ = rig.next();
    rig.reply(&Reply::Ack);
    assert_eq!(rig.events(), [state(PanelState::Online, None)]);
    assert!(!rig.panel.arm_pairing(Mono::NEVER));
}
