//! The handshake, at either end.

use subtle::ConstantTimeEq;

use super::{Block, Scbk, Session, SessionKeys};
use crate::wire::osdp::command::Command;
use crate::wire::osdp::reply::Ccrypt;

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The other side's cryptogram was made with another key.
    #[error("the other side does not have this key")]
    Cryptogram,
    /// The panel's initial MAC is not the one that follows from the keys.
    #[error("the initial MAC is wrong")]
    InitialMac,
}

/// The control panel's handshake, once RND.A is chosen. RND.A must come from the OS's random source.
#[derive(Clone, Debug)]
pub struct Challenge {
    keys: SessionKeys,
    rnd_a: [u8; 8],
    default_key: bool,
}

impl Challenge {
    /// `default_key`: say to the panel that SCBK-D is meant (SCS_11 with 0), else its own key (1).
    #[must_use]
    pub fn new(scbk: &Scbk, default_key: bool, rnd_a: [u8; 8]) -> Self {
        Self { keys: SessionKeys::derive(scbk, &rnd_a), rnd_a, default_key }
    }

    /// The random number.
    #[must_use]
    pub const fn rnd_a(&self) -> [u8; 8] {
        self.rnd_a
    }

    /// CHLNG.
    #[must_use]
    pub const fn command(&self) -> Command {
        Command::Chlng(self.rnd_a)
    }

    /// The data of SCS_11 and SCS_13: which key is meant.
    #[must_use]
    pub const fn key_flag(&self) -> [u8; 1] {
        [!self.default_key as u8]
    }

    /// Checks the panel's cryptogram, in constant time.
    ///
    /// # Errors
    /// [`HandshakeError::Cryptogram`]: the panel has another key.
    pub fn verify(&self, answer: &Ccrypt) -> Result<Proven, HandshakeError> {
        let expected = self.keys.client_cryptogram(&self.rnd_a, &answer.rnd_b);
        if !bool::from(expected.ct_eq(&answer.cryptogram)) {
            return Err(HandshakeError::Cryptogram);
        }
        let server = self.keys.server_cryptogram(&self.rnd_a, &answer.rnd_b);
        Ok(Proven { keys: self.keys.clone(), server, key_flag: self.key_flag() })
    }
}

/// The control panel's handshake, once the panel has proven that it has the key.
#[derive(Clone, Debug)]
pub struct Proven {
    keys: SessionKeys,
    server: Block,
    key_flag: [u8; 1],
}

impl Proven {
    /// SCRYPT.
    #[must_use]
    pub const fn command(&self) -> Command {
        Command::Scrypt(self.server)
    }

    /// The server cryptogram, which SCRYPT carries.
    #[must_use]
    pub const fn cryptogram(&self) -> [u8; 16] {
        self.server
    }

    /// The data of SCS_13.
    #[must_use]
    pub const fn key_flag(&self) -> [u8; 1] {
        self.key_flag
    }

    /// Takes the panel's initial MAC and opens the session. That SCS_14 says success (01) is the caller's to check.
    ///
    /// # Errors
    /// [`HandshakeError::InitialMac`]: it does not follow from the keys.
    pub fn finish(self, rmac_i: &[u8; 16]) -> Result<Session, HandshakeError> {
        let expected = self.keys.initial_rmac(&self.server);
        if bool::from(expected.ct_eq(rmac_i)) {
            Ok(Session::begin(self.keys, expected))
        } else {
            Err(HandshakeError::InitialMac)
        }
    }
}

/// The panel's handshake, once it has answered a CHLNG.
#[derive(Clone, Debug)]
pub struct PanelHandshake {
    keys: SessionKeys,
    server: Block,
}

impl PanelHandshake {
    /// Answers RND.A: the data of CCRYPT, and what waits for SCRYPT.
    #[must_use]
    pub fn answer(scbk: &Scbk, cuid: [u8; 8], rnd_a: &[u8; 8], rnd_b: [u8; 8]) -> (Self, Ccrypt) {
        let keys = SessionKeys::derive(scbk, rnd_a);
        let cryptogram = keys.client_cryptogram(rnd_a, &rnd_b);
        let server = keys.server_cryptogram(rnd_a, &rnd_b);
        (Self { keys, server }, Ccrypt { cuid, rnd_b, cryptogram })
    }

    /// Checks the control panel's cryptogram; gives the data of RMAC_I and the session.
    ///
    /// # Errors
    /// [`HandshakeError::Cryptogram`]: the control panel has another key.
    pub fn accept(self, cryptogram: &[u8; 16]) -> Result<([u8; 16], Session), HandshakeError> {
        if !bool::from(self.server.ct_eq(cryptogram)) {
            return Err(HandshakeError::Cryptogram);
        }
        let rmac = self.keys.initial_rmac(&self.server);
        Ok((rmac, Session::begin(self.keys, rmac)))
    }
}
