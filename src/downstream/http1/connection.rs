//! One client connection: read a head, answer the request, write the response, and again.
//!
//! An idle connection holds a socket and a few hundred bytes. Its buffers come with the first byte of a request and go when
//! all that was read is used up. All of its waits share one timer.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;

use super::head::Facts;
use super::input::{Closed, DISCARDED_BYTES_MAX};
use super::output::Output;
use super::reply::{Broken, Reply};
use super::response::{self, Framing, Terms};
use super::wire::{Progress, Wire};
use crate::config::plan::HalfClose;
use crate::downstream::begin::{Answering, Awaited, begin};
use crate::downstream::linger;
use crate::downstream::refusal::Refusal;
use crate::downstream::socket::Socket;
use crate::downstream::waits::{Late, Waits};
use crate::downstream::worker::{Counted, Worker};
use crate::exchange::stream::Stream;
use crate::exchange::tunnel::{End, Left};
use crate::exchange::{Answer, ClientConnection};
use crate::proxy::fast_hit::{self, PlainGet};
use crate::telemetry::clock;

/// How long the rest of a request's body may take that is thrown away: that of the longest one over a slow line.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// How a connection ends.
enum Ending {
    /// All has been said: the client shall be able to read it.
    Lingering,
    /// There is nothing to be said.
    Silent,
    /// In the middle of something: its end must not look as if it were meant.
    Broken,
    /// With a reset: its end would pass for the end of a body that was cut short.
    Reset,
    /// It stops being HTTP.
    Tunnel(Left),
}

/// Serves a client until either side closes.
///
/// `read` was read of the socket already.
pub(in crate::downstream) fn serve(
    worker: Rc<Worker>,
    socket: Socket,
    client: Rc<ClientConnection>,
    read: Bytes,
    counted: Counted,
) -> impl Future<Output = ()> {
    // Made here, not in the future: that would keep room until its end for all that it was given.
    let (buffers, pipes, stream) = (Rc::clone(&worker.buffers), Rc::clone(&worker.pipes), Rc::default());
    let wire = Rc::new(Wire::new((socket, read), buffers, pipes, Rc::clone(&stream)));
    let mut connection = Connection::new(worker, client, stream, wire);
    async move {
        let ending = {
            let worker = Rc::clone(&connection.worker);
            let drained = worker.drained();
            connection.run(std::pin::pin!(drained)).await
        };
        // Boxed for the same reason.
        Box::pin(end(connection, ending)).await;
        drop(counted);
    }
}

async fn end(connection: Connection, ending: Ending) {
    let Some((socket, read_ahead)) = connection.wire.take() else { return };
    drop(connection);
    match ending {
        Ending::Lingering => linger::close(socket).await,
        Ending::Silent => linger::leave(socket).await,
        Ending::Broken => drop(socket),
        Ending::Reset => socket.reset(),
        Ending::Tunnel(left) => (left.tunnel)(End { stream: Box::new(socket), read_ahead }).await,
    }
}

/// A connection, and the request that is under way on it.
struct Connection {
    worker: Rc<Worker>,
    client: Rc<ClientConnection>,
    /// Its requests come one after another: all of them use it.
    stream: Rc<Stream>,
    wire: Rc<Wire>,
    /// `None`: there is no request, and nothing to be written.
    output: Option<Box<Output>>,
    waits: Waits,
    /// What the head of the request under way says of the connection.
    facts: Facts,
    /// When the wait for a request began (monotonic time), and that for the rest of its head.
    idle_since: Option<Duration>,
    head_since: Option<Duration>,
    has_served: bool,
    /// Its task is woken when no more requests are to be taken.
    awaits_drain: bool,
    /// The response under way could not be written at once.
    has_waited: bool,
}

/// What has come of a head.
enum Begun {
    /// The response to it has begun.
    Replied(Replied),
    /// Its answer is awaited.
    Awaited(Awaited),
}

