//! The device's side, for simulated panels and for tests against the same rules.

use super::{
    Answer, COIL_ON, CRC, EXCEPTION, Exception, Request, Table, WRITE_COIL, WRITE_COILS, WRITE_REGISTER,
    WRITE_REGISTERS, bytes_of_bits, is_sound, push_bits, push_crc, unpack_bits, words,
};

/// What a device's receive buffer begins with. Every length is at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsedRequest {
    /// More bytes are needed.
    Incomplete,
    /// This many leading bytes are no request of a function that is known here.
    Noise(usize),
    /// A sound request to the device `unit`, this many bytes long; `Err`: the exception that answers it.
    Frame {
        /// To whom; [`super::BROADCAST`]: to all, and nobody answers.
        unit: u8,
        /// Its function code.
        function: u8,
        /// What is asked.
        request: Result<Request, Exception>,
        /// How many bytes it took.
        length: usize,
    },
}

/// Reads a request from the beginning of a device's receive buffer.
#[must_use]
pub fn parse_request(buffer: &[u8]) -> ParsedRequest {
    const FIXED: usize = 6 + CRC;
    let (Some(&unit), Some(&function)) = (buffer.first(), buffer.get(1)) else {
        return ParsedRequest::Incomplete;
    };
    let counted = matches!(function, WRITE_COILS | WRITE_REGISTERS);
    let known =
        counted || matches!(function, WRITE_COIL | WRITE_REGISTER) || Table::of_function(function).is_some();
    if !known {
        return ParsedRequest::Noise(1);
    }
    let data_bytes = match (counted, buffer.get(6)) {
        (false, _) => None,
        (true, Some(bytes)) => Some(usize::from(*bytes)),
        (true, None) => return ParsedRequest::Incomplete,
    };
    let length = data_bytes.map_or(FIXED, |bytes| FIXED.saturating_add(1).saturating_add(bytes));
    let Some(frame) = buffer.get(..length) else { return ParsedRequest::Incomplete };
    if !is_sound(frame) {
        return ParsedRequest::Noise(1);
    }
    let mut fields = words(frame.get(2..6).unwrap_or_default());
    let (start, second) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let data = frame.get(7..length.saturating_sub(CRC)).unwrap_or_default();
    let request = read_request(function, start, second, data);
    ParsedRequest::Frame { unit, function, request, length }
}

fn read_request(function: u8, start: u16, second: u16, data: &[u8]) -> Result<Request, Exception> {
    let request = match function {
        WRITE_COIL if second == COIL_ON || second == 0 => {
            Request::WriteCoil { address: start, on: second == COIL_ON }
        }
        WRITE_REGISTER => Request::WriteRegister { address: start, value: second },
        WRITE_COILS if data.len() == bytes_of_bits(usize::from(second)) => {
            Request::WriteCoils { start, values: unpack_bits(data, second) }
        }
        WRITE_REGISTERS if data.len() == usize::from(second).saturating_mul(2) => {
            Request::WriteRegisters { start, values: words(data).collect() }
        }
        _ => match Table::of_function(function) {
            Some(table) => Request::Read { table, start, count: second },
            None => return Err(Exception::IllegalDataValue),
        },
    };
    match request.check() {
        Ok(()) => Ok(request),
        Err(super::BadRequest::Count { .. }) => Err(Exception::IllegalDataValue),
        Err(super::BadRequest::Range { .. }) => Err(Exception::IllegalDataAddress),
    }
}

/// Appends the frame with which `unit` answers: `answer` to `request`, or to a request of `function` that could not
/// even be read an exception.
pub fn emit_reply(unit: u8, request: Result<&Request, u8>, answer: &Answer, out: &mut Vec<u8>) {
    let begin = out.len();
    let function = request.map_or_else(|function| function, Request::function);
    match (answer, request) {
        (Answer::Exception(exception), _) => {
            out.extend_from_slice(&[unit, function | EXCEPTION, exception.code()]);
        }
        (Answer::Bits(bits), _) => {
            let bytes = u8::try_from(bytes_of_bits(bits.len())).unwrap_or(u8::MAX);
            out.extend_from_slice(&[unit, function, bytes]);
            push_bits(out, bits);
        }
        (Answer::Words(words), _) => {
            let bytes = u8::try_from(words.len().saturating_mul(2)).unwrap_or(u8::MAX);
            out.extend_from_slice(&[unit, function, bytes]);
            out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        }
        (Answer::Written, request) => {
            out.extend_from_slice(&[unit, function]);
            if let Ok(request) = request {
                request.push_fields(out);
            }
        }
    }
    push_crc(out, begin);
}
