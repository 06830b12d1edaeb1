//! What only a Modbus `[[panel]]` has: its profile, and which line is which flat's.

use std::sync::Arc;

use config::{Value, ValueKind};

use super::{
    Door, Lock, Modbus,
    building::{Doors, MAX_ID, OUTPUT_ACTIVE, Taken},
    profile,
    read::Section,
    values::{choice, shown, text, whole},
};
use crate::domain::{OutputActive, Profile, order, profile::DoorProfile};

/// All flats that have a line, by intercom and number.
pub(super) type TakenFlats = Taken<(u64, u64)>;

/// Reads `profile` and `lines`. `None` where the profile is missing or wrong, which is noted.
pub(super) fn modbus(
    section: &mut Section<'_>,
    intercom: Option<u64>,
    flats: &mut TakenFlats,
) -> Option<Modbus> {
    let base = section.base("profile");
    let named = section.require("profile", "\"commutator-100\"", text);
    let file = named.as_ref().map(|named| profile::place(named, &base)).filter(|file| file.is_file());
    let found = named.and_then(|named| match profile::find(&named, &base) {
        Ok((file, Ok(profile))) => {
            // What the file says is compared too: it may change while its name stays.
            let file = file.and_then(|file| std::path::absolute(file).ok()?.to_str().map(str::to_owned));
            section.note("profile", file.unwrap_or(named).into(), &profile);
            Some(profile)
        }
        Ok((_, Err(errors))) => {
            section.adopt(errors);
            None
        }
        Err(message) => {
            section.problem("profile", message);
            None
        }
    });
    let lines = section.below("lines");
    let profile = found?;
    let lines = match (lines, &profile.lines) {
        (None, _) => Vec::new(),
        (Some(_), None) => {
            section.problem("lines", format!("the profile {} has no [lines]; remove it", profile.name));
            Vec::new()
        }
        (Some(lines), Some(of_profile)) => {
            self::lines(lines, &profile.name, of_profile.count, intercom.unwrap_or_default(), flats)
        }
    };
    Some(Modbus { profile: Arc::new(profile), profile_file: file, lines })
}

/// `lock` of a Modbus panel: the profile knows the register, so only the time is to be said, if anything.
pub(super) fn lock(section: &mut Section<'_>, profile: Option<&Profile>) -> Option<Lock> {
    let of_profile = profile.and_then(|profile| profile.lock);
    let Some(mut lock) = section.below("lock") else {
        return of_profile.map(|_| {
            let open = super::building::open(&mut section.implied("lock"));
            Lock { output: 0, open, active: OutputActive::On }
        });
    };
    if lock.get("output", whole(0..=u8::MAX)).is_some_and(|output| output != 0) {
        lock.problem("output", "a Modbus panel has one lock, which is 0: what [lock] of its profile says");
    }
    if lock.get("active", choice(OUTPUT_ACTIVE)) == Some(OutputActive::Off) {
        lock.problem("active", "a Modbus panel's lock opens by being switched on: remove it");
    }
    let open = super::building::open(&mut lock);
    lock.finish();
    if let Some(profile) = profile.filter(|profile| profile.lock.is_none()) {
        section.problem("lock", format!("the profile {} has no [lock]; remove it", profile.name));
    }
    of_profile.map(|_| Lock { output: 0, open, active: OutputActive::On })
}

/// `door` of a Modbus panel: the profile knows the inputs.
pub(super) fn door(section: &mut Section<'_>, profile: Option<&Profile>, has_lock: bool) -> Option<Door> {
    let of_profile = profile.and_then(|profile| profile.door);
    let contact = of_profile.and_then(|door| door.contact).map(|_| DoorProfile::CONTACT);
    let exit = of_profile.and_then(|door| door.exit).map(|_| DoorProfile::EXIT);
    let doors = Doors::Profile { contact, exit };
    let written = section.below("door").map(|door| super::building::door(door, has_lock, &doors));
    match (written, profile) {
        (Some(_), Some(profile)) if profile.door.is_none() => {
            section.problem("door", format!("the profile {} has no [door]; remove it", profile.name));
            None
        }
        (Some(door), _) => Some(door),
        (None, _) => of_profile.map(|_| super::building::door(section.implied("door"), has_lock, &doors)),
    }
}

fn lines(
    mut section: Section<'_>,
    profile: &str,
    count_of_profile: u16,
    intercom: u64,
    flats: &mut TakenFlats,
) -> Vec<(u16, u64)> {
    let beyond = |line: u64| {
        format!("line {line} is beyond the profile {profile}, which has {count_of_profile} lines")
    };
    let mut lines: Vec<(u16, u64)> = Vec::new();
    if section.has("map") {
        for key in ["first_flat", "count"].into_iter().filter(|key| section.has(key)) {
            section.problem(key, "is not needed beside map, which names every line; remove one of them");
        }
        section.allow(&["first_flat", "count"]);
        let mut known = Taken::new();
        let elements = section.elements("map").unwrap_or_default();
        for (index, element) in elements.iter().enumerate() {
            let key = format!("map[{index}]");
            match pair(element) {
                Ok((line, _)) if line > u64::from(count_of_profile) => section.problem(&key, beyond(line)),
                Ok((line, flat)) => {
                    known.take(&section, &key, line, &format!("the line {line}"));
                    flats.take(&section, &key, (intercom, flat), &flat_of(flat, intercom));
                    // Not above the profile's count, seen above.
                    lines.extend(u16::try_from(line).ok().map(|line| (line, flat)));
                }
                Err(message) => section.problem(&key, message),
            }
        }
        let mut meaning = lines.clone();
        order::sort(&mut meaning);
        section.note("map", elements.to_vec().into(), &meaning);
    } else {
        let first_flat = section.require("first_flat", "1", whole(1..=MAX_ID - u64::from(u16::MAX)));
        let count = section.require("count", "100", whole(1..=u16::MAX));
        if let (Some(first_flat), Some(count)) = (first_flat, count) {
            if count > count_of_profile {
                section.problem("count", beyond(u64::from(count)));
            }
            for (line, flat) in (1..=count).zip(first_flat..) {
                flats.take(&section, "first_flat", (intercom, flat), &flat_of(flat, intercom));
                lines.push((line, flat));
            }
        }
    }
    section.finish();
    lines
}

fn flat_of(flat: u64, intercom: u64) -> String {
    format!("the flat {flat} of intercom {intercom}")
}

/// `[line, flat]`, both from 1 on.
fn pair(element: &Value) -> Result<(u64, u64), String> {
    let wrong =
        || format!("must be [line, flat], two whole numbers from 1 on, found {}", shown(&element.kind));
    let ValueKind::Array(pair) = &element.kind else { return Err(wrong()) };
    let number = |value: &Value| match value.kind {
        ValueKind::I64(number) => u64::try_from(number).ok().filter(|number| (1..=MAX_ID).contains(number)),
        _ => None,
    };
    match pair.as_slice() {
        [line, flat] => number(line).zip(number(flat)).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}
