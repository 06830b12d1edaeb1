//! What the uplink shows: retained topics to the cloud, its own state to `/healthz` and the log.

use std::{collections::BTreeSet, time::Duration};

use super::{Came, Done, Uplink, connection::FORGET_LOGGED};
use crate::{
    clock,
    cloud::{
        client::Message,
        home_assistant::Home,
        message::{self, Building, HealthShown, Info},
        session::Ack,
        topic::Topic,
    },
    domain::{
        ClockQuality, Device, EventBody, LineStatus, Mono, Name, Ordered, PanelStatus, UplinkStatus,
        event::CommittedIgnored,
    },
    sys::files::write_private,
};

/// What was ignored is a reason in health for this long after the last time.
const IGNORED_SHOWN: Duration = Duration::from_secs(600);

/// Retained topics that are published at once: events need the window more.
const ANNOUNCEMENTS: usize = 16;

/// What Home Assistant's messages follow from.
#[derive(PartialEq)]
pub(super) struct HomeSeen {
    building: Building,
    devices: Vec<(Name, Option<Device>)>,
    page: Option<String>,
}

impl Uplink {
    /// Puts on the board what panels and configuration are now.
    pub(super) fn show_panels(&mut self) {
        let panels = self.handles.panels.borrow().clone();
        for status in &panels {
            let mark = message::to_json(&PanelStatus { last_seen: None, ..status.clone() });
            self.board.set(Topic::Panel(status.panel.clone()), message::to_json(status), mark);
        }
        self.board.remove(
            |topic| matches!(topic, Topic::Panel(name) if !panels.iter().any(|status| status.panel == *name)),
        );
        self.show_info();
        self.show_home();
    }

    /// Tells Home Assistant what there is, where that is not what it was told already.
    pub(super) fn show_home(&mut self) {
        if !self.settings.home_assistant {
            return;
        }
        let seen = {
            let (building, panels) = (self.handles.building.borrow(), self.handles.panels.borrow());
            let devices = panels.iter().map(|status| (status.panel.clone(), status.device.clone())).ordered();
            HomeSeen { building: building.clone(), devices, page: (self.settings.page)() }
        };
        if self.shown_home.as_ref() == Some(&seen) {
            return;
        }
        let home = Home {
            root: &self.root,
            version: &self.settings.version,
            building: &seen.building,
            page: seen.page.as_deref(),
        };
        let (messages, earlier) = (home.messages(&seen.devices), home.earlier());
        let topics: BTreeSet<Topic> = messages.iter().map(|(topic, _)| topic.clone()).ordered();
        for (topic, message) in messages {
            let payload = message.to_string();
            self.board.set(topic, payload.clone(), payload);
        }
        self.board.remove(|topic| match topic {
            Topic::Device(_) => !topics.contains(topic),
            Topic::Entity(_) => !earlier.contains(topic),
            _ => false,
        });
        self.board.moved_are(earlier);
        self.shown_home = Some(seen);
    }

    /// Puts on the board what lines are now. Only the state is news: a line is measured every second.
    pub(super) fn show_lines(&mut self) {
        let lines = self.handles.lines.borrow().clone();
        let topic = |status: &LineStatus| Topic::Line { intercom: status.intercom, flat: status.flat };
        for status in &lines {
            let of_state = LineStatus { raw: None, value: None, measured_at: None, ..status.clone() };
            self.board.set(topic(status), message::to_json(status), message::to_json(&of_state));
        }
        let shown: BTreeSet<Topic> = lines.iter().map(topic).ordered();
        self.board.remove(|topic| matches!(topic, Topic::Line { .. }) && !shown.contains(topic));
    }

    /// Puts on the board how the gateway is, as often as that may be published.
    pub(super) fn show_health(&mut self, now: Mono) {
        let payload = {
            let health = self.handles.health.borrow();
            self.health_pace.is_due(&health, now).then(|| message::to_json(&HealthShown::from(&*health)))
        };
        if let Some(payload) = payload {
            self.board.set(Topic::Health, payload.clone(), payload);
        }
    }

    /// Takes it off again: what is on the board is published on the next connection before the gateway has looked around.
    pub(super) fn hide_health(&mut self) {
        self.health_pace.offline();
        self.board.remove(|topic| *topic == Topic::Health);
    }

    pub(super) fn show_info(&mut self) {
        let clock = self.handles.clock.stamp().clock;
        self.shown_clock = Some(clock == ClockQuality::Synchronized);
        let info = {
            let (building, panels) = (self.handles.building.borrow(), self.handles.panels.borrow());
            message::to_json(&Info::new(&self.settings.version, &building, &panels, clock))
        };
        self.board.set(Topic::Info, info.clone(), info);
    }

