//! The phases of a canary, command by command and verdict by verdict.

use std::time::Duration;

use super::*;

const HOLD: Duration = Duration::from_secs(300);

fn rules() -> Rules {
    Rules {
        steps: [1.0, 5.0, 25.0, 50.0, 100.0].map(|percent| Share::from_percent(percent).unwrap()).to_vec(),
        hold: HOLD,
        requests_min: 500,
        error_rate_max_increase: 0.5,
        confidence: 99.0,
        p95_max_ratio: Some(1.5),
        mismatch_rate_max: None,
        error_ratio_ceiling: Some(20.0),
        on_failure: OnFailure::Rollback,
        rollback: Rollback::Now,
        rollback_interval: Duration::from_secs(10),
    }
}

/// A canary, its clock, and its totals.
struct Scene {
    canary: Canary,
    at: Duration,
    totals: Evidence,
}

impl Scene {
    fn new(rules: Rules) -> Self {
        let (at, totals) = (Duration::ZERO, Evidence::default());
        Self { canary: Canary::begin(rules, Now::at(at), totals.clone()), at, totals }
    }

    /// Adds requests of the canary, with errors; the stable side has as many without errors.
    fn answers(&mut self, requests: u64, errors: u64) {
        self.totals.canary.requests += requests;
        self.totals.canary.errors += errors;
        self.totals.canary.latency.add(200, requests);
        self.others(requests);
    }

    fn others(&mut self, requests: u64) {
        self.totals.stable.requests += requests;
        self.totals.stable.latency.add(200, requests);
    }

    fn after(&mut self, time: Duration) -> Option<Change> {
        self.at += time;
        self.canary.tick(Now::at(self.at), &self.totals)
    }

    fn command(&mut self, command: CanaryCommand) -> Result<Change, NotAllowed> {
        self.canary.command(command, "alice", Now::at(self.at), &self.totals)
    }

    fn percent(&self) -> f64 {
        self.canary.share().percent()
    }

    fn phase(&self) -> Phase {
        self.canary.progress().phase
    }

    /// Passes one step.
    fn pass(&mut self) -> Change {
        self.answers(1000, 1);
        self.after(HOLD).unwrap()
    }

    fn restarts(&mut self) {
        let kept = self.canary.progress().clone();
        self.totals = Evidence::default();
        let rules = self.canary.rules().clone();
        self.canary = Canary::resume(rules, kept, Now::at(self.at), self.totals.clone());
    }
}

#[track_caller]
fn is(change: Option<Change>, event: Event, percent: f64) {
    let change = change.unwrap();
    assert_eq!((change.event, change.share), (event, Share::from_percent(percent).unwrap()), "{}", change.reason);
}

#[test]
fn a_good_canary_goes_up_step_by_step_and_is_done() {
    let mut scene = Scene::new(rules());
    assert_eq!(scene.canary.progress().history.front().map(|change| change.event), Some(Event::Started));
    for percent in [5.0, 25.0, 50.0, 100.0] {
        is(Some(scene.pass()), Event::Promoted, percent);
    }
    is(Some(scene.pass()), Event::Done, 100.0);
    assert_eq!((scene.phase(), scene.after(HOLD)), (Phase::Done, None));
}

#[test]
fn a_step_lasts_as_long_as_it_must() {
    let mut scene = Scene::new(rules());
    scene.answers(5000, 0);
    assert_eq!(scene.after(HOLD - Duration::from_secs(2)), None);
    assert_eq!(scene.canary.reason(), "2 s of the step are left");
    is(scene.after(Duration::from_secs(2)), Event::Promoted, 5.0);
}

#[test]
fn without_enough_requests_on_both_sides_it_waits() {
    let mut scene = Scene::new(rules());
    scene.answers(317, 0);
    assert_eq!(scene.after(HOLD * 1000), None);
    assert_eq!(scene.canary.reason(), "317 of 500 requests");
    scene.totals.canary.requests += 300;
    assert_eq!(scene.after(HOLD), None);
    assert_eq!(scene.canary.reason(), "317 of 500 requests on the others");
    scene.others(300);
    is(scene.after(HOLD), Event::Promoted, 5.0);
}

