//! How fast each token may unlock.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::domain::{Bucket, Mono, Name};

/// A bucket a token (contract §3).
#[derive(Default)]
pub(super) struct Pace(Mutex<HashMap<Name, Bucket>>);

impl Pace {
    /// Counts an unlock of this token.
    ///
    /// # Errors
    /// How long to wait for the next one, where it comes too soon.
    pub(super) fn take(&self, token: &Name, now: Mono) -> Result<(), Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Tokens come and go; what is full again need not be known.
        buckets.retain(|name, bucket| name == token || !bucket.is_full(now));
        let bucket = buckets.entry(token.clone()).or_insert(Bucket::of_unlocks());
        if bucket.take(now) { Ok(()) } else { Err(bucket.next_time(1).since(now)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_has_a_bucket_of_its_own_and_idle_ones_are_forgotten() {
        let pace = Pace::default();
        let (one, other) = (Name::new("one").unwrap(), Name::new("other").unwrap());
        let at = |ms: u64| Mono::from_nanos(ms * 1_000_000);
        for _ in 0..20 {
            assert_eq!(pace.take(&one, at(0)), Ok(()));
        }
        assert_eq!(pace.take(&one, at(100)), Err(Duration::from_millis(400)));
        assert_eq!((pace.take(&other, at(100)), pace.take(&one, at(500))), (Ok(()), Ok(())));
        assert_eq!(pace.take(&other, at(60_000)), Ok(()));
        assert_eq!(pace.0.lock().unwrap().len(), 1);
    }
}
