//! The schemas of commands and their results.

use schemars::JsonSchema;
use serde_json::json;

use super::{
    outcome::Message,
    request::{LineArgs, LogArgs, Nothing, ReplayArgs, UnlockArgs},
};
use crate::domain::schema::{self, Schemas};

/// A message on `commands`. Its reader takes the members one by one, so that a wrong one does not hide the others.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a shape")]
struct Asked<Args> {
    id: schema::Uuid,
    args: Args,
    /// At most 24 h ahead.
    #[schemars(extend("format" = "date-time"))]
    expires_at: String,
    /// That of the retained status.
    session: Option<schema::Uuid>,
    /// The gateway's id, where signatures are required.
    gateway: Option<String>,
}

/// Adds all commands, and what becomes of them.
pub(in crate::cloud) fn describe(schemas: &mut Schemas) {
    schemas.written::<Message<'_>>();
    let unlock = "Opens a door; `expires_at` at most 60 s ahead.";
    command::<UnlockArgs>(schemas, "unlock", unlock, &["args", "session"]);
    command::<LineArgs>(schemas, "measure_line", "Measures the line of a flat now.", &["args"]);
    command::<Nothing>(schemas, "resync", "Makes the gateway ask for the flats anew.", &[]);
    let replay = "Publishes these events again; done when the broker has taken them.";
    command::<ReplayArgs>(schemas, "replay", replay, &["args"]);
    command::<Nothing>(schemas, "report", "Examines the installation.", &[]);
    command::<LogArgs>(schemas, "log_level", "Logs by another filter for a while.", &["args"]);
}

fn command<Args: JsonSchema>(schemas: &mut Schemas, kind: &str, description: &str, needs: &[&str]) {
    let title = schema::title(kind);
    schemas.read_as::<Asked<Args>>(&title, |schema| {
        schema.insert("title".to_owned(), json!(title));
        schema.insert("description".to_owned(), json!(description));
        schema.insert("required".to_owned(), json!([&["id", "command", "expires_at"], needs].concat()));
        let properties = schema.pointer_mut("/properties").unwrap();
        properties["command"] = json!({"const": kind});
        if needs.contains(&"session") {
            properties["session"]["anyOf"].as_array_mut().unwrap().retain(|schema| schema["type"] != "null");
        }
    });
}
