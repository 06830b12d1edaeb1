//! `doctor --bundle`: what support needs is in it, and no secret and nobody's name.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use intercom_gateway::simulate::action::{Action, Keys};
use serde_json::{Value, json};

use crate::support::{
    Daemon, Site,
    flats::{KNOWN, KNOWN_KEY, UNKNOWN},
    lines::wait_until,
    simulated::Panels,
    site::{ENTRANCE, Ran, recorded_modbus_door},
};

/// Planted where they belong, and in the log; in lower case. None of them may be in a bundle.
const CANARIES: [&str; 16] = [
    "d459f02f6602e5651f3b553bc283d43e", // the panel's key
    "d4 59 f0 2f 66 02",                // the same in a frame
    "53 00 1a 2b 3c 4d",                // a frame of pairing
    "3042caac",                         // the known card
    "deadbeef",                         // an unknown one
    "8642975",                          // typed digits
    "93552",                            // a code
    "петрова",                          // a resident
    "petrova",                          // her login
    "annas-phone",                      // a token's name
    "house-seven",                      // the uplink's login
    "correct horse",                    // its password
    "battery staple",                   // the rest of it
    "userinfo-of-a-url",                // a password in a URL
    "hauptstrasse",                     // the name of an entrance
    "+4915112345678",                   // another login
];

fn resident(id: u64, name: &str, login: &str) -> Value {
    json!({"id": id, "name": name, "login": login, "created_at": "2022-11-11 14:45:58",
        "updated_at": "2022-11-11 14:45:58", "expired_at": null, "is_licence_limit_reached": false,
        "ptz_priority": 1, "access_token_id": null})
}

fn flat() -> Value {
    let anna = resident(6, "Анна Петрова", "anna.petrova@example.org");
    json!({
        "intercom": 1, "id": 4711, "flat": 1234, "key_count": 1, "users_count": 2,
        "keys": [{"id": 8801, "key": KNOWN_KEY, "user": anna, "created_at": "2022-11-11 14:46:16",
            "updated_at": "2022-11-14 15:56:40"}],
        "users": [anna, resident(7, "Li", "+4915112345678")],
        "properties": {"is_analog_line_enable": true, "is_sip_line_enable": true, "is_can_manage_resistance": true},
    })
}

/// Everything that the archive holds, by name.
fn unpacked(site: &Site, file: &Path) -> Vec<(String, String)> {
    let dir = site.path("unpacked");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap();
    let tar = Command::new("tar").arg("-xzf").arg(file).arg("-C").arg(&dir).status().unwrap();
    assert!(tar.success(), "tar reads it");
    let mut files = Vec::new();
    read_below(&dir.join("intercom-gateway"), "", &mut files);
    files
}

fn read_below(dir: &Path, above: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let name = format!("{above}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            read_below(&entry.path(), &format!("{name}/"), files);
        } else {
            let bytes = fs::read(entry.path()).unwrap();
            files.push((name, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

/// A journalctl that has seen everything.
fn plant_log(site: &Site, token: &str) -> String {
    let bin = site.path("bin");
    fs::create_dir(&bin).unwrap();
    let mut lines = vec![
        "2026-11-30T02:54:56+0000 intercom-gateway[7]:  INFO port is open bus=street".to_owned(),
        format!("2026-11-30T02:54:57+0000 intercom-gateway[7]: refused {token}"),
        "2026-11-30T02:54:58+0000 intercom-gateway[7]: mqtts://x:userinfo-of-a-url@broker.example.org"
            .to_owned(),
        "2026-11-30T02:54:58+0000 intercom-gateway[7]: digits=8642975 code: 93552".to_owned(),
        "2026-11-30T02:54:58+0000 intercom-gateway[7]: Li was here".to_owned(),
    ];
    let planted =
        CANARIES.iter().filter(|canary| !["8642975", "93552", "userinfo-of-a-url"].contains(canary));
    lines.extend(
        planted.map(|canary| format!("2026-11-30T02:54:59+0000 intercom-gateway[7]: seen {canary} there")),
    );
    lines.push("2026-11-30T02:54:59+0000 intercom-gateway[7]: Correct Horse, battery staple".to_owned());
    fs::write(bin.join("log"), lines.join("\n")).unwrap();
    fs::write(bin.join("journalctl"), format!("#!/bin/sh\ncat {}/log\n", bin.display())).unwrap();
    fs::set_permissions(bin.join("journalctl"), fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

fn assert_clean(files: &[(String, String)], token: &str) {
    let token = token.trim_start_matches("igw_");
    for (name, text) in files {
        let text = text.to_lowercase();
        for canary in CANARIES.into_iter().chain([token]) {
            assert!(!holds(&text, canary), "{canary} is in {name}: {text}");
        }
    }
}

/// Whether a text contains a canary. Digits count only as a whole number: a longer one may contain them by chance.
fn holds(text: &str, canary: &str) -> bool {
    let is_digit = |neighbour: Option<char>| neighbour.is_some_and(|sign| sign.is_ascii_digit());
    let is_number = canary.chars().all(|sign| sign.is_ascii_digit());
    text.match_indices(canary).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + canary.len()..].chars().next());
        !(is_number && (is_digit(before) || is_digit(after)))
    })
}

fn content<'a>(files: &'a [(String, String)], name: &str) -> &'a str {
    files.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str()).unwrap_or_else(|| {
        panic!("no {name} in {:?}", files.iter().map(|(name, _)| name).collect::<Vec<_>>())
    })
}

