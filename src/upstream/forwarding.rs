//! A request on its way to a backend and back: select, connect, send, judge, and again if need be.
//!
//! A state machine that is polled by whoever serves the request, so that one that is sent at once, on a connection that
//! waits in the pool, needs no future of its own. What is seldom waited for, a place or a connection, is boxed.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use policy::retry::{Progress, may_repeat};

use super::acquire::{self, Carrier, Connecting, Failure};
use super::local::{LocalEndpoint, LocalUpstream};
use super::select::{self, Asker, Lease};
use super::send::{self, Attempt, Failed, Received, UpstreamRequest};
use super::transport::any::AnyCall;
use super::verdict::Verdict;
use super::{reply, tunnel};
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::access_record::{Outcome, Try};
use crate::telemetry::clock;
use crate::telemetry::endpoint_stats::FailureKind;

/// How often a request is sent again to backends that have not processed it, each time on whatever connection is there.
const UNPROCESSED_MAX: u32 = 2;

/// A request on its way to a backend and back. Dropped, it is given up.
pub(crate) struct Forwarding {
    tries: Tries,
    state: State,
}

/// What is awaited.
#[derive(Default)]
enum State {
    /// A place at a backend, in the queue of the upstream.
    Queued(Pin<Box<dyn Future<Output = Result<Lease, ProxyError>>>>),
    /// A new connection to the backend.
    Connecting(Box<Connecting>, Lease),
    /// The head of the response.
    Asking(Attempt, Lease),
    /// Nothing: it is over.
    #[default]
    Over,
}

/// What comes next: another state, or the end.
type Next = Result<ControlFlow<Answer, State>, ProxyError>;

impl Forwarding {
    /// Begins: a backend that has a place is asked at once. Nothing is sent before this is polled.
    pub(crate) fn begin(group: &Rc<LocalUpstream>, ex: &mut Exchange, draft: &UpstreamRequest) -> Self {
        let until = ex.within_call(ex.started.mono + group.shared.plan.timeouts.request);
        group.budget.borrow_mut().request(ex.started);
        let asker = Asker::of(ex);
        let state = match select::claim_at_once(group, &asker) {
            Some(lease) => State::ask(lease, ex, draft),
            None => State::Queued(Box::pin(select::line_up(Rc::clone(group), asker, until))),
        };
        Self { tries: Tries { until, repeats: 0, unprocessed: 0, tried: Vec::new() }, state }
    }

    /// Goes on. To be called with what it was begun with, until it is ready.
    ///
    /// # Errors
    /// The fault of the last try, when no other may be made.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        ex: &mut Exchange,
        draft: &UpstreamRequest,
    ) -> Poll<Result<Answer, ProxyError>> {
        loop {
            let next = match &mut self.state {
                State::Asking(attempt, lease) => {
                    let asked = ready!(attempt.poll(cx, lease, ex, draft));
                    self.asked(asked, ex, draft)
                }
                State::Connecting(connecting, lease) => {
                    let connected = ready!(connecting.poll(cx, lease, ex));
                    self.connected(connected, ex, draft)
                }
                State::Queued(queued) => {
                    let queued = ready!(queued.as_mut().poll(cx));
                    queued.map(|lease| ControlFlow::Continue(State::ask(lease, ex, draft)))
                }
                State::Over => return Poll::Pending,
            };
            match next? {
                ControlFlow::Continue(state) => self.state = state,
                ControlFlow::Break(answer) => return Poll::Ready(Ok(answer)),
            }
        }
    }

    /// A backend was asked, and its response's head is in, or will not come.
    fn asked(&mut self, asked: Result<(), Failed>, ex: &mut Exchange, draft: &UpstreamRequest) -> Next {
        let State::Asking(attempt, lease) = std::mem::take(&mut self.state) else { return over() };
        let call = match asked {
            Ok(()) => attempt.into_call(),
            Err(failed) if failed.is_stale(draft) && self.tries.go_again() => {
                return Ok(ControlFlow::Continue(State::connect(lease, ex, draft)));
            }
            Err(failed) => {
                drop(attempt);
                return self.failed(failed.count(&lease), lease, ex, draft);
            }
        };
        match send::judged(&call, &lease, draft) {
            Ok(()) => Ok(self.received(Received { call, claim: lease }, ex, draft)),
            Err(failure) => {
                drop(call);
                self.failed(failure, lease, ex, draft)
            }
        }
    }

    fn connected(&mut self, connected: Result<Carrier, Failure>, ex: &mut Exchange, draft: &UpstreamRequest) -> Next {
        let State::Connecting(_, lease) = std::mem::take(&mut self.state) else { return over() };
        match connected {
            Ok(carrier) => {
                let attempt = Attempt::begin(carrier, &lease, ex, draft, clock::mono());
                Ok(ControlFlow::Continue(State::Asking(attempt, lease)))
            }
            Err(failure) => self.failed(failure, lease, ex, draft),
        }
    }

    /// A response's head is in: it is the answer, or another backend is asked instead.
    fn received(
        &mut self,
        received: Received,
        ex: &mut Exchange,
        draft: &UpstreamRequest,
    ) -> ControlFlow<Answer, State> {
        let status = received.call.head().status;
        ex.record.backend_status = Some(status);
        let verdict = Verdict::of(ex, status, &received.call.head().fields);
        let progress = verdict.progress(&received.claim.group().shared.plan.retry);
        let instead =
            progress.and_then(|progress| self.tries.instead_of(&received.claim, verdict, ex, (draft, progress)));
        if instead.is_some() || !ex.record.history.is_empty() {
            remember(ex, &received.claim, Outcome::Status(status));
        }
        if let Some(other) = instead {
            drop(received);
            return ControlFlow::Continue(State::ask(other, ex, draft));
        }
        let Received { call, claim } = received;
        ControlFlow::Break(match call {
            AnyCall::Http1(call) if status == StatusCode::SWITCHING_PROTOCOLS => tunnel::answer(call, claim, ex),
            call @ (AnyCall::Http1(_) | AnyCall::Http2(_)) => reply::answer(Received { call, claim }, draft, ex),
        })
    }

    /// A try has failed: another one, if it may be made.
    #[cold]
    fn failed(&mut self, failure: Failure, lease: Lease, ex: &mut Exchange, draft: &UpstreamRequest) -> Next {
        remember(ex, &lease, Outcome::ProxyError(failure.fault.cause().to_string()));
        self.tries.tried.push(Rc::clone(lease.endpoint()));
        let group = Rc::clone(lease.group());
        // Given up before another is looked for.
        drop(lease);
        self.tries.next(&group, ex, draft, failure).map(ControlFlow::Continue)
    }
}

