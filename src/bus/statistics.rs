//! What happened on a line and at each of its panels, within the last minute and since the start. Deterministic: takes
//! its time from the caller.
//!
//! Invariants:
//! - The last minute is the slice of 5 s that is under way and the eleven before it: 55 to 60 s, or what there was.
//! - Nothing is allocated after the start. A line takes 0.9 KiB, a panel 3.9 KiB, however long they run.

use std::time::Duration;

use crate::{
    domain::{Durations, Mono},
    survey::Spread,
};

/// How long a slice of the minute is, and how many make one.
const SLICE: Duration = Duration::from_secs(5);
const SLICES: usize = 12;

/// Buckets of round trips: one for all below the first octave, then each octave in eight.
const BUCKETS: usize = 1 + OCTAVES * PARTS;
const OCTAVES: usize = 13;
const PARTS: usize = 8;
/// The first octave begins at 2⁹ µs; the last ends at 4.2 s, beyond which nothing is waited for.
const FIRST_OCTAVE: u32 = 9;

/// What happened on a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStats {
    /// Commands answered.
    pub exchanges: u64,
    /// Commands not answered in time.
    pub timeouts: u64,
    /// Frames received with a wrong check.
    pub broken: u64,
    /// Sound frames received in a panel's turn that were not its answer.
    pub wrong: u64,
    /// Bytes received that were part of no frame, idle marks left out: nobody sent them on purpose.
    pub noise: u64,
    /// Time from the first bytes of commands until they were answered or given up.
    pub busy: Duration,
}

/// What happened on a line within a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounters {
    /// What happened.
    pub stats: LineStats,
    /// Within how long.
    pub elapsed: Duration,
}

impl LineCounters {
    /// Returns which part of the time a command was under way, from 0 to 1.
    pub fn busy_ratio(&self) -> f64 {
        if self.elapsed.is_zero() {
            return 0.0;
        }
        (self.stats.busy.as_secs_f64() / self.elapsed.as_secs_f64()).min(1.0)
    }
}

/// What became of the commands to a panel within a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PanelCounters {
    /// Commands answered.
    pub exchanges: u64,
    /// Commands not answered in time, probes of a silent panel among them.
    pub timeouts: u64,
    /// Frames received in its turn with a wrong check.
    pub broken: u64,
    /// Sound frames received in its turn that were not its answer.
    pub wrong: u64,
    /// From the first byte of a command to the last one of its answer; `None`: nothing was answered.
    pub round_trip: Option<RoundTrip>,
}

/// How long exchanges took: the longest to the microsecond, the others within 7 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// Half of them took no longer.
    pub p50: Duration,
    /// 95 % of them took no longer.
    pub p95: Duration,
    /// None took longer.
    pub max: Duration,
}

/// How long what a panel was asked for took since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PanelTimes {
    /// From the first byte of a command to the last one of its answer.
    pub round_trip: Durations,
    /// From the last byte of a key, as it was read, to the panel's acknowledgement of the unlock.
    pub key_to_unlock: Durations,
}

/// The same, of the last minute and since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters<T> {
    /// Within the last minute.
    pub minute: T,
    /// Since the start.
    pub total: T,
}

/// Counts for a line.
#[derive(Debug)]
pub(super) struct LineStatistics {
    total: LineStats,
    minute: Slices<LineStats>,
}

impl LineStatistics {
    /// Begins to count.
    pub(super) fn new(now: Mono) -> Self {
        Self { total: LineStats::default(), minute: Slices::new(now) }
    }

    /// Counts what `note` says.
    pub(super) fn note(&mut self, now: Mono, note: impl Fn(&mut LineStats)) {
        note(&mut self.total);
        note(self.minute.slice(now));
    }

    /// Returns what was counted since the start.
    pub(super) fn total(&self) -> LineStats {
        self.total
    }

