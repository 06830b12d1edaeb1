//! What a client asks: functions 01–06, 15 and 16.

use super::{
    COIL_ON, CRC, WRITE_COIL, WRITE_COILS, WRITE_REGISTER, WRITE_REGISTERS, bytes_of_bits, push_bits,
    push_crc,
};

/// The four tables of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Single bits, readable and writable; function 01.
    Coil,
    /// Single bits, read only; function 02.
    Discrete,
    /// Words, readable and writable; function 03.
    Holding,
    /// Words, read only; function 04.
    Input,
}

impl Table {
    /// All of them, in order of their functions.
    pub const ALL: [Self; 4] = [Self::Coil, Self::Discrete, Self::Holding, Self::Input];

    /// Whether it holds single bits.
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }

    /// The function that reads it.
    #[must_use]
    pub const fn function(self) -> u8 {
        match self {
            Self::Coil => 0x01,
            Self::Discrete => 0x02,
            Self::Holding => 0x03,
            Self::Input => 0x04,
        }
    }

    /// The most that one request may read: 2000 bits or 125 words.
    #[must_use]
    pub const fn most(self) -> u16 {
        if self.is_bits() { 2000 } else { 125 }
    }

    pub(super) fn of_function(function: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.function() == function)
    }
}

/// The most coils that one request may write.
const MOST_COILS: usize = 1968;
/// The most registers that one request may write.
const MOST_REGISTERS: usize = 123;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Functions 01–04.
    Read {
        /// From which table.
        table: Table,
        /// The first address, from 0.
        start: u16,
        /// How many bits or words, from 1.
        count: u16,
    },
    /// Function 05.
    WriteCoil {
        /// Which.
        address: u16,
        /// Its new state.
        on: bool,
    },
    /// Function 06.
    WriteRegister {
        /// Which.
        address: u16,
        /// Its new content.
        value: u16,
    },
    /// Function 15.
    WriteCoils {
        /// The first address.
        start: u16,
        /// The new states, from 1 to 1968 of them.
        values: Vec<bool>,
    },
    /// Function 16.
    WriteRegisters {
        /// The first address.
        start: u16,
        /// The new contents, from 1 to 123 of them.
        values: Vec<u16>,
    },
}

/// A request that no frame can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// None, or more than one frame may ask for.
    #[error("{count} registers at once, where 1 to {most} are possible")]
    Count {
        /// How many were asked for.
        count: usize,
        /// How many may be.
        most: usize,
    },
    /// Addresses end at 65535.
    #[error("{count} registers from address {start} on go beyond 65535")]
    Range {
        /// The first address.
        start: u16,
        /// How many were asked for.
        count: usize,
    },
}

impl Request {
    /// The function code.
    #[must_use]
    pub const fn function(&self) -> u8 {
        match self {
            Self::Read { table, .. } => table.function(),
            Self::WriteCoil { .. } => WRITE_COIL,
            Self::WriteRegister { .. } => WRITE_REGISTER,
            Self::WriteCoils { .. } => WRITE_COILS,
            Self::WriteRegisters { .. } => WRITE_REGISTERS,
        }
    }

    /// The first address and the number of registers.
    #[must_use]
    pub fn span(&self) -> (u16, usize) {
        match self {
            Self::Read { start, count, .. } => (*start, usize::from(*count)),
            Self::WriteCoil { address, .. } | Self::WriteRegister { address, .. } => (*address, 1),
            Self::WriteCoils { start, values } => (*start, values.len()),
            Self::WriteRegisters { start, values } => (*start, values.len()),
        }
    }

    /// Whether a frame can carry it.
    ///
    /// # Errors
    /// Too many registers, none, or addresses beyond 65535.
    pub fn check(&self) -> Result<(), BadRequest> {
        let (start, count) = self.span();
        let most = match self {
            Self::Read { table, .. } => usize::from(table.most()),
            Self::WriteCoils { .. } => MOST_COILS,
            Self::WriteRegisters { .. } => MOST_REGISTERS,
            Self::WriteCoil { .. } | Self::WriteRegister { .. } => 1,
        };
        if !(1..=most).contains(&count) {
            return Err(BadRequest::Count { count, most });
        }
        if usize::from(start).saturating_add(count) > 0x1_0000 {
            return Err(BadRequest::Range { start, count });
        }
        Ok(())
    }

    /// Appends the frame for the device with address `unit` to `out`.
    ///
    /// # Errors
    /// As [`Request::check`]; nothing is appended then.
    pub fn emit(&self, unit: u8, out: &mut Vec<u8>) -> Result<(), BadRequest> {
        self.check()?;
        let begin = out.len();
        out.extend_from_slice(&[unit, self.function()]);
        self.push_fields(out);
        match self {
            Self::WriteCoils { values, .. } => {
                // At most 246, checked above; so below.
                out.push(u8::try_from(bytes_of_bits(values.len())).unwrap_or(u8::MAX));
                push_bits(out, values);
            }
            Self::WriteRegisters { values, .. } => {
                out.push(u8::try_from(values.len().saturating_mul(2)).unwrap_or(u8::MAX));
                out.extend(values.iter().flat_map(|value| value.to_be_bytes()));
            }
            Self::Read { .. } | Self::WriteCoil { .. } | Self::WriteRegister { .. } => {}
        }
        push_crc(out, begin);
        Ok(())
    }

    /// The two words behind the function code; an answer to a write repeats them.
    pub(super) fn push_fields(&self, out: &mut Vec<u8>) {
        let (first, count) = self.span();
        let second = match self {
            Self::WriteCoil { on, .. } => {
                if *on {
                    COIL_ON
                } else {
                    0
                }
            }
            Self::WriteRegister { value, .. } => *value,
            _ => u16::try_from(count).unwrap_or(u16::MAX),
        };
        out.extend_from_slice(&first.to_be_bytes());
        out.extend_from_slice(&second.to_be_bytes());
    }

    /// Bytes of data that an answer to a read has.
    pub(super) fn data_bytes(&self) -> Option<u8> {
        let Self::Read { table, count, .. } = self else { return None };
        let count = usize::from(*count);
        let bytes = if table.is_bits() { bytes_of_bits(count) } else { count.saturating_mul(2) };
        u8::try_from(bytes).ok()
    }

    /// Length of the frame that answers it, in bytes, unless by an exception.
    #[must_use]
    pub fn reply_length(&self) -> usize {
        const WRITTEN: usize = 8;
        const READ: usize = 3 + CRC;
        self.data_bytes().map_or(WRITTEN, |bytes| READ.saturating_add(usize::from(bytes)))
    }

    /// Whether an answer to `other`, coming late from the same device, would be taken for one to this request:
    /// the same function with the same number of bytes, or the same write. It may be of other registers.
    #[must_use]
    pub fn is_confusable(&self, other: &Self) -> bool {
        if self.function() != other.function() {
            return false;
        }
        match (self.data_bytes(), other.data_bytes()) {
            (Some(mine), Some(others)) => mine == others,
            _ => {
                let fields = |request: &Self| {
                    let mut fields = Vec::with_capacity(4);
                    request.push_fields(&mut fields);
                    fields
                };
                fields(self) == fields(other)
            }
        }
    }
}
