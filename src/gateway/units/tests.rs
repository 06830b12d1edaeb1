use std::{future::pending, sync::atomic::AtomicU64};

use tokio::sync::watch;

use super::*;
use crate::clock;

fn kind(name: &str) -> Kind {
    Kind::new(name, HealthCode::Storage, Stage::Last)
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
async fn a_task_that_panics_is_the_end_whether_it_may_end_or_not() {
    for may_end in [false, true] {
        let units = Units::default();
        units.spawn(kind("the living"), |_| pending());
        let (end, wish) = tokio::sync::oneshot::channel::<()>();
        units.spawn(kind("the panicking").may_end(may_end), |_| async move { wish.await.unwrap() });
        assert!(units.ended().is_none());
        drop(end);
        assert_eq!(failure(&units).await, "the panicking has ended");
    }
}

#[tokio::test]
async fn only_one_that_may_ends_by_itself() {
    let units = Units::default();
    units.spawn(kind("the recall").may_end(true), |_| async {});
    tokio::time::sleep(LOOK).await;
    assert!(units.ended().is_none());
    units.spawn(kind("the inlet"), |_| async {});
    assert_eq!(failure(&units).await, "the inlet has ended");
}

#[tokio::test]
async fn a_vital_unit_that_stands_still_is_the_end_and_any_other_is_told() {
    let units = Units::default();
    units.add(kind("the writer").not_vital(), stale("the writer"), || false);
    let told = Reason::new(HealthCode::Storage, "the writer hangs: what it does waits for it");
    assert_eq!(units.troubles(later()), (false, vec![told.clone()]));
    assert!(units.stuck(later()).is_none() && units.lost(later()).is_none());
    let street = Name::new("street").unwrap();
    let bus = Kind::new("bus street", HealthCode::Bus, Stage::Buses).of_bus(&street);
    units.add(bus, stale("bus street"), || false);
    let dead = Reason::new(HealthCode::Bus, "bus street hangs: the daemon is about to be restarted");
    let dead = dead.of_bus(&street);
    assert_eq!(units.troubles(later()), (true, vec![told.clone(), dead.clone()]));
    assert_eq!(units.stuck(later()).as_deref(), Some("bus street"));
    assert_eq!(units.lost(later()).unwrap().to_string(), "bus street hangs");
    let units = Units::default();
    units.add(kind("the ended"), stale("the ended"), || true);
    assert_eq!(units.troubles(later()), (false, Vec::new()), "it does not stand still");
}

#[tokio::test]
async fn a_failure_is_told_until_the_end() {
    let units = Units::default();
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
    units.add_counting(kind("the writer"), move || turns.load(Ordering::Relaxed), || false);
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
    let units = Units::default();
    let (stop, stopped) = watch::channel(false);
    for number in 0..3 {
        let mut stopped = stopped.clone();
        units.spawn(Kind::new(format!("unit {number}"), HealthCode::Bus, Stage::Buses), |_| async move {
            let _ = stopped.wait_for(|stop| *stop).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        });
    }
    units.spawn(kind("aborted"), |_| pending());
    let ending = Ending::of(&units);
    let began = tokio::time::Instant::now();
    ending.stage(Stage::Buses, async { _ = stop.send_replace(true) }).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(3), "at once: {took:?}");
    ending.stage(Stage::Last, async {}).await;
    assert!(units.all().iter().all(|unit| unit.has_ended()));

    units.spawn(Kind::new("hanging", HealthCode::Broker, Stage::Farewell), |_| pending());
    let began = tokio::time::Instant::now();
    ending.stage(Stage::Farewell, pending()).await;
    assert!(began.elapsed() < Duration::from_secs(3));
}
