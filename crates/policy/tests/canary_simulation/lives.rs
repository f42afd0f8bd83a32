//! The table: what becomes of canaries of different kinds.

use std::time::Duration;

use policy::canary::progress::Phase;

use crate::runs::{Lives, Setting};
use crate::traffic::Nature;

const DAY: Duration = Duration::from_secs(86_400);

/// How many lives each setting has.
fn seeds(few: u64) -> u64 {
    std::env::var("CANARY_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(few)
}

/// A canary that fails so many percentage points more, and takes so many times as long.
fn setting(rate: f64, base: f64, more: f64, slower: f64) -> Setting {
    Setting {
        rate,
        stable: Nature::new(base / 100.0, 1.0),
        canary: Nature::new((base + more) / 100.0, slower),
        turn: None,
        tick: Duration::from_secs(1),
        until: DAY,
    }
}

fn show(title: &str, lines: &[String]) {
    println!("\n{title}\n{}", lines.join("\n"));
}

#[test]
fn a_canary_as_good_as_the_others_is_promoted() {
    let mut lines = Vec::new();
    for rate in [50.0, 500.0, 5000.0] {
        for base in [0.0, 0.1, 1.0, 3.0] {
            let mut setting = setting(rate, base, 0.0, 1.0);
            setting.tick = Duration::from_secs(5);
            let lives = Lives::of(&setting, seeds(60));
            lines.push(lives.line(&setting, base));
            assert!(lives.ended(Phase::Done) >= 98.0, "{rate} {base}");
        }
    }
    show("as good as the others", &lines);
}

#[test]
fn a_canary_that_fails_two_points_more_is_gone_before_a_tenth_of_all_requests_saw_it() {
    let mut lines = Vec::new();
    for rate in [50.0, 500.0, 5000.0] {
        for base in [0.1, 1.0, 3.0] {
            let setting = setting(rate, base, 2.0, 1.0);
            let lives = Lives::of(&setting, seeds(100));
            lines.push(lives.line(&setting, base));
            let is_early = lives.percent(|outcome| outcome.phase == Phase::RolledBack && outcome.exposure < 10.0);
            assert!(is_early >= 99.0, "{rate} {base}: {is_early}");
        }
    }
    show("fails two points more", &lines);
}

/// The worst case for a false alarm: just as bad as it may be, where no verdict is more right than the other.
#[test]
fn a_canary_at_the_limit_is_taken_back_no_more_often_than_the_confidence_says() {
    let mut lines = Vec::new();
    for rate in [50.0, 500.0, 5000.0] {
        for base in [0.1, 1.0] {
            let mut setting = setting(rate, base, 0.5, 1.0);
            setting.tick = Duration::from_secs(5);
            setting.until = Duration::from_secs(4 * 3600);
            let lives = Lives::of(&setting, seeds(40));
            lines.push(lives.line(&setting, base));
            // Five steps of one percent each, and what chance adds to so few lives.
            assert!(lives.ended(Phase::RolledBack) <= 12.5, "{rate} {base}");
        }
    }
    show("fails half a point more: what it may", &lines);
}

#[test]
fn with_twenty_requests_a_minute_nobody_guesses() {
    let mut lines = Vec::new();
    for (base, more) in [(0.0, 0.0), (1.0, 0.0), (1.0, 2.0)] {
        let mut setting = setting(1.0 / 3.0, base, more, 1.0);
        setting.tick = Duration::from_secs(60);
        // The canary has its 500 requests after 42 hours.
        setting.until = Duration::from_secs(36 * 3600);
        let lives = Lives::of(&setting, seeds(50));
        lines.push(lives.line(&setting, base));
        assert!(lives.ended(Phase::Done) < 0.1 && lives.percent(|outcome| outcome.step > 0) < 0.1);
        assert!(lives.ended(Phase::Stepping) >= 99.0, "{base} {more}");
    }
    show("20 requests a minute for 36 h; the last line: fails two points more", &lines);
}

#[test]
fn a_canary_that_takes_twice_as_long_is_gone() {
    let mut lines = Vec::new();
    for rate in [50.0, 500.0, 5000.0] {
        let setting = setting(rate, 0.1, 0.0, 2.0);
        let lives = Lives::of(&setting, seeds(100));
        lines.push(lives.line(&setting, 0.1));
        let is_early = lives.percent(|outcome| outcome.phase == Phase::RolledBack && outcome.exposure < 10.0);
        assert!(is_early >= 99.0, "{rate}: {is_early}");
    }
    show("takes twice as long", &lines);
}

#[test]
fn a_canary_that_goes_bad_late_is_gone_within_seconds() {
    let mut lines = Vec::new();
    for rate in [50.0, 500.0, 5000.0] {
        for after in [0, 100, 290] {
            let mut setting = setting(rate, 0.1, 0.0, 1.0);
            setting.tick = Duration::from_millis(500);
            setting.turn = Some((2, Duration::from_secs(after), Nature::new(0.5, 1.0)));
            let lives = Lives::of(&setting, seeds(10));
            lines.push(lives.line(&setting, 0.1));
            let is_quick = lives.percent(|outcome| {
                outcome.phase == Phase::RolledBack && outcome.step == 2 && outcome.since_turn < Duration::from_secs(10)
            });
            assert!(is_quick >= 99.0, "{rate} after {after} s: {is_quick}");
        }
    }
    show("half of its requests fail from the 25 % step on; at once, after 100 s, after 290 s", &lines);
}
