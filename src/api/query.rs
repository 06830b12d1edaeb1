//! What the address of a request asks for: ids in its path, parameters behind its question mark, pages of lists.

use axum::{
    body::Body,
    extract::Query,
    http::{Response, StatusCode, Uri},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    address::Address,
    error::{Invalid, json_response},
};
use crate::{
    domain::{MAX_INTEGER, json},
    store::Page,
};

/// Default of `per_page`, and its highest (contract §3).
const PER_PAGE: (u64, u64) = (25, 1000);

/// Where a path like `/api/admin/v1/intercoms/{intercom}/flats/{flat}` has its ids: name, and segment from 0.
pub(super) const INTERCOM: (&str, usize) = ("intercom", 4);
/// As [`INTERCOM`].
pub(super) const FLAT: (&str, usize) = ("flat", 6);

/// Returns what a path like `/api/local/v1/panels/{panel}/identify` has as the panel, as it was sent: whatever is
/// escaped in it is no part of a name.
pub(super) fn panel(uri: &Uri) -> &str {
    segment(uri, 4).unwrap_or_default()
}

/// What stands behind a slash of the path, up to the next one; they count from 0. At a path's length, this takes a fraction
/// of the time that `split` takes.
fn segment(uri: &Uri, index: usize) -> Option<&str> {
    let path = uri.path();
    let (mut slashes, mut start) = (0, 0);
    for (at, byte) in path.bytes().enumerate() {
        if byte == b'/' {
            if slashes > index {
                return path.get(start..at);
            }
            slashes += 1;
            start = at + 1;
        }
    }
    path.get(start..).filter(|_| slashes > index)
}

/// Segments of the path as ids, taken as they were sent: whatever is escaped in them is no digit.
pub(super) fn ids<const N: usize>(uri: &Uri, names: [(&str, usize); N]) -> Result<[u64; N], Invalid> {
    let mut invalid = Invalid::default();
    let ids = names.map(|(name, segment)| {
        let id = self::segment(uri, segment).and_then(positive);
        if id.is_none() {
            invalid.add(name, format!("{name} must be a positive integer."));
        }
        id.unwrap_or_default()
    });
    if invalid.is_empty() { Ok(ids) } else { Err(invalid) }
}

/// Returns an id or a number on a door, in plain digits.
pub(super) fn positive(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok())??;
    (1..=MAX_INTEGER).contains(&number).then_some(number)
}

/// The parameters behind the question mark; of repeated ones the last counts. An empty one counts as absent.
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
    invalid: Invalid,
}

impl Parameters {
    pub(super) fn of(uri: &Uri) -> Self {
        // Whatever is no pair is dropped by the decoder; bytes that are no text are replaced.
        let pairs = Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default();
        Self { pairs, invalid: Invalid::default() }
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().rev().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, name: &str, least: u64, most: u64) -> Option<u64> {
        let number = self.text(name)?.parse().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let bounds = if most >= MAX_INTEGER { String::new() } else { format!(" to {most}") };
            self.invalid.add(name, format!("{name} must be a whole number from {least}{bounds}."));
        }
        number
    }

    /// A truth value; absent: false.
    pub(super) fn truth(&mut self, name: &str) -> bool {
        match self.text(name) {
            None | Some("0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => {
                self.invalid.add(name, format!("{name} must be true, false, 1 or 0."));
                false
            }
        }
    }

    /// Refuses what is not served, as a single value or a list (`name[]=1`).
    pub(super) fn refuse(&mut self, names: &[&str]) {
        for name in names {
            let is_it = |key: &str| {
                key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
            };
            if self.pairs.iter().any(|(key, value)| is_it(key) && !value.is_empty()) {
                self.invalid.add(name, format!("{name} is not served by this gateway; leave it out."));
            }
        }
    }

    /// The 422 where any of them was wrong.
    pub(super) fn finish(self) -> Result<(), Invalid> {
        if self.invalid.is_empty() { Ok(()) } else { Err(self.invalid) }
    }
}

/// A page of a list.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Listed<'a, Row> {
    data: Vec<Row>,
    links: Links,
    meta: Meta<'a>,
}

