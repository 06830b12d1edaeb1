//! The lines of one panel: what is told, what is retained, what is read again.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use LineState::{Break, Busy, Disabled, OffHook, OnHook, Unknown, Unsupported};
use intercom_gateway::{
    domain::{
        EventBody, LineState, Mono, Name,
        line::Thresholds,
        profile::{LinesProfile, Register, RegisterKind},
    },
    lines::{Commutator, CommutatorSettings, FlatLine, KeptLine, Output, READ_AGAIN_AFTER},
};
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};

const HANGS: u16 = 36;
const LIFTED: u16 = 78;
const CUT: u16 = 120;
const SHORTED: u16 = 3;
const BUSY: u16 = 65_534;

fn profile(columns: Option<u16>) -> LinesProfile {
    LinesProfile {
        count: 16,
        unit: "V".into(),
        value: Register { kind: RegisterKind::Input, address: 0 },
        scale: 0.1,
        enable: Some(0),
        unsupported: Some(65_535),
        busy: Some(BUSY),
        thresholds: Thresholds {
            short_below: Some(1.0),
            on_hook_below: 6.5,
            off_hook_below: 9.2,
            door_button_below: Some(9.8),
            hysteresis: 0.2,
        },
        range: (0.0, 980.0),
        debounce: 3,
        period: Duration::from_secs(1),
        columns,
    }
}

/// A commutator of 4×4 lines, line n of flat 100 + n, that is read as a bus would: every second all lines at once, and
/// again what it asks for.
struct Cabinet {
    commutator: Commutator,
    raws: [u16; 16],
    now: Mono,
    told: Vec<String>,
    exchanges: usize,
}

impl Cabinet {
    fn new(columns: Option<u16>, kept: impl Fn(u64) -> Option<KeptLine>) -> Self {
        let settings = CommutatorSettings {
            panel: Name::new("risers").unwrap(),
            intercom: 1,
            profile: profile(columns),
            map: (1..=16).map(|line| (line, 100 + u64::from(line))).collect(),
        };
        let now = Mono::from_nanos(1_000_000_000_000);
        let commutator = Commutator::new(settings, kept, wall(now));
        Self { commutator, raws: [HANGS; 16], now, told: Vec::new(), exchanges: 0 }
    }

    /// One whose lines have all been seen to hang.
    fn well(columns: Option<u16>) -> Self {
        let mut cabinet = Self::new(columns, |_| None);
        cabinet.seconds(2);
        cabinet.told.clear();
        cabinet
    }

    fn set(&mut self, lines: &[u16], raw: u16) {
        for line in lines {
            self.raws[usize::from(*line) - 1] = raw;
        }
    }

    fn seconds(&mut self, count: u64) {
        for _ in 0..count {
            self.read(1, 16);
            let next = self.now + Duration::from_secs(1);
            self.read_again();
            self.now = next;
            self.commutator.advance(self.now);
            assert!(self.commutator.next_time() > self.now);
        }
    }

    fn read(&mut self, first: u16, count: usize) {
        let from = usize::from(first) - 1;
        self.exchanges += 1;
        self.commutator.samples(self.now, wall(self.now), first, &self.raws[from..from + count]);
    }

    fn read_again(&mut self) {
        loop {
            let mut wanted = Vec::new();
            while let Some(output) = self.commutator.poll_output() {
                match output {
                    Output::ReadAgain { line, at } => {
                        assert_eq!(at, self.now + READ_AGAIN_AFTER);
                        wanted.push(line);
                    }
                    Output::Event(EventBody::LineChanged(event)) => {
                        let flat = event.flat;
                        self.told.push(format!("{flat} {} {}", event.from.as_str(), event.to.as_str()));
                    }
                    Output::Event(EventBody::LineWiring(event)) => {
                        let verb = if event.cleared { "cleared" } else { "wiring" };
                        self.told.push(format!("{verb} {:?} {}", event.lines, event.state.as_str()));
                    }
                    Output::Event(other) => panic!("{other:?}"),
                    Output::Status(_) => {}
                }
            }
            if wanted.is_empty() {
                return;
            }
            self.now = self.now + READ_AGAIN_AFTER;
            for line in wanted {
                self.read(line, 1);
            }
        }
    }

