//! The panel against the control panel's half of `wire`, in virtual time.

use super::{
    super::action::{Card, Fault},
    *,
};
use crate::wire::osdp::{
    Parsed, Session,
    control::{OutputAction, OutputControl},
    parse,
    reply::PdId,
    secure::Challenge,
};

/// The gateway's end of the link, as plain as can be.
struct Gateway {
    panel: SimulatedPanel,
    now: Mono,
    sequence: u8,
    session: Option<Session>,
    last: Vec<u8>,
}

/// What came back: the reply, its sequence number, the kind of its security block.
type Came = Option<(Reply, u8, Option<u8>)>;

impl Gateway {
    fn new(channel: ChannelSetup) -> Self {
        Self::with(PanelSetup::new(3, channel, 1))
    }

    fn with(setup: PanelSetup) -> Self {
        let panel = SimulatedPanel::new(setup);
        Self { panel, now: Mono::ZERO, sequence: 0, session: None, last: Vec::new() }
    }

    fn header(&self) -> Header {
        Header { address: self.panel.address(), reply: false, sequence: self.sequence, check: Check::Crc }
    }

    /// Sends a command in the open channel or in plaintext, with the number that is due.
    fn send(&mut self, command: &Command) -> Came {
        let (mut data, mut bytes) = (Vec::new(), Vec::new());
        command.encode_data(&mut data);
        let header = self.header();
        match &mut self.session {
            Some(session) => session.seal(&header, command.code(), &data, &mut bytes).unwrap(),
            None => emit(&header, None, command.code(), &data, &mut bytes).unwrap(),
        }
        self.send_bytes(bytes)
    }

    fn send_block(&mut self, kind: u8, flag: u8, command: &Command) -> Came {
        let (mut data, mut bytes) = (Vec::new(), Vec::new());
        command.encode_data(&mut data);
        emit(&self.header(), Some((kind, &[flag])), command.code(), &data, &mut bytes).unwrap();
        self.send_bytes(bytes)
    }

    fn send_bytes(&mut self, bytes: Vec<u8>) -> Came {
        self.last = bytes;
        self.sequence = following(self.sequence);
        self.resend()
    }

    /// The same bytes again.
    fn resend(&mut self) -> Came {
        let answer = raw_answer(&mut self.panel, self.now, &self.last)?;
        let Parsed::Frame(frame, length) = parse(&answer[1..]) else { return None };
        assert_eq!((answer[0], length, frame.reply), (0xFF, answer.len() - 1, true));
        let data = match &mut self.session {
            Some(session) if frame.mac.is_some() => session.open(&frame).unwrap(),
            _ => frame.data.to_vec(),
        };
        let kind = frame.security.map(|block| block.kind);
        Some((Reply::decode(frame.code, &data).unwrap(), frame.sequence, kind))
    }

    fn secure(&mut self, key: &Scbk, flag: u8) -> Result<(), Came> {
        (self.sequence, self.session) = (0, None);
        let challenge = Challenge::new(key, flag == 0, *b"ABCDEFGH");
        let came = self.send_block(0x11, flag, &challenge.command());
        let Some((Reply::Ccrypt(answer), 0, Some(0x12))) = &came else { return Err(came) };
        let Ok(proven) = challenge.verify(answer) else { return Err(came) };
        let came = self.send_block(0x13, flag, &proven.command());
        let Some((Reply::RmacI(rmac), 1, Some(0x14))) = &came else { return Err(came) };
        self.session = Some(proven.finish(rmac).map_err(|_| None)?);
        Ok(())
    }

    fn act(&mut self, action: Action) {
        self.panel.act(self.now, action).unwrap();
    }

    fn observations(&mut self) -> Vec<Observation> {
        std::iter::from_fn(|| self.panel.poll_observation()).collect()
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.panel.handle_timeout(self.now);
    }
}

fn raw_answer(panel: &mut SimulatedPanel, now: Mono, bytes: &[u8]) -> Option<Vec<u8>> {
    let Parsed::Frame(frame, _) = parse(bytes.strip_prefix(&[0xFF]).unwrap_or(bytes)) else { panic!() };
    panel.handle_frame(now, &frame).map(|answer| answer.bytes)
}

