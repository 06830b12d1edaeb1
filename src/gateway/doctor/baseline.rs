//! Whether a line has become worse than it was when it was certified.

use std::{io, path::Path};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::check;
use crate::{
    bus::{BusStatus, PanelCounters},
    domain::{Check, Name, PanelState, Verdict, json},
    gateway::control::BASELINES,
    survey::{Certificate, CertificateDetails, CertifiedPanel, LineVerdict},
};

/// A line is not the same any more after so long, whatever it was like.
const OUTDATED: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Commands that say something of a panel. There are more in a minute of most lines.
const ENOUGH: u64 = 200;
/// Fewer errors than this may be an accident.
const ERRORS: u64 = 5;
/// Errors have become more from this many in a thousand commands on, and this many times as many as there were.
const ERRORS_PER_MILLE: f64 = 5.0;
const ERRORS_TIMES: f64 = 4.0;
/// Round trips take longer from this many times and this many milliseconds more on, at the 95th percentile. The figures
/// themselves are within 7 %.
const SLOWER_TIMES: f64 = 1.5;
const SLOWER_MS: f64 = 5.0;

/// What a line was like.
#[derive(Debug, Deserialize)]
pub(super) struct Baseline {
    /// When it was measured.
    #[serde(deserialize_with = "time")]
    at: Timestamp,
    certificate: Certificate,
    details: CertificateDetails,
}

/// What a line is like.
pub(super) struct Present<'a> {
    pub(super) bus: &'a Name,
    /// Bits a second.
    pub(super) baud: u32,
    pub(super) status: &'a BusStatus,
    pub(super) now: Timestamp,
}

/// Reads what `certify` has kept of a line; `None`: it was never certified. Blocks.
///
/// # Errors
/// It cannot be read, or is not what `certify` writes.
pub(super) fn read(state_dir: &Path, bus: &Name) -> io::Result<Option<Baseline>> {
    let text = match std::fs::read(state_dir.join(BASELINES).join(format!("{bus}.json"))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    Ok(Some(json::from_slice(&text)?))
}

/// Judges a line by what it was like.
pub(super) fn compare(present: &Present<'_>, baseline: &io::Result<Option<Baseline>>) -> Check {
    let bus = present.bus;
    let again = format!("run `certify --bus {bus}` again");
    let (verdict, detail) = match baseline {
        Ok(Some(baseline)) => match incomparable(present, baseline) {
            Some(why) => (Verdict::Warn, format!("{why}: {again}")),
            None => judge(present, baseline, &again),
        },
        Ok(None) => (
            Verdict::Ok,
            format!("none: after `certify --bus {bus}` it is said here when the line becomes worse"),
        ),
        Err(error) => {
            (Verdict::Warn, format!("what {BASELINES}/{bus}.json says cannot be read ({error}): {again}"))
        }
    };
    check(format!("baseline {bus}"), verdict, detail)
}

/// Says why the line cannot be compared with what it was, where it cannot.
fn incomparable(present: &Present<'_>, baseline: &Baseline) -> Option<String> {
    let on = day(baseline);
    if baseline.certificate.verdict == LineVerdict::Fail {
        return Some(format!("the line had faults already when it was certified ({on}); mend them, then"));
    }
    if baseline.details.baud != present.baud {
        let (then, now) = (baseline.details.baud, present.baud);
        return Some(format!("the line was certified at {then} ({on}), and runs at {now} now"));
    }
    let (panels, known) = (&present.status.panels, &baseline.certificate.panels);
    let is_known = |panel: &Name| known.iter().any(|known| known.panel == *panel);
    let is_there = |known: &Name| panels.iter().any(|panel| panel.panel == *known);
    let new = panels.iter().map(|panel| &panel.panel).filter(|panel| !is_known(panel));
    let new = new.map(|panel| format!("{panel} is new"));
    let gone = known.iter().map(|known| &known.panel).filter(|known| !is_there(known));
    let gone = gone.map(|panel| format!("{panel} is gone"));
    let changes: Vec<String> = new.chain(gone).collect();
    if !changes.is_empty() {
        return Some(format!("other panels are on the line than on {on}, {}", changes.join(", ")));
    }
    let is_outdated = present.now.duration_since(baseline.at) > OUTDATED;
    is_outdated.then(|| format!("the line was certified more than a year ago ({on})"))
}

fn judge(present: &Present<'_>, baseline: &Baseline, again: &str) -> (Verdict, String) {
    let on = day(baseline);
    let mut worse = Vec::new();
    let mut are_compared = false;
    for known in &baseline.certificate.panels {
        let Some(counters) = counters(present.status, &known.panel) else { continue };
        are_compared = true;
        worse.extend(more_errors(known, counters));
        worse.extend(slower(known, counters));
    }
    match (worse.is_empty(), are_compared) {
        (true, true) => (Verdict::Ok, format!("as good as when it was certified ({on})")),
        (true, false) => (Verdict::Ok, format!("certified on {on}; too little was asked yet to compare")),
        (false, _) => {
            let cure =
                "look at termination, loose wires, a new device on the line and the adapter's latency timer";
            let worse = worse.join(", ");
            (Verdict::Warn, format!("worse than when it was certified ({on}): {worse}; {cure}, then {again}"))
        }
    }
}

/// Returns what was counted of a panel lately, where that says something: in the last minute, or, of one that is asked
/// seldom, since the start. One that is away is a matter of its own.
fn counters<'a>(status: &'a BusStatus, panel: &Name) -> Option<&'a PanelCounters> {
    let is_online = status.panels.iter().any(|one| one.panel == *panel && one.state == PanelState::Online);
    let (_, counters) = status.counters.panels.iter().find(|(name, _)| name == panel && is_online)?;
    [&counters.minute, &counters.total].into_iter().find(|counters| counters.exchanges >= ENOUGH)
}

