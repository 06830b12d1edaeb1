//! Random edits of random buildings.

use proptest::{collection::vec, prelude::*, sample::subsequence};

use super::{tests::Files, *};

/// A setting: a line, or nothing.
fn maybe(lines: &'static [&'static str]) -> BoxedStrategy<String> {
    let some = proptest::sample::select(lines).prop_map(|line| format!("{line}\n"));
    prop_oneof![some, Just(String::new())].boxed()
}

fn service() -> impl Strategy<Value = Vec<String>> {
    let gateway = (
        maybe(&["timezone = \"Europe/Berlin\"", "timezone = \"UTC\""]),
        maybe(&["clock = \"auto\"", "clock = \"trusted\""]),
        maybe(&["state_dir = \"state\""]),
    );
    let gateway = (proptest::sample::select(&["a", "b"][..]), gateway)
        .prop_map(|(id, (zone, clock, state))| format!("[gateway]\nid = \"{id}\"\n{zone}{clock}{state}"));
    let journal = maybe(&["[journal]", "[journal]\nkeep_days = 30", "[journal]\nkeep_days = 7"]);
    let http = maybe(&[
        "[http]\nlisten = \"127.0.0.1:8443\"",
        "[http]\ntls = \"files\"\ncert_file = \"c.pem\"\nkey_file = \"credential:http\"",
        "[http]\ntls = \"files\"\ncert_file = \"c.pem\"\nkey_file = \"k.pem\"",
    ]);
    let mqtt = (
        maybe(&["username = \"u\"", "username = \"u\"\npassword_file = \"credential:pw\""]),
        maybe(&["confirm = \"cloud\"", "confirm = \"broker\"", "signing_key_file = \"credential:cloud\""]),
    )
        .prop_map(|(user, confirm)| format!("[mqtt]\nurl = \"mqtts://broker\"\n{user}{confirm}"));
    let mqtt = prop_oneof![mqtt, Just(String::new())];
    (gateway, journal, http, mqtt)
        .prop_map(|(gateway, journal, http, mqtt)| vec![gateway, journal, http, mqtt])
}

fn panel(number: usize, bus: &str, intercom: u64, osdp: &[String; 4], modbus: &[String; 2]) -> String {
    let own = if bus == "lift" { modbus.concat() } else { osdp.concat() };
    format!(
        "[[panel]]\nname = \"p{number}\"\nintercom = {intercom}\nbus = \"{bus}\"\naddress = {number}\n{own}"
    )
}

/// A valid building: sections and items, each a text of its own, from pools so small that two have much in common.
fn building() -> impl Strategy<Value = Vec<String>> {
    let osdp = [
        maybe(&[
            "lock = { output = 0 }",
            "lock.output = 1\nlock.open = \"3000ms\"",
            "lock = { output = 0, open = \"3s\" }",
        ]),
        maybe(&["door = {}", "door = { input = 1 }", "door = { input = 1, held_after = \"1m\" }"]),
        maybe(&["secure_channel = \"install\"", "secure_channel = \"required\""]),
        maybe(&[
            "secure_key_file = \"key\"",
            "secure_key_file = \"credential:k1\"",
            "secure_key_file = \"credential:k2\"",
        ]),
    ];
    let modbus = [
        proptest::sample::select(&["profile = \"door-panel\"\n", "profile = \"commutator-100\"\n"][..])
            .prop_map(str::to_owned)
            .boxed(),
        maybe(&["feedback = true", "feedback = false", "key_order = \"reversed\""]),
    ];
    let panels = subsequence((1..=5_usize).collect::<Vec<_>>(), 0..=5).prop_flat_map(move |numbers| {
        let each: Vec<_> = numbers
            .into_iter()
            .map(|number| (Just(number), 0..3_usize, 0..3_usize, osdp.clone(), modbus.clone()))
            .collect();
        each
    });
    let buses = (
        subsequence(vec!["street", "yard", "lift"], 1..=3),
        vec((0..2_u8, maybe(&["baud = 9600", "baud = 19200"])), 3),
    );
    let intercoms = (subsequence(vec![1_u64, 2, 3], 1..=3), vec(maybe(&["name = \"E\""]), 3));
    (service(), buses, intercoms, panels).prop_map(
        |(mut parts, (buses, bus_keys), (intercoms, names), panels)| {
            for (id, name) in intercoms.iter().zip(&names) {
                parts.push(format!("[[intercom]]\nid = {id}\n{name}"));
            }
            for (bus, (port, baud)) in buses.iter().zip(&bus_keys) {
                let protocol = if *bus == "lift" { "modbus" } else { "osdp" };
                parts.push(format!(
                "[[bus]]\nname = \"{bus}\"\nport = \"/dev/{bus}{port}\"\nprotocol = \"{protocol}\"\n{baud}"
            ));
            }
            for (number, bus, intercom, osdp, modbus) in panels {
                let (bus, intercom) = (buses[bus % buses.len()], intercoms[intercom % intercoms.len()]);
                parts.push(panel(number, bus, intercom, &osdp, &modbus));
            }
            parts
        },
    )
}

