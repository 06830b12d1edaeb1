//! `restore`: puts everything that `backup` wrote in its place, or nothing.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use nix::unistd::geteuid;

use super::{backup::described, offline, passphrase};
use crate::{
    api::Tokens,
    backup::{
        self, Attributes, Content, Finished, FlatsSummary, Manifest, REPLACED, Receiver, Staged, Staging,
    },
    clock::{Clock, Trust},
    config::{Config, layer_files},
    gateway::{Records, TOKENS, control},
    store::{Store, StoreOptions, flats_in, time_floor_in},
};

/// Restores what `backup` wrote, all or nothing, while the daemon is stopped; a new journal begins
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The file that `backup` has written
    file: PathBuf,
    /// Takes the passphrase from a file instead of asking for it
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Replaces flats, panel keys, tokens and configuration files that are there; what is replaced is kept beside
    #[arg(long)]
    replace: bool,
}

impl Restore {
    /// # Errors
    /// The configuration is invalid, the daemon runs, there is something already, or the file cannot be opened: then
    /// nothing has changed. Or the disk refused after it was decided that all of it is restored: then it is completed
    /// later.
    pub fn run(&self, main: &Path) -> anyhow::Result<()> {
        let is_root = geteuid().is_root();
        let config = match Config::load(main) {
            // The backup may hold it.
            Err(_) if is_root && !main.exists() => None,
            loaded => Some(loaded?),
        };
        if let Some(config) = &config {
            let state_dir = &config.gateway.state_dir;
            refuse_running(state_dir)?;
            if finish_interrupted(state_dir)? {
                return self.tell_interrupted();
            }
        }
        let name = self.file.display();
        let file = File::open(&self.file).with_context(|| format!("cannot open {name}"))?;
        let passphrase = passphrase::to_open(self.passphrase_file.as_deref())?;
        let mut restoring = Restoring::new(main, config, self.replace)?;
        let decided = backup::read(file, &passphrase, &mut restoring).and_then(|()| restoring.commit());
        drop(passphrase);
        if restoring.was_interrupted {
            return self.tell_interrupted();
        }
        if let Err(error) = decided {
            backup::withdraw(&restoring.staged);
            return Err(error.context(format!("{name} is not restored, nothing has changed")));
        }
        restoring.complete()?;
        restoring.tell()
    }

    fn tell_interrupted(&self) -> anyhow::Result<()> {
        let name = self.file.display();
        Ok(writeln!(
            io::stdout(),
            "the restore that was interrupted is complete now; to restore {name} over it, run this again with --replace"
        )?)
    }
}

/// A restore under way: everything is staged as it is read.
struct Restoring {
    main: PathBuf,
    config: Option<Config>,
    replace: bool,
    manifest: Option<Manifest>,
    /// Where the state comes to.
    state_dir: PathBuf,
    staging: Option<Staging>,
    /// Whether files of the configuration are taken: the process is root's, and the backup is of this configuration.
    takes_configuration: bool,
    /// The configuration itself, which is taken as a whole or not at all.
    layers: Vec<(PathBuf, Content, Attributes)>,
    staged: Staged,
    /// Files that were left as they are.
    left: Vec<PathBuf>,
    /// A restore that had been interrupted was completed in place of this one.
    was_interrupted: bool,
    flats: Option<FlatsSummary>,
}

impl Receiver for Restoring {
    fn begin(&mut self, manifest: &Manifest) -> anyhow::Result<()> {
        self.takes_configuration =
            geteuid().is_root() && manifest.configuration.as_deref() == Some(self.main.as_path());
        let replaces = self.takes_configuration && (self.replace || self.existing_layers()?.is_empty());
        self.state_dir = match &self.config {
            Some(config) if !replaces => config.gateway.state_dir.clone(),
            None if !replaces => bail!(
                "there is no configuration {}, and the backup does not hold it: write it first, or name another with --config FILE",
                self.main.display()
            ),
            _ => manifest.state_dir.clone(),
        };
        refuse_running(&self.state_dir)?;
        // Where there was no configuration, nobody has looked yet.
        self.was_interrupted = finish_interrupted(&self.state_dir)?;
        ensure!(!self.was_interrupted, "another restore had to be completed first");
        offline::make_dir(&self.state_dir)?;
        let (state_dir, replace) = (&self.state_dir, self.replace);
        self.staging = Some(offline::as_owner(state_dir, || {
            let staging = Staging::begin(state_dir)?;
            if !replace {
                refuse_full(state_dir)?;
            }
            Ok(staging)
        })?);
        self.manifest = Some(manifest.clone());
        Ok(())
    }

