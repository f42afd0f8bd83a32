//! Why a canary fails, or what it waits for, as text for operators.
//!
//! The text does not name the sides, because the output has the names next to it.

use std::fmt;
use std::time::Duration;

use super::evidence::{Evidence, Figures};

/// Why a canary fails; each with the observed and the allowed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Its error rate exceeds the stable side's.
    Errors {
        /// The canary.
        canary: Figures,
        /// The stable side.
        stable: Figures,
        /// The most percentage points of difference.
        increase_max: f64,
    },
    /// Its error rate has reached the ceiling.
    Ceiling {
        /// The canary.
        canary: Figures,
        /// The ceiling in percent.
        rate_max: f64,
    },
    /// Its 95th percentile exceeds the limit.
    Slow {
        /// The canary's 95th percentile.
        p95: Option<Duration>,
        /// The limit.
        p95_max: Duration,
    },
    /// Its responses differ from the stable side's.
    Mismatches {
        /// Compared responses.
        compared: u64,
        /// Compared responses that differed.
        mismatched: u64,
        /// The most percent that may differ.
        rate_max: f64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errors { canary, stable, increase_max } => {
                let (failed, others) = (Failed(canary), Percent(stable.error_rate()));
                write!(f, "{failed}, {others} of the others' (may be {} points more)", Digits(*increase_max))
            }
            Self::Ceiling { canary, rate_max } => {
                write!(f, "{}: more than {} ends it at once", Failed(canary), Percent(*rate_max))
            }
            Self::Slow { p95, p95_max } => {
                write!(f, "95th percentile {} (may be {})", Millis(*p95), Millis(Some(*p95_max)))
            }
            Self::Mismatches { compared, mismatched, rate_max } => {
                write!(f, "{mismatched} of {compared} compared answers differ (may be {})", Percent(*rate_max))
            }
        }
    }
}

/// What a canary waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Waiting {
    /// The step has not lasted long enough.
    Time {
        /// The remaining time.
        left: Duration,
    },
    /// The canary has not had enough requests.
    Requests {
        /// The requests it had.
        had: u64,
        /// The requests required.
        needed: u64,
    },
    /// The stable side has not had enough requests.
    OtherRequests {
        /// The requests it had.
        had: u64,
        /// The requests required.
        needed: u64,
    },
    /// The mirror has not compared enough responses.
    Comparisons {
        /// The comparisons made.
        had: u64,
        /// The comparisons required.
        needed: u64,
    },
    /// A limit is exceeded, but that may still be chance.
    Undecided(Reason),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time { left } => write!(f, "{} s of the step are left", left.as_millis().div_ceil(1000)),
            Self::Requests { had, needed } => write!(f, "{had} of {needed} requests"),
            Self::OtherRequests { had, needed } => write!(f, "{had} of {needed} requests on the others"),
            Self::Comparisons { had, needed } => write!(f, "{had} of {needed} compared answers"),
            Self::Undecided(reason) => write!(f, "undecided: {reason}"),
        }
    }
}

/// The results of a passed step.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary<'a> {
    /// The results.
    pub window: &'a Evidence,
    /// What they were compared with.
    pub stable: Option<Figures>,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let canary = self.window.canary.figures();
        write!(f, "{}", Failed(&canary))?;
        if let Some(stable) = &self.stable {
            write!(f, ", {} of the others'", Percent(stable.error_rate()))?;
        }
        if let Some(p95) = canary.p95() {
            write!(f, "; 95th percentile {}", Millis(Some(p95)))?;
            if let Some(others) = self.stable.and_then(|stable| stable.p95()) {
                write!(f, ", {} of the others'", Millis(Some(others)))?;
            }
        }
        if self.window.compared > 0 {
            write!(f, "; {} of {} compared answers differ", self.window.mismatched, self.window.compared)?;
        }
        Ok(())
    }
}

/// `2.31 % of 612 requests failed`.
struct Failed<'a>(&'a Figures);

impl fmt::Display for Failed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} requests failed", Percent(self.0.error_rate()), self.0.requests)
    }
}

/// `2.31 %`.
struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", Digits(self.0))
    }
}

/// A number with at most two decimals.
struct Digits(f64);

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ((self.0 * 100.0).round() / 100.0).fmt(f)
    }
}

/// `12.31 ms`; `unknown` without a value.
struct Millis(Option<Duration>);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => write!(f, "{} ms", Digits(time.as_secs_f64() * 1e3)),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(requests: u64, errors: u64, p95_micros: u64) -> Figures {
        Figures { requests, errors, answered: requests, p95_micros: Some(p95_micros) }
    }

    #[test]
    fn reasons_say_what_was_seen_and_what_is_allowed() {
        let (canary, stable) = (figures(600, 19, 12_312), figures(9000, 9, 8000));
        let errors = Reason::Errors { canary, stable, increase_max: 0.5 };
        assert_eq!(errors.to_string(), "3.17 % of 600 requests failed, 0.1 % of the others' (may be 0.5 points more)");
        let ceiling = Reason::Ceiling { canary: figures(20, 10, 1), rate_max: 10.0 };
        assert_eq!(ceiling.to_string(), "50 % of 20 requests failed: more than 10 % ends it at once");
        let slow = Reason::Slow { p95: canary.p95(), p95_max: Duration::from_millis(12) };
        assert_eq!(slow.to_string(), "95th percentile 12.31 ms (may be 12 ms)");
        let mismatches = Reason::Mismatches { compared: 900, mismatched: 7, rate_max: 0.1 };
        assert_eq!(mismatches.to_string(), "7 of 900 compared answers differ (may be 0.1 %)");
        assert_eq!(
            Waiting::Undecided(mismatches).to_string(),
            "undecided: 7 of 900 compared answers differ (may be 0.1 %)"
        );
    }

    #[test]
    fn waiting_says_for_what() {
        assert_eq!(Waiting::Requests { had: 317, needed: 500 }.to_string(), "317 of 500 requests");
        assert_eq!(Waiting::Time { left: Duration::from_millis(1001) }.to_string(), "2 s of the step are left");
    }

    #[test]
    fn a_passed_step_says_what_it_has_shown() {
        let mut window = Evidence::default();
        window.canary.requests = 1000;
        window.canary.errors = 1;
        let alone = Summary { window: &window, stable: None };
        assert_eq!(alone.to_string(), "0.1 % of 1000 requests failed");
        window.compared = 50;
        window.canary.latency.record(Duration::from_micros(9));
        let compared = Summary { window: &window, stable: Some(figures(10, 0, 9000)) };
        let text = "0.1 % of 1000 requests failed, 0 % of the others'; 95th percentile 0.01 ms, 9 ms of the others'; \
                    0 of 50 compared answers differ";
        assert_eq!(compared.to_string(), text);
    }
}
