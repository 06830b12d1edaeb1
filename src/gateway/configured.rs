//! The configuration in force.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;

/// The configuration in force; cheap to clone. All clones see the same one, and every change of it.
#[derive(Clone)]
pub struct Configured(Arc<watch::Sender<Arc<Config>>>);

impl Configured {
    /// Begins with the configuration of the start.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(config))))
    }

    /// Returns what is in force now.
    pub fn now(&self) -> Arc<Config> {
        self.0.borrow().clone()
    }

    /// Returns what is in force, and a notice of every change of that.
    pub fn watch(&self) -> watch::Receiver<Arc<Config>> {
        self.0.subscribe()
    }

    /// Brings another one into force.
    pub fn replace(&self, config: Arc<Config>) {
        self.0.send_replace(config);
    }
}
