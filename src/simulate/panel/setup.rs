//! What kind of panel is simulated.

use crate::wire::osdp::{
    Check, NakCode, Scbk,
    frame::MAX_FRAME,
    reply::{Capability, PdId},
};

/// What a panel is and holds when it is switched on. Address, identity and seed aside, [`PanelSetup::new`] gives
/// the usual.
#[derive(Clone, Debug)]
pub struct PanelSetup {
    /// 0–126.
    pub address: u8,
    /// What it answers to ID. The serial number tells panels apart.
    pub identity: PdId,
    /// The secure channel.
    pub channel: ChannelSetup,
    /// Whether it refuses everything in plaintext but ID, CAP and the handshake, with NAK 6.
    pub enforce: bool,
    /// How many readers it has.
    pub readers: u8,
    /// How many inputs it has.
    pub inputs: u8,
    /// How many outputs it has.
    pub outputs: u8,
    /// Whether a change of an output is reported by itself (OSTATR to a poll).
    pub report_outputs: bool,
    /// Whether a wrong check is answered by NAK 1; most panels are silent.
    pub nak_bad_check: bool,
    /// What it says where it refuses every application command (the fault `nak`).
    pub nak: NakCode,
    /// The only check that it understands; `None`: both.
    pub only_check: Option<Check>,
    /// The rate that it has when it is switched on for the first time, in bits a second; `None`: its line's.
    pub baud: Option<u32>,
    /// What it does when it is told to take another.
    pub comset: ComsetManner,
    /// Whether it takes another in the clear, where a secure channel is demanded for all else (OSDP Verified 050-09-18).
    pub comset_in_clear: bool,
    /// Where its randomness (RND.B) begins.
    pub seed: u64,
}

/// What a panel does when it is told to take another rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComsetManner {
    /// It takes it.
    Takes {
        /// It has it after a loss of power, too.
        keeps: bool,
        /// Its link and its secure channel end with it.
        ends_link: bool,
    },
    /// It refuses.
    Refuses,
    /// It takes this rate instead, and says so.
    Other(u32),
    /// It says that it takes it, and does not.
    Stays,
}

/// Which keys a panel takes.
#[derive(Clone, Debug)]
pub enum ChannelSetup {
    /// It has no secure channel.
    Unsupported,
    /// New from the box: SCBK-D, until KEYSET.
    Install,
    /// This key and no other, until KEYSET.
    Key(Scbk),
}

impl PanelSetup {
    /// A door panel at `address` with 4 inputs, 2 outputs and a serial number made of the seed.
    pub fn new(address: u8, channel: ChannelSetup, seed: u64) -> Self {
        let serial = (seed ^ (seed >> 32)) as u32 ^ u32::from(address);
        Self {
            address,
            identity: PdId { oui: *b"SIM", model: 1, version: 1, serial, firmware: [1, 0, 0] },
            channel,
            enforce: false,
            readers: 1,
            inputs: 4,
            outputs: 2,
            report_outputs: false,
            nak_bad_check: false,
            nak: NakCode::Record,
            only_check: None,
            baud: None,
            comset: ComsetManner::Takes { keeps: true, ends_link: false },
            comset_in_clear: true,
            seed,
        }
    }

    /// What it answers to CAP (OSDP 2.2 annex B).
    pub(super) fn capabilities(&self) -> Vec<Capability> {
        let [size_low, size_high] = (MAX_FRAME as u16).to_le_bytes();
        let secure = u8::from(!matches!(self.channel, ChannelSetup::Unsupported));
        let crc = u8::from(self.only_check != Some(Check::Checksum));
        [
            (1, 4, self.inputs),       // contact status monitoring, supervised
            (2, 4, self.outputs),      // output control, timed
            (3, 1, 0),                 // card data format: bits
            (4, 4, self.readers),      // LEDs, all colours
            (5, 2, 1),                 // audible output, timed
            (6, 1, 1),                 // text output
            (8, crc, 0),               // check character: CRC-16
            (9, secure, secure),       // AES-128; default key
            (10, size_low, size_high), // receive buffer
            (13, 0, self.readers),     // readers
            (16, 2, 0),                // OSDP 2.2
        ]
        .map(|(function, level, count)| Capability { function, level, count })
        .to_vec()
    }
}

/// CCRYPT's cUID: the first 8 bytes of the identity.
pub(super) fn client_id(identity: &PdId) -> [u8; 8] {
    let [o1, o2, o3] = identity.oui;
    let [s1, s2, s3, _] = identity.serial.to_le_bytes();
    [o1, o2, o3, identity.model, identity.version, s1, s2, s3]
}
