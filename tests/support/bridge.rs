//! A serial server: a TCP port behind which is one of our lines.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use nix::poll::{PollFd, PollFlags, poll};

/// A running serial server; dropping it closes its port and its connection.
pub struct SerialServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    connections: AtomicUsize,
    current: Mutex<Option<TcpStream>>,
}

impl SerialServer {
    /// Listens on `address`. Without a `line` it hangs up on everybody.
    pub fn start(address: SocketAddr, line: Option<&Path>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (served, line) = (Arc::clone(&shared), line.map(Path::to_owned));
        let thread = std::thread::spawn(move || serve(&listener, line.as_ref(), &served));
        Self { address, shared, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often somebody has connected.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for SerialServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(stream) = self.shared.current.lock().unwrap().take() {
            // The other side may have hung up.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread out of its accept.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(listener: &TcpListener, line: Option<&PathBuf>, shared: &Shared) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        shared.connections.fetch_add(1, Ordering::SeqCst);
        if let Some(line) = line {
            *shared.current.lock().unwrap() = Some(stream.try_clone().unwrap());
            if shared.stop.load(Ordering::SeqCst) {
                return;
            }
            pass_on(stream, File::options().read(true).write(true).open(line).unwrap());
        }
    }
}

/// Passes bytes both ways until the connection ends.
fn pass_on(mut stream: TcpStream, mut port: File) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 512];
    loop {
        let mut fds =
            [PollFd::new(stream.as_fd(), PollFlags::POLLIN), PollFd::new(port.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, nix::poll::PollTimeout::NONE).unwrap();
        let [from_stream, from_port] = fds.map(|fd| fd.any().unwrap_or(false));
        if from_stream {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => port.write_all(&buffer[..count]).unwrap(),
            }
        }
        if from_port {
            let count = port.read(&mut buffer).unwrap();
            if stream.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    }
}