fn more_errors(known: &CertifiedPanel, now: &PanelCounters) -> Option<String> {
    // A broken answer that nothing good followed is counted as not answered, too.
    let errors = now.timeouts.max(now.broken);
    let before = per_mille(known.timeouts + known.broken, known.exchanges);
    let after = per_mille(errors, now.exchanges);
    let is_worse = errors >= ERRORS && after >= ERRORS_PER_MILLE.max(before * ERRORS_TIMES);
    is_worse.then(|| {
        let kind = if now.broken * 2 > errors { "broken" } else { "missing" };
        format!(
            "{:.1} % of the answers of {} are {kind} (then {:.1} %)",
            after / 10.0,
            known.panel,
            before / 10.0
        )
    })
}

fn slower(known: &CertifiedPanel, now: &PanelCounters) -> Option<String> {
    let before = known.round_trip_ms?.p95;
    let after = now.round_trip?.p95.as_secs_f64() * 1e3;
    let is_worse = after >= (before * SLOWER_TIMES).max(before + SLOWER_MS);
    is_worse
        .then(|| format!("95 in 100 exchanges with {} take {after:.0} ms (then {before:.0})", known.panel))
}

fn per_mille(errors: u64, exchanges: u64) -> f64 {
    let all = errors.saturating_add(exchanges).max(1);
    errors as f64 * 1000.0 / all as f64
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn day(baseline: &Baseline) -> String {
    baseline.at.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        bus::{BusCounters, Counters, RoundTrip},
        domain::PanelStatus,
        survey::RoundTripMs,
    };

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_796_000_000 + day * 86_400).unwrap()
    }

    fn certified(panels: &[&str]) -> Baseline {
        let panel = |panel: &&str| CertifiedPanel {
            panel: name(panel),
            exchanges: 2000,
            timeouts: 1,
            broken: 1,
            round_trip_ms: Some(RoundTripMs { p50: 30.0, p95: 40.0, max: 60.0 }),
        };
        Baseline {
            at: at(0),
            certificate: Certificate {
                bus: name("street"),
                verdict: LineVerdict::Pass,
                panels: panels.iter().map(panel).collect(),
                findings: Vec::new(),
            },
            details: CertificateDetails {
                baud: 9600,
                rates: Vec::new(),
                turnaround_p99_ms: Vec::new(),
                margin_ms: None,
                unlock_ms: None,
            },
        }
    }

    /// Exchanges, timeouts, broken ones and p95 in ms.
    type Counted = (u64, u64, u64, u64);

    fn counted((exchanges, timeouts, broken, p95): Counted) -> PanelCounters {
        let p95 = Duration::from_millis(p95);
        let round_trip = Some(RoundTrip { p50: p95, p95, max: p95 });
        PanelCounters { exchanges, timeouts, broken, wrong: 0, round_trip }
    }

    fn line(panels: &[(&str, PanelState, Counted, Counted)]) -> BusStatus {
        let status = |(panel, state, ..): &(&str, PanelState, Counted, Counted)| {
            PanelStatus::new(name(panel), 1, *state, at(0))
        };
        let counters = |(panel, _, minute, total): &(&str, PanelState, Counted, Counted)| {
            (name(panel), Counters { minute: counted(*minute), total: counted(*total) })
        };
        let counters =
            BusCounters { panels: panels.iter().map(counters).collect(), ..BusCounters::default() };
        BusStatus {
            panels: panels.iter().map(status).collect(),
            counters: Arc::new(counters),
            ..BusStatus::default()
        }
    }

    fn compared(status: &BusStatus, baud: u32, day: i64, baseline: Baseline) -> (Verdict, String) {
        let bus = name("street");
        let check = compare(&Present { bus: &bus, baud, status, now: at(day) }, &Ok(Some(baseline)));
        assert_eq!(check.check, "baseline street");
        (check.verdict, check.detail)
    }

    const ONLINE: PanelState = PanelState::Online;
    const MUCH: Counted = (100_000, 3, 3, 40);

    #[test]
    fn a_line_that_is_as_it_was_is_well_and_one_that_is_worse_says_where() {
        let of = |minute: Counted| {
            let well = ("entrance-1", ONLINE, (420, 0, 1, 41), MUCH);
            let status = line(&[well, ("entrance-2", ONLINE, minute, MUCH)]);
            compared(&status, 9600, 1, certified(&["entrance-1", "entrance-2"]))
        };
        let day = "2026-11-30";
        assert_eq!(of((420, 1, 1, 45)), (Verdict::Ok, format!("as good as when it was certified ({day})")));
        // Neither four accidents nor a bucket more, nor what was slow on a fast line.
        assert_eq!(of((420, 4, 2, 58)).0, Verdict::Ok);
        let (verdict, detail) = of((400, 20, 18, 45));
        assert_eq!(verdict, Verdict::Warn);
        assert_eq!(
            detail,
            "worse than when it was certified (2026-11-30): 4.8 % of the answers of entrance-2 are broken (then 0.1 %); look at termination, loose wires, a new device on the line and the adapter's latency timer, then run `certify --bus street` again"
        );
        assert!(of((400, 20, 2, 45)).1.contains("4.8 % of the answers of entrance-2 are missing"));
        let (verdict, detail) = of((400, 0, 0, 61));
        assert!(
            verdict == Verdict::Warn
                && detail.contains("95 in 100 exchanges with entrance-2 take 61 ms (then 40)")
        );
        assert!(!detail.contains("entrance-1"), "{detail}");
    }

    #[test]
    fn too_little_says_nothing_and_a_panel_that_is_asked_seldom_is_judged_since_the_start() {
        let of = |state, minute, total| {
            let status = line(&[("entrance-1", state, minute, total)]);
            compared(&status, 9600, 1, certified(&["entrance-1"]))
        };
        let too_little = "certified on 2026-11-30; too little was asked yet to compare";
        assert_eq!(of(ONLINE, (60, 30, 0, 40), (150, 30, 0, 40)), (Verdict::Ok, too_little.to_owned()));
        assert_eq!(of(ONLINE, (60, 0, 0, 40), (5000, 100, 100, 40)).0, Verdict::Warn);
        // Its silence is told elsewhere.
        assert_eq!(of(PanelState::Offline, (400, 300, 0, 40), MUCH), (Verdict::Ok, too_little.to_owned()));
    }

    #[test]
    fn what_is_no_longer_the_same_line_is_not_compared() {
        let status =
            line(&[("entrance-1", ONLINE, (400, 100, 0, 90), MUCH), ("entrance-3", ONLINE, MUCH, MUCH)]);
        let of = |baud, day, baseline| {
            let (verdict, detail) = compared(&status, baud, day, baseline);
            assert_eq!(verdict, Verdict::Warn);
            assert!(detail.ends_with(": run `certify --bus street` again"), "{detail}");
            detail
        };
        let same = || certified(&["entrance-1", "entrance-3"]);
        assert!(
            of(115_200, 1, same())
                .starts_with("the line was certified at 9600 (2026-11-30), and runs at 115200")
        );
        let others = of(9600, 1, certified(&["entrance-1", "entrance-2"]));
        assert!(others.contains("than on 2026-11-30, entrance-3 is new, entrance-2 is gone"), "{others}");
        assert!(of(9600, 366, same()).contains("more than a year ago"));
        let mut failed = same();
        failed.certificate.verdict = LineVerdict::Fail;
        assert!(of(9600, 1, failed).contains("had faults already"));
        // Once in a year with a clock that is behind.
        assert!(compared(&status, 9600, -900, same()).1.starts_with("worse"));
    }

    #[test]
    fn what_is_not_there_is_no_fault_and_what_is_spoilt_is_said() {
        let (dir, bus) = (tempfile::tempdir().unwrap(), name("street"));
        let status = line(&[]);
        let of = || {
            let present = Present { bus: &bus, baud: 9600, status: &status, now: at(0) };
            compare(&present, &read(dir.path(), &bus))
        };
        assert_eq!((of().verdict, of().detail.contains("certify --bus street")), (Verdict::Ok, true));
        std::fs::create_dir(dir.path().join(BASELINES)).unwrap();
        std::fs::write(dir.path().join(BASELINES).join("street.json"), "{\"at\":").unwrap();
        assert_eq!((of().verdict, of().detail.contains("cannot be read")), (Verdict::Warn, true));
    }
}
