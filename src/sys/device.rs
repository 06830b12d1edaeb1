//! An open device that wakes the one who reads it, and nobody else.
//!
//! A descriptor that is watched for room to write as well wakes its thread for each batch of characters that has left a
//! UART, which is of no use to anybody who writes a frame at a time.

use std::{
    future::poll_fn,
    io,
    os::fd::OwnedFd,
    task::{Poll, ready},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd,
};
use tokio::io::{Interest, unix::AsyncFd};

/// How long a device that takes no bytes is left alone. It has kilobytes of room: such a one is stuck.
const FULL: Duration = Duration::from_millis(5);

/// An open device, for one task that reads and writes.
#[derive(Debug)]
pub struct Device(AsyncFd<OwnedFd>);

impl Device {
    /// Watches the device behind `descriptor`, which does not block from now on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// As reported by the system.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&descriptor, FcntlArg::F_GETFL)?);
        fcntl(&descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        // SAFETY: an OwnedFd has always the same descriptor, and closes it only when it is dropped, which AsyncFd does after it
        // has deregistered it.
        Ok(Self(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?))
    }

    /// Waits for bytes and reads them; 0: there will be none any more. Safe to cancel.
    ///
    /// # Errors
    /// As reported by the system.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| {
            loop {
                let mut ready = ready!(self.0.poll_read_ready(context))?;
                match unistd::read(&self.0, buffer) {
                    Ok(length) => {
                        // Less than there was room for is all that there was, and what comes later is told anew.
                        if length < buffer.len() {
                            ready.clear_ready();
                        }
                        return Poll::Ready(Ok(length));
                    }
                    Err(Errno::EAGAIN) => ready.clear_ready(),
                    Err(Errno::EINTR) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
        })
        .await
    }

    /// Writes all of `bytes`, waiting while the device takes none. If cancelled, it may have written some of them.
    ///
    /// # Errors
    /// As reported by the system.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match unistd::write(&self.0, bytes) {
                Ok(0) | Err(Errno::EAGAIN) => tokio::time::sleep(FULL).await,
                Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net,
    };

    use super::*;

    fn pair() -> (net::UnixStream, Device) {
        let (far, near) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        (net::UnixStream::from_std(far).unwrap(), Device::new(near.into()).unwrap())
    }

    #[tokio::test]
    async fn what_comes_is_read_at_once_and_in_parts_and_its_end_is_told_for_ever() {
        let (mut far, near) = pair();
        let mut buffer = [0; 4];
        for _ in 0..100 {
            far.write_all(b"123456").await.unwrap();
            assert_eq!(near.read(&mut buffer).await.unwrap(), 4, "more waits, and nothing new comes");
            assert_eq!(near.read(&mut buffer).await.unwrap(), 2);
            tokio::select! {
                biased;
                read = near.read(&mut buffer) => panic!("there is nothing: {read:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        drop(far);
        for _ in 0..3 {
            assert_eq!(near.read(&mut buffer).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn what_finds_no_room_is_written_as_soon_as_there_is_some() {
        let (mut far, near) = pair();
        let sent: Vec<u8> = (0..4_000_000_u32).map(|number| (number % 251) as u8).collect();
        let mut received = vec![0; sent.len()];
        let (written, read) = tokio::join!(near.write_all(&sent), far.read_exact(&mut received));
        written.unwrap();
        read.unwrap();
        assert!(received == sent, "in order, and each once");
    }
}
