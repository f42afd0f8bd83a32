//! Writing `Cache-Status`: how this cache handled a request (RFC 9211).
//!
//! What caches nearer to the origin have said is left as it is; this cache's member stands after theirs. What can't be
//! said of a response there is no way to write: a member is a hit, went forward, or neither, and never two of them.

use std::fmt::{self, Write};

use http::StatusCode;
use message::{Edit, Fields, Known, NumberLine};

/// The most bytes of a key or a detail that are written; the rest is left out.
pub const TEXT_BYTES_MAX: usize = 512;

/// The largest integer of a structured field, and the smallest with its sign turned (RFC 9651 §3.3.1).
const INTEGER_MAX: i64 = 999_999_999_999_999;

/// Why a request went forward (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache is configured not to handle this request.
    Bypass,
    /// Its method must go forward.
    Method,
    /// Nothing is stored for its URI.
    UriMiss,
    /// Something is stored for its URI, but nothing that its selecting fields choose.
    VaryMiss,
    /// Nothing fits, and it can't be told why.
    Miss,
    /// What was stored was fresh, but the request's directives did not allow it.
    Request,
    /// What was stored was stale.
    Stale,
    /// What was stored holds not all ranges that were asked for.
    Partial,
}

impl Forward {
    /// The token (RFC 9211 §2.2); also the access log's word.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// The first thing that is said: was it answered from here, or sent forward? `hit` and `fwd` exclude each other
/// (RFC 9211 §2.1, §2.2), and what only means something beside `fwd` (§2.3, §2.5, §2.6) is only found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Answered from the cache, without a request going forward (RFC 9211 §2.1).
    Hit,
    /// Sent forward.
    Forwarded {
        /// Why (§2.2).
        why: Forward,
        /// The status of the backend's answer, where it differs from the one sent on (§2.3); `None` also when none
        /// came.
        status: Option<StatusCode>,
        /// Whether the answer was stored (§2.5).
        stored: bool,
        /// Whether another request's answer was shared instead of asking once more (§2.6).
        collapsed: bool,
    },
    /// Neither: made here, without a stored response and without asking, as the 504 that `only-if-cached` brings
    /// (RFC 9111 §5.2.1.7). RFC 9211 §2 would have no member on it, lest it mislead; one that claims neither `hit` nor
    /// `fwd` and gives a detail does not, and tells the cache's own 504 from a backend's.
    Neither,
}

/// What is said of a hit, up to the freshness left in seconds.
pub const HIT: NumberLine = NumberLine::new(Known::CacheStatus, "Cache-Status: forebay; hit; ttl=");

/// This cache's member of the list. `Display` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus<'a> {
    /// Hit or forwarded.
    pub handling: Handling,
    /// Freshness left, in seconds, as the cache reckons it; negative when stale (§2.4). Not written with
    /// [`Handling::Neither`], which has no response to be fresh.
    pub ttl_seconds: Option<i64>,
    /// The key; what is no visible ASCII is written as `?` (§2.7).
    pub key: Option<&'a str>,
    /// A word for the operator, where the rest does not say enough (§2.8).
    pub detail: Option<&'a str>,
}

impl CacheStatus<'_> {
    /// Only the handling.
    #[must_use]
    pub const fn new(handling: Handling) -> Self {
        Self { handling, ttl_seconds: None, key: None, detail: None }
    }

    /// What puts this member after those of caches nearer to the origin (RFC 9211 §2).
    #[must_use]
    pub fn edit(&self, response: &Fields) -> Edit<'static> {
        // By far the most frequent one goes without the machinery of formatting.
        if let CacheStatus { handling: Handling::Hit, ttl_seconds: Some(ttl @ 0..), key: None, detail: None } = self
            && !response.has(Known::CacheStatus)
        {
            return Edit::AppendNumber(HIT, ttl.min(&INTEGER_MAX).unsigned_abs());
        }
        let value = self.to_string().into_bytes();
        let mut others = response.values(Known::CacheStatus);
        match (others.next(), others.next()) {
            // An empty line says nothing.
            (Some(b""), None) => Edit::set(Known::CacheStatus, value),
            _ => Edit::append(Known::CacheStatus, value),
        }
    }
}

impl fmt::Display for CacheStatus<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("forebay")?;
        let (stored, collapsed) = match self.handling {
            Handling::Neither => (false, false),
            Handling::Hit => {
                out.write_str("; hit")?;
                (false, false)
            }
            Handling::Forwarded { why, status, stored, collapsed } => {
                write!(out, "; fwd={}", why.token())?;
                if let Some(status) = status {
                    write!(out, "; fwd-status={}", status.as_u16())?;
                }
                (stored, collapsed)
            }
        };
        if let Some(seconds) = self.ttl_seconds.filter(|_| self.handling != Handling::Neither) {
            write!(out, "; ttl={}", seconds.clamp(-INTEGER_MAX, INTEGER_MAX))?;
        }
        if stored {
            out.write_str("; stored")?;
        }
        if collapsed {
            out.write_str("; collapsed")?;
        }
        if let Some(key) = self.key {
            out.write_str("; key=")?;
            write_string(out, key)?;
        }
        if let Some(detail) = self.detail {
            out.write_str("; detail=")?;
            if is_token(detail) { out.write_str(detail)? } else { write_string(out, detail)? }
        }
        Ok(())
    }
}

