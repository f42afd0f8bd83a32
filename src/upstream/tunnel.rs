//! Connections that switch protocols (RFC 9110 §7.8): after the 101, bytes both ways until either side ends.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Version, header};
use policy::message::{hop, via};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::pick::Claim;
use super::send::Received;
use crate::exchange::body::Body;
use crate::exchange::tunnel::{End, Stream};
use crate::exchange::{Answer, Exchange};
use crate::observe::clock;

/// How long the backend's stream may take to come out of hyper once its 101 is in.
const HANDOVER_MAX: Duration = Duration::from_secs(5);
/// Bytes on their way, each way.
const BUFFER_BYTES: usize = 16 * 1024;

/// Answers 101, and leaves the tunnel for the client's connection to run.
#[must_use]
pub fn answer(received: Received, ex: &Exchange) -> Answer {
    let Received { response, census, connection, claim, switched, is_reusable: _ } = received;
    let (mut head, _no_body) = response.into_parts();
    let chosen = head.headers.get(header::UPGRADE).cloned();
    let _ignored = hop::remove(&mut head.headers, hop::Direction::Response, census);
    via::sign(&mut head.headers, head.version);
    head.version = Version::HTTP_11;
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(chosen) = chosen {
        head.headers.insert(header::UPGRADE, chosen);
    }
    let idle_max = claim.group().shared.plan.timeouts.tunnel_idle;
    ex.connection.handover.leave(Box::new(move |client| {
        Box::pin(async move {
            // The sender must live until hyper has let go of the stream.
            let _connection = connection;
            let Some(switched) = switched else { return };
            if let Ok(Ok(backend)) = tokio::time::timeout(HANDOVER_MAX, switched).await {
                run(client, backend, claim, idle_max).await;
            }
        })
    }));
    Answer::from_parts(head, Body::default())
}

/// Carries bytes both ways until both sides have ended, either breaks, or none moves for `idle_max`.
async fn run(client: End, backend: End, claim: Claim, idle_max: Duration) {
    claim.succeeded(clock::now());
    let moved = Rc::new(Cell::new(clock::mono()));
    let mut client_side = Watched { stream: client.stream, moved: Rc::clone(&moved) };
    let mut backend_side = Watched { stream: backend.stream, moved: Rc::clone(&moved) };
    let carry = async {
        backend_side.write_all(&client.read_ahead).await?;
        client_side.write_all(&backend.read_ahead).await?;
        tokio::io::copy_bidirectional_with_sizes(&mut client_side, &mut backend_side, BUFFER_BYTES, BUFFER_BYTES).await
    };
    let silence = async {
        loop {
            let until = moved.get() + idle_max;
            if clock::mono() >= until {
                break;
            }
            tokio::time::sleep_until(clock::instant(until)).await;
        }
    };
    tokio::select! {
        _ended = carry => {}
        () = silence => {}
    }
}

/// A stream that notes when it last moved a byte.
struct Watched {
    stream: Box<dyn Stream>,
    moved: Rc<Cell<Duration>>,
}

impl Watched {
    fn note<T>(&self, polled: &Poll<io::Result<T>>) {
        if matches!(polled, Poll::Ready(Ok(_))) {
            self.moved.set(clock::mono());
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note(&polled);
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
