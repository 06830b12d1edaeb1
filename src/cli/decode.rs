//! `decode`: an OSDPCAP capture, frame by frame.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;

use crate::domain::BYTE_ORDER_MARK;
use crate::wire::osdp::capture::Lines;
use crate::wire::osdp::decoder::{Content, Decoder, Direction, Item, Record, Verdict};
use crate::wire::osdp::{Command, Reply, Scbk};

/// Shows an OSDPCAP capture frame by frame, decrypted where a key is known.
#[derive(Clone, Debug, clap::Args)]
pub struct Decode {
    /// The capture; "-" reads standard input
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
    /// Prints the capture to standard output.
    ///
    /// # Errors
    /// The file cannot be opened, or lines of it cannot be read; the frames of all others have been printed then.
    pub fn run(self) -> anyhow::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        let decoder = Decoder::new(self.key);
        if self.file == Path::new("-") {
            return print(io::stdin().lock(), "standard input", decoder, self.json, &mut out);
        }
        let name = self.file.display().to_string();
        let file = File::open(&self.file).with_context(|| format!("cannot open the capture {name}"))?;
        print(BufReader::new(file), &name, decoder, self.json, &mut out)
    }
}

/// Decodes a capture from `input`, which messages call `name`, to `out`: a table, or with `json` an object a frame.
/// A reader of `out` that has gone (`| head`) ends it without an error.
///
/// # Errors
/// `out` cannot be written, or lines of the capture cannot be read: the first of them is named, and the frames of
/// all others have been written.
pub fn print(
    input: impl BufRead,
    name: &str,
    mut decoder: Decoder,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut bad_lines = BadLines::default();
    match print_lines(input, &mut decoder, json, out, &mut bad_lines).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        result => result.context("cannot write the decoded capture")?,
    }
    match (bad_lines.first, bad_lines.others) {
        (None, _) => Ok(()),
        (Some((line, error)), 0) => bail!("{name}:{line}: {error}"),
        (Some((line, error)), others) => bail!("{name}:{line}: {error}; nor can {others} more be read"),
    }
}

#[derive(Default)]
struct BadLines {
    first: Option<(usize, String)>,
    others: usize,
}

fn print_lines(
    mut input: impl BufRead,
    decoder: &mut Decoder,
    json: bool,
    out: &mut impl Write,
    bad_lines: &mut BadLines,
) -> io::Result<()> {
    if !json {
        writeln!(out, "     n  direction  addr  seq  name       check  mac  details")?;
    }
    if input.fill_buf().is_ok_and(|begin| begin.starts_with(BYTE_ORDER_MARK)) {
        input.consume(BYTE_ORDER_MARK.len());
    }
    for (number, line) in Lines::new(input) {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                if !json {
                    writeln!(out, "        line {number}: {error}")?;
                }
                match bad_lines.first {
                    None => bad_lines.first = Some((number, error.to_string())),
                    Some(_) => bad_lines.others += 1,
                }
                continue;
            }
        };
        for item in decoder.line(&line) {
            match item {
                Item::Frame(record) if json => {
                    serde_json::to_writer(&mut *out, &record)?;
                    writeln!(out)?;
                }
                Item::Frame(record) => writeln!(out, "{}", row(&record))?,
                Item::Noise(_) | Item::Unfinished { .. } if json => {}
                Item::Noise(bytes) => {
                    writeln!(out, "        line {number}: {bytes} bytes that are no frame")?
                }
                Item::Unfinished { bytes, missing } => writeln!(
                    out,
                    "        line {number}: a frame ends after {bytes} bytes, at least {missing} are missing"
                )?,
            }
        }
    }
    Ok(())
}

fn row(record: &Record) -> String {
    let direction = match record.direction {
        Direction::Command => "command",
        Direction::Reply => "reply",
    };
    let verdict = |verdict| match verdict {
        Some(Verdict::Ok) => "ok",
        Some(Verdict::Bad) => "BAD",
        None => "-",
    };
    let details = [
        record.details(),
        if hex_is_shown(&record.content) { hex::encode(&*record.data) } else { String::new() },
        if record.repeated { "(sent again)".to_owned() } else { String::new() },
    ];
    let details: Vec<_> = details.into_iter().filter(|part| !part.is_empty()).collect();
    let row = format!(
        "{:>6}  {direction:<9}  {:>4}  {:>3}  {:<9}  {:<5}  {:<3}  {}",
        record.n,
        record.address,
        record.sequence,
        record.name,
        verdict(Some(record.check)),
        verdict(record.mac),
        details.join("  ")
    );
    row.trim_end().to_owned()
}

/// Where words leave something out.
const fn hex_is_shown(content: &Content) -> bool {
    match content {
        Content::Command(command) => matches!(
            command,
            Command::Keyset(_)
                | Command::Chlng(_)
                | Command::Scrypt(_)
                | Command::Mfg { .. }
                | Command::Other { .. }
        ),
        Content::Reply(reply) => matches!(
            reply,
            Reply::Raw { .. }
                | Reply::Fmt { .. }
                | Reply::Keypad { .. }
                | Reply::Ccrypt(_)
                | Reply::RmacI(_)
                | Reply::MfgRep { .. }
                | Reply::Other { .. }
        ),
        Content::Malformed(_) | Content::Encrypted(_) | Content::Broken(_) => true,
    }
}

/// Reads `--key`. Its error does not repeat the value, as clap's own would: nearly a key is a secret too.
#[derive(Clone)]
struct KeyParser;

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
