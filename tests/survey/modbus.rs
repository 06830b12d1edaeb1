//! Modbus in virtual time.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use intercom_gateway::{
    config::shipped_profiles,
    domain::Profile,
    simulate::{action::Fault, chance::Chance},
    survey::Finding,
};

use super::world::{Report, World, for_seeds};

const SEEDS: u64 = 200;

/// Profiles that come with the program: one with an identity, and one without.
fn profiles() -> (Arc<Profile>, Arc<Profile>, Vec<Arc<Profile>>) {
    let all: Vec<Arc<Profile>> = shipped_profiles().into_iter().map(Arc::new).collect();
    let find = |has_identity| all.iter().find(|profile| profile.identity.is_some() == has_identity).cloned();
    (find(true).unwrap(), find(false).unwrap(), all.clone())
}

fn units(seed: u64, count: usize) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    let mut all = BTreeSet::new();
    while all.len() < count {
        all.insert(1 + (chance.next_u64() % 247) as u8);
    }
    all.into_iter().collect()
}

fn world(seed: u64, baud: u32) -> World {
    World { profiles: Some(profiles().2), ..World::new(seed, baud) }
}

fn found(report: &Report) -> Vec<u8> {
    report.panels.iter().map(|(_, found)| found.address).collect()
}

#[test]
fn devices_are_found_and_known_by_their_profile() {
    let (with, without, _) = profiles();
    let expected = with.identity.as_ref().unwrap().is.clone();
    assert!(expected.is_some());
    for_seeds(SEEDS, move |seed| {
        let at = units(seed, 2);
        let report = world(seed, 19_200).unit(at[0], &with).unit(at[1], &without).survey();
        assert_eq!(found(&report), at);
        assert_eq!(report.panels[0].1.device().map(|device| device.model), expected);
        assert_eq!(report.panels[1].1.device(), None);
        assert!(report.panels.iter().all(|(_, found)| found.secure.is_none()));
        assert_eq!(report.findings, [Finding::NotThorough]);
        assert!(report.took < Duration::from_secs(60), "{:?}", report.took);
    });
}

#[test]
fn an_echo_and_another_master_are_told_on_modbus_too() {
    let (with, ..) = profiles();
    for_seeds(SEEDS, move |seed| {
        let at = units(seed, 3);
        let mut echoing = world(seed, 9600).unit(at[0], &with).unit(at[1], &with);
        echoing.disturbances.echo = true;
        let report = echoing.survey();
        assert_eq!(found(&report), at[..2]);
        assert_eq!(report.findings, [Finding::Echo, Finding::NotThorough]);
        let mut busy = world(seed, 9600).unit(at[0], &with);
        busy.disturbances.master =
            Some((at.clone(), Duration::from_millis(seed % 90), Duration::from_millis(40 + seed)));
        let report = busy.survey();
        assert!(matches!(report.findings[..], [Finding::OtherMaster { .. }]), "{report:?}");
        assert_eq!(report.sent, 0);
    });
}

#[test]
fn two_devices_on_one_address_are_told_whether_they_answer_at_once_or_not() {
    let (with, ..) = profiles();
    for_seeds(SEEDS, move |seed| {
        let at = units(seed, 2);
        let two = || world(seed, 19_200).unit(at[0], &with).unit(at[1], &with).unit(at[1], &with);
        let report = two().survey();
        assert!(
            matches!(report.findings[..], [Finding::Collision { address, .. }, Finding::NotThorough] if address == at[1])
                || matches!(report.findings[..], [Finding::TwoDevices { address, .. }, Finding::NotThorough] if address == at[1]),
            "{report:?}"
        );
        let report = two().with_fault(Fault::Delay(Duration::from_millis(7 + seed * 10 / SEEDS))).survey();
        let is_told =
            |finding: &Finding| matches!(finding, Finding::TwoDevices { address, .. } if *address == at[1]);
        assert!(report.findings.iter().any(is_told), "{report:?}");
    });
}
