//! The base key of a panel and the keys of a session.

use std::fmt;

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, BlockModeEncrypt, KeyInit, KeyIvInit};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Block;

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

/// The three keys of one session.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionKeys {
    pub(super) enc: Block,
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
    pub(super) fn mac(&self, iv: Block, message: &[u8]) -> Block {
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
