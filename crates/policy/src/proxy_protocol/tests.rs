//! Every form of a header, and every way in which it can be wrong.

use proptest::prelude::*;

use super::crc32c::Crc32c;
use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n";

fn addresses(source: &str, destination: &str) -> Option<Addresses> {
    Some(Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() })
}

/// A header of version 2 with this command, kind and content.
fn binary(command: u8, kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[command, kind], &length, content].concat()
}

/// A header of version 2 for a client by IPv4, with these values behind the addresses.
fn ipv4(values: &[u8]) -> Vec<u8> {
    binary(0x21, 0x11, &[&[192, 0, 2, 1, 198, 51, 100, 2, 0x9C, 0x40, 0x01, 0xBB], values].concat())
}

fn value(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], content].concat()
}

fn complete(bytes: &[u8]) -> Header {
    match parse(&[bytes, REQUEST].concat()) {
        Ok(Progress::Complete(header, length)) if length == bytes.len() => header,
        other => panic!("{other:?} of {bytes:?}"),
    }
}

#[test]
fn a_line_names_both_ends() {
    let cases = [
        ("PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n", addresses("192.0.2.1:40000", "198.51.100.2:443")),
        ("PROXY TCP4 255.255.255.255 0.0.0.0 0 65535\r\n", addresses("255.255.255.255:0", "0.0.0.0:65535")),
        ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", addresses("[2001:db8::1]:1", "[::1]:2")),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", addresses("[::ffff:192.0.2.1]:1", "[::1]:2")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
        ("PROXY UNKNOWN whatever \r it says\r\n", None),
    ];
    for (line, addresses) in cases {
        assert_eq!(complete(line.as_bytes()), Header { addresses, ..Header::default() }, "{line:?}");
    }
}

#[test]
fn a_malformed_line_is_refused() {
    let lines = [
        "PROXY \r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 00 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 0x1 2\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 h.test 1 2\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 [2001:db8::1] ::1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY UNKNOWNED\r\n",
        "PROXY UNKNOWN\n",
    ];
    for line in lines {
        assert_eq!(parse(line.as_bytes()), Err(Malformed::Line), "{line:?}");
    }
    assert_eq!(parse(b"PROXY UNKNOWN \xff\r\n"), Err(Malformed::Line));
}

#[test]
fn a_line_has_at_most_107_bytes() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(complete(line(107).as_bytes()), Header::default());
    assert_eq!(parse(line(108).as_bytes()), Err(Malformed::TooLong));
    assert_eq!(parse(&line(108).as_bytes()[..106]), Ok(Progress::NeedsMore));
}

#[test]
fn the_binary_form_names_both_ends() {
    let by_ipv4 = addresses("192.0.2.1:40000", "198.51.100.2:443");
    assert_eq!(complete(&ipv4(&[])), Header { addresses: by_ipv4, ..Header::default() });
    // By a datagram protocol, as QUIC, the addresses are the client's as well.
    let mut datagram = ipv4(&[]);
    datagram[13] = 0x12;
    assert_eq!(complete(&datagram).addresses, by_ipv4);
    let mut content = [0; 36];
    (content[0], content[15], content[31]) = (0x20, 1, 2);
    content[32..].copy_from_slice(&[0, 80, 0, 81]);
    assert_eq!(complete(&binary(0x21, 0x21, &content)).addresses, addresses("[2000::1]:80", "[::2]:81"));
}

#[test]
fn a_sender_that_speaks_for_itself_or_a_client_without_address_has_none() {
    let spoken = value(v2::SSL, &[1, 0, 0, 0, 0]);
    for header in [
        binary(0x20, 0x00, &[]),
        binary(0x20, 0x11, &ipv4(&spoken)[16..]),
        binary(0x20, 0x21, b"whatever it says"),
        binary(0x21, 0x00, b"whatever it says"),
        binary(0x21, 0x31, &[0; 216]),
    ] {
        assert_eq!(complete(&header), Header::default(), "{header:?}");
    }
    let by_unix_socket = complete(&binary(0x21, 0x31, &[&[0; 216], &spoken[..]].concat()));
    assert_eq!(by_unix_socket, Header { is_secure: true, ..Header::default() });
}

#[test]
fn further_values_tell_of_tls_and_of_the_host() {
    let of = |values: &[Vec<u8>]| {
        let header = complete(&ipv4(&values.concat()));
        (header.is_secure, header.authority.as_deref().map(str::to_owned))
    };
    let host = |name: &[u8]| of(&[value(v2::AUTHORITY, name)]).1;
    assert_eq!(of(&[value(v2::SSL, &[1, 0, 0, 0, 1])]), (true, None));
    assert_eq!(of(&[value(v2::SSL, &[7, 0, 0, 0, 0, 0x21, 0, 7, b'T', b'L', b'S'])]), (true, None));
    assert_eq!(of(&[value(v2::SSL, &[6, 0, 0, 0, 0])]), (false, None));
    assert_eq!(of(&[value(0x04, &[0; 9]), value(0xEA, b"x"), value(v2::SSL, &[1, 0, 0, 0, 1])]), (true, None));
    assert_eq!(host(b"Shop.TEST"), Some("shop.test".to_owned()));
    for name in [&b""[..], b"a b", b"a/b", b"a:80", b"a\r\nb", "\u{e4}".as_bytes(), &[b'a'; 256]] {
        assert_eq!(host(name), None, "{name:?}");
    }
}

