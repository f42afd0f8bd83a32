//! Parses `Cache-Control` (RFC 9111 §5.2), with the extensions of RFC 5861 and RFC 8246, and `Pragma` (§5.4).
//!
//! `cache` decides what the directives mean together. A contradictory or malformed value is interpreted so that less is
//! stored and served (§4.2.1): a response's freshness is zero, a request's requirements are the strictest and its
//! allowances do not apply. Unknown directives are ignored (§5.2.3).

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderName;
use message::{Fields, Known};

use super::list;

/// The largest delta-seconds; greater values are reduced to it (RFC 9111 §1.2.2).
pub const SECONDS_MAX: Duration = Duration::from_secs(1 << 31);

/// The scope of a directive that may name fields: `no-cache` and `private` (RFC 9111 §5.2.2.4, §5.2.2.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The directive was not given.
    #[default]
    Nothing,
    /// Only these fields.
    Fields(Vec<HeaderName>),
    /// The whole response.
    Whole,
}

impl Scope {
    /// Whether the directive is present and names no fields.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Nothing | Self::Fields(_) => false,
            Self::Whole => true,
        }
    }

    /// The named fields.
    #[must_use]
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Nothing | Self::Whole => &[],
            Self::Fields(fields) => fields,
        }
    }

    /// Extends the scope by another occurrence. Invalid names, or none, mean the whole response.
    pub(super) fn widen<'a>(&mut self, names: impl Iterator<Item = &'a [u8]>) {
        let names: Result<Vec<_>, _> = names.map(HeaderName::from_bytes).collect();
        let given = match names {
            Ok(names) if !names.is_empty() => names,
            Ok(_) | Err(_) => return *self = Self::Whole,
        };
        match self {
            Self::Nothing => *self = Self::Fields(given),
            Self::Fields(fields) => fields.extend(given),
            Self::Whole => {}
        }
    }
}

/// The directives of a response (RFC 9111 §5.2.2). By default all are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// `no-store` (§5.2.2.5).
    pub no_store: bool,
    /// `no-cache` (§5.2.2.4).
    pub no_cache: Scope,
    /// `private` (§5.2.2.7).
    pub private: Scope,
    /// `public` (§5.2.2.9).
    pub public: bool,
    /// `must-revalidate` (§5.2.2.2).
    pub must_revalidate: bool,
    /// `proxy-revalidate` (§5.2.2.8).
    pub proxy_revalidate: bool,
    /// `must-understand` (§5.2.2.3).
    pub must_understand: bool,
    /// `no-transform` (§5.2.2.6).
    pub no_transform: bool,
    /// `immutable` (RFC 8246 §2).
    pub immutable: bool,
    /// `max-age` (§5.2.2.1).
    pub max_age: Option<Duration>,
    /// `s-maxage` (§5.2.2.10).
    pub s_maxage: Option<Duration>,
    /// `stale-while-revalidate` (RFC 5861 §3).
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861 §4).
    pub stale_if_error: Option<Duration>,
}

impl ResponseDirectives {
    /// Parses all `Cache-Control` lines of a response.
    ///
    /// A number given twice counts if both values agree; otherwise, and if malformed, it is zero (RFC 9111 §4.2.1). An
    /// unexpected argument does not invalidate a directive that restricts, but one that permits.
    #[must_use]
    pub fn of(headers: &Fields) -> Self {
        let mut all = Self::default();
        for directive in directives(headers) {
            all.note(&directive);
        }
        all
    }

    /// Whether a shared cache must not serve the response stale (RFC 9111 §4.2.4, §5.2.2.2, §5.2.2.8); for a shared
    /// cache `s-maxage` has the same effect (§5.2.2.10).
    #[must_use]
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some()
    }

    /// The fields named by `private` and `no-cache`, which a shared cache must not store or must not serve without
    /// validation.
    pub fn withheld(&self) -> impl Iterator<Item = &HeaderName> {
        self.private.fields().iter().chain(self.no_cache.fields())
    }

    fn note(&mut self, directive: &Directive<'_>) {
        let bare = directive.argument.is_none();
        match directive.name.as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache.widen(directive.field_names()),
            b"private" => self.private.widen(directive.field_names()),
            b"public" => self.public |= bare,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand |= bare,
            b"no-transform" => self.no_transform = true,
            b"immutable" => self.immutable |= bare,
            b"max-age" => agree(&mut self.max_age, directive.seconds(), Duration::ZERO),
            b"s-maxage" => agree(&mut self.s_maxage, directive.seconds(), Duration::ZERO),
            b"stale-while-revalidate" => {
                agree(&mut self.stale_while_revalidate, directive.seconds(), Duration::ZERO);
            }
            b"stale-if-error" => agree(&mut self.stale_if_error, directive.seconds(), Duration::ZERO),
            _ => {}
        }
    }
}

