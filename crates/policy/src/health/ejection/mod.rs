//! Outlier ejection: takes backends out of use according to the results of real requests.
//!
//! One state machine holds all backends of an upstream, because the limit on simultaneous ejections applies to all of
//! them. A backend with too many failures in a row is ejected. When its time is over it receives one request as a
//! trial, and only the outcome of the trial decides whether it returns. The caller decides what counts as a failure.

mod rules;

use std::time::Duration;

pub use rules::Rules;

use crate::time::Now;

/// An ejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejected {
    /// When its trial is due, on the monotonic clock.
    pub until: Duration,
    /// Its ordinal among ejections in close succession, from 1; stops at the first that lasts `max_time`.
    pub times: u32,
}

/// The state of one backend.
#[derive(Clone, Copy, Debug)]
enum BackendPhase {
    /// In use since this time.
    In { failures: u32, since: Duration },
    /// Ejected. A trial is due at `due`. `on_trial`: a trial is in progress, and another one is due at `due` if it has
    /// no outcome by then.
    Out { due: Duration, on_trial: bool },
}

#[derive(Clone, Copy, Debug)]
struct BackendRecord {
    place: BackendPhase,
    /// Ejections in close succession that still count.
    times: u32,
}

impl BackendRecord {
    const FRESH: Self = Self { place: BackendPhase::In { failures: 0, since: Duration::ZERO }, times: 0 };

    fn due(&self) -> Option<Duration> {
        match self.place {
            BackendPhase::In { .. } => None,
            BackendPhase::Out { due, .. } => Some(due),
        }
    }
}

/// The ejection state of an upstream's backends.
#[derive(Clone, Debug)]
pub struct Ejection {
    rules: Rules,
    records: Vec<BackendRecord>,
    ejected: usize,
    /// The earliest due trial, kept so that [`Self::trial`] costs nothing before.
    next_trial: Option<Duration>,
}

impl Ejection {
    /// The state with all `count` backends in use.
    #[must_use]
    pub fn new(rules: Rules, count: usize) -> Self {
        Self { rules, records: vec![BackendRecord::FRESH; count], ejected: 0, next_trial: None }
    }

    /// The state after a reload. `mapping` has the old index of each new backend, `None` if the backend is new.
    /// Ejections are kept. If the new rules allow fewer, those that end first end now.
    #[must_use]
    pub fn carry(&self, mapping: &[Option<usize>], rules: Rules) -> Self {
        let old = |index: &Option<usize>| index.and_then(|index| self.records.get(index)).copied();
        let mut records: Vec<BackendRecord> =
            mapping.iter().map(|index| old(index).unwrap_or(BackendRecord::FRESH)).collect();
        let allowed = rules.ejected_max(records.len());
        let mut out: Vec<&mut BackendRecord> = records.iter_mut().filter(|record| record.due().is_some()).collect();
        out.sort_by_key(|record| record.due());
        let ejected = out.len().min(allowed);
        let excess = out.len() - ejected;
        for record in out.into_iter().take(excess) {
            // The old due time lies in the future: counting from it removes earlier ejections late rather than early.
            let since = record.due().unwrap_or_default();
            record.place = BackendPhase::In { failures: 0, since };
        }
        let mut carried = Self { rules, records, ejected, next_trial: None };
        carried.schedule();
        carried
    }

    /// Whether the backend is ejected: it receives no request but its trial.
    #[must_use]
    pub fn is_ejected(&self, index: usize) -> bool {
        self.records.get(index).is_some_and(|record| record.due().is_some())
    }

    /// The number of ejected backends.
    #[must_use]
    pub fn ejected(&self) -> usize {
        self.ejected
    }

