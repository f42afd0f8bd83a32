//! One upstream, as all workers share it: its backends, who is ejected, who waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use policy::health::active::Verdict;
use policy::health::ejection::{Ejection, Rules};
use policy::time::Now;
use tokio::sync::Notify;

use super::backend::{Backend, Out};
use crate::config::plan;

/// Requests that wait for a backend, all workers together, first come first served.
#[derive(Debug, Default)]
pub struct Queue {
    /// How many wait.
    pub waiting: AtomicUsize,
    /// Wakes one when capacity is freed, all when a backend recovers.
    pub wake: Notify,
}

impl Queue {
    /// A request has ended: one that waits may go.
    pub fn capacity_freed(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.wake.notify_one();
        }
    }
}

/// One upstream, as all workers share it.
#[derive(Debug)]
pub struct Group {
    /// What the file says of it.
    pub plan: plan::Upstream,
    /// Its backends, in file order.
    pub backends: Vec<Arc<Backend>>,
    /// Who waits. Shared with the group of the plan before, so that nobody is forgotten.
    pub queue: Arc<Queue>,
    ejection: Mutex<Ejection>,
    /// When the next trial falls due, in microseconds of monotonic time; `u64::MAX`: never.
    trial_due: AtomicU64,
    epoch: AtomicU64,
}

impl Group {
    /// The group for a plan; what was learnt of backends that the group before had too is kept.
    #[must_use]
    pub fn new(plan: plan::Upstream, before: Option<&Self>) -> Self {
        let known = |backend: &plan::Backend| {
            before.and_then(|group| {
                group.backends.iter().position(|known| known.name == backend.name && known.address == backend.address)
            })
        };
        let mapping: Vec<Option<usize>> = plan.backends.iter().map(known).collect();
        let backends = plan
            .backends
            .iter()
            .zip(&mapping)
            .map(|(backend, old)| {
                let kept = old.and_then(|index| before.and_then(|group| group.backends.get(index)));
                kept.map_or_else(|| Arc::new(Backend::new(backend)), Arc::clone)
            })
            .collect();
        let rules = rules(&plan.ejection);
        let ejection = match before {
            Some(group) => group.ejection.lock().carry(&mapping, rules),
            None => Ejection::new(rules, plan.backends.len()),
        };
        let queue = before.map(|group| Arc::clone(&group.queue)).unwrap_or_default();
        let epoch = before.map_or(0, |group| group.epoch()) + 1;
        let group = Self {
            plan,
            backends,
            queue,
            trial_due: AtomicU64::new(u64::MAX),
            ejection: Mutex::new(ejection),
            epoch: AtomicU64::new(epoch),
        };
        group.settle_after_reload();
        group
    }

    /// Brings the backends' standing into line with what the new plan lets count.
    fn settle_after_reload(&self) {
        let ejection = self.ejection.lock();
        for (index, backend) in self.backends.iter().enumerate() {
            if backend.is_out(Out::Ejected) && !ejection.is_ejected(index) {
                backend.bring_back(Out::Ejected, Duration::ZERO);
            }
            if self.plan.health.is_none() && backend.is_out(Out::Down) {
                backend.bring_back(Out::Down, Duration::ZERO);
            }
        }
        self.note_trial(&ejection);
    }

    /// Grows whenever the set of usable backends changes.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Claims the trial of an ejected backend, if one is due.
    #[must_use]
    pub fn take_trial(&self, now: Now) -> Option<usize> {
        if micros(now.mono) < self.trial_due.load(Ordering::Relaxed) {
            return None;
        }
        let mut ejection = self.ejection.lock();
        let trial = ejection.trial(now);
        self.note_trial(&ejection);
        trial
    }

    /// A request to this backend went well.
    pub fn succeeded(&self, index: usize, trial: bool, now: Now) {
        let Some(backend) = self.backends.get(index) else { return };
        if !trial && !backend.is_failing() {
            return;
        }
        let back = {
            let mut ejection = self.ejection.lock();
            let back = ejection.succeeded(index, trial, now);
            backend.set_failing(ejection.is_ejected(index));
            self.note_trial(&ejection);
            back
        };
        if back {
            tracing::info!(upstream = %self.plan.name, backend = %backend.name, "backend is back: its trial went well");
            self.bring_back(index, Out::Ejected, now.mono);
        }
    }

