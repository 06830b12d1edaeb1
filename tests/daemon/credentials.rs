//! Secrets as the shipped unit hands them over: each file of a folder, by its name behind a prefix. What is missing among
//! them is the fault of whatever needs it, and no reason for the doors to stay shut.

use intercom_gateway::{
    config::{Config, Environment},
    domain::HealthCode,
};

use crate::support::{
    Daemon, Site,
    flats::{self, KNOWN},
    mosquitto::Mosquitto,
    simulated::Panels,
    site::Ran,
};

const KEY: &str = "d459f02f6602e5651f3b553bc283d43e";

/// Two entrances on a line and an uplink, each with a credential of its own.
fn site(broker: &Mosquitto) -> Site {
    let mut text = format!(
        "[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\nusername = \"test\"\npassword_file = \"credential:mqtt-password\"\n\
         [[intercom]]\nid = 1\n[[bus]]\nname = \"street\"\nport = \"{{dir}}/street\"\nprotocol = \"osdp\"\n",
        broker.port
    );
    for (address, name) in ["front", "back"].iter().enumerate() {
        text.push_str(&format!(
            "[[panel]]\nname = \"{name}\"\nintercom = 1\nbus = \"street\"\naddress = {address}\n\
             lock = {{ output = 0 }}\nsecure_key_file = \"credential:{name}\"\n"
        ));
    }
    let site = Site::new(&text);
    std::fs::create_dir(site.path("handed over")).unwrap();
    site.import(57, &[flats::known()]).ok();
    site
}

#[test]
fn missing_ones_are_told_and_the_doors_whose_keys_are_there_open() {
    let broker = Mosquitto::open();
    let site = site(&broker);
    let folder = site.path("handed over");
    let token = site.run(["token", "add", "installer"]).ok();

    // The simulated panels know their keys from the same folder.
    for panel in ["front", "back"] {
        std::fs::write(folder.join(format!("secrets_{panel}")), KEY).unwrap();
    }
    let environment = Environment::empty("test").with("CREDENTIALS_DIRECTORY", folder.to_str().unwrap());
    let config = Config::load_with(&site.config_path(), &environment).unwrap();
    let panels = Panels::start_configured(&config, false, |_| true);
    std::fs::remove_file(folder.join("secrets_back")).unwrap();

    let refused = Ran::of(site.command(["check"]).env("CREDENTIALS_DIRECTORY", &folder)).failed(2);
    for (setting, name) in [("panel.secure_key_file", "back"), ("mqtt.password_file", "mqtt-password")] {
        let finding =
            format!("{setting}: there is no credential {name}: neither {name} nor secrets_{name} is in");
        assert!(refused.contains(&finding), "{finding}: {refused}");
    }
    assert!(!refused.contains("front") && !refused.contains("only be read under systemd"), "{refused}");

    let mut daemon = Daemon::spawn(site.command(["run"]).env("CREDENTIALS_DIRECTORY", &folder));
    let mut events = daemon.events(&site, 1);
    events.wait_panel("intercom.panel.online", "front");
    panels.card("front", KNOWN);
    panels.wait_opened("front");
    daemon.wait_reason(token.trim(), HealthCode::PanelKey, |reason| reason["panel"] == "back");
    daemon.wait_reason(token.trim(), HealthCode::Broker, |reason| {
        let said = reason["message"].as_str().unwrap();
        said.contains("there is no credential mqtt-password") && said.contains("secrets_mqtt-password")
    });
    daemon.log.wait("which key is missing", |line| {
        (line.contains("ERROR") && line.contains("secrets_back")).then_some(())
    });

    // Secrets are read for each connection.
    std::fs::write(folder.join("secrets_mqtt-password"), "any\n").unwrap();
    daemon.log.wait("the connection", |line| line.contains("connected to the broker").then_some(()));
    daemon.stop();
}
