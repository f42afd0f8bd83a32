//! Parses a certificate (RFC 5280 §4.1): subject, validity, subject alternative names.

use std::net::IpAddr;

use super::calendar::days;
use super::der::Reader;

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xA0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xA3;
/// `id-ce-subjectAltName`.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];
/// `id-ce-authorityKeyIdentifier`.
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1D, 0x23];
/// `keyIdentifier` within it.
const KEY_ID: u8 = 0x80;

/// The most subject alternative names that are read; the rest is ignored.
const NAMES_MAX: usize = 1_000;

/// A subject alternative name (RFC 5280 §4.2.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// A host name, which may begin with `*.`.
    Dns(&'a str),
    /// A mail address.
    Email(&'a str),
    /// A URI.
    Uri(&'a str),
    /// An IP address.
    Ip(IpAddr),
}

/// The parsed fields of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// The serial number: the content of its DER form.
    pub serial: &'a [u8],
    /// The content of the issuer's `Name`.
    pub issuer: &'a [u8],
    /// The content of the subject's `Name`, for [`super::subject::text`].
    pub subject: &'a [u8],
    /// Start of the validity, in seconds since 1970.
    pub not_before: i64,
    /// End of the validity, in seconds since 1970.
    pub not_after: i64,
    /// Subject alternative names of the kinds in [`Name`], at most 1,000.
    pub names: Vec<Name<'a>>,
    /// Which key of the issuer has signed it, if it says so (RFC 5280 §4.2.1.1).
    pub authority_key: Option<&'a [u8]>,
}

/// Parses a DER certificate; `None` if it is malformed.
#[must_use]
pub fn read(der: &[u8]) -> Option<Certificate<'_>> {
    let mut signed = Reader::new(Reader::new(der).expect(SEQUENCE)?);
    let mut to_be_signed = Reader::new(signed.expect(SEQUENCE)?);
    to_be_signed.optional(VERSION);
    let serial = to_be_signed.expect(INTEGER)?;
    let (_algorithm, issuer) = (to_be_signed.expect(SEQUENCE)?, to_be_signed.expect(SEQUENCE)?);
    let mut validity = Reader::new(to_be_signed.expect(SEQUENCE)?);
    let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
    let subject = to_be_signed.expect(SEQUENCE)?;
    let _public_key = to_be_signed.expect(SEQUENCE)?;
    to_be_signed.optional(ISSUER_ID);
    to_be_signed.optional(SUBJECT_ID);
    let none = Certificate { serial, issuer, subject, not_before, not_after, names: Vec::new(), authority_key: None };
    match to_be_signed.optional(EXTENSIONS) {
        Some(extensions) => with_extensions(none, Reader::new(Reader::new(extensions).expect(SEQUENCE)?)),
        None => Some(none),
    }
}

fn with_extensions<'a>(mut certificate: Certificate<'a>, mut extensions: Reader<'a>) -> Option<Certificate<'a>> {
    while !extensions.is_empty() {
        let mut extension = Reader::new(extensions.expect(SEQUENCE)?);
        let kind = extension.expect(OID)?;
        extension.optional(BOOLEAN);
        let content = extension.expect(OCTETS)?;
        if kind == SUBJECT_ALT_NAME {
            let mut names = Reader::new(Reader::new(content).expect(SEQUENCE)?);
            let values = std::iter::from_fn(|| names.next_value()).take(NAMES_MAX);
            certificate.names = values.filter_map(|value| name(value.tag, value.content)).collect();
        } else if kind == AUTHORITY_KEY {
            certificate.authority_key = Reader::new(Reader::new(content).expect(SEQUENCE)?).optional(KEY_ID);
        }
    }
    Some(certificate)
}

