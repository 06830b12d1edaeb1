//! How the gateway is in one short line, for `systemctl status`: the panels, ports that are not open, and the worst reasons of health, one of each
//! kind, without what to do about them. No sentence of a broker, which may name accounts.

use crate::domain::{Health, HealthCode, Name, PanelState, PanelStatus, Reason};

/// Characters of the line at most.
const LONGEST: usize = 200;
/// Characters of one reason at most.
const LONGEST_REASON: usize = 80;

/// Kinds of reasons, the worst first: what keeps doors shut, what is lost, what cannot be reached.
const WORST_FIRST: [HealthCode; 17] = [
    HealthCode::NoBus,
    HealthCode::Bus,
    HealthCode::Storage,
    HealthCode::PanelKey,
    HealthCode::PanelInsecure,
    HealthCode::PanelOffline,
    HealthCode::JournalNew,
    HealthCode::EventsLost,
    HealthCode::Endpoint,
    HealthCode::Certificate,
    HealthCode::Broker,
    HealthCode::Sync,
    HealthCode::Committed,
    HealthCode::Clock,
    HealthCode::Timezone,
    HealthCode::LineErrors,
    HealthCode::JournalOpening,
];

/// Returns the line; `closed` are the buses whose port is not open.
pub fn summary(panels: &[PanelStatus], closed: &[Name], health: &Health) -> String {
    let online = panels.iter().filter(|panel| panel.state == PanelState::Online).count();
    let mut line = format!("{online} of {} panels online", panels.len());
    if !closed.is_empty() {
        let names: Vec<&str> = closed.iter().map(Name::as_str).collect();
        line.push_str(&format!("; port not open: {}", names.join(", ")));
    }
    if health.is_well() {
        return line;
    }
    line.push_str("; ");
    line.push_str(health.status());
    let kinds: Vec<String> = WORST_FIRST.iter().filter_map(|code| kind(health, closed, *code)).collect();
    for (index, kind) in kinds.iter().enumerate() {
        let left = kinds.len() - index;
        let rest = format!("; and {left} more");
        // The last one needs no room for what follows.
        let needed = kind.chars().count() + 2 + if left == 1 { 0 } else { rest.len() };
        if line.chars().count() + needed > LONGEST {
            line.push_str(&rest);
            break;
        }
        line.push_str(if index == 0 { ": " } else { "; " });
        line.push_str(kind);
    }
    line
}

/// All reasons of a kind: the first, and how many more there are.
fn kind(health: &Health, closed: &[Name], code: HealthCode) -> Option<String> {
    let is_told = |reason: &&Reason| {
        reason.code == HealthCode::Bus && reason.bus.as_ref().is_some_and(|bus| closed.contains(bus))
    };
    let mut reasons = health.reasons.iter().filter(|reason| reason.code == code && !is_told(reason));
    let first = short(reasons.next()?);
    Some(match reasons.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    })
}

/// What is wrong, in the first words of its sentence.
fn short(reason: &Reason) -> String {
    let message = reason.message.as_str();
    match reason.code {
        HealthCode::Broker if message.starts_with("the broker is not connected") => "no broker".to_owned(),
        HealthCode::Broker => "the broker does not take everything".to_owned(),
        HealthCode::Certificate if message.contains(", expire") => {
            let how = if message.contains("expired on") { "has expired" } else { "expires soon" };
            format!("{} {how}", clause(message))
        }
        _ => {
            // The name of the bus or the panel stands before what is wrong with it.
            let subject = [("bus", &reason.bus), ("panel", &reason.panel)]
                .into_iter()
                .find_map(|(kind, name)| Some(format!("{kind} {}: ", name.as_ref()?)));
            match subject.and_then(|subject| Some((message.strip_prefix(&subject)?, subject))) {
                Some((rest, subject)) => format!("{subject}{}", clause(rest)),
                None => clause(message),
            }
        }
    }
}

