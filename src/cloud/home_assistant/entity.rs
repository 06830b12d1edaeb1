//! What single entities look at.

use serde_json::{Value, json};

use super::{Maker, RECENT_SECONDS};
use crate::cloud::{message::Place, topic::Topic};

impl Maker<'_> {
    pub(super) fn gateway_is_online(&self) -> Value {
        json!({
            "topic": self.root.full(&Topic::Status),
            "value_template": "{{ value_json.status }}",
            "payload_available": "online",
            "payload_not_available": "offline",
        })
    }

    fn panel_is_online(&self, place: &Place) -> Value {
        json!({
            "topic": self.root.full(&Topic::Panel(place.panel.clone())),
            "value_template": "{{ 'online' if value_json.state in ['online', 'insecure'] else 'offline' }}",
            "payload_available": "online",
            "payload_not_available": "offline",
        })
    }

    /// A member of the panel's status that is true, false or null; what it is called then.
    pub(super) fn flag(
        &self,
        name: &str,
        class: &str,
        member: &str,
        (when_true, when_false): (&str, &str),
        place: &Place,
    ) -> Value {
        json!({
            "name": name,
            "state_topic": self.root.full(&Topic::Panel(place.panel.clone())),
            // Home Assistant takes None for "unknown".
            "value_template": format!(
                "{{{{ 'None' if value_json.{member} is none else '{when_true}' if value_json.{member} else '{when_false}' }}}}"
            ),
            "device_class": class,
            "entity_category": "diagnostic",
            "availability": [self.gateway_is_online(), self.panel_is_online(place)],
            "availability_mode": "all",
        })
    }

    /// The contact has no topic of its own: its events tell. Until the first one it is unknown.
    pub(super) fn door(&self, place: &Place) -> Value {
        let text = "{% if event.type in ['intercom.door.opened', 'intercom.door.forced', 'intercom.door.held'] %}ON\
                    {% elif event.type == 'intercom.door.closed' %}OFF{% endif %}";
        json!({
            "name": "Door",
            "state_topic": self.root.full(&Topic::Events),
            "value_template": of_recent_events(place, text),
            "device_class": "door",
            "availability": [self.gateway_is_online(), self.panel_is_online(place)],
            "availability_mode": "all",
        })
    }

    /// Verdict and reason; the number of the key stays out of Home Assistant's history.
    pub(super) fn swipe(&self, place: &Place) -> Value {
        let text = "{% if event.type == 'intercom.key.swiped' %}\
                    {{ {'event_type': event.data.decision, 'reason': event.data.reason} | tojson }}{% endif %}";
        json!({
            "name": "Key",
            "state_topic": self.root.full(&Topic::Events),
            "value_template": of_recent_events(place, text),
            "event_types": ["granted", "denied"],
            "icon": "mdi:key-wireless",
            "availability": [self.gateway_is_online()],
        })
    }
}

/// A template that is empty, which changes nothing, but for new events of this panel. An event's time says nothing
/// before the gateway's clock was synchronised.
fn of_recent_events(place: &Place, text: &str) -> String {
    format!(
        "{{% set event = value_json %}}{{% if event.subject | default('') == '{}' and \
         (event.data.clock == 'unsynchronized' or \
         (as_timestamp(now()) - as_timestamp(event.time)) | abs < {RECENT_SECONDS}) %}}{text}{{% endif %}}",
        place.panel
    )
}
