//! How long a decision takes, at a reader and at a keypad: 100,000 keys and 10,000 codes of 10,000 flats, every seventh
//! of them forbidden to its user.
//!
//! `cargo bench --bench decision` takes some seconds. What is measured is `access::decide`, and `access::decide_code`
//! with the look at what the intercom's keypads are for, each call by itself, on one thread.

#[path = "common/mod.rs"]
mod common;

use std::{hint::black_box, time::Duration};

use anyhow::Context;
use clap::Parser;
use intercom_gateway::{
    access::{
        Credential, Directory, DirectoryBuilder, DirectoryCode, DirectoryEntry, Keypads, Now, decide,
        decide_code,
    },
    clock,
    domain::{KeyCode, event::Decision},
};
use jiff::{Timestamp, tz::TimeZone};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::common::{figures::Samples, verdicts::Verdicts};

const KEYS: u64 = 100_000;
const CODES: u64 = 10_000;
const FLATS: u64 = 10_000;
const INTERCOMS: u64 = 4;
const DECISIONS: usize = 200_000;
/// To reach, microseconds.
const MOST: f64 = 50.0;

/// Presents what has this number; whether it opens.
type Presented = fn(&Directory, u64, Now) -> anyhow::Result<bool>;

#[derive(Parser)]
struct Arguments {
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    if !Arguments::parse().bench {
        // Built and run by `cargo test --benches`.
        return Ok(());
    }
    let directory = directory()?;
    let now = Now::At("2026-11-23T22:00:00Z".parse::<Timestamp>()?.as_second());
    let mut random = StdRng::seed_from_u64(1);
    let mut verdicts = Verdicts::default();
    println!("{KEYS} keys, {CODES} codes; {DECISIONS} decisions of each kind, microseconds\n");
    println!("| what is presented | p50 | p99 | p99.9 | opened |");
    println!("| --- | --- | --- | --- | --- |");
    let kinds: [(&str, u64, Presented); 4] = [
        ("a known key", KEYS, swipe),
        ("an unknown key", u64::MAX >> 8, swipe),
        ("a known code", CODES, enter),
        ("an unknown code", 10_000_000_000, enter),
    ];
    for (what, below, decided) in kinds {
        let (mut samples, mut opened) = (Samples::default(), 0);
        for _ in 0..DECISIONS {
            let number = random.random_range(0..below);
            let begun = clock::mono();
            let opens = black_box(decided(&directory, black_box(number), now)?);
            samples.push(clock::mono().since(begun));
            opened += usize::from(opens);
        }
        let micros =
            |share| samples.quantile(share).map_or(f64::INFINITY, |time: Duration| time.as_secs_f64() * 1e6);
        let share = 100 * opened / DECISIONS;
        println!("| {what} | {:.2} | {:.2} | {:.2} | {share} % |", micros(0.5), micros(0.99), micros(0.999));
        verdicts.at_most(format!("{what}, p99"), micros(0.99), MOST, "µs");
    }
    println!();
    verdicts.print();
    Ok(())
}

fn swipe(directory: &Directory, number: u64, now: Now) -> anyhow::Result<bool> {
    let key = KeyCode::from_u64(number).context("a key")?;
    let credential = Credential { key, reversed: Some(key) };
    let verdict = decide(directory, 1 + number % INTERCOMS, Some(credential), false, now);
    Ok(verdict.decision == Decision::Granted)
}

fn enter(directory: &Directory, number: u64, now: Now) -> anyhow::Result<bool> {
    let intercom = 1 + number % INTERCOMS;
    if directory.keypads(intercom, now) != Keypads::Codes {
        return Ok(false);
    }
    let typed = format!("{number:010}");
    Ok(decide_code(directory, intercom, &typed, now).decision == Decision::Granted)
}

fn directory() -> anyhow::Result<Directory> {
    let mut builder = DirectoryBuilder::new(TimeZone::get("Europe/Berlin")?);
    for number in 0..KEYS {
        let flat = number % FLATS;
        builder.add(&DirectoryEntry {
            intercom: 1 + number % INTERCOMS,
            flat_id: flat + 1,
            flat: flat + 1,
            key_id: number + 1,
            code: KeyCode::from_u64(number).context("a key")?,
            user_id: Some(number / 3 + 1),
            expired_at: (number % 5 == 0).then_some("2027-11-23 22:00:00"),
            permitted: number % 7 != 0,
        });
    }
    for number in 0..CODES {
        builder.add_code(&DirectoryCode {
            intercom: 1 + number % INTERCOMS,
            flat_id: number % FLATS + 1,
            flat: number % FLATS + 1,
            code_id: number + 1,
            code: format!("{number:010}").parse()?,
            expired_at: Some("2027-11-23 22:00:00"),
            user_expired_at: None,
            permitted: number % 7 != 0,
        });
    }
    Ok(builder.build(Some(1)))
}
