//! A disk that hangs: reading one database does not return until it is healed. The doors do not wait for it, and health
//! names what is missing.

use std::{fs, thread, time::Duration};

use intercom_gateway::{clock, domain::HealthCode};
use serde_json::Value;

use crate::{
    plan::{Before, Fault},
    run::{OPENS, PANEL, Templates, Told, opens, sick, site},
    support::{Daemon, Site, flats::KNOWN, shim, simulated::Panels},
};

struct Place {
    site: Site,
    panels: Panels,
    daemon: Daemon,
    token: String,
    _shim: tempfile::TempDir,
}

impl Place {
    fn start(file: &'static str) -> Self {
        let shims = tempfile::tempdir().unwrap();
        let shim = shim::compile("sick_disk.c", shims.path());
        let templates = Templates::make();
        let site = site();
        templates.lay(Before::Ended, &site.state_dir());
        let panels = Panels::start(&site, true);
        let daemon = Daemon::spawn(&mut sick(&site, &shim, &Fault::hangs(file).to_string()));
        Self { site, panels, daemon, token: templates.token().to_owned(), _shim: shims }
    }

    fn heal(&self) {
        fs::write(self.site.path("healed"), "").unwrap();
        let end = clock::mono() + OPENS;
        while self.daemon.health()["status"] != "ok" {
            assert!(clock::mono() < end, "{}", self.daemon.health_for(&self.token));
            thread::sleep(Duration::from_millis(200));
        }
    }
}

#[test]
fn doors_do_not_wait_for_a_journal_whose_disk_hangs() {
    let place = Place::start("/journal.db");
    opens(&place.panels, OPENS).unwrap();
    place.daemon.wait_health(HealthCode::JournalOpening);
    place.heal();
    let unlocked = |event: Value| event["type"] == "intercom.door.unlocked";
    // Of this run, and of the one that the directory was made by.
    let end = clock::mono() + OPENS;
    while Told::default().listen(&place.site).filter(|event| unlocked(event.clone())).count() < 3 {
        assert!(clock::mono() < end, "what happened meanwhile is not recorded");
        thread::sleep(Duration::from_millis(200));
    }
    place.daemon.stop();
}

#[test]
fn health_names_the_flats_while_their_disk_hangs() {
    let place = Place::start("/cache.db");
    let is_of_flats = |reason: &Value| {
        reason["message"].as_str().is_some_and(|text| text.contains("the flats are being opened"))
    };
    place.daemon.wait_reason(&place.token, HealthCode::Storage, is_of_flats);
    // The line is polled all the same.
    place.panels.try_card(PANEL, KNOWN);
    place.panels.wait_read(PANEL);
    place.heal();
    opens(&place.panels, OPENS).unwrap();
    place.daemon.stop();
}
