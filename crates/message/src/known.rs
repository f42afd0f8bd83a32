//! Names of fields that the product looks at, as tags of one byte.
//!
//! A tag is found once, while a head is scanned. After that a look-up compares a byte, and one mask test on the tags
//! that a head holds skips every rule for fields that are absent.

mod key;

use key::{Key, NAME_BYTES};

/// The tag of a field name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Known {
    /// A name that is none of the others.
    #[default]
    Other,
    /// `Accept`.
    Accept,
    /// `Accept-Encoding`.
    AcceptEncoding,
    /// `Accept-Language`.
    AcceptLanguage,
    /// `Accept-Ranges`.
    AcceptRanges,
    /// `Age`.
    Age,
    /// `Authorization`.
    Authorization,
    /// `Cache-Control`.
    CacheControl,
    /// `Cache-Status`.
    CacheStatus,
    /// `CDN-Cache-Control`.
    CdnCacheControl,
    /// `Connection`.
    Connection,
    /// `Content-Encoding`.
    ContentEncoding,
    /// `Content-Length`.
    ContentLength,
    /// `Content-Location`.
    ContentLocation,
    /// `Content-Range`.
    ContentRange,
    /// `Content-Type`.
    ContentType,
    /// `Cookie`.
    Cookie,
    /// `Date`.
    Date,
    /// `ETag`.
    Etag,
    /// `Expect`.
    Expect,
    /// `Expires`.
    Expires,
    /// `Forwarded`.
    Forwarded,
    /// `Host`.
    Host,
    /// `If-Match`.
    IfMatch,
    /// `If-Modified-Since`.
    IfModifiedSince,
    /// `If-None-Match`.
    IfNoneMatch,
    /// `If-Range`.
    IfRange,
    /// `If-Unmodified-Since`.
    IfUnmodifiedSince,
    /// `Keep-Alive`.
    KeepAlive,
    /// `Last-Modified`.
    LastModified,
    /// `Location`.
    Location,
    /// `Max-Forwards`.
    MaxForwards,
    /// `Origin`.
    Origin,
    /// `Pragma`.
    Pragma,
    /// `Proxy-Authenticate`.
    ProxyAuthenticate,
    /// `Proxy-Authentication-Info`.
    ProxyAuthenticationInfo,
    /// `Proxy-Authorization`.
    ProxyAuthorization,
    /// `Proxy-Connection`.
    ProxyConnection,
    /// `Range`.
    Range,
    /// `Referer`.
    Referer,
    /// `Server`.
    Server,
    /// `Set-Cookie`.
    SetCookie,
    /// `Surrogate-Control`.
    SurrogateControl,
    /// `TE`.
    Te,
    /// `Trailer`.
    Trailer,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `Upgrade`.
    Upgrade,
    /// `User-Agent`.
    UserAgent,
    /// `Vary`.
    Vary,
    /// `Via`.
    Via,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `X-Forwarded-Host`.
    XForwardedHost,
    /// `X-Forwarded-Proto`.
    XForwardedProto,
    /// `X-Real-IP`.
    XRealIp,
    /// `X-Request-ID`.
    XRequestId,
    /// Any other name that begins with `X-Forwarded-`.
    XForwarded,
    /// A name that asks for another target, host, scheme or method: `X-Original-URL`, `X-HTTP-Method-Override`, …
    Override,
    /// A name by which a TLS terminator tells of its client's certificate: `Client-Cert`, `X-Client-Cert-Subject`, …
    ClientCertificate,
    /// A name that begins with `Forebay-` or `X-Forebay-`.
    Forebay,
    /// Any other name with an underscore: CGI-like interfaces confuse it with its twin with a hyphen.
    Underscore,
}

