//! What the daemon cannot be without: long-lived tasks and threads, and how to see that one has ended.
//!
//! Whatever of these ends before it is told to has panicked, or lost what it stood on. Nobody goes on without it: the
//! process ends, and systemd starts it again.

use tokio::task::{AbortHandle, JoinHandle};

/// A long-lived task or thread.
pub struct Unit {
    name: String,
    has_ended: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Unit {
    /// Returns a unit that `has_ended` tells the end of.
    pub fn new(name: impl Into<String>, has_ended: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { name: name.into(), has_ended: Box::new(has_ended) }
    }

    /// Returns a task as a unit.
    pub fn task<T>(name: impl Into<String>, task: &JoinHandle<T>) -> Self {
        Self::tasks(name, vec![task.abort_handle()])
    }

    /// Returns several tasks as a unit, which ends with the first of them.
    pub fn tasks(name: impl Into<String>, tasks: Vec<AbortHandle>) -> Self {
        Self::new(name, move || tasks.iter().any(AbortHandle::is_finished))
    }
}

/// Returns the name of a unit that has ended.
pub fn ended(units: &[Unit]) -> Option<&str> {
    units.iter().find(|unit| (unit.has_ended)()).map(|unit| unit.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_task_of_several_that_panics_is_the_end_of_the_unit() {
        let living = tokio::spawn(std::future::pending::<()>());
        let (end, wish) = tokio::sync::oneshot::channel::<()>();
        let panicking = tokio::spawn(async move {
            wish.await.unwrap();
        });
        let units = [
            Unit::task("the living", &living),
            Unit::tasks("both", vec![living.abort_handle(), panicking.abort_handle()]),
        ];
        assert_eq!(ended(&units), None);
        drop(end);
        assert!(panicking.await.unwrap_err().is_panic());
        assert_eq!(ended(&units), Some("both"));
    }
}
