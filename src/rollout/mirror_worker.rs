//! The thread that sends copies. It has its own runtime, connections and limits, so that a mirror cannot affect
//! clients.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout_at};

use super::comparison::{Pair, UNANSWERED};
use super::copied_request::CopiedRequest;
use super::mirror::{Copy, Mirror};
use super::tee::RecordedResponse;
use crate::telemetry::clock;
use crate::telemetry::counters::Counters;
use crate::upstream::client::{Deadlines, Error, InternalRequest};
use crate::upstream::local::LocalUpstream;
use crate::upstream::probe::Watch;
use crate::upstream::resolve;
use crate::upstream::shared::SharedUpstream;

/// The most copies that wait for the thread, of all mirrors.
const QUEUE_MAX: usize = 1024;
/// The interval of closing idle connections.
const CLOSE_IDLE_EVERY: Duration = Duration::from_secs(1);

/// The handle to the thread. Dropping it cancels copies in flight and waits for the thread to end.
#[derive(Debug)]
pub(crate) struct MirrorWorker {
    queue: Option<mpsc::Sender<Copy>>,
    present: Arc<Present>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The mirrors that may receive copies.
#[derive(Debug, Default)]
struct Present {
    groups: Mutex<Vec<Arc<SharedUpstream>>>,
    has_changed: Notify,
}

impl MirrorWorker {
    /// Starts the thread; `counters` counts its connections.
    ///
    /// # Errors
    /// If the system has no thread or descriptor left.
    pub(crate) fn start(counters: &Arc<Counters>) -> io::Result<Self> {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(tokio::runtime::LocalOptions::default())
        };
        let (queue, copies) = mpsc::channel(QUEUE_MAX);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let present = Arc::<Present>::default();
        let (shared, counters) = (Arc::clone(&present), Arc::clone(counters));
        let thread = std::thread::Builder::new().name("mirror".to_owned()).spawn(move || match runtime() {
            Ok(runtime) => {
                runtime.block_on(async {
                    tokio::select! {
                        _told = stopped => {}
                        () = run(copies, shared, counters) => {}
                    }
                });
                // A DNS look-up without a response may still run.
                runtime.shutdown_background();
            }
            Err(error) => tracing::error!("the mirror can't run: {error}"),
        })?;
        Ok(Self { queue: Some(queue), present, stop: Some(stop), thread: Some(thread) })
    }

    /// The queue of copies.
    #[must_use]
    pub(crate) fn queue(&self) -> Option<mpsc::Sender<Copy>> {
        self.queue.clone()
    }

    /// Applies a new set of mirrors, and closes the connections of others.
    pub(crate) fn adopt(&self, mirrors: &[Arc<Mirror>]) {
        let groups = mirrors.iter().flat_map(|mirror| [Some(&mirror.target), mirror.noise.as_ref()]);
        *self.present.groups.lock() = groups.flatten().map(Arc::clone).collect();
        self.present.has_changed.notify_one();
    }
}

impl Drop for MirrorWorker {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(stop) = self.stop.take() {
            let _gone = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// An upstream with this thread's state.
struct Known {
    group: Rc<LocalUpstream>,
    /// Keeps health checks and name resolution running.
    _watch: Watch,
}

/// The state of the thread.
struct WorkerState {
    known: RefCell<Vec<Known>>,
    present: Arc<Present>,
    counters: Arc<Counters>,
}

impl WorkerState {
    /// This thread's state of an upstream.
    fn group(&self, group: &Arc<SharedUpstream>) -> Rc<LocalUpstream> {
        let mut known = self.known.borrow_mut();
        if let Some(known) = known.iter().find(|known| Arc::ptr_eq(&known.group.shared, group)) {
            return Rc::clone(&known.group);
        }
        let local = Rc::new(LocalUpstream::new(Arc::clone(group), None, &self.counters, 1));
        known.push(Known { group: Rc::clone(&local), _watch: Watch::start(group) });
        local
    }

    /// Drops upstreams that no mirror uses any more, and closes connections that have been idle too long.
    fn close_idle(&self) {
        let mut known = self.known.borrow_mut();
        let present = self.present.groups.lock();
        known.retain(|known| present.iter().any(|present| Arc::ptr_eq(present, &known.group.shared)));
        let now = clock::mono();
        known.iter().for_each(|known| known.group.tidy(now));
    }
}

async fn run(mut copies: mpsc::Receiver<Copy>, present: Arc<Present>, counters: Arc<Counters>) {
    let state = Rc::new(WorkerState { known: RefCell::default(), present: Arc::clone(&present), counters });
    let mut ticks = interval(CLOSE_IDLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            copy = copies.recv() => match copy {
                Some(copy) => drop(tokio::task::spawn_local(process(Rc::clone(&state), copy))),
                None => return,
            },
            () = present.has_changed.notified() => state.close_idle(),
            _tick = ticks.tick() => state.close_idle(),
        }
    }
}

/// Sends a copy and compares the responses. It holds the slot until the end, so `in_flight_max` bounds these tasks.
async fn process(state: Rc<WorkerState>, mut copy: Copy) {
    let mirror = Arc::clone(copy.mirror());
    mirror.counts.sent.up();
    let deadlines = Deadlines::within(mirror.plan.timeout);
    let theirs = ask(&state, &mirror.target, &copy.request, &mirror, deadlines);
    let (theirs, again) = match &mirror.noise {
        Some(noise) => {
            let again = ask(&state, noise, &copy.request, &mirror, deadlines);
            let (theirs, again) = async { tokio::join!(theirs, again) }.await;
            (theirs, again.ok())
        }
        None => (theirs.await, None),
    };
    let theirs = match theirs {
        Ok(theirs) => Some(theirs),
        Err(Error::Failed(_)) => {
            mirror.counts.failed.up();
            None
        }
        Err(Error::Late) => {
            mirror.counts.timed_out.up();
            None
        }
    };
    let (Some(report), Some(ours)) = (&mirror.report, copy.ours.take()) else { return };
    let Some(theirs) = theirs else { return report.lock().skip(UNANSWERED) };
    // The client may read slowly; if its response is incomplete by then, the pair is not compared.
    let Ok(Ok(ours)) = timeout_at(deadlines.body, ours).await else { return report.lock().skip(UNANSWERED) };
    let Some(rules) = mirror.plan.compare.as_ref().map(|compare| &compare.rules) else { return };
    let pair = Pair { request: copy.request.clone(), at_ms: copy.at_ms, ours, theirs, again };
    let compared = pair.compare(rules);
    report.lock().note(compared);
}

/// Sends a request once, and reads the response up to the limit for comparison.
async fn ask(
    state: &WorkerState,
    group: &Arc<SharedUpstream>,
    request: &CopiedRequest,
    mirror: &Mirror,
    deadlines: Deadlines,
) -> Result<RecordedResponse, Error> {
    let local = state.group(group);
    let first = resolve::first(std::slice::from_ref(group));
    timeout_at(deadlines.head, first).await.map_err(|_| Error::Late)?;
    let CopiedRequest { method, target, headers: fields, body } = request.clone();
    let body = body.map(|pieces| {
        let mut body = BytesMut::new();
        pieces.iter().for_each(|piece| body.extend_from_slice(piece));
        body.freeze()
    });
    let mut response = InternalRequest { method, target, fields, body, deadlines }.send(&local).await?;
    let (status, headers) = (response.status, std::mem::take(&mut response.fields));
    let body = response.read(mirror.plan.body_bytes_max).await?;
    Ok(RecordedResponse { status, headers, body: body.map(|body| vec![body]) })
}
