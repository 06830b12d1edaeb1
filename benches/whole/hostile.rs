//! Hostile clients of the endpoint, in a process of their own behind everything else: 256 clients from 16 addresses,
//! as many as the endpoint lets in, who come back as soon as they are cut off.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use intercom_gateway::tls::{Pem, client_config};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::common::{
    aside::{self, Aside},
    neighbours::connect,
};

pub const CLIENTS: u32 = 256;
/// An address may have 32 connections.
const ADDRESSES: u32 = 16;
/// Between two bytes of a slow one, and before one that was refused comes back.
const DRIBBLE: Duration = Duration::from_millis(100);

/// The bench's end of them.
pub struct Hostiles(Aside);

impl Hostiles {
    /// Lets them knock at `address`, whose certificate is `certificate`; each has been there once then.
    pub fn start(address: SocketAddr, certificate: &Path) -> anyhow::Result<Self> {
        let certificate = certificate.to_str().context("the folder's name is no text")?;
        let address = address.to_string();
        let mut aside = Aside::start(["be-hostile", "--address", &address, "--certificate", certificate])?;
        ensure!(aside.hear()? == "here", "the hostile clients do not come");
        Ok(Self(aside))
    }

    /// Sends them away; how often they have knocked since they were all there.
    pub fn stop(self) -> anyhow::Result<u64> {
        Ok(self.0.stop()?.parse()?)
    }
}

/// Is hostile until stdin ends.
#[tokio::main(flavor = "current_thread")]
pub async fn be_hostile(address: SocketAddr, certificate: PathBuf) -> anyhow::Result<()> {
    let roots = Pem::new("the endpoint's certificate", Zeroizing::new(fs::read(certificate)?));
    let tls = TlsConnector::from(client_config(Some(&roots), None)?);
    let knocks = Arc::new(AtomicU64::new(0));
    let (arrived, mut arrivals) = mpsc::channel(1);
    for number in 0..CLIENTS {
        tokio::spawn(knock(address, number, tls.clone(), knocks.clone(), arrived.clone()));
    }
    for _ in 0..CLIENTS {
        arrivals.recv().await.context("they are gone")?;
    }
    println!("here");
    let before = knocks.load(Ordering::Relaxed);
    tokio::task::spawn_blocking(aside::until_told_to_end).await??;
    println!("{}", knocks.load(Ordering::Relaxed) - before);
    Ok(())
}

/// A client of one of four kinds, over and over.
async fn knock(
    address: SocketAddr,
    number: u32,
    tls: TlsConnector,
    knocks: Arc<AtomicU64>,
    arrived: mpsc::Sender<()>,
) {
    let mut arrived = Some(arrived);
    loop {
        let Ok(stream) = connect(address, (number % ADDRESSES) as u8).await else {
            tokio::time::sleep(DRIBBLE).await;
            continue;
        };
        knocks.fetch_add(1, Ordering::Relaxed);
        if let Some(arrived) = arrived.take() {
            // Fails only at the end of all.
            let _ = arrived.send(()).await;
        }
        // They end by being cut off, or hang up by themselves; then they come back.
        let _ = match number / ADDRESSES % 4 {
            0 => dribble(stream, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await,
            1 => shake_hands(stream, &tls).await,
            2 => guess(stream, &tls, number).await,
            _ => dribble_headers(stream, &tls).await,
        };
    }
}

/// The beginning of a handshake that never comes to its end.
async fn dribble(mut stream: TcpStream, beginning: &[u8]) -> anyhow::Result<()> {
    for byte in beginning.iter().chain(std::iter::repeat(&0)) {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(DRIBBLE).await;
    }
    Ok(())
}

/// A handshake, which costs the gateway a signature, and nothing behind it.
async fn shake_hands(stream: TcpStream, tls: &TlsConnector) -> anyhow::Result<()> {
    tls.connect("localhost".try_into()?, stream).await?;
    Ok(())
}

/// Shakes hands and sends a wrong token.
async fn guess(stream: TcpStream, tls: &TlsConnector, number: u32) -> anyhow::Result<()> {
    let mut stream = tls.connect("localhost".try_into()?, stream).await?;
    let request = format!(
        "GET /api/admin/v1/intercoms/1/flats/1 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {number:064x}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(())
}

/// Headers that never come to their end.
async fn dribble_headers(stream: TcpStream, tls: &TlsConnector) -> anyhow::Result<()> {
    let mut stream = tls.connect("localhost".try_into()?, stream).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await?;
    loop {
        stream.write_all(b"x").await?;
        stream.flush().await?;
        tokio::time::sleep(DRIBBLE).await;
    }
}