/// What a configuration means, whatever the order of its items.
fn meaning(config: &Config) -> String {
    let Config { gateway, journal, http, mqtt, intercoms, buses, panels, places: _ } = config;
    let sorted = |mut items: Vec<String>| {
        items.sort();
        items.join("\n")
    };
    format!(
        "{gateway:?}\n{journal:?}\n{http:?}\n{mqtt:?}\n{}\n{}\n{}",
        sorted(intercoms.iter().map(|item| format!("{item:?}")).collect()),
        sorted(buses.iter().map(|item| format!("{item:?}")).collect()),
        sorted(panels.iter().map(|item| format!("{item:?}")).collect()),
    )
}

fn differences(changes: &[Change]) -> Vec<(SettingPath, Difference)> {
    changes.iter().map(|change| (change.at.clone(), change.what.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_items_is_no_change_and_no_change_means_the_same(
        (one, other) in building().prop_flat_map(|parts| (Just(parts.clone()), Just(parts).prop_shuffle())),
        third in building(),
    ) {
        let files = Files::new();
        let (one, other) = (files.written(&one.concat()), files.written(&other.concat()));
        prop_assert_eq!(one.changes(&other), []);
        prop_assert_eq!(meaning(one.config()), meaning(other.config()));
        let third = files.written(&third.concat());
        let same = meaning(one.config()) == meaning(third.config());
        prop_assert_eq!(same, one.changes(&third).is_empty());
    }

    #[test]
    fn all_changes_held_back_give_the_old_configuration(old in building(), new in building()) {
        let files = Files::new();
        let (old, new) = (files.written(&old.concat()), files.written(&new.concat()));
        let changes = old.changes(&new);
        let paths: Vec<SettingPath> = changes.iter().map(|change| change.at.clone()).collect();
        let held = new.hold_back(&old, &paths).unwrap();
        prop_assert_eq!(meaning(held.config()), meaning(old.config()));
        for path in paths {
            let Ok(held) = new.hold_back(&old, std::slice::from_ref(&path)) else { continue };
            let rest: Vec<Change> = changes.iter().filter(|change| change.at != path).cloned().collect();
            prop_assert_eq!(differences(&old.changes(&held)), differences(&rest));
        }
    }

    #[test]
    fn a_plan_applies_what_it_says_and_nothing_else(old in building(), new in building()) {
        let files = Files::new();
        let (old, new) = (files.written(&old.concat()), files.written(&new.concat()));
        let plan = plan(&old, &new);
        prop_assert_eq!(differences(&old.changes(&plan.effective)), differences(&plan.applied));
        prop_assert!(!plan.applied.iter().any(Change::needs_restart));
        let mut all: Vec<Change> = plan.applied.iter().chain(plan.waiting.iter().map(|(change, _)| change)).cloned().collect();
        all.sort_by(|a, b| a.at.cmp(&b.at));
        prop_assert_eq!(all, old.changes(&new));
        if plan.waiting.is_empty() {
            prop_assert_eq!(meaning(plan.effective.config()), meaning(new.config()));
        }
        // At the next attempt, nothing of what is in force is new.
        prop_assert!(super::plan(&old, &plan.effective).waiting.is_empty());
    }

    #[test]
    fn what_is_shown_means_the_same_when_it_is_loaded_again(parts in building()) {
        let (files, elsewhere) = (Files::new(), Files::new());
        let written = files.written(&parts.concat());
        let again = elsewhere.written(&written.to_toml());
        // Files are named in full, and the credentials lie in another directory.
        let meaning_again = meaning(again.config()).replace(elsewhere.directory(), files.directory());
        prop_assert_eq!(meaning_again, meaning(written.config()));
        prop_assert!(files.written(&written.to_toml()).changes(&written).is_empty());
    }
}
