//! Events with their place in a journal, and the CloudEvents object that outsiders read (contract §5).

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

#[cfg(test)]
use super::schema;
use super::{ClockQuality, Name, Stamp, json, time::as_rfc3339};

/// An event with its place in a journal. `Debug` leaves the data out: it may hold a key's number.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Position in its journal, from 1.
    pub sequence: u64,
    /// Identity of the journal: 8 lower-case hex digits, random, made with the database.
    pub journal: std::sync::Arc<str>,
    /// When it happened.
    pub stamp: Stamp,
    /// Whether MQTT was connected then.
    pub online: bool,
    /// `intercom.key.swiped`, …
    pub kind: String,
    /// The panel; `None` for `gateway.*`.
    pub subject: Option<String>,
    /// The type's own data, a JSON object as text.
    pub data: String,
    /// The form of its bytes.
    pub form: Form,
}

/// The form of an event's bytes. It is decided when the event is written down, and is the event's for good: its bytes are the
/// same in every later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What versions before 0.3 wrote, which says nothing of its form.
    Unnamed,
    /// Form 1, which `dataschema` names.
    One,
}

impl Form {
    /// That of the events that this version writes down.
    pub const CURRENT: Self = Self::One;

    /// Returns the number by which a journal keeps it.
    pub const fn number(self) -> u8 {
        match self {
            Self::Unnamed => 0,
            Self::One => 1,
        }
    }

    /// Returns the form of this number. A version with another form gives its journal another schema, so that none which
    /// does not know the form reads it.
    pub const fn of_number(number: u8) -> Self {
        match number {
            0 => Self::Unnamed,
            _ => Self::One,
        }
    }

    /// Returns what `dataschema` says of it.
    const fn dataschema(self) -> Option<&'static str> {
        match self {
            Self::Unnamed => None,
            Self::One => Some("urn:intercom-gateway:event:1"),
        }
    }
}

impl fmt::Debug for StoredEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredEvent")
            .field("journal", &self.journal)
            .field("sequence", &self.sequence)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl StoredEvent {
    /// The CloudEvents 1.0 object of the contract, one line of JSON.
    pub fn to_json(&self, gateway: &Name) -> String {
        let own: Members<'_> = serde_json::from_str(&self.data).expect("an event's data are an object");
        let envelope = Envelope {
            specversion: "1.0",
            id: format!("{}-{}", self.journal, self.sequence),
            source: format!("intercom-gateway/{gateway}"),
            r#type: &self.kind,
            subject: self.subject.as_deref(),
            time: self.stamp.time,
            sequence: format!("{:020}", self.sequence),
            datacontenttype: "application/json",
            dataschema: self.form.dataschema(),
            data: Data {
                // Earlier versions named the journal that lost events so (gateway.journal.pruned): their bytes stay.
                journal: (!own.has("journal")).then_some(&*self.journal),
                boot: &self.stamp.boot,
                uptime_ms: self.stamp.uptime_ms,
                clock: self.stamp.clock,
                online: self.online,
                own,
            },
        };
        json::text(&envelope)
    }
}

/// A CloudEvents 1.0 object.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Envelope<'a, D> {
    #[cfg_attr(test, schemars(extend("const" = "1.0")))]
    specversion: &'static str,
    #[cfg_attr(test, schemars(regex(pattern = "^[0-9a-f]{8}-[1-9][0-9]*$")))]
    id: String,
    #[cfg_attr(test, schemars(regex(pattern = "^intercom-gateway/[a-z0-9_-]{1,64}$")))]
    source: String,
    r#type: &'a str,
    /// The panel; absent for gateway.*.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Name"))]
    subject: Option<&'a str>,
    #[serde(serialize_with = "as_rfc3339")]
    #[cfg_attr(test, schemars(with = "schema::Time"))]
    time: jiff::Timestamp,
    #[cfg_attr(test, schemars(regex(pattern = "^[0-9]{20}$")))]
    sequence: String,
    #[cfg_attr(test, schemars(extend("const" = "application/json")))]
    datacontenttype: &'static str,
    /// The form of the event. Absent in events that a version before 0.3 recorded, whose bytes do not change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String", extend("const" = "urn:intercom-gateway:event:1")))]
    dataschema: Option<&'static str>,
    data: D,
}

