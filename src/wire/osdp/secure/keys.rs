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

    #[cfg(test)]
    pub(super) const fn zero() -> Self {
        Self { enc: [0; 16], mac1: [0; 16], mac2: [0; 16] }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// OSDP 2.2 annex E: SCBK-D, RND.A = B0…B7, RND.B = A0…A7.
    #[test]
    fn annex_e() {
        let rnd_a = [0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7];
        let rnd_b = [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7];
        let keys = SessionKeys::derive(&Scbk::default_key(), &rnd_a);
        assert_eq!(hex::encode(keys.enc), "bf8dc2a8329acb8c67c6d0cd9a451682");
        assert_eq!(hex::encode(keys.mac1), "5e86c676603bdee2d8beafe178637332");
        assert_eq!(hex::encode(keys.mac2), "6fda86e857777e81132035758239172e");
        let server = keys.server_cryptogram(&rnd_a, &rnd_b);
        assert_eq!(hex::encode(keys.client_cryptogram(&rnd_a, &rnd_b)), "fde5d2f428ec16312471ea3c02bd7796");
        assert_eq!(hex::encode(server), "26d3356e07762d262801fc8e6665a891");
        assert_eq!(hex::encode(keys.initial_rmac(&server)), "b2a30057eb98ba2229ec1f875662b524");
    }

    #[test]
    fn base_keys_come_from_hex_and_stay_hidden() {
        let key = Scbk::from_hex("303132333435363738393A3b3c3d3e3f").unwrap();
        assert!(key.is_default());
        assert_eq!(key.to_hex(), "303132333435363738393a3b3c3d3e3f");
        assert_ne!(key, Scbk::new([0; 16]));
        assert_eq!(format!("{key:?}"), "Scbk(…)");
        for wrong in ["", "30", "303132333435363738393a3b3c3d3e3g", "303132333435363738393a3b3c3d3e3f00"] {
            assert!(Scbk::from_hex(wrong).is_none(), "{wrong}");
        }
    }
}
