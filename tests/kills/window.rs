//! The commit window as the gateway measures it: for how long it held events back, apart from what the disk took.
//!
//! A life's last look counts: what was committed between it and the kill is not seen.

use std::time::Duration;

use crate::support::Daemon;

/// So long events may be held back (docs/architecture.md, the commit window): 20 ms, and the timer's and the
/// scheduler's share up to the next bound of the histogram.
const HOLD: Duration = Duration::from_millis(25);

/// This many of a hundred at least; the others may have met busy processors, or another write of the journal. Two cores
/// with eight runnable threads held 94.
const HELD_NO_LONGER: u64 = 80;

/// Fewer prove nothing.
const EVENTS: u64 = 100;

/// Looks at the gateway's lives, one after the other.
pub struct Window {
    token: String,
    this_life: Figures,
    lives: Figures,
}

impl Window {
    /// `token` is one that the gateway knows.
    pub fn new(token: &str) -> Self {
        Self { token: token.to_owned(), this_life: Figures::default(), lives: Figures::default() }
    }

    /// Looks at what the gateway has measured since its start; one that does not serve yet has nothing to tell.
    pub fn look(&mut self, daemon: &Daemon) {
        if daemon.address_so_far().is_none() {
            return;
        }
        let (status, page) = daemon.ask("GET", "/metrics", &self.token);
        assert_eq!(status, 200, "{page}");
        self.this_life = Figures::of(page.as_str().expect("metrics are text"));
    }

    /// The gateway has been killed, and begins to measure anew.
    pub fn another_life(&mut self) {
        self.lives.add(std::mem::take(&mut self.this_life));
    }

    /// What all lives have measured.
    pub fn end(mut self) -> Figures {
        self.another_life();
        self.lives
    }
}

/// What was measured.
#[derive(Clone, Copy, Default)]
pub struct Figures {
    events: u64,
    held_no_longer: u64,
    commits: u64,
    commits_seconds: f64,
    waits_seconds: f64,
}

impl Figures {
    fn of(page: &str) -> Self {
        let value = |sample: &str| -> f64 {
            let name = format!("intercom_gateway_journal_{sample} ");
            let value = page.lines().find_map(|line| line.strip_prefix(&name));
            value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {sample} in\n{page}"))
        };
        let count = |sample: &str| value(sample) as u64;
        Self {
            events: count("hold_seconds_count"),
            held_no_longer: count(&format!("hold_seconds_bucket{{le=\"{}\"}}", HOLD.as_secs_f64())),
            commits: count("commit_seconds_count"),
            commits_seconds: value("commit_seconds_sum"),
            waits_seconds: value("append_to_commit_seconds_sum"),
        }
    }

    fn add(&mut self, life: Self) {
        self.events += life.events;
        self.held_no_longer += life.held_no_longer;
        self.commits += life.commits;
        self.commits_seconds += life.commits_seconds;
        self.waits_seconds += life.waits_seconds;
    }

    /// # Panics
    /// Events were held back for longer than the commit window.
    pub fn hold(&self) {
        let Self { events, held_no_longer, .. } = *self;
        assert!(events >= EVENTS, "only {events} events were measured");
        assert!(
            held_no_longer * 100 >= events * HELD_NO_LONGER,
            "of {events} events only {held_no_longer} were held back for {HOLD:?} at most"
        );
    }

    pub fn print(&self) {
        let Self { events, held_no_longer, commits, commits_seconds, waits_seconds } = self;
        let mean = |seconds: f64, count: u64| Duration::from_secs_f64(seconds / count.max(1) as f64);
        println!(
            "  by its own measure the gateway held {held_no_longer} of {events} events back for {HOLD:?} at most; on average \
             a commit took {:.1?}, and an event was committed after {:.1?}",
            mean(*commits_seconds, *commits),
            mean(*waits_seconds, *events)
        );
    }
}
