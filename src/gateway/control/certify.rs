//! `certify` at the daemon's end: waits until every panel has had its exchanges, judges the line, keeps what it was like.

use std::{collections::HashMap, io, path::Path, time::Duration};

use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::UnixStream};

use super::{
    Control, Reply,
    serve::{self, reply},
};
use crate::{
    bus::{BusHandle, HoldError},
    clock,
    domain::{Mono, Name, json, time::rfc3339},
    survey::{Certificate, CertificateDetails, CertifiedRate, LineSample, LineVerdict},
    sys::{self, files},
};

/// Exchanges that each panel is to have (contract §1).
const EXCHANGES: u64 = 2000;
/// Exchanges that each panel is to have at another rate than the line's.
const EXCHANGES_ELSEWHERE: u64 = 200;
/// For how long a rate is measured at most.
const LONGEST_ELSEWHERE: Duration = Duration::from_secs(120);
/// Between two rates the panels come home, which may take so long.
const HOME_WITHIN: Duration = Duration::from_secs(120);
/// A panel with no exchange for this long is not waited for.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// However slowly panels are read, it ends: a Modbus panel that is read once a second takes half an hour.
const LONGEST: Duration = Duration::from_secs(45 * 60);
/// Where lines' baselines lie in the state directory.
pub const BASELINES: &str = "baselines";

/// Examines a bus, and sends how far it is, then the certificate.
pub(super) async fn send(
    control: &Control,
    mut stream: UnixStream,
    name: &Name,
    with_rates: bool,
) -> io::Result<()> {
    let refused = match control.bus(name) {
        Err(unknown) => Err(unknown),
        Ok(bus) if bus.panels().is_empty() => Err(format!("bus {name} has no panels: nobody can be asked")),
        Ok(bus) => match bus.status.borrow().clone() {
            status if !status.open => {
                let why = status.error.unwrap_or_else(|| "it is being opened".to_owned());
                Err(format!("the port of bus {name} is not open: {why}"))
            }
            _ => bus.examine().map(|sample| (bus.clone(), sample)).map_err(|error| error.to_string()),
        },
    };
    let (bus, mut sample) = match refused {
        Ok(examined) => examined,
        Err(sentence) => return reply(&mut stream, &Reply::Error(sentence)).await,
    };
    reply(&mut stream, &Reply::Ok(Value::Null)).await?;
    let (mut caller, mut out) = stream.into_split();
    let mut patience = Patience::new(clock::mono());
    let last = loop {
        let mut nothing = [0; 1];
        tokio::select! {
            changed = sample.changed() => if changed.is_err() {
                let why = "the bus has ended, or somebody else has begun to certify it";
                let line = format!("{}\n", json!({ "broken_off": why }));
                return serve::send(&mut out, &line).await;
            },
            _ = caller.read(&mut nothing) => return Ok(()),
        }
        let Some(now) = sample.borrow_and_update().clone() else { continue };
        if patience.is_over(clock::mono(), &now) {
            break now;
        }
        let done = now.panels.iter().map(|panel| panel.exchanges.min(EXCHANGES)).sum::<u64>();
        let of = EXCHANGES * now.panels.len() as u64;
        let line = format!("{}\n", json!({ "progress": { "exchanges": done, "of": of } }));
        serve::send(&mut out, &line).await?;
    };
    // Nothing more is counted.
    drop(sample);
    let mut certificate = Certificate::of(name.clone(), &last, EXCHANGES);
    let mut details = CertificateDetails::of(&last, bus.is_modbus);
    if with_rates {
        let others = bus.status.borrow().other_rates.clone();
        for (number, baud) in others.iter().enumerate() {
            let progress = json!({ "progress": { "rate": baud, "exchanges": number, "of": others.len() } });
            serve::send(&mut out, &format!("{progress}\n")).await?;
            let mut nothing = [0; 1];
            let measured = tokio::select! {
                measured = elsewhere(&bus, *baud) => measured,
                _ = caller.read(&mut nothing) => return Ok(()),
            };
            details.rates.push(CertifiedRate::of(*baud, measured.as_ref().map_err(Clone::clone)));
        }
        certificate.findings.extend(details.rates.iter().map(CertifiedRate::finding));
    }
    let at = rfc3339(control.clock.wall());
    let (state_dir, kept) = (control.state_dir.clone(), (certificate.clone(), details.clone()));
    let kept = sys::blocking(move || keep(&state_dir, &kept.0, &kept.1, &at)).await;
    let not_kept = match kept {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("its writer has failed: see the daemon's log".to_owned()),
    };
    let line =
        format!("{}\n", json!({ "certificate": certificate, "details": details, "not_kept": not_kept }));
    serve::send(&mut out, &line).await
}

