//! Tests of fields: what is kept is written as it came, and look-ups by tag and by name agree.

use proptest::prelude::*;

use super::*;
use crate::span::Span;

/// Reads lines of the form `Name: value`, each with its CRLF, without checking them.
fn read(head: &[u8]) -> Lines {
    let mut fields = Lines::default();
    let mut start = 0;
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let colon = start + line.iter().position(|byte| *byte == b':').unwrap();
        let end = start + line.len();
        let value = head[colon + 1..end].trim_ascii();
        let value_start = end - head[colon + 1..end].trim_ascii_start().len();
        let value = Span::new(value_start.min(end - 2), value_start.min(end - 2) + value.len()).unwrap();
        let name = Span::new(start, colon).unwrap();
        fields.push(Line::new(name, value, end, Known::of(name.of(head))).unwrap());
        start = end;
    }
    fields
}

fn written(fields: &Lines, head: &[u8]) -> String {
    let mut out = Vec::new();
    fields.view(head).write(&mut out);
    assert_eq!(out.len(), fields.view(head).written_bytes());
    String::from_utf8(out).unwrap()
}

const HEAD: &[u8] = b"hOST: a\r\nX-One:  1 \r\nTE: x\r\nKeep-Alive: 5\r\nx-one: 2\r\nEmpty:\r\n";
const HOP_BY_HOP: KnownSet = KnownSet::of(&[Known::Te, Known::KeepAlive, Known::Connection]);

#[test]
fn a_line_takes_12_bytes() {
    assert_eq!(size_of::<Line>(), 12);
}

#[test]
fn unedited_fields_are_written_as_they_came_in_one_run() {
    let fields = read(HEAD);
    assert_eq!(written(&fields, HEAD).as_bytes(), HEAD);
    assert_eq!(fields.view(HEAD).runs().count(), 1);
}

#[test]
fn fields_without_a_line_are_written_as_nothing() {
    assert_eq!(written(&Lines::default(), b""), "");
    let mut fields = read(HEAD);
    for name in ["host", "x-one", "te", "keep-alive", "empty"] {
        fields.drop_named(HEAD, name.as_bytes());
    }
    assert_eq!(written(&fields, HEAD), "");
    assert!(!fields.has(Known::Host) && !fields.has(Known::Other));
}

#[test]
fn dropped_lines_are_left_out_wherever_they_are() {
    let mut fields = read(HEAD);
    fields.drop_known(HOP_BY_HOP);
    assert_eq!(written(&fields, HEAD), "hOST: a\r\nX-One:  1 \r\nx-one: 2\r\nEmpty:\r\n");
    assert_eq!(fields.view(HEAD).runs().count(), 2);
    fields.drop_named(HEAD, b"Host");
    fields.drop_named(HEAD, b"eMPTY");
    assert_eq!(written(&fields, HEAD), "X-One:  1 \r\nx-one: 2\r\n");
}