    fn configuration(&mut self, path: &Path, content: &[u8], attributes: &Attributes) -> anyhow::Result<()> {
        if !self.takes_configuration {
            return Ok(());
        }
        if self.is_layer(path) {
            let content = Content::new(content.to_vec());
            self.layers.push((path.to_owned(), content, attributes.clone()));
            return Ok(());
        }
        match backup::differs(path, content)? {
            Some(false) => {}
            Some(true) if !self.replace => self.left.push(path.to_owned()),
            Some(true) | None => self.stage(path, content, attributes)?,
        }
        Ok(())
    }

    fn state(&mut self, path: &Path, content: &[u8]) -> anyhow::Result<()> {
        offline::as_owner(&self.state_dir, || self.staging()?.write(path, content))
    }

    fn flats(&mut self, document: &mut dyn Read) -> anyhow::Result<FlatsSummary> {
        let filled = offline::as_owner(&self.state_dir, || self.fill(Some(document)))?;
        self.flats.clone_from(&filled);
        filled.context("no flats were taken")
    }
}

impl Restoring {
    fn new(main: &Path, config: Option<Config>, replace: bool) -> anyhow::Result<Self> {
        Ok(Self {
            main: std::path::absolute(main)?,
            config,
            replace,
            manifest: None,
            state_dir: PathBuf::new(),
            staging: None,
            takes_configuration: false,
            layers: Vec::new(),
            staged: Staged::default(),
            left: Vec::new(),
            was_interrupted: false,
            flats: None,
        })
    }

    fn staging(&self) -> anyhow::Result<&Staging> {
        self.staging.as_ref().context("the backup does not say what it is of")
    }

    fn manifest(&self) -> anyhow::Result<&Manifest> {
        self.manifest.as_ref().context("the backup does not say what it is of")
    }

    fn is_layer(&self, path: &Path) -> bool {
        let mut folder = self.main.clone().into_os_string();
        folder.push(".d");
        path == self.main || path.parent() == Some(Path::new(&folder))
    }

    fn existing_layers(&self) -> anyhow::Result<Vec<PathBuf>> {
        Ok(layer_files(&self.main)?.into_iter().filter(|file| file.exists()).collect())
    }

    fn stage(&mut self, path: &Path, content: &[u8], attributes: &Attributes) -> anyhow::Result<()> {
        let private = self.manifest()?.private_folders.clone();
        self.staged.stage(path, content, attributes, &private)
    }

    /// Decides about the configuration, which is taken as a whole.
    fn settle(&mut self) -> anyhow::Result<()> {
        if self.layers.is_empty() {
            return Ok(());
        }
        let mut away = self.existing_layers()?;
        let is_new = away.is_empty();
        away.retain(|file| !self.layers.iter().any(|(path, ..)| path == file));
        let mut other = Vec::new();
        for layer in std::mem::take(&mut self.layers) {
            if backup::differs(&layer.0, &layer.1)? != Some(false) {
                other.push(layer);
            }
        }
        if !is_new && !self.replace {
            self.left.extend(away.into_iter().chain(other.into_iter().map(|(path, ..)| path)));
            return Ok(());
        }
        for (path, content, attributes) in &other {
            self.stage(path, content, attributes)?;
        }
        self.staged.away = away;
        Ok(())
    }

    /// Makes the databases: a new journal, and the flats of the document.
    fn fill(&self, document: Option<&mut dyn Read>) -> anyhow::Result<Option<FlatsSummary>> {
        let (manifest, clock) = (self.manifest()?, Arc::new(Clock::system(Trust::Auto)));
        let (store, _) = Store::open(StoreOptions {
            dir: self.staging()?.dir(),
            keep: Duration::ZERO,
            max_events: u64::MAX,
            max_journal_bytes: None,
            alone: true,
            now: Arc::new(move || clock.stamp()),
            clock_is_steady: Arc::new(|| false),
        })?;
        // Whose right has ended must not open again because the clock of this machine is not set yet.
        let floors = [manifest.known_time(), time_floor_in(&self.state_dir)];
        if let Some(floor) = floors.into_iter().flatten().max_by_key(|floor| floor.time) {
            store.journal().set_time_floor(floor);
        }
        let imported =
            document.map(|document| store.cache().import(document, &manifest.intercoms)).transpose()?;
        store.shutdown();
        Ok(imported.map(|imported| FlatsSummary::from(&imported.state)))
    }

