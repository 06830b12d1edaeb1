//! Clients of the endpoint, a process of their own: on a real gateway their work is another machine's, so they run behind
//! everything else. Slow ones dribble headers or a body, one byte at a time, and come back when they are cut off; fast
//! ones ask for one flat after the other.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::common::{
    aside::{self, Aside},
    neighbours::connect,
};

/// Between two bytes of a slow client.
const DRIBBLE: Duration = Duration::from_millis(100);
const FLATS: u64 = 10_000;
/// The slow ones are these neighbours, from 0 on; the fast ones are another.
const SLOW_NEIGHBOURS: u64 = 16;
const FAST_NEIGHBOUR: u8 = 16;

/// Who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub slow: u32,
    pub fast: u32,
}

/// A crowd that runs.
pub struct Crowd(Aside);

/// What a crowd has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Answers that fast clients got.
    pub answers: u64,
    /// Bytes that slow clients have sent.
    pub dribbled: u64,
}

impl Crowd {
    pub fn start(size: Size, address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let [slow, fast] = [size.slow, size.fast].map(|count| count.to_string());
        let address = address.to_string();
        let role =
            ["be-the-crowd", "--slow", &slow, "--fast", &fast, "--address", &address, "--token", token];
        Ok(Self(Aside::start(role)?))
    }

    /// Sends them home; they tell what they have done.
    pub fn stop(self) -> anyhow::Result<Done> {
        let told = self.0.stop()?;
        let (answers, dribbled) = told.split_once(' ').context("the clients tell nothing")?;
        Ok(Done { answers: answers.parse()?, dribbled: dribbled.parse()? })
    }
}

#[derive(Default)]
struct Counts {
    answers: AtomicU64,
    dribbled: AtomicU64,
}

/// Is the crowd until stdin ends.
pub fn be_the_crowd(size: Size, address: SocketAddr, token: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let counts = Arc::new(Counts::default());
    for number in 0..u64::from(size.slow) {
        runtime.spawn(slow(address, number, counts.clone()));
    }
    for number in 0..u64::from(size.fast) {
        runtime.spawn(fast(address, number, token.to_owned(), counts.clone()));
    }
    aside::until_told_to_end()?;
    let Counts { answers, dribbled } = &*counts;
    println!("{} {}", answers.load(Ordering::Relaxed), dribbled.load(Ordering::Relaxed));
    Ok(())
}

/// Every other one dribbles headers; the rest a body that it has announced.
async fn slow(address: SocketAddr, number: u64, counts: Arc<Counts>) {
    let head = "POST /api/admin/v1/intercoms/1/flats/1 HTTP/1.1\r\nhost: localhost\r\n";
    let at_once = if number.is_multiple_of(2) { "" } else { "content-length: 65536\r\n\r\n" };
    loop {
        let Ok(mut stream) = connect(address, (number % SLOW_NEIGHBOURS) as u8).await else {
            tokio::time::sleep(DRIBBLE).await;
            continue;
        };
        // Errors: it was cut off, and comes back.
        let mut sent = stream.write_all(head.as_bytes()).await;
        if sent.is_ok() {
            sent = stream.write_all(at_once.as_bytes()).await;
        }
        while sent.is_ok() {
            tokio::time::sleep(DRIBBLE).await;
            sent = stream.write_all(b"x").await;
            counts.dribbled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn fast(address: SocketAddr, number: u64, token: String, counts: Arc<Counts>) {
    let mut flat = number * 613;
    let mut request = String::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(mut stream) = connect(address, FAST_NEIGHBOUR).await else { continue };
        // Nagle would hold the request back.
        let _ = stream.set_nodelay(true);
        loop {
            flat = (flat + 7_919) % FLATS;
            request.clear();
            let _ = write!(
                request,
                "GET /api/admin/v1/intercoms/1/flats/{} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n",
                flat + 1
            );
            if stream.write_all(request.as_bytes()).await.is_err() {
                break;
            }
            // An answer is one flat's document, which ends by its brackets; the next request waits for all of it.
            let mut filled = 0;
            while !buffer[..filled].ends_with(b"}}") {
                match stream.read(&mut buffer[filled..]).await {
                    Ok(read @ 1..) => filled += read,
                    _ => break,
                }
            }
            if filled == 0 {
                // It has lost its place before its token was seen.
                break;
            }
            assert!(buffer[..filled].starts_with(b"HTTP/1.1 200"), "the endpoint refuses");
            counts.answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}
