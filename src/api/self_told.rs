//! Who this gateway is, and who asks: what a page needs first.

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, http::Response};
use serde::Serialize;

use super::{TokenInfo, error::ok, state::Api};
#[cfg(test)]
use crate::domain::schema;
use crate::domain::{ClockQuality, Name, time::as_rfc3339};

/// This gateway, and the token that it is asked by.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Self"))]
pub(super) struct Told<'a> {
    gateway: &'a Name,
    version: &'static str,
    /// The boot id of the kernel.
    boot: &'a str,
    /// The journal that events go into; null until it is open.
    #[cfg_attr(test, schemars(with = "Option<schema::Journal>"))]
    journal: Option<&'a str>,
    /// The zone in which the cloud's zoneless dates are meant; an IANA name.
    timezone: &'a str,
    /// The present, by this gateway's clock.
    #[serde(serialize_with = "as_rfc3339")]
    #[cfg_attr(test, schemars(with = "schema::Time"))]
    time: jiff::Timestamp,
    clock: ClockQuality,
    token: Token<'a>,
}

/// A token; never the token itself.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Token<'a> {
    name: &'a Name,
    /// Whether it opens no doors.
    read_only: bool,
}

/// `GET /api/local/v1/self`.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    Extension(token): Extension<TokenInfo>,
) -> Response<Body> {
    let stamp = api.handles.clock.stamp();
    let journal = api.handles.journal.identity();
    ok(&Told {
        gateway: &api.settings.gateway,
        version: env!("CARGO_PKG_VERSION"),
        boot: &stamp.boot,
        journal: Some(&*journal).filter(|journal| !journal.is_empty()),
        timezone: &api.settings.timezone,
        time: stamp.time,
        clock: stamp.clock,
        token: Token { name: &token.name, read_only: token.read_only },
    })
}
