//! The table: what the daemon consists of, a row for each kind of unit.
//!
//! Invariants, which the tests below hold it to:
//! - Rows stand in the order in which their units start, and what a row needs stands above it.
//! - No bus needs anything but the store.
//! - What lives on the buses stops after them, and nothing stops after the store.
//! - The stages of an end take no longer together than it may take, and systemd waits for longer than that.

use std::time::Duration;

use self::{Ends::*, Part::*, Runs::*};
use super::Stage;
use crate::domain::HealthCode;

/// A kind of unit, in the order of [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The loop that supervises.
    Runtime,
    /// A thread that writes a database.
    StoreWriter,
    /// The thread of a bus.
    Bus,
    /// Reads the keys and lines that the buses wait for.
    Recall,
    /// Takes what the buses report to the journal.
    Inlet,
    /// What all buses say of their lines, as one value.
    LinesView,
    /// Writes the states of lines down.
    LinesMemory,
    /// What all buses say of the rates of their lines, as one value.
    RatesView,
    /// Writes the rates of lines down.
    RatesMemory,
    /// Writes down what is learnt of a panel.
    KeyWriter,
    /// Records what goes over the lines.
    TraceWriter,
    /// What all buses say of their panels, for the uplink.
    UplinkPanels,
    /// What all buses say of their lines, for the uplink.
    UplinkLines,
    /// Serves HTTP.
    Endpoint,
    /// Reads the certificates of the uplink.
    Certificates,
    /// Brings changed keys into force.
    Directory,
    /// Watches the wall clock.
    Timekeeping,
    /// Keeps the record of commissioning.
    Commissioning,
    /// Looks for what is not as it should be.
    Health,
    /// Talks to the broker.
    Uplink,
    /// Applies what the cloud sends of flats.
    SyncThread,
    /// Applies changes of the configuration.
    Reload,
    /// Serves the commands of an installer.
    ControlSocket,
    /// Feeds systemd's watchdog.
    Feeder,
}

/// When a unit starts: the daemon goes from one to the next ([`super::Units::begin`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Start {
    /// With the store, whose lock says that no other daemon polls these lines, and whose cache has the keys.
    #[default]
    Store,
    /// Doors first: the buses, and what they wait for before they poll.
    Doors,
    /// When the buses run, as everything else is made of their handles.
    Services,
    /// When everything else has started: systemd is told so, and a command may follow at once.
    Ready,
}

/// What runs a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// A thread, which its own room starts and tells to end.
    Thread,
    /// A task of the runtime.
    Task,
}

/// Whether a unit ends although nobody has told it to. A panic is never such an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// It goes on: its end is the end of the daemon.
    Never,
    /// When its work is done.
    WhenDone,
}

/// What is known of a kind of unit before it runs.
#[derive(Debug)]
pub struct Row {
    /// Whose row it is.
    pub part: Part,
    /// What its unit is called, or what the names of its units begin with.
    pub name: &'static str,
    pub runs: Runs,
    /// What health says where it fails.
    pub code: HealthCode,
    /// Whether its standstill is the end of the daemon. Else it is told in health, and no reason to leave the doors alone
    /// for a restart.
    pub is_vital: bool,
    pub ends: Ends,
    pub start: Start,
    /// What has to be there before it starts, where the building has it.
    pub needs: &'static [Part],
    pub stage: Stage,
    /// Whether its units come and go while the daemon runs, as the configuration changes.
    pub comes_and_goes: bool,
    /// How long it may take to end, from the beginning of its stage on; those of the last stage have what the others have
    /// left besides.
    pub within: Duration,
}

