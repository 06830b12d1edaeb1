//! A trace on the disk: two files of at most [`LIMIT`], the older one with `.1` behind its name.
//!
//! Invariant: a file is whole records only, whatever an earlier process or a full disk has left.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::fcntl::OFlag;

use crate::{
    domain::Mono,
    wire::recording::{Entry, Form},
};

/// How long a file becomes.
const LIMIT: u64 = 16 << 20;
/// Between two attempts to open a file that cannot be written.
const AGAIN: Duration = Duration::from_secs(10);

/// The trace of one bus.
#[derive(Debug)]
pub(super) struct TraceFile {
    path: PathBuf,
    form: Form,
    limit: u64,
    open: Option<Open>,
    /// Whole records that are not written yet.
    waiting: Vec<u8>,
    waiting_entries: u64,
    /// Records that were not written since the last one that was.
    lost: u64,
    try_at: Mono,
    is_complaint_made: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
}

impl TraceFile {
    /// Writes to `path`, from the first record on.
    pub(super) fn new(path: PathBuf, form: Form) -> Self {
        Self {
            path,
            form,
            limit: LIMIT,
            open: None,
            waiting: Vec::new(),
            waiting_entries: 0,
            lost: 0,
            try_at: Mono::ZERO,
            is_complaint_made: false,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a record; [`TraceFile::write`] writes it.
    pub(super) fn push(&mut self, entry: &Entry, now: Mono) {
        let before = self.waiting.len();
        entry.emit(self.form, &mut self.waiting);
        let length = self.open.as_ref().map_or(0, |open| open.length);
        if length + self.waiting.len() as u64 > self.limit && length + before as u64 > 0 {
            let last = self.waiting.split_off(before);
            self.write(now);
            if self.open.is_some()
                && let Err(error) = self.rotate()
            {
                self.complain(now, &error);
            }
            self.waiting = last;
        }
        self.waiting_entries += 1;
    }

    /// Writes what waits. Blocks on the disk. Returns how many records were lost before it, where it can be written
    /// again.
    pub(super) fn write(&mut self, now: Mono) -> Option<u64> {
        if self.waiting.is_empty() {
            return None;
        }
        let (waiting, entries) =
            (std::mem::take(&mut self.waiting), std::mem::take(&mut self.waiting_entries));
        match self.write_out(&waiting, now) {
            Ok(true) => {
                self.is_complaint_made = false;
                Some(std::mem::take(&mut self.lost)).filter(|lost| *lost > 0)
            }
            Ok(false) => {
                self.lost += entries;
                None
            }
            Err(error) => {
                self.lost += entries;
                self.complain(now, &error);
                None
            }
        }
    }

    /// Returns whether it was time to try.
    fn write_out(&mut self, bytes: &[u8], now: Mono) -> io::Result<bool> {
        // Somebody may have taken it away.
        let is_there = |open: &Open| {
            let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
            let there = fs::symlink_metadata(&self.path).map(identity).ok();
            there.is_some() && there == open.file.metadata().map(identity).ok()
        };
        let open = match self.open.take().filter(is_there) {
            Some(open) => open,
            None if now < self.try_at => return Ok(false),
            None => self.open()?,
        };
        let Open { file, length } = self.open.insert(open);
        file.write_all(bytes)?;
        *length += bytes.len() as u64;
        Ok(true)
    }

    fn complain(&mut self, now: Mono, error: &io::Error) {
        // What was written last may not be whole: it is looked at when it is opened again.
        self.open = None;
        self.try_at = now + AGAIN;
        if !std::mem::replace(&mut self.is_complaint_made, true) {
            tracing::warn!(%error, "cannot write the trace {} (bus.trace_file)", self.path.display());
        }
    }

    fn open(&self) -> io::Result<Open> {
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).append(true).create(true).mode(0o600);
            // Not through a link that somebody has put there, and not waiting for the reader of a pipe.
            options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(&self.path)
        };
        let mut file = open()?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no ordinary file"));
        }
        if metadata.mode() & 0o777 != 0o600 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        let mut length = metadata.len();
        if length > 0 && !is_whole(self.form, &mut file, length)? {
            match self.form {
                Form::Osdpcap => {
                    file.write_all(b"\n")?;
                    length += 1;
                }
                // Nothing could be read behind half a packet.
                Form::Pcap => {
                    fs::rename(&self.path, self.older())?;
                    file = open()?;
                    length = 0;
                }
            }
        }
        if length == 0 {
            let header = self.form.header();
            file.write_all(&header)?;
            length = header.len() as u64;
        }
        Ok(Open { file, length })
    }

    /// Begins the file anew, and keeps what there is as the older one.
    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        fs::rename(&self.path, self.older())?;
        self.open = Some(self.open()?);
        Ok(())
    }

    fn older(&self) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(".1");
        path.into()
    }
}

