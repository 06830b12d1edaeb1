//! The rules of the protocol one by one: what exactly is said, and what an answer changes.

#![allow(clippy::arithmetic_side_effects, reason = "a test may panic")]

mod commands;
mod identify;
mod keyring;
mod link;
mod rekey;
mod security;

use std::{num::NonZeroU16, time::Duration};

use super::{link::Phase, *};
use crate::{
    domain::{OutputActive, event::SuspectCause},
    panel::{Heard, TurnKind},
    wire::osdp::{
        Check, Command, Frame, Header, NakCode, Parsed, Reply, Scbk, Session, emit, parse,
        reply::{Capability, Nak, PdId},
        secure::PanelHandshake,
    },
};

const ADDRESS: u8 = 5;
const SERIAL: u32 = 0xBEEF;
const STALE_AFTER: Duration = Duration::from_secs(3);
/// A reply time on a calm line.
const SOON: Duration = Duration::from_millis(5);

/// Counts up: every challenge is another one. `None`: the random source fails.
struct Counting(Option<u8>);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        let Some(next) = &mut self.0 else { return false };
        *next = next.wrapping_add(1);
        out.fill(*next);
        true
    }
}

/// The panel under test, and a device that answers by hand.
struct Rig {
    panel: Panel,
    now: Mono,
    /// The device's end of the secure channel.
    session: Option<Session>,
    /// The last command as it was on the line.
    bytes: Vec<u8>,
    sequence: u8,
    /// The device's half of a handshake.
    handshake: Option<PanelHandshake>,
}

fn key(byte: u8) -> Scbk {
    Scbk::new([byte; 16])
}

fn settings(security: Security) -> Settings {
    Settings {
        address: ADDRESS,
        security,
        record: KeyRecord::default(),
        key_fault: None,
        strays: Vec::new(),
        reply_timeout: Duration::from_millis(200),
        stale_after: STALE_AFTER,
    }
}

fn with_key() -> Settings {
    let record = KeyRecord { from_config: Some(panel_key(1)), ..KeyRecord::default() };
    Settings { record, ..settings(Security::Required) }
}

fn identity() -> Reply {
    Reply::PdId(PdId { oui: [1, 2, 3], model: 4, version: 5, serial: SERIAL, firmware: [6, 7, 8] })
}

/// Contacts, outputs, an LED and a buzzer; CRC.
fn capabilities() -> Reply {
    let all = [(1, 4, 2), (2, 4, 1), (4, 4, 1), (5, 2, 1), (8, 1, 0)];
    Reply::PdCap(all.map(|(function, level, count)| Capability { function, level, count }).to_vec())
}

fn card() -> Reply {
    Reply::Raw { reader: 0, format: 1, bits: 32, data: vec![1, 2, 3, 4].into() }
}

fn nak(reason: NakCode) -> Reply {
    Reply::Nak(Nak { reason, details: Vec::new() })
}

impl Rig {
    fn new(settings: Settings) -> Self {
        Self::with(settings, Some(0))
    }

    fn with(settings: Settings, entropy: Option<u8>) -> Self {
        let mut panel = Panel::new(settings, Box::new(Counting(entropy)));
        panel.advance(Mono::ZERO);
        Self { panel, now: Mono::ZERO, session: None, bytes: Vec::new(), sequence: 0, handshake: None }
    }

    /// In plaintext as configured; all status asked, all events taken.
    fn plain() -> Self {
        Self::new(settings(Security::Off)).running()
    }

    /// In a secure channel with the configured key; all status asked, all events taken.
    fn secured() -> Self {
        Self::new(with_key()).running()
    }

    fn running(mut self) -> Self {
        if self.panel.keyring.security() == Security::Off {
            self.begin();
        } else {
            self.secure(&key(1));
        }
        assert_eq!(self.polls(8).iter().filter(|name| **name == "POLL").count(), 5);
        self.events();
        self
    }