    /// Publishes what is due on the board, after its names are on disk.
    pub(super) fn announce(&mut self) {
        if self.shown_clock != Some(self.handles.clock.is_synchronized()) {
            self.show_info();
        }
        if !self.saving
            && let Some(text) = self.board.take_unsaved()
        {
            self.saving = true;
            let file = self.settings.retained_file.clone();
            self.blocking(
                move || write_private(&file, text.as_bytes()).map_err(|error| error.to_string()),
                Done::Saved,
            );
        }
        while self.session.is_online() && !self.saving && self.announcing < ANNOUNCEMENTS {
            let Some((topic, payload)) = self.board.next(clock::mono()) else { return };
            self.announcing += 1;
            let message = self.retained(&topic, payload);
            self.publish(message, move |ack| Came::Retained(topic, ack));
        }
    }

    pub(super) fn retained(&self, topic: &Topic, payload: String) -> Message {
        Message {
            topic: self.root.full(topic),
            payload,
            retain: true,
            content_type: Some("application/json"),
        }
    }

    /// Whether the broker does not let us publish `topic`; it is told, once a connection.
    pub(super) fn note_forbidden(&mut self, topic: &Topic, ack: &Ack) -> bool {
        let why = match ack {
            Ack::Accepted | Ack::NoSubscribers => return false,
            Ack::Refused(reason) => reason.clone(),
            Ack::TooLarge { bytes, limit } => {
                format!("{bytes} bytes are more than the {limit} that it takes")
            }
        };
        self.forbid(format!("the broker refuses `{topic}` ({why}): let this gateway write its topics"));
        true
    }

    pub(super) fn forbid(&mut self, sentence: String) {
        if self.forbidden.is_none() {
            tracing::warn!("{sentence}");
            self.forbidden = Some(sentence);
        }
    }

    /// Tells that somebody claimed to know more of our journal than there is.
    pub(super) fn tell_ignored(&mut self, journal: &str, through: u64, count: u64) {
        let sentence = format!(
            "somebody publishes `status` or `events/committed` for this gateway with sequence {through} of journal {journal}, which it has not reached: nothing follows from it; see who may write these topics"
        );
        tracing::warn!(count, "{sentence}");
        self.ignored = Some((clock::mono(), sentence));
        self.record(EventBody::CommittedIgnored(CommittedIgnored {
            committed_journal: journal.to_owned(),
            through,
            count,
        }));
    }

    /// Tells how the uplink is.
    pub(super) fn tell(&mut self) {
        let now = clock::mono();
        let online = self.online_since.is_some();
        let (counts, commands) = (self.session.counts(), self.desk.counts());
        let rival = self.session.rival(now).map(|rival| self.target().rival(&rival));
        let trouble = || self.session.trouble().filter(|_| online).map(ToString::to_string);
        let status = UplinkStatus {
            configured: true,
            connected: online,
            error: rival
                .clone()
                .or_else(|| self.failure.clone())
                .or_else(|| self.forbidden.clone())
                .or_else(trouble),
            ignored: self
                .ignored
                .as_ref()
                .filter(|(at, _)| now < *at + IGNORED_SHOWN)
                .map(|(_, sentence)| sentence.clone()),
            known_as: self.session.known_as().map(ToOwned::to_owned),
            named: self.session.named().map(ToOwned::to_owned),
            connections: self.connections,
            published: counts.published,
            confirmed: counts.confirmed,
            refused: counts.refused,
            acknowledged_after: counts.acknowledged_after,
            commands: commands.obeyed,
            commands_refused: commands.refused,
        };
        self.handles.uplink.send_if_modified(|shown| {
            let changed = *shown != status;
            *shown = status;
            changed
        });
        self.log_trouble();
        self.log_rival(rival.as_deref());
    }

    /// A line where events begin not to flow, for another reason than before, and one where they flow again.
    fn log_trouble(&mut self) {
        let now = clock::mono();
        let trouble = self.session.trouble();
        let kind = trouble.map(std::mem::discriminant);
        match (kind, &mut self.logged_trouble) {
            (Some(kind), Some((logged, seen))) if kind == *logged => *seen = now,
            (Some(kind), logged) => {
                tracing::warn!("{}", trouble.map(ToString::to_string).unwrap_or_default());
                *logged = Some((kind, now));
            }
            (None, Some((_, seen))) if now.since(*seen) >= FORGET_LOGGED => {
                tracing::info!("events reach the cloud again");
                self.logged_trouble = None;
            }
            (None, _) => {}
        }
    }

    /// A line where another client of our id is noticed, and one where it has been gone for a while.
    fn log_rival(&mut self, rival: Option<&str>) {
        match (rival, self.logged_rival) {
            (Some(rival), false) => tracing::warn!("{rival}"),
            (None, true) => tracing::info!("no other client has come by this gateway's id for a while"),
            _ => {}
        }
        self.logged_rival = rival.is_some();
    }
}
