//! Lifts a handset, shorts and cuts a line, lets a wire of the cabinet break, and checks what comes of it: in the
//! journal, over HTTP, and at the retained topics that the cloud's stand-in has seen.

use std::collections::BTreeMap;

use anyhow::Context;
use intercom_gateway::{
    clock,
    domain::Name,
    simulate::action::{Action, Condition, Lines, Wire, WireFault},
};
use serde_json::{Value, json};

use super::{
    https,
    selfcheck::{Check, PATIENCE},
    stage::Stage,
};

/// The commutator.
const PANEL: &str = "risers";
/// Lines (the flats of the same numbers), what becomes of them, and what they are then found to be.
const SINGLE: [(u16, Condition, &str); 3] =
    [(3, Condition::Lifted, "off_hook"), (5, Condition::Short, "short"), (7, Condition::Cut, "break")];
/// A row of the cabinet, and the flats on it.
const ROW: (u16, std::ops::RangeInclusive<u16>) = (2, 11..=20);

/// Gives the number of things that went wrong.
pub fn judge(check: &mut Check<'_>) -> anyhow::Result<u32> {
    let mut wrong = 0;
    let mut note = |what: &str, result: anyhow::Result<()>| match result {
        Ok(()) => println!("{PANEL:<11} {what}"),
        Err(problem) => {
            println!("WRONG: {PANEL}: {what}: {problem:#}");
            wrong += 1;
        }
    };
    let is_on_hook = |states: &BTreeMap<u64, String>| states.values().all(|state| state == "on_hook");
    note("all handsets hang", shown(check.stage, is_on_hook));
    for (line, condition, state) in SINGLE {
        note(&format!("flat {line}: {state}"), become_of(check, line, condition, state));
    }
    note("a row of the cabinet is dead: one report for its wire", wire(check, Some(WireFault::Dead)));
    note("the row is whole again", wire(check, None));
    for (line, ..) in SINGLE {
        note(&format!("flat {line}: on_hook again"), become_of(check, line, Condition::Hung, "on_hook"));
    }
    Ok(wrong)
}

/// What the cloud's stand-in has seen of the retained topics, by topic below the gateway's own. Gives the number of
/// lines that it was not told of.
pub fn judge_topics(seen: &BTreeMap<String, Vec<String>>) -> u32 {
    let row = ROW.1.map(|flat| (flat, "break"));
    let single = SINGLE.map(|(line, _, state)| (line, state));
    let mut wrong = 0;
    for (flat, state) in single.into_iter().chain(row) {
        let states = seen.get(&format!("lines/1/{flat}")).cloned().unwrap_or_default();
        let last = states.last().map(String::as_str);
        if !states.iter().any(|told| told == state) || last != Some("on_hook") {
            println!("WRONG: lines/1/{flat} was told as {states:?}, not {state} and then on_hook");
            wrong += 1;
        }
    }
    wrong
}

fn become_of(check: &Check<'_>, line: u16, condition: Condition, state: &str) -> anyhow::Result<()> {
    act(check.stage, Lines::Be { line, condition })?;
    let event = check.event("intercom.line.changed")?;
    let data = &event["data"];
    if data["flat"] != line || data["to"] != state || data["panel"] != PANEL {
        anyhow::bail!("the journal has {data}");
    }
    shown(check.stage, |states| states.get(&u64::from(line)).is_some_and(|shown| shown == state))
}

fn wire(check: &Check<'_>, fault: Option<WireFault>) -> anyhow::Result<()> {
    let (row, flats) = ROW;
    act(check.stage, Lines::Wire { wire: Wire::Row(row), fault })?;
    let event = check.event("intercom.line.wiring")?;
    let data = &event["data"];
    let lines: Vec<u16> = flats.clone().collect();
    if data["lines"] != json!(lines) || data["state"] != "break" || data["cleared"] != fault.is_none() {
        anyhow::bail!("the journal has {data}");
    }
    let state = if fault.is_some() { "break" } else { "on_hook" };
    shown(check.stage, |states| {
        flats.clone().all(|flat| states.get(&u64::from(flat)).is_some_and(|shown| shown == state))
    })
}

fn act(stage: &Stage, what: Lines) -> anyhow::Result<()> {
    stage.building.act(&Name::new(PANEL)?, Action::Lines(what))?;
    Ok(())
}

/// Waits until the endpoint shows lines that `are_right`, by flat number.
fn shown(stage: &Stage, are_right: impl Fn(&BTreeMap<u64, String>) -> bool) -> anyhow::Result<()> {
    let begun = clock::mono();
    loop {
        let path = "/api/local/v1/lines?intercom=1";
        let (status, body) = https::get(stage.https_port, &stage.certificate(), Some(&stage.token), path)?;
        let body: Value = serde_json::from_str(&body).with_context(|| format!("{path}: {status}"))?;
        let rows = body["data"].as_array().with_context(|| format!("{path}: {status}: {body}"))?;
        let state = |row: &Value| Some((row["flat"].as_u64()?, row["state"].as_str()?.to_owned()));
        let states: BTreeMap<u64, String> = rows.iter().filter_map(state).collect();
        if !states.is_empty() && are_right(&states) {
            return Ok(());
        }
        if clock::mono().since(begun) > PATIENCE {
            anyhow::bail!("{path} shows {states:?}");
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
