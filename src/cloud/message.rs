//! Payloads of the topics as types (contract §4). What goes up carries every field, null where there is nothing;
//! of what comes down unknown members are ignored, and an absent one is a null.

use serde::{Deserialize, Serialize};

#[cfg(test)]
use crate::domain::schema;
use crate::domain::{
    ClockQuality, Device, EventBody, Health, Name, PanelStatus, Reason, json, time::as_rfc3339,
};

/// Whether a gateway is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It is.
    Online,
    /// It said good-bye, or the broker lost it.
    Offline,
}

/// Whether the gateway is connected; also the will: the payload of `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// Whether the gateway is connected.
    pub status: Presence,
    /// One connection's identity; a remote unlock must name it.
    #[cfg_attr(test, schemars(with = "schema::Uuid"))]
    pub session: uuid::Uuid,
    /// This program's version.
    pub version: String,
    /// The kernel's boot id.
    pub boot: String,
    /// When this connection was made.
    #[serde(serialize_with = "as_rfc3339")]
    #[cfg_attr(test, schemars(with = "schema::Time"))]
    pub since: jiff::Timestamp,
    /// Identity of the journal.
    #[cfg_attr(test, schemars(with = "schema::Journal"))]
    pub journal: String,
    /// Its highest sequence.
    pub last: u64,
}

/// What is of use in a `status` that the broker sends us: our own echo, a late will, or the last state that the
/// broker kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StatusSeen {
    /// Whether that is up: `online`.
    pub status: Option<String>,
    /// The connection that it speaks of.
    pub session: Option<String>,
    /// The journal that it speaks of.
    pub journal: Option<String>,
    /// The journal's highest sequence.
    pub last: Option<u64>,
}

/// Payload of `events/committed`: the consumer has everything of `journal` up to `through`, without a hole.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Committed {
    /// The journal.
    #[cfg_attr(test, schemars(with = "schema::Journal"))]
    pub journal: String,
    /// The last sequence.
    pub through: u64,
}

/// What the configuration has, for `info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Building {
    /// The intercoms.
    pub intercoms: Vec<Intercom>,
    /// The buses.
    pub buses: Vec<Bus>,
    /// The panels, whether they answer or not.
    pub panels: Vec<Place>,
}

/// An intercom in `info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Intercom {
    /// The cloud's id.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub id: u64,
    /// Its name.
    pub name: String,
}

/// A bus in `info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Bus {
    /// Its name.
    pub name: Name,
    /// `osdp` or `modbus`.
    #[cfg_attr(test, schemars(with = "schema::Protocol"))]
    pub protocol: String,
    /// The tty or serial server.
    pub port: String,
    /// Bits per second; null while it is looked for.
    #[cfg_attr(test, schemars(range(min = 1200)))]
    pub baud: Option<u32>,
}

/// Where a panel is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Place {
    /// Its name.
    pub panel: Name,
    /// Its intercom.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    /// Its bus.
    pub bus: Name,
    /// Its address on the bus.
    #[cfg_attr(test, schemars(range(max = 247)))]
    pub address: u8,
    /// The profile by which it is read; `None`: it speaks OSDP.
    #[serde(skip)]
    pub profile: Option<String>,
    /// It has a reader: swipes are to be expected.
    #[serde(skip)]
    pub has_reader: bool,
    /// It has a door contact.
    #[serde(skip)]
    pub has_contact: bool,
    /// Flats, by their numbers on the door, whose lines it measures.
    #[serde(skip)]
    pub lines: Vec<u64>,
}

/// What the gateway is made of: the payload of `info`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Info<'a> {
    version: &'a str,
    intercoms: &'a [Intercom],
    buses: &'a [Bus],
    panels: Vec<InfoPanel<'a>>,
    clock: ClockQuality,
    /// The types of events that there are.
    events: &'static [&'static str],
    /// The commands that there are.
    commands: &'static [&'static str],
    /// Version of what is promised here, as the document `docs/asyncapi.yaml` has it: its second number grows with each
    /// addition. What breaks consumers changes the first, and is published below another topic_prefix.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.[0-9]+$")))]
    contract: &'static str,
}

/// The version of what is promised to consumers.
pub const CONTRACT: &str = "1.0";

/// A panel in `info`, with what it says of itself.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct InfoPanel<'a> {
    #[serde(flatten)]
    place: &'a Place,
    model: Option<&'a str>,
    firmware: Option<&'a str>,
    serial: Option<&'a str>,
}

