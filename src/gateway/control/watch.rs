//! `monitor`, as the daemon answers it.

use std::io;

use tokio::{io::AsyncReadExt, net::UnixStream};

use super::{
    Control, Reply,
    serve::{reply, send},
};

impl Control {
    pub(super) async fn send_watched(mut self, mut stream: UnixStream, events: u64) -> io::Result<()> {
        let mut watcher = match self.watched.join(events) {
            Ok(watcher) => watcher,
            Err(full) => return reply(&mut stream, &Reply::Error(full.to_owned())).await,
        };
        reply(&mut stream, &Reply::Ok(serde_json::Value::Null)).await?;
        let (mut caller, mut out) = stream.into_split();
        let mut nothing = [0; 1];
        loop {
            let lines = tokio::select! {
                lines = watcher.next() => lines,
                _ = caller.read(&mut nothing) => None,
                _ = self.stop.wait_for(|stop| *stop) => None,
            };
            let Some(lines) = lines else { return Ok(()) };
            send(&mut out, &lines).await?;
        }
    }
}
