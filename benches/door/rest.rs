//! Memory and processor time of the daemon itself, at rest and around an import.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use intercom_gateway::{
    clock,
    domain::Name,
    simulate::{
        building::{Building, PlacedPanel},
        line::{LineRate, LineSettings},
        panel::{ChannelSetup, Observation, PanelSetup},
        shell::LineSpec,
    },
    wire::osdp::Scbk,
};
use serde_json::json;

use super::subject::{CARDS, FIRST_CARD, KEY, panel_name};

const DAEMON: &str = env!("CARGO_BIN_EXE_intercom-gateway");
const PANELS: u8 = 8;
const BAUD: u32 = 9600;
const KEYS_A_FLAT: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(60);
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
    let folder = tempfile::tempdir()?;
    let (building, sightings) = building()?;
    let port = building.port(&Name::new("street")?).context("no port")?;
    let config = write_config(folder.path(), port)?;
    let document = write_document(folder.path())?;
    let secured = || -> anyhow::Result<()> {
        let deadline = clock::mono() + PATIENCE;
        let mut count = 0;
        while count < PANELS {
            let sighting = sightings.recv_timeout(deadline.since(clock::mono()));
            let sighting = sighting.context("the daemon's panels are not secured")?;
            count += u8::from(sighting.what == (Observation::Secured { default_key: false }));
        }
        Ok(())
    };

    let daemon = Daemon::start(folder.path(), &config)?;
    secured()?;
    fs::write(daemon.proc("clear_refs"), "5").context("cannot reset the peak of memory")?;
    let begun = clock::mono();
    let imported = Command::new(DAEMON).arg("--config").arg(&config).arg("import").arg(&document).output()?;
    let import = clock::mono().since(begun);
    ensure!(imported.status.success(), "import: {}", String::from_utf8_lossy(&imported.stderr));
    thread::sleep(AFTERMATH);
    let peak = daemon.memory("VmHWM")?;
    daemon.stop()?;

    let daemon = Daemon::start(folder.path(), &config)?;
    secured()?;
    thread::sleep(AFTERMATH);
    let (begun, before) = (clock::mono(), daemon.processor_time()?);
    thread::sleep(time);
    let used = daemon.processor_time()?.saturating_sub(before);
    let processor = used.as_secs_f64() / clock::mono().since(begun).as_secs_f64();
    let resident = daemon.memory("VmRSS")?;
    daemon.stop()?;
    Ok(Rest { resident, peak, import, processor })
}

struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(folder: &Path, config: &Path) -> anyhow::Result<Self> {
        let log = folder.join("log");
        let mut command = Command::new(DAEMON);
        command.arg("--config").arg(config).arg("run");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let daemon = Self { child: command.spawn()?, log };
        let deadline = clock::mono() + PATIENCE;
        while !folder.join("state/control.sock").exists() {
            if clock::mono() > deadline {
                bail!("the daemon does not start: {}", fs::read_to_string(&daemon.log)?);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }

    fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(file)
    }

    /// A line of /proc/PID/status, in bytes.
    fn memory(&self, line: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(self.proc("status"))?;
        let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let kilobytes = value.and_then(|value| value.trim().strip_suffix(" kB"));
        Ok(kilobytes.with_context(|| format!("no {line}"))?.parse::<u64>()? * 1024)
    }

    /// User and system time of all threads so far.
    fn processor_time(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(self.proc("task"))? {
            let file = task?.path().join("schedstat");
            let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
            nanos += text.split(' ').next().context("schedstat is empty")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    fn stop(mut self) -> anyhow::Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the daemon failed: {}", fs::read_to_string(&self.log)?);
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that was stopped is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Sightings = std::sync::mpsc::Receiver<intercom_gateway::simulate::bank::Sighting>;

fn building() -> anyhow::Result<(Building, Sightings)> {
    let bus = Name::new("street")?;
    let line = LineSpec::new(bus.clone(), LineSettings::clean(Some(LineRate::osdp(BAUD))));
    let key = Scbk::from_hex(KEY).context("the key")?;
    let place = |address| {
        let setup = PanelSetup::new(address, ChannelSetup::Key(key.clone()), 1);
        Ok(PlacedPanel { name: panel_name(address)?, bus: bus.clone(), setup: setup.into() })
    };
    let placed = (0..PANELS).map(place).collect::<anyhow::Result<_>>()?;
    Ok(Building::start(&[line], placed)?)
}

fn write_config(folder: &Path, port: &Path) -> anyhow::Result<PathBuf> {
    let key_file = folder.join("panel.key");
    fs::write(&key_file, KEY)?;
    fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let state = folder.join("state");
    let mut text = format!(
        "[gateway]\nid = \"bench\"\nstate_dir = {state:?}\nclock = \"trusted\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n\
         [[intercom]]\nid = 1\nname = \"Entrance\"\n\
         [[bus]]\nname = \"street\"\nport = {port:?}\nprotocol = \"osdp\"\nbaud = {BAUD}\n"
    );
    for address in 0..PANELS {
        write!(
            text,
            "[[panel]]\nname = \"{}\"\nintercom = 1\nbus = \"street\"\naddress = {address}\n\
             lock = {{ output = 0, open = \"3s\" }}\nsecure_key_file = {key_file:?}\n",
            panel_name(address)?
        )?;
    }
    let config = folder.join("gateway.toml");
    fs::write(&config, text)?;
    Ok(config)
}

/// A document for `import`: three users and ten keys a flat.
fn write_document(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("flats.json");
    let mut file = BufWriter::new(File::create(&path)?);
    write!(file, "{{\"revision\":1,\"flats\":[")?;
    for flat in 0..CARDS / KEYS_A_FLAT {
        let user = |number: u32| {
            let id = flat * 3 + number + 1;
            json!({"id": id, "name": format!("resident {id}"), "login": format!("resident-{id}@mail.example"),
                "created_at": "2022-11-11 14:45:58", "updated_at": "2022-11-11 14:45:58",
                "expired_at": "2122-11-11 14:45:57", "is_licence_limit_reached": false, "ptz_priority": 1,
                "access_token_id": null})
        };
        let key = |number: u32| {
            let key = flat * KEYS_A_FLAT + number;
            json!({"id": key + 1, "key": format!("{:014X}", FIRST_CARD + key), "user": user(number % 3),
                "created_at": "2022-11-11 14:46:16", "updated_at": "2022-11-14 15:56:40"})
        };
        let document = json!({"intercom": 1, "id": flat + 1, "flat": flat + 1, "key_count": KEYS_A_FLAT, "users_count": 3,
            "keys": (0..KEYS_A_FLAT).map(key).collect::<Vec<_>>(), "users": (0..3).map(user).collect::<Vec<_>>(),
            "properties": {"is_analog_line_enable": true, "is_sip_line_enable": true, "is_can_manage_resistance": true}});
        write!(file, "{}{document}", if flat == 0 { "" } else { "," })?;
    }
    write!(file, "]}}")?;
    file.flush()?;
    Ok(path)
}