/// The directives of a request (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// `max-age` (§5.2.1.1).
    pub max_age: Option<Duration>,
    /// `max-stale` (§5.2.1.2): the longest accepted staleness. Without an argument any staleness is accepted:
    /// [`Duration::MAX`].
    pub max_stale: Option<Duration>,
    /// `min-fresh` (§5.2.1.3).
    pub min_fresh: Option<Duration>,
    /// `no-cache` (§5.2.1.4), or `Pragma: no-cache` without any `Cache-Control` (§5.4).
    pub no_cache: bool,
    /// `no-store` (§5.2.1.5).
    pub no_store: bool,
    /// `no-transform` (§5.2.1.6).
    pub no_transform: bool,
    /// `only-if-cached` (§5.2.1.7).
    pub only_if_cached: bool,
    /// `stale-if-error` (RFC 5861 §4).
    pub stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    /// Parses all `Cache-Control` lines of a request, and `Pragma` if there are none.
    ///
    /// A number that is malformed, or given twice with different values, means the strictest requirement (`max-age`,
    /// `min-fresh`) or no allowance (`max-stale`, `stale-if-error`).
    #[must_use]
    pub fn of(headers: &Fields) -> Self {
        let mut all = Self::default();
        let tags = headers.tags();
        if tags.contains(Known::CacheControl) {
            for directive in directives(headers) {
                all.note(&directive);
            }
        } else if tags.contains(Known::Pragma) {
            all.no_cache = list::holds(headers.values(Known::Pragma), "no-cache");
        }
        all
    }

    fn note(&mut self, directive: &Directive<'_>) {
        match directive.name.as_slice() {
            b"max-age" => agree(&mut self.max_age, directive.seconds(), Duration::ZERO),
            b"max-stale" if directive.argument.is_none() => {
                agree(&mut self.max_stale, Some(Duration::MAX), Duration::ZERO);
            }
            b"max-stale" => agree(&mut self.max_stale, directive.seconds(), Duration::ZERO),
            b"min-fresh" => agree(&mut self.min_fresh, directive.seconds(), SECONDS_MAX),
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"no-transform" => self.no_transform = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"stale-if-error" => agree(&mut self.stale_if_error, directive.seconds(), Duration::ZERO),
            _ => {}
        }
    }
}

/// Adds another occurrence of a number; `strictest` if it is malformed or contradicts an earlier one.
fn agree(slot: &mut Option<Duration>, given: Option<Duration>, strictest: Duration) {
    let given = given.unwrap_or(strictest);
    *slot = Some(if slot.is_none_or(|earlier| earlier == given) { given } else { strictest });
}

/// A delta-seconds (RFC 9111 §1.2.2), at most [`SECONDS_MAX`]; `None` unless all bytes are digits.
#[must_use]
pub fn delta_seconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, byte| match byte {
        b'0'..=b'9' => Some(number.saturating_mul(10).saturating_add(u64::from(byte - b'0'))),
        _ => None,
    })?;
    Some(Duration::from_secs(number).min(SECONDS_MAX))
}

struct Directive<'a> {
    name: Word,
    /// Without quotes. A malformed argument stays unchanged: it is no number and no field name.
    argument: Option<Cow<'a, [u8]>>,
}

impl<'a> Directive<'a> {
    /// `None` if the name is not a token, or longer than any known directive.
    fn of(element: &'a [u8]) -> Option<Self> {
        let equals = element.iter().position(|byte| *byte == b'=');
        let (name, argument) = match equals.and_then(|at| element.split_at_checked(at)) {
            Some((name, argument)) => (name, argument.strip_prefix(b"=").map(unquoted)),
            None => (element, None),
        };
        let name = name.trim_ascii_end();
        Some(Self { name: Word::of(name).filter(|_| list::is_token(name))?, argument })
    }

    fn seconds(&self) -> Option<Duration> {
        self.argument.as_deref().and_then(delta_seconds)
    }

