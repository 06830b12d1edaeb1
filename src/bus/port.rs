//! The port of a line: a tty, or a TCP connection to a serial server.
//!
//! Never `flush` or `shutdown` here: tokio-serial drains with `tcdrain`, which blocks the thread for the length of
//! a transmission. The end of a transmission is computed by the line.

use std::{
    fmt, io,
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

use super::{allowance::Allowance, obstacles};
pub use crate::domain::Parity;
use crate::{clock, domain::Mono, survey::Speed, sys};

/// How long a serial server may take to accept a connection, the look-up of its name and all of its addresses
/// included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// More than a serial server gathers while nobody reads, bytes.
const MOST_DISCARDED: usize = 64 << 10;

/// Where a line is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortAddress {
    /// A device file, or a link to one.
    Tty(PathBuf),
    /// A serial server.
    Tcp {
        /// Its name or address, an IPv6 one without its brackets.
        host: String,
        /// Its TCP port.
        port: u16,
    },
}

impl PortAddress {
    /// Returns the device, where it is one.
    pub fn tty(&self) -> Option<&Path> {
        match self {
            Self::Tty(path) => Some(path),
            Self::Tcp { .. } => None,
        }
    }
}

impl fmt::Display for PortAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tty(path) => path.display().fmt(f),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// The electrical settings of a port.
#[derive(Clone, Debug)]
pub struct PortSettings {
    /// Where.
    pub address: PortAddress,
    /// Bits a second; where the rate is to be found, the one with which the port is opened.
    pub baud: u32,
    /// Whether the line's rate is to be found (`baud = "auto"`).
    pub finds_baud: bool,
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

    /// Returns whether bytes come in bunches, by USB or by network: silences say less then. Asked of a port that is
    /// open, as a link in /dev leads nowhere before its adapter is plugged in.
    pub fn is_buffered(&self) -> bool {
        let Some(path) = self.address.tty() else { return true };
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("ttyUSB") || name.starts_with("ttyACM")
    }

    /// Opens the port, exclusively where it is a tty. Direction and latency settings are best effort: what the
    /// driver refuses is logged. Safe to cancel.
    ///
    /// # Errors
    /// What the system said, in a sentence that names who has the port where that is why, and what to check.
    pub(super) async fn open(self) -> io::Result<Port> {
        match &self.address {
            PortAddress::Tty(path) => match self.open_tty(path) {
                Ok(tty) => Ok(Port::Tty(tty)),
                Err(error) => Err(obstacles::refused(path.clone(), error).await),
            },
            PortAddress::Tcp { host, port } => {
                let connected = sys::connect(host, *port, CONNECT_TIMEOUT).await;
                let stream = connected.map_err(|error| obstacles::unreachable(host, *port, error))?;
                let allowance = Allowance::new(self.baud, self.character_bits(), clock::mono());
                Ok(Port::Tcp(stream, allowance))
            }
        }
    }

    fn open_tty(&self, path: &Path) -> io::Result<SerialStream> {
        let stop_bits =
            if self.stop_bits == 2 { tokio_serial::StopBits::Two } else { tokio_serial::StopBits::One };
        // TIOCEXCL and flock. A pseudo-terminal keeps TIOCEXCL until its other side closes: nobody but root could open it
        // again after this process was killed. A lock by flock ends with the process.
        let is_pty = sys::is_pty(path);
        let port = tokio_serial::new(path.to_string_lossy(), self.baud)
            .parity(serial_parity(self.parity))
            .stop_bits(stop_bits)
            .exclusive(!is_pty)
            .open_native_async()?;
        if is_pty {
            sys::lock(&port)
                .map_err(|_| io::Error::new(io::ErrorKind::NotFound, "locked by another program"))?;
        }
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

fn serial_parity(parity: Parity) -> tokio_serial::Parity {
    match parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    }
}

/// An open port.
pub(super) enum Port {
    /// A tty.
    Tty(SerialStream),
    /// A serial server, and what may be read from it.
    Tcp(TcpStream, Allowance),
}

impl Port {
    /// Returns how many bytes may be read now.
    ///
    /// # Errors
    /// When some may be read again, where none may now.
    pub(super) fn allowance(&mut self) -> Result<usize, Mono> {
        match self {
            Self::Tty(_) => Ok(usize::MAX),
            Self::Tcp(_, allowance) => match allowance.available(clock::mono()) {
                0 => Err(allowance.next_time()),
                bytes => Ok(bytes),
            },
        }
    }

