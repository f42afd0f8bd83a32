//! Records survive encoding, truncation and damage, and other bytes are never taken for a record.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const MARK: u64 = 0x5eed_f00d_dead_beef;

fn a_write(body: &[u8]) -> Write {
    Write {
        route: "notes".into(),
        upstream: "store".into(),
        key: b"http://a/notes/1".as_slice().into(),
        method: Method::PUT,
        target: "/notes/1?x".into(),
        headers: vec![(http::header::HOST, HeaderValue::from_static("a"))],
        body: Bytes::copy_from_slice(body),
        accepted: Duration::from_millis(1_782_864_000_123),
    }
}

fn record(seq: u64, body: &[u8]) -> Record {
    Record { seq, payload: Payload::Write(Packed::of(&a_write(body))) }
}

fn segment(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        encode(record, MARK, &mut bytes).unwrap();
    }
    bytes
}

fn scanned(bytes: &[u8]) -> (Vec<Record>, Vec<Damage>) {
    let mut found = (Vec::new(), Vec::new());
    for item in scan(bytes, MARK) {
        match item {
            Ok((_, record)) => found.0.push(record),
            Err(bad) => found.1.push(bad),
        }
    }
    found
}

fn writes() -> impl Strategy<Value = Write> {
    let texts = ("[a-z]{0,8}", "[a-zä]{0,8}", "/[ -~]{0,24}", "[A-Z]{1,20}");
    let fields = vec(("[a-z][a-z0-9-]{0,12}", "[ -~]{0,20}"), 0..5);
    let bytes = (vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..200), any::<u64>(), 0..1_000_000_000u32);
    (texts, fields, bytes).prop_map(|((route, upstream, target, method), fields, (key, body, seconds, nanos))| Write {
        route: route.into(),
        upstream: upstream.into(),
        key: key.into(),
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        target: target.into(),
        headers: fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
        body: body.into(),
        accepted: Duration::new(seconds, nanos),
    })
}

fn payloads() -> impl Strategy<Value = Payload> {
    let dead = (any::<u64>(), any::<Option<u16>>(), any::<u32>(), "[ -~ä]{0,30}", any::<u32>());
    prop_oneof![
        4 => writes().prop_map(|write| Payload::Write(Packed::of(&write))),
        2 => any::<u64>().prop_map(|write| Payload::Settled { write }),
        1 => dead.prop_map(|(write, status, attempts, reason, at)| {
            Payload::Dead { write, status, attempts, reason: reason.into(), at: Duration::from_millis(at.into()) }
        }),
        1 => any::<u64>().prop_map(|write| Payload::Revived { write }),
        1 => any::<u64>().prop_map(|write| Payload::Discarded { write }),
        1 => any::<u64>().prop_map(|write| Payload::Cancelled { write }),
    ]
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    vec((any::<u64>(), payloads()).prop_map(|(seq, payload)| Record { seq, payload }), 0..8)
}

#[test]
fn a_frame_is_a_head_and_a_payload() {
    let settled = Record { seq: 7, payload: Payload::Settled { write: 3 } };
    let bytes = segment(std::slice::from_ref(&settled));
    assert_eq!(bytes.len(), FRAME_HEAD_BYTES + 8);
    assert_eq!(&bytes[..8], &MARK.to_le_bytes());
    assert_eq!(&bytes[8..12], &8u32.to_le_bytes());
    assert_eq!(&bytes[12..20], &7u64.to_le_bytes());
    assert_eq!(bytes[20], 2);
    assert_eq!(&bytes[29..], &3u64.to_le_bytes());
    assert_eq!(scan(&bytes, MARK).next(), Some(Ok((0, settled))));
}

#[test]
fn damaged_content_costs_one_record_and_its_number_is_known() {
    let records = [record(1, b"one"), record(2, b"two"), record(3, b"three")];
    let mut bytes = segment(&records);
    let start = frame_bytes(&records[0]);
    bytes[start + FRAME_HEAD_BYTES + 20] ^= 4;
    let (found, bad) = scanned(&bytes);
    assert_eq!(found, [records[0].clone(), records[2].clone()]);
    let expected = Damage { offset: start, bytes: frame_bytes(&records[1]), seq: Some(2), why: DamageKind::Corrupt };
    assert_eq!(bad, [expected]);
}

#[test]
fn a_damaged_sector_costs_what_it_held() {
    let records: Vec<_> = (0..100).map(|seq| record(seq, &[b'x'; 100])).collect();
    let mut bytes = segment(&records);
    bytes[512..1024].fill(0xff);
    let (found, bad) = scanned(&bytes);
    assert_eq!(found.first().unwrap().seq, 0);
    assert_eq!(found.last().unwrap().seq, 99);
    assert!(found.len() >= 95 && bad.iter().all(|bad| bad.why == DamageKind::Corrupt), "{} {bad:?}", found.len());
}

