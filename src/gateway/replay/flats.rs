//! Flats from a file, brought into force as the daemon does it: through a cache of their own, which goes with the
//! replay.

use std::{
    collections::BTreeSet,
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use serde::Deserialize;

use crate::{
    bus::InForce,
    config::Config,
    domain::json,
    gateway::{self, directory::Keys, lines},
    store::{Store, StoreOptions},
    sys::files::private_dir,
};

/// A folder that goes when this is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is of nobody's use, and its owner's alone.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns what a file of flats leads to.
///
/// # Errors
/// The file cannot be read, or is refused.
pub(super) fn load(path: &Path, config: &Config) -> anyhow::Result<Arc<InForce>> {
    let folder = Folder(env::temp_dir().join(format!("intercom-gateway-replay-{}", process::id())));
    let wanted = || format!("cannot make {}", folder.0.display());
    private_dir(&folder.0).with_context(wanted)?;
    let file = File::open(path).with_context(|| format!("cannot open the flats {}", path.display()))?;
    let clock = gateway::clock(config);
    let store = Store::start(StoreOptions {
        dir: folder.0.clone(),
        keep: Duration::ZERO,
        max_events: 0,
        max_journal_bytes: None,
        alone: true,
        now: Arc::new(move || clock.stamp()),
        clock_is_steady: Arc::new(|| false),
    })?;
    let cache = store.cache();
    let imported = cache.import(file, &config.intercom_ids());
    imported.with_context(|| format!("the flats of {} are refused", path.display()))?;
    let keys = Keys::new(cache, config.gateway.timezone.clone(), lines::configured(config));
    let loaded = keys.refresh();
    let in_force = keys.in_force().load_full();
    drop(keys);
    store.shutdown();
    loaded?;
    Ok(in_force)
}

/// Returns the intercoms that a file of flats is of.
///
/// # Errors
/// The file cannot be read, or is no list of flats.
pub(super) fn intercoms(path: &Path) -> anyhow::Result<BTreeSet<u64>> {
    #[derive(Deserialize)]
    struct Document {
        flats: Vec<Flat>,
    }
    #[derive(Deserialize)]
    struct Flat {
        intercom: u64,
    }
    let text = fs::read(path).with_context(|| format!("cannot read the flats {}", path.display()))?;
    let document: Document = json::from_slice(&text)
        .with_context(|| format!("{} holds no flats as `export` writes them", path.display()))?;
    Ok(document.flats.iter().map(|flat| flat.intercom).collect())
}
