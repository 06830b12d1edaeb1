//! OSDPCAP.

use std::io::{BufRead, Write};

use super::{Row, Sink};
use crate::wire::osdp::{
    Command, Reply, Scbk,
    capture::Lines,
    decoder::{Content, Decoder, Direction, Item, Record},
};

/// Of the codes' names.
const LONGEST_NAME: usize = 9;

/// Prints the frames of a capture, and what of it is none.
pub(super) fn print<W: Write>(
    input: impl BufRead,
    key: Option<Scbk>,
    sink: &mut Sink<'_, W>,
) -> anyhow::Result<()> {
    let mut decoder = Decoder::new(key);
    sink.head(LONGEST_NAME)?;
    for (number, line) in Lines::new(input) {
        match line {
            Ok(line) => print_items(decoder.line(number, &line), sink)?,
            Err(error) => sink.trouble("line", number, &error.to_string())?,
        }
    }
    print_items(decoder.finish(), sink)
}

fn print_items<W: Write>(items: Vec<(usize, Item)>, sink: &mut Sink<'_, W>) -> anyhow::Result<()> {
    for (line, item) in items {
        match item {
            Item::Frame(record) => sink.frame(&row(&record), &record)?,
            Item::Noise(bytes) => sink.trouble("line", line, &format!("{bytes} bytes that are no frame"))?,
            Item::Unfinished { bytes, missing } => {
                let what = format!("a frame ends after {bytes} bytes, at least {missing} are missing");
                sink.trouble("line", line, &what)?;
            }
            Item::Note(note) => sink.note("line", line, &note)?,
        }
    }
    Ok(())
}

fn row(record: &Record) -> Row<'_> {
    Row {
        n: record.n,
        direction: match record.direction {
            Direction::Command => "command",
            Direction::Reply => "reply",
        },
        address: record.address,
        sequence: Some(record.sequence),
        name: &record.name,
        check: record.check,
        mac: record.mac,
        details: vec![
            record.details(),
            if hex_is_shown(&record.content) { hex::encode(&*record.data) } else { String::new() },
            if record.redacted { "(redacted)".to_owned() } else { String::new() },
            if record.repeated { "(sent again)".to_owned() } else { String::new() },
        ],
    }
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
