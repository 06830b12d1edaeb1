//! How long one round of polls over a bus takes, computed from the configuration alone.

use std::time::Duration;

use super::{Bus, Config, Modbus, Panel, SecureChannel};

/// Shortest time after which a swipe counts as `stale`, and the longest (contract §5).
const STALE_AFTER: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(6));

impl Config {
    /// Returns how long one round of polls over all panels of a bus takes, by line time alone.
    pub fn cycle(&self, bus: &Bus) -> Duration {
        self.panels_on(&bus.name).map(|panel| poll_time(bus, panel)).sum()
    }

    /// Returns how long ago a panel's last POLL answered in order may have been sent for a swipe to open: 3 s, twice
    /// the cycle of the bus where that is longer, 6 s at most (contract §5, `stale`).
    pub fn stale_after(&self, bus: &Bus) -> Duration {
        (2 * self.cycle(bus)).clamp(STALE_AFTER.0, STALE_AFTER.1)
    }
}

/// A panel's share of one round of polls on its bus, by line time alone: the poll, its answer and two idle
/// characters before each (OSDP 2.2 §5.7). With its mark byte a secure POLL or ACK has 15 characters, a plain one 9.
fn poll_time(bus: &Bus, panel: &Panel) -> Duration {
    const IDLE: u32 = 2;
    if let Some(modbus) = &panel.modbus {
        return bus.character_time() * characters(modbus);
    }
    let message = if panel.secure_channel == SecureChannel::Off { 9 } else { 15 };
    bus.character_time() * (2 * (message + IDLE))
}

/// Characters on the line, gaps included, while everything that a Modbus panel is asked for again and again is read
/// once.
fn characters(modbus: &Modbus) -> u32 {
    /// Request, answer without data, and 3.5 characters before each.
    const REQUEST: u32 = 8 + 5 + 7;
    /// Words that one request reads at most.
    const MOST: u32 = 125;
    let profile = &modbus.profile;
    let mut sum = 0;
    let mut add = |words: u32| sum += words.div_ceil(MOST) * REQUEST + 2 * words;
    if profile.lines.is_some()
        && let (Some(first), Some(last)) = (
            modbus.lines.iter().map(|(line, _)| *line).min(),
            modbus.lines.iter().map(|(line, _)| *line).max(),
        )
    {
        add(u32::from(last - first) + 1);
    }
    if let Some(keys) = &profile.keys {
        add(1 + u32::from(keys.words));
    }
    if profile.door.is_some() {
        add(1);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn config(baud: u32, panels: u8) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.toml");
        let mut text = format!(
            "[[intercom]]\nid = 1\n[[bus]]\nname = \"a\"\nport = \"/dev/null\"\nprotocol = \"osdp\"\nbaud = {baud}\n"
        );
        for address in 0..panels {
            text.push_str(&format!(
                "[[panel]]\nname = \"p{address}\"\nintercom = 1\nbus = \"a\"\naddress = {address}\n"
            ));
        }
        std::fs::write(&file, text).unwrap();
        Config::load_with(&file, &Environment::empty("pi")).unwrap()
    }

    #[test]
    fn a_swipe_is_stale_after_3_s_or_two_cycles_but_after_6_s_always() {
        let stale_after = |baud, panels| {
            let config = config(baud, panels);
            config.stale_after(&config.buses[0])
        };
        assert_eq!(stale_after(9600, 0), Duration::from_secs(3));
        assert_eq!(stale_after(9600, 16), Duration::from_secs(3));
        // 34 characters of 10 bits each: 60 panels take 2.125 s.
        let two_cycles = stale_after(9600, 60);
        assert!((4249..=4251).contains(&two_cycles.as_millis()), "{two_cycles:?}");
        assert_eq!(stale_after(9600, 127), Duration::from_secs(6));
        assert_eq!(stale_after(230_400, 127), Duration::from_secs(3));
    }
}
