//! OSDP frames from runs of bytes.

use super::{Found, Piece};
use crate::wire::osdp::{
    capture::Io,
    frame::{MARK, Parsed, SOM, parse},
};

/// Puts OSDP frames together, for each sender by itself. `T` says where bytes were: a line of a file, a time.
#[derive(Debug)]
pub struct Frames<T> {
    /// What has begun and is not whole yet, by [`slot`].
    pending: [Option<Begun<T>>; 3],
}

#[derive(Debug)]
struct Begun<T> {
    /// Where runs begin in `bytes`, and where they were; the first at 0.
    runs: Vec<(usize, T)>,
    marks: usize,
    bytes: Vec<u8>,
}

impl<T> Default for Frames<T> {
    fn default() -> Self {
        Self { pending: [None, None, None] }
    }
}

impl<T: Clone> Frames<T> {
    /// Takes bytes that were at `at`, and returns what they complete. What may go on in the next run is kept.
    pub fn push(&mut self, at: &T, io: Io, bytes: &[u8]) -> Vec<Found<T>> {
        let begun = self.pending.get_mut(slot(io)).and_then(Option::take);
        let Begun { mut runs, mut marks, bytes: mut buffer } =
            begun.unwrap_or_else(|| Begun { runs: Vec::new(), marks: 0, bytes: Vec::new() });
        runs.push((buffer.len(), at.clone()));
        buffer.extend_from_slice(bytes);
        let mut found = Vec::new();
        let mut start = 0;
        while let Some(rest) = buffer.get(start..).filter(|rest| !rest.is_empty()) {
            let place = runs.iter().rev().find(|(begin, _)| *begin <= start).map_or(at, |(_, at)| at);
            // How far it is to the next run that begins a frame: there a frame that goes on was cut.
            let cut = |end: usize| {
                let borders = runs.iter().map(|(begin, _)| begin.saturating_sub(start));
                let mut borders = borders.filter(|border| (1..end).contains(border));
                borders.find(|border| rest.get(*border).is_some_and(|byte| matches!(*byte, MARK | SOM)))
            };
            let (piece, taken, shown) = match parse(rest) {
                Parsed::Noise(count) => (Piece::Noise, count, count),
                Parsed::Frame(_, length) => (Piece::Frame, length, length),
                Parsed::Incomplete { missing } => {
                    let Some(skip) = good_frame_behind(rest, rest.len()) else {
                        let earlier = runs.iter().filter(|(begin, _)| *begin <= start).count().max(1);
                        let kept = runs.iter().skip(earlier.saturating_sub(1));
                        let runs =
                            kept.map(|(begin, at)| (begin.saturating_sub(start), at.clone())).collect();
                        if let Some(slot) = self.pending.get_mut(slot(io)) {
                            *slot = Some(Begun { runs, marks, bytes: rest.to_vec() });
                        }
                        return found;
                    };
                    match cut(skip.saturating_add(1)) {
                        Some(cut) => (Piece::Unfinished { missing }, cut, cut),
                        None => (Piece::Noise, skip, skip),
                    }
                }
                Parsed::Broken { length, fault, .. } => match cut(length) {
                    Some(cut) => (Piece::Unfinished { missing: length.saturating_sub(cut) }, cut, cut),
                    // It is shown with all that it claims, though a good frame may lie in it.
                    None => (Piece::Broken(fault), good_frame_behind(rest, length).unwrap_or(length), length),
                },
            };
            let shown = rest.get(..shown).unwrap_or(rest);
            if piece == Piece::Noise {
                // Marks are sent on purpose: they belong to what follows them.
                let noise: Vec<u8> = shown.iter().copied().filter(|byte| *byte != MARK).collect();
                marks = shown.iter().rev().take_while(|byte| **byte == MARK).count();
                push_noise(&mut found, place, io, noise);
            } else {
                found.push(Found { at: place.clone(), io, piece, marks, bytes: shown.to_vec() });
                marks = 0;
            }
            start = start.saturating_add(taken.max(1));
        }
        found
    }

    /// Ends what one sender has begun: it does not go on.
    pub fn end(&mut self, io: Io) -> Option<Found<T>> {
        let Begun { runs, marks, bytes } = self.pending.get_mut(slot(io))?.take()?;
        let (_, at) = runs.into_iter().next()?;
        let missing = match parse(&bytes) {
            Parsed::Incomplete { missing } => missing,
            _ => 1,
        };
        Some(Found { at, io, piece: Piece::Unfinished { missing }, marks, bytes })
    }

    /// Ends what everybody has begun: the recording is over.
    pub fn finish(&mut self) -> Vec<Found<T>> {
        [Io::In, Io::Out, Io::Trace].into_iter().filter_map(|io| self.end(io)).collect()
    }
}

