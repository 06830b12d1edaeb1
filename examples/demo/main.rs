//! A whole building on one machine: simulated panels on pseudo-terminals, the daemon that opens their doors, an MQTT
//! broker, and a stand-in for the cloud.
//!
//! `cargo run --release --example demo` prints what there is to try and goes on until Ctrl-C;
//! `… -- --for 20s` presents keys and disturbs lines by itself for that time, and exits 0 only if the right doors opened
//! and every line was found to be what it was.

#[allow(dead_code, reason = "the example `cloud` uses the rest")]
#[path = "../cloud/building.rs"]
mod building;
mod cloud;
mod https;
mod lines;
mod selfcheck;
mod show;
mod stage;

use std::{
    io::{BufRead, IsTerminal},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use intercom_gateway::simulate::grammar::{self, Instruction};

use stage::Stage;

#[derive(Parser)]
struct Arguments {
    /// Presents keys by itself for this long (`20s`, `2m`), checks what comes of it, and ends
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    time: Option<Duration>,
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    // The daemon's warnings are part of the show; its everyday lines are not.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    let stage = Arc::new(Stage::set()?);
    Stage::clear_when_interrupted(stage.clone())?;
    show::introduce(&stage);
    match arguments.time {
        Some(time) => {
            let passed = selfcheck::run(&stage, time)?;
            stage.clear()?;
            Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        None => {
            let (doors, consumer) = (stage.clone(), stage.clone());
            std::thread::spawn(move || show::tell_doors(&doors));
            std::thread::spawn(move || show::tell_cloud(&consumer));
            take_instructions(&stage)?;
            stage.clear()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Lines of the simulator's grammar, until the input ends or says `quit`.
fn take_instructions(stage: &Stage) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    for line in stdin.lock().lines() {
        match grammar::parse(&line.context("reading the input")?) {
            Ok(None) => {}
            Ok(Some(Instruction::Quit)) => return Ok(()),
            Ok(Some(Instruction::Status)) => println!("{:#?}", stage.building.status()?),
            Ok(Some(Instruction::Do(panel, action))) => {
                if let Err(error) = stage.building.act(&panel, action) {
                    println!("{error}");
                }
            }
            Ok(Some(Instruction::Disturb(bus, disturbance))) => {
                if let Err(error) = stage.building.disturb(&bus, disturbance) {
                    println!("{error}");
                }
            }
            Err(error) => println!("{error}"),
        }
    }
    if !stdin.is_terminal() {
        // Started without a terminal: the building stands until it is killed.
        loop {
            std::thread::park();
        }
    }
    Ok(())
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        _ => return Err("write 20s or 2m".into()),
    };
    let number: u64 = number.parse().map_err(|_| "write 20s or 2m".to_owned())?;
    Ok(Duration::from_secs(number * seconds))
}
