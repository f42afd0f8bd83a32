//! Validates stored responses with the origin, and evaluates the result (RFC 9111 §4.3).
//!
//! Other files decide whether a response must be validated, and whether a stale one may replace an error (RFC 5861 §4).
//! Stored responses are passed newest first, by `Date`.

use std::time::Duration;

use http::StatusCode;
use http::header::HeaderName;
use message::{Edit, Field, Fields, Known, KnownSet};

use super::headers;
use crate::message::dates;
use crate::message::etag::{Comparison, EntityTag};
use crate::message::vary::Vary;

/// The most bytes of entity tags in one request; further tags are left out, which may cost a transfer.
pub const TAGS_BYTES_MAX: usize = 4096;

/// The validators of a conditional request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators<'s> {
    /// The value of `If-None-Match`.
    tags: Option<Vec<u8>>,
    /// The value of `If-Modified-Since`.
    modified: Option<&'s [u8]>,
}

impl Validators<'_> {
    /// Whether there is a validator, so that a 304 is possible. Otherwise only a complete response is useful.
    #[must_use]
    pub const fn is_conditional(&self) -> bool {
        self.tags.is_some() || self.modified.is_some()
    }

    /// The edits that turn a client's request into a validation: its own preconditions and `Range` are dropped, because
    /// the response is for the cache; then the validators are set.
    pub fn edits(&self) -> impl Iterator<Item = Edit<'_>> {
        const REPLACED: KnownSet = KnownSet::of(&[
            Known::IfMatch,
            Known::IfNoneMatch,
            Known::IfModifiedSince,
            Known::IfUnmodifiedSince,
            Known::IfRange,
            Known::Range,
        ]);
        let tags = self.tags.as_deref().map(|tags| Edit::set(Known::IfNoneMatch, tags));
        let modified = self.modified.map(|modified| Edit::set(Known::IfModifiedSince, modified));
        [Some(Edit::DropKnown(REPLACED)), tags, modified].into_iter().flatten()
    }
}

/// The validators for a request about these stored responses.
///
/// These are the entity tags of all responses, and `Last-Modified` if there is just one. Do not pass a 206, because its
/// tag would be taken for that of a complete response. Requests with `If-Match` or `If-Unmodified-Since` must be
/// forwarded instead (see `message::conditions::asks_the_origin`).
///
/// Source: RFC 9111 §4.3.1.
#[must_use]
pub fn ask<'s>(stored: &[&'s Fields]) -> Validators<'s> {
    let modified = if let [only] = stored { only.first(Known::LastModified) } else { None };
    Validators { tags: tags(stored), modified }
}

/// The entity tags of these responses as a list without duplicates.
fn tags(stored: &[&Fields]) -> Option<Vec<u8>> {
    let mut list: Vec<&[u8]> = Vec::new();
    let mut bytes = 0_usize;
    for value in stored.iter().filter(|one| EntityTag::of(one).is_some()).filter_map(|one| one.first(Known::Etag)) {
        let tag = value.trim_ascii();
        let longer = bytes.saturating_add(tag.len()).saturating_add(2);
        if longer <= TAGS_BYTES_MAX && !list.contains(&tag) {
            bytes = longer;
            list.push(tag);
        }
    }
    (!list.is_empty()).then(|| list.join(&b", "[..]))
}

/// The use of a response to a validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 304: the responses selected by [`confirm`] are updated and reused.
    NotModified,
    /// A complete response, which replaces the stored one if it may be stored; it goes to the client.
    Whole,
    /// 5xx: goes to the client, or a stale response is served instead, if allowed.
    Failed,
}

/// Classifies the status of a response.
///
/// Source: RFC 9111 §4.3.3.
#[must_use]
pub fn read(status: StatusCode) -> Answer {
    if status == StatusCode::NOT_MODIFIED {
        Answer::NotModified
    } else if status.is_server_error() {
        Answer::Failed
    } else {
        Answer::Whole
    }
}

/// A stored response that a validation was about.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its fields.
    pub headers: &'a Fields,
    /// Whether it matches the request (RFC 9111 §4.1).
    pub fits: bool,
}

/// The stored responses that a 304 confirms, by index among the candidates, and what it updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Their indices, the newest first; never empty.
    pub places: Vec<usize>,
    /// What they take from the 304.
    pub update: Update,
}

