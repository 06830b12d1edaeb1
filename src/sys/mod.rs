//! What is close to the system: calls that no crate wraps (the only place with `unsafe`), a fine timer, files that
//! survive a power cut, connections, and who has a file open.
#![allow(
    unsafe_code,
    reason = "ioctls, setsockopt, adjtimex and sched_setscheduler, which get pointers to live, initialised locals; mallopt and malloc_trim; descriptors registered with the runtime"
)]

mod addresses;
mod connect;
mod device;
pub mod disk;
pub mod files;
mod holders;
pub mod serial;
mod timer;
mod work;

use std::{
    fs::Metadata,
    io, mem,
    ops::RangeInclusive,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
    time::Duration,
};

pub use addresses::reached_at;
pub use connect::{NoSuchHost, connect};
pub use device::Device;
pub use holders::{Holder, holders};
pub use timer::Timer;
pub use work::{Blocking, blocking, finished, spawn};

/// Turns on the kernel's RS-485 direction control (TIOCSRS485) with RTS raised while sending. `after_send`
/// tries the one layout that sc16is7xx adapters take. A pty and many USB adapters answer ENOTTY.
pub fn set_rs485(port: &impl AsRawFd) -> io::Result<()> {
    const SER_RS485_ENABLED: u32 = 1;
    const SER_RS485_RTS_ON_SEND: u32 = 1 << 1;
    const SER_RS485_RTS_AFTER_SEND: u32 = 1 << 2;
    // linux/serial.h: struct serial_rs485 is eight 32-bit words.
    let mut last = Ok(());
    for flags in [SER_RS485_ENABLED | SER_RS485_RTS_ON_SEND, SER_RS485_ENABLED | SER_RS485_RTS_AFTER_SEND] {
        let settings: [u32; 8] = [flags, 0, 0, 0, 0, 0, 0, 0];
        // SAFETY: TIOCSRS485 reads one serial_rs485, which `settings` is as large as.
        last = check(unsafe { libc::ioctl(port.as_raw_fd(), libc::TIOCSRS485, settings.as_ptr()) });
        if last.is_ok() {
            break;
        }
    }
    last
}

/// Asks the driver to hand bytes over as they come (ASYNC_LOW_LATENCY): FTDI adapters wait 16 ms otherwise.
pub fn set_low_latency(port: &impl AsRawFd) -> io::Result<()> {
    const ASYNC_LOW_LATENCY: libc::c_int = 1 << 13;
    // linux/serial.h: struct serial_struct; only `flags` (after four ints: type, line, port, irq) is changed.
    #[repr(C, align(8))]
    struct SerialStruct([libc::c_int; 32]);
    let mut settings = SerialStruct([0; 32]);
    // SAFETY: serial_struct is at most 72 bytes; the buffer has 128, aligned for its pointers.
    check(unsafe { libc::ioctl(port.as_raw_fd(), libc::TIOCGSERIAL, &raw mut settings) })?;
    settings.0[4] |= ASYNC_LOW_LATENCY;
    // SAFETY: as above; the kernel reads what TIOCGSERIAL wrote, with one flag more.
    check(unsafe { libc::ioctl(port.as_raw_fd(), libc::TIOCSSERIAL, &raw const settings) })
}

/// Returns the rate that a terminal is set to, in bits a second, a usual one or not (TCGETS2).
///
/// # Errors
/// It is no terminal, or an emulated machine does not know the call.
pub fn baud_of(terminal: &impl AsRawFd) -> io::Result<u32> {
    // SAFETY: termios2 is plain data, and what is not set is zero.
    let mut termios: libc::termios2 = unsafe { mem::zeroed() };
    // SAFETY: TCGETS2 fills one termios2, which lives.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TCGETS2, &raw mut termios) })?;
    Ok(termios.c_ospeed)
}

/// Has the kernel take no more than this many bytes of a TCP connection that it cannot send yet (TCP_NOTSENT_LOWAT): what
/// its other side does not take waits here then, where it is seen. What is on the way is not limited.
///
/// # Errors
/// It is no TCP connection.
pub fn keep_unsent_below(connection: &impl AsRawFd, bytes: u32) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of_val(&bytes)).unwrap_or_default();
    // SAFETY: setsockopt reads one 32-bit word, which lives.
    check(unsafe {
        libc::setsockopt(
            connection.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const bytes).cast(),
            size,
        )
    })
}

/// Has the kernel end a TCP connection whose other side has confirmed nothing of what was sent for this long
/// (TCP_USER_TIMEOUT): by itself it tries for a quarter of an hour.
///
/// # Errors
/// It is no TCP connection.
pub fn give_up_after(connection: &impl AsFd, time: Duration) -> nix::Result<()> {
    let milliseconds = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    nix::sys::socket::setsockopt(connection, nix::sys::socket::sockopt::TcpUserTimeout, &milliseconds)
}

