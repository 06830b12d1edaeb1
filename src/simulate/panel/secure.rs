//! The panel's end of the secure channel: which keys it accepts, how far a handshake has come.

use super::{ChannelSetup, PanelSetup, observation::Observation};
use crate::{
    simulate::chance::Chance,
    wire::osdp::{
        Command, Frame, Header, NakCode, Reply, Scbk, Session, frame::SecurityBlock, secure::PanelHandshake,
    },
};

#[derive(Clone, Debug)]
pub(super) struct Secure {
    supported: bool,
    /// Whether SCBK-D opens a channel; ends with the first KEYSET.
    accepts_default: bool,
    key: Option<Scbk>,
    state: State,
    chance: Chance,
}

#[derive(Clone, Debug)]
enum State {
    Closed,
    Answered { handshake: Box<PanelHandshake>, flag: u8 },
    Open(Box<Session>),
}

/// A step of the handshake that the panel takes.
pub(super) struct Step {
    pub(super) kind: u8,
    pub(super) flag: u8,
    pub(super) reply: Reply,
    pub(super) observation: Option<Observation>,
}

impl Secure {
    pub(super) fn new(setup: &PanelSetup) -> Self {
        let (supported, accepts_default, key) = match &setup.channel {
            ChannelSetup::Unsupported => (false, false, None),
            ChannelSetup::Install => (true, true, None),
            ChannelSetup::Key(key) => (true, false, Some(key.clone())),
        };
        Self { supported, accepts_default, key, state: State::Closed, chance: Chance::new(setup.seed) }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    pub(super) fn key(&self) -> Option<&Scbk> {
        self.key.as_ref()
    }

    /// In force from the next handshake on; the open channel goes on with its own keys.
    pub(super) fn set_key(&mut self, key: Scbk) {
        self.accepts_default = false;
        self.key = Some(key);
    }

    /// Whether a channel was open.
    pub(super) fn close(&mut self) -> bool {
        matches!(std::mem::replace(&mut self.state, State::Closed), State::Open(_))
    }

    /// The data of a frame in SCS_15 or SCS_17.
    pub(super) fn open(&mut self, frame: &Frame<'_>) -> Result<Vec<u8>, NakCode> {
        match &mut self.state {
            State::Open(session) => session.open(frame).map_err(|_| NakCode::EncryptionRequired),
            _ if self.supported => Err(NakCode::EncryptionRequired),
            _ => Err(NakCode::SecurityUnsupported),
        }
    }

    /// A reply in the open channel; `None` where none is open or it fits into no frame. `unencrypted`: its data stays
    /// in the clear.
    pub(super) fn seal(&mut self, header: &Header, reply: &Reply, unencrypted: bool) -> Option<Vec<u8>> {
        let State::Open(session) = &mut self.state else { return None };
        let (mut data, mut bytes) = (Vec::new(), Vec::new());
        reply.encode_data(&mut data);
        let sealed = if unencrypted {
            session.seal_unencrypted(header, reply.code(), &data, &mut bytes)
        } else {
            session.seal(header, reply.code(), &data, &mut bytes)
        };
        sealed.ok()?;
        Some(bytes)
    }

    /// CHLNG or SCRYPT. No channel is open at this point.
    pub(super) fn shake_hands(&mut self, frame: &Frame<'_>, cuid: [u8; 8]) -> Result<Step, NakCode> {
        let state = std::mem::replace(&mut self.state, State::Closed);
        let Some(SecurityBlock { kind, data: &[flag] }) = frame.security.filter(|_| self.supported) else {
            return Err(NakCode::SecurityUnsupported);
        };
        let command = Command::decode(frame.code, frame.data).map_err(|_| NakCode::Length)?;
        match (kind, command, state) {
            (0x11, Command::Chlng(rnd_a), _) => {
                let scbk = self.key_for(flag).ok_or(NakCode::EncryptionRequired)?;
                let rnd_b = self.chance.next_u64().to_be_bytes();
                let (handshake, answer) = PanelHandshake::answer(&scbk, cuid, &rnd_a, rnd_b);
                self.state = State::Answered { handshake: Box::new(handshake), flag };
                Ok(Step { kind: 0x12, flag, reply: Reply::Ccrypt(answer), observation: None })
            }
            (0x13, Command::Scrypt(cryptogram), State::Answered { handshake, flag }) => {
                match handshake.accept(&cryptogram) {
                    Ok((rmac, session)) => {
                        self.state = State::Open(Box::new(session));
                        let observation = Some(Observation::Secured { default_key: flag == 0 });
                        Ok(Step { kind: 0x14, flag: 0x01, reply: Reply::RmacI(rmac), observation })
                    }
                    Err(_) => {
                        let observation = Some(Observation::WrongKey);
                        Ok(Step { kind: 0x14, flag: 0xFF, reply: Reply::RmacI([0; 16]), observation })
                    }
                }
            }
            (0x13, Command::Scrypt(_), _) => Err(NakCode::EncryptionRequired),
            _ => Err(NakCode::SecurityUnsupported),
        }
    }

    /// The key that the data of SCS_11 means, if the panel would use it: 0 SCBK-D, 1 its own.
    fn key_for(&self, flag: u8) -> Option<Scbk> {
        match flag {
            0 if self.accepts_default => Some(Scbk::default_key()),
            1 => self.key.clone(),
            _ => None,
        }
    }
}
