//! Events with their place in a journal, and the CloudEvents object that outsiders read (contract §5).

use serde::Serialize;
use serde_json::value::RawValue;

use super::{ClockQuality, Name, Stamp, time::rfc3339};

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
}

impl std::fmt::Debug for StoredEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
        #[derive(Serialize)]
        struct Envelope<'a> {
            specversion: &'static str,
            id: String,
            source: String,
            r#type: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            subject: Option<&'a str>,
            time: String,
            sequence: String,
            datacontenttype: &'static str,
            data: &'a RawValue,
        }
        #[derive(Serialize)]
        struct Common<'a> {
            journal: &'a str,
            boot: &'a str,
            uptime_ms: u64,
            clock: ClockQuality,
            online: bool,
        }
        let common = Common {
            journal: &self.journal,
            boot: &self.stamp.boot,
            uptime_ms: self.stamp.uptime_ms,
            clock: self.stamp.clock,
            online: self.online,
        };
        let mut data = serde_json::to_string(&common).expect("only JSON types");
        // `{common}` and `{own}` become one object; an own `journal` (gateway.journal.pruned) names the
        // journal that lost events, so it takes the common one's place.
        let own = self.data.trim();
        if own.starts_with("{\"journal\":") {
            data = data.replacen(&format!("\"journal\":\"{}\",", self.journal), "", 1);
        }
        if let Some(members) = own.strip_prefix('{').filter(|rest| rest.trim() != "}") {
            data.pop();
            data.push(',');
            data.push_str(members);
        }
        let data = RawValue::from_string(data).expect("two JSON objects joined");
        let envelope = Envelope {
            specversion: "1.0",
            id: format!("{}-{}", self.journal, self.sequence),
            source: format!("intercom-gateway/{gateway}"),
            r#type: &self.kind,
            subject: self.subject.as_deref(),
            time: rfc3339(self.stamp.time),
            sequence: format!("{:020}", self.sequence),
            datacontenttype: "application/json",
            data: &data,
        };
        serde_json::to_string(&envelope).expect("only JSON types")
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
            r#""data":{"journal":"9f3c2a41","boot":"b","uptime_ms":12345,"clock":"synchronized","online":false,"#,
            r#""panel":"entrance-1","intercom":1,"reader":0,"key":"0000003042CAAC","raw":"3042CAAC","bits":32,"#,
            r#""decision":"granted","reason":"key_known","flats":[{"id":1,"flat":1}],"key_id":1,"user_id":6,"reversed_known":false,"revision":57}}"#,
        );
        assert_eq!(stored(&body).to_json(&Name::new("building-7").unwrap()), expected);
    }

    #[test]
    fn events_without_own_data_and_with_an_own_journal_are_objects_too() {
        let gateway = Name::new("g").unwrap();
        let json = stored(&EventBody::GatewayStopping(GatewayStopping {})).to_json(&gateway);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["data"]["uptime_ms"], 12345);
        assert!(value.get("subject").is_none());

        let pruned =
            JournalPruned { journal: "old".into(), from: Some(1), to: Some(9), cause: "full".into() };
        let json = stored(&EventBody::JournalPruned(pruned)).to_json(&gateway);
        assert_eq!(json.matches("\"journal\":").count(), 1);
        assert!(json.contains("\"journal\":\"old\""));
    }
}
