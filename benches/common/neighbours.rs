//! Clients of the endpoint that come from addresses of their own: it gives each address 32 connections.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::net::{TcpSocket, TcpStream};

/// Connects as a neighbour, from an address of the loopback that is his alone.
pub async fn connect(address: SocketAddr, neighbour: u8) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 1, neighbour), 0).into())?;
    socket.connect(address).await
}
