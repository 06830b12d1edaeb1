//! What there is to be tried out, as the configuration has it, and the items that follow.

use super::{
    Item, Kind,
    item::{OF_CLOUD, of_line, of_panel},
};
use crate::domain::Name;

/// What a building has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fittings {
    /// Its panels, in the order of the configuration.
    pub panels: Vec<FittedPanel>,
    /// Whether it has a cloud.
    pub has_cloud: bool,
}

/// A panel and what hangs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FittedPanel {
    /// Its name.
    pub name: Name,
    /// Its intercom.
    pub intercom: u64,
    /// Whether it may have light or sound to be identified by.
    pub can_blink: bool,
    /// Whether it is to have a secure channel.
    pub has_secure_channel: bool,
    /// Whether keys are read at it.
    pub has_reader: bool,
    /// Whether it has a lock.
    pub has_lock: bool,
    /// Whether its door has a contact.
    pub has_contact: bool,
    /// The input of its exit button, where there is one.
    pub exit: Option<u8>,
    /// The numbers of the flats whose lines it measures.
    pub flats: Vec<u64>,
}

impl Fittings {
    /// Returns all items, none of them done.
    pub fn items(&self) -> Vec<Item> {
        let mut items: Vec<Item> = self.panels.iter().flat_map(FittedPanel::items).collect();
        items.extend(self.panels.iter().flat_map(FittedPanel::lines));
        items.extend(self.has_cloud.then(|| Item {
            id: OF_CLOUD.to_owned(),
            panel: None,
            intercom: None,
            flat: None,
            ..item(Kind::Back)
        }));
        items
    }

    /// Returns a panel by its name.
    pub(super) fn panel(&self, name: &str) -> Option<&FittedPanel> {
        self.panels.iter().find(|panel| panel.name.as_str() == name)
    }
}

impl FittedPanel {
    /// Items of the panel and its door.
    fn items(&self) -> impl Iterator<Item = Item> {
        let kinds = [
            (Kind::Answered, true),
            (Kind::Secured, self.has_secure_channel),
            (Kind::Identified, self.can_blink),
            (Kind::Opened, self.has_lock),
            (Kind::Contact, self.has_contact),
            (Kind::Exit, self.exit.is_some()),
            (Kind::Refused, self.has_reader),
        ];
        kinds.into_iter().filter(|(_, is_there)| *is_there).map(|(kind, _)| Item {
            id: of_panel(self.name.as_str(), kind),
            panel: Some(self.name.clone()),
            intercom: Some(self.intercom),
            ..item(kind)
        })
    }

    /// Items of its lines.
    fn lines(&self) -> impl Iterator<Item = Item> {
        let kinds = [Kind::OnHook, Kind::OffHook, Kind::Number];
        let lines = self.flats.iter().flat_map(move |flat| kinds.map(|kind| (*flat, kind)));
        lines.map(|(flat, kind)| Item {
            id: of_line(self.intercom, flat, kind),
            panel: Some(self.name.clone()),
            intercom: Some(self.intercom),
            flat: Some(flat),
            ..item(kind)
        })
    }
}

fn item(kind: Kind) -> Item {
    Item {
        id: String::new(),
        group: kind.group(),
        kind,
        panel: None,
        intercom: None,
        flat: None,
        by_hand: kind.is_by_hand(),
        done: None,
    }
}
