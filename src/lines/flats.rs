//! What the cloud says of the building's lines.
//!
//! Invariant: sorted by (intercom, flat number), so a look-up is a binary search.

use super::FlatLine;

/// Lines of flats, built once per revision, then only read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlatLines(Box<[(u64, u64, FlatLine)]>);

impl FlatLines {
    /// Of an intercom, by the flat's number on the door; `None`: the cloud has no such flat.
    pub fn get(&self, intercom: u64, flat: u64) -> Option<FlatLine> {
        let found = self.0.binary_search_by_key(&(intercom, flat), |(intercom, flat, _)| (*intercom, *flat));
        self.0.get(found.ok()?).map(|(.., line)| *line)
    }
}

/// From intercom, number on the door, and what is known.
impl FromIterator<(u64, u64, FlatLine)> for FlatLines {
    fn from_iter<T: IntoIterator<Item = (u64, u64, FlatLine)>>(lines: T) -> Self {
        let mut lines: Vec<_> = lines.into_iter().collect();
        lines.sort_by_key(|(intercom, flat, _)| (*intercom, *flat));
        Self(lines.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_intercom_and_number() {
        let line = |flat_id| FlatLine {
            flat_id,
            enabled: true,
            own_resistances: false,
            answer: None,
            quiescent: None,
        };
        let lines: FlatLines = [(2, 1, line(21)), (1, 7, line(17)), (1, 2, line(12))].into_iter().collect();
        let id = |intercom, flat| lines.get(intercom, flat).map(|line| line.flat_id);
        assert_eq!((id(1, 2), id(1, 7), id(2, 1)), (Some(12), Some(17), Some(21)));
        assert_eq!((id(1, 1), id(2, 7), id(3, 1)), (None, None, None));
    }
}
