//! The queue, rule by rule; `tests/write_simulation` covers whole histories.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::write::outcome::Backoff;

const LANE: Lane = Lane(0);
const UP: UpstreamId = UpstreamId(0);
const LIMITS: LaneLimits = LaneLimits {
    flush_interval: Duration::from_secs(5),
    pending_bytes_max: 1_000,
    concurrency_max: 4,
    rate_max: None,
    attempts_max: 3,
    backoff: Backoff { base: Duration::from_secs(1), max: Duration::from_secs(30) },
};
const LONGEST: u64 = u64::MAX;
const FAILED: Outcome = Outcome::Retry { status: Some(503), after: None };

fn queue() -> Queue<&'static str> {
    queue_within(LIMITS)
}

fn queue_within(limits: LaneLimits) -> Queue<&'static str> {
    let mut queue = Queue::default();
    queue.set_lane(LANE, limits);
    queue
}

pub(super) fn at(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), wall: Duration::from_secs(1_000_000 + seconds) }
}

pub(super) fn write(seq: Seq, key: &'static str, class: Class) -> QueueEntry<&'static str> {
    let accepted = Duration::from_secs(1_000_000 + seq);
    QueueEntry { seq, key, lane: LANE, upstream: UP, class, bytes: 10, accepted }
}

pub(super) fn put(seq: Seq, key: &'static str) -> QueueEntry<&'static str> {
    write(seq, key, Class::Put)
}

pub(super) fn post(seq: Seq, key: &'static str) -> QueueEntry<&'static str> {
    write(seq, key, Class::Other)
}

fn sent(queue: &mut Queue<&'static str>, seconds: u64) -> Vec<(Seq, Vec<Seq>)> {
    queue.due(at(seconds)).into_iter().map(|send| (send.seq, send.supersedes)).collect()
}

fn alone(seq: Seq) -> Vec<(Seq, Vec<Seq>)> {
    vec![(seq, Vec::new())]
}

fn buried(seq: Seq, status: Option<u16>, attempts: u32, reason: Reason) -> Effect {
    Effect::MarkDead { seq, status, attempts, reason }
}

mod sending {
    use super::*;

    #[test]
    fn a_write_goes_out_when_the_flush_interval_is_over() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(1));
        assert_eq!(queue.next_due(), Some(Duration::from_secs(6)));
        assert_eq!(sent(&mut queue, 5), []);
        assert_eq!(sent(&mut queue, 6), alone(1));
        assert_eq!(queue.next_due(), None);
        assert_eq!(queue.attempt_ended(1, Outcome::Done, at(7), 0), [Effect::Settle(1)]);
        assert_eq!(queue.counts(), Counts::default());
    }

    #[test]
    fn the_first_write_of_a_key_sets_the_time_for_those_behind_it() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        queue.accept(put(2, "a"), at(4));
        assert_eq!(sent(&mut queue, 5), [(2, vec![1])]);
    }

    #[test]
    fn nothing_waits_from_half_of_what_may_be_pending_on() {
        let mut queue = queue();
        queue.accept(QueueEntry { bytes: 500, ..put(1, "a") }, at(0));
        assert_eq!(sent(&mut queue, 0), []);
        queue.accept(put(2, "b"), at(0));
        assert!(queue.next_due().is_some_and(|due| due <= at(0).mono));
        assert_eq!(sent(&mut queue, 0), [(1, vec![]), (2, vec![])]);
    }

    #[test]
    fn nothing_waits_at_shutdown_but_for_its_backoff() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        assert_eq!(sent(&mut queue, 5), alone(1));
        assert_eq!(queue.attempt_ended(1, FAILED, at(5), LONGEST), []);
        queue.accept(put(2, "b"), at(5));
        queue.set_hurry(true);
        assert_eq!(sent(&mut queue, 5), alone(2));
        assert_eq!(sent(&mut queue, 6), alone(1));
    }

    #[test]
    fn no_more_is_accepted_than_may_be_pending() {
        let mut queue = queue();
        assert_eq!(queue.reserve(LANE, 1_000), Room::Yes);
        assert_eq!(queue.reserve(LANE, 1), Room::Full, "what is set aside counts");
        queue.release(LANE, 1_000);
        queue.accept(QueueEntry { bytes: 900, ..put(1, "a") }, at(0));
        assert_eq!(queue.reserve(LANE, 101), Room::Full);
        assert_eq!(queue.reserve(LANE, 100), Room::Yes);
        assert_eq!(queue.reserve(Lane(1), 101), Room::Yes);
    }

    #[test]
    fn no_more_are_in_flight_than_the_lane_allows() {
        let mut queue = queue_within(LaneLimits { concurrency_max: 2, ..LIMITS });
        for (seq, key) in [(1, "a"), (2, "b"), (3, "c")] {
            queue.accept(put(seq, key), at(0));
        }
        assert_eq!(sent(&mut queue, 5), [(1, vec![]), (2, vec![])]);
        assert_eq!(queue.next_due(), None);
        let _ = queue.attempt_ended(2, Outcome::Done, at(6), 0);
        assert_eq!(sent(&mut queue, 6), alone(3));
    }

    #[test]
    fn no_more_go_out_in_a_second_than_the_lane_allows() {
        let rate_max = NonZeroU32::new(20);
        let mut queue = queue_within(LaneLimits { concurrency_max: 1_000, rate_max, ..LIMITS });
        queue.set_hurry(true);
        for seq in 1..=100 {
            queue.accept(put(seq, Box::leak(seq.to_string().into_boxed_str())), at(0));
        }
        let mut now = Duration::from_secs(10);
        let mut sends = Vec::new();
        while let Some(due) = queue.next_due() {
            now = now.max(due);
            sends.extend(queue.due(Now::at(now)).iter().map(|_| now));
        }
        assert_eq!(sends.len(), 100);
        for (first, last) in sends.iter().zip(sends.iter().skip(23)) {
            assert!(*last - *first >= Duration::from_secs(1), "24 writes from {first:?} to {last:?}");
        }
        assert!(now < Duration::from_secs(16), "all are out at {now:?}");
    }

    #[test]
    fn a_busy_key_does_not_starve_the_others() {
        let mut queue = queue_within(LaneLimits { concurrency_max: 1, ..LIMITS });
        queue.set_hurry(true);
        for seq in 1..=5 {
            queue.accept(post(seq, "busy"), at(seq));
        }
        queue.accept(post(6, "other"), at(3));
        let mut order = Vec::new();
        while let Some(send) = queue.due(at(20)).pop() {
            order.push(send.seq);
            let _ = queue.attempt_ended(send.seq, Outcome::Done, at(20), 0);
        }
        assert_eq!(order, [1, 2, 6, 3, 4, 5]);
    }

    #[test]
    fn lanes_do_not_wait_for_each_other() {
        let mut queue = queue_within(LaneLimits { concurrency_max: 1, ..LIMITS });
        queue.accept(put(1, "a"), at(0));
        queue.accept(QueueEntry { lane: Lane(1), ..put(2, "b") }, at(0));
        assert_eq!(sent(&mut queue, 5), [(1, vec![]), (2, vec![])]);
    }

    #[test]
    fn nothing_goes_to_an_upstream_that_is_down_until_it_is_back() {
        let mut queue = queue();
        queue.set_up(UP, false);
        queue.accept(put(1, "a"), at(0));
        queue.accept(QueueEntry { upstream: UpstreamId(1), ..put(2, "b") }, at(0));
        assert_eq!(sent(&mut queue, 5), alone(2));
        assert_eq!((queue.counts().asleep, queue.next_due()), (1, None));
        queue.accept(put(3, "a"), at(6));
        queue.set_up(UP, true);
        assert_eq!(sent(&mut queue, 7), [(3, vec![1])]);
    }
}

