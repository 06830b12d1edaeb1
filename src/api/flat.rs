//! The documented endpoint: a flat with its keys and users.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{Response, StatusCode, Uri},
};

use super::{
    body::Posted,
    error::{Invalid, json_response, unreadable},
    query::{FLAT, INTERCOM, ids},
    state::Api,
};

/// `GET …/intercoms/{intercom}/flats/{flat}`. The look-up takes some 20 µs and waits for no writer, so it is made
/// on the spot: a hop to a blocking thread and back costs more than it.
pub(super) async fn get(State(api): State<Arc<Api>>, uri: Uri) -> Response<Body> {
    answer(&api, &uri).unwrap_or_else(Invalid::response)
}

/// The same by `POST`: the published page's own sample posts `[]`. The body is read and ignored.
pub(super) async fn post(State(api): State<Arc<Api>>, uri: Uri, _: Posted) -> Response<Body> {
    answer(&api, &uri).unwrap_or_else(Invalid::response)
}

fn answer(api: &Api, uri: &Uri) -> Result<Response<Body>, Invalid> {
    let [intercom, flat] = ids(uri, [INTERCOM, FLAT])?;
    let age = api.age.headers();
    let mut response = match api.handles.cache.flat_body(intercom, flat) {
        Ok(Some(body)) => json_response(StatusCode::OK, body),
        Ok(None) => {
            api.known_intercom(intercom)?;
            return Err(Invalid::field(
                "flat",
                format!(
                    "Intercom {intercom} has no flat with record id {flat} (the path takes the record id, not the number on the door)."
                ),
            ));
        }
        Err(error) => unreadable(&error),
    };
    age.write(response.headers_mut());
    Ok(response)
}
