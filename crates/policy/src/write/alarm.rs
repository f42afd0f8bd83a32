//! Decides what the event log says about a route's queued writes: one event when they begin to fail, one when they
//! succeed again, and events about dead letters one by one or, if there are many, in batches.

use std::time::Duration;

use super::queue::Seq;

/// How long no write must fail before the route counts as recovered. Alternating failures and successes are one outage.
const CALM: Duration = Duration::from_secs(10);
/// How long dead letters are counted before one event reports them together.
const BATCH: Duration = Duration::from_secs(10);

/// An event about a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// Writes have begun to fail.
    Failing,
    /// Writes reach their backend again.
    Recovered,
    /// This many writes have become dead letters since the last report.
    Dead(Batch),
}

/// The alarm of one route. Times are monotonic.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alarm {
    outage: Option<Outage>,
    dead: Batches,
}

#[derive(Clone, Copy, Debug)]
struct Outage {
    /// When a queue was last stuck.
    stuck: Duration,
    /// Whether a write has reached its backend since then.
    is_reached: bool,
}

/// Limits events of one kind: the first write is reported by itself, those that follow soon after in a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batches {
    batch: Option<OpenBatch>,
}

#[derive(Clone, Copy, Debug)]
struct OpenBatch {
    until: Duration,
    count: u64,
    last: Seq,
}

/// Writes that are reported together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Their number.
    pub count: u64,
    /// The last of them.
    pub last: Seq,
}

impl Batches {
    /// Adds a write. `true`: report it by itself; `false`: it belongs to the next batch.
    #[must_use]
    pub fn add(&mut self, seq: Seq, now: Duration) -> bool {
        match &mut self.batch {
            Some(batch) => {
                batch.count = batch.count.saturating_add(1);
                batch.last = seq;
                false
            }
            None => {
                self.batch = Some(OpenBatch { until: now.saturating_add(BATCH), count: 0, last: seq });
                true
            }
        }
    }

    /// The batch that is due. Call it every second.
    #[must_use]
    pub fn due_batch(&mut self, now: Duration) -> Option<Batch> {
        let OpenBatch { until, count, last } = self.batch?;
        if now < until {
            return None;
        }
        self.batch = (count > 0).then(|| OpenBatch { until: now.saturating_add(BATCH), count: 0, last });
        (count > 0).then_some(Batch { count, last })
    }
}

impl Alarm {
    /// Records that a backend has responded, with any status.
    pub fn reached(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.is_reached = true;
        }
    }

    /// Records a dead letter. `true`: report it by itself; `false`: it belongs to the next batch.
    #[must_use]
    pub fn add_dead_letter(&mut self, seq: Seq, now: Duration) -> bool {
        self.dead.add(seq, now)
    }

    /// Evaluates the route, given the number of its stuck queues. Call it when that number may have changed, and every
    /// second.
    #[must_use]
    pub fn look(&mut self, stuck: usize, now: Duration) -> Option<Alert> {
        if let Some(dead) = self.dead.due_batch(now) {
            return Some(Alert::Dead(dead));
        }
        match &mut self.outage {
            None if stuck > 0 => {
                self.outage = Some(Outage { stuck: now, is_reached: false });
                Some(Alert::Failing)
            }
            Some(outage) if stuck > 0 => {
                *outage = Outage { stuck: now, is_reached: false };
                None
            }
            Some(outage) if outage.is_reached && now >= outage.stuck.saturating_add(CALM) => {
                self.outage = None;
                Some(Alert::Recovered)
            }
            Some(_) | None => None,
        }
    }

    /// Whether the alarm is in its initial state.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.outage.is_none() && self.dead.batch.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn trouble_is_told_of_once_and_once_when_it_is_over() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.look(0, at(0)), None);
        assert_eq!(alarm.look(3, at(1)), Some(Alert::Failing));
        assert_eq!(alarm.look(200, at(100)), None);
        alarm.reached();
        assert_eq!(alarm.look(0, at(101)), None);
        assert_eq!(alarm.look(0, at(110)), Some(Alert::Recovered));
        assert_eq!(alarm.look(0, at(111)), None);
        assert!(alarm.is_quiet());
    }

    #[test]
    fn what_fails_and_succeeds_in_turn_is_one_trouble() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.look(1, at(0)), Some(Alert::Failing));
        for now in 1..100 {
            alarm.reached();
            assert_eq!(alarm.look(usize::from(now % 9 == 0), at(now)), None, "{now}");
        }
    }

    #[test]
    fn that_nothing_is_left_to_fail_is_no_recovery() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.look(1, at(0)), Some(Alert::Failing));
        assert_eq!(alarm.look(0, at(1000)), None);
        alarm.reached();
        assert_eq!(alarm.look(0, at(1001)), Some(Alert::Recovered));
    }

    #[test]
    fn dead_letters_are_told_of_one_by_one_or_in_groups() {
        let mut alarm = Alarm::default();
        assert!(alarm.add_dead_letter(1, at(0)));
        assert_eq!(alarm.look(0, at(10)), None);
        assert!(alarm.is_quiet());
        assert!(alarm.add_dead_letter(2, at(20)));
        for seq in 3..100 {
            assert!(!alarm.add_dead_letter(seq, at(21)));
        }
        assert_eq!(alarm.look(0, at(29)), None);
        assert_eq!(alarm.look(0, at(30)), Some(Alert::Dead(Batch { count: 97, last: 99 })));
        assert!(!alarm.add_dead_letter(100, at(31)));
        assert_eq!(alarm.look(0, at(40)), Some(Alert::Dead(Batch { count: 1, last: 100 })));
        assert_eq!(alarm.look(0, at(50)), None);
        assert!(alarm.is_quiet());
    }
}
