//! The thread that sends copies: its own runtime, connections and bounds, so that nothing a mirror does or leaves undone
//! is felt by a client.

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
use super::tee::Seen;
use crate::telemetry::clock;
use crate::telemetry::counters::Counters;
use crate::upstream::client::{Deadlines, Error, InternalRequest};
use crate::upstream::local::LocalUpstream;
use crate::upstream::probe::Watch;
use crate::upstream::resolve;
use crate::upstream::shared::SharedUpstream;

/// The most copies that wait to be taken up, all mirrors together.
const QUEUE_MAX: usize = 1024;
/// How often connections that have been idle too long are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// The thread, as others see it. Dropping it gives up what is under way, and waits until that is done.
#[derive(Debug)]
pub(crate) struct MirrorWorker {
    queue: Option<mpsc::Sender<Copy>>,
    present: Arc<Present>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Who may be sent copies now.
#[derive(Debug, Default)]
struct Present {
    groups: Mutex<Vec<Arc<SharedUpstream>>>,
    has_changed: Notify,
}

impl MirrorWorker {
    /// Starts it; `counters`: where its connections are counted.
    ///
    /// # Errors
    /// When the system has no thread or descriptor left.
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
                // What still runs beside it is a look-up of a name that DNS does not answer.
                runtime.shutdown_background();
            }
            Err(error) => tracing::error!("the mirror can't run: {error}"),
        })?;
        Ok(Self { queue: Some(queue), present, stop: Some(stop), thread: Some(thread) })
    }

    /// Where copies are handed over.
    #[must_use]
    pub(crate) fn queue(&self) -> Option<mpsc::Sender<Copy>> {
        self.queue.clone()
    }

    /// From now on only these mirrors are there: connections of others are closed.
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

/// An upstream, as this thread has it.
struct Known {
    group: Rc<LocalUpstream>,
    /// Checks and name look-ups, for as long as it is there.
    _watch: Watch,
}

/// What this thread keeps.
struct Keep {
    known: RefCell<Vec<Known>>,
    present: Arc<Present>,
    counters: Arc<Counters>,
}

impl Keep {
    /// This thread's part of a group.
    fn group(&self, group: &Arc<SharedUpstream>) -> Rc<LocalUpstream> {
        let mut known = self.known.borrow_mut();
        if let Some(known) = known.iter().find(|known| Arc::ptr_eq(&known.group.shared, group)) {
            return Rc::clone(&known.group);
        }
        let local = Rc::new(LocalUpstream::new(Arc::clone(group), None, &self.counters, 1));
        known.push(Known { group: Rc::clone(&local), _watch: Watch::start(group) });
        local
    }

    /// Lets go of groups that no mirror leads to any more, and of connections that have been idle too long.
    fn tidy(&self) {
        let mut known = self.known.borrow_mut();
        let present = self.present.groups.lock();
        known.retain(|known| present.iter().any(|present| Arc::ptr_eq(present, &known.group.shared)));
        let now = clock::mono();
        known.iter().for_each(|known| known.group.tidy(now));
    }
}

async fn run(mut copies: mpsc::Receiver<Copy>, present: Arc<Present>, counters: Arc<Counters>) {
    let keep = Rc::new(Keep { known: RefCell::default(), present: Arc::clone(&present), counters });
    let mut ticks = interval(TIDY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            copy = copies.recv() => match copy {
                Some(copy) => drop(tokio::task::spawn_local(carry(Rc::clone(&keep), copy))),
                None => return,
            },
            () = present.has_changed.notified() => keep.tidy(),
            _tick = ticks.tick() => keep.tidy(),
        }
    }
}

/// Sends a copy, and compares what comes back. The seat is held until the end, so `in_flight_max` bounds these tasks.
async fn carry(keep: Rc<Keep>, mut copy: Copy) {
    let mirror = Arc::clone(copy.mirror());
    mirror.counts.sent.up();
    let deadlines = Deadlines::within(mirror.plan.timeout);
    let theirs = ask(&keep, &mirror.target, &copy.request, &mirror, deadlines);
    let (theirs, again) = match &mirror.noise {
        Some(noise) => {
            let again = ask(&keep, noise, &copy.request, &mirror, deadlines);
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
    let (Some(findings), Some(ours)) = (&mirror.findings, copy.ours.take()) else { return };
    let Some(theirs) = theirs else { return findings.lock().skip(UNANSWERED) };
    // The client may take its time; what it has not got by then is not compared.
    let Ok(Ok(ours)) = timeout_at(deadlines.body, ours).await else { return findings.lock().skip(UNANSWERED) };
    let Some(rules) = mirror.plan.compare.as_ref().map(|compare| &compare.rules) else { return };
    let pair = Pair { request: copy.request.clone(), at_ms: copy.at_ms, ours, theirs, again };
    let compared = pair.compare(rules);
    findings.lock().note(compared);
}

/// Sends a request once, and reads the answer as far as it may be kept.
async fn ask(
    keep: &Keep,
    group: &Arc<SharedUpstream>,
    request: &CopiedRequest,
    mirror: &Mirror,
    deadlines: Deadlines,
) -> Result<Seen, Error> {
    let local = keep.group(group);
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
    Ok(Seen { status, headers, body: body.map(|body| vec![body]) })
}
