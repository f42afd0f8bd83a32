//! When a canary is looked at, and how sure a verdict must be then.
//!
//! Who looks again and again finds something by chance sooner or later. So looks are few: each takes a quarter more
//! requests than the one before. And they share what the rules allow: while the step lasts, each look may be wrong
//! with a hundredth of it; once the step is over, the first with a half, the next with a sixth, then a twelfth …,
//! which adds up to the whole. Source: spending the error over looks: Lan, DeMets, "Discrete sequential boundaries
//! for clinical trials", 1983.

/// How many requests the canary must have had before the first look.
const EARLY_REQUESTS_MIN: u64 = 50;

/// A look before the end of a step may be wrong with one part in so many of what the rules allow: there are some forty
/// of them when a step has half a million requests.
const EARLY_PARTS: f64 = 100.0;

/// The looks of a step so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// How many requests the canary must have had for the next one during the step.
    early_at: u64,
    /// How many for the next one after.
    final_at: u64,
    /// How many there were after it.
    finals: u32,
}

impl Looks {
    /// Whether a canary that has had so many requests is looked at now, in the midst of a step, and then with which
    /// part of the risk that the rules allow.
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
