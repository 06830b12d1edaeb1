//! Rows 060: what the gateway asks and orders.

use std::time::Duration;

use intercom_gateway::{
    domain::PanelState,
    panel::osdp::CurrentKey,
    simulate::{
        action::Action,
        panel::{ChannelSetup, Observation, PanelSetup},
    },
    wire::osdp::{
        Command, Scbk,
        code::command,
        control::{Colour, LedControl, OutputAction},
    },
};

use crate::{
    rig::{ADDRESS, KNOWN, OPEN_TENTHS, Rig, Setting, UNKNOWN},
    table::Channel,
};

pub fn poll(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.forget();
    rig.run(Duration::from_secs(10));
    let polls: Vec<_> = rig.sent.iter().filter(|sent| sent.layout().code == command::POLL).collect();
    assert!(polls.iter().all(|poll| poll.layout().data.is_empty()));
    assert!(polls.windows(2).all(|both| both[1].start.since(both[0].start) < Duration::from_millis(100)));
    assert_eq!(polls.len(), rig.sent.len(), "nothing else is asked of a panel that is quiet");
}

pub fn id(channel: Channel) {
    let mut rig = Rig::new(Setting::usual(channel));
    rig.run(Duration::from_secs(2));
    let first = rig.sent[0].layout();
    assert_eq!((first.code, first.data, first.block), (command::ID, vec![0], None));
    crate::replies::is_known(&mut rig, channel);
}

pub fn cap(channel: Channel) {
    let mut rig = Rig::new(Setting::usual(channel));
    rig.run(Duration::from_secs(2));
    let second = rig.sent[1].layout();
    assert_eq!((second.code, second.data, second.block), (command::CAP, vec![0], None));
    let capabilities = rig.status().capabilities;
    assert_eq!(
        (capabilities.inputs, capabilities.outputs, capabilities.readers),
        (Some(4), Some(2), Some(1))
    );
}

pub fn lstat(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    let asked = rig.sent_of(command::LSTAT);
    assert!(asked.len() == 1 && asked[0].data.is_empty(), "once for a link, without data");
    let status = rig.status();
    assert_eq!(
        (status.tamper, status.power_failed),
        (Some(false), Some(false)),
        "nobody told but the answer"
    );
    rig.act(Action::Restart);
    rig.run(Duration::from_secs(3));
    assert_eq!(rig.sent_of(command::LSTAT).len(), 2, "once more for the next link");
}

pub fn istat(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    let asked = rig.sent_of(command::ISTAT);
    assert!(asked.len() == 1 && asked[0].data.is_empty());
    rig.act(Action::Restart);
    rig.run(Duration::from_secs(3));
    assert_eq!(rig.sent_of(command::ISTAT).len(), 2);
}

/// Address and rate, the rate little-endian.
pub fn comset(channel: Channel) {
    let order = Command::Comset { address: ADDRESS, baud: 115_200 };
    let mut data = Vec::new();
    order.encode_data(&mut data);
    assert_eq!((order.code(), data.as_slice()), (0x6E, [ADDRESS, 0x00, 0xC2, 0x01, 0x00].as_slice()));
    assert_eq!(Command::decode(0x6E, &data), Ok(order));
    let mut rig = Rig::at_work(channel);
    rig.find_rate(&[9600, 19_200]);
    rig.run(Duration::from_secs(60));
    let told = rig.was_seen(|what| *what == Observation::Comset { address: ADDRESS, baud: 19_200 });
    match channel {
        Channel::Basic => assert!(!told && rig.sent_of(command::COMSET).is_empty()),
        Channel::Secure => {
            assert!(told);
            assert_eq!(rig.line_baud(), Some(19_200), "the line has followed");
            assert_eq!(rig.state(), PanelState::Online);
        }
    }
}

/// In the session, encrypted.
pub fn comset_in_session(_: Channel) {
    let mut rig = Rig::at_work(Channel::Secure);
    rig.find_rate(&[9600, 19_200]);
    rig.run(Duration::from_secs(60));
    let sent = rig.sent_of(command::COMSET);
    assert!(!sent.is_empty());
    assert!(sent.iter().all(|frame| frame.block == Some((0x17, Vec::new()))), "{sent:?}");
}

pub fn out(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.card(KNOWN);
    rig.run(Duration::from_secs(1));
    let is_it = |what: &Observation| {
        matches!(what, Observation::Output(out) if out.output == 0
            && out.action == OutputAction::TemporaryOn && out.timer == OPEN_TENTHS)
    };
    assert_eq!(rig.seen.iter().filter(|what| is_it(what)).count(), 1);
    assert_eq!(rig.panel.output_states(), [1, 0]);
    rig.run(Duration::from_millis(u64::from(OPEN_TENTHS) * 100));
    assert_eq!(rig.panel.output_states(), [0, 0], "it locks again by its own timer");
}

fn lights(rig: &Rig) -> Vec<LedControl> {
    let light = |what: &Observation| match what {
        Observation::Led(light) => Some(*light),
        _ => None,
    };
    rig.seen.iter().filter_map(light).collect()
}

pub fn led(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.card(UNKNOWN);
    rig.run(Duration::from_secs(1));
    rig.card(KNOWN);
    rig.run(Duration::from_secs(1));
    let colours: Vec<Colour> = lights(&rig).iter().map(|light| light.temporary_blink.on_colour).collect();
    assert_eq!(colours, [Colour::Red, Colour::Green]);
    if channel == Channel::Basic {
        let asked = rig.sent_of(command::LED);
        // Reader, light, set for a time; then the colour, and what is permanent.
        assert_eq!(asked[0].data[..3], [0, 0, 2]);
        assert_eq!((asked[0].data.len(), asked[0].data[5], asked[1].data[5]), (14, 1, 2));
        assert_eq!(asked[0].data[9], 0, "the permanent half stays as it is");
    }
}

