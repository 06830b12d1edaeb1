//! `backup` and `restore`: what a dead SD card would lose comes back on another one, whole or not at all.

#[path = "../support/mod.rs"]
mod support;

mod configuration;
mod kills;
mod refusals;
mod story;

use std::{fs, path::Path, process::Command};

use support::{Site, flats, site::ENTRANCE, site::Ran};

const PASSPHRASE: &str = "correct horse battery staple";

/// An entrance whose panel gets its own key by pairing, on the line at `port`.
fn entrance_on(port: &Path) -> String {
    let port = port.to_str().unwrap();
    let entrance = ENTRANCE.replace("{dir}/street", port);
    format!("{entrance}lock = {{ output = 0 }}\nsecure_channel = \"install\"\n")
}

/// A gateway with one flat, one token and one panel key, which no daemon has touched.
fn full(revision: u64) -> Site {
    let site = Site::new(ENTRANCE);
    site.import(revision, &[flats::known()]).ok();
    site.run(["token", "add", &format!("token-{revision}")]).ok();
    fs::create_dir(site.path("state/panels")).unwrap();
    fs::write(site.path("state/panels/entrance-1.json"), panel_key(revision)).unwrap();
    site
}

/// What is kept of a panel whose key is made of one number.
fn panel_key(number: u64) -> String {
    format!(
        "{{\"serial\":{number},\"key\":{{\"scbk\":\"{number:032x}\",\"sha256\":\"\",\"proven\":true}},\"keysets\":0}}"
    )
}

/// Runs `backup` or `restore` with the passphrase of these tests.
fn sealed<'a>(site: &Site, words: impl IntoIterator<Item = &'a str>) -> Command {
    let passphrase = site.write("passphrase", &format!("{PASSPHRASE}\n"));
    let mut command = site.command(words);
    command.arg("--passphrase-file").arg(passphrase);
    command
}

fn backup(site: &Site, to: &Path) -> Ran {
    Ran::of(sealed(site, ["backup"]).arg(to))
}

fn restore(site: &Site, from: &Path) -> Ran {
    Ran::of(sealed(site, ["restore"]).arg(from))
}

/// What a restore is about, as it is in force: the flats, the tokens' names, the panel's key.
fn in_force(site: &Site) -> [String; 3] {
    let tokens = site.run(["token", "list"]).ok();
    let names =
        tokens.lines().filter_map(|line| line.split_whitespace().next()).collect::<Vec<_>>().join(" ");
    let flats =
        if site.path("state/cache.db").exists() { site.run(["export", "-"]).ok() } else { String::new() };
    let key = fs::read_to_string(site.path("state/panels/entrance-1.json")).unwrap_or_default();
    [flats, names, key]
}

/// The journal's identity.
fn journal(site: &Site) -> String {
    intercom_gateway::store::Store::open_read_only(&site.state_dir())
        .unwrap()
        .journal()
        .position_on_disk()
        .unwrap()
        .journal
        .to_string()
}

/// The digest of the flats and their revision.
fn digest(site: &Site) -> (Option<u64>, String) {
    let store = intercom_gateway::store::Store::open_read_only(&site.state_dir()).unwrap();
    let state = store.cache().state_on_disk().unwrap();
    (state.revision, state.digest)
}
