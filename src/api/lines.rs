//! Lines: how each is, and measuring one now.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{Response, Uri},
};
use serde::Serialize;

use super::{
    body::Posted,
    error::{Invalid, ok},
    query::{FLAT, INTERCOM, Parameters, ids},
    refusal::refused,
    state::Api,
};
use crate::domain::{LineStatus, MAX_INTEGER, Name};

/// A handset line, as in the topic `lines/{intercom}/{flat number}`, with where it is connected.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Line"))]
pub(super) struct Row {
    #[serde(flatten)]
    status: LineStatus,
    /// The panel that measures it.
    panel: Name,
    /// Its number at the panel.
    #[cfg_attr(test, schemars(range(min = 1)))]
    line: u16,
}

/// All lines that were asked for.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Lines {
    data: Vec<Row>,
}

impl From<LineStatus> for Row {
    fn from(status: LineStatus) -> Self {
        Self { panel: status.panel.clone(), line: status.line, status }
    }
}

/// `GET /api/local/v1/lines`: `{"data":[…]}`, of one intercom where `intercom` names it.
pub(super) async fn list(State(api): State<Arc<Api>>, uri: Uri) -> Response<Body> {
    let mut parameters = Parameters::of(&uri);
    let intercom = parameters.number("intercom", 1, MAX_INTEGER);
    let known = parameters.finish().and_then(|()| intercom.map_or(Ok(()), |id| api.known_intercom(id)));
    if let Err(invalid) = known {
        return Invalid::response(invalid);
    }
    let lines = api.handles.buses.lines().into_iter().map(|line| line.status);
    let asked = lines.filter(|status| intercom.is_none_or(|intercom| status.intercom == intercom));
    ok(&Lines { data: asked.map(Row::from).collect() })
}

/// `POST /api/local/v1/intercoms/{intercom}/lines/{flat number}/measure`: measures one line, answers with it. Changes
/// nothing in the building, so a token that may only read may ask for it.
pub(super) async fn measure(State(api): State<Arc<Api>>, uri: Uri, _: Posted) -> Response<Body> {
    let asked = || {
        let [intercom, flat] = ids(&uri, [INTERCOM, FLAT])?;
        api.known_intercom(intercom)?;
        Ok((intercom, flat))
    };
    let (intercom, flat) = match asked() {
        Ok(asked) => asked,
        Err(invalid) => return Invalid::response(invalid),
    };
    match api.handles.doors.measure(intercom, flat).await {
        Ok(status) => ok(&Row::from(status)),
        Err(refusal) => refused(&refusal),
    }
}
