//! A connection that stops being HTTP: how the flow hands it over.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes either way.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// One end of a tunnel: a stream, and what was read from it already.
pub struct End {
    /// The stream.
    pub stream: Box<dyn Stream>,
    /// Bytes that came behind the last HTTP message.
    pub read_ahead: Bytes,
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End").field("read_ahead", &self.read_ahead.len()).finish_non_exhaustive()
    }
}

/// What happens with the client's end of an upgraded connection.
pub type Tunnel = Box<dyn FnOnce(End) -> Pin<Box<dyn Future<Output = ()>>>>;

/// Where a tunnel is left for the connection's loop, to be run once the 101 is written.
#[derive(Default)]
pub struct Handover(RefCell<Option<Tunnel>>);

impl Handover {
    /// Leaves a tunnel.
    pub fn leave(&self, tunnel: Tunnel) {
        *self.0.borrow_mut() = Some(tunnel);
    }

    /// Takes the tunnel, if one was left.
    pub fn take(&self) -> Option<Tunnel> {
        self.0.borrow_mut().take()
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handover").field(&self.0.borrow().is_some()).finish()
    }
}