#[test]
fn look_ups_see_every_line_in_any_case_and_no_dropped_one() {
    let mut fields = read(HEAD);
    let values = |fields: &Lines, name: &str| {
        fields.view(HEAD).named(name.as_bytes()).map(|field| field.value.to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(values(&fields, "X-ONE"), [b"1", b"2"]);
    assert_eq!(values(&fields, "empty"), [b""]);
    assert_eq!(values(&fields, "x-two"), [b""; 0]);
    assert_eq!(fields.view(HEAD).first(Known::Te), Some(&b"x"[..]));
    fields.drop_known(Known::Te.into());
    assert_eq!(fields.view(HEAD).first(Known::Te), None);
    assert!(!fields.has(Known::Te) && fields.has(Known::Host));
    assert_eq!(fields.received_count(), 6);
}

#[test]
fn appended_lines_are_seen_written_last_and_dropped_like_received_ones() {
    let mut fields = read(HEAD);
    fields.append(b"Via", b" 1.1 forebay\t").unwrap();
    fields.append(b"X-Two", b"").unwrap();
    assert_eq!(fields.view(HEAD).first(Known::Via), Some(&b"1.1 forebay"[..]));
    assert!(written(&fields, HEAD).ends_with("Empty:\r\nVia: 1.1 forebay\r\nX-Two: \r\n"));
    fields.drop_named(HEAD, b"via");
    assert!(written(&fields, HEAD).ends_with("Empty:\r\nX-Two: \r\n"));
}

#[test]
fn set_replaces_all_lines_of_the_name_received_or_appended() {
    let mut fields = read(HEAD);
    for value in ["a", "b"] {
        let edit = Edit::set("X-One", value.as_bytes());
        fields.apply(HEAD, &edit).unwrap();
    }
    assert_eq!(written(&fields, HEAD), "hOST: a\r\nTE: x\r\nKeep-Alive: 5\r\nEmpty:\r\nX-One: b\r\n");
}

#[test]
fn an_edit_that_would_not_make_one_line_changes_nothing() {
    let mut fields = read(HEAD);
    for (name, value, error) in [
        ("X-One", "a\r\nHost: b", EditError::Value),
        ("X-One", "a\nb", EditError::Value),
        ("X-One", "a\0b", EditError::Value),
        ("X-One", "a\u{7f}", EditError::Value),
        ("X One", "a", EditError::Name),
        ("X:One", "a", EditError::Name),
        ("", "a", EditError::Name),
    ] {
        assert_eq!(fields.apply(HEAD, &Edit::set(name, value.as_bytes())), Err(error));
        assert_eq!(fields.apply(HEAD, &Edit::append(name, value.as_bytes())), Err(error));
    }
    assert_eq!(written(&fields, HEAD).as_bytes(), HEAD);
}

#[test]
fn appended_lines_are_bounded() {
    let mut fields = Lines::default();
    let value = vec![b'a'; 40_000];
    fields.append(b"A", &value).unwrap();
    assert_eq!(fields.append(b"A", &value), Err(EditError::TooLarge));
    assert_eq!(fields.view(b"").all().count(), 1);
    assert_eq!(Line::new(Span::default(), Span::default(), 65_536, Known::Other), Err(TooLarge));
}

#[test]
fn a_value_may_hold_bytes_past_ascii_and_tabs() {
    let mut fields = Lines::default();
    fields.append(b"A", b"\xe4\tb").unwrap();
    assert_eq!(fields.view(b"").first(Known::Other), Some(&b"\xe4\tb"[..]));
}

#[test]
fn reset_fields_are_as_new() {
    let mut fields = read(HEAD);
    fields.append(b"Via", b"a").unwrap();
    fields.drop_known(Known::Host.into());
    fields.reset();
    assert_eq!(format!("{fields:?}"), format!("{:?}", Lines::default()));
}

#[test]
fn edits_apply_as_the_methods_do() {
    let mut fields = read(HEAD);
    fields.apply(HEAD, &Edit::DropKnown(HOP_BY_HOP)).unwrap();
    fields.apply(HEAD, &Edit::Drop("x-one".into())).unwrap();
    fields.apply(HEAD, &Edit::append("A", b"b".to_vec())).unwrap();
    assert_eq!(written(&fields, HEAD), "hOST: a\r\nEmpty:\r\nA: b\r\n");
}

fn any_name() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(Known::named().filter_map(Known::name).collect::<Vec<_>>());
    let family = proptest::sample::select(vec![
        "X-Forwarded-Port",
        "X-Original-URL",
        "Forebay-Purge",
        "a_b",
        "x-forwarded-proto_",
    ]);
    let name = prop_oneof![3 => known, 1 => family, 2 => proptest::sample::select(vec!["X-A", "X-B", "Abc"])];
    (name, any::<u32>()).prop_map(|(name, case)| {
        let cased = name.bytes().enumerate().map(|(at, byte)| {
            if case >> (at % 32) & 1 == 1 { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }
        });
        cased.map(char::from).collect()
    })
}

fn any_lines() -> impl Strategy<Value = Vec<String>> {
    let line = (any_name(), "[ \t]{0,2}", "[!-~]{0,6}", "[ \t]{0,2}")
        .prop_map(|(name, before, value, after)| format!("{name}:{before}{value}{after}\r\n"));
    proptest::collection::vec(line, 0..16)
}

fn name_of(line: &str) -> &str {
    line.split_once(':').unwrap().0
}

proptest! {
    #[test]
    fn what_is_kept_is_written_as_it_came(lines in any_lines(), dropped in proptest::collection::vec(any_name(), 0..6)) {
        let head = lines.concat().into_bytes();
        let mut fields = read(&head);
        for name in &dropped {
            fields.drop_named(&head, name.as_bytes());
        }
        let kept: String = lines
            .iter()
            .filter(|line| !dropped.iter().any(|name| name.eq_ignore_ascii_case(name_of(line))))
            .map(String::as_str)
            .collect();
        prop_assert_eq!(written(&fields, &head), kept);
    }

    #[test]
    fn what_is_written_reads_as_what_was_edited(
        lines in any_lines(),
        edits in proptest::collection::vec((any_name(), "[!-~]{0,6}", 0..4_u8), 0..8),
    ) {
        let head = lines.concat().into_bytes();
        let mut fields = read(&head);
        let mut model: Vec<(String, Vec<u8>)> =
            fields.view(&head).all().map(|field| (String::from_utf8_lossy(field.name).into_owned(), field.value.to_vec())).collect();
        for (name, value, kind) in &edits {
            let edit = match kind {
                0 => Edit::DropKnown(Known::of(name.as_bytes()).into()),
                1 => Edit::Drop(name.as_str().into()),
                2 => Edit::set(name.as_str(), value.as_bytes()),
                _ => Edit::append(name.as_str(), value.as_bytes()),
            };
            fields.apply(&head, &edit).unwrap();
            match kind {
                0 => model.retain(|(other, _)| Known::of(other.as_bytes()) != Known::of(name.as_bytes())),
                1 | 2 => model.retain(|(other, _)| !other.eq_ignore_ascii_case(name)),
                _ => {}
            }
            if *kind >= 2 {
                model.push((name.clone(), value.clone().into_bytes()));
            }
        }
        let written = written(&fields, &head).into_bytes();
        for (fields, head) in [(&fields, &head), (&read(&written), &written)] {
            let seen: Vec<_> = fields.view(head).all().map(|field| (String::from_utf8_lossy(field.name).into_owned(), field.value.to_vec())).collect();
            prop_assert_eq!(&seen, &model);
            for known in Known::named() {
                prop_assert_eq!(fields.has(known), model.iter().any(|(name, _)| Known::of(name.as_bytes()) == known));
            }
        }
    }

    #[test]
    fn look_ups_by_tag_and_by_name_agree(lines in any_lines(), dropped in any_name()) {
        let head = lines.concat().into_bytes();
        let mut fields = read(&head);
        fields.drop_named(&head, dropped.as_bytes());
        let view = fields.view(&head);
        for known in Known::named() {
            let name = known.name().unwrap().as_bytes();
            let by_tag: Vec<_> = view.tagged(known).collect();
            prop_assert_eq!(&by_tag, &view.named(name).collect::<Vec<_>>());
            prop_assert_eq!(&by_tag, &view.all().filter(|field| field.name.eq_ignore_ascii_case(name)).collect::<Vec<_>>());
            prop_assert_eq!(view.first(known), by_tag.first().map(|field| field.value));
            let only = if let [only] = &by_tag[..] { Some(only.value) } else { None };
            prop_assert_eq!(view.only(known), only);
        }
    }
}