    /// Returns what was counted.
    pub(super) fn counters(&mut self, now: Mono) -> Counters<LineCounters> {
        let elapsed = self.minute.elapsed(now);
        let mut stats = LineStats::default();
        for slice in self.minute.all(now) {
            stats.exchanges += slice.exchanges;
            stats.timeouts += slice.timeouts;
            stats.broken += slice.broken;
            stats.wrong += slice.wrong;
            stats.noise += slice.noise;
            stats.busy += slice.busy;
        }
        Counters {
            minute: LineCounters { stats, elapsed },
            total: LineCounters { stats: self.total, elapsed: now.since(self.minute.begun) },
        }
    }
}

/// Counts for a panel.
#[derive(Debug)]
pub(super) struct PanelStatistics {
    total: Tally<u64>,
    minute: Slices<Tally<u16>>,
    round_trips: Durations,
}

impl PanelStatistics {
    /// Begins to count.
    pub(super) fn new(now: Mono) -> Self {
        Self { total: Tally::default(), minute: Slices::new(now), round_trips: Durations::default() }
    }

    /// Counts a command that was answered after so long.
    pub(super) fn answered(&mut self, now: Mono, after: Duration) {
        self.total.answered(after);
        self.minute.slice(now).answered(after);
        self.round_trips.observe(after);
    }

    /// Returns how long commands took that were answered.
    pub(super) fn round_trips(&self) -> Durations {
        self.round_trips
    }

    /// Counts a command that was not answered in time.
    pub(super) fn timed_out(&mut self, now: Mono) {
        self.total.timeouts += 1;
        self.minute.slice(now).timeouts += 1;
    }

    /// Counts a frame with a wrong check.
    pub(super) fn broken(&mut self, now: Mono) {
        self.total.broken += 1;
        self.minute.slice(now).broken += 1;
    }

    /// Counts a sound frame that is not the answer.
    pub(super) fn wrong(&mut self, now: Mono) {
        self.total.wrong += 1;
        self.minute.slice(now).wrong += 1;
    }

    /// Returns what was counted.
    pub(super) fn counters(&mut self, now: Mono) -> Counters<PanelCounters> {
        let mut minute = Tally::<u64>::default();
        for slice in self.minute.all(now) {
            minute.add(slice);
        }
        Counters { minute: minute.counters(), total: self.total.counters() }
    }
}

/// What became of commands, the round trips in buckets.
#[derive(Debug)]
struct Tally<N> {
    exchanges: u64,
    timeouts: u64,
    broken: u64,
    wrong: u64,
    /// The longest round trip, µs.
    longest: u32,
    buckets: [N; BUCKETS],
}

impl<N: Copy + Default> Default for Tally<N> {
    fn default() -> Self {
        Self { exchanges: 0, timeouts: 0, broken: 0, wrong: 0, longest: 0, buckets: [N::default(); BUCKETS] }
    }
}

impl<N: Number> Tally<N> {
    fn answered(&mut self, after: Duration) {
        let micros = u32::try_from(after.as_micros()).unwrap_or(u32::MAX);
        self.exchanges += 1;
        self.longest = self.longest.max(micros);
        if let Some(count) = self.buckets.get_mut(bucket(micros)) {
            *count = count.next();
        }
    }
}

/// How long many things took, in the same buckets.
#[derive(Debug, Default)]
pub(super) struct Times(Tally<u64>);

impl Times {
    /// Counts one.
    pub(super) fn note(&mut self, time: Duration) {
        self.0.answered(time);
    }

    /// Returns how many there were.
    pub(super) fn count(&self) -> u64 {
        self.0.exchanges
    }

    /// Returns how long they took; `None`: there were none.
    pub(super) fn spread(&self) -> Option<Spread> {
        let RoundTrip { p50, p95, max } = self.0.round_trip()?;
        Some(Spread { p50, p95, p99: self.0.percentile(99), max })
    }
}

impl Tally<u64> {
    fn add(&mut self, slice: &Tally<u16>) {
        self.exchanges += slice.exchanges;
        self.timeouts += slice.timeouts;
        self.broken += slice.broken;
        self.wrong += slice.wrong;
        self.longest = self.longest.max(slice.longest);
        for (sum, count) in self.buckets.iter_mut().zip(&slice.buckets) {
            *sum += u64::from(*count);
        }
    }