    /// Records a failed request; `trial`: it was the backend's trial. Returns the ejection that it causes.
    ///
    /// A failed trial ejects again, for twice as long. Two failures are ignored: that of a request sent before the
    /// ejection, and that of a trial that was given up for another one that has an outcome.
    pub fn failed(&mut self, index: usize, trial: bool, now: Now) -> Option<Ejected> {
        let has_room = self.ejected < self.rules.ejected_max(self.records.len());
        let rules = self.rules;
        let record = self.records.get_mut(index)?;
        match &mut record.place {
            BackendPhase::In { failures, since } => {
                *failures = failures.saturating_add(1);
                if *failures < rules.consecutive_failures || !has_room {
                    return None;
                }
                record.times = rules.remembered(record.times, now.mono.saturating_sub(*since));
                self.ejected += 1;
            }
            BackendPhase::Out { on_trial, .. } if !(trial && *on_trial) => return None,
            BackendPhase::Out { .. } => {}
        }
        record.times = rules.next_times(record.times);
        let ejected = Ejected { until: now.mono.saturating_add(rules.time(record.times)), times: record.times };
        record.place = BackendPhase::Out { due: ejected.until, on_trial: false };
        self.schedule();
        Some(ejected)
    }

    /// Records a successful request; `trial`: it was the backend's trial. Returns whether the backend is back in use.
    ///
    /// The success of a request sent before the ejection does not end it.
    pub fn succeeded(&mut self, index: usize, trial: bool, now: Now) -> bool {
        let Some(record) = self.records.get_mut(index) else { return false };
        match &mut record.place {
            BackendPhase::In { failures, .. } => {
                *failures = 0;
                false
            }
            BackendPhase::Out { on_trial, .. } if !(trial && *on_trial) => false,
            BackendPhase::Out { .. } => {
                record.place = BackendPhase::In { failures: 0, since: now.mono };
                self.ejected -= 1;
                self.schedule();
                true
            }
        }
    }

    /// Claims the trial that is longest overdue. The caller sends one request to that backend and reports it with
    /// `trial` set.
    ///
    /// If no outcome is reported (the client left), another trial may be claimed after `base_time`.
    pub fn trial(&mut self, now: Now) -> Option<usize> {
        if self.next_trial.is_none_or(|due| due > now.mono) {
            return None;
        }
        let due = |record: &mut BackendRecord| record.due().filter(|due| *due <= now.mono);
        let overdue = self.records.iter_mut().enumerate();
        let (_, index, record) = overdue
            .filter_map(|(index, record)| due(record).map(|due| (due, index, record)))
            .min_by_key(|(due, index, _)| (*due, *index))?;
        record.place = BackendPhase::Out { due: now.mono.saturating_add(self.rules.base_time), on_trial: true };
        self.schedule();
        Some(index)
    }

    /// Returns a claimed trial whose request was not sent (the backend was full, or down by its probes). It may be
    /// claimed again at once.
    pub fn release(&mut self, index: usize, now: Now) {
        if let Some(record) = self.records.get_mut(index)
            && let BackendPhase::Out { due, on_trial } = &mut record.place
            && *on_trial
        {
            (*due, *on_trial) = (now.mono, false);
            self.schedule();
        }
    }

    /// Resets a backend that was down and has returned, since it is a new process. Returns whether it was ejected.
    pub fn pardon(&mut self, index: usize, now: Now) -> bool {
        let Some(record) = self.records.get_mut(index) else { return false };
        let was_out = record.due().is_some();
        *record = BackendRecord { place: BackendPhase::In { failures: 0, since: now.mono }, times: 0 };
        self.ejected -= usize::from(was_out);
        self.schedule();
        was_out
    }

    /// When the next trial is due on the monotonic clock, which may be in the past. `None`: no backend is ejected.
    #[must_use]
    pub fn next_trial(&self) -> Option<Duration> {
        self.next_trial
    }

