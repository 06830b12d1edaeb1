//! What is shipped has no faults on purpose (the feature `faults`, for tests/parts alone).

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Compiles the module of the faults by itself.
fn compile(arguments: &[&str]) -> Output {
    let out = tempfile::tempdir().unwrap();
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--out-dir"])
        .arg(out.path())
        .args(arguments)
        .arg(Path::new(ROOT).join("src/faults/mod.rs"))
        .output()
        .unwrap()
}

#[test]
fn a_release_build_with_faults_does_not_compile() {
    let without = compile(&["-C", "debug-assertions=off"]);
    assert!(without.status.success(), "{}", String::from_utf8_lossy(&without.stderr));
    let with = compile(&["-C", "debug-assertions=off", "--cfg", "feature=\"faults\""]);
    let error = String::from_utf8_lossy(&with.stderr).into_owned();
    assert!(error.contains("a release build must not have it"), "{error}");
    let in_tests = compile(&["-C", "debug-assertions=on", "--cfg", "feature=\"faults\""]);
    let error = String::from_utf8_lossy(&in_tests.stderr).into_owned();
    assert!(!error.contains("a release build must not have it"), "{error}");
}

#[test]
fn nothing_but_the_tests_of_the_parts_asks_for_faults() {
    let manifest: toml::Table =
        fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap().parse().unwrap();
    let features = manifest["features"].as_table().unwrap();
    assert!(features["faults"].as_array().unwrap().is_empty());
    let others: Vec<_> = features.iter().filter(|(name, _)| *name != "faults").collect();
    assert!(!others.iter().any(|(_, asks)| format!("{asks:?}").contains("faults")), "{others:?}");
    let metadata =
        manifest["package"].get("metadata").map(|metadata| format!("{metadata:?}")).unwrap_or_default();
    assert!(!metadata.contains("faults") && !metadata.contains("all-features"), "{metadata}");
    let check = fs::read_to_string(Path::new(ROOT).join("check")).unwrap();
    let asking: Vec<_> = check.lines().filter(|line| line.contains("faults")).collect();
    assert!(!asking.is_empty());
    assert!(asking.iter().all(|line| !line.contains("--release")), "{asking:?}");
    assert!(!check.contains("all-features"));
}

#[cfg(not(feature = "faults"))]
#[test]
fn the_ordinary_binary_knows_no_word_of_them() {
    let binary = fs::read(env!("CARGO_BIN_EXE_intercom-gateway")).unwrap();
    let has = |word: &str| binary.windows(word.len()).any(|bytes| bytes == word.as_bytes());
    assert!(has("INTERCOM_GATEWAY"), "the words of the program are found");
    assert!(!has("INTERCOM_GATEWAY_FAULT"));
}

/// A build that misses `.cargo/config.toml` works, but takes more memory and answers more slowly.
#[test]
fn sqlite_is_built_as_the_configuration_of_cargo_says() {
    let config: toml::Table =
        fs::read_to_string(Path::new(ROOT).join(".cargo/config.toml")).unwrap().parse().unwrap();
    let flags = config["env"]["LIBSQLITE3_FLAGS"].as_str().unwrap();
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let mut options = connection.prepare("PRAGMA compile_options").unwrap();
    let options: Vec<String> = options.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for flag in flags.split(' ') {
        match flag.split_at("-DSQLITE_".len()) {
            ("-DSQLITE_", option) => {
                assert!(options.iter().any(|known| known == option), "{flag}: {options:?}")
            }
            ("-USQLITE_", option) => assert!(!options.iter().any(|known| known == option), "{flag}"),
            _ => panic!("{flag}"),
        }
    }
}
