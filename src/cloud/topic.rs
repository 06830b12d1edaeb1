//! The topics below `{topic_prefix}/{gateway id}/` as types (contract §4).

use std::fmt;

use crate::domain::Name;

/// A topic of this gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Whether the gateway is connected; retained, and the will.
    Status,
    /// What the gateway is made of; retained.
    Info,
    /// How the gateway is; retained.
    Health,
    /// How a panel is; retained.
    Panel(Name),
    /// How a handset line is; retained.
    Line {
        /// The intercom's id.
        intercom: u64,
        /// The flat's number on the door.
        flat: u64,
    },
    /// Events; never retained.
    Events,
    /// What the consumer has; from the cloud, may be retained.
    Committed,
    /// Asks for flats, keys and users.
    SyncRequest,
    /// Which flats, keys and users are in force; retained.
    SyncState,
    /// Flats, keys and users; from the cloud.
    SyncFlats,
    /// Commands; from the cloud.
    Commands,
    /// What became of commands.
    Results,
    /// Tells Home Assistant of a device with all of its entities: of a panel, or, without a name, of the gateway; retained,
    /// and below `homeassistant/` rather than below our own root.
    Device(Option<Name>),
    /// Where versions up to 0.2 told Home Assistant of a single entity: said to have moved, and cleared.
    Entity(Entity),
}

/// An entity of Home Assistant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// Its kind.
    pub component: Component,
    /// Its name, unique within this gateway: of `a-z 0-9 - _`.
    pub object: String,
}

/// The kinds of entities; none that acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// On or off.
    BinarySensor,
    /// Something happens.
    Event,
    /// A state among several.
    Sensor,
}

impl Component {
    const ALL: [Self; 3] = [Self::BinarySensor, Self::Event, Self::Sensor];

    /// Home Assistant's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BinarySensor => "binary_sensor",
            Self::Event => "event",
            Self::Sensor => "sensor",
        }
    }
}

/// The first level of Home Assistant's discovery topics, its default.
const DISCOVERY: &str = "homeassistant";
/// The kind of a device's topic.
const DEVICE: &str = "device";
/// Between the names of gateway and panel in a device's topic, where there is one level for both: capitals are in no name.
const PANEL: &str = "-PANEL-";

/// The part of the topic below `{topic_prefix}/{gateway id}/`; of a discovery topic, what tells it from others.
///
/// ```
/// use intercom_gateway::{cloud::topic::Topic, domain::Name};
/// assert_eq!(Topic::Panel(Name::new("entrance-1").unwrap()).to_string(), "panels/entrance-1");
/// assert_eq!(Topic::Line { intercom: 1, flat: 42 }.to_string(), "lines/1/42");
/// assert_eq!(Topic::Committed.to_string(), "events/committed");
/// ```
impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Info => f.write_str("info"),
            Self::Health => f.write_str("health"),
            Self::Panel(panel) => write!(f, "panels/{panel}"),
            Self::Line { intercom, flat } => write!(f, "lines/{intercom}/{flat}"),
            Self::Events => f.write_str("events"),
            Self::Committed => f.write_str("events/committed"),
            Self::SyncRequest => f.write_str("sync/request"),
            Self::SyncState => f.write_str("sync/state"),
            Self::SyncFlats => f.write_str("sync/flats"),
            Self::Commands => f.write_str("commands"),
            Self::Results => f.write_str("results"),
            Self::Device(None) => write!(f, "{DISCOVERY}/{DEVICE}"),
            Self::Device(Some(panel)) => write!(f, "{DISCOVERY}/{DEVICE}/{panel}"),
            Self::Entity(Entity { component, object }) => {
                write!(f, "{DISCOVERY}/{}/{object}", component.as_str())
            }
        }
    }
}

/// The text is no topic of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no topic of a gateway")]
pub struct UnknownTopic;

/// ```
/// use intercom_gateway::cloud::topic::Topic;
/// assert_eq!("lines/1/42".parse(), Ok(Topic::Line { intercom: 1, flat: 42 }));
/// assert_eq!("panels/entrance-1".parse::<Topic>().unwrap().to_string(), "panels/entrance-1");
/// for wrong in ["", "panels/", "panels/A B", "lines/1", "lines/01/2", "lines/1/2/3", "status/x", "events/"] {
///     assert!(wrong.parse::<Topic>().is_err(), "{wrong}");
/// }
/// ```
impl std::str::FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, UnknownTopic> {
        Ok(match text {
            "status" => Self::Status,
            "info" => Self::Info,
            "health" => Self::Health,
            "events" => Self::Events,
            "events/committed" => Self::Committed,
            "sync/request" => Self::SyncRequest,
            "sync/state" => Self::SyncState,
            "sync/flats" => Self::SyncFlats,
            "commands" => Self::Commands,
            "results" => Self::Results,
            _ => match text.split_once('/') {
                Some(("panels", panel)) => Self::Panel(Name::new(panel).map_err(|_| UnknownTopic)?),
                Some(("lines", line)) => {
                    let (intercom, flat) = line.split_once('/').ok_or(UnknownTopic)?;
                    Self::Line { intercom: number(intercom)?, flat: number(flat)? }
                }
                Some((DISCOVERY, DEVICE)) => Self::Device(None),
                Some((DISCOVERY, entity)) => {
                    let (component, object) = entity.split_once('/').ok_or(UnknownTopic)?;
                    if component == DEVICE {
                        return Ok(Self::Device(Some(Name::new(object).map_err(|_| UnknownTopic)?)));
                    }
                    let component = Component::ALL.into_iter().find(|known| known.as_str() == component);
                    let allowed = |byte: u8| {
                        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
                    };
                    if object.is_empty() || !object.bytes().all(allowed) {
                        return Err(UnknownTopic);
                    }
                    let component = component.ok_or(UnknownTopic)?;
                    Self::Entity(Entity { component, object: object.to_owned() })
                }
                _ => return Err(UnknownTopic),
            },
        })
    }
}

