//! The rules as they were, on a map of names in lower case.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderMap;
use http::HeaderName;
use http::header::{CACHE_CONTROL, PRAGMA};

use super::list;
pub(crate) const SECONDS_MAX: Duration = Duration::from_secs(1 << 31);
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    #[default]
    Nothing,
    Fields(Vec<HeaderName>),
    Whole,
}

impl Scope {
    pub(crate) fn widen<'a>(&mut self, names: impl Iterator<Item = &'a [u8]>) {
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: Scope,
    pub(crate) private: Scope,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) no_transform: bool,
    pub(crate) immutable: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) s_maxage: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
}

impl ResponseDirectives {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        for directive in directives(headers) {
            all.note(&directive);
        }
        all
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_stale: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) no_transform: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        if headers.contains_key(CACHE_CONTROL) {
            for directive in directives(headers) {
                all.note(&directive);
            }
        } else {
            all.no_cache = list::holds(&headers.get_all(PRAGMA), "no-cache");
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
fn agree(slot: &mut Option<Duration>, given: Option<Duration>, strictest: Duration) {
    let given = given.unwrap_or(strictest);
    *slot = Some(if slot.is_none_or(|earlier| earlier == given) { given } else { strictest });
}
pub(crate) fn delta_seconds(digits: &[u8]) -> Option<Duration> {
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
    name: Vec<u8>,
    argument: Option<Cow<'a, [u8]>>,
}

impl<'a> Directive<'a> {
    fn of(element: &'a [u8]) -> Option<Self> {
        let equals = element.iter().position(|byte| *byte == b'=');
        let (name, argument) = match equals.and_then(|at| element.split_at_checked(at)) {
            Some((name, argument)) => (name, argument.strip_prefix(b"=").map(unquoted)),
            None => (element, None),
        };
        let name = name.trim_ascii_end();
        list::is_token(name).then(|| Self { name: name.to_ascii_lowercase(), argument })
    }

    fn seconds(&self) -> Option<Duration> {
        self.argument.as_deref().and_then(delta_seconds)
    }

    fn field_names(&self) -> impl Iterator<Item = &[u8]> {
        field_names(self.argument.as_deref().unwrap_or_default())
    }
}
pub(crate) fn field_names(argument: &[u8]) -> impl Iterator<Item = &[u8]> {
    argument.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}

fn directives(headers: &HeaderMap) -> impl Iterator<Item = Directive<'_>> {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    lines.flat_map(|line| Elements::of(line.as_bytes())).filter_map(Directive::of)
}
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
struct Elements<'a> {
    rest: &'a [u8],
    quotes_close: bool,
}

impl<'a> Elements<'a> {
    fn of(line: &'a [u8]) -> Self {
        Self { rest: line, quotes_close: true }
    }
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