/// What a stored response takes from a 304.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// The fields, see [`freshened`].
    Fields,
    /// Only its freshness, see [`refreshed`].
    Freshness,
}

/// The candidates (newest first) that a 304 confirms. `None`: repeat the request without preconditions.
///
/// Those that match the request come first; if the 304 confirms none of them, another one is what the origin selected
/// for this request. A 304 whose `Vary` names fields that the stored one lacks only confirms by a strong entity tag:
/// the values of these fields in the request for the stored response are unknown, and other validators are the same for
/// several representations.
///
/// `today` (since the epoch) determines the century of two-digit years.
///
/// Source: RFC 9111 §4.3.4; decision 0026 explains the deviation.
#[must_use]
pub fn confirm(answer: &Fields, candidates: &[Candidate<'_>], today: Duration) -> Option<Confirmed> {
    let names_one = answer.has(KnownSet::of(&[Known::Etag, Known::LastModified]));
    if !names_one && candidates.len() > 1 {
        return None;
    }
    let among = |fits: bool| -> (Vec<usize>, Vec<&Fields>) {
        candidates
            .iter()
            .enumerate()
            .filter(|(_, one)| one.fits == fits)
            .map(|(place, one)| (place, one.headers))
            .unzip()
    };
    let (places, fitting) = among(true);
    let (mut chosen, mut update) = (confirmed(answer, &fitting, today), Update::Fields);
    if chosen.is_empty() {
        (chosen, update) = (resembling(answer, &fitting).into_iter().collect(), Update::Freshness);
    }
    if !chosen.is_empty() {
        let is_sure = |place: &usize| fitting.get(*place).is_some_and(|stored| !chooses_by_more(answer, stored));
        let places: Vec<usize> =
            chosen.into_iter().filter(is_sure).filter_map(|place| places.get(place).copied()).collect();
        return (!places.is_empty()).then_some(Confirmed { places, update });
    }
    let (places, others) = among(false);
    let tag = EntityTag::of(answer)?;
    let other = others.iter().position(|one| has_tag(one, &tag, Comparison::Strong))?;
    Some(Confirmed { places: vec![*places.get(other)?], update: Update::Fields })
}

/// Whether a stored response that does not match a request may be validated together with one that does, so that the
/// origin can select it: its entity tag is strong, and it has the same coding. A weak tag may represent a coding that
/// the client does not accept, and some origins use one strong tag for all codings.
#[must_use]
pub fn may_be_chosen(other: &Fields, fitting: &Fields) -> bool {
    let is_strong = EntityTag::of(other).is_some_and(|tag| !tag.is_weak());
    is_strong && same(other, fitting, Known::ContentEncoding)
}

/// The indices of the stored responses (newest first) that a 304 confirms.
///
/// A strong entity tag confirms all that have it. If none has, a strong `Last-Modified` confirms those that have it and
/// whose own tag, if any, is the weak form of the 304's. A weak tag, or `Last-Modified` without one, confirms the
/// newest that has it. A 304 without a validator confirms the only response there is: RFC 9111 requires that one to
/// have no validator either, but many servers omit the tag, and the request was about this response only.
///
/// Source: RFC 9111 §4.3.4, RFC 9110 §8.8.2.2.
fn confirmed(answer: &Fields, stored: &[&Fields], today: Duration) -> Vec<usize> {
    let places = || stored.iter().enumerate();
    match (EntityTag::of(answer), answer.first(Known::LastModified)) {
        (Some(tag), _) if !tag.is_weak() => {
            let all = |fits: &dyn Fn(&Fields) -> bool| -> Vec<usize> {
                places().filter(|(_, one)| fits(one)).map(|(place, _)| place).collect()
            };
            let tagged = all(&|one| has_tag(one, &tag, Comparison::Strong));
            let modified = last_modified(answer, today).filter(|_| tagged.is_empty());
            let Some(modified) = modified else { return tagged };
            let agrees = |one: &Fields| !one.has(Known::Etag) || has_tag(one, &tag, Comparison::Weak);
            all(&|one| agrees(one) && strong_date(one, today) == Some(modified))
        }
        (Some(tag), modified) => {
            let fits = |one: &Fields| {
                if one.has(Known::Etag) {
                    has_tag(one, &tag, Comparison::Weak)
                } else {
                    modified.is_some() && one.first(Known::LastModified) == modified
                }
            };
            places().find(|(_, one)| fits(one)).map(|(place, _)| place).into_iter().collect()
        }
        (None, Some(modified)) => {
            let newest = places().find(|(_, one)| one.first(Known::LastModified) == Some(modified));
            newest.map(|(place, _)| place).into_iter().collect()
        }
        (None, None) if stored.len() == 1 && !answer.has(Known::Etag) => vec![0],
        (None, None) => Vec::new(),
    }
}

/// The only stored response whose weak tag equals the 304's strong one except for the weakness. Origins send this when
/// they weaken the tag of compressed responses, and generate a 304 without compression.
fn resembling(answer: &Fields, stored: &[&Fields]) -> Option<usize> {
    let mut alike = stored.iter().enumerate().filter(|(_, one)| unweakens(answer, one)).map(|(place, _)| place);
    alike.next().filter(|_| alike.next().is_none())
}

/// Whether a 304's `Vary` names fields that the stored response's does not, and no strong entity tag identifies the
/// stored response.
fn chooses_by_more(answer: &Fields, stored: &Fields) -> bool {
    let Vary::Fields(named) = Vary::of(answer) else { return false };
    let names_more = added(&named, &Vary::of(stored)).next().is_some();
    names_more && !EntityTag::of(answer).is_some_and(|tag| has_tag(stored, &tag, Comparison::Strong))
}

fn has_tag(stored: &Fields, tag: &EntityTag<'_>, comparison: Comparison) -> bool {
    EntityTag::of(stored).is_some_and(|own| own.matches(tag, comparison))
}

/// The fields of a stored response, updated by a 304 or a response to HEAD: each field of the latter replaces all lines
/// with its name.
///
/// Never updated: fields that are not stored (see `headers::stored`); `Set-Cookie`, which is for one client; and fields
/// that describe the content as stored, that is `Content-Encoding`, `Content-Length` and `Content-Range`. Three fields
/// need care, because many origins generate their 304 before negotiation and compression, contrary to RFC 9110 §15.4.5:
///
/// - `Vary` only grows: names that the 304 omits still select the stored response. `*` replaces all names.
/// - `Content-Type` is kept if the 304's `Content-Encoding` or `Vary` shows that it describes another representation.
/// - A weak entity tag stays weak: its strong form names the bytes before compression.
///
/// `Age` is dropped if the 304 has none, because it belongs to the older response. The caller makes sure that the 304
/// has a `Date` (RFC 9110 §6.6.1), and stores the response under its new variant if `Vary` has changed.
///
/// Source: RFC 9111 §3.2.
#[must_use]
pub fn freshened(stored: &Fields, answer: &Fields) -> Fields {
    let mut kept = KEPT;
    if describes_another(answer, stored) {
        kept = kept.with(Known::ContentType);
    }
    if unweakens(answer, stored) {
        kept = kept.with(Known::Etag);
    }
    let fresh = headers::stored(answer);
    let mut fields = replaced(stored, || fresh.iter().filter(|field| !kept.contains(field.known)));
    match Vary::of(answer) {
        Vary::Anything => fields.set(Known::Vary, "*"),
        Vary::Fields(named) => {
            added(&named, &Vary::of(stored)).for_each(|name| fields.append(Known::Vary, name.as_str()));
        }
    }
    fields
}

/// Fields of a stored response that a 304 or a response to HEAD does not replace.
const KEPT: KnownSet =
    KnownSet::of(&[Known::ContentEncoding, Known::ContentLength, Known::ContentRange, Known::SetCookie, Known::Vary]);

/// The stored fields without `Age`, with those in `newer` replaced.
fn replaced<'n, I: Iterator<Item = Field<'n>>>(stored: &Fields, newer: impl Fn() -> I) -> Fields {
    let mut fields = stored.clone();
    fields.drop_known(Known::Age);
    newer().for_each(|field| fields.drop_named(field.name));
    newer().for_each(|field| fields.append(field.name, field.value));
    fields
}

/// Whether a response without content describes another representation than the stored one.
fn describes_another(answer: &Fields, stored: &Fields) -> bool {
    let codes_otherwise = answer.has(Known::ContentEncoding) && !same(answer, stored, Known::ContentEncoding);
    codes_otherwise || (answer.has(Known::Vary) && Vary::of(answer) != Vary::of(stored))
}

/// Whether a response has the strong form of the stored weak entity tag.
fn unweakens(answer: &Fields, stored: &Fields) -> bool {
    let (Some(new), Some(old)) = (EntityTag::of(answer), EntityTag::of(stored)) else { return false };
    old.is_weak() && !new.is_weak() && new.matches(&old, Comparison::Weak)
}

/// Whether two heads have the same lines with this name, in the same order.
pub(super) fn same(one: &Fields, other: &Fields, name: Known) -> bool {
    one.values(name).eq(other.values(name))
}

/// The names that the stored `Vary` lacks.
fn added<'a>(named: &'a [HeaderName], stored: &Vary) -> impl Iterator<Item = &'a HeaderName> {
    let own = match stored {
        Vary::Fields(own) => Some(own.clone()),
        Vary::Anything => None,
    };
    named.iter().filter(move |name| own.as_ref().is_some_and(|own| !own.contains(name)))
}