/// A token of a structured field, narrower than one of HTTP where it begins, wider after (RFC 9651 §3.3.4).
fn is_token(text: &str) -> bool {
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'*');
    let holds = |byte: u8| super::list::is_token_byte(byte) || matches!(byte, b':' | b'/');
    begins && text.len() <= TEXT_BYTES_MAX && text.bytes().all(holds)
}

/// A string of a structured field (RFC 9651 §3.3.3).
fn write_string(out: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for one in text.chars().take(TEXT_BYTES_MAX) {
        match one {
            '"' | '\\' => out.write_fmt(format_args!("\\{one}"))?,
            ' '..='~' => out.write_char(one)?,
            _ => out.write_char('?')?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::super::scripted::values;
    use super::*;
    use proptest::prelude::*;

    fn forwarded(why: Forward) -> CacheStatus<'static> {
        CacheStatus::new(Handling::Forwarded { why, status: None, stored: false, collapsed: false })
    }

    #[test]
    fn rfc9211_2_1_and_2_4_a_hit_with_the_freshness_left() {
        let hit = CacheStatus { ttl_seconds: Some(376), ..CacheStatus::new(Handling::Hit) };
        assert_eq!(hit.to_string(), "forebay; hit; ttl=376");
        let stale = CacheStatus { ttl_seconds: Some(-412), ..hit };
        assert_eq!(stale.to_string(), "forebay; hit; ttl=-412");
    }

    #[test]
    fn rfc9211_2_2_every_reason_to_go_forward() {
        let cases = [
            (Forward::Bypass, "forebay; fwd=bypass"),
            (Forward::Method, "forebay; fwd=method"),
            (Forward::UriMiss, "forebay; fwd=uri-miss"),
            (Forward::VaryMiss, "forebay; fwd=vary-miss"),
            (Forward::Miss, "forebay; fwd=miss"),
            (Forward::Request, "forebay; fwd=request"),
            (Forward::Stale, "forebay; fwd=stale"),
            (Forward::Partial, "forebay; fwd=partial"),
        ];
        for (why, text) in cases {
            assert_eq!(forwarded(why).to_string(), text);
        }
    }

    #[test]
    fn rfc9211_2_a_response_made_here_claims_neither_hit_nor_fwd() {
        let neither = CacheStatus { detail: Some("only-if-cached"), ..CacheStatus::new(Handling::Neither) };
        assert_eq!(neither.to_string(), "forebay; detail=only-if-cached");
        let fresh = CacheStatus { ttl_seconds: Some(5), ..neither };
        assert_eq!(fresh.to_string(), "forebay; detail=only-if-cached");
        assert_eq!(CacheStatus::new(Handling::Neither).to_string(), "forebay");
    }

    #[test]
    fn rfc9211_2_3_to_2_8_all_parameters_in_order() {
        let handling = Handling::Forwarded {
            why: Forward::Stale,
            status: Some(StatusCode::NOT_MODIFIED),
            stored: true,
            collapsed: true,
        };
        let status =
            CacheStatus { handling, ttl_seconds: Some(60), key: Some("https://a/b?c=\"d\\\""), detail: Some("MEMORY") };
        let text = r#"forebay; fwd=stale; fwd-status=304; ttl=60; stored; collapsed; key="https://a/b?c=\"d\\\""; detail=MEMORY"#;
        assert_eq!(status.to_string(), text);
    }

    #[test]
    fn rfc9651_3_3_integers_saturate_and_strings_stay_ascii_and_short() {
        let wide = CacheStatus { ttl_seconds: Some(i64::MIN), ..CacheStatus::new(Handling::Hit) };
        assert_eq!(wide.to_string(), "forebay; hit; ttl=-999999999999999");
        let odd = CacheStatus { detail: Some("n\u{e4}h\r\n"), ..CacheStatus::new(Handling::Hit) };
        assert_eq!(odd.to_string(), "forebay; hit; detail=\"n?h??\"");
        let empty = CacheStatus { detail: Some(""), ..CacheStatus::new(Handling::Hit) };
        assert_eq!(empty.to_string(), "forebay; hit; detail=\"\"");
        let long = "k".repeat(9000);
        let long = CacheStatus { key: Some(&long), ..CacheStatus::new(Handling::Hit) };
        assert_eq!(long.to_string().len(), "forebay; hit; key=\"\"".len() + TEXT_BYTES_MAX);
    }

    #[test]
    fn rfc9211_2_the_member_stands_after_those_nearer_to_the_origin() {
        for (there, expected) in [
            (&["OriginCache; hit; ttl=1100"][..], &["OriginCache; hit; ttl=1100", "forebay; fwd=uri-miss"][..]),
            (&[""], &["forebay; fwd=uri-miss"]),
            (&[], &["forebay; fwd=uri-miss"]),
        ] {
            let mut headers: Fields = there.iter().map(|line| ("cache-status", line)).collect();
            headers.apply(&forwarded(Forward::UriMiss).edit(&headers));
            assert_eq!(values(&headers, "cache-status"), expected);
        }
    }

    proptest! {
        #[test]
        fn any_key_and_detail_make_a_field_value(key in any::<String>(), detail in any::<String>()) {
            let mut headers = Fields::new();
            let status = CacheStatus { key: Some(&key), detail: Some(&detail), ..CacheStatus::new(Handling::Hit) };
            headers.apply(&status.edit(&headers));
            prop_assert!(headers.contains(Known::CacheStatus));
        }
    }
}
