//! A thread of its own for work that nobody waits for: it runs when the others have nothing to do, so that a building's
//! worth of flats slows down neither doors nor endpoint.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{clock, faults, sys};

/// The thread turns this often while there is nothing to do.
const TURN: Duration = Duration::from_secs(1);
/// How long one piece of work may take: a large building's flats on a slow card, behind all other threads.
const LONGEST: Duration = Duration::from_secs(600);

type Work = Box<dyn FnOnce() + Send>;

/// The thread; it ends after its last work when this is dropped.
pub(super) struct Worker {
    work: mpsc::SyncSender<Work>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts it; it stamps `beat` with every turn, ahead of the clock where it has work to do.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(beat: Arc<AtomicU64>) -> io::Result<Self> {
        // Full: [`Worker::run`] refuses; its user has one thing done at a time.
        let (work, queue) = mpsc::sync_channel::<Work>(1);
        let turn = move |time| beat.store((clock::mono() + time).as_nanos(), Ordering::Relaxed);
        let thread = thread::Builder::new().name("sync".into()).spawn(move || {
            if let Err(error) = sys::run_behind() {
                tracing::debug!("the thread of the sync runs as an ordinary one: {error}");
            }
            loop {
                turn(Duration::ZERO);
                faults::point("the thread of the sync");
                match queue.recv_timeout(TURN) {
                    Ok(work) => {
                        turn(LONGEST);
                        work();
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { work, thread })
    }

    /// Whether the thread has ended, which it does by a panic alone.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Has `work` done; the answer does not come where it panicked, or another waits already.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (answer, receiver) = oneshot::channel();
        let work = move || {
            // The caller may have gone.
            let _ = answer.send(work());
        };
        // Refused: `answer` is dropped with it, and the receiver tells.
        let _ = self.work.try_send(Box::new(work));
        receiver
    }
}
