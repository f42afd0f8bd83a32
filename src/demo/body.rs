//! The bodies that the demo's backends send, and how they read what is sent to them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Interval, Sleep};

/// How many events one event stream sends.
pub(super) const TICKS_MAX: u32 = 60;

/// How long a body that is to be cut short waits before it breaks off, so that its first bytes are on the wire.
const CUT_AFTER: Duration = Duration::from_millis(10);

/// What filler bodies are made of.
static FILLER: [u8; 64 * 1024] = [b'.'; 64 * 1024];

/// The body of an answer.
pub(super) enum Body {
    /// These bytes at once; `None`: sent.
    Whole(Option<Bytes>),
    /// As many bytes as are left.
    Filler(u64),
    /// One server-sent event a second.
    Ticks {
        /// When the next one is due.
        interval: Interval,
        /// How many were sent.
        sent: u32,
    },
    /// The request's own body.
    Echo(Incoming),
    /// Some of the promised bytes, then a broken connection.
    Cut {
        /// The bytes that are sent; `None`: sent.
        first: Option<Bytes>,
        /// How many are promised.
        promised: u64,
        /// When it breaks off.
        end: Pin<Box<Sleep>>,
    },
}

/// Why a body of the demo's backends ends before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// It was asked to.
    #[error("cut short, as asked")]
    Cut,
    /// The request's body, which is echoed, broke off.
    #[error("the echoed body broke off")]
    Echo(#[source] hyper::Error),
}

impl Body {
    /// These bytes.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()).filter(|bytes| !bytes.is_empty()))
    }

    /// Server-sent events, one a second, at most [`TICKS_MAX`].
    pub(super) fn ticks() -> Self {
        Self::Ticks { interval: tokio::time::interval(Duration::from_secs(1)), sent: 0 }
    }

    /// A body that promises a kilobyte and breaks off after these bytes.
    pub(super) fn cut(first: &'static str) -> Self {
        Self::Cut {
            first: Some(Bytes::from_static(first.as_bytes())),
            promised: 1024,
            end: Box::pin(tokio::time::sleep_until(Instant::now() + CUT_AFTER)),
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
            Self::Cut { first, end, .. } => {
                if let Some(bytes) = first.take() {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                ready!(end.as_mut().poll(context));
                Poll::Ready(Some(Err(Broken::Cut)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Filler(left) => *left == 0,
            Self::Ticks { sent, .. } => *sent >= TICKS_MAX,
            Self::Echo(incoming) => incoming.is_end_stream(),
            Self::Cut { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Filler(left) => SizeHint::with_exact(*left),
            Self::Ticks { .. } => SizeHint::default(),
            Self::Echo(incoming) => incoming.size_hint(),
            Self::Cut { promised, .. } => SizeHint::with_exact(*promised),
        }
    }
}

/// Why a request's body was not taken.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is longer than allowed.
    TooLong,
    /// It broke off.
    Broken,
}

/// Reads a request's body of at most `bytes_max` bytes.
pub(super) async fn read(mut incoming: Incoming, bytes_max: usize) -> Result<Bytes, Unread> {
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if data.len() > bytes_max.saturating_sub(whole.len()) {
            return Err(Unread::TooLong);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
