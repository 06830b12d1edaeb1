//! What is in the way of a port, in sentences that name who has it where that can be seen, and the next step.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::sys::{self, Holder, NoSuchHost};

/// Says why a tty cannot be opened, who has it where that can be seen, and what to do.
pub(super) async fn refused(path: PathBuf, error: io::Error) -> io::Error {
    let kind = error.kind();
    let console = console_advice(&path);
    if kind == io::ErrorKind::NotFound && !path.exists() {
        let sentence = match path.starts_with("/dev/serial0") {
            true => "there is no such device: set enable_uart=1 in /boot/firmware/config.txt and reboot",
            false => "there is no such device: is the adapter plugged in?",
        };
        return io::Error::new(kind, sentence);
    }
    let sentence = match (rivals(path.clone()).await.as_slice(), kind) {
        ([], io::ErrorKind::PermissionDenied) => {
            format!(
                "this user may not open it: it has to be in the group that owns the port, dialout{console}"
            )
        }
        // A port that is in use: serialport has no other kind for it.
        ([], io::ErrorKind::NotFound) => {
            format!("another program has the port: `fuser -v {}` as root names it{console}", path.display())
        }
        ([], _) => format!("{error}: is `port` of this bus a serial port?"),
        (rivals, _) => format!("{error}: {}{console}", in_the_way(rivals)),
    };
    io::Error::new(kind, sentence)
}

/// Returns what frees a UART of the board from its login console; nothing for other ports.
fn console_advice(path: &Path) -> String {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    if !target.starts_with("/dev") || !(name.starts_with("ttyAMA") || name.starts_with("ttyS")) {
        return String::new();
    }
    format!(
        "; a login console has it by default on a Raspberry Pi: run `systemctl disable --now serial-getty@{name}`, take console=serial0,115200 out of /boot/firmware/cmdline.txt, and reboot"
    )
}

/// Says why a serial server cannot be reached, and what to check.
pub(super) fn unreachable(host: &str, port: u16, error: io::Error) -> io::Error {
    let kind = error.kind();
    let sentence = match kind {
        _ if error.get_ref().is_some_and(|cause| cause.is::<NoSuchHost>()) => {
            format!("the name {host:?} cannot be looked up ({error}): check `port` and this machine's DNS")
        }
        io::ErrorKind::ConnectionRefused => {
            format!(
                "nothing listens at port {port} of {host}: check `port`, and how the serial server is set up"
            )
        }
        io::ErrorKind::TimedOut => {
            format!("the serial server {host} does not answer: check its power, its address and the network")
        }
        _ => format!("the serial server {host} cannot be reached: {error}"),
    };
    io::Error::new(kind, sentence)
}

/// Returns the other processes that have a tty open.
pub(super) async fn rivals(path: PathBuf) -> Vec<Holder> {
    // A thread that fails has seen nothing.
    sys::blocking(move || sys::holders(&path)).await.unwrap_or_default()
}

/// Names those who take a port's bytes, and says what to do.
pub fn in_the_way(rivals: &[Holder]) -> String {
    let names: Vec<String> = rivals.iter().map(Holder::to_string).collect();
    format!("{} has the port open and takes bytes from it; stop it", names.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::{
        super::port::{Parity, PortAddress, PortSettings},
        *,
    };

    use std::{
        fs::File,
        process::{Command, Stdio},
    };

    async fn open(address: PortAddress) -> String {
        let settings = PortSettings {
            address,
            baud: 9600,
            finds_baud: false,
            parity: Parity::None,
            stop_bits: 1,
            rts_direction: false,
        };
        settings.open().await.err().expect("it cannot be opened").to_string()
    }

    #[tokio::test]
    async fn what_is_in_the_way_of_a_port_is_said_with_the_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let nowhere = open(PortAddress::Tty(dir.path().join("none"))).await;
        assert_eq!(nowhere, "there is no such device: is the adapter plugged in?");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let refused = open(PortAddress::Tcp { host: "127.0.0.1".into(), port: free }).await;
        assert!(refused.starts_with(&format!("nothing listens at port {free} of 127.0.0.1")), "{refused}");
        let unknown = open(PortAddress::Tcp { host: "no.such.host.invalid".into(), port: 1 }).await;
        assert!(unknown.contains("cannot be looked up") && unknown.contains("DNS"), "{unknown}");
    }

    #[tokio::test]
    async fn who_has_a_port_is_named_or_how_to_find_out() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let path = nix::unistd::ttyname(&pty.slave).unwrap();
        let (holder, own) = (File::open(&path).unwrap(), File::open(&path).unwrap());
        sys::lock(&holder).unwrap();
        // We ourselves are left out, as processes are that cannot be seen.
        assert_eq!(
            open(PortAddress::Tty(path.clone())).await,
            format!("another program has the port: `fuser -v {}` as root names it", path.display())
        );
        // The child takes the lock along, as it is the file's.
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::from(holder)).spawn().unwrap();
        let named = open(PortAddress::Tty(path)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let expected =
            format!("sleep (process {}) has the port open and takes bytes from it; stop it", child.id());
        assert!(named.ends_with(&expected), "{named}");
        drop(own);
    }

    #[tokio::test]
    async fn the_login_console_is_suspected_of_the_boards_own_ports() {
        let of = async |path: &str, kind| {
            refused(path.into(), io::Error::new(kind, "Device or resource busy")).await.to_string()
        };
        let console = "a login console has it by default on a Raspberry Pi: run `systemctl disable --now serial-getty@ttyS77`, take console=serial0,115200 out of /boot/firmware/cmdline.txt, and reboot";
        assert_eq!(
            of("/dev/ttyS77", io::ErrorKind::PermissionDenied).await,
            format!(
                "this user may not open it: it has to be in the group that owns the port, dialout; {console}"
            )
        );
        assert_eq!(
            of("/dev/ttyUSB77", io::ErrorKind::PermissionDenied).await,
            "this user may not open it: it has to be in the group that owns the port, dialout"
        );
        assert_eq!(
            of("/dev/serial0", io::ErrorKind::NotFound).await,
            "there is no such device: set enable_uart=1 in /boot/firmware/config.txt and reboot"
        );
        assert_eq!(
            console_advice(Path::new("/dev/ttyAMA0")),
            format!("; {console}").replace("ttyS77", "ttyAMA0")
        );
    }
}