#[test]
fn a_tail_of_zeros_was_never_written() {
    let records = [record(1, b"one")];
    let mut bytes = segment(&records);
    let end = bytes.len();
    bytes.resize(end + 4096, 0);
    let (found, bad) = scanned(&bytes);
    assert_eq!(found, records);
    assert_eq!(bad, [Damage { offset: end, bytes: 4096, seq: None, why: DamageKind::Torn }]);
}

#[test]
fn a_damaged_head_of_the_last_record_is_no_torn_tail() {
    for place in 0..FRAME_HEAD_BYTES {
        let mut bytes = segment(&[record(1, b"one")]);
        bytes[place] ^= 1;
        assert_eq!(scanned(&bytes).1[0].why, DamageKind::Corrupt, "{place}");
    }
}

#[test]
fn a_frame_inside_a_clients_content_is_never_found_though_the_frame_around_it_is_damaged() {
    let mut forged = Vec::new();
    encode(&record(9, b"forged"), MARK ^ 1, &mut forged).unwrap();
    let records = [record(1, &forged), record(2, b"two")];
    let mut bytes = segment(&records);
    bytes[8] ^= 1;
    let (found, bad) = scanned(&bytes);
    assert_eq!(found, [records[1].clone()]);
    assert_eq!(bad.len(), 1);
}

#[test]
fn kinds_and_fields_that_make_no_sense_are_errors_of_their_own() {
    let sound = |kind: u8, payload: &[u8]| {
        let mut head = MARK.to_le_bytes().to_vec();
        head.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
        head.extend(5u64.to_le_bytes());
        head.push(kind);
        head.extend(crc32fast::hash(payload).to_le_bytes());
        head.extend(crc32fast::hash(&head).to_le_bytes());
        [&head, payload].concat()
    };
    let later = segment(&[record(6, b"later")]);
    for (kind, payload, why) in [
        (9, &[][..], DamageKind::Kind(9)),
        (2, &[1, 2, 3], DamageKind::Malformed),
        (2, &[0; 9], DamageKind::Malformed),
        (1, &[0xff; 40], DamageKind::Malformed),
        (3, &[0xff; 40], DamageKind::Malformed),
    ] {
        let (found, bad) = scanned(&[sound(kind, payload), later.clone()].concat());
        assert_eq!((found[0].seq, bad[0].seq, bad[0].why), (6, Some(5), why));
    }
}

#[test]
fn a_length_over_a_gibibyte_is_damage() {
    let mut head = MARK.to_le_bytes().to_vec();
    head.extend(((1u32 << 30) + 1).to_le_bytes());
    head.extend([0; 13]);
    head.extend(crc32fast::hash(&head).to_le_bytes());
    assert_eq!(scanned(&head).1[0].why, DamageKind::Corrupt);
}

#[test]
fn a_segment_head_is_read_back_and_says_what_is_wrong_with_it() {
    let head = SegmentHead { journal: 42 << 100, first_seq: 7, mark: MARK };
    let mut bytes = Vec::new();
    head.encode(&mut bytes);
    assert_eq!(bytes.len(), SegmentHead::BYTES);
    for cut in 0..bytes.len() {
        assert_eq!(SegmentHead::read(&bytes[..cut]), Err(BadHead::Torn), "{cut}");
    }
    bytes.extend(b"rest");
    assert_eq!(SegmentHead::read(&bytes), Ok((head, &b"rest"[..])));
    for place in 12..SegmentHead::BYTES {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        assert_eq!(SegmentHead::read(&damaged), Err(BadHead::Corrupt), "{place}");
    }
    bytes[8] = 3;
    assert_eq!(SegmentHead::read(&bytes), Err(BadHead::Version(3)));
    assert_eq!(SegmentHead::read(b"#!/bin/sh\n"), Err(BadHead::Foreign));
    assert_eq!(SegmentHead::read(b"#!"), Err(BadHead::Foreign));
}

#[test]
fn a_segment_of_the_version_before_is_read() {
    let mut bytes = Vec::new();
    SegmentHead { journal: 42, first_seq: 7, mark: MARK }.encode(&mut bytes);
    bytes[8] = 1;
    let summed = bytes.len() - 4;
    let sum = crc32fast::hash(&bytes[..summed]).to_le_bytes();
    bytes[summed..].copy_from_slice(&sum);
    assert_eq!(SegmentHead::read(&bytes).map(|(head, _)| head.first_seq), Ok(7));
}

#[test]
fn behind_a_damaged_segment_head_the_first_frame_shows_the_mark() {
    let mut bytes = vec![0; SegmentHead::BYTES];
    assert_eq!(mark_behind(&bytes), None);
    bytes.extend(segment(&[record(1, b"one")]));
    assert_eq!(mark_behind(&bytes).unwrap().0, MARK);
    bytes[SegmentHead::BYTES + 40] ^= 1;
    assert_eq!(mark_behind(&bytes), None);
}

