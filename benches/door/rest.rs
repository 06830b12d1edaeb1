//! Memory and processor time of the daemon itself, at rest and around an import.

use std::{thread, time::Duration};

use anyhow::Context;
use intercom_gateway::clock;

use super::common::{
    daemon::{self, CARDS, Daemon},
    premises::{Line, Premises},
};

const PANELS: u8 = 8;
const BAUD: u32 = 9600;
/// What an import leaves to do (checkpoint, new directory) is over by then.
const AFTERMATH: Duration = Duration::from_secs(5);

/// What the daemon needs.
pub struct Rest {
    /// Resident at rest after a start with all keys, bytes.
    pub resident: u64,
    /// The most that was resident while all keys were imported and after it, bytes.
    pub peak: u64,
    /// How long the import took.
    pub import: Duration,
    /// Share of one core at rest.
    pub processor: f64,
}

/// Runs the daemon with 8 panels on a paced line, imports 100,000 keys in 10,000 flats, starts it anew, and looks at it
/// for `time`.
pub fn measure(time: Duration) -> anyhow::Result<Rest> {
    eprintln!("the daemon, {BAUD} baud, {PANELS} panels, {CARDS} keys …");
    let premises = Premises::start(&[Line::new("street", BAUD, PANELS)], "listen = \"127.0.0.1:0\"")?;
    let document = daemon::write_document(premises.folder())?;
    let document = document.to_str().context("the folder's name is no text")?;

    let daemon = Daemon::start(premises.folder(), &premises.config)?;
    premises.secured()?;
    daemon.forget_peak()?;
    let begun = clock::mono();
    daemon::command(&premises.config, &["import", document])?;
    let import = clock::mono().since(begun);
    thread::sleep(AFTERMATH);
    let peak = daemon.memory("VmHWM")?;
    daemon.stop()?;

    let daemon = Daemon::start(premises.folder(), &premises.config)?;
    premises.secured()?;
    thread::sleep(AFTERMATH);
    let (begun, before) = (clock::mono(), daemon.processor_time()?);
    thread::sleep(time);
    let used = daemon.processor_time()?.saturating_sub(before);
    let processor = used.as_secs_f64() / clock::mono().since(begun).as_secs_f64();
    let resident = daemon.memory("VmRSS")?;
    daemon.stop()?;
    Ok(Rest { resident, peak, import, processor })
}
