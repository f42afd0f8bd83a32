//! Saying that a message came through here (RFC 9110 §7.6.3).

use http::header::VIA;
use http::{HeaderMap, HeaderValue, Version};

use super::list::elements;

/// The name under which this proxy signs.
pub const PSEUDONYM: &str = "forebay";

/// Signs a message that was received in this version. What was there before is kept; the head limit bounds it.
pub fn sign(headers: &mut HeaderMap, received: Version) {
    // A matching line of its own costs no copy of what is there, and means the same as a longer list.
    let ours = if received == Version::HTTP_10 {
        HeaderValue::from_static("1.0 forebay")
    } else if received == Version::HTTP_2 {
        HeaderValue::from_static("2 forebay")
    } else {
        HeaderValue::from_static("1.1 forebay")
    };
    headers.append(VIA, ours);
}

/// How often this proxy's name is in `Via`: more than a few times means that requests run in a circle.
///
/// Others may sign with the same name, so this alone proves nothing.
#[must_use]
pub fn count(headers: &HeaderMap) -> usize {
    elements(&headers.get_all(VIA)).filter(|one| received_by(one) == Some(PSEUDONYM.as_bytes())).count()
}

/// The second word: `1.1 forebay (comment)`.
fn received_by(element: &[u8]) -> Option<&[u8]> {
    element.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_signature_follows_those_of_others() {
        let mut headers = HeaderMap::from_iter([(VIA, HeaderValue::from_static("1.0 fred, 1.1 p.example.net"))]);
        sign(&mut headers, Version::HTTP_11);
        let lines: Vec<_> = headers.get_all(VIA).iter().collect();
        assert_eq!(lines, ["1.0 fred, 1.1 p.example.net", "1.1 forebay"]);
    }

    #[test]
    fn the_version_is_the_one_received() {
        for (version, expected) in
            [(Version::HTTP_10, "1.0 forebay"), (Version::HTTP_11, "1.1 forebay"), (Version::HTTP_2, "2 forebay")]
        {
            let mut headers = HeaderMap::new();
            sign(&mut headers, version);
            assert_eq!(headers[VIA], expected);
        }
    }

    #[test]
    fn our_own_signatures_are_counted() {
        let value = HeaderValue::from_static("1.1 forebay, 1.1  forebay (x), 1.1 other, forebay, 1.1 forebays");
        assert_eq!(count(&HeaderMap::from_iter([(VIA, value)])), 2);
        assert_eq!(count(&HeaderMap::new()), 0);
    }
}
