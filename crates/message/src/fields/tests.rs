//! Tests of fields with their bytes: look-ups by tag and by name agree, copies are the same message.

use proptest::prelude::*;

use super::*;
use crate::known::Known;
use crate::lines::Line;
use crate::span::Span;

/// The fields of a head, received as these bytes.
fn received(fields: &[(&str, &str)]) -> Fields {
    let (mut bytes, mut lines) = (Vec::new(), Lines::default());
    for (name, value) in fields {
        let start = bytes.len();
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        let name_span = Span::new(start, start + name.len()).unwrap();
        let value_start = start + name.len() + 2;
        let value_span = Span::new(value_start, value_start + value.len()).unwrap();
        lines.push(Line::new(name_span, value_span, bytes.len(), Known::of(name.as_bytes())).unwrap());
    }
    Fields::received(bytes.into(), lines)
}

fn texts<'f>(values: impl Iterator<Item = &'f [u8]>) -> Vec<&'f str> {
    values.map(|value| std::str::from_utf8(value).unwrap()).collect()
}

const HEAD: &[(&str, &str)] = &[("hOST", "a"), ("X-One", "1"), ("Via", "x"), ("x-one", "2"), ("VIA", "y"), ("x_y", "")];

#[test]
fn a_copy_in_allocations_that_are_there_has_nothing_left_of_what_was_in_them() {
    let mut source = received(HEAD);
    source.drop_named("x-one");
    source.append("x-added", "3");
    for mut copy in [Fields::new(), source.clone(), received(&[("x-long", "a"), ("te", "b")])] {
        copy.append(Known::Age, "1");
        copy.drop_known(Known::Te);
        copy.clone_from(&source);
        assert_eq!((&copy, copy.tags(), copy.written_bytes()), (&source, source.tags(), source.written_bytes()));
        copy.append("x-added", "4");
        assert_eq!(texts(copy.values("x-added")), ["3", "4"]);
    }
}

#[test]
fn a_field_is_found_by_its_tag_and_by_its_name_in_any_case() {
    let mut fields = received(HEAD);
    fields.append(Known::Via, "z");
    assert_eq!(fields.first(Known::Host), Some(&b"a"[..]));
    assert_eq!(fields.first("HOST"), Some(&b"a"[..]));
    assert_eq!(texts(fields.values("X-ONE")), ["1", "2"]);
    assert_eq!(texts(fields.values(Known::Via)), ["x", "y", "z"]);
    assert_eq!(texts(fields.values("via").rev()), ["z", "y", "x"]);
    assert!(fields.contains("X_Y") && !fields.contains("x_z") && !fields.contains(Known::Te));
    assert_eq!(fields.first("x-two"), None);
}

#[test]
fn a_family_is_no_name() {
    let mut fields = received(&[("X-Forwarded-Port", "1"), ("X-Forwarded-Prefix", "/a")]);
    fields.set(Known::XForwarded, "2");
    fields.append(Known::Other, "3");
    fields.drop_named(Known::XForwarded);
    assert_eq!(fields, received(&[("X-Forwarded-Port", "1"), ("X-Forwarded-Prefix", "/a")]));
    assert_eq!(fields.first("x-forwarded-prefix"), Some(&b"/a"[..]));
    assert_eq!(fields.drop_known(Known::XForwarded), 2);
    assert!(fields.is_empty());
}

/// Fields with so many bytes in all that a client and its proxies could bring about.
fn large(name: &str, bytes: usize) -> Fields {
    let value = "x".repeat(bytes);
    received(&[("Host", "a"), (name, &value)])
}

#[test]
fn a_field_is_set_however_much_was_appended_before() {
    let mut fields = large("Cookie", 60_000);
    let cookie = fields.first(Known::Cookie).unwrap().to_vec();
    fields.drop_known(Known::Cookie);
    fields.append(Known::Cookie, cookie);
    let long = "y".repeat(10_000);
    fields.set("X-Forwarded-Prefix", &long);
    fields.set(Known::Host, "b");
    fields.append_all(&Fields::from_iter([("X-Forwarded-For", "z".repeat(10_000)), ("Via", "1.1 a".to_owned())]));
    fields.apply(&Edit::append(Known::XRequestId, b"1".as_slice()));
    let lengths: Vec<_> = fields.iter().map(|field| field.value.len()).collect();
    assert_eq!(lengths, [60_000, 10_000, 1, 10_000, 5, 1]);
    assert_eq!((fields.first(Known::Host), fields.first(Known::Via)), (Some(&b"b"[..]), Some(&b"1.1 a"[..])));
}

