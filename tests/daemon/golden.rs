//! State directories as versions of this program left them (tests/data/state_*): each is opened by this version and by
//! every later one, and nothing in it is lost. A later version's directory costs no door and no file either.

#[path = "golden/directory.rs"]
pub(crate) mod directory;
#[path = "golden/making.rs"]
mod making;

use std::{collections::BTreeSet, fs, path::Path};

use intercom_gateway::{commissioning::Record, config::Config, domain::Name, store::Store};
use rusqlite::Connection;
use serde_json::Value;

use self::directory::{COMMANDS, Golden, configure, dump, files, found, open};
use super::sick::opens;
use crate::support::{Daemon, Site, simulated::Panels, wait_until};

/// What this version writes. A version that writes something else gives this the name of a directory of its own: those
/// that are there stay as they are.
const CURRENT: &str = "state_2026_11_30_form";

const DOOR: &str = "/api/admin/v1/intercoms/1/open-door";
const DATABASES: [&str; 2] = ["journal.db", "cache.db"];

/// Switches the panel on: it talks to those alone who have the key of then.
fn panels(golden: &Golden, site: &Site) -> Panels {
    site.write("panel_key", &golden.made("panel_key"));
    let gateway = fs::read_to_string(site.config_path()).unwrap();
    let required = "secure_channel = \"required\"\nsecure_key_file = \"panel_key\"";
    let building = gateway.replace("secure_channel = \"install\"", required);
    assert_ne!(building, gateway);
    let config = Config::load(&site.write("building.toml", &building)).unwrap();
    Panels::start_configured(&config, false, |_| true)
}

fn gateway_of(site: &Site) -> Name {
    site.config().gateway.id
}

/// Returns the last sequence of the events that are kept.
fn last(golden: &Golden) -> u64 {
    let rest: Value = serde_json::from_str(&golden.text("rest.json")).unwrap();
    rest["position"]["last"].as_u64().unwrap()
}

/// Makes of a database what the next version might make of it. Returns it as text.
fn becomes_newer(database: &Path, table: &str) -> String {
    let connection = Connection::open(database).unwrap();
    let known: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let next = known + 1;
    let sql = format!(
        "PRAGMA user_version = {next}; CREATE TABLE of_the_future (x TEXT);
         INSERT INTO of_the_future VALUES ('later'); ALTER TABLE {table} ADD COLUMN later TEXT;
         UPDATE {table} SET later = 'later';"
    );
    connection.execute_batch(&sql).unwrap();
    drop(connection);
    dump(database)
}

/// Returns the text with a word in place of the identities of journals, which are random.
fn without_identities(golden: &Path, text: &str) -> String {
    let rest: Value = serde_json::from_str(&fs::read_to_string(golden.join("rest.json")).unwrap()).unwrap();
    let all = rest["kept"].as_array().unwrap().iter().chain([&rest["position"]]);
    all.fold(text.to_owned(), |text, position| text.replace(position["journal"].as_str().unwrap(), "JOURNAL"))
}

