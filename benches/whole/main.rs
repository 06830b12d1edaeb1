//! The whole job: the daemon with 100,000 keys in 10,000 flats, a day's journal and 8 panels at 9600 baud, its uplink
//! over TLS with certificates on both sides and every message from the cloud signed, its endpoint over TLS, and its
//! threads ordinary ones, as under the shipped unit. What it needs of memory and processor, and whether a door opens as
//! fast while it has other things to do.
//!
//! `cargo bench --bench whole` takes about a quarter of an hour, `-- --quick` a minute, which shows that all works and
//! measures little; `-- --for 1h` looks at the memory an hour after import and snapshot, with 2,000 swipes a day. It
//! needs mosquitto, cc, coreutils and util-linux. Broker, cloud and all clients are processes behind everything else: in
//! life they are other machines.

mod broker;
#[allow(dead_code, reason = "it shares a part of the example")]
#[path = "../../examples/cloud/building.rs"]
mod building;
mod cloud;
#[path = "../common/mod.rs"]
mod common;
mod doors;
mod hostile;
#[path = "../../tests/support/mosquitto.rs"]
mod mosquitto;
mod needs;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/support/pki.rs"]
mod pki;
mod rig;
#[path = "../../tests/support/signing.rs"]
mod signing;
mod slow_reader;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use jiff::SignedDuration;

use self::{
    common::{aside, machine, verdicts::Verdicts},
    doors::Extent,
    needs::Times,
    rig::Rig,
};

#[derive(Parser)]
struct Arguments {
    /// How often cards are presented with each load, and as often without
    #[arg(long, default_value_t = 4)]
    rounds: u32,
    /// How long cards are presented in a round, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=25))]
    seconds: u64,
    /// Events that drain in a round
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// How long after import and snapshot memory is looked at once more, such as 1h
    #[arg(long = "for", default_value = "30s")]
    later: SignedDuration,
    /// Of the second half only the loads with this in their name, such as "all"
    #[arg(long, default_value = "")]
    load: String,
    /// Only see that all works, in a minute
    #[arg(long)]
    quick: bool,
    /// Only a part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Memory and processor
    Needs,
    /// Card → OUT
    Doors,
}

#[derive(clap::Subcommand)]
enum Role {
    /// What the bench starts
    #[command(hide = true)]
    BeTheBroker,
    #[command(hide = true)]
    BeTheCloud {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        port: u16,
    },
    #[command(hide = true)]
    BeHostile {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        certificate: PathBuf,
    },
    #[command(hide = true)]
    ReadSlowly {
        #[arg(long)]
        socket: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.role.is_some() {
        aside::step_behind()?;
    }
    match arguments.role {
        Some(Role::BeTheBroker) => return broker::be_the_broker(),
        Some(Role::BeTheCloud { dir, port }) => return cloud::be_the_cloud(dir, port),
        Some(Role::BeHostile { address, certificate }) => return hostile::be_hostile(address, certificate),
        Some(Role::ReadSlowly { socket }) => return slow_reader::read_slowly(socket),
        None => {}
    }
    if !arguments.bench {
        println!("run by: cargo bench --bench whole");
        return Ok(());
    }
    machine::describe();
    let load = arguments.load;
    let (times, extent) = if arguments.quick {
        let short = Duration::from_secs(2);
        (Times { rest: short, later: short }, Extent { load, rounds: 1, time: short, events: 200_000 })
    } else {
        let times = Times { rest: Duration::from_secs(60), later: arguments.later.unsigned_abs() };
        let time = Duration::from_secs(arguments.seconds);
        (times, Extent { load, rounds: arguments.rounds, time, events: arguments.events })
    };
    let mut rig = Rig::start()?;
    let mut verdicts = Verdicts::default();
    if arguments.only != Some(Part::Doors) {
        needs::measure(&mut rig, &times, &mut verdicts)?;
    }
    if arguments.only != Some(Part::Needs) {
        doors::measure(&mut rig, &extent, &mut verdicts)?;
    }
    verdicts.print();
    Ok(())
}
