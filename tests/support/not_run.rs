//! What this machine does not allow to be tested is not passed over in silence.

use std::{fs::OpenOptions, io::Write, path::Path};

/// Where it says `tests` or `all`, a test that cannot run fails.
const REQUIRE: &str = "INTERCOM_GATEWAY_REQUIRE";

/// Notes what this machine does not allow to be tested, for the end of `./check`.
///
/// # Panics
/// Where INTERCOM_GATEWAY_REQUIRE demands that all tests run.
pub fn not_run(what: &str) {
    let require = std::env::var(REQUIRE).unwrap_or_default();
    assert!(!is_demanded(&require), "NOT TESTED, and {REQUIRE}={require} demands it: {what}");
    eprintln!("NOT TESTED: {what}");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&target).unwrap();
    let path = target.join("not-tested.txt");
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    writeln!(file, "{what}").unwrap();
}

/// Whether a value of INTERCOM_GATEWAY_REQUIRE lets no test be left out; `./check` refuses other words.
pub fn is_demanded(require: &str) -> bool {
    matches!(require, "tests" | "all")
}
