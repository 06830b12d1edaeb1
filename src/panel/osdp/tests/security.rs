//! Which keys are tried, how a panel is paired, and what is never said in plaintext.

use super::{
    super::keyring::{KEYSET_INTERVAL, KEYSETS, REST},
    *,
};

fn installing() -> Settings {
    settings(Security::Install)
}

fn kept(current: u8) -> KeyRecord {
    KeyRecord { serial: Some(SERIAL), current: known(current), ..KeyRecord::default() }
}

/// The flag of the next challenge: 0 SCBK-D, 1 the panel's own key. The challenge is refused.
fn challenge(rig: &mut Rig) -> u8 {
    rig.begin();
    assert_eq!(rig.next(), "CHLNG");
    let flag = frame(&rig.bytes).security.unwrap().data[0];
    rig.plain_reply(rig.sequence, &nak(NakCode::EncryptionRequired));
    flag
}

/// Which challenges come before the panel is left alone; each is refused.
fn flags(rig: &mut Rig) -> Vec<u8> {
    let begin = rig.now;
    let mut flags = Vec::new();
    while rig.panel.next(rig.now).unwrap().from < begin + REST {
        flags.extend(rig.serve(None, false));
    }
    flags
}

impl Rig {
    /// Answers one command as a device with this key does that takes SCBK-D, or does not. Returns the flag of a challenge.
    fn serve(&mut self, own: Option<&Scbk>, takes_default: bool) -> Option<u8> {
        let command = self.command();
        let flag = frame(&self.bytes).security.and_then(|block| block.data.first().copied());
        if self.sequence == 0 {
            self.session = None;
        }
        match command {
            Command::Id => drop(self.reply(&identity())),
            Command::Cap => drop(self.reply(&capabilities())),
            Command::Chlng(rnd_a) => {
                let default = Scbk::default_key();
                let key = if flag == Some(1) { own } else { Some(&default).filter(|_| takes_default) };
                match key {
                    Some(key) => {
                        let (handshake, ccrypt) = PanelHandshake::answer(key, [0; 8], &rnd_a, [1; 8]);
                        self.handshake = Some(handshake);
                        self.block_reply(0x12, flag.unwrap(), &Reply::Ccrypt(ccrypt));
                    }
                    None => drop(self.plain_reply(self.sequence, &nak(NakCode::EncryptionRequired))),
                }
                self.store();
                return flag;
            }
            Command::Scrypt(cryptogram) => {
                let (rmac, session) = self.handshake.take().unwrap().accept(&cryptogram).unwrap();
                self.block_reply(0x14, 1, &Reply::RmacI(rmac));
                self.session = Some(session);
            }
            _ => drop(self.reply(&Reply::Ack)),
        }
        self.store();
        None
    }

    /// The disk takes what is to be kept.
    fn store(&mut self) {
        if let Some((_, version)) = self.kept() {
            self.panel.record_stored(self.now, version);
        }
    }
}

/// A new panel whose key is chosen and on disk; it waits to be challenged by SCBK-D.
fn chosen(rig: &mut Rig) -> PanelKey {
    rig.begin();
    let (record, version) = rig.kept().expect("a key to store");
    rig.panel.record_stored(rig.now, version);
    record.pending.expect("a key to set")
}

#[test]
fn the_default_key_is_not_even_tried_before_the_new_key_is_on_disk() {
    let mut rig = Rig::new(installing());
    rig.begin();
    let (record, version) = rig.kept().unwrap();
    let new = record.pending.unwrap();
    assert_eq!((record.current, record.keysets), (None, 0));
    for _ in 0..4 {
        rig.begin();
        assert_eq!(rig.kept(), None, "it is chosen once");
    }
    assert_eq!((rig.state(), rig.trouble()), (PanelState::Insecure, Some(Trouble::KeyNotStored)));
    rig.panel.record_stored(rig.now, version);
    rig.secure(&Scbk::default_key());
    assert_eq!(rig.command(), Command::Keyset(new.scbk().clone()));
    assert_eq!(frame(&rig.bytes).security.unwrap().kind, 0x17);
    let (record, _) = rig.kept().unwrap();
    assert_eq!((&record.pending, record.keysets), (&Some(new.clone()), 1));
    rig.reply(&Reply::Ack);
    rig.secure(new.scbk());
    let events = rig.events();
    let expected = KeyRecord {
        serial: Some(SERIAL),
        current: Some(CurrentKey::Known(new)),
        pending: None,
        from_config: None,
        rekeying: false,
        keysets: 0,
    };
    assert!(
        matches!(&events[..2], [Event::Keep { record, version: 3 }, Event::Secured] if **record == expected),
        "{events:?}"
    );
    let _ = rig.polls(1);
    assert_eq!(rig.state(), PanelState::Online);
}