/// Every tag that stands for one name, in the order of the tags, with the spelling of the registry.
const NAMES: &[(Known, &str)] = &[
    (Known::Accept, "Accept"),
    (Known::AcceptEncoding, "Accept-Encoding"),
    (Known::AcceptLanguage, "Accept-Language"),
    (Known::AcceptRanges, "Accept-Ranges"),
    (Known::Age, "Age"),
    (Known::Authorization, "Authorization"),
    (Known::CacheControl, "Cache-Control"),
    (Known::CacheStatus, "Cache-Status"),
    (Known::CdnCacheControl, "CDN-Cache-Control"),
    (Known::Connection, "Connection"),
    (Known::ContentEncoding, "Content-Encoding"),
    (Known::ContentLength, "Content-Length"),
    (Known::ContentLocation, "Content-Location"),
    (Known::ContentRange, "Content-Range"),
    (Known::ContentType, "Content-Type"),
    (Known::Cookie, "Cookie"),
    (Known::Date, "Date"),
    (Known::Etag, "ETag"),
    (Known::Expect, "Expect"),
    (Known::Expires, "Expires"),
    (Known::Forwarded, "Forwarded"),
    (Known::Host, "Host"),
    (Known::IfMatch, "If-Match"),
    (Known::IfModifiedSince, "If-Modified-Since"),
    (Known::IfNoneMatch, "If-None-Match"),
    (Known::IfRange, "If-Range"),
    (Known::IfUnmodifiedSince, "If-Unmodified-Since"),
    (Known::KeepAlive, "Keep-Alive"),
    (Known::LastModified, "Last-Modified"),
    (Known::Location, "Location"),
    (Known::MaxForwards, "Max-Forwards"),
    (Known::Origin, "Origin"),
    (Known::Pragma, "Pragma"),
    (Known::ProxyAuthenticate, "Proxy-Authenticate"),
    (Known::ProxyAuthenticationInfo, "Proxy-Authentication-Info"),
    (Known::ProxyAuthorization, "Proxy-Authorization"),
    (Known::ProxyConnection, "Proxy-Connection"),
    (Known::Range, "Range"),
    (Known::Referer, "Referer"),
    (Known::Server, "Server"),
    (Known::SetCookie, "Set-Cookie"),
    (Known::SurrogateControl, "Surrogate-Control"),
    (Known::Te, "TE"),
    (Known::Trailer, "Trailer"),
    (Known::TransferEncoding, "Transfer-Encoding"),
    (Known::Upgrade, "Upgrade"),
    (Known::UserAgent, "User-Agent"),
    (Known::Vary, "Vary"),
    (Known::Via, "Via"),
    (Known::XForwardedFor, "X-Forwarded-For"),
    (Known::XForwardedHost, "X-Forwarded-Host"),
    (Known::XForwardedProto, "X-Forwarded-Proto"),
    (Known::XRealIp, "X-Real-IP"),
    (Known::XRequestId, "X-Request-ID"),
];

/// The names of [`Known::Override`], in lower case.
const OVERRIDES: &[&[u8]] = &[
    b"front-end-https",
    b"x-host",
    b"x-http-host-override",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-original-host",
    b"x-original-method",
    b"x-original-uri",
    b"x-original-url",
    b"x-rewrite-url",
    b"x-scheme",
    b"x-script-name",
    b"x-url-scheme",
];

impl Known {
    /// The tag of a name, in any case. The name is expected to be a token.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let exact = Self::exact(name);
        if exact == Self::Other { Self::family(name) } else { exact }
    }

    /// The tag that stands for this name alone, in any case; [`Known::Other`] if there is none.
    ///
    /// A name that has one is a token, so a scanner needs no second look at it.
    #[must_use]
    #[inline]
    pub fn exact(name: &[u8]) -> Self {
        match Key::of(name) {
            Some(key) => key.known(),
            None => Self::long(name),
        }
    }

    /// The same for a name that stands in front of other bytes: so many bytes are its own.
    #[must_use]
    #[inline]
    pub fn in_front(bytes: &[u8; NAME_BYTES], length: usize) -> Self {
        Key::in_front(bytes, length).map_or(Self::Other, Key::known)
    }

    #[cold]
    fn long(name: &[u8]) -> Self {
        let is_named = |known: &&Self| known.name().is_some_and(|other| name.eq_ignore_ascii_case(other.as_bytes()));
        LONG.iter().find(is_named).copied().unwrap_or_default()
    }

    /// The tag of a name that is known to hold letters, digits and hyphens alone, in any case.
    #[must_use]
    #[inline]
    pub fn of_plain(name: &[u8]) -> Self {
        match (Self::exact(name), name.first()) {
            (Self::Other, Some(first)) if Self::begins_family(*first) => Self::family(name),
            (known, _) => known,
        }
    }

    /// Whether the names of a family may begin with this byte; that of the underscore is left aside.
    #[must_use]
    #[inline(always)]
    pub const fn begins_family(first: u8) -> bool {
        matches!(first | 0x20, b'x' | b'f' | b'c')
    }

    /// The tag of a name that has no tag for itself alone: one of the families, or [`Known::Other`].
    #[must_use]
    pub fn family(name: &[u8]) -> Self {
        let is_override = || OVERRIDES.iter().any(|known| name.eq_ignore_ascii_case(known));
        match name.first().map(u8::to_ascii_lowercase) {
            Some(b'x') if starts_with(name, b"x-forwarded-") => Self::XForwarded,
            Some(b'x') if starts_with(name, b"x-forebay-") => Self::Forebay,
            Some(b'x') if is_one_of_client_cert(name, b"x-client-cert") => Self::ClientCertificate,
            Some(b'c') if is_one_of_client_cert(name, b"client-cert") => Self::ClientCertificate,
            Some(b'f') if starts_with(name, b"forebay-") => Self::Forebay,
            Some(b'x' | b'f') if is_override() => Self::Override,
            _ if has_underscore(name) => Self::Underscore,
            _ => Self::Other,
        }
    }

    /// The name that this tag stands for; `None` for [`Known::Other`] and the families.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        // The first tag stands for no name.
        NAMES.get((self as usize).checked_sub(1)?).map(|(_, name)| *name)
    }

    /// All tags that stand for one name.
    pub fn named() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(known, _)| *known)
    }
}