    fn field_names(&self) -> impl Iterator<Item = &[u8]> {
        field_names(self.argument.as_deref().unwrap_or_default())
    }
}

/// The name of a directive in lower case.
struct Word {
    bytes: [u8; Self::BYTES_MAX],
    length: usize,
}

impl Word {
    /// The length of `stale-while-revalidate`, the longest known directive.
    const BYTES_MAX: usize = 22;

    /// `None` if the name is longer.
    fn of(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::BYTES_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        bytes.make_ascii_lowercase();
        Some(Self { bytes, length: name.len() })
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The elements of a list of field names, the argument of `no-cache` and `private`.
pub(super) fn field_names(argument: &[u8]) -> impl Iterator<Item = &[u8]> {
    argument.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}

fn directives(headers: &Fields) -> impl Iterator<Item = Directive<'_>> {
    headers.values(Known::CacheControl).flat_map(Elements::of).filter_map(Directive::of)
}

/// The content of a quoted string (RFC 9110 §5.6.4); anything else unchanged.
fn unquoted(argument: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = argument.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return Cow::Borrowed(argument);
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut escaped = false;
    let content = inner.iter().copied().filter(|byte| {
        escaped = *byte == b'\\' && !escaped;
        !escaped
    });
    Cow::Owned(content.collect())
}

/// The elements of one line; commas within quoted strings do not separate. If a quote is not closed, all quotes from
/// there on are ordinary bytes. So they hide no directive, and a line is scanned at most twice.
struct Elements<'a> {
    rest: &'a [u8],
    quotes_close: bool,
}

impl<'a> Elements<'a> {
    fn of(line: &'a [u8]) -> Self {
        Self { rest: line, quotes_close: true }
    }

    /// The bytes up to the next separating comma, or to the end of the line; drops the comma.
    fn split_first(&mut self) -> &'a [u8] {
        let mut end = None;
        if self.quotes_close {
            end = comma_outside_quotes(self.rest);
            self.quotes_close = end.is_some();
        }
        let end = end.or_else(|| self.rest.iter().position(|byte| *byte == b','));
        let (element, rest) = end.and_then(|at| self.rest.split_at_checked(at)).unwrap_or((self.rest, b""));
        self.rest = rest.strip_prefix(b",").unwrap_or(rest);
        element
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let element = self.split_first().trim_ascii();
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    }
}

