//! The sections of a profile, key by key.

use std::time::Duration;

use config::{Map, Value};

use super::{
    super::{
        read::{Reader, Section},
        service::name,
        values::{choice, duration, number, text, truth, whole},
    },
    registers::{ANY, COIL, HOLDING, Registers, WORDS, WRITABLE, register},
};
use crate::domain::{
    Profile,
    line::Thresholds,
    profile::{DoorProfile, IdentityProfile, KeysProfile, LinesProfile, LockProfile, Register, RegisterKind},
};

/// Defaults of `lines.debounce` and `lines.period` (contract §2).
const DEBOUNCE: u8 = 3;
const LINES_PERIOD: Duration = Duration::from_secs(1);
/// Default of `keys.period` and `door.period`: a swipe or an opening is noticed at once.
const FAST_PERIOD: Duration = Duration::from_millis(100);
const PERIODS: std::ops::RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(3600);
/// Without `lines.range`, values above this many times the highest threshold are no measurements.
const PLAUSIBLE: f64 = 100.0;
/// What the pulse register's `unit` may be.
const PULSE_UNITS: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);
/// Lengths of codes that carry parity bits (contract §5, key strings); others are whole bytes.
const WIEGAND_BITS: [u16; 4] = [26, 34, 37, 58];

/// Reads a whole profile. `None` where something that is needed is missing or wrong, which the reader knows.
pub(super) fn profile(reader: &Reader<'_>, root: &Map<String, Value>) -> Option<Profile> {
    const SECTIONS: [&str; 5] = ["lines", "keys", "lock", "door", "identity"];
    let mut top = reader.top(root);
    let name = top.require("name", "\"commutator-100\"", name);
    if !SECTIONS.iter().any(|section| top.has(section)) {
        let sections = SECTIONS.map(|section| format!("[{section}]")).join(", ");
        top.problem(
            "name",
            format!("the profile says nothing of any register; it needs at least one of {sections}"),
        );
    }
    let mut registers = Registers::default();
    let keys = top.below("keys").map(|section| keys(section, &top, &mut registers));
    let lock = top.below("lock").map(|section| lock(section, &top, &mut registers));
    let door = top.below("door").map(|section| door(section, &top, &mut registers));
    let identity = top.below("identity").map(|section| identity(section, &top, &mut registers));
    // Last, because lines go on until something else begins.
    let lines = top.below("lines").map(|section| lines(section, &top, &mut registers));
    top.finish();
    Some(Profile {
        name: name?.to_string(),
        lines: required(lines)?,
        keys: required(keys)?,
        lock: required(lock)?,
        door: required(door)?,
        identity: required(identity)?,
    })
}

/// `None`: the section is there, but not complete.
#[allow(clippy::option_option, reason = "absent and incomplete are two things")]
fn required<T>(section: Option<Option<T>>) -> Option<Option<T>> {
    match section {
        None => Some(None),
        Some(content) => content.map(Some),
    }
}

