//! A timer with the kernel's resolution for an async task; tokio's own counts in milliseconds.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    time::Duration,
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::io::unix::AsyncFd;

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
        Ok(Self(unsafe { AsyncFd::register(timer) }?))
    }

    /// Goes off at `nanos` of CLOCK_MONOTONIC; a moment that has passed goes off at once. Replaces an earlier
    /// setting.
    pub fn set(&self, nanos: u64) -> io::Result<()> {
        // Zero would disarm it.
        let at = TimeSpec::from_duration(Duration::from_nanos(nanos.max(1)));
        Ok(self.0.get_ref().0.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    /// Waits until it goes off. Safe to cancel.
    pub async fn wait(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            // TimerFd::wait reads, which a timer set anew in between answers with "not yet".
            match ready.try_io(|timer| timer.get_ref().0.wait().map_err(io::Error::from)) {
                Ok(done) => return done,
                Err(_not_yet) => continue,
            }
        }
    }
}
