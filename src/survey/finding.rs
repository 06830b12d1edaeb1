//! What is told of a line besides the panels on it, in words.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::Speed;
use crate::{domain::Name, wire::osdp::code::reply};

/// Something that was heard, or not heard, on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Somebody else asks panels.
    OtherMaster {
        /// At what speed.
        speed: Speed,
        /// Whom it asks.
        addresses: BTreeSet<u8>,
    },
    /// What is sent comes back.
    Echo,
    /// Two devices answer at one address, each whole.
    TwoDevices {
        /// The address.
        address: u8,
        /// At what speed.
        speed: Speed,
        /// Their serial numbers, as they are shown, where they tell and differ.
        serials: Option<[String; 2]>,
    },
    /// Every answer at one address is damaged, and none at others is.
    Collision {
        /// The address.
        address: u8,
        /// At what speed.
        speed: Speed,
    },
    /// Every answer of several addresses is damaged.
    AllDamaged {
        /// The addresses.
        addresses: Vec<u8>,
        /// At what speed.
        speed: Speed,
    },
    /// Some answers of a panel were damaged.
    Damaged {
        /// The address.
        address: u8,
        /// At what speed.
        speed: Speed,
        /// How many.
        damaged: u32,
        /// Of how many questions.
        asked: u32,
    },
    /// What a panel answers makes no sense.
    Nonsense {
        /// The address.
        address: u8,
        /// At what speed.
        speed: Speed,
        /// Code or function of the answer.
        code: u8,
    },
    /// A panel does not say what it is.
    Refused {
        /// The address.
        address: u8,
        /// At what speed.
        speed: Speed,
        /// Its reason, in words.
        reason: String,
    },
    /// A panel takes longer than it may.
    Late {
        /// The address.
        address: u8,
        /// At what speed.
        speed: Speed,
        /// How long the whole exchange takes.
        round_trip: Duration,
    },
    /// A panel answers only where a checksum is used.
    ChecksumOnly {
        /// The address.
        address: u8,
        /// At what speed.
        speed: Speed,
    },
    /// Nobody answers, and nothing is heard.
    Silent {
        /// At these speeds.
        speeds: Vec<Speed>,
    },
    /// The line lies at the wrong level.
    Shorted,
    /// Something is heard that makes no sense at any speed.
    Noise {
        /// At these speeds.
        speeds: Vec<Speed>,
    },
    /// Each address was asked once.
    NotThorough,
    /// Nobody was waited for as long as the standard allows.
    QuickOnly,
    /// A panel of the configuration does not answer.
    Missing {
        /// Its name.
        panel: Name,
        /// Its address.
        address: u8,
    },
}

/// What was noticed of the addresses of one speed together.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Addresses from which only damaged answers come.
    pub(super) damaged: Vec<u8>,
    /// Those from which whole ones come.
    pub(super) answering: BTreeSet<u8>,
    echoes: u32,
}

impl Lists {
    /// Counts questions that came back; tells of it once.
    pub(super) fn echoed(&mut self, echoes: u32) -> Option<Finding> {
        /// Echoes that are no chance.
        const ECHOES: u32 = 3;
        let before = self.echoes;
        self.echoes = before.saturating_add(echoes);
        (before < ECHOES && self.echoes >= ECHOES).then_some(Finding::Echo)
    }

    /// Returns what the damaged answers mean.
    pub(super) fn damaged_findings(&self, speed: Speed) -> Vec<Finding> {
        if self.answering.is_empty() && self.damaged.len() > 1 {
            return vec![Finding::AllDamaged { addresses: self.damaged.clone(), speed }];
        }
        self.damaged.iter().map(|address| Finding::Collision { address: *address, speed }).collect()
    }

