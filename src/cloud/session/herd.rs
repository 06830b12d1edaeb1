//! Ten thousand gateways that lose their broker at once.

use super::*;

const GATEWAYS: u64 = 10_000;
const STEP: Duration = Duration::from_millis(100);

/// Loses a broker for `away`; how many connections it is asked for in the second after its return in which most are, and
/// after how long all are there.
fn outage(away: Duration) -> (usize, Duration) {
    let lost = Mono::ZERO + Duration::from_secs(3600);
    let back = lost + away;
    let gateway = |seed| {
        let mut session = Session::new(Confirm::Broker, "j".into(), 0, 0, seed, Mono::ZERO);
        assert!(matches!(session.poll(Mono::ZERO), Some(Effect::Connect { .. })), "the first one is at once");
        session.connected("s", 20, Mono::ZERO);
        session.subscribed(Mono::ZERO);
        while session.poll(lost).is_some() {}
        assert!(session.is_online());
        session
    };
    let mut gateways: Vec<Session> = (0..GATEWAYS).map(gateway).collect();
    for session in &mut gateways {
        session.disconnected(End::Broken, lost);
    }
    let (mut now, mut arrivals) = (lost, Vec::new());
    while !gateways.is_empty() {
        gateways.retain_mut(|session| {
            if session.deadline(now) > now {
                return true;
            }
            assert!(matches!(session.poll(now), Some(Effect::Connect { .. })));
            if now >= back {
                arrivals.push(now);
                return false;
            }
            session.disconnected(End::Broken, now);
            true
        });
        now = now + STEP;
    }
    let within = |from: &Mono| {
        arrivals.iter().filter(|at| *at >= from && at.since(*from) < Duration::from_secs(1)).count()
    };
    let mut moments = arrivals.clone();
    moments.dedup();
    (moments.iter().map(within).max().unwrap(), now.since(back))
}

#[test]
fn a_broker_that_restarts_is_not_run_over_by_those_that_it_lost() {
    for (away, peak, all) in [(0, 1200, 11), (3, 2200, 12), (30, 800, 61), (600, 400, 61)] {
        let (most, after) = outage(Duration::from_secs(away));
        eprintln!("away {away} s: at most {most} connections within a second, all there after {after:?}");
        assert!(most <= peak, "away {away} s: {most} connections within a second");
        assert!(after <= Duration::from_secs(all), "away {away} s: all there after {after:?}");
    }
}