/// A response that is in the output, or as much of it as was there.
struct Replied {
    /// `None`: all of it is in the output.
    rest: Option<Box<Reply>>,
    /// Its body ends with the connection.
    ends_with_connection: bool,
    /// No request may come behind it.
    closes: bool,
}

impl Connection {
    fn new(worker: Rc<Worker>, client: Rc<ClientConnection>, stream: Rc<Stream>, wire: Rc<Wire>) -> Self {
        Self {
            worker,
            client,
            stream,
            wire,
            output: None,
            waits: Waits::default(),
            facts: Facts::PLAIN_GET,
            // A client that says nothing has as long as for a head.
            idle_since: Some(clock::mono()),
            head_since: None,
            has_served: false,
            awaits_drain: false,
            has_waited: false,
        }
    }

    async fn run(&mut self, mut drained: Pin<&mut impl Future>) -> Ending {
        std::future::poll_fn(|cx| {
            self.wire.attach(cx.waker());
            self.stream.interim.attach(cx.waker());
            Poll::Ready(())
        })
        .await;
        loop {
            let head = std::future::poll_fn(|cx| self.poll_head(cx, drained.as_mut())).await;
            let begun = match head {
                Head::Whole(length) => self.begin(length),
                Head::Refused(refusal) => Err(refusal),
                Head::None => return Ending::Silent,
            };
            let replied = match begun {
                Ok(Begun::Replied(replied)) => replied,
                Ok(Begun::Awaited(mut course)) => {
                    let replied = std::future::poll_fn(|cx| self.poll_course(cx, &mut course)).await;
                    let Some(replied) = replied else { return Ending::Silent };
                    replied
                }
                Err(refusal) => return Box::pin(self.refuse(refusal)).await,
            };
            let Replied { mut rest, ends_with_connection, closes } = replied;
            let written = std::future::poll_fn(|cx| self.poll_reply(cx, rest.as_deref_mut())).await;
            drop(rest);
            match written {
                Err(Broken) if ends_with_connection => return Ending::Reset,
                Err(Broken) => return Ending::Broken,
                Ok(()) => {}
            }
            if let Some(left) = self.stream.handover.take() {
                return Ending::Tunnel(left);
            }
            if closes || !self.wire.has_whole_body() && !Box::pin(self.discard()).await {
                return Ending::Lingering;
            }
            // The clock was read when the exchange ended.
            let has_waited = std::mem::take(&mut self.has_waited);
            self.idle_since = if has_waited { None } else { self.worker.ledger.last_end() };
            (self.head_since, self.has_served) = (None, true);
        }
    }

    /// Answers a plain head of this length from the cache, if that needs no exchange.
    fn answer_at_once(&mut self, length: usize) -> Option<Replied> {
        let (worker, site) = (&*self.worker, self.worker.site());
        let ledger = &*worker.ledger;
        if !site.caches() || worker.is_draining() || ledger.captures() {
            return None;
        }
        let started = clock::now();
        let find = |asked: &PlainGet<'_>| fast_hit::find(&site, &self.client, asked, started);
        let hit = self.wire.find(length, find)?;
        let request = if ledger.is_logging() { self.wire.logged(length, self.client.scheme) } else { None };
        self.wire.skip_head(length);
        fast_hit::account(&site, ledger, (&self.client, request), &hit, started);
        self.facts = Facts::PLAIN_GET;
        let output = self.output.get_or_insert_with(|| self.wire.lend_output());
        output.head(|lead| response::write_hit(lead, &hit));
        output.push(hit.stored.into_content());
        Some(Replied { rest: None, ends_with_connection: false, closes: false })
    }

