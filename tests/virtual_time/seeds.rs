//! Runs many seeds on all cores, and says which one failed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// What is worth knowing of many runs.
pub trait Tally: Default + Send {
    /// Adds another's counts.
    fn add(&mut self, other: Self);
}

/// Runs `scenario` for `count` seeds, or for those that the environment names. Panics with the first seed that
/// failed.
pub fn run_all<T: Tally>(test: &str, count: u64, scenario: impl Fn(u64, bool, &mut T) + Sync) -> T {
    if let Some(seed) = number_from_environment("VIRTUAL_TIME_SEED") {
        let mut tally = T::default();
        scenario(seed, true, &mut tally);
        return tally;
    }
    let times = number_from_environment("VIRTUAL_TIME_TIMES").unwrap_or(1);
    let count = number_from_environment("VIRTUAL_TIME_SEEDS").unwrap_or(count * times);
    let next = AtomicU64::new(0);
    let failed = Mutex::new(None);
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let mut total = T::default();
    thread::scope(|scope| {
        let work = || {
            let mut tally = T::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= count || failed.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                    return tally;
                }
                if let Err(cause) = catch_unwind(AssertUnwindSafe(|| scenario(seed, false, &mut tally))) {
                    let cause =
                        cause.downcast::<String>().map_or_else(|_| "a panic".to_owned(), |text| *text);
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some((seed, cause));
                }
            }
        };
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in running {
            total.add(worker.join().unwrap());
        }
    });
    if let Some((seed, cause)) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        panic!(
            "seed {seed} of {test} failed: {cause}\nreplay it: VIRTUAL_TIME_SEED={seed} cargo test --test {program} {test} -- --nocapture",
            program = env!("CARGO_CRATE_NAME")
        );
    }
    total
}

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