/// Of what was polled after its end.
fn over() -> Next {
    Ok(ControlFlow::Continue(State::Over))
}

impl State {
    /// Asks the backend of this lease, on a connection that waits for a request, or on a new one.
    fn ask(lease: Lease, ex: &mut Exchange, draft: &UpstreamRequest) -> Self {
        ex.record.tries += 1;
        ex.record.backend = Some(Rc::clone(&lease.endpoint().backend));
        ex.record.address.clone_from(&lease.endpoint().address);
        match acquire::pooled(&lease, draft.wanted(), &ex.connection) {
            Some(carrier) => {
                let attempt = Attempt::begin(carrier, &lease, ex, draft, lease.since());
                Self::Asking(attempt, lease)
            }
            None => Self::connect(lease, ex, draft),
        }
    }

    fn connect(lease: Lease, ex: &Exchange, draft: &UpstreamRequest) -> Self {
        Self::Connecting(Box::new(Connecting::begin(&lease, ex, draft.wanted())), lease)
    }
}

/// Notes what has become of the try that this claim was for.
fn remember(ex: &mut Exchange, claim: &Lease, outcome: Outcome) {
    let asked = claim.endpoint();
    let took = clock::mono().saturating_sub(claim.since());
    let (backend, address) = (Rc::clone(&asked.backend), asked.address.clone());
    ex.record.remember(Try { backend, address, outcome, took });
}

/// What was tried for one request, and what may still be.
struct Tries {
    /// No try begins after this moment (monotonic time).
    until: Duration,
    /// How often the request was repeated after a backend may have seen it, or after everybody was asked in vain.
    repeats: u32,
    /// How often it was sent again to a backend that had not processed it.
    unprocessed: u32,
    /// The endpoints that were asked.
    tried: Vec<Rc<LocalEndpoint>>,
}

impl Tries {
    /// Whether a request that its backend has not processed may be sent to the same backend again.
    fn go_again(&mut self) -> bool {
        self.unprocessed += 1;
        self.unprocessed <= UNPROCESSED_MAX
    }

    /// Another try after one that failed.
    ///
    /// # Errors
    /// The fault itself, when there may be no other try.
    fn next(
        &mut self,
        group: &Rc<LocalUpstream>,
        ex: &mut Exchange,
        draft: &UpstreamRequest,
        failure: Failure,
    ) -> Result<State, ProxyError> {
        if !failure.fault.may_retry() || !self.may_go_on(group, draft, failure.progress) {
            return Err(failure.fault);
        }
        if failure.progress != Progress::Nothing {
            self.repeats += 1;
        }
        let (now, asker) = (clock::now(), Asker::of(ex));
        if let Some(claim) = select::claim(group, &asker, &self.tried, now) {
            if !group.budget.borrow_mut().withdraw(now) {
                return Err(failure.fault);
            }
            group.counters.retries.up();
            return Ok(State::ask(claim, ex, draft));
        }
        if group.shared.plan.queue.is_none() {
            return Err(failure.fault);
        }
        // Everybody was asked. The request waits until one of them is back: that multiplies no load, so the budget is
        // not asked.
        self.tried.clear();
        self.repeats += 1;
        Ok(match select::claim_at_once(group, &asker) {
            Some(claim) => State::ask(claim, ex, draft),
            None => State::Queued(Box::pin(select::line_up(Rc::clone(group), asker, self.until))),
        })
    }

    /// Another backend's place for a request whose answer is one to try again for; if that may be after this progress.
    fn instead_of(
        &mut self,
        asked: &Lease,
        verdict: Verdict,
        ex: &Exchange,
        (draft, progress): (&UpstreamRequest, Progress),
    ) -> Option<Lease> {
        let group = asked.group();
        let plan = &group.shared.plan;
        if self.repeats >= plan.retry.attempts || !self.may_go_on(group, draft, progress) {
            return None;
        }
        let now = clock::now();
        self.tried.push(Rc::clone(asked.endpoint()));
        let claim = select::claim(group, &Asker::of(ex), &self.tried, now)?;
        if !group.budget.borrow_mut().withdraw(now) {
            return None;
        }
        self.repeats += 1;
        group.counters.retries.up();
        if verdict.fails(&plan.ejection) {
            asked.failed(now, FailureKind::Status, &verdict);
        } else {
            asked.succeeded(now);
        }
        Some(claim)
    }

    fn may_go_on(&self, group: &LocalUpstream, draft: &UpstreamRequest, progress: Progress) -> bool {
        let attempts = group.shared.plan.retry.attempts;
        let left = if progress == Progress::Nothing {
            attempts > 0 && self.repeats <= attempts
        } else {
            self.repeats < attempts
        };
        left && clock::mono() < self.until && may_repeat(&draft.method, progress, draft.replay())
    }
}
