//! `backup`: writes everything that a dead SD card would lose to one sealed file.

use std::{
    io::{self, BufRead, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use nix::unistd::geteuid;

use super::{
    offline::{self, Access},
    passphrase,
};
use crate::{
    backup::{self, Attributes, Content, FlatsSummary, FlatsWriter, Manifest, Writer},
    config::{Config, layer_files},
    domain::{Stamp, json, order},
    gateway::{self, control::Request},
    store::{ExportError, Store, time_floor_in},
    sys::files::Replacement,
};

/// Writes panel keys, tokens, certificate, flats and, as root, the configuration to a sealed file that `restore` takes
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// The file, readable by its owner alone
    file: PathBuf,
    /// Takes the passphrase from a file instead of asking for it
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Replaces the file where there is one
    #[arg(long)]
    force: bool,
}

/// Files of the configuration, and those that it names.
#[derive(Default)]
struct Configuration {
    files: Vec<(PathBuf, Content, Attributes)>,
    missing: Vec<PathBuf>,
}

/// What came of a backup of the state.
struct Written {
    files: usize,
    flats: Option<FlatsSummary>,
}

impl Backup {
    /// # Errors
    /// The configuration is invalid, something cannot be read, or the file cannot be written; then it does not stay.
    pub fn run(&self, main: &Path) -> anyhow::Result<()> {
        let config = Config::load(main)?;
        let state_dir = &config.gateway.state_dir;
        ensure!(
            state_dir.is_dir(),
            "{} holds no data yet: start the daemon, or import a file",
            state_dir.display()
        );
        self.refuse_place(state_dir)?;
        let passphrase = passphrase::to_seal(self.passphrase_file.as_deref())?;
        let configuration = geteuid().is_root().then(|| Configuration::read(&config, main)).transpose()?;
        let mut manifest = Manifest::new(
            config.gateway.id.clone(),
            std::path::absolute(state_dir)?,
            gateway::clock(&config).wall(),
        );
        manifest.intercoms = config.intercoms.iter().map(|intercom| intercom.id).collect();
        if let Some(found) = &configuration {
            manifest.configuration = Some(std::path::absolute(main)?);
            manifest.private_folders = found.private_folders();
        }
        let name = self.file.display();
        let failed = || format!("cannot write {name}: make room there, or name another place");
        let mut file = Replacement::begin(&self.file).with_context(failed)?;
        let written = offline::as_owner(state_dir, || {
            manifest.set_known_time(known_time(&config));
            let mut out = io::BufWriter::new(file.file());
            let mut writer = Writer::new(&mut out, &passphrase, &manifest).with_context(failed)?;
            for (path, content, attributes) in configuration.iter().flat_map(|found| &found.files) {
                writer.configuration(path, content, attributes).with_context(failed)?;
            }
            let written = write_state(&config, writer, &failed)?;
            out.flush().with_context(failed)?;
            Ok(written)
        })?;
        file.finish().with_context(failed)?;
        written.tell(&config, configuration.as_ref())
    }

    /// Refuses a file that is there, and one that would be lost with what it holds.
    fn refuse_place(&self, state_dir: &Path) -> anyhow::Result<()> {
        let name = self.file.display();
        ensure!(!self.file.is_dir(), "{name} is a directory: name a file in it");
        ensure!(
            self.force || self.file.symlink_metadata().is_err(),
            "{name} exists already: name another file, or say --force to replace it"
        );
        let absolute = std::path::absolute(&self.file)?;
        let folder = absolute.parent().and_then(|folder| folder.canonicalize().ok());
        let is_inside =
            folder.is_some_and(|folder| state_dir.canonicalize().is_ok_and(|dir| folder.starts_with(dir)));
        ensure!(
            !is_inside,
            "{name} lies in the state directory, and would be lost with it: name a place on another disk or machine"
        );
        Ok(())
    }
}

impl Configuration {
    fn read(config: &Config, main: &Path) -> anyhow::Result<Self> {
        let mut found = Self::default();
        for path in layer_files(main)?.into_iter().chain(config.named_files()) {
            match backup::read_file(&path)? {
                Some((content, attributes)) => found.files.push((path, content, attributes)),
                None => found.missing.push(path),
            }
        }
        Ok(found)
    }

    /// Returns the folders of the files that are their owner's alone.
    fn private_folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> =
            self.files.iter().filter_map(|(path, ..)| path.parent().map(Path::to_owned)).collect();
        order::sort(&mut folders);
        folders.dedup();
        folders
            .retain(|folder| folder.metadata().is_ok_and(|folder| folder.permissions().mode() & 0o077 == 0));
        folders
    }
}

