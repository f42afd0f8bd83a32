//! Schedules the looks at a canary (interim analyses), and the risk of a false verdict that each may take.
//!
//! Repeated tests find a difference by chance sooner or later. So there are few looks: each requires a quarter more
//! requests than the one before. And they share the allowed risk: during a step each look takes a hundredth of it;
//! after the step the first look takes a half, the next a sixth, then a twelfth …, which adds up to the whole. Source:
//! alpha spending: Lan, DeMets, "Discrete sequential boundaries for clinical trials", 1983.

/// The canary's requests before the first look.
const EARLY_REQUESTS_MIN: u64 = 50;

/// A look during a step takes this fraction of the allowed risk: there are some forty of them in a step with half a
/// million requests.
const EARLY_PARTS: f64 = 100.0;

/// The looks of the current step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// The canary's requests at which the next look during the step is due.
    early_at: u64,
    /// The canary's requests at which the next look after the step is due.
    final_at: u64,
    /// The number of looks after the step.
    finals: u32,
}

impl Looks {
    /// Whether a look is due during a step, given the canary's requests; returns its fraction of the allowed risk.
    pub fn during(&mut self, requests: u64) -> Option<f64> {
        if requests < self.early_at.max(EARLY_REQUESTS_MIN) {
            return None;
        }
        self.early_at = a_quarter_more(requests);
        Some(1.0 / EARLY_PARTS)
    }

    /// The same for a step that has lasted long enough.
    pub fn after(&mut self, requests: u64) -> Option<f64> {
        if requests < self.final_at {
            return None;
        }
        self.final_at = a_quarter_more(requests);
        self.finals = self.finals.saturating_add(1);
        let look = f64::from(self.finals);
        Some(1.0 / (look * (look + 1.0)))
    }
}

fn a_quarter_more(requests: u64) -> u64 {
    requests.saturating_add((requests / 4).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_during_a_step_take_a_quarter_more_requests_each() {
        let mut looks = Looks::default();
        let at: Vec<u64> = (0..200).filter(|requests| looks.during(*requests).is_some()).collect();
        assert_eq!(at, [50, 62, 77, 96, 120, 150, 187]);
    }

    #[test]
    fn half_a_million_requests_are_looked_at_some_forty_times() {
        let mut looks = Looks::default();
        let risk: f64 = (0..500_000).filter_map(|requests| looks.during(requests)).sum();
        assert!((0.35..0.45).contains(&risk), "{risk}");
    }

    #[test]
    fn all_looks_after_a_step_together_are_wrong_no_more_often_than_allowed() {
        let mut looks = Looks::default();
        let risk: f64 = (0..).map_while(|n: u32| looks.after(2_u64.saturating_pow(n)).filter(|_| n < 60)).sum();
        assert!((0.98..1.0).contains(&risk), "{risk}");
    }

    #[test]
    fn the_first_look_after_a_step_is_at_its_end() {
        let mut looks = Looks::default();
        assert_eq!(looks.after(500), Some(0.5));
        assert_eq!(looks.after(624), None);
        assert_eq!(looks.after(625), Some(1.0 / 6.0));
    }
}
