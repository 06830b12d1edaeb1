//! A real PostgreSQL in a directory of its own, on a socket there; killed when dropped.

use std::{
    fs::File,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid, User, geteuid},
};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, Row, types::ToSql};

use super::not_run;

/// Whom Debian's package makes, for the server does not run as root.
const USER: &str = "postgres";

pub struct Postgres {
    dir: tempfile::TempDir,
    child: Child,
    runtime: Runtime,
    client: Option<Client>,
}

impl Postgres {
    /// Starts it; `None`: it is not installed here, or we may not run it.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            not_run("the cloud's store: PostgreSQL is not installed (apt-get install postgresql)");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            let Some(user) = User::from_name(USER).unwrap() else {
                not_run("the cloud's store: there is no user postgres, and the server does not run as root");
                return None;
            };
            chown(dir.path(), Some(user.uid.as_raw()), None).unwrap();
        }
        let data = dir.path().join("data");
        let log = File::create(dir.path().join("log")).unwrap();
        let made = as_its_user(&programs.join("initdb"))
            .args([
                "--auth=trust",
                "--no-instructions",
                "--encoding=UTF8",
                "--locale=C",
                "--username",
                USER,
                "-D",
            ])
            .arg(&data)
            .current_dir(dir.path())
            .stdout(log.try_clone().unwrap())
            .stderr(log.try_clone().unwrap())
            .status();
        assert!(made.is_ok_and(|made| made.success()), "{}", log_of(dir.path()));
        let child = as_its_user(&programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(dir.path())
            .args(["-c", "listen_addresses="])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut postgres = Self { dir, child, runtime, client: None };
        super::wait_until("PostgreSQL takes connections", || postgres.connect());
        Some(postgres)
    }

    fn connect(&mut self) -> bool {
        let place = self.place();
        let connected = self.runtime.block_on(tokio_postgres::connect(&place, NoTls));
        let Ok((client, connection)) = connected else { return false };
        self.runtime.spawn(connection);
        self.client = Some(client);
        true
    }

    /// What `--store` is to say.
    pub fn place(&self) -> String {
        format!("host={} user={USER} dbname={USER}", self.dir.path().display())
    }

    /// The rows of a query.
    pub fn rows(&self, query: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        let client = self.client.as_ref().expect("it is connected");
        self.runtime
            .block_on(client.query(query, parameters))
            .unwrap_or_else(|error| panic!("{query}: {error:?}"))
    }

    /// The number that a query gives.
    pub fn number(&self, query: &str) -> i64 {
        self.rows(query, &[])[0].get(0)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The server ends its processes; a kill would leave them and their shared memory. It may have ended.
        if let Some(pid) = server(self.dir.path()) {
            let _ = kill(pid, Signal::SIGQUIT);
        }
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("PostgreSQL's log:\n{}", log_of(self.dir.path()));
        }
    }
}

/// The server itself, which `runuser` has started.
fn server(dir: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(dir.join("data/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok().map(Pid::from_raw)
}

fn log_of(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("log")).unwrap_or_default()
}

/// Where the newest version's programs are.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let found =
        versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    found.max().map(|(_, path)| path.join("bin")).filter(|path| path.join("initdb").is_file())
}

fn as_its_user(program: &Path) -> Command {
    if geteuid() != Uid::from_raw(0) {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", USER, "--"]).arg(program);
    command
}
