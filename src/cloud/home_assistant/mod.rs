//! Discovery for Home Assistant (contract §2, `home_assistant`): what the gateway publishes anyway becomes devices,
//! sensors and events of a stock installation. It says where to look, and never what was seen.
//!
//! Invariants:
//! - Nothing that acts: no lock, no button, no switch.
//! - No personal data: no key, no flat's name, no user; a swipe's event there has its verdict and no number.
//! - The messages follow from the configuration and from what panels say of themselves; those of an earlier
//!   configuration are cleared with the other retained topics.

mod entity;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::{
    message::{Building, Place},
    topic::{Component, Discovery, Root, Topic},
};
use crate::domain::{Device, LineState, PanelStatus};

/// Events older than this are no news for an automation: they were kept while the line was down, or are replayed.
const RECENT_SECONDS: u32 = 120;

/// All discovery messages of a gateway.
pub(super) fn messages(
    root: &Root,
    version: &str,
    building: &Building,
    panels: &[PanelStatus],
) -> Vec<(Topic, Value)> {
    let maker = Maker { root, version, building };
    let mut messages = maker.gateway();
    for place in &building.panels {
        let status = panels.iter().find(|status| status.panel == place.panel);
        let device = maker.panel_device(place, status.and_then(|status| status.device.as_ref()));
        messages.extend(maker.panel(place, &device));
        messages.extend(maker.lines(place, &device));
    }
    messages
}

struct Maker<'a> {
    root: &'a Root,
    version: &'a str,
    building: &'a Building,
}

impl Maker<'_> {
    fn gateway(&self) -> Vec<(Topic, Value)> {
        let device = json!({
            "identifiers": [self.identifier(None)],
            "name": format!("Intercom gateway {}", self.root.gateway()),
            "model": "intercom-gateway",
            "sw_version": self.version,
        });
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
        vec![self.entity(Component::BinarySensor, "gateway", &device, connected)]
    }

    fn panel(&self, place: &Place, device: &Value) -> Vec<(Topic, Value)> {
        let panel = &place.panel;
        let state = self.root.full(&Topic::Panel(panel.clone()));
        let sensor = |suffix: &str, own: Value| {
            self.entity(Component::BinarySensor, &format!("{panel}_{suffix}"), device, own)
        };
        let mut entities = vec![
            sensor(
                "connection",
                json!({
                    "name": "Connection",
                    "state_topic": state,
                    "value_template": "{{ 'ON' if value_json.state == 'online' else 'OFF' }}",
                    "device_class": "connectivity",
                    "entity_category": "diagnostic",
                    "availability": [self.gateway_is_online()],
                }),
            ),
            sensor("tamper", self.flag("Tamper", "tamper", "tamper", ("ON", "OFF"), place)),
            sensor("power", self.flag("Power", "power", "power_failed", ("OFF", "ON"), place)),
        ];
        if place.has_contact {
            entities.push(sensor("door", self.door(place)));
        }
        if place.has_reader {
            let swipe = self.swipe(place);
            entities.push(self.entity(Component::Event, &format!("{panel}_swipe"), device, swipe));
        }
        entities
    }

    fn lines(&self, place: &Place, device: &Value) -> Vec<(Topic, Value)> {
        let intercom = place.intercom;
        let line = |flat: &u64| {
            let own = json!({
                "name": format!("Line of flat {flat}"),
                "state_topic": self.root.full(&Topic::Line { intercom, flat: *flat }),
                "value_template": "{{ value_json.state }}",
                "device_class": "enum",
                "options": LineState::ALL.map(LineState::as_str),
                "entity_category": "diagnostic",
                "availability": [self.gateway_is_online()],
            });
            self.entity(Component::Sensor, &format!("line_{intercom}_{flat}"), device, own)
        };
        place.lines.iter().map(line).collect()
    }

    fn panel_device(&self, place: &Place, device: Option<&Device>) -> Value {
        let intercom = self.building.intercoms.iter().find(|intercom| intercom.id == place.intercom);
        let area = intercom.map(|intercom| intercom.name.as_str()).filter(|name| !name.is_empty());
        let mut about = json!({
            "identifiers": [self.identifier(Some(place))],
            "name": format!("Panel {}", place.panel),
            "via_device": self.identifier(None),
        });
        let known = [
            ("suggested_area", area),
            ("model", device.map(|device| device.model.as_str())),
            ("sw_version", device.and_then(|device| device.firmware.as_deref())),
            ("serial_number", device.and_then(|device| device.serial.as_deref())),
        ];
        for (member, text) in known {
            if let Some(text) = text {
                about[member] = text.into();
            }
        }
        about
    }

    /// Unique among all gateways of a Home Assistant: `/` is in no name.
    fn identifier(&self, place: Option<&Place>) -> String {
        match place {
            None => format!("intercom-gateway/{}", self.root.gateway()),
            Some(place) => format!("intercom-gateway/{}/{}", self.root.gateway(), place.panel),
        }
    }

    fn entity(&self, component: Component, object: &str, device: &Value, mut own: Value) -> (Topic, Value) {
        own["unique_id"] = format!("intercom-gateway/{}/{object}", self.root.gateway()).into();
        own["device"] = device.clone();
        own["origin"] = json!({ "name": "intercom-gateway", "sw_version": self.version });
        own["qos"] = 1.into();
        (Topic::Discovery(Discovery { component, object: object.to_owned() }), own)
    }
}
