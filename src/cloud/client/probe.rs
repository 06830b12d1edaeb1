//! Whether a broker can be reached, and what TLS says to it: as much as can be known without signing on, which would end
//! the connection of a gateway that runs.

use std::{io, sync::Arc, time::Duration};

use rumqttc::ConnectionError;
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};

use super::{CONNECT_TCP, Failure, Target};
use crate::sys;

/// Longest time for the handshake of TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Connects to a broker, by TLS where `tls` says how, and hangs up. Returns what was found, a clause.
///
/// # Errors
/// A sentence that says what is in the way, and the next step.
pub async fn probe(
    host: &str,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    clock_synchronized: bool,
) -> Result<String, String> {
    let target = Target { host, port, tls: tls.is_some(), client_id: "", clock_synchronized };
    let why = |error: io::Error| Failure::new(ConnectionError::Io(error), false).explain(&target);
    let stream = sys::connect(host, port, CONNECT_TCP).await.map_err(why)?;
    let Some(config) = tls else { return Ok("it takes connections, without TLS".to_owned()) };
    let spoken = timeout(HANDSHAKE, shake_hands(stream, config, host)).await;
    let version = spoken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
        if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) {
            return format!(
                "the broker {host}:{port} breaks the TLS handshake off: does it speak TLS on this port, or is url to say mqtt://?"
            );
        }
        why(error)
    })?;
    Ok(format!("it takes connections and its certificate is good ({version})"))
}

async fn shake_hands(stream: TcpStream, config: Arc<ClientConfig>, host: &str) -> io::Result<&'static str> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        while tls.wants_write() {
            stream.writable().await?;
            match tls.write_tls(&mut Nonblocking(&stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => drop(written?),
            }
        }
        if !tls.is_handshaking() {
            break;
        }
        stream.readable().await?;
        match tls.read_tls(&mut Nonblocking(&stream)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            read => drop(read?),
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
    Ok(match tls.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS 1.2",
    })
}

/// A connection as rustls reads and writes it.
struct Nonblocking<'a>(&'a TcpStream);

impl io::Read for Nonblocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for Nonblocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
