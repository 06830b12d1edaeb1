//! The secure channel (OSDP-SC, AES-128): keys, handshake for both ends, MAC chain.
//!
//! ```text
//!  control panel                                    panel
//!  Challenge ── CHLNG, SCS_11 (RND.A) ───────────►  PanelHandshake::answer
//!     verify ◄─ CCRYPT, SCS_12 (RND.B, cryptogram)
//!     Proven ── SCRYPT, SCS_13 (cryptogram) ─────►  accept
//!     finish ◄─ RMAC_I, SCS_14 ───────────────────
//!    Session ═══ SCS_15…18: every frame's MAC is chained to the other side's last one ═══ Session
//! ```
//! Invariants: the key itself never leaves [`Scbk`] but by [`Scbk::expose`]; a failed [`Session::open`] or
//! [`Session::seal`] leaves the chain as it was; the MAC is compared in constant time, before anything is decrypted.
//! A frame that is sent again must be the **same bytes**: it is never sealed twice.

use std::fmt;

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::command::Command;
use super::frame::{Frame, Header, TooLong, emit_with};
use super::reply::Ccrypt;

type Block = [u8; 16];

/// A panel's base key, from which the keys of every session are derived. Wiped when dropped, compared in constant
/// time, and never shown by `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Scbk(Block);

impl Scbk {
    /// From its 16 bytes.
    #[must_use]
    pub const fn new(key: [u8; 16]) -> Self {
        Self(key)
    }

    /// SCBK-D, 30 31 … 3F: public, and good for pairing alone.
    #[must_use]
    pub const fn default_key() -> Self {
        Self(*b"0123456789:;<=>?")
    }

    /// From 32 hex digits, in either case; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut key = Self([0; 16]);
        hex::decode_to_slice(text, &mut key.0).ok().map(|()| key)
    }

    /// As 32 hex digits: for a key file, never for a log.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The key itself: for KEYSET and a key file, never for a log.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether this is SCBK-D.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default_key()
    }
}

impl PartialEq for Scbk {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Scbk {}

impl fmt::Debug for Scbk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Scbk(…)")
    }
}

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

/// Why a frame could not be opened. The chain is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The frame has no MAC: it is plaintext or part of a handshake.
    #[error("the frame has no MAC")]
    Plain,
    /// The MAC is not the one that comes next.
    #[error("the MAC is wrong")]
    Mac,
    /// The MAC is right, but the data does not decrypt to anything with padding.
    #[error("the encrypted data has no valid padding")]
    Padding,
}

/// The three keys of one session.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionKeys {
    enc: Block,
    mac1: Block,
    mac2: Block,
}

impl SessionKeys {
    /// Derives them from the base key and the control panel's random number.
    #[must_use]
    pub fn derive(scbk: &Scbk, rnd_a: &[u8; 8]) -> Self {
        let &[a0, a1, a2, a3, a4, a5, ..] = rnd_a;
        let key =
            |first, second| encrypt(&scbk.0, [first, second, a0, a1, a2, a3, a4, a5, 0, 0, 0, 0, 0, 0, 0, 0]);
        Self { enc: key(0x01, 0x82), mac1: key(0x01, 0x01), mac2: key(0x01, 0x02) }
    }

    /// What proves the panel: E(S-ENC, RND.A ‖ RND.B).
    #[must_use]
    pub fn client_cryptogram(&self, rnd_a: &[u8; 8], rnd_b: &[u8; 8]) -> [u8; 16] {
        encrypt(&self.enc, join(rnd_a, rnd_b))
    }

    /// What proves the control panel: E(S-ENC, RND.B ‖ RND.A).
    #[must_use]
    pub fn server_cryptogram(&self, rnd_a: &[u8; 8], rnd_b: &[u8; 8]) -> [u8; 16] {
        encrypt(&self.enc, join(rnd_b, rnd_a))
    }

    /// Where the MAC chain begins: E(S-MAC2, E(S-MAC1, server cryptogram)).
    #[must_use]
    pub fn initial_rmac(&self, server_cryptogram: &[u8; 16]) -> [u8; 16] {
        encrypt(&self.mac2, encrypt(&self.mac1, *server_cryptogram))
    }

    /// CBC under S-MAC1, the last block under S-MAC2; padded with 80 00… only where it is not whole blocks.
    fn mac(&self, iv: Block, message: &[u8]) -> Block {
        let (blocks, rest) = message.as_chunks::<16>();
        let padded = if rest.is_empty() { None } else { Some(pad_block(rest)) };
        let mut chain = blocks.iter().chain(padded.as_ref()).peekable();
        let mut mac1 = cbc::Encryptor::<Aes128>::new(&self.mac1.into(), &iv.into());
        let mut last = iv;
        while let Some(block) = chain.next() {
            if chain.peek().is_none() {
                last.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
                return encrypt(&self.mac2, last);
            }
            let mut sealed = (*block).into();
            mac1.encrypt_block(&mut sealed);
            last = sealed.into();
        }
        last
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SessionKeys(…)")
    }
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

/// An open secure channel, the same at both ends.
#[derive(Clone)]
pub struct Session {
    keys: SessionKeys,
    /// The last full MAC of a command.
    command_mac: Block,
    /// The last full MAC of a reply; at first the initial one.
    reply_mac: Block,
}

impl Session {
    fn begin(keys: SessionKeys, rmac_i: Block) -> Self {
        Self { keys, command_mac: [0; 16], reply_mac: rmac_i }
    }

