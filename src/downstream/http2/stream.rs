//! One stream of a connection: a task with the deadlines of its request, which its client ends by a reset.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};

use super::response::{self, ResponseBody};
use super::state::State;
use super::{body, head};
use crate::downstream::begin::{Answering, begin};
use crate::downstream::waits::{Late, Waits};
use crate::downstream::worker::Worker;
use crate::exchange::ClientConnection;
use crate::telemetry::clock;

/// What the streams of a connection share.
pub(super) struct Streams {
    worker: Rc<Worker>,
    client: Rc<ClientConnection>,
    /// How many are open.
    open: Cell<usize>,
    /// Since when none is (monotonic time).
    idle_since: Cell<Duration>,
    has_served: Cell<bool>,
    /// The one that begins: hyper asks for its response, and then for its task.
    begun: RefCell<Option<Rc<State>>>,
    /// The task of the connection's loop.
    waker: RefCell<Option<Waker>>,
}

impl Streams {
    pub(super) fn new(worker: Rc<Worker>, client: Rc<ClientConnection>) -> Self {
        Self {
            worker,
            client,
            open: Cell::new(0),
            idle_since: Cell::new(clock::mono()),
            has_served: Cell::new(false),
            begun: RefCell::default(),
            waker: RefCell::default(),
        }
    }

    /// Says which task runs the connection's loop.
    pub(super) fn attach(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    /// Since when no stream is open (monotonic time); `None`: one is.
    pub(super) fn idle_since(&self) -> Option<Duration> {
        (self.open.get() == 0).then(|| self.idle_since.get())
    }

    /// Whether there has been a stream.
    pub(super) fn has_served(&self) -> bool {
        self.has_served.get()
    }
}

/// A stream that is open.
struct Open(Rc<Streams>);

impl Open {
    fn begin(streams: Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        Self(streams)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let left = self.0.open.get().saturating_sub(1);
        self.0.open.set(left);
        if left == 0 {
            self.0.idle_since.set(clock::mono());
            if let Some(waker) = &*self.0.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }
}

/// What hyper asks for responses.
pub(super) struct Service(pub(super) Rc<Streams>);

impl hyper::service::Service<Request<hyper::body::Incoming>> for Service {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Responding {
        let Streams { worker, client, begun, has_served, .. } = &*self.0;
        has_served.set(true);
        let state = Rc::new(State::default());
        *begun.borrow_mut() = Some(Rc::clone(&state));
        let (parts, content) = request.into_parts();
        let read = head::head(&parts, &worker.limits().head);
        let course = match read {
            Ok((head, facts)) => {
                let body = body::incoming(content, facts.framing);
                Course::Begun(begin(worker, client, &state.stream, head, body))
            }
            Err(refusal) => {
                refusal.count(worker, client, || Some(head::request(&parts, client.scheme)));
                Course::Refused(StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST))
            }
        };
        let is_head = parts.method == Method::HEAD;
        Responding { worker: Rc::clone(worker), state, course: Some(course), is_head }
    }
}

/// A response to come.
pub(super) struct Responding {
    worker: Rc<Worker>,
    state: Rc<State>,
    course: Option<Course>,
    is_head: bool,
}

enum Course {
    Refused(StatusCode),
    Begun(Answering),
}

impl Future for Responding {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let answer = match this.course.take() {
            None => return Poll::Pending,
            Some(Course::Refused(status)) => return Poll::Ready(Ok(response::bare(&this.worker, &this.state, status))),
            Some(Course::Begun(Answering::Now(answer))) => answer,
            Some(Course::Begun(Answering::Later(mut course))) => {
                let answered = Pin::new(&mut course).poll(cx);
                if answered.is_pending() {
                    this.course = Some(Course::Begun(Answering::Later(course)));
                }
                ready!(answered)
            }
        };
        Poll::Ready(Ok(response::response(&this.worker, &this.state, answer, this.is_head)))
    }
}

/// Runs each stream as a task on the worker's thread.
#[derive(Clone)]
pub(super) struct Tasks(pub(super) Rc<Streams>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let state = self.0.begun.borrow_mut().take().unwrap_or_default();
        let open = Open::begin(Rc::clone(&self.0));
        drop(tokio::task::spawn_local(run(open, state, future)));
    }
}

/// Runs a stream until it ends. It is reset by being dropped: when its client takes nothing for too long.
async fn run(open: Open, state: Rc<State>, stream: impl Future<Output = ()>) {
    let mut stream = std::pin::pin!(stream);
    let mut waits = Waits::default();
    let mut is_attached = false;
    std::future::poll_fn(|cx| {
        if !std::mem::replace(&mut is_attached, true) {
            state.stream.interim.attach(cx.waker());
        }
        loop {
            if stream.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            // hyper can't send them.
            let _dropped = state.stream.interim.take();
            let write_due = state.write_due(cx, open.0.worker.limits().write_timeout);
            match ready!(waits.poll(cx, &state.stream.deadline, write_due)) {
                Late::Exchange => {}
                Late::Client => return Poll::Ready(()),
            }
        }
    })
    .await;
}
