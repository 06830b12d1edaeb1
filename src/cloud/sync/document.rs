//! The schemas of what is asked for, of what comes, and of what is in force.

use schemars::JsonSchema;
use serde_json::json;

use super::{Request, State};
use crate::{
    domain::schema::{self, Schemas},
    flats::FlatRecord,
};

/// A message on `sync/flats`. Its reader takes the members one by one, and names the one at fault.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a shape")]
struct Message<Own> {
    kind: String,
    /// The request that it answers.
    request: schema::Uuid,
    /// The revision that it leads to.
    revision: u64,
    /// The digest of that revision.
    digest: schema::Digest,
    #[serde(flatten)]
    own: Own,
    /// The gateway's id, where signatures are required.
    gateway: String,
}

#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a shape")]
struct Snapshot {
    part: schema::Sequence,
    parts: schema::Sequence,
    flats: Vec<FlatRecord>,
    /// Whether it may leave no flats where there were some.
    empty: bool,
}

#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a shape")]
struct Delta {
    /// The revision that it builds on.
    base: u64,
    upsert: Vec<FlatRecord>,
    remove: Vec<FlatId>,
    /// Whether it may leave no flats where there were some.
    empty: bool,
}

#[derive(JsonSchema)]
struct Current {}

/// A flat that is no more.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a shape")]
struct FlatId {
    intercom: schema::Id,
    id: schema::Id,
}

/// Adds all of them.
pub(in crate::cloud) fn describe(schemas: &mut Schemas) {
    schemas.written::<Request<'_>>().written::<State<'_>>();
    let needs = ["revision", "part", "parts", "digest", "flats"];
    message::<Snapshot>(schemas, "snapshot", "A part of everything.", &needs);
    message::<Delta>(schemas, "delta", "What changed.", &["base", "revision", "digest"]);
    message::<Current>(schemas, "current", "The gateway is up to date.", &["request", "revision", "digest"]);
}

fn message<Own: JsonSchema>(schemas: &mut Schemas, kind: &str, description: &str, needs: &[&str]) {
    let title = schema::title(kind);
    schemas.written_as::<Message<Own>>(&title, |schema| {
        schema.insert("title".to_owned(), json!(title));
        schema.insert("description".to_owned(), json!(description));
        schema.insert("required".to_owned(), json!([&["kind"], needs].concat()));
        schema.pointer_mut("/properties").unwrap()["kind"] = json!({"const": kind});
    });
}

#[test]
fn what_is_documented_is_what_is_read() {
    let mut generator = schemars::SchemaGenerator::default();
    let shapes =
        [Message::<Snapshot>::json_schema(&mut generator), Message::<Delta>::json_schema(&mut generator)];
    let members =
        shapes.iter().flat_map(|shape| shape.get("properties").unwrap().as_object().unwrap().keys());
    let documented: std::collections::BTreeSet<&str> = members.map(String::as_str).collect();
    let read = super::read::Members::json_schema(&mut generator);
    let read = read.get("properties").unwrap().as_object().unwrap().keys().map(String::as_str);
    // Whom it is signed for is looked at where the signature is.
    assert_eq!(documented, read.chain(["gateway"]).collect());
}