/// What the daemon consists of.
pub static TABLE: [Row; Feeder as usize + 1] = [
    row(Runtime, "the runtime", Thread, HealthCode::Endpoint)
        .starts(Start::Store, &[])
        .stops(Stage::Last, LAST),
    // A disk that takes a minute for a sync is no reason to leave the doors alone.
    row(StoreWriter, "the writer of the", Thread, HealthCode::Storage)
        .not_vital()
        .starts(Start::Store, &[])
        .stops(Stage::Last, LAST),
    row(Bus, "bus", Thread, HealthCode::Bus)
        .comes_and_goes()
        .starts(Start::Doors, &[StoreWriter])
        .stops(Stage::Buses, BUS),
    row(Recall, "the recall of the keys", Task, HealthCode::Storage)
        .ends(WhenDone)
        .starts(Start::Doors, &[StoreWriter])
        .stops(Stage::Last, LAST),
    row(Inlet, "the journal's inlet", Task, HealthCode::Storage)
        .starts(Start::Services, &[StoreWriter, Bus])
        .stops(Stage::Handover, HANDOVER),
    row(LinesView, "the view of the lines", Task, HealthCode::Storage)
        .starts(Start::Services, &[Bus])
        .stops(Stage::Handover, HANDOVER),
    // It begins with what was recalled.
    row(LinesMemory, "the memory of lines", Task, HealthCode::Storage)
        .starts(Start::Services, &[StoreWriter, Recall, LinesView])
        .stops(Stage::Handover, HANDOVER),
    row(RatesView, "the view of the lines' rates", Task, HealthCode::Storage)
        .starts(Start::Services, &[Bus])
        .stops(Stage::Handover, HANDOVER),
    row(RatesMemory, "the memory of the lines' rates", Task, HealthCode::Storage)
        .starts(Start::Services, &[StoreWriter, Recall, RatesView])
        .stops(Stage::Handover, HANDOVER),
    row(KeyWriter, "the writer of the keys of panel", Task, HealthCode::Storage)
        .comes_and_goes()
        .ends(WhenDone)
        .starts(Start::Services, &[Bus])
        .stops(Stage::Handover, HANDOVER),
    // A disk that hangs is no reason to leave the doors alone.
    row(TraceWriter, "the writer of traces", Thread, HealthCode::Storage)
        .not_vital()
        .starts(Start::Services, &[Bus])
        .stops(Stage::Handover, HANDOVER),
    row(UplinkPanels, "the uplink's view of the panels", Task, HealthCode::Broker)
        .starts(Start::Services, &[Bus])
        .stops(Stage::Handover, HANDOVER),
    row(UplinkLines, "the uplink's view of the lines", Task, HealthCode::Broker)
        .starts(Start::Services, &[Bus])
        .stops(Stage::Handover, HANDOVER),
    row(Endpoint, "the endpoint", Task, HealthCode::Endpoint)
        .starts(Start::Services, &[StoreWriter, Bus])
        .stops(Stage::Handover, ENDPOINT),
    row(Certificates, "the certificates", Task, HealthCode::Certificate)
        .starts(Start::Services, &[])
        .stops(Stage::Last, LAST),
    // It follows what changes after the recall.
    row(Directory, "the directory", Task, HealthCode::Storage)
        .starts(Start::Services, &[StoreWriter, Recall])
        .stops(Stage::Last, LAST),
    row(Timekeeping, "timekeeping", Task, HealthCode::Clock)
        .starts(Start::Services, &[StoreWriter])
        .stops(Stage::Last, LAST),
    row(Commissioning, "the record of commissioning", Task, HealthCode::Storage)
        .not_vital()
        .starts(Start::Services, &[StoreWriter])
        .stops(Stage::Last, LAST),
    row(Health, "health", Task, HealthCode::Endpoint)
        .starts(Start::Services, &[StoreWriter, Bus])
        .stops(Stage::Last, LAST),
    row(Uplink, "the uplink", Task, HealthCode::Broker)
        .starts(Start::Services, &[StoreWriter, UplinkPanels, UplinkLines])
        .stops(Stage::Farewell, FAREWELL),
    row(SyncThread, "the thread of the sync", Thread, HealthCode::Sync)
        .starts(Start::Services, &[Uplink])
        .stops(Stage::Farewell, FAREWELL),
    // No bus comes after the end has begun, and what takes over from the buses sees it.
    row(Reload, "the reload of the configuration", Task, HealthCode::Bus)
        .starts(Start::Services, &[StoreWriter, Endpoint, Uplink])
        .stops(Stage::Buses, BUS),
    row(ControlSocket, "the control socket", Task, HealthCode::Storage)
        .starts(Start::Services, &[StoreWriter, Bus, Reload])
        .stops(Stage::Last, LAST),
    row(Feeder, "the feeder of the watchdog", Thread, HealthCode::Endpoint)
        .starts(Start::Ready, &[ControlSocket])
        .stops(Stage::Last, LAST),
];