fn refused(came: Came) -> Option<u8> {
    match came {
        Some((Reply::Nak(nak), ..)) => Some(nak.reason.byte()),
        _ => None,
    }
}

fn card() -> Action {
    Action::Card(Card { format: 1, bits: 32, data: vec![0x30, 0x42, 0xCA, 0xAC] })
}

fn open_door(timer: u16) -> Command {
    Command::Out(vec![OutputControl { output: 0, action: OutputAction::TemporaryOn, timer }])
}

fn key() -> Scbk {
    Scbk::from_hex("000102030405060708090a0b0c0d0e0f").unwrap()
}

#[test]
fn a_captured_conversation_byte_for_byte() {
    let mut setup = PanelSetup::new(0, ChannelSetup::Install, 0);
    let id = hex::decode("53000900046100c066").unwrap();
    let captured = hex::decode("ff5380140004450a00170300cafedeed015002043b").unwrap();
    setup.identity = PdId {
        oui: [0x0A, 0x00, 0x17],
        model: 3,
        version: 0,
        serial: u32::from_le_bytes([0xCA, 0xFE, 0xDE, 0xED]),
        firmware: [0x01, 0x50, 0x02],
    };
    let mut panel = SimulatedPanel::new(setup);
    assert_eq!(raw_answer(&mut panel, Mono::ZERO, &id), Some(captured));
    let challenge = hex::decode("530013000d03110076cdcd921212d3ee6a8c8b").unwrap();
    let answer = raw_answer(&mut panel, Mono::ZERO, &challenge).unwrap();
    let expected = hex::decode("ff53802b000d031200760a00170300cafede").unwrap();
    assert_eq!(answer[..expected.len()], expected, "up to RND.B, which is the panel's own");
}

#[test]
fn a_repeated_number_gets_the_same_bytes_and_nothing_happens_twice() {
    let mut gateway = Gateway::new(ChannelSetup::Key(key()));
    gateway.secure(&key(), 1).unwrap();
    assert!(matches!(gateway.send(&open_door(30)), Some((Reply::Ack, 2, Some(0x16)))));
    gateway.act(card());
    let mut first = gateway.last.clone();
    for expected in [3, 1] {
        let (mut bytes, header) = (Vec::new(), gateway.header());
        assert_eq!(header.sequence, expected);
        gateway.session.as_mut().unwrap().seal(&header, 0x60, &[], &mut bytes).unwrap();
        first = raw_answer(&mut gateway.panel, gateway.now, &bytes).unwrap();
        for _ in 0..3 {
            assert_eq!(raw_answer(&mut gateway.panel, gateway.now, &bytes).as_ref(), Some(&first));
        }
        let Parsed::Frame(frame, _) = parse(&first[1..]) else { panic!() };
        gateway.session.as_mut().unwrap().open(&frame).unwrap();
        gateway.sequence = following(gateway.sequence);
    }
    assert_eq!(first.len(), 15, "a secure ACK with its mark");
    let all = gateway.observations();
    let count = |wanted: &Observation| all.iter().filter(|what| *what == wanted).count();
    assert_eq!(count(&Observation::Sent(EventId(1))), 1);
    assert_eq!(count(&Observation::Acknowledged(EventId(1))), 1);
    assert_eq!(count(&Observation::OutputState { output: 0, on: true }), 1);
}

#[test]
fn a_read_is_acknowledged_by_the_next_number_and_by_nothing_else() {
    let mut gateway = Gateway::new(ChannelSetup::Unsupported);
    gateway.send(&Command::Id).unwrap();
    gateway.act(card());
    gateway.act(card());
    assert!(matches!(gateway.send(&Command::Poll), Some((Reply::Raw { bits: 32, .. }, 1, None))));
    gateway.observations();
    gateway.resend().unwrap();
    assert_eq!(gateway.observations(), []);
    gateway.send(&Command::Poll).unwrap();
    let expected = [Observation::Acknowledged(EventId(1)), Observation::Sent(EventId(2))];
    assert_eq!(gateway.observations(), expected);
    gateway.sequence = 0;
    gateway.send(&Command::Poll).unwrap();
    assert_eq!(gateway.observations(), [Observation::Unknown(EventId(2))]);
}

