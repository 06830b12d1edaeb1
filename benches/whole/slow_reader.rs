//! Somebody who takes an export at 4 kB/s, a process of its own behind everything else.

use std::{
    io::Read,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use intercom_gateway::gateway::control::{Client, Request};

use super::common::aside::{self, Aside};

/// Bytes that are taken a second.
const RATE: usize = 4000;
const PAUSE: Duration = Duration::from_secs(1);

/// The bench's end of it.
pub struct SlowReader(Aside);

impl SlowReader {
    /// Begins an export at the control socket.
    pub fn start(socket: &Path) -> anyhow::Result<Self> {
        let socket = socket.to_str().context("the folder's name is no text")?;
        let mut aside = Aside::start(["read-slowly", "--socket", socket])?;
        ensure!(aside.hear()? == "begun", "there is no export");
        Ok(Self(aside))
    }

    /// Hangs up; it must have been served until now.
    pub fn stop(self) -> anyhow::Result<()> {
        let told = self.0.stop()?;
        ensure!(told == "still served", "the export has ended before its time: {told}");
        Ok(())
    }
}

/// Reads slowly until stdin ends.
pub fn read_slowly(socket: PathBuf) -> anyhow::Result<()> {
    let client = Client::connect(&socket)?.context("no daemon answers")?;
    let mut rest = client.ask(&Request::Export)?.rest;
    println!("begun");
    let reader = thread::spawn(move || {
        let mut buffer = [0; RATE];
        while rest.read_exact(&mut buffer).is_ok() {
            thread::sleep(PAUSE);
        }
    });
    aside::until_told_to_end()?;
    println!("{}", if reader.is_finished() { "cut off" } else { "still served" });
    Ok(())
}
