//! One RS-485 line and its panels, on a thread of its own.
//!
//! `line` decides whose turn it is, `core` joins line, doorways (doors) and commutators (handset lines), all without clock or
//! port; `port` is a tty or a TCP connection, `task` the thread that gives them time and bytes, `handle` the way to it.

mod buses;
mod commutators;
mod complaints;
pub mod core;
mod door;
mod doorway;
mod effects;
mod handle;
mod keypad;
mod members;
mod port;
pub mod schedule;
mod task;

pub use self::{
    buses::Buses,
    commutators::KnownLine,
    core::{MEASURE_EXPIRES, UNLOCK_EXPIRES, UnlockRefused},
    door::DoorSettings,
    doorway::{DoorwaySettings, LockSettings},
    effects::Keep,
    handle::{
        BusHandle, BusSettings, BusStatus, InForce, LinesSettings, MeasureError, ModbusSettings,
        PanelSettings, Protocol, Report, Shared, UnlockError,
    },
    port::{Parity, PortAddress, PortSettings},
    schedule::{LineStats, Timing},
    task::spawn,
};
