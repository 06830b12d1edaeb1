//! What a core does for the rate of its line: it shows how its panels are, and does what `rates` wants done.

use super::{
    core::Core,
    effects::Output,
    rates::{Act, Cause, Rates, Said, Seen},
    refused::HoldError,
};
use crate::{
    domain::Mono,
    panel::{Driver, osdp::Unmoved},
};

impl Core {
    /// Looks how the panels are, where that is due.
    pub(super) fn look_at_rates(&mut self, now: Mono) {
        if self.rates.as_ref().is_none_or(|rates| rates.next_time() > now) {
            return;
        }
        let mut seen = Vec::with_capacity(self.shown.len());
        for number in self.shown.clone() {
            let exchanges = self.schedule.exchanges(number);
            let Some(driver) = self.schedule.driver(number) else { continue };
            let last_heard = driver.last_heard();
            let bearing = driver.osdp().map(|panel| panel.bearing(now));
            seen.push(Seen { number, bearing, exchanges, last_heard });
        }
        let acts = self.rates.as_mut().map(|rates| rates.look(now, &seen)).unwrap_or_default();
        self.do_for_rate(acts);
    }

    /// Does what the line's rate wants done.
    pub(super) fn do_for_rate(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Line(baud) => {
                    self.schedule.set_baud(baud);
                    self.effects.push(Output::Changed);
                }
                Act::Seek { number, rates, is_certain } => {
                    if let Some(panel) = self.schedule.driver(number).and_then(Driver::osdp) {
                        panel.seek(rates, is_certain);
                    }
                }
                Act::Move { number, to, answers } => {
                    if let Some(panel) = self.schedule.driver(number).and_then(Driver::osdp) {
                        panel.move_to(to, answers);
                    }
                }
                Act::Keep(rate, version) => self.effects.push(Output::KeepRate { rate, version }),
                Act::Say(said) => {
                    let said = self.rate_said(&said);
                    self.effects.push(Output::Said(said));
                }
            }
        }
    }

    /// Has all panels go to a rate, to be measured there.
    ///
    /// # Errors
    /// The line is between two rates already, or has no other.
    pub fn hold_rate(&mut self, now: Mono, baud: u32) -> Result<(), HoldError> {
        let rates = self.rates.as_mut().ok_or(HoldError::Fixed)?;
        let (is_begun, acts) = rates.hold(now, baud);
        self.do_for_rate(acts);
        if is_begun { Ok(()) } else { Err(HoldError::Between) }
    }

    /// Returns whether all panels are at the rate that is held.
    ///
    /// # Errors
    /// Why they are not, and come home.
    pub fn held_rate(&self) -> Result<bool, HoldError> {
        let Some(rates) = &self.rates else { return Ok(false) };
        rates.held(&self.shown).map_err(|(to, cause)| HoldError::NotHeld(self.held(to, cause)))
    }

    /// Has all panels come home from the rate that was held.
    pub fn release_rate(&mut self) {
        if let Some(rates) = &mut self.rates {
            rates.release();
        }
    }

    /// Returns the other rates at which the line can be measured.
    pub fn other_rates(&self) -> Vec<u32> {
        self.rates.as_ref().map(Rates::others).unwrap_or_default()
    }

    fn rate_said(&self, said: &Said) -> String {
        match said {
            Said::Found(baud) => format!("the line is found at {baud} baud"),
            Said::Raising(to) => {
                format!("all panels are well: they are tried at {to} baud, one after the other")
            }
            Said::Raised(baud) => format!("every panel holds {baud} baud: it is the line's rate now"),
            Said::Held(home, to, cause) => {
                format!("the line stays at {home} baud: {}", self.held(*to, *cause))
            }
        }
    }

    /// Why a rate is not the line's, and what helps.
    pub(super) fn held(&self, to: u32, cause: Cause) -> String {
        let name = |number| self.panel_name(number).map_or_else(String::new, |name| format!("panel {name} "));
        let cable = "check its wiring and the termination at both ends of the line";
        match cause {
            Cause::Unmoved(number, Unmoved::Refused) => {
                format!(
                    "{}refuses {to} baud: a faster line needs another panel, or a bus of its own for it",
                    name(number)
                )
            }
            Cause::Unmoved(number, Unmoved::Other(other)) => {
                format!("{}was to take {to} baud and says that it takes {other}", name(number))
            }
            Cause::Unmoved(number, Unmoved::Stays) => {
                format!(
                    "{}says that it takes {to} baud and does not: restart it, and look for newer firmware",
                    name(number)
                )
            }
            Cause::Unmoved(number, Unmoved::Lossy) => {
                format!("the cable does not carry {to} baud to {}: {cable}", name(number).trim_end())
            }
            Cause::Unmoved(number, Unmoved::Unheard) => {
                format!("{}was not heard after it was told to take {to} baud: {cable}", name(number))
            }
            Cause::Lost(number) => {
                format!("at {to} baud an answer of {}was lost or damaged: {cable}", name(number))
            }
            Cause::Away(number) => {
                format!("{}went away while {to} baud was tried: see what is said of it", name(number))
            }
            Cause::NotKept => {
                format!(
                    "{to} baud is not tried: what is tried cannot be written down in cache.db, see what is said of the disk"
                )
            }
        }
    }
}
