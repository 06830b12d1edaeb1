//! Replies: what a panel answers.

use super::code::reply as code;
use super::command::communication;
use super::{DecodeError, Sensitive};

/// A reply with its data in the clear. `Debug` shows neither card data nor digits nor unknown data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done; to a POLL: nothing new.
    Ack,
    /// Not done.
    Nak(Nak),
    /// Who it is.
    PdId(PdId),
    /// What it can do.
    PdCap(Vec<Capability>),
    /// Tamper and power.
    LStatR {
        /// The tamper contact is open.
        tamper: bool,
        /// The supply has failed.
        power_failed: bool,
    },
    /// A byte an input: 0 inactive, 1 active, 2 short, 3 open, 4 fault, 5 unknown (OSDP 2.2 table 52).
    IStatR(Vec<u8>),
    /// A byte an output: 0 inactive, 1 active.
    OStatR(Vec<u8>),
    /// A byte a reader: 0 normal, 1 not connected, 2 tamper.
    RStatR(Vec<u8>),
    /// A card, as bits.
    Raw {
        /// Number of the reader, from 0.
        reader: u8,
        /// 0 raw, 1 Wiegand, 2 UID, 3 OSS-SID.
        format: u8,
        /// How many bits `data` is said to hold.
        bits: u16,
        /// Most significant bit first, left-justified. Where it is not ⌈bits / 8⌉ bytes, nobody knows what was read.
        data: Sensitive,
    },
    /// A card, as characters (deprecated).
    Fmt {
        /// Number of the reader, from 0.
        reader: u8,
        /// 0 forward, 1 reverse.
        direction: u8,
        /// The characters.
        data: Sensitive,
    },
    /// Typed digits.
    Keypad {
        /// Number of the reader, from 0.
        reader: u8,
        /// ASCII; `#` is 0D or 23, `*` is 7F or 2A.
        digits: Sensitive,
    },
    /// The address and baud rate that COMSET has brought about; sent at the old rate.
    Com {
        /// Address from now on.
        address: u8,
        /// Rate from now on, in bits a second.
        baud: u32,
    },
    /// The panel's part of the handshake.
    Ccrypt(Ccrypt),
    /// The first MAC of the chain; the control panel has been believed.
    RmacI([u8; 16]),
    /// A maker's own.
    MfgRep {
        /// The maker.
        oui: [u8; 3],
        /// The maker's data.
        data: Sensitive,
    },
    /// Ask again, with the same number.
    Busy,
    /// A code that this program does not know.
    Other {
        /// The code.
        code: u8,
        /// Its data.
        data: Sensitive,
    },
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nak {
    /// Why.
    pub reason: NakCode,
    /// Details, which few panels give.
    pub details: Vec<u8>,
}

/// Why a panel refuses (OSDP 2.2, NAK error codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NakCode {
    /// 1: the command's check was wrong.
    Check,
    /// 2: the command's length was wrong.
    Length,
    /// 3: it does not know the command.
    UnknownCommand,
    /// 4: it expected another sequence number.
    Sequence,
    /// 5: it does not support this security block.
    SecurityUnsupported,
    /// 6: it wants this command encrypted.
    EncryptionRequired,
    /// 7: biometric type not supported.
    BioType,
    /// 8: biometric format not supported.
    BioFormat,
    /// 9: it cannot process the command's record.
    Record,
    /// Any other.
    Other(u8),
}

/// The data of PDID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PdId {
    /// The maker.
    pub oui: [u8; 3],
    /// The maker's model number.
    pub model: u8,
    /// The maker's version of that model.
    pub version: u8,
    /// Serial number.
    pub serial: u32,
    /// Firmware: major, minor, build.
    pub firmware: [u8; 3],
}

/// One record of PDCAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Function code (OSDP 2.2 annex B).
    pub function: u8,
    /// Compliance level.
    pub level: u8,
    /// How many there are.
    pub count: u8,
}

/// The data of CCRYPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ccrypt {
    /// The panel's own id, mostly the first 8 bytes of its PDID.
    pub cuid: [u8; 8],
    /// The panel's random number.
    pub rnd_b: [u8; 8],
    /// The client cryptogram.
    pub cryptogram: [u8; 16],
}