mod order {
    use super::*;

    #[test]
    fn puts_and_deletes_that_follow_each_other_go_out_as_the_last() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        queue.accept(put(2, "a"), at(1));
        queue.accept(write(3, "a", Class::Delete), at(2));
        assert_eq!(sent(&mut queue, 5), [(3, vec![1, 2])]);
        let effects = [Effect::Settle(1), Effect::Settle(2), Effect::Settle(3)];
        assert_eq!(queue.attempt_ended(3, Outcome::Done, at(6), 0), effects);
    }

    #[test]
    fn a_post_is_never_left_out_and_nothing_is_coalesced_across_it() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        queue.accept(post(2, "a"), at(0));
        queue.accept(post(3, "a"), at(0));
        queue.accept(put(4, "a"), at(0));
        queue.accept(put(5, "a"), at(0));
        for expected in [alone(1), alone(2), alone(3), vec![(5, vec![4])]] {
            assert_eq!(sent(&mut queue, 5), expected);
            assert_eq!(sent(&mut queue, 5), []);
            let _ = queue.attempt_ended(expected[0].0, Outcome::Done, at(5), 0);
        }
    }

    #[test]
    fn what_goes_elsewhere_is_not_coalesced() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        queue.accept(QueueEntry { upstream: UpstreamId(1), ..put(2, "a") }, at(0));
        queue.accept(QueueEntry { upstream: UpstreamId(1), lane: Lane(1), ..put(3, "a") }, at(0));
        for seq in 1..=3 {
            assert_eq!(sent(&mut queue, 5), alone(seq));
            let _ = queue.attempt_ended(seq, Outcome::Done, at(5), 0);
        }
    }

    #[test]
    fn what_comes_while_one_is_in_flight_is_coalesced_behind_it() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        assert_eq!(sent(&mut queue, 5), alone(1));
        queue.accept(put(2, "a"), at(6));
        queue.accept(put(3, "a"), at(7));
        assert_eq!(sent(&mut queue, 20), []);
        assert_eq!(queue.attempt_ended(1, Outcome::Done, at(8), 0), [Effect::Settle(1)]);
        assert_eq!(queue.next_due(), Some(Duration::from_secs(11)));
        assert_eq!(sent(&mut queue, 11), [(3, vec![2])]);
    }

    #[test]
    fn an_answer_to_what_is_not_in_flight_changes_nothing() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        assert_eq!(queue.attempt_ended(1, Outcome::Done, at(1), 0), []);
        assert_eq!(queue.attempt_ended(2, Outcome::Done, at(1), 0), []);
        queue.accept(put(2, "a"), at(0));
        assert_eq!(sent(&mut queue, 5), [(2, vec![1])]);
        assert_eq!(queue.attempt_ended(1, Outcome::Done, at(6), 0), []);
        assert_eq!(queue.counts().in_flight, 1);
    }

    #[test]
    fn a_number_that_is_known_is_ignored() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        queue.accept(put(1, "b"), at(0));
        assert_eq!((queue.counts().pending, queue.counts().keys), (1, 1));
    }
}

