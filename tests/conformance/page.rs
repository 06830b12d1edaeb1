//! What the results are written to: docs/conformance.md, and a file of results as OSDP Verified has them.

use std::{fmt::Write as _, fs, path::PathBuf};

use crate::table::{Asked, Channel, ROWS, Row, Shown};

/// Says how to make the page anew.
const BLESS: &str = "BLESS=1 cargo test --test conformance";

fn place(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), name].iter().collect()
}

/// The word of a row for a profile.
fn word<F>(row: &Row, shown: &Shown<F>, channel: Channel) -> &'static str {
    match shown {
        _ if !row.channels().contains(&channel) => "–",
        Shown::By(..) => "pass",
        Shown::InChannel(..) if channel == Channel::Basic => "fail",
        Shown::InChannel(..) => "pass",
        Shown::Not(_) => "n/a",
    }
}

fn reason<F>(shown: &Shown<F>) -> String {
    match shown {
        Shown::By(test, _) => format!("`{test}`"),
        Shown::InChannel(why, test, _) => format!("`{test}`; {why}"),
        Shown::Not(why) => (*why).to_owned(),
    }
}

/// The page, once every row has come out as it says.
pub fn page() -> String {
    let mut rows = String::new();
    let mut counts = [0; 3];
    for row in ROWS {
        let our_words = row.channels().iter().map(|channel| word(row, &row.ours, *channel));
        for ours in our_words {
            counts[["pass", "fail", "n/a"].iter().position(|word| *word == ours).unwrap_or(2)] += 1;
        }
        let theirs = match word(row, &row.libosdp, Channel::Secure) {
            "pass" => reason(&row.libosdp),
            _ if reason(&row.libosdp) == reason(&row.ours) => "–".to_owned(),
            other => format!("{other}: {}", reason(&row.libosdp)),
        };
        let [basic, secure] = [Channel::Basic, Channel::Secure].map(|channel| word(row, &row.ours, channel));
        let fitted = if row.asked == Asked::Fitted { " ¹" } else { "" };
        let what = row.what;
        writeln!(
            rows,
            "| {} | {what}{fitted} | {basic} | {secure} | {} | {theirs} |",
            row.id,
            reason(&row.ours)
        )
        .unwrap();
    }
    let [pass, fail, not] = counts;
    format!(
        "# OSDP Verified: how far the gateway goes\n\n\
         The SIA's [OSDP Verified](https://github.com/Security-Industry-Association/osdp-verified) lists what a control\n\
         panel has to show. Its seal needs a laboratory; its list can be executed, and this page is written by the test\n\
         that does so (`tests/conformance`; `{BLESS}` writes it, else it is\n\
         compared): every row of edition 2.7 that is required of a control panel, for its profiles Basic and Secure\n\
         Channel, in our words. {pass} times it passes, {fail} times it fails, {not} times it is not applicable. No\n\
         laboratory has looked at it.\n\n\
         The columns *basic* and *secure* are of our control panel with our simulated panel, in virtual time, on a line\n\
         at which every byte and every pause is looked at; *shown by* names the test. The last column is of the daemon\n\
         with panels on [libosdp](https://libosdp.sidcha.dev), recorded by its own trace. After a run the results are in\n\
         `target/osdp-verified.json`, an object a line, as OSDP Verified has them, without what is not applicable.\n\n\
         ¹ Only where a panel says that it has such a thing (PDCAP); optional for a control panel.\n\n\
         | row | what | basic | secure | shown by, or why not | with libosdp's panels |\n\
         |---|---|---|---|---|---|\n{rows}\n\
         Where the gateway goes beyond the list or reads it in its own way:\n\n\
         - A panel that is away is asked whether it is back by probes that wait 60 ms, every fifth 200 ms: a dead panel\n\
         \x20 must not slow down the others. One that answers is given 200 ms (`reply_timeout`), always.\n\
         - A panel that answers no CRC may be an old one: when a link opens it is then tried by checksum, too, and one that\n\
         \x20 is away now and then, as it may have been swapped. A link with a panel that knows CRC, by its PDCAP or by its\n\
         \x20 answer, uses nothing else.\n\
         - With `secure_channel = \"off\"` everything goes in the clear, by configuration; with all other values 050-09-18 holds.\n\
         - A NAK with code 0 refuses what was asked, and is counted as a wrong frame of its panel (`/buses`, `/metrics`).\n"
    )
}

/// The results in OSDP Verified's own form. A row passes where it does in every profile that it is asked of.
pub fn results() -> String {
    let mut lines = String::new();
    for row in ROWS {
        let status = match &row.ours {
            Shown::By(..) => 1,
            Shown::InChannel(..) => 0,
            Shown::Not(_) => continue,
        };
        writeln!(lines, "{}", serde_json::json!({ "test": row.id, "test-status": status })).unwrap();
    }
    lines
}

/// Compares the page, or writes it where the environment has `BLESS`; writes the results.
pub fn publish() {
    let target = place("target");
    fs::create_dir_all(&target).unwrap();
    fs::write(target.join("osdp-verified.json"), results()).unwrap();
    let (path, page) = (place("docs/conformance.md"), page());
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/conformance.md is not what came out: {BLESS} writes it");
}
