//! What those read who are on this machine (`monitor`): the same board, by lines of JSON.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
};

use axum::body::Bytes;

use super::{
    Hub, Reader,
    asked::{Asked, LastSeen},
    feed,
    hub::Closed,
};
use crate::{
    api::{Handles, metrics},
    domain::Name,
};

/// The board for those on this machine. It stands whether the endpoint does or not.
#[derive(Clone)]
pub struct Local {
    hub: Arc<Hub>,
    handles: Handles,
    gateway: Name,
}

/// One who reads it; gone when this is dropped.
pub struct Watcher(Reader);

impl Local {
    /// Makes a board of what these handles tell.
    pub fn new(handles: Handles, gateway: Name) -> Self {
        Self { hub: Arc::new(Hub::new()), handles, gateway }
    }

    /// Feeds it for as long as this is polled.
    pub async fn feed(self) -> Infallible {
        feed(self.hub, self.handles, self.gateway).await
    }

    /// Returns what `/metrics` says, without what the endpoint counts of itself.
    pub fn metrics(&self) -> String {
        metrics::text(&self.handles, None)
    }

    /// Lets somebody in, who reads how everything is, the last `events` events, and then what happens.
    ///
    /// # Errors
    /// A sentence: why nobody is let in just now.
    pub fn join(&self, events: u64) -> Result<Watcher, &'static str> {
        let position = self.handles.journal.position().borrow().clone();
        let before = position.last.saturating_sub(events);
        let last_seen = (events > 0 && position.is_open())
            .then(|| LastSeen { journal: (*position.journal).to_owned(), sequence: before });
        let asked = Asked { last_seen, watch: None };
        let joined = self.hub.join(&self.handles, None, Weak::new(), asked, None);
        let id = joined.map_err(|closed| match closed {
            Closed::Full => "16 others watch already, the most: end one of them",
            Closed::Stopping => "the gateway is about to end",
        })?;
        Ok(Watcher(Reader::new(id, self.hub.clone(), &self.handles, &self.gateway)))
    }
}

impl Watcher {
    /// Waits for what comes next: objects `{"type","data"}`, one a line, none where only the time passes. `None`: nothing
    /// comes any more. Safe to cancel.
    pub async fn next(&mut self) -> Option<String> {
        self.0.next().await.map(|messages| lines(&messages))
    }
}

/// Writes messages of the stream as lines of JSON.
fn lines(messages: &Bytes) -> String {
    let text = std::str::from_utf8(messages).unwrap_or_default();
    let mut lines = String::new();
    for message in text.split("\n\n") {
        let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
        if let (Some(kind), Some(data)) = (field("event: "), field("data: ")) {
            lines.push_str(&format!("{{\"type\":\"{kind}\",\"data\":{data}}}\n"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{super::frames, *};

    #[test]
    fn each_message_is_a_line_and_a_comment_is_none() {
        let messages = [
            frames::message("panel", &serde_json::json!({"panel": "gate", "error": "two\n\nlines"})),
            frames::COMMENT,
            frames::event("9f3c2a41", 7, r#"{"type":"gateway.started"}"#),
            frames::gap("9f3c2a41", 1, 6),
        ];
        assert_eq!(
            lines(&messages.concat().into()),
            concat!(
                r#"{"type":"panel","data":{"error":"two\n\nlines","panel":"gate"}}"#,
                "\n",
                r#"{"type":"event","data":{"type":"gateway.started"}}"#,
                "\n",
                r#"{"type":"gap","data":{"journal":"9f3c2a41","from":1,"to":6}}"#,
                "\n",
            )
        );
    }
}
