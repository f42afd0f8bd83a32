//! The state machine, rule by rule; `tests/coalescing_simulation.rs` covers mixtures.

use super::*;

const KEY: &str = "/a";

const LIMITS: CoalescingLimits = CoalescingLimits {
    flights_max: 2,
    followers_max: 3,
    attempts_max: 2,
    another_after: Duration::from_secs(10),
    remembered_max: 2,
    remember_for: Duration::from_secs(60),
};

fn at(seconds: u64) -> Now {
    Now::at(Duration::from_secs(seconds))
}

fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<Id> {
    numbers.into_iter().map(Id).collect()
}

/// A coalesced fetch with leader number 0 and this many followers, all arrived at second 0.
fn flight(followers: u64) -> CoalescedFetches<&'static str> {
    let mut flights = CoalescedFetches::new(LIMITS);
    assert_eq!(flights.arrive(&KEY, Id(0), at(0)), Arrival::Fetch);
    for follower in 1..=followers {
        assert_eq!(flights.arrive(&KEY, Id(follower), at(0)), Arrival::Follow);
    }
    flights
}

#[test]
fn the_first_fetches_and_those_who_follow_read_along_once_the_head_is_there() {
    let mut flights = flight(2);
    assert_eq!(flights.head(&KEY, Id(0), FetchResult::Storable, at(1)), [Action::Read(ids([1, 2]))]);
    assert_eq!(flights.arrive(&KEY, Id(3), at(2)), Arrival::Read);
    flights.done(&KEY, Id(0));
    assert!(flights.is_empty());
    assert_eq!(flights.next_due(), None);
    assert_eq!(flights.arrive(&KEY, Id(4), at(3)), Arrival::Fetch);
}

#[test]
fn two_keys_are_fetched_apart() {
    let mut flights = flight(0);
    assert_eq!(flights.arrive(&"/b", Id(1), at(0)), Arrival::Fetch);
    assert_eq!(flights.len(), 2);
}

#[test]
fn an_uncacheable_answer_releases_all_at_once_and_is_remembered_for_a_while() {
    let mut flights = flight(3);
    assert_eq!(flights.head(&KEY, Id(0), FetchResult::Uncacheable, at(1)), [Action::Release(ids([1, 2, 3]))]);
    assert_eq!((flights.len(), flights.remembered()), (0, 1));
    assert_eq!(flights.arrive(&KEY, Id(4), at(60)), Arrival::Alone);
    assert_eq!(flights.next_due(), Some(at(61).mono));
    assert_eq!(flights.arrive(&KEY, Id(5), at(61)), Arrival::Fetch);
    assert_eq!(flights.tick(at(61)), []);
    assert_eq!(flights.remembered(), 0);
}

#[test]
fn an_error_releases_all_at_once_and_is_not_remembered() {
    let mut flights = flight(2);
    assert_eq!(flights.head(&KEY, Id(0), FetchResult::Unshared, at(1)), [Action::Release(ids([1, 2]))]);
    assert_eq!((flights.len(), flights.remembered()), (0, 0));
    assert_eq!(flights.arrive(&KEY, Id(3), at(2)), Arrival::Fetch);
}

#[test]
fn a_key_found_to_be_storable_after_all_is_shared_again() {
    let mut flights = flight(0);
    flights.head(&KEY, Id(0), FetchResult::Uncacheable, at(0));
    flights.forget(&KEY);
    assert_eq!(flights.arrive(&KEY, Id(1), at(1)), Arrival::Fetch);
}

#[test]
fn when_the_leader_leaves_before_the_head_the_longest_waiting_follower_takes_over() {
    let mut flights = flight(2);
    assert_eq!(flights.leave(&KEY, Id(0), at(1)), [Action::Promote(Id(1))]);
    assert_eq!(flights.head(&KEY, Id(0), FetchResult::Storable, at(2)), [], "who does not lead any more is not heard");
    assert_eq!(flights.head(&KEY, Id(1), FetchResult::Storable, at(2)), [Action::Read(ids([2]))]);
}

#[test]
fn leaders_who_leave_do_not_count_as_failed_attempts() {
    let mut flights = flight(3);
    for leader in 0..3 {
        assert_eq!(flights.leave(&KEY, Id(leader), at(1)), [Action::Promote(Id(leader + 1))]);
    }
    assert_eq!(flights.leave(&KEY, Id(3), at(1)), []);
    assert!(flights.is_empty());
}

#[test]
fn when_the_leader_leaves_after_a_storable_head_the_fetch_goes_on() {
    let mut flights = flight(1);
    flights.head(&KEY, Id(0), FetchResult::Storable, at(1));
    assert_eq!(flights.leave(&KEY, Id(0), at(2)), []);
    assert_eq!(flights.arrive(&KEY, Id(2), at(2)), Arrival::Read);
    flights.done(&KEY, Id(0));
    assert!(flights.is_empty());
}