pub fn led_black(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.identify(20);
    rig.run(Duration::from_secs(1));
    let colours = lights(&rig);
    let blink = colours[0].temporary_blink;
    assert_eq!((blink.on_colour, blink.off_colour), (Colour::Red, Colour::Off));
}

pub fn buz(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.card(UNKNOWN);
    rig.run(Duration::from_secs(1));
    let sounds = |rig: &Rig| {
        let is_it = |what: &&Observation| matches!(what, Observation::Buzzer(_));
        rig.seen.iter().filter(is_it).count()
    };
    assert_eq!(sounds(&rig), 1);
    if channel == Channel::Basic {
        assert_eq!(rig.sent_of(command::BUZ)[0].data, [0, 2, 1, 1, 3], "three beeps of 100 ms");
    }
}

/// Set up, with the panel's new key.
fn paired() -> (Rig, Scbk) {
    let rig = Rig::new(Setting::unpaired()).working();
    let key = rig.panel.key().expect("a key").clone();
    (rig, key)
}

pub fn keyset(_: Channel) {
    let (rig, key) = paired();
    assert!(!key.is_default() && key != Scbk::new([0; 16]));
    assert_eq!(rig.seen.iter().filter(|what| **what == Observation::KeySet).count(), 1);
    let asked = rig.sent_of(command::KEYSET);
    // 01, 10 and the key are 18 bytes: two blocks, and they are sealed.
    assert_eq!((asked.len(), asked[0].block.as_ref(), asked[0].data.len()), (1, Some(&(0x17, vec![])), 32));
    assert!(rig.sent.iter().all(|sent| !sent.bytes.windows(16).any(|some| some == key.expose())));
    let mut data = Vec::new();
    Command::Keyset(key.clone()).encode_data(&mut data);
    assert_eq!(data, [&[0x01, 0x10][..], key.expose()].concat());
    // Under the default key nothing else is sent.
    let sent: Vec<_> = rig.sent.iter().map(|sent| sent.layout()).collect();
    let first = sent.iter().position(|frame| frame.code == command::SCRYPT).unwrap();
    assert_eq!((sent[first + 1].code, sent[first + 2].code), (command::KEYSET, command::ID));
}

pub fn key_in_force(_: Channel) {
    let (mut rig, key) = paired();
    let opened = |rig: &Rig| -> Vec<bool> {
        let by_default = |what: &Observation| match what {
            Observation::Secured { default_key } => Some(*default_key),
            _ => None,
        };
        rig.seen.iter().filter_map(by_default).collect()
    };
    assert_eq!(opened(&rig), [true, false]);
    // After a restart of either, by what is kept.
    for restart in [Rig::restart_gateway, |rig: &mut Rig| rig.act(Action::Restart)] {
        rig.forget();
        restart(&mut rig);
        rig.run(Duration::from_secs(3));
        assert_eq!((opened(&rig).as_slice(), rig.state()), ([false].as_slice(), PanelState::Online));
        assert_eq!(rig.panel.key(), Some(&key));
    }
}

pub fn paired_anew(_: Channel) {
    let (mut rig, old) = paired();
    rig.swap(PanelSetup::new(ADDRESS, ChannelSetup::Install, 99));
    rig.forget();
    rig.run(Duration::from_secs(20));
    assert_eq!((rig.state(), rig.sent_of(command::KEYSET).len()), (PanelState::Insecure, 0), "not by itself");
    rig.arm_pairing();
    rig.until("the new panel is online", |rig| rig.state() == PanelState::Online);
    let new = rig.panel.key().unwrap().clone();
    assert!(new != old && !new.is_default());
    // The old one does not open a session any more.
    let kept = rig.record.current.clone();
    assert!(matches!(kept, Some(CurrentKey::Known(key)) if *key.scbk() == new));
}

pub fn rotation(_: Channel) {
    let (mut rig, old) = paired();
    rig.forget();
    assert_eq!(rig.rekey(), Ok(()));
    rig.run(Duration::from_secs(1));
    let new = rig.panel.key().unwrap().clone();
    assert!(new != old && !new.is_default());
    assert_eq!(rig.sent_of(command::KEYSET).len(), 1);
    // In the session under its own key, and by no other since.
    assert!(rig.sent_of(command::CHLNG).iter().all(|asked| asked.block == Some((0x11, vec![1]))));
    assert!(rig.was_seen(|what| *what == Observation::Secured { default_key: false }));
    assert_eq!(rig.state(), PanelState::Online);
}

pub fn chlng(channel: Channel) {
    let mut rig = Rig::at_work(channel);
    rig.act(Action::Restart);
    rig.run(Duration::from_secs(3));
    let asked = rig.sent_of(command::CHLNG);
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|asked| asked.block == Some((0x11, vec![1])) && asked.data.len() == 8));
    assert_ne!(asked[0].data, asked[1].data, "another random number each time");
}

pub fn scrypt(channel: Channel) {
    let rig = Rig::at_work(channel);
    let asked = rig.sent_of(command::SCRYPT);
    assert!(asked.len() == 1 && asked[0].block == Some((0x13, vec![1])) && asked[0].data.len() == 16);
    // The panel has believed it.
    assert!(rig.was_seen(|what| *what == Observation::Secured { default_key: false }));
}
