//! `profile check`: validates a Modbus profile.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use crate::{
    config::load_profile,
    domain::{
        Profile as Content,
        profile::{LockProfile, Register, RegisterKind},
    },
};

/// Deals with profiles of Modbus panels.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Profile {
    /// Validates a profile and says in words what it tells of the panel; docs/profiles.md is the manual
    Check {
        /// The profile
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

impl Profile {
    /// Prints what a valid profile says.
    ///
    /// # Errors
    /// All that is wrong with it, each with its line ([`crate::config::ConfigErrors`]); or the output is closed.
    pub fn run(self) -> anyhow::Result<()> {
        let Self::Check { file } = self;
        let profile = load_profile(&file)?;
        let mut out = io::stdout().lock();
        writeln!(out, "profile {} is valid", profile.name)?;
        for line in told(&profile) {
            writeln!(out, "  {line}")?;
        }
        Ok(())
    }
}

/// What a profile tells of its panel, a line each.
fn told(profile: &Content) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(lines) = &profile.lines {
        let values = place(lines.value, lines.count);
        told.push(format!("{} lines in {} at {values}, every {:?}", lines.count, lines.unit, lines.period));
        if let Some(enable) = lines.enable {
            let coils = place(Register { kind: RegisterKind::Coil, address: enable }, lines.count);
            told.push(format!("taken into service by {coils}"));
        }
        if let Some(columns) = lines.columns {
            told.push(format!("in a cabinet of {columns} columns"));
        }
    }
    if let Some(keys) = &profile.keys {
        let (count, code) = (place(keys.count, 1), place(keys.code, keys.words));
        told.push(format!(
            "keys of {} bits at {code}, as many as {count} says, every {:?}",
            keys.bits, keys.period
        ));
        told.push(format!("taken off the queue by {}", place(keys.next, 1)));
    }
    match profile.lock {
        Some(LockProfile::Pulse { address, unit }) => {
            let register = place(Register { kind: RegisterKind::Holding, address }, 1);
            told.push(format!("a lock that opens for as many times {unit:?} as is written to {register}"));
        }
        Some(LockProfile::Coil(address)) => {
            let coil = place(Register { kind: RegisterKind::Coil, address }, 1);
            told.push(format!(
                "a lock that is open while {coil} is on; it stays open if the gateway dies then"
            ));
        }
        None => {}
    }
    if let Some(door) = &profile.door {
        let input = |name: &str, register: Option<Register>| {
            register.map(|register| format!("{name} at {}", place(register, 1)))
        };
        let inputs = [input("a door contact", door.contact), input("an exit button", door.exit)];
        let inputs: Vec<String> = inputs.into_iter().flatten().collect();
        told.push(format!("{}, every {:?}", inputs.join(" and "), door.period));
    }
    if let Some(identity) = &profile.identity {
        let says = identity.is.as_ref().map_or(String::new(), |is| format!(", which must say {is:?}"));
        told.push(format!("a model name at {}{says}", place(identity.model, identity.words)));
    }
    told
}

fn place(register: Register, count: u16) -> String {
    let table = match register.kind {
        RegisterKind::Coil => "coil",
        RegisterKind::Discrete => "discrete input",
        RegisterKind::Holding => "holding register",
        RegisterKind::Input => "input register",
    };
    match count {
        0 | 1 => format!("{table} {}", register.address),
        _ => format!("{table}s {}–{}", register.address, u32::from(register.address) + u32::from(count) - 1),
    }
}