#[test]
fn a_follower_who_leaves_is_not_named_later() {
    let mut flights = flight(2);
    assert_eq!(flights.leave(&KEY, Id(1), at(1)), []);
    assert_eq!(flights.head(&KEY, Id(0), FetchResult::Storable, at(1)), [Action::Read(ids([2]))]);
}

#[test]
fn a_failed_leader_is_followed_by_one_at_a_time_until_the_attempts_are_used_up() {
    let mut flights = flight(3);
    assert_eq!(flights.head(&KEY, Id(0), FetchResult::Failed, at(1)), [Action::Promote(Id(1))]);
    assert_eq!(flights.head(&KEY, Id(0), FetchResult::Failed, at(1)), [], "a failure counts once");
    assert_eq!(flights.head(&KEY, Id(1), FetchResult::Failed, at(2)), [Action::Fail(ids([2, 3]))]);
    assert!(flights.is_empty());
    assert_eq!(flights.remembered(), 0);
}

#[test]
fn a_failed_leader_without_followers_leaves_nothing_behind() {
    let mut flights = flight(0);
    assert_eq!(flights.head(&KEY, Id(0), FetchResult::Failed, at(1)), []);
    assert_eq!((flights.is_empty(), flights.next_due()), (true, None));
}

#[test]
fn while_leaders_are_slow_one_follower_after_the_other_leads_too_up_to_a_limit() {
    let mut flights = CoalescedFetches::new(CoalescingLimits { followers_max: 9, ..LIMITS });
    flights.arrive(&KEY, Id(0), at(0));
    assert_eq!(flights.next_due(), None, "without followers there is nothing to do");
    for follower in 1..=5 {
        flights.arrive(&KEY, Id(follower), at(2));
    }
    assert_eq!(flights.next_due(), Some(at(12).mono));
    assert_eq!(flights.tick(at(11)), []);
    assert_eq!(flights.tick(at(12)), [Action::Promote(Id(1))]);
    assert_eq!(flights.next_due(), Some(at(22).mono));
    assert_eq!(flights.tick(at(40)), [Action::Promote(Id(2))], "one at a time, however late");
    assert_eq!(flights.tick(at(50)), [Action::Promote(Id(3))]);
    assert_eq!((flights.next_due(), flights.tick(at(99))), (None, vec![]), "four are enough");
    assert_eq!(flights.head(&KEY, Id(2), FetchResult::Storable, at(99)), [Action::Read(ids([4, 5]))]);
    for late in [0, 1, 3] {
        assert!(!flights.is_led_by(&KEY, Id(late)));
        assert_eq!(flights.head(&KEY, Id(late), FetchResult::Uncacheable, at(99)), [], "the first head counts");
        assert!(!flights.done(&KEY, Id(late)) && !flights.outgrown(&KEY, Id(late), at(99)));
    }
    assert!(flights.is_led_by(&KEY, Id(2)) && flights.done(&KEY, Id(2)));
    assert_eq!((flights.is_empty(), flights.remembered()), (true, 0));
}

#[test]
fn a_follower_that_came_late_has_its_time_too() {
    let mut flights = flight(0);
    flights.arrive(&KEY, Id(1), at(9));
    assert_eq!(flights.next_due(), Some(at(19).mono));
    assert_eq!(flights.leave(&KEY, Id(1), at(10)), []);
    assert_eq!(flights.next_due(), None);
}

#[test]
fn when_one_leader_of_several_fails_all_go_on_waiting_and_no_other_leads_at_once() {
    let mut flights = flight(3);
    flights.tick(at(10));
    assert_eq!(flights.head(&KEY, Id(1), FetchResult::Failed, at(11)), []);
    assert_eq!(flights.next_due(), Some(at(20).mono), "a backend that fails quickly is not asked more often for it");
    assert_eq!(flights.tick(at(20)), [Action::Promote(Id(2))]);
    assert_eq!(flights.head(&KEY, Id(0), FetchResult::Failed, at(21)), []);
    assert_eq!(flights.head(&KEY, Id(2), FetchResult::Failed, at(21)), [Action::Fail(ids([3]))]);
    assert!(flights.is_empty());
}

#[test]
fn when_one_leader_of_several_gets_an_error_the_others_are_waited_for() {
    let mut flights = flight(3);
    flights.tick(at(10));
    assert_eq!(flights.head(&KEY, Id(1), FetchResult::Unshared, at(11)), []);
    assert_eq!(flights.head(&KEY, Id(0), FetchResult::Unshared, at(12)), [Action::Release(ids([2, 3]))]);
}