impl Written {
    fn tell(&self, config: &Config, configuration: Option<&Configuration>) -> anyhow::Result<()> {
        let flats = self.flats.as_ref().map_or("no flats".to_owned(), described);
        let files = configuration.map_or(0, |found| found.files.len());
        writeln!(
            io::stdout(),
            "backed up: gateway {}: {flats}, {} files of the state, {files} files of the configuration",
            config.gateway.id,
            self.files,
        )?;
        match configuration {
            None => eprintln!(
                "the configuration is not in it: run this as root (sudo) to have it and its secrets in it"
            ),
            Some(found) => {
                for path in &found.missing {
                    eprintln!(
                        "{} is not in it: the configuration names it, and it is not there",
                        path.display()
                    );
                }
            }
        }
        Ok(())
    }
}

/// Says what the flats are, as `import` does.
pub fn described(flats: &FlatsSummary) -> String {
    let revision = flats.revision.map_or("none".to_owned(), |revision| revision.to_string());
    format!("revision {revision}, {flats}")
}

/// The last moment at which the clock was known to be right, as far as it can be told beside a daemon.
fn known_time(config: &Config) -> Option<Stamp> {
    let clock = gateway::clock(config);
    if clock.is_synchronized() { Some(clock.stamp()) } else { time_floor_in(&config.gateway.state_dir) }
}

fn write_state<W: Write>(
    config: &Config,
    mut writer: Writer<W>,
    failed: &impl Fn() -> String,
) -> anyhow::Result<Written> {
    let state_dir = &config.gateway.state_dir;
    let access = offline::reach(config)?;
    if matches!(access, Access::Alone) {
        backup::finish(state_dir)?;
    }
    let mut files = 0;
    for path in backup::state_files(state_dir)? {
        // One that has gone since it was listed is not part of the state any more.
        if let Some((content, _)) = backup::read_file(&state_dir.join(&path))? {
            writer.state(&path, &content).with_context(failed)?;
            files += 1;
        }
    }
    let mut document = writer.flats();
    let flats = match access {
        Access::Daemon(client) => {
            Some(receive(&mut client.ask(&Request::Backup)?.rest, &mut document, failed)?)
        }
        Access::Alone if !state_dir.join("cache.db").exists() => None,
        Access::Alone => {
            let exported = Store::open_read_only(state_dir)?.cache().export(&mut document);
            let state = exported.map_err(|error| match error {
                ExportError::Write(error) => anyhow::Error::from(error).context(failed()),
                error => error.into(),
            })?;
            Some(FlatsSummary::from(&state))
        }
    };
    document.finish(flats.clone()).with_context(failed)?;
    Ok(Written { files, flats })
}

/// Passes the daemon's document on, but for its last line, which says what the flats are together.
fn receive(
    answer: &mut impl BufRead,
    document: &mut FlatsWriter<impl Write>,
    failed: &impl Fn() -> String,
) -> anyhow::Result<FlatsSummary> {
    let (mut line, mut before) = (Vec::new(), Vec::new());
    while answer.read_until(b'\n', &mut line).context("the flats broke off")? > 0 {
        document.write_all(&before).with_context(failed)?;
        std::mem::swap(&mut line, &mut before);
        line.clear();
    }
    json::from_slice(&before)
        .ok()
        .context("the flats broke off: the daemon has ended, or failed to read the cache")
}
