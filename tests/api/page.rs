//! The installer's page: what is served of it, to whom and how.

use std::io::Read;

use brotli_decompressor::BrotliDecompress;
use flate2::read::GzDecoder;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::Answer,
    site::{Site, start},
};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Asks without a token.
async fn get(site: &Site, path: &str) -> Answer {
    site.ask_with("GET", path, "", "").await
}

/// Asks as a browser does that takes these codings, and returns head and body as they came.
async fn compressed(site: &Site, path: &str, codings: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: a\r\naccept-encoding: {codings}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let body = bytes.split_off(end + 4);
    (String::from_utf8(bytes).unwrap(), body)
}

/// What is in the page's own text of assets.
fn assets(page: &str) -> Vec<String> {
    let references = page.split("\"/assets/").skip(1);
    references.map(|rest| format!("/assets/{}", rest.split('"').next().unwrap())).collect()
}

fn is_safe(answer: &Answer) {
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-frame-options", "DENY"),
        ("vary", "accept-encoding"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{answer:?}");
    }
    assert!(answer.header("permissions-policy").is_some_and(|policy| policy.contains("camera=()")));
    assert_eq!(answer.header("set-cookie"), None);
}

#[tokio::test]
async fn everybody_gets_the_page_and_all_that_it_names() {
    let site = start().await;
    let page = get(&site, "/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert!(page.body.starts_with("<!doctype html>") && page.body.trim_end().ends_with("</html>"));
    is_safe(&page);
    for path in assets(&page.body) {
        let asset = get(&site, &path).await;
        assert_eq!(asset.status, 200, "{path}");
        assert_eq!(asset.header("cache-control"), Some("public, max-age=31536000, immutable"), "{path}");
        is_safe(&asset);
    }
    // A token is not needed; a wrong one, and another's, is not looked at.
    for headers in
        ["authorization: Bearer igw_wrong\r\n", &format!("authorization: Bearer {}\r\n", site.token)]
    {
        assert_eq!(site.ask_with("GET", "/", headers, "").await.body, page.body);
    }
}

#[tokio::test]
async fn who_takes_brotli_or_gzip_gets_it_and_it_is_the_same() {
    let site = start().await;
    let page = get(&site, "/").await;
    let paths = assets(&page.body);
    for path in ["/".to_owned()].iter().chain(&paths) {
        let plain = get(&site, path).await;
        assert_eq!(plain.header("content-encoding"), None);
        assert_eq!(plain.header("content-length"), Some(plain.body.len().to_string().as_str()));
        let (head, body) = compressed(&site, path, "gzip, deflate").await;
        assert!(head.contains("content-encoding: gzip"), "{head}");
        let mut inflated = String::new();
        GzDecoder::new(&*body).read_to_string(&mut inflated).unwrap();
        assert_eq!(inflated, plain.body, "{path}");
        let (head, body) = compressed(&site, path, "gzip, deflate, br, zstd").await;
        assert!(head.contains("content-encoding: br"), "{head}");
        let mut unpacked = Vec::new();
        BrotliDecompress(&mut &*body, &mut unpacked).unwrap();
        assert_eq!(unpacked, plain.body.as_bytes(), "{path}");
        let asked = site.ask_with("HEAD", path, "", "").await;
        assert_eq!((asked.status, asked.body.as_str()), (200, ""));
        assert_eq!(asked.header("content-length"), plain.header("content-length"), "{path}");
    }
}

#[tokio::test]
async fn who_has_the_page_already_is_told_so() {
    let site = start().await;
    let tag = get(&site, "/").await.header("etag").unwrap().to_owned();
    let strong = tag.strip_prefix("W/").unwrap();
    for known in [&*tag, strong, "*", &format!("\"other\", {tag}")] {
        let answer = site.ask_with("GET", "/", &format!("if-none-match: {known}\r\n"), "").await;
        assert_eq!((answer.status, answer.body.as_str()), (304, ""), "{known}");
        assert_eq!((answer.header("etag"), answer.header("cache-control")), (Some(&*tag), Some("no-cache")));
        is_safe(&answer);
    }
    for other in ["\"other\"", "", "W/\"\""] {
        let answer = site.ask_with("GET", "/", &format!("if-none-match: {other}\r\n"), "").await;
        assert_eq!(answer.status, 200, "{other}");
    }
}

#[tokio::test]
async fn what_is_no_asset_is_not_found() {
    let site = start().await;
    let hash =
        assets(&get(&site, "/").await.body).first().map(|path| path.split('/').nth(2).unwrap().to_owned());
    let hash = hash.unwrap_or_else(|| "0123456789abcdef".to_owned());
    for path in [
        "/assets/".to_owned(),
        "/assets//".to_owned(),
        "/assets/main.js".to_owned(),
        "/assets/0/main.js".to_owned(),
        format!("/assets/{hash}"),
        format!("/assets/{hash}/"),
        format!("/assets/{hash}/none.js"),
        format!("/assets/{hash}/index.html"),
        format!("/assets/{hash}/tsconfig.json"),
        format!("/assets/{hash}/../index.html"),
        format!("/assets/{hash}/%2e%2e/Cargo.toml"),
        format!("/assets/{hash}/vendor/../main.js"),
        format!("/assets/{hash}//main.js"),
    ] {
        assert_eq!(get(&site, &path).await.error().0, 404, "{path}");
    }
    // What is open is open below its place alone.
    for path in ["/assets", "/index.html", "/assetsx/0/main.js", "//", "/api/local/v1/panels"] {
        assert_eq!(get(&site, path).await.status, 401, "{path}");
    }
}