#[test]
fn a_malformed_binary_header_is_refused() {
    let changed = |at: usize, byte: u8| {
        let mut header = ipv4(&[]);
        header[at] = byte;
        header
    };
    let cases = [
        (changed(12, 0x11), Malformed::Unknown),
        (changed(12, 0x31), Malformed::Unknown),
        (changed(12, 0x22), Malformed::Unknown),
        (changed(12, 0x2F), Malformed::Unknown),
        (changed(13, 0x13), Malformed::Unknown),
        (changed(13, 0x41), Malformed::Unknown),
        (changed(13, 0xFF), Malformed::Unknown),
        (binary(0x21, 0x11, &[0; 11]), Malformed::Length),
        (binary(0x21, 0x11, &[]), Malformed::Length),
        (binary(0x21, 0x21, &[0; 35]), Malformed::Length),
        (binary(0x21, 0x31, &[0; 215]), Malformed::Length),
        (ipv4(&[4]), Malformed::Length),
        (ipv4(&[4, 0]), Malformed::Length),
        (ipv4(&[4, 0, 1]), Malformed::Length),
        (ipv4(&[4, 0xFF, 0xFF, 0, 0, 0]), Malformed::Length),
        (ipv4(&[&value(4, b"a")[..], &[1]].concat()), Malformed::Length),
        (ipv4(&value(v2::SSL, &[1, 0, 0, 0])), Malformed::Length),
        (ipv4(&value(v2::SSL, &[])), Malformed::Length),
        (ipv4(&value(3, &[0; 3])), Malformed::Length),
        (ipv4(&value(3, &[0; 5])), Malformed::Length),
        (ipv4(&value(3, &[0; 4])), Malformed::Checksum),
        (binary(0x21, 0x11, &vec![0; HEADER_BYTES_MAX - 15]), Malformed::TooLong),
    ];
    for (header, wrong) in cases {
        assert_eq!(parse(&header), Err(wrong), "{header:?}");
    }
    // Its length alone says so: nobody waits for the rest.
    assert_eq!(parse(&[v2::SIGNATURE, &[0x21, 0x11, 0xFF, 0xFF]].concat()), Err(Malformed::TooLong));
    let largest = value(0xEA, &vec![0; HEADER_BYTES_MAX - 16 - 12 - 3]);
    assert!(complete(&ipv4(&largest)).addresses.is_some());
}

#[test]
fn a_checksum_must_be_right() {
    let mut header = ipv4(&[value(4, b"ab"), value(3, &[0; 4]), value(v2::SSL, &[1, 0, 0, 0, 1])].concat());
    let sum = Crc32c::default().with(&header).value().to_be_bytes();
    header[36..40].copy_from_slice(&sum);
    assert!(complete(&header).is_secure);
    for at in [16, 28, 36, 39, header.len() - 1] {
        let mut broken = header.clone();
        broken[at] ^= 1;
        assert!(parse(&broken).is_err(), "at {at}");
    }
}

#[test]
fn other_beginnings_are_no_header() {
    let others = [
        "GET / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\n",
        "PROX / HTTP/1.1\r\n",
        "PROXY/",
        "proxy TCP4",
        "\r\nGET /",
        "\r\r",
        "\0",
    ];
    for other in others {
        assert_eq!(parse(other.as_bytes()), Ok(Progress::Absent), "{other:?}");
    }
    assert_eq!(parse(b"\x16\x03\x01"), Ok(Progress::Absent));
    assert_eq!(parse(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Ok(Progress::Absent));
    assert_eq!(parse(b"\r\n\r\n\0\r\nQUIT\r"), Ok(Progress::Absent));
}

#[test]
fn what_is_written_is_read() {
    let both = [addresses("192.0.2.1:40000", "198.51.100.2:443"), addresses("[2001:db8::1]:1", "[::1]:2"), None];
    for addresses in both {
        for version in [Version::V1, Version::V2] {
            let header = Header { addresses, ..Header::default() };
            assert_eq!(complete(&write(version, &header, None)), header, "{version:?}");
        }
    }
    let header = Header { addresses: both[0], is_secure: true, authority: Some("shop.test".into()) };
    assert_eq!(complete(&write(Version::V2, &header, Some("TLSv1.3"))), header);
    assert_eq!(write(Version::V1, &Header::default(), None), b"PROXY UNKNOWN\r\n");
    assert_eq!(write(Version::V2, &Header::default(), None), binary(0x20, 0, &[]));
}

#[test]
fn ends_of_two_families_are_written_in_one() {
    let written = |source, destination| {
        let header = Header { addresses: addresses(source, destination), ..Header::default() };
        String::from_utf8(write(Version::V1, &header, None)).unwrap()
    };
    assert_eq!(written("[::ffff:192.0.2.1]:1", "192.0.2.2:2"), "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    assert_eq!(written("192.0.2.1:1", "[2001:db8::1]:2"), "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n");
}

proptest! {
    #[test]
    fn a_header_that_comes_piece_by_piece_is_read_once_it_is_whole(pick in 0_usize..4, values in proptest::collection::vec(any::<u8>(), 0..40)) {
        let header = match pick {
            0 => b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n".to_vec(),
            1 => b"PROXY UNKNOWN\r\n".to_vec(),
            2 => ipv4(&value(0xEA, &values)),
            _ => binary(0x20, 0, &values),
        };
        for length in 0..header.len() {
            prop_assert_eq!(parse(&header[..length]), Ok(Progress::NeedsMore));
        }
        complete(&header);
    }

    #[test]
    fn no_bytes_do_harm(pick in 0_usize..3, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let begun = [v2::SIGNATURE, &[v2::SIGNATURE, &[0x21, 0x11, 0, 40]].concat(), b"PROXY TCP4 "][pick].to_vec();
        let bytes = [begun, bytes].concat();
        match parse(&bytes) {
            Ok(Progress::Complete(_, length)) => prop_assert!(length <= bytes.len()),
            Ok(Progress::NeedsMore | Progress::Absent) | Err(_) => {}
        }
    }
}
