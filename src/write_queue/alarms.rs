//! Reports the state of queued writes to the event log: a route's writes fail, they succeed again, a write became a
//! dead letter, a dead letter was dropped.

use std::collections::HashMap;
use std::time::Duration;

use policy::write::alarm::{Alarm, Alert, Batch, Batches};
use policy::write::outcome::Reason;
use policy::write::queue::Bound;

use super::queue::WriteQueue;

/// The alarms of all routes.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// Routes whose alarm is not in its initial state.
    routes: HashMap<Box<str>, RouteAlarms>,
    dropped: Batches,
}

#[derive(Debug, Default)]
struct RouteAlarms {
    alarm: Alarm,
    /// Why the last attempt failed.
    why: Option<Box<str>>,
}

/// A write that became a dead letter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    pub(super) seq: u64,
    pub(super) status: Option<u16>,
    pub(super) reason: Reason,
}

impl Alarms {
    /// Records that a backend has responded to an attempt to send a write of this route.
    pub(super) fn reached(&mut self, route: &str) {
        if let Some(watched) = self.routes.get_mut(route) {
            watched.alarm.reached();
        }
    }

    /// Records a failed attempt.
    pub(super) fn failed(&mut self, route: &str, why: Box<str>) {
        self.watch(route).why = Some(why);
    }

    /// Reports a dead letter of this route.
    pub(super) fn add_dead_letter(&mut self, route: &str, death: Death, now: Duration) {
        let Death { seq, status, reason } = death;
        let response = status.map_or_else(|| "no response".to_owned(), |status| format!("status {status}"));
        if self.watch(route).alarm.add_dead_letter(seq, now) {
            tracing::warn!("journal: write {seq} of route {route} is a dead letter: {reason} ({response})");
        } else {
            tracing::debug!("journal: write {seq} of route {route} is a dead letter: {reason} ({response})");
        }
    }

    /// Reports a dead letter of this route that was dropped.
    pub(super) fn dropped(&mut self, route: &str, seq: u64, bound: Bound, now: Duration) {
        let why = match bound {
            Bound::Age => "dead_letters.keep has passed",
            Bound::Bytes => "all take more than dead_letters.bytes_max",
            Bound::Count => "there are more than dead_letters.count_max",
        };
        if self.dropped.add(seq, now) {
            tracing::warn!("journal: dead letter {seq} of route {route} was dropped: {why}");
        } else {
            tracing::debug!("journal: dead letter {seq} of route {route} was dropped: {why}");
        }
    }

    fn watch(&mut self, route: &str) -> &mut RouteAlarms {
        if !self.routes.contains_key(route) {
            self.routes.insert(route.into(), RouteAlarms::default());
        }
        self.routes.entry(route.into()).or_default()
    }

    /// Evaluates the alarms of all routes and reports the events.
    pub(super) fn look(&mut self, write_queue: &WriteQueue, now: Duration) {
        let mut alerts: Vec<(Box<str>, Alert, usize)> = Vec::new();
        write_queue.each_route(|route, counts| {
            if counts.stuck == 0 && !self.routes.contains_key(route) {
                return;
            }
            let watched = self.watch(route);
            alerts.extend(watched.alarm.look(counts.stuck, now).map(|alert| (route.into(), alert, counts.pending)));
            if counts.stuck == 0 && watched.alarm.is_quiet() {
                self.routes.remove(route);
            }
        });
        // Reports without holding the lock that all writes need.
        for (route, alert, pending) in alerts {
            self.report(&route, alert, pending);
        }
        if let Some(Batch { count, last }) = self.dropped.due_batch(now) {
            tracing::warn!("journal: {count} more dead letters were dropped, the last is {last}");
        }
    }

    fn report(&self, route: &str, alert: Alert, pending: usize) {
        match alert {
            Alert::Failing => {
                let why = self.routes.get(route).and_then(|watched| watched.why.as_deref());
                let why = why.unwrap_or("no backend is up");
                tracing::warn!(
                    "journal: writes of route {route} don't reach their backend: {why}; {pending} are pending"
                );
            }
            Alert::Recovered => {
                tracing::info!("journal: writes of route {route} reach their backend again; {pending} are pending");
            }
            Alert::Dead(Batch { count, last }) => {
                tracing::warn!("journal: {count} more writes of route {route} are dead letters, the last is {last}");
            }
        }
    }
}