    /// Waits for a whole head.
    fn poll_head(&mut self, cx: &mut Context<'_>, drained: Pin<&mut impl Future>) -> Poll<Head> {
        let limits = self.worker.limits();
        match self.wire.poll_head(cx, &limits.head) {
            Ok(Progress::Whole(length)) => return Poll::Ready(Head::Whole(length)),
            Ok(Progress::Begun) => {
                let since = *self.head_since.get_or_insert_with(clock::mono);
                return self.waits.poll_until(since + limits.header_timeout, cx).map(|()| Head::Refused(Refusal::Slow));
            }
            Ok(Progress::None) => {}
            Ok(Progress::Closed) => return Poll::Ready(Head::None),
            Err(refusal) => return Poll::Ready(Head::Refused(refusal)),
        }
        self.wire.release(&mut self.output);
        // Once is enough: the task that is woken stays the same.
        if !std::mem::replace(&mut self.awaits_drain, true) {
            let _is_draining = drained.poll(cx);
        }
        // What the system has already and the runtime does not know of yet is still answered.
        if self.worker.is_draining() && !self.wire.has_bytes() {
            return Poll::Ready(Head::None);
        }
        let since = *self.idle_since.get_or_insert_with(clock::mono);
        let wait_max = if self.has_served { limits.idle_timeout } else { limits.header_timeout };
        self.waits.poll_until(since + wait_max, cx).map(|()| Head::None)
    }

    /// Takes a head of this length, and begins with the request.
    fn begin(&mut self, length: usize) -> Result<Begun, Refusal> {
        if let Some(replied) = self.answer_at_once(length) {
            return Ok(Begun::Replied(replied));
        }
        let (head, facts) = self.wire.take_head(length)?;
        self.facts = facts;
        if self.output.is_none() {
            self.output = Some(self.wire.lend_output());
        }
        let body = self.wire.body(facts.framing);
        Ok(match begin(&self.worker, &self.client, &self.stream, head, body) {
            Answering::Now(answer) => Begun::Replied(self.reply(answer)),
            Answering::Later(course) => Begun::Awaited(course),
        })
    }

