//! The tables of docs/benchmarks.md, and the figures to reach.

use std::time::Duration;

use super::{
    common::{
        figures::{Table, milliseconds},
        verdicts::Verdicts,
    },
    rig::{Measured, PANELS},
    subject::{FLAT_OUT, Kind, PERIOD},
};

/// Share of the line's ideal reads a second, with all panels well.
const SHARE: f64 = 0.95;
/// (dead panels, polls a second of each healthy one).
const POLLS: [(u8, f64); 2] = [(1, 5.5), (3, 5.0)];
/// A change is told within this many periods, 95 % of them.
const PERIODS: f64 = 1.5;

/// A row for each client and setting.
pub fn table(results: &[Measured]) -> Table {
    let mut table = Table::new(&[
        "dead",
        "by",
        "polls/s of a healthy panel, least–most",
        "reads/s",
        "ideal",
        "lifted for",
        "change → published",
        "seen",
        "never so",
        "line late (p95)",
    ]);
    for measured in results {
        let most = measured.polls.iter().copied().fold(0.0, f64::max);
        table.row(vec![
            format!("{} of {PANELS}", measured.setting.dead),
            measured.setting.kind.title().to_owned(),
            format!("{:.2}–{most:.2}", measured.slowest()),
            format!("{:.1}", measured.reads()),
            format!("{:.1}", measured.ideal()),
            format!("{} s", measured.setting.kind.lasts().as_secs_f64()),
            measured.changes.pair(),
            format!("{} of {}", measured.changes.len(), measured.made),
            measured.invented.to_string(),
            milliseconds(measured.line_p95),
        ]);
    }
    table
}

/// What ours has to reach.
pub fn verdicts(results: &[Measured]) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let of = |kind| results.iter().filter(move |measured| measured.setting.kind == kind);
    for measured in of(Kind::Gateway(FLAT_OUT)) {
        let dead = measured.setting.dead;
        if dead == 0 {
            let share = measured.reads() / measured.ideal();
            verdicts.share("reads of the line's ideal, all panels well".into(), share, SHARE);
        }
        if let Some((_, least)) = POLLS.iter().find(|(of, _)| *of == dead) {
            let what = format!("polls of each healthy panel, {dead} of {PANELS} dead");
            verdicts.at_least(what, measured.slowest(), *least, "/s");
        }
    }
    for measured in of(Kind::Gateway(PERIOD)) {
        let dead = measured.setting.dead;
        let what = format!("changes of two periods seen, {dead} of {PANELS} dead");
        verdicts.share(what, measured.seen(), 1.0);
        let p95 = measured.changes.quantile(0.95).map_or(f64::INFINITY, ms);
        let what = format!("change → published p95, {dead} of {PANELS} dead");
        verdicts.at_most(what, p95, PERIODS * ms(PERIOD), "ms");
    }
    for measured in of(Kind::Gateway(PERIOD)).chain(of(Kind::Gateway(FLAT_OUT))) {
        let what =
            format!("told and never so, {}, {} dead", measured.setting.kind.title(), measured.setting.dead);
        verdicts.at_most(what, measured.invented as f64, 0.0, "");
    }
    verdicts
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