/// A general name; `None` for kinds that are not in [`Name`].
fn name(tag: u8, content: &[u8]) -> Option<Name<'_>> {
    let text = || std::str::from_utf8(content).ok();
    match tag {
        0x81 => text().map(Name::Email),
        0x82 => text().map(Name::Dns),
        0x86 => text().map(Name::Uri),
        0x87 => match (<[u8; 4]>::try_from(content), <[u8; 16]>::try_from(content)) {
            (Ok(four), _) => Some(Name::Ip(four.into())),
            (_, Ok(sixteen)) => Some(Name::Ip(sixteen.into())),
            _ => None,
        },
        _ => None,
    }
}

/// A `UTCTime` (`YYMMDDHHMMSSZ`) or `GeneralizedTime` (`YYYYMMDDHHMMSSZ`), RFC 5280 §4.1.2.5.
pub(super) fn time(values: &mut Reader<'_>) -> Option<i64> {
    let value = values.next_value()?;
    let digits = value.content.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let (year, rest) = match (value.tag, digits.len()) {
        (UTC_TIME, 12) => {
            let (year, rest) = digits.split_first_chunk::<2>()?;
            let year = number(year);
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (GENERALIZED_TIME, 14) => {
            let (year, rest) = digits.split_first_chunk::<4>()?;
            (number(year), rest)
        }
        _ => return None,
    };
    let mut parts = rest.chunks(2).map(number);
    let mut part = |bounds: std::ops::RangeInclusive<i64>| parts.next().filter(|part| bounds.contains(part));
    let (month, day) = (part(1..=12)?, part(1..=31)?);
    let (hour, minute, second) = (part(0..=23)?, part(0..=59)?, part(0..=60)?);
    Some(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> i64 {
    digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::certificate::subject;

    /// A certificate made with `openssl req -x509`: see `samples/README.md`.
    const SAMPLE: &[u8] = include_bytes!("samples/client.der");

    #[test]
    fn subject_validity_and_names_are_read() {
        let certificate = read(SAMPLE).unwrap();
        let names = [
            Name::Dns("alice.example"),
            Name::Dns("*.Wild.example"),
            Name::Uri("spiffe://example/alice,b"),
            Name::Email("alice@example"),
            Name::Ip([10, 0, 0, 1].into()),
            Name::Ip("2001:db8::1".parse().unwrap()),
        ];
        assert_eq!(certificate.names, names);
        assert_eq!((certificate.not_before, certificate.not_after), (1_796_073_455, 2_426_793_455));
        assert_eq!(subject::text(certificate.issuer), subject::text(certificate.subject));
        assert_eq!((certificate.serial.len(), certificate.authority_key), (20, None));
        assert_eq!(subject::text(certificate.subject), "CN=Al\\C3\\AFce \\\"A\\\"\\, B,OU=Edge,O=Example,C=NL");
    }

    #[test]
    fn times_are_read_in_both_forms() {
        let read = |tag: u8, text: &str| {
            let bytes = [&[tag, u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
            time(&mut Reader::new(&bytes))
        };
        assert_eq!(read(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(read(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(read(UTC_TIME, "500101000000Z"), Some(-631_152_000));
        assert_eq!(read(GENERALIZED_TIME, "20000229120000Z"), Some(951_825_600));
        assert_eq!(read(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        for (tag, text) in [
            (UTC_TIME, "20000229120000Z"),
            (UTC_TIME, "7001010000Z"),
            (UTC_TIME, "700101000000+"),
            (UTC_TIME, "701301000000Z"),
            (GENERALIZED_TIME, "20000229120000"),
            (GENERALIZED_TIME, "2000022912000xZ"),
        ] {
            assert_eq!(read(tag, text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn damage_is_never_a_panic(at in 0..SAMPLE.len(), byte: u8, end in 0..SAMPLE.len()) {
            let mut damaged = SAMPLE.to_vec();
            damaged[at] = byte;
            let _either = read(&damaged).map(|certificate| subject::text(certificate.subject));
            prop_assert!(read(&SAMPLE[..end]).is_none());
        }
    }
}
