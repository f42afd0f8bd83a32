//! Writes `Cache-Status`: how this cache handled a request (RFC 9211).
//!
//! Members of caches nearer to the origin are unchanged; this cache's member is appended. The types exclude
//! contradictions: a member is a hit, forwarded, or neither.

use std::fmt::{self, Write};

use http::StatusCode;
use message::{Edit, Fields, Known, NumberLine};

/// The most bytes of a key or detail; longer ones are truncated.
pub const TEXT_BYTES_MAX: usize = 512;

/// The largest integer of a structured field; its negative is the smallest (RFC 9651 §3.3.1).
const INTEGER_MAX: i64 = 999_999_999_999_999;

/// Why a request went forward (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache is configured not to handle this request (`bypass`).
    Bypass,
    /// The method requires forwarding.
    Method,
    /// Nothing is stored for its URI.
    UriMiss,
    /// Responses are stored for its URI, but none matches the fields named by `Vary`.
    VaryMiss,
    /// No stored response matches, for an unknown reason.
    Miss,
    /// A stored response was fresh, but the request's directives did not allow it.
    Request,
    /// The stored response was stale.
    Stale,
    /// The stored response does not contain all requested ranges.
    Partial,
}

impl Forward {
    /// The token (RFC 9211 §2.2), also used in the access log.
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

/// The handling of a request. `hit` and `fwd` exclude each other (RFC 9211 §2.1, §2.2); parameters that require `fwd`
/// (§2.3, §2.5, §2.6) are fields of that variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Answered from the cache without forwarding (RFC 9211 §2.1).
    Hit,
    /// Forwarded.
    Forwarded {
        /// Why (§2.2).
        why: Forward,
        /// The status of the backend's response if it differs from the one sent to the client (§2.3); `None` also
        /// without a response.
        status: Option<StatusCode>,
        /// Whether the response was stored (§2.5).
        stored: bool,
        /// Whether the request shared the response to another one (§2.6).
        collapsed: bool,
    },
    /// Neither: generated here without a stored response and without forwarding, like the 504 for `only-if-cached` (RFC
    /// 9111 §5.2.1.7). RFC 9211 §2 recommends no member for such a response, because it could mislead. A member without
    /// `hit` and `fwd` but with a detail does not mislead, and distinguishes the cache's own 504 from a backend's.
    Neither,
}

/// The member of a hit, up to the value of `ttl`.
pub const HIT: NumberLine = NumberLine::new(Known::CacheStatus, "Cache-Status: forebay; hit; ttl=");

/// This cache's member of the list; `Display` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheStatus<'a> {
    /// The handling.
    pub handling: Handling,
    /// The remaining freshness in seconds, as computed by the cache; negative if stale (§2.4). Not written with
    /// [`Handling::Neither`], which has no stored response.
    pub ttl_seconds: Option<i64>,
    /// The cache key; everything but visible ASCII is replaced by `?` (§2.7).
    pub key: Option<&'a str>,
    /// A detail for operators (§2.8).
    pub detail: Option<&'a str>,
}

impl CacheStatus<'_> {
    /// A member with the handling alone.
    #[must_use]
    pub const fn new(handling: Handling) -> Self {
        Self { handling, ttl_seconds: None, key: None, detail: None }
    }

    /// The edit that appends this member to those of caches nearer to the origin (RFC 9211 §2).
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
            // An empty line contains no member.
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

/// Writes a token of a structured field. Its first byte is more restricted than that of an HTTP token, the others less
/// (RFC 9651 §3.3.4).
fn is_token(text: &str) -> bool {
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'*');
    let holds = |byte: u8| super::list::is_token_byte(byte) || matches!(byte, b':' | b'/');
    begins && text.len() <= TEXT_BYTES_MAX && text.bytes().all(holds)
}

/// Writes a string of a structured field (RFC 9651 §3.3.3).
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
