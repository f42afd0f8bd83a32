//! When the event log is told that a route's queued writes don't reach their backend: once when that begins, once when
//! it is over, and of dead letters one by one or, when they come in numbers, in groups.

use std::time::Duration;

use super::queue::Seq;

/// How long nothing must fail before it counts as over. Attempts that fail and succeed in turn are one trouble.
const CALM: Duration = Duration::from_secs(10);
/// How long dead letters are gathered before they are told of together.
const GROUP: Duration = Duration::from_secs(10);

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Writes have begun to fail.
    Failing,
    /// They reach their backend again.
    Recovered,
    /// So many writes have become dead letters since they were last told of.
    Dead(Gathered),
}

/// The alarm of one route. Times are those of the clock that never jumps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alarm {
    trouble: Option<Trouble>,
    dead: Groups,
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// When something was stuck, most recently.
    stuck: Duration,
    /// Whether a write has reached its backend since then.
    is_reached: bool,
}

/// Writes that the same becomes of: told of one by one or, when they come in numbers, in groups.
#[derive(Clone, Copy, Debug, Default)]
pub struct Groups {
    group: Option<Group>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    until: Duration,
    count: u64,
    last: Seq,
}

/// Writes that are told of together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// How many.
    pub count: u64,
    /// The last of them.
    pub last: Seq,
}

impl Groups {
    /// One more. `true`: it is to be told of by itself; else it is of a group.
    #[must_use]
    pub fn add(&mut self, seq: Seq, now: Duration) -> bool {
        match &mut self.group {
            Some(group) => {
                group.count = group.count.saturating_add(1);
                group.last = seq;
                false
            }
            None => {
                self.group = Some(Group { until: now.saturating_add(GROUP), count: 0, last: seq });
                true
            }
        }
    }

    /// A group that is to be told of now. To be asked every second.
    #[must_use]
    pub fn gathered(&mut self, now: Duration) -> Option<Gathered> {
        let Group { until, count, last } = self.group?;
        if now < until {
            return None;
        }
        self.group = (count > 0).then(|| Group { until: now.saturating_add(GROUP), count: 0, last });
        (count > 0).then_some(Gathered { count, last })
    }
}

impl Alarm {
    /// A backend has answered, whatever it said.
    pub fn reached(&mut self) {
        if let Some(trouble) = &mut self.trouble {
            trouble.is_reached = true;
        }
    }

    /// A write has become a dead letter. `true`: it is to be told of by itself; else it is of a group.
    #[must_use]
    pub fn died(&mut self, seq: Seq, now: Duration) -> bool {
        self.dead.add(seq, now)
    }

    /// Looks at the route, of which so many lines are stuck. To be called when that may have changed, and every second.
    #[must_use]
    pub fn look(&mut self, stuck: usize, now: Duration) -> Option<News> {
        if let Some(dead) = self.dead.gathered(now) {
            return Some(News::Dead(dead));
        }
        match &mut self.trouble {
            None if stuck > 0 => {
                self.trouble = Some(Trouble { stuck: now, is_reached: false });
                Some(News::Failing)
            }
            Some(trouble) if stuck > 0 => {
                *trouble = Trouble { stuck: now, is_reached: false };
                None
            }
            Some(trouble) if trouble.is_reached && now >= trouble.stuck.saturating_add(CALM) => {
                self.trouble = None;
                Some(News::Recovered)
            }
            Some(_) | None => None,
        }
    }

    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.trouble.is_none() && self.dead.group.is_none()
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
        assert_eq!(alarm.look(3, at(1)), Some(News::Failing));
        assert_eq!(alarm.look(200, at(100)), None);
        alarm.reached();
        assert_eq!(alarm.look(0, at(101)), None);
        assert_eq!(alarm.look(0, at(110)), Some(News::Recovered));
        assert_eq!(alarm.look(0, at(111)), None);
        assert!(alarm.is_quiet());
    }

    #[test]
    fn what_fails_and_succeeds_in_turn_is_one_trouble() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.look(1, at(0)), Some(News::Failing));
        for now in 1..100 {
            alarm.reached();
            assert_eq!(alarm.look(usize::from(now % 9 == 0), at(now)), None, "{now}");
        }
    }

    #[test]
    fn that_nothing_is_left_to_fail_is_no_recovery() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.look(1, at(0)), Some(News::Failing));
        assert_eq!(alarm.look(0, at(1000)), None);
        alarm.reached();
        assert_eq!(alarm.look(0, at(1001)), Some(News::Recovered));
    }

    #[test]
    fn dead_letters_are_told_of_one_by_one_or_in_groups() {
        let mut alarm = Alarm::default();
        assert!(alarm.died(1, at(0)));
        assert_eq!(alarm.look(0, at(10)), None);
        assert!(alarm.is_quiet());
        assert!(alarm.died(2, at(20)));
        for seq in 3..100 {
            assert!(!alarm.died(seq, at(21)));
        }
        assert_eq!(alarm.look(0, at(29)), None);
        assert_eq!(alarm.look(0, at(30)), Some(News::Dead(Gathered { count: 97, last: 99 })));
        assert!(!alarm.died(100, at(31)));
        assert_eq!(alarm.look(0, at(40)), Some(News::Dead(Gathered { count: 1, last: 100 })));
        assert_eq!(alarm.look(0, at(50)), None);
        assert!(alarm.is_quiet());
    }
}
