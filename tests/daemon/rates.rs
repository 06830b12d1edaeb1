//! A line with `baud = "auto"`: raised while doors go on, and found again after a restart, with and without what was kept.

use std::fs;

use crate::support::{
    Daemon, Site,
    flats::{self, KNOWN},
    lines::wait_until,
    simulated::Panels,
    site::ENTRANCE,
};

const BUS: &str = "protocol = \"osdp\"";

#[test]
fn a_line_is_raised_while_doors_open_and_found_again() {
    assert!(ENTRANCE.contains(BUS));
    let building = ENTRANCE.replacen(BUS, &format!("{BUS}\nbaud = \"auto\""), 1);
    let site = Site::new(&format!("{building}lock = {{ output = 0 }}\nsecure_channel = \"install\"\n"));
    let token = site.run(["token", "add", "test"]).ok();
    let panels = Panels::start(&site, true);
    site.import(1, &[flats::known()]).ok();
    let mut daemon = Daemon::start(&site);
    daemon.events(&site, 1).wait_type("intercom.panel.online");
    wait_until("the line is raised", || daemon.baud(&token) >= 19_200);
    panels.card("entrance-1", KNOWN);
    panels.wait_opened("entrance-1");
    daemon.stop();
    for is_kept in [true, false] {
        if !is_kept {
            for file in ["cache.db", "cache.db-wal", "cache.db-shm"] {
                // The other two are gone after an orderly end.
                let _ = fs::remove_file(site.state_dir().join(file));
            }
            site.import(1, &[flats::known()]).ok();
        }
        let daemon = Daemon::start(&site);
        wait_until("the line is found", || daemon.baud(&token) >= 19_200);
        panels.card("entrance-1", KNOWN);
        panels.wait_opened("entrance-1");
        daemon.stop();
    }
}
