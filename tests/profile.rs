//! Profiles as an installer meets them: what is shipped, what is read, what is said about mistakes (contract §2).

use std::{path::Path, process::Command, time::Duration};

use intercom_gateway::{
    config::load_profile,
    domain::{
        Profile,
        profile::{LockProfile, Register, RegisterKind},
    },
};

/// The contract's sample, its lock by pulse.
const SAMPLE: &str = r#"
name = "commutator-100"
[lines]
unit = "V"
value = { kind = "input", address = 0, scale = 0.1 }
enable = { kind = "coil", address = 0 }
sentinel = { unsupported = 65535, busy = 65534 }
thresholds = { short_below = 1.0, on_hook_below = 6.5, off_hook_below = 9.2, door_button_below = 9.8, hysteresis = 0.2 }
debounce = 3
period = "1s"
matrix = { columns = 10 }
[keys]
count = { kind = "input", address = 400 }
code = { kind = "input", address = 401, words = 4, bits = 56 }
next = { kind = "coil", address = 410 }
period = "100ms"
[lock]
pulse = { kind = "holding", address = 430, unit = "100ms" }
[door]
contact = { kind = "discrete", address = 440 }
exit = { kind = "discrete", address = 441 }
[identity]
model = { kind = "holding", address = 500, words = 8, text = true, is = "KM-100" }
"#;

fn load(text: &str) -> Result<Profile, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("profile.toml");
    std::fs::write(&file, text).unwrap();
    load_profile(&file)
        .map_err(|errors| errors.to_string().replace(&format!("{}/", directory.path().display()), ""))
}

fn refusal(from: &str, to: &str) -> String {
    assert!(SAMPLE.contains(from), "{from}");
    let said = load(&SAMPLE.replacen(from, to, 1)).map_or_else(|said| said, |_| "accepted".to_owned());
    format!("{to}\n=> {}\n", said.replace('\n', "\n=> "))
}

#[test]
fn the_contracts_sample_is_read_whole() {
    let profile = load(SAMPLE).unwrap();
    let lines = profile.lines.unwrap();
    assert_eq!(lines.value, Register { kind: RegisterKind::Input, address: 0 });
    assert_eq!((lines.scale, lines.enable, lines.columns), (0.1, Some(0), Some(10)));
    assert_eq!((lines.unsupported, lines.busy, lines.debounce), (Some(65_535), Some(65_534), 3));
    assert_eq!(lines.count, 400, "lines go on until the count of keys");
    let keys = profile.keys.unwrap();
    assert_eq!((keys.words, keys.bits, keys.little, keys.period), (4, 56, false, Duration::from_millis(100)));
    let unit = Duration::from_millis(100);
    assert_eq!(profile.lock, Some(LockProfile::Pulse { address: 430, unit }));
    assert_eq!(profile.identity.unwrap().is.as_deref(), Some("KM-100"));
}

#[test]
fn what_is_left_out_has_the_contracts_defaults() {
    let text = "name = \"p\"\n[lines]\nunit = \"adc\"\nvalue = { kind = \"holding\", address = 7 }\nthresholds = { on_hook_below = 250, off_hook_below = 450.5 }\n[door]\ncontact = { kind = \"coil\", address = 1 }\n[lock]\ncoil = 0";
    let profile = load(text).unwrap();
    let lines = profile.lines.unwrap();
    assert_eq!((lines.scale, lines.debounce, lines.period), (1.0, 3, Duration::from_secs(1)));
    assert_eq!((lines.thresholds.short_below, lines.thresholds.hysteresis), (None, 0.0));
    assert_eq!((lines.range, lines.count), ((0.0, 45_050.0), 65_529));
    assert_eq!(profile.door.unwrap().period, Duration::from_millis(100));
    assert_eq!((profile.lock, profile.keys), (Some(LockProfile::Coil(0)), None));
}

