//! A connection that stops being HTTP: how the flow hands it over, and what passes through it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::telemetry::access_record;

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
pub(crate) type Tunnel = Box<dyn FnOnce(End) -> Pin<Box<dyn Future<Output = ()>>>>;

/// What has passed through a tunnel so far, and why it ended.
#[derive(Debug, Default)]
pub struct Passage {
    /// When it began (monotonic time); `None`: it has not yet.
    pub begun: Cell<Option<Duration>>,
    /// Bytes from the client.
    pub bytes_in: Cell<u64>,
    /// Bytes to the client.
    pub bytes_out: Cell<u64>,
    /// Why it ended; `None` when it is cut off: the drain has taken too long.
    pub end: Cell<Option<TunnelEnd>>,
}

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// The client closed its side first.
    ClientClosed,
    /// The backend closed its side first.
    BackendClosed,
    /// The client's connection broke.
    ClientError,
    /// The backend's connection broke.
    BackendError,
    /// No byte moved for `tunnel_idle`.
    Idle,
}

impl Passage {
    /// What the log says of a tunnel that ends now (monotonic time); `None`: it never began.
    #[must_use]
    pub fn record(&self, now: Duration) -> Option<access_record::Tunnel> {
        let end = match self.end.get() {
            Some(TunnelEnd::ClientClosed) => "client-closed",
            Some(TunnelEnd::BackendClosed) => "backend-closed",
            Some(TunnelEnd::ClientError) => "client-error",
            Some(TunnelEnd::BackendError) => "backend-error",
            Some(TunnelEnd::Idle) => "idle",
            None => "drain",
        };
        let time = now.saturating_sub(self.begun.get()?);
        Some(access_record::Tunnel { time, bytes_in: self.bytes_in.get(), bytes_out: self.bytes_out.get(), end })
    }
}

/// A tunnel, and what is seen of it.
pub struct Left {
    /// Runs it.
    pub tunnel: Tunnel,
    /// What passes through it.
    pub passage: Rc<Passage>,
}

/// Where a tunnel is left for the connection's loop, to be run once the 101 is written.
#[derive(Default)]
pub struct Handover(RefCell<Option<Left>>);

impl Handover {
    /// Leaves a tunnel.
    pub fn leave(&self, left: Left) {
        *self.0.borrow_mut() = Some(left);
    }

    /// Takes the tunnel, if one was left.
    pub fn take(&self) -> Option<Left> {
        self.0.borrow_mut().take()
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handover").field(&self.0.borrow().is_some()).finish()
    }
}