    /// Takes the next command; its name.
    fn next(&mut self) -> &'static str {
        self.command().name()
    }

    fn command(&mut self) -> Command {
        self.wait_turn();
        self.bytes.clear();
        assert!(self.panel.poll_transmit(self.now, &mut self.bytes));
        let bytes = self.bytes.clone();
        let frame = frame(&bytes);
        assert_eq!((bytes[0], frame.address, frame.reply), (0xFF, ADDRESS, false));
        self.sequence = frame.sequence;
        if frame.mac.is_none() {
            return Command::decode(frame.code, frame.data).unwrap();
        }
        let data = self.session.as_mut().unwrap().open(&frame).unwrap();
        Command::decode(frame.code, &data).unwrap()
    }

    /// The device's reply to the last command, sealed where a channel is open.
    fn reply(&mut self, reply: &Reply) -> Heard {
        let sequence = self.sequence;
        self.reply_numbered(sequence, reply)
    }

    fn reply_numbered(&mut self, sequence: u8, reply: &Reply) -> Heard {
        let mut session = self.session.take();
        let bytes = reply_bytes(sequence, reply, session.as_mut());
        self.session = session;
        self.hear(&bytes)
    }

    fn plain_reply(&mut self, sequence: u8, reply: &Reply) -> Heard {
        self.hear(&reply_bytes(sequence, reply, None))
    }

    /// Bytes without their mark.
    fn hear(&mut self, bytes: &[u8]) -> Heard {
        self.now = self.now + SOON;
        self.panel.hear(self.now, bytes)
    }

    fn checksum_reply(&mut self, reply: &Reply) -> Heard {
        self.checked_reply(Check::Checksum, reply)
    }

    fn checked_reply(&mut self, check: Check, reply: &Reply) -> Heard {
        let (mut data, mut bytes) = (Vec::new(), Vec::new());
        reply.encode_data(&mut data);
        let header = Header { check, ..header(self.sequence) };
        emit(&header, None, reply.code(), &data, &mut bytes).unwrap();
        self.hear(&bytes[1..])
    }

    fn block_reply(&mut self, kind: u8, flag: u8, reply: &Reply) -> Heard {
        let (mut data, mut bytes) = (Vec::new(), Vec::new());
        reply.encode_data(&mut data);
        emit(&header(self.sequence), Some((kind, &[flag])), reply.code(), &data, &mut bytes).unwrap();
        self.hear(&bytes[1..])
    }

    fn time_out(&mut self) {
        self.now = self.now + Duration::from_millis(200);
        self.panel.handle_timeout(self.now);
        self.panel.advance(self.now);
    }

    /// What is in flight is sent again as it was.
    fn is_sent_again(&mut self) {
        let first = self.bytes.clone();
        self.wait_turn();
        self.bytes.clear();
        assert!(self.panel.poll_transmit(self.now, &mut self.bytes));
        assert_eq!(hex::encode(&self.bytes), hex::encode(first));
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.panel.advance(self.now);
    }

    fn state(&self) -> PanelState {
        self.panel.standing(self.now).0
    }

    fn trouble(&self) -> Option<Trouble> {
        self.panel.standing(self.now).1
    }

    /// Lets time pass until the panel may be asked something; the kind of the turn.
    fn wait_turn(&mut self) -> TurnKind {
        let turn = self.panel.next(self.now).unwrap();
        self.now = self.now.max(turn.from);
        self.panel.advance(self.now);
        turn.kind
    }

    /// The state of the record that was last to be kept.
    fn kept(&mut self) -> Option<(KeyRecord, u64)> {
        let kept = self.events().into_iter().filter_map(|event| match event {
            Event::Keep { record, version } => Some((*record, version)),
            _ => None,
        });
        kept.collect::<Vec<_>>().pop()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.panel.poll_event()).collect()
    }

    /// ID and CAP.
    fn begin(&mut self) {
        assert_eq!((self.next(), self.sequence), ("ID", 0));
        self.reply(&identity());
        if self.panel.capabilities.is_none() {
            assert_eq!(self.next(), "CAP");
            self.reply(&capabilities());
        }
    }

    /// A new link with a device that has `key`.
    fn secure(&mut self, key: &Scbk) {
        self.session = None;
        self.begin();
        self.shake_hands(key);
    }

    /// The handshake with a device that has `key`; whether the panel went through with it.
    fn shake_hands(&mut self, key: &Scbk) -> bool {
        let Command::Chlng(rnd_a) = self.command() else { panic!("no challenge") };
        let flag = frame(&self.bytes).security.unwrap().data[0];
        let (handshake, ccrypt) = PanelHandshake::answer(key, [0; 8], &rnd_a, [0xB0; 8]);
        self.block_reply(0x12, flag, &Reply::Ccrypt(ccrypt));
        if !matches!(self.panel.link.phase(), Phase::Scrypt(..)) {
            return false;
        }
        let Command::Scrypt(cryptogram) = self.command() else { panic!("no SCRYPT") };
        let (rmac, session) = handshake.accept(&cryptogram).unwrap();
        self.block_reply(0x14, 1, &Reply::RmacI(rmac));
        self.session = Some(session);
        true
    }

    /// The first POLL of a running link finds nothing: only then is the panel up for others.
    fn settle(&mut self) {
        assert_eq!(self.state(), PanelState::Offline);
        assert_eq!(self.polls(1), ["POLL"]);
        assert_eq!(self.state(), PanelState::Online);
    }

    /// Answers this many commands by what a quiet device says.
    fn polls(&mut self, count: usize) -> Vec<&'static str> {
        let mut names = Vec::new();
        for _ in 0..count {
            let name = self.next();
            names.push(name);
            let reply = match name {
                "LSTAT" => Reply::LStatR { tamper: false, power_failed: false },
                "ISTAT" => Reply::IStatR(vec![0, 0]),
                "OSTAT" => Reply::OStatR(vec![0]),
                "RSTAT" => Reply::RStatR(vec![0]),
                _ => Reply::Ack,
            };
            assert!(matches!(self.reply(&reply), Heard::Done(_)), "{name}");
        }
        names
    }

    /// A POLL a second for so long.
    fn polls_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now = self.now + Duration::from_secs(1);
            self.polls(1);
        }
    }

    /// Asks for an unlock of 3 s that expires in 2 s.
    fn unlock(&mut self, token: u64) {
        let tenths = NonZeroU16::new(30).unwrap();
        let unlock = Request::Unlock { output: 0, active: OutputActive::On, tenths };
        self.panel.request(self.now, Token(token), &unlock, self.now + Duration::from_secs(2));
    }

    fn feedback(&mut self, token: u64, granted: bool) {
        let tenths = NonZeroU16::new(30).unwrap();
        let feedback = Request::Feedback { reader: 0, granted, tenths };
        self.panel.request(self.now, Token(token), &feedback, self.now + Duration::from_secs(2));
    }
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    let Parsed::Frame(frame, _) = parse(&bytes[1..]) else { panic!("no frame: {}", hex::encode(bytes)) };
    frame
}