impl<'a> Info<'a> {
    /// Puts together what the configuration has and what the panels say of themselves.
    pub fn new(
        version: &'a str,
        building: &'a Building,
        panels: &'a [PanelStatus],
        clock: ClockQuality,
    ) -> Self {
        let device = |place: &Place| -> Option<&'a Device> {
            panels.iter().find(|status| status.panel == place.panel)?.device.as_ref()
        };
        let panels = building
            .panels
            .iter()
            .map(|place| {
                let device = device(place);
                InfoPanel {
                    place,
                    model: device.map(|device| device.model.as_str()),
                    firmware: device.and_then(|device| device.firmware.as_deref()),
                    serial: device.and_then(|device| device.serial.as_deref()),
                }
            })
            .collect();
        Self {
            version,
            intercoms: &building.intercoms,
            buses: &building.buses,
            panels,
            clock,
            events: EventBody::KINDS,
            commands: super::command::KINDS,
            contract: CONTRACT,
        }
    }
}

/// How the gateway is, as `/healthz` says it with a token, and since when: the payload of `health`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Health"))]
pub struct HealthShown<'a> {
    #[cfg_attr(test, schemars(with = "schema::HealthWord"))]
    status: &'static str,
    reasons: &'a [Reason],
    /// When it became so; other words in a message alone begin nothing new.
    #[serde(serialize_with = "as_rfc3339")]
    #[cfg_attr(test, schemars(with = "schema::Time"))]
    since: jiff::Timestamp,
}

impl<'a> From<&'a Health> for HealthShown<'a> {
    fn from(health: &'a Health) -> Self {
        Self { status: health.status(), reasons: &health.reasons, since: health.since }
    }
}

/// One line of JSON.
pub fn to_json(payload: &impl Serialize) -> String {
    json::text(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::HealthCode;

    #[test]
    fn status_has_the_fields_of_the_contract_in_its_order() {
        let status = Status {
            status: Presence::Offline,
            session: uuid::Uuid::nil(),
            version: "0.1.0".into(),
            boot: "b".into(),
            since: "2026-11-23T22:00:01.123Z".parse().unwrap(),
            journal: "9f3c2a41".into(),
            last: 184,
        };
        let expected = concat!(
            r#"{"status":"offline","session":"00000000-0000-0000-0000-000000000000","version":"0.1.0","boot":"b","#,
            r#""since":"2026-11-23T22:00:01.123Z","journal":"9f3c2a41","last":184}"#
        );
        assert_eq!(to_json(&status), expected);
        let seen: StatusSeen = serde_json::from_str(expected).unwrap();
        assert_eq!((seen.journal.as_deref(), seen.last), (Some("9f3c2a41"), Some(184)));
    }

    #[test]
    fn health_has_the_fields_of_the_contract_in_its_order() {
        let mut health = Health { since: "2026-11-23T22:00:01.123Z".parse().unwrap(), ..Health::default() };
        let expected = r#"{"status":"ok","reasons":[],"since":"2026-11-23T22:00:01.123Z"}"#;
        assert_eq!(to_json(&HealthShown::from(&health)), expected);
        health.reasons = vec![Reason::new(HealthCode::Clock, "why")];
        let expected = r#"{"status":"degraded","reasons":[{"code":"clock","message":"why"}],"since":"2026-11-23T22:00:01.123Z"}"#;
        assert_eq!(to_json(&HealthShown::from(&health)), expected);
    }

    #[test]
    fn absent_and_null_are_the_same_and_unknown_members_are_ignored() {
        for text in ["{}", r#"{"session":null,"last":null,"more":[1]}"#] {
            assert_eq!(serde_json::from_str::<StatusSeen>(text).unwrap(), StatusSeen::default());
        }
    }

    #[test]
    fn info_tells_of_panels_that_never_answered() {
        let place = Place {
            panel: Name::new("entrance-1").unwrap(),
            intercom: 1,
            bus: Name::new("street").unwrap(),
            address: 0,
            profile: None,
            has_reader: true,
            has_contact: false,
            lines: vec![],
        };
        let building = Building {
            intercoms: vec![Intercom { id: 1, name: "Entrance 1".into() }],
            buses: vec![],
            panels: vec![place],
        };
        let info = to_json(&Info::new("0.1.0", &building, &[], ClockQuality::Synchronized));
        assert!(
            info.contains(r#"{"panel":"entrance-1","intercom":1,"bus":"street","address":0,"model":null,"firmware":null,"serial":null}"#),
            "{info}"
        );
    }
}