    /// A request to this backend failed by the backend's fault.
    pub fn failed(&self, index: usize, trial: bool, now: Now) {
        let Some(backend) = self.backends.get(index) else { return };
        let ejected = {
            let mut ejection = self.ejection.lock();
            backend.set_failing(true);
            let ejected = ejection.failed(index, trial, now);
            self.note_trial(&ejection);
            ejected
        };
        if let Some(ejected) = ejected {
            let seconds = ejected.until.saturating_sub(now.mono).as_secs_f64();
            tracing::warn!(upstream = %self.plan.name, backend = %backend.name, times = ejected.times,
                "backend ejected for {seconds:.1} s: it fails requests");
            self.take_out(index, Out::Ejected);
        }
    }

    /// This backend takes no connection: it is not asked again until a check has passed.
    pub fn doubt(&self, index: usize) {
        let Some(backend) = self.backends.get(index) else { return };
        if backend.is_out(Out::Suspect) {
            return;
        }
        self.take_out(index, Out::Suspect);
        tracing::warn!(upstream = %self.plan.name, backend = %backend.name, "backend takes no connection");
        backend.doubted.notify_one();
    }

    /// An active check has changed its verdict on this backend.
    pub fn judged(&self, index: usize, verdict: Verdict, now: Now) {
        let Some(backend) = self.backends.get(index) else { return };
        match verdict {
            Verdict::Up => {
                tracing::info!(upstream = %self.plan.name, backend = %backend.name, "backend is up");
                if backend.is_out(Out::Down) {
                    self.pardon(index, now);
                }
                self.bring_back(index, Out::Down, now.mono);
            }
            Verdict::Down => {
                tracing::warn!(upstream = %self.plan.name, backend = %backend.name, "backend is down");
                self.take_out(index, Out::Down);
            }
            Verdict::Unknown => {}
        }
    }

    /// Checks have passed for a backend that took no connection.
    pub fn trust(&self, index: usize, now: Now) {
        let Some(backend) = self.backends.get(index) else { return };
        tracing::info!(upstream = %self.plan.name, backend = %backend.name, "backend takes connections again");
        self.pardon(index, now);
        self.bring_back(index, Out::Suspect, now.mono);
    }

    /// What a backend failed at before it was gone is not held against it when it is back.
    fn pardon(&self, index: usize, now: Now) {
        let Some(backend) = self.backends.get(index) else { return };
        let was_out = {
            let mut ejection = self.ejection.lock();
            let was_out = ejection.pardon(index, now);
            backend.set_failing(false);
            self.note_trial(&ejection);
            was_out
        };
        if was_out {
            self.bring_back(index, Out::Ejected, now.mono);
        }
    }

    fn take_out(&self, index: usize, reason: Out) {
        if self.backends.get(index).is_some_and(|backend| backend.take_out(reason)) {
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn bring_back(&self, index: usize, reason: Out, now: Duration) {
        let Some(backend) = self.backends.get(index) else { return };
        let (held, usable) = backend.bring_back(reason, now);
        if held && usable {
            self.epoch.fetch_add(1, Ordering::Relaxed);
            self.queue.wake.notify_waiters();
        }
    }

    fn note_trial(&self, ejection: &Ejection) {
        let due = ejection.next_trial().map_or(u64::MAX, micros);
        self.trial_due.store(due, Ordering::Relaxed);
    }

    /// When the next trial falls due (monotonic time): a queue with nobody usable waits for that too.
    #[must_use]
    pub fn trial_due(&self) -> Option<Duration> {
        let due = self.trial_due.load(Ordering::Relaxed);
        (due != u64::MAX).then(|| Duration::from_micros(due))
    }
}

fn rules(plan: &plan::Ejection) -> Rules {
    Rules {
        consecutive_failures: plan.consecutive_failures,
        base_time: plan.base_time,
        max_time: plan.max_time,
        percent_max: plan.percent_max,
    }
}

fn micros(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX - 1)
}
