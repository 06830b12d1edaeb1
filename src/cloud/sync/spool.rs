//! The parts of an unfinished snapshot, on disk: a building's worth is some fifty megabytes of text, more than a
//! gateway should hold in memory beside its doors.
//!
//! The file has no name, so nothing of it is left by whatever ends the process. It holds flats as JSON, each behind its
//! length (four bytes, little-endian), in the order in which they came.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::PathBuf,
};

use crate::sys::files::nameless;

/// Appends a flat in the file's form.
pub(super) fn append(flats: &mut Vec<u8>, json: &str) {
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    flats.extend_from_slice(&length.to_le_bytes());
    flats.extend_from_slice(json.as_bytes());
}

/// Flats of a snapshot, waiting for the rest.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    file: Option<File>,
}

impl Spool {
    /// A spool whose file is made at `path`, when something is to be kept.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Keeps the flats of a part; where `fresh`, after dropping all that is kept. Blocks on the disk.
    ///
    /// # Errors
    /// As the system says, a full disk among it; what is kept is then incomplete.
    pub fn keep(&mut self, flats: &[u8], fresh: bool) -> io::Result<()> {
        if fresh {
            self.file = None;
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => nameless(&self.path)?,
        };
        let file = self.file.insert(file);
        file.seek(SeekFrom::End(0))?;
        file.write_all(flats)
    }

    /// Drops everything, and gives the room on the disk back.
    pub fn clear(&mut self) {
        self.file = None;
    }

    /// Hands over every flat kept, as text.
    ///
    /// # Errors
    /// What `take` says, or that the file cannot be read.
    pub fn each<E: From<io::Error>>(&mut self, mut take: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.rewind()?;
        let mut reader = BufReader::with_capacity(256 << 10, file);
        let mut json = Vec::new();
        let mut length = [0; 4];
        loop {
            match reader.read_exact(&mut length) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                read => read?,
            }
            json.resize(usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX), 0);
            reader.read_exact(&mut json)?;
            let text = std::str::from_utf8(&json).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            take(text)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn kept(spool: &mut Spool) -> Vec<String> {
        let mut kept = Vec::new();
        let keep = |json: &str| {
            kept.push(json.to_owned());
            Ok::<_, io::Error>(())
        };
        spool.each(keep).unwrap();
        kept
    }

    #[test]
    fn flats_come_out_as_they_went_in_and_nothing_has_a_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("parts"), "left behind").unwrap();
        let mut spool = Spool::new(dir.path().join("parts"));
        assert!(kept(&mut spool).is_empty());
        let flats = |texts: &[&str]| {
            let mut flats = Vec::new();
            texts.iter().for_each(|json| append(&mut flats, json));
            flats
        };
        spool.keep(&flats(&["{}", "{\"é\":1}"]), false).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        spool.keep(&flats(&[""]), false).unwrap();
        assert_eq!(kept(&mut spool), ["{}", "{\"é\":1}", ""]);
        spool.keep(&flats(&["[]"]), false).unwrap();
        assert_eq!(kept(&mut spool), ["{}", "{\"é\":1}", "", "[]"]);
        spool.keep(&flats(&["1"]), true).unwrap();
        assert_eq!(kept(&mut spool), ["1"]);
        spool.clear();
        assert!(kept(&mut spool).is_empty());
    }
}