/// Where other pages are.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Links {
    first: String,
    last: String,
    prev: Option<String>,
    next: Option<String>,
}

/// Which page this is.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Meta<'a> {
    #[cfg_attr(test, schemars(range(min = 1)))]
    current_page: u64,
    /// Number of its first row.
    #[cfg_attr(test, schemars(range(min = 1)))]
    from: Option<u64>,
    #[cfg_attr(test, schemars(range(min = 1)))]
    last_page: u64,
    path: &'a str,
    #[cfg_attr(test, schemars(range(min = 1)))]
    per_page: u64,
    /// Number of its last row.
    #[cfg_attr(test, schemars(range(min = 1)))]
    to: Option<u64>,
    /// Rows of the whole list.
    total: u64,
}

/// Which page of a list is asked for.
#[derive(Clone, Copy)]
pub(super) struct PageAsked {
    page: u64,
    per_page: u64,
}

impl PageAsked {
    pub(super) fn of(parameters: &mut Parameters) -> Self {
        Self::of_at_most(parameters, PER_PAGE.1)
    }

    /// As [`PageAsked::of`], with this many rows a page at most.
    pub(super) fn of_at_most(parameters: &mut Parameters, most: u64) -> Self {
        Self {
            page: parameters.number("page", 1, MAX_INTEGER).unwrap_or(1),
            per_page: parameters.number("per_page", 1, most).unwrap_or(PER_PAGE.0.min(most)),
        }
    }

    /// Rows before it.
    pub(super) fn offset(self) -> u64 {
        (self.page - 1).saturating_mul(self.per_page)
    }

    /// Rows of it.
    pub(super) fn limit(self) -> u64 {
        self.per_page
    }

    /// The page with `data`, `links` and `meta`. Links keep the other parameters.
    pub(super) fn response(self, page: Page, address: &Address) -> Response<Body> {
        let last = page.total.div_ceil(self.per_page).max(1);
        let rows = u64::try_from(page.rows.len()).unwrap_or(u64::MAX);
        let rows_of = page.rows.into_iter().filter_map(|row| RawValue::from_string(row).ok());
        let shape = Listed {
            data: rows_of.collect(),
            links: Links {
                first: address.page(1),
                last: address.page(last),
                prev: (self.page > 1).then(|| address.page((self.page - 1).min(last))),
                next: (self.page < last).then(|| address.page(self.page + 1)),
            },
            meta: Meta {
                current_page: self.page,
                from: (rows > 0).then(|| self.offset() + 1),
                last_page: last,
                path: address.path(),
                per_page: self.per_page,
                to: (rows > 0).then(|| self.offset() + rows),
                total: page.total,
            },
        };
        json_response(StatusCode::OK, json::text(&shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_lie_between_slashes() {
        for path in ["/", "/a", "/a/", "/api/admin/v1/intercoms/7/flats/12", "//x//", "/%2F/b?c/d"] {
            let uri: Uri = path.parse().unwrap();
            for index in 0..9 {
                assert_eq!(segment(&uri, index), uri.path().split('/').nth(index + 1), "{path} {index}");
            }
        }
    }

    #[test]
    fn ids_are_positive_integers_and_nothing_else() {
        assert_eq!(positive("9007199254740991"), Some(MAX_INTEGER));
        for bad in ["", "0", "-1", "+1", "1.0", "1e3", "x", " 1", "9007199254740992", "99999999999999999999"]
        {
            assert_eq!(positive(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn parameters_are_checked_by_name_and_the_last_counts() {
        let uri: Uri = "/x?a=1&a=7&b=9&c=maybe&d=&e=%FF&f".parse().unwrap();
        let mut parameters = Parameters::of(&uri);
        assert_eq!(parameters.number("a", 1, 7), Some(7));
        assert_eq!(parameters.number("b", 1, 7), None);
        assert!(!parameters.truth("c") && !parameters.truth("d"));
        assert_eq!((parameters.text("d"), parameters.text("f")), (None, None));
        let refused = parameters.finish().err().unwrap().response();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}
