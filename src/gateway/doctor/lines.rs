//! What the doctor says of lines and panels.

use super::check;
use crate::{
    bus::{self, BusStatus},
    config::{self, Panel},
    domain::{Capabilities, Check, Name, PanelState, PanelStatus, Trouble, Verdict},
};

/// Frames with a wrong check, of a thousand exchanges: from here on a line deserves a look, and from there on a visit.
const BROKEN_WARN: u64 = 5;
const BROKEN_BAD: u64 = 50;

pub(super) fn port(name: &Name, status: &BusStatus) -> Check {
    let (verdict, detail) = match &status.error {
        None if !status.rivals.is_empty() => {
            (Verdict::Bad, format!("open, but {}", bus::in_the_way(&status.rivals)))
        }
        None if status.open => (Verdict::Ok, "open".to_owned()),
        None => (Verdict::Warn, "not open yet".to_owned()),
        Some(error) => (Verdict::Bad, error.clone()),
    };
    check(format!("port {name}"), verdict, detail)
}

/// Judges a line by its broken frames since the start, and by the answers that panels have lost within the last minute.
/// That panels do not answer at all is the panels' matter.
pub(super) fn errors(name: &Name, bus: &BusStatus) -> Check {
    let stats = bus.stats;
    let exchanges = stats.exchanges.saturating_add(stats.broken).max(1);
    let per_mille = stats.broken.saturating_mul(1000) / exchanges;
    let mut verdict = match per_mille {
        BROKEN_BAD.. => Verdict::Bad,
        BROKEN_WARN.. => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let mut detail = format!(
        "{} exchanges, {} without an answer, {} with a wrong check ({}.{} %), {} bytes of noise",
        stats.exchanges,
        stats.timeouts,
        stats.broken,
        per_mille / 10,
        per_mille % 10,
        stats.noise,
    );
    if verdict != Verdict::Ok {
        detail.push_str("; check termination, polarity and shielding of the cable");
    }
    for (panel, exchanges) in bus.minute.iter().filter(|(_, exchanges)| exchanges.is_lossy()) {
        verdict = Verdict::Bad;
        detail.push_str(&format!("; panel {panel}: {exchanges}"));
    }
    match (bus.baud, &bus.rate_limit) {
        (Some(baud), Some(limit)) => detail.push_str(&format!("; {baud} baud, and no faster: {limit}")),
        (None, _) if bus.open => {
            verdict = verdict.max(Verdict::Warn);
            detail.push_str(
                "; its rate is not found yet: no panel answers in order at any; check power and wiring",
            );
        }
        _ => {}
    }
    check(format!("bus {name}"), verdict, detail)
}

pub(super) fn panel(status: &PanelStatus) -> Check {
    let troubles = [
        status.trouble.as_ref().map(ToString::to_string),
        (status.tamper == Some(true)).then(|| "its case is open".to_owned()),
        (status.power_failed == Some(true)).then(|| "its power has failed".to_owned()),
    ];
    let troubles = troubles.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    let (verdict, detail) = match (status.state, &status.trouble) {
        (PanelState::Online, _) if troubles.is_empty() => (Verdict::Ok, "online".to_owned()),
        (PanelState::Online, _) => (Verdict::Warn, format!("online, but {troubles}")),
        // Within the first seconds of a start nothing is wrong with it yet.
        (_, None) => (Verdict::Warn, "not heard yet".to_owned()),
        (PanelState::Insecure, Some(_)) => (Verdict::Bad, format!("insecure: {troubles}")),
        (_, Some(trouble)) => (Verdict::Bad, format!("offline: {trouble}")),
    };
    check(format!("panel {}", status.panel), verdict, detail)
}

/// Judges what the configuration names against what the panel says it has; `None`: it does not say.
pub(super) fn fittings(panel: &Panel, status: &PanelStatus) -> Option<Check> {
    let Capabilities { inputs, outputs, readers, shows } = status.capabilities;
    if (inputs, outputs, readers) == (None, None, None) {
        return None;
    }
    let mut wrong = Vec::new();
    let mut named = Vec::new();
    if let Some(config::Lock { output, .. }) = panel.lock {
        named.push(format!("output {output}"));
        let has = outputs.filter(|has| output >= *has);
        wrong.extend(has.map(|has| (Verdict::Bad, Trouble::NoSuchOutput { output, has }.to_string())));
    }
    for input in panel.door.iter().flat_map(|door| [door.input, door.exit_input]).flatten() {
        named.push(format!("input {input}"));
        let has = inputs.filter(|has| input >= *has);
        wrong.extend(has.map(|has| (Verdict::Bad, Trouble::NoSuchInput { input, has }.to_string())));
    }
    if panel.lock.is_some() && readers == Some(0) {
        let nobody = "it says that it has no reader: no key can be presented at it";
        wrong.push((Verdict::Warn, format!("{nobody}; connect one, or look at its own settings")));
    }
    if panel.feedback && shows == Some(false) {
        let nothing = "it says that it has neither light nor sound: nobody is told what became of a key";
        wrong.push((Verdict::Warn, format!("{nothing}; set feedback = false, or look at its own settings")));
    }
    let name = format!("fittings {}", panel.name);
    let Some(verdict) = wrong.iter().map(|(verdict, _)| *verdict).max() else {
        let named = if named.is_empty() { "nothing".to_owned() } else { named.join(", ") };
        return Some(check(name, Verdict::Ok, format!("it has what the configuration names: {named}")));
    };
    let sentences: Vec<String> = wrong.into_iter().map(|(_, sentence)| sentence).collect();
    Some(check(name, verdict, sentences.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Exchanges, LineStats};

    #[test]
    fn a_line_is_judged_by_its_broken_frames_and_not_by_panels_that_are_off() {
        let name = Name::new("street").unwrap();
        let of = |exchanges, timeouts, broken| {
            let stats = LineStats { exchanges, timeouts, broken, noise: 7, ..LineStats::default() };
            errors(&name, &BusStatus { stats, ..BusStatus::default() })
        };
        assert_eq!(of(0, 0, 0).verdict, Verdict::Ok);
        assert_eq!(of(10_000, 9000, 40).verdict, Verdict::Ok);
        assert_eq!(
            of(985, 20, 15),
            Check {
                check: "bus street".into(),
                verdict: Verdict::Warn,
                detail:
                    "985 exchanges, 20 without an answer, 15 with a wrong check (1.5 %), 7 bytes of noise; check termination, polarity and shielding of the cable"
                        .into()
            }
        );
        assert_eq!(of(90, 0, 10).verdict, Verdict::Bad);
        let minute = vec![(Name::new("entrance-1").unwrap(), Exchanges { answered: 30, lost: 90 })];
        let stats = LineStats { exchanges: 1000, timeouts: 90, ..LineStats::default() };
        let lossy = errors(&name, &BusStatus { stats, minute, ..BusStatus::default() });
        assert_eq!(lossy.verdict, Verdict::Bad);
        let end = "; panel entrance-1: the line loses its answers, 90 of 120 in the last minute: check termination, wiring and power";
        assert!(lossy.detail.ends_with(end), "{}", lossy.detail);
    }
}
