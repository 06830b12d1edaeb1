//! The tables of docs/benchmarks.md.

use std::time::Duration;

use intercom_gateway::simulate::line::LineRate;

use super::{
    Measured,
    common::figures::{Samples, Table, milliseconds},
    latency::{Latency, event_limit, out_limit},
    outage::Outage,
    rest::Rest,
    rig::Setting,
    subject::Kind,
};

/// Both latencies, with what the line itself allows where both sides keep two idle characters.
pub fn latency(results: &[Measured]) -> Table {
    let mut table = Table::new(&[
        "baud",
        "panels",
        "by",
        "event",
        "line limit",
        "OUT",
        "line limit",
        "reply → OUT begins",
        "missed",
        "cards",
        "line late (p95)",
    ]);
    for (latency, _) in results {
        let Setting { kind, baud, panels, .. } = latency.setting;
        let character = LineRate::osdp(baud).character();
        let limit = |limit: fn(Duration, u8, f64) -> Duration| {
            [0.5, 0.95].map(|share| milliseconds(limit(character, panels, share))).join("/")
        };
        table.row(vec![
            baud.to_string(),
            panels.to_string(),
            kind.title().to_owned(),
            latency.event.pair(),
            limit(event_limit),
            latency.out.pair(),
            limit(out_limit),
            latency.pause.pair(),
            latency.missed.to_string(),
            latency.cards.to_string(),
            milliseconds(latency.line_p95),
        ]);
    }
    table
}

/// Exchanges with their limits.
pub fn exchanges(results: &[Measured]) -> Table {
    let mut table =
        Table::new(&["baud", "panels", "by", "exchanges/s", "limit of its frames and gaps", "share"]);
    for (latency, exchanges) in results {
        let Setting { kind, baud, panels, .. } = latency.setting;
        table.row(vec![
            baud.to_string(),
            panels.to_string(),
            kind.title().to_owned(),
            format!("{:.1}", exchanges.per_second),
            format!("{:.1}", exchanges.limit),
            format!("{:.1} %", 100.0 * exchanges.share()),
        ]);
    }
    table
}

/// One of four panels dead.
pub fn dead(results: &[Latency]) -> Table {
    let mut table = Table::new(&["by", "event", "OUT", "missed", "cards"]);
    for latency in results {
        table.row(vec![
            latency.setting.kind.title().to_owned(),
            latency.event.pair(),
            latency.out.pair(),
            latency.missed.to_string(),
            latency.cards.to_string(),
        ]);
    }
    table
}

/// A column for each control panel.
pub fn outages(kinds: &[Kind], measured: &[(Kind, Outage, Option<Samples>)], patience: Duration) -> Table {
    let mut heads = vec!["after"];
    heads.extend(kinds.iter().map(|kind| kind.title()));
    let mut table = Table::new(&heads);
    for outage in Outage::ALL {
        let mut row = vec![outage.title().to_owned()];
        let told = |back: &Samples| format!("{}/{}", back.milliseconds(0.5), back.milliseconds(1.0));
        let over = || format!("over {}", milliseconds(patience));
        let of_this = measured.iter().filter(|(_, of, _)| *of == outage);
        row.extend(of_this.map(|(_, _, back)| back.as_ref().map_or_else(over, told)));
        table.row(row);
    }
    table
}

/// The daemon's needs.
pub fn rest(rest: &Rest) -> Table {
    let mut table = Table::new(&["what", "figure"]);
    let mut row = |what: &str, figure: String| table.row(vec![what.to_owned(), figure]);
    row("resident at rest, after a start", format!("{:.1} MB", megabytes(rest.resident)));
    row("most resident during the import and after it", format!("{:.1} MB", megabytes(rest.peak)));
    row("import", format!("{:.1} s", rest.import.as_secs_f64()));
    row("processor at rest, of one core", format!("{:.2} %", 100.0 * rest.processor));
    table
}

/// Millions of bytes.
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
