//! `doctor --bundle`: what support needs, in one file.

use std::{
    io::{BufRead, Read},
    path::Path,
    process::Command,
};

use anyhow::Context;

use super::super::offline::{self, Access};
use crate::{
    api::Tokens,
    bundle::{self, Bundle, Pseudonyms, Words},
    config::{Config, Environment, Intercom, SecretFile, Written},
    domain::{
        Check, Name,
        json::{self, Document},
        order,
        time::rfc3339,
        with_causes,
    },
    flats::MAX_FLAT_BYTES,
    gateway::{
        self, TOKENS, VERSION,
        control::{Client, JournalAsked, ListedToken, Request},
    },
};

/// Events of a bundle.
const EVENTS: u64 = 1000;
/// Lines of the log.
const LOG_LINES: &str = "5000";
/// The folder of recordings around incidents, in the state directory.
const TRACES: &str = "traces";
/// Most bytes of them.
const TRACES_ROOM: usize = 16 << 20;
/// The unit whose log it is.
const UNIT: &str = "intercom-gateway";

/// What is gathered, and what could not be.
struct Gathering<'a> {
    config: &'a Config,
    words: Words,
    pseudonyms: Pseudonyms,
    /// Why something is not there.
    without: Vec<String>,
}

/// Writes a bundle to `file`; `report` is what the doctor found. Returns what is to be said of it.
///
/// # Errors
/// What is personal cannot be told from the rest, or the file cannot be written.
pub fn write(config_path: &Path, config: &Config, report: &[Check], file: &Path) -> anyhow::Result<String> {
    let pseudonyms = Pseudonyms::new().map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let mut gathering = Gathering { config, words: Words::default(), pseudonyms, without: Vec::new() };
    gathering.learn().context("what is personal is not known, so nothing is written")?;
    let now = gateway::clock(config).wall();
    let mut bundle = Bundle::begin(Vec::new(), u64::try_from(now.as_second()).unwrap_or_default());
    let written = Written::load(config_path, &Environment::of_process())?;
    bundle.add("config.toml", gathering.hide(&written.to_toml()).as_bytes())?;
    bundle.add("report.json", gathering.hide(&serde_json::to_string_pretty(report)?).as_bytes())?;
    bundle.add("system.txt", system().as_bytes())?;
    for (name, content) in [
        ("events.jsonl", gathering.events()),
        ("metrics.txt", gathering.metrics()),
        ("log.txt", gathering.log()),
    ] {
        match content {
            Ok(content) => bundle.add(name, content.as_bytes())?,
            Err(error) => gathering.without.push(format!("{name}: {}", with_causes(error.as_ref()))),
        }
    }
    for (name, content) in gathering.lately().into_iter().chain(gathering.incidents()) {
        bundle.add(&format!("traces/{name}"), &content)?;
    }
    if config.buses.iter().any(|bus| bus.trace.is_some()) {
        // One that holds keys cannot be told from one that does not: trace_keys may have been set for a while.
        let left_out = "trace_file: what it names may hold keys from when trace_keys was set; send it by another way, after a look";
        gathering.without.push(left_out.to_owned());
    }
    bundle.add("README.txt", gathering.read_me(&rfc3339(now)).as_bytes())?;
    let bytes = bundle.finish()?;
    std::fs::write(file, &bytes).with_context(|| format!("cannot write {}", file.display()))?;
    let mut said =
        format!("{}: {} kB, without secrets and names", file.display(), bytes.len().div_ceil(1000));
    for without in &gathering.without {
        said.push_str(&format!("\nnot in it: {without}"));
    }
    Ok(said)
}