#[test]
fn in_a_session_under_the_default_key_nothing_is_sent_but_keyset() {
    let mut rig = Rig::new(installing());
    chosen(&mut rig);
    rig.secure(&Scbk::default_key());
    rig.unlock(1);
    assert_eq!(rig.events().pop(), Some(done(1, Err(Failure::Offline))));
    assert_eq!(rig.next(), "KEYSET");
    for _ in 0..2 {
        rig.time_out();
        rig.is_sent_again();
    }
    rig.time_out();
    rig.session = None;
    assert_eq!(rig.next(), "ID");
}

#[test]
fn the_acknowledgement_of_keyset_may_come_in_plaintext() {
    let mut rig = Rig::new(installing());
    let new = chosen(&mut rig);
    rig.secure(&Scbk::default_key());
    assert_eq!(rig.next(), "KEYSET");
    assert!(matches!(rig.plain_reply(rig.sequence, &card()), Heard::Wrong(_)), "nothing else may");
    assert!(matches!(rig.plain_reply(rig.sequence, &Reply::Ack), Heard::Done(_)));
    rig.secure(new.scbk());
    rig.settle();
}

#[test]
fn after_keyset_the_new_key_is_tried_and_the_default_one_again_a_minute_later() {
    let mut rig = Rig::new(installing());
    let new = chosen(&mut rig);
    rig.secure(&Scbk::default_key());
    assert_eq!(rig.next(), "KEYSET");
    let set_at = rig.now;
    rig.plain_reply(rig.sequence, &Reply::Ack);
    rig.session = None;
    let mut seen = Vec::new();
    while rig.now < set_at + KEYSET_INTERVAL - REST {
        seen.extend(rig.serve(None, true));
    }
    assert!(seen.len() > 10 && seen.iter().all(|flag| *flag == 1), "it did not take it, whatever it said");
    assert_eq!(rig.trouble(), Some(Trouble::Pairing));
    while rig.serve(None, true) != Some(0) {}
    assert!(rig.now >= set_at + KEYSET_INTERVAL);
    rig.session = None;
    while rig.state() != PanelState::Online {
        rig.serve(Some(new.scbk()), false);
    }
}

#[test]
fn ten_keysets_that_prove_nothing_are_the_end_until_somebody_pairs() {
    let mut rig = Rig::new(installing());
    let mut keysets: Vec<Mono> = Vec::new();
    while rig.now < Mono::ZERO + KEYSET_INTERVAL * 15 {
        let sent = rig.bytes.clone();
        rig.serve(None, true);
        let is_keyset = sent != rig.bytes && frame(&rig.bytes).code == 0x75;
        keysets.extend(is_keyset.then_some(rig.now));
    }
    assert_eq!(keysets.len(), usize::from(KEYSETS));
    assert!(keysets.windows(2).all(|pair| pair[1].since(pair[0]) >= KEYSET_INTERVAL));
    assert_eq!((rig.state(), rig.trouble()), (PanelState::Insecure, Some(Trouble::PairingFailed)));
    assert!(rig.panel.arm_pairing(rig.now, rig.now + KEYSET_INTERVAL));
    while rig.serve(None, true) != Some(0) {}
}

