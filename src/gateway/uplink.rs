//! The uplink as configured, and what it is shown of the building.

use std::{path::Path, sync::Arc};

use tokio::sync::watch;

use super::{
    VERSION,
    base::Base,
    configured::Configured,
    following::follow,
    units::{Beat, Kind, Part, Units},
};
use crate::{
    bus::Buses,
    cloud::{
        self, Confirm, Handles, PageAddress, Secrets, Settings,
        command::Performer,
        message::{Building, Bus, Intercom, Place},
        signature::Signatures,
    },
    config::{self, Config, Mqtt, SecretFile},
    domain::{Health, LineStatus, Name, SyncStatus, UplinkStatus, with_causes},
    doors::Flats,
    sys,
    tls::{self, Pem},
};

/// Which retained topics the broker has of us, in the state directory.
const RETAINED: &str = "retained.json";

/// Parts of an unfinished snapshot; the file has no name while it is in use.
const PARTS: &str = "sync.parts";

/// What the uplink shares with the rest.
pub struct Parts<'a> {
    pub base: &'a Base,
    pub buses: &'a Buses,
    pub flats: Flats,
    pub health: watch::Receiver<Health>,
    pub perform: Performer,
}

/// Starts the uplink where the configuration has one, and what shows it the building; it ends after `stop`.
pub fn start(
    units: &Units,
    parts: Parts<'_>,
    uplink: watch::Sender<UplinkStatus>,
    sync: watch::Sender<SyncStatus>,
    stop: watch::Receiver<bool>,
) {
    let Base { config, clock, store, .. } = parts.base;
    if config.now().mqtt.is_none() {
        return;
    }
    let panels = follow(units, Part::UplinkPanels, parts.buses, |bus| bus.status.clone(), Buses::panels);
    let lines = follow(units, Part::UplinkLines, parts.buses, |bus| bus.lines.clone(), line_statuses);
    let kind = Kind::from(Part::SyncThread);
    let worker = Beat::new(kind.name());
    let (shows, shown) = watch::channel(building(&config.now()));
    let handles = Handles {
        journal: store.journal(),
        cache: store.cache(),
        flats: parts.flats,
        panels,
        lines,
        building: shown,
        health: parts.health,
        perform: parts.perform,
        clock: clock.clone(),
        uplink,
        sync,
        // Replaced by that of the unit.
        beat: Arc::default(),
        worker_beat: worker.cell(),
    };
    let config = config.clone();
    units.spawn(Part::Uplink, |beat| async move {
        let handles = Handles { beat: beat.cell(), ..handles };
        run(&config, handles, &shows, stop).await;
    });
    // A panic of it is the end of the uplink. The cell is theirs and the table's: at last it is the table's alone.
    let cell = Arc::downgrade(&worker.cell());
    let has_ended = move || cell.strong_count() <= 1;
    units.add(kind, worker, has_ended);
}

/// Runs the uplink as the configuration says at the time, until `stop`. Another broker is another session with its own
/// good-bye; all else that changes of the building is shown in the running one.
async fn run(
    config: &Configured,
    handles: Handles,
    shows: &watch::Sender<Building>,
    mut stop: watch::Receiver<bool>,
) {
    let mut changes = config.watch();
    loop {
        let running = changes.borrow_and_update().clone();
        shows.send_replace(building(&running));
        let Some(mqtt) = &running.mqtt else { return };
        let (end, ends) = watch::channel(false);
        let mut session = std::pin::pin!(cloud::run(settings(&running, mqtt), handles.clone(), ends));
        let ended = loop {
            tokio::select! {
                ended = &mut session => break ended,
                // An error: nobody is left who could say so.
                _ = stop.wait_for(|stop| *stop), if !*end.borrow() => drop(end.send_replace(true)),
                Ok(()) = changes.changed(), if !*end.borrow() => {
                    let config = changes.borrow_and_update().clone();
                    if config.mqtt == running.mqtt {
                        shows.send_replace(building(&config));
                    } else {
                        end.send_replace(true);
                    }
                }
            }
        };
        if let Err(error) = &ended {
            tracing::error!("the uplink ended badly: {}", with_causes(error.as_ref()));
        }
        let is_over = *stop.borrow() || stop.has_changed().is_err();
        if ended.is_err() || is_over || !*end.borrow() {
            return;
        }
    }
}