impl Gathering<'_> {
    /// Learns what is personal or secret.
    fn learn(&mut self) -> anyhow::Result<()> {
        let login = self.config.mqtt.as_ref().and_then(|mqtt| mqtt.username.clone());
        self.words.learn(login.as_deref().unwrap_or_default());
        let password = self.config.mqtt.as_ref().and_then(|mqtt| mqtt.password_file.as_ref());
        // One that cannot be read is in nothing that we read.
        if let Some(password) = password.map(SecretFile::read_text).and_then(Result::ok) {
            self.words.learn(&password);
        }
        let named = |intercom: &&Intercom| intercom.name != Intercom::unnamed(intercom.id);
        for intercom in self.config.intercoms.iter().filter(named) {
            self.words.learn(&intercom.name);
        }
        match offline::reach(self.config)? {
            Access::Daemon(client) => {
                let mut flats = client.ask(&Request::Export)?.rest;
                self.learn_flats(&mut flats).context("cannot read the flats")?;
                let tokens = self.daemon()?.ask(&Request::TokenList)?.value;
                for token in json::from_value::<Vec<ListedToken>>(&tokens)? {
                    self.words.learn(token.name.as_str());
                }
            }
            Access::Alone => {
                let dir = &self.config.gateway.state_dir;
                if dir.join("cache.db").exists() {
                    let mut flats = Vec::new();
                    offline::with_store(self.config, |store| Ok(store.cache().export(&mut flats)?))?;
                    self.learn_flats(&mut flats.as_slice()).context("cannot read the flats")?;
                }
                if dir.exists() {
                    let tokens = offline::as_owner(dir, || Ok(Tokens::open(&dir.join(TOKENS))?))?;
                    tokens.list().iter().for_each(|token| self.words.learn(token.name.as_str()));
                }
            }
        }
        Ok(())
    }

    /// Learns what an export says of people.
    fn learn_flats(&mut self, export: &mut dyn Read) -> anyhow::Result<()> {
        let mut document = Document::new(export, MAX_FLAT_BYTES);
        document.object("an export")?;
        while let Some(name) = document.member()? {
            if name != "flats" {
                document.value()?;
                continue;
            }
            document.array("an array of flat documents")?;
            while document.element()? {
                self.words.learn_flat(document.value()?)?;
            }
        }
        Ok(())
    }

    fn daemon(&self) -> anyhow::Result<Client> {
        match offline::reach(self.config)? {
            Access::Daemon(client) => Ok(client),
            Access::Alone => anyhow::bail!("no daemon is running"),
        }
    }

    fn hide(&self, text: &str) -> String {
        self.words.hide(text, &self.pseudonyms)
    }

    fn events(&self) -> anyhow::Result<String> {
        let asked = JournalAsked { limit: Some(EVENTS), ..JournalAsked::default() };
        let mut hidden = String::new();
        let mut add = |event: &str| {
            hidden.push_str(&bundle::event(event, &self.pseudonyms, &self.words));
            hidden.push('\n');
        };
        match offline::reach(self.config)? {
            Access::Daemon(client) => {
                for line in client.ask(&Request::Journal(asked))?.rest.lines() {
                    add(&line.context("the journal broke off")?);
                }
            }
            Access::Alone => offline::with_store(self.config, |store| {
                let from = asked.beginning(store.journal())?.from;
                let events = store.journal().read(from, usize::try_from(EVENTS)?)?;
                events.iter().for_each(|event| add(&event.to_json(&self.config.gateway.id)));
                Ok(())
            })?,
        }
        Ok(hidden)
    }

    fn metrics(&self) -> anyhow::Result<String> {
        let page = self.daemon()?.ask(&Request::Metrics)?.value;
        Ok(page.as_str().unwrap_or_default().to_owned())
    }

    /// The last lines of the unit's log.
    fn log(&self) -> anyhow::Result<String> {
        let mut command = Command::new("journalctl");
        command.args([
            "--unit",
            UNIT,
            "--lines",
            LOG_LINES,
            "--no-pager",
            "--quiet",
            "--output",
            "short-iso",
            "--no-hostname",
        ]);
        let output = command.output().context("there is no journalctl")?;
        if !output.status.success() {
            let mut said = String::new();
            output.stderr.as_slice().read_to_string(&mut said)?;
            anyhow::bail!("journalctl: {}", self.hide(said.trim()));
        }
        let text = self.hide(&String::from_utf8_lossy(&output.stdout));
        if text.is_empty() {
            anyhow::bail!("journalctl has no line of the unit {UNIT}, or none for this user: use sudo");
        }
        Ok(text)
    }

    /// What the daemon has in memory of each line, which is redacted whatever `trace_keys` says.
    fn lately(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for bus in &self.config.buses {
            match self.recording(&bus.name) {
                Ok((extension, content)) => files.push((format!("{}-lately.{extension}", bus.name), content)),
                Err(error) => {
                    let why = with_causes(error.as_ref());
                    self.without.push(format!("traces: what went over bus {} lately: {why}", bus.name));
                }
            }
        }
        files
    }

    fn recording(&self, bus: &Name) -> anyhow::Result<(String, Vec<u8>)> {
        let mut answer = self.daemon()?.ask(&Request::Lately { bus: bus.clone() })?;
        let extension = answer.value["extension"].as_str().context("the daemon is of another version")?;
        let mut content = Vec::new();
        answer.rest.read_to_end(&mut content)?;
        anyhow::ensure!(answer.value["bytes"] == content.len(), "the recording broke off");
        Ok((extension.to_owned(), content))
    }

    /// Recordings around incidents, the newest first, which are redacted whatever `trace_keys` says.
    fn incidents(&mut self) -> Vec<(String, Vec<u8>)> {
        let listed = std::fs::read_dir(self.config.gateway.state_dir.join(TRACES));
        let entries = listed.into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| name.ends_with(".osdpcap") || name.ends_with(".pcap"));
        order::sort_by(&mut names, |one, other| other.cmp(one));
        let (mut files, mut room) = (Vec::new(), TRACES_ROOM);
        for name in names {
            match std::fs::read(self.config.gateway.state_dir.join(TRACES).join(&name)) {
                Ok(content) if content.len() <= room => {
                    room -= content.len();
                    files.push((name, content));
                }
                Ok(_) => self.without.push(format!("traces/{name}: newer ones take all the room")),
                Err(error) => self.without.push(format!("traces/{name}: {error}")),
            }
        }
        if files.is_empty() {
            self.without.push("traces: there are none of incidents".to_owned());
        }
        files
    }

    fn read_me(&self, now: &str) -> String {
        let mut text = format!(
            "intercom-gateway {VERSION}, {now}\n\n\
             config.toml    the configuration in force, each setting with where it comes from; secrets are in files of their own\n\
             report.json    what `doctor` found\n\
             events.jsonl   the last {EVENTS} events\n\
             metrics.txt    what /metrics says of all but the endpoint\n\
             log.txt        the last {LOG_LINES} lines of the log\n\
             system.txt     the machine\n\
             traces/        what went over lines around incidents, and lately; `decode` reads it\n\n\
             Keys, flats, people, tokens, logins and whatever looks like a secret are replaced by <pseudonyms>, the same for the\n\
             same throughout these files. The key they were made with is gone. In traces keys are other bytes, by a secret of the\n\
             gateway's own.\n"
        );
        for without in &self.without {
            text.push_str(&format!("\nnot in it: {without}\n"));
        }
        text
    }
}

/// The machine, without its name.
fn system() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let release = read("/etc/os-release");
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    format!(
        "intercom-gateway {VERSION} for {}\n{}\nLinux {}\nmodel {}\nup {} s\n{}",
        std::env::consts::ARCH,
        system.unwrap_or("no /etc/os-release").trim_matches('"'),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/device-tree/model").trim_end_matches('\0'),
        read("/proc/uptime").split_whitespace().next().unwrap_or("?"),
        read("/proc/meminfo").lines().take(3).collect::<Vec<_>>().join("\n"),
    )
}