#[test]
fn this_version_has_left_a_directory() {
    let made = making::make();
    let golden = Golden::named(CURRENT);
    if std::env::var_os("BLESS").is_some() && !golden.0.exists() {
        for name in files(made.path()) {
            let path = golden.0.join(&name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::copy(made.path().join(&name), path).unwrap();
        }
    }
    let is_another = format!(
        "this version writes something else than {CURRENT}, which others have on their disks: give the constant \
         another name, and BLESS=1 cargo test --test daemon golden makes that directory"
    );
    assert!(golden.0.exists(), "{is_another}");
    let names =
        |dir: &Path| files(dir).iter().map(|name| without_identities(dir, name)).collect::<BTreeSet<_>>();
    assert_eq!(names(made.path()), names(&golden.0), "{is_another}");
    let size: u64 = files(&golden.0).iter().map(|name| golden.0.join(name).metadata().unwrap().len()).sum();
    assert!(size < 60_000, "{size} bytes");
    for name in files(made.path()) {
        // Tokens, keys and certificates are random.
        if name.ends_with(".pem") || ["made.json", "state/tokens.json"].contains(&name.as_str()) {
            continue;
        }
        let text = without_identities(made.path(), &fs::read_to_string(made.path().join(&name)).unwrap());
        let mut kept = files(&golden.0).into_iter();
        let kept =
            kept.find(|kept| without_identities(&golden.0, kept) == without_identities(made.path(), &name));
        let kept = without_identities(&golden.0, &golden.text(&kept.unwrap()));
        if name.starts_with("state/panels/") {
            let members = |text: &str| text.matches(":").count();
            assert_eq!(members(&text), members(&kept), "{name}: {is_another}");
        } else {
            assert_eq!(text, kept, "{name}: {is_another}");
        }
    }
}

#[test]
fn everything_in_a_kept_directory_is_found() {
    for golden in Golden::all() {
        let site = golden.restored();
        for (name, text) in found(&site.state_dir(), &gateway_of(&site)) {
            assert_eq!(text, golden.text(name), "{}: {name}", golden.0.display());
        }
    }
}

#[test]
fn a_kept_record_of_commissioning_is_read() {
    let files = Golden::all().into_iter().map(|golden| golden.0.join("state/commissioning.json"));
    let files: Vec<_> = files.filter(|file| file.exists()).collect();
    assert!(!files.is_empty());
    for file in files {
        let kept = fs::read(&file).unwrap();
        assert_eq!(Record::of_file(&kept).unwrap().to_file(), kept, "{}", file.display());
    }
}

#[test]
fn the_daemon_goes_on_with_a_kept_directory() {
    for golden in Golden::all() {
        eprintln!("{}", golden.0.display());
        let site = golden.restored();
        let before = files(&site.state_dir());
        let panels = panels(&golden, &site);
        let mut daemon = Daemon::start(&site);
        assert_eq!(making::key_fingerprint(&mut daemon), golden.made("key_fingerprint"));
        let mut events = daemon.events(&site, last(&golden) + 1);
        events.wait_panel("intercom.panel.secured", "entrance-1");
        events.wait_panel("intercom.panel.online", "entrance-1");
        opens(&panels);
        events.wait("the swipe", |event| {
            event["type"] == "intercom.key.swiped"
                && event["data"]["decision"] == "granted"
                && event["dataschema"] == "urn:intercom-gateway:event:1"
        });
        daemon.stop();

        let plain = fs::read_to_string(site.config_path()).unwrap();
        configure(&site, &plain.replace("tls = \"self-signed\"", "tls = \"off\""));
        let daemon = Daemon::start(&site);
        let flats: Value = serde_json::from_str(&golden.text("flats.json")).unwrap();
        for (token, read, opening) in [("full", 200, 204), ("read_only", 200, 403), ("panel_key", 401, 401)] {
            let token = golden.made(token);
            let (mut status, mut flat) = (503, Value::Null);
            wait_until("the databases are open", || {
                (status, flat) = daemon.ask("GET", "/api/admin/v1/intercoms/1/flats/1", &token);
                status != 503
            });
            assert_eq!(status, read);
            assert!(status != 200 || flat["keys"] == flats["flats"][0]["keys"], "{flat}");
            // Until the link is up again it says that the panel is not there.
            wait_until(&format!("an opening is answered by {opening}"), || {
                daemon.ask("POST", DOOR, &token).0 == opening
            });
        }
        daemon.stop();

        let events = site.run(["journal", "--json"]).ok();
        assert!(events.starts_with(&golden.text("events.jsonl")), "they stay byte for byte");
        let after = files(&site.state_dir());
        assert!(before.iter().all(|name| after.contains(name)), "{before:?} became {after:?}");
    }
}

#[test]
fn what_a_later_version_wrote_opens_the_door_and_is_given_back_to_it() {
    for golden in Golden::all() {
        eprintln!("{}", golden.0.display());
        let site = golden.restored();
        let state = site.state_dir();
        // This version's schema first.
        open(&state).shutdown();
        let newer = [("journal.db", "events"), ("cache.db", "flats")]
            .map(|(name, table)| becomes_newer(&state.join(name), table));
        let before = files(&state);
        let bytes = DATABASES.map(|name| fs::read(state.join(name)).unwrap());

        let panels = panels(&golden, &site);
        let mut daemon = Daemon::start(&site);
        let mut events = daemon.events(&site, 1);
        events.wait_panel("intercom.panel.secured", "entrance-1");
        opens(&panels);
        daemon.stop();
        let known = Store::open_read_only(&state).unwrap();
        for id in COMMANDS {
            assert!(known.journal().command(id).unwrap().is_some(), "none may be obeyed twice");
        }
        drop(known);

        let after = files(&state);
        let aside = DATABASES.map(|name| {
            let mut aside = after.iter().filter(|file| file.starts_with(&format!("{name}.newer-")));
            let found = aside.next().unwrap_or_else(|| panic!("{name} in {after:?}"));
            assert_eq!(aside.next(), None);
            found
        });
        for ((name, aside), bytes) in DATABASES.iter().zip(aside).zip(&bytes) {
            assert!(fs::read(state.join(aside)).unwrap() == *bytes, "{name} is kept as it was");
        }
        assert!(before.iter().all(|name| after.contains(name)), "{before:?} became {after:?}");

        // What was recorded meanwhile goes out of the way, and the later version has its own again.
        for ((name, aside), newer) in DATABASES.iter().zip(aside).zip(&newer) {
            for file in after.iter().filter(|file| file.starts_with(name) && *file != aside) {
                fs::rename(state.join(file), state.join(format!("meanwhile-{file}"))).unwrap();
            }
            fs::rename(state.join(aside), state.join(name)).unwrap();
            assert!(dump(&state.join(name)) == *newer, "{name} is what the later version wrote");
            assert!(newer.contains("INSERT INTO of_the_future VALUES ('later')"));
        }
    }
}
