//! The broker, behind everything else: mosquitto, which demands a certificate of each client. Its directory also holds
//! what gateway and cloud need to speak with it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    cloud::SIGNING_SEED,
    common::aside::{self, Aside},
    mosquitto::{Mosquitto, write_private},
    pki::{Ca, Signed},
    signing,
};

/// Everything goes through TLS; nothing is logged, for a line a message would cost more than the message.
const SETTINGS: &str = "cafile DIR/ca.pem\ncertfile DIR/server.pem\nkeyfile DIR/server.key\nrequire_certificate true\n\
     allow_anonymous true\nmax_inflight_messages 100\nlog_dest none\n";

/// A running broker.
pub struct Broker {
    /// Taken at the end.
    aside: Option<Aside>,
    dir: PathBuf,
    port: u16,
    pid: Pid,
}

impl Broker {
    /// Starts it, with new keys and certificates.
    pub fn start() -> anyhow::Result<Self> {
        let mut aside = Aside::start(["be-the-broker"])?;
        let (port, pid, dir) =
            (aside.hear()?.parse()?, Pid::from_raw(aside.hear()?.parse()?), aside.hear()?.into());
        Ok(Self { aside: Some(aside), dir, port, pid })
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The gateway's `[mqtt]`.
    pub fn section(&self) -> String {
        let file = |name: &str| self.dir().join(name);
        format!(
            "[mqtt]\nurl = \"mqtts://localhost:{}\"\nca_file = {:?}\ncert_file = {:?}\nkey_file = {:?}\n\
             signing_key_file = {:?}\n",
            self.port(),
            file("ca.pem"),
            file("gateway.pem"),
            file("gateway.key"),
            file("signing.pem")
        )
    }

    /// It takes nothing and says nothing, but its connections stay: for well below the 60 s after which the gateway
    /// gives it up.
    pub fn pause(&self) -> anyhow::Result<()> {
        Ok(kill(self.pid, Signal::SIGSTOP)?)
    }

    /// It goes on.
    pub fn resume(&self) -> anyhow::Result<()> {
        Ok(kill(self.pid, Signal::SIGCONT)?)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Told to end, not killed: it removes its files.
        let ended = self.aside.take().map(Aside::stop);
        if let Some(Err(error)) = ended {
            eprintln!("the broker: {error:#}");
        }
    }
}

/// Is the broker until stdin ends; tells its port, its process and its directory.
pub fn be_the_broker() -> anyhow::Result<()> {
    let mosquitto = Mosquitto::prepared(SETTINGS, |dir| {
        let ca = Ca::new("the bench's CA");
        write_private(&dir.join("ca.pem"), &ca.pem);
        write_private(&dir.join("signing.pem"), &signing::pem(SIGNING_SEED));
        let certificates = [
            ("server", ca.server("localhost")),
            ("gateway", ca.client("bench")),
            ("cloud", ca.client("cloud")),
        ];
        for (name, Signed { certificate, key }) in certificates {
            write_private(&dir.join(format!("{name}.pem")), &certificate);
            write_private(&dir.join(format!("{name}.key")), &key);
        }
    });
    let pid = mosquitto.pid().context("the broker has ended")?;
    println!("{}\n{pid}\n{}", mosquitto.port, mosquitto.dir().display());
    aside::until_told_to_end()
}
