//! Declares `[[invalidate]]`.

use policy::events::{BadEventTemplate, EventRule, EventTemplate, PlaceTemplate};

use super::table;
use crate::config::document::Section;

/// The most templates in one list: each event expands all of them.
const TEMPLATES_MAX: usize = 100;

table! {
    /// What an event invalidates in the cache. Several rules may have the same type. A rule has at least one of `tags`,
    /// `urls` and `prefixes`. In these, `{type}`, `{aggregate_id}` (or `{subject}`, the same) and paths into the
    /// event's data, such as `{data.user_id}` or `{data.items.0.id}`, stand for the values of the event: a string that
    /// is not empty, a whole number, `true` or `false`. forebay refuses an event that lacks one of the values. Write
    /// `{{` and `}}` for plain braces.
    impl EventRule "[[invalidate]]" => check_invalidates;

    /// The exact type of the events.
    event: Box<str> as Text = required("say for which type of events: event = \"OrderCreated\"") => event;
    /// Tags to purge, as in the response headers of `tags_header`: `"user:{data.user_id}"`.
    tags: Vec<EventTemplate> as Texts = "" => tags;
    /// Single URLs to purge: `"/api/orders/{aggregate_id}"` for every host, or `"https://shop.example.com/…"` for one.
    /// A value can't leave its segment of the path or its parameter of the query.
    urls: Vec<PlaceTemplate> as Texts = "" => urls;
    /// Prefixes of URLs to purge: `"/api/lists/{data.user_id}/"`. Without a slash at the end, `/a/1` matches `/a/10`,
    /// too.
    prefixes: Vec<PlaceTemplate> as Texts = "" => prefixes;
    /// `true`: purged responses become stale, and may be served while forebay refreshes them. `false`: they are
    /// removed.
    soft: bool = "false";
}

fn check_invalidates(_: &EventRule, section: &Section<'_>) {
    if ["tags", "urls", "prefixes"].into_iter().all(|key| !section.has(key) || section.is_empty_list(key)) {
        let hint = "add tags, urls or prefixes";
        section.report.add(section.span.clone(), "this rule invalidates nothing", hint);
    }
}

fn event(section: &Section<'_>, key: &str) -> Box<str> {
    let Some(text) = section.text(key) else { return Box::default() };
    if text.value.is_empty() {
        section.report.add(text.span.clone(), "event is empty", "no event has an empty type");
    }
    text.value.into()
}

fn tags(section: &Section<'_>, key: &str) -> Vec<EventTemplate> {
    templates(section, key, EventTemplate::parse)
}

fn urls(section: &Section<'_>, key: &str) -> Vec<PlaceTemplate> {
    templates(section, key, PlaceTemplate::url)
}

fn prefixes(section: &Section<'_>, key: &str) -> Vec<PlaceTemplate> {
    templates(section, key, PlaceTemplate::prefix)
}

fn templates<T>(section: &Section<'_>, key: &str, parse: impl Fn(&str) -> Result<T, BadEventTemplate>) -> Vec<T> {
    let texts = section.texts(key);
    if texts.len() > TEMPLATES_MAX {
        let hint = format!("at most {TEMPLATES_MAX}");
        section.report.add(section.at(key), format!("there are {} {key}", texts.len()), hint);
    }
    let mut templates = Vec::new();
    for text in texts {
        match parse(&text.value) {
            Ok(template) => templates.push(template),
            Err(error) => {
                // The message may quote the text, which may contain a secret.
                let cause = if text.holds_secret() { "is no template".to_owned() } else { error.to_string() };
                let hint = "values stand in braces: {aggregate_id}, {data.user_id}";
                section.report.add(text.span.clone(), format!("{text} {cause}"), hint);
            }
        }
    }
    templates
}
