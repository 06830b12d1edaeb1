//! `decode`: a recording of a line, frame by frame: an OSDPCAP capture, or a pcap file with Modbus.

mod modbus;
mod osdp;

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Cursor, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{builder::TypedValueParser, error::ErrorKind};

use crate::{
    domain::{BYTE_ORDER_MARK, json},
    wire::{
        osdp::{Scbk, decoder::Verdict},
        recording::pcap,
    },
};

/// Shows a recording of a line frame by frame: an OSDPCAP capture, decrypted where a key is known, or a pcap file of
/// link type 250 (RTAC serial) with Modbus. Ends with status 1 where something in it is no frame.
#[derive(Clone, Debug, clap::Args)]
pub struct Decode {
    /// The recording; "-" reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Base key (SCBK) of the panels in the capture: 32 hex digits. The default key, and keys that the capture
    /// itself sets by KEYSET, are known without it
    #[arg(long, value_name = "HEX", value_parser = KeyParser)]
    pub key: Option<Scbk>,
    /// One JSON object a frame
    #[arg(long)]
    pub json: bool,
}

impl Decode {
    /// Prints the recording to standard output.
    ///
    /// # Errors
    /// The file cannot be opened, or parts of it cannot be read or are no frames; all frames have been printed then.
    pub fn run(self) -> anyhow::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        if self.file == Path::new("-") {
            return print(io::stdin().lock(), "standard input", self.key, self.json, &mut out);
        }
        let name = self.file.display().to_string();
        let file = File::open(&self.file).with_context(|| format!("cannot open the recording {name}"))?;
        print(BufReader::new(file), &name, self.key, self.json, &mut out)
    }
}

/// Decodes a recording from `input`, which messages call `name`, to `out`: a table, or with `json` an object a frame.
/// What kind of recording it is, its first bytes say. A reader of `out` that has gone (`| head`) ends it without an
/// error.
///
/// # Errors
/// `out` cannot be written, or parts of the recording cannot be read or are no frames: the first of them is named,
/// and all frames have been written.
pub fn print(
    mut input: impl BufRead,
    name: &str,
    key: Option<Scbk>,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut begin = Vec::new();
    input.by_ref().take(4).read_to_end(&mut begin).with_context(|| format!("cannot read {name}"))?;
    let is_pcap = begin.first_chunk().is_some_and(|begin| pcap::is_pcap(*begin));
    if begin.starts_with(BYTE_ORDER_MARK) {
        begin.drain(..BYTE_ORDER_MARK.len());
    }
    let input = Cursor::new(begin).chain(input);
    let mut sink = Sink { out, json, names: 0, troubles: Troubles::default() };
    let printed =
        if is_pcap { modbus::print(input, name, &mut sink) } else { osdp::print(input, key, &mut sink) };
    let printed = printed.and_then(|()| Ok(sink.out.flush()?));
    match printed {
        Err(error) if is_broken_pipe(&error) => return Ok(()),
        result => result?,
    }
    match (sink.troubles.first, sink.troubles.others) {
        (None, _) => Ok(()),
        (Some((place, error)), 0) => bail!("{name}:{place}: {error}"),
        (Some((place, error)), others) => bail!("{name}:{place}: {error}; nor can {others} more be read"),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Where the frames go.
struct Sink<'a, W> {
    out: &'a mut W,
    json: bool,
    /// How long names may be.
    names: usize,
    troubles: Troubles,
}

#[derive(Default)]
struct Troubles {
    first: Option<(usize, String)>,
    others: usize,
}

/// A frame, as the table shows it.
struct Row<'a> {
    n: u64,
    direction: &'a str,
    address: u8,
    sequence: Option<u8>,
    name: &'a str,
    check: Verdict,
    mac: Option<Verdict>,
    details: Vec<String>,
}

impl<W: Write> Sink<'_, W> {
    /// Writes the head of the table, for names of at most this length.
    fn head(&mut self, names: usize) -> io::Result<()> {
        self.names = names;
        if !self.json {
            writeln!(self.out, "     n  direction  addr  seq  {:<names$}  check  mac  details", "name")?;
        }
        Ok(())
    }

    /// Writes a frame: its row, or this object.
    fn frame(&mut self, row: &Row<'_>, object: &impl serde::Serialize) -> io::Result<()> {
        if self.json {
            return writeln!(self.out, "{}", json::text(object));
        }
        writeln!(self.out, "{}", row.text(self.names))
    }

    /// Notes what is no frame, at a line or packet of this number.
    fn trouble(&mut self, kind: &str, place: usize, what: &str) -> io::Result<()> {
        if !self.json {
            writeln!(self.out, "        {kind} {place}: {what}")?;
        }
        match self.troubles.first {
            None => self.troubles.first = Some((place, what.to_owned())),
            Some(_) => self.troubles.others += 1,
        }
        Ok(())
    }

    /// Writes what the recorder has to say.
    fn note(&mut self, kind: &str, place: usize, note: &str) -> io::Result<()> {
        if self.json {
            return writeln!(self.out, "{}", json::text(&Note::of(note)));
        }
        writeln!(self.out, "        {kind} {place}: {note}")
    }
}

/// What a recorder has to say, in the shape of a frame.
#[derive(serde::Serialize)]
struct Note<'a> {
    n: Option<u64>,
    direction: Option<&'a str>,
    address: Option<u8>,
    sequence: Option<u8>,
    name: Option<&'a str>,
    check: Option<&'a str>,
    mac: Option<&'a str>,
    data: Option<&'a str>,
    note: &'a str,
}

impl<'a> Note<'a> {
    const fn of(note: &'a str) -> Self {
        Self {
            n: None,
            direction: None,
            address: None,
            sequence: None,
            name: None,
            check: None,
            mac: None,
            data: None,
            note,
        }
    }
}

impl Row<'_> {
    fn text(&self, names: usize) -> String {
        let verdict = |verdict| match verdict {
            Some(Verdict::Ok) => "ok",
            Some(Verdict::Bad) => "BAD",
            None => "-",
        };
        let sequence = self.sequence.map_or("-".to_owned(), |sequence| sequence.to_string());
        let details: Vec<&str> =
            self.details.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        let row = format!(
            "{:>6}  {:<9}  {:>4}  {sequence:>3}  {:<names$}  {:<5}  {:<3}  {}",
            self.n,
            self.direction,
            self.address,
            self.name,
            verdict(Some(self.check)),
            verdict(self.mac),
            details.join("  ")
        );
        row.trim_end().to_owned()
    }
}

/// Reads `--key`. Its error does not repeat the value, as clap's own would: nearly a key is a secret too.
#[derive(Clone)]
pub(super) struct KeyParser;

impl TypedValueParser for KeyParser {
    type Value = Scbk;

    fn parse_ref(
        &self,
        _: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Scbk, clap::Error> {
        value.to_str().and_then(Scbk::from_hex).ok_or_else(|| {
            clap::Error::raw(ErrorKind::ValueValidation, "--key: a base key (SCBK) is 32 hex digits\n")
        })
    }
}