/// Locks an open file for this process by flock, without waiting. The lock ends with the file, also where the process is
/// killed.
///
/// # Errors
/// Another process has locked it (`WouldBlock`).
pub fn lock(file: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: flock gets the number of a file that is open for as long as `file` lives, and no pointer.
    check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })
}

/// Returns another descriptor of the same open file.
///
/// # Errors
/// As reported by the system: there are too many.
pub fn duplicate(file: &impl AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: the file is open for as long as `file` is borrowed.
    unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) }.try_clone_to_owned()
}

/// Returns whether a path leads to the side of a pseudo-terminal that programs open.
pub fn is_pty(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| is_pty_number(&metadata))
}

fn is_pty_number(metadata: &Metadata) -> bool {
    /// Device numbers of UNIX 98 pseudo-terminals (Documentation/admin-guide/devices.txt).
    const MAJORS: RangeInclusive<u32> = 136..=143;
    MAJORS.contains(&libc::major(metadata.rdev()))
}

/// Whether the kernel's clock is disciplined by a time server (adjtimex lacks STA_UNSYNC).
pub fn clock_synchronized() -> io::Result<bool> {
    // SAFETY: timex is plain data; all zeros means "read only".
    let mut timex: libc::timex = unsafe { mem::zeroed() };
    // SAFETY: adjtimex fills the local struct.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0)
}

/// Makes the allocator return large blocks to the system as soon as they are freed. For the whole process; call it before
/// other threads start. Left alone, glibc raises its limit with each large block that is freed, and keeps more of every
/// arena: a snapshot from the cloud left 14 MB behind.
pub fn give_large_blocks_back() {
    #[cfg(target_env = "gnu")]
    {
        /// Bytes; glibc's own limit at the start.
        const LARGE: libc::c_int = 128 << 10;
        // SAFETY: no other thread runs yet, which is all that mallopt asks for.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        }
    }
}

/// Gives memory that the allocator keeps for later back to the system: worth it after a rare large job. Takes about a
/// millisecond. Of the C libraries that we know of, glibc alone keeps much.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions; it locks the allocator as malloc does.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Puts the calling thread ahead of all ordinary ones (SCHED_FIFO at its lowest priority; what it starts is ordinary
/// again). For threads that work in microseconds and then wait: the kernel lets all such threads together have
/// 95 % of a core's time.
///
/// # Errors
/// The user may not (RLIMIT_RTPRIO is 0, or a sandbox forbids it): the thread runs on as before.
pub fn run_ahead() -> io::Result<()> {
    // SAFETY: sched_param is plain data, and what is not set is zero.
    let mut parameters: libc::sched_param = unsafe { mem::zeroed() };
    parameters.sched_priority = 1;
    // SAFETY: 0 is the calling thread; the kernel reads one sched_param, which lives.
    check(unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameters)
    })
}

/// Puts the calling thread behind all ordinary ones (SCHED_IDLE): it works when they have nothing to do, and gives way
/// at once when they have.
///
/// # Errors
/// A sandbox forbids it: the thread runs on as before.
pub fn run_behind() -> io::Result<()> {
    // SAFETY: sched_param is plain data, and what is not set is zero.
    let parameters: libc::sched_param = unsafe { mem::zeroed() };
    // SAFETY: 0 is the calling thread; the kernel reads one sched_param, which lives.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_serial_port_is_told_by_the_kernel_and_does_no_harm() {
        let pty = nix::pty::openpty(None, None).unwrap();
        assert_eq!(set_rs485(&pty.slave).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(set_low_latency(&pty.slave).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }

    #[test]
    fn what_a_connection_cannot_send_stays_here() {
        use std::{
            io::Write,
            net::{TcpListener, TcpStream},
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_takes_nothing, _) = listener.accept().unwrap();
        keep_unsent_below(&connection, 16 << 10).unwrap();
        connection.set_nonblocking(true).unwrap();
        let mut taken = 0;
        while let Ok(written) = connection.write(&[0; 1024]) {
            taken += written;
        }
        // Its window is on the way to it.
        assert!(taken < 512 << 10, "{taken}");
        let none = nix::pty::openpty(None, None).unwrap();
        assert!(keep_unsent_below(&none.slave, 1).is_err());
    }

    #[test]
    fn a_connection_is_told_how_long_to_try() {
        use nix::sys::socket::{getsockopt, sockopt::TcpUserTimeout};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        give_up_after(&connection, Duration::from_secs(30)).unwrap();
        assert_eq!(getsockopt(&connection, TcpUserTimeout).unwrap(), 30_000);
        assert!(
            give_up_after(&nix::pty::openpty(None, None).unwrap().slave, Duration::from_secs(1)).is_err()
        );
    }

    #[test]
    fn the_clock_state_can_be_read() {
        clock_synchronized().unwrap();
    }
}
