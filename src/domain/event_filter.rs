//! Which of the recorded events are asked for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventBody, KeyCode, Name, order};

/// Which events are asked for: those that fit everything that is set. `Debug` shows no key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// Not before this moment, milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// Before this moment, milliseconds since the epoch.
    pub until_ms: Option<i64>,
    /// Of one of these types or groups of types (`intercom.door` is `intercom.door.opened` and so on); none: of any.
    pub kinds: Vec<String>,
    /// About this panel.
    pub panel: Option<Name>,
    /// About this key.
    pub key: Option<KeyCode>,
    /// About the flat of this number on the door: its line, or a credential of it.
    pub flat: Option<u64>,
}

impl EventFilter {
    /// Returns whether every event fits.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether an event fits. `data` is its own data, a JSON object.
    pub fn fits(&self, time: Timestamp, kind: &str, subject: Option<&str>, data: &str) -> bool {
        let time = time.as_millisecond();
        self.since_ms.is_none_or(|since| time >= since)
            && self.until_ms.is_none_or(|until| time < until)
            && (self.kinds.is_empty() || self.kinds.iter().any(|wanted| is_of(kind, wanted)))
            && self.panel.as_ref().is_none_or(|panel| subject == Some(panel.as_str()))
            && self.fits_data(data)
    }

    fn fits_data(&self, data: &str) -> bool {
        if self.key.is_none() && self.flat.is_none() {
            return true;
        }
        // What is no object of ours is about neither.
        let Ok(about) = serde_json::from_str::<About>(data) else { return false };
        self.key.is_none_or(|key| about.key == Some(key))
            && self.flat.is_none_or(|flat| {
                about.flat == Some(flat) || about.flats.iter().flatten().any(|one| one.flat == flat)
            })
    }
}

/// Whether a type is the one that is wanted, or of the group.
fn is_of(kind: &str, wanted: &str) -> bool {
    kind.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Returns the groups of types, which are the beginnings of their names: `intercom.door`, `gateway`, …
pub fn event_groups() -> Vec<&'static str> {
    let beginnings = |kind: &'static str| kind.match_indices('.').map(move |(end, _)| &kind[..end]);
    let mut groups: Vec<&str> = EventBody::KINDS.iter().copied().flat_map(beginnings).collect();
    order::sort(&mut groups);
    groups.dedup();
    groups
}

/// What an event says of keys and flats.
#[derive(Deserialize)]
struct About {
    key: Option<KeyCode>,
    flat: Option<u64>,
    flats: Option<Vec<AboutFlat>>,
}

#[derive(Deserialize)]
struct AboutFlat {
    flat: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWIPE: &str =
        r#"{"panel":"entrance-1","key":"0000003042CAAC","flats":[{"id":11,"flat":7},{"id":12,"flat":8}]}"#;

    fn fits(filter: &EventFilter) -> bool {
        let time = "2026-11-23T22:00:01Z".parse().unwrap();
        filter.fits(time, "intercom.key.swiped", Some("entrance-1"), SWIPE)
    }

    fn at(time: &str) -> Option<i64> {
        Some(time.parse::<Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn each_setting_keeps_what_fits_and_drops_the_rest() {
        let all = EventFilter::default;
        let name = |text| Name::new(text).ok();
        let key = |text: &str| text.parse().ok();
        for (filter, expected) in [
            (all(), true),
            (EventFilter { since_ms: at("2026-11-23T22:00:01Z"), ..all() }, true),
            (EventFilter { since_ms: at("2026-11-23T22:00:02Z"), ..all() }, false),
            (EventFilter { until_ms: at("2026-11-23T22:00:02Z"), ..all() }, true),
            (EventFilter { until_ms: at("2026-11-23T22:00:01Z"), ..all() }, false),
            (EventFilter { kinds: vec!["intercom.door".into(), "intercom.key".into()], ..all() }, true),
            (EventFilter { kinds: vec!["intercom.ke".into()], ..all() }, false),
            (EventFilter { panel: name("entrance-1"), ..all() }, true),
            (EventFilter { panel: name("entrance-2"), ..all() }, false),
            (EventFilter { key: key("0000003042CAAC"), ..all() }, true),
            (EventFilter { key: key("0000003042CAAD"), ..all() }, false),
            (EventFilter { flat: Some(8), ..all() }, true),
            (EventFilter { flat: Some(11), ..all() }, false),
            (EventFilter { flat: Some(7), panel: name("entrance-2"), ..all() }, false),
        ] {
            assert_eq!(fits(&filter), expected, "{filter:?}");
        }
    }

    #[test]
    fn an_event_without_keys_and_flats_is_about_none() {
        let filter = EventFilter { flat: Some(7), ..EventFilter::default() };
        let fits = |data| filter.fits(Timestamp::UNIX_EPOCH, "gateway.started", None, data);
        assert!(!fits(r#"{"version":"0.2.0"}"#));
        assert!(fits(r#"{"flat":7,"flat_id":null}"#));
        assert!(!fits(r#"{"flats":7}"#));
    }

    #[test]
    fn groups_are_the_beginnings_of_types() {
        let groups = event_groups();
        for group in ["intercom", "gateway", "intercom.door", "gateway.sync"] {
            assert!(groups.contains(&group), "{groups:?}");
        }
    }
}