#[test]
fn a_step_is_judged_by_its_own_requests_alone() {
    let mut scene = Scene::new(rules());
    scene.answers(100_000, 0);
    is(scene.after(HOLD), Event::Promoted, 5.0);
    assert_eq!(scene.canary.window(&scene.totals), Evidence::default());
    scene.answers(1000, 40);
    is(scene.after(Duration::from_secs(1)), Event::RolledBack, 0.0);
}

#[test]
fn a_failure_beyond_doubt_is_not_waited_with() {
    let mut scene = Scene::new(rules());
    scene.answers(400, 16);
    assert_eq!(scene.after(Duration::from_secs(1)), None, "there is no verdict on fewer than 500");
    scene.answers(100, 4);
    let change = scene.after(Duration::from_secs(1)).unwrap();
    assert_eq!(change.reason, "4 % of 500 requests failed, 0 % of the others' (may be 0.5 points more)");
    assert_eq!((scene.phase(), scene.percent().to_string()), (Phase::RolledBack, "0".to_owned()));
    assert_eq!(scene.after(HOLD), None);
}

#[test]
fn what_may_be_chance_is_waited_with() {
    let mut scene = Scene::new(rules());
    scene.answers(500, 4);
    assert_eq!(scene.after(HOLD), None);
    let doubt = "undecided: 0.8 % of 500 requests failed, 0 % of the others' (may be 0.5 points more)";
    assert_eq!(scene.canary.reason(), doubt);
    scene.answers(124, 0);
    assert_eq!(scene.after(HOLD), None, "it is not looked at again so soon");
    scene.answers(500, 0);
    is(scene.after(HOLD), Event::Promoted, 5.0);
}

#[test]
fn ten_failures_of_ten_end_it_at_once() {
    let mut scene = Scene::new(rules());
    scene.answers(9, 9);
    assert_eq!(scene.after(Duration::from_millis(200)), None);
    scene.answers(1, 1);
    scene.others(90);
    let change = scene.after(Duration::from_millis(200)).unwrap();
    assert_eq!(change.reason, "100 % of 10 requests failed: more than 10 % ends it at once");
}

#[test]
fn what_fails_on_both_sides_alike_is_not_held_against_it() {
    let mut scene = Scene::new(rules());
    scene.answers(100, 100);
    scene.totals.stable.errors += 100;
    assert_eq!(scene.after(Duration::from_secs(1)), None);
}

#[test]
fn a_canary_that_goes_bad_late_in_a_step_does_not_hide_behind_its_past() {
    let mut scene = Scene::new(rules());
    for _ in 0..100 {
        scene.answers(1000, 0);
        assert_eq!(scene.after(Duration::from_secs(1)), None);
    }
    for _ in 0..2 {
        scene.answers(1000, 500);
        if scene.after(Duration::from_secs(1)).is_some() {
            return assert_eq!(scene.phase(), Phase::RolledBack);
        }
    }
    panic!("it went on");
}

#[test]
fn a_rollback_by_steps_takes_its_time_and_keeps_its_reason() {
    let mut scene = Scene::new(Rules { rollback: Rollback::Steps, ..rules() });
    scene.pass();
    scene.pass();
    scene.answers(100, 50);
    is(scene.after(Duration::from_secs(1)), Event::Failed, 5.0);
    assert_eq!(scene.phase(), Phase::RollingBack);
    assert_eq!(scene.after(Duration::from_secs(9)), None);
    is(scene.after(Duration::from_secs(1)), Event::RolledBack, 1.0);
    is(scene.after(Duration::from_secs(10)), Event::RolledBack, 0.0);
    assert_eq!((scene.phase(), scene.after(HOLD)), (Phase::RolledBack, None));
    assert_eq!(scene.canary.reason(), "50 % of 100 requests failed: more than 10 % ends it at once");
}

