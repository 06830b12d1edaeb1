//! The entities, and what single ones look at.

use serde_json::{Value, json};

use super::{Home, RECENT_SECONDS};
use crate::{
    cloud::{
        message::Place,
        topic::{Component, Topic},
    },
    domain::LineState,
};

/// An entity.
pub(super) struct Told {
    pub(super) component: Component,
    /// Its name within its device's message.
    pub(super) id: String,
    /// Its name within this gateway.
    pub(super) object: String,
    /// What else is told of it.
    pub(super) own: Value,
}

impl Home<'_> {
    pub(super) fn gateway(&self) -> Vec<Told> {
        // Without availability: it would be unknown when it is off.
        let connected = json!({
            "name": "Connection",
            "state_topic": self.root.full(&Topic::Status),
            "value_template": "{{ value_json.status }}",
            "payload_on": "online",
            "payload_off": "offline",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
        });
        let (id, object) = ("connection".to_owned(), "gateway".to_owned());
        vec![Told { component: Component::BinarySensor, id, object, own: connected }]
    }

    pub(super) fn panel(&self, place: &Place) -> Vec<Told> {
        let panel = &place.panel;
        let entity = |component, id: &str, own| Told {
            component,
            id: id.to_owned(),
            object: format!("{panel}_{id}"),
            own,
        };
        let sensor = |id, own| entity(Component::BinarySensor, id, own);
        let mut entities = vec![
            sensor("connection", self.connection(place)),
            sensor("tamper", self.fault("Tamper", "tamper", "tamper", ("ON", "OFF"), place)),
            sensor("power", self.fault("Power", "power", "power_failed", ("OFF", "ON"), place)),
        ];
        if place.has_contact {
            entities.push(sensor("door", self.door(place)));
            entities.push(sensor("held", self.held(place)));
        }
        if place.has_reader {
            entities.push(entity(Component::Event, "swipe", self.swipe(place)));
        }
        entities.extend(place.lines.iter().flat_map(|flat| self.line(place, *flat)));
        entities
    }

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
            "topic": self.status_of(place),
            "value_template": "{{ 'online' if value_json.state in ['online', 'insecure'] else 'offline' }}",
            "payload_available": "online",
            "payload_not_available": "offline",
        })
    }

    fn connection(&self, place: &Place) -> Value {
        json!({
            "name": "Connection",
            "state_topic": self.status_of(place),
            "value_template": "{{ 'ON' if value_json.state == 'online' else 'OFF' }}",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
        })
    }

    /// Something that a panel that answers tells in its status.
    fn of_panel(&self, name: &str, class: &str, template: String, place: &Place) -> Value {
        json!({
            "name": name,
            "state_topic": self.status_of(place),
            "value_template": template,
            "device_class": class,
            "availability": [self.gateway_is_online(), self.panel_is_online(place)],
            "availability_mode": "all",
        })
    }

    /// A member of the panel's status that is true, false or null; what it is called then.
    fn fault(
        &self,
        name: &str,
        class: &str,
        member: &str,
        (when_true, when_false): (&str, &str),
        place: &Place,
    ) -> Value {
        // Home Assistant takes None for "unknown".
        let template = format!(
            "{{{{ 'None' if value_json.{member} is none else '{when_true}' if value_json.{member} else '{when_false}' }}}}"
        );
        let mut fault = self.of_panel(name, class, template, place);
        fault["entity_category"] = "diagnostic".into();
        fault
    }

    /// The contact, from the retained status: known as soon as the panel's is.
    fn door(&self, place: &Place) -> Value {
        let template =
            "{{ 'None' if value_json.door is none else 'ON' if value_json.door == 'open' else 'OFF' }}";
        self.of_panel("Door", "door", template.to_owned(), place)
    }

    fn held(&self, place: &Place) -> Value {
        let template = "{{ 'None' if value_json.door is none else 'ON' if value_json.held else 'OFF' }}";
        self.of_panel("Door held open", "problem", template.to_owned(), place)
    }

    /// Verdict and reason; the number of the key stays out of Home Assistant's history.
    fn swipe(&self, place: &Place) -> Value {
        let text = "{% if event.type == 'intercom.key.swiped' %}\
                    {{ {'event_type': event.data.decision, 'reason': event.data.reason} | tojson }}{% endif %}";
        json!({
            "name": "Key",
            "state_topic": self.root.full(&Topic::Events),
            "value_template": of_recent_events(place, text),
            "event_types": ["granted", "denied"],
            "icon": "mdi:key-wireless",
        })
    }

    /// A line's state, which is only there for those who want it: a building has hundreds, nearly all of them well; and
    /// whether it is at fault, for everybody.
    fn line(&self, place: &Place, flat: u64) -> [Told; 2] {
        let intercom = place.intercom;
        let topic = self.root.full(&Topic::Line { intercom, flat });
        let faults: Vec<String> = LineState::ALL
            .into_iter()
            .filter(|state| state.is_wire_fault())
            .map(|state| format!("'{}'", state.as_str()))
            .collect();
        let is_fault = format!(
            "{{{{ 'None' if value_json.state == '{}' else 'ON' if value_json.state in [{}] else 'OFF' }}}}",
            LineState::Unknown.as_str(),
            faults.join(", ")
        );
        let state = json!({
            "name": format!("Line of flat {flat}"),
            "state_topic": topic,
            "value_template": "{{ value_json.state }}",
            "device_class": "enum",
            "options": LineState::ALL.map(LineState::as_str),
            "entity_category": "diagnostic",
            "enabled_by_default": false,
        });
        let fault = json!({
            "name": format!("Line fault of flat {flat}"),
            "state_topic": topic,
            "value_template": is_fault,
            "device_class": "problem",
            "entity_category": "diagnostic",
        });
        let told = |component, suffix: &str, own| {
            let object = format!("line_{intercom}_{flat}{suffix}");
            Told { component, id: object.clone(), object, own }
        };
        [told(Component::Sensor, "", state), told(Component::BinarySensor, "_fault", fault)]
    }

    fn status_of(&self, place: &Place) -> String {
        self.root.full(&Topic::Panel(place.panel.clone()))
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
