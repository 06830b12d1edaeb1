//! Lists of an intercom's flats and keys, page by page.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{Response, Uri},
};

use super::{
    address::Address,
    error::{Invalid, unavailable, unreadable},
    query::{INTERCOM, PageAsked, Parameters, ids},
    state::Api,
};
use crate::{
    domain::MAX_INTEGER,
    store::{CacheReader, KeyFilter, Page, StoreError},
    sys,
};

/// Most flats of a page of those that were looked for (contract §3).
const FOUND_PER_PAGE: u64 = 50;

/// Parameters of the platform's page that are not served here: a list that ignored them would be another one than was
/// asked for.
const NOT_SERVED: [&str; 6] = ["sort", "dir", "from", "to", "exclude_keys_id", "unbound_flats"];

/// How long a list waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// `GET …/intercoms/{intercom}/flats`.
pub(super) async fn flats(State(api): State<Arc<Api>>, uri: Uri, address: Address) -> Response<Body> {
    let asked = || {
        let [intercom] = ids(&uri, [INTERCOM])?;
        let mut parameters = Parameters::of(&uri);
        let page = PageAsked::of(&mut parameters);
        let search = parameters.text("search").map(ToOwned::to_owned);
        parameters.refuse(&NOT_SERVED);
        parameters.finish()?;
        api.known_intercom(intercom)?;
        Ok((intercom, page, search))
    };
    let (intercom, page, search) = match asked() {
        Ok(asked) => asked,
        Err(invalid) => return Invalid::response(invalid),
    };
    let read =
        move |cache: &CacheReader| cache.flat_page(intercom, search.as_deref(), page.offset(), page.limit());
    list(&api, page, &address, read).await
}

/// `GET …/intercoms/{intercom}/keys`.
pub(super) async fn keys(State(api): State<Arc<Api>>, uri: Uri, address: Address) -> Response<Body> {
    let asked = || {
        let [intercom] = ids(&uri, [INTERCOM])?;
        let mut parameters = Parameters::of(&uri);
        let page = PageAsked::of(&mut parameters);
        let filter = KeyFilter {
            search: parameters.text("search").map(ToOwned::to_owned),
            user_id: parameters.number("user_id", 1, MAX_INTEGER),
            flat_id: parameters.number("intercom_flat_id", 1, MAX_INTEGER),
            unbound: parameters.truth("unbound_users"),
        };
        parameters.refuse(&NOT_SERVED);
        parameters.finish()?;
        api.known_intercom(intercom)?;
        Ok((intercom, page, filter))
    };
    let (intercom, page, filter) = match asked() {
        Ok(asked) => asked,
        Err(invalid) => return Invalid::response(invalid),
    };
    let read = move |cache: &CacheReader| cache.key_page(intercom, &filter, page.offset(), page.limit());
    list(&api, page, &address, read).await
}

/// `GET /api/local/v1/flats`: of all intercoms, by number, key, or user's name or login.
pub(super) async fn search(State(api): State<Arc<Api>>, uri: Uri, address: Address) -> Response<Body> {
    let mut parameters = Parameters::of(&uri);
    let page = PageAsked::of_at_most(&mut parameters, FOUND_PER_PAGE);
    let search = parameters.text("search").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if let Err(invalid) = parameters.finish() {
        return Invalid::response(invalid);
    }
    let read = move |cache: &CacheReader| cache.search(search.as_deref(), page.offset(), page.limit());
    list(&api, page, &address, read).await
}

async fn list(
    api: &Api,
    page: PageAsked,
    address: &Address,
    read: impl FnOnce(&CacheReader) -> Result<Page, StoreError> + Send + 'static,
) -> Response<Body> {
    let Ok(Ok(turn)) = tokio::time::timeout(TURN, api.walks.clone().acquire_owned()).await else {
        return unavailable("Too many lists are being read; try again in a moment.");
    };
    let age = api.age.headers();
    let cache = api.handles.cache.reader();
    let read = sys::blocking(move || {
        let _turn = turn;
        read(&cache)
    });
    let mut response = match read.await {
        Ok(Ok(rows)) => page.response(rows, address),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unavailable("The gateway is about to end."),
    };
    age.write(response.headers_mut());
    response
}
