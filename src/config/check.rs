//! What `check` looks at beyond the configuration's own form: the files that it names, and what is allowed but
//! probably not meant. Opens no port.

use std::{
    fmt,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Bus, CertificateFiles, Config, Modbus, Parity, Place, Port, Protocol, SecretError, SecretFile,
    SecureChannel, Tls,
};

use crate::{
    domain::{KnownTime, order, profile::LockProfile},
    tls::{CertificateUse, Expiry, Pem, Remaining, pair},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The daemon would fail, or a panel would not work.
    Error,
    /// It works, but probably not as meant.
    Warning,
}

/// One thing that `check` has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where the setting stands.
    pub at: Place,
    /// What was found and what would be right.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}: {}", self.at, self.message)
    }
}

/// Looks at what a valid configuration names, in the order of the files; how long certificates hold is judged by `now`.
/// Blocks on the disk.
pub fn findings(config: &Config, now: KnownTime) -> Vec<Finding> {
    let mut check = Check { config, now, findings: Vec::new() };
    check.service();
    check.buses();
    check.panels();
    order::sort_by(&mut check.findings, |a, b| a.at.cmp(&b.at));
    check.findings
}

/// Above this a swipe waits noticeably for its turn (contract §1, `check`).
const LONG_CYCLE: Duration = Duration::from_secs(1);
/// Above this a swipe could not be told from one that was held back on the wire (contract §5, `stale`).
const LONGEST_CYCLE: Duration = Duration::from_secs(3);

/// The only folder that the shipped unit may write to (ProtectSystem=strict, StateDirectory).
const UNIT_STATE: &str = "/var/lib/intercom-gateway";

