//! `examples/cloud` on PostgreSQL, against real brokers and gateways: whoever dies, every event is in the table, once;
//! flats and commands go down.
//!
//! `cargo nextest run --test cloud_store`; with `--seed N` other ones are killed; `--figures` measures, see
//! docs/benchmarks.md.

#[allow(dead_code, reason = "the program uses the rest")]
#[path = "../../examples/cloud/main.rs"]
mod cloud;
mod down;
mod figures;
mod holes;
mod kills;
mod part;
#[path = "../support/mod.rs"]
mod support;
mod tables;

use clap::Parser;
use libtest_mimic::Trial;

/// The first argument that makes this program a cloud.
const ROLE: &str = "be-the-cloud";

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|role| role == ROLE) {
        let arguments = cloud::Arguments::parse_from(arguments.into_iter().skip(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        if let Err(error) = runtime.block_on(cloud::run(arguments)) {
            eprintln!("{error:#}");
            std::process::exit(1);
        }
        return Ok(());
    }
    if let Some(at) = arguments.iter().position(|argument| argument == "--figures") {
        figures::measure(&arguments[at + 1..]);
        return Ok(());
    }
    let mut seed = 1;
    if let Some(at) = arguments.iter().position(|argument| argument == "--seed") {
        seed = arguments.drain(at..=at + 1).nth(1).map_or(Ok(seed), |seed| seed.parse())?;
    }
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = vec![
        Trial::test("nothing_is_lost_or_doubled_whoever_dies", move || {
            kills::run(seed);
            Ok(())
        }),
        trial("a_hole_is_asked_for_until_it_is_filled_or_gone", holes::asked_for),
        trial("flats_and_commands_go_down", down::flats_and_commands),
        trial("days_are_made_and_dropped_and_a_person_is_erased", tables::days_and_persons),
    ];
    libtest_mimic::run(&libtest_mimic::Arguments::from_iter(arguments), trials).exit();
}
