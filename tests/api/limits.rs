//! What clients may take, and what becomes of those that take more.

use std::time::Duration;

use intercom_gateway::api::{Limits, Tls};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::{ending, over, raw, read_answer},
    site::{Site, start, start_with},
};

const FLAT: &str = "/api/admin/v1/intercoms/1/flats/1";

/// Times short enough to be waited for; where a test is about one, the others are the contract's.
fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

fn request(site: &Site) -> String {
    format!("GET {FLAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", site.token)
}

#[tokio::test]
async fn a_body_above_64_kib_is_a_413_that_arrives() {
    let site = start().await;
    let large = "x".repeat((64 << 10) + 1);
    assert_eq!(site.ask("POST", FLAT, &large).await.error().0, 413);
    // Far more than any buffer on the way holds: the answer must survive what is never read.
    assert_eq!(site.ask("POST", FLAT, &"x".repeat(1 << 20)).await.error().0, 413);
    let mut chunked = format!(
        "POST {FLAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
        site.token
    );
    for _ in 0..17 {
        chunked += &format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    }
    assert_eq!(raw(site.address, chunked.as_bytes()).await.unwrap().error().0, 413);
}

#[tokio::test]
async fn headers_above_16_kib_or_100_are_a_431() {
    let site = start().await;
    let with =
        |lines: String| format!("GET {FLAT} HTTP/1.1\r\nauthorization: Bearer {}\r\n{lines}\r\n", site.token);
    let fits = with(format!("x: {}\r\n", "y".repeat(15 << 10)));
    assert_eq!(raw(site.address, fits.as_bytes()).await.unwrap().status, 200);
    let large = with(format!("x: {}\r\n", "y".repeat(17 << 10)));
    assert_eq!(raw(site.address, large.as_bytes()).await.unwrap().error().0, 431);
    let many = with("x: y\r\n".repeat(101));
    assert_eq!(raw(site.address, many.as_bytes()).await.unwrap().error().0, 431);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(17 << 10));
    let (status, _) = raw(site.address, long.as_bytes()).await.unwrap().error();
    assert!(matches!(status, 414 | 431), "{status}");
    // More than is ever read: nobody knows whether it becomes a request.
    let endless = with(format!("x: {}\r\n", "y".repeat(200 << 10)));
    let answer = raw(site.address, endless.as_bytes()).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str(), answer.header("connection")), (431, "", Some("close")));
}

/// However the bytes come: many at once, one by one, or behind other requests on one connection.
#[tokio::test]
async fn headers_have_16_kib_on_every_request_of_a_connection() {
    let site = start().await;
    let with = |filling: usize| {
        let start = format!("GET {FLAT} HTTP/1.1\r\nauthorization: Bearer {}\r\nx: ", site.token);
        let padding = "y".repeat(filling - start.len() - 4);
        format!("{start}{padding}\r\n\r\n")
    };
    let (fits, large) = (with(15 << 10), with((16 << 10) + 1));
    for pieces in [1, 3, 100] {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for request in [&fits, &fits, &fits, &large] {
            for piece in request.as_bytes().chunks(request.len().div_ceil(pieces)) {
                // The last one may be refused before all of it was sent.
                let _ = stream.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let status = read_answer(&mut stream, request).await.unwrap().status;
            assert_eq!(status, if request == &large { 431 } else { 200 }, "in {pieces} pieces");
        }
        ending(&mut stream).await;
    }
}

#[tokio::test]
async fn who_sends_headers_drop_by_drop_is_given_up() {
    let site =
        start_with(Tls::Off, limits(|limits| limits.headers_within = Duration::from_millis(300))).await;
    let mut slow = TcpStream::connect(site.address).await.unwrap();
    let dripping = tokio::spawn(async move {
        for byte in "GET / HTTP/1.1\r\nx: ".bytes().chain(std::iter::repeat(b'y')) {
            if slow.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut silent = TcpStream::connect(site.address).await.unwrap();
    let mut idle = TcpStream::connect(site.address).await.unwrap();
    assert_eq!(over(&mut idle, &request(&site)).await.unwrap().status, 200);
    assert_eq!(ending(&mut silent).await, [0; 0], "nothing sent at all");
    assert_eq!(ending(&mut idle).await, [0; 0], "nothing sent after an answer");
    dripping.await.unwrap();
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408() {
    let site = start_with(Tls::Off, limits(|limits| limits.body_within = Duration::from_millis(100))).await;
    let announced = format!(
        "POST {FLAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-length: 10\r\n\r\n[",
        site.token
    );
    assert_eq!(raw(site.address, announced.as_bytes()).await.unwrap().error().0, 408);
}

#[tokio::test]
async fn a_stop_ends_idle_connections_at_once_and_lets_requests_end() {
    let site = start().await;
    let mut idle = TcpStream::connect(site.address).await.unwrap();
    assert_eq!(over(&mut idle, &request(&site)).await.unwrap().status, 200);
    let mut under_way = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST {FLAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n",
        site.token
    );
    under_way.write_all(head.as_bytes()).await.unwrap();
    // The interim answer shows that the request has reached its handler.
    let mut interim = [0; 25];
    under_way.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    site.stop.send_replace(true);
    assert_eq!(ending(&mut idle).await, [0; 0]);
    under_way.write_all(b"[]").await.unwrap();
    assert_eq!(read_answer(&mut under_way, &head).await.unwrap().status, 200);
    drop(under_way);
    site.serving.await.unwrap();
    assert!(TcpStream::connect(site.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_those_who_never_end() {
    let site = start_with(Tls::Off, limits(|limits| limits.drain = Duration::from_millis(100))).await;
    let mut stuck = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST {FLAT} HTTP/1.1\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n",
        site.token
    );
    stuck.write_all(head.as_bytes()).await.unwrap();
    stuck.read_exact(&mut [0; 25]).await.unwrap();
    site.stop.send_replace(true);
    site.serving.await.unwrap();
}

#[tokio::test]
async fn a_taken_port_is_said_plainly() {
    use intercom_gateway::{
        api,
        clock::{Clock, Trust},
        domain::Name,
    };
    let site = start().await;
    let clock = Clock::system(Trust::Always);
    let mut settings = api::Settings {
        listen: site.address,
        tls: Tls::Off,
        gateway: Name::new("g").unwrap(),
        state_dir: site.dir().to_path_buf(),
        timezone: "UTC".into(),
        intercoms: [].into(),
        limits: Limits::default(),
    };
    let error = api::bind(&settings, &clock).await.err().unwrap().to_string();
    assert!(
        error.contains(&site.address.to_string()) && error.contains("another program has port"),
        "{error}"
    );
    settings.listen = "192.0.2.1:8443".parse().unwrap();
    let error = api::bind(&settings, &clock).await.err().unwrap().to_string();
    assert!(error.contains("does not have that address"), "{error}");
}
