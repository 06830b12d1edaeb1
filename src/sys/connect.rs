//! TCP connections to hosts that may have several addresses, some of them dead.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
};

/// How long one address is tried alone, before the next one is tried beside it (RFC 8305, 5: 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);

/// The name of a host cannot be looked up. The cause of an [`io::Error`] by [`connect`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoSuchHost(io::Error);

/// Connects to `host`, a name or an address (an IPv6 one without its brackets), within a time for everything together.
/// All addresses of a name are tried, the next one 250 ms after the one before, or as soon as that has failed: dead
/// addresses do not hide one that lives. Small writes go out at once (TCP_NODELAY). Safe to cancel.
///
/// # Errors
/// [`NoSuchHost`] inside of an [`io::ErrorKind::NotFound`]; [`io::ErrorKind::TimedOut`]; else what the last address
/// that failed had to say.
pub async fn connect(host: &str, port: u16, within: Duration) -> io::Result<TcpStream> {
    let connecting = async {
        let addresses: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(no_such_host)?.collect();
        let stream = connect_any(addresses).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    match tokio::time::timeout(within, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} s", within.as_secs_f64()),
        )),
    }
}

async fn connect_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut rest = addresses.into_iter();
    // Dropped with what is still under way.
    let mut attempts = JoinSet::new();
    let mut failure = None;
    loop {
        if let Some(address) = rest.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        let is_last = rest.as_slice().is_empty();
        tokio::select! {
            attempt = attempts.join_next() => match attempt {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => failure = Some(error),
                Some(Err(error)) => failure = Some(io::Error::other(error)),
                None => {
                    return Err(failure.unwrap_or_else(|| no_such_host(io::ErrorKind::NotFound.into())));
                }
            },
            () = tokio::time::sleep(HEAD_START), if !is_last => {}
        }
    }
}

fn no_such_host(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, NoSuchHost(error))
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// An address that answers no SYN: its queue is full.
    async fn dead() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) =
            tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await
        {
            waiting.push(stream.unwrap());
        }
        (address, listener, waiting)
    }

    #[tokio::test]
    async fn a_dead_address_and_a_refusing_one_hide_none_that_lives() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let lives = listener.local_addr().unwrap();
        let (dead, _listener, _waiting) = dead().await;
        let refuses = {
            let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            closed.local_addr().unwrap()
        };
        let within = async |time, addresses| {
            tokio::time::timeout(time, connect_any(addresses)).await.expect("in time").unwrap()
        };
        let stream = within(Duration::from_millis(900), vec![dead, refuses, lives]).await;
        assert_eq!(stream.peer_addr().unwrap(), lives);
        let stream = within(HEAD_START, vec![refuses, lives]).await;
        assert_eq!(stream.peer_addr().unwrap(), lives);
        let error = connect_any(vec![refuses]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn one_time_goes_round_all_addresses() {
        let (dead, _listener, _waiting) = dead().await;
        let error = super::connect("127.0.0.1", dead.port(), Duration::from_millis(300)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = super::connect("no.such.host.invalid", 1, Duration::from_secs(20)).await.unwrap_err();
        assert!(error.get_ref().is_some_and(|cause| cause.is::<NoSuchHost>()), "{error:?}");
    }
}
