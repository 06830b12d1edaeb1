//! What is printed of a fleet.

use std::time::Duration;

use crate::run::Row;

/// A simulated line that hands characters over later than this is no line at 9600 baud any more: what is measured then is
/// the machine that pretends to be five hundred buildings.
const LINES_LATE: Duration = Duration::from_millis(20);
/// The same of the hand that presents cards.
const CARDS_LATE: Duration = Duration::from_millis(100);
/// A machine that is busier than this has no room to be punctual.
const BUSY: f64 = 90.0;

/// Tells of one size where its cards are, and what bounded it; whether nothing was lost.
pub fn told(row: &Row) -> bool {
    let counts = &row.counts;
    let answers = row.reply_after.map(|after| format!(", panels answer after {} ms", after.as_millis()));
    println!("\n{} gateways, {}{}", row.gateways, row.kind, answers.unwrap_or_default());
    println!(
        "  cards presented {}, journalled {}, arrived {} (each once, by id); events arrived {}",
        counts.presented, counts.journalled, counts.arrived, counts.events
    );
    let usage = &row.usage;
    println!(
        "  processors: {:.0} % of {} busy; of one core: gateways {:.0} %, simulated lines {:.0} %, consumer, sync server and \
         cards {:.0} %, broker {:.0} %",
        usage.busy_percent,
        usage.cores,
        usage.gateways_percent,
        usage.lines_percent,
        usage.harness_percent,
        usage.broker_percent
    );
    println!(
        "  open files {} (at most {} a process), threads {}",
        usage.files, usage.files_limit, usage.threads
    );
    println!(
        "  lateness p99: characters of the worst line {:.1} ms, cards {:.1} ms",
        row.harness.lines.as_secs_f64() * 1e3,
        row.harness.cards.as_secs_f64() * 1e3
    );
    let mut ends = Vec::new();
    if row.harness.lines > LINES_LATE {
        ends.push(format!("its lines are more than {} ms late", LINES_LATE.as_millis()));
    }
    if row.harness.cards > CARDS_LATE {
        ends.push(format!("its cards are more than {} ms late", CARDS_LATE.as_millis()));
    }
    if usage.busy_percent > BUSY {
        ends.push(format!("the machine is busy for more than {BUSY:.0} %"));
    }
    if !ends.is_empty() {
        println!(
            "  THE HARNESS IS AT ITS END: {}. Times of this run are the machine's, not a gateway's.",
            ends.join(", ")
        );
    }
    let lost = counts.presented.saturating_sub(counts.journalled);
    if lost > 0 && !ends.is_empty() {
        println!(
            "  {lost} cards were presented and are in no journal: a line that is so late loses its link, and what a reader had \
             sent with it"
        );
    }
    for wrong in counts.wrong.iter().take(20) {
        println!("  {wrong}");
    }
    let good = counts.wrong.is_empty()
        && counts.presented == counts.journalled
        && counts.presented == counts.arrived;
    let verdict = match (good, counts.journalled == counts.arrived && counts.arrived_all) {
        (true, _) => "PASS: nothing was lost",
        (false, true) => "FAIL at the lines: what is in a journal has arrived",
        (false, false) => "FAIL",
    };
    println!("  {verdict}");
    good
}

/// All sizes as a table.
pub fn table(rows: &[Row]) {
    println!(
        "\n| gateways | all online after | all in sync after | card → consumer p50/p95 | memory each | processor each | \
         broker's processor | broker away | all back after | cards meanwhile, arrived after | presented = journalled = arrived |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let each = |tell: &dyn Fn(&crate::run::Outage) -> String| {
            row.outages.iter().map(tell).collect::<Vec<_>>().join("; ")
        };
        let counts = &row.counts;
        println!(
            "| {}, {} | {:.1} s | {:.1} s ({} flats each) | {:.0}/{:.0} ms | {:.1} MB | {:.2} % | {:.2} % | {} | {} | {} | {} |",
            row.gateways,
            row.kind,
            row.online.as_secs_f64(),
            row.synced.as_secs_f64(),
            row.flats,
            row.latency.0.as_secs_f64() * 1e3,
            row.latency.1.as_secs_f64() * 1e3,
            row.usage.megabytes,
            row.usage.gateways_percent / row.gateways as f64,
            row.usage.broker_percent,
            each(&|outage| format!("{} s", outage.away.as_secs())),
            each(&|outage| format!("{:.1} s", outage.back.as_secs_f64())),
            each(&|outage| format!("{}, {:.1} s", outage.cards, outage.arrived.as_secs_f64())),
            if counts.wrong.is_empty() { counts.presented.to_string() } else { "NO".to_owned() },
        );
    }
}