/// A number as [`fmt::Display`] writes it: no sign, no leading zero.
fn number(text: &str) -> Result<u64, UnknownTopic> {
    let number: u64 = text.parse().map_err(|_| UnknownTopic)?;
    if number.to_string() == text { Ok(number) } else { Err(UnknownTopic) }
}

/// Where this gateway's topics lie: `{topic_prefix}/{gateway id}`.
///
/// ```
/// use intercom_gateway::{cloud::topic::{Root, Topic}, domain::Name};
/// let root = Root::new("intercom/v1", &Name::new("building-7").unwrap());
/// assert_eq!(root.full(&Topic::Events), "intercom/v1/building-7/events");
/// assert_eq!(root.parse("intercom/v1/building-7/events"), Some(Topic::Events));
/// assert_eq!(root.parse("intercom/v1/building-8/events"), None);
/// assert_eq!(root.parse("intercom/v1/building-7events"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    text: String,
    gateway: Name,
}

impl Root {
    /// The root below `topic_prefix` (contract §2: no `+ # $`, no slash at either end).
    pub fn new(topic_prefix: &str, gateway: &Name) -> Self {
        Self { text: format!("{topic_prefix}/{gateway}"), gateway: gateway.clone() }
    }

    /// The whole topic as MQTT has it.
    ///
    /// ```
    /// # use intercom_gateway::{cloud::topic::{Component, Entity, Root, Topic}, domain::Name};
    /// let root = Root::new("intercom/v1", &Name::new("building-7").unwrap());
    /// let panel = Topic::Device(Some(Name::new("entrance-1").unwrap()));
    /// assert_eq!(root.full(&panel), "homeassistant/device/building-7-PANEL-entrance-1/config");
    /// assert_eq!(root.full(&Topic::Device(None)), "homeassistant/device/building-7/config");
    /// let entity = Entity { component: Component::Event, object: "entrance-1_swipe".into() };
    /// assert_eq!(root.full(&Topic::Entity(entity)), "homeassistant/event/building-7/entrance-1_swipe/config");
    /// ```
    pub fn full(&self, topic: &Topic) -> String {
        match topic {
            Topic::Device(None) => format!("{DISCOVERY}/{DEVICE}/{}/config", self.gateway),
            Topic::Device(Some(panel)) => {
                format!("{DISCOVERY}/{DEVICE}/{}{PANEL}{panel}/config", self.gateway)
            }
            Topic::Entity(Entity { component, object }) => {
                format!("{DISCOVERY}/{}/{}/{object}/config", component.as_str(), self.gateway)
            }
            topic => format!("{}/{topic}", self.text),
        }
    }

    /// The topic below our own root that a whole one is; `None`: none of ours.
    pub fn parse(&self, full: &str) -> Option<Topic> {
        full.strip_prefix(&self.text)?.strip_prefix('/')?.parse().ok()
    }

    /// The root as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The gateway's id.
    pub fn gateway(&self) -> &Name {
        &self.gateway
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topics() -> impl Strategy<Value = Topic> {
        prop_oneof![
            Just(Topic::Status),
            Just(Topic::Info),
            Just(Topic::Health),
            Just(Topic::Events),
            Just(Topic::Committed),
            Just(Topic::SyncRequest),
            Just(Topic::SyncState),
            Just(Topic::SyncFlats),
            Just(Topic::Commands),
            Just(Topic::Results),
            "[a-z0-9_-]{1,64}".prop_map(|name| Topic::Panel(Name::new(&name).unwrap())),
            (any::<u64>(), any::<u64>()).prop_map(|(intercom, flat)| Topic::Line { intercom, flat }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(topic in topics()) {
            let root = Root::new("intercom/v1", &Name::new("g").unwrap());
            prop_assert_eq!(root.parse(&root.full(&topic)), Some(topic));
        }

        #[test]
        fn what_is_remembered_of_an_entity_is_read_again(object in "[a-z0-9_-]{1,64}", kind in 0_usize..3) {
            let topic = Topic::Entity(Entity { component: Component::ALL[kind], object });
            prop_assert_eq!(topic.to_string().parse(), Ok(topic));
        }

        #[test]
        fn what_is_remembered_of_a_device_is_read_again(panel in proptest::option::of("[a-z0-9_-]{1,64}")) {
            let topic = Topic::Device(panel.map(|panel| Name::new(&panel).unwrap()));
            prop_assert_eq!(topic.to_string().parse(), Ok(topic));
        }

        #[test]
        fn what_is_read_is_written_the_same(text in "(panels|lines|sync|events|homeassistant|homeassistant/event|homeassistant/device|x)(/[a-z0-9+]{0,3}){0,3}") {
            if let Ok(topic) = text.parse::<Topic>() {
                prop_assert_eq!(topic.to_string(), text);
            }
        }
    }
}