    /// Waits for the answer; `None`: the client has left. Meanwhile passes on interim responses.
    fn poll_course(&mut self, cx: &mut Context<'_>, course: &mut Awaited) -> Poll<Option<Replied>> {
        loop {
            if let Poll::Ready(answer) = Pin::new(&mut *course).poll(cx) {
                return Poll::Ready(Some(self.reply(answer)));
            }
            self.take_interim();
            if let Some(output) = self.output.as_mut().filter(|output| !output.is_empty())
                && let Poll::Ready(Err(_broken)) = self.wire.poll_write(cx, output)
            {
                return Poll::Ready(None);
            }
            if self.has_left(cx) {
                return Poll::Ready(None);
            }
            match self.poll_waits(cx) {
                Poll::Ready(Late::Exchange) => {}
                Poll::Ready(Late::Client) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// HTTP/1.0 knows no interim responses.
    fn take_interim(&mut self) {
        if let Some(interim) = self.stream.interim.take().filter(|_| !self.facts.is_http_1_0) {
            self.output.get_or_insert_default().head(|lead| lead.extend_from_slice(&interim));
        }
    }

    /// Whether the request under way is to be given up, since its client has left. One that sends no more may still read:
    /// whether it counts as gone is configured. What a write that has come as a whole leads to is always awaited.
    fn has_left(&self, cx: &mut Context<'_>) -> bool {
        match self.wire.poll_closed(cx) {
            Poll::Ready(Closed::Broken) => true,
            Poll::Ready(Closed::Half) => {
                let is_awaited = || self.facts.is_write && self.wire.has_whole_request();
                self.worker.limits().half_close == HalfClose::Abort && !is_awaited()
            }
            Poll::Pending => false,
        }
    }

    fn poll_waits(&mut self, cx: &mut Context<'_>) -> Poll<Late> {
        let write_due = self.wire.stuck_since().map(|since| since + self.worker.limits().write_timeout);
        self.waits.poll(cx, &self.stream.deadline, write_due)
    }

    /// Puts the response into the output, or as much of it as is there. Returns how it is framed, and the rest of it.
    fn reply(&mut self, answer: Answer) -> Replied {
        let (facts, Answer { status, fields, mut body }) = (self.facts, answer);
        // Not before: a client that has left is never answered.
        body.begin();
        self.take_interim();
        let may_go_on = self.wire.begin_response();
        let terms = Terms {
            is_head: facts.is_head,
            is_http_1_0: facts.is_http_1_0,
            length: body.size_hint().exact(),
            closes: !may_go_on || !facts.persists || self.worker.is_draining(),
        };
        let framed = response::frame(status, &fields, terms);
        let worker = &*self.worker;
        let date = |lead: &mut Vec<u8>| worker.with_date(|date| lead.extend_from_slice(date.as_bytes()));
        let output = self.output.get_or_insert_default();
        output.head(|lead| response::write_head(lead, status, &fields, framed, date));
        self.wire.keep_lines(fields.into_lines());
        Replied {
            rest: Reply::begin(body, framed.framing, output),
            ends_with_connection: framed.framing == Framing::UntilClose,
            closes: framed.closes,
        }
    }

    /// Writes what is in the output, and the rest of the response.
    fn poll_reply(&mut self, cx: &mut Context<'_>, mut reply: Option<&mut Reply>) -> Poll<Result<(), Broken>> {
        loop {
            let output = self.output.get_or_insert_default();
            let written = match &mut reply {
                Some(reply) => reply.poll(cx, &self.wire, output, &self.worker.pipes),
                None => self.wire.poll_write(cx, output).map_err(|_| Broken),
            };
            if written.is_ready() {
                return written;
            }
            self.has_waited = true;
            // What is there already is delivered to a client that sends no more, too.
            let awaits_body = reply.as_ref().is_some_and(|reply| reply.awaits_body());
            if self.has_left(cx) && (awaits_body || self.wire.is_broken()) {
                return Poll::Ready(Err(Broken));
            }
            match self.poll_waits(cx) {
                Poll::Ready(Late::Exchange) => {}
                Poll::Ready(Late::Client) => return Poll::Ready(Err(Broken)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads the rest of the request's body, which nothing is done with any more, so that the next request can be read.
    /// Returns whether it has ended, within bounds. Its client was not told that the connection closes: the response began
    /// while the body was still on its way to a backend, or when its rest was short.
    async fn discard(&mut self) -> bool {
        let (mut due, mut left) = (None, DISCARDED_BYTES_MAX);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(is_whole) = self.wire.poll_discard(cx, &mut left) {
                return Poll::Ready(is_whole);
            }
            self.has_waited = true;
            let due = *due.get_or_insert_with(|| clock::mono() + DISCARD_TIME_MAX);
            self.waits.poll_until(due, cx).map(|()| false)
        })
        .await
    }

    /// Says what is wrong, and closes.
    async fn refuse(&mut self, refusal: Refusal) -> Ending {
        refusal.count(&self.worker, &self.client, || self.wire.request(self.client.scheme));
        let response = self.worker.with_date(|date| refusal.response(date));
        let output = self.output.get_or_insert_default();
        output.head(|lead| lead.extend_from_slice(&response));
        let write_due = clock::mono() + self.worker.limits().write_timeout;
        let written = std::future::poll_fn(|cx| match self.wire.poll_write(cx, output) {
            Poll::Ready(written) => Poll::Ready(written.is_ok()),
            Poll::Pending => self.waits.poll_until(write_due, cx).map(|()| false),
        });
        if written.await { Ending::Lingering } else { Ending::Broken }
    }
}

/// What has come of the wait for a head.
enum Head {
    /// One of this length.
    Whole(usize),
    /// None that can be served.
    Refused(Refusal),
    /// None, and none will come.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(
        _serve: impl FnOnce(Rc<Worker>, Socket, Rc<ClientConnection>, Bytes, Counted) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// The rest of an idle connection is the runtime's task and timer.
    #[test]
    fn an_idle_connection_is_small() {
        let (future, wire) = (size_of_future(serve), size_of::<Wire>());
        let (client, stream) = (size_of::<ClientConnection>(), size_of::<Stream>());
        assert!(future + wire + client + stream <= 1024, "{future} + {wire} + {client} + {stream}");
    }
}