#[test]
fn pairing_keeps_the_proven_key_until_another_is_proven() {
    let mut rig = Rig::new(Settings { record: kept(2), ..installing() });
    assert!(rig.panel.arm_pairing(rig.now, rig.now + Duration::from_secs(600)));
    for _ in 0..2 {
        assert_eq!(challenge(&mut rig), 1);
    }
    let new = chosen(&mut rig);
    rig.secure(&Scbk::default_key());
    assert_eq!(rig.next(), "KEYSET");
    let (record, _) = rig.kept().unwrap();
    assert_eq!((record.current, record.pending.as_ref()), (known(2), Some(&new)));
    rig.plain_reply(rig.sequence, &Reply::Ack);
    // The old panel is put back: the new key is tried first, then its own.
    rig.session = None;
    for _ in 0..2 {
        rig.begin();
        assert!(!rig.shake_hands(&key(2)));
    }
    rig.secure(&key(2));
    rig.settle();
    let (record, _) = rig.kept().unwrap();
    assert_eq!((record.current, record.pending), (known(2), Some(new)), "another panel may have the new one");
}

#[test]
fn a_key_left_pending_by_an_earlier_run_may_be_the_panels_whatever_was_counted() {
    let record = KeyRecord { pending: Some(panel_key(7)), ..kept(2) };
    let mut rig = Rig::new(Settings { record, ..installing() });
    rig.secure(&key(7));
    let (record, _) = rig.kept().unwrap();
    assert_eq!((record.current, record.pending), (known(7), None));
    let record = KeyRecord { pending: Some(panel_key(7)), ..kept(2) };
    let mut rig = Rig::new(Settings { record, ..installing() });
    for _ in 0..2 {
        rig.begin();
        assert!(!rig.shake_hands(&key(2)));
    }
    rig.secure(&key(2));
    rig.settle();
}

#[test]
fn the_default_key_is_never_tried_unless_pairing_is_allowed() {
    let from_config =
        |current| KeyRecord { from_config: Some(panel_key(1)), current, ..KeyRecord::default() };
    let hash = Some(CurrentKey::HashOnly { sha256: "00".repeat(32) });
    let pending = KeyRecord { pending: Some(panel_key(3)), ..KeyRecord::default() };
    let cases = [
        (settings(Security::Required), vec![]),
        (Settings { record: kept(2), ..settings(Security::Required) }, vec![1, 1]),
        (Settings { record: kept(2), ..installing() }, vec![1, 1]),
        (Settings { record: from_config(None), ..installing() }, vec![1, 1]),
        (Settings { record: from_config(known(2)), ..installing() }, vec![1, 1]),
        (Settings { record: KeyRecord { current: hash, ..kept(1) }, ..installing() }, vec![]),
        (Settings { key_fault: Some(KeyFault::Default), ..installing() }, vec![]),
        (Settings { key_fault: Some(KeyFault::Zero), record: kept(2), ..installing() }, vec![]),
        (installing(), vec![0, 0]),
        (Settings { record: pending, ..installing() }, vec![1, 1, 0, 0]),
    ];
    for (settings, expected) in cases {
        let shown = format!("{settings:?}");
        let mut rig = Rig::new(settings);
        assert_eq!(flags(&mut rig), expected, "{shown}");
    }
}

#[test]
fn the_configured_key_is_set_only_within_the_time_of_panel_pair() {
    let record = KeyRecord { from_config: Some(panel_key(1)), ..KeyRecord::default() };
    let mut rig = Rig::new(Settings { record, ..installing() });
    assert_eq!(flags(&mut rig), [1, 1]);
    rig.panel.arm_pairing(rig.now, rig.now + Duration::from_secs(600));
    for _ in 0..2 {
        assert_eq!(challenge(&mut rig), 1);
    }
    rig.secure(&Scbk::default_key());
    assert_eq!(rig.command(), Command::Keyset(key(1)));
    rig.reply(&Reply::Ack);
    rig.secure(&key(1));
    let (record, _) = rig.kept().unwrap();
    assert_eq!((record.current, record.pending), (known(1), None));
    rig.settle();
}

#[test]
fn keys_that_everybody_knows_are_no_panel_keys() {
    assert_eq!(PanelKey::new(Scbk::default_key()), Err(KeyFault::Default));
    assert_eq!(PanelKey::new(key(0)), Err(KeyFault::Zero));
    for (settings, why) in [
        (
            Settings { key_fault: Some(KeyFault::Default), ..with_key() },
            Trouble::KeyUnusable(KeyFault::Default),
        ),
        (settings(Security::Required), Trouble::NoKey),
        (
            Settings {
                record: KeyRecord {
                    current: Some(CurrentKey::HashOnly { sha256: String::new() }),
                    ..KeyRecord::default()
                },
                ..installing()
            },
            Trouble::KeyUnusable(KeyFault::HashOnly),
        ),
    ] {
        let mut rig = Rig::new(settings);
        rig.begin();
        assert_eq!((rig.state(), rig.trouble()), (PanelState::Insecure, Some(why)));
    }
}

