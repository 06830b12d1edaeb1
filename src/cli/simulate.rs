//! `simulate`: simulated panels for every panel of a configuration, on pseudo-terminals.

use std::{
    collections::HashMap,
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
    time::Duration,
};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{decode::KeyParser, play::Player};
use crate::{
    config::Config,
    domain::{Name, Ordered},
    simulate::{
        bank::Sighting,
        building::Building,
        grammar::{self, HELP, Instruction},
        panel::Observation,
        plan::Plan,
        report,
        shell::monotonic,
    },
    wire::osdp::Scbk,
};

/// Simulated panels for every panel of the configuration, on pseudo-terminals whose names are printed. Standard
/// input takes a command a line, and its end ends the simulation; standard output is a JSON object a line.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("Commands on standard input:\n{HELP}"))]
pub struct Simulate {
    /// Lets every bus take the time that its baud rate demands
    #[arg(long)]
    paced: bool,
    /// Keeps the keys that panels are given by pairing in FILE, as real panels do over a restart
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Lets the panels do what those of a recording (OSDPCAP, or pcap with Modbus) did, once they are online; what is
    /// typed is done besides
    #[arg(long, value_name = "TRACE")]
    from: Option<PathBuf>,
    /// Base key (SCBK) of the panels in the recording: 32 hex digits
    #[arg(long, value_name = "HEX", value_parser = KeyParser, requires = "from")]
    key: Option<Scbk>,
}

/// Where nothing is to be played, nobody waits for it.
const IDLE: Duration = Duration::from_secs(1);
/// Lines of input that wait; the reader of standard input waits when it is full.
const INPUT: usize = 64;

