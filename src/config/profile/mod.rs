//! Profiles: what a Modbus panel's registers mean, read from a file that an installer writes (contract §2).
//!
//! docs/profiles.md is the manual of the format.

mod registers;
mod sections;

use std::path::{Path, PathBuf};

use super::{
    layers,
    place::{ConfigErrors, Place, Problems},
    read::Reader,
    secret::Credentials,
};
use crate::domain::Profile;

/// The profiles that come with the program, by name.
pub const SHIPPED: [(&str, &str); 4] = [
    ("commutator-100", include_str!("../../../config/profiles/commutator-100.toml")),
    ("door-panel", include_str!("../../../config/profiles/door-panel.toml")),
    ("matrix-10x10", include_str!("../../../config/profiles/matrix-10x10.toml")),
    ("relay-input", include_str!("../../../config/profiles/relay-input.toml")),
];

/// Where profiles of the installer's own are looked for by name, beside the configuration file.
const DIRECTORY: &str = "profiles";

/// Reads and validates the profile in a file.
///
/// # Errors
/// All problems that were found, in the order of the file.
pub fn load_profile(file: &Path) -> Result<Profile, ConfigErrors> {
    read(file, None)
}

/// Returns the profiles that come with the program.
pub fn shipped_profiles() -> Vec<Profile> {
    let profile =
        |(name, text): &(&str, &str)| read(&PathBuf::from(format!("shipped profile {name}")), Some(text));
    // Each is right, which a test sees to.
    SHIPPED.iter().filter_map(|shipped| profile(shipped).ok()).collect()
}

/// A profile as it was read, and its file, where it is not shipped.
pub(super) type Found = (Option<PathBuf>, Result<Profile, ConfigErrors>);

/// The profile that a `[[panel]]` names: by the path of a file, from the directory `base`; or by name, of a file in
/// `base`/profiles, else of one that is shipped.
pub(super) fn find(named: &str, base: &Path) -> Result<Found, String> {
    let load = |file: PathBuf| {
        let profile = load_profile(&file);
        (Some(file), profile)
    };
    let file = place(named, base);
    if file.is_file() {
        return Ok(load(file));
    }
    if is_path(named) {
        return Err(missing(named, &file));
    }
    match SHIPPED.iter().find(|(name, _)| *name == named) {
        Some((name, text)) => Ok((None, read(&PathBuf::from(format!("shipped profile {name}")), Some(text)))),
        None => Err(missing(named, &file)),
    }
}

/// Where the file of a profile would be that is not shipped.
pub(super) fn place(named: &str, base: &Path) -> PathBuf {
    if is_path(named) { base.join(named) } else { base.join(DIRECTORY).join(format!("{named}.toml")) }
}

fn is_path(named: &str) -> bool {
    named.contains('/') || named.ends_with(".toml")
}

fn missing(named: &str, file: &Path) -> String {
    let shipped = SHIPPED.map(|(name, _)| name).join(", ");
    format!("there is no profile {named:?}: there is no file {}, and shipped are {shipped}", file.display())
}

fn read(file: &Path, text: Option<&str>) -> Result<Profile, ConfigErrors> {
    let mut problems = Problems::default();
    let (root, places) = layers::single(file, text, &mut problems);
    problems.into_result()?;
    let reader = Reader::new(&places, Credentials::Outside);
    let profile = sections::profile(&reader, &root);
    let mut problems = reader.into_problems();
    match profile {
        Some(profile) if problems.is_empty() => Ok(profile),
        _ => {
            if problems.is_empty() {
                problems.add(Place::Line(file.into(), 0), "", "is not complete");
            }
            Err(problems.into_errors())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_profiles_are_valid_and_named_as_their_files() {
        for (name, _) in SHIPPED {
            let (file, profile) = find(name, Path::new("/nowhere")).unwrap();
            assert_eq!(
                (file, profile.unwrap_or_else(|errors| panic!("{errors}")).name.as_str()),
                (None, name)
            );
        }
        assert!(find("comutator", Path::new("/etc")).unwrap_err().contains("commutator-100"));
    }
}