    /// Decides that all of it is restored.
    fn commit(&mut self) -> anyhow::Result<()> {
        self.settle()?;
        let configuration = self.staged.clone();
        let without_flats = self.flats.is_none();
        let state_dir = self.state_dir.clone();
        offline::as_owner(&state_dir, || {
            if without_flats {
                self.fill(None)?;
            }
            let staging = self.staging.as_mut().context("the backup does not say what it is of")?;
            staging.commit(configuration)
        })
    }

    fn complete(&self) -> anyhow::Result<()> {
        backup::complete_configuration(&self.staged)?;
        offline::as_owner(&self.state_dir, || backup::complete_state(self.staging()?))
    }

    fn tell(&self) -> anyhow::Result<()> {
        let manifest = self.manifest()?;
        let flats = self.flats.as_ref().map_or("no flats".to_owned(), described);
        writeln!(
            io::stdout(),
            "restored: gateway {} as of {}: {flats}, {} files of the configuration; a new journal begins with the next start",
            manifest.gateway,
            manifest.made_at,
            self.staged.files.len()
        )?;
        let replaced = self.state_dir.join(REPLACED);
        if self.replace && replaced.exists() {
            eprintln!("what was replaced is in {}, until the next restore", replaced.display());
        }
        for path in self.staged.files.iter().chain(&self.staged.away) {
            let kept = format!("{}.before-restore", path.display());
            if Path::new(&kept).exists() {
                eprintln!("what was {} is {kept} now", path.display());
            }
        }
        for path in &self.left {
            eprintln!(
                "{} is as it was, and not as in the backup: --replace takes the backup's",
                path.display()
            );
        }
        match (&manifest.configuration, self.takes_configuration) {
            (None, _) => eprintln!("the backup holds no configuration, for it was not made by root"),
            (Some(_), true) => {}
            (Some(of), false) if *of == self.main => {
                eprintln!("the configuration in the backup is not restored: that takes root (sudo)");
            }
            (Some(of), false) => eprintln!(
                "the configuration in the backup is not restored, for it is of {}: restore it by --config {}",
                of.display(),
                of.display()
            ),
        }
        Ok(())
    }
}

/// Refuses where a daemon answers.
fn refuse_running(state_dir: &Path) -> anyhow::Result<()> {
    if control::Client::connect(&state_dir.join("control.sock"))?.is_some() {
        bail!(
            "a daemon runs with the state directory {}: stop it (systemctl stop intercom-gateway), restore, and start it again",
            state_dir.display()
        );
    }
    Ok(())
}

/// Refuses where something is that would be lost.
fn refuse_full(state_dir: &Path) -> anyhow::Result<()> {
    let flats = flats_in(state_dir).map_or(true, |flats| flats > 0);
    let keys = Records::hold_keys(state_dir).unwrap_or(true);
    let tokens = Tokens::open(&state_dir.join(TOKENS)).map_or(true, |tokens| !tokens.list().is_empty());
    let found: Vec<&str> = [(flats, "flats"), (keys, "panel keys"), (tokens, "tokens")]
        .into_iter()
        .filter_map(|(is_there, what)| is_there.then_some(what))
        .collect();
    ensure!(
        found.is_empty(),
        "{} holds {} already: say --replace to put the backup's in their place (the old ones are kept in {})",
        state_dir.display(),
        found.join(", "),
        state_dir.join(REPLACED).display()
    );
    Ok(())
}

/// Completes a restore that was interrupted after it was decided; whether there was one.
fn finish_interrupted(state_dir: &Path) -> anyhow::Result<bool> {
    if !state_dir.is_dir() {
        return Ok(false);
    }
    let Some(staged) = offline::as_owner(state_dir, || backup::interrupted(state_dir))? else {
        return Ok(false);
    };
    ensure!(
        staged.is_empty() || geteuid().is_root(),
        "an interrupted restore has files of the configuration left to put in their places: run this as root (sudo)"
    );
    backup::complete_configuration(&staged)?;
    let finished = offline::as_owner(state_dir, || backup::finish_configured(state_dir))?;
    Ok(finished == Finished::Completed)
}
