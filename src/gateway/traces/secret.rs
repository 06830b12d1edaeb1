//! The secret by which keys become other bytes in a trace. It never leaves the state directory: not in a backup
//! either, as a trace says nothing to another gateway.

use std::{fs, io, path::Path};

use zeroize::Zeroizing;

use crate::{sys::files::write_private, wire::recording::Secret};

/// Its file, below the state directory.
const FILE: &str = "trace.key";

/// Returns the secret, which is made where there is none. Where the disk does not keep it, keys have other pseudonyms
/// after the next start. Blocks on the disk.
pub(super) fn load(state_dir: &Path) -> Secret {
    let path = state_dir.join(FILE);
    let mut bytes = Zeroizing::new([0_u8; 32]);
    match fs::read_to_string(&path).map(Zeroizing::new) {
        Ok(text) if hex::decode_to_slice(text.trim(), &mut *bytes).is_ok() => return Secret::new(&bytes),
        Ok(_) => tracing::warn!("{} holds no secret of traces, and is made anew", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(%error, "cannot read {}: keys in traces have other pseudonyms", path.display())
        }
    }
    if let Err(error) = getrandom::fill(&mut *bytes) {
        // Nothing can be guessed from a trace that holds no key at all.
        tracing::error!(%error, "the system has no random numbers");
    }
    let text = Zeroizing::new(hex::encode(*bytes));
    if let Err(error) = write_private(&path, text.as_bytes()) {
        tracing::warn!(%error, "cannot keep {}: keys in traces have other pseudonyms after a restart", path.display());
    }
    Secret::new(&bytes)
}