#[test]
fn when_a_further_leader_leaves_the_next_takes_its_place_if_it_has_waited_as_long() {
    let mut flights = flight(2);
    flights.tick(at(10));
    assert_eq!(flights.leave(&KEY, Id(1), at(10)), [Action::Promote(Id(2))]);
    flights.arrive(&KEY, Id(3), at(11));
    assert_eq!(flights.leave(&KEY, Id(2), at(12)), [], "there is another leader, and this one has just come");
    assert_eq!(flights.next_due(), Some(at(21).mono));
    assert_eq!(flights.leave(&KEY, Id(0), at(13)), [Action::Promote(Id(3))], "now there is none");
}

#[test]
fn a_body_too_large_to_store_is_not_joined_any_more() {
    let mut flights = flight(1);
    flights.head(&KEY, Id(0), FetchResult::Storable, at(0));
    flights.outgrown(&KEY, Id(0), at(1));
    assert_eq!(flights.arrive(&KEY, Id(2), at(1)), Arrival::Alone);
    assert!(flights.is_empty());
}

#[test]
fn a_refresh_behind_a_stale_hit_is_one_fetch_and_a_miss_meanwhile_follows_it() {
    let mut flights = CoalescedFetches::new(LIMITS);
    assert!(flights.refresh(&KEY, Id(0), at(0)));
    assert!(!flights.refresh(&KEY, Id(1), at(0)));
    assert_eq!(flights.arrive(&KEY, Id(2), at(0)), Arrival::Follow);
    assert_eq!(flights.head(&KEY, Id(0), FetchResult::Storable, at(1)), [Action::Read(ids([2]))]);
    assert!(!flights.refresh(&KEY, Id(3), at(1)));
    flights.done(&KEY, Id(0));
    assert!(flights.refresh(&KEY, Id(4), at(2)));
    flights.head(&KEY, Id(4), FetchResult::Uncacheable, at(2));
    assert!(!flights.refresh(&KEY, Id(5), at(3)), "what is uncacheable needs no refresh");
}

#[test]
fn followers_keys_and_memory_are_bounded() {
    let mut flights = flight(3);
    assert_eq!(flights.arrive(&KEY, Id(4), at(0)), Arrival::Full);
    assert_eq!(flights.arrive(&"/b", Id(5), at(0)), Arrival::Fetch);
    assert_eq!(flights.arrive(&"/c", Id(6), at(0)), Arrival::Alone);
    for (key, id) in [("/d", 7), ("/e", 8), ("/f", 9)] {
        flights.leave(&"/b", Id(5), at(0));
        assert_eq!(flights.arrive(&key, Id(id), at(0)), Arrival::Fetch);
        flights.head(&key, Id(id), FetchResult::Uncacheable, at(0));
    }
    assert_eq!(flights.remembered(), 2);
}

#[test]
fn reports_that_do_not_fit_change_nothing() {
    let mut flights = flight(1);
    assert!(!flights.done(&KEY, Id(0)));
    assert!(!flights.outgrown(&KEY, Id(0), at(0)));
    assert_eq!(flights.head(&KEY, Id(1), FetchResult::Storable, at(0)), []);
    assert_eq!(flights.leave(&"/b", Id(0), at(0)), []);
    assert_eq!((flights.len(), flights.remembered()), (1, 0));
    flights.head(&KEY, Id(0), FetchResult::Storable, at(1));
    assert_eq!(flights.head(&KEY, Id(0), FetchResult::Failed, at(1)), [], "after the head it is too late to fail");
    assert!(!flights.done(&KEY, Id(1)));
    assert_eq!(flights.len(), 1);
}

#[test]
fn waits_without_end_and_waits_of_nothing_do_no_harm() {
    for wait in [Duration::MAX, Duration::ZERO] {
        let limits =
            CoalescingLimits { another_after: wait, remember_for: wait, attempts_max: 0, followers_max: 9, ..LIMITS };
        let mut flights = CoalescedFetches::new(limits);
        for id in 0..6 {
            flights.arrive(&KEY, Id(id), at(1));
        }
        let promoted = if wait.is_zero() { 3 } else { 0 };
        assert_eq!(flights.tick(at(1)).len(), promoted);
        assert_eq!(flights.tick(at(2)), []);
    }
}

#[test]
fn a_response_is_overtaken_only_by_one_that_is_newer_and_came_meanwhile() {
    let facts = |date| {
        let bare = crate::cache::facts::ResponseFacts::of(http::StatusCode::OK, &message::Fields::new(), at(0));
        crate::cache::facts::ResponseFacts { date: Duration::from_secs(date), ..bare }
    };
    let [older, newer] = [facts(5), facts(6)];
    let stored = |facts, received| Stored::new(facts, None, Duration::ZERO, at(received));
    let began = at(3).mono;
    assert!(is_overtaken(&stored(&older, 9), &stored(&newer, 4), began));
    assert!(!is_overtaken(&stored(&older, 9), &stored(&newer, 2), began), "it was there before");
    assert!(!is_overtaken(&stored(&newer, 9), &stored(&newer, 4), began), "of two alike the later one stays");
    assert!(!is_overtaken(&stored(&newer, 9), &stored(&older, 4), began));
}