impl NakCode {
    /// From the wire.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Check,
            2 => Self::Length,
            3 => Self::UnknownCommand,
            4 => Self::Sequence,
            5 => Self::SecurityUnsupported,
            6 => Self::EncryptionRequired,
            7 => Self::BioType,
            8 => Self::BioFormat,
            9 => Self::Record,
            other => Self::Other(other),
        }
    }

    /// As it is on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Check => 1,
            Self::Length => 2,
            Self::UnknownCommand => 3,
            Self::Sequence => 4,
            Self::SecurityUnsupported => 5,
            Self::EncryptionRequired => 6,
            Self::BioType => 7,
            Self::BioFormat => 8,
            Self::Record => 9,
            Self::Other(byte) => byte,
        }
    }
}

impl std::fmt::Display for NakCode {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Check => "wrong check",
            Self::Length => "wrong length",
            Self::UnknownCommand => "unknown command",
            Self::Sequence => "unexpected sequence number",
            Self::SecurityUnsupported => "security block not supported",
            Self::EncryptionRequired => "encryption required",
            Self::BioType => "biometric type not supported",
            Self::BioFormat => "biometric format not supported",
            Self::Record => "record not processed",
            Self::Other(byte) => return write!(out, "reason {byte}"),
        })
    }
}

impl Reply {
    /// The code on the wire.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Ack => code::ACK,
            Self::Nak(_) => code::NAK,
            Self::PdId(_) => code::PDID,
            Self::PdCap(_) => code::PDCAP,
            Self::LStatR { .. } => code::LSTATR,
            Self::IStatR(_) => code::ISTATR,
            Self::OStatR(_) => code::OSTATR,
            Self::RStatR(_) => code::RSTATR,
            Self::Raw { .. } => code::RAW,
            Self::Fmt { .. } => code::FMT,
            Self::Keypad { .. } => code::KEYPAD,
            Self::Com { .. } => code::COM,
            Self::Ccrypt(_) => code::CCRYPT,
            Self::RmacI(_) => code::RMAC_I,
            Self::MfgRep { .. } => code::MFGREP,
            Self::Busy => code::BUSY,
            Self::Other { code, .. } => *code,
        }
    }

    /// The standard's name without `osdp_`; "OTHER" for an unknown code.
    #[must_use]
    pub fn name(&self) -> &'static str {
        code::name(self.code()).unwrap_or("OTHER")
    }

    /// Appends the data, which is what follows the code. Counts are cut at what their field can say: 255 digits.
    pub fn encode_data(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ack | Self::Busy => {}
            Self::Nak(Nak { reason, details }) => {
                out.push(reason.byte());
                out.extend_from_slice(details);
            }
            Self::PdId(id) => {
                out.extend_from_slice(&id.oui);
                out.extend_from_slice(&[id.model, id.version]);
                out.extend_from_slice(&id.serial.to_le_bytes());
                out.extend_from_slice(&id.firmware);
            }
            Self::PdCap(capabilities) => {
                for Capability { function, level, count } in capabilities {
                    out.extend_from_slice(&[*function, *level, *count]);
                }
            }
            Self::LStatR { tamper, power_failed } => {
                out.extend_from_slice(&[u8::from(*tamper), u8::from(*power_failed)]);
            }
            Self::IStatR(states) | Self::OStatR(states) | Self::RStatR(states) => {
                out.extend_from_slice(states);
            }
            Self::Raw { reader, format, bits, data } => {
                out.extend_from_slice(&[*reader, *format]);
                out.extend_from_slice(&bits.to_le_bytes());
                out.extend_from_slice(data);
            }
            Self::Fmt { reader, direction, data } => counted(&[*reader, *direction], data, out),
            Self::Keypad { reader, digits } => counted(&[*reader], digits, out),
            Self::Com { address, baud } => {
                out.push(*address);
                out.extend_from_slice(&baud.to_le_bytes());
            }
            Self::Ccrypt(Ccrypt { cuid, rnd_b, cryptogram }) => {
                out.extend_from_slice(cuid);
                out.extend_from_slice(rnd_b);
                out.extend_from_slice(cryptogram);
            }
            Self::RmacI(rmac) => out.extend_from_slice(rmac),
            Self::MfgRep { oui, data } => {
                out.extend_from_slice(oui);
                out.extend_from_slice(data);
            }
            Self::Other { data, .. } => out.extend_from_slice(data),
        }
    }

    /// Reads the data of a reply, in the clear. Unknown codes are no error but [`Reply::Other`].
    ///
    /// # Errors
    /// [`DecodeError`] where the length is not exactly what the code and the counts in the data say.
    pub fn decode(code: u8, data: &[u8]) -> Result<Self, DecodeError> {
        let wrong = |expected| DecodeError::Length {
            name: code::name(code).unwrap_or("OTHER"),
            got: data.len(),
            expected,
        };
        match (code, data) {
            (code::ACK, []) => Ok(Self::Ack),
            (code::BUSY, []) => Ok(Self::Busy),
            (code::ACK | code::BUSY, _) => Err(wrong("none")),
            (code::NAK, [reason, details @ ..]) => {
                Ok(Self::Nak(Nak { reason: NakCode::from_byte(*reason), details: details.to_vec() }))
            }
            (code::NAK, _) => Err(wrong("at least 1")),
            (code::PDID, &[o1, o2, o3, model, version, s1, s2, s3, s4, f1, f2, f3]) => Ok(Self::PdId(PdId {
                oui: [o1, o2, o3],
                model,
                version,
                serial: u32::from_le_bytes([s1, s2, s3, s4]),
                firmware: [f1, f2, f3],
            })),
            (code::PDID, _) => Err(wrong("12")),
            (code::PDCAP, _) => match data.as_chunks() {
                (records, []) => Ok(Self::PdCap(
                    records
                        .iter()
                        .map(|&[function, level, count]| Capability { function, level, count })
                        .collect(),
                )),
                _ => Err(wrong("records of 3")),
            },
            (code::LSTATR, [tamper, power]) => {
                Ok(Self::LStatR { tamper: *tamper != 0, power_failed: *power != 0 })
            }
            (code::LSTATR, _) => Err(wrong("2")),
            (code::ISTATR, states) => Ok(Self::IStatR(states.to_vec())),
            (code::OSTATR, states) => Ok(Self::OStatR(states.to_vec())),
            (code::RSTATR, states) => Ok(Self::RStatR(states.to_vec())),
            (code::RAW, &[reader, format, low, high, ref data @ ..]) => {
                Ok(Self::Raw { reader, format, bits: u16::from_le_bytes([low, high]), data: data.into() })
            }
            (code::RAW, _) => Err(wrong("at least 4")),
            // The counts of these two say what the length says, and some panels count what is not there: what came is taken.
            (code::FMT, [reader, direction, _, data @ ..]) => {
                Ok(Self::Fmt { reader: *reader, direction: *direction, data: data.into() })
            }
            (code::FMT, _) => Err(wrong("at least 3")),
            (code::KEYPAD, [reader, _, digits @ ..]) => {
                Ok(Self::Keypad { reader: *reader, digits: digits.into() })
            }
            (code::KEYPAD, _) => Err(wrong("at least 2")),
            (code::COM, _) => communication("COM", data).map(|(address, baud)| Self::Com { address, baud }),
            (code::CCRYPT, _) => ccrypt(data).map(Self::Ccrypt).ok_or(wrong("32")),
            (code::RMAC_I, _) => data.try_into().map(Self::RmacI).map_err(|_| wrong("16")),
            (code::MFGREP, _) => match data.split_first_chunk() {
                Some((oui, data)) => Ok(Self::MfgRep { oui: *oui, data: data.into() }),
                None => Err(wrong("at least 3")),
            },
            (code, data) => Ok(Self::Other { code, data: data.into() }),
        }
    }
}

fn ccrypt(data: &[u8]) -> Option<Ccrypt> {
    let (cuid, data) = data.split_first_chunk()?;
    let (rnd_b, data) = data.split_first_chunk()?;
    Some(Ccrypt { cuid: *cuid, rnd_b: *rnd_b, cryptogram: data.try_into().ok()? })
}

fn counted(head: &[u8], data: &[u8], out: &mut Vec<u8>) {
    let count = u8::try_from(data.len()).unwrap_or(u8::MAX);
    out.extend_from_slice(head);
    out.push(count);
    out.extend(data.iter().take(usize::from(count)));
}
