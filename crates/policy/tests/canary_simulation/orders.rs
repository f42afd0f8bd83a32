//! Restarts and orders at random moments: what always holds.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use policy::canary::evidence::Evidence;
use policy::canary::machine::{Canary, CanaryCommand};
use policy::canary::progress::{Change, Event, HISTORY_MAX, Phase, Progress};
use policy::canary::rules::{OnFailure, Rollback, Rules};
use policy::route::split::Share;
use policy::time::Now;

use crate::runs::defaults;
use crate::traffic::{self, Nature};

const SEEDS: u64 = 2_000;
const STEPS: usize = 120;

/// A canary that is told, restarted and reloaded at random.
struct World<'a> {
    rng: Rng,
    canary: Canary,
    totals: Evidence,
    at: Duration,
    good: &'a Nature,
    bad: &'a Nature,
    is_good: bool,
    /// Whether its share was set by hand since it last had a step's.
    is_by_hand: bool,
}

impl<'a> World<'a> {
    fn new(seed: u64, good: &'a Nature, bad: &'a Nature) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rules = Rules {
            hold: Duration::from_secs(20),
            requests_min: 50,
            on_failure: if rng.u8(..4) == 0 { OnFailure::Pause } else { OnFailure::Rollback },
            rollback: if rng.bool() { Rollback::Now } else { Rollback::Steps },
            ..defaults()
        };
        let (totals, at) = (traffic::nothing(), Duration::ZERO);
        let canary = Canary::begin(rules, Now::at(at), totals.clone());
        Self { rng, canary, totals, at, good, bad, is_good: true, is_by_hand: false }
    }

    fn step(&mut self, has_orders: bool) {
        let now = Now::at(self.at);
        match self.rng.u8(..40) {
            0 => self.restart(),
            1 => self.is_good = !self.is_good || self.rng.bool(),
            2 if has_orders => {
                let share = Share::from_percent(f64::from(self.rng.u32(..=100))).unwrap_or_default();
                self.is_by_hand = true;
                let before = self.canary.progress().phase;
                let change = self.canary.weights_were_set(share, "bob", now);
                assert_eq!(change.is_some(), matches!(before, Phase::Stepping | Phase::RollingBack));
            }
            3 if has_orders => self.order(),
            _ => self.tick(),
        }
        self.check();
    }

    fn tick(&mut self) {
        self.at += Duration::from_millis(self.rng.u64(..5000));
        let share = self.canary.share().percent() / 100.0;
        let mean = [3.0, 30.0, 60.0, 1000.0][self.rng.usize(..4)];
        let canary = if self.is_good { self.good } else { self.bad };
        traffic::pass(&mut self.totals, mean, share, (canary, self.good), &mut self.rng);
        let before = self.canary.progress().clone();
        if let Some(change) = self.canary.tick(Now::at(self.at), &self.totals) {
            self.by_itself(&before, &change);
        } else {
            assert_eq!(self.canary.progress().share, before.share, "a share changes with a change only");
        }
    }

    /// What it does by itself is one step up, or down.
    fn by_itself(&self, before: &Progress, change: &Change) {
        let after = self.canary.progress();
        assert_eq!(after.history.front(), Some(change));
        match change.event {
            Event::Promoted => assert_eq!((before.phase, before.step + 1), (Phase::Stepping, after.step)),
            Event::Done => assert_eq!((before.step, change.share), (4, Share::WHOLE)),
            Event::Failed | Event::RolledBack => assert!(change.share <= before.share),
            Event::Started | Event::Paused | Event::Resumed | Event::Aborted | Event::Restarted => {
                panic!("{:?} by itself", change.event)
            }
        }
    }

    fn order(&mut self) {
        let orders = [
            CanaryCommand::Pause,
            CanaryCommand::Resume,
            CanaryCommand::Promote,
            CanaryCommand::PromoteFully,
            CanaryCommand::Abort,
            CanaryCommand::Restart,
        ];
        let order = orders[self.rng.usize(..orders.len())];
        let before = self.canary.progress().clone();
        match self.canary.command(order, "alice", Now::at(self.at), &self.totals) {
            Ok(change) => {
                self.is_by_hand &= order == CanaryCommand::Pause;
                assert_eq!(self.canary.progress().history.front(), Some(&change));
            }
            Err(_) => assert_eq!(self.canary.progress(), &before),
        }
    }

    /// What was kept is all that is left.
    fn restart(&mut self) {
        let kept = serde_json::to_string(self.canary.progress()).unwrap();
        let progress: Progress = serde_json::from_str(&kept).unwrap();
        let rules = self.canary.rules().clone();
        self.at = Duration::from_millis(self.rng.u64(..1000));
        self.totals = traffic::nothing();
        let share = progress.share;
        self.canary = Canary::resume(rules, progress, Now::at(self.at), self.totals.clone());
        assert_eq!(self.canary.share(), share, "a restart changes no share");
    }

    fn check(&self) {
        let progress = self.canary.progress();
        let steps = &self.canary.rules().steps;
        assert!(progress.step < steps.len() && progress.history.len() <= HISTORY_MAX);
        if self.is_by_hand {
            return;
        }
        match progress.phase {
            Phase::Stepping | Phase::RollingBack | Phase::Paused(_) => assert_eq!(progress.share, steps[progress.step]),
            Phase::RolledBack | Phase::Aborted => assert_eq!(progress.share, Share::NONE),
            Phase::Done => assert_eq!(progress.share, Share::WHOLE),
        }
    }
}

/// Lives through all seeds; how many ended in each phase, by name.
fn live(first: u64, has_orders: bool) -> BTreeMap<&'static str, u64> {
    let (good, bad) = (Nature::new(0.001, 1.0), Nature::new(0.3, 1.0));
    let mut ends = BTreeMap::new();
    for seed in first..first + SEEDS {
        let mut world = World::new(seed, &good, &bad);
        (0..STEPS).for_each(|_| world.step(has_orders));
        *ends.entry(world.canary.progress().phase.name()).or_default() += 1;
    }
    println!("{ends:?}");
    ends
}

#[test]
fn restarts_at_random_moments_skip_no_step_and_change_no_share() {
    let ends = live(0, false);
    assert!(["done", "paused", "rolled-back", "stepping"].iter().all(|end| ends.contains_key(end)), "{ends:?}");
    assert!(!ends.contains_key("aborted"), "{ends:?}");
}

#[test]
fn orders_at_random_moments_leave_a_steps_share_or_none() {
    let ends = live(SEEDS, true);
    assert_eq!(ends.len(), 6, "{ends:?}");
}
