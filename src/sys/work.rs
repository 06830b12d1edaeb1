//! Work on the runtime, by one copy of the runtime's machine code: left as it is, each kind of work has it compiled
//! again, fifteen functions every time.

use std::{
    any::Any,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use tokio::task::{JoinError, JoinHandle};

/// Starts a task, as [`tokio::spawn`] does.
pub fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    let task: BoxFuture<'static, T> = Box::pin(task);
    tokio::spawn(task)
}

/// Starts work that blocks on a thread of its own, as [`tokio::task::spawn_blocking`] does.
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Blocking<T> {
    let work: Box<dyn FnOnce() -> Done + Send> = Box::new(move || Box::new(work()));
    Blocking { thread: tokio::task::spawn_blocking(work), result: PhantomData }
}

type Done = Box<dyn Any + Send>;

/// Work that blocks, under way: a future of its result. Dropping it does not stop the work.
#[must_use = "it goes on without anybody who knows how it ends"]
pub struct Blocking<T> {
    thread: JoinHandle<Done>,
    result: PhantomData<fn() -> T>,
}

impl<T: 'static> Future for Blocking<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let done = Pin::new(&mut self.thread).poll(context);
        done.map_ok(|done| *done.downcast().expect("what the work returned"))
    }
}

/// Waits for work that blocks. A panic there goes on here, so that what stands on the work ends as well; it was
/// logged where it began.
pub async fn finished<T: 'static>(work: Blocking<T>) -> T {
    match work.await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Cancelled: the runtime ends, and nobody waits any more.
        Err(Err(_)) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_on_another_thread_is_that_of_those_who_wait_for_it() {
        assert_eq!(finished(blocking(|| 7)).await, 7);
        let waiting = tokio::spawn(finished(blocking(|| panic!("on purpose"))));
        assert!(waiting.await.unwrap_err().is_panic());
    }
}