#[test]
fn number_zero_begins_anew_and_a_wrong_one_is_refused() {
    let mut gateway = Gateway::new(ChannelSetup::Key(key()));
    gateway.sequence = 2;
    assert_eq!(refused(gateway.send(&Command::Poll)), Some(4), "no link yet");
    gateway.secure(&key(), 1).unwrap();
    assert!(gateway.panel.is_secured());
    gateway.session = None;
    gateway.sequence = 0;
    assert!(matches!(gateway.send(&Command::Poll), Some((Reply::Ack, 0, None))));
    assert!(!gateway.panel.is_secured());
    gateway.sequence = 3;
    assert_eq!(refused(gateway.send(&Command::Poll)), Some(4));
    gateway.sequence = 1;
    assert_eq!(refused(gateway.send(&Command::Poll)), Some(4), "the link is gone");
    gateway.sequence = 0;
    assert!(matches!(gateway.send(&Command::Poll), Some((Reply::Ack, 0, None))));
}

#[test]
fn busy_changes_nothing_and_is_never_sealed() {
    let mut gateway = Gateway::new(ChannelSetup::Key(key()));
    gateway.secure(&key(), 1).unwrap();
    gateway.act(Action::Fault(Fault::Busy(2)));
    assert!(matches!(gateway.send(&open_door(30)), Some((Reply::Busy, 0, None))));
    assert!(matches!(gateway.resend(), Some((Reply::Busy, 0, None))));
    assert_eq!(gateway.panel.output_states(), [0, 0]);
    assert!(matches!(gateway.resend(), Some((Reply::Ack, 2, Some(0x16)))));
    assert_eq!(gateway.panel.output_states(), [1, 0]);
}

#[test]
fn a_new_panel_is_paired_once() {
    let mut gateway = Gateway::new(ChannelSetup::Install);
    assert_eq!(refused(gateway.secure(&key(), 1).unwrap_err()), Some(6), "it has no key of its own");
    gateway.sequence = 0;
    assert_eq!(refused(gateway.send(&Command::Keyset(key()))), Some(6), "never in plaintext");
    gateway.secure(&Scbk::default_key(), 0).unwrap();
    assert!(gateway.observations().contains(&Observation::Secured { default_key: true }));
    assert!(matches!(gateway.send(&Command::Keyset(key())), Some((Reply::Ack, 2, Some(0x16)))));
    assert!(matches!(gateway.send(&Command::Poll), Some((Reply::Ack, 3, Some(0x16)))));
    assert_eq!(gateway.panel.key(), Some(&key()));
    assert_eq!(refused(gateway.secure(&Scbk::default_key(), 0).unwrap_err()), Some(6));
    gateway.secure(&key(), 1).unwrap();
    gateway.act(Action::Restart);
    gateway.secure(&key(), 1).unwrap();
}

#[test]
fn a_gateway_with_another_key_is_turned_away() {
    let mut gateway = Gateway::new(ChannelSetup::Key(key()));
    let other = Scbk::default_key();
    assert!(
        matches!(gateway.secure(&other, 1), Err(Some((Reply::Ccrypt(_), ..)))),
        "the gateway sees it first"
    );
    let came = gateway.send_block(0x13, 1, &Command::Scrypt([0; 16]));
    assert!(matches!(came, Some((Reply::RmacI(_), 1, Some(0x14)))));
    assert!(gateway.observations().contains(&Observation::WrongKey));
    assert!(!gateway.panel.is_secured());
    assert_eq!(refused(gateway.send_block(0x13, 1, &Command::Scrypt([0; 16]))), Some(6));
}

