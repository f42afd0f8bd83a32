//! Decides how much to fetch for a request with `Range` of which nothing is stored: the range, or more.
//!
//! The whole representation can be shared with all requests for the URI, and stored; players and download managers
//! begin with `bytes=0-`. A range from the middle of a possibly large representation is forwarded as it is.

use message::{Fields, Known, KnownSet};

use crate::message::range::{Selection, select};

/// The extent of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchReach {
    /// The whole, for all requests for the URI: `Range` is removed.
    Whole,
    /// The range, for all requests for the same range.
    Range,
    /// The request as it is, for its client alone.
    Own,
}

/// The extent of the fetch for a GET. `complete`: the length of the representation, if known. `object_bytes_max`:
/// longer ones are not stored.
///
/// A range that is not understood here may be understood by the origin, as may preconditions next to a forwarded range.
///
/// Source: RFC 9110 §14.2, §14.3.
#[must_use]
pub fn reach(request: &Fields, complete: Option<u64>, object_bytes_max: u64) -> FetchReach {
    if !request.has(Known::Range) || complete.is_some_and(|complete| complete <= object_bytes_max) {
        return FetchReach::Whole;
    }
    let is_conditional = request.has(KnownSet::of(&[Known::IfNoneMatch, Known::IfModifiedSince]));
    match select(request.values(Known::Range), complete.unwrap_or(u64::MAX)) {
        Selection::Single(range) if range.first() == 0 && (complete.is_none() || is_all(request, complete)) => {
            FetchReach::Whole
        }
        Selection::Single(_) if !is_conditional => FetchReach::Range,
        Selection::Single(_) | Selection::Several(_) | Selection::Whole | Selection::Unsatisfiable => FetchReach::Own,
    }
}

/// Whether a request is for the complete representation, possibly by a `Range` from its first byte to its last. A body
/// that can only be read sequentially is of no use to other requests.
#[must_use]
pub fn is_all(request: &Fields, complete: Option<u64>) -> bool {
    let complete = complete.unwrap_or(u64::MAX);
    match select(request.values(Known::Range), complete) {
        Selection::Whole => true,
        Selection::Single(range) => range.bytes() == complete,
        Selection::Several(_) | Selection::Unsatisfiable => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::headers;
    use super::*;
    use proptest::prelude::*;

    fn of(range: &'static str, complete: Option<u64>) -> FetchReach {
        reach(&headers(&[("range", range)]), complete, 100)
    }

    #[test]
    fn what_begins_at_the_first_byte_is_fetched_whole_unless_it_is_a_part_of_what_is_known_to_be_long() {
        for range in ["bytes=0-", "bytes=0-9", "bytes=0-0"] {
            assert_eq!(of(range, None), FetchReach::Whole, "{range}");
            assert_eq!(of(range, Some(100)), FetchReach::Whole, "{range}");
        }
        assert_eq!(of("bytes=0-", Some(101)), FetchReach::Whole);
        assert_eq!(of("bytes=0-9", Some(101)), FetchReach::Range);
        assert_eq!(reach(&headers(&[]), Some(101), 100), FetchReach::Whole);
    }

    #[test]
    fn any_range_of_what_is_known_to_be_short_is_fetched_whole() {
        for range in ["bytes=5-9", "bytes=-5", "bytes=1-2,5-6", "bytes=200-", "lines=1"] {
            assert_eq!(of(range, Some(100)), FetchReach::Whole, "{range}");
        }
    }

    #[test]
    fn other_ranges_are_forwarded_and_shared_by_those_who_ask_for_the_same() {
        for range in ["bytes=5-9", "bytes=5-", "bytes=-5"] {
            assert_eq!(of(range, None), FetchReach::Range, "{range}");
            assert_eq!(of(range, Some(101)), FetchReach::Range, "{range}");
        }
        for range in ["bytes=0-1,5-6", "bytes=-0", "lines=1-2", "bytes=a"] {
            assert_eq!(of(range, None), FetchReach::Own, "{range}");
        }
        let conditional = headers(&[("range", "bytes=5-9"), ("if-none-match", "\"a\"")]);
        assert_eq!(reach(&conditional, None, 100), FetchReach::Own);
        assert_eq!(reach(&headers(&[("range", "bytes=0-"), ("range", "bytes=5-")]), None, 100), FetchReach::Own);
    }

    #[test]
    fn all_is_asked_for_without_a_range_or_by_one_that_covers_it() {
        let is = |range, complete| is_all(&headers(&[("range", range)]), complete);
        assert!(is_all(&headers(&[]), None) && is_all(&headers(&[]), Some(10)));
        assert!(
            is("bytes=0-", None) && is("bytes=0-", Some(10)) && is("bytes=0-9", Some(10)) && is("bytes=-10", Some(10))
        );
        assert!(
            !is("bytes=0-9", None) && !is("bytes=0-8", Some(10)) && !is("bytes=10-", Some(10)) && !is("bytes=1-", None)
        );
    }

    proptest! {
        /// A representation of known length that is too long to store is never fetched completely for a part of it.
        #[test]
        fn what_is_long_is_fetched_whole_only_for_all_of_it(first in 0..300u64, last in 0..300u64, complete in 101..300u64) {
            let request = Fields::from_iter([("range", format!("bytes={first}-{last}"))]);
            if reach(&request, Some(complete), 100) == FetchReach::Whole {
                prop_assert!(is_all(&request, Some(complete)));
            }
        }
    }
}
