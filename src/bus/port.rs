//! The port of a line: a tty, or a TCP connection to a serial server.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{allowance::Allowance, obstacles, tty::Tty};
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
            PortAddress::Tty(path) => match Tty::open(path, &self) {
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
}

/// An open port.
pub(super) enum Port {
    /// A tty.
    Tty(Tty),
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

    /// Waits for bytes and reads them; 0: the port is gone. Safe to cancel.
    ///
    /// # Errors
    /// As reported by the system.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tty(tty) => tty.read(buffer).await,
            Self::Tcp(tcp, _) => tcp.read(buffer).await,
        }
    }

    /// Sends all of `bytes`, waiting while there is no room for them.
    ///
    /// # Errors
    /// As reported by the system.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tty(tty) => tty.write_all(bytes).await,
            Self::Tcp(tcp, _) => tcp.write_all(bytes).await,
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
            tty.set(speed.baud, Some(speed.parity)).map_err(|error| {
                io::Error::other(format!("the port does not take {speed}: {error}; choose others by --baud"))
            })?;
        }
        self.discard_input()
    }

    /// Sets another rate, between two turns.
    ///
    /// # Errors
    /// The driver does not take it.
    pub(super) fn set_baud(&mut self, baud: u32) -> io::Result<()> {
        match self {
            Self::Tty(tty) => tty.set(baud, None),
            Self::Tcp(..) => Ok(()),
        }
    }

    /// Returns which of these rates the port takes; it has the last of them then. A serial server's is its own affair.
    pub(super) fn takes(&mut self, rates: &[u32]) -> Vec<u32> {
        match self {
            Self::Tty(tty) => tty.takes(rates),
            Self::Tcp(..) => Vec::new(),
        }
    }

    /// Drops what has come in and was not read yet. Modbus answers name no request: one that comes late must be gone
    /// before the next is asked for.
    pub(super) fn discard_input(&self) -> io::Result<()> {
        match self {
            Self::Tty(tty) => tty.discard_input(),
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

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use tokio::net::TcpListener;
    use tokio_serial::{SerialPort, SerialStream};

    use super::*;

    async fn drops_what_came_before(send: &mut dyn FnMut(&[u8]), mut near: Port) {
        // It has come once something was read.
        send(b"a late answer");
        let mut first = [0];
        near.read(&mut first).await.unwrap();
        near.discard_input().unwrap();
        send(b"the answer");
        let (mut answer, mut length) = ([0; 13], 0);
        while length < 10 {
            length += near.read(&mut answer[length..]).await.unwrap();
        }
        assert_eq!(&answer[..length], b"the answer");
    }

    /// A tty, and its other side, which somebody else has open on this side as well: it may be silent.
    async fn tty() -> (SerialStream, SerialStream, Port) {
        let (far, other) = SerialStream::pair().unwrap();
        let settings = PortSettings {
            address: PortAddress::Tty(other.name().unwrap().into()),
            baud: 9600,
            finds_baud: false,
            parity: Parity::None,
            stop_bits: 1,
            rts_direction: false,
        };
        (far, other, settings.open().await.unwrap())
    }

    #[tokio::test]
    async fn what_came_before_a_request_is_dropped() {
        let (mut far, _other, near) = tty().await;
        let sent = |bytes: &[u8], taken: io::Result<usize>| assert_eq!(taken.unwrap(), bytes.len());
        drops_what_came_before(&mut |bytes| sent(bytes, far.try_write(bytes)), near).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        drops_what_came_before(&mut |bytes| sent(bytes, far.try_write(bytes)), tcp(near)).await;
    }

    #[tokio::test]
    async fn a_tty_that_takes_nothing_keeps_the_writer_waiting_and_gets_all_once_it_takes_some() {
        let (mut far, _other, mut near) = tty().await;
        let sent: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
        let mut writing = std::pin::pin!(near.write_all(&sent));
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        let waits =
            std::future::poll_fn(|context| Poll::Ready(writing.as_mut().poll(context).is_pending())).await;
        assert!(waits, "there is not so much room");
        let read = async {
            while received.len() < sent.len() {
                let length = far.read(&mut buffer).await.unwrap();
                received.extend_from_slice(&buffer[..length]);
            }
        };
        let (written, ()) = tokio::join!(writing, read);
        written.unwrap();
        assert!(received == sent, "in order, and each once");
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
