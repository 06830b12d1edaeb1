//! Bodies of requests. A body takes its time to come, and a token may be revoked meanwhile; so there is no way to a
//! body but by [`Posted`] and [`Order`], which look at the token once more when all of it is there.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, Request},
    http::{Response, StatusCode},
};
use futures_util::StreamExt;
use serde_json::{Map, Value};

use super::{
    Limits, TokenInfo,
    error::{Invalid, problem, too_large, unauthenticated},
    state::Api,
};
use crate::domain::json;

/// A body that is there, of a request whose token is still good.
pub(super) struct Posted;

/// The same for what a token that may only read must not do.
pub(super) struct Order {
    pub(super) token: TokenInfo,
    pub(super) body: Bytes,
}

impl FromRequest<Arc<Api>> for Posted {
    type Rejection = Response<Body>;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Self::Rejection> {
        let token = token(&request)?;
        read(request, &token, api).await.map(|_| Self)
    }
}

impl FromRequest<Arc<Api>> for Order {
    type Rejection = Response<Body>;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Self::Rejection> {
        let token = token(&request)?;
        if token.read_only {
            return Err(problem(
                StatusCode::FORBIDDEN,
                "This token may only read; this needs one made without --read-only.",
            ));
        }
        let body = read(request, &token, api).await?;
        Ok(Self { token, body })
    }
}

/// Returns the members of a body that may be missing. No body asks for nothing in particular; nor does `[]`, which is
/// how PHP writes an empty object, and how the published page's samples do. `example` is a body that would be right.
pub(super) fn members(body: &[u8], example: &str) -> Result<Map<String, Value>, Invalid> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(Value::Array(empty)) if empty.is_empty() => Ok(Map::new()),
        _ => {
            let wrong = format!("The body must be empty, or a JSON object like {example}.");
            Err(Invalid::field("body", wrong))
        }
    }
}

/// The token that the request came in with.
fn token(request: &Request) -> Result<TokenInfo, Response<Body>> {
    request.extensions().get().cloned().ok_or_else(unauthenticated)
}

/// The body of a request up to [`Limits::BODY`], or the 413, 408, 400 or 401 that it gets.
async fn read(request: Request, token: &TokenInfo, api: &Api) -> Result<Bytes, Response<Body>> {
    let within = api.settings.limits.body_within;
    let body = match tokio::time::timeout(within, whole(request.into_body())).await {
        Ok(read) => read?,
        Err(_) => {
            return Err(problem(
                StatusCode::REQUEST_TIMEOUT,
                "The body of the request did not come in time.",
            ));
        }
    };
    if api.handles.tokens.in_force(token) { Ok(body) } else { Err(unauthenticated()) }
}

async fn whole(body: Body) -> Result<Bytes, Response<Body>> {
    if body.size_hint().lower() > Limits::BODY as u64 {
        return Err(too_large());
    }
    let mut whole = Vec::new();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece =
            piece.map_err(|_| problem(StatusCode::BAD_REQUEST, "The body of the request broke off."))?;
        if whole.len() + piece.len() > Limits::BODY {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}
