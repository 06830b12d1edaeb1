//! The schemas of docs/asyncapi.yaml.

use super::{
    command,
    message::{Committed, HealthShown, Info, Status},
    sync,
};
use crate::domain::{
    EventBody, LineStatus, PanelStatus,
    schema::{Format, Schemas, agree},
};

#[test]
fn the_published_documents_end_with_the_schemas_of_the_types() {
    let mut schemas = Schemas::of_draft_7();
    schemas
        .written::<Status>()
        .written::<Info<'_>>()
        .written::<HealthShown<'_>>()
        .written::<PanelStatus>()
        .written::<LineStatus>()
        .read::<Committed>();
    EventBody::describe(&mut schemas);
    schemas.one_of("Event", "A CloudEvents 1.0 object.", "type", EventBody::KINDS);
    command::describe(&mut schemas);
    sync::describe(&mut schemas);
    agree("docs/asyncapi.yaml", Format::Yaml, schemas);
}
