//! A token has to be good when something is done in its name, not only when the request began.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::{ending, read_answer},
    site::{Site, start},
};

/// Every path that takes a body.
const POSTS: [&str; 4] = [
    "/api/admin/v1/intercoms/1/open-door",
    "/api/local/v1/intercoms/1/lines/1/measure",
    "/api/local/v1/panels/entrance-1/identify",
    "/api/admin/v1/intercoms/1/flats/1",
];

/// A request of this token's that has reached its handler, which waits for a body of two bytes.
async fn under_way(site: &Site, path: &str, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test]
async fn nothing_is_done_for_a_token_that_is_revoked_while_the_body_comes() {
    let site = start().await;
    for (number, path) in POSTS.iter().enumerate() {
        let name = format!("t{number}");
        let token = site.tokens.add(&name, false, jiff::Timestamp::UNIX_EPOCH).unwrap();
        let mut stream = under_way(&site, path, &token).await;
        stream.write_all(b"{").await.unwrap();
        site.tokens.revoke(&name).unwrap();
        stream.write_all(b"}").await.unwrap();
        let answer = read_answer(&mut stream, format!("POST {path}")).await.unwrap();
        assert_eq!((answer.status, answer.json()), (401, json!({"message": "Unauthenticated."})), "{path}");
        assert_eq!(answer.header("connection"), Some("close"), "{path}");
        assert_eq!(ending(&mut stream).await, [0; 0], "{path}");
    }
}

/// A token that was made again under the old name is another.
#[tokio::test]
async fn a_new_token_of_the_same_name_does_not_vouch_for_the_old_one() {
    let site = start().await;
    let token = site.tokens.add("a", false, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let mut stream = under_way(&site, POSTS[0], &token).await;
    site.tokens.revoke("a").unwrap();
    site.tokens.add("a", false, jiff::Timestamp::UNIX_EPOCH).unwrap();
    stream.write_all(b"{}").await.unwrap();
    assert_eq!(read_answer(&mut stream, format!("POST {}", POSTS[0])).await.unwrap().status, 401);
}

#[tokio::test]
async fn a_token_that_may_only_read_is_told_so_before_the_body_has_come() {
    let site = start().await;
    let reader = site.tokens.add("reader", true, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-length: 2\r\n\r\n",
        POSTS[0], *reader
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut stream, &head).await.unwrap().error().0, 403);
}
