//! Work that another machine does in life: a process of its own, behind everything else (nice 19).
//!
//! It is this program in another role. It ends when its standard input does.
//!
//! A process of a session of its own, for Linux first shares the processor out among sessions (`sched_autogroup_enabled`,
//! sched(7)) and looks at nice values only within one: in the bench's own session nice 19 would be behind the bench, but
//! beside the kernel's threads, which carry the characters of a pseudo-terminal.

use std::{
    ffi::OsStr,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, ensure};

/// A running role; killed where a bench ends without stopping it.
pub struct Aside {
    child: Child,
    /// `None` once it has been told to end.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Aside {
    /// Starts this program with `role` as its arguments; there it begins with [`step_behind`].
    ///
    /// # Errors
    /// There is no `nice` (coreutils).
    pub fn start(role: impl IntoIterator<Item = impl AsRef<OsStr>>) -> anyhow::Result<Self> {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(std::env::current_exe()?).args(role);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.context("cannot start the clients (there must be nice, of coreutils)")?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, stdin, stdout })
    }

    /// Sends a line.
    ///
    /// # Errors
    /// It has ended.
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("it was told to end")?;
        writeln!(stdin, "{line}").context("the process beside has ended")
    }

    /// Waits for its next line.
    ///
    /// # Errors
    /// It has ended.
    pub fn hear(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "the process beside has ended");
        Ok(line.trim_end().to_owned())
    }

    /// Sends a line and waits for the answer.
    ///
    /// # Errors
    /// It has ended.
    pub fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        self.say(line)?;
        self.hear()
    }

    /// Ends it; returns what it still said.
    ///
    /// # Errors
    /// It failed.
    pub fn stop(mut self) -> anyhow::Result<String> {
        drop(self.stdin.take());
        let mut told = String::new();
        self.stdout.read_to_string(&mut told)?;
        ensure!(self.child.wait()?.success(), "the process beside failed");
        Ok(told.trim().to_owned())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // One that was stopped is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Leaves the bench's session and ranks the new one, with all that this process starts, behind everything else.
///
/// # Errors
/// The kernel refuses it.
pub fn step_behind() -> anyhow::Result<()> {
    nix::unistd::setsid().context("cannot leave the session")?;
    match fs::write("/proc/self/autogroup", "19") {
        // A kernel without automatic groups: nice holds among all processes.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.context("cannot rank a session (/proc/self/autogroup)"),
    }
}

/// Blocks until the bench lets this role end.
pub fn until_told_to_end() -> anyhow::Result<()> {
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
