//! The port of a line: a tty, or a TCP connection to a serial server.
//!
//! Never `flush` or `shutdown` here: tokio-serial drains with `tcdrain`, which blocks the thread for the length of
//! a transmission. The end of a transmission is computed by the line.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_serial::{SerialPort, SerialPortBuilderExt, SerialStream};

use crate::sys;

/// How long a serial server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a line is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortAddress {
    /// A device file, or a link to one.
    Tty(PathBuf),
    /// A serial server, `host:port`.
    Tcp(String),
}

/// Parity bit of each character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Parity {
    #[default]
    None,
    Even,
    Odd,
}

/// The electrical settings of a port.
#[derive(Clone, Debug)]
pub struct PortSettings {
    /// Where.
    pub address: PortAddress,
    /// Bits a second.
    pub baud: u32,
    /// Parity.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// Let the kernel switch the direction by RTS (TIOCSRS485).
    pub rts_direction: bool,
}

impl PortSettings {
    /// Bits of one character, start and stop bits included.
    pub fn character_bits(&self) -> u32 {
        1 + 8 + u32::from(self.parity != Parity::None) + u32::from(self.stop_bits)
    }

    /// Whether bytes come in bunches, by USB or by network: silences say less then.
    pub fn is_buffered(&self) -> bool {
        match &self.address {
            PortAddress::Tcp(_) => true,
            PortAddress::Tty(path) => {
                let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                let name =
                    target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                name.starts_with("ttyUSB") || name.starts_with("ttyACM")
            }
        }
    }

    /// Opens the port, exclusively where it is a tty. Direction and latency settings are best effort: what the
    /// driver refuses is logged.
    pub async fn open(&self) -> io::Result<Port> {
        match &self.address {
            PortAddress::Tty(path) => self.open_tty(path).map(Port::Tty),
            PortAddress::Tcp(address) => {
                let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
                let stream = connecting.await.map_err(|_| {
                    io::Error::new(io::ErrorKind::TimedOut, "the serial server does not answer")
                })??;
                stream.set_nodelay(true)?;
                Ok(Port::Tcp(stream))
            }
        }
    }

    fn open_tty(&self, path: &Path) -> io::Result<SerialStream> {
        let parity = match self.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        };
        let stop_bits =
            if self.stop_bits == 2 { tokio_serial::StopBits::Two } else { tokio_serial::StopBits::One };
        let port = tokio_serial::new(path.to_string_lossy(), self.baud)
            .parity(parity)
            .stop_bits(stop_bits)
            .open_native_async()?;
        if self.rts_direction
            && let Err(error) = sys::set_rs485(&port)
        {
            tracing::warn!(
                port = %path.display(), %error,
                "the driver does not switch the RS-485 direction (TIOCSRS485): use an adapter that does, and direction = \"auto\""
            );
        }
        if let Err(error) = sys::set_low_latency(&port) {
            tracing::debug!(port = %path.display(), %error, "low latency is not supported by this driver");
        }
        // What an earlier program left in the buffer is nobody's answer.
        port.clear(tokio_serial::ClearBuffer::Input)?;
        Ok(port)
    }
}

/// An open port.
pub enum Port {
    /// A tty.
    Tty(SerialStream),
    /// A serial server.
    Tcp(TcpStream),
}

impl Port {
    /// Drops what has come in and was not read yet. Modbus answers name no request: one that comes late must be gone
    /// before the next is asked for.
    pub fn discard_input(&self) -> io::Result<()> {
        match self {
            Self::Tty(tty) => Ok(tty.clear(tokio_serial::ClearBuffer::Input)?),
            Self::Tcp(tcp) => {
                let mut dropped = [0; 256];
                // The end of the connection is the reader's to find.
                while matches!(tcp.try_read(&mut dropped), Ok(length) if length > 0) {}
                Ok(())
            }
        }
    }
}

impl AsyncRead for Port {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tty(tty) => Pin::new(tty).poll_read(cx, buf),
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Port {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tty(tty) => Pin::new(tty).poll_write(cx, buf),
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn drops_what_came_before(mut far: impl AsyncWrite + Unpin, mut near: Port) {
        far.write_all(b"a late answer").await.unwrap();
        match &near {
            Port::Tty(tty) => tty.readable().await.unwrap(),
            Port::Tcp(tcp) => tcp.readable().await.unwrap(),
        }
        near.discard_input().unwrap();
        far.write_all(b"the answer").await.unwrap();
        let mut answer = [0; 10];
        near.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"the answer");
    }

    #[tokio::test]
    async fn what_came_before_a_request_is_dropped() {
        let (far, near) = SerialStream::pair().unwrap();
        drops_what_came_before(far, Port::Tty(near)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        drops_what_came_before(far, Port::Tcp(near)).await;
    }
}