/// Whether a file ends with a whole record.
fn is_whole(form: Form, file: &mut File, length: u64) -> io::Result<bool> {
    match form {
        Form::Osdpcap => {
            let mut last = [0];
            file.seek(SeekFrom::Start(length - 1))?;
            file.read_exact(&mut last)?;
            Ok(last == *b"\n")
        }
        Form::Pcap => {
            let header = form.header();
            let mut begin = vec![0; header.len()];
            file.seek(SeekFrom::Start(0))?;
            if length < header.len() as u64 {
                return Ok(false);
            }
            file.read_exact(&mut begin)?;
            let mut at = header.len() as u64;
            let mut reader = io::BufReader::new(&*file);
            let mut packet = [0; 16];
            while at + 16 <= length && begin == header {
                reader.read_exact(&mut packet)?;
                let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = packet;
                let bytes = i64::from(u32::from_le_bytes([a, b, c, d]));
                reader.seek_relative(bytes)?;
                at += 16 + bytes.unsigned_abs();
            }
            Ok(begin == header && at == length)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::wire::{
        osdp::capture::{Io, Lines},
        recording::{Content, pcap::Packets},
    };

    const NOW: Mono = Mono::ZERO;

    fn entry(number: u64) -> Entry {
        let content = Content::Bytes { io: Io::Out, bytes: number.to_be_bytes().to_vec(), redacted: false };
        Entry { nanos: number, content }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn numbers(path: &Path, form: Form) -> Vec<u64> {
        let file = File::open(path).unwrap();
        let data: Vec<Vec<u8>> = match form {
            Form::Osdpcap => {
                Lines::new(io::BufReader::new(file)).map(|(_, line)| line.unwrap().data).collect()
            }
            Form::Pcap => Packets::new(file).unwrap().map(|(_, packet)| packet.unwrap().data).collect(),
        };
        data.iter().map(|data| u64::from_be_bytes(data.as_slice().try_into().unwrap())).collect()
    }

    #[test]
    fn two_files_within_the_limit_hold_the_newest_records_whole() {
        for form in [Form::Osdpcap, Form::Pcap] {
            let folder = tempfile::tempdir().unwrap();
            let (path, older) = (folder.path().join("t"), folder.path().join("t.1"));
            let mut trace = TraceFile { limit: 4000, ..TraceFile::new(path.clone(), form) };
            for number in 0..1000 {
                trace.push(&entry(number), NOW);
                if number % 7 == 0 {
                    assert_eq!(trace.write(NOW), None);
                }
            }
            trace.write(NOW);
            let mut all = numbers(&older, form);
            all.extend(numbers(&path, form));
            assert_eq!(all, (1000 - all.len() as u64..1000).collect::<Vec<_>>());
            assert!(all.len() > 30, "{}", all.len());
            for file in [&path, &older] {
                assert!(fs::metadata(file).unwrap().len() <= 4000);
                assert_eq!(mode(file), 0o600);
            }
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn a_file_that_was_cut_at_any_byte_goes_on_with_whole_records() {
        for form in [Form::Osdpcap, Form::Pcap] {
            let mut whole = form.header();
            entry(1).emit(form, &mut whole);
            for cut in 1..=whole.len() {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("t");
                fs::write(&path, &whole[..cut]).unwrap();
                let mut trace = TraceFile::new(path.clone(), form);
                trace.push(&entry(2), NOW);
                trace.write(NOW);
                let read = match form {
                    Form::Osdpcap => {
                        let lines = Lines::new(io::BufReader::new(File::open(&path).unwrap()));
                        lines.filter_map(|(_, line)| line.ok()).map(|line| line.nanos).collect::<Vec<_>>()
                    }
                    Form::Pcap => numbers(&path, form).iter().map(|number| *number as u32).collect(),
                };
                assert_eq!(read.last(), Some(&2), "{form:?} cut at {cut}");
                let is_kept = cut == whole.len() || (form == Form::Osdpcap && cut == whole.len() - 1);
                assert_eq!(read.len(), 1 + usize::from(is_kept), "{form:?} cut at {cut}");
                assert_eq!(mode(&path), 0o600);
            }
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/t");
        let mut trace = TraceFile::new(path.clone(), Form::Osdpcap);
        for number in 0..3 {
            trace.push(&entry(number), NOW);
            assert_eq!(trace.write(NOW), None);
        }
        fs::create_dir(folder.path().join("none")).unwrap();
        trace.push(&entry(3), NOW);
        assert_eq!(trace.write(NOW), None, "not every quarter of a second");
        trace.push(&entry(4), NOW);
        assert_eq!(trace.write(NOW + AGAIN), Some(4));
        assert_eq!(numbers(&path, Form::Osdpcap), [4]);
        fs::remove_file(&path).unwrap();
        trace.push(&entry(5), NOW);
        assert_eq!(trace.write(NOW + AGAIN), None);
        assert_eq!(numbers(&path, Form::Osdpcap), [5], "somebody took it away");
    }

    #[test]
    fn links_and_pipes_are_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("t"), folder.path().join("other"));
        symlink(&other, &path).unwrap();
        let mut trace = TraceFile::new(path.clone(), Form::Osdpcap);
        trace.push(&entry(1), NOW);
        trace.write(NOW);
        assert!(!other.exists() && trace.lost == 1);
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        trace.push(&entry(2), NOW);
        trace.write(NOW + AGAIN);
        assert_eq!(trace.lost, 2);
    }
}
