//! How long the disk takes for a sync, seen beside the gateway: what is accepted while a commit is under way is not in it,
//! and on a busy disk one can take seconds.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use intercom_gateway::{clock, domain::Mono};

/// From one sync to the next.
const PAUSE: Duration = Duration::from_millis(20);
/// A sync that took less is no news.
const SLOW: Duration = Duration::from_millis(50);

/// A thread that writes and syncs a file of its own.
pub struct Witness {
    slow: Arc<Mutex<Vec<(Mono, Mono)>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Witness {
    /// Watches the disk of this directory.
    pub fn start(dir: &Path) -> Self {
        let (slow, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(AtomicBool::new(false)));
        let mut file = File::create(dir.join("witness")).unwrap();
        let (seen, stopped) = (Arc::clone(&slow), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let begun = clock::mono();
                file.write_all(&[0; 4096]).unwrap();
                file.sync_data().unwrap();
                let ended = clock::mono();
                if ended.since(begun) >= SLOW {
                    seen.lock().unwrap().push((begun, ended));
                }
                std::thread::sleep(PAUSE);
            }
        });
        Self { slow, stop, thread }
    }

    /// The slow syncs, from when to when each.
    pub fn end(self) -> Vec<(Mono, Mono)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        std::mem::take(&mut self.slow.lock().unwrap())
    }
}
