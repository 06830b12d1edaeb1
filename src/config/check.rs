//! What `check` looks at beyond the configuration's own form: the files that it names, and what is allowed but
//! probably not meant. Opens no port.

use std::{
    fmt,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::PathBuf,
    time::Duration,
};

use super::{
    Bus, CertificateFiles, Config, Modbus, Panel, Parity, Place, Port, Protocol, SecretError, SecretFile,
    SecureChannel, Tls,
};

use crate::domain::profile::LockProfile;

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

/// Looks at what a valid configuration names, in the order of the files. Blocks on the disk.
pub fn findings(config: &Config) -> Vec<Finding> {
    let mut check = Check { config, findings: Vec::new() };
    check.service();
    check.buses();
    check.panels();
    check.findings.sort_by(|a, b| a.at.cmp(&b.at));
    check.findings
}

/// A panel's share of one round of polls on its bus, by line time alone: the poll, its answer and two idle
/// characters before each (OSDP 2.2 §5.7). With its mark byte a secure POLL or ACK has 15 characters, a plain one 9.
fn poll_time(bus: &Bus, panel: &Panel) -> Duration {
    const IDLE: u32 = 2;
    if let Some(modbus) = &panel.modbus {
        return bus.character_time() * characters(modbus);
    }
    let message = if panel.secure_channel == SecureChannel::Off { 9 } else { 15 };
    bus.character_time() * (2 * (message + IDLE))
}

/// Characters on the line, gaps included, while everything that a Modbus panel is asked for again and again is read
/// once.
fn characters(modbus: &Modbus) -> u32 {
    /// Request, answer without data, and 3.5 characters before each.
    const REQUEST: u32 = 8 + 5 + 7;
    /// Words that one request reads at most.
    const MOST: u32 = 125;
    let profile = &modbus.profile;
    let mut sum = 0;
    let mut add = |words: u32| sum += words.div_ceil(MOST) * REQUEST + 2 * words;
    if profile.lines.is_some()
        && let (Some(first), Some(last)) = (
            modbus.lines.iter().map(|(line, _)| *line).min(),
            modbus.lines.iter().map(|(line, _)| *line).max(),
        )
    {
        add(u32::from(last - first) + 1);
    }
    if let Some(keys) = &profile.keys {
        add(1 + u32::from(keys.words));
    }
    if profile.door.is_some() {
        add(1);
    }
    sum
}

/// Above this a swipe waits noticeably for its turn (contract §1, `check`).
const LONGEST_CYCLE: Duration = Duration::from_secs(1);
/// SCBK-D, the key that every panel leaves the factory with: it protects nothing.
const FACTORY_KEY: [u8; 16] = *b"0123456789:;<=>?";

struct Check<'a> {
    config: &'a Config,
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
            self.certificate("http", files);
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
        if let Some(roots) = &mqtt.ca_file {
            self.outcome("mqtt.ca_file", roots.read_roots());
        }
        if let Some(files) = &mqtt.client_certificate {
            self.certificate("mqtt", files);
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
        }
    }

    fn cycle(&mut self, index: usize, bus: &Bus) {
        let panels: Vec<&Panel> = self.config.panels_on(&bus.name).collect();
        if panels.is_empty() {
            self.warn(&format!("bus[{index}].name"), format!("no [[panel]] is on the bus {}", bus.name));
        }
        let cycle: Duration = panels.iter().map(|panel| poll_time(bus, panel)).sum();
        if cycle > LONGEST_CYCLE {
            let what = match bus.protocol {
                Protocol::Osdp => "keys wait that long",
                Protocol::Modbus => "lines are read less often than every second",
            };
            let message = format!(
                "one round of polls over its {} panels takes {:.2} s at {} baud, so {what}; raise the rate or use more buses",
                panels.len(),
                cycle.as_secs_f64(),
                bus.baud
            );
            self.warn(&format!("bus[{index}].baud"), message);
        }
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
                    "\"off\" sends keys and unlocks in the clear: whoever reaches the wires can open the door",
                );
                if panel.secure_key_file.is_some() {
                    self.warn(&key, "is not used with secure_channel = \"off\"");
                }
            }
            if let Some(secret) = &panel.secure_key_file {
                self.secret(&key, secret);
                match secret.read_key() {
                    Ok(key_bytes) if *key_bytes == FACTORY_KEY => {
                        self.warn(&key, "is the default key of all OSDP panels, which protects nothing; make one of your own");
                    }
                    outcome => {
                        self.outcome(&key, outcome);
                    }
                }
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

    fn certificate(&mut self, section: &str, files: &CertificateFiles) {
        let key = format!("{section}.key_file");
        self.secret(&key, &files.key_file);
        let chain = self.outcome(&format!("{section}.cert_file"), files.cert_file.read_certificates());
        let private = self.outcome(&key, files.key_file.read());
        if chain.is_some() && private.is_some() {
            self.outcome(&key, files.read());
        }
    }

    /// Notes why a file could not be used. A credential outside of systemd is not the configuration's fault.
    fn outcome<T>(&mut self, path: &str, outcome: Result<T, SecretError>) -> Option<T> {
        match outcome {
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
                "{} can be read by root alone, and the systemd unit runs as a user of its own; hand it over with LoadCredential= and write credential:NAME",
                file.display()
            );
            self.warn(path, message);
        }
    }
}
