//! The installer's page: `GET /` and the assets that it names, open to all; the description of the endpoint. They are in
//! the binary, compressed by build.rs, and nowhere else.

use std::io::Read;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header},
};
use flate2::bufread::GzDecoder;

use super::error::{json_response, not_found};

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Where the assets are.
pub(super) const PLACE: &str = "/assets/";

/// A file of the page.
struct Asset {
    /// From web/ on.
    path: &'static str,
    brotli: &'static [u8],
    gzip: &'static [u8],
}

/// How an asset is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Brotli,
    Gzip,
    /// As it is.
    Identity,
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

/// `GET /openapi.json`.
pub(super) async fn openapi() -> Response<Body> {
    json_response(StatusCode::OK, inflated(include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json.gz"))))
}

fn inflated(gzip: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut content).expect("build.rs wrote it");
    content
}

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
        let (body, coding) = match coding(headers) {
            Coding::Brotli => (Bytes::from_static(self.brotli), Some("br")),
            Coding::Gzip => (Bytes::from_static(self.gzip), Some("gzip")),
            Coding::Identity => (inflated(self.gzip).into(), None),
        };
        let mut response = Response::new(Body::from(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind()));
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        with_safety(response)
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

/// Returns the coding that the client likes best, of those that it says it takes (RFC 9110 §12.5.3); between equals the one
/// that is smaller.
fn coding(headers: &HeaderMap) -> Coding {
    let (mut brotli, mut gzip, mut others) = (None, None, 0.0);
    for member in lists(headers, header::ACCEPT_ENCODING) {
        let (name, weight) = member.split_once(';').unwrap_or((member, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>).unwrap_or(0.0);
        match name.trim().to_ascii_lowercase().as_str() {
            "br" => brotli = Some(weight),
            "gzip" | "x-gzip" => gzip = Some(weight),
            "*" => others = weight,
            _ => {}
        }
    }
    let (brotli, gzip) = (brotli.unwrap_or(others), gzip.unwrap_or(others));
    match () {
        () if brotli > 0.0 && brotli >= gzip => Coding::Brotli,
        () if gzip > 0.0 => Coding::Gzip,
        () => Coding::Identity,
    }
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
    fn what_the_client_likes_best_is_sent() {
        for (lines, expected) in [
            (&["gzip, deflate, br, zstd"][..], Coding::Brotli),
            (&["br", "gzip"], Coding::Brotli),
            (&["BR ; q=0.1"], Coding::Brotli),
            (&["*"], Coding::Brotli),
            (&["identity;q=0, *;q=0.5"], Coding::Brotli),
            (&["gzip;q=0, *"], Coding::Brotli),
            (&["gzip"], Coding::Gzip),
            (&["deflate, GZIP;q=0.1"], Coding::Gzip),
            (&["br;q=0.5, gzip"], Coding::Gzip),
            (&["br;q=0, *"], Coding::Gzip),
            (&["br;q=x, x-gzip"], Coding::Gzip),
            (&[], Coding::Identity),
            (&[""], Coding::Identity),
            (&["identity"], Coding::Identity),
            (&["deflate, zstd"], Coding::Identity),
            (&["br;q=0", "gzip;q=0"], Coding::Identity),
            (&["*;q=0"], Coding::Identity),
            (&["gzip;q=x"], Coding::Identity),
            (&["gzipped, brotli"], Coding::Identity),
        ] {
            assert_eq!(coding(&headers(header::ACCEPT_ENCODING, lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_in_the_binary_is_what_is_in_the_folder() {
        let web = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        for asset in &ASSETS {
            let content = std::fs::read(web.join(asset.path)).unwrap();
            assert_eq!(inflated(asset.gzip), content, "{}", asset.path);
            let mut unpacked = Vec::new();
            brotli_decompressor::BrotliDecompress(&mut &*asset.brotli, &mut unpacked).unwrap();
            assert_eq!(unpacked, content, "{}", asset.path);
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
        let index = String::from_utf8(inflated(INDEX.gzip)).unwrap();
        assert!(!index.contains("{assets}"), "{index}");
        for reference in index.split(PLACE).skip(1) {
            let end = reference.find(['"', '\'', ' ', '>', '<']).unwrap();
            let path = reference[..end].strip_prefix(HASH).and_then(|path| path.strip_prefix('/'));
            assert!(path.is_some_and(|path| find(path).is_some()), "{PLACE}{}", &reference[..end]);
        }
    }
}