impl Simulate {
    /// Runs until standard input ends, `quit`, SIGINT or SIGTERM.
    ///
    /// # Errors
    /// The configuration, a key file or the file of kept keys is wrong, or a pseudo-terminal cannot be made.
    pub fn run(&self, config: &Path) -> anyhow::Result<()> {
        let config = Config::load(config)?;
        let kept = self.keep.as_deref().map_or_else(|| Ok(HashMap::new()), read_kept)?;
        let mut plan = Plan::of(&config, self.paced, &kept)?;
        let mut player = match &self.from {
            Some(trace) => Player::of(trace, self.key.clone(), &config, &mut plan)?,
            None => Player::default(),
        };
        let (building, sightings) = Building::start(&plan.lines, plan.panels)?;
        announce(&config, &building)?;
        let (paired, pairings) = mpsc::channel(INPUT);
        std::thread::Builder::new()
            .name("sightings".into())
            .spawn(move || print_sightings(&sightings, &paired))
            .context("cannot start a thread")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.obey(&building, pairings, &mut player))?;
        Ok(building.stop()?)
    }

    async fn obey(
        &self,
        building: &Building,
        mut pairings: mpsc::Receiver<()>,
        player: &mut Player,
    ) -> anyhow::Result<()> {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut input = read_input()?;
        loop {
            let pause = player.play(building, monotonic(), print)?;
            tokio::select! {
                () = tokio::time::sleep(pause.unwrap_or(IDLE)), if pause.is_some() => {}
                _ = interrupted.recv() => return Ok(()),
                _ = terminated.recv() => return Ok(()),
                Some(()) = pairings.recv() => self.keep_keys(building)?,
                line = input.recv() => {
                    let Some(line) = line else { return Ok(()) };
                    if !instruct(building, &line?)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn keep_keys(&self, building: &Building) -> anyhow::Result<()> {
        match &self.keep {
            Some(file) => write_kept(file, building),
            None => {
                eprintln!(
                    "a panel holds a new key; it is forgotten when this ends, unless --keep FILE is given"
                );
                Ok(())
            }
        }
    }
}

/// Carries out a line of input; false at `quit`.
fn instruct(building: &Building, line: &str) -> anyhow::Result<bool> {
    let error =
        |message: String| print(&json!({ "t": monotonic().as_nanos(), "ev": "error", "msg": message }));
    match grammar::parse(line) {
        Ok(None) => {}
        Ok(Some(Instruction::Quit)) => return Ok(false),
        Ok(Some(Instruction::Status)) => {
            let state = |status: crate::simulate::bank::PanelStatus| {
                (status.panel.to_string(), json!([status.online, status.secured]))
            };
            let panels: serde_json::Map<String, Value> = building.status()?.into_iter().map(state).ordered();
            print(&json!({ "t": monotonic().as_nanos(), "ev": "status", "panels": panels }))?;
        }
        Ok(Some(Instruction::Do(panel, action))) => {
            if let Err(problem) = building.act(&panel, action) {
                error(format!("{panel}: {problem}"))?;
            }
        }
        Ok(Some(Instruction::Disturb(bus, disturbance))) => {
            if let Err(problem) = building.disturb(&bus, disturbance) {
                error(problem.to_string())?;
            }
        }
        Err(problem) => error(problem.to_string())?,
    }
    Ok(true)
}

/// Says where the lines are: for programs on standard output, for people on standard error.
fn announce(config: &Config, building: &Building) -> anyhow::Result<()> {
    let mut ports = serde_json::Map::new();
    for (name, line) in building.lines() {
        let wanted = config.bus(name).map(|bus| bus.port.to_string()).unwrap_or_default();
        let pty = line.port().display().to_string();
        if std::fs::read_link(&wanted).is_ok_and(|target| target == line.port()) {
            eprintln!("bus {name}: {pty}, linked from {wanted}");
        } else {
            eprintln!("bus {name}: {pty} (set port = \"{pty}\" to use it instead of {wanted})");
        }
        ports.insert(name.to_string(), json!(pty));
    }
    let panels: Vec<Name> = building.status()?.into_iter().map(|status| status.panel).collect();
    print(&json!({ "t": monotonic().as_nanos(), "ev": "ready", "panels": panels, "ports": ports }))?;
    Ok(())
}

fn print_sightings(sightings: &Receiver<Sighting>, paired: &mpsc::Sender<()>) {
    for sighting in sightings {
        if sighting.what == Observation::KeySet {
            // Full: as many notices as wait have the same effect.
            let _ = paired.try_send(());
        }
        for line in report::lines(&sighting) {
            if print(&line).is_err() {
                // Nobody reads any more; the end of standard input will follow.
                return;
            }
        }
    }
}

fn print(line: &Value) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

fn read_input() -> io::Result<mpsc::Receiver<io::Result<String>>> {
    // Full: the thread waits, and with it the writer of standard input.
    let (sender, lines) = mpsc::channel(INPUT);
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        for line in io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(lines)
}

/// A key a line: the panel's name, a space, 32 hex digits. No file: no keys yet.
fn read_kept(file: &Path) -> anyhow::Result<HashMap<Name, Scbk>> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        result => result.with_context(|| format!("cannot read the kept keys in {}", file.display()))?,
    };
    let mut kept = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let entry =
            line.split_once(' ').and_then(|(name, key)| Some((Name::new(name).ok()?, Scbk::from_hex(key)?)));
        let (name, key) = entry.with_context(|| {
            format!(
                "{}:{number}: no kept key: a panel's name, a space and 32 hex digits belong here",
                file.display()
            )
        })?;
        kept.insert(name, key);
    }
    Ok(kept)
}

fn write_kept(file: &Path, building: &Building) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let wanted = || format!("cannot keep the panels' keys in {}", file.display());
    let keys = building.status()?.into_iter().filter_map(|status| Some((status.panel, status.key?)));
    let text: String = keys.map(|(panel, key)| format!("{panel} {}\n", key.to_hex())).collect();
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let mut options = std::fs::File::options();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).with_context(wanted)?;
    std::fs::rename(&new, file).with_context(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::with_causes;

    #[test]
    fn kept_keys_are_read_and_a_wrong_line_is_named_without_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        assert!(read_kept(&file).unwrap().is_empty());
        std::fs::write(&file, "entrance-1 000102030405060708090a0b0c0d0e0f\n").unwrap();
        let kept = read_kept(&file).unwrap();
        assert_eq!(kept[&Name::new("entrance-1").unwrap()].expose()[15], 15);
        std::fs::write(&file, "entrance-1 000102030405060708090a0b0c0d0e0f\nentrance-2 00010203\n").unwrap();
        let error = with_causes(read_kept(&file).unwrap_err().as_ref());
        assert!(error.contains("keys:2: no kept key") && !error.contains("0001"), "{error}");
    }
}
