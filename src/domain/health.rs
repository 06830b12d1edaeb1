//! How the gateway is, for those who ask from outside.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Durations, Name, Ordered};

/// Why the gateway is not well (contract §3). docs/health.md says what to do about each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HealthCode {
    /// The configuration has no bus.
    NoBus,
    /// A bus's port is not open, another program takes bytes from it, or its thread hangs.
    Bus,
    /// A panel does not answer, or something that the configuration names is not there.
    PanelOffline,
    /// A panel answers, but no secure channel comes up.
    PanelInsecure,
    /// A panel is insecure because there is no key for it that can be used.
    PanelKey,
    /// Answers of a panel are lost on the line.
    LineErrors,
    /// The broker is not connected, or does not take what this gateway publishes.
    Broker,
    /// The cloud's flats were refused, or nobody answers when they are asked for.
    Sync,
    /// Somebody claims at the broker that this journal has more than it has, and is ignored.
    Committed,
    /// The clock is not synchronised.
    Clock,
    /// The time zone of the configuration is not known.
    Timezone,
    /// The journal cannot be written, the disk is full, or a file of the state directory cannot be used.
    Storage,
    /// The journal is not open yet: events wait.
    JournalOpening,
    /// A new journal was begun lately, and the cloud has not named it yet.
    JournalNew,
    /// Events were lost.
    EventsLost,
    /// The certificate files cannot be used, their last change is not in force, or a certificate ends or has ended.
    Certificate,
    /// The endpoint does not serve, hangs, or knows no token.
    Endpoint,
}

impl HealthCode {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::NoBus,
        Self::Bus,
        Self::PanelOffline,
        Self::PanelInsecure,
        Self::PanelKey,
        Self::LineErrors,
        Self::Broker,
        Self::Sync,
        Self::Committed,
        Self::Clock,
        Self::Timezone,
        Self::Storage,
        Self::JournalOpening,
        Self::JournalNew,
        Self::EventsLost,
        Self::Certificate,
        Self::Endpoint,
    ];

    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoBus => "no_bus",
            Self::Bus => "bus",
            Self::PanelOffline => "panel_offline",
            Self::PanelInsecure => "panel_insecure",
            Self::PanelKey => "panel_key",
            Self::LineErrors => "line_errors",
            Self::Broker => "broker",
            Self::Sync => "sync",
            Self::Committed => "committed",
            Self::Clock => "clock",
            Self::Timezone => "timezone",
            Self::Storage => "storage",
            Self::JournalOpening => "journal_opening",
            Self::JournalNew => "journal_new",
            Self::EventsLost => "events_lost",
            Self::Certificate => "certificate",
            Self::Endpoint => "endpoint",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reason {
    /// What kind of thing: for programs, and without names.
    pub code: HealthCode,
    /// A sentence for people, which may name panels, files and the broker.
    pub message: String,
    /// The panel, where it is one panel's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Name"))]
    pub panel: Option<Name>,
    /// The bus, where it is one bus's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Name"))]
    pub bus: Option<Name>,
}

impl Reason {
    /// A reason that is no single panel's or bus's.
    pub fn new(code: HealthCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), panel: None, bus: None }
    }

    /// The same, of this panel.
    #[must_use]
    pub fn of_panel(self, panel: &Name) -> Self {
        Self { panel: Some(panel.clone()), ..self }
    }

    /// The same, of this bus.
    #[must_use]
    pub fn of_bus(self, bus: &Name) -> Self {
        Self { bus: Some(bus.clone()), ..self }
    }
}

/// The answer of `/healthz` (contract §3) and the payload of `health` (§4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// A vital loop is dead: the process is about to be restarted.
    pub dead: bool,
    /// What is not as it should be; empty: all is well.
    pub reasons: Vec<Reason>,
    /// Since when the same is wrong, or nothing.
    pub since: jiff::Timestamp,
}