#[test]
fn a_wrong_mac_or_plaintext_ends_the_secure_channel() {
    for forge in [true, false] {
        let mut gateway = Gateway::new(ChannelSetup::Key(key()));
        gateway.secure(&key(), 1).unwrap();
        if forge {
            let mut gone_on = gateway.session.clone().unwrap();
            let (header, mut bytes) = (gateway.header(), Vec::new());
            gone_on.seal(&header, 0x60, &[], &mut bytes).unwrap();
            let forged: Vec<u8> =
                bytes.iter().enumerate().map(|(i, b)| if i == 9 { b ^ 1 } else { *b }).collect();
            let crc = crate::wire::crc::osdp_crc(&forged[1..forged.len() - 2]).to_le_bytes();
            let forged = [&forged[..forged.len() - 2], &crc].concat();
            assert_eq!(refused(gateway.send_bytes(forged)), Some(6));
        } else {
            gateway.session = None;
            assert_eq!(refused(gateway.send(&Command::Poll)), Some(6));
        }
        assert!(!gateway.panel.is_secured());
    }
}

#[test]
fn an_enforcing_panel_tells_only_who_it_is() {
    let mut gateway =
        Gateway::with(PanelSetup { enforce: true, ..PanelSetup::new(0, ChannelSetup::Install, 0) });
    assert!(matches!(gateway.send(&Command::Id), Some((Reply::PdId(_), 0, None))));
    assert!(matches!(gateway.send(&Command::Cap), Some((Reply::PdCap(_), 1, None))));
    assert_eq!(refused(gateway.send(&Command::Poll)), Some(6));
    assert_eq!(refused(gateway.send(&open_door(1))), Some(6));
    gateway.secure(&Scbk::default_key(), 0).unwrap();
    assert!(matches!(gateway.send(&Command::Poll), Some((Reply::Ack, 2, Some(0x16)))));
}

#[test]
fn silence_ends_the_link_but_not_what_waits_for_a_poll() {
    let mut gateway = Gateway::new(ChannelSetup::Key(key()));
    gateway.secure(&key(), 1).unwrap();
    gateway.act(card());
    gateway.wait(OFFLINE_AFTER - Duration::from_nanos(1));
    assert!(gateway.panel.is_secured());
    assert_eq!(gateway.panel.next_timeout(), Some(Mono::ZERO + OFFLINE_AFTER));
    gateway.wait(Duration::from_nanos(1));
    assert!(!gateway.panel.is_secured() && !gateway.panel.is_online());
    let ended = gateway.observations();
    assert_eq!(ended[ended.len() - 2..], [Observation::Unsecured, Observation::Offline]);
    gateway.secure(&key(), 1).unwrap();
    assert!(matches!(gateway.send(&Command::Poll), Some((Reply::Raw { .. }, 2, Some(0x18)))));
}

#[test]
fn outputs_go_back_by_themselves_and_say_so_where_asked() {
    let setup = PanelSetup { report_outputs: true, ..PanelSetup::new(0, ChannelSetup::Unsupported, 0) };
    let mut gateway = Gateway::with(setup);
    gateway.send(&open_door(30)).unwrap();
    assert!(matches!(gateway.send(&Command::Poll), Some((Reply::OStatR(states), ..)) if states == [1, 0]));
    assert_eq!(gateway.panel.next_timeout(), Some(Mono::ZERO + Duration::from_secs(3)));
    gateway.wait(Duration::from_secs(3));
    assert_eq!(gateway.panel.output_states(), [0, 0]);
    assert!(matches!(gateway.send(&Command::Poll), Some((Reply::OStatR(states), ..)) if states == [0, 0]));
    let wrong = Command::Out(vec![OutputControl { output: 2, action: OutputAction::PermanentOn, timer: 0 }]);
    assert_eq!(refused(gateway.send(&wrong)), Some(9));
}

#[test]
fn faults_of_replies_leave_the_panel_itself_alone() {
    let mut gateway = Gateway::new(ChannelSetup::Unsupported);
    gateway.send(&Command::Id).unwrap();
    gateway.act(Action::Fault(Fault::Drop(1)));
    assert_eq!(gateway.send(&open_door(30)), None);
    assert_eq!(gateway.panel.output_states(), [1, 0]);
    gateway.act(Action::Fault(Fault::Corrupt(1)));
    assert_eq!(gateway.resend(), None, "its check is wrong");
    assert!(matches!(gateway.resend(), Some((Reply::Ack, 1, None))));
    gateway.act(Action::Fault(Fault::Mute(true)));
    assert_eq!(gateway.send(&Command::Poll), None);
    gateway.act(Action::Fault(Fault::Mute(false)));
    gateway.act(Action::Fault(Fault::Gone(true)));
    assert_eq!(gateway.resend(), None);
    gateway.act(Action::Fault(Fault::Gone(false)));
    assert!(matches!(gateway.resend(), Some((Reply::Ack, 2, None))));
    gateway.act(Action::Fault(Fault::Nak(true)));
    assert_eq!(refused(gateway.send(&Command::Ostat)), Some(9));
    assert!(matches!(gateway.send(&Command::Poll), Some((Reply::Ack, ..))));
}