/// The fields of a stored response with only the freshness fields of a 304.
#[must_use]
pub fn refreshed(stored: &Fields, answer: &Fields) -> Fields {
    const OF_FRESHNESS: KnownSet =
        KnownSet::of(&[Known::Age, Known::CacheControl, Known::CdnCacheControl, Known::Date, Known::Expires]);
    replaced(stored, || answer.iter().filter(|field| OF_FRESHNESS.contains(field.known)))
}

/// The effect of a response to HEAD on a stored response to GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glimpse {
    /// They agree: update it with [`freshened`].
    Agrees,
    /// They differ: the stored response is stale from now on.
    Differs,
}

/// Compares a 200 to HEAD with the stored response: by entity tag, `Last-Modified` and `Content-Length`, each if
/// present. `content_bytes` is the length of the stored content. If the `Vary` of the response names more fields, it
/// may be about another representation, unless the entity tag is strong.
///
/// Source: RFC 9111 §4.3.5.
#[must_use]
pub fn glimpse(answer: &Fields, stored: &Fields, content_bytes: u64) -> Glimpse {
    let agrees = |name: Known| !answer.has(name) || answer.first(name) == stored.first(name);
    let length = answer.first(Known::ContentLength);
    let length = length.map(|value| std::str::from_utf8(value.trim_ascii()).ok().and_then(|text| text.parse().ok()));
    let same_length = length.is_none_or(|length: Option<u64>| length == Some(content_bytes));
    let is_it = agrees(Known::Etag) && agrees(Known::LastModified) && same_length && !chooses_by_more(answer, stored);
    if is_it { Glimpse::Agrees } else { Glimpse::Differs }
}

