//! A real mosquitto on a free port of the loopback, killed when dropped.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::Pid};

pub struct Mosquitto {
    dir: tempfile::TempDir,
    pub port: u16,
    settings: String,
    child: Option<Child>,
}

impl Mosquitto {
    /// Lets anybody in.
    pub fn open() -> Self {
        Self::with("allow_anonymous true\n")
    }

    /// With `settings` below the listener's line; `DIR` in them is the directory of [`Mosquitto::file`].
    pub fn with(settings: &str) -> Self {
        Self::prepared(settings, |_| {})
    }

    /// As [`Mosquitto::with`], after `prepare` has written files into its directory.
    pub fn prepared(settings: &str, prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let mut broker = Self { dir, port: free_port(), settings: settings.to_owned(), child: None };
        broker.start();
        broker
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file that the settings name as `DIR/name`.
    pub fn file(&self, name: &str, content: &str) {
        write_private(&self.dir.path().join(name), content);
    }

    /// Exchanges the settings; they hold from the next start or reload on.
    pub fn set(&mut self, settings: &str) {
        settings.clone_into(&mut self.settings);
        self.write_config();
    }

    /// Starts the broker and waits until it takes connections.
    pub fn start(&mut self) {
        let config = self.write_config();
        let log =
            std::fs::File::options().append(true).create(true).open(self.dir.path().join("log")).unwrap();
        let mut child = Command::new(binary("mosquitto"))
            .arg("-c")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("mosquitto ended with {status}:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child = Some(child);
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// SIGKILL: what it had in memory is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM: it writes what it is to keep.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child, Signal::SIGTERM);
            child.wait().unwrap();
        }
    }

    /// SIGHUP: it reads rules and passwords again.
    pub fn reload(&self) {
        signal(self.child.as_ref().expect("it runs"), Signal::SIGHUP);
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn write_config(&self) -> PathBuf {
        let dir = self.dir.path().to_str().unwrap();
        let settings = self.settings.replace("DIR", dir);
        let config = format!(
            "listener {} 127.0.0.1\nlog_type all\n{settings}\nuser root\nmax_queued_messages 1000000\nlog_timestamp_format %H:%M:%S\n",
            self.port
        );
        let path = self.dir.path().join("mosquitto.conf");
        std::fs::write(&path, config).unwrap();
        path
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("mosquitto's log:\n{}", self.log());
        }
    }
}

/// Writes a file that only we may read, for mosquitto warns of others.
pub fn write_private(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

/// Puts an account into `passwords` of a broker's directory, mosquitto's file of them.
pub fn add_password(dir: &Path, user: &str, password: &str) {
    let file = dir.join("passwords");
    if !file.exists() {
        write_private(&file, "");
    }
    let added = Command::new(binary("mosquitto_passwd")).arg("-b").arg(file).args([user, password]).status();
    assert!(added.unwrap().success());
}

/// A port that nobody listens on, below those that the system hands out to clients.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One of mosquitto's programs.
pub fn binary(name: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    places.push("/usr/sbin".into());
    places.into_iter().map(|place| place.join(name)).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("{name} is needed by this test: apt-get install mosquitto mosquitto-clients")
    })
}

fn signal(child: &Child, signal: Signal) {
    nix::sys::signal::kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}
