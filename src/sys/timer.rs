//! A timer with the kernel's resolution for an async task; tokio's own counts in milliseconds.

use std::{
    future::poll_fn,
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    time::Duration,
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::io::{Interest, unix::AsyncFd};

/// A timerfd on CLOCK_MONOTONIC.
pub struct Timer(AsyncFd<Owned>);

struct Owned(TimerFd);

impl AsRawFd for Owned {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// A timer that is not set. Must be called within a tokio runtime.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = Owned(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?);
        // SAFETY: `Owned` owns its descriptor, gives always the same one, and closes it only when it is dropped,
        // which AsyncFd does after it has deregistered it.
        Ok(Self(unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?))
    }

    /// Goes off at `nanos` of CLOCK_MONOTONIC; a moment that has passed goes off at once. Replaces an earlier
    /// setting.
    pub fn set(&self, nanos: u64) -> io::Result<()> {
        // Zero would disarm it.
        let at = TimeSpec::from_duration(Duration::from_nanos(nanos.max(1)));
        Ok(self.0.get_ref().0.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    /// Waits until it goes off, or returns at once if it has gone off since the last wait: a caller that has set it anew
    /// meanwhile looks at the time. Safe to cancel.
    pub async fn wait(&self) -> io::Result<()> {
        // Nothing is read: each time that it goes off is told anew.
        poll_fn(|context| self.0.poll_read_ready(context).map_ok(|mut ready| ready.clear_ready())).await
    }
}

#[cfg(test)]
mod tests {
    use nix::time::clock_gettime;

    use super::*;

    /// Nanoseconds of CLOCK_MONOTONIC.
    fn now() -> u64 {
        let now = Duration::from(clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap());
        u64::try_from(now.as_nanos()).unwrap()
    }

    /// Polls once, after what has gone off was told.
    async fn is_told(timer: &Timer) -> bool {
        tokio::task::yield_now().await;
        tokio::select! {
            biased;
            told = timer.wait() => told.is_ok(),
            () = tokio::task::yield_now() => false,
        }
    }

    #[tokio::test]
    async fn it_goes_off_each_time_that_it_is_set_and_only_then() {
        let timer = Timer::new().unwrap();
        assert!(!is_told(&timer).await, "it is not set");
        for _ in 0..100 {
            let at = now() + 100_000;
            timer.set(at).unwrap();
            timer.wait().await.unwrap();
            assert!(now() >= at);
            assert!(!is_told(&timer).await);
            timer.set(0).unwrap();
            timer.wait().await.unwrap();
        }
    }

    #[tokio::test]
    async fn one_that_is_set_anew_goes_off_at_the_later_time_too() {
        let timer = Timer::new().unwrap();
        timer.set(0).unwrap();
        // What has gone off meanwhile may be told.
        is_told(&timer).await;
        let at = now() + 1_000_000;
        timer.set(at).unwrap();
        while now() < at {
            timer.wait().await.unwrap();
        }
    }
}
