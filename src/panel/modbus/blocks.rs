//! The blocks that are read, whole or in pieces.
//!
//! ```text
//!            denied (a doubt that is certain)              nothing of it is missing, after a pause
//!  whole ─────────────────────────────────────► pieces ─────────────────────────────────────────► whole, asked for once
//!                 pieces are cut on, down to what is missing, which is asked for again ever more seldom
//! ```
//! Invariant: every register of the plan is in one piece, and every piece is read, or asked for again some day.

use std::time::Duration;

use super::{
    doubt::{Denial, Doubt},
    plan::{Block, Class},
};
use crate::domain::Mono;

/// The pause before a block in pieces is asked for whole again grows from the first to the second.
const MERGE_PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// A block of the plan.
#[derive(Debug)]
struct Whole {
    block: Block,
    pause: Duration,
    /// In pieces of which none is missing, it is asked for whole from then on.
    merge_at: Mono,
}

/// All blocks of a panel.
#[derive(Debug)]
pub(super) struct Blocks {
    wholes: Vec<Whole>,
    pieces: Vec<Block>,
}

impl Blocks {
    pub(super) fn new(plan: Vec<Block>) -> Self {
        let mut pieces = plan;
        for (number, piece) in pieces.iter_mut().enumerate() {
            piece.whole = number;
        }
        let whole =
            |block: &Block| Whole { block: block.clone(), pause: Duration::ZERO, merge_at: Mono::ZERO };
        Self { wholes: pieces.iter().map(whole).collect(), pieces }
    }

    /// Returns the blocks that are read now, in pieces where they have to be, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Block)> {
        self.pieces.iter().enumerate()
    }

    pub(super) fn get(&self, number: usize) -> Option<&Block> {
        self.pieces.get(number)
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Block> {
        self.pieces.get_mut(number)
    }

    /// Has everything read as soon as possible: the panel is there, for the first time or again.
    pub(super) fn begin(&mut self, now: Mono) {
        for piece in &mut self.pieces {
            (piece.due, piece.last) = (now, now - piece.period);
        }
    }

    /// Notes that a block was read as it is.
    pub(super) fn given(&mut self, now: Mono, number: usize) {
        let Some(piece) = self.pieces.get_mut(number) else { return };
        if !piece.doubt.answered() {
            return;
        }
        let whole = piece.whole;
        // Whatever kept this one away may be over for the others as well.
        for piece in &mut self.pieces {
            piece.doubt.hasten(now);
        }
        if let Some(whole) = self.wholes.get_mut(whole) {
            (whole.pause, whole.merge_at) = (Duration::ZERO, now);
        }
    }

    /// Notes that a block was not given. Returns it where it is missing from now on.
    pub(super) fn denied(&mut self, now: Mono, number: usize, denial: Denial) -> Option<&Block> {
        let piece = self.pieces.get_mut(number)?;
        let is_whole = self.wholes.get(piece.whole).is_some_and(|whole| whole.block.count == piece.count);
        let was_missing = piece.doubt.missing().is_some();
        if !piece.doubt.strike(now, denial, tolerated(piece, is_whole, denial)) {
            return None;
        }
        let Some(halves) = piece.halves() else {
            let piece = self.pieces.get(number)?;
            return (!was_missing).then_some(piece);
        };
        let whole = piece.whole;
        let [first, second] = halves.map(|half| Block { due: now, doubt: Doubt::default(), ..half });
        *piece = first;
        self.pieces.push(second);
        self.put_off_merging(now, whole);
        None
    }

    /// Returns the block to be asked for whole next, with its number in the plan, and from when on.
    pub(super) fn to_merge(&self) -> Option<(Mono, usize, &Block)> {
        let is_in_pieces = |(number, whole): &(usize, &Whole)| {
            let mut pieces = self.pieces.iter().filter(|piece| piece.whole == *number);
            let first = pieces.next();
            first.is_some_and(|piece| piece.count != whole.block.count && !piece.doubt.is_doubted())
                && pieces.all(|piece| !piece.doubt.is_doubted())
        };
        let wholes = self.wholes.iter().enumerate().filter(is_in_pieces);
        wholes.map(|(number, whole)| (whole.merge_at, number, &whole.block)).min_by_key(|(at, ..)| *at)
    }

    /// Notes that it was given whole. Returns the number of the one piece that it is from now on.
    pub(super) fn merged(&mut self, now: Mono, whole: usize) -> Option<usize> {
        let block = Block { due: now, last: now, ..self.wholes.get(whole)?.block.clone() };
        self.pieces.retain(|piece| piece.whole != whole);
        self.pieces.push(block);
        self.pieces.len().checked_sub(1)
    }

    /// Notes that it was not given whole.
    pub(super) fn put_off_merging(&mut self, now: Mono, whole: usize) {
        if let Some(whole) = self.wholes.get_mut(whole) {
            whole.pause = whole.pause.saturating_mul(2).clamp(MERGE_PAUSE.0, MERGE_PAUSE.1);
            whole.merge_at = now + whole.pause;
        }
    }

    /// Returns the pieces that are missing.
    pub(super) fn missing(&self) -> impl Iterator<Item = (&Block, Denial)> {
        self.pieces.iter().filter_map(|piece| Some((piece, piece.doubt.missing()?)))
    }
}

/// How often in a row a block may be denied before that is certain.
fn tolerated(piece: &Block, is_whole: bool, denial: Denial) -> u32 {
    match (denial, is_whole) {
        (Denial::Refused, true) => 1,
        (Denial::Refused, false) => 0,
        // A reader that is taken for missing is dead for seconds; a few lost answers in a row are no rarity.
        (Denial::Silent(_), _) if piece.class == Class::Fast => 8,
        // What is to be cut on costs little where it was a mistake.
        (Denial::Silent(_), _) if piece.cuts.is_empty() => 5,
        (Denial::Silent(_), _) => 1,
    }
}
