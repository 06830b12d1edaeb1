//! Requests of any shape: answered in JSON, and what is no request without a body or not at all; never with a 500.

use proptest::{prelude::*, test_runner::TestRunner};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    client::{raw, read_answer},
    site::start,
};

#[tokio::test]
async fn what_is_no_http_is_refused_without_a_word() {
    let site = start().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /x HTTP/3.0\r\n\r\n",
        b"GET /x HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /x HTTP/1.1\r\na: \x00\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: \xff\r\n\r\n",
        b"G\x00T /x HTTP/1.1\r\n\r\n",
        b"POST /x HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /x HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /x HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
        b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
        b"\r\n\r\n\r\nGET /x HTTP/1.1\r\n:\r\n\r\n",
    ] {
        let shown = String::from_utf8_lossy(bytes);
        let answer = raw(site.address, bytes).await.unwrap_or_else(|| panic!("nothing for {shown:?}"));
        assert!(
            (answer.status == 400 && answer.is_bare()) || answer.error().0 == 401,
            "{answer:?} for {shown:?}"
        );
    }
}

#[tokio::test]
async fn odd_but_valid_requests_are_answered_in_json() {
    let site = start().await;
    let token = format!("authorization: Bearer {}\r\n", site.token);
    for (method, path, status) in [
        ("POST", "/", 405),
        ("GET", "/index.html", 404),
        ("GET", "//", 404),
        ("GET", "/api/admin/v1/intercoms/1/flats/1/", 404),
        ("GET", "/api/admin/v1/intercoms/1/flats/../../1", 404),
        ("GET", "/API/admin/v1/intercoms/1/flats/1", 404),
        ("POST", "/api/local/v1/lines?intercom=1", 405),
        ("POST", "/api/local/v1/stream", 405),
        ("GET", "/api/local/v1/intercoms/1/lines/1/measure", 405),
        ("PATCH", "/api/admin/v1/intercoms/1/flats/1", 405),
        ("TRACE", "/healthz", 405),
        ("OPTIONS", "*", 404),
        ("GET", "http://elsewhere.test/nowhere", 404),
        ("CONNECT", "elsewhere.test:443", 404),
    ] {
        let answer = site.ask_with(method, path, &token, "").await;
        assert_eq!(answer.error().0, status, "{method} {path}");
    }
    assert_eq!(
        site.ask_with("GET", "/nowhere", &token, "").await.json(),
        serde_json::json!({"message": "Not found."})
    );
    let old = format!("GET /healthz HTTP/1.0\r\n{token}\r\n");
    assert_eq!(raw(site.address, old.as_bytes()).await.unwrap().status, 200);
    let page = site.ask_with("GET", "/#a//fragment", "", "").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let head = site.ask_with("HEAD", "/api/admin/v1/intercoms/1/flats/1", &token, "").await;
    assert_eq!((head.status, head.body.as_str(), head.header("x-gateway-revision")), (200, "", Some("57")));
}

/// Flats are personal, and text of a stranger's is in them.
#[tokio::test]
async fn every_answer_says_that_it_is_what_its_type_says_and_is_not_to_be_kept() {
    let site = start().await;
    let token = format!("authorization: Bearer {}\r\n", site.token);
    let flat = "/api/admin/v1/intercoms/1/flats/1";
    let mut answers = Vec::new();
    for (method, path, headers, body) in [
        ("GET", flat, token.as_str(), ""),
        ("GET", flat, "", ""),
        ("GET", "/healthz", "", ""),
        ("GET", "/.well-known/security.txt", "", ""),
        ("GET", "/metrics", &token, ""),
        ("GET", "/openapi.json", &token, ""),
        ("GET", "/api/admin/v1/intercoms/1/flats", &token, ""),
        ("GET", "/nowhere", &token, ""),
        ("DELETE", flat, &token, ""),
        ("POST", flat, &token, &"x".repeat(70_000)),
        ("POST", "/api/admin/v1/intercoms/1/open-door", &token, ""),
    ] {
        answers.push(site.ask_with(method, path, headers, body).await);
    }
    let large = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20 << 10));
    answers.push(raw(site.address, large.as_bytes()).await.unwrap());
    for answer in &answers {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    }
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 401, 200, 200, 200, 200, 200, 404, 405, 413, 422, 431]);
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_order_and_an_error_ends_them() {
    let site = start().await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let good = format!(
        "GET /api/admin/v1/intercoms/1/flats/1 HTTP/1.1\r\nauthorization: Bearer {}\r\n\r\n",
        site.token
    );
    stream.write_all(format!("{good}{good}broken\r\n\r\n{good}").as_bytes()).await.unwrap();
    let mut all = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut all).await.unwrap();
    let text = String::from_utf8(all).unwrap();
    assert_eq!(
        (text.matches("HTTP/1.1 200 OK").count(), text.matches("HTTP/1.1 400").count()),
        (2, 1),
        "{text}"
    );
    let (_, last) = text.split_once("HTTP/1.1 400").unwrap();
    assert!(last.contains("\r\ncontent-length: 0\r\n") && last.ends_with("\r\n\r\n"), "{text}");
}

/// Random bytes, and random pieces of requests put together: whatever a request gets is JSON with a status below 500.
#[test]
fn any_bytes_get_json_or_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let site = runtime.block_on(start());
    let pieces = prop::sample::select(vec![
        "GET ",
        "POST ",
        "/api/admin/v1/intercoms/",
        "1",
        "/flats/",
        "%",
        "?",
        "&page=",
        " HTTP/1.1",
        " HTTP/1.0",
        "\r\n",
        "\n",
        "\r",
        ":",
        " ",
        "content-length: 5",
        "transfer-encoding: chunked",
        "expect: 100-continue",
        "connection: upgrade",
        "upgrade: websocket",
        "{}",
        "[]",
        "\0",
        "é",
        "Host: ",
        "/healthz",
        "/open-door",
    ]);
    let text = prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat().into_bytes());
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    let authorized = format!("authorization: Bearer {}\r\n", site.token);
    let with_token = (prop::collection::vec("[!-~]{0,12}", 1..5), prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(move |(words, body)| {
            let mut request = format!(
                "{} /{} HTTP/1.1\r\n{authorized}content-length: {}\r\n\r\n",
                ["GET", "POST", "PUT"][words.len() % 3],
                words.join("/"),
                body.len()
            )
            .into_bytes();
            request.extend(body);
            request
        });
    let strategy = prop_oneof![text, bytes, with_token];
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() });
    runner
        .run(&strategy, |bytes| {
            runtime.block_on(async {
                let mut stream = TcpStream::connect(site.address).await.unwrap();
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                if let Some(answer) = read_answer(&mut stream, &bytes).await {
                    prop_assert!(answer.status < 500, "{answer:?}");
                    if answer.status >= 400 && !answer.is_bare() {
                        answer.error();
                    }
                }
                Ok(())
            })
        })
        .unwrap();
}
