//! Decides what an event invalidates: rules of the configuration, filled with the event's values.
//!
//! An event is decoded from parsed JSON ([`Event`], [`JsonValue`]); the templates of a rule are parsed once ([`EventTemplate`],
//! [`PlaceTemplate`]). [`touched`] returns what to purge. The caller purges, counts the results, and limits the size of
//! an event.

mod errors;
mod event;
mod place;
mod template;

pub use errors::{BadEventTemplate, BadPlace, Unfit};
pub use event::{Event, JsonValue, NoEvent};
pub use place::{Authority, PLACE_BYTES_MAX, PlaceTemplate, UrlPattern};
pub use template::{EventTemplate, TAG_BYTES_MAX};

/// An `[[invalidate]]` table: what an event of one type invalidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRule {
    /// The exact type of the events that it applies to.
    pub event: Box<str>,
    /// The tags to purge.
    pub tags: Vec<EventTemplate>,
    /// The URLs to purge.
    pub urls: Vec<PlaceTemplate>,
    /// The URL prefixes to purge.
    pub prefixes: Vec<PlaceTemplate>,
    /// Whether purged responses only become stale.
    pub soft: bool,
}

/// What one rule invalidates for one event, without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventEffect {
    /// Whether the responses only become stale.
    pub soft: bool,
    /// Tags.
    pub tags: Vec<String>,
    /// Whole URLs.
    pub urls: Vec<UrlPattern>,
    /// URL prefixes; their queries are `None`.
    pub prefixes: Vec<UrlPattern>,
}

/// What an event invalidates: one [`EventEffect`] for each rule of its type, in the order of the rules. Empty if no rule
/// has the type.
///
/// # Errors
/// [`Unfit`] → 422, if a template of one of these rules cannot be filled. The caller should purge nothing then: half of
/// an event would look like all of it.
pub fn touched(rules: &[EventRule], event: &Event) -> Result<Vec<EventEffect>, Unfit> {
    rules.iter().filter(|rule| rule.event == event.kind).map(|rule| rule.touched(event)).collect()
}

impl EventRule {
    fn touched(&self, event: &Event) -> Result<EventEffect, Unfit> {
        let mut touched = EventEffect { soft: self.soft, ..EventEffect::default() };
        for template in &self.tags {
            add(&mut touched.tags, template.fill(event, TAG_BYTES_MAX)?);
        }
        for template in &self.urls {
            template.fill(event)?.into_iter().for_each(|place| add(&mut touched.urls, place));
        }
        for template in &self.prefixes {
            template.fill(event)?.into_iter().for_each(|place| add(&mut touched.prefixes, place));
        }
        Ok(touched)
    }
}

/// Appends an item unless the list contains it. The configuration bounds the length.
fn add<T: PartialEq>(list: &mut Vec<T>, new: T) {
    if !list.contains(&new) {
        list.push(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(event: &str, tags: &[&str], urls: &[&str], prefixes: &[&str]) -> EventRule {
        EventRule {
            event: event.into(),
            tags: tags.iter().map(|text| EventTemplate::parse(text).unwrap()).collect(),
            urls: urls.iter().map(|text| PlaceTemplate::url(text).unwrap()).collect(),
            prefixes: prefixes.iter().map(|text| PlaceTemplate::prefix(text).unwrap()).collect(),
            soft: false,
        }
    }

    fn order(user: JsonValue) -> Event {
        let data = JsonValue::table([("user_id", user)]);
        Event { kind: "OrderCreated".into(), subject: Some("o-1".into()), data }
    }

    #[test]
    fn an_event_fills_the_templates_of_its_rules() {
        let rules = [
            rule("OrderCreated", &["orders", "user:{data.user_id}"], &["/api/orders/{aggregate_id}"], &[]),
            rule("OrderDeleted", &["gone"], &[], &[]),
            EventRule { soft: true, ..rule("OrderCreated", &[], &[], &["/lists/{data.user_id}/"]) },
        ];
        let touched = touched(&rules, &order(JsonValue::Whole(7))).unwrap();
        assert_eq!(touched.len(), 2);
        assert_eq!(touched[0].tags, ["orders", "user:7"]);
        assert_eq!(touched[0].urls[0].path, "/api/orders/o-1");
        assert!(!touched[0].soft && touched[1].soft && touched[1].tags.is_empty());
        assert_eq!(touched[1].prefixes[0].path, "/lists/7/");
    }

    #[test]
    fn an_unknown_type_touches_nothing() {
        let rules = [rule("ordercreated", &["orders"], &[], &[]), rule("Order", &["orders"], &[], &[])];
        assert_eq!(touched(&rules, &order(JsonValue::Whole(7))), Ok(Vec::new()));
    }

    #[test]
    fn an_event_that_lacks_something_touches_nothing_at_all() {
        let rules =
            [rule("OrderCreated", &["orders"], &[], &[]), rule("OrderCreated", &["user:{data.user_id}"], &[], &[])];
        let unfit = touched(&rules, &order(JsonValue::Null)).unwrap_err();
        assert_eq!(unfit, Unfit::NoText { path: "data.user_id".into() });
        assert_eq!(unfit.to_string(), "data.user_id is no text, whole number, true or false");
    }

    #[test]
    fn a_thing_is_touched_once() {
        let rules = [rule("OrderCreated", &["a", "{data.user_id}"], &["/a", "/{data.user_id}"], &[])];
        let touched = touched(&rules, &order(JsonValue::Text("a".into()))).unwrap();
        assert_eq!((touched[0].tags.len(), touched[0].urls.len()), (1, 1));
    }
}
