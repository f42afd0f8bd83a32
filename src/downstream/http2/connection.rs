//! HTTP/2 with a client (RFC 9113), by hyper: the connection's loop, its limits and its end (decision 0068).
//!
//! Each stream is a task of its own (`stream`), with the deadlines of its request. This file bounds what hyper leaves open:
//! how long a connection may be idle, take nothing, or leave a header block open.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http2::{Builder, Connection};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::stream::{Service, Streams, Tasks};
use super::transport::{Carrier, Transport};
use crate::downstream::linger;
use crate::downstream::socket::Socket;
use crate::downstream::waits::{Limits, Waits};
use crate::downstream::worker::Worker;
use crate::exchange::ClientConnection;
use crate::telemetry::clock;

/// How much of a response may wait for its client in a stream's buffer, in bytes.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// How many streams may be reset by their client before they are seen here.
const RESETS_UNSEEN_MAX: usize = 20;
/// How many streams may be reset for errors that their client makes.
const ERRORS_MAX: usize = 200;
/// How long a client that was told to leave, and has no stream, may stay.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);

/// How a connection ends.
enum Ending {
    /// All has been said: the client shall be able to read it.
    Lingering,
    /// The client does what is not to be done.
    Excess,
    /// There is no use in waiting for the client.
    Broken,
}

/// Serves a client until either side closes. `read` was read of the socket already.
pub(in crate::downstream) async fn serve(
    worker: Rc<Worker>,
    socket: Socket,
    client: Rc<ClientConnection>,
    read: Bytes,
) {
    let carrier = Rc::new(Carrier::new(socket, read, worker.limits().http2.resets_max));
    let streams = Rc::new(Streams::new(Rc::clone(&worker), client));
    let ending = {
        let io = TokioIo::new(Transport(Rc::clone(&carrier)));
        let connection = builder_of(&worker.limits(), &streams).serve_connection(io, Service(Rc::clone(&streams)));
        run(&worker, &carrier, &streams, std::pin::pin!(connection)).await
    };
    let Some(socket) = carrier.take() else { return };
    match ending {
        Ending::Lingering => Box::pin(linger::close(socket)).await,
        Ending::Excess => {
            let write_timeout = worker.limits().write_timeout;
            if let Some(socket) = carrier.say_goodbye(socket, write_timeout).await {
                Box::pin(linger::close(socket)).await;
            }
        }
        Ending::Broken => drop(socket),
    }
}

fn builder_of(limits: &Limits, streams: &Rc<Streams>) -> Builder<Tasks> {
    let http2 = &limits.http2;
    let mut builder = Builder::new(Tasks(Rc::clone(streams)));
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(http2.streams_max)
        .initial_stream_window_size(http2.stream_window)
        .initial_connection_window_size(http2.connection_window)
        .max_header_list_size(u32::try_from(limits.head.head_bytes_max()).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(RESETS_UNSEEN_MAX)
        .max_local_error_reset_streams(ERRORS_MAX)
        .keep_alive_interval(Some(http2.ping_interval).filter(|interval| !interval.is_zero()))
        .keep_alive_timeout(http2.ping_timeout);
    builder
}

/// Runs a connection until it ends, or has to.
async fn run(
    worker: &Rc<Worker>,
    carrier: &Carrier,
    streams: &Rc<Streams>,
    mut connection: Pin<&mut Connection<TokioIo<Transport>, Service, Tasks>>,
) -> Ending {
    let mut drained = std::pin::pin!(worker.drained());
    let (mut waits, mut leaving) = (Waits::default(), None);
    std::future::poll_fn(|cx| {
        streams.attach(cx.waker());
        loop {
            if leaving.is_none() && drained.as_mut().poll(cx).is_ready() {
                leaving = Some(clock::mono());
                connection.as_mut().graceful_shutdown();
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                // What hyper has to say of an error, it has said to the client.
                let _told = ended;
                return Poll::Ready(if carrier.has_excess() { Ending::Excess } else { Ending::Lingering });
            }
            let due = due(&worker.limits(), carrier, streams, leaving);
            match poll_due(&mut waits, due, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Due::Idle) => {
                    leaving = Some(clock::mono());
                    connection.as_mut().graceful_shutdown();
                }
                Poll::Ready(Due::Client) => return Poll::Ready(Ending::Broken),
            }
        }
    })
    .await
}

/// What has taken too long.
#[derive(Clone, Copy)]
enum Due {
    /// The client has sent nothing for the idle timeout: the connection ends with GOAWAY.
    Idle,
    /// The client, to do what only it can do: its connection is given up.
    Client,
}

/// What has taken too long next, and when (monotonic time).
fn due(limits: &Limits, carrier: &Carrier, streams: &Streams, leaving: Option<Duration>) -> Option<(Duration, Due)> {
    let stuck = carrier.stuck_since().map(|since| (since + limits.write_timeout, Due::Client));
    let block = carrier.block_since().map(|since| (since + limits.header_timeout, Due::Client));
    let idle = streams.idle_since().map(|since| match leaving {
        Some(told) => (since.max(told) + LEAVE_TIME_MAX, Due::Client),
        None if streams.has_served() => (since + limits.idle_timeout, Due::Idle),
        None => (since + limits.header_timeout, Due::Idle),
    });
    [stuck, block, idle].into_iter().flatten().min_by_key(|(at, _)| *at)
}

fn poll_due(waits: &mut Waits, due: Option<(Duration, Due)>, cx: &mut Context<'_>) -> Poll<Due> {
    let Some((at, due)) = due else { return Poll::Pending };
    waits.poll_until(at, cx).map(|()| due)
}