mod failing {
    use super::*;

    #[test]
    fn the_waits_grow_until_the_attempts_are_used_up() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        assert_eq!(sent(&mut queue, 5), alone(1));
        assert_eq!(queue.attempt_ended(1, FAILED, at(5), LONGEST), []);
        assert_eq!(sent(&mut queue, 6), alone(1));
        assert_eq!(queue.attempt_ended(1, FAILED, at(6), LONGEST), []);
        assert_eq!(sent(&mut queue, 7), []);
        assert_eq!(queue.due(at(8)).first().map(|send| send.attempt), Some(3));
        let effects = queue.attempt_ended(1, FAILED, at(9), LONGEST);
        assert_eq!(effects, [buried(1, Some(503), 3, Reason::AttemptsUsedUp)]);
        let letter = queue.dead_letter(1).unwrap();
        assert_eq!((letter.status, letter.attempts, letter.at), (Some(503), 3, at(9).wall));
    }

    #[test]
    fn retry_after_is_a_lower_bound() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        assert_eq!(sent(&mut queue, 5), alone(1));
        let after = Some(Duration::from_secs(20));
        assert_eq!(queue.attempt_ended(1, Outcome::Retry { status: Some(429), after }, at(5), 0), []);
        assert_eq!(queue.next_due(), Some(Duration::from_secs(25)));
    }

    #[test]
    fn what_was_not_sent_was_no_attempt() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        for hour in 1..20 {
            let attempts: Vec<_> = queue.due(at(3_600 * hour)).iter().map(|send| send.attempt).collect();
            assert_eq!(attempts, [1]);
            assert_eq!(queue.attempt_ended(1, Outcome::Unsent, at(3_600 * hour), LONGEST), []);
        }
        let due = queue.next_due().unwrap();
        assert_eq!((due - at(3_600 * 19).mono).as_secs_f64().round(), 30.0);
    }

    #[test]
    fn a_newer_put_takes_the_place_of_one_that_failed_and_counts_its_own_attempts() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        assert_eq!(sent(&mut queue, 5), alone(1));
        queue.accept(put(2, "a"), at(5));
        assert_eq!(queue.attempt_ended(1, FAILED, at(5), LONGEST), []);
        let sends = queue.due(at(7));
        assert_eq!((sends[0].seq, sends[0].attempt, sends[0].supersedes.as_slice()), (2, 1, [1].as_slice()));
        assert_eq!(queue.attempt_ended(2, FAILED, at(7), LONGEST), []);
        assert_eq!(
            queue.next_due().map(|due| due.as_secs_f64().round()),
            Some(9.0),
            "the back-off is that of the URI queue"
        );
    }

    #[test]
    fn after_a_refusal_the_last_is_dead_and_the_later_ones_go_on() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        queue.accept(put(2, "a"), at(0));
        assert_eq!(sent(&mut queue, 5), [(2, vec![1])]);
        queue.accept(put(3, "a"), at(5));
        let effects = queue.attempt_ended(2, Outcome::Refused { status: 422 }, at(6), 0);
        assert_eq!(effects, [Effect::Settle(1), buried(2, Some(422), 1, Reason::Refused)]);
        assert_eq!((queue.counts().dead, queue.counts().dead_bytes), (1, 10));
        assert_eq!(queue.state(&"a"), KeyState::Dirty { seq: 3, class: Class::Put });
        assert_eq!(sent(&mut queue, 10), alone(3));
    }

    #[test]
    fn a_revived_dead_letter_goes_to_the_end_of_its_uri_queue_with_no_attempts_counted() {
        let mut queue = queue();
        queue.accept(post(1, "a"), at(0));
        assert_eq!(sent(&mut queue, 5), alone(1));
        let _ = queue.attempt_ended(1, Outcome::Refused { status: 409 }, at(5), 0);
        queue.accept(put(2, "a"), at(6));
        assert!(queue.revive(1, at(7)) && !queue.revive(1, at(7)));
        assert_eq!((queue.counts().dead, queue.state(&"a")), (0, KeyState::Opaque));
        assert_eq!(sent(&mut queue, 11), alone(2));
        let _ = queue.attempt_ended(2, Outcome::Done, at(11), 0);
        assert_eq!(queue.due(at(11)).first().map(|send| (send.seq, send.attempt)), Some((1, 1)));
    }

    #[test]
    fn a_discarded_dead_letter_is_gone() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        assert_eq!(sent(&mut queue, 5), alone(1));
        let _ = queue.attempt_ended(1, Outcome::Refused { status: 400 }, at(5), 0);
        assert!(queue.discard(1) && !queue.discard(1));
        assert_eq!(queue.counts(), Counts::default());
    }
}

