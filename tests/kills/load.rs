//! People at the doors: cards with numbers of their own, at panels that go on through everything, and what the panels
//! saw of them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use intercom_gateway::{
    domain::Mono,
    simulate::panel::{EventId, Observation},
};

use crate::{
    PANELS,
    support::{Site, simulated::Panels},
    wait_until,
};

/// From one card to the next.
const PAUSE: Duration = Duration::from_millis(8);

/// A card that its panel saw accepted.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    pub card: u32,
    pub at: Mono,
}

/// Presents cards in a thread of its own until it is ended.
pub struct Load {
    accepted: Arc<Mutex<Vec<Accepted>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u32>,
}

impl Load {
    pub fn start(site: &Site) -> Self {
        let panels = Panels::start(site, false);
        let (accepted, stop) = (Arc::<Mutex<_>>::default(), Arc::new(AtomicBool::new(false)));
        let (seen, stopped) = (Arc::clone(&accepted), Arc::clone(&stop));
        let thread = std::thread::spawn(move || present(&panels, &seen, &stopped));
        Self { accepted, stop, thread }
    }

    /// Waits until this many more cards are accepted.
    pub fn go_on(&self, more: usize) {
        let accepted = || self.accepted.lock().unwrap().len();
        let enough = accepted() + more;
        wait_until("cards are accepted", || accepted() >= enough);
    }

    /// Presents no more, and waits until all that were presented have become something; gives those that were accepted and
    /// how many were presented.
    pub fn end(self) -> (Vec<Accepted>, u32) {
        self.stop.store(true, Ordering::Relaxed);
        let presented = self.thread.join().unwrap();
        (self.accepted.lock().unwrap().clone(), presented)
    }
}

fn present(panels: &Panels, accepted: &Mutex<Vec<Accepted>>, stop: &AtomicBool) -> u32 {
    let mut given: HashMap<&str, Vec<u32>> = PANELS.iter().map(|&panel| (panel, Vec::new())).collect();
    let (mut next, mut waiting) = (0, 0);
    loop {
        let stopped = stop.load(Ordering::Relaxed);
        if stopped && waiting == 0 {
            return next;
        }
        let panel = PANELS[next as usize % PANELS.len()];
        if !stopped && panels.try_card(panel, &format!("{next:08X}")) {
            given.get_mut(panel).unwrap().push(next);
            next += 1;
            waiting += 1;
        }
        for seen in panels.seen() {
            match seen.what {
                // A panel numbers what it queues from 1 on, and nothing but cards is queued here.
                Observation::Acknowledged(EventId(id)) => {
                    waiting -= 1;
                    let card = given[seen.panel.as_str()][usize::try_from(id).unwrap() - 1];
                    accepted.lock().unwrap().push(Accepted { card, at: seen.at });
                }
                // The link was reset: whether it arrived is never known.
                Observation::Unknown(_) => waiting -= 1,
                _ => {}
            }
        }
        std::thread::sleep(PAUSE);
    }
}
