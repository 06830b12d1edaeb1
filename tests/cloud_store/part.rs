//! Parts of a cloud as processes of their own.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use crate::{ROLE, support::postgres::Postgres};

/// A running part; dropping it kills it.
pub struct Part(Child);

impl Part {
    /// Starts it; what it says goes to the end of `log`.
    pub fn start(port: u16, postgres: &Postgres, arguments: &[&str], log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = command(port, postgres, arguments);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended already, which the test finds out.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Gives a command to its end.
pub fn give(port: u16, postgres: &Postgres, arguments: &[&str]) -> Output {
    command(port, postgres, arguments).output().unwrap()
}

/// Makes the tables.
pub fn prepare(postgres: &Postgres) {
    for _ in 0..2 {
        let made = give(1, postgres, &["prepare"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

fn command(port: u16, postgres: &Postgres, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([ROLE, "--broker", &format!("127.0.0.1:{port}"), "--store", &postgres.place()])
        .args(arguments);
    command
}
