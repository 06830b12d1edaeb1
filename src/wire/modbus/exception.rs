//! Exceptions: a device heard the request and does not carry it out.

use std::fmt;

/// Exception codes (Modbus application protocol 1.1b3, chapter 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exception {
    /// 01: the device does not know the function.
    IllegalFunction,
    /// 02: a register of the request does not exist.
    IllegalDataAddress,
    /// 03: the structure of the request, such as its count, is not to the device's liking.
    IllegalDataValue,
    /// 04: the device failed while it tried.
    ServerDeviceFailure,
    /// 05: it will take long; a later request may ask whether it is done.
    Acknowledge,
    /// 06: busy with a long command; the same request later.
    ServerDeviceBusy,
    /// 08: its memory is damaged.
    MemoryParityError,
    /// 0A: a gateway has no way to the device.
    GatewayPathUnavailable,
    /// 0B: a gateway got no answer from the device.
    GatewayTargetFailed,
    /// Any other code.
    Other(u8),
}

const KNOWN: [(u8, Exception, &str); 9] = [
    (0x01, Exception::IllegalFunction, "illegal function"),
    (0x02, Exception::IllegalDataAddress, "illegal data address"),
    (0x03, Exception::IllegalDataValue, "illegal data value"),
    (0x04, Exception::ServerDeviceFailure, "server device failure"),
    (0x05, Exception::Acknowledge, "acknowledge"),
    (0x06, Exception::ServerDeviceBusy, "server device busy"),
    (0x08, Exception::MemoryParityError, "memory parity error"),
    (0x0a, Exception::GatewayPathUnavailable, "gateway path unavailable"),
    (0x0b, Exception::GatewayTargetFailed, "gateway target device failed to respond"),
];

impl Exception {
    /// The exception of a code on the line.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        let known = KNOWN.iter().find(|(known, _, _)| *known == code);
        known.map_or(Self::Other(code), |(_, exception, _)| *exception)
    }

    /// Its code on the line.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Other(code) => code,
            named => KNOWN.iter().find(|(_, known, _)| *known == named).map_or(0, |(code, _, _)| *code),
        }
    }

    /// The standard's name; empty for a code that it does not have.
    #[must_use]
    pub fn name(self) -> &'static str {
        KNOWN.iter().find(|(_, known, _)| *known == self).map_or("", |(_, _, name)| *name)
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(code) => write!(f, "exception {code:02X}"),
            named => write!(f, "exception {:02X} ({})", named.code(), named.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_go_both_ways() {
        for code in 0..=255 {
            let exception = Exception::from_code(code);
            assert_eq!(exception.code(), code);
            assert_eq!(exception.name().is_empty(), matches!(exception, Exception::Other(_)));
        }
        assert_eq!(Exception::IllegalDataAddress.to_string(), "exception 02 (illegal data address)");
        assert_eq!(Exception::from_code(0x63).to_string(), "exception 63");
    }
}
