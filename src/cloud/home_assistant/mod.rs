//! Discovery for Home Assistant (contract §2, `home_assistant`): what the gateway publishes anyway becomes devices,
//! sensors and events of a stock installation. It says where to look, and never what was seen.
//!
//! Invariants:
//! - Nothing that acts: no lock, no button, no switch.
//! - No personal data: no key, no flat's name, no user; a swipe's event there has its verdict and no number.
//! - One message a device, the gateway or a panel, with all of its entities.
//! - The messages follow from the configuration and from what panels say of themselves; those of an earlier
//!   configuration are cleared with the other retained topics.
//! - An entity's `unique_id` is what it was when each had a message of its own, so that it keeps its history.

mod entity;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use self::entity::Told;
use super::{
    message::{Building, Place},
    topic::{Entity, Root, Topic},
};
use crate::domain::{Device, Name, Ordered};

/// Events older than this are no news for an automation: they were kept while the line was down, or are replayed.
const RECENT_SECONDS: u32 = 120;

/// What the messages are made of.
pub(super) struct Home<'a> {
    pub(super) root: &'a Root,
    pub(super) version: &'a str,
    pub(super) building: &'a Building,
    /// Where the installer's page is.
    pub(super) page: Option<&'a str>,
}

impl Home<'_> {
    /// All discovery messages of a gateway, its own first: the panels' hang on its device. `devices` is what panels say
    /// that they are.
    pub(super) fn messages(&self, devices: &[(Name, Option<Device>)]) -> Vec<(Topic, Value)> {
        let mut messages =
            vec![(Topic::Device(None), self.message(None, self.gateway_device(), self.gateway()))];
        for place in &self.building.panels {
            let known = devices.iter().find(|(panel, _)| *panel == place.panel);
            let device = self.panel_device(place, known.and_then(|(_, device)| device.as_ref()));
            let message = self.message(Some(place), device, self.panel(place));
            messages.push((Topic::Device(Some(place.panel.clone())), message));
        }
        messages
    }

    /// The topics on which versions up to 0.2 told of the same entities.
    pub(super) fn earlier(&self) -> BTreeSet<Topic> {
        let panels = self.building.panels.iter().flat_map(|place| self.panel(place));
        let topic = |told: Told| Topic::Entity(Entity { component: told.component, object: told.object });
        self.gateway().into_iter().chain(panels).map(topic).collect()
    }

    fn message(&self, place: Option<&Place>, device: Value, entities: Vec<Told>) -> Value {
        let components: Map<String, Value> = entities
            .into_iter()
            .map(|Told { component, id, object, mut own }| {
                own["platform"] = component.as_str().into();
                own["unique_id"] = format!("intercom-gateway/{}/{object}", self.root.gateway()).into();
                // Home Assistant does not hand it down from the device, whatever its page says.
                own["qos"] = 1.into();
                (id, own)
            })
            .ordered();
        let mut message = json!({
            "device": device,
            "origin": { "name": "intercom-gateway", "sw_version": self.version },
            "components": components,
        });
        if place.is_some() {
            message["availability"] = json!([self.gateway_is_online()]);
        }
        message
    }

    fn gateway_device(&self) -> Value {
        let mut device = json!({
            "identifiers": [self.identifier(None)],
            "name": format!("Intercom gateway {}", self.root.gateway()),
            "manufacturer": "intercom-gateway",
            "model": "Gateway",
            "sw_version": self.version,
        });
        add(&mut device, [("configuration_url", self.page)]);
        device
    }

    fn panel_device(&self, place: &Place, device: Option<&Device>) -> Value {
        let intercom = self.building.intercoms.iter().find(|intercom| intercom.id == place.intercom);
        let vendor = device.and_then(|device| device.vendor.as_deref());
        let model = device.map(|device| device.model.as_str());
        // OSDP: the maker has a line of its own.
        let model = model.map(|model| vendor.and_then(|vendor| model.strip_prefix(vendor)).unwrap_or(model));
        let mut about = json!({
            "identifiers": [self.identifier(Some(place))],
            "name": format!("Panel {}", place.panel),
            "via_device": self.identifier(None),
        });
        let known = [
            ("suggested_area", intercom.map(|intercom| intercom.name.as_str())),
            ("manufacturer", vendor),
            ("model", model),
            ("model_id", place.profile.as_deref()),
            ("sw_version", device.and_then(|device| device.firmware.as_deref())),
            ("serial_number", device.and_then(|device| device.serial.as_deref())),
            ("configuration_url", self.page),
        ];
        add(&mut about, known);
        about
    }

    /// Unique among all gateways of a Home Assistant: `/` is in no name.
    fn identifier(&self, place: Option<&Place>) -> String {
        match place {
            None => format!("intercom-gateway/{}", self.root.gateway()),
            Some(place) => format!("intercom-gateway/{}/{}", self.root.gateway(), place.panel),
        }
    }
}

/// Adds the members that are known.
fn add<const N: usize>(device: &mut Value, known: [(&str, Option<&str>); N]) {
    for (member, text) in known {
        if let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) {
            device[member] = text.into();
        }
    }
}
