//! Tests of the codec, one file a subject. Names of cases say what hostile or broken input gets.

mod chunks;
mod corpus;
mod framing;
mod heads;
mod oracle;
mod write;

use crate::{Error, HeadLimits, RequestHead, ResponseHead};

/// Scans a request head that is there as a whole.
fn request(bytes: &[u8]) -> Result<Option<(RequestHead, usize)>, Error> {
    let mut head = RequestHead::default();
    let end = head.scan(bytes, &HeadLimits::default())?;
    Ok(end.map(|end| (head, end)))
}

/// Scans a response head that is there as a whole.
fn response(bytes: &[u8]) -> Result<Option<(ResponseHead, usize)>, Error> {
    let mut head = ResponseHead::default();
    let end = head.scan(bytes, &HeadLimits::default())?;
    Ok(end.map(|end| (head, end)))
}

/// The prefixes of the bytes that end at each cut, then all of them.
fn prefixes<'b>(bytes: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    ends.into_iter().map(|end| &bytes[..end]).collect()
}

/// What is known of a request head once it is scanned, as text that can be compared.
fn request_text(bytes: &[u8], prefixes: &[&[u8]]) -> String {
    let mut head = RequestHead::default();
    for prefix in prefixes {
        match head.scan(prefix, &HeadLimits::default()) {
            Ok(None) => {}
            Ok(Some(end)) => return format!("{end} {head:?} {:?}", head.view(bytes).all().collect::<Vec<_>>()),
            Err(error) => return format!("{error:?}"),
        }
    }
    "incomplete".to_owned()
}

/// The same of a response head.
fn response_text(bytes: &[u8], prefixes: &[&[u8]]) -> String {
    let mut head = ResponseHead::default();
    for prefix in prefixes {
        match head.scan(prefix, &HeadLimits::default()) {
            Ok(None) => {}
            Ok(Some(end)) => return format!("{end} {head:?} {:?}", head.view(bytes).all().collect::<Vec<_>>()),
            Err(error) => return format!("{error:?}"),
        }
    }
    "incomplete".to_owned()
}
