//! OSDP Verified's table for a control panel, executed: `table` has the rows, the other files show them, `page` writes
//! docs/conformance.md from what came out.
//!
//! One test, because the page wants the results of all. `CONFORMANCE_ROW=050-09-02` runs that row alone.

mod commands;
mod frame;
mod layout;
mod libosdp;
mod line;
mod page;
mod replies;
mod rig;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use table::{Channel, ROWS, Row, Shown};

/// Why a row did not come out as the table says.
type Failures = Mutex<Vec<String>>;

#[test]
fn every_row_comes_out_as_the_page_says() {
    let only = std::env::var("CONFORMANCE_ROW").ok();
    let rows: Vec<&Row> = ROWS.iter().filter(|row| only.as_ref().is_none_or(|only| row.id == only)).collect();
    let (failures, next) = (Failures::default(), AtomicUsize::new(0));
    // By itself: it waits for what the machine may be late with.
    match catch_unwind(libosdp::gather) {
        Ok(evidence) => rows.iter().for_each(|row| with_libosdp(row, &evidence, &failures)),
        Err(why) => failures.lock().unwrap().push(format!("libosdp: {}", words(why))),
    }
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    with_our_panel(row, &failures);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} rows are not as the table says:\n{}",
        failures.len(),
        failures.join("\n")
    );
    if only.is_none() {
        page::publish();
    }
}

fn with_our_panel(row: &Row, failures: &Failures) {
    let (Shown::By(_, test) | Shown::InChannel(_, _, test)) = &row.ours else { return };
    for channel in row.channels() {
        note(row, *channel, "our panel", failures, || test(*channel));
    }
}

fn with_libosdp(row: &Row, evidence: &libosdp::Evidence, failures: &Failures) {
    let (Shown::By(_, test) | Shown::InChannel(_, _, test)) = &row.libosdp else { return };
    for channel in row.channels() {
        note(row, *channel, "libosdp", failures, || test(evidence, *channel));
    }
}

fn note(row: &Row, channel: Channel, with: &str, failures: &Failures, test: impl FnOnce()) {
    if let Err(why) = catch_unwind(AssertUnwindSafe(test)) {
        let failure = format!("{} ({channel:?}, {with}): {}", row.id, words(why));
        failures.lock().unwrap().push(failure);
    }
}

fn words(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(words) => *words,
        Err(panic) => panic.downcast_ref::<&str>().map_or("it panicked", |words| words).to_owned(),
    }
}
