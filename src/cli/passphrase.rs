//! The passphrase of a backup: from a file, or typed on the terminal without being shown.

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
};

use anyhow::{Context, bail, ensure};
use nix::sys::{
    signal::{SigSet, SigmaskHow, Signal, sigprocmask},
    termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr},
};
use zeroize::Zeroizing;

/// A passphrase; wiped when it is dropped.
pub type Passphrase = Zeroizing<String>;

/// Shorter ones can be guessed by those who have the file, characters.
const SHORT: usize = 12;
/// Room for what is typed: a text that grew would leave itself behind in memory.
const ROOM: usize = 4096;

/// Returns the passphrase to seal with: asked for twice, so that it is what was meant.
///
/// # Errors
/// There is none: the file cannot be read, or nobody is there to ask; or both that were typed differ.
pub fn to_seal(file: Option<&Path>) -> anyhow::Result<Passphrase> {
    let passphrase = match file {
        Some(file) => of_file(file)?,
        None => {
            let first = ask("Passphrase: ")?;
            ensure!(
                *first == *ask("The same again: ")?,
                "the two passphrases differ: nothing was written; try again"
            );
            first
        }
    };
    ensure!(
        !passphrase.is_empty(),
        "the passphrase is empty: anybody who finds the backup would have all keys"
    );
    if passphrase.chars().count() < SHORT {
        eprintln!(
            "the passphrase has less than {SHORT} characters: it can be guessed by those who get hold of the file"
        );
    }
    Ok(passphrase)
}

/// Returns the passphrase to open with.
///
/// # Errors
/// There is none: the file cannot be read, or nobody is there to ask.
pub fn to_open(file: Option<&Path>) -> anyhow::Result<Passphrase> {
    file.map_or_else(|| ask("Passphrase: "), of_file)
}

/// Returns what a file holds, without the line break that an editor leaves behind it.
fn of_file(file: &Path) -> anyhow::Result<Passphrase> {
    let name = file.display();
    let bytes =
        Zeroizing::new(fs::read(file).with_context(|| format!("cannot read the passphrase in {name}"))?);
    let text = std::str::from_utf8(&bytes).ok().with_context(|| format!("{name} is no text in UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

fn ask(question: &str) -> anyhow::Result<Passphrase> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        bail!(
            "there is no terminal to ask for the passphrase: name a file that holds it by --passphrase-file FILE"
        );
    }
    let hidden = Hidden::new()
        .context("cannot ask for the passphrase: name a file that holds it by --passphrase-file FILE")?;
    let mut err = io::stderr();
    write!(err, "{question}").and_then(|()| err.flush())?;
    let mut line = Zeroizing::new(String::with_capacity(ROOM));
    stdin.lock().read_line(&mut line)?;
    drop(hidden);
    writeln!(err)?;
    ensure!(line.ends_with('\n'), "no passphrase was typed");
    let typed = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(typed);
    Ok(line)
}

/// Keeps the terminal from showing what is typed. An interruption from the keyboard waits until it shows it again.
struct Hidden {
    shown: Termios,
    signals: SigSet,
}

impl Hidden {
    fn new() -> nix::Result<Self> {
        let shown = tcgetattr(io::stdin())?;
        let mut signals = SigSet::empty();
        let interrupting: SigSet = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP].into_iter().collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&interrupting), Some(&mut signals))?;
        let mut hidden = shown.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        // From here on it is dropped, and all is as before.
        let this = Self { shown, signals };
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &hidden)?;
        Ok(this)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Nothing is left to do about a terminal that has gone.
        let _ = tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &self.shown);
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.signals), None);
    }
}