#[test]
fn fields_of_others_are_appended_without_those_that_were_dropped() {
    let mut others = received(HEAD);
    others.append("X-Two", "3");
    for dropped in ["none", "x-one", "x-two", "host"] {
        others.drop_named(dropped);
        let mut fields = received(&[("A", "b")]);
        fields.append("C", "d");
        let mut one_by_one = fields.clone();
        fields.append_all(&others);
        others.iter().for_each(|field| one_by_one.append(field.name, field.value));
        assert_eq!((&fields, fields.tags()), (&one_by_one, one_by_one.tags()));
        let mut written = Vec::new();
        fields.write(&mut written);
        assert_eq!(written.len(), fields.written_bytes());
        assert!(written.starts_with(b"A: b\r\nC: d\r\n") && written.ends_with(b"\r\n"));
    }
}

#[test]
fn a_field_that_is_there_more_than_once_is_not_the_only_one() {
    let mut fields = received(HEAD);
    assert_eq!((fields.only(Known::Host), fields.only(Known::Via)), (Some(&b"a"[..]), None));
    fields.append(Known::Host, "b");
    assert_eq!((fields.only(Known::Host), fields.only(Known::Te)), (None, None));
    fields.set(Known::Host, "c");
    assert_eq!((fields.only(Known::Host), fields.only("host")), (Some(&b"c"[..]), Some(&b"c"[..])));
}

#[test]
fn a_compact_copy_of_more_than_64_kib_is_whole() {
    let mut fields = large("X-A", 40_000);
    fields.append("X-B", "b".repeat(30_000));
    fields.append("X-C", "c".repeat(30_000));
    fields.append(Known::Vary, "d");
    let copy = fields.compact();
    assert!(copy == fields && copy.tags() == fields.tags() && copy.compact() == fields);
    assert_eq!(copy.written_bytes(), fields.written_bytes());
}

#[test]
fn what_would_not_be_one_line_is_left_out() {
    let mut fields = received(HEAD);
    fields.set(Known::Host, "a\r\nx: y");
    fields.append("bad name", "x");
    fields.append("", "x");
    fields.apply(&Edit::set(Known::Via, &b"\0"[..]));
    assert_eq!(fields, received(HEAD));
}

#[test]
fn a_set_field_replaces_all_of_its_name() {
    let mut fields = received(HEAD);
    fields.set("x-ONE", "3");
    fields.set(Known::Via, "w");
    assert_eq!(texts(fields.values("x-one")), ["3"]);
    assert_eq!(texts(fields.values(Known::Via)), ["w"]);
    assert_eq!(fields.len(), 4);
}

#[test]
fn fields_for_which_a_rule_says_no_are_removed() {
    let mut fields = received(HEAD);
    fields.append("X-Two", "1");
    assert_eq!(fields.retain(|field| field.known != Known::Via && field.value != b"1"), 4);
    assert_eq!(fields, received(&[("Host", "a"), ("x-one", "2"), ("x_y", "")]));
    assert!(!fields.has(Known::Via) && fields.has(Known::Underscore));
}

#[test]
fn a_shared_value_outlives_the_fields_and_copies_nothing_received() {
    let mut fields = received(HEAD);
    fields.append("x-two", "own");
    let (host, own) = (fields.first_shared(Known::Host).unwrap(), fields.first_shared("x-two").unwrap());
    assert!(fields.first(Known::Host).is_some_and(|value| value.as_ptr() == host.as_ptr()));
    drop(fields);
    assert_eq!((&*host, &*own), (&b"a"[..], &b"own"[..]));
}

#[test]
fn an_index_that_is_used_again_says_nothing_of_its_last_head() {
    let mut fields = received(HEAD);
    fields.append("x-two", "1");
    let lines = fields.into_lines();
    assert_eq!(Fields::received(Bytes::new(), lines), Fields::new());
}

