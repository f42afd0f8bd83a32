//! What the event log is told of writes on their way to their backends: that a route's writes fail, that they do no
//! more, which have become dead letters, and which of these were dropped.

use std::collections::HashMap;
use std::time::Duration;

use policy::write::alarm::{Alarm, Gathered, Groups, News};
use policy::write::outcome::Reason;
use policy::write::queue::Bound;

use super::queue::WriteQueue;

/// The alarms of all routes.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// Of routes that there is something to remember of.
    routes: HashMap<Box<str>, Watched>,
    dropped: Groups,
}

#[derive(Debug, Default)]
struct Watched {
    alarm: Alarm,
    /// Why the last attempt failed.
    why: Option<Box<str>>,
}

/// A write that has been given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    pub(super) seq: u64,
    pub(super) status: Option<u16>,
    pub(super) reason: Reason,
}

impl Alarms {
    /// An attempt to send a write of this route has been answered.
    pub(super) fn reached(&mut self, route: &str) {
        if let Some(watched) = self.routes.get_mut(route) {
            watched.alarm.reached();
        }
    }

    /// One has failed.
    pub(super) fn failed(&mut self, route: &str, why: Box<str>) {
        self.watch(route).why = Some(why);
    }

    /// A write of this route is a dead letter.
    pub(super) fn died(&mut self, route: &str, death: Death, now: Duration) {
        let Death { seq, status, reason } = death;
        let told = status.map_or_else(|| "no answer".to_owned(), |status| format!("status {status}"));
        if self.watch(route).alarm.died(seq, now) {
            tracing::warn!("journal: write {seq} of route {route} is a dead letter: {reason} ({told})");
        } else {
            tracing::debug!("journal: write {seq} of route {route} is a dead letter: {reason} ({told})");
        }
    }

    /// A dead letter of this route was dropped.
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

    fn watch(&mut self, route: &str) -> &mut Watched {
        if !self.routes.contains_key(route) {
            self.routes.insert(route.into(), Watched::default());
        }
        self.routes.entry(route.into()).or_default()
    }

    /// Looks at all routes, and tells what there is to tell.
    pub(super) fn look(&mut self, desk: &WriteQueue, now: Duration) {
        let mut news: Vec<(Box<str>, News, usize)> = Vec::new();
        desk.each_route(|route, counts| {
            if counts.stuck == 0 && !self.routes.contains_key(route) {
                return;
            }
            let watched = self.watch(route);
            news.extend(watched.alarm.look(counts.stuck, now).map(|new| (route.into(), new, counts.pending)));
            if counts.stuck == 0 && watched.alarm.is_quiet() {
                self.routes.remove(route);
            }
        });
        // Without the lock that all writes need.
        for (route, news, pending) in news {
            self.tell(&route, news, pending);
        }
        if let Some(Gathered { count, last }) = self.dropped.gathered(now) {
            tracing::warn!("journal: {count} more dead letters were dropped, the last is {last}");
        }
    }

    fn tell(&self, route: &str, news: News, pending: usize) {
        match news {
            News::Failing => {
                let why = self.routes.get(route).and_then(|watched| watched.why.as_deref());
                let why = why.unwrap_or("no backend is up");
                tracing::warn!(
                    "journal: writes of route {route} don't reach their backend: {why}; {pending} are pending"
                );
            }
            News::Recovered => {
                tracing::info!("journal: writes of route {route} reach their backend again; {pending} are pending");
            }
            News::Dead(Gathered { count, last }) => {
                tracing::warn!("journal: {count} more writes of route {route} are dead letters, the last is {last}");
            }
        }
    }
}