    /// A session from its parts, for vectors and for following a captured one.
    #[must_use]
    pub fn resume(keys: SessionKeys, command_mac: [u8; 16], reply_mac: [u8; 16]) -> Self {
        Self { keys, command_mac, reply_mac }
    }

    /// Appends mark and frame: SCS_15 or SCS_16 without data, SCS_17 or SCS_18 with; which of the two is the
    /// header's direction.
    ///
    /// # Errors
    /// [`TooLong`]; neither `out` nor the chain has changed.
    pub fn seal(&mut self, header: &Header, code: u8, data: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
        let kind = match (header.reply, data.is_empty()) {
            (false, true) => 0x15,
            (true, true) => 0x16,
            (false, false) => 0x17,
            (true, false) => 0x18,
        };
        let iv = self.other_mac(header.reply);
        let mut sealed = Vec::new();
        if !data.is_empty() {
            sealed.extend_from_slice(data);
            self.encrypt_data(iv, &mut sealed);
        }
        let mut full = iv;
        emit_with(header, Some((kind, &[])), code, &sealed, out, |body| {
            full = self.keys.mac(iv, body);
            full.first_chunk().copied()
        })?;
        self.advance(header.reply, full);
        Ok(())
    }

    /// Checks a frame's MAC and gives its data in the clear. SCS_15 and SCS_16 with data give it as it is; an
    /// encrypted frame may hold nothing but padding.
    ///
    /// # Errors
    /// [`OpenError`]; the chain has not changed, so the other side may send the right frame yet.
    pub fn open(&mut self, frame: &Frame<'_>) -> Result<Vec<u8>, OpenError> {
        let (Some(mac), Some(security)) = (frame.mac, frame.security) else { return Err(OpenError::Plain) };
        let iv = self.other_mac(frame.reply);
        let full = self.keys.mac(iv, frame.authenticated());
        let is_reply_kind = matches!(security.kind, 0x16 | 0x18);
        let same = full.first_chunk::<4>().is_some_and(|sent| sent.ct_eq(&mac).into());
        if !same || is_reply_kind != frame.reply {
            return Err(OpenError::Mac);
        }
        let data = if security.is_encrypted() && !frame.data.is_empty() {
            self.decrypt_data(iv, frame.data).ok_or(OpenError::Padding)?
        } else {
            frame.data.to_vec()
        };
        self.advance(frame.reply, full);
        Ok(data)
    }

    /// The last full MAC of the other side than the one that sends.
    const fn other_mac(&self, reply: bool) -> Block {
        if reply { self.command_mac } else { self.reply_mac }
    }

    const fn advance(&mut self, reply: bool, mac: Block) {
        if reply {
            self.reply_mac = mac;
        } else {
            self.command_mac = mac;
        }
    }

    /// CBC under S-ENC with the complement of `mac` as IV; always padded.
    fn encrypt_data(&self, mac: Block, data: &mut Vec<u8>) {
        data.push(0x80);
        data.resize(data.len().next_multiple_of(16), 0);
        let mut cipher = cbc::Encryptor::<Aes128>::new(&self.keys.enc.into(), &mac.map(|byte| !byte).into());
        for block in data.as_chunks_mut::<16>().0 {
            cipher.encrypt_block(block.into());
        }
    }

    fn decrypt_data(&self, mac: Block, data: &[u8]) -> Option<Vec<u8>> {
        let mut data = data.to_vec();
        let (blocks, rest) = data.as_chunks_mut::<16>();
        if !rest.is_empty() {
            return None;
        }
        let mut cipher = cbc::Decryptor::<Aes128>::new(&self.keys.enc.into(), &mac.map(|byte| !byte).into());
        for block in blocks {
            cipher.decrypt_block(block.into());
        }
        let end = data.iter().rposition(|byte| *byte != 0)?;
        (data.get(end) == Some(&0x80)).then(|| {
            data.truncate(end);
            data
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Session(…)")
    }
}

fn encrypt(key: &Block, block: Block) -> Block {
    let mut block = block.into();
    Aes128::new(&(*key).into()).encrypt_block(&mut block);
    block.into()
}

fn join(left: &[u8; 8], right: &[u8; 8]) -> Block {
    let &[a, b, c, d, e, f, g, h] = left;
    let &[i, j, k, l, m, n, o, p] = right;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

fn pad_block(rest: &[u8]) -> Block {
    let mut block = [0; 16];
    for (to, from) in block.iter_mut().zip(rest.iter().chain(&[0x80])) {
        *to = *from;
    }
    block
}
