//! One RS-485 line and its panels, on a thread of its own.
//!
//! `schedule` runs one transaction after the other, `order` says whose turn it is, `core` joins both with doorways and
//! commutators, all without clock or port; `port` is a tty or a TCP connection, `obstacles` says why there is none, `task` the thread that gives them time and
//! bytes, `shell` what that thread does for the core, `handle` the way to it.

mod allowance;
mod buses;
mod commutators;
mod complaints;
pub mod core;
mod door;
mod doorway;
mod effects;
mod examination;
mod handle;
mod input;
mod keypad;
mod losses;
mod obstacles;
mod order;
mod paced;
mod panels;
mod port;
mod refused;
mod scan;
pub mod schedule;
mod shell;
mod standing;
mod statistics;
mod survey;
mod suspects;
mod task;
mod timing;

pub use self::{
    buses::{BusSet, Buses},
    commutators::KnownLine,
    core::{MEASURE_EXPIRES, UNLOCK_EXPIRES},
    door::DoorSettings,
    doorway::{DoorwaySettings, LockSettings},
    handle::{
        BusCounters, BusHandle, BusSettings, BusStatus, Ending, IdentifyError, InForce, KeptLines,
        MeasureError, ModbusSettings, NewestRecord, PairError, PanelHandle, PanelSettings, Placing, Protocol,
        Shared, UnlockError,
    },
    obstacles::in_the_way,
    port::{Parity, PortAddress, PortSettings},
    refused::{PairRefused, UnknownFlat, UnknownPanel, UnlockRefused},
    scan::{Placed, ScanError, ScanRequest, Scanning},
    schedule::{Exchanges, Timing},
    statistics::{Counters, LineCounters, LineStats, PanelCounters, RoundTrip},
    survey::survey,
    task::spawn,
};
pub use crate::panel::Failure;