#[test]
fn mistakes_are_told_with_their_lines_and_what_would_be_right() {
    let said = [
        ("name = \"commutator-100\"", ""),
        ("name = \"commutator-100\"", "name = \"KM 100\"\nvendor = \"x\""),
        ("unit = \"V\"", "unit = 5"),
        ("value = { kind = \"input\", address = 0, scale = 0.1 }", "value = 0"),
        ("value = { kind = \"input\"", "value = { kind = \"coil\""),
        ("value = { kind = \"input\", address = 0", "value = { kind = \"inputs\", address = 65536"),
        ("scale = 0.1", "scale = 0"),
        ("enable = { kind = \"coil\"", "enable = { kind = \"discrete\""),
        ("busy = 65534", "busy = 65535"),
        ("on_hook_below = 6.5", "on_hook_below = 9.5"),
        ("on_hook_below = 6.5, ", ""),
        ("hysteresis = 0.2", "hysteresis = 0.7"),
        ("hysteresis = 0.2", "break_above = 9.8"),
        ("debounce = 3", "debounce = 0"),
        ("period = \"1s\"", "period = 1"),
        ("matrix = { columns = 10 }", "matrix = { columns = 1 }"),
        ("matrix = { columns = 10 }", "range = { min = 5, max = 3 }"),
        ("matrix = { columns = 10 }", "count = 401"),
        ("matrix = { columns = 10 }", "count = 70000"),
        ("address = 401, words = 4", "address = 400, words = 4"),
        ("words = 4, bits = 56", "words = 3, bits = 56"),
        ("words = 4, bits = 56", "words = 4, bits = 60"),
        ("words = 4, bits = 56", "words = 4, bits = 56, word_order = \"middle\""),
        ("next = { kind = \"coil\"", "next = { kind = \"input\""),
        ("address = 410", "address = 0"),
        ("pulse = { kind = \"holding\"", "coil = 420\npulse = { kind = \"holding\""),
        ("pulse = { kind = \"holding\", address = 430, unit = \"100ms\" }", "# nothing"),
        ("unit = \"100ms\"", "units = \"100ms\""),
        (
            "contact = { kind = \"discrete\", address = 440 }\nexit = { kind = \"discrete\", address = 441 }",
            "# nothing",
        ),
        ("exit = { kind = \"discrete\", address = 441 }", "exit = { kind = \"discrete\", address = 440 }"),
        ("is = \"KM-100\"", "is = \"a name of more than 16\""),
        ("text = true, is = \"KM-100\"", "is = \"KM-100\""),
        ("address = 500, words = 8", "address = 65530, words = 8"),
        ("[identity]", "[ident]"),
        ("[lines]", "[lines"),
    ]
    .map(|(from, to)| refusal(from, to));
    let nothing = load("name = \"empty\"").unwrap_err();
    insta::assert_snapshot!(format!("{}\n{nothing}", said.join("\n")));
}

#[test]
fn the_command_says_what_a_profile_tells_and_fails_on_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let run = |text: &str| {
        let file = directory.path().join("profile.toml");
        std::fs::write(&file, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_intercom-gateway"))
            .args(["profile", "check"])
            .arg(&file)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, said, complaints) = run(SAMPLE);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));
    insta::assert_snapshot!(said);
    let (code, said, complaints) = run("name = \"p\"\n[lock]\ncoil = -1");
    assert_eq!((code, said.as_str()), (Some(2), ""));
    assert!(complaints.contains("profile.toml:3: lock.coil: "), "{complaints}");
}

#[test]
fn a_file_that_is_too_long_for_a_profile_is_not_read_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("profile.toml");
    let check = |file: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_intercom-gateway"))
            .args(["profile", "check"])
            .arg(file)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let filled = |bytes: usize| format!("{SAMPLE}#{}", "x".repeat(bytes - SAMPLE.len() - 1));
    std::fs::write(&file, filled(1 << 20)).unwrap();
    assert_eq!(check(&file), (Some(0), String::new()));
    std::fs::write(&file, filled((1 << 20) + 1)).unwrap();
    for endless in [&file, Path::new("/dev/zero")] {
        let (code, said) = check(endless);
        assert_eq!(code, Some(2), "{said}");
        let expected = format!("{}: is above 1 MiB", endless.display());
        assert!(said.contains(&expected), "{said}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// Whatever a slip of the keyboard makes of the file, it is read or refused with a message.
    #[test]
    fn a_damaged_profile_is_refused_and_never_more(at in 0..1200_usize, cut in 0..30_usize, put in "[\\[\\]{}=\"',.a-z0-9\n-]{0,6}") {
        let at = at.min(SAMPLE.len());
        let end = (at + cut).min(SAMPLE.len());
        if let Err(said) = load(&format!("{}{put}{}", &SAMPLE[..at], &SAMPLE[end..])) {
            proptest::prop_assert!(said.lines().all(|line| line.contains(": ")), "{}", said);
        }
    }
}
