//! The schemas of openapi.json.

use schemars::{JsonSchema, Schema};
use serde_json::json;

use super::{
    buses::Buses,
    commissioning::Record,
    error::{InvalidBody, Problem},
    lines::Lines,
    local::{Code, Events, Outbox, Panels, Sync, Told},
    query::Listed,
    self_told,
    stream::{End, Gap, HealthShown, Sample},
};
use crate::{
    domain::{
        ErrorCode::{self, *},
        LineStatus, PanelStatus, Reason,
        event::FlatRef,
        schema::{self, Format, Schemas, agree, any_event},
    },
    flats::{FlatDocument, KeyRecord, Properties},
};

/// A flat in a list: its document without keys and users, and its intercom.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a shape")]
struct FlatRow {
    id: schema::Id,
    /// The number on the door.
    flat: schema::Id,
    key_count: u64,
    users_count: u64,
    properties: Properties,
    intercom_id: schema::Id,
}

/// A key record in a list, with its flat.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a shape")]
struct KeyRow {
    #[serde(flatten)]
    key: KeyRecord,
    flat: FlatRef,
}

// Its reader takes the members one by one, and names the one at fault.
/// How to open.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a shape")]
struct OpenDoor {
    /// Seconds, in steps of 0.1, as a number or as text; by default as the lock is configured. A permanent opening is
    /// not offered.
    #[schemars(extend("type" = ["number", "string", "null"]), range(min = 0.1, max = 60))]
    duration: Option<f64>,
    /// By default the intercom's only lock.
    panel: Option<String>,
}

// As above.
/// How to identify.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "it is a shape")]
struct Identify {
    /// Seconds, in steps of 0.1.
    #[schemars(rename = "for", range(min = 0.1, max = 60), extend("default" = 10))]
    time: Option<f64>,
}

#[test]
fn the_published_documents_end_with_the_schemas_of_the_types() {
    let mut schemas = Schemas::of_draft_2020_12();
    schemas
        .written::<FlatDocument>()
        .written_as::<Listed<'_, FlatRow>>("FlatPage", |_| ())
        .written_as::<Listed<'_, KeyRow>>("KeyPage", |_| ())
        .read::<OpenDoor>()
        .read::<Identify>()
        .written::<Panels>()
        .written::<Record<'_>>()
        .written::<Lines>()
        .written::<Events<'_>>()
        .written::<Outbox<'_>>()
        .written::<Sync>()
        .written::<self_told::Told<'_>>()
        .written::<Buses>()
        .written_as::<PanelStatus>("PanelShown", |_| ())
        .written_as::<LineStatus>("LineShown", |_| ())
        .written::<HealthShown<'_>>()
        .written::<Gap<'_>>()
        .written::<Sample>()
        .written::<End>()
        .written_as::<Told<Reason>>("Health", |_| ())
        .written_as::<Told<Code>>("HealthInBrief", |_| ())
        .written_as::<Problem<'_>>("Error", without_code)
        .written_as::<Problem<'_>>("TooFast", with_codes(&[RateLimited]))
        .written_as::<InvalidBody<'_>>("Invalid", without_code)
        .written_as::<InvalidBody<'_>>(
            "NotOpened",
            with_codes(&[
                AmbiguousPanel,
                UnknownPanel,
                PanelOffline,
                Insecure,
                Unconfirmed,
                Refused,
                Interrupted,
            ]),
        )
        .written_as::<InvalidBody<'_>>(
            "NotIdentified",
            with_codes(&[UnknownPanel, PanelOffline, Insecure, Unconfirmed, Refused, Interrupted]),
        )
        .written_as::<InvalidBody<'_>>(
            "NotMeasured",
            with_codes(&[UnknownFlat, PanelOffline, Insecure, Unconfirmed, Refused, Interrupted]),
        );
    any_event(&mut schemas);
    agree("src/api/openapi.json", Format::Json, &[], schemas);
}

fn without_code(schema: &mut Schema) {
    schema.pointer_mut("/properties").unwrap().as_object_mut().unwrap().remove("code");
}

fn with_codes(codes: &[ErrorCode]) -> impl FnOnce(&mut Schema) {
    move |schema| {
        let code = schema.pointer_mut("/properties/code").unwrap();
        *code = schema::known(code["description"].as_str().unwrap_or_default(), &json!(codes));
    }
}
