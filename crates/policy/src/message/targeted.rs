//! Parses `CDN-Cache-Control`: cache directives for caches in front of an origin (RFC 9213).
//!
//! The directives are those of `Cache-Control`, the grammar is a dictionary of structured fields (RFC 9651 §3.2). An
//! empty or malformed field is ignored completely (RFC 9213 §2.1). Parameters are ignored, and so are directives whose
//! value has the wrong type. Not a general parser of structured fields.

use std::time::Duration;

use message::{Fields, Known};

use super::cache_control::{ResponseDirectives, SECONDS_MAX, Scope, field_names};

/// The directives of `CDN-Cache-Control`, which replace `Cache-Control` and `Expires` completely (RFC 9213 §2.2).
/// `None` if the field is absent, empty or malformed.
///
/// Of duplicate keys the last counts (RFC 9651 §3.2); a negative number is zero.
#[must_use]
pub fn directives(headers: &Fields) -> Option<ResponseDirectives> {
    let lines: Vec<_> = headers.values(Known::CdnCacheControl).collect();
    if lines.is_empty() {
        return None;
    }
    let joined = lines.join(&b", "[..]);
    let members = MemberReader { rest: joined.trim_ascii() }.dictionary()?;
    if members.is_empty() {
        return None;
    }
    let mut all = ResponseDirectives::default();
    for (key, value) in members {
        note(&mut all, key, value);
    }
    Some(all)
}

fn note(all: &mut ResponseDirectives, key: &[u8], value: MemberValue) {
    match key {
        b"no-store" => all.no_store = value.is_true(),
        b"no-cache" => all.no_cache = value.scope(),
        b"private" => all.private = value.scope(),
        b"public" => all.public = value.is_true(),
        b"must-revalidate" => all.must_revalidate = value.is_true(),
        b"proxy-revalidate" => all.proxy_revalidate = value.is_true(),
        b"must-understand" => all.must_understand = value.is_true(),
        b"no-transform" => all.no_transform = value.is_true(),
        b"immutable" => all.immutable = value.is_true(),
        b"max-age" => all.max_age = value.seconds(),
        b"s-maxage" => all.s_maxage = value.seconds(),
        b"stale-while-revalidate" => all.stale_while_revalidate = value.seconds(),
        b"stale-if-error" => all.stale_if_error = value.seconds(),
        _ => {}
    }
}

/// The value of a member, as far as directives use it.
enum MemberValue {
    Boolean(bool),
    Integer(i64),
    /// A string or a token: both may name fields.
    Text(Vec<u8>),
    /// A type that no directive has.
    Other,
}

impl MemberValue {
    fn is_true(&self) -> bool {
        match self {
            Self::Boolean(value) => *value,
            Self::Integer(_) | Self::Text(_) | Self::Other => false,
        }
    }

    fn seconds(&self) -> Option<Duration> {
        match self {
            Self::Integer(number) => Some(Duration::from_secs(u64::try_from(*number).unwrap_or(0)).min(SECONDS_MAX)),
            Self::Boolean(_) | Self::Text(_) | Self::Other => None,
        }
    }

    fn scope(&self) -> Scope {
        match self {
            Self::Boolean(true) => Scope::Whole,
            Self::Text(names) => {
                let mut scope = Scope::Nothing;
                scope.widen(field_names(names));
                scope
            }
            Self::Boolean(false) | Self::Integer(_) | Self::Other => Scope::Nothing,
        }
    }
}

/// The unread rest. Every method returns `None` where parsing fails according to RFC 9651 §4.2.
struct MemberReader<'a> {
    rest: &'a [u8],
}

impl<'a> MemberReader<'a> {
    /// RFC 9651 §4.2.2.
    fn dictionary(mut self) -> Option<Vec<(&'a [u8], MemberValue)>> {
        let mut members = Vec::new();
        while !self.rest.is_empty() {
            let key = self.key()?;
            let value = if self.take(b'=') { self.item_or_inner_list()? } else { MemberValue::Boolean(true) };
            self.parameters()?;
            members.push((key, value));
            self.skip(b" \t");
            if self.rest.is_empty() {
                break;
            }
            self.expect(b',')?;
            self.skip(b" \t");
            if self.rest.is_empty() {
                return None;
            }
        }
        Some(members)
    }