impl Health {
    /// Whether nothing is wrong.
    pub fn is_well(&self) -> bool {
        self.reasons.is_empty() && !self.dead
    }

    /// The contract's word for it.
    pub fn status(&self) -> &'static str {
        if self.is_well() { "ok" } else { "degraded" }
    }

    /// Whether something of this kind is wrong.
    pub fn has(&self, code: HealthCode) -> bool {
        self.reasons.iter().any(|reason| reason.code == code)
    }

    /// Whether the same is wrong in both with the same panels and buses, whatever the sentences and their figures say.
    pub fn is_like(&self, other: &Self) -> bool {
        self.dead == other.dead && self.causes() == other.causes()
    }

    fn causes(&self) -> BTreeSet<(HealthCode, Option<&Name>, Option<&Name>)> {
        self.reasons.iter().map(|reason| (reason.code, reason.panel.as_ref(), reason.bus.as_ref())).ordered()
    }
}

/// How the connection to the cloud is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Uplink"))]
pub struct UplinkStatus {
    /// Whether the configuration has an `[mqtt]`.
    pub configured: bool,
    /// Whether the broker has accepted us.
    pub connected: bool,
    /// Why not, or why events are not delivered although it has: a sentence.
    pub error: Option<String>,
    /// Why a `status` or `events/committed` that claims more than there is was ignored lately: a sentence.
    pub ignored: Option<String>,
    /// The journal by which the broker knew this gateway, where it is not one of its own.
    #[serde(skip)]
    pub known_as: Option<String>,
    /// The journal of this gateway that the cloud's last `events/committed` names.
    #[serde(skip)]
    pub named: Option<String>,
    /// Connections made since the start.
    pub connections: u64,
    /// Events published since the start, resends included.
    pub published: u64,
    /// Events confirmed since the start.
    pub confirmed: u64,
    /// Events sent back: nobody subscribed, or refused.
    pub refused: u64,
    /// How long after events were published the broker acknowledged them.
    #[serde(skip)]
    pub acknowledged_after: Durations,
    /// Commands performed since the start.
    pub commands: u64,
    /// Messages on `commands` that were not obeyed since the start.
    pub commands_refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_word() {
        for code in HealthCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        let distinct: BTreeSet<HealthCode> = HealthCode::ALL.into();
        assert_eq!(distinct.len(), HealthCode::ALL.len());
    }

    #[test]
    fn a_reason_names_a_panel_or_a_bus_only_where_it_is_theirs() {
        let name = |text| Name::new(text).unwrap();
        let json = |reason: Reason| serde_json::to_string(&reason).unwrap();
        let clock = Reason::new(HealthCode::Clock, "why");
        assert_eq!(json(clock), r#"{"code":"clock","message":"why"}"#);
        let offline = Reason::new(HealthCode::PanelOffline, "why").of_panel(&name("entrance-1"));
        assert_eq!(json(offline), r#"{"code":"panel_offline","message":"why","panel":"entrance-1"}"#);
        let closed = Reason::new(HealthCode::Bus, "why").of_bus(&name("street"));
        assert_eq!(json(closed), r#"{"code":"bus","message":"why","bus":"street"}"#);
    }

    #[test]
    fn other_words_are_no_other_health_but_another_panel_is() {
        let of = |words: &str, panel: &str| Health {
            reasons: vec![
                Reason::new(HealthCode::LineErrors, words).of_panel(&Name::new(panel).unwrap()),
                Reason::new(HealthCode::Clock, "not synchronised"),
            ],
            ..Health::default()
        };
        let lossy = of("90 of 120", "entrance-1");
        assert!(lossy.is_like(&of("91 of 120", "entrance-1")));
        assert!(!lossy.is_like(&of("90 of 120", "entrance-2")));
        assert!(!lossy.is_like(&Health { dead: true, ..lossy.clone() }));
        let mut turned = lossy.clone();
        turned.reasons.reverse();
        assert!(lossy.is_like(&turned), "their order tells nothing");
    }
}
