//! What panels of one line hear: bytes become frames again, also behind noise.

use std::time::Duration;

use crate::{
    domain::Mono,
    wire::osdp::{Frame, Parsed, parse},
};

/// Silence within a frame after which a panel gives up on it (OSDP 2.2, 5.7).
pub const INTER_CHARACTER: Duration = Duration::from_millis(20);

/// The receive buffer of the panels of one line.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    buffer: Vec<u8>,
    last_end: Mono,
}

/// Something whole that was heard.
#[derive(Debug)]
pub enum Heard<'a> {
    /// A frame whose check is right.
    Frame(Frame<'a>),
    /// A frame, from its first byte, whose check is wrong.
    Broken(&'a [u8]),
}

impl Receiver {
    /// Takes bytes; the stop bit of the last one ended at `end`. Calls `each` for everything whole, with the number
    /// of bytes that came behind it in the same call.
    pub fn hear(&mut self, bytes: &[u8], end: Mono, mut each: impl FnMut(Heard<'_>, usize)) {
        self.buffer.extend_from_slice(bytes);
        self.last_end = end;
        self.take_whole(&mut each);
    }

    /// When a frame that has begun is given up, unless more of it comes.
    pub fn next_timeout(&self) -> Option<Mono> {
        (!self.buffer.is_empty()).then(|| self.last_end + INTER_CHARACTER)
    }

    /// Gives up what has begun and not ended by `now`; what was mistaken for its contents is heard after all.
    pub fn handle_timeout(&mut self, now: Mono, mut each: impl FnMut(Heard<'_>, usize)) {
        if self.next_timeout().is_none_or(|timeout| timeout > now) {
            return;
        }
        while !self.buffer.is_empty() {
            self.buffer.remove(0);
            self.take_whole(&mut each);
        }
    }

    fn take_whole(&mut self, each: &mut impl FnMut(Heard<'_>, usize)) {
        let mut taken = 0;
        while let Some(rest) = self.buffer.get(taken..).filter(|rest| !rest.is_empty()) {
            taken += match parse(rest) {
                Parsed::Incomplete { .. } => break,
                Parsed::Noise(count) => count,
                Parsed::Broken { drop, length, .. } => {
                    let raw = rest.get(..length).unwrap_or(rest);
                    each(Heard::Broken(raw), rest.len() - raw.len());
                    drop
                }
                Parsed::Frame(frame, length) => {
                    each(Heard::Frame(frame), rest.len() - length);
                    length
                }
            };
        }
        self.buffer.drain(..taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> Vec<u8> {
        hex::decode("ff53000900046100c066").unwrap()
    }

    fn heard(receiver: &mut Receiver, bytes: &[u8], end: u64) -> Vec<(Option<u8>, usize)> {
        let mut all = Vec::new();
        receiver.hear(bytes, Mono::from_nanos(end), |what, behind| {
            all.push(match what {
                Heard::Frame(frame) => (Some(frame.code), behind),
                Heard::Broken(_) => (None, behind),
            });
        });
        all
    }

    #[test]
    fn frames_come_out_however_the_bytes_are_cut() {
        for cut in 0..10 {
            let mut receiver = Receiver::default();
            let frame = id();
            assert_eq!(heard(&mut receiver, &frame[..cut], 0), []);
            let rest = [&frame[cut..], b"\xFF"].concat();
            assert_eq!(heard(&mut receiver, &rest, 0), [(Some(0x61), 1)], "cut at {cut}");
            assert_eq!(receiver.next_timeout(), None);
        }
    }

    #[test]
    fn a_wrong_check_is_told_and_the_next_frame_is_heard() {
        let mut receiver = Receiver::default();
        let mut broken = id();
        broken[9] ^= 1;
        let both = [broken, id()].concat();
        let all = heard(&mut receiver, &both, 0);
        assert_eq!((all[0], all.last().copied()), ((None, 10), Some((Some(0x61), 0))));
    }

    #[test]
    fn a_false_beginning_is_given_up_after_the_inter_character_limit() {
        let mut receiver = Receiver::default();
        let noise = [&[0x53, 0x00, 0x40, 0x00], id().as_slice()].concat();
        assert_eq!(heard(&mut receiver, &noise, 5), []);
        let limit = Mono::from_nanos(5) + INTER_CHARACTER;
        assert_eq!(receiver.next_timeout(), Some(limit));
        let mut codes = Vec::new();
        let mut listen = |now| {
            receiver.handle_timeout(now, |what, _| {
                if let Heard::Frame(frame) = what {
                    codes.push(frame.code);
                }
            });
        };
        listen(Mono::from_nanos(6));
        listen(limit);
        assert_eq!(codes, [0x61]);
        assert_eq!(receiver.next_timeout(), None);
    }
}