#[test]
fn a_failure_may_be_left_to_a_person() {
    let mut scene = Scene::new(Rules { on_failure: OnFailure::Pause, ..rules() });
    scene.pass();
    scene.answers(100, 50);
    is(scene.after(Duration::from_secs(1)), Event::Failed, 5.0);
    assert_eq!(scene.phase(), Phase::Paused(Pause::Failure));
    scene.answers(1000, 1000);
    assert_eq!(scene.after(HOLD), None);
    is(scene.command(CanaryCommand::Resume).ok(), Event::Resumed, 5.0);
    assert_eq!((scene.canary.window(&scene.totals), scene.canary.progress().held), Default::default());
}

#[test]
fn a_pause_stops_promotion_and_the_clock_but_not_protection() {
    let mut scene = Scene::new(rules());
    scene.answers(1000, 1);
    assert_eq!(scene.after(HOLD / 2), None);
    is(scene.command(CanaryCommand::Pause).ok(), Event::Paused, 1.0);
    assert_eq!(scene.canary.reason(), "by alice");
    assert_eq!(scene.after(HOLD * 10), None);
    assert_eq!(scene.canary.progress().held, HOLD / 2);
    is(scene.command(CanaryCommand::Resume).ok(), Event::Resumed, 1.0);
    is(scene.after(HOLD / 2), Event::Promoted, 5.0);
    scene.command(CanaryCommand::Pause).unwrap();
    scene.answers(100, 60);
    is(scene.after(Duration::from_secs(1)), Event::RolledBack, 0.0);
}

#[test]
fn orders_are_taken_where_they_make_sense() {
    let mut scene = Scene::new(rules());
    assert_eq!(
        scene.command(CanaryCommand::Resume).unwrap_err().to_string(),
        "the canary is stepping: it takes no resume"
    );
    is(scene.command(CanaryCommand::Promote).ok(), Event::Promoted, 5.0);
    is(scene.command(CanaryCommand::PromoteFully).ok(), Event::Promoted, 100.0);
    assert_eq!(scene.phase(), Phase::Stepping);
    is(scene.command(CanaryCommand::Promote).ok(), Event::Done, 100.0);
    assert!(scene.command(CanaryCommand::Promote).is_err() && scene.command(CanaryCommand::Pause).is_err());
    is(scene.command(CanaryCommand::Abort).ok(), Event::Aborted, 0.0);
    assert!(scene.command(CanaryCommand::Abort).is_err() && scene.command(CanaryCommand::Resume).is_err());
    is(scene.command(CanaryCommand::Restart).ok(), Event::Restarted, 1.0);
    is(Some(scene.pass()), Event::Promoted, 5.0);
}

#[test]
fn weights_set_by_hand_take_it_out_of_the_canarys_hands() {
    let mut scene = Scene::new(rules());
    let share = Share::from_percent(35.0).unwrap();
    let change = scene.canary.weights_were_set(share, "bob", Now::at(scene.at));
    assert_eq!(change.as_ref().map(|change| change.reason.as_str()), Some("weights were set by bob"));
    is(change, Event::Paused, 35.0);
    scene.answers(1000, 1000);
    assert_eq!(scene.after(HOLD), None);
    scene.restarts();
    assert_eq!(scene.percent().to_string(), "35");
    is(scene.command(CanaryCommand::Resume).ok(), Event::Resumed, 1.0);
}

#[test]
fn weights_set_after_its_end_are_no_change_of_it() {
    let mut scene = Scene::new(rules());
    scene.command(CanaryCommand::Abort).unwrap();
    let share = Share::from_percent(35.0).unwrap();
    assert_eq!(scene.canary.weights_were_set(share, "bob", Now::at(scene.at)), None);
    scene.restarts();
    assert_eq!((scene.phase(), scene.canary.share()), (Phase::Aborted, share));
}

#[test]
fn a_restart_keeps_step_and_time_and_judges_anew() {
    let mut scene = Scene::new(rules());
    scene.pass();
    scene.answers(5000, 5);
    assert_eq!(scene.after(HOLD / 2), None);
    scene.restarts();
    assert_eq!((scene.percent().to_string(), scene.canary.progress().held), ("5".to_owned(), HOLD / 2));
    assert_eq!(scene.after(HOLD), None);
    assert_eq!(scene.canary.reason(), "0 of 500 requests");
    is(Some(scene.pass()), Event::Promoted, 25.0);
}