/// `Last-Modified` since the epoch, if it is strong: at least a second before `Date` (RFC 9110 §8.8.2.2).
pub(super) fn strong_date(response: &Fields, today: Duration) -> Option<Duration> {
    let modified = last_modified(response, today)?;
    let date = dates::read(response.only(Known::Date)?.trim_ascii(), today)?;
    (modified < date).then_some(modified)
}

/// `Last-Modified` since the epoch.
pub(super) fn last_modified(response: &Fields, today: Duration) -> Option<Duration> {
    dates::read(response.only(Known::LastModified)?.trim_ascii(), today)
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{NOW, headers};
    use super::*;
    use proptest::prelude::*;

    const MONDAY: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
    const TUESDAY: &str = "Tue, 02 Jan 2024 00:00:00 GMT";

    /// Whether a request with these fields becomes conditional, and its fields then.
    fn asked(request: &[(&'static str, &'static str)], stored: &[&Fields]) -> (bool, Fields) {
        let validators = ask(stored);
        let mut fields = headers(request);
        fields.apply_all(validators.edits());
        (validators.is_conditional(), fields)
    }

    /// The only value of a field, as text.
    fn value<'f>(fields: &'f Fields, name: &str) -> &'f str {
        std::str::from_utf8(fields.only(name).unwrap()).unwrap()
    }

    #[test]
    fn rfc9111_4_3_1_both_validators_of_one_response_are_sent() {
        let stored = headers(&[("etag", "W/\"a\""), ("last-modified", MONDAY)]);
        let expected = headers(&[("accept", "*/*"), ("if-none-match", "W/\"a\""), ("if-modified-since", MONDAY)]);
        assert_eq!(asked(&[("accept", "*/*")], &[&stored]), (true, expected));
    }

    #[test]
    fn rfc9111_4_3_1_of_several_only_the_tags_are_sent_each_once() {
        let one = headers(&[("etag", "\"a\""), ("last-modified", MONDAY)]);
        let two = headers(&[("etag", "\"b\"")]);
        let bad = headers(&[("etag", "c")]);
        let expected = headers(&[("if-none-match", "\"a\", \"b\"")]);
        assert_eq!(asked(&[], &[&one, &two, &one, &bad]), (true, expected));
    }

    #[test]
    fn rfc9111_4_3_1_the_clients_own_conditions_and_range_are_taken_away() {
        let names = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"];
        let request = names.map(|name| (name, "x"));
        assert_eq!(asked(&request, &[&headers(&[("etag", "no tag")])]), (false, Fields::new()));
    }

    #[test]
    fn tags_beyond_the_limit_are_left_out() {
        let stored: Vec<Fields> = (0..64).map(|n| Fields::from_iter([("etag", format!("\"{n:0>200}\""))])).collect();
        let sent = ask(&stored.iter().collect::<Vec<_>>()).tags.unwrap().len();
        assert!((TAGS_BYTES_MAX / 2..=TAGS_BYTES_MAX).contains(&sent), "{sent}");
    }

    #[test]
    fn rfc9111_4_3_3_what_a_status_means() {
        for (status, answer) in [
            (304, Answer::NotModified),
            (200, Answer::Whole),
            (206, Answer::Whole),
            (301, Answer::Whole),
            (404, Answer::Whole),
            (410, Answer::Whole),
            (500, Answer::Failed),
            (504, Answer::Failed),
            (599, Answer::Failed),
        ] {
            assert_eq!(read(StatusCode::from_u16(status).unwrap()), answer, "{status}");
        }
    }

    #[test]
    fn rfc9111_4_3_4_a_strong_tag_confirms_all_that_have_it_and_only_those() {
        let (a, b) = (headers(&[("etag", "\"a\"")]), headers(&[("etag", "\"b\"")]));
        let weak = headers(&[("etag", "W/\"a\"")]);
        assert_eq!(confirmed(&headers(&[("etag", "\"a\"")]), &[&a, &b, &weak, &a], NOW.wall), [0, 3]);
        assert!(confirmed(&headers(&[("etag", "\"c\"")]), &[&a], NOW.wall).is_empty());
        let dated = headers(&[("last-modified", MONDAY)]);
        assert!(confirmed(&headers(&[("etag", "\"a\""), ("last-modified", MONDAY)]), &[&dated], NOW.wall).is_empty());
    }

    #[test]
    fn rfc9110_8_8_2_2_next_to_another_tag_a_strong_date_confirms_what_has_it() {
        let nginx = headers(&[("etag", "\"a\""), ("last-modified", MONDAY)]);
        let of =
            |tag: &'static str, modified, date| headers(&[("etag", tag), ("last-modified", modified), ("date", date)]);
        let weakened = of("W/\"a\"", MONDAY, TUESDAY);
        assert_eq!(confirmed(&nginx, &[&weakened, &weakened], NOW.wall), [0, 1]);
        let untagged = headers(&[("last-modified", MONDAY), ("date", TUESDAY)]);
        assert_eq!(confirmed(&nginx, &[&untagged], NOW.wall), [0]);
        for other in [
            of("W/\"a\"", MONDAY, MONDAY),
            of("W/\"a\"", TUESDAY, TUESDAY),
            of("W/\"b\"", MONDAY, TUESDAY),
            of("\"b\"", MONDAY, TUESDAY),
            headers(&[("etag", "W/\"a\""), ("last-modified", MONDAY)]),
        ] {
            assert!(confirmed(&nginx, &[&other], NOW.wall).is_empty(), "{other:?}");
        }
        let strong = of("\"a\"", TUESDAY, TUESDAY);
        assert_eq!(confirmed(&nginx, &[&weakened, &strong], NOW.wall), [1]);
    }

    /// The candidates that a 304 confirms.
    fn chosen(answer: &[(&'static str, &'static str)], stored: &[(bool, &Fields)]) -> Option<(Vec<usize>, Update)> {
        let candidates: Vec<_> = stored.iter().map(|(fits, headers)| Candidate { headers, fits: *fits }).collect();
        confirm(&headers(answer), &candidates, NOW.wall).map(|Confirmed { places, update }| (places, update))
    }

    #[test]
    fn what_fits_comes_before_what_does_not_and_only_a_strong_tag_chooses_the_latter() {
        let (a, b) = (headers(&[("etag", "\"a\"")]), headers(&[("etag", "\"b\"")]));
        let weak = headers(&[("etag", "W/\"a\"")]);
        assert_eq!(chosen(&[("etag", "\"a\"")], &[(false, &a), (true, &a)]), Some((vec![1], Update::Fields)));
        assert_eq!(
            chosen(&[("etag", "\"a\"")], &[(true, &b), (false, &a), (false, &a)]),
            Some((vec![1], Update::Fields))
        );
        assert_eq!(chosen(&[("etag", "W/\"a\"")], &[(true, &b), (false, &weak)]), None);
        assert_eq!(chosen(&[("etag", "\"a\"")], &[(true, &b), (false, &weak)]), None);
        let dated = headers(&[("last-modified", MONDAY), ("date", TUESDAY)]);
        assert_eq!(chosen(&[("last-modified", MONDAY)], &[(true, &b), (false, &dated)]), None);
        assert_eq!(chosen(&[], &[(true, &a), (false, &a)]), None);
        assert_eq!(chosen(&[], &[(true, &a)]), Some((vec![0], Update::Fields)));
    }

    #[test]
    fn one_weak_tag_whose_strong_form_comes_back_is_refreshed() {
        let (weak, other) = (headers(&[("etag", "W/\"a\"")]), headers(&[("etag", "W/\"b\"")]));
        let strong = [("etag", "\"a\"")];
        assert_eq!(chosen(&strong, &[(true, &other), (true, &weak)]), Some((vec![1], Update::Freshness)));
        assert_eq!(chosen(&strong, &[(true, &weak), (true, &weak)]), None);
        assert_eq!(chosen(&strong, &[(false, &weak)]), None);
        assert_eq!(chosen(&strong, &[(true, &other)]), None);
        let dated = headers(&[("etag", "W/\"a\""), ("last-modified", MONDAY), ("date", TUESDAY)]);
        let nginx = [strong[0], ("last-modified", MONDAY)];
        assert_eq!(chosen(&nginx, &[(true, &dated)]), Some((vec![0], Update::Fields)));
        assert_eq!(chosen(&nginx, &[(true, &weak)]), Some((vec![0], Update::Freshness)));
    }

    #[test]
    fn where_vary_names_more_only_a_strong_tag_confirms() {
        let vary = ("vary", "origin, accept-encoding");
        for (tag, new_tag, is_confirmed) in
            [("\"a\"", "\"a\"", true), ("W/\"a\"", "W/\"a\"", false), ("W/\"a\"", "\"a\"", false)]
        {
            let stored = headers(&[("etag", tag), ("vary", "origin"), ("last-modified", MONDAY), ("date", TUESDAY)]);
            let answer = [("etag", new_tag), vary, ("last-modified", MONDAY)];
            assert_eq!(chosen(&answer, &[(true, &stored)]).is_some(), is_confirmed, "{tag} {new_tag}");
            let shorter = [("etag", new_tag), ("vary", ""), ("last-modified", MONDAY)];
            assert!(chosen(&shorter, &[(true, &stored)]).is_some(), "{tag} {new_tag}");
        }
        assert_eq!(chosen(&[vary], &[(true, &headers(&[]))]), None);
        assert!(chosen(&[("vary", "*")], &[(true, &headers(&[]))]).is_some());
    }

    #[test]
    fn others_are_asked_about_only_by_strong_tags_and_coded_alike() {
        let of = |tag, coding: &'static [(&'static str, &'static str)]| headers(&[&[("etag", tag)], coding].concat());
        let gzip = &[("content-encoding", "gzip")];
        let fitting = of("W/\"a\"", &[]);
        assert!(may_be_chosen(&of("\"b\"", &[]), &fitting));
        assert!(!may_be_chosen(&of("\"b\"", gzip), &fitting));
        assert!(!may_be_chosen(&of("W/\"b\"", &[]), &fitting));
        assert!(!may_be_chosen(&headers(&[]), &fitting));
    }

    #[test]
    fn rfc9111_4_3_4_a_weak_validator_confirms_the_newest_that_has_it() {
        let (a, b) = (headers(&[("etag", "W/\"a\"")]), headers(&[("etag", "W/\"b\"")]));
        assert_eq!(confirmed(&headers(&[("etag", "W/\"a\"")]), &[&b, &a, &a], NOW.wall), [1]);
        let strong = headers(&[("etag", "\"a\"")]);
        assert_eq!(confirmed(&headers(&[("etag", "W/\"a\"")]), &[&strong], NOW.wall), [0]);
        let (old, new) = (headers(&[("last-modified", MONDAY)]), headers(&[("last-modified", TUESDAY)]));
        assert_eq!(confirmed(&headers(&[("last-modified", MONDAY)]), &[&new, &old, &old], NOW.wall), [1]);
        assert!(confirmed(&headers(&[("last-modified", MONDAY)]), &[&new], NOW.wall).is_empty());
        assert_eq!(confirmed(&headers(&[("etag", "W/\"a\""), ("last-modified", MONDAY)]), &[&b, &old], NOW.wall), [1]);
    }

    #[test]
    fn rfc9111_4_3_4_without_a_validator_the_only_response_is_confirmed() {
        let (plain, tagged) = (headers(&[]), headers(&[("etag", "\"a\"")]));
        assert_eq!(confirmed(&headers(&[]), &[&plain], NOW.wall), [0]);
        assert_eq!(confirmed(&headers(&[]), &[&tagged], NOW.wall), [0]);
        assert!(confirmed(&headers(&[]), &[&plain, &tagged], NOW.wall).is_empty());
        assert!(confirmed(&headers(&[]), &[], NOW.wall).is_empty());
        assert!(confirmed(&headers(&[("etag", "no tag")]), &[&plain], NOW.wall).is_empty());
    }

    #[test]
    fn rfc9111_3_2_fields_are_replaced_added_and_kept() {
        let stored = headers(&[("x-a", "1"), ("x-a", "2"), ("x-b", "3"), ("date", MONDAY), ("age", "50")]);
        let fresh = freshened(&stored, &headers(&[("x-a", "9"), ("x-c", "4"), ("x-c", "5"), ("date", TUESDAY)]));
        assert_eq!(fresh, headers(&[("x-b", "3"), ("x-a", "9"), ("x-c", "4"), ("x-c", "5"), ("date", TUESDAY)]));
        let aged = freshened(&fresh, &headers(&[("age", "7")]));
        assert_eq!(value(&aged, "age"), "7");
        assert_eq!(value(&freshened(&aged, &headers(&[("content-type", "text/css")])), "content-type"), "text/css");
    }

    #[test]
    fn rfc9111_3_2_vary_only_grows() {
        for (stored, answered, expected) in [
            (&["origin, accept-encoding"][..], &["Origin"][..], Some(&["accept-encoding", "origin"][..])),
            (&["origin", "accept-encoding"], &[""], Some(&["accept-encoding", "origin"])),
            (&["origin"], &["accept-encoding, ORIGIN"], Some(&["accept-encoding", "origin"])),
            (&["origin"], &[], Some(&["origin"])),
            (&[], &["cookie", "accept"], Some(&["accept", "cookie"])),
            (&["origin"], &["*"], None),
            (&["origin"], &["accept, no name"], None),
        ] {
            let lines = |values: &[&'static str]| headers(&values.iter().map(|one| ("vary", *one)).collect::<Vec<_>>());
            let stored = freshened(&lines(stored), &lines(answered));
            let names = |names: &[&'static str]| names.iter().map(|name| HeaderName::from_static(name)).collect();
            assert_eq!(
                Vary::of(&stored),
                expected.map_or(Vary::Anything, |all| Vary::Fields(names(all))),
                "{answered:?}"
            );
        }
    }

    #[test]
    fn a_type_is_taken_over_unless_the_answer_describes_something_else() {
        let stored = [("content-type", "a/a"), ("content-encoding", "gzip"), ("vary", "accept-encoding")];
        let new = ("content-type", "b/b");
        for (answer, expected) in [
            (&[new][..], "b/b"),
            (&[new, ("content-encoding", "gzip"), ("vary", "Accept-Encoding")], "b/b"),
            (&[new, ("content-encoding", "br")], "a/a"),
            (&[new, ("vary", "origin")], "a/a"),
            (&[new, ("vary", "accept-encoding, origin")], "a/a"),
        ] {
            let fields = freshened(&headers(&stored), &headers(answer));
            assert_eq!((value(&fields, "content-type"), value(&fields, "content-encoding")), (expected, "gzip"));
        }
        let plain = headers(&[("content-type", "a/a")]);
        assert_eq!(freshened(&plain, &headers(&[new, ("content-encoding", "gzip")])), plain);
    }

    #[test]
    fn a_weak_tag_stays_weak() {
        for (stored, answered, expected) in [
            ("W/\"a\"", "\"a\"", "W/\"a\""),
            ("W/\"a\"", "W/\"a\"", "W/\"a\""),
            ("\"a\"", "W/\"a\"", "W/\"a\""),
            ("W/\"a\"", "\"b\"", "\"b\""),
        ] {
            let stored = freshened(&headers(&[("etag", stored)]), &headers(&[("etag", answered)]));
            assert_eq!(value(&stored, "etag"), expected);
        }
    }

    #[test]
    fn a_refresh_changes_nothing_but_freshness() {
        let old = [
            ("date", MONDAY),
            ("age", "9"),
            ("etag", "W/\"a\""),
            ("x-a", "1"),
            ("vary", "x-a"),
            ("content-type", "a/a"),
        ];
        let cookie = ("set-cookie", "a=b");
        let own =
            [("date", TUESDAY), ("cache-control", "max-age=1"), ("cdn-cache-control", "max-age=2"), ("expires", "0")];
        let others = [("etag", "\"a\""), ("x-a", "2"), ("x-b", "2"), ("content-type", "b/b"), ("vary", "x-b"), cookie];
        let stored = refreshed(&headers(&old), &headers(&[&own[..], &others[..]].concat()));
        assert_eq!(stored, headers(&[&old[2..], &own[..]].concat()));
    }

    #[test]
    fn rfc9111_3_2_what_frames_the_content_or_is_of_the_connection_is_never_taken_over() {
        let before = headers(&[("content-length", "10"), ("content-type", "text/plain")]);
        let stored = freshened(
            &before,
            &headers(&[
                ("content-length", "0"),
                ("content-range", "bytes 0-1/2"),
                ("content-encoding", "br"),
                ("set-cookie", "a=b"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("keep-alive", "timeout=1"),
                ("transfer-encoding", "chunked"),
                ("proxy-authenticate", "Basic"),
            ]),
        );
        assert_eq!(stored, before);
    }

    #[test]
    fn rfc9111_4_3_5_an_answer_to_head_agrees_or_differs() {
        let stored = headers(&[("etag", "\"a\""), ("last-modified", MONDAY), ("content-length", "10")]);
        let cases: [(&[(&'static str, &'static str)], Glimpse); 8] = [
            (&[], Glimpse::Agrees),
            (&[("etag", "\"a\""), ("last-modified", MONDAY), ("content-length", "10")], Glimpse::Agrees),
            (&[("etag", "\"b\"")], Glimpse::Differs),
            (&[("etag", "W/\"a\"")], Glimpse::Differs),
            (&[("last-modified", TUESDAY)], Glimpse::Differs),
            (&[("content-length", "11")], Glimpse::Differs),
            (&[("content-length", "x")], Glimpse::Differs),
            (&[("content-type", "text/html")], Glimpse::Agrees),
        ];
        for (answer, expected) in cases {
            assert_eq!(glimpse(&headers(answer), &stored, 10), expected, "{answer:?}");
        }
        assert_eq!(glimpse(&headers(&[("etag", "\"a\"")]), &headers(&[]), 10), Glimpse::Differs);
        let varies = |tag| headers(&[("etag", tag), ("vary", "accept-encoding")]);
        assert_eq!(glimpse(&varies("\"a\""), &stored, 10), Glimpse::Agrees);
        assert_eq!(glimpse(&varies("W/\"a\""), &headers(&[("etag", "W/\"a\"")]), 10), Glimpse::Differs);
    }

    proptest! {
        #[test]
        fn every_confirmed_place_exists(
            answer in "(W/)?\"?[ab]?\"?",
            tags in proptest::collection::vec("(W/)?\"?[ab]?\"?", 0..6),
        ) {
            let of = |tag: &String| Fields::from_iter([("etag", tag)]);
            let stored: Vec<Fields> = tags.iter().map(of).collect();
            let places = confirmed(&of(&answer), &stored.iter().collect::<Vec<_>>(), NOW.wall);
            prop_assert!(places.iter().all(|place| *place < stored.len()));
        }
    }
}