mod turns {
    use super::*;

    #[test]
    fn it_is_a_tickets_turn_at_once_when_nothing_is_pending() {
        let mut queue = queue();
        assert!(queue.wait_turn(&"a", Ticket(1), at(0)));
        assert!(queue.turn(Ticket(1)));
        assert!(!queue.wait_turn(&"a", Ticket(2), at(0)));
        assert_eq!(queue.finished(Ticket(1), at(1)), Some(Effect::Turn(Ticket(2))));
        assert_eq!(queue.finished(Ticket(2), at(2)), None);
        assert_eq!(queue.counts(), Counts::default());
    }

    #[test]
    fn a_ticket_hastens_what_is_before_it_and_holds_back_what_is_behind() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        assert!(!queue.wait_turn(&"a", Ticket(1), at(1)));
        queue.accept(put(2, "a"), at(1));
        assert_eq!(queue.state(&"a"), KeyState::Dirty { seq: 2, class: Class::Put });
        assert_eq!(sent(&mut queue, 1), alone(1));
        let effects = queue.attempt_ended(1, Outcome::Done, at(2), 0);
        assert_eq!(effects, [Effect::Settle(1), Effect::Turn(Ticket(1))]);
        assert_eq!(sent(&mut queue, 60), []);
        assert_eq!(queue.finished(Ticket(1), at(60)), None);
        assert_eq!(sent(&mut queue, 60), alone(2));
    }

    #[test]
    fn a_ticket_gets_its_turn_behind_a_dead_letter() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        queue.wait_turn(&"a", Ticket(1), at(1));
        assert_eq!(sent(&mut queue, 1), alone(1));
        let effects = queue.attempt_ended(1, Outcome::Refused { status: 400 }, at(2), 0);
        assert_eq!(effects, [buried(1, Some(400), 1, Reason::Refused), Effect::Turn(Ticket(1))]);
    }

    #[test]
    fn a_ticket_that_leaves_holds_back_nothing() {
        let mut queue = queue();
        queue.accept(put(1, "a"), at(0));
        for ticket in 1..=3 {
            queue.wait_turn(&"a", Ticket(ticket), at(0));
        }
        assert_eq!(queue.leave(Ticket(2), at(0)), None);
        assert_eq!(sent(&mut queue, 0), alone(1));
        let effects = queue.attempt_ended(1, Outcome::Done, at(1), 0);
        assert_eq!(effects, [Effect::Settle(1), Effect::Turn(Ticket(1))]);
        assert_eq!(queue.leave(Ticket(1), at(1)), Some(Effect::Turn(Ticket(3))));
        assert_eq!(queue.leave(Ticket(1), at(1)), None);
        assert_eq!(queue.leave(Ticket(3), at(1)), None);
        assert_eq!(queue.counts(), Counts::default());
    }

    #[test]
    fn a_ticket_that_leaves_while_all_sleep_wakes_nothing() {
        let mut queue = queue();
        queue.set_up(UP, false);
        queue.accept(put(1, "a"), at(0));
        queue.wait_turn(&"a", Ticket(1), at(0));
        assert_eq!(sent(&mut queue, 0), []);
        assert_eq!(queue.leave(Ticket(1), at(1)), None);
        assert_eq!((queue.counts().asleep, queue.next_due()), (1, None));
    }
}

