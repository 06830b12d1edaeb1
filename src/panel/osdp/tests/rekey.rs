//! `panel rekey`: another key in the session that is open, and what is left where it does not come about.

use super::*;

const WHO: Token = Token(9);

/// The door is up under key 1, which the panel was given by pairing.
fn paired() -> Rig {
    let record = KeyRecord { serial: Some(SERIAL), current: known(1), ..KeyRecord::default() };
    Rig::new(Settings { record, ..settings(Security::Required) }).running()
}

/// Begins the change, and returns what is to be kept before it.
fn begin(rig: &mut Rig, to: Option<PanelKey>) -> (KeyRecord, u64) {
    assert_eq!(rig.panel.rekey(rig.now, WHO, to), Ok(()));
    rig.kept().expect("both keys are kept first")
}

/// The change up to KEYSET, which is on the wire; the new key.
fn keyset(rig: &mut Rig, to: Option<PanelKey>) -> PanelKey {
    let (record, version) = begin(rig, to);
    rig.panel.record_stored(rig.now, version);
    let new = record.pending.unwrap();
    assert_eq!(rig.command(), Command::Keyset(new.scbk().clone()));
    assert_eq!(frame(&rig.bytes).security.unwrap().kind, 0x17, "it is encrypted");
    new
}

#[test]
fn the_new_key_is_set_once_both_are_on_disk_and_the_old_one_is_forgotten_once_it_is_proven() {
    let mut rig = paired();
    let (record, version) = begin(&mut rig, None);
    let new = record.pending.clone().unwrap();
    assert_eq!((&record.current, record.rekeying), (&known(1), false));
    assert!(rig.polls(6).iter().all(|name| *name != "KEYSET"), "not before it is on the disk");
    rig.panel.record_stored(rig.now, version);
    assert_eq!(rig.command(), Command::Keyset(new.scbk().clone()));
    rig.reply(&Reply::Ack);
    assert_eq!(rig.state(), PanelState::Online, "the door does not notice");
    rig.secure(new.scbk());
    let events = rig.events();
    let record =
        KeyRecord { serial: Some(SERIAL), current: Some(CurrentKey::Known(new)), ..KeyRecord::default() };
    assert!(
        matches!(&events[..], [Event::Keep { record: kept, .. }, told, Event::Secured] if **kept == record && *told == done(9, Ok(()))),
        "{events:?}"
    );
}

#[test]
fn a_panel_that_refuses_it_or_never_heard_it_works_on_with_its_old_key() {
    for is_refused in [true, false] {
        let mut rig = paired();
        keyset(&mut rig, None);
        if is_refused {
            rig.reply(&nak(NakCode::UnknownCommand));
        } else {
            for _ in 0..2 {
                rig.time_out();
                rig.is_sent_again();
            }
            rig.time_out();
        }
        rig.session = None;
        // Where nobody knows, the new key is tried first, twice.
        for _ in 0..if is_refused { 0 } else { 2 } {
            rig.begin();
            assert!(!rig.shake_hands(&key(1)));
        }
        rig.secure(&key(1));
        assert!(rig.events().contains(&done(9, Err(Failure::Refused))), "refused: {is_refused}");
        assert_eq!(rig.panel.keyring.record().0.current, known(1));
    }
}

#[test]
fn a_key_of_the_configuration_replaces_the_one_before_which_is_kept_until_it_is_proven() {
    let mut rig = Rig::secured();
    assert_eq!(rig.panel.rekey(rig.now, WHO, Some(panel_key(1))), Err(RekeyRefused::SameKey));
    let new = keyset(&mut rig, Some(panel_key(2)));
    assert_eq!(rig.panel.rekey(rig.now, WHO, Some(panel_key(3))), Err(RekeyRefused::Underway));
    let record = rig.panel.keyring.record().0.clone();
    let expected = (known(1), Some(panel_key(2)), Some(panel_key(2)), true);
    assert_eq!(
        (record.current.clone(), record.pending.clone(), record.from_config.clone(), record.rekeying),
        expected
    );

    // The power fails now: whichever the panel has, it is let in.
    for (held, rekeying) in [(1, true), (2, false)] {
        let mut restarted = Rig::new(Settings { record: record.clone(), ..settings(Security::Required) });
        let mut tries = 0;
        loop {
            restarted.session = None;
            restarted.begin();
            tries += 1;
            if restarted.shake_hands(&key(held)) {
                break;
            }
            assert!(tries < 5, "it is locked out");
        }
        let record = restarted.panel.keyring.record().0;
        assert_eq!((&record.current, record.rekeying), (&known(held), rekeying));
    }

    rig.reply(&Reply::Ack);
    rig.secure(new.scbk());
    let record = rig.panel.keyring.record().0;
    assert_eq!((&record.current, &record.pending, record.rekeying), (&known(2), &None, false));
}

#[test]
fn an_unlock_goes_before_it() {
    let mut rig = paired();
    let (_, version) = begin(&mut rig, None);
    rig.panel.record_stored(rig.now, version);
    rig.unlock(1);
    assert_eq!(rig.next(), "OUT");
    rig.reply(&Reply::Ack);
    assert_eq!(rig.next(), "KEYSET");
}

#[test]
fn who_is_not_in_a_session_keeps_its_key() {
    let mut plain = Rig::plain();
    assert_eq!(plain.panel.rekey(plain.now, WHO, None), Err(RekeyRefused::NoSecureChannel));
    let mut silent = Rig::new(with_key());
    assert_eq!(silent.panel.rekey(silent.now, WHO, None), Ok(()));
    assert_eq!(silent.events(), [done(9, Err(Failure::Offline))]);

    // It goes away while the disk still writes, or while KEYSET is on the wire.
    for is_sent in [false, true] {
        let mut rig = paired();
        let failure = match is_sent {
            true => {
                keyset(&mut rig, None);
                Failure::Unconfirmed
            }
            false => {
                begin(&mut rig, None);
                Failure::Offline
            }
        };
        rig.wait(OFFLINE_AFTER + Duration::from_secs(1));
        assert!(rig.events().contains(&done(9, Err(failure))), "sent: {is_sent}");
    }
}

#[test]
fn without_randomness_there_is_no_new_key() {
    let mut rig = paired();
    rig.panel.entropy = Box::new(Counting(None));
    assert_eq!(rig.panel.rekey(rig.now, WHO, None), Err(RekeyRefused::NoRandomness));
}
