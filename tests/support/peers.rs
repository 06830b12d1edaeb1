//! The Python environment of panels by somebody else (tools/peers-venv).

use std::path::PathBuf;

/// Where `tools/peers-venv` puts the environment unless told otherwise.
const ENVIRONMENT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../peers-venv");

/// Its Python.
pub fn python() -> PathBuf {
    let place = std::env::var_os("INTERCOM_GATEWAY_PEERS").map_or_else(|| ENVIRONMENT.into(), PathBuf::from);
    let python = place.join("bin/python");
    assert!(
        python.exists() && place.join("requirements.txt").exists(),
        "the panels of tests/peers have no Python environment in {}: run tools/peers-venv, or ./check, which does",
        place.display()
    );
    python
}

/// A program of tests/peers.
pub fn program(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/peers", name].iter().collect()
}
