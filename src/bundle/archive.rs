//! The archive.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, Header};

/// The folder in the archive.
const FOLDER: &str = "intercom-gateway";

/// A tar.gz under way.
pub struct Bundle<W: Write> {
    tar: Builder<GzEncoder<W>>,
    seconds: u64,
}

impl<W: Write> Bundle<W> {
    /// Begins an archive whose files are of this time, seconds since the epoch.
    pub fn begin(out: W, seconds: u64) -> Self {
        Self { tar: Builder::new(GzEncoder::new(out, Compression::default())), seconds }
    }

    /// Adds a file.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
        header.set_mode(0o644);
        header.set_mtime(self.seconds);
        self.tar.append_data(&mut header, format!("{FOLDER}/{name}"), content)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.tar.into_inner()?.finish()
    }
}
