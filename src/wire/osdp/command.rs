//! Commands: what a control panel sends.

use super::code::command as code;
use super::control::{BuzzerControl, LedControl, OutputControl, TextControl};
use super::{DecodeError, Scbk, Sensitive};

/// A command with its data in the clear. `Debug` shows neither keys nor the data of unknown commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Anything new?
    Poll,
    /// Who are you?
    Id,
    /// What can you do?
    Cap,
    /// Tamper and power.
    Lstat,
    /// Inputs.
    Istat,
    /// Outputs.
    Ostat,
    /// Readers.
    Rstat,
    /// Sets outputs.
    Out(Vec<OutputControl>),
    /// Sets LEDs.
    Led(Vec<LedControl>),
    /// Sounds the buzzer.
    Buz(BuzzerControl),
    /// Shows a text.
    Text(TextControl),
    /// Changes address and baud rate.
    Comset {
        /// New address, 0–7E.
        address: u8,
        /// New rate, in bits a second.
        baud: u32,
    },
    /// Changes the base key; inside a secure channel only.
    Keyset(Scbk),
    /// Opens a secure channel with RND.A.
    Chlng([u8; 8]),
    /// Proves the control panel with its cryptogram.
    Scrypt([u8; 16]),
    /// The most that the control panel can receive, in bytes.
    AcuRxSize(u16),
    /// A maker's own.
    Mfg {
        /// The maker.
        oui: [u8; 3],
        /// The maker's data.
        data: Sensitive,
    },
    /// A code that this program does not know.
    Other {
        /// The code.
        code: u8,
        /// Its data.
        data: Sensitive,
    },
}

