//! A bus on its thread, with ports that misbehave: what those hear who ask it for something.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use intercom_gateway::{
    access::KeyOrder,
    bus::{
        self, BusHandle, BusSettings, DoorwaySettings, InForce, LockSettings, PanelSettings, Parity,
        PortAddress, PortSettings, Protocol, Shared, UnlockError,
    },
    clock::{self, Clock, Trust},
    domain::{
        Name, Occurrence, OutputActive, PanelState,
        event::{UnlockKind, UnlockedBy},
    },
    gateway::tenths,
    panel::{Failure, osdp},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc;

#[path = "support/mod.rs"]
mod support;

use support::{Site, simulated::Panels};

const PANEL: &str = "entrance-1";

fn panel() -> Name {
    Name::new(PANEL).unwrap()
}

/// A bus with one panel in plaintext behind a serial server.
fn start(server: SocketAddr) -> (BusHandle, mpsc::Receiver<Occurrence>) {
    let settings = BusSettings {
        name: Name::new("street").unwrap(),
        tap: Default::default(),
        port: PortSettings {
            address: PortAddress::Tcp { host: server.ip().to_string(), port: server.port() },
            baud: 115_200,
            finds_baud: false,
            parity: Parity::None,
            stop_bits: 1,
            rts_direction: false,
        },
        panels: vec![PanelSettings {
            doorway: DoorwaySettings {
                panel: panel(),
                intercom: 1,
                lock: Some(LockSettings {
                    output: 0,
                    open: tenths(Duration::from_secs(3)),
                    active: OutputActive::On,
                }),
                door: None,
                feedback: false,
                key_order: KeyOrder::AsRead,
            },
            protocol: Protocol::Osdp(osdp::Settings {
                address: 0,
                security: osdp::Security::Off,
                record: osdp::KeyRecord::default(),
                key_fault: None,
                strays: Vec::new(),
                reply_timeout: Duration::from_millis(200),
                stale_after: Duration::from_secs(3),
            }),
            lines: None,
        }],
    };
    let (reports, events) = mpsc::channel(1024);
    let shared = Shared {
        rates: Default::default(),
        in_force: Arc::new(arc_swap::ArcSwap::from_pointee(InForce::default())),
        clock: Arc::new(Clock::system(Trust::Always)),
        reports,
        lost: Arc::default(),
        recalled: tokio::sync::watch::channel(Some(Arc::default())).1,
    };
    (bus::spawn(settings, shared).unwrap(), events)
}

async fn unlock(bus: &BusHandle) -> Result<(), UnlockError> {
    let by = UnlockedBy { kind: UnlockKind::Token, id: None };
    bus.unlock(&panel(), None, by, clock::mono()).await
}

async fn until(bus: &BusHandle, what: &str, is_it: impl Fn(&bus::BusStatus) -> bool) {
    let mut status = bus.status.clone();
    let waited = tokio::time::timeout(Duration::from_secs(20), status.wait_for(|status| is_it(status))).await;
    waited.unwrap_or_else(|_| panic!("waited for {what}: {:?}", bus.status.borrow())).unwrap();
}

async fn join(bus: BusHandle) {
    tokio::task::spawn_blocking(move || bus.join().unwrap()).await.unwrap();
}

#[tokio::test]
async fn commands_are_answered_while_a_serial_server_does_not_answer() {
    // Its queue is full: a connection is neither made nor refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let server = socket.listen(0).unwrap();
    let address = server.local_addr().unwrap();
    let mut waiting = Vec::new();
    let patience = Duration::from_millis(100);
    while let Ok(stream) = tokio::time::timeout(patience, tokio::net::TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    let (bus, _events) = start(address);
    for _ in 0..3 {
        let begun = clock::mono();
        assert_eq!(unlock(&bus).await, Err(UnlockError::Failed(Failure::Offline)));
        assert!(clock::mono().since(begun) < Duration::from_millis(500));
    }
    let begun = clock::mono();
    bus.stop().await;
    join(bus).await;
    assert!(clock::mono().since(begun) < Duration::from_secs(1));
}

/// A serial server before a simulated panel that holds the answer to OUT back for a while, and says when it came.
fn slow_to_open(
    listener: TcpListener,
    line: std::path::PathBuf,
    seen: tokio::sync::oneshot::Sender<()>,
) -> std::thread::JoinHandle<()> {
    const OUT: u8 = 0x68;
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut port = std::fs::File::options().read(true).write(true).open(line).unwrap();
        let (mut seen, mut buffer, mut hold) = (Some(seen), [0; 512], false);
        while let Some(from_stream) = readable(&stream, &port) {
            if from_stream {
                let Ok(length @ 1..) = stream.read(&mut buffer) else { return };
                // A mark, SOM, address, two bytes of length, control: then the command.
                if buffer[..length].windows(6).any(|frame| frame[0] == 0x53 && frame[5] == OUT)
                    && let Some(seen) = seen.take()
                {
                    hold = true;
                    seen.send(()).unwrap();
                }
                port.write_all(&buffer[..length]).unwrap();
            } else {
                let length = port.read(&mut buffer).unwrap();
                if std::mem::take(&mut hold) {
                    std::thread::sleep(Duration::from_millis(120));
                }
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        }
    })
}

fn readable(stream: &TcpStream, port: &std::fs::File) -> Option<bool> {
    let mut fds = [stream.as_fd(), port.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    poll(&mut fds, PollTimeout::NONE).unwrap();
    let [from_stream, from_port] = fds.map(|fd| fd.any().unwrap_or(false));
    (from_stream || from_port).then_some(from_stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unlock_on_the_wire_is_waited_for_when_the_bus_is_told_to_stop() {
    let site =
        Site::new(&format!("{}secure_channel = \"off\"\nlock = {{ output = 0 }}\n", support::site::ENTRANCE));
    let _panels = Panels::start(&site, false);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, out_came) = tokio::sync::oneshot::channel();
    let relay = slow_to_open(listener, site.path("street"), seen);
    let (bus, mut events) = start(address);
    until(&bus, "the panel", |status| {
        status.panels.first().is_some_and(|panel| panel.state == PanelState::Online)
    })
    .await;
    let bus = Arc::new(bus);
    let asked = bus.clone();
    let asked = tokio::spawn(async move { unlock(&asked).await });
    out_came.await.unwrap();
    bus.stop().await;
    // Nor does another command cut it off.
    assert_eq!(unlock(&bus).await, Err(UnlockError::Failed(Failure::Stopping)));
    assert_eq!(asked.await.unwrap(), Ok(()), "the panel has taken it");
    assert_eq!(unlock(&bus).await.unwrap_err(), UnlockError::Busy, "it has ended");
    join(Arc::into_inner(bus).unwrap()).await;
    relay.join().unwrap();
    let mut kinds = Vec::new();
    while let Some(occurrence) = events.recv().await {
        kinds.push(occurrence.body.kind());
    }
    assert_eq!(kinds.last(), Some(&"intercom.door.unlocked"), "{kinds:?}");
}