fn lines(mut section: Section<'_>, top: &Section<'_>, registers: &mut Registers) -> Option<LinesProfile> {
    let unit = section.require("unit", "\"V\"", text);
    if unit.as_deref().is_some_and(|unit| unit.chars().count() > 16) {
        section.problem("unit", "must have at most 16 characters, like \"V\"");
    }
    let told = section.get("count", whole(1..=u16::MAX));
    let value = below(&mut section, "value", r#"{ kind = "input", address = 0, scale = 0.1 }"#, |value| {
        let scale = value.get("scale", number(1e-6..=1e6)).unwrap_or(1.0);
        Some((register(value, WORDS)?, scale))
    });
    let enable = section
        .has("enable")
        .then(|| below(&mut section, "enable", "", |enable| register(enable, COIL).map(|coil| coil.address)));
    let sentinels = section.below("sentinel").map(|mut sentinel| {
        let unsupported = sentinel.get("unsupported", whole(0..=u16::MAX));
        let busy = sentinel.get("busy", whole(0..=u16::MAX));
        if unsupported.is_some() && unsupported == busy {
            sentinel.problem("busy", "is the value of unsupported; each needs one of its own");
        }
        sentinel.finish();
        (unsupported, busy)
    });
    let example = "{ short_below = 1.0, on_hook_below = 6.5, off_hook_below = 9.2, door_button_below = 9.8 }";
    let thresholds = below(&mut section, "thresholds", example, thresholds);
    let range = section.has("range").then(|| below(&mut section, "range", "", range));
    let debounce = section.get("debounce", whole(1..=20_u8)).unwrap_or(DEBOUNCE);
    let period = section.get("period", duration(PERIODS)).unwrap_or(LINES_PERIOD);
    let columns = section.below("matrix").map(|mut matrix| {
        let columns = matrix.require("columns", "10", whole(2..=256_u16));
        matrix.finish();
        columns
    });
    section.finish();
    let (value, scale) = value?;
    let enable = required(enable)?;
    let enable_register = enable.map(|address| Register { kind: RegisterKind::Coil, address });
    let room = |register: Register| {
        let end = registers.next_after(register).map_or(0x1_0000, u32::from);
        end - u32::from(register.address)
    };
    let most = enable_register.map_or(room(value), |enable| room(enable).min(room(value)));
    let count = told.unwrap_or_else(|| u16::try_from(most).unwrap_or(u16::MAX));
    registers.take(top, "lines.value", value, count);
    if let Some(enable) = enable_register {
        registers.take(top, "lines.enable", enable, count);
    }
    let thresholds = thresholds?;
    let top_threshold = thresholds.door_button_below.unwrap_or(thresholds.off_hook_below);
    let (unsupported, busy) = sentinels.unwrap_or_default();
    Some(LinesProfile {
        count,
        unit: unit?,
        value,
        scale,
        enable,
        unsupported,
        busy,
        thresholds,
        range: required(range)?.unwrap_or((0.0, top_threshold * PLAUSIBLE)),
        debounce,
        period,
        columns: required(columns)?,
    })
}

fn thresholds(section: &mut Section<'_>) -> Option<Thresholds> {
    const VALUES: std::ops::RangeInclusive<f64> = 0.0..=1e9;
    let short_below = section.get("short_below", number(VALUES));
    let on_hook_below = section.require("on_hook_below", "6.5", number(VALUES));
    let off_hook_below = section.require("off_hook_below", "9.2", number(VALUES));
    let door_button_below = section.get("door_button_below", number(VALUES));
    let hysteresis = section.get("hysteresis", number(VALUES)).unwrap_or(0.0);
    let ascending = [
        ("short_below", short_below),
        ("on_hook_below", on_hook_below),
        ("off_hook_below", off_hook_below),
        ("door_button_below", door_button_below),
    ];
    let set: Vec<(&str, f64)> =
        ascending.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    for (below, above) in set.iter().zip(set.iter().skip(1)) {
        if above.1 <= below.1 {
            let message = format!("must be above {}, which is {}; found {}", below.0, below.1, above.1);
            section.problem(above.0, message);
        } else if hysteresis > above.1 - below.1 {
            let message =
                format!("is wider than the {:.3} between {} and {}", above.1 - below.1, below.0, above.0);
            section.problem("hysteresis", message);
        }
    }
    Some(Thresholds {
        short_below,
        on_hook_below: on_hook_below?,
        off_hook_below: off_hook_below?,
        door_button_below,
        hysteresis,
    })
}

fn range(section: &mut Section<'_>) -> Option<(f64, f64)> {
    let min = section.get("min", number(0.0..=1e9)).unwrap_or(0.0);
    let max = section.require("max", "30.0", number(0.0..=1e9))?;
    if max <= min {
        section.problem("max", format!("must be above min, which is {min}; found {max}"));
    }
    Some((min, max))
}

