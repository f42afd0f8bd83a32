//! httparse, hyper's parser, as the oracle: what we accept it accepts and reads alike; what it accepts and we refuse
//! breaks one of the rules that we are stricter about.

use super::{request, response};
use crate::{Error, Version};

const FIELDS_MAX: usize = 128;

/// Compares the verdicts on a request head; returns whether both accept it.
pub(super) fn compare_request(bytes: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut oracle = httparse::Request::new(&mut headers);
    let theirs = oracle.parse(bytes);
    let context = || String::from_utf8_lossy(bytes).into_owned();
    match request(bytes) {
        Ok(Some((head, end))) => {
            assert_eq!(theirs, Ok(httparse::Status::Complete(end)), "{:?}", context());
            assert_eq!(oracle.method.map(str::as_bytes), Some(head.method_span().of(bytes)));
            assert_eq!(oracle.path.map(str::as_bytes), Some(head.target().of(bytes)));
            assert_eq!(oracle.version, Some(u8::from(head.version() == Version::Http11)));
            let ours: Vec<_> = head.view(bytes).all().map(|field| (field.name, field.value)).collect();
            let theirs: Vec<_> = oracle.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
            assert_eq!(ours, theirs, "{:?}", context());
            true
        }
        Ok(None) => {
            assert!(!matches!(theirs, Ok(httparse::Status::Complete(_))), "we wait for more: {:?}", context());
            false
        }
        Err(error) => {
            if let Ok(httparse::Status::Complete(end)) = theirs {
                assert!(is_stricter(error, &bytes[..end]), "{error}: {:?}", context());
            }
            false
        }
    }
}

/// The same for a response head.
pub(super) fn compare_response(bytes: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut oracle = httparse::Response::new(&mut headers);
    let theirs = oracle.parse(bytes);
    let context = || String::from_utf8_lossy(bytes).into_owned();
    match response(bytes) {
        Ok(Some((head, end))) => {
            assert_eq!(theirs, Ok(httparse::Status::Complete(end)), "{:?}", context());
            assert_eq!(oracle.code, Some(head.status().code()));
            assert_eq!(oracle.version, Some(u8::from(head.version() == Version::Http11)));
            // httparse gives no reason that holds a byte past ASCII.
            let reason = head.reason().of(bytes);
            assert!(
                oracle
                    .reason
                    .is_some_and(|theirs| theirs.as_bytes() == reason || (theirs.is_empty() && !reason.is_ascii()))
            );
            let ours: Vec<_> = head.view(bytes).all().map(|field| (field.name, field.value)).collect();
            let theirs: Vec<_> = oracle.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
            assert_eq!(ours, theirs, "{:?}", context());
            true
        }
        Ok(None) => {
            assert!(!matches!(theirs, Ok(httparse::Status::Complete(_))), "we wait for more: {:?}", context());
            false
        }
        Err(error) => {
            if let Ok(httparse::Status::Complete(end)) = theirs {
                let is_other_status =
                    error == Error::StatusLine && oracle.code.is_some_and(|code| !(100..600).contains(&code));
                let leads_with_empty_line = error == Error::StatusLine && bytes.starts_with(b"\r\n");
                assert!(
                    is_other_status || leads_with_empty_line || is_stricter(error, &bytes[..end]),
                    "{error}: {:?}",
                    context()
                );
            }
            false
        }
    }
}

/// Whether a head that httparse accepts breaks a rule of ours that it does not have.
fn is_stricter(error: Error, head: &[u8]) -> bool {
    let has_bare_line_feed =
        head.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r'));
    let target = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let has_too_many_lines = head.iter().filter(|byte| **byte == b'\n').count() > 100;
    has_bare_line_feed
        || (error == Error::RequestLine && !target.is_ascii())
        || (error == Error::TooManyFields && has_too_many_lines)
}
