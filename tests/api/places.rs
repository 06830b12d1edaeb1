//! Who keeps a connection where more clients come than there are places.

use std::time::Duration;

use intercom_gateway::api::{Limits, Tls};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    client::{Answer, PATIENCE, connect_as, ending, over},
    site::{Site, start, start_with},
};

const PANELS: &str = "/api/local/v1/panels";

/// Few places, and nobody gives one up by keeping silent.
async fn with_places(connections: usize, connections_of_one: usize) -> Site {
    let limits = Limits {
        connections,
        connections_of_one,
        headers_within: Duration::from_secs(3600),
        ..Limits::default()
    };
    start_with(Tls::Off, limits).await
}

async fn ask(stream: &mut TcpStream, path: &str, headers: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
    let answer = timeout(PATIENCE, over(stream, &request)).await.expect("an answer in time");
    answer.expect("an answer")
}

/// Asks with a good token, and is answered.
async fn welcome(stream: &mut TcpStream, token: &str) {
    assert_eq!(ask(stream, PANELS, &format!("authorization: Bearer {token}\r\n")).await.status, 200);
}

#[tokio::test]
async fn a_refused_token_closes_its_connection() {
    let site = start().await;
    let guesses = std::iter::repeat_n("authorization: Bearer igw_guess\r\n", 12);
    let mut statuses = Vec::new();
    for headers in std::iter::once("").chain(guesses) {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        let answer = ask(&mut stream, PANELS, headers).await;
        assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
        assert_eq!(ending(&mut stream).await, [0; 0]);
        statuses.push(answer.status);
    }
    assert_eq!((statuses[0], statuses[12]), (401, 429));
    // What a good token is refused for is no reason to go.
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let headers = format!("authorization: Bearer {}\r\n", site.token);
    for path in ["/nowhere", "/api/admin/v1/intercoms/9/flats"] {
        assert_eq!(ask(&mut stream, path, &headers).await.header("connection"), None, "{path}");
    }
}

#[tokio::test]
async fn those_without_a_token_shut_nobody_out() {
    let site = with_places(8, 3).await;
    let mut crowd = Vec::new();
    for host in [2, 3, 4, 5] {
        for _ in 0..3 {
            crowd.push(connect_as(host, site.address).await);
        }
        // One that asks what everybody may keeps no place by it either.
        assert_eq!(ask(crowd.last_mut().unwrap(), "/healthz", "").await.status, 200);
    }
    for host in [1, 2] {
        welcome(&mut connect_as(host, site.address).await, &site.token).await;
    }
}

#[tokio::test]
async fn an_address_at_its_limit_takes_from_itself_and_never_from_a_good_token() {
    let site = with_places(8, 2).await;
    let other = site.tokens.add("other", true, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let mut elsewhere = connect_as(3, site.address).await;
    let mut first = connect_as(2, site.address).await;
    let mut second = connect_as(2, site.address).await;
    let mut third = connect_as(2, site.address).await;
    assert_eq!(ending(&mut first).await, [0; 0], "the oldest of its address");
    for stream in [&mut second, &mut third] {
        welcome(stream, &site.token).await;
    }
    assert_eq!(ending(&mut connect_as(2, site.address).await).await, [0; 0], "there is none to displace");
    for stream in [&mut second, &mut third] {
        welcome(stream, &site.token).await;
    }
    site.tokens.revoke("tester").unwrap();
    let mut fourth = connect_as(2, site.address).await;
    assert_eq!(ending(&mut second).await, [0; 0], "its token is good no more");
    welcome(&mut fourth, &other).await;
    welcome(&mut elsewhere, &other).await;

    let metrics = ask(&mut fourth, "/metrics", &format!("authorization: Bearer {}\r\n", *other)).await.body;
    for line in [
        "intercom_gateway_http_connections 3",
        "intercom_gateway_http_crowded_total{kind=\"displaced\"} 2",
        "intercom_gateway_http_crowded_total{kind=\"turned_away\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in:\n{metrics}");
    }
}

#[tokio::test]
async fn where_all_places_are_taken_the_oldest_without_a_good_token_goes_whosever_it_is() {
    let site = with_places(3, 2).await;
    let mut oldest = connect_as(2, site.address).await;
    welcome(&mut oldest, &site.token).await;
    let mut second = connect_as(3, site.address).await;
    let mut third = connect_as(4, site.address).await;
    let mut fourth = connect_as(5, site.address).await;
    assert_eq!(ending(&mut second).await, [0; 0]);
    for stream in [&mut oldest, &mut third, &mut fourth] {
        welcome(stream, &site.token).await;
    }
    assert_eq!(ending(&mut connect_as(6, site.address).await).await, [0; 0]);
    // A place that is left is free for others.
    drop(third);
    let health = "GET /healthz HTTP/1.1\r\n\r\n";
    let until_served =
        async { while over(&mut connect_as(6, site.address).await, health).await.is_none() {} };
    timeout(PATIENCE, until_served).await.expect("a place in time");
    for stream in [&mut oldest, &mut fourth] {
        welcome(stream, &site.token).await;
    }
}
