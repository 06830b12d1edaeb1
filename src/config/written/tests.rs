//! Single cases; random ones are in `random`.

use std::path::Path;

use super::*;
use crate::domain::Name;

/// A directory with a configuration.
pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        let file = self.0.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        self
    }

    /// This text as the main file, under the name `new.toml`.
    pub(super) fn written(&self, text: &str) -> Written {
        self.try_written(text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    fn try_written(&self, text: &str) -> Result<Written, String> {
        let main = self.0.path().join("gateway.toml");
        Written::with_main(&main, Path::new("new.toml"), text, &self.environment())
            .map_err(|errors| self.anonymous(&errors.to_string()))
    }

    /// One in which systemd hands over the files in `credentials`.
    fn environment(&self) -> Environment {
        Environment::empty("pi")
            .with("CREDENTIALS_DIRECTORY", self.0.path().join("credentials").to_str().unwrap())
    }

    pub(super) fn directory(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn anonymous(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }

    /// What `reload` would print of the way from one to the other.
    fn said(&self, old: &str, new: &str) -> Vec<String> {
        let changes = self.written(old).changes(&self.written(new));
        changes.iter().map(|change| self.anonymous(&change.to_string())).collect()
    }
}

const BUILDING: &str = r#"
[gateway]
id = "b"
[[intercom]]
id = 1
[[bus]]
name = "street"
port = "/dev/ttyS0"
protocol = "osdp"
[[panel]]
name = "entrance-1"
intercom = 1
bus = "street"
address = 0
lock = { output = 0 }
"#;

fn with(more: &str) -> String {
    format!("{BUILDING}{more}")
}

#[test]
fn a_change_is_a_line_with_both_values_and_the_place() {
    let files = Files::new();
    let new = BUILDING.replace("protocol = \"osdp\"", "protocol = \"osdp\"\nbaud = 19200");
    assert_eq!(files.said(BUILDING, &new), ["bus street: baud = 19200 instead of 9600 (new.toml:10)"]);
    assert_eq!(
        files.said(&new, BUILDING),
        ["bus street: baud = 9600 (default) instead of 19200 (new.toml:6)"]
    );

    let panel = "[[panel]]\nname = \"yard\"\nintercom = 1\nbus = \"street\"\naddress = 1\n";
    assert_eq!(files.said(BUILDING, &with(panel)), ["panel yard: new (new.toml:16)"]);
    assert_eq!(files.said(&with(panel), BUILDING), ["panel yard: removed"]);

    let mqtt = "[mqtt]\nurl = \"mqtts://broker\"\n";
    assert_eq!(files.said(BUILDING, &with(mqtt)), ["[mqtt]: new (new.toml:16)"]);
    assert_eq!(files.said(&with(mqtt), BUILDING), ["[mqtt]: removed"]);
    let user = format!("{mqtt}username = \"b\"\n");
    assert_eq!(
        files.said(&with(mqtt), &with(&user)),
        ["[mqtt]: username = \"b\", not set before (new.toml:18)"]
    );
    assert_eq!(files.said(&with(&user), &with(mqtt)), ["[mqtt]: username is no longer set; it was \"b\""]);

    let door = BUILDING.replace("lock = { output = 0 }", "door = { input = 1 }");
    assert_eq!(
        files.said(BUILDING, &door),
        ["panel entrance-1: door: new (new.toml:15)", "panel entrance-1: lock: removed"]
    );
    let open = BUILDING.replace("output = 0", "output = 0, open = \"500ms\"");
    assert_eq!(
        files.said(BUILDING, &open),
        ["panel entrance-1: lock.open = \"500ms\" instead of \"3s\" (new.toml:15)"]
    );
    assert_eq!(
        files.said(BUILDING, &BUILDING.replace("[gateway]", "[gateway]\ntimezone = \"Europe/Berlin\"")),
        ["[gateway]: timezone = \"Europe/Berlin\" instead of \"UTC\" (new.toml:3)"]
    );
}

#[test]
fn the_same_written_differently_is_no_change() {
    let files = Files::new();
    let modbus = "[[intercom]]\nid = 2\n[[bus]]\nname = \"lift\"\nport = \"tcp://h:1\"\nprotocol = \"modbus\"\n\
        [[panel]]\nname = \"m\"\nintercom = 2\nbus = \"lift\"\naddress = 1\nprofile = \"commutator-100\"\n";
    let old = with(&format!("{modbus}lines = {{ map = [[1, 1], [2, 3]] }}\n"));
    let explicit = BUILDING.replace("output = 0", "open = \"3000ms\", output = 0");
    let new = format!(
        "{modbus}lines.map = [ [2,3], [1,1] ]\nfeedback = true\n[http]\nlisten = \"0.0.0.0:8443\"\n{explicit}"
    );
    assert_eq!(files.said(&old, &new), [""; 0]);
}

#[test]
fn a_file_is_compared_as_it_was_when_it_was_loaded() {
    let files = Files::new();
    let profile = include_str!("../../../config/profiles/commutator-100.toml");
    files.write("profiles/mine.toml", profile);
    let modbus = "[[intercom]]\nid = 1\n[[bus]]\nname = \"lift\"\nport = \"tcp://h:1\"\nprotocol = \"modbus\"\n\
        [[panel]]\nname = \"m\"\nintercom = 1\nbus = \"lift\"\naddress = 1\nprofile = \"mine\"\n";
    let old = files.written(modbus);
    assert_eq!(old.changes(&files.written(modbus)), []);
    files.write("profiles/mine.toml", &profile.replace("name = \"commutator-100\"", "name = \"mine\""));
    let changes = old.changes(&files.written(modbus));
    let said: Vec<String> = changes.iter().map(|change| files.anonymous(&change.to_string())).collect();
    assert_eq!(said, ["panel m: profile = \"profiles/mine.toml\": what it names has changed (new.toml:12)"]);
}

#[test]
fn a_text_stands_in_place_of_the_main_file_alone() {
    let files = Files::new();
    files.write("gateway.toml", "[gateway]\nid = \"not-read\"\n").write(
        "gateway.toml.d/more.toml",
        "[[panel]]\nname = \"yard\"\nintercom = 1\nbus = \"street\"\naddress = 1\nsecure_key_file = \"key\"\n",
    );
    let text = BUILDING.replace("lock =", "secure_key_file = \"key\"\nlock =");
    let written = files.written(&text);
    let config = written.config();
    assert_eq!(config.gateway.id.as_str(), "b");
    let places = ["panel[0].name", "panel[1].name", "http.listen"].map(|path| config.place(path).to_string());
    assert_eq!(
        places.map(|place| files.anonymous(&place)),
        ["new.toml:11", "gateway.toml.d/more.toml:2", "new.toml"]
    );
    let keys = config
        .panels
        .iter()
        .map(|panel| files.anonymous(&panel.secure_key_file.clone().unwrap().to_string()));
    assert_eq!(keys.collect::<Vec<_>>(), ["key", "gateway.toml.d/key"]);

    let refused = |text: &str| files.try_written(text).unwrap_err();
    assert!(refused("[gateway]\nid = 1").contains("\nnew.toml:2: gateway.id: must be a text"));
    assert!(refused("[gateway").starts_with("new.toml:1: "));
    assert_eq!(
        refused(&with(&"#".repeat(1 << 20))),
        "new.toml: is above 1 MiB: this is no configuration and no profile"
    );
}

fn path(part: Part, key: &str) -> SettingPath {
    SettingPath::at(part, key)
}

fn panel(name: &str) -> Part {
    Part::Panel(Name::new(name).unwrap())
}

#[test]
fn what_is_held_back_keeps_its_value_its_place_and_its_directory() {
    let files = Files::new();
    files.write(
        "gateway.toml.d/more.toml",
        "[[panel]]\nname = \"yard\"\nintercom = 1\nbus = \"street\"\naddress = 1\nsecure_key_file = \"key\"\n",
    );
    let old = files.written(&with("[http]\nlisten = \"127.0.0.1:1\"\n"));
    std::fs::remove_file(files.0.path().join("gateway.toml.d/more.toml")).unwrap();
    let third = "[[panel]]\nname = \"third\"\nintercom = 1\nbus = \"street\"\naddress = 2\n";
    let new = files.written(&format!(
        "{third}{}",
        BUILDING.replace("output = 0", "output = 3").replace("[gateway]\nid = \"b\"\n", "")
    ));
    let held = [
        path(panel("entrance-1"), "lock.output"),
        path(panel("yard"), ""),
        path(panel("third"), ""),
        path(Part::Http, "listen"),
        path(Part::Gateway, "id"),
    ];
    let mixed = new.hold_back(&old, &held).unwrap();
    assert_eq!(old.changes(&mixed), []);
    let config = mixed.config();
    let names: Vec<&str> = config.panels.iter().map(|panel| panel.name.as_str()).collect();
    assert_eq!(names, ["entrance-1", "yard"]);
    let place = |path: &str| files.anonymous(&config.place(path).to_string());
    // "entrance-1" moved up with its places; line 15 is the old text's.
    assert_eq!(
        (place("panel[0].name"), place("panel[0].lock.output")),
        ("new.toml:14".into(), "new.toml:15".into())
    );
    assert_eq!(place("panel[1].address"), "gateway.toml.d/more.toml:5");
    let key = config.panels[1].secure_key_file.as_ref().unwrap().to_string();
    assert_eq!(files.anonymous(&key), "gateway.toml.d/key");
    assert_eq!(place("http.listen"), "new.toml:17");
    assert_eq!(config.panels[0].lock.unwrap().output, 0);

    let gone = files.written("[gateway]\nid = \"b\"\n");
    let errors = gone.hold_back(&old, &[path(panel("yard"), "")]).unwrap_err().to_string();
    assert!(errors.contains("there is no [[bus]] with the name street"), "{errors}");
    assert!(gone.hold_back(&old, &[path(panel("yard"), "address")]).unwrap().config().panels.is_empty());
}

/// What a plan applies, and what waits, with the reason.
fn planned(files: &Files, old: &str, new: &str) -> (Vec<String>, Vec<String>) {
    let plan = plan(&files.written(old), &files.written(new));
    let applied = plan.applied.iter().map(|change| change.at.to_string());
    let waiting = plan.waiting.iter().map(|(change, wait)| format!("{}: {wait}", change.at));
    (applied.collect(), waiting.collect())
}

#[test]
fn what_is_set_at_a_start_waits_for_the_next_one() {
    let files = Files::new();
    let restart = |at: &str| format!("{at}: needs a restart: systemctl restart intercom-gateway");
    let gateway = "id = \"c\"\nstate_dir = \"/tmp/x\"\nclock = \"trusted\"\ntimezone = \"Europe/Berlin\"";
    let new = BUILDING.replace("id = \"b\"", gateway);
    let (applied, waiting) = planned(&files, BUILDING, &new);
    assert_eq!(applied, ["gateway.timezone"]);
    assert_eq!(waiting, ["gateway.clock", "gateway.id", "gateway.state_dir"].map(restart));

    let more =
        with("[journal]\nkeep_days = 3\n[http]\nlisten = \"127.0.0.1:1\"\n[mqtt]\nurl = \"mqtts://a\"\n");
    let (applied, waiting) = planned(&files, BUILDING, &more);
    assert_eq!(
        (applied, waiting),
        (vec!["http.listen".into()], ["journal.keep_days", "mqtt"].map(restart).into())
    );
    let (applied, waiting) = planned(&files, &more, &more.replace("mqtts://a", "mqtts://b"));
    assert_eq!((applied, waiting), (vec!["mqtt.url".into()], vec![]));
    assert_eq!(planned(&files, &more, BUILDING).1, ["journal.keep_days", "mqtt"].map(restart));
}

#[test]
fn a_panel_waits_for_the_credential_that_systemd_has_not_handed_over() {
    let files = Files::new();
    let key = |name: &str| {
        BUILDING.replace(
            "lock = { output = 0 }",
            &format!("lock = {{ output = 1 }}\nsecure_key_file = \"credential:{name}\""),
        )
    };
    let wait = |at: &str| {
        format!(
            "{at}: needs a restart, at which systemd hands over the credential one: systemctl restart intercom-gateway"
        )
    };
    let (applied, waiting) = planned(&files, BUILDING, &key("one"));
    assert_eq!(
        (applied.len(), waiting),
        (0, vec![wait("panel[entrance-1].lock.output"), wait("panel[entrance-1].secure_key_file")])
    );
    // It was missing before: it is not news, and `check` complains of it.
    let more = format!("{}feedback = false\n", key("one"));
    assert_eq!(planned(&files, &key("one"), &more).1, [""; 0]);
    files.write("credentials/secrets_one", "");
    assert_eq!(planned(&files, BUILDING, &key("one")).1, [""; 0]);

    let mqtt = with("[mqtt]\nurl = \"mqtts://a\"\nusername = \"u\"\n");
    let new = mqtt.replace("//a", "//b") + "password_file = \"credential:pw\"\nca_file = \"credential:ca\"\n";
    let (applied, waiting) = planned(&files, &mqtt, &new);
    assert_eq!((applied.len(), waiting.len()), (0, 3), "the new broker is not told the old password");
    let tls = with(
        "[http]\nlisten = \"127.0.0.1:1\"\ntls = \"files\"\ncert_file = \"c\"\nkey_file = \"credential:tls\"\n",
    );
    let (applied, waiting) = planned(&files, BUILDING, &tls);
    assert_eq!((applied.len(), waiting.len()), (0, 4), "the endpoint does not move without its key");
}

#[test]
fn what_is_not_valid_without_what_waits_waits_too() {
    let files = Files::new();
    let moved = BUILDING
        .replace("street", "yard")
        .replace("lock =", "secure_key_file = \"credential:none\"\nlock =")
        .replace("id = \"b\"", "id = \"b\"\ntimezone = \"Europe/Berlin\"");
    let (applied, waiting) = planned(&files, BUILDING, &moved);
    assert_eq!(applied, ["gateway.timezone"]);
    let together = |at: &str| format!("{at}: goes with what needs a restart");
    assert_eq!(waiting[..2], [together("bus[street]"), together("bus[yard]")]);
    assert!(
        waiting[2..]
            .iter()
            .all(|line| line.starts_with("panel[entrance-1].") && line.contains("credential none"))
    );

    // A name of the host's cannot stand in for the id where there is an uplink: the uplink waits, and so does the id.
    let none = BUILDING.replace("id = \"b\"", "");
    let (applied, waiting) = planned(&files, &with("[mqtt]\nurl = \"mqtts://a\"\n"), &none);
    assert_eq!((applied.len(), waiting.len()), (0, 2));
}
