//! `scan --bus` at the daemon's end: the panels of the bus as the daemon knows them, then what else is found.

use std::{io, sync::Arc};

use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::UnixStream};

use super::{
    Control, Reply,
    serve::{self, reply},
};
use crate::{
    bus::{BusHandle, Placed, ScanRequest, Scanning},
    config,
    domain::{Name, PanelState, PanelStatus, Trouble},
    gateway::records,
    panel::osdp::{CurrentKey, Security},
    survey::{Finding, Output, Record, Secure},
    sys,
    wire::osdp::Scbk,
};

/// Begins a survey of a bus, and sends what it finds until its end or the caller's.
pub(super) async fn send(
    control: &Control,
    mut stream: UnixStream,
    bus: &Name,
    thorough: bool,
) -> io::Result<()> {
    let bus = match control.bus(bus) {
        Ok(bus) => bus,
        Err(unknown) => return reply(&mut stream, &Reply::Error(unknown)).await,
    };
    let profiles = config::shipped_profiles().into_iter().map(Arc::new).collect();
    let scanning = bus.scan(ScanRequest { keys: keys(control).await, profiles, thorough }).await;
    let mut scanning = match scanning {
        Ok(scanning) => scanning,
        Err(error) => return reply(&mut stream, &Reply::Error(error.to_string())).await,
    };
    reply(&mut stream, &Reply::Ok(Value::Null)).await?;
    let (mut caller, mut out) = stream.into_split();
    let mut lines = known(&bus, &scanning);
    let mut is_whole = false;
    loop {
        for line in lines.drain(..) {
            serve::send(&mut out, &format!("{line}\n")).await?;
        }
        let mut nothing = [0; 1];
        let output = tokio::select! {
            output = scanning.outputs.recv() => output,
            _ = caller.read(&mut nothing) => return Ok(()),
        };
        match output {
            Some(output) => {
                // What every whole survey says at its end.
                is_whole |=
                    matches!(output, Output::Finding(Finding::QuickOnly | Finding::OtherMaster { .. }));
                lines.extend(line(&scanning, &output));
            }
            None if is_whole => return Ok(()),
            None => {
                is_whole = true;
                lines.push(
                    json!({ "broken_off": "the bus has ended, or its port is lost: the scan is not whole" }),
                );
            }
        }
    }
}

/// The panel keys that are in use, and those that are kept for panels that are not configured.
async fn keys(control: &Control) -> Arc<[Scbk]> {
    let mut keys = Vec::new();
    for panel in control.doors.buses().handles().iter().flat_map(|bus| bus.panels().to_vec()) {
        let newest = panel.record.borrow();
        let record = &newest.record;
        let current = match &record.current {
            Some(CurrentKey::Known(key)) => Some(key),
            Some(CurrentKey::HashOnly { .. }) | None => None,
        };
        let all = [current, record.pending.as_ref(), record.from_config.as_ref()];
        keys.extend(all.into_iter().flatten().map(|key| key.scbk().clone()));
    }
    let state_dir = control.state_dir.clone();
    // A thread that fails has found none.
    let kept = sys::blocking(move || records::kept_keys(&state_dir)).await.unwrap_or_default();
    keys.into_iter().chain(kept.iter().map(|key| key.scbk().clone())).collect()
}

/// What the daemon knows of the bus's own panels.
fn known(bus: &BusHandle, scanning: &Scanning) -> Vec<Value> {
    let status = bus.status.borrow();
    let mut lines = Vec::with_capacity(scanning.panels.len());
    for placed in &scanning.panels {
        let panel = status.panels.iter().find(|panel| panel.panel == placed.name);
        let Some(panel) = panel.filter(|panel| panel.state != PanelState::Offline) else {
            let (panel, address) = (placed.name.clone(), placed.address);
            lines.push(json!({ "finding": Finding::Missing { panel, address }.to_string() }));
            continue;
        };
        let counters = status.counters.panels.iter().find(|(name, _)| *name == placed.name);
        let round_trip = counters.and_then(|(_, counters)| counters.minute.round_trip).map(|trip| trip.p50);
        let (name, speed) = (scanning.language.name(), scanning.speed);
        let record =
            Record::new(name, speed, placed.address, panel.device.clone(), secure(placed, panel), round_trip);
        lines.push(json!(record));
    }
    lines
}

/// How a panel's secure channel is, by how the daemon gets on with it.
fn secure(placed: &Placed, panel: &PanelStatus) -> Option<Secure> {
    match (placed.security?, panel.state, &panel.trouble) {
        (Security::Off, ..) => Some(Secure::None),
        (_, PanelState::Online, _) => Some(Secure::OwnKey),
        (_, _, Some(Trouble::NoSecureChannel)) => Some(Secure::None),
        (_, _, Some(Trouble::Pairing | Trouble::PairingFailed | Trouble::KeyNotStored)) => {
            Some(Secure::DefaultKey)
        }
        (_, _, Some(Trouble::WrongKey | Trouble::NoDefaultKey)) => Some(Secure::UnknownKey),
        _ => None,
    }
}

fn line(scanning: &Scanning, output: &Output) -> Option<Value> {
    match output {
        Output::Speed(_) => None,
        Output::Progress { address, .. } => Some(json!({ "progress": address })),
        Output::Panel(speed, found) => Some(json!(Record::of(&scanning.language, *speed, found))),
        Output::Finding(finding) => Some(json!({ "finding": finding.to_string() })),
    }
}
