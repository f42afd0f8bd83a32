//! `[[invalidate]]`: what events make the cache forget.

use policy::events::{BadTemplate, PlaceTemplate, Rule, Template};

use crate::config::document::Section;

/// The most templates in one list: an event fills all of them.
const TEMPLATES_MAX: usize = 100;

/// Every rule, in file order.
pub(super) fn rules(sections: &[Section<'_>]) -> Vec<Rule> {
    sections.iter().map(rule).collect()
}

fn rule(section: &Section<'_>) -> Rule {
    section.missing("event", "say for which type of events: event = \"OrderCreated\"");
    let event = section.text("event");
    if let Some(text) = event.as_ref().filter(|text| text.value.is_empty()) {
        section.report.add(text.span.clone(), "event is empty", "no event has an empty type");
    }
    if ["tags", "urls", "prefixes"].into_iter().all(|key| !section.has(key) || section.is_empty_list(key)) {
        let hint = "add tags, urls or prefixes";
        section.report.add(section.span.clone(), "this rule makes nothing void", hint);
    }
    Rule {
        event: event.map(|text| text.value).unwrap_or_default().into(),
        tags: templates(section, "tags", Template::parse),
        urls: templates(section, "urls", PlaceTemplate::url),
        prefixes: templates(section, "prefixes", PlaceTemplate::prefix),
        soft: section.flag("soft"),
    }
}

fn templates<T>(section: &Section<'_>, key: &str, parse: impl Fn(&str) -> Result<T, BadTemplate>) -> Vec<T> {
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
                // The error may quote the text.
                let cause = if text.holds_secret() { "is no template".to_owned() } else { error.to_string() };
                let hint = "values stand in braces: {aggregate_id}, {data.user_id}";
                section.report.add(text.span.clone(), format!("{text} {cause}"), hint);
            }
        }
    }
    templates
}
