//! What systemd is told, through a socket in its place.

use std::{os::unix::net::UnixDatagram, time::Duration};

use nix::sys::signal::Signal;

use crate::support::{Daemon, Site, mosquitto::Mosquitto, simulated::Panels, site::ENTRANCE};

/// Longer than anything here takes: the watchdog's thread turns every second where the interval is three.
const PATIENCE: Duration = Duration::from_secs(30);

struct Manager {
    socket: UnixDatagram,
    told: Vec<String>,
}

impl Manager {
    fn listen(site: &Site) -> Self {
        let socket = UnixDatagram::bind(site.path("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, told: Vec::new() }
    }

    /// Waits for a line; those before it are kept in `told`.
    fn wait(&mut self, what: impl Fn(&str) -> bool) -> String {
        loop {
            let mut buffer = [0; 4096];
            let length = self.socket.recv(&mut buffer).expect("systemd is told more");
            for line in String::from_utf8_lossy(&buffer[..length]).lines() {
                self.told.push(line.to_owned());
            }
            if let Some(line) = self.told.iter().rev().find(|line| what(line)) {
                return line.clone();
            }
        }
    }
}

#[test]
fn systemd_hears_of_start_state_life_and_end() {
    let site = Site::new(&format!("{ENTRANCE}secure_channel = \"off\"\n"));
    let mut manager = Manager::listen(&site);
    let mut command = site.command(["run"]);
    command
        .env("NOTIFY_SOCKET", site.path("notify"))
        .env("WATCHDOG_USEC", "3000000")
        .env_remove("WATCHDOG_PID");
    let daemon = Daemon::spawn(&mut command);
    manager.wait(|line| line == "READY=1");
    let status = manager.wait(|line| line.starts_with("STATUS=0 of 1 panels online"));
    assert!(status.contains("street"), "the port that is missing is named: {status}");
    manager.told.clear();
    manager.wait(|line| line == "WATCHDOG=1");

    // A process that stands still feeds no watchdog; one that goes on does again.
    daemon.signal(Signal::SIGSTOP);
    manager.socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut buffer = [0; 4096];
    while manager.socket.recv(&mut buffer).is_ok() {}
    manager.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    daemon.signal(Signal::SIGCONT);
    manager.told.clear();
    manager.wait(|line| line == "WATCHDOG=1");

    daemon.signal(Signal::SIGTERM);
    manager.wait(|line| line == "STOPPING=1");
    daemon.stop();
}

#[test]
fn the_status_line_tells_what_is_wrong_until_it_is_not_any_more() {
    let mut broker = Mosquitto::open();
    broker.stop();
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    let site = Site::new(&format!(
        "[mqtt]\nurl = \"{url}\"\nusername = \"house-7\"\npassword_file = \"{{dir}}/password\"\n{ENTRANCE}\
         secure_channel = \"off\"\n"
    ));
    site.write("password", "s3cret");
    let mut manager = Manager::listen(&site);
    let _panels = Panels::start(&site, false);
    let daemon = Daemon::spawn(site.command(["run"]).env("NOTIFY_SOCKET", site.path("notify")));
    const ONLINE: &str = "STATUS=1 of 1 panels online";
    let told = manager.wait(|line| line.starts_with(ONLINE) && line.contains("no broker"));
    assert_eq!(told, format!("{ONLINE}; degraded: no broker"));
    manager.told.clear();
    broker.start();
    // What is wrong then is that no cloud answers.
    manager.wait(|line| line.starts_with(ONLINE) && !line.contains("no broker"));
    daemon.stop();
}
