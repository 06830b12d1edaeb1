//! One RS-485 line and its panels, on a thread of its own.
//!
//! `schedule` runs one transaction after the other, `order` says whose turn it is, `core` joins both with doorways and
//! commutators, all without clock or port; `port` is a tty or a TCP connection, `obstacles` says why there is none,
//! `task` the thread that gives them time and bytes, `shell` what that thread does for the core, `tap` what it tells
//! the one who records the line, `handle` the way to it.

mod allowance;
mod buses;
mod code_guard;
mod commutators;
mod complaints;
pub mod core;
mod door;
mod doorway;
mod effects;
mod examination;
mod faster;
mod handle;
mod input;
mod keypad;
mod losses;
mod obstacles;
mod order;
mod other_rate;
mod paced;
mod panels;
mod port;
mod rates;
mod refused;
mod scan;
pub mod schedule;
mod shell;
mod standing;
mod statistics;
mod survey;
mod suspects;
mod tap;
mod task;
mod timing;
mod tty;
mod view;

pub use self::{
    buses::{BusSet, Buses},
    commutators::KnownLine,
    core::{MEASURE_EXPIRES, UNLOCK_EXPIRES},
    door::DoorSettings,
    doorway::{DoorwaySettings, LockSettings},
    handle::{
        BusCounters, BusHandle, BusSettings, BusStatus, Ending, IdentifyError, InForce, KeptLines, KeptRates,
        MeasureError, ModbusSettings, NewestRecord, PairError, PanelHandle, PanelSettings, Placing, Protocol,
        RekeyError, Shared, UnlockError,
    },
    obstacles::in_the_way,
    port::{Parity, PortAddress, PortSettings},
    rates::KeptRate,
    refused::{HoldError, PairRefused, RekeyRefused, UnknownFlat, UnknownPanel, UnlockRefused},
    scan::{Placed, ScanError, ScanRequest, Scanning},
    schedule::{Exchanges, Timing},
    statistics::{Counters, LineCounters, LineStats, PanelCounters, PanelTimes, RoundTrip},
    survey::survey,
    tap::{Happened, Incident, Run, Runs, Tap, tap},
    task::spawn,
};
pub use crate::panel::{
    Failure,
    osdp::{PanelKey, RekeyRefused as KeyRefused},
};

/// Returns the core of a bus, without its thread: time and bytes are the caller's to give.
pub fn without_thread(settings: BusSettings, moment: &core::Moment<'_>) -> core::Core {
    let is_modbus = panels::is_modbus(&settings.panels);
    let timing = panels::timing(&settings.port, is_modbus);
    let panels = panels::panels(settings.panels, timing, &KeptLines::new(), moment.wall);
    core::Core::new(timing, panels, moment)
}
