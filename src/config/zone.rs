//! Time zones by all of their names. Their rules are the system's.

use std::iter;

use jiff::tz::TimeZone;

include!(concat!(env!("OUT_DIR"), "/zones.rs"));

/// Returns a time zone by its IANA name, as the system knows it (`get`); one that the system has dropped, as Debian 13 has
/// Europe/Kiev, by another of its names. UTC needs no system.
///
/// # Errors
/// Nobody knows it: the beginning of a sentence that says so.
pub(super) fn find(name: &str, get: impl Fn(&str) -> Option<TimeZone>) -> Result<TimeZone, String> {
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    let is_one = |names: &&&[&str]| names.iter().any(|other| other.eq_ignore_ascii_case(name));
    let others = SAME.iter().find(is_one);
    let names = iter::once(&name).chain(others.into_iter().copied().flatten());
    names.copied().find_map(get).ok_or_else(|| format!("{name:?} is no time zone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, system: &[&str]) -> Option<String> {
        let get = |name: &str| {
            system.contains(&name).then(|| TimeZone::posix(&format!("<{}>0", &name[7..])).unwrap())
        };
        find(name, get).ok().map(|zone| format!("{zone:?}"))
    }

    #[test]
    fn a_zone_goes_by_all_of_its_names() {
        let kyiv = known("Europe/Kyiv", &["Europe/Kyiv", "Europe/Berlin"]);
        assert!(kyiv.as_ref().is_some_and(|zone| zone.contains("Kyiv")), "{kyiv:?}");
        for name in ["Europe/Kiev", "europe/kiev", "Europe/Uzhgorod"] {
            assert_eq!(known(name, &["Europe/Berlin", "Europe/Kyiv"]), kyiv, "{name}");
        }
        assert_eq!(known("Europe/Kiev", &["Europe/Berlin"]), None);
        assert_eq!(known("Mars/Olympus", &["Europe/Berlin"]), None);
    }

    #[test]
    fn utc_is_known_to_a_machine_without_any_zones() {
        assert_eq!(find("UTC", |_| None), Ok(TimeZone::UTC));
        assert_eq!(find("utc", |_| None), Ok(TimeZone::UTC));
    }
}
