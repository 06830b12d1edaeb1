//! A port that is a tty: opened exclusively, set up, read and written.
//!
//! It is never drained: `tcdrain` blocks the thread for the length of a transmission, whose end is computed by the line.

use std::{io, path::Path};

use tokio_serial::{ClearBuffer, SerialPort};

use super::port::{Parity, PortSettings};
use crate::sys::{self, Device};

/// An open tty.
pub(super) struct Tty {
    device: Device,
    /// The same, to be set up.
    settings: Box<dyn SerialPort>,
}

impl Tty {
    /// Opens a tty, which nobody else may have open. Direction and latency settings are best effort: what the driver refuses is
    /// logged.
    ///
    /// # Errors
    /// As reported by the system.
    pub(super) fn open(path: &Path, wanted: &PortSettings) -> io::Result<Self> {
        let stop_bits =
            if wanted.stop_bits == 2 { tokio_serial::StopBits::Two } else { tokio_serial::StopBits::One };
        // TIOCEXCL and flock. A pseudo-terminal keeps TIOCEXCL until its other side closes: nobody but root could open it
        // again after this process was killed. A lock by flock ends with the process.
        let is_pty = sys::is_pty(path);
        let port = tokio_serial::new(path.to_string_lossy(), wanted.baud)
            .parity(serial_parity(wanted.parity))
            .stop_bits(stop_bits)
            .exclusive(!is_pty)
            .open_native()?;
        if is_pty {
            sys::lock(&port)
                .map_err(|_| io::Error::new(io::ErrorKind::NotFound, "locked by another program"))?;
        }
        if wanted.rts_direction
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
        let device = Device::new(sys::duplicate(&port)?)?;
        let tty = Self { device, settings: Box::new(port) };
        // What an earlier program left in the buffer is nobody's answer.
        tty.discard_input()?;
        Ok(tty)
    }

    /// Waits for bytes and reads them; 0: the tty is gone. Safe to cancel.
    ///
    /// # Errors
    /// As reported by the system.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.device.read(buffer).await
    }

    /// Hands all of `bytes` to the driver, waiting while it takes none.
    ///
    /// # Errors
    /// As reported by the system.
    pub(super) async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.device.write_all(bytes).await
    }

    /// Drops what has come in and was not read yet.
    ///
    /// # Errors
    /// As reported by the system.
    pub(super) fn discard_input(&self) -> io::Result<()> {
        Ok(self.settings.clear(ClearBuffer::Input)?)
    }

    /// Sets another rate, in bits a second, and another parity where one is given.
    ///
    /// # Errors
    /// The driver does not take it.
    pub(super) fn set(&mut self, baud: u32, parity: Option<Parity>) -> io::Result<()> {
        self.settings.set_baud_rate(baud)?;
        if let Some(parity) = parity {
            self.settings.set_parity(serial_parity(parity))?;
        }
        Ok(())
    }

    /// Returns which of these rates the driver takes; the tty has the last of them then.
    pub(super) fn takes(&mut self, rates: &[u32]) -> Vec<u32> {
        // Some drivers take what they cannot do, and do what they can.
        let is_taken = |rate: &u32| {
            let set = self.settings.set_baud_rate(*rate).and_then(|()| self.settings.baud_rate());
            set.is_ok_and(|set| set.abs_diff(*rate) <= rate / 50)
        };
        rates.iter().copied().filter(is_taken).collect()
    }
}

fn serial_parity(parity: Parity) -> tokio_serial::Parity {
    match parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    }
}
