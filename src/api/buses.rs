//! Buses: what was counted on each and at each of its panels.

use std::sync::Arc;

use axum::{body::Body, extract::State, http::Response};
use serde::Serialize;

use super::{error::ok, state::Api};
use crate::{
    bus::{BusHandle, Counters, LineCounters, PanelCounters},
    domain::Name,
};

/// A bus: its port, and what was counted on it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Bus"))]
pub(super) struct Row {
    bus: Name,
    /// The device, or tcp://host:port.
    port: String,
    protocol: Protocol,
    /// Bits a second.
    baud: u32,
    /// Whether the port is open.
    open: bool,
    /// The last minute, in steps of 5 s: the last 55 to 60 s.
    minute: LineCounts,
    /// Since the bus began: with the daemon, or with the reload that brought or changed it.
    total: LineCounts,
    panels: Vec<PanelRow>,
}

/// What a bus speaks.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum Protocol {
    Osdp,
    Modbus,
}

/// A panel, and what was counted at it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PanelRow {
    panel: Name,
    minute: PanelCounts,
    total: PanelCounts,
}

/// What happened on a line.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct LineCounts {
    /// Commands that were answered.
    exchanges: u64,
    /// Commands that were not answered in time, those among them by which it is found out whether a silent panel is back.
    timeouts: u64,
    /// Frames with a wrong check.
    broken: u64,
    /// Sound frames that came in place of an answer: an echo, another master's, one out of order.
    wrong: u64,
    /// Bytes that were part of no frame, idle marks left out.
    noise: u64,
    /// Which part of the time a command was under way.
    #[cfg_attr(test, schemars(range(min = 0, max = 1)))]
    busy_ratio: f64,
}

/// What became of the commands to a panel.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PanelCounts {
    /// Commands that were answered.
    exchanges: u64,
    /// Commands that were not answered in time, those among them by which it is found out whether it is back.
    timeouts: u64,
    /// Frames with a wrong check.
    broken: u64,
    /// Sound frames that came in place of its answer.
    wrong: u64,
    round_trip_ms: RoundTripMs,
}

/// From the first byte of a command to the last one of its answer, in milliseconds; null where nothing was answered.
#[derive(Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct RoundTripMs {
    p50: Option<f64>,
    p95: Option<f64>,
    max: Option<f64>,
}

/// All buses of the configuration.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Buses {
    data: Vec<Row>,
}

/// `GET /api/local/v1/buses`: `{"data":[…]}`, at most a second old.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Response<Body> {
    ok(&Buses { data: api.handles.buses.handles().iter().map(|bus| Row::of(bus)).collect() })
}

impl Row {
    /// Returns what there is to be told of a bus.
    pub(super) fn of(bus: &BusHandle) -> Self {
        let (open, baud, counters) = {
            let status = bus.status.borrow();
            (status.open, status.baud.unwrap_or(bus.port.baud), status.counters.clone())
        };
        let panel = |(panel, counters): &(Name, Counters<PanelCounters>)| PanelRow {
            panel: panel.clone(),
            minute: counters.minute.into(),
            total: counters.total.into(),
        };
        Self {
            bus: bus.name.clone(),
            port: bus.port.address.to_string(),
            protocol: if bus.is_modbus { Protocol::Modbus } else { Protocol::Osdp },
            baud,
            open,
            minute: counters.line.minute.into(),
            total: counters.line.total.into(),
            panels: counters.panels.iter().map(panel).collect(),
        }
    }
}

impl From<LineCounters> for LineCounts {
    fn from(counters: LineCounters) -> Self {
        let stats = counters.stats;
        Self {
            exchanges: stats.exchanges,
            timeouts: stats.timeouts,
            broken: stats.broken,
            wrong: stats.wrong,
            noise: stats.noise,
            busy_ratio: rounded(counters.busy_ratio()),
        }
    }
}

impl From<PanelCounters> for PanelCounts {
    fn from(counters: PanelCounters) -> Self {
        let PanelCounters { exchanges, timeouts, broken, wrong, round_trip } = counters;
        let ms = |time: std::time::Duration| Some(rounded(time.as_secs_f64() * 1e3));
        let round_trip_ms = round_trip.map_or_else(RoundTripMs::default, |round_trip| RoundTripMs {
            p50: ms(round_trip.p50),
            p95: ms(round_trip.p95),
            max: ms(round_trip.max),
        });
        Self { exchanges, timeouts, broken, wrong, round_trip_ms }
    }
}

/// To three places: more would be false.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