    /// §4.2.3.3: lower case only.
    fn key(&mut self) -> Option<&'a [u8]> {
        self.rest.first().filter(|byte| byte.is_ascii_lowercase() || **byte == b'*')?;
        Some(self.take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)))
    }

    /// §4.2.1.1 and §4.2.1.2. No directive has an inner list, so its items are skipped.
    fn item_or_inner_list(&mut self) -> Option<MemberValue> {
        if !self.take(b'(') {
            return self.bare_item();
        }
        loop {
            self.skip(b" ");
            if self.take(b')') {
                return Some(MemberValue::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            self.rest.first().filter(|byte| matches!(byte, b' ' | b')'))?;
        }
    }

    /// §4.2.3.1.
    fn bare_item(&mut self) -> Option<MemberValue> {
        match self.rest.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => {
                let is_part = |byte| super::list::is_token_byte(byte) || matches!(byte, b':' | b'/');
                Some(MemberValue::Text(self.take_while(is_part).to_vec()))
            }
            b'?' => self.boolean(),
            b':' => self.byte_sequence(),
            b'@' => self.date(),
            b'%' => self.display_string(),
            _ => None,
        }
    }

    /// §4.2.3.2.
    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip(b" ");
            self.key()?;
            if self.take(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    /// §4.2.4: at most 15 digits, or 12 before and 3 after the decimal point.
    fn number(&mut self) -> Option<MemberValue> {
        let negative = self.take(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if self.take(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            let fits = (1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len());
            return fits.then_some(MemberValue::Other);
        }
        if !(1..=15).contains(&digits.len()) {
            return None;
        }
        let number: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(MemberValue::Integer(if negative { -number } else { number }))
    }

    /// §4.2.5.
    fn string(&mut self) -> Option<MemberValue> {
        self.expect(b'"')?;
        let mut content = Vec::new();
        loop {
            match self.next()? {
                b'"' => return Some(MemberValue::Text(content)),
                b'\\' => content.push(self.next().filter(|byte| matches!(byte, b'"' | b'\\'))?),
                byte @ b' '..=b'~' => content.push(byte),
                _ => return None,
            }
        }
    }

    /// §4.2.8.
    fn boolean(&mut self) -> Option<MemberValue> {
        self.expect(b'?')?;
        match self.next()? {
            b'0' => Some(MemberValue::Boolean(false)),
            b'1' => Some(MemberValue::Boolean(true)),
            _ => None,
        }
    }

    /// §4.2.7. The decoded content is not needed, only that the base64 is valid.
    fn byte_sequence(&mut self) -> Option<MemberValue> {
        self.expect(b':')?;
        self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        self.expect(b':')?;
        Some(MemberValue::Other)
    }

    /// §4.2.9: an integer after the sign.
    fn date(&mut self) -> Option<MemberValue> {
        self.expect(b'@')?;
        match self.number()? {
            MemberValue::Integer(_) => Some(MemberValue::Other),
            MemberValue::Boolean(_) | MemberValue::Text(_) | MemberValue::Other => None,
        }
    }

    /// §4.2.10: escapes have two lower-case hexadecimal digits.
    fn display_string(&mut self) -> Option<MemberValue> {
        self.expect(b'%')?;
        self.expect(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Some(MemberValue::Other),
                b'%' => {
                    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                    self.next().filter(is_hex)?;
                    self.next().filter(is_hex)?;
                }
                b' '..=b'~' => {}
                _ => return None,
            }
        }
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.rest.strip_prefix(&[byte]);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.take_while(|byte| bytes.contains(&byte));
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !belongs(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, b""));
        self.rest = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use proptest::prelude::*;

    fn read(lines: &[&str]) -> Option<ResponseDirectives> {
        directives(&lines.iter().map(|line| ("cdn-cache-control", line)).collect())
    }

    fn max_age(line: &str) -> Option<Option<u64>> {
        read(&[line]).map(|all| all.max_age.map(|age| age.as_secs()))
    }

    fn fields(names: &[&'static str]) -> Scope {
        Scope::Fields(names.iter().map(|name| HeaderName::from_static(name)).collect())
    }

    #[test]
    fn rfc9213_2_1_directives_are_read_as_a_dictionary_over_all_lines() {
        let all = read(&["max-age=60, no-store, private=\"Set-Cookie, X-A\"", "must-revalidate;x=1,\tno-cache=x-b"]);
        let expected = ResponseDirectives {
            max_age: Some(Duration::from_secs(60)),
            no_store: true,
            private: fields(&["set-cookie", "x-a"]),
            must_revalidate: true,
            no_cache: fields(&["x-b"]),
            ..ResponseDirectives::default()
        };
        assert_eq!(all, Some(expected));
    }

    #[test]
    fn rfc9213_2_1_an_empty_or_malformed_field_is_ignored_whole() {
        let malformed = [
            "",
            "   ",
            ",",
            "max-age=60,",
            "max-age=60,,no-store",
            ", max-age=60",
            "Max-Age=60",
            "max-age=60, No-Store",
            "max-age",
            "max-age=",
            "max-age =60",
            "max-age= 60",
            "max-age=60 no-store",
            "max-age=60; ",
            "max-age=60;X",
            "max-age=1234567890123456",
            "max-age=1.2345",
            "max-age=1.",
            "max-age=--1",
            "max-age=+1",
            "max-age=60s",
            "max-age=\"60",
            "max-age='60'",
            "x=\"a\\b\"",
            "x=?2",
            "x=:a!:",
            "x=@1.5",
            "x=%\"%A0\"",
            "x=(a b",
            "x=(a,b)",
            "x=(\"a\"b)",
            "\"max-age\"=60",
            "1a",
        ];
        for line in malformed {
            // A valid value without a known directive.
            let expected = (line == "max-age").then(ResponseDirectives::default);
            assert_eq!(read(&[line]), expected, "{line:?}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["max-age=60", "x=\""]), None);
    }

    #[test]
    fn rfc9213_2_1_parameters_and_unfit_types_are_ignored() {
        for (line, expected) in [
            ("max-age=60;a;b=1;c=\"x;y\"; d=?0", Some(60)),
            ("max-age=60.5", None),
            ("max-age=\"60\"", None),
            ("max-age=abc", None),
            ("max-age=?1", None),
            ("max-age=(60)", None),
            ("max-age=-5", Some(0)),
            ("max-age=060", Some(60)),
            ("max-age=999999999999999", Some(SECONDS_MAX.as_secs())),
            ("max-age=1, max-age=2", Some(2)),
            ("a=@-5, b=:Zm9v:, c=%\"f%c3\", d=(), e=( a;x  1.5 \"s\");y, f=*t/:x, max-age=7", Some(7)),
        ] {
            assert_eq!(max_age(line), Some(expected), "{line}");
        }
        let unfit = read(&["no-store=1, private=?0, no-cache=5, public=a"]);
        assert_eq!(unfit, Some(ResponseDirectives::default()));
    }

    proptest! {
        #[test]
        fn nothing_panics(line in "[ -~\t]{0,60}", odd in "[a-c=;,()\"?:@%0-9 -]{0,30}") {
            let _ = read(&[&line]);
            let _ = read(&[&odd]);
        }
    }
}
