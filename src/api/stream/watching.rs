//! When the lines that somebody watches are measured. Deterministic: takes its time from the caller.
//!
//! Invariants:
//! - Those who watch the same line share its measurements.
//! - Of a bus one line is measured at a time, and after each the bus is left alone for as long as that took: those who
//!   watch take half of its time at most.

use std::time::Duration;

use super::asked::Line;
use crate::domain::{Mono, Name};

/// From one measurement of a line to the next, where its bus has the time.
const EVERY: Duration = Duration::from_millis(400);
/// What a measurement counts as at most: one that is given up after 2 s has not used the bus all the time.
const LONGEST: Duration = Duration::from_millis(400);

/// A line that is watched.
struct Watched {
    line: Line,
    bus: Name,
    watchers: usize,
    due: Mono,
}

/// A bus with such lines.
struct Used {
    bus: Name,
    /// A line of it is being measured.
    is_measuring: bool,
    free: Mono,
}

/// All lines that are watched.
#[derive(Default)]
pub(super) struct Watching {
    lines: Vec<Watched>,
    buses: Vec<Used>,
}

impl Watching {
    /// Somebody watches a line of this bus.
    pub(super) fn begin(&mut self, now: Mono, line: Line, bus: &Name) {
        if let Some(watched) = self.lines.iter_mut().find(|watched| watched.line == line) {
            watched.watchers += 1;
            return;
        }
        self.lines.push(Watched { line, bus: bus.clone(), watchers: 1, due: now });
        if !self.buses.iter().any(|used| used.bus == *bus) {
            self.buses.push(Used { bus: bus.clone(), is_measuring: false, free: now });
        }
    }

    /// Somebody watches it no longer.
    pub(super) fn end(&mut self, line: Line) {
        self.lines.retain_mut(|watched| {
            watched.watchers -= usize::from(watched.line == line);
            watched.watchers > 0
        });
        let lines = &self.lines;
        self.buses.retain(|used| used.is_measuring || lines.iter().any(|watched| watched.bus == used.bus));
    }

    /// Returns a line that is to be measured now, with its bus: [`Watching::measured`] is to be told when that is over.
    pub(super) fn take_due(&mut self, now: Mono) -> Option<(Line, Name)> {
        let buses = &mut self.buses;
        let is_due = |watched: &&mut Watched| {
            let used = buses.iter().find(|used| used.bus == watched.bus);
            watched.due <= now && used.is_some_and(|used| !used.is_measuring && used.free <= now)
        };
        let next = self.lines.iter_mut().filter(is_due).min_by_key(|watched| watched.due)?;
        next.due = now + EVERY;
        let (line, bus) = (next.line, next.bus.clone());
        if let Some(used) = buses.iter_mut().find(|used| used.bus == bus) {
            used.is_measuring = true;
        }
        Some((line, bus))
    }

    /// Takes note that a measurement is over, which began then.
    pub(super) fn measured(&mut self, now: Mono, bus: &Name, begun: Mono) {
        if let Some(used) = self.buses.iter_mut().find(|used| used.bus == *bus) {
            used.is_measuring = false;
            used.free = now + now.since(begun).min(LONGEST);
        }
        let lines = &self.lines;
        self.buses.retain(|used| used.is_measuring || lines.iter().any(|watched| watched.bus == used.bus));
    }

    /// Returns when [`Watching::take_due`] has something next, if no measurement ends before.
    pub(super) fn next_time(&self) -> Mono {
        let at = |watched: &Watched| {
            let used = self.buses.iter().find(|used| used.bus == watched.bus && !used.is_measuring)?;
            Some(watched.due.max(used.free))
        };
        self.lines.iter().filter_map(at).min().unwrap_or(Mono::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    /// Measures for ten seconds, each line for so long, and returns how often each was.
    fn rates(lines: &[(Line, &str)], took: u64) -> Vec<usize> {
        let mut watching = Watching::default();
        for (line, bus) in lines {
            watching.begin(at(0), *line, &Name::new(bus).unwrap());
        }
        let mut under_way: Vec<(u64, Line, Name)> = Vec::new();
        let mut counts = vec![0; lines.len()];
        for now in 0..10_000 {
            for (begun, line, bus) in under_way.extract_if(.., |(begun, ..)| now >= *begun + took) {
                counts[lines.iter().position(|(known, _)| *known == line).unwrap()] += 1;
                watching.measured(at(now), &bus, at(begun));
            }
            if watching.next_time() <= at(now) {
                let (line, bus) = watching.take_due(at(now)).expect("it said so");
                assert!(!under_way.iter().any(|(.., other)| *other == bus), "one at a time");
                under_way.push((now, line, bus));
            }
        }
        counts
    }

    #[test]
    fn a_line_is_measured_more_than_twice_a_second_and_buses_are_left_half_of_their_time() {
        assert_eq!(rates(&[((1, 1), "a")], 30), [25]);
        let both = rates(&[((1, 1), "a"), ((1, 2), "b")], 30);
        assert_eq!(both, [25, 25], "buses do not wait for each other");
        let eight: Vec<(Line, &str)> = (1..=8).map(|flat| ((1, flat), "a")).collect();
        assert!(rates(&eight, 30).iter().all(|count| *count >= 20), "{:?}", rates(&eight, 30));
        let sixteen: Vec<(Line, &str)> = (1..=16).map(|flat| ((1, flat), "a")).collect();
        let counts = rates(&sixteen, 30);
        assert!(counts.iter().sum::<usize>() * 30 <= 5_030, "{counts:?}");
        assert!(counts.iter().all(|count| *count >= 9), "all get their share: {counts:?}");
    }

    #[test]
    fn watchers_of_a_line_share_it_and_the_last_one_ends_it() {
        let (mut watching, bus) = (Watching::default(), Name::new("a").unwrap());
        watching.begin(at(0), (1, 1), &bus);
        watching.begin(at(0), (1, 1), &bus);
        assert_eq!(watching.take_due(at(0)), Some(((1, 1), bus.clone())));
        assert_eq!((watching.take_due(at(500)), watching.next_time()), (None, Mono::NEVER));
        watching.measured(at(500), &bus, at(0));
        assert_eq!(watching.next_time(), at(900), "given up: the bus is free again in time");
        watching.end((1, 1));
        assert_eq!(watching.next_time(), at(900));
        watching.end((1, 1));
        watching.end((1, 7));
        assert_eq!((watching.next_time(), watching.buses.len()), (Mono::NEVER, 0));
    }
}
