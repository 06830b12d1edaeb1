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