    fn counters(&self) -> PanelCounters {
        let round_trip = self.round_trip();
        let &Self { exchanges, timeouts, broken, wrong, .. } = self;
        PanelCounters { exchanges, timeouts, broken, wrong, round_trip }
    }

    /// Returns how long the exchanges took; `None`: there were none.
    fn round_trip(&self) -> Option<RoundTrip> {
        let max = Duration::from_micros(self.longest.into());
        (self.exchanges > 0).then(|| RoundTrip { p50: self.percentile(50), p95: self.percentile(95), max })
    }

    fn percentile(&self, percent: u64) -> Duration {
        Duration::from_micros(self.quantile(percent))
    }

    /// Returns the middle of the bucket that this percentage of the round trips does not exceed, µs.
    fn quantile(&self, percent: u64) -> u64 {
        let all: u64 = self.buckets.iter().sum();
        let rank = all.saturating_mul(percent).div_ceil(100);
        let mut sum = 0;
        let reached = self.buckets.iter().position(|count| {
            sum += count;
            sum >= rank
        });
        middle(reached.unwrap_or_default()).min(self.longest.into())
    }
}

/// What a bucket counts with; the highest number stays.
trait Number: Copy + Default {
    fn next(self) -> Self;
}

impl Number for u16 {
    fn next(self) -> Self {
        self.saturating_add(1)
    }
}

impl Number for u64 {
    fn next(self) -> Self {
        self.saturating_add(1)
    }
}

/// Returns the number of the bucket of a round trip.
fn bucket(micros: u32) -> usize {
    let Some(octave) = micros.checked_ilog2().and_then(|log| log.checked_sub(FIRST_OCTAVE)) else { return 0 };
    let part = (micros >> (octave + FIRST_OCTAVE - PARTS.ilog2())) as usize % PARTS;
    (1 + octave as usize * PARTS + part).min(BUCKETS - 1)
}

/// Returns the middle of a bucket, µs.
fn middle(bucket: usize) -> u64 {
    let first = 1_u64 << FIRST_OCTAVE;
    let Some(above) = bucket.checked_sub(1) else { return first / 2 };
    let (octave, part) = (above / PARTS, above % PARTS);
    let width = (first << octave) / PARTS as u64;
    (first << octave) + width * part as u64 + width / 2
}

/// The last minute in slices, of which each is emptied when its turn comes again.
#[derive(Debug)]
struct Slices<S> {
    begun: Mono,
    /// The number of the slice under way, counted from the start.
    number: u64,
    slices: [S; SLICES],
}

impl<S: Default> Slices<S> {
    fn new(now: Mono) -> Self {
        Self { begun: now, number: 0, slices: Default::default() }
    }

    /// Returns the slice under way.
    fn slice(&mut self, now: Mono) -> &mut S {
        self.turn(now);
        &mut self.slices[(self.number % SLICES as u64) as usize]
    }

    /// Returns all slices of the last minute.
    fn all(&mut self, now: Mono) -> &[S] {
        self.turn(now);
        &self.slices
    }

    /// Returns how long a time the slices are of.
    fn elapsed(&self, now: Mono) -> Duration {
        let elapsed = now.since(self.begun);
        let number = u32::try_from(number(elapsed)).unwrap_or(u32::MAX);
        elapsed.saturating_sub(SLICE * number.saturating_sub(SLICES as u32 - 1))
    }

    fn turn(&mut self, now: Mono) {
        let number = number(now.since(self.begun));
        for _ in 0..number.saturating_sub(self.number).min(SLICES as u64) {
            self.number += 1;
            self.slices[(self.number % SLICES as u64) as usize] = S::default();
        }
        // After a long time without a count all of them are empty, and which comes next tells nothing.
        self.number = self.number.max(number);
    }
}

