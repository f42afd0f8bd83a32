//! Parses an OCSP response (RFC 6960 §4.2.1): about which certificate it is, what it says, and until when. Clients verify its
//! signature.

use super::der::Reader;
use super::x509::{GENERALIZED_TIME, INTEGER, OCTETS, OID, SEQUENCE, time};

const ENUMERATED: u8 = 0x0A;
/// The context tag 0 of a constructed value: the response's bytes, its version, `nextUpdate`.
const TAG_0: u8 = 0xA0;
/// The status `good`.
const GOOD: u8 = 0x80;
/// `id-pkix-ocsp-basic`.
const BASIC: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// What an OCSP response says of its first certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status<'a> {
    /// The certificate's serial number, as in [`super::x509::Certificate::serial`].
    pub serial: &'a [u8],
    /// Whether it is not revoked.
    pub is_good: bool,
    /// When there is a newer response at the latest, in seconds since 1970; `None`: at any time.
    pub next_update: Option<i64>,
}

/// Parses a DER response; `None` if it is malformed, or not successful.
#[must_use]
pub fn read(der: &[u8]) -> Option<Status<'_>> {
    let mut response = Reader::new(Reader::new(der).expect(SEQUENCE)?);
    let is_successful = response.expect(ENUMERATED)? == [0];
    let mut typed = Reader::new(Reader::new(response.expect(TAG_0)?).expect(SEQUENCE)?);
    let is_basic = typed.expect(OID)? == BASIC;
    let mut basic = Reader::new(Reader::new(typed.expect(OCTETS)?).expect(SEQUENCE)?);
    let mut data = Reader::new(basic.expect(SEQUENCE)?);
    data.optional(TAG_0);
    let (_responder, _produced) = (data.next_value()?, data.expect(GENERALIZED_TIME)?);
    let mut single = Reader::new(Reader::new(data.expect(SEQUENCE)?).expect(SEQUENCE)?);
    let mut identity = Reader::new(single.expect(SEQUENCE)?);
    let (_algorithm, _name, _key) = (identity.expect(SEQUENCE)?, identity.expect(OCTETS)?, identity.expect(OCTETS)?);
    let serial = identity.expect(INTEGER)?;
    let is_good = single.next_value()?.tag == GOOD;
    let _this_update = time(&mut single)?;
    let next_update = match single.optional(TAG_0) {
        Some(value) => Some(time(&mut Reader::new(value))?),
        None => None,
    };
    (is_successful && is_basic).then_some(Status { serial, is_good, next_update })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, 0x82][..], &u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
    }

    fn response(status: u8, kind: &[u8], of_certificate: u8, next_update: Option<&str>) -> Vec<u8> {
        let when = |text: &str| value(GENERALIZED_TIME, text.as_bytes());
        let identity =
            [value(SEQUENCE, &[]), value(OCTETS, b"n"), value(OCTETS, b"k"), value(INTEGER, &[1, 2])].concat();
        let next = next_update.map(|text| value(TAG_0, &when(text))).unwrap_or_default();
        let single = [value(SEQUENCE, &identity), value(of_certificate, &[]), when("20260101000000Z"), next].concat();
        let list = value(SEQUENCE, &value(SEQUENCE, &single));
        let data = [value(0xA2, b"responder"), when("20260101000000Z"), list].concat();
        let basic = value(SEQUENCE, &[value(SEQUENCE, &data), value(SEQUENCE, &[])].concat());
        let typed = value(SEQUENCE, &[value(OID, kind), value(OCTETS, &basic)].concat());
        value(SEQUENCE, &[value(ENUMERATED, &[status]), value(TAG_0, &typed)].concat())
    }

    #[test]
    fn a_response_says_what_its_certificate_is_and_until_when() {
        let good = response(0, BASIC, GOOD, Some("20260102000000Z"));
        let status = Status { serial: &[1, 2], is_good: true, next_update: Some(1_767_312_000) };
        assert_eq!(read(&good), Some(status));
        let revoked = response(0, BASIC, 0xA1, None);
        assert_eq!(read(&revoked), Some(Status { is_good: false, next_update: None, ..status }));
    }

    #[test]
    fn what_is_no_successful_basic_response_is_none() {
        assert_eq!(read(&response(6, BASIC, GOOD, None)), None);
        assert_eq!(read(&response(0, &[0x2B], GOOD, None)), None);
        assert_eq!(read(&response(0, BASIC, GOOD, Some("soon"))), None);
        let good = response(0, BASIC, GOOD, None);
        assert!((0..good.len()).all(|length| read(&good[..length]).is_none()));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(at in 0_usize..120, byte: u8) {
            let mut bytes = response(0, BASIC, GOOD, Some("20260102000000Z"));
            bytes[at] = byte;
            let _status = read(&bytes);
        }
    }
}
