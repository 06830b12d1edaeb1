//! What a panel reports, asked or unasked, and what it says it has.

use super::{Panel, Security, Status, feedback::Feedback};
use crate::{
    domain::{
        Capabilities, Mono,
        event::{InputState, SuspectCause},
    },
    panel::Event,
    wire::osdp::{Reply, reply::Capability},
};

/// PDCAP function codes (OSDP 2.2, annex B).
const CONTACT_STATUS: u8 = 1;
const OUTPUT_CONTROL: u8 = 2;
const LED_CONTROL: u8 = 4;
const AUDIBLE_OUTPUT: u8 = 5;
const CHECK_CHARACTER: u8 = 8;
const READERS: u8 = 13;

impl Panel {
    /// Tells of a report that came on a link as secure as configured. What people do at the door counts only encrypted.
    pub(super) fn report(&mut self, now: Mono, reply: &Reply, encrypted: bool) {
        let stale = self.presence.is_stale(now);
        let event = match reply {
            Reply::Raw { .. } | Reply::Fmt { .. } | Reply::Keypad { .. } | Reply::IStatR(_)
                if !encrypted && self.keyring.security() != Security::Off =>
            {
                Event::Suspect(SuspectCause::Plaintext)
            }
            Reply::Raw { reader, format, bits, data } => Event::Credential {
                reader: *reader,
                format: Some(*format),
                bits: *bits,
                data: data.clone(),
                stale,
            },
            Reply::Fmt { reader, data, .. } => {
                let bits = u16::try_from(data.len()).unwrap_or(u16::MAX).saturating_mul(8);
                Event::Credential { reader: *reader, format: None, bits, data: data.clone(), stale }
            }
            Reply::Keypad { reader, digits } => {
                Event::Keypad { reader: *reader, keys: digits.clone(), stale }
            }
            Reply::LStatR { tamper, power_failed } => {
                Event::Local { tamper: *tamper, power_failed: *power_failed }
            }
            Reply::IStatR(inputs) => {
                Event::Inputs { states: inputs.iter().copied().map(input_state).collect(), stale }
            }
            Reply::RStatR(readers) => {
                let disconnected = readers.iter().position(|reader| *reader == 1);
                Event::Readers {
                    tamper: readers.contains(&2),
                    disconnected: disconnected.and_then(|reader| u8::try_from(reader).ok()),
                }
            }
            _ => return,
        };
        self.events.push_back(event);
    }

    /// Which status commands the panel can answer, as far as it told. What the door looks like comes first.
    pub(super) fn status_to_ask(&self) -> Vec<Status> {
        let mut asked = Vec::new();
        if self.count_of(CONTACT_STATUS) != Some(0) {
            asked.push(Status::Inputs);
        }
        asked.extend([Status::Local, Status::Readers]);
        asked
    }

    pub(super) fn capabilities_event(&self) -> Event {
        let shows = self.has(LED_CONTROL).zip(self.has(AUDIBLE_OUTPUT)).map(|(light, sound)| light || sound);
        // A panel that does not mention readers may have some.
        let readers = self.find(READERS).flatten().map(|capability| capability.count);
        Event::Capabilities(Capabilities {
            inputs: self.count_of(CONTACT_STATUS),
            outputs: self.count_of(OUTPUT_CONTROL),
            readers,
            shows,
        })
    }

    /// Whether the panel says that it understands CRC-16.
    pub(super) fn knows_crc(&self) -> bool {
        self.has(CHECK_CHARACTER) == Some(true)
    }

    /// Whether the panel has the light (or, after it, the sound) of a feedback, as far as it told. A search
    /// tries what the panel does not mention: nothing at the door depends on it.
    pub(super) fn can_show(&self, feedback: &Feedback) -> bool {
        let function = if feedback.sounds() { AUDIBLE_OUTPUT } else { LED_CONTROL };
        if feedback.is_search() {
            self.find(function).flatten().is_none_or(|capability| capability.level > 0)
        } else {
            self.has(function) != Some(false)
        }
    }

    /// How many of a function the panel has; `None` where it did not tell its capabilities.
    fn count_of(&self, function: u8) -> Option<u8> {
        self.find(function).map(|found| found.map_or(0, |capability| capability.count))
    }

    /// Whether it complies with a function at all; `None` as above.
    fn has(&self, function: u8) -> Option<bool> {
        self.find(function).map(|found| found.is_some_and(|capability| capability.level > 0))
    }

    fn find(&self, function: u8) -> Option<Option<&Capability>> {
        let all = self.capabilities.as_ref()?;
        Some(all.iter().find(|capability| capability.function == function))
    }
}

/// OSDP 2.2.2, table 52; older panels know 0 and 1.
fn input_state(byte: u8) -> InputState {
    match byte {
        0 => InputState::Inactive,
        1 => InputState::Active,
        2 => InputState::Short,
        3 => InputState::Open,
        4 => InputState::Fault,
        _ => InputState::Unknown,
    }
}
