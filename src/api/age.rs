//! How old the flats are, as headers (contract §3): never in the body.

use arc_swap::ArcSwapOption;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::{domain::time::rfc3339, store::CacheState};

const REVISION: HeaderName = HeaderName::from_static("x-gateway-revision");
const SYNCED_AT: HeaderName = HeaderName::from_static("x-gateway-synced-at");

/// The headers of what is in force, formatted once a revision. A header whose value is not known is left out.
pub(super) struct Age {
    state: watch::Receiver<CacheState>,
    formatted: ArcSwapOption<Formatted>,
}

struct Formatted {
    of: (Option<u64>, Option<Timestamp>),
    revision: Option<HeaderValue>,
    synced_at: Option<HeaderValue>,
}

/// The headers as of one moment.
pub(super) struct Headers(std::sync::Arc<Formatted>);

impl Age {
    pub(super) fn new(state: watch::Receiver<CacheState>) -> Self {
        Self { state, formatted: ArcSwapOption::empty() }
    }

    /// Taken before the data is read, so that it never claims to be newer than it is.
    pub(super) fn headers(&self) -> Headers {
        let of = {
            let state = self.state.borrow();
            (state.revision, state.applied_at)
        };
        if let Some(formatted) = self.formatted.load_full().filter(|formatted| formatted.of == of) {
            return Headers(formatted);
        }
        let formatted = std::sync::Arc::new(Formatted {
            of,
            revision: of.0.map(HeaderValue::from),
            synced_at: of.1.and_then(|time| HeaderValue::try_from(rfc3339(time)).ok()),
        });
        self.formatted.store(Some(formatted.clone()));
        Headers(formatted)
    }
}

impl Headers {
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in [(REVISION, &self.0.revision), (SYNCED_AT, &self.0.synced_at)] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}