const fn slot(io: Io) -> usize {
    match io {
        Io::In => 0,
        Io::Out => 1,
        Io::Trace => 2,
    }
}

/// Where behind its first byte, and before `end`, a buffer holds a frame with a right check.
fn good_frame_behind(buffer: &[u8], end: usize) -> Option<usize> {
    (1..end.min(buffer.len()))
        .find(|start| buffer.get(*start..).is_some_and(|rest| matches!(parse(rest), Parsed::Frame(..))))
}

fn push_noise<T: Clone>(found: &mut Vec<Found<T>>, at: &T, io: Io, noise: Vec<u8>) {
    match found.last_mut() {
        _ if noise.is_empty() => {}
        Some(Found { piece: Piece::Noise, bytes, .. }) => bytes.extend(noise),
        _ => found.push(Found { at: at.clone(), io, piece: Piece::Noise, marks: 0, bytes: noise }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::osdp::{Check, Header, emit};

    fn frame(sequence: u8, reply: bool, code: u8, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let header = Header { address: 5, reply, sequence, check: Check::Crc };
        emit(&header, None, code, data, &mut out).unwrap();
        out
    }

    fn shapes(found: &[Found<u32>]) -> Vec<(u32, Piece, usize)> {
        found.iter().map(|found| (found.at, found.piece, found.bytes.len())).collect()
    }

    #[test]
    fn a_frame_that_lies_in_any_two_runs_is_one_frame_where_it_began() {
        let raw = frame(1, true, 0x50, &[0, 0, 32, 0, 1, 2, 3, 4]);
        for cut in 1..raw.len() {
            let mut frames = Frames::default();
            let mut found = frames.push(&1, Io::In, &raw[..cut]);
            found.extend(frames.push(&2, Io::In, &raw[cut..]));
            let began = if cut == 1 { 2 } else { 1 };
            assert_eq!(shapes(&found), [(began, Piece::Frame, raw.len() - 1)], "cut at {cut}");
            assert_eq!(found[0].bytes, raw[1..]);
            assert_eq!(frames.finish(), []);
        }
    }

    #[test]
    fn senders_do_not_mix_and_an_end_says_what_is_missing() {
        let (asked, raw) = (frame(1, false, 0x60, &[]), frame(1, true, 0x40, &[]));
        let mut frames = Frames::default();
        assert_eq!(frames.push(&1, Io::In, &raw[..5]), []);
        assert_eq!(shapes(&frames.push(&2, Io::Out, &asked)), [(2, Piece::Frame, asked.len() - 1)]);
        let ended = frames.end(Io::In).unwrap();
        assert_eq!(shapes(std::slice::from_ref(&ended)), [(1, Piece::Unfinished { missing: 4 }, 4)]);
        assert_eq!(frames.end(Io::In), None);
    }

    #[test]
    fn a_frame_that_was_cut_does_not_swallow_the_one_that_was_sent_again() {
        let raw = frame(1, true, 0x50, &[0, 0, 32, 0, 1, 2, 3, 4]);
        for cut in 3..raw.len() {
            let mut frames = Frames::default();
            let mut found = frames.push(&1, Io::In, &raw[..cut]);
            // The second comes in two runs as well.
            found.extend(frames.push(&2, Io::In, &raw[..4]));
            found.extend(frames.push(&3, Io::In, &raw[4..]));
            let kinds: Vec<_> = found.iter().map(|found| (found.at, found.piece == Piece::Frame)).collect();
            assert_eq!(kinds, [(1, false), (2, true)], "cut at {cut}: {found:?}");
        }
    }

    #[test]
    fn any_bytes_in_any_runs_come_out_in_number() {
        let mut seed = 7_u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        for _ in 0..2_000 {
            let mut frames = Frames::default();
            let (mut given, mut found) = (Vec::<u8>::new(), Vec::new());
            for run in 0..4_u32 {
                let mut bytes: Vec<u8> = (0..random() % 24).map(|_| random()).collect();
                if random() < 128 {
                    bytes.extend(frame(random() % 4, true, 0x40, &[]));
                }
                if random() < 64 {
                    bytes.extend([0x53, 5, 12, 0, 4]);
                }
                given.extend(&bytes);
                found.extend(frames.push(&run, Io::In, &bytes));
            }
            found.extend(frames.finish());
            let wanted = given.iter().filter(|byte| **byte != MARK).count();
            let clear = |found: &Found<u32>| match found.piece {
                Piece::Broken(_) => 0,
                _ => found.bytes.iter().filter(|byte| **byte != MARK).count(),
            };
            assert!(found.iter().map(clear).sum::<usize>() <= wanted);
        }
    }
}
