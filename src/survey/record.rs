//! A panel as `scan` shows it (contract §1).

use serde::{Deserialize, Serialize};

use super::{Found, Language, Secure, Speed};
use crate::domain::Device;

/// A panel, one object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its address.
    pub address: u8,
    /// The rate at which it answers.
    pub baud: u32,
    /// `osdp` or `modbus`.
    pub protocol: String,
    /// Maker, where it tells.
    pub vendor: Option<String>,
    /// Model and version, where it tells.
    pub model: Option<String>,
    /// Firmware version, where it tells.
    pub firmware: Option<String>,
    /// Serial number, where it tells.
    pub serial: Option<String>,
    /// Its secure channel; `None`: not known, or it speaks Modbus.
    pub secure: Option<Secure>,
    /// The parity with which it answers.
    pub parity: String,
    /// Its shortest exchange, where one was measured.
    pub round_trip_ms: Option<f64>,
}

impl Record {
    /// Returns the record of what was found at an address.
    pub fn of(language: &Language, speed: Speed, found: &Found) -> Self {
        let round_trip = found.round_trip;
        Self::new(language.name(), speed, found.address, found.device(), found.secure, round_trip)
    }

    /// Returns the record of a panel of which this is known.
    pub fn new(
        protocol: &str,
        speed: Speed,
        address: u8,
        device: Option<Device>,
        secure: Option<Secure>,
        round_trip: Option<std::time::Duration>,
    ) -> Self {
        let (vendor, model, firmware, serial) = device.map_or((None, None, None, None), |device| {
            let model = Some(device.model).filter(|model| !model.is_empty());
            (device.vendor, model, device.firmware, device.serial)
        });
        Self {
            address,
            baud: speed.baud,
            protocol: protocol.to_owned(),
            vendor,
            model,
            firmware,
            serial,
            secure,
            parity: speed.parity.to_string(),
            round_trip_ms: round_trip.map(|time| (time.as_secs_f64() * 1e4).round() / 10.0),
        }
    }
}