    fn state(&self, line: u16) -> LineState {
        self.commutator.status(line).unwrap().state
    }

    /// What was told since the last call.
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

fn wall(now: Mono) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(now.as_nanos())).unwrap()
}

/// The lines that an event of the wiring lists.
fn lines_of(event: &str) -> BTreeSet<u16> {
    event.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

fn flat(enabled: bool) -> FlatLine {
    FlatLine { flat_id: 9, enabled, own_resistances: false, answer: Some(70), quiescent: Some(30) }
}

#[test]
fn a_lifted_handset_is_told_within_one_reading() {
    let mut cabinet = Cabinet::well(None);
    cabinet.set(&[3], LIFTED);
    let (before, since) = (cabinet.exchanges, cabinet.now);
    cabinet.seconds(1);
    assert_eq!(cabinet.told(), ["103 on_hook off_hook"]);
    assert_eq!(cabinet.exchanges - before, 3, "two more samples, at once");
    let status = cabinet.commutator.status(3).unwrap();
    assert_eq!((status.raw, status.value, status.unit.as_str()), (Some(LIFTED), Some(7.8), "V"));
    assert_eq!(status.since, wall(since + READ_AGAIN_AFTER * 2));
    cabinet.seconds(3);
    assert_eq!(cabinet.told(), [""; 0]);
    assert!(cabinet.commutator.status(3).unwrap().measured_at > Some(status.since));
}

#[test]
fn one_wrong_sample_changes_nothing() {
    let mut cabinet = Cabinet::well(Some(4));
    cabinet.set(&[3], CUT);
    cabinet.read(1, 16);
    cabinet.set(&[3], HANGS);
    cabinet.read_again();
    cabinet.seconds(2);
    assert_eq!((cabinet.told(), cabinet.state(3)), (vec![], OnHook));
}

#[test]
fn sentinels_values_out_of_range_and_missing_registers_are_no_measurements() {
    let mut cabinet = Cabinet::well(Some(4));
    cabinet.set(&[1], BUSY);
    cabinet.set(&[2], 65_535);
    cabinet.set(&[3], 60_000);
    cabinet.seconds(1);
    cabinet.commutator.missing(cabinet.now, wall(cabinet.now), 4, 1);
    assert_eq!([1, 2, 3, 4].map(|line| cabinet.state(line)), [Busy, Unsupported, Unknown, Unsupported]);
    let status = |line| cabinet.commutator.status(line).unwrap();
    assert_eq!((status(1).raw, status(1).value), (Some(BUSY), None));
    assert_eq!((status(3).raw, status(3).value), (Some(60_000), Some(6000.0)));
    assert_eq!((status(4).raw, status(4).value), (None, None));
}

#[test]
fn a_line_out_of_service_is_disabled_and_comes_back() {
    let mut cabinet = Cabinet::well(None);
    let disabled = |number: u64| (number == 105).then(|| flat(false));
    assert!(cabinet.commutator.set_flats(cabinet.now, wall(cabinet.now), disabled).is_empty());
    assert_eq!(cabinet.commutator.enables().collect::<Vec<_>>(), [(5, false)]);
    cabinet.set(&[5], CUT);
    cabinet.seconds(2);
    assert_eq!((cabinet.told(), cabinet.state(5)), (vec!["105 on_hook disabled".to_owned()], Disabled));
    let enabled = |number: u64| (number == 105).then(|| flat(true));
    cabinet.commutator.set_flats(cabinet.now, wall(cabinet.now), enabled);
    cabinet.set(&[5], HANGS);
    cabinet.seconds(1);
    assert_eq!(cabinet.told(), ["105 disabled on_hook"]);
    assert_eq!(cabinet.commutator.status(5).unwrap().flat_id, Some(9));
}

#[test]
fn a_flats_own_resistances_judge_only_where_it_may_have_them() {
    let mut cabinet = Cabinet::well(None);
    let own = |number| Some(FlatLine { own_resistances: number == 102, ..flat(true) });
    assert!(cabinet.commutator.set_flats(cabinet.now, wall(cabinet.now), own).is_empty());
    cabinet.seconds(1);
    assert_eq!((cabinet.told(), cabinet.state(2)), (vec!["102 on_hook off_hook".to_owned()], OffHook));
    assert_eq!(cabinet.commutator.status(2).unwrap().thresholds.on_hook_below, 3.0);
    let bad = |_| Some(FlatLine { own_resistances: true, answer: Some(20), ..flat(true) });
    assert_eq!(cabinet.commutator.set_flats(cabinet.now, wall(cabinet.now), bad).len(), 16);
    assert_eq!(cabinet.commutator.status(2).unwrap().thresholds.on_hook_below, 6.5);
}

#[test]
fn a_restart_tells_only_what_changed() {
    let kept = KeptLine {
        state: OnHook,
        told: OnHook,
        raw: Some(HANGS),
        since: wall(Mono::ZERO),
        measured_at: None,
    };
    let mut cabinet = Cabinet::new(Some(4), |_| Some(kept));
    cabinet.set(&[7], LIFTED);
    cabinet.seconds(2);
    assert_eq!(cabinet.told(), ["107 on_hook off_hook"]);
    assert_eq!(cabinet.commutator.status(1).unwrap().since, wall(Mono::ZERO));
}

#[test]
fn a_cut_row_is_one_fault_and_its_repair_one_event() {
    let mut cabinet = Cabinet::well(Some(4));
    cabinet.set(&[5, 6, 7, 8], CUT);
    cabinet.seconds(2);
    assert_eq!(cabinet.told(), ["wiring [5, 6, 7, 8] break"]);
    assert_eq!(cabinet.state(6), Break, "what is shown is what is measured");
    cabinet.set(&[6], BUSY);
    cabinet.seconds(2);
    cabinet.set(&[5, 6, 7, 8], HANGS);
    cabinet.set(&[7], LIFTED);
    cabinet.seconds(2);
    assert_eq!(cabinet.told(), ["cleared [5, 6, 7, 8] break", "107 on_hook off_hook"]);
}

#[test]
fn a_row_that_goes_wrong_between_two_readings_is_still_one_fault() {
    let mut cabinet = Cabinet::well(Some(4));
    // The first half of the column was read before the wire broke.
    cabinet.read(1, 8);
    cabinet.set(&[2, 6, 10, 14], SHORTED);
    cabinet.now = cabinet.now + Duration::from_millis(100);
    cabinet.read(9, 8);
    cabinet.read_again();
    assert_eq!(cabinet.told(), [""; 0]);
    cabinet.seconds(1);
    assert_eq!(cabinet.told(), ["wiring [2, 6, 10, 14] short"]);
}

#[test]
fn a_fault_that_is_repaired_in_part_is_told_line_by_line() {
    let mut cabinet = Cabinet::well(Some(4));
    cabinet.set(&[5, 6, 7, 8], CUT);
    cabinet.seconds(1);
    cabinet.set(&[5], HANGS);
    cabinet.seconds(2);
    assert_eq!(
        cabinet.told(),
        [
            "wiring [5, 6, 7, 8] break",
            "cleared [5, 6, 7, 8] break",
            "106 on_hook break",
            "107 on_hook break",
            "108 on_hook break"
        ]
    );
}

#[test]
fn a_line_of_a_row_and_a_column_at_fault_ends_both() {
    let mut cabinet = Cabinet::well(Some(4));
    // Line 4 has no say, line 12 is broken by itself, so line 16 is the last of its column.
    cabinet.set(&[4], BUSY);
    cabinet.set(&[12], CUT);
    cabinet.seconds(3);
    assert_eq!(cabinet.told(), ["104 on_hook busy", "112 on_hook break"]);
    cabinet.set(&[5, 6, 7, 8], CUT);
    cabinet.seconds(1);
    cabinet.set(&[16], CUT);
    cabinet.seconds(1);
    assert_eq!(cabinet.told(), ["wiring [5, 6, 7, 8] break", "wiring [8, 12, 16] break"]);
    cabinet.set(&[8], SHORTED);
    cabinet.seconds(3);
    assert_eq!(
        cabinet.told(),
        [
            "cleared [5, 6, 7, 8] break",
            "105 on_hook break",
            "106 on_hook break",
            "107 on_hook break",
            "cleared [8, 12, 16] break",
            "116 on_hook break",
            "108 on_hook short"
        ]
    );
}

#[test]
fn a_single_fault_in_a_matrix_does_not_wait() {
    let mut cabinet = Cabinet::well(Some(4));
    cabinet.set(&[6], CUT);
    cabinet.read(1, 16);
    cabinet.read_again();
    assert_eq!(cabinet.told(), ["106 on_hook break"]);
}

#[test]
fn what_was_never_seen_well_has_not_gone_wrong_at_once() {
    let mut cabinet = Cabinet::new(Some(4), |_| None);
    cabinet.set(&[1, 2, 3, 4], CUT);
    cabinet.seconds(3);
    assert!(cabinet.told().contains(&"103 unknown break".to_owned()));
}

#[test]
fn a_restart_in_the_middle_of_a_fault_is_silent() {
    // Lines 5 to 8 have no handsets, which was told long ago.
    let kept = |number: u64| {
        let state = if number <= 104 { Break } else { OnHook };
        let (state, told) = if (105..=108).contains(&number) { (Break, Break) } else { (state, OnHook) };
        Some(KeptLine { state, told, raw: None, since: wall(Mono::ZERO), measured_at: None })
    };
    let mut cabinet = Cabinet::new(Some(4), kept);
    cabinet.set(&[1, 2, 3, 4, 5, 6, 7, 8], CUT);
    cabinet.seconds(2);
    assert_eq!(cabinet.told(), [""; 0]);
    cabinet.set(&[1, 2, 3, 4], HANGS);
    cabinet.seconds(2);
    assert_eq!(cabinet.told(), ["cleared [1, 2, 3, 4] break"]);
    cabinet.set(&[6], HANGS);
    cabinet.seconds(1);
    assert_eq!(cabinet.told(), ["106 break on_hook"]);
    assert_eq!(cabinet.commutator.kept(6).map(|kept| (kept.state, kept.told)), Some((OnHook, OnHook)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens to the lines, the events of a flat form a chain, wiring faults begin and end in turn, and
    /// once all is well again for two periods, what was told last is what is there.
    #[test]
    fn every_change_is_told_once(
        steps in vec((vec(1..=16_u16, 1..6), select(vec![HANGS, LIFTED, CUT, SHORTED, BUSY, 65_535, 60_000])), 1..30),
        rows in vec((0..4_u16, any::<bool>()), 0..6),
    ) {
        let mut cabinet = Cabinet::well(Some(4));
        let mut rows = rows.into_iter();
        for (lines, raw) in steps {
            cabinet.set(&lines, raw);
            if let Some((row, whole)) = rows.next().filter(|(_, whole)| *whole || raw == CUT) {
                let lines: Vec<u16> = (row * 4 + 1..=row * 4 + 4).collect();
                cabinet.set(&lines, if whole { CUT } else { HANGS });
            }
            cabinet.seconds(1);
        }
        cabinet.raws = [HANGS; 16];
        cabinet.seconds(6);
        let mut last: HashMap<String, String> = Default::default();
        let mut open: Vec<BTreeSet<u16>> = Vec::new();
        for event in cabinet.told() {
            let words: Vec<&str> = event.split(' ').collect();
            match words[0] {
                "wiring" => {
                    let lines = lines_of(&event);
                    prop_assert!(!open.contains(&lines), "{} twice", event);
                    // A row goes on as part of a larger fault and ends with it.
                    open.retain(|smaller| !smaller.is_subset(&lines));
                    open.push(lines);
                }
                "cleared" => {
                    let at = open.iter().position(|lines| *lines == lines_of(&event));
                    prop_assert!(at.is_some(), "{} before it began", event);
                    at.map(|at| open.remove(at));
                }
                flat => {
                    let before = last.insert(flat.to_owned(), words[2].to_owned());
                    prop_assert_eq!(before.as_deref().unwrap_or("on_hook"), words[1], "{}", event);
                }
            }
        }
        prop_assert!(open.is_empty(), "{:?} never ended", open);
        for (flat, state) in last {
            prop_assert_eq!(state, "on_hook", "{}", flat);
        }
        for line in 1..=16 {
            prop_assert_eq!(cabinet.state(line), OnHook);
        }
    }
}