    fn schedule(&mut self) {
        self.next_trial = self.records.iter().filter_map(BackendRecord::due).min();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules {
        consecutive_failures: 3,
        base_time: Duration::from_secs(10),
        max_time: Duration::from_secs(60),
        percent_max: 50,
    };

    fn at(secs: u64) -> Now {
        Now::at(Duration::from_secs(secs))
    }

    fn out(secs: u64, times: u32) -> Option<Ejected> {
        Some(Ejected { until: Duration::from_secs(secs), times })
    }

    /// Records as many failures as an ejection takes, at one time.
    fn eject(ejection: &mut Ejection, index: usize, now: Now) -> Option<Ejected> {
        (0..RULES.consecutive_failures).find_map(|_| ejection.failed(index, false, now))
    }

    /// A state in which backend 0 was ejected at 0 s and returned at 10 s.
    fn back_at_ten() -> Ejection {
        let mut ejection = Ejection::new(RULES, 2);
        eject(&mut ejection, 0, at(0));
        assert_eq!(ejection.trial(at(10)), Some(0));
        assert!(ejection.succeeded(0, true, at(10)));
        ejection
    }

    #[test]
    fn failures_in_a_row_eject() {
        let mut ejection = Ejection::new(RULES, 2);
        assert_eq!(ejection.failed(0, false, at(1)), None);
        assert_eq!(ejection.failed(0, false, at(1)), None);
        assert_eq!(ejection.failed(0, false, at(2)), out(12, 1));
        assert!(ejection.is_ejected(0));
        assert!(!ejection.is_ejected(1));
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let mut ejection = Ejection::new(RULES, 2);
        for _ in 0..10 {
            assert_eq!(ejection.failed(0, false, at(0)), None);
            assert_eq!(ejection.failed(0, false, at(0)), None);
            assert!(!ejection.succeeded(0, false, at(0)));
        }
    }

    #[test]
    fn a_lone_backend_is_never_ejected() {
        assert_eq!(eject(&mut Ejection::new(RULES, 1), 0, at(0)), None);
        assert_eq!(eject(&mut Ejection::new(Rules { percent_max: 100, ..RULES }, 1), 0, at(0)), None);
    }

    #[test]
    fn no_more_than_the_allowed_share_is_out_and_the_next_follows_when_one_is_back() {
        let mut ejection = Ejection::new(RULES, 4);
        assert!(eject(&mut ejection, 0, at(0)).is_some());
        assert!(eject(&mut ejection, 1, at(1)).is_some());
        assert_eq!(eject(&mut ejection, 2, at(2)), None);
        assert_eq!(ejection.trial(at(10)), Some(0));
        assert!(ejection.succeeded(0, true, at(10)));
        assert_eq!(ejection.failed(2, false, at(11)), out(21, 1), "its failures were counted all along");
    }

    #[test]
    fn with_no_failures_allowed_for_ejection_is_off() {
        let mut ejection = Ejection::new(Rules { consecutive_failures: 0, ..RULES }, 5);
        assert!((0..100).all(|_| ejection.failed(0, false, at(0)).is_none()));
    }

    #[test]
    fn when_the_time_is_over_one_request_is_the_trial() {
        let mut ejection = Ejection::new(RULES, 2);
        eject(&mut ejection, 0, at(0));
        assert_eq!(ejection.next_trial(), Some(Duration::from_secs(10)));
        assert_eq!(ejection.trial(at(9)), None);
        assert_eq!(ejection.trial(at(10)), Some(0));
        assert_eq!(ejection.trial(at(10)), None);
        assert!(ejection.is_ejected(0));
        assert!(ejection.succeeded(0, true, at(11)));
        assert!(!ejection.is_ejected(0));
        assert_eq!(ejection.next_trial(), None);
    }

    #[test]
    fn a_failed_trial_ejects_for_twice_as_long_up_to_the_limit() {
        let mut ejection = Ejection::new(RULES, 2);
        let mut ejected = eject(&mut ejection, 0, at(0)).expect("three failures");
        let mut times = Vec::new();
        for _ in 0..6 {
            let now = Now::at(ejected.until);
            assert_eq!(ejection.trial(now), Some(0));
            ejected = ejection.failed(0, true, now).expect("a failed trial");
            times.push(((ejected.until - now.mono).as_secs(), ejected.times));
        }
        assert_eq!(times, [(20, 2), (40, 3), (60, 4), (60, 4), (60, 4), (60, 4)]);
    }

    #[test]
    fn a_straggling_success_does_not_end_an_ejection() {
        let mut ejection = Ejection::new(RULES, 2);
        eject(&mut ejection, 0, at(0));
        assert!(!ejection.succeeded(0, false, at(1)));
        assert_eq!(ejection.trial(at(10)), Some(0));
        assert!(!ejection.succeeded(0, false, at(11)));
        assert!(ejection.is_ejected(0));
    }

    #[test]
    fn a_straggling_failure_does_not_prolong_an_ejection() {
        let mut ejection = Ejection::new(RULES, 2);
        eject(&mut ejection, 0, at(0));
        assert_eq!(eject(&mut ejection, 0, at(9)), None);
        assert_eq!(ejection.trial(at(10)), Some(0));
        assert_eq!(eject(&mut ejection, 0, at(10)), None);
        assert!(ejection.succeeded(0, true, at(10)));
    }

    #[test]
    fn a_trial_without_an_outcome_may_be_claimed_again_after_the_base_time() {
        let mut ejection = Ejection::new(RULES, 2);
        eject(&mut ejection, 0, at(0));
        assert_eq!(ejection.trial(at(15)), Some(0));
        assert_eq!(ejection.next_trial(), Some(Duration::from_secs(25)));
        assert_eq!(ejection.trial(at(24)), None);
        assert_eq!(ejection.trial(at(25)), Some(0));
        assert!(ejection.succeeded(0, true, at(26)));
    }

    #[test]
    fn a_trial_reported_after_another_has_failed_is_ignored() {
        let mut ejection = Ejection::new(RULES, 2);
        eject(&mut ejection, 0, at(0));
        ejection.trial(at(10));
        ejection.trial(at(20));
        assert_eq!(ejection.failed(0, true, at(21)), out(41, 2));
        assert!(!ejection.succeeded(0, true, at(22)));
        assert_eq!(ejection.failed(0, true, at(22)), None);
    }

    #[test]
    fn a_trial_given_back_may_be_claimed_at_once() {
        let mut ejection = Ejection::new(RULES, 2);
        eject(&mut ejection, 0, at(0));
        assert_eq!(ejection.trial(at(10)), Some(0));
        ejection.release(0, at(11));
        assert_eq!(ejection.next_trial(), Some(Duration::from_secs(11)));
        assert_eq!(ejection.trial(at(11)), Some(0));
        ejection.release(1, at(11));
        assert!(!ejection.is_ejected(1));
    }

    #[test]
    fn an_untried_ejection_cannot_be_given_back_before_its_time() {
        let mut ejection = Ejection::new(RULES, 2);
        eject(&mut ejection, 0, at(0));
        ejection.release(0, at(1));
        assert_eq!(ejection.trial(at(1)), None);
    }

    #[test]
    fn the_longest_overdue_is_tried_first() {
        let mut ejection = Ejection::new(RULES, 4);
        eject(&mut ejection, 3, at(0));
        eject(&mut ejection, 1, at(1));
        assert_eq!(ejection.trial(at(30)), Some(3));
        assert_eq!(ejection.trial(at(30)), Some(1));
        assert_eq!(ejection.trial(at(30)), None);
    }

    #[test]
    fn ejections_in_close_succession_double() {
        let mut ejection = back_at_ten();
        assert_eq!(eject(&mut ejection, 0, at(19)), out(39, 2));
    }

    #[test]
    fn staying_in_for_the_ejection_time_is_forgiven_whatever_single_failures() {
        let mut ejection = back_at_ten();
        ejection.failed(0, false, at(19));
        ejection.succeeded(0, false, at(19));
        assert_eq!(eject(&mut ejection, 0, at(20)), out(30, 1));
    }

    #[test]
    fn a_reload_keeps_ejections_by_old_index() {
        let mut ejection = Ejection::new(RULES, 2);
        eject(&mut ejection, 0, at(0));
        let mut carried = ejection.carry(&[None, Some(0), Some(1), Some(99)], RULES);
        assert_eq!([0, 1, 2, 3].map(|index| carried.is_ejected(index)), [false, true, false, false]);
        assert_eq!(carried.trial(at(10)), Some(1));
        assert_eq!(carried.failed(1, true, at(10)), out(30, 2));
    }

    #[test]
    fn a_reload_ends_ejections_that_the_new_rules_do_not_allow() {
        let mut ejection = Ejection::new(RULES, 4);
        eject(&mut ejection, 0, at(5));
        eject(&mut ejection, 1, at(0));
        let same = [Some(0), Some(1), Some(2), Some(3)];
        let fewer = ejection.carry(&same, Rules { percent_max: 25, ..RULES });
        assert_eq!([0, 1].map(|index| fewer.is_ejected(index)), [true, false]);
        assert_eq!(fewer.ejected(), 1);
        assert_eq!(ejection.carry(&same, Rules { consecutive_failures: 0, ..RULES }).ejected(), 0);
        assert_eq!(ejection.carry(&[Some(0)], RULES).ejected(), 0);
    }

    #[test]
    fn unknown_backends_are_ignored() {
        let mut ejection = Ejection::new(RULES, 2);
        assert_eq!(ejection.failed(7, false, at(0)), None);
        assert!(!ejection.succeeded(7, true, at(0)));
        assert!(!ejection.is_ejected(7));
        ejection.release(7, at(0));
    }

    #[test]
    fn times_of_zero_and_of_eternity_do_not_hang_or_overflow() {
        for (base_time, max_time) in
            [(Duration::ZERO, Duration::MAX), (Duration::MAX, Duration::MAX), (Duration::MAX, Duration::ZERO)]
        {
            let mut ejection = Ejection::new(Rules { base_time, max_time, ..RULES }, 2);
            for step in 0..100 {
                eject(&mut ejection, 0, at(step));
                if ejection.trial(at(step)).is_some() && !ejection.succeeded(0, step % 2 == 0, at(step)) {
                    ejection.failed(0, true, at(step));
                }
            }
        }
    }

    /// An event of an upstream. A later event reports a claimed trial, or none does.
    #[derive(Clone, Debug)]
    enum Event {
        Pass(u64),
        Failed(usize),
        Succeeded(usize),
        Lease,
        TrialFailed,
        TrialSucceeded,
        Pardoned(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            2 => (0_u64..30).prop_map(Event::Pass),
            6 => (0_usize..8).prop_map(Event::Failed),
            1 => (0_usize..8).prop_map(Event::Succeeded),
            2 => Just(Event::Lease),
            1 => Just(Event::TrialFailed),
            1 => Just(Event::TrialSucceeded),
            1 => (0_usize..8).prop_map(Event::Pardoned),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_the_share_holds_and_everybody_out_has_a_trial_coming(
            count in 1_usize..8,
            percent_max in 0_u32..=100,
            events in prop::collection::vec(event(), 0..300),
        ) {
            let mut ejection = Ejection::new(Rules { percent_max, ..RULES }, count);
            let (mut secs, mut claimed) = (0, None);
            let allowed = if count < 2 { 0 } else { (count * percent_max as usize / 100).max(1) };
            for event in events {
                let now = at(secs);
                match event {
                    Event::Pass(more) => secs += more,
                    Event::Failed(index) => {
                        let was_out = ejection.is_ejected(index);
                        let ejected = ejection.failed(index, false, now);
                        prop_assert!(!(was_out && ejected.is_some()));
                    }
                    Event::Succeeded(index) => prop_assert!(!ejection.succeeded(index, false, now)),
                    Event::Lease => {
                        let due = ejection.next_trial().is_some_and(|due| due <= now.mono);
                        claimed = ejection.trial(now);
                        prop_assert_eq!(claimed.is_some(), due);
                        prop_assert!(claimed.is_none_or(|index| ejection.is_ejected(index)));
                    }
                    Event::TrialFailed => {
                        if let Some(index) = claimed.take() {
                            let ejected = ejection.failed(index, true, now).expect("a trial was claimed");
                            prop_assert!(ejected.until <= now.mono + RULES.max_time);
                        }
                    }
                    Event::Pardoned(index) => {
                        let was_out = ejection.is_ejected(index);
                        prop_assert_eq!(ejection.pardon(index, now), was_out);
                        claimed = claimed.filter(|claimed| *claimed != index);
                    }
                    Event::TrialSucceeded => {
                        if let Some(index) = claimed.take() {
                            prop_assert!(ejection.succeeded(index, true, now));
                        }
                    }
                }
                let out = (0..count).filter(|index| ejection.is_ejected(*index)).count();
                prop_assert_eq!(out, ejection.ejected());
                prop_assert!(out <= allowed);
                prop_assert_eq!(ejection.next_trial().is_some(), out > 0);
            }
            // One day later every backend can return.
            let later = at(secs + 86_400);
            while let Some(index) = ejection.trial(later) {
                prop_assert!(ejection.succeeded(index, true, later));
            }
            prop_assert_eq!(ejection.ejected(), 0);
        }
    }
}