#[test]
fn one_that_has_the_whole_is_compared_with_what_the_others_did_before_also_after_a_restart() {
    let mut scene = Scene::new(rules());
    (0..4).for_each(|_| drop(scene.pass()));
    scene.restarts();
    scene.totals.canary.requests += 5000;
    scene.totals.canary.errors += 70;
    let change = scene.after(HOLD).unwrap();
    assert_eq!(change.event, Event::RolledBack, "{}", change.reason);
}

#[test]
fn other_rules_keep_the_phase_and_find_the_step() {
    let mut scene = Scene::new(rules());
    scene.pass();
    let steps = |percents: &[f64]| percents.iter().map(|percent| Share::from_percent(*percent).unwrap()).collect();
    assert_eq!(scene.after(HOLD / 2), None);
    let softer = Rules { error_rate_max_increase: 1.0, steps: steps(&[5.0, 50.0]), ..rules() };
    scene.canary.adopt(softer, Now::at(scene.at), &scene.totals);
    assert_eq!((scene.canary.progress().step, scene.canary.progress().held), (0, HOLD / 2));
    scene.canary.adopt(Rules { steps: steps(&[2.0, 10.0]), ..rules() }, Now::at(scene.at), &scene.totals);
    assert_eq!((scene.percent().to_string(), scene.canary.progress().held), ("2".to_owned(), Duration::ZERO));
    scene.canary.adopt(Rules { steps: steps(&[3.0]), ..rules() }, Now::at(scene.at), &scene.totals);
    assert_eq!((scene.percent().to_string(), scene.canary.progress().step), ("3".to_owned(), 0));
}

#[test]
fn garbled_progress_finds_a_place() {
    let mut scene = Scene::new(rules());
    scene.pass();
    let mut kept = scene.canary.progress().clone();
    kept.step = usize::MAX;
    kept.held = Duration::MAX;
    for (phase, percent) in [(Phase::Stepping, "5"), (Phase::RollingBack, "5"), (Phase::RolledBack, "5")] {
        kept.phase = phase;
        let mut canary = Canary::resume(rules(), kept.clone(), Now::at(HOLD), Evidence::default());
        assert_eq!(canary.share().percent().to_string(), percent);
        canary.tick(Now::at(HOLD * 2), &scene.totals);
        assert!(canary.progress().step < 5);
    }
}

#[test]
fn without_any_steps_nothing_breaks() {
    let mut scene = Scene::new(Rules { steps: Vec::new(), ..rules() });
    scene.answers(1000, 0);
    is(scene.after(HOLD), Event::Done, 0.0);
}

#[test]
fn names_of_people_are_kept_short() {
    let mut scene = Scene::new(rules());
    let change =
        scene.canary.command(CanaryCommand::Pause, &"é".repeat(5000), Now::at(scene.at), &scene.totals).unwrap();
    assert_eq!(change.reason.chars().count(), 103);
}

#[test]
fn a_way_back_that_is_paused_stays_paused_and_can_be_left() {
    let mut scene = Scene::new(Rules { rollback: Rollback::Steps, ..rules() });
    scene.command(CanaryCommand::Promote).unwrap();
    scene.command(CanaryCommand::Promote).unwrap();
    scene.answers(100, 50);
    assert_eq!(scene.after(Duration::from_secs(1)).map(|change| change.event), Some(Event::Failed));
    assert_eq!((scene.phase(), scene.percent()), (Phase::RollingBack, 5.0));
    scene.command(CanaryCommand::Pause).unwrap();
    assert_eq!(scene.after(Duration::from_secs(60)), None);
    scene.command(CanaryCommand::Resume).unwrap();
    assert_eq!(scene.after(Duration::from_secs(1)), None);
    assert_eq!((scene.phase(), scene.percent()), (Phase::Stepping, 5.0));
    scene.answers(100, 50);
    assert_eq!(scene.after(Duration::from_secs(1)).map(|change| change.event), Some(Event::Failed));
}