    /// Forgets the addresses: another speed begins.
    pub(super) fn begin(&mut self) {
        (self.damaged, self.answering) = (Vec::new(), BTreeSet::new());
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherMaster { speed, addresses } => write!(
                f,
                "another master is talking on this line at {speed}: it asks {}; nothing was sent from then on; stop it, or take it off the line, then scan again",
                counted(addresses.iter().copied())
            ),
            Self::Echo => f.write_str(
                "the adapter echoes: it hears what it sends; this does no harm, but costs time: switch its echo off where it has a jumper for it",
            ),
            Self::TwoDevices { address, speed, serials } => {
                write!(f, "two devices answer at address {address} ({speed})")?;
                if let Some([one, other]) = serials {
                    write!(f, ", serial numbers {one} and {other}")?;
                }
                f.write_str(": give one of them another address")
            }
            Self::Collision { address, speed } => write!(
                f,
                "every answer at address {address} ({speed}) is damaged, and no other panel's is: probably two devices have this address, else this one is broken; take one of them off the line, then scan again"
            ),
            Self::AllDamaged { addresses, speed } => write!(
                f,
                "every answer of {} ({speed}) is damaged: check the termination at both ends, the bias, the shield, and whether a wire is loose",
                counted(addresses.iter().copied())
            ),
            Self::Damaged { address, speed, damaged, asked } => write!(
                f,
                "{damaged} of {asked} answers at address {address} ({speed}) came damaged: `certify` measures the line"
            ),
            Self::Nonsense { address, speed, code } => {
                let name = reply::name(*code).map_or_else(|| format!("code {code:02X}"), Into::into);
                write!(
                    f,
                    "what answers at address {address} ({speed}) makes no sense: {name}, which is not what was asked for; it may speak another protocol, or be broken"
                )
            }
            Self::Refused { address, speed, reason } => {
                write!(f, "the panel at address {address} ({speed}) does not say what it is: {reason}")
            }
            Self::Late { address, speed, round_trip } => write!(
                f,
                "the panel at address {address} ({speed}) takes {} ms for an answer, which has to begin within 200: check its settings, or set reply_timeout of the bus",
                round_trip.as_millis()
            ),
            Self::ChecksumOnly { address, speed } => write!(
                f,
                "the panel at address {address} ({speed}) answers only where the checksum is used, not the CRC: it is older than OSDP 2, and less well protected against noise"
            ),
            Self::Silent { speeds } => write!(
                f,
                "nobody answers at {}, and the line is silent: check that the panels have power, that A and B are not swapped, and that this is the right port; panels at another speed would be silent, too",
                list(speeds)
            ),
            Self::Shorted => f.write_str(
                "the line lies at the level of a start bit all the time: A and B are swapped or shorted, or nothing biases the line",
            ),
            Self::Noise { speeds } => write!(
                f,
                "something is heard on the line that makes no sense at {}: a device at another speed or of another protocol, or noise for want of bias and termination",
                list(speeds)
            ),
            Self::NotThorough => f.write_str(
                "each address was asked once, by one question: a panel that missed it, or that wants to be asked otherwise, was not found; --thorough asks again and in every way",
            ),
            Self::QuickOnly => f.write_str(
                "the daemon went on using the line, so each address had 60 ms, and only the line's own rate was tried: slower panels, and those at another rate, are found by `scan --port` while the daemon is stopped",
            ),
            Self::Missing { panel, address } => {
                write!(f, "panel {panel} of the configuration, address {address}, does not answer")
            }
        }
    }
}

fn list(speeds: &[Speed]) -> String {
    let words: Vec<String> = speeds.iter().map(ToString::to_string).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// Names a few addresses, or counts many.
fn counted(addresses: impl ExactSizeIterator<Item = u8>) -> String {
    const FEW: usize = 8;
    match addresses.len() {
        0 => "nobody in particular".to_owned(),
        many if many > FEW => format!("{many} addresses"),
        count => {
            let words: Vec<String> = addresses.map(|address| address.to_string()).collect();
            format!("{} {}", if count == 1 { "address" } else { "addresses" }, words.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Parity;

    #[test]
    fn a_finding_says_what_where_and_what_to_do() {
        let speed = Speed { baud: 9600, parity: Parity::None };
        let even = Speed { baud: 19_200, parity: Parity::Even };
        let all = [
            Finding::OtherMaster { speed, addresses: [0, 3].into() },
            Finding::OtherMaster { speed, addresses: (0..40).collect() },
            Finding::Collision { address: 5, speed },
            Finding::Nonsense { address: 5, speed, code: reply::ACK },
            Finding::Silent { speeds: vec![speed, even] },
        ];
        insta::assert_snapshot!(all.map(|finding| finding.to_string()).join("\n"));
    }
}
