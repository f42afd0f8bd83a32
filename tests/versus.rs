//! Tests of the benchmark `versus`: statistics, dates, and parsing of the output of other programs.
//!
//! The tests stand here since a target without a test harness can't run its own. Nothing is measured.

#[path = "../benches/versus/figures/mod.rs"]
mod figures;

#[cfg(test)]
mod calendar {
    use std::time::Duration;

    use crate::figures::calendar::*;

    #[test]
    fn days_around_leap_years_have_their_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_767_225_599, "2025-12-31"),
            (1_767_225_600, "2026-01-01"),
        ] {
            assert_eq!(date(Duration::from_secs(seconds)), expected);
        }
    }
}

#[cfg(test)]
mod load_summary {
    use std::time::Duration;

    use crate::figures::load_summary::*;

    const PRINTED: &str = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n\
        versus requests=100 duration=1000000 bytes=2048 p50=900 p99=1800 connect=0 read=1 write=0 status=2 timeout=0\n";

    #[test]
    fn the_line_is_found_among_what_wrk_prints_itself() {
        let found = parse(PRINTED).unwrap();
        assert_eq!((found.requests, found.bytes, found.errors), (100, 2048, 3));
        assert_eq!((found.p50, found.p99), (Duration::from_micros(900), Duration::from_micros(1800)));
        assert_eq!(found.duration, Duration::from_secs(1));
    }

    #[test]
    fn a_line_that_lacks_a_number_is_none() {
        assert_eq!(parse("versus requests=1 duration=1 bytes=1 p50=1 p99=1\n"), None);
        assert_eq!(parse(&PRINTED.replace("p99=1800", "p99=nan")), None);
        assert_eq!(parse("unable to connect to 127.0.0.1\n"), None);
    }
}

#[cfg(test)]
mod process_files {
    use std::time::Duration;

    use crate::figures::process_files::*;