fn settings(config: &Config, mqtt: &Mqtt) -> Settings {
    let (secrets, gateway) = (mqtt.clone(), config.gateway.id.clone());
    Settings {
        gateway: config.gateway.id.clone(),
        host: mqtt.broker.host.clone(),
        port: mqtt.broker.port,
        username: mqtt.username.clone(),
        secrets: Arc::new(move || {
            read_secrets(&secrets, &gateway).map_err(|error| with_causes(error.as_ref()))
        }),
        topic_prefix: mqtt.topic_prefix.clone(),
        confirm: match mqtt.confirm {
            config::Confirm::Broker => Confirm::Broker,
            config::Confirm::Cloud => Confirm::Cloud,
        },
        home_assistant: mqtt.home_assistant,
        page: page(&config.http),
        version: VERSION.to_owned(),
        retained_file: config.gateway.state_dir.join(RETAINED),
        parts_file: config.gateway.state_dir.join(PARTS),
    }
}

/// Returns what tells where a browser on another machine finds the installer's page.
fn page(http: &config::Http) -> PageAddress {
    let (listen, scheme) = (http.listen, http.scheme());
    Arc::new(move || {
        let mut addresses = sys::reached_at(listen).into_iter();
        addresses.find(|address| !address.ip().is_loopback()).map(|address| format!("{scheme}://{address}/"))
    })
}

/// Reads what the uplink's secrets are in. Blocks.
///
/// # Errors
/// A file cannot be read, or holds something else.
pub(super) fn read_secrets(mqtt: &Mqtt, gateway: &Name) -> anyhow::Result<Secrets> {
    let signatures = match &mqtt.signing_key_file {
        Some(file) => Signatures::required(file.read_signing_keys()?, gateway.clone()),
        None => Signatures::default(),
    };
    let password = mqtt.password_file.as_ref().map(config::SecretFile::read_text).transpose()?;
    if !mqtt.broker.tls {
        return Ok(Secrets { password, tls: None, signatures });
    }
    let pem = |key: &str, file: &SecretFile| {
        anyhow::Ok(Pem::new(format!("{file} as {key} of [mqtt]"), file.read()?))
    };
    let roots = mqtt.ca_file.as_ref().map(|file| pem("ca_file", file)).transpose()?;
    let own = mqtt
        .client_certificate
        .as_ref()
        .map(|files| anyhow::Ok((pem("cert_file", &files.cert_file)?, pem("key_file", &files.key_file)?)));
    let own = own.transpose()?;
    let tls = tls::client_config(roots.as_ref(), own.as_ref().map(|(chain, key)| (chain, key)))?;
    Ok(Secrets { password, tls: Some(tls), signatures })
}

fn building(config: &Config) -> Building {
    Building {
        intercoms: config
            .intercoms
            .iter()
            .map(|intercom| Intercom { id: intercom.id, name: intercom.name.clone() })
            .collect(),
        buses: config
            .buses
            .iter()
            .map(|bus| Bus {
                name: bus.name.clone(),
                protocol: match bus.protocol {
                    config::Protocol::Osdp => "osdp".to_owned(),
                    config::Protocol::Modbus => "modbus".to_owned(),
                },
                port: match &bus.port {
                    config::Port::Tty(path) => Path::display(path).to_string(),
                    config::Port::Tcp { host, port } => format!("tcp://{host}:{port}"),
                },
                baud: Some(bus.baud),
            })
            .collect(),
        panels: config
            .panels
            .iter()
            .map(|panel| Place {
                panel: panel.name.clone(),
                intercom: panel.intercom,
                bus: panel.bus.clone(),
                address: panel.address,
                profile: panel.modbus.as_ref().map(|modbus| modbus.profile.name.clone()),
                has_reader: match &panel.modbus {
                    Some(modbus) => modbus.profile.keys.is_some(),
                    None => true,
                },
                has_contact: match &panel.modbus {
                    Some(modbus) => modbus.profile.door.is_some_and(|door| door.contact.is_some()),
                    None => panel.door.is_some_and(|door| door.input.is_some()),
                },
                lines: panel
                    .modbus
                    .iter()
                    .flat_map(|modbus| modbus.lines.iter().map(|(_, flat)| *flat))
                    .collect(),
            })
            .collect(),
    }
}

fn line_statuses(buses: &Buses) -> Vec<LineStatus> {
    buses.lines().into_iter().map(|line| line.status).collect()
}
