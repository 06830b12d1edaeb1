//! Presents keys, disturbs lines, and checks what comes of it: at the panels, in the journal, at the endpoint, in the
//! cloud.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use anyhow::Context;
use intercom_gateway::{
    clock,
    domain::Name,
    simulate::{
        action::{Action, Card, Keys},
        bank::Sighting,
        panel::Observation,
    },
};
use serde_json::Value;

use super::{https, lines, stage::Stage};

/// How long anything may take before it counts as not happening: far longer than it takes.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Panel, tag, whether it opens, the journal's reason.
const SWIPES: [(&str, [u8; 4], bool, &str); 7] = [
    ("entrance-1", [0x30, 0x42, 0xCA, 0xAC], true, "key_known"),
    ("entrance-2", [0xA3, 0xB4, 0x8D, 0x3C], true, "key_known"),
    ("entrance-1", [0xDE, 0xAD, 0xBE, 0xEF], false, "key_unknown"),
    ("garage", [0x55, 0x66, 0xAA, 0x77], true, "key_known"),
    ("entrance-2", [0x11, 0x22, 0x33, 0x44], false, "user_expired"),
    ("garage", [0x30, 0x42, 0xCA, 0xAC], false, "other_intercom"),
    ("entrance-2", [0x41, 0x7E, 0xE9, 0xAA], true, "key_known"),
];

/// Panel, what is typed, whether it opens, the journal's reason.
const TYPED: [(&str, &str, bool, &str); 4] = [
    ("entrance-1", "93552#", true, "code_known"),
    ("entrance-2", "1*93552#", true, "code_known"),
    ("entrance-1", "048015#", false, "not_permitted"),
    ("entrance-2", "9355#", false, "code_unknown"),
];

