//! The secret by which keys become other bytes in a trace. It never leaves the state directory: not in a backup
//! either, as a trace says nothing to another gateway.

use std::{fs, io, path::Path};

use zeroize::Zeroizing;

use crate::{sys::files::write_private, wire::recording::Secret};

/// Its file, below the state directory.
const FILE: &str = "trace.key";

/// Returns the secret, which is made where there is none. Where the disk does not give or keep it, keys have other pseudonyms
/// after the next start, which is worth no more than a word for developers: that the state directory is sick is told
/// elsewhere. What cannot be read is not written over. Blocks on the disk.
pub(super) fn load(state_dir: &Path) -> Secret {
    let path = state_dir.join(FILE);
    let mut bytes = Zeroizing::new([0_u8; 32]);
    let mut kept = true;
    match fs::read_to_string(&path).map(Zeroizing::new) {
        Ok(text) if hex::decode_to_slice(text.trim(), &mut *bytes).is_ok() => return Secret::new(&bytes),
        Ok(_) => tracing::warn!("{} holds no secret of traces: a new one takes its place", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::debug!(%error, "cannot read {}: keys in traces have other pseudonyms", path.display());
            kept = false;
        }
    }
    if let Err(error) = getrandom::fill(&mut *bytes) {
        tracing::error!(%error, "the system has no random numbers: keys in traces are zeros");
        return Secret::none();
    }
    let text = Zeroizing::new(hex::encode(*bytes));
    if kept && let Err(error) = write_private(&path, text.as_bytes()) {
        tracing::debug!(%error, "cannot keep {}: keys in traces have other pseudonyms after a restart", path.display());
    }
    Secret::new(&bytes)
}
