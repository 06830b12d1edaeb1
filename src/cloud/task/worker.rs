//! A thread of its own for work that nobody waits for: it runs when the others have nothing to do, so that a building's
//! worth of flats slows down neither doors nor endpoint.

use std::{io, sync::mpsc, thread};

use tokio::sync::oneshot;

use crate::sys;

type Work = Box<dyn FnOnce() + Send>;

/// The thread; it ends after its last work when this is dropped.
pub(super) struct Worker {
    work: mpsc::SyncSender<Work>,
}

impl Worker {
    /// Starts it.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start() -> io::Result<Self> {
        // Full: [`Worker::run`] refuses; whoever uses it has one thing done at a time.
        let (work, queue) = mpsc::sync_channel::<Work>(1);
        thread::Builder::new().name("sync".into()).spawn(move || {
            if let Err(error) = sys::run_behind() {
                tracing::debug!("the thread of the sync runs as an ordinary one: {error}");
            }
            while let Ok(work) = queue.recv() {
                work();
            }
        })?;
        Ok(Self { work })
    }

    /// Has `work` done; the answer does not come where it panicked, or another waits already.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (answer, receiver) = oneshot::channel();
        let work = move || {
            // Whoever asked may have gone.
            let _ = answer.send(work());
        };
        // Refused: `answer` is dropped with it, and the receiver tells.
        let _ = self.work.try_send(Box::new(work));
        receiver
    }
}
