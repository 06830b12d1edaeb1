//! One RS-485 line and its panels, on a thread of its own.
//!
//! `line` decides whose turn it is, `core` joins line, stations (doors) and boards (handset lines), all without clock or
//! port; `port` is a tty or a TCP connection, `task` the thread that gives them time and bytes, `handle` the way to it.

mod boards;
mod buses;
mod complaints;
pub mod core;
mod door;
mod effects;
mod handle;
mod keypad;
pub mod line;
mod members;
mod port;
mod station;
mod task;

pub use self::{
    boards::KnownLine,
    buses::Buses,
    core::{MEASURE_EXPIRES, UNLOCK_EXPIRES, UnlockRefused},
    door::DoorSettings,
    effects::Keep,
    handle::{
        BusHandle, BusSettings, BusStatus, InForce, LinesSettings, MeasureError, ModbusSettings,
        PanelSettings, Protocol, Report, Shared, UnlockError,
    },
    line::{LineStats, Timing},
    port::{Parity, PortAddress, PortSettings},
    station::{LockSettings, StationSettings},
    task::spawn,
};