/// Whether a name is this one, or goes on with a hyphen behind it.
fn is_one_of_client_cert(name: &[u8], first: &[u8]) -> bool {
    starts_with(name, first) && matches!(name.get(first.len()), None | Some(b'-'))
}

fn starts_with(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// The underscore is searched for in words of eight bytes; the last ones overlap.
fn has_underscore(name: &[u8]) -> bool {
    let is_in = |word: &[u8; 8]| {
        let difference = u64::from_le_bytes(*word) ^ (ONES * u64::from(b'_'));
        difference.wrapping_sub(ONES) & !difference & (ONES * 0x80) != 0
    };
    match name.last_chunk() {
        Some(last) => is_in(last) || name.as_chunks().0.iter().any(is_in),
        None => name.contains(&b'_'),
    }
}

/// The tags whose names have no [`Key`].
const LONG: [Known; 9] = [
    Known::CdnCacheControl,
    Known::IfModifiedSince,
    Known::IfUnmodifiedSince,
    Known::ProxyAuthenticate,
    Known::ProxyAuthenticationInfo,
    Known::ProxyAuthorization,
    Known::SurrogateControl,
    Known::TransferEncoding,
    Known::XForwardedProto,
];

/// A set of tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSet(u64);

impl KnownSet {
    /// No tag.
    pub const EMPTY: Self = Self(0);

    /// The set of these tags.
    #[must_use]
    pub const fn of(tags: &[Known]) -> Self {
        let (mut bits, mut rest) = (0, tags);
        while let [first, others @ ..] = rest {
            bits |= 1 << *first as u8;
            rest = others;
        }
        Self(bits)
    }

    /// Whether the tag is in the set.
    #[must_use]
    pub const fn contains(self, tag: Known) -> bool {
        self.0 & (1 << tag as u8) != 0
    }

    /// Whether a tag is in both sets.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The tags of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The tags that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether no tag is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The tags of this set that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// This set and a tag.
    #[must_use]
    pub const fn with(self, tag: Known) -> Self {
        Self(self.0 | 1 << tag as u8)
    }

    /// Adds a tag; if it is there already, to `repeated` too.
    #[inline]
    pub(crate) const fn insert_counting(&mut self, tag: Known, repeated: &mut Self) {
        let bit = 1 << tag as u8;
        repeated.0 |= self.0 & bit;
        self.0 |= bit;
    }

    pub(crate) const fn insert(&mut self, tag: Known) {
        self.0 |= 1 << tag as u8;
    }
}

impl From<Known> for KnownSet {
    fn from(tag: Known) -> Self {
        Self::of(&[tag])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_tag_in_any_case() {
        for (known, name) in NAMES {
            for name in [(*name).to_owned(), name.to_lowercase(), name.to_uppercase()] {
                assert_eq!(Known::of(name.as_bytes()), *known, "{name}");
                assert_eq!(Known::exact(name.as_bytes()), *known, "{name}");
            }
            assert_eq!(known.name(), Some(*name));
        }
    }

    #[test]
    fn every_tag_but_the_families_has_a_name() {
        let families = [
            Known::Other,
            Known::XForwarded,
            Known::Override,
            Known::ClientCertificate,
            Known::Forebay,
            Known::Underscore,
        ];
        assert_eq!(NAMES.len() + families.len(), Known::Underscore as usize + 1);
        assert!(families.iter().all(|family| family.name().is_none()));
        assert!((Known::Underscore as u8) < 64, "a set of tags is a word of 64 bits");
        assert_eq!(Known::named().count(), NAMES.len());
    }

    #[test]
    fn a_name_that_differs_in_one_byte_has_no_tag() {
        for (_, name) in NAMES {
            for at in 0..name.len() {
                for flip in [0x01, 0x20, 0x40, 0x80] {
                    let mut other = name.as_bytes().to_vec();
                    other[at] ^= flip;
                    if !other.eq_ignore_ascii_case(name.as_bytes()) && Known::exact(&other) != Known::Other {
                        panic!("{other:?} is taken for {name}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_name_in_front_of_other_bytes_is_its_own_alone() {
        for (known, name) in NAMES.iter().filter(|(_, name)| name.len() <= NAME_BYTES) {
            for behind in [b':', b'-', b'a', 0, 0xff] {
                let mut bytes = [behind; NAME_BYTES];
                bytes[..name.len()].copy_from_slice(name.to_uppercase().as_bytes());
                for length in 0..=NAME_BYTES + 1 {
                    let expected = if length == name.len() { *known } else { Known::Other };
                    let found = Known::in_front(&bytes, length);
                    assert!(found == expected || found == Known::exact(&bytes[..length]), "{length} of {bytes:?}");
                    assert!(found == expected || length < name.len(), "{length} of {bytes:?}");
                }
            }
        }
    }

    #[test]
    fn a_name_and_a_nul_is_another_name() {
        for (_, name) in NAMES {
            for count in 1..4 {
                let other = [name.as_bytes(), &[0; 4][..count]].concat();
                assert_eq!(Known::exact(&other), Known::Other, "{other:?}");
            }
        }
        for length in 0..=NAME_BYTES {
            assert_eq!(Known::in_front(&[0; NAME_BYTES], length), Known::Other);
        }
    }

    #[test]
    fn families_are_found_by_their_prefix_or_list() {
        for (name, known) in [
            ("X-Forwarded-Port", Known::XForwarded),
            ("x-forwarded-", Known::XForwarded),
            ("x-forwarded-for_", Known::XForwarded),
            ("X-Original-URL", Known::Override),
            ("Front-End-Https", Known::Override),
            ("x-http-method-override", Known::Override),
            ("Forebay-Purge", Known::Forebay),
            ("X-Forebay-A_b", Known::Forebay),
            ("Client-Cert", Known::ClientCertificate),
            ("client-cert-chain", Known::ClientCertificate),
            ("X-Client-Cert", Known::ClientCertificate),
            ("X-Client-Cert-Subject", Known::ClientCertificate),
            ("X-Client-Certificate", Known::Other),
            ("X_Forwarded_For", Known::Underscore),
            ("a_b", Known::Underscore),
            ("X-Forwarde", Known::Other),
            ("forebay", Known::Other),
            ("x-custom", Known::Other),
            ("", Known::Other),
        ] {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn a_plain_name_has_the_tag_that_it_has_anyway() {
        let others =
            ["x-forwarded-port", "X-Original-URL", "Forebay-Purge", "x-forebay-a", "x-b", "f", "F-a", "x", "a", ""];
        for name in NAMES.iter().map(|(_, name)| *name).chain(others) {
            assert_eq!(Known::of_plain(name.as_bytes()), Known::of(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn an_underscore_is_found_wherever_it_stands() {
        for length in 1..30 {
            for other in [b'a', b'^', b'`', b'\xdf', 0] {
                let mut name = vec![other; length];
                assert_eq!(Known::of(&name), Known::Other);
                for place in 0..length {
                    name[place] = b'_';
                    assert_eq!(Known::of(&name), Known::Underscore, "at {place} of {length}");
                    name[place] = other;
                }
            }
        }
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let set = KnownSet::of(&[Known::Host, Known::Te]);
        assert!(set.contains(Known::Host) && set.contains(Known::Te) && !set.contains(Known::Via));
        assert!(set.intersects(Known::Te.into()) && !set.intersects(Known::Via.into()));
        assert_eq!(set.without(Known::Te.into()), Known::Host.into());
        assert!(set.without(set).is_empty() && !set.is_empty());
        assert_eq!(set.intersection(Known::Te.into()), Known::Te.into());
        assert_eq!(KnownSet::from(Known::Host).union(Known::Te.into()), set);
        assert_eq!(set.union(Known::Te.into()), set);
        assert_eq!(KnownSet::EMPTY.with(Known::Host).with(Known::Te).with(Known::Te), set);
    }
}