#[test]
fn a_bundle_has_what_support_needs_and_no_canary() {
    let entrance = ENTRANCE.replace("id = 1\n", "id = 1\nname = \"Hauptstrasse 7\"\n");
    let site = Site::new(&format!(
        "{entrance}lock = {{ output = 0 }}\nsecure_key_file = \"{{dir}}/key\"\n\n[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n\
         username = \"house-seven\"\npassword_file = \"{{dir}}/password\"\n"
    ));
    site.write("key", CANARIES[0]);
    let text = fs::read_to_string(site.config_path()).unwrap();
    let traced = "protocol = \"osdp\"\ntrace_file = \"keys.osdpcap\"\ntrace_keys = true\n";
    fs::write(site.config_path(), text.replace("protocol = \"osdp\"\n", traced)).unwrap();
    site.write("password", "Correct Horse, battery staple");
    let panels = Panels::start(&site, false);
    site.import(7, &[flat()]).ok();
    let mut daemon = Daemon::start(&site);
    let token = site.run(["token", "add", "annas-phone"]).ok();
    let path = plant_log(&site, token.trim());
    let mut events = daemon.events(&site, 1);
    events.wait_type("intercom.panel.online");
    for card in [KNOWN, UNKNOWN, KNOWN] {
        panels.card("entrance-1", card);
    }
    for _ in 0..3 {
        events.wait_type("intercom.key.swiped");
    }
    panels.act("entrance-1", Action::Keys(Keys(b"8642975#".to_vec())));
    events.wait_type("intercom.keypad.entered");
    daemon.ask("POST", "/api/admin/v1/intercoms/1/open-door", token.trim());
    events.wait("the token's unlock", |event| event["data"]["by"]["kind"] == "token");

    let recorded = site.path("keys.osdpcap");
    wait_until("the line is recorded", || {
        fs::read_to_string(&recorded).is_ok_and(|text| text.lines().count() > 10)
    });
    fs::create_dir_all(site.state_dir().join("traces")).unwrap();
    let incident = "20261130T021500Z-street-panel-lost.osdpcap";
    fs::write(site.state_dir().join("traces").join(incident), "{\"of\":\"an incident\"}\n").unwrap();

    let file = site.path("support.tar.gz");
    let bundle = |site: &Site| {
        let mut command = site.command(["doctor", "--bundle", file.to_str().unwrap()]);
        let said = Ran::of(command.env("PATH", &path)).ok();
        assert!(said.contains("without secrets and names"), "{said}");
        unpacked(site, &file)
    };
    let files = bundle(&site);
    assert_clean(&files, token.trim());
    let swipes = |files: &[(String, String)]| -> Vec<Value> {
        let events = content(files, "events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap());
        events.filter(|event: &Value| event["type"] == "intercom.key.swiped").collect()
    };
    let told = swipes(&files);
    let key = |swipe: &Value| swipe["data"]["key"].as_str().unwrap().to_owned();
    assert_eq!(told.len(), 3);
    assert_eq!(told[0]["data"]["decision"], "granted");
    assert_eq!(
        (key(&told[0]), key(&told[0]) == key(&told[1])),
        (key(&told[2]), false),
        "the same for the same"
    );
    assert!(!told[0].to_string().contains("1234") && !told[0].to_string().contains("8801"), "{}", told[0]);
    for (name, words) in [
        ("config.toml", "[[panel]]\nname = \"entrance-1\""),
        ("report.json", "\"check\": \"panel entrance-1\""),
        ("metrics.txt", "intercom_gateway_panel_online{panel=\"entrance-1\""),
        ("log.txt", "INFO port is open bus=street"),
        ("system.txt", "Linux "),
        ("README.txt", "not in it: trace_file"),
        (&format!("traces/{incident}"), "an incident"),
        ("traces/street-lately.osdpcap", "the port is open"),
    ] {
        assert!(content(&files, name).contains(words), "{words} in {name}: {}", content(&files, name));
    }
    let again = swipes(&bundle(&site));
    assert_ne!(key(&again[0]), key(&told[0]), "another key for each bundle");

    daemon.stop();
    let alone = bundle(&site);
    assert_clean(&alone, token.trim());
    assert_eq!(swipes(&alone).len(), 3);
    let read_me = content(&alone, "README.txt");
    assert!(read_me.contains("not in it: metrics.txt: no daemon is running"));
    assert!(read_me.contains("what went over bus street lately: no daemon is running"), "{read_me}");
}

/// The bytes of a recording of a bundle that was unpacked, as they were on the line.
fn on_the_line(site: &Site, name: &str) -> Vec<Vec<u8>> {
    let bytes = fs::read(site.path("unpacked/intercom-gateway/traces").join(name)).unwrap();
    if name.ends_with(".pcap") {
        return vec![bytes];
    }
    let text = String::from_utf8(bytes).unwrap();
    let record = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        hex::decode(record["data"].as_str().unwrap().replace(' ', "")).unwrap()
    };
    text.lines().map(record).collect()
}

