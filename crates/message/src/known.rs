//! Names of fields that the product looks at, as tags of one byte.
//!
//! A tag is found once, while a head is scanned. After that a look-up compares a byte, and one mask test on the tags
//! that a head holds skips every rule for fields that are absent.

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
    pub fn exact(name: &[u8]) -> Self {
        match name.len() {
            ..=5 => short(name),
            6..=9 => middle(name),
            10..=14 => long(name),
            _ => longest(name),
        }
    }

    /// The tag of a name that has no tag for itself alone: one of the families, or [`Known::Other`].
    #[must_use]
    pub fn family(name: &[u8]) -> Self {
        let is_override = || OVERRIDES.iter().any(|known| name.eq_ignore_ascii_case(known));
        match name.first().map(u8::to_ascii_lowercase) {
            Some(b'x') if starts_with(name, b"x-forwarded-") => Self::XForwarded,
            Some(b'x') if starts_with(name, b"x-forebay-") => Self::Forebay,
            Some(b'f') if starts_with(name, b"forebay-") => Self::Forebay,
            Some(b'x' | b'f') if is_override() => Self::Override,
            _ if name.contains(&b'_') => Self::Underscore,
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

fn starts_with(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether a name, in any case, is this one, which is in lower case. Only letters are folded, so that it is exact.
fn is<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    let mut difference = 0;
    for (byte, known) in name.iter().zip(known) {
        let case = if known.is_ascii_lowercase() { 0x20 } else { 0 };
        difference |= (byte | case) ^ known;
    }
    difference == 0
}

fn short(name: &[u8]) -> Known {
    match name.len() {
        2 if is(name, b"te") => Known::Te,
        3 if is(name, b"age") => Known::Age,
        3 if is(name, b"via") => Known::Via,
        4 if is(name, b"date") => Known::Date,
        4 if is(name, b"etag") => Known::Etag,
        4 if is(name, b"host") => Known::Host,
        4 if is(name, b"vary") => Known::Vary,
        5 if is(name, b"range") => Known::Range,
        _ => Known::Other,
    }
}

fn middle(name: &[u8]) -> Known {
    match name.len() {
        6 if is(name, b"accept") => Known::Accept,
        6 if is(name, b"cookie") => Known::Cookie,
        6 if is(name, b"expect") => Known::Expect,
        6 if is(name, b"origin") => Known::Origin,
        6 if is(name, b"pragma") => Known::Pragma,
        6 if is(name, b"server") => Known::Server,
        7 if is(name, b"expires") => Known::Expires,
        7 if is(name, b"referer") => Known::Referer,
        7 if is(name, b"trailer") => Known::Trailer,
        7 if is(name, b"upgrade") => Known::Upgrade,
        8 if is(name, b"if-match") => Known::IfMatch,
        8 if is(name, b"if-range") => Known::IfRange,
        8 if is(name, b"location") => Known::Location,
        9 if is(name, b"forwarded") => Known::Forwarded,
        9 if is(name, b"x-real-ip") => Known::XRealIp,
        _ => Known::Other,
    }
}

fn long(name: &[u8]) -> Known {
    match name.len() {
        10 if is(name, b"connection") => Known::Connection,
        10 if is(name, b"keep-alive") => Known::KeepAlive,
        10 if is(name, b"set-cookie") => Known::SetCookie,
        10 if is(name, b"user-agent") => Known::UserAgent,
        12 if is(name, b"cache-status") => Known::CacheStatus,
        12 if is(name, b"content-type") => Known::ContentType,
        12 if is(name, b"max-forwards") => Known::MaxForwards,
        12 if is(name, b"x-request-id") => Known::XRequestId,
        13 if is(name, b"accept-ranges") => Known::AcceptRanges,
        13 if is(name, b"authorization") => Known::Authorization,
        13 if is(name, b"cache-control") => Known::CacheControl,
        13 if is(name, b"content-range") => Known::ContentRange,
        13 if is(name, b"if-none-match") => Known::IfNoneMatch,
        13 if is(name, b"last-modified") => Known::LastModified,
        14 if is(name, b"content-length") => Known::ContentLength,
        _ => Known::Other,
    }
}

fn longest(name: &[u8]) -> Known {
    match name.len() {
        15 if is(name, b"accept-encoding") => Known::AcceptEncoding,
        15 if is(name, b"accept-language") => Known::AcceptLanguage,
        15 if is(name, b"x-forwarded-for") => Known::XForwardedFor,
        16 if is(name, b"content-encoding") => Known::ContentEncoding,
        16 if is(name, b"content-location") => Known::ContentLocation,
        16 if is(name, b"proxy-connection") => Known::ProxyConnection,
        16 if is(name, b"x-forwarded-host") => Known::XForwardedHost,
        17 if is(name, b"cdn-cache-control") => Known::CdnCacheControl,
        17 if is(name, b"if-modified-since") => Known::IfModifiedSince,
        17 if is(name, b"surrogate-control") => Known::SurrogateControl,
        17 if is(name, b"transfer-encoding") => Known::TransferEncoding,
        17 if is(name, b"x-forwarded-proto") => Known::XForwardedProto,
        18 if is(name, b"proxy-authenticate") => Known::ProxyAuthenticate,
        19 if is(name, b"if-unmodified-since") => Known::IfUnmodifiedSince,
        19 if is(name, b"proxy-authorization") => Known::ProxyAuthorization,
        25 if is(name, b"proxy-authentication-info") => Known::ProxyAuthenticationInfo,
        _ => Known::Other,
    }
}

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
        let families = [Known::Other, Known::XForwarded, Known::Override, Known::Forebay, Known::Underscore];
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
    fn sets_hold_what_was_put_in() {
        let set = KnownSet::of(&[Known::Host, Known::Te]);
        assert!(set.contains(Known::Host) && set.contains(Known::Te) && !set.contains(Known::Via));
        assert!(set.intersects(Known::Te.into()) && !set.intersects(Known::Via.into()));
        assert_eq!(set.without(Known::Te.into()), Known::Host.into());
        assert!(set.without(set).is_empty() && !set.is_empty());
        assert_eq!(set.intersection(Known::Te.into()), Known::Te.into());
        assert_eq!(KnownSet::from(Known::Host).union(Known::Te.into()), set);
    }
}
