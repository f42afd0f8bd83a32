//! Connections that switch protocols (RFC 9110 §7.8): after the 101, bytes both ways until either side ends.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use message::Known;
use policy::message::hop;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::select::Lease;
use super::transport::call::Call;
use super::transport::head::Head;
use crate::exchange::body::Body;
use crate::exchange::tunnel::{End, Left, Passage, Stream, Tunnel, TunnelEnd};
use crate::exchange::{Answer, Exchange};
use crate::telemetry::clock;

/// Bytes on their way, each way.
const BUFFER_BYTES: usize = 16 * 1024;

/// Answers 101, and leaves the tunnel for the client's connection to run.
#[must_use]
pub(crate) fn answer(mut call: Box<Call>, claim: Lease, ex: &Exchange) -> Answer {
    let Head { status, version, mut fields } = call.take_head();
    let chosen = fields.first(Known::Upgrade).map(<[u8]>::to_vec);
    let own = hop::find(&fields, hop::Direction::Response).unwrap_or_default();
    own.apply(&mut fields);
    ex.sign(&mut fields, version);
    fields.append(Known::Connection, "upgrade");
    if let Some(chosen) = chosen {
        fields.append(Known::Upgrade, chosen);
    }
    let idle_max = claim.group().shared.plan.timeouts.tunnel_idle;
    let passage = Rc::new(Passage::default());
    let seen = Rc::clone(&passage);
    let tunnel: Tunnel = Box::new(move |client| {
        Box::pin(async move {
            seen.begun.set(Some(clock::mono()));
            let (socket, read_ahead, _counted) = call.into_stream();
            run(client, End { stream: Box::new(socket), read_ahead }, claim, (idle_max, &seen)).await;
        })
    });
    ex.stream.handover.leave(Left { tunnel, passage });
    Answer { status, fields, body: Body::default() }
}

/// Carries bytes both ways until both sides have ended, either breaks, or none moves for `idle_max`.
async fn run(client: End, backend: End, claim: Lease, (idle_max, passage): (Duration, &Passage)) {
    claim.succeeded(clock::now());
    let first = Cell::new(None);
    let moved = Cell::new(clock::mono());
    let watched = |end: End, closed, broken, counts| Watched {
        stream: end.stream,
        moved: &moved,
        first: &first,
        closed,
        broken,
        counts,
    };
    let (from_client, from_backend) = (client.read_ahead.clone(), backend.read_ahead.clone());
    let mut client_side = watched(client, TunnelEnd::ClientClosed, TunnelEnd::ClientError, Some(passage));
    let mut backend_side = watched(backend, TunnelEnd::BackendClosed, TunnelEnd::BackendError, None);
    passage.bytes_in.set(from_client.len() as u64);
    let carry = async {
        backend_side.write_all(&from_client).await?;
        client_side.write_all(&from_backend).await?;
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
        _ended = carry => passage.end.set(first.get()),
        () = silence => passage.end.set(Some(TunnelEnd::Idle)),
    }
}

/// A stream that notes when it last moved a byte, and how it ended.
struct Watched<'a> {
    stream: Box<dyn Stream>,
    moved: &'a Cell<Duration>,
    /// How the first of both sides ended.
    first: &'a Cell<Option<TunnelEnd>>,
    /// What it means when this side ends.
    closed: TunnelEnd,
    /// What it means when this side breaks.
    broken: TunnelEnd,
    /// Where its bytes are counted.
    counts: Option<&'a Passage>,
}

impl Watched<'_> {
    fn note<T>(&self, polled: &Poll<io::Result<T>>) {
        match polled {
            Poll::Ready(Ok(_)) => self.moved.set(clock::mono()),
            Poll::Ready(Err(_)) => self.ended(self.broken),
            Poll::Pending => {}
        }
    }

    fn ended(&self, end: TunnelEnd) {
        self.first.set(self.first.get().or(Some(end)));
    }

    fn count(&self, total: impl FnOnce(&Passage) -> &Cell<u64>, bytes: usize) {
        if let Some(total) = self.counts.map(total) {
            total.set(total.get() + bytes as u64);
        }
    }
}

impl AsyncRead for Watched<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note(&polled);
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            self.count(|passage| &passage.bytes_in, bytes);
        } else if matches!(polled, Poll::Ready(Ok(()))) {
            self.ended(self.closed);
        }
        polled
    }
}

impl AsyncWrite for Watched<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(&polled);
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.count(|passage| &passage.bytes_out, *bytes);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
