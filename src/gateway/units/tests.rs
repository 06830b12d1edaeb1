use std::{
    future::pending,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::sync::watch;

use super::*;
use crate::{
    clock,
    domain::{HealthCode, Name},
};

/// A daemon that is about to start its services.
fn units() -> Units {
    let units = Units::default();
    units.begin(Start::Services);
    units
}

/// A vital unit that goes on until the last stage.
fn kind(name: &str) -> Kind {
    Kind::named(Part::Directory, name)
}

fn kind_of_bus(name: &Name) -> Kind {
    Kind::named(Part::Bus, format!("bus {name}")).of_bus(name)
}

/// A beat that stood still long ago.
fn stale(name: &str) -> Beat {
    Beat::of(name, Arc::new(AtomicU64::new(0)))
}

/// How far the clock is after the start of the machine, or a beat of 0 would be fresh.
fn later() -> Mono {
    clock::mono() + Duration::from_secs(60)
}

async fn failure(units: &Units) -> String {
    let (_sender, mut stop) = watch::channel(false);
    supervise(units, &Beat::new("the runtime"), &mut stop, |_| {}).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_task_starts_at_the_time_of_its_row_wherever_it_is_written() {
    let units = Units::default();
    for part in [Part::Timekeeping, Part::Recall, Part::Directory] {
        units.spawn(part, |_| pending());
    }
    let running = || units.all().iter().map(|unit| unit.row().part).collect::<Vec<_>>();
    assert_eq!(running(), []);
    units.begin(Start::Doors);
    assert_eq!(running(), [Part::Recall]);
    units.begin(Start::Services);
    assert_eq!(running(), [Part::Recall, Part::Directory, Part::Timekeeping]);
    units.spawn(Part::Health, |_| pending());
    assert_eq!(running().last(), Some(&Part::Health));
}

#[tokio::test]
#[should_panic(expected = "the recall of the keys comes too late")]
async fn a_task_that_is_written_after_its_time_is_seen() {
    units().spawn(Part::Recall, |_| pending());
}

#[tokio::test]
#[should_panic(expected = "the view of the lines starts after the memory of lines, which needs it")]
async fn a_task_that_starts_after_what_needs_it_is_seen() {
    let units = units();
    units.spawn(Part::LinesMemory, |_| pending());
    units.spawn(Part::LinesView, |_| pending());
}

#[test]
#[should_panic(expected = "bus street starts at another time")]
fn a_thread_that_is_started_before_its_time_is_seen() {
    let street = Name::new("street").unwrap();
    Units::default().add(kind_of_bus(&street), Beat::new("bus street"), || false);
}

#[tokio::test]
async fn what_comes_and_goes_may_come_late_and_end_when_it_is_told_to() {
    let units = Units::default();
    units.begin(Start::Ready);
    let street = Name::new("street").unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let has_ended = is_over.clone();
    units.add(kind_of_bus(&street), Beat::new("bus street"), move || has_ended.load(Ordering::Relaxed));
    units.spawn(Kind::named(Part::KeyWriter, "a writer"), |_| async {});
    tokio::time::sleep(LOOK).await;
    assert!(units.ended().is_none(), "it has written what there was to write");
    units.spawn(Kind::named(Part::KeyWriter, "another"), |_| pending());
    assert_eq!(units.all().len(), 2, "nobody keeps those that are over");
    units.forget_bus(&street);
    is_over.store(true, Ordering::Relaxed);
    assert!(units.ended().is_none(), "it was told to end");
}

#[tokio::test]
async fn a_task_that_panics_is_the_end_whether_it_may_end_or_not() {
    for part in [Part::Directory, Part::Recall] {
        let units = Units::default();
        units.spawn(kind("the living"), |_| pending());
        let (end, wish) = tokio::sync::oneshot::channel::<()>();
        units.spawn(Kind::named(part, "the panicking"), |_| async move { wish.await.unwrap() });
        units.begin(Start::Services);
        assert!(units.ended().is_none());
        drop(end);
        assert_eq!(failure(&units).await, "the panicking has ended");
    }
}

#[tokio::test]
async fn only_one_that_may_ends_by_itself() {
    let units = Units::default();
    units.spawn(Kind::named(Part::Recall, "the recall"), |_| async {});
    units.begin(Start::Services);
    tokio::time::sleep(LOOK).await;
    assert!(units.ended().is_none());
    units.spawn(kind("the inlet"), |_| async {});
    assert_eq!(failure(&units).await, "the inlet has ended");
}

#[tokio::test]
async fn a_vital_unit_that_stands_still_is_the_end_and_any_other_is_told() {
    let units = Units::default();
    units.add(Kind::named(Part::StoreWriter, "the writer"), stale("the writer"), || false);
    let told = Reason::new(HealthCode::Storage, "the writer hangs: what it does waits for it");
    assert_eq!(units.troubles(later()), (false, vec![told.clone()]));
    assert!(units.stuck(later()).is_none() && units.lost(later()).is_none());
    let street = Name::new("street").unwrap();
    units.begin(Start::Doors);
    units.add(kind_of_bus(&street), stale("bus street"), || false);
    let dead = Reason::new(HealthCode::Bus, "bus street hangs: the daemon is about to be restarted");
    let dead = dead.of_bus(&street);
    assert_eq!(units.troubles(later()), (true, vec![told.clone(), dead.clone()]));
    assert_eq!(units.stuck(later()).as_deref(), Some("bus street"));
    assert_eq!(units.lost(later()).unwrap().to_string(), "bus street hangs");
    let units = Units::default();
    units.add(Kind::named(Part::Runtime, "the ended"), stale("the ended"), || true);
    assert_eq!(units.troubles(later()), (false, Vec::new()), "it does not stand still");
}

#[tokio::test]
async fn a_failure_is_told_until_the_end() {
    let units = units();
    units.spawn(kind("the inlet"), |_| async {});
    tokio::time::sleep(LOOK).await;
    let reason = units.fail(&units.ended().unwrap());
    assert_eq!(reason.message, "the inlet has ended: the daemon is about to be restarted");
    assert_eq!(units.troubles(clock::mono()), (true, vec![reason]));
}

#[test]
fn a_loop_that_counts_is_followed_from_its_first_turn_on() {
    let units = Units::default();
    let count = Arc::new(AtomicU64::new(0));
    let turns = count.clone();
    units.add_counting(
        Kind::named(Part::StoreWriter, "the writer"),
        move || turns.load(Ordering::Relaxed),
        || false,
    );
    let unit = &units.all()[0];
    let stands_still = || {
        unit.beat.follow(&AtomicU64::new(0));
        unit.follow_turns();
        unit.hangs(clock::mono())
    };
    assert!(!stands_still(), "it opens its database");
    count.store(1, Ordering::Relaxed);
    assert!(!stands_still());
    assert!(stands_still());
    count.store(2, Ordering::Relaxed);
    assert!(!stands_still());
}

#[tokio::test]
async fn nobody_who_could_wish_is_a_failure() {
    let (sender, mut stop) = watch::channel(false);
    drop(sender);
    let failed = supervise(&Units::default(), &Beat::new("the runtime"), &mut stop, |_| {}).await;
    assert_eq!(failed.unwrap_err().to_string(), "the thread of the signals has ended");
}

#[tokio::test(start_paused = true)]
async fn a_stage_ends_all_of_its_units_and_does_not_wait_for_ever() {
    let units = units();
    let (stop, stopped) = watch::channel(false);
    for number in 0..3 {
        let mut stopped = stopped.clone();
        units.spawn(Kind::named(Part::KeyWriter, format!("unit {number}")), |_| async move {
            let _ = stopped.wait_for(|stop| *stop).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        });
    }
    units.spawn(kind("aborted"), |_| pending());
    let ending = Ending::of(&units);
    let began = tokio::time::Instant::now();
    ending.stage(Stage::Handover, async { _ = stop.send_replace(true) }).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(3), "at once: {took:?}");
    ending.stage(Stage::Last, async {}).await;
    assert!(units.all().iter().all(|unit| unit.has_ended()));

    units.spawn(Kind::named(Part::Uplink, "hanging"), |_| pending());
    let began = tokio::time::Instant::now();
    ending.stage(Stage::Farewell, pending()).await;
    assert!(began.elapsed() < Duration::from_secs(3));
}