/// `true`: known keys and codes opened, unknown ones did not, and the journal says so.
pub fn run(stage: &Stage, time: Duration) -> anyhow::Result<bool> {
    let until = clock::mono() + time;
    let (sender, events) = mpsc::sync_channel(4096);
    let journal = stage.journal(true)?;
    std::thread::spawn(move || {
        for event in journal.map_while(Result::ok) {
            let Ok(event) = serde_json::from_str::<Value>(&event) else { return };
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    let sightings = stage.sightings.lock().expect("not poisoned");
    let mut check = Check { stage, events, sightings: &sightings, opened: HashMap::new() };
    check.wait_for_panels()?;
    let mut wrong = lines::judge(&mut check)?;
    let mut codes = Count::default();
    for (panel, typed, opens, reason) in TYPED {
        let result = check.enter(&Name::new(panel)?, typed, opens, reason);
        wrong += codes.add(result, opens);
    }
    let mut keys = Count::default();
    for &(panel, tag, opens, reason) in SWIPES.iter().cycle() {
        if clock::mono() >= until {
            break;
        }
        wrong += keys.add(check.swipe(&Name::new(panel)?, tag, opens, reason), opens);
    }
    wrong += check.judge_journal(&keys, &codes)?;
    wrong += judge_endpoint(stage)?;
    wrong += judge_cloud(stage)?;
    let (opened, refused) = (keys.opened, keys.refused);
    println!(
        "\n{opened} known keys opened their doors, {refused} others were refused, {wrong} things went wrong"
    );
    let passed = wrong == 0 && opened > 0 && refused > 0;
    println!("self-check {}", if passed { "passed" } else { "FAILED" });
    Ok(passed)
}

/// What was presented at readers and went as it should.
#[derive(Default)]
struct Count {
    opened: u32,
    refused: u32,
}

impl Count {
    /// Counts one; gives the number of things that went wrong.
    fn add(&mut self, result: anyhow::Result<()>, opens: bool) -> u32 {
        match result {
            Ok(()) if opens => self.opened += 1,
            Ok(()) => self.refused += 1,
            Err(problem) => {
                println!("WRONG: {problem:#}");
                return 1;
            }
        }
        0
    }
}

pub struct Check<'a> {
    pub stage: &'a Stage,
    events: Receiver<Value>,
    sightings: &'a Receiver<Sighting>,
    /// Unlocks seen at the panels.
    opened: HashMap<Name, u32>,
}

impl Check<'_> {
    fn wait_for_panels(&self) -> anyhow::Result<()> {
        let mut missing: Vec<(&str, &str)> = self
            .stage
            .config
            .panels
            .iter()
            .map(|panel| ("intercom.panel.online", panel.name.as_str()))
            .collect();
        // The one that is paired has its own key only then.
        missing.extend(["entrance-1", "entrance-2"].map(|panel| ("intercom.panel.secured", panel)));
        while !missing.is_empty() {
            let event = self.next_event()?;
            missing.retain(|(kind, panel)| event["type"] != *kind || event["subject"] != *panel);
        }
        println!("all panels are online");
        Ok(())
    }

    /// The next event of a type; passes over others.
    pub fn event(&self, kind: &str) -> anyhow::Result<Value> {
        loop {
            let event = self.next_event().with_context(|| format!("waiting for {kind}"))?;
            if event["type"] == kind {
                return Ok(event);
            }
        }
    }

    fn next_event(&self) -> anyhow::Result<Value> {
        self.events.recv_timeout(PATIENCE).context("the journal tells nothing new")
    }

    fn swipe(&mut self, panel: &Name, tag: [u8; 4], opens: bool, reason: &str) -> anyhow::Result<()> {
        let card = Card { format: 0, bits: 32, data: tag.to_vec() };
        self.stage.building.act(panel, Action::Card(card))?;
        self.decided("intercom.key.swiped", panel, opens, reason)
    }

    fn enter(&mut self, panel: &Name, typed: &str, opens: bool, reason: &str) -> anyhow::Result<()> {
        self.stage.building.act(panel, Action::Keys(Keys(typed.as_bytes().to_vec())))?;
        self.decided("intercom.code.entered", panel, opens, reason)
    }

    /// Waits for what becomes of something at a reader.
    fn decided(&mut self, kind: &str, panel: &Name, opens: bool, reason: &str) -> anyhow::Result<()> {
        let event = self.event(kind)?;
        let decision = if opens { "granted" } else { "denied" };
        let data = &event["data"];
        if data["decision"] != decision || data["reason"] != reason || event["subject"] != panel.as_str() {
            anyhow::bail!("{panel}: expected {decision} ({reason}), the journal has {data}");
        }
        if opens {
            self.event("intercom.door.unlocked")?;
            self.wait_for_output(panel)?;
        }
        println!("{:<11} {decision:<8} {reason}", panel.as_str());
        Ok(())
    }

    fn wait_for_output(&mut self, panel: &Name) -> anyhow::Result<()> {
        let begun = clock::mono();
        while let Ok(sighting) =
            self.sightings.recv_timeout(PATIENCE.saturating_sub(clock::mono().since(begun)))
        {
            if let Observation::Output(_) = sighting.what {
                *self.opened.entry(sighting.panel.clone()).or_default() += 1;
                if sighting.panel == *panel {
                    return Ok(());
                }
            }
        }
        anyhow::bail!("{panel}: the journal says unlocked, the panel was not told")
    }

    /// Counts what the panels saw and what the journal has; gives the number of things that do not agree.
    fn judge_journal(&mut self, keys: &Count, codes: &Count) -> anyhow::Result<u32> {
        while let Ok(sighting) = self.sightings.try_recv() {
            if let Observation::Output(_) = sighting.what {
                *self.opened.entry(sighting.panel).or_default() += 1;
            }
        }
        let mut counted = HashMap::new();
        for event in self.stage.journal(false)? {
            let event: Value = serde_json::from_str(&event?)?;
            let decision = event["data"]["decision"].as_str().unwrap_or_default();
            let key = format!("{} {decision}", event["type"].as_str().unwrap_or_default());
            *counted.entry(key.trim_end().to_owned()).or_insert(0_u32) += 1;
        }
        let opened = keys.opened + codes.opened;
        let count = |key: &str| counted.get(key).copied().unwrap_or_default();
        let figures = [
            ("doors opened at the panels", self.opened.values().sum(), opened),
            ("keys granted in the journal", count("intercom.key.swiped granted"), keys.opened),
            ("keys denied in the journal", count("intercom.key.swiped denied"), keys.refused),
            ("codes granted in the journal", count("intercom.code.entered granted"), codes.opened),
            ("codes denied in the journal", count("intercom.code.entered denied"), codes.refused),
            ("unlocked in the journal", count("intercom.door.unlocked"), opened),
        ];
        let mut wrong = 0;
        for (what, found, expected) in figures {
            if found != expected {
                println!("WRONG: {what}: {found}, not {expected}");
                wrong += 1;
            }
        }
        Ok(wrong)
    }
}

/// The flat endpoint: the document that was imported for a token, 401 without. Gives the number of wrong answers.
fn judge_endpoint(stage: &Stage) -> anyhow::Result<u32> {
    let certificate = stage.certificate();
    let get = |token| https::get(stage.https_port, &certificate, token, "/api/admin/v1/intercoms/1/flats/1");
    let mut wrong = 0;
    let (status, body) = get(Some(stage.token.as_str()))?;
    let body: Value = serde_json::from_str(&body)?;
    let imported: Value = serde_json::from_str(include_str!("flats.json"))?;
    let mut expected = imported["flats"][0].clone();
    let expected_members = expected.as_object_mut().expect("a flat");
    // What is the gateway's alone is never served.
    expected_members.retain(|member, _| !["intercom", "codes", "permissions"].contains(&member.as_str()));
    if !status.contains(" 200 ") || body != expected {
        println!("WRONG: the endpoint answers {status}, and not with the imported flat");
        wrong += 1;
    }
    let (status, _) = get(None)?;
    if !status.contains(" 401 ") {
        println!("WRONG: without a token the endpoint answers {status}");
        wrong += 1;
    }
    println!("the endpoint served flat 1 over HTTPS, to a token only");
    Ok(wrong)
}

/// What the cloud consumed, each event once, is the journal, and it was told of the lines. Gives the number of events
/// missing and of lines told wrongly.
fn judge_cloud(stage: &Stage) -> anyhow::Result<u32> {
    let mut missing = BTreeSet::new();
    for event in stage.journal(false)? {
        missing.insert(event_id(event?.as_bytes())?);
    }
    let total = missing.len();
    let consumed = stage.consumed.lock().expect("not poisoned");
    let mut topics: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while !missing.is_empty() {
        let Ok((topic, payload)) = consumed.recv_timeout(PATIENCE) else { break };
        if topic.ends_with("/events") {
            missing.remove(&event_id(&payload)?);
        } else if let Some(line) = topic.find("lines/").and_then(|at| topic.get(at..)) {
            let payload: Value = serde_json::from_slice(&payload)?;
            let state = payload["state"].as_str().unwrap_or_default();
            topics.entry(line.to_owned()).or_default().push(state.to_owned());
        }
    }
    for id in &missing {
        println!("WRONG: event {id} never reached the cloud");
    }
    println!("{} of {total} events of the journal reached the cloud", total - missing.len());
    Ok(u32::try_from(missing.len())? + lines::judge_topics(&topics))
}

fn event_id(event: &[u8]) -> anyhow::Result<String> {
    let event: Value = serde_json::from_slice(event)?;
    Ok(event["id"].as_str().context("an event without id")?.to_owned())
}
