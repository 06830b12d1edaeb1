//! What comes back, seen against what was asked.

use super::{
    CRC, EXCEPTION, Exception, Request, Table, WRITE_COIL, WRITE_COILS, WRITE_REGISTER, WRITE_REGISTERS,
    is_sound, unpack_bits, words,
};

/// What a device answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The bits that were asked for, exactly this many.
    Bits(Vec<bool>),
    /// The words that were asked for, exactly this many.
    Words(Vec<u16>),
    /// The write was carried out.
    Written,
    /// It was heard and refused.
    Exception(Exception),
}

/// What a receive buffer begins with, while an answer is awaited. Every length is at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Nothing can be said before more bytes come, or the line falls silent.
    Incomplete,
    /// This many leading bytes are the answer.
    Answer(Answer, usize),
    /// This many leading bytes are exactly what was sent, come back through the adapter.
    Echo(usize),
    /// This many leading bytes are a sound frame, but not this answer: somebody else's, a late one, one of another
    /// length.
    Foreign(usize),
    /// This many leading bytes look like the answer and are damaged.
    Broken(usize),
    /// This many leading bytes are no frame.
    Noise(usize),
}

/// Looks for the answer of the device `unit` to `request` at the beginning of a receive buffer.
///
/// `own`: the frame that was sent, where bytes equal to it may be its echo; `None` where they cannot be, or where a
/// first copy was dropped already. Answers of functions 05 and 06 equal their requests, so there this decides.
#[must_use]
pub fn parse_reply(unit: u8, request: &Request, own: Option<&[u8]>, buffer: &[u8]) -> Parsed {
    if buffer.is_empty() {
        return Parsed::Incomplete;
    }
    if let Some(own) = own {
        if buffer.starts_with(own) && !own.is_empty() {
            return Parsed::Echo(own.len());
        }
        if own.starts_with(buffer) {
            return Parsed::Incomplete;
        }
    }
    match answer_at(unit, request, buffer) {
        Candidate::Sound(answer, length) => return Parsed::Answer(answer, length),
        Candidate::Incomplete => return Parsed::Incomplete,
        Candidate::Damaged => return Parsed::Broken(1),
        Candidate::No => {}
    }
    let (foreign, unfinished) = foreign_at(buffer);
    if let Some(length) = foreign {
        return Parsed::Foreign(length);
    }
    // A byte of noise may look like the beginning of a long foreign frame: a whole answer behind it is not made
    // to wait for bytes that never come.
    let later = (1..buffer.len()).find(|start| {
        let rest = buffer.get(*start..).unwrap_or_default();
        matches!(answer_at(unit, request, rest), Candidate::Sound(..))
    });
    match later {
        Some(start) => Parsed::Noise(start),
        None if unfinished => Parsed::Incomplete,
        None => Parsed::Noise(1),
    }
}

enum Candidate {
    Sound(Answer, usize),
    Incomplete,
    Damaged,
    No,
}

fn answer_at(unit: u8, request: &Request, buffer: &[u8]) -> Candidate {
    const EXCEPTION_LENGTH: usize = 5;
    let function = request.function();
    if buffer.first() != Some(&unit) {
        return Candidate::No;
    }
    let Some(&second) = buffer.get(1) else { return Candidate::Incomplete };
    if second == function | EXCEPTION {
        return match buffer.get(..EXCEPTION_LENGTH) {
            None => Candidate::Incomplete,
            Some(frame) if !is_sound(frame) => Candidate::Damaged,
            Some(frame) => {
                let code = frame.get(2).copied().unwrap_or_default();
                Candidate::Sound(Answer::Exception(Exception::from_code(code)), EXCEPTION_LENGTH)
            }
        };
    }
    let mut head = vec![unit, function];
    match request.data_bytes() {
        Some(bytes) => head.push(bytes),
        None => request.push_fields(&mut head),
    }
    let known = head.len().min(buffer.len());
    if head.get(..known) != buffer.get(..known) {
        return Candidate::No;
    }
    let length = request.reply_length();
    let Some(frame) = buffer.get(..length) else { return Candidate::Incomplete };
    if !is_sound(frame) {
        return Candidate::Damaged;
    }
    let data = frame.get(head.len()..length.saturating_sub(CRC)).unwrap_or_default();
    let answer = match request {
        Request::Read { table, count, .. } if table.is_bits() => Answer::Bits(unpack_bits(data, *count)),
        Request::Read { .. } => Answer::Words(words(data).collect()),
        _ => Answer::Written,
    };
    Candidate::Sound(answer, length)
}

/// The length of the sound frame of any device that the buffer begins with; and where there is none, whether
/// there may be one that is not complete.
fn foreign_at(buffer: &[u8]) -> (Option<usize>, bool) {
    const FIXED: usize = 8;
    const ADDRESS: usize = 1;
    let Some(&function) = buffer.get(1) else { return (None, true) };
    let counted =
        |at: usize, around: usize| buffer.get(at).map(|bytes| usize::from(*bytes).saturating_add(around));
    // Both what a client and what a device would send.
    let lengths = match function {
        WRITE_COIL | WRITE_REGISTER => [Some(FIXED), Some(FIXED)],
        WRITE_COILS | WRITE_REGISTERS => [Some(FIXED), counted(6, 7 + CRC)],
        _ if Table::of_function(function).is_some() => [counted(2, 3 + CRC), Some(FIXED)],
        _ if function & EXCEPTION != 0 => [Some(ADDRESS + 2 + CRC); 2],
        _ => return (None, false),
    };
    let sound = lengths.iter().flatten().find(|length| buffer.get(..**length).is_some_and(is_sound));
    let unfinished = lengths.iter().any(|length| length.is_none_or(|length| length > buffer.len()));
    (sound.copied(), unfinished)
}
