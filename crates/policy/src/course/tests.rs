//! Decisions about requests: tables of named cases, and invariants over all combinations.

use http::Method;

use super::*;

const PENDING: [Pending; 3] = [Pending::Nothing, Pending::Readable, Pending::Unreadable];
const MODES: [Mode; 3] = [Mode::Aside, Mode::Through, Mode::Back];
const QUEUEABLE: [Queueable; 3] = [Queueable::Yes, Queueable::No, Queueable::BadOrder];
const CONDITIONS: [Conditions; 4] = [Conditions::Absent, Conditions::Unknown, Conditions::Hold, Conditions::Fail];

fn plain(method: &Method) -> ReadFacts<'_> {
    ReadFacts {
        method,
        pending: Pending::Nothing,
        has_body: false,
        switches: false,
        asks_the_origin: false,
        only_if_cached: false,
    }
}

#[test]
fn reads() {
    let get = plain(&Method::GET);
    let only = ReadFacts { only_if_cached: true, ..get };
    for (facts, expected) in [
        (get, Read::Lookup),
        (plain(&Method::HEAD), Read::Lookup),
        (plain(&Method::OPTIONS), Read::Forward(Bypass::Method)),
        (ReadFacts { has_body: true, ..get }, Read::Forward(Bypass::Body)),
        (ReadFacts { switches: true, ..get }, Read::Forward(Bypass::Upgrade)),
        (ReadFacts { asks_the_origin: true, ..get }, Read::Forward(Bypass::Precondition)),
        (only, Read::Lookup),
        (ReadFacts { has_body: true, ..only }, Read::RefuseOnlyIfCached),
        // `only-if-cached` has no effect on a method that is never answered from a cache.
        (ReadFacts { only_if_cached: true, ..plain(&Method::OPTIONS) }, Read::Forward(Bypass::Method)),
        (ReadFacts { pending: Pending::Readable, ..get }, Read::AnswerPending),
        (ReadFacts { pending: Pending::Unreadable, ..only }, Read::Forward(Bypass::Pending)),
    ] {
        assert_eq!(read(&facts), expected, "{facts:?}");
    }
}

#[test]
fn what_holds_for_all_reads() {
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        for (pending, bits) in PENDING.iter().flat_map(|pending| (0..16_u8).map(move |bits| (*pending, bits))) {
            let is = |bit: u8| bits & bit != 0;
            let facts = ReadFacts {
                method: &method,
                pending,
                has_body: is(1),
                switches: is(2),
                asks_the_origin: is(4),
                only_if_cached: is(8),
            };
            let course = read(&facts);
            let is_looked_up = course == Read::Lookup;
            assert!(!is_looked_up || (method != Method::OPTIONS && bits & 7 == 0), "{facts:?}");
            // A stored response is older than a pending write.
            assert!(!is_looked_up || pending == Pending::Nothing, "{facts:?}");
            // The look-up sets `Cache-Status` itself.
            assert_eq!(course.cache_status().is_none(), is_looked_up, "{facts:?}");
        }
    }
}

#[test]
fn writes() {
    let aside = WriteFacts {
        mode: Mode::Aside,
        is_pending: false,
        switches: false,
        queueable: Queueable::Yes,
        conditions: Conditions::Absent,
    };
    let through = WriteFacts { mode: Mode::Through, ..aside };
    let back = WriteFacts { mode: Mode::Back, ..aside };
    for (facts, expected) in [
        (aside, Write::Invalidate),
        (WriteFacts { is_pending: true, ..aside }, Write::WaitTurn),
        (through, Write::Through),
        (WriteFacts { switches: true, ..through }, Write::Invalidate),
        (WriteFacts { is_pending: true, ..through }, Write::WaitTurn),
        (back, Write::Enqueue),
        (WriteFacts { is_pending: true, ..back }, Write::Enqueue),
        (WriteFacts { queueable: Queueable::No, ..back }, Write::WaitTurn),
        (WriteFacts { queueable: Queueable::BadOrder, ..back }, Write::RefuseOrder),
        (WriteFacts { conditions: Conditions::Hold, ..back }, Write::Enqueue),
        (WriteFacts { conditions: Conditions::Fail, ..back }, Write::RefuseCondition),
        (WriteFacts { conditions: Conditions::Unknown, ..back }, Write::WaitTurn),
    ] {
        assert_eq!(write(&facts), expected, "{facts:?}");
    }
}

#[test]
fn what_holds_for_all_writes() {
    for (mode, queueable) in MODES.iter().flat_map(|mode| QUEUEABLE.map(|queueable| (*mode, queueable))) {
        for (conditions, bits) in
            CONDITIONS.iter().flat_map(|conditions| (0..4_u8).map(move |bits| (*conditions, bits)))
        {
            let facts = WriteFacts { mode, is_pending: bits & 1 != 0, switches: bits & 2 != 0, queueable, conditions };
            let course = write(&facts);
            assert!(course != Write::Enqueue || (mode == Mode::Back && queueable == Queueable::Yes), "{facts:?}");
            assert!(course != Write::Through || mode == Mode::Through, "{facts:?}");
            // No write overtakes a pending write for its URI.
            let overtakes = matches!(course, Write::Invalidate | Write::Through);
            assert!(!overtakes || !(facts.is_pending || mode == Mode::Back), "{facts:?}");
        }
    }
}
