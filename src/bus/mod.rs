//! One RS-485 line and its panels, on a thread of its own.
//!
//! `line` decides whose turn it is, `core` joins line and stations, both without clock or port; `port` is a tty
//! or a TCP connection, `task` the thread that gives them time and bytes.

mod buses;
pub mod core;
mod door;
mod keypad;
pub mod line;
mod port;
mod station;
mod task;

pub use self::{
    buses::Buses,
    core::{Keep, UNLOCK_EXPIRES, UnlockRefused},
    door::DoorSettings,
    line::{LineStats, Timing},
    port::{Parity, PortAddress, PortSettings},
    station::{LockSettings, StationSettings},
    task::{BusHandle, BusSettings, BusStatus, PanelSettings, Report, Shared, UnlockError, spawn},
};
