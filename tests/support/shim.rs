//! Shared objects that stand between a process and the system, for `LD_PRELOAD`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Compiles `source`, a file of tests/peers, into a directory.
pub fn compile(source: &str, into: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(source);
    let shim = into.join(source.with_extension("so").file_name().unwrap());
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let compiled = Command::new(compiler)
        .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
        .args([&shim, &source])
        .args(["-ldl", "-lpthread"])
        .status();
    assert!(compiled.expect("a C compiler (cc) is needed by this test").success());
    shim
}
