//! The runtime directory that systemd makes for the service.

use std::{env, path::PathBuf};

/// Names the directory to the service.
const VARIABLE: &str = "RUNTIME_DIRECTORY";
/// Where it is.
const USUAL: &str = "/run/intercom-gateway";
/// Its socket for those who only look.
const STATUS_SOCKET: &str = "status.sock";

/// Returns where a daemon is to serve those who only look (contract §1); `None`: it was not started by systemd.
pub fn own_status_socket() -> Option<PathBuf> {
    directory().map(|dir| dir.join(STATUS_SOCKET))
}

/// Returns where the service serves those who only look.
pub fn status_socket() -> PathBuf {
    directory().unwrap_or_else(|| USUAL.into()).join(STATUS_SOCKET)
}

fn directory() -> Option<PathBuf> {
    let directories = env::var_os(VARIABLE)?.into_string().ok()?;
    // Several are separated by colons; ours is the first.
    directories.split(':').next().filter(|dir| !dir.is_empty()).map(PathBuf::from)
}
