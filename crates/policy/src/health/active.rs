//! Active health checks: counts the results of probes.
//!
//! When a probe is sent, and what counts as success, are decided elsewhere.

/// The health of a backend according to its probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckVerdict {
    /// No result yet. The backend is usable, so that a start does not wait for the first probes.
    #[default]
    Unknown,
    /// Usable.
    Up,
    /// Not usable.
    Down,
}

impl CheckVerdict {
    /// Whether requests may go to the backend.
    #[must_use]
    pub fn is_usable(self) -> bool {
        match self {
            Self::Unknown | Self::Up => true,
            Self::Down => false,
        }
    }
}

/// The health check of one backend: `fall` failures in a row mark it down, `rise` successes in a row mark it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    rise: u32,
    fall: u32,
    verdict: CheckVerdict,
    /// Consecutive results that contradict the verdict.
    against: u32,
}

impl Checks {
    /// `rise` successes in a row bring a backend up, `fall` failures take it down. 0 counts as 1.
    #[must_use]
    pub fn new(rise: u32, fall: u32) -> Self {
        Self { rise: rise.max(1), fall: fall.max(1), verdict: CheckVerdict::Unknown, against: 0 }
    }

    /// The check of the same backend after a reload: the verdict is kept, the count restarts.
    #[must_use]
    pub fn carry(&self, rise: u32, fall: u32) -> Self {
        Self { verdict: self.verdict, ..Self::new(rise, fall) }
    }

    /// The current verdict.
    #[must_use]
    pub fn verdict(&self) -> CheckVerdict {
        self.verdict
    }

    /// Records the result of a probe. Returns the new verdict if it has changed.
    ///
    /// The first success marks a backend without a verdict up.
    pub fn observe(&mut self, passed: bool) -> Option<CheckVerdict> {
        let (other, needed) = match self.verdict {
            CheckVerdict::Unknown if passed => (CheckVerdict::Up, 1),
            CheckVerdict::Down => (CheckVerdict::Up, self.rise),
            CheckVerdict::Unknown | CheckVerdict::Up => (CheckVerdict::Down, self.fall),
        };
        if passed != (other == CheckVerdict::Up) {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against >= needed { self.turn(other) } else { None }
    }

    /// Records that a request could not connect, which counts as `fall` failed probes. Returns the new verdict if it
    /// has changed.
    pub fn suspect(&mut self) -> Option<CheckVerdict> {
        self.against = 0;
        if self.verdict == CheckVerdict::Down { None } else { self.turn(CheckVerdict::Down) }
    }

    fn turn(&mut self, verdict: CheckVerdict) -> Option<CheckVerdict> {
        self.verdict = verdict;
        self.against = 0;
        Some(verdict)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(rise: u32, fall: u32, outcomes: &[bool]) -> Checks {
        let mut checks = Checks::new(rise, fall);
        for passed in outcomes {
            checks.observe(*passed);
        }
        checks
    }

    #[test]
    fn a_new_backend_is_usable_before_its_first_check() {
        assert!(Checks::new(2, 3).verdict().is_usable());
    }

    #[test]
    fn the_first_pass_brings_a_new_backend_up() {
        assert_eq!(Checks::new(5, 3).observe(true), Some(CheckVerdict::Up));
        assert_eq!(after(5, 3, &[false, false]).observe(true), Some(CheckVerdict::Up));
    }

    #[test]
    fn a_new_backend_stays_usable_until_enough_checks_fail() {
        assert_eq!(after(2, 3, &[false, false]).verdict(), CheckVerdict::Unknown);
        assert_eq!(after(2, 3, &[false, false]).observe(false), Some(CheckVerdict::Down));
    }

    #[test]
    fn a_pass_in_between_starts_the_count_of_failures_anew() {
        assert_eq!(after(2, 3, &[true, false, false, true, false, false]).verdict(), CheckVerdict::Up);
    }

    #[test]
    fn a_failure_in_between_starts_the_count_of_passes_anew() {
        let checks = after(2, 1, &[false, true, false, true]);
        assert_eq!(checks.verdict(), CheckVerdict::Down);
        assert_eq!(checks.clone().observe(true), Some(CheckVerdict::Up));
    }

    #[test]
    fn a_failed_connect_takes_a_backend_down_at_once_and_it_needs_all_passes_to_return() {
        let mut checks = after(2, 3, &[true]);
        assert_eq!(checks.suspect(), Some(CheckVerdict::Down));
        assert_eq!(checks.observe(true), None);
        assert_eq!(checks.suspect(), None);
        assert_eq!(checks.observe(true), None);
        assert_eq!(checks.observe(true), Some(CheckVerdict::Up));
    }

    #[test]
    fn a_reload_keeps_the_verdict() {
        let carried = after(2, 1, &[false, true]).carry(1, 9);
        assert_eq!(carried.verdict(), CheckVerdict::Down);
        assert_eq!(carried.clone().observe(true), Some(CheckVerdict::Up));
    }

    #[test]
    fn limits_of_zero_count_as_one() {
        assert_eq!(Checks::new(0, 0).observe(false), Some(CheckVerdict::Down));
    }

    proptest! {
        #[test]
        fn a_verdict_is_what_the_latest_long_enough_run_says(
            rise in 1_u32..5,
            fall in 1_u32..5,
            outcomes in prop::collection::vec(any::<bool>(), 0..60),
        ) {
            let (mut verdict, mut passes, mut failures) = (CheckVerdict::Unknown, 0, 0);
            let mut checks = Checks::new(rise, fall);
            for passed in outcomes {
                (passes, failures) = if passed { (passes + 1, 0) } else { (0, failures + 1) };
                let before = verdict;
                if passes >= rise || passed && verdict == CheckVerdict::Unknown {
                    verdict = CheckVerdict::Up;
                } else if failures >= fall {
                    verdict = CheckVerdict::Down;
                }
                prop_assert_eq!(checks.observe(passed), (verdict != before).then_some(verdict));
                prop_assert_eq!(checks.verdict(), verdict);
            }
        }
    }
}