/// What the data of every event have, and then the type's own.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Data<'a, Own> {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "schema::Journal"))]
    journal: Option<&'a str>,
    /// The boot id of the kernel.
    boot: &'a str,
    /// Milliseconds since boot.
    uptime_ms: u64,
    clock: ClockQuality,
    /// Whether MQTT was connected then.
    online: bool,
    #[serde(flatten)]
    own: Own,
}

/// The members of an object in their order, each value as it was written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl Members<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(member, _)| member == name)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        EventBody,
        event::{Decision, FlatRef, GatewayStopping, JournalPruned, KeySwiped, RawCredential, Reason},
    };

    fn stored(body: &EventBody) -> StoredEvent {
        let (kind, data) = body.to_parts();
        StoredEvent {
            sequence: 184,
            journal: "9f3c2a41".into(),
            stamp: Stamp {
                time: "2026-11-23T22:00:01.123Z".parse().unwrap(),
                boot: "b".into(),
                uptime_ms: 12345,
                clock: ClockQuality::Synchronized,
            },
            online: false,
            kind: kind.to_owned(),
            subject: body.subject().map(ToString::to_string),
            data,
            form: Form::CURRENT,
        }
    }

    #[test]
    fn the_contract_sample_comes_out_to_the_letter() {
        let body = EventBody::KeySwiped(KeySwiped {
            panel: Name::new("entrance-1").unwrap(),
            intercom: 1,
            reader: 0,
            key: Some("0000003042CAAC".parse().unwrap()),
            raw: RawCredential("3042CAAC".into()),
            bits: 32,
            decision: Decision::Granted,
            reason: Reason::KeyKnown,
            flats: vec![FlatRef { id: 1, flat: 1 }],
            key_id: Some(1),
            user_id: Some(6),
            reversed_known: false,
            revision: Some(57),
        });
        let expected = concat!(
            r#"{"specversion":"1.0","id":"9f3c2a41-184","source":"intercom-gateway/building-7","type":"intercom.key.swiped","#,
            r#""subject":"entrance-1","time":"2026-11-23T22:00:01.123Z","sequence":"00000000000000000184","datacontenttype":"application/json","#,
            r#""dataschema":"urn:intercom-gateway:event:1","#,
            r#""data":{"journal":"9f3c2a41","boot":"b","uptime_ms":12345,"clock":"synchronized","online":false,"#,
            r#""panel":"entrance-1","intercom":1,"reader":0,"key":"0000003042CAAC","raw":"3042CAAC","bits":32,"#,
            r#""decision":"granted","reason":"key_known","flats":[{"id":1,"flat":1}],"key_id":1,"user_id":6,"reversed_known":false,"revision":57}}"#,
        );
        let event = stored(&body);
        assert_eq!(event.to_json(&Name::new("building-7").unwrap()), expected);
        let earlier = StoredEvent { form: Form::Unnamed, ..event };
        let without = expected.replace(r#""dataschema":"urn:intercom-gateway:event:1","#, "");
        assert_eq!(earlier.to_json(&Name::new("building-7").unwrap()), without);
    }

    #[test]
    fn events_without_own_data_and_of_an_earlier_version_with_an_own_journal_are_objects_too() {
        let gateway = Name::new("g").unwrap();
        let json = stored(&EventBody::GatewayStopping(GatewayStopping {})).to_json(&gateway);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["data"]["uptime_ms"], 12345);
        assert!(value.get("subject").is_none());

        let pruned =
            JournalPruned { pruned_journal: "old".into(), from: Some(1), to: Some(9), cause: "full".into() };
        let mut pruned = stored(&EventBody::JournalPruned(pruned));
        let data = r#""data":{"journal":"9f3c2a41","boot":"b","uptime_ms":12345,"clock":"synchronized","online":false,"pruned_journal":"old","from":1,"to":9,"cause":"full"}}"#;
        assert!(pruned.to_json(&gateway).ends_with(data), "{}", pruned.to_json(&gateway));

        pruned.data = r#"{"journal":"old","from":1,"to":9,"cause":"full"}"#.to_owned();
        let json = pruned.to_json(&gateway);
        assert_eq!(json.matches("\"journal\":").count(), 1);
        assert!(json.contains("\"journal\":\"old\""));
        let data = r#""data":{"boot":"b","uptime_ms":12345,"clock":"synchronized","online":false,"journal":"old","from":1,"to":9,"cause":"full"}}"#;
        assert!(json.ends_with(data), "{json}");
    }
}