    #[test]
    fn what_the_host_takes_is_the_eighth_field_of_the_cores() {
        let before = all_cores("cpu  100 0 50 800 10 0 20 20 5 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(before, Cores { all: 1000, stolen: 20 });
        let after = all_cores("cpu  150 0 50 840 10 0 20 30 5 0\n").unwrap();
        assert_eq!(after.stolen_since(before), 10.0);
        assert_eq!(before.stolen_since(after), 0.0);
        for text in ["", "cpu0 1 2 3 4 5 6 7 8", "cpu  1 2 3", "cpu  1 2 3 4 5 6 7 x"] {
            assert_eq!(all_cores(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_with_blanks_and_parentheses_shifts_nothing() {
        let text = "4242 (a) b (c) S 17 4242 4242 0 -1 4194560 900 0 0 0 120 30 5 6 20 0 1 0 100 1 2";
        assert_eq!(stat(text), Some(Stat { parent: 17, cpu: Duration::from_millis(1500) }));
        assert_eq!(stat("4242 (a) S 1"), None);
        assert_eq!(stat(""), None);
    }

    #[test]
    fn sizes_are_read_by_their_name() {
        let text = "Name:\tnginx\nVmHWM:\t    5120 kB\nVmRSS:\t    4096 kB\n";
        assert_eq!(size_kib(text, "VmRSS"), Some(4096));
        assert_eq!(size_kib(text, "VmHWM"), Some(5120));
        assert_eq!(size_kib(text, "VmSwap"), None);
        assert_eq!(field(text, "Name"), Some("nginx"));
    }

    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!(cores("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(cores("3"), [3]);
        assert!(cores("none").is_empty());
    }

    #[test]
    fn grandchildren_belong_to_the_family_and_others_do_not() {
        assert_eq!(family(10, &[(12, 11), (11, 10), (20, 1), (10, 1)]), [10, 11, 12]);
    }
}

#[cfg(test)]
mod statistics {
    use crate::figures::statistics::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let found = spread([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(found, Spread { median: 2.5, least: 1.0, most: 4.0, count: 4 });
        assert_eq!(spread([7.0]).unwrap().median, 7.0);
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(spread([]), None);
        assert_eq!(spread([f64::NAN]), None);
    }

    #[test]
    fn a_void_round_takes_no_part_in_ratios() {
        let ours = [Some(1.0), None, Some(3.0), Some(1.0)];
        let theirs = [Some(2.0), Some(1.0), Some(2.0), Some(0.0)];
        assert_eq!(ratios(&ours, &theirs), [0.5, 1.5]);
    }

    #[test]
    fn the_best_peer_is_looked_for_in_each_round() {
        let peers = [vec![Some(3.0), Some(1.0), None], vec![Some(2.0), None, None]];
        assert_eq!(best_by_round(&peers), [Some(2.0), Some(1.0), None]);
        assert!(best_by_round(&[]).is_empty());
    }

    #[test]
    fn each_comes_first_in_turn() {
        let first: Vec<char> = (0..6).filter_map(|round| order(&['a', 'b', 'c'], round).first().copied()).collect();
        assert_eq!(first, ['a', 'b', 'c', 'c', 'a', 'b']);
        assert!(order::<char>(&[], 3).is_empty());
    }
}

#[cfg(test)]
mod text {
    use crate::figures::text::*;

    #[test]
    fn a_slug_holds_only_what_any_file_system_takes() {
        assert_eq!(slug("AMD EPYC 7763 (64-Core)  Processor, 2 cores"), "amd-epyc-7763-64-core-processor-2-cores");
        assert_eq!(slug("../é/"), "unnamed");
        assert!(slug(&"a b ".repeat(100)).len() <= 60);
    }

    #[test]
    fn every_place_of_a_template_is_filled() {
        let values = [("PORT", "80".to_owned()), ("DIR", "/d".to_owned())];
        assert_eq!(filled("listen @PORT@; @DIR@/a @PORT@", &values), "listen 80; /d/a 80");
    }

    #[test]
    fn numbers_have_three_digits_or_more() {
        for (value, expected) in [
            (1_234_567.8, "1,234,568"),
            (123.4, "123"),
            (28.64, "28.6"),
            (1.016, "1.02"),
            (0.0528, "0.053"),
            (0.0, "0.000"),
        ] {
            assert_eq!(number(value), expected);
        }
        assert_eq!(number(-1234.0), "-1,234");
    }

    #[test]
    fn counts_are_grouped_and_have_no_fraction() {
        assert_eq!([0, 64, 1_000, 1_000_000].map(grouped), ["0", "64", "1,000", "1,000,000"]);
    }
}

#[cfg(test)]
mod many {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use crate::figures::many::*;

    #[test]
    fn thousands_of_addresses_of_loopback_are_all_different() {
        let addresses: BTreeSet<Ipv4Addr> = (0..100_000).map(loopback).collect();
        assert_eq!(addresses.len(), 100_000);
        assert!(addresses.iter().all(Ipv4Addr::is_loopback));
        assert!(!addresses.contains(&Ipv4Addr::LOCALHOST));
        assert_eq!(backends(2, 80), r#"["http://127.1.1.1:80", "http://127.1.1.2:80"]"#);
    }

    #[test]
    fn routes_are_counted_from_one() {
        let found = routes(By::Host, 2, "b");
        assert!(found.contains("host = \"h1.example\"\nupstream = \"b\"\n"));
        assert_eq!(found.matches("[[route]]").count(), 2);
        assert!(routes(By::Exact, 2, "b").ends_with("path = \"=/many/2\"\nupstream = \"b\"\n"));
        assert!(routes(By::Prefix, 1, "b").contains("path = \"/many/1\""));
    }

    #[test]
    fn what_is_opened_stays_under_the_limit() {
        assert_eq!(fitting(10_000, 1, Some(20_000)), 10_000);
        assert_eq!(fitting(10_000, 2, Some(20_000)), 9_800);
        assert_eq!(fitting(10_000, 2, None), 10_000);
        assert_eq!(fitting(10_000, 1, Some(10)), 0);
    }

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# TYPE forebay_requests_total counter\nforebay_requests_total_more 1\nforebay_requests_total 42\n";
        assert_eq!(metric(text, "forebay_requests_total"), Some(42));
        assert_eq!(metric(text, "forebay_requests"), None);
    }
}