    /// Counts bytes that were read.
    pub(super) fn count(&mut self, bytes: usize) {
        if let Self::Tcp(_, allowance) = self {
            allowance.take(bytes);
        }
    }

    /// Sets another speed, and drops what has come in. That of a serial server is its own affair.
    ///
    /// # Errors
    /// The driver does not take it.
    pub(super) fn set_speed(&mut self, speed: Speed) -> io::Result<()> {
        if let Self::Tty(tty) = self {
            let refused = |error: tokio_serial::Error| {
                io::Error::other(format!("the port does not take {speed}: {error}; choose others by --baud"))
            };
            tty.set_baud_rate(speed.baud).map_err(refused)?;
            tty.set_parity(serial_parity(speed.parity)).map_err(refused)?;
        }
        self.discard_input()
    }

    /// Sets another rate, between two turns.
    ///
    /// # Errors
    /// The driver does not take it.
    pub(super) fn set_baud(&mut self, baud: u32) -> io::Result<()> {
        match self {
            Self::Tty(tty) => Ok(tty.set_baud_rate(baud)?),
            Self::Tcp(..) => Ok(()),
        }
    }

    /// Returns which of these rates the port takes; it has the last of them then. A serial server's is its own affair.
    pub(super) fn takes(&mut self, rates: &[u32]) -> Vec<u32> {
        let Self::Tty(tty) = self else { return Vec::new() };
        // Some drivers take what they cannot do, and do what they can.
        let is_taken = |rate: &u32| {
            let set = tty.set_baud_rate(*rate).and_then(|()| tty.baud_rate());
            set.is_ok_and(|set| set.abs_diff(*rate) <= rate / 50)
        };
        rates.iter().copied().filter(is_taken).collect()
    }

    /// Drops what has come in and was not read yet. Modbus answers name no request: one that comes late must be gone
    /// before the next is asked for.
    pub(super) fn discard_input(&self) -> io::Result<()> {
        match self {
            Self::Tty(tty) => Ok(tty.clear(tokio_serial::ClearBuffer::Input)?),
            Self::Tcp(tcp, _) => {
                let (mut buffer, mut dropped) = ([0; 4096], 0);
                // The end of the connection is the reader's to find.
                while let Ok(length @ 1..) = tcp.try_read(&mut buffer) {
                    dropped += length;
                    if dropped > MOST_DISCARDED {
                        return Err(io::Error::other(
                            "the serial server sends without end: check what it is set up to send",
                        ));
                    }
                }
                Ok(())
            }
        }
    }
}

impl AsyncRead for Port {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tty(tty) => Pin::new(tty).poll_read(cx, buf),
            Self::Tcp(tcp, _) => Pin::new(tcp).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Port {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tty(tty) => Pin::new(tty).poll_write(cx, buf),
            Self::Tcp(tcp, _) => Pin::new(tcp).poll_write(cx, buf),
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
            Port::Tcp(tcp, _) => tcp.readable().await.unwrap(),
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
        drops_what_came_before(far, tcp(near)).await;
    }

    fn tcp(stream: TcpStream) -> Port {
        Port::Tcp(stream, Allowance::new(9600, 10, clock::mono()))
    }

    #[tokio::test]
    async fn a_flood_does_not_hold_the_line_up_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        far.write_all(&[0x55; 200_000]).await.unwrap();
        near.readable().await.unwrap();
        let error = tcp(near).discard_input().unwrap_err();
        assert!(error.to_string().contains("sends without end"), "{error}");
    }

    #[test]
    fn an_address_is_written_as_in_the_configuration() {
        let tcp = |host: &str| PortAddress::Tcp { host: host.into(), port: 4001 }.to_string();
        assert_eq!(PortAddress::Tty("/dev/serial0".into()).to_string(), "/dev/serial0");
        assert_eq!(tcp("serial.example"), "tcp://serial.example:4001");
        assert_eq!(tcp("fd00::1"), "tcp://[fd00::1]:4001");
    }
}
