//! The installer's page: `GET /` and the assets that it names, open to all. They are in the binary, compressed by
//! build.rs, and nowhere else.

use std::io::Read;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header},
};
use flate2::bufread::GzDecoder;

use super::error::not_found;

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Where the assets are.
pub(super) const PLACE: &str = "/assets/";

/// A file of the page.
struct Asset {
    /// From web/ on.
    path: &'static str,
    /// Bytes of it, not compressed.
    length: usize,
    gzip: &'static [u8],
}

/// What a browser may do with the page: nothing but what this gateway serves runs or is shown in it, nothing of it leads
/// elsewhere, and it is shown in nobody's frame. It is not told to insist on https from now on (HSTS): it could then not
/// be let past a certificate that it does not know.
const SAFETY: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), payment=(), usb=()",
    ),
    // For browsers that do not know frame-ancestors.
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Kinds of files, by the ends of their names.
const KINDS: [(&str, &str); 8] = [
    (".html", "text/html; charset=utf-8"),
    (".js", "text/javascript; charset=utf-8"),
    (".mjs", "text/javascript; charset=utf-8"),
    (".css", "text/css; charset=utf-8"),
    (".svg", "image/svg+xml"),
    (".png", "image/png"),
    (".webmanifest", "application/manifest+json"),
    (".woff2", "font/woff2"),
];

/// `GET /`. A browser asks each time whether it still has the newest one.
pub(super) async fn index(headers: HeaderMap) -> Response<Body> {
    // Compressed and not, it is the same page: a weak tag says so.
    let tag = format!("W/\"{INDEX_TAG}\"");
    let is_known =
        lists(&headers, header::IF_NONE_MATCH).any(|known| known == "*" || is_same_tag(known, &tag));
    let mut response = if is_known { not_modified() } else { INDEX.response(&headers) };
    let cache = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    response.headers_mut().insert(header::ETAG, HeaderValue::try_from(tag).expect("hex digits"));
    response
}

/// `GET /assets/{hash}/{path}`. What has this hash in its path never changes.
pub(super) async fn asset(uri: Uri, headers: HeaderMap) -> Response<Body> {
    let asked = uri.path().strip_prefix(PLACE).and_then(|rest| rest.split_once('/'));
    let found = asked.filter(|(hash, _)| *hash == HASH).and_then(|(_, path)| find(path));
    let Some(asset) = found else { return not_found() };
    let mut response = asset.response(&headers);
    let cache = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    response
}

fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok().map(|found| &ASSETS[found])
}

impl Asset {
    /// Returns it as the client can read it.
    fn response(&self, headers: &HeaderMap) -> Response<Body> {
        let takes_gzip = takes_gzip(headers);
        let body = if takes_gzip { Bytes::from_static(self.gzip) } else { self.inflated().into() };
        let mut response = Response::new(Body::from(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind()));
        if takes_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        with_safety(response)
    }

    fn inflated(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(self.length);
        GzDecoder::new(self.gzip).read_to_end(&mut content).expect("build.rs wrote it");
        content
    }

    fn kind(&self) -> &'static str {
        let kind = KINDS.iter().find(|(end, _)| self.path.ends_with(end));
        kind.map_or("application/octet-stream", |(_, kind)| kind)
    }
}

fn not_modified() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    with_safety(response)
}

fn with_safety(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.extend(SAFETY.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

/// Whether the client says that it takes gzip: by its name, or as one of any.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for coding in lists(headers, header::ACCEPT_ENCODING) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let name = name.trim();
        let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.parse().ok());
        let is_taken = weight.is_some_and(|weight: f32| weight > 0.0);
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            return is_taken;
        }
        any |= name == "*" && is_taken;
    }
    any
}

/// Returns the members of a header that is a list, on however many lines it comes.
fn lists(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn is_same_tag(one: &str, other: &str) -> bool {
    one.trim_start_matches("W/") == other.trim_start_matches("W/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_str(line).unwrap())).collect()
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let takes = |lines: &[&str]| takes_gzip(&headers(header::ACCEPT_ENCODING, lines));
        for yes in [
            &["gzip"][..],
            &["deflate, GZIP;q=0.1, br"],
            &["br", "gzip"],
            &["*"],
            &["identity;q=0, *;q=0.5"],
            &["x-gzip"],
            &["gzip ; q=1"],
        ] {
            assert!(takes(yes), "{yes:?}");
        }
        for no in [
            &[][..],
            &[""],
            &["identity"],
            &["br, deflate"],
            &["gzip;q=0"],
            &["gzip;q=0, *"],
            &["*;q=0"],
            &["gzip;q=x"],
            &["gzipped"],
        ] {
            assert!(!takes(no), "{no:?}");
        }
    }

    #[test]
    fn what_is_in_the_binary_is_what_is_in_the_folder() {
        let web = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        for asset in &ASSETS {
            let content = std::fs::read(web.join(asset.path)).unwrap();
            assert_eq!(asset.inflated(), content, "{}", asset.path);
            assert_eq!(asset.length, content.len());
            assert_eq!(find(asset.path).unwrap().path, asset.path);
            assert!(KINDS.iter().any(|(end, _)| asset.path.ends_with(end)), "{} has no kind", asset.path);
        }
        assert!(ASSETS.is_sorted_by_key(|asset| asset.path));
        for tool in ["tsconfig.json", "index.html", "vendor/LICENSE", "package-lock.json"] {
            assert!(find(tool).is_none(), "{tool}");
        }
    }

    /// Of which moment and of which machine they are is not in them, so that two builds are the same.
    #[test]
    fn compressed_files_say_nothing_of_time_and_system() {
        for asset in ASSETS.iter().chain([&INDEX]) {
            let (head, _) = asset.gzip.split_at(10);
            // Deflate, without name, comment and time; compressed as well as possible, by a system that is not told.
            assert_eq!(head, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255], "{}", asset.path);
        }
    }

    #[test]
    fn the_page_names_its_assets_by_their_hash() {
        let index = String::from_utf8(INDEX.inflated()).unwrap();
        assert!(!index.contains("{assets}") && !index.contains("<!-- modulepreload -->"), "{index}");
        for reference in index.split(PLACE).skip(1) {
            let end = reference.find(['"', '\'', ' ', '>', '<']).unwrap();
            let path = reference[..end].strip_prefix(HASH).and_then(|path| path.strip_prefix('/'));
            assert!(path.is_some_and(|path| find(path).is_some()), "{PLACE}{}", &reference[..end]);
        }
    }
}