#[test]
fn states_are_reported_on_request_and_to_a_poll() {
    use crate::simulate::action::Status;
    let mut gateway = Gateway::new(ChannelSetup::Unsupported);
    gateway.act(Action::Status(Status::Inputs(vec![1, 0, 2, 3])));
    gateway.act(Action::Status(Status::Local { tamper: true, power_failed: false }));
    assert!(
        matches!(gateway.send(&Command::Istat), Some((Reply::IStatR(states), ..)) if states == [1, 0, 2, 3])
    );
    assert!(
        matches!(gateway.send(&Command::Poll), Some((Reply::IStatR(states), ..)) if states == [1, 0, 2, 3])
    );
    let tamper = |came: Came| matches!(came, Some((Reply::LStatR { tamper: true, power_failed: false }, ..)));
    assert!(tamper(gateway.send(&Command::Poll)));
    assert!(tamper(gateway.send(&Command::Lstat)));
    let wrong = gateway.panel.act(Mono::ZERO, Action::Status(Status::Inputs(vec![1])));
    assert_eq!(wrong.unwrap_err().to_string(), "the panel has 4 inputs, not 1: give a state for each");
}

#[test]
fn a_changed_address_is_in_force_after_the_reply() {
    let mut gateway = Gateway::new(ChannelSetup::Unsupported);
    let asked = Command::Comset { address: 9, baud: 115_200 };
    assert!(matches!(gateway.send(&asked), Some((Reply::Com { address: 9, baud: 115_200 }, 0, None))));
    let old = gateway.last.clone();
    assert_eq!(raw_answer(&mut gateway.panel, Mono::ZERO, &old), None);
    gateway.sequence = 0;
    assert!(matches!(gateway.send(&Command::Poll), Some((Reply::Ack, 0, None))));
}

#[test]
fn commands_of_other_lengths_codes_and_values_are_refused() {
    let mut gateway = Gateway::new(ChannelSetup::Unsupported);
    for (code, data, reason) in
        [(0x68, &[0][..], 2), (0x68, &[0, 9, 0, 0], 9), (0x7E, &[], 3), (0x61, &[], 2)]
    {
        let mut bytes = Vec::new();
        emit(&gateway.header(), None, code, data, &mut bytes).unwrap();
        assert_eq!(refused(gateway.send_bytes(bytes)), Some(reason), "{code:02x}");
    }
}

#[test]
fn a_wrong_check_is_answered_only_where_asked_for() {
    let broken = hex::decode("53030900046100c067").unwrap();
    for (nak_bad_check, expected) in [(false, None), (true, Some(1))] {
        let setup = PanelSetup { nak_bad_check, ..PanelSetup::new(3, ChannelSetup::Unsupported, 0) };
        let answer = SimulatedPanel::new(setup).handle_broken(Mono::ZERO, &broken);
        let reason = answer.map(|answer| match parse(&answer.bytes[1..]) {
            Parsed::Frame(frame, _) => frame.data[0],
            other => panic!("{other:?}"),
        });
        assert_eq!(reason, expected);
    }
}

#[test]
fn a_full_queue_takes_no_more() {
    let mut gateway = Gateway::new(ChannelSetup::Unsupported);
    let taken = (0..100).take_while(|_| gateway.panel.act(Mono::ZERO, card()).is_ok()).count();
    assert_eq!((taken, gateway.panel.waiting()), (64, 64));
    assert!(matches!(gateway.panel.act(Mono::ZERO, card()), Err(ActionError::QueueFull)));
}
