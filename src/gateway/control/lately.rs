//! What went over a line lately, as the daemon has it in memory for incidents: redacted, whatever `trace_keys` says.

use std::io;

use serde_json::json;
use tokio::net::UnixStream;

use super::{
    Control, Reply,
    serve::{self, reply},
};
use crate::{domain::Name, gateway::traces::Lately};

/// Sends how the recording is called and how long it is, then the recording.
pub(super) async fn send(control: &Control, mut stream: UnixStream, bus: &Name) -> io::Result<()> {
    let recorded = match control.bus(bus) {
        Ok(_) => control.traces.lately(bus).await,
        Err(unknown) => Err(unknown),
    };
    match recorded {
        Ok(Lately { form, content }) => {
            let told = json!({ "extension": form.extension(), "bytes": content.len() });
            reply(&mut stream, &Reply::Ok(told)).await?;
            serve::send(&mut stream, content).await
        }
        Err(why) => reply(&mut stream, &Reply::Error(why)).await,
    }
}