/// The first clause of a sentence.
fn clause(sentence: &str) -> String {
    let ends = [": ", "; ", ", ", " ("].into_iter().filter_map(|end| {
        sentence.match_indices(end).map(|(at, _)| at).find(|at| !sentence[*at..].starts_with(" (process "))
    });
    let clause = ends.min().map_or(sentence, |end| &sentence[..end]);
    match clause.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &clause[..end]),
        None => clause.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Name;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn panels(online: usize, of: usize) -> Vec<PanelStatus> {
        let state = |number| if number < online { PanelState::Online } else { PanelState::Offline };
        let panel = |number| {
            PanelStatus::new(name(&format!("p{number}")), 1, state(number), jiff::Timestamp::UNIX_EPOCH)
        };
        (0..of).map(panel).collect()
    }

    fn of(reasons: Vec<Reason>) -> String {
        summary(&panels(2, 2), &[], &Health { reasons, ..Health::default() })
    }

    #[test]
    fn the_worst_reasons_are_told_in_a_few_words() {
        assert_eq!(of(Vec::new()), "2 of 2 panels online");
        let reason = Reason::new;
        let told = of(vec![
            reason(
                HealthCode::Clock,
                "the clock is not synchronised: expiry dates are judged by the last known time",
            ),
            reason(
                HealthCode::Broker,
                "the broker is not connected: cloud:8883 refuses the login of \"house-7\"",
            ),
            reason(
                HealthCode::Storage,
                "the disk is full: free some space, old events are making room for new ones",
            ),
        ]);
        assert_eq!(
            told,
            "2 of 2 panels online; degraded: the disk is full; no broker; the clock is not synchronised"
        );
        let told = of(vec![
            reason(HealthCode::Broker, "house-7 may not publish"),
            reason(HealthCode::Bus, "bus street hangs: the daemon is about to be restarted")
                .of_bus(&name("street")),
            reason(
                HealthCode::Certificate,
                "the endpoint's certificate, /etc/c.pem, expired on 2026-11-01; renew it",
            ),
        ]);
        assert_eq!(
            told,
            "2 of 2 panels online; degraded: bus street hangs; the endpoint's certificate has expired; the broker does not take everything"
        );
        let rival = "bus street: minicom (process 7) has the port open and takes bytes from it; stop it";
        let told = of(vec![reason(HealthCode::Bus, rival).of_bus(&name("street"))]);
        assert_eq!(told, format!("2 of 2 panels online; degraded: {}", rival.trim_end_matches("; stop it")));
        let closed = "bus street: the port is not open (there is no such device: is the adapter plugged in?)";
        let reasons = vec![reason(HealthCode::Bus, closed).of_bus(&name("street"))];
        assert_eq!(
            summary(&panels(0, 1), &[name("street")], &Health { reasons, ..Health::default() }),
            "0 of 1 panels online; port not open: street; degraded"
        );
        let dead = Health { dead: true, ..Health::default() };
        assert_eq!(summary(&panels(0, 1), &[], &dead), "0 of 1 panels online; degraded");
    }

    #[test]
    fn many_panels_are_one_reason_and_the_line_stays_short() {
        let offline = |number| {
            let panel = name(&format!("p{number}"));
            let message = format!("panel {panel} is offline: no reply since the start: check wiring");
            Reason::new(HealthCode::PanelOffline, message).of_panel(&panel)
        };
        assert_eq!(
            of((0..16).map(offline).collect()),
            "2 of 2 panels online; degraded: panel p0 is offline (and 15 more)"
        );
        let long = |code: &HealthCode| Reason::new(*code, "ä".repeat(LONGEST));
        let told = of(WORST_FIRST.iter().map(long).collect());
        assert!(told.chars().count() <= LONGEST && told.ends_with("; and 16 more"), "{told}");
    }

    #[test]
    fn every_kind_has_its_rank() {
        for code in HealthCode::ALL {
            assert_eq!(WORST_FIRST.iter().filter(|ranked| **ranked == code).count(), 1, "{code:?}");
        }
    }
}