fn header(sequence: u8) -> Header {
    Header { address: ADDRESS, reply: true, sequence, check: Check::Crc }
}

/// A reply without its mark.
fn reply_bytes(sequence: u8, reply: &Reply, session: Option<&mut Session>) -> Vec<u8> {
    let (mut data, mut bytes) = (Vec::new(), Vec::new());
    reply.encode_data(&mut data);
    match session {
        Some(session) => session.seal(&header(sequence), reply.code(), &data, &mut bytes).unwrap(),
        None => emit(&header(sequence), None, reply.code(), &data, &mut bytes).unwrap(),
    }
    bytes.remove(0);
    bytes
}

fn done(token: u64, result: Result<(), Failure>) -> Event {
    Event::Done { token: Token(token), result }
}

fn state(state: PanelState, trouble: Option<Trouble>) -> Event {
    Event::State { state, trouble }
}

fn panel_key(byte: u8) -> PanelKey {
    PanelKey::new(key(byte)).unwrap()
}

fn known(byte: u8) -> Option<CurrentKey> {
    Some(CurrentKey::Known(panel_key(byte)))
}

/// Returns a frame with its check recalculated.
fn with_check(mut body: Vec<u8>) -> Vec<u8> {
    let check = crate::wire::crc::osdp_crc(&body);
    body.extend(check.to_le_bytes());
    body
}

impl Rig {
    /// A reply that the device seals without encrypting it: SCS_16.
    fn mac_only(&mut self, reply: &Reply) -> Vec<u8> {
        let mut data = Vec::new();
        reply.encode_data(&mut data);
        let mut bytes = Vec::new();
        let session = self.session.as_mut().unwrap();
        session.seal_unencrypted(&header(self.sequence), reply.code(), &data, &mut bytes).unwrap();
        bytes.remove(0);
        bytes
    }
}
