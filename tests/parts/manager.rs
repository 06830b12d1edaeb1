//! systemd's part: feeds on `WATCHDOG=1`, and kills what does not feed it.

use std::{
    os::unix::net::UnixDatagram,
    process::{Command, ExitStatus},
    time::Duration,
};

use intercom_gateway::{clock, domain::Mono};
use nix::sys::signal::Signal;

use crate::support::{Daemon, Site};

/// As in the unit that is shipped.
const WATCHDOG: Duration = Duration::from_secs(30);

pub struct Manager {
    socket: UnixDatagram,
    fed: Mono,
}

/// How a daemon ended.
#[derive(Debug)]
pub enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It did not feed the watchdog.
    Starved,
}

impl Manager {
    pub fn listen(site: &Site) -> Self {
        let socket = UnixDatagram::bind(site.path("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, fed: clock::mono() }
    }

    /// The daemon, which is told of the watchdog.
    pub fn command(&mut self, site: &Site) -> Command {
        self.fed = clock::mono();
        let mut command = site.command(["run"]);
        command
            .env("NOTIFY_SOCKET", site.path("notify"))
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .env_remove("WATCHDOG_PID");
        command
    }

    /// Does what systemd does; how the daemon has ended, where it has.
    pub fn look(&mut self, daemon: &mut Daemon) -> Option<End> {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let told = String::from_utf8_lossy(&buffer[..length]);
            if told.lines().any(|line| line == "WATCHDOG=1") {
                self.fed = clock::mono();
            }
        }
        if let Some(status) = daemon.ended() {
            return Some(End::Exited(status));
        }
        if clock::mono() < self.fed + WATCHDOG {
            return None;
        }
        daemon.signal(Signal::SIGKILL);
        while daemon.ended().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(End::Starved)
    }
}
