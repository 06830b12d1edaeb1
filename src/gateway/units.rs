//! What the daemon cannot be without: long-lived tasks, and how to see that one has ended.
//!
//! A task that ends before it is told to has panicked, or lost what it stood on. The daemon does not go on without it: the
//! process ends, and systemd starts it again.

use tokio::task::{AbortHandle, JoinHandle};

/// Long-lived tasks that do one thing together.
pub struct Unit {
    name: &'static str,
    tasks: Vec<AbortHandle>,
}

impl Unit {
    /// Returns a task as a unit.
    pub fn task<T>(name: &'static str, task: &JoinHandle<T>) -> Self {
        Self::tasks(name, vec![task.abort_handle()])
    }

    /// Returns several tasks as a unit, which ends with the first of them.
    pub fn tasks(name: &'static str, tasks: Vec<AbortHandle>) -> Self {
        Self { name, tasks }
    }

    fn has_ended(&self) -> bool {
        self.tasks.iter().any(AbortHandle::is_finished)
    }
}

/// Returns the name of a unit that has ended.
pub fn ended(units: &[Unit]) -> Option<&'static str> {
    units.iter().find(|unit| unit.has_ended()).map(|unit| unit.name)
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
