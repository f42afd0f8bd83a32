//! The response bodies of the demo's backends, and reading of request bodies.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Interval, Sleep};

/// The number of events of one event stream.
pub(super) const TICKS_MAX: u32 = 60;

/// How long a truncated body waits before it breaks off, so that its first bytes are sent.
const TRUNCATED_AFTER: Duration = Duration::from_millis(10);

/// The content of filler bodies.
static FILLER: [u8; 64 * 1024] = [b'.'; 64 * 1024];

/// A response body.
pub(super) enum Body {
    /// Bytes that are sent at once; `None`: they are sent already.
    Whole(Option<Bytes>),
    /// Filler; the number is how many bytes are left.
    Filler(u64),
    /// Server-sent events, one a second.
    Ticks {
        /// When the next event is due.
        interval: Interval,
        /// How many events were sent.
        sent: u32,
    },
    /// The body of the request.
    Echo(Incoming),
    /// The first bytes of a body, then a broken connection.
    Truncated {
        /// The first bytes; `None`: they are sent already.
        first: Option<Bytes>,
        /// The `Content-Length`.
        length: u64,
        /// When the body breaks off.
        end: Pin<Box<Sleep>>,
    },
}

/// Why a response body broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The mode is `truncate`.
    #[error("cut short, as asked")]
    Truncated,
    /// The request body that is echoed broke off.
    #[error("the echoed body broke off")]
    Echo(#[source] hyper::Error),
}

impl Body {
    /// A body of these bytes.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()).filter(|bytes| !bytes.is_empty()))
    }

    /// Server-sent events, one a second, at most [`TICKS_MAX`].
    pub(super) fn ticks() -> Self {
        Self::Ticks { interval: tokio::time::interval(Duration::from_secs(1)), sent: 0 }
    }

    /// A body with a `Content-Length` of 1,024 that breaks off after these bytes.
    pub(super) fn truncated(first: &'static str) -> Self {
        Self::Truncated {
            first: Some(Bytes::from_static(first.as_bytes())),
            length: 1024,
            end: Box::pin(tokio::time::sleep_until(Instant::now() + TRUNCATED_AFTER)),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Filler(0) => Poll::Ready(None),
            Self::Filler(left) => {
                let mut piece = Bytes::from_static(&FILLER);
                piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left = left.saturating_sub(piece.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Self::Ticks { sent, .. } if *sent >= TICKS_MAX => Poll::Ready(None),
            Self::Ticks { interval, sent } => {
                ready!(interval.poll_tick(context));
                *sent = sent.saturating_add(1);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(format!("id: {sent}\ndata: tick {sent}\n\n"))))))
            }
            Self::Echo(incoming) => {
                Pin::new(incoming).poll_frame(context).map(|next| next.map(|frame| frame.map_err(Broken::Echo)))
            }
            Self::Truncated { first, end, .. } => {
                if let Some(bytes) = first.take() {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                ready!(end.as_mut().poll(context));
                Poll::Ready(Some(Err(Broken::Truncated)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Filler(left) => *left == 0,
            Self::Ticks { sent, .. } => *sent >= TICKS_MAX,
            Self::Echo(incoming) => incoming.is_end_stream(),
            Self::Truncated { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Filler(left) => SizeHint::with_exact(*left),
            Self::Ticks { .. } => SizeHint::default(),
            Self::Echo(incoming) => incoming.size_hint(),
            Self::Truncated { length, .. } => SizeHint::with_exact(*length),
        }
    }
}

/// Why a request body could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// It is longer than allowed.
    TooLong,
    /// It broke off.
    Broken,
}

/// Reads a request body of at most `bytes_max` bytes.
pub(super) async fn read(mut incoming: Incoming, bytes_max: usize) -> Result<Bytes, ReadError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|_| ReadError::Broken)?.into_data() else { continue };
        if data.len() > bytes_max.saturating_sub(whole.len()) {
            return Err(ReadError::TooLong);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