#[test]
fn a_writes_key_is_the_clients_own_or_the_journals_and_its_number() {
    let mut write = a_write(b"");
    let made = write.idempotency_key(0x0f8f_ad5b_d9cb_469f_a165_7086_7728_950e, 4711);
    assert_eq!(made, "\"fb-0f8fad5bd9cb469fa16570867728950e-4711\"");
    write.headers.push((IDEMPOTENCY_KEY.clone(), HeaderValue::from_static("\"mine\"")));
    assert_eq!(write.idempotency_key(1, 2), "\"mine\"");
}

#[test]
fn secrets_are_marked_again_when_a_write_is_read() {
    let mut write = a_write(b"");
    write.headers.push((http::header::COOKIE, HeaderValue::from_static("a=b")));
    let bytes = segment(&[Record { seq: 1, payload: Payload::Write(Packed::of(&write)) }]);
    let Payload::Write(read) = scanned(&bytes).0.remove(0).payload else { panic!("no write") };
    let read = read.unpack().unwrap();
    assert_eq!(read.headers.iter().map(|(_, value)| value.is_sensitive()).collect::<Vec<_>>(), [false, true]);
}

proptest! {
    #[test]
    fn all_records_come_back_in_order_with_their_places(records in records()) {
        let bytes = segment(&records);
        let mut place = 0;
        let mut count = 0;
        for (item, expected) in scan(&bytes, MARK).zip(&records) {
            let (offset, record) = item.unwrap();
            prop_assert_eq!((offset, &record), (place, expected));
            place += frame_bytes(expected);
            count += 1;
        }
        prop_assert_eq!((place, count), (bytes.len(), records.len()));
    }

    #[test]
    fn a_write_is_the_same_when_it_is_unpacked_however_its_content_came(write in writes(), cut in any::<Index>()) {
        let (first, rest) = write.body.split_at(cut.index(write.body.len() + 1));
        let mut packing = Packing::begin(&write, 0);
        for piece in [first, rest] {
            packing.widen(piece.len());
            packing.put(piece);
        }
        prop_assert_eq!(packing.content_bytes(), write.body.len());
        let packed = packing.finish();
        prop_assert_eq!(&packed, &Packed::of(&write));
        let head = Packed::read_head(&packed.bytes()[..Packing::head_bytes(&write)]).unwrap();
        prop_assert_eq!(&Write { body: write.body.clone(), ..head }, &write);
        prop_assert_eq!(packed.unpack(), Some(write));
    }

    #[test]
    fn a_cut_leaves_the_records_before_it_and_a_torn_tail(records in records(), cut in any::<Index>()) {
        let bytes = segment(&records);
        let cut = cut.index(bytes.len() + 1);
        let (found, bad) = scanned(&bytes[..cut]);
        prop_assert_eq!(&found[..], &records[..found.len()]);
        let whole: usize = found.iter().map(frame_bytes).sum();
        if cut == whole {
            prop_assert!(bad.is_empty());
        } else {
            prop_assert_eq!(bad.len(), 1);
            prop_assert_eq!((bad[0].offset, bad[0].bytes, bad[0].why), (whole, cut - whole, DamageKind::Torn));
        }
        prop_assert!(found.len() == records.len() || whole + frame_bytes(&records[found.len()]) > cut);
    }

    #[test]
    fn a_flipped_bit_costs_the_record_it_is_in_and_no_other(
        records in records().prop_filter("some", |records| !records.is_empty()),
        place in any::<Index>(),
        bit in 0..8u8,
    ) {
        let mut bytes = segment(&records);
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let mut end = 0;
        let hit = records.iter().position(|record| { end += frame_bytes(record); place < end }).unwrap();
        let (found, bad) = scanned(&bytes);
        let mut expected = records.clone();
        let lost = expected.remove(hit);
        prop_assert_eq!(found, expected);
        prop_assert_eq!(bad.len(), 1);
        prop_assert_eq!((bad[0].offset, bad[0].bytes), (end - frame_bytes(&lost), frame_bytes(&lost)));
        prop_assert_eq!(bad[0].why, DamageKind::Corrupt);
    }

    #[test]
    fn any_bytes_are_read_to_their_end_and_every_byte_is_accounted_for(
        mut bytes in vec(any::<u8>(), 0..300),
        records in records(),
        junk in vec(any::<u8>(), 0..40),
    ) {
        bytes.extend(segment(&records));
        bytes.extend(junk);
        let mut place = 0;
        for item in scan(&bytes, MARK) {
            let (offset, length) = match item {
                Ok((offset, record)) => (offset, frame_bytes(&record)),
                Err(bad) => (bad.offset, bad.bytes),
            };
            prop_assert_eq!(offset, place);
            prop_assert!(length > 0);
            place += length;
        }
        prop_assert_eq!(place, bytes.len());
        prop_assert_eq!(scanned(&bytes).0, records);
    }

    #[test]
    fn any_payload_of_any_kind_is_read_without_trust(kind in any::<u8>(), payload in vec(any::<u8>(), 0..120)) {
        let read = fields::read(kind, &payload);
        if let Ok(payload) = read {
            prop_assert!(fields::bytes(&payload) <= 120);
        }
    }
}
