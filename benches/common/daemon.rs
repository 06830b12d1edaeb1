//! The daemon as a process, with a building's worth of flats: what several benches measure.
#![allow(dead_code, reason = "each bench uses its own part")]

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use intercom_gateway::clock;
use serde_json::{Value, json};

/// The binary of the profile that is measured.
pub const DAEMON: &str = env!("CARGO_BIN_EXE_intercom-gateway");
/// Codes of the cards that open: this and this many after it, a building's worth.
pub const FIRST_CARD: u32 = 0x3042_0000;
pub const CARDS: u32 = 100_000;
const KEYS_A_FLAT: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon; killed where a bench ends without stopping it.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it, logging to `folder/log`. It does not yet do anything.
    pub fn spawn(folder: &Path, config: &Path) -> anyhow::Result<Self> {
        Self::spawn_by(&mut Command::new(DAEMON), folder, config)
    }

    /// The same by a prepared command.
    pub fn spawn_by(command: &mut Command, folder: &Path, config: &Path) -> anyhow::Result<Self> {
        let log = folder.join("log");
        command.arg("--config").arg(config).arg("run");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn().context("the daemon cannot be started")?;
        Ok(Self { child, log })
    }

    /// Starts it and waits until it takes commands; its state is in `folder/state`.
    pub fn start(folder: &Path, config: &Path) -> anyhow::Result<Self> {
        Self::start_by(&mut Command::new(DAEMON), folder, config)
    }

    /// The same by a prepared command.
    pub fn start_by(command: &mut Command, folder: &Path, config: &Path) -> anyhow::Result<Self> {
        let daemon = Self::spawn_by(command, folder, config)?;
        let deadline = clock::mono() + PATIENCE;
        while !folder.join("state/control.sock").exists() {
            if clock::mono() > deadline {
                bail!("the daemon does not start: {}", daemon.log()?);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }

    /// What it has logged.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// What follows `words` in the first line of the log that has them; waits for it.
    pub fn wait_log(&self, words: &str) -> anyhow::Result<String> {
        let deadline = clock::mono() + PATIENCE;
        loop {
            let log = self.log()?;
            if let Some((_, rest)) = log.lines().find_map(|line| line.split_once(words)) {
                return Ok(rest.to_owned());
            }
            ensure!(clock::mono() < deadline, "waited for {words:?} in {log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A file of its in /proc.
    pub fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(file)
    }

    /// A line of /proc/PID/status, in bytes.
    pub fn memory(&self, line: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(self.proc("status"))?;
        let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let kilobytes = value.and_then(|value| value.trim().strip_suffix(" kB"));
        Ok(kilobytes.with_context(|| format!("no {line}"))?.parse::<u64>()? * 1024)
    }

    /// Begins the peak of memory, VmHWM, anew.
    pub fn forget_peak(&self) -> anyhow::Result<()> {
        fs::write(self.proc("clear_refs"), "5").context("cannot reset the peak of memory")
    }

    /// User and system time of all threads so far.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(self.proc("task"))? {
            let file = task?.path().join("schedstat");
            let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
            nanos += text.split(' ').next().context("schedstat is empty")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Ends it as systemd does.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the daemon failed: {}", self.log()?);
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

/// The command that starts it in a session of its own, as systemd does: then it shares the processor with others as a
/// service does (see [`super::aside`]). It needs `setsid` (util-linux), which becomes the daemon.
pub fn in_a_session() -> Command {
    let mut command = Command::new("setsid");
    command.arg(DAEMON);
    command
}

/// Runs a command of the binary to its end; gives what it printed.
pub fn command(config: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(DAEMON).arg("--config").arg(config).args(arguments).output()?;
    ensure!(output.status.success(), "{}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// A document for `import` in `folder`: the flats of the first revision.
pub fn write_document(folder: &Path) -> anyhow::Result<PathBuf> {
    write_revision(folder, 1)
}

/// A document for `import` in `folder`: the flats of a revision.
pub fn write_revision(folder: &Path, revision: u64) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("flats-{revision}.json"));
    let mut file = BufWriter::new(File::create(&path)?);
    write!(file, "{{\"revision\":{revision},\"flats\":[")?;
    for (number, flat) in flats(revision).enumerate() {
        write!(file, "{}{flat}", if number == 0 { "" } else { "," })?;
    }
    write!(file, "]}}")?;
    file.flush()?;
    Ok(path)
}

/// 10,000 flats with three users and ten keys each. The keys are the same in every revision, the users are called
/// otherwise in each.
pub fn flats(revision: u64) -> impl Iterator<Item = Value> {
    (0..CARDS / KEYS_A_FLAT).map(move |flat| {
        let user = |number: u32| {
            let id = flat * 3 + number + 1;
            json!({"id": id, "name": format!("resident {id} of {revision}"), "login": format!("resident-{id}@mail.example"),
                "created_at": "2022-11-11 14:45:58", "updated_at": "2022-11-11 14:45:58",
                "expired_at": "2122-11-11 14:45:57", "is_licence_limit_reached": false, "ptz_priority": 1,
                "access_token_id": null})
        };
        let key = |number: u32| {
            let key = flat * KEYS_A_FLAT + number;
            json!({"id": key + 1, "key": format!("{:014X}", FIRST_CARD + key), "user": user(number % 3),
                "created_at": "2022-11-11 14:46:16", "updated_at": "2022-11-14 15:56:40"})
        };
        json!({"intercom": 1, "id": flat + 1, "flat": flat + 1, "key_count": KEYS_A_FLAT, "users_count": 3,
            "keys": (0..KEYS_A_FLAT).map(key).collect::<Vec<_>>(), "users": (0..3).map(user).collect::<Vec<_>>(),
            "properties": {"is_analog_line_enable": true, "is_sip_line_enable": true, "is_can_manage_resistance": true}})
    })
}
