//! Reads the PROXY header that a load balancer sends in front of a client's bytes, where a listener lets it.
//!
//! Only a peer that the listener names may send one: the address in it becomes the client's.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use policy::message::network::Network;
use policy::proxy_protocol::{self, HEADER_BYTES_MAX, Header, Malformed, Progress};
use tokio::io::AsyncReadExt as _;

use super::socket::Socket;
use crate::config::plan::{self, ProxyProtocol};

/// How much is read at a time, in bytes.
const READ_BYTES: usize = 1024;

/// Whose PROXY headers a listener believes.
#[derive(Debug)]
pub(crate) struct Rule {
    is_required: bool,
    from: Vec<Network>,
}

/// What a listener expects of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// No header: its bytes are the client's.
    Nothing,
    /// A header, unless it `is_optional`.
    Header { is_optional: bool },
    /// No connection from this peer.
    NoConnection,
}

/// Why a connection is closed before its first request.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Broken(#[from] io::Error),
    #[error("it has ended within the header")]
    Ended,
    #[error("the header has taken too long")]
    Late,
    #[error("it has no PROXY header")]
    Absent,
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

impl Rule {
    /// What a listener says; `None`: no connection has a header.
    pub(crate) fn of(listener: &plan::Listener) -> Option<Self> {
        let is_required = match listener.proxy_protocol {
            ProxyProtocol::Off => return None,
            ProxyProtocol::Optional => false,
            ProxyProtocol::Required => true,
        };
        Some(Self { is_required, from: listener.proxy_protocol_from.clone() })
    }

    /// What is expected of a connection from this address.
    pub(super) fn expects(&self, peer: IpAddr) -> Expected {
        let is_listed = self.from.iter().any(|network| network.contains(peer));
        match (is_listed, self.is_required) {
            (true, is_required) => Expected::Header { is_optional: !is_required },
            (false, true) => Expected::NoConnection,
            (false, false) => Expected::Nothing,
        }
    }
}

/// What a connection begins with.
pub(super) struct Begun {
    /// `None`: it has no header.
    pub(super) header: Option<Header>,
    /// What was read behind the header.
    pub(super) ahead: Bytes,
}

/// Reads the header, and may read on behind it; `None`: the connection is of no use.
pub(super) async fn read(socket: &mut Socket, is_optional: bool, within: Duration) -> Option<Begun> {
    let read = async {
        tokio::select! {
            biased;
            begun = read_on(socket, is_optional) => begun,
            () = tokio::time::sleep(within) => Err(Failure::Late),
        }
    };
    read.await.inspect_err(|failure| tracing::debug!("a connection of a load balancer is closed: {failure}")).ok()
}

async fn read_on(socket: &mut Socket, is_optional: bool) -> Result<Begun, Failure> {
    let mut bytes = BytesMut::new();
    loop {
        match proxy_protocol::parse(&bytes)? {
            Progress::Complete(header, length) => {
                let ahead = bytes.split_off(length.min(bytes.len())).freeze();
                return Ok(Begun { header: Some(header), ahead });
            }
            Progress::Absent if is_optional => return Ok(Begun { header: None, ahead: bytes.freeze() }),
            Progress::Absent => return Err(Failure::Absent),
            Progress::NeedsMore if bytes.len() >= HEADER_BYTES_MAX => {
                return Err(Failure::Malformed(Malformed::TooLong));
            }
            Progress::NeedsMore => {}
        }
        bytes.reserve(READ_BYTES);
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(Failure::Ended);
        }
    }
}
