//! The MAC chain, at either end.

use std::fmt;

use aes::Aes128;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use subtle::ConstantTimeEq;

use super::{Block, SessionKeys};
use crate::wire::osdp::frame::{Frame, Header, TooLong, emit_with};

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
    pub(super) fn begin(keys: SessionKeys, rmac_i: Block) -> Self {
        Self { keys, command_mac: [0; 16], reply_mac: rmac_i }
    }

    /// Appends mark and frame: SCS_15 or SCS_16 without data, SCS_17 or SCS_18 with; which of the two is the
    /// header's direction.
    ///
    /// # Errors
    /// [`TooLong`]; neither `out` nor the chain has changed.
    pub fn seal(&mut self, header: &Header, code: u8, data: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
        if data.is_empty() {
            return self.seal_unencrypted(header, code, data, out);
        }
        let mut sealed = data.to_vec();
        self.encrypt_data(self.other_mac(header.reply), &mut sealed);
        self.append(if header.reply { 0x18 } else { 0x17 }, header, code, &sealed, out)
    }

    /// Appends mark and frame in SCS_15 or SCS_16, whose data, if any, stays in the clear under the MAC.
    ///
    /// # Errors
    /// As [`Session::seal`].
    pub fn seal_unencrypted(
        &mut self,
        header: &Header,
        code: u8,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        self.append(if header.reply { 0x16 } else { 0x15 }, header, code, data, out)
    }

    fn append(
        &mut self,
        kind: u8,
        header: &Header,
        code: u8,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        let iv = self.other_mac(header.reply);
        let mut full = iv;
        emit_with(header, Some((kind, &[])), code, data, out, |body| {
            full = self.keys.mac(iv, body);
            full.first_chunk().copied()
        })?;
        self.advance(header.reply, full);
        Ok(())
    }

    /// Checks a frame's MAC and gives its data in the clear. SCS_15 and SCS_16 with data give it as it is; an
    /// encrypted frame may hold nothing but padding.
    ///
    /// A session follows both directions (a capture's reader needs that), so address, direction and number are
    /// the caller's to check first. The last frame opened opens again until the other side has sent its next.
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

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::wire::osdp::frame::Check;

    #[test]
    fn poll_under_zero_keys() {
        let mut session = Session::begin(SessionKeys::zero(), [0; 16]);
        let header = Header { address: 0, reply: false, sequence: 2, check: Check::Crc };
        let mut out = Vec::new();
        session.seal(&header, 0x60, &[], &mut out).unwrap();
        assert_eq!(hex::encode(out), "ff53000e000e0215604b32767773b6");
    }

    #[test]
    fn padding_comes_off_only_where_it_is_whole() {
        let session = Session::begin(SessionKeys::zero(), [0; 16]);
        for length in 0..=33 {
            let plain: Vec<u8> = (0..length).map(|byte| byte | 0x80).collect();
            let mut sealed = plain.clone();
            session.encrypt_data([7; 16], &mut sealed);
            assert_eq!(sealed.len(), (plain.len() / 16 + 1) * 16);
            assert_eq!(session.decrypt_data([7; 16], &sealed), Some(plain));
            assert_eq!(session.decrypt_data([7; 16], &sealed[1..]), None);
        }
        let mut blocks = [[0_u8; 16]];
        cbc::Encryptor::<Aes128>::new(&[0; 16].into(), &[0xff; 16].into())
            .encrypt_block((&mut blocks[0]).into());
        assert_eq!(session.decrypt_data([0; 16], blocks.as_flattened()), None, "zeros without 80");
    }

    #[test]
    fn too_long_a_frame_leaves_chain_and_buffer() {
        let mut session = Session::begin(SessionKeys::zero(), [3; 16]);
        let header = Header { address: 1, reply: false, sequence: 1, check: Check::Crc };
        let mut out = vec![0xaa];
        assert!(session.seal(&header, 0x80, &[0; 1424], &mut out).is_err());
        assert_eq!((out.as_slice(), session.command_mac), ([0xaa].as_slice(), [0; 16]));
        session.seal(&header, 0x80, &[0; 1407], &mut out).unwrap();
        assert_ne!(session.command_mac, [0; 16]);
    }
}