struct Check<'a> {
    config: &'a Config,
    now: KnownTime,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn add(&mut self, severity: Severity, path: &str, message: impl fmt::Display) {
        let key = super::place::without_numbers(path);
        let message = format!("{key}: {message}");
        self.findings.push(Finding { severity, at: self.config.place(path), message });
    }

    fn error(&mut self, path: &str, message: impl fmt::Display) {
        self.add(Severity::Error, path, message);
    }

    fn warn(&mut self, path: &str, message: impl fmt::Display) {
        self.add(Severity::Warning, path, message);
    }

    fn service(&mut self) {
        let config = self.config;
        let state_dir = &config.gateway.state_dir;
        if state_dir.exists() && !state_dir.is_dir() {
            self.error("gateway.state_dir", format!("{} is no directory", state_dir.display()));
        }
        if (1..1024).contains(&config.http.listen.port()) {
            self.warn(
                "http.listen",
                "ports below 1024 need CAP_NET_BIND_SERVICE, which the systemd unit does not give; use 8443",
            );
        }
        if let Tls::Files(files) = &config.http.tls {
            self.certificate("http", files, CertificateUse::Endpoint);
        }
        let Some(mqtt) = &config.mqtt else { return };
        if let Some(password) = &mqtt.password_file {
            self.secret("mqtt.password_file", password);
            match password.read_text() {
                Ok(text) if text.is_empty() => {
                    self.error("mqtt.password_file", format!("{password} is empty"))
                }
                outcome => {
                    self.outcome("mqtt.password_file", outcome);
                }
            }
        }
        if let Some(roots) = &mqtt.ca_file
            && let Some(pem) = self.outcome("mqtt.ca_file", roots.read_pem())
            && self.outcome("mqtt.ca_file", pem.roots()).is_some()
        {
            self.expiry("mqtt.ca_file", CertificateUse::MqttCa, &pem);
        }
        if let Some(files) = &mqtt.client_certificate {
            self.certificate("mqtt", files, CertificateUse::MqttClient);
        }
        if let Some(keys) = &mqtt.signing_key_file {
            self.outcome("mqtt.signing_key_file", keys.read_signing_keys());
        }
    }

    fn buses(&mut self) {
        let config = self.config;
        if config.buses.is_empty() {
            self.warn("bus", "there is no [[bus]]: no panel is polled and no door opens");
        }
        let mut devices: Vec<(PathBuf, String)> = Vec::new();
        for (index, bus) in config.buses.iter().enumerate() {
            let port = format!("bus[{index}].port");
            if let Port::Tty(path) = &bus.port {
                match std::fs::metadata(path) {
                    Ok(metadata) if !metadata.file_type().is_char_device() => {
                        self.error(&port, format!("{} is no serial device", path.display()));
                    }
                    Ok(_) => {}
                    Err(error) => self.warn(
                        &port,
                        format!("{} is not there now ({error}); is the adapter plugged in?", path.display()),
                    ),
                }
                let device = path.canonicalize().unwrap_or_else(|_| path.clone());
                match devices.iter().find(|(known, _)| *known == device) {
                    Some((_, other)) => {
                        let other = self.config.place(other);
                        self.error(
                            &port,
                            format!("is the same device as at {other}; a bus needs a port of its own"),
                        );
                    }
                    None => devices.push((device, port.clone())),
                }
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if path.starts_with("/dev") && (name.starts_with("ttyUSB") || name.starts_with("ttyACM")) {
                    self.warn(
                        &port,
                        "the number of this name may change when an adapter is plugged in again; name it by /dev/serial/by-id/ or by-path/",
                    );
                }
            }
            if bus.protocol == Protocol::Osdp && (bus.parity != Parity::None || bus.stop_bits != 1) {
                let key = if bus.parity == Parity::None { "stop_bits" } else { "parity" };
                self.warn(
                    &format!("bus[{index}].{key}"),
                    "OSDP panels speak without parity and with one stop bit; others will not answer",
                );
            }
            self.cycle(index, bus);
            self.trace(index, bus);
        }
    }

    /// Whether a trace can be written, and by the service as it is shipped.
    fn trace(&mut self, index: usize, bus: &Bus) {
        let Some(trace) = &bus.trace else { return };
        let path = format!("bus[{index}].trace_file");
        let (file, folder) = (&trace.file, trace.file.parent().unwrap_or(Path::new("/")));
        let writable = [self.config.gateway.state_dir.as_path(), Path::new(UNIT_STATE)];
        if file.is_dir() {
            self.error(&path, format!("{} is a directory; name a file in it", file.display()));
        } else if !writable.iter().any(|writable| file.starts_with(writable)) {
            let message = format!(
                "{} cannot be written under the systemd unit, which may write below {UNIT_STATE} alone: name a file there, or add ReadWritePaths={} by `systemctl edit intercom-gateway`",
                file.display(),
                folder.display()
            );
            self.warn(&path, message);
        } else if !folder.is_dir() {
            self.warn(
                &path,
                format!("there is no directory {}: make it, as the service's user", folder.display()),
            );
        }
        if trace.keys {
            self.warn(
                &format!("bus[{index}].trace_keys"),
                "the trace holds keys, digits and panel keys as they are: give it to nobody, and take this away when you are done",
            );
        }
    }

    fn cycle(&mut self, index: usize, bus: &Bus) {
        let panels = self.config.panels_on(&bus.name).count();
        if panels == 0 {
            self.warn(&format!("bus[{index}].name"), format!("no [[panel]] is on the bus {}", bus.name));
        }
        let cycle = self.config.cycle(bus);
        if cycle <= LONG_CYCLE {
            return;
        }
        let round = format!(
            "one round of polls over its {panels} panels takes {:.2} s at {} baud",
            cycle.as_secs_f64(),
            bus.baud
        );
        let (path, rest) = (format!("bus[{index}].baud"), "raise the rate or use more buses");
        if cycle > LONGEST_CYCLE {
            let longest = LONGEST_CYCLE.as_secs();
            self.error(&path, format!("{round}, and more than {longest} s is too slow for doors; {rest}"));
            return;
        }
        let what = match bus.protocol {
            Protocol::Osdp => "keys wait that long",
            Protocol::Modbus => "lines are read less often than every second",
        };
        self.warn(&path, format!("{round}, so {what}; {rest}"));
    }

    fn panels(&mut self) {
        let config = self.config;
        for (index, intercom) in config.intercoms.iter().enumerate() {
            if config.panels.iter().all(|panel| panel.intercom != intercom.id) {
                self.warn(
                    &format!("intercom[{index}].id"),
                    format!("no [[panel]] belongs to intercom {}", intercom.id),
                );
            }
        }
        for (index, panel) in config.panels.iter().enumerate() {
            if let Some(modbus) = &panel.modbus {
                self.modbus_panel(index, modbus);
                continue;
            }
            let key = format!("panel[{index}].secure_key_file");
            if panel.secure_channel == SecureChannel::Off {
                self.warn(
                    &format!("panel[{index}].secure_channel"),
                    "\"off\" sends keys and unlocks in the clear: anyone who reaches the wires can open the door",
                );
                if panel.secure_key_file.is_some() {
                    self.warn(&key, "is not used with secure_channel = \"off\"");
                }
            }
            if let Some(secret) = &panel.secure_key_file {
                self.secret(&key, secret);
                self.outcome(&key, secret.read_panel_key());
            }
        }
    }

    fn modbus_panel(&mut self, index: usize, modbus: &Modbus) {
        let profile = &modbus.profile;
        if let Some(LockProfile::Coil(coil)) = profile.lock {
            self.warn(
                &format!("panel[{index}].profile"),
                format!(
                    "the lock of {} is coil {coil}, which the gateway times: if the gateway dies while the door is open, it stays open until the gateway is back; a panel with a pulse register locks by itself",
                    profile.name
                ),
            );
        }
        if profile.lines.is_some() && modbus.lines.is_empty() {
            let message = format!(
                "the profile {} has lines and none of them is anybody's; add lines = {{ first_flat = 1, count = 100 }}",
                profile.name
            );
            self.warn(&format!("panel[{index}].profile"), message);
        }
    }

    fn certificate(&mut self, section: &str, files: &CertificateFiles, usage: CertificateUse) {
        let (certificate, key) = (format!("{section}.cert_file"), format!("{section}.key_file"));
        self.secret(&key, &files.key_file);
        let chain = self.outcome(&certificate, files.cert_file.read_pem());
        let chain = chain.filter(|pem| self.outcome(&certificate, pem.certificates()).is_some());
        let private = self.outcome(&key, files.key_file.read_pem());
        if let (Some(chain), Some(private)) = (chain, private)
            && self.outcome(&key, pair(&chain, &private)).is_some()
        {
            self.expiry(&certificate, usage, &chain);
        }
    }

    /// How long a certificate holds. One that is over is no error: doors open by it all the same.
    fn expiry(&mut self, path: &str, usage: CertificateUse, pem: &Pem) {
        if let Some(expiry) = self.outcome(path, Expiry::of(usage, pem))
            && let Remaining::Days(_) | Remaining::Over = expiry.remaining(self.now)
        {
            self.warn(path, format!("{}: {}", pem.file(), expiry.describe(self.now)));
        }
    }

    /// Notes why a file could not be used. A credential outside of systemd is not the configuration's fault.
    fn outcome<T>(&mut self, path: &str, outcome: Result<T, impl Into<SecretError>>) -> Option<T> {
        match outcome.map_err(Into::into) {
            Ok(content) => return Some(content),
            Err(error @ SecretError::NoCredentials(_)) => self.warn(path, format!("not checked: {error}")),
            Err(error) => self.error(path, error),
        }
        None
    }

    /// Who else can read a secret. What systemd hands over is its own affair.
    fn secret(&mut self, path: &str, secret: &SecretFile) {
        let Ok(file) = secret.path() else { return };
        let Ok(metadata) = std::fs::metadata(&file) else { return };
        if secret.is_credential() {
            return;
        }
        if metadata.mode() & 0o004 != 0 {
            let message = format!("{} can be read by everybody; chmod o= {0}", file.display());
            self.warn(path, message);
        } else if metadata.uid() == 0 && metadata.mode() & 0o040 == 0 {
            let message = format!(
                "{} can be read by root alone, and the systemd unit runs as a user of its own; put it into /etc/intercom-gateway/secrets and write credential:NAME",
                file.display()
            );
            self.warn(path, message);
        }
    }
}