#[test]
fn a_panel_under_a_new_name_is_found_by_its_serial_number() {
    let strays =
        vec![KeyRecord { serial: Some(1), ..kept(8) }, kept(9), KeyRecord { serial: None, ..kept(7) }];
    let mut rig = Rig::new(Settings { strays: strays.clone(), ..settings(Security::Required) });
    rig.secure(&key(9));
    assert_eq!(
        rig.kept().map(|(record, _)| record),
        Some(kept(9)),
        "and has a record of its own from now on"
    );
    rig.settle();

    let mut rig = Rig::new(Settings { strays, ..settings(Security::Required) });
    rig.begin();
    assert!(!rig.shake_hands(&key(8)), "another panel's key is not tried");
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
    assert_eq!(rig.state(), PanelState::Online);
}

#[test]
fn a_wrong_key_makes_insecure_with_the_reason_and_is_tried_again_later() {
    let mut rig = Rig::new(with_key());
    for _ in 0..2 {
        rig.begin();
        assert!(!rig.shake_hands(&key(99)));
    }
    assert_eq!((rig.state(), rig.trouble()), (PanelState::Insecure, Some(Trouble::WrongKey)));
    let rest = rig.panel.next(rig.now).unwrap().from.since(rig.now);
    assert!(rest >= REST - SOON * 4, "{rest:?}");
    rig.secure(&key(1));
    let _ = rig.polls(1);
    assert_eq!((rig.state(), rig.trouble()), (PanelState::Online, None));
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
    assert_eq!((rig.state(), rig.trouble()), (PanelState::Insecure, Some(Trouble::WrongKey)));
}

#[test]
fn a_handshake_that_dies_in_silence_is_one_that_failed() {
    let mut rig = Rig::new(with_key());
    let begin = rig.now;
    while rig.state() != PanelState::Insecure {
        assert!(rig.now < begin + OFFLINE_AFTER, "the verdict does not wait that long");
        match rig.next() {
            "ID" => drop(rig.reply(&identity())),
            "CAP" => drop(rig.reply(&capabilities())),
            "CHLNG" => rig.time_out(),
            other => panic!("{other}"),
        }
    }
    assert_eq!(rig.trouble(), Some(Trouble::NoHandshake));
}

#[test]
fn a_late_answer_to_an_earlier_challenge_says_nothing_of_the_key_unless_it_was_made_with_another() {
    for (has, why) in [(1, Trouble::NoHandshake), (99, Trouble::WrongKey)] {
        let mut rig = Rig::new(with_key());
        rig.begin();
        let Command::Chlng(earlier) = rig.command() else { panic!("no challenge") };
        rig.time_out();
        for _ in 0..2 {
            rig.is_sent_again();
            rig.time_out();
        }
        rig.begin();
        assert_eq!(rig.next(), "CHLNG");
        let _ = rig.events();
        let (_, late) = PanelHandshake::answer(&key(has), [0; 8], &earlier, [1; 8]);
        rig.block_reply(0x12, 1, &Reply::Ccrypt(late));
        assert_eq!(rig.events(), [state(PanelState::Insecure, Some(why))], "{has}");
        rig.secure(&key(1));
        let _ = rig.polls(1);
        assert_eq!(rig.state(), PanelState::Online, "{has}");
    }
}

