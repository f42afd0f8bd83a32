//! Sockets that reserve an address, listening or not.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A socket that reserves this address; port 0: any.
pub(crate) fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Sockets that reserve these addresses, all with one port.
///
/// # Panics
/// If no port is free on all of them.
pub(crate) fn on_one_port(addresses: &[IpAddr]) -> Vec<Socket> {
    let sockets = |_turn| {
        let mut port = 0;
        let bound_to = |ip: &IpAddr| {
            let socket = bound(SocketAddr::new(*ip, port)).ok()?;
            port = socket.local_addr().ok()?.as_socket()?.port();
            Some(socket)
        };
        addresses.iter().map(bound_to).collect()
    };
    (0..100).find_map(sockets).expect("a port is free on all of them")
}