fn number(elapsed: Duration) -> u64 {
    elapsed.as_secs() / SLICE.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(7 + seconds * 1_000_000_000)
    }

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_minute_is_forgotten_slice_by_slice_and_the_total_is_not() {
        let mut line = LineStatistics::new(at(0));
        for second in 0..60 {
            line.note(at(second), |line| {
                line.exchanges += 1;
                line.busy += millis(500);
            });
        }
        let counters = line.counters(at(59));
        assert_eq!((counters.minute.stats.exchanges, counters.minute.elapsed), (60, at(59).since(at(0))));
        let counters = line.counters(at(60));
        assert_eq!((counters.minute.stats.exchanges, counters.minute.elapsed.as_secs()), (55, 55));
        assert_eq!(counters.total.stats.exchanges, 60);
        assert!((counters.minute.busy_ratio() - 0.5).abs() < 1e-9, "{counters:?}");
        let counters = line.counters(at(114));
        assert_eq!((counters.minute.stats.exchanges, counters.minute.elapsed.as_secs()), (5, 59));
        assert_eq!(line.counters(at(115)).minute.stats, LineStats::default());
        line.note(at(100_003), |line| line.timeouts += 1);
        let counters = line.counters(at(100_003));
        assert_eq!((counters.minute.stats.timeouts, counters.minute.stats.exchanges), (1, 0));
        assert_eq!((counters.total.stats.exchanges, counters.total.elapsed.as_secs()), (60, 100_003));
        assert_eq!(LineCounters::default().busy_ratio(), 0.0);
    }

    #[test]
    fn round_trips_are_told_within_seven_percent_and_the_longest_exactly() {
        let mut panel = PanelStatistics::new(at(0));
        assert_eq!(panel.counters(at(0)).minute, PanelCounters::default());
        for number in 1..=1000 {
            panel.answered(at(3), Duration::from_micros(100 * number));
        }
        panel.answered(at(4), Duration::from_secs(3));
        for count in [PanelStatistics::timed_out, PanelStatistics::broken, PanelStatistics::wrong] {
            count(&mut panel, at(4));
        }
        let counters = panel.counters(at(5));
        assert_eq!(counters.minute, counters.total);
        let PanelCounters { exchanges, timeouts, broken, wrong, round_trip } = counters.minute;
        assert_eq!((exchanges, timeouts, broken, wrong), (1001, 1, 1, 1));
        let RoundTrip { p50, p95, max } = round_trip.unwrap();
        let is_near =
            |found: Duration, right: f64| (found.as_secs_f64() / right).ln().abs() < 0.07_f64.ln_1p();
        assert!(is_near(p50, 0.05) && is_near(p95, 0.095), "{p50:?} {p95:?}");
        assert_eq!(max, Duration::from_secs(3));
        assert_eq!(panel.counters(at(70)).minute.round_trip, None);
        assert_eq!(panel.counters(at(70)).total, counters.total);
    }

    #[test]
    fn every_round_trip_has_a_bucket_whose_middle_is_near_it() {
        let mut before = 0;
        for micros in (0..5_000_000).step_by(97).chain([u32::MAX]) {
            let bucket = bucket(micros);
            assert!(bucket >= before && bucket < BUCKETS, "{micros}");
            before = bucket;
            if (512..4_190_000).contains(&micros) {
                let off = (middle(bucket) as f64 / f64::from(micros)).ln().abs();
                assert!(off < 0.07_f64.ln_1p(), "{micros} {}", middle(bucket));
            }
        }
        let mut one = PanelStatistics::new(at(0));
        one.answered(at(0), Duration::from_micros(3));
        let round_trip = one.counters(at(0)).total.round_trip.unwrap();
        assert_eq!(round_trip.p50, Duration::from_micros(3), "not above the longest");
    }

    #[test]
    fn they_take_as_much_memory_as_the_module_says() {
        assert!(size_of::<LineStatistics>() <= 920, "{}", size_of::<LineStatistics>());
        assert!(size_of::<PanelStatistics>() <= 4000, "{}", size_of::<PanelStatistics>());
    }
}