#[test]
fn scrypt_that_does_not_fit_after_a_resend_says_nothing_of_the_key() {
    const SUCCESS: u8 = 1;
    const FAILURE: u8 = 0xFF;
    for (resent, flag, why) in [
        // A panel that answers a repeated CHLNG with another RND.B refuses what was made with the first.
        (true, FAILURE, Trouble::NoHandshake),
        (true, SUCCESS, Trouble::NoHandshake),
        // It has believed us: this is a late RMAC_I.
        (false, SUCCESS, Trouble::NoHandshake),
        (false, FAILURE, Trouble::WrongKey),
    ] {
        let mut rig = Rig::new(with_key());
        for _ in 0..2 {
            rig.begin();
            let Command::Chlng(rnd_a) = rig.command() else { panic!("no challenge") };
            if resent {
                rig.time_out();
                rig.is_sent_again();
            }
            let (_, ccrypt) = PanelHandshake::answer(&key(1), [0; 8], &rnd_a, [1; 8]);
            rig.block_reply(0x12, 1, &Reply::Ccrypt(ccrypt));
            assert_eq!(rig.next(), "SCRYPT");
            let _ = rig.events();
            rig.block_reply(0x14, flag, &Reply::RmacI([0; 16]));
        }
        assert_eq!(rig.events(), [state(PanelState::Insecure, Some(why))], "{resent} {flag}");
    }
}

#[test]
fn a_nak_of_scrypt_is_another_key_unless_something_was_sent_again() {
    for (resent, why) in [(false, Trouble::WrongKey), (true, Trouble::NoHandshake)] {
        let mut rig = Rig::new(with_key());
        for _ in 0..2 {
            rig.begin();
            let Command::Chlng(rnd_a) = rig.command() else { panic!("no challenge") };
            let (_, ccrypt) = PanelHandshake::answer(&key(1), [0; 8], &rnd_a, [1; 8]);
            rig.block_reply(0x12, 1, &Reply::Ccrypt(ccrypt));
            assert_eq!(rig.next(), "SCRYPT");
            if resent {
                rig.time_out();
                rig.is_sent_again();
            }
            rig.plain_reply(rig.sequence, &nak(NakCode::EncryptionRequired));
        }
        assert_eq!(rig.trouble(), Some(why), "{resent}");
    }
}

#[test]
fn a_late_answer_to_cap_is_no_refusal_of_a_secure_channel() {
    let mut rig = Rig::new(with_key());
    for _ in 0..2 {
        rig.begin();
        assert_eq!(rig.next(), "CHLNG");
        rig.plain_reply(rig.sequence, &capabilities());
    }
    assert_eq!(rig.trouble(), Some(Trouble::NoHandshake));
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
    assert_eq!((rig.state(), rig.trouble()), (PanelState::Insecure, Some(Trouble::NoRandomness)));
    rig.begin();
    assert_eq!((rig.next(), rig.sequence), ("ID", 0), "asked for again, still none");

    let mut rig = Rig::with(installing(), None);
    rig.begin();
    assert_eq!((rig.trouble(), rig.kept()), (Some(Trouble::NoRandomness), None));
    rig.panel.entropy = Box::new(Counting(Some(7)));
    rig.begin();
    assert!(rig.kept().unwrap().0.pending.is_some());
}

#[test]
fn another_serial_number_is_told_at_each_look_and_lets_nobody_in() {
    let record = KeyRecord { serial: Some(1), ..kept(2) };
    let mut rig = Rig::new(Settings { record, ..installing() });
    rig.begin();
    let told = rig.events();
    assert_eq!(told[0], Event::Replaced { serial: SERIAL });
    assert!(matches!(told[1], Event::Identity(identity) if identity.serial == SERIAL));
    assert_eq!(rig.next(), "CHLNG");
    rig.plain_reply(rig.sequence, &nak(NakCode::EncryptionRequired));
    assert_eq!(challenge(&mut rig), 1);
    assert_eq!(rig.state(), PanelState::Insecure);
    rig.events();
    // `panel pair` does not wait for the next attempt.
    let now = rig.now;
    assert!(rig.panel.arm_pairing(now, now + Duration::from_secs(600)));
    assert_eq!(rig.panel.next(now).unwrap().from, now);
    for _ in 0..2 {
        assert_eq!(challenge(&mut rig), 1);
    }
    let new = chosen(&mut rig);
    rig.secure(&Scbk::default_key());
    assert_eq!(rig.next(), "KEYSET");
    rig.reply(&Reply::Ack);
    rig.secure(new.scbk());
    assert_eq!(rig.kept().unwrap().0.serial, Some(SERIAL), "who proves the key is the panel");
}

#[test]
fn in_plaintext_pairing_means_nothing() {
    assert!(!Rig::plain().panel.arm_pairing(Mono::ZERO, Mono::NEVER));
}