impl Command {
    /// The code on the wire.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Poll => code::POLL,
            Self::Id => code::ID,
            Self::Cap => code::CAP,
            Self::Lstat => code::LSTAT,
            Self::Istat => code::ISTAT,
            Self::Ostat => code::OSTAT,
            Self::Rstat => code::RSTAT,
            Self::Out(_) => code::OUT,
            Self::Led(_) => code::LED,
            Self::Buz(_) => code::BUZ,
            Self::Text(_) => code::TEXT,
            Self::Comset { .. } => code::COMSET,
            Self::Keyset(_) => code::KEYSET,
            Self::Chlng(_) => code::CHLNG,
            Self::Scrypt(_) => code::SCRYPT,
            Self::AcuRxSize(_) => code::ACURXSIZE,
            Self::Mfg { .. } => code::MFG,
            Self::Other { code, .. } => *code,
        }
    }

    /// The standard's name without `osdp_`; "OTHER" for an unknown code.
    #[must_use]
    pub fn name(&self) -> &'static str {
        code::name(self.code()).unwrap_or("OTHER")
    }

    /// Appends the data, which is what follows the code.
    pub fn encode_data(&self, out: &mut Vec<u8>) {
        match self {
            Self::Poll | Self::Lstat | Self::Istat | Self::Ostat | Self::Rstat => {}
            Self::Id | Self::Cap => out.push(STANDARD_REPLY),
            Self::Out(controls) => controls.iter().for_each(|control| control.encode(out)),
            Self::Led(controls) => controls.iter().for_each(|control| control.encode(out)),
            Self::Buz(control) => control.encode(out),
            Self::Text(control) => control.encode(out),
            Self::Comset { address, baud } => {
                out.push(*address);
                out.extend_from_slice(&baud.to_le_bytes());
            }
            Self::Keyset(scbk) => {
                out.extend_from_slice(&KEYSET_SCBK);
                out.extend_from_slice(scbk.expose());
            }
            Self::Chlng(rnd_a) => out.extend_from_slice(rnd_a),
            Self::Scrypt(cryptogram) => out.extend_from_slice(cryptogram),
            Self::AcuRxSize(size) => out.extend_from_slice(&size.to_le_bytes()),
            Self::Mfg { oui, data } => {
                out.extend_from_slice(oui);
                out.extend_from_slice(data);
            }
            Self::Other { data, .. } => out.extend_from_slice(data),
        }
    }

    /// Reads the data of a command, in the clear. Unknown codes are no error but [`Command::Other`].
    ///
    /// # Errors
    /// [`DecodeError`] where the length is not exactly what the code and the counts in the data say, or where a
    /// value is not defined.
    pub fn decode(code: u8, data: &[u8]) -> Result<Self, DecodeError> {
        let wrong = |expected| DecodeError::Length {
            name: code::name(code).unwrap_or("OTHER"),
            got: data.len(),
            expected,
        };
        let empty = |command| if data.is_empty() { Ok(command) } else { Err(wrong("none")) };
        match code {
            code::POLL => empty(Self::Poll),
            code::LSTAT => empty(Self::Lstat),
            code::ISTAT => empty(Self::Istat),
            code::OSTAT => empty(Self::Ostat),
            code::RSTAT => empty(Self::Rstat),
            code::ID => standard_reply("ID", data).map(|()| Self::Id),
            code::CAP => standard_reply("CAP", data).map(|()| Self::Cap),
            code::OUT => match data.as_chunks() {
                (records @ [_, ..], []) => {
                    records.iter().map(OutputControl::decode).collect::<Result<_, _>>().map(Self::Out)
                }
                _ => Err(wrong("records of 4")),
            },
            code::LED => match data.as_chunks() {
                (records @ [_, ..], []) => {
                    records.iter().map(LedControl::decode).collect::<Result<_, _>>().map(Self::Led)
                }
                _ => Err(wrong("records of 14")),
            },
            code::BUZ => BuzzerControl::decode(data).map(Self::Buz),
            code::TEXT => TextControl::decode(data).map(Self::Text),
            code::COMSET => {
                let (address, baud) = communication("COMSET", data)?;
                Ok(Self::Comset { address, baud })
            }
            code::KEYSET => match data {
                [0x01, 0x10, key @ ..] => match key.try_into() {
                    Ok(key) => Ok(Self::Keyset(Scbk::new(key))),
                    Err(_) => Err(wrong("18")),
                },
                [0x01, length, ..] => {
                    Err(DecodeError::Value { name: "KEYSET", field: "key length", value: *length })
                }
                [kind, _, ..] => Err(DecodeError::Value { name: "KEYSET", field: "key type", value: *kind }),
                _ => Err(wrong("18")),
            },
            code::CHLNG => data.try_into().map(Self::Chlng).map_err(|_| wrong("8")),
            code::SCRYPT => data.try_into().map(Self::Scrypt).map_err(|_| wrong("16")),
            code::ACURXSIZE => {
                data.try_into().map(|size| Self::AcuRxSize(u16::from_le_bytes(size))).map_err(|_| wrong("2"))
            }
            code::MFG => match data.split_first_chunk() {
                Some((oui, data)) => Ok(Self::Mfg { oui: *oui, data: data.into() }),
                None => Err(wrong("at least 3")),
            },
            code => Ok(Self::Other { code, data: data.into() }),
        }
    }
}

/// The only value of ID's and CAP's one byte.
const STANDARD_REPLY: u8 = 0;
/// Key type (SCBK) and key length.
const KEYSET_SCBK: [u8; 2] = [0x01, 0x10];

fn standard_reply(name: &'static str, data: &[u8]) -> Result<(), DecodeError> {
    match data {
        [STANDARD_REPLY] => Ok(()),
        [value] => Err(DecodeError::Value { name, field: "reply type", value: *value }),
        _ => Err(DecodeError::Length { name, got: data.len(), expected: "1" }),
    }
}

/// The common layout of COMSET and COM: address 0–7E and baud rate.
pub(super) fn communication(name: &'static str, data: &[u8]) -> Result<(u8, u32), DecodeError> {
    match *data {
        [address, a, b, c, d] if address < super::frame::BROADCAST => {
            Ok((address, u32::from_le_bytes([a, b, c, d])))
        }
        [address, _, _, _, _] => Err(DecodeError::Value { name, field: "address", value: address }),
        _ => Err(DecodeError::Length { name, got: data.len(), expected: "5" }),
    }
}
