//! The broker, behind everything else: mosquitto, which demands a certificate of each client. Its directory also holds
//! what gateway and cloud need to speak with it.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    cloud::SIGNING_SEED,
    mosquitto::{Mosquitto, write_private},
    pki::{Ca, Signed},
    signing,
};

/// Everything goes through TLS; nothing is logged, for a line a message would cost more than the message.
const SETTINGS: &str = "cafile DIR/ca.pem\ncertfile DIR/server.pem\nkeyfile DIR/server.key\nrequire_certificate true\n\
     allow_anonymous true\nmax_inflight_messages 100\nlog_dest none\n";

/// A running broker.
pub struct Broker(Mosquitto);

impl Broker {
    /// Starts it at nice 19.
    ///
    /// # Errors
    /// There is no `renice` (util-linux).
    pub fn start() -> anyhow::Result<Self> {
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
        let pid = mosquitto.pid().context("the broker has ended")?.to_string();
        let reniced = Command::new("renice").args(["-n", "19", "-p", &pid]).output();
        let reniced = reniced.context("there is no renice (util-linux)")?;
        ensure!(reniced.status.success(), "renice: {}", String::from_utf8_lossy(&reniced.stderr));
        Ok(Self(mosquitto))
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.0.dir()
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.0.port
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
        self.signal(Signal::SIGSTOP)
    }

    /// It goes on.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.0.pid().context("the broker has ended")?;
        Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
    }
}
