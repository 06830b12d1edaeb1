//! Words for analog lines: one handset line of one flat.

use serde::{Deserialize, Serialize};

#[cfg(test)]
use super::schema;
use super::{
    Name,
    time::{as_optional_rfc3339, as_rfc3339},
};

/// What a line is found to be (contract §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LineState {
    /// The handset hangs.
    OnHook,
    /// The handset is lifted.
    OffHook,
    /// The handset's door button is pressed.
    DoorButton,
    /// The wires touch.
    Short,
    /// The line is cut, or has no handset.
    Break,
    /// Out of service by the flat's `is_analog_line_enable`.
    Disabled,
    /// The panel cannot measure this line.
    Unsupported,
    /// In a call: not measured now.
    Busy,
    /// Not measured yet, or the value is out of range.
    Unknown,
}

impl LineState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::OnHook,
        Self::OffHook,
        Self::DoorButton,
        Self::Short,
        Self::Break,
        Self::Disabled,
        Self::Unsupported,
        Self::Busy,
        Self::Unknown,
    ];

    /// The contract's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnHook => "on_hook",
            Self::OffHook => "off_hook",
            Self::DoorButton => "door_button",
            Self::Short => "short",
            Self::Break => "break",
            Self::Disabled => "disabled",
            Self::Unsupported => "unsupported",
            Self::Busy => "busy",
            Self::Unknown => "unknown",
        }
    }

    /// The state of a contract's word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it is a fault of the wires, which a whole row or column of a cabinet may share.
    pub const fn is_wire_fault(self) -> bool {
        matches!(self, Self::Short | Self::Break)
    }
}

/// The named thresholds that judged a value, in the profile's unit; above the highest is `break`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Thresholds {
    /// Below: `short`. `None`: the panel cannot tell it.
    pub short_below: Option<f64>,
    /// Below: `on_hook`.
    pub on_hook_below: f64,
    /// Below: `off_hook`.
    pub off_hook_below: f64,
    /// Below: `door_button`. `None`: the panel cannot tell it.
    pub door_button_below: Option<f64>,
    /// A value leaves the state it is in only by so much beyond a threshold.
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub hysteresis: f64,
}

/// How a handset line is (contract §4, `lines/{intercom}/{flat number}`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Line"))]
pub struct LineStatus {
    /// The intercom.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub intercom: u64,
    /// The flat's number on the door.
    #[cfg_attr(test, schemars(with = "schema::Id"))]
    pub flat: u64,
    /// The flat's record id; `None`: the cloud has no such flat.
    #[cfg_attr(test, schemars(with = "Option<schema::Id>"))]
    pub flat_id: Option<u64>,
    /// The state.
    pub state: LineState,
    /// The register as read; `None`: the panel has no such register, or it was not read yet.
    pub raw: Option<u16>,
    /// Scaled, in `unit`; `None` where `raw` is no measurement.
    pub value: Option<f64>,
    /// The profile's unit.
    pub unit: String,
    /// What judged it.
    pub thresholds: Thresholds,
    /// Since when it has this state.
    #[serde(serialize_with = "as_rfc3339")]
    #[cfg_attr(test, schemars(with = "schema::Time"))]
    pub since: jiff::Timestamp,
    /// When it was last measured.
    #[serde(serialize_with = "as_optional_rfc3339")]
    #[cfg_attr(test, schemars(with = "Option<schema::Time>"))]
    pub measured_at: Option<jiff::Timestamp>,
    /// The panel that measures it.
    #[serde(skip)]
    pub panel: Name,
    /// The number of the line at the panel, from 1.
    #[serde(skip)]
    pub line: u16,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        EventBody,
        event::{LineChanged, LineWiring},
    };

    #[test]
    fn the_retained_topic_has_the_contracts_fields_in_its_order() {
        let status = LineStatus {
            intercom: 1,
            flat: 12,
            flat_id: None,
            state: LineState::OffHook,
            raw: Some(78),
            value: Some(7.8),
            unit: "V".into(),
            thresholds: Thresholds {
                short_below: Some(1.0),
                on_hook_below: 6.5,
                off_hook_below: 9.2,
                door_button_below: None,
                hysteresis: 0.2,
            },
            since: "2026-11-23T22:00:01.123Z".parse().unwrap(),
            measured_at: None,
            panel: Name::new("risers").unwrap(),
            line: 12,
        };
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            concat!(
                r#"{"intercom":1,"flat":12,"flat_id":null,"state":"off_hook","raw":78,"value":7.8,"unit":"V","#,
                r#""thresholds":{"short_below":1.0,"on_hook_below":6.5,"off_hook_below":9.2,"#,
                r#""door_button_below":null,"hysteresis":0.2},"#,
                r#""since":"2026-11-23T22:00:01.123Z","measured_at":null}"#
            )
        );
    }

    #[test]
    fn events_of_lines_have_the_contracts_fields() {
        let (panel, intercom) = (Name::new("risers").unwrap(), 1);
        let changed = EventBody::LineChanged(LineChanged {
            panel: panel.clone(),
            intercom,
            flat: 12,
            flat_id: Some(3),
            from: LineState::OnHook,
            to: LineState::OffHook,
            raw: Some(78),
            value: Some(7.8),
            unit: "V".into(),
        });
        let data = concat!(
            r#"{"panel":"risers","intercom":1,"flat":12,"flat_id":3,"from":"on_hook","to":"off_hook","#,
            r#""raw":78,"value":7.8,"unit":"V"}"#
        );
        assert_eq!(changed.to_parts(), ("intercom.line.changed", data.into()));
        let wiring = EventBody::LineWiring(LineWiring {
            panel: panel.clone(),
            intercom,
            lines: vec![11, 12, 13],
            state: LineState::Break,
            cleared: false,
        });
        let data = r#"{"panel":"risers","intercom":1,"lines":[11,12,13],"state":"break","cleared":false}"#;
        assert_eq!(wiring.to_parts(), ("intercom.line.wiring", data.into()));
        assert_eq!(wiring.subject(), Some(&panel));
    }

    #[test]
    fn words_go_both_ways() {
        for state in LineState::ALL {
            assert_eq!(LineState::from_word(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!(LineState::from_word("ringing"), None);
    }
}
