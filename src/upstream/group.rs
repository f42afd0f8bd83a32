//! One upstream, as all workers share it: its backends, who is ejected, who waits.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::time::Duration;

use parking_lot::Mutex;
use policy::health::active::Verdict;
use policy::health::ejection::{Ejection, Rules};
use policy::time::Now;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::backend::{Backend, Out};
use crate::config::plan::{self, Address};

/// Requests that wait for a backend, all workers together, first come first served.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: AtomicUsize,
    /// How many of them began under a plan that a reload has replaced: what is free for others may be none for them.
    strangers: AtomicUsize,
    /// Counts the reloads.
    plans: AtomicUsize,
    wake: Notify,
}

/// A place in a queue, given up on drop.
#[derive(Debug)]
pub struct Place<'a> {
    group: &'a Group,
    plan: usize,
    is_first: bool,
}

impl Queue {
    /// A request has ended: one that waits may go.
    pub fn capacity_freed(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        if self.strangers.load(Ordering::SeqCst) > 0 { self.wake.notify_waiters() } else { self.wake.notify_one() }
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// From here on another plan holds: all who wait are strangers to it.
    fn replan(&self) {
        self.plans.fetch_add(1, Ordering::SeqCst);
        self.strangers.store(self.waiting.load(Ordering::SeqCst), Ordering::SeqCst);
        self.wake.notify_waiters();
    }
}

impl Place<'_> {
    /// Gets in line for the next wake-up: what is freed from here on is not missed.
    #[must_use]
    pub fn line_up(&self) -> Pin<Box<Notified<'_>>> {
        let mut woken = Box::pin(self.group.queue.wake.notified());
        woken.as_mut().enable();
        fence(Ordering::SeqCst);
        woken
    }

    /// Whether one who has not been woken may look for room. Only the first may: others would overtake those who
    /// have just been woken.
    #[must_use]
    pub fn may_look(&self) -> bool {
        self.is_first || self.group.queue.strangers.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let queue = &self.group.queue;
        if self.plan != queue.plans.load(Ordering::SeqCst) {
            let one_less = |now: usize| now.checked_sub(1);
            let _counted_anew = queue.strangers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        }
        queue.waiting.fetch_sub(1, Ordering::SeqCst);
        // Who came later has not looked: if there is room for one more, it is its turn.
        if self.group.has_room() {
            queue.capacity_freed();
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
    /// `None`: a reload has handed it over. Requests that still run under the plan before are not judged.
    ejection: Mutex<Option<Ejection>>,
    /// When the next trial falls due, in microseconds of monotonic time; `u64::MAX`: never.
    trial_due: AtomicU64,
    /// Shared with the group of the plan before: they see the same backends come and go.
    epoch: Arc<AtomicU64>,
}

impl Group {
    /// The group for a plan; what was learnt of backends that the group before had too is kept.
    #[must_use]
    pub fn new(plan: plan::Upstream, before: Option<&Self>) -> Self {
        let old = before.iter().flat_map(|group| group.backends.iter().enumerate());
        let old: HashMap<&str, (usize, &Address)> =
            old.map(|(index, known)| (&*known.name, (index, &known.address))).collect();
        let known = |backend: &plan::Backend| {
            old.get(&*backend.name).filter(|(_, address)| **address == backend.address).map(|(index, _)| *index)
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
        let ejection = before
            .and_then(Self::hand_over)
            .map_or_else(|| Ejection::new(rules, mapping.len()), |ejection| ejection.carry(&mapping, rules));
        let queue: Arc<Queue> = before.map(|group| Arc::clone(&group.queue)).unwrap_or_default();
        let epoch = before.map(|group| Arc::clone(&group.epoch)).unwrap_or_default();
        epoch.fetch_add(1, Ordering::Relaxed);
        let group = Self {
            plan,
            backends,
            queue,
            trial_due: AtomicU64::new(u64::MAX),
            ejection: Mutex::new(Some(ejection)),
            epoch,
        };
        group.settle_after_reload();
        group.queue.replan();
        group
    }

    /// Gives up the right to judge: a backend that two groups could eject would be out for ever when the one that
    /// did it is gone.
    fn hand_over(&self) -> Option<Ejection> {
        let mut ejection = self.ejection.lock();
        self.trial_due.store(u64::MAX, Ordering::Relaxed);
        ejection.take()
    }

    /// Brings the backends' standing into line with what the new plan lets count.
    fn settle_after_reload(&self) {
        let ejection = self.ejection.lock();
        let Some(ejection) = ejection.as_ref() else { return };
        for (index, backend) in self.backends.iter().enumerate() {
            if backend.is_out(Out::Ejected) && !ejection.is_ejected(index) {
                backend.bring_back(Out::Ejected, Duration::ZERO);
            }
            if self.plan.health.is_none() && backend.is_out(Out::Down) {
                backend.bring_back(Out::Down, Duration::ZERO);
            }
        }
        self.note_trial(ejection);
    }

    /// Whether any of its backends is usable.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.backends.iter().any(|backend| backend.is_usable())
    }

    /// Whether a request that comes now has somewhere to go: to a backend that is usable, or to an ejected one that is
    /// due for its trial. Without requests nothing would ever bring that one back.
    #[must_use]
    pub fn can_take(&self, now: Now) -> bool {
        let is_due = || micros(now.mono) >= self.trial_due.load(Ordering::Relaxed);
        self.is_usable() || (is_due() && self.backends.iter().any(|backend| backend.is_but_ejected()))
    }

    /// Grows whenever the set of usable backends changes.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Claims the trial of an ejected backend, if one is due and nothing else speaks against the backend.
    #[must_use]
    pub fn take_trial(&self, tried: &[usize], now: Now) -> Option<usize> {
        if micros(now.mono) < self.trial_due.load(Ordering::Relaxed) {
            return None;
        }
        let mut ejection = self.ejection.lock();
        let ejection = ejection.as_mut()?;
        let index = ejection.trial(now)?;
        let was_tried = tried.contains(&index);
        if was_tried {
            ejection.release(index, now);
        }
        self.note_trial(ejection);
        // Where something else speaks against the backend the trial stays claimed, until a check passes.
        (!was_tried && self.backends.get(index).is_some_and(|backend| backend.is_but_ejected())).then_some(index)
    }

    /// Gives back a trial that has no outcome: another request may make it.
    pub fn release_trial(&self, index: usize, now: Now) {
        if let Some(ejection) = self.ejection.lock().as_mut() {
            ejection.release(index, now);
            self.note_trial(ejection);
        }
    }

    /// A place in the queue; `None`: `length` wait already.
    #[must_use]
    pub fn queue_up(&self, length: usize) -> Option<Place<'_>> {
        let plan = self.queue.plans.load(Ordering::SeqCst);
        let one_more = |now: usize| (now < length).then(|| now + 1);
        let before = self.queue.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(Place { group: self, plan, is_first: before == 0 })
    }

    /// Whether a usable backend has a place left.
    fn has_room(&self) -> bool {
        self.backends.iter().zip(&self.plan.backends).any(|(backend, plan)| {
            backend.is_usable() && plan.max_in_flight.is_none_or(|max| backend.in_flight() < max)
        })
    }

    /// A request to this backend went well.
    pub fn succeeded(&self, index: usize, trial: bool, now: Now) {
        let Some(backend) = self.backends.get(index) else { return };
        if !trial && !backend.is_failing() {
            return;
        }
        let back = {
            let mut ejection = self.ejection.lock();
            let Some(ejection) = ejection.as_mut() else { return };
            let back = ejection.succeeded(index, trial, now);
            backend.set_failing(ejection.is_ejected(index));
            self.note_trial(ejection);
            back
        };
        if back {
            tracing::info!(upstream = %self.plan.name, backend = %backend.name, "backend is back: its trial went well");
            self.bring_back(index, Out::Ejected, now);
        }
    }

    /// A request to this backend failed by the backend's fault.
    pub fn failed(&self, index: usize, trial: bool, now: Now) {
        let Some(backend) = self.backends.get(index) else { return };
        let ejected = {
            let mut ejection = self.ejection.lock();
            let Some(ejection) = ejection.as_mut() else { return };
            backend.set_failing(true);
            let ejected = ejection.failed(index, trial, now);
            self.note_trial(ejection);
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
                self.bring_back(index, Out::Down, now);
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
        self.bring_back(index, Out::Suspect, now);
    }

    /// What a backend failed at before it was gone is not held against it when it is back.
    fn pardon(&self, index: usize, now: Now) {
        let Some(backend) = self.backends.get(index) else { return };
        let was_out = {
            let mut ejection = self.ejection.lock();
            let Some(ejection) = ejection.as_mut() else { return };
            let was_out = ejection.pardon(index, now);
            backend.set_failing(false);
            self.note_trial(ejection);
            was_out
        };
        if was_out {
            self.bring_back(index, Out::Ejected, now);
        }
    }

    fn take_out(&self, index: usize, reason: Out) {
        if self.backends.get(index).is_some_and(|backend| backend.take_out(reason)) {
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn bring_back(&self, index: usize, reason: Out, now: Now) {
        let Some(backend) = self.backends.get(index) else { return };
        if backend.bring_back(reason, now.mono) {
            self.release_trial(index, now);
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
