//! `/metrics`: Prometheus text.

use std::{
    fmt::{Display, Write},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, Response, header},
};

use super::{Handles, state::Api};
use crate::{
    bus::{BusStatus, PanelCounters},
    domain::{Durations, HealthCode, LineState, Name, PanelState, SyncCode},
};

/// `GET /metrics`.
pub(super) async fn get(State(api): State<Arc<Api>>) -> Response<Body> {
    let mut response = Response::new(Body::from(text(&api.handles, Some(&api))));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Writes the page; `endpoint`: what it counts of itself, where it is the one that is asked.
pub(super) fn text(handles: &Handles, endpoint: Option<&Api>) -> String {
    let mut page = Page::default();

    page.metric("build_info", "gauge", "Which version runs: always 1.");
    page.sample(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1);

    let health = handles.health.borrow().clone();
    page.metric("healthy", "gauge", "1 while /healthz says ok.");
    page.sample("", u8::from(health.is_well()));
    page.metric(
        "health_reason",
        "gauge",
        "1 for each code among the reasons of /healthz; no sample for the others.",
    );
    for code in HealthCode::ALL.into_iter().filter(|code| health.has(*code)) {
        page.sample(&format!("code=\"{}\"", code.as_str()), 1);
    }

    let statuses = handles.buses.statuses();
    page.metric("bus_open", "gauge", "1 while the bus's port is open.");
    for (name, bus) in &statuses {
        page.sample(&format!("bus=\"{name}\""), u8::from(bus.open));
    }
    page.metric("bus_exchanges_total", "counter", "Commands that were answered.");
    for (name, bus) in &statuses {
        page.sample(&format!("bus=\"{name}\""), bus.stats.exchanges);
    }
    page.metric(
        "bus_errors_total",
        "counter",
        "Commands not answered in time, frames with a wrong check, sound ones that were no answer, bytes of noise.",
    );
    for (name, bus) in &statuses {
        let stats = bus.stats;
        for (kind, value) in [
            ("timeout", stats.timeouts),
            ("broken", stats.broken),
            ("wrong", stats.wrong),
            ("noise", stats.noise),
        ] {
            page.sample(&format!("bus=\"{name}\",kind=\"{kind}\""), value);
        }
    }
    page.metric(
        "bus_busy_seconds_total",
        "counter",
        "Time from the first bytes of commands until they were answered or given up.",
    );
    for (name, bus) in &statuses {
        page.sample(&format!("bus=\"{name}\""), bus.stats.busy.as_secs_f64());
    }

    page.metric("panel_online", "gauge", "1 while the panel answers as securely as it has to.");
    for panel in handles.buses.panels() {
        let labels = format!("panel=\"{}\",intercom=\"{}\"", panel.panel, panel.intercom);
        page.sample(&labels, u8::from(panel.state == PanelState::Online));
    }
    panels(&mut page, &statuses);

    page.metric(
        "lines_stretch_ratio",
        "gauge",
        "How much more seldom than in their period a panel's lines are read: 1 is as it should be.",
    );
    for (panel, stretch) in statuses.iter().flat_map(|(_, bus)| &bus.stretches) {
        page.sample(&format!("panel=\"{panel}\""), format!("{stretch:.3}"));
    }
    page.metric("lines", "gauge", "Lines by state.");
    let lines = handles.buses.lines();
    for state in LineState::ALL.into_iter().filter(|_| !lines.is_empty()) {
        let count = lines.iter().filter(|line| line.status.state == state).count();
        page.sample(&format!("state=\"{}\"", state.as_str()), count);
    }

    let position = handles.journal.position().borrow().clone();
    let delivered = handles.journal.delivered().min(position.last);
    page.metric("journal_last_sequence", "gauge", "Sequence of the newest event.");
    page.sample("", position.last);
    page.metric("journal_undelivered", "gauge", "Events that are not delivered yet.");
    page.sample("", (position.last + 1).saturating_sub(position.oldest.max(delivered + 1)));
    let store = handles.journal.health().borrow().clone();
    page.metric(
        "journal_lost_total",
        "counter",
        "Events lost because they came faster than they could be written.",
    );
    page.sample("", store.lost);
    page.metric("journal_failing", "gauge", "1 while the journal cannot be written.");
    page.sample("", u8::from(store.journal_failing.is_some()));
    let times = handles.journal.commit_times();
    for (name, help, durations) in [
        (
            "journal_commit_seconds",
            "How long commits of events took, the disk's sync included.",
            &times.commit,
        ),
        (
            "journal_hold_seconds",
            "How long events were held back to share a commit, while none was under way.",
            &times.hold,
        ),
        (
            "journal_append_to_commit_seconds",
            "How long events waited until they were committed.",
            &times.append_to_commit,
        ),
    ] {
        page.metric(name, "histogram", help);
        page.distribution("", durations);
    }

    let cache = handles.cache.state().borrow().clone();
    page.metric("cache_records", "gauge", "Records in force.");
    for (kind, value) in [("flat", cache.flats), ("key", cache.keys), ("user", cache.users)] {
        page.sample(&format!("kind=\"{kind}\""), value);
    }
    page.metric("cache_revision", "gauge", "Revision in force; no sample where there is none.");
    if let Some(revision) = cache.revision {
        page.sample("", revision);
    }
    page.metric("cache_applied_timestamp_seconds", "gauge", "When it came into force.");
    if let Some(applied) = cache.applied_at {
        page.sample("", applied.as_second());
    }

    let uplink = handles.uplink.borrow().clone();
    page.metric("uplink_connected", "gauge", "1 while the broker has accepted us.");
    page.sample("", u8::from(uplink.connected));
    page.metric("uplink_connections_total", "counter", "Connections made to the broker.");
    page.sample("", uplink.connections);
    page.metric("uplink_events_total", "counter", "Events published, confirmed, and sent back.");
    for (kind, value) in
        [("published", uplink.published), ("confirmed", uplink.confirmed), ("refused", uplink.refused)]
    {
        page.sample(&format!("kind=\"{kind}\""), value);
    }
    page.metric(
        "uplink_acknowledgement_seconds",
        "histogram",
        "How long after events were published the broker acknowledged them, whatever it said.",
    );
    page.distribution("", &uplink.acknowledged_after);
    page.metric("uplink_commands_total", "counter", "Commands performed, and messages that were not obeyed.");
    for (kind, value) in [("performed", uplink.commands), ("refused", uplink.commands_refused)] {
        page.sample(&format!("kind=\"{kind}\""), value);
    }

    let sync = handles.sync.borrow().clone();
    page.metric("sync_requests_total", "counter", "Times that the cloud was asked for its flats.");
    page.sample("", sync.requests);
    page.metric("sync_applied_total", "counter", "Revisions from the cloud brought into force.");
    page.sample("", sync.applied);
    page.metric("sync_rejected_total", "counter", "Messages with flats from the cloud that were refused.");
    for (code, count) in SyncCode::ALL.iter().zip(sync.rejected) {
        page.sample(&format!("code=\"{}\"", code.as_str()), count);
    }

    page.metric("clock_synchronized", "gauge", "1 while the wall clock can be believed.");
    page.sample("", u8::from(handles.clock.is_synchronized()));

    page.metric(
        "certificate_expiry_timestamp_seconds",
        "gauge",
        "When a certificate ends; no sample for one that is not used.",
    );
    for certificate in handles.certificates.all() {
        page.sample(&format!("use=\"{}\"", certificate.usage().as_str()), certificate.ends().as_second());
    }

    if let Some(api) = endpoint {
        page.of_endpoint(api);
    }
    page.text
}

/// What became of the commands to each panel.
fn panels(page: &mut Page, statuses: &[(Name, BusStatus)]) {
    let counters = || statuses.iter().flat_map(|(_, bus)| &bus.counters.panels);
    page.metric("panel_exchanges_total", "counter", "Commands that the panel answered.");
    for (panel, counters) in counters() {
        page.sample(&format!("panel=\"{panel}\""), counters.total.exchanges);
    }
    page.metric(
        "panel_errors_total",
        "counter",
        "Commands that the panel did not answer in time, frames in its turn with a wrong check, sound ones that were no \
         answer.",
    );
    for (panel, counters) in counters() {
        let PanelCounters { timeouts, broken, wrong, .. } = counters.total;
        for (kind, value) in [("timeout", timeouts), ("broken", broken), ("wrong", wrong)] {
            page.sample(&format!("panel=\"{panel}\",kind=\"{kind}\""), value);
        }
    }
    let times = || statuses.iter().flat_map(|(_, bus)| &bus.counters.times);
    page.metric(
        "panel_round_trip_seconds",
        "histogram",
        "From the first byte of a command to the last one of its answer.",
    );
    for (panel, times) in times() {
        page.distribution(&format!("panel=\"{panel}\""), &times.round_trip);
    }
    page.metric(
        "panel_key_to_unlock_seconds",
        "histogram",
        "From a key, as it was read, to the panel's acknowledgement of the unlock.",
    );
    for (panel, times) in times() {
        page.distribution(&format!("panel=\"{panel}\""), &times.key_to_unlock);
    }
}

/// A page under way. Labels are names and numbers, so nothing in them needs an escape.
#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn of_endpoint(&mut self, api: &Api) {
        self.metric("http_connections", "gauge", "Connections at present.");
        let crowd = api.room.crowd();
        self.sample("", crowd.connections);
        self.metric(
            "http_crowded_total",
            "counter",
            "Connections that lost their place to a new one, and that found no place.",
        );
        for (kind, value) in [("displaced", crowd.displaced), ("turned_away", crowd.turned_away)] {
            self.sample(&format!("kind=\"{kind}\""), value);
        }
        self.metric("http_responses_total", "counter", "Answers by class of status.");
        for (class, count) in (1..).zip(api.counters.answers()) {
            self.sample(&format!("class=\"{class}xx\""), count);
        }
        self.metric("http_refused_total", "counter", "Answers 401 and 429.");
        self.sample("", api.counters.refused());
    }

    fn metric(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        let _ = writeln!(
            self.text,
            "# HELP intercom_gateway_{name} {help}\n# TYPE intercom_gateway_{name} {kind}"
        );
    }

    /// Writes the samples of a histogram.
    fn distribution(&mut self, labels: &str, durations: &Durations) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in durations.cumulative() {
            self.line("_bucket", &format!("{labels}{comma}le=\"{}\"", bound.as_secs_f64()), count);
        }
        self.line("_bucket", &format!("{labels}{comma}le=\"+Inf\""), durations.count());
        self.line("_sum", labels, durations.sum().as_secs_f64());
        self.line("_count", labels, durations.count());
    }

    fn sample(&mut self, labels: &str, value: impl Display) {
        self.line("", labels, value);
    }

    fn line(&mut self, suffix: &str, labels: &str, value: impl Display) {
        let name = self.name;
        let _ = match labels {
            "" => writeln!(self.text, "intercom_gateway_{name}{suffix} {value}"),
            labels => writeln!(self.text, "intercom_gateway_{name}{suffix}{{{labels}}} {value}"),
        };
    }
}