/// Measures a line at another rate than its own. Panels come home afterwards, whatever becomes of it.
async fn elsewhere(bus: &BusHandle, baud: u32) -> Result<LineSample, String> {
    let begun = clock::mono();
    // They may be on their way home from the rate before.
    let hold = loop {
        match bus.hold_rate(baud).await {
            Ok(hold) => break hold,
            Err(HoldError::Between) if clock::mono() < begun + HOME_WITHIN => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(why) => return Err(why.to_string()),
        }
    };
    let mut sample = bus.examine().map_err(|error| error.to_string())?;
    let begun = clock::mono();
    let last = loop {
        sample
            .changed()
            .await
            .map_err(|_| "the bus has ended, or somebody else has begun to certify it".to_owned())?;
        let Some(mut now) = sample.borrow_and_update().clone() else { continue };
        let is_done = now.panels.iter().all(|panel| panel.exchanges >= EXCHANGES_ELSEWHERE);
        if is_done || clock::mono() >= begun + LONGEST_ELSEWHERE {
            now.speed.baud = baud;
            break now;
        }
    };
    drop(hold);
    Ok(last)
}

/// For how long panels are waited for.
struct Patience {
    begun: Mono,
    /// Of each panel, its exchanges when there was last a new one, and when that was.
    moved: HashMap<Name, (u64, Mono)>,
}

impl Patience {
    fn new(now: Mono) -> Self {
        Self { begun: now, moved: HashMap::new() }
    }

    /// Whether nobody is waited for any more.
    fn is_over(&mut self, now: Mono, sample: &LineSample) -> bool {
        let mut is_over = true;
        for panel in &sample.panels {
            let (before, since) = self.moved.entry(panel.panel.clone()).or_insert((0, self.begun));
            if panel.exchanges > *before {
                (*before, *since) = (panel.exchanges, now);
            }
            let is_given_up = now.since(*since) >= GIVEN_UP;
            is_over &= panel.exchanges >= EXCHANGES || is_given_up;
        }
        is_over || now.since(self.begun) >= LONGEST
    }
}

/// Keeps what a line was like, to be compared with later. One that failed takes no place of one that passed. Blocks.
fn keep(
    state_dir: &Path,
    certificate: &Certificate,
    details: &CertificateDetails,
    at: &str,
) -> io::Result<()> {
    let folder = state_dir.join(BASELINES);
    files::private_dir(&folder)?;
    let path = folder.join(format!("{}.json", certificate.bus));
    let before = std::fs::read(&path).ok().and_then(|text| json::from_slice::<Value>(&text).ok());
    let has_passed = before.is_some_and(|before| before["certificate"]["verdict"] == "pass");
    if has_passed && certificate.verdict == LineVerdict::Fail {
        return Ok(());
    }
    let baseline = json!({ "at": at, "certificate": certificate, "details": details });
    files::write_private(&path, baseline.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn certificate(verdict: LineVerdict) -> Certificate {
        Certificate { bus: Name::new("street").unwrap(), verdict, panels: Vec::new(), findings: Vec::new() }
    }

    #[test]
    fn what_passed_is_kept_until_something_else_passes() {
        let dir = tempfile::tempdir().unwrap();
        let details = CertificateDetails {
            baud: 9600,
            rates: Vec::new(),
            turnaround_p99_ms: Vec::new(),
            margin_ms: None,
            unlock_ms: None,
        };
        let path = dir.path().join("baselines/street.json");
        let kept = |verdict, at: &str| {
            keep(dir.path(), &certificate(verdict), &details, at).unwrap();
            let kept: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            kept["at"].as_str().unwrap().to_owned()
        };
        assert_eq!(kept(LineVerdict::Fail, "1"), "1");
        assert_eq!(kept(LineVerdict::Fail, "2"), "2");
        assert_eq!(kept(LineVerdict::Pass, "3"), "3");
        assert_eq!(kept(LineVerdict::Fail, "4"), "3");
        assert_eq!(kept(LineVerdict::Pass, "5"), "5");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
