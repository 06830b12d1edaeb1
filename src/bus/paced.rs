//! States that change faster than they may be told.

/// A state that changes faster than it may be told. What is shown is what was told last; the last state of all is told in
/// the end.
#[derive(Debug)]
pub(super) struct Paced<T> {
    told: Option<T>,
    actual: Option<T>,
}

impl<T> Default for Paced<T> {
    fn default() -> Self {
        Self { told: None, actual: None }
    }
}

impl<T: Clone + PartialEq> Paced<T> {
    pub(super) fn set(&mut self, to: T) {
        self.actual = Some(to);
    }

    /// Returns what was told last.
    pub(super) fn told(&self) -> Option<&T> {
        self.told.as_ref()
    }

    /// Returns what is to be told.
    pub(super) fn pending(&self) -> Option<&T> {
        self.actual.as_ref().filter(|_| self.told != self.actual)
    }

    /// Notes that the present state is told.
    pub(super) fn tell(&mut self) {
        self.told.clone_from(&self.actual);
    }
}