#[test]
fn lines_can_be_left_out_where_they_are_written() {
    let mut fields = received(HEAD);
    fields.append("Via", "z");
    let mut out = Vec::new();
    fields.write_without(KnownSet::of(&[Known::Via, Known::Host]), &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "X-One: 1\r\nx-one: 2\r\nx_y: \r\n");
    assert_eq!(fields.len(), 7);
}

#[test]
fn a_line_that_does_not_fit_is_left_out() {
    let mut fields = Fields::new();
    fields.append("x-one", "a".repeat(40_000));
    fields.append("x-two", "a".repeat(70_000));
    fields.append("x-three", "a".repeat(20_000));
    assert!(fields.contains("x-one") && !fields.contains("x-two") && fields.contains("x-three"));
}

#[derive(Clone, Debug)]
enum Change {
    Set(String, String),
    Append(String, String),
    Drop(String),
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]", "[Vv]ia", "[Hh]ost", "x-[Ff]orwarded-[a-b]", "x_[ab]"].prop_map(String::from)
}

fn change() -> impl Strategy<Value = Change> {
    let value = || "[ -~]{0,6}";
    prop_oneof![
        (name(), value()).prop_map(|(name, value)| Change::Set(name, value)),
        (name(), value()).prop_map(|(name, value)| Change::Append(name, value)),
        name().prop_map(Change::Drop),
    ]
}

proptest! {
    #[test]
    fn edits_do_what_they_do_to_a_list_of_pairs(
        head in prop::collection::vec((name(), "[!-~]{0,6}"), 0..8),
        changes in prop::collection::vec(change(), 0..8),
    ) {
        let pairs: Vec<(&str, &str)> = head.iter().map(|(name, value)| (&**name, &**value)).collect();
        let mut fields = received(&pairs);
        let mut model = head.clone();
        for change in &changes {
            match change {
                Change::Set(name, value) => {
                    fields.set(&**name, value);
                    model.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                    model.push((name.clone(), value.trim().to_owned()));
                }
                Change::Append(name, value) => {
                    fields.append(&**name, value);
                    model.push((name.clone(), value.trim().to_owned()));
                }
                Change::Drop(name) => {
                    fields.drop_named(&**name);
                    model.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                }
            }
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let got: Vec<(String, String)> = fields.iter().map(|field| (text(field.name), text(field.value))).collect();
        prop_assert_eq!(&got, &model);
        let tags = model.iter().fold(KnownSet::EMPTY, |tags, (name, _)| tags.with(Known::of(name.as_bytes())));
        prop_assert_eq!(fields.tags(), tags);
        let compact = fields.compact();
        prop_assert_eq!(&compact, &fields);
        prop_assert_eq!(compact.tags(), tags);
        let (mut one, mut other) = (Vec::new(), Vec::new());
        fields.write(&mut one);
        compact.write(&mut other);
        prop_assert_eq!(one, other);
        for (name, _) in &model {
            let by_map: Vec<Vec<u8>> =
                fields.to_map().get_all(&**name).iter().map(|value| value.as_bytes().to_vec()).collect();
            let by_name: Vec<Vec<u8>> = fields.values(&**name).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(by_map, by_name);
        }
    }

    /// However the others came to be: received, some of them dropped, appended, or copied.
    #[test]
    fn all_fields_of_others_are_appended_as_they_are(
        one in prop::collection::vec((name(), "[!-~]{0,6}"), 0..4),
        others in prop::collection::vec((name(), "[!-~]{0,6}"), 0..6),
        appended in prop::option::of((name(), "[!-~]{0,6}")),
        dropped in prop::option::of(name()),
        is_copied: bool,
    ) {
        let pairs = |list: &[(String, String)]| {
            received(&list.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>())
        };
        let mut other = pairs(&others);
        if let Some((name, value)) = &appended {
            other.append(&**name, value);
        }
        if let Some(name) = &dropped {
            other.drop_named(&**name);
        }
        let other = if is_copied { other.compact() } else { other };
        let mut fields = pairs(&one);
        fields.append("X-Before", "1");
        let mut model = fields.clone();
        fields.append_all(&other);
        for field in other.iter() {
            model.append(field.name, field.value);
        }
        prop_assert_eq!(&fields, &model);
        prop_assert_eq!(fields.tags(), model.tags());
        prop_assert_eq!(fields.written_bytes(), model.written_bytes());
    }
}
