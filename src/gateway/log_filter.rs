//! Logs more, or less, for a while (contract §4, `log_level`).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::AbortHandle;

use crate::sys;

type Set = dyn Fn(Option<&str>) -> Result<(), String> + Send + Sync;

/// What decides which lines are logged; cheap to clone.
#[derive(Clone)]
pub struct LogFilter {
    set: Arc<Set>,
    /// Waits for the time to put the usual filter back.
    back: Arc<Mutex<Option<AbortHandle>>>,
}

impl LogFilter {
    /// `set` takes a filter like `RUST_LOG`'s, or `None` for the one that the program was started with; its error is a
    /// sentence.
    pub fn new(set: impl Fn(Option<&str>) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { set: Arc::new(set), back: Arc::default() }
    }

    /// A program that decides by itself what it logs.
    pub fn fixed() -> Self {
        Self::new(|_| Err("this program's log cannot be changed".to_owned()))
    }

    /// Logs by `filter` for `time`, and then as at the start. A later call takes the place of an earlier one.
    ///
    /// # Errors
    /// A sentence, where `filter` cannot be parsed: the one before stays.
    pub(super) fn set_for(&self, filter: &str, time: Duration) -> Result<(), String> {
        (self.set)(Some(filter))?;
        tracing::info!(filter, seconds = time.as_secs_f64(), "the cloud changes what is logged, for a while");
        let set = Arc::clone(&self.set);
        let waiting = sys::spawn(async move {
            tokio::time::sleep(time).await;
            match set(None) {
                Ok(()) => tracing::info!("what is logged is as at the start again"),
                Err(error) => tracing::error!(error, "what is logged cannot be changed back"),
            }
        });
        let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = back.replace(waiting.abort_handle()) {
            before.abort();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_later_filter_replaces_an_earlier_one_and_the_usual_one_comes_back_once() {
        let seen = Arc::<Mutex<Vec<Option<String>>>>::default();
        let told = Arc::clone(&seen);
        let filter = LogFilter::new(move |filter| match filter {
            Some("wrong") => Err("no filter".to_owned()),
            other => {
                told.lock().unwrap().push(other.map(ToOwned::to_owned));
                Ok(())
            }
        });
        filter.set_for("debug", Duration::from_secs(10)).unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        filter.set_for("trace", Duration::from_secs(10)).unwrap();
        assert!(filter.set_for("wrong", Duration::from_secs(1)).is_err());
        tokio::time::sleep(Duration::from_secs(9)).await;
        let so_far = [Some("debug".to_owned()), Some("trace".to_owned())];
        assert_eq!(*seen.lock().unwrap(), so_far);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(seen.lock().unwrap().get(2..), Some([None].as_slice()));
    }
}