fn keys(mut section: Section<'_>, top: &Section<'_>, registers: &mut Registers) -> Option<KeysProfile> {
    let count =
        below(&mut section, "count", r#"{ kind = "input", address = 400 }"#, |count| register(count, WORDS));
    let example = r#"{ kind = "input", address = 401, words = 4, bits = 56 }"#;
    let code = below(&mut section, "code", example, |code| {
        let words = code.require("words", "4", whole(1..=4_u16));
        let bits = code.require("bits", "56", whole(8..=64_u16));
        if let (Some(words), Some(bits)) = (words, bits) {
            if bits > words * 16 {
                code.problem("bits", format!("{bits} bits do not fit into {words} words of 16"));
            } else if !WIEGAND_BITS.contains(&bits) && (bits > 56 || bits % 8 != 0) {
                code.problem(
                    "bits",
                    format!(
                        "must be 8 to 56 in whole bytes, or 26, 34, 37 or 58 with parity bits; found {bits}"
                    ),
                );
            }
        }
        let little = code.get("word_order", choice(&[("big", false), ("little", true)])).unwrap_or(false);
        Some((register(code, WORDS)?, words?, bits?, little))
    });
    let next =
        below(&mut section, "next", r#"{ kind = "coil", address = 410 }"#, |next| register(next, WRITABLE));
    let period = section.get("period", duration(PERIODS)).unwrap_or(FAST_PERIOD);
    section.finish();
    let (code, words, bits, little) = code?;
    let (count, next) = (count?, next?);
    registers.take(top, "keys.count", count, 1);
    registers.take(top, "keys.code", code, words);
    registers.take(top, "keys.next", next, 1);
    Some(KeysProfile { count, code, words, bits, little, next, period })
}

fn lock(mut section: Section<'_>, top: &Section<'_>, registers: &mut Registers) -> Option<LockProfile> {
    let coil = section.get("coil", whole(0..=u16::MAX)).map(|address| {
        registers.take(top, "lock.coil", Register { kind: RegisterKind::Coil, address }, 1);
        LockProfile::Coil(address)
    });
    let example = r#"{ kind = "holding", address = 430, unit = "100ms" }"#;
    let has_pulse = section.has("pulse");
    if has_pulse && section.has("coil") {
        section.problem(
            "coil",
            "is not needed beside pulse, by which the panel locks again by itself; remove it",
        );
    }
    let pulse = if has_pulse || coil.is_none() && !section.has("coil") {
        below(&mut section, "pulse", example, |pulse| {
            let unit = pulse.require("unit", "\"100ms\"", duration(PULSE_UNITS));
            Some((register(pulse, HOLDING)?, unit?))
        })
    } else {
        None
    };
    section.finish();
    match pulse {
        Some((register, unit)) => {
            registers.take(top, "lock.pulse", register, 1);
            Some(LockProfile::Pulse { address: register.address, unit })
        }
        None => coil.filter(|_| !has_pulse),
    }
}

fn door(mut section: Section<'_>, top: &Section<'_>, registers: &mut Registers) -> Option<DoorProfile> {
    let mut input = |section: &mut Section<'_>, key: &'static str, full: &'static str| {
        let found = section.has(key).then(|| below(section, key, "", |input| register(input, ANY)));
        if let Some(Some(register)) = found {
            registers.take(top, full, register, 1);
        }
        found
    };
    let contact = input(&mut section, "contact", "door.contact");
    let exit = input(&mut section, "exit", "door.exit");
    let period = section.get("period", duration(PERIODS)).unwrap_or(FAST_PERIOD);
    if contact.is_none() && exit.is_none() {
        let example = r#"{ kind = "discrete", address = 440 }"#;
        section.problem("contact", format!("is missing; write for example contact = {example}"));
    }
    section.finish();
    Some(DoorProfile { contact: required(contact)?, exit: required(exit)?, period })
}

fn identity(
    mut section: Section<'_>,
    top: &Section<'_>,
    registers: &mut Registers,
) -> Option<IdentityProfile> {
    let example = r#"{ kind = "holding", address = 500, words = 8, text = true, is = "KM-100" }"#;
    let identity = below(&mut section, "model", example, |model| {
        let words = model.get("words", whole(1..=64_u16)).unwrap_or(1);
        let is_text = model.get("text", truth).unwrap_or(false);
        let is = if is_text {
            model.get("is", text)
        } else {
            model.get("is", whole(0..=i64::MAX)).map(|number| number.to_string())
        };
        let too_long = |is: &String| is_text && is.len() > usize::from(words) * 2;
        if is.as_ref().is_some_and(too_long) {
            model.problem("is", format!("has more than the {} characters of {words} words", words * 2));
        } else if !is_text && words > 4 {
            model.problem("words", "a number has at most 4 words; write text = true where it is text");
        }
        Some(IdentityProfile { model: register(model, WORDS)?, words, text: is_text, is })
    });
    section.finish();
    let identity = identity?;
    registers.take(top, "identity.model", identity.model, identity.words);
    Some(identity)
}

/// The table `key` below a section, read whole; that it is missing is noted, with what could be written.
fn below<T>(
    section: &mut Section<'_>,
    key: &'static str,
    example: &str,
    read: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> Option<T> {
    let Some(mut table) = section.below(key) else {
        section.problem(key, format!("is missing; write for example {key} = {example}"));
        return None;
    };
    let content = read(&mut table);
    table.finish();
    content
}
