//! Doors, keys and directories for the tests.

use std::{num::NonZeroU16, time::Duration};

use intercom_gateway::{
    access::{Directory, DirectoryBuilder, DirectoryCode, DirectoryEntry, KeyOrder},
    bus::{DoorSettings, DoorwaySettings, LockSettings},
    domain::{KeyCode, Name, OutputActive},
    panel::{
        Driver, Entropy,
        osdp::{CurrentKey, KeyRecord, Panel, PanelKey, Security, Settings},
    },
    simulate::{
        action::{Action, Card},
        chance::Chance,
        panel::{ChannelSetup, PanelSetup},
    },
    wire::osdp::Scbk,
};

/// The intercom of all doors.
pub const INTERCOM: u64 = 1;
/// Inputs of the contact and of the exit button, where a door has them.
pub const CONTACT: u8 = 0;
pub const EXIT: u8 = 1;
/// A read is stale where the last POLL that was answered by ACK was first sent longer ago (contract §5), on lines whose
/// cycle is as short as it is here.
pub const STALE_AFTER: Duration = Duration::from_secs(3);
/// How long an unlock lasts, in units of 100 ms.
pub const OPEN_TENTHS: u16 = 30;

/// A door panel as it is built in and configured.
#[derive(Clone, Debug)]
pub struct Door {
    pub setup: PanelSetup,
    pub security: Security,
    /// The key of `secure_key_file`.
    pub fixed_key: Option<Scbk>,
    /// The key that the panel proved in an earlier run of the gateway.
    pub kept_key: Option<Scbk>,
    /// Contact and exit button.
    pub contacts: Option<DoorSettings>,
    pub feedback: bool,
    pub turnaround: Duration,
    /// How many characters of its replies reach the gateway at once.
    pub batch: usize,
}

impl Door {
    /// In a secure channel with a configured key; answers after 2 ms.
    pub fn secured(address: u8, seed: u64) -> Self {
        let key = Scbk::new([address | 0x80; 16]);
        let setup = PanelSetup::new(address, ChannelSetup::Key(key.clone()), seed);
        Self { fixed_key: Some(key), security: Security::Required, ..Self::plain(setup) }
    }

    /// Plaintext by configuration.
    pub fn plain(setup: PanelSetup) -> Self {
        Self {
            setup,
            security: Security::Off,
            fixed_key: None,
            kept_key: None,
            contacts: None,
            feedback: true,
            turnaround: Duration::from_millis(2),
            batch: 1,
        }
    }

    /// Mostly secured by a configured key; one in eight in plaintext, one with a key from an earlier pairing.
    pub fn any(chance: &mut Chance, number: u8) -> Self {
        let address = number * 40 + chance.byte() % 40;
        let seed = chance.next_u64();
        match chance.byte() % 8 {
            0 => Self::plain(PanelSetup::new(address, ChannelSetup::Unsupported, seed)),
            1 => {
                let mut door = Self::secured(address, seed);
                door.kept_key = door.fixed_key.take();
                door.security = Security::Install;
                door
            }
            _ => Self::secured(address, seed),
        }
    }

    /// New from the box, to be paired.
    pub fn unpaired(address: u8, seed: u64) -> Self {
        let setup = PanelSetup::new(address, ChannelSetup::Install, seed);
        Self { security: Security::Install, ..Self::plain(setup) }
    }

    pub fn name(&self) -> Name {
        Name::new(&format!("panel-{}", self.setup.address)).unwrap()
    }

    pub fn is_plain(&self) -> bool {
        self.security == Security::Off
    }

    /// What is on the gateway's disk of it at first.
    pub fn disk(&self) -> KeyRecord {
        let current = self.kept_key.clone().map(|key| CurrentKey::Known(PanelKey::new(key).unwrap()));
        KeyRecord { current, ..KeyRecord::default() }
    }

    pub fn driver(&self, disk: &KeyRecord, seed: u64) -> (DoorwaySettings, Driver) {
        let doorway = DoorwaySettings {
            panel: self.name(),
            intercom: INTERCOM,
            lock: Some(LockSettings {
                output: 0,
                open: NonZeroU16::new(OPEN_TENTHS).unwrap(),
                active: OutputActive::On,
            }),
            door: self.contacts.clone(),
            feedback: self.feedback,
            key_order: KeyOrder::AsRead,
        };
        let settings = Settings {
            address: self.setup.address,
            security: self.security,
            record: KeyRecord {
                from_config: self.fixed_key.clone().map(|key| PanelKey::new(key).unwrap()),
                ..disk.clone()
            },
            key_fault: None,
            strays: Vec::new(),
            reply_timeout: Duration::from_millis(200),
            stale_after: STALE_AFTER,
        };
        (doorway, Driver::Osdp(Box::new(Panel::new(settings, Box::new(Seeded(Chance::new(seed)))))))
    }
}

/// Randomness that a seed repeats.
struct Seeded(Chance);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        out.fill_with(|| self.0.byte());
        true
    }
}

/// Codes below [`KNOWN`] are in the directory, all others are nobody's.
pub const KNOWN: u32 = 64;

/// The code that opens, which only attackers type.
pub const OPENING: &str = "9909";
pub const OPENING_ID: u64 = 1;
/// The code that people type. Its user may not open by code.
pub const FORBIDDEN: &str = "1200";

/// A directory in which every second code below [`KNOWN`] opens, and the others are of another intercom.
pub fn directory() -> Directory {
    let mut builder = DirectoryBuilder::new(jiff::tz::TimeZone::UTC);
    for number in 0..KNOWN {
        let intercom = if opens(number) { INTERCOM } else { INTERCOM + 1 };
        builder.add(&DirectoryEntry {
            intercom,
            flat_id: 1,
            flat: 1,
            key_id: u64::from(number) + 1,
            code: KeyCode::from_bytes(&code(number)).unwrap(),
            user_id: None,
            expired_at: None,
            permitted: true,
        });
    }
    for (code_id, code, permitted) in [(OPENING_ID, OPENING, true), (2, FORBIDDEN, false)] {
        builder.add_code(&DirectoryCode {
            intercom: INTERCOM,
            flat_id: 1,
            flat: 1,
            code_id,
            code: code.parse().unwrap(),
            expired_at: None,
            user_expired_at: None,
            permitted,
        });
    }
    builder.build(Some(1))
}

/// Whether the key with this number opens.
pub fn opens(number: u32) -> bool {
    number < KNOWN && number.is_multiple_of(2)
}

/// What the reader sends of the key with this number.
pub fn code(number: u32) -> [u8; 4] {
    (number ^ 0xC0DE_0000).to_be_bytes()
}

pub fn card(number: u32) -> Action {
    Action::Card(Card { format: 0, bits: 32, data: code(number).to_vec() })
}

/// The number of a key that is presented.
pub fn card_number(action: &Action) -> Option<u32> {
    let (Action::Card(card) | Action::CardAt { card, .. }) = action else { return None };
    Some(u32::from_be_bytes(card.data.as_slice().try_into().ok()?) ^ 0xC0DE_0000)
}