fn panel_keys(site: &Site, panel: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(site.state_dir().join(format!("panels/{panel}.json"))).unwrap();
    let words = text.split(|letter: char| !letter.is_ascii_hexdigit());
    words.filter(|word| word.len() == 32).map(|word| hex::decode(word).unwrap()).collect()
}

/// In plaintext, in a pairing and on a Modbus line, each recorded with its keys at the same time.
#[test]
fn what_went_over_the_lines_lately_is_in_it_and_opens_nothing() {
    let site = Site::new(&format!(
        "{}\n[[bus]]\nname = \"street\"\nport = \"{{dir}}/street\"\nprotocol = \"osdp\"\n\
         trace_file = \"{{dir}}/state/street.osdpcap\"\ntrace_keys = true\n\
         [[panel]]\nname = \"plain\"\nintercom = 1\nbus = \"street\"\naddress = 1\nlock = {{ output = 0 }}\n\
         secure_channel = \"off\"\n\
         [[panel]]\nname = \"paired\"\nintercom = 1\nbus = \"street\"\naddress = 2\nsecure_channel = \"install\"\n",
        recorded_modbus_door("trace_keys = true", "")
    ));
    let panels = Panels::start(&site, false);
    site.import(7, &[flat()]).ok();
    let mut daemon = Daemon::start(&site);
    for panel in ["plain", "paired", "door"] {
        daemon.events(&site, 1).wait_panel("intercom.panel.online", panel);
    }
    let mut events = daemon.events(&site, 1);
    for (panel, card) in [("plain", KNOWN), ("plain", UNKNOWN), ("paired", KNOWN), ("door", KNOWN)] {
        panels.card(panel, card);
    }
    for _ in 0..4 {
        events.wait_type("intercom.key.swiped");
    }
    panels.act("plain", Action::Keys(Keys(b"8642975#".to_vec())));
    events.wait_type("intercom.keypad.entered");

    let file = site.path("support.tar.gz");
    let mut files = Vec::new();
    wait_until("what was typed is in the bundle", || {
        Ran::of(&mut site.command(["doctor", "--bundle", file.to_str().unwrap()])).ok();
        files = unpacked(&site, &file);
        let typed = content(&files, "traces/street-lately.osdpcap");
        typed.contains(" 53 00 08 30 30 30 30 30 30 30 ")
            || typed.contains(" 53 00 08 30 30 30 30 30 30 30 30")
    });
    let secrets: Vec<Vec<u8>> = [KNOWN, UNKNOWN].map(|card| hex::decode(card).unwrap()).into();
    let secrets = [secrets, vec![b"8642975".to_vec()], panel_keys(&site, "paired")].concat();
    assert!(secrets.len() > 3, "no key of the panel that was paired");
    for name in ["street-lately.osdpcap", "basement-lately.pcap"] {
        for bytes in on_the_line(&site, name) {
            for secret in &secrets {
                let is_there = bytes.windows(secret.len()).any(|window| window == secret);
                assert!(!is_there, "{} is in {name}", hex::encode(secret));
            }
        }
    }
    // What was recorded with keys is where it was, and nowhere else.
    let with_keys = fs::read_to_string(site.state_dir().join("street.osdpcap")).unwrap().replace(' ', "");
    assert!(with_keys.contains(&KNOWN.to_lowercase()));
    assert!(content(&files, "README.txt").contains("not in it: trace_file"));
    assert!(files.iter().all(|(_, text)| !text.replace(' ', "").contains(&KNOWN.to_lowercase())));
    // And it is good for something.
    let street = content(&files, "traces/street-lately.osdpcap");
    for words in ["\"redacted\":true", "a session under the default key begins", "exchanges without news"] {
        assert!(street.contains(words), "{words}: {street}");
    }
    let unpacked = site.path("unpacked/intercom-gateway/traces/street-lately.osdpcap");
    let decoded = site.run(["decode", unpacked.to_str().unwrap()]).ok();
    assert!(decoded.contains("RAW") && decoded.contains("OUT") && !decoded.contains("KEYSET"), "{decoded}");
    daemon.stop();
}