/// A bus takes 3 s at most.
const BUS: Duration = Duration::from_millis(3500);
/// The last reports, records and states of lines go to the disk.
const HANDOVER: Duration = Duration::from_millis(2500);
/// The endpoint gives its requests two seconds, from the wish on.
const ENDPOINT: Duration = Duration::from_millis(2500);
/// The session of the uplink takes 2 s at most.
const FAREWELL: Duration = Duration::from_millis(2200);
/// The store commits what is queued and copies its WALs back; tasks are aborted.
const LAST: Duration = Duration::from_millis(1600);

impl Part {
    /// Returns what is known of its units.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

/// A vital unit that goes on until it is told to end.
const fn row(part: Part, name: &'static str, runs: Runs, code: HealthCode) -> Row {
    let (start, stage, within) = (Start::Store, Stage::Last, Duration::ZERO);
    let comes_and_goes = false;
    Row {
        part,
        name,
        runs,
        code,
        is_vital: true,
        ends: Never,
        start,
        needs: &[],
        stage,
        comes_and_goes,
        within,
    }
}

impl Row {
    const fn not_vital(self) -> Self {
        Self { is_vital: false, ..self }
    }

    const fn comes_and_goes(self) -> Self {
        Self { comes_and_goes: true, ..self }
    }

    const fn ends(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    const fn starts(self, start: Start, needs: &'static [Part]) -> Self {
        Self { start, needs, ..self }
    }

    const fn stops(self, stage: Stage, within: Duration) -> Self {
        Self { stage, within, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{LOST, stop::END},
        *,
    };

    const UNIT: &str = include_str!("../../../systemd/intercom-gateway.service");
    /// What systemd leaves a daemon whose end took all of its time.
    const MARGIN: Duration = Duration::from_secs(5);

    /// A time of the shipped unit.
    fn of_systemd(key: &str) -> Duration {
        let value = UNIT.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap();
        Duration::from_secs(value.parse().unwrap())
    }

    #[test]
    fn each_row_starts_after_what_it_needs() {
        assert!(TABLE.is_sorted_by_key(|row| row.start));
        for (at, row) in TABLE.iter().enumerate() {
            assert_eq!(row.part as usize, at, "{} stands in another's place", row.name);
            for need in row.needs {
                assert!((*need as usize) < at, "{} needs {}", row.name, need.row().name);
            }
        }
    }

    #[test]
    fn doors_wait_for_the_store_alone_and_readiness_for_all() {
        let of = |start| TABLE.iter().filter(move |row| row.start == start).map(|row| row.part);
        assert!(of(Start::Doors).all(|part| part.row().needs == [StoreWriter]));
        assert_eq!(of(Start::Ready).collect::<Vec<_>>(), [Feeder]);
    }

    #[test]
    fn what_lives_on_the_buses_stops_after_them_and_nothing_after_the_store() {
        for has_failed in [false, true] {
            let order = Stage::order(has_failed);
            let at = |part: Part| order.iter().position(|stage| *stage == part.row().stage);
            assert_eq!(at(StoreWriter), Some(order.len() - 1));
            for row in TABLE.iter().filter(|row| row.needs.contains(&Bus)) {
                assert!(at(row.part) > at(Bus), "{}", row.name);
            }
        }
    }

    #[test]
    fn an_end_is_over_before_systemd_loses_its_patience() {
        assert!(TABLE.iter().all(|row| row.within > Duration::ZERO));
        assert!(END + MARGIN <= of_systemd("TimeoutStopSec"));
        assert!(LOST + END <= of_systemd("WatchdogSec"));
    }
}
