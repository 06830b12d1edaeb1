//! `journal`, as the daemon answers it: events that fit, then those that come.

use std::{collections::HashMap, io};

use tokio::{io::AsyncReadExt, net::UnixStream};

use super::{
    Beginning, Control, JournalAsked, Reply,
    serve::{in_time, reply, send},
};
use crate::{
    store::{Found, Position},
    sys,
};

/// Events read from the journal at once.
const BATCH: usize = 256;

impl Control {
    pub(super) async fn send_journal(
        mut self,
        mut stream: UnixStream,
        asked: JournalAsked,
    ) -> io::Result<()> {
        let follow = asked.follow;
        if !follow && let Err(error) = in_time(self.journal.opened()).await {
            return reply(&mut stream, &Reply::Error(error)).await;
        }
        reply(&mut stream, &Reply::Ok(serde_json::Value::Null)).await?;
        let (mut caller, mut out) = stream.into_split();
        let mut position = self.journal.position();
        if follow {
            let mut nothing = [0; 1];
            tokio::select! {
                opened = position.wait_for(Position::is_open) => drop(opened.map_err(io::Error::other)?),
                _ = caller.read(&mut nothing) => return Ok(()),
                _ = self.stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
        // Events may go into another journal for a while, in memory.
        let mut journal = self.journal.identity();
        let Beginning { from, mut left } = self.beginning(&asked).await?;
        let mut next_of = HashMap::from([(journal.clone(), from)]);
        loop {
            let now = position.borrow_and_update().clone();
            if now.journal != journal {
                journal = now.journal;
            }
            let newest = now.last.saturating_sub(u64::try_from(BATCH).unwrap_or(u64::MAX)) + 1;
            let next = next_of.entry(journal.clone()).or_insert(newest);
            let found = self.find(*next, &asked, usize::try_from(left).unwrap_or(BATCH).min(BATCH)).await?;
            // What is of another journal is read again when it is known as that.
            if *found.journal == *journal {
                let mut lines = String::new();
                for event in &found.events {
                    lines.push_str(&event.to_json(&self.gateway));
                    lines.push('\n');
                }
                send(&mut out, &lines).await?;
                *next = found.next;
                left = left.saturating_sub(u64::try_from(found.events.len()).unwrap_or(u64::MAX));
                if left == 0 {
                    return Ok(());
                }
                if !found.is_end {
                    continue;
                }
            }
            if !follow {
                return Ok(());
            }
            let mut nothing = [0; 1];
            tokio::select! {
                changed = position.changed() => if changed.is_err() { return Ok(()) },
                _ = caller.read(&mut nothing) => return Ok(()),
                _ = self.stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }

    async fn beginning(&self, asked: &JournalAsked) -> io::Result<Beginning> {
        let (reader, asked) = (self.journal.reader(), asked.clone());
        let begun = sys::blocking(move || asked.beginning(&reader)).await;
        begun.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    async fn find(&self, from: u64, asked: &JournalAsked, limit: usize) -> io::Result<Found> {
        let (reader, filter) = (self.journal.reader(), asked.filter.clone());
        let found = sys::blocking(move || reader.find(from, &filter, limit)).await;
        found.map_err(io::Error::other)?.map_err(io::Error::other)
    }
}