mod reads {
    use super::*;

    #[test]
    fn a_read_sees_the_last_put_or_delete_unless_a_post_is_pending() {
        let mut queue = queue();
        assert_eq!(queue.state(&"a"), KeyState::Clean);
        queue.accept(put(1, "a"), at(0));
        assert_eq!(queue.state(&"a"), KeyState::Dirty { seq: 1, class: Class::Put });
        queue.accept(write(2, "a", Class::Delete), at(0));
        assert_eq!(queue.state(&"a"), KeyState::Dirty { seq: 2, class: Class::Delete });
        queue.accept(post(3, "a"), at(0));
        queue.accept(put(4, "a"), at(0));
        assert_eq!(queue.state(&"a"), KeyState::Opaque);
        for seq in [2, 3] {
            assert_eq!(queue.due(at(5)).first().map(|send| send.seq), Some(seq));
            let _ = queue.attempt_ended(seq, Outcome::Done, at(5), 0);
        }
        assert_eq!(queue.state(&"a"), KeyState::Dirty { seq: 4, class: Class::Put });
    }

    #[test]
    fn operators_see_how_much_waits_and_since_when() {
        let mut queue = queue();
        queue.accept(put(7, "a"), at(0));
        queue.accept(put(8, "b"), at(0));
        let counts = queue.counts();
        assert_eq!((counts.pending, counts.pending_bytes, counts.keys), (2, 20, 2));
        assert_eq!(counts.oldest, Some(Duration::from_secs(1_000_007)));
        assert!(queue.pending().map(|(entry, attempts)| (entry.seq, attempts)).eq([(7, 0), (8, 0)]));
        assert_eq!(queue.lane_counts(LANE).pending_bytes, 20);
        assert_eq!(queue.lane_counts(Lane(9)), LaneCounts::default());
    }
}
