//! Line-enable coils, kept equal to what they are to be.

use std::time::Duration;

use litemap::LiteMap;

use crate::{domain::Mono, wire::modbus::Request};

/// A coil that does not stay as it was written is written again no sooner than this.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Default)]
struct Coil {
    wanted: bool,
    found: Option<bool>,
    written: Option<Mono>,
}

/// The coils of the lines that somebody has a wish for, by line number from 1.
#[derive(Debug)]
pub(super) struct Enables {
    /// Address of line 1; `None`: the panel has no such coils.
    first: Option<u16>,
    coils: LiteMap<u16, Coil>,
    /// The function that writes one is used.
    single: bool,
    /// The other function was refused just before.
    tried_other: bool,
}

impl Enables {
    pub(super) fn new(first: Option<u16>) -> Self {
        Self { first, coils: LiteMap::new(), single: false, tried_other: false }
    }

    pub(super) fn want(&mut self, wanted: impl IntoIterator<Item = (u16, bool)>) {
        let mut before = std::mem::take(&mut self.coils);
        for (line, wanted) in wanted {
            let coil = before.remove(&line).unwrap_or_default();
            // A change of the wish is no coil that does not stay: it is written at once.
            let written = coil.written.filter(|_| coil.wanted == wanted);
            self.coils.insert(line, Coil { wanted, written, ..coil });
        }
    }

    /// Coils were read, from an address on.
    pub(super) fn found(&mut self, start: u16, values: &[u16]) {
        let Some(first) = self.first else { return };
        for (address, value) in (start..).zip(values) {
            let line = address.checked_sub(first).and_then(|offset| offset.checked_add(1));
            if let Some(coil) = line.and_then(|line| self.coils.get_mut(&line)) {
                coil.found = Some(*value != 0);
            }
        }
    }

    /// The panel was away: it may have forgotten them.
    pub(super) fn forget(&mut self) {
        for (_, coil) in &mut self.coils {
            (coil.found, coil.written) = (None, None);
        }
    }

    /// The next write: neighbours together, `most` at once.
    pub(super) fn request(&self, now: Mono, most: u16) -> Option<Request> {
        let first = self.first?;
        let is_due = |coil: &Coil| {
            coil.found.is_some_and(|found| found != coil.wanted)
                && coil.written.is_none_or(|written| now.since(written) >= AGAIN_AFTER)
        };
        let mut due = self.coils.iter().filter(|(_, coil)| is_due(coil));
        let (from, coil) = due.next()?;
        let mut values = vec![coil.wanted];
        let most = if self.single { 1 } else { usize::from(most.max(1)) };
        for ((line, coil), expected) in due.zip(from.saturating_add(1)..) {
            if *line != expected || values.len() >= most {
                break;
            }
            values.push(coil.wanted);
        }
        let start = first.saturating_add(from.saturating_sub(1));
        Some(match values.as_slice() {
            [on] => Request::WriteCoil { address: start, on: *on },
            _ => Request::WriteCoils { start, values },
        })
    }

    /// When a coil that does not stay may be written again; `None`: there is none.
    pub(super) fn next_time(&self) -> Option<Mono> {
        self.first?;
        let differs = |coil: &&Coil| coil.found.is_some_and(|found| found != coil.wanted);
        let at = |coil: &Coil| coil.written.map_or(Mono::ZERO, |written| written + AGAIN_AFTER);
        self.coils.values().filter(differs).map(at).min()
    }

    /// The write is over; `stands`: the panel has acknowledged it. Refused or not answered, it waits for its time.
    pub(super) fn written(&mut self, now: Mono, request: &Request, stands: bool) {
        self.tried_other = false;
        let (start, count) = request.span();
        let offset = start.saturating_sub(self.first.unwrap_or_default());
        for line in (offset.saturating_add(1)..).take(count) {
            if let Some(coil) = self.coils.get_mut(&line) {
                coil.written = Some(now);
                if stands {
                    coil.found = Some(coil.wanted);
                }
            }
        }
    }

    /// The panel does not know the function. `true`: another one is worth a try.
    pub(super) fn other_function(&mut self) -> bool {
        self.single = !self.single;
        !std::mem::replace(&mut self.tried_other, true)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written_neighbours_together() {
        let mut enables = Enables::new(Some(100));
        enables.want([(1, true), (2, false), (3, false), (5, false)]);
        assert_eq!(enables.request(Mono::ZERO, 99), None, "nothing is known of them yet");
        enables.found(100, &[1, 1, 1, 1, 1]);
        let both = Request::WriteCoils { start: 101, values: vec![false, false] };
        assert_eq!(enables.request(Mono::ZERO, 99), Some(both.clone()));
        enables.written(Mono::ZERO, &both, true);
        let one = Request::WriteCoil { address: 104, on: false };
        assert_eq!(enables.request(Mono::ZERO, 99), Some(one.clone()));
        enables.written(Mono::ZERO, &one, true);
        assert_eq!((enables.request(Mono::ZERO, 99), enables.next_time()), (None, None));
    }

    #[test]
    fn a_coil_that_does_not_stay_is_not_hammered_and_a_new_wish_is_obeyed_at_once() {
        let mut enables = Enables::new(Some(0));
        enables.want([(1, false)]);
        enables.found(0, &[1]);
        let write = enables.request(Mono::ZERO, 99).unwrap();
        enables.written(Mono::ZERO, &write, true);
        enables.found(0, &[1]);
        assert_eq!(enables.request(Mono::ZERO + AGAIN_AFTER / 2, 99), None);
        assert_eq!(enables.next_time(), Some(Mono::ZERO + AGAIN_AFTER));
        assert!(enables.request(Mono::ZERO + AGAIN_AFTER, 99).is_some());
        enables.found(0, &[0]);
        enables.want([(1, true)]);
        assert_eq!(enables.request(Mono::ZERO, 99), Some(Request::WriteCoil { address: 0, on: true }));
    }
}