/// The end of the first element: a comma outside quotes, or the end of the line. `None` if the line ends within quotes.
fn comma_outside_quotes(line: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return Some(at),
            _ => {}
        }
    }
    (!quoted).then_some(line.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[&str]) -> Fields {
        lines.iter().map(|line| ("cache-control", line)).collect()
    }

    fn response(lines: &[&str]) -> ResponseDirectives {
        ResponseDirectives::of(&headers(lines))
    }

    fn request(lines: &[&str]) -> RequestDirectives {
        RequestDirectives::of(&headers(lines))
    }

    fn seconds(number: u64) -> Option<Duration> {
        Some(Duration::from_secs(number))
    }

    fn fields(names: &[&'static str]) -> Scope {
        Scope::Fields(names.iter().map(|name| HeaderName::from_static(name)).collect())
    }

    #[test]
    fn rfc9111_5_2_2_every_response_directive_is_read() {
        let lines = [
            "no-store, no-cache, private, public, must-revalidate, proxy-revalidate, must-understand",
            "no-transform, immutable, max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4",
        ];
        let expected = ResponseDirectives {
            no_store: true,
            no_cache: Scope::Whole,
            private: Scope::Whole,
            public: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            no_transform: true,
            immutable: true,
            max_age: seconds(1),
            s_maxage: seconds(2),
            stale_while_revalidate: seconds(3),
            stale_if_error: seconds(4),
        };
        assert_eq!(response(&lines), expected);
        assert_eq!(response(&lines.map(str::to_uppercase).each_ref().map(String::as_str)), expected);
        assert_eq!(response(&[]), ResponseDirectives::default());
    }

    #[test]
    fn rfc9111_5_2_1_every_request_directive_is_read() {
        let lines = [
            "max-age=1, Max-Stale=2,min-fresh=3",
            "no-cache, NO-STORE,, no-transform, only-if-cached, stale-if-error=4",
        ];
        let expected = RequestDirectives {
            max_age: seconds(1),
            max_stale: seconds(2),
            min_fresh: seconds(3),
            no_cache: true,
            no_store: true,
            no_transform: true,
            only_if_cached: true,
            stale_if_error: seconds(4),
        };
        assert_eq!(request(&lines), expected);
        assert_eq!(request(&["max-stale"]).max_stale, Some(Duration::MAX));
    }

    #[test]
    fn rfc9111_5_2_arguments_may_be_tokens_or_quoted() {
        assert_eq!(response(&["max-age=\"60\""]).max_age, seconds(60));
        assert_eq!(response(&["max-age=\"\\60\""]).max_age, seconds(60));
        assert_eq!(response(&["private=set-cookie"]).private, fields(&["set-cookie"]));
        let both = response(&["no-cache=\"Set-Cookie, X-A\", no-cache=x-b, max-age=1"]);
        assert_eq!((both.no_cache, both.max_age), (fields(&["set-cookie", "x-a", "x-b"]), seconds(1)));
    }

    #[test]
    fn rfc9111_5_2_2_names_that_cannot_be_read_reach_the_whole_response() {
        for odd in ["private=", "private=\"\"", "private=\"a b\"", "private=\"a\", private", "private, private=\"a\""] {
            assert_eq!(response(&[odd]).private, Scope::Whole, "{odd}");
        }
    }

    #[test]
    fn rfc9111_4_2_1_malformed_and_conflicting_freshness_is_stale() {
        let stale = [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=+1",
            "max-age=1.5",
            "max-age=abc",
            "max-age=60s",
            "max-age= 60",
            "max-age=\"60",
            "max-age='60'",
            "max-age=60;x",
            "max-age=1, max-age=60",
            "max-age=60, max-age=1",
            "max-age=60, max-age=x",
        ];
        for malformed in stale {
            assert_eq!(response(&[malformed]).max_age, seconds(0), "{malformed}");
        }
        assert_eq!(response(&["max-age=60", "max-age=60"]).max_age, seconds(60));
        assert_eq!(response(&["max-age=060"]).max_age, seconds(60));
    }

    #[test]
    fn rfc9111_1_2_2_too_many_seconds_saturate() {
        for many in ["2147483649", "99999999999999999999999999999999999"] {
            assert_eq!(response(&[&format!("max-age={many}")]).max_age, Some(SECONDS_MAX), "{many}");
        }
    }

    #[test]
    fn malformed_numbers_of_a_request_ask_for_the_most_and_allow_the_least() {
        let odd = request(&["max-age=x, max-stale=x, min-fresh=x, stale-if-error=x"]);
        assert_eq!((odd.max_age, odd.min_fresh), (seconds(0), Some(SECONDS_MAX)));
        assert_eq!((odd.max_stale, odd.stale_if_error), (seconds(0), seconds(0)));
        assert_eq!(request(&["max-stale, max-stale=5"]).max_stale, seconds(0));
    }

    #[test]
    fn rfc9111_5_2_3_unknown_directives_are_ignored() {
        let odd = "max-agee=5, x-no-store, no-storee, public=1, immutable=x, a=\"no-store, private\", =5, \"no-store\"";
        assert_eq!(response(&[odd]), ResponseDirectives::default());
        assert_eq!(request(&["s-maxage=5, public, foo=bar"]), RequestDirectives::default());
    }

    #[test]
    fn a_quote_left_open_hides_no_directive() {
        let open = response(&["x=\"a, no-store, max-age=60"]);
        assert!(open.no_store);
        assert_eq!(open.max_age, seconds(60));
        assert!(response(&["x=\"a\\\", no-store"]).no_store);
        assert!(response(&["x=\"a", "no-store"]).no_store);
    }

    #[test]
    fn rfc9111_5_4_pragma_counts_only_without_cache_control() {
        let pragma = |cache_control: &[&str]| {
            let mut all = headers(cache_control);
            all.append(Known::Pragma, "x, No-Cache");
            RequestDirectives::of(&all).no_cache
        };
        assert!(pragma(&[]));
        assert!(!pragma(&["max-age=1"]));
        assert!(!pragma(&[""]));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_no_store_is_never_missed(before in "[ -~]{0,40}", odd in "[a\\\\\",=]{0,20}") {
            for line in [format!("{before},no-store"), format!("{odd},no-store"), format!("no-store,{odd}")] {
                let all = headers(&[&line]);
                prop_assert!(ResponseDirectives::of(&all).no_store, "{}", line);
                prop_assert!(RequestDirectives::of(&all).no_store, "{}", line);
            }
        }
    }
}
