//! Declares `[route.mirror]` and `[route.mirror.compare]`.

use std::time::Duration;

use http::{HeaderName, Method};
use policy::compare::rules::{Pointer, Rules};
use policy::route::split::Share;

use super::{HOUR, MIB, MILLISECOND, table};
use crate::config::document::Section;
use crate::config::grammar::method;

/// The most entries of `ignore`.
const IGNORED_MAX: usize = 100;

table! {
    /// Copies requests to another upstream, whose responses reach no client. The mirror copies requests that go to a
    /// backend of another upstream than its own. It does not copy requests that the cache answers, upgrades, and
    /// requests whose body is longer than `body_bytes_max`. A copy has the field `forebay-mirror: 1`. forebay sends it
    /// when the client's response has begun, on separate connections. A copy never changes, delays or fails the
    /// client's request, is never retried or cached, and does not count for ejection or balancing. forebay drops and
    /// counts copies beyond the limits.
    pub(in crate::config) struct MirrorKeys "[route.mirror]";

    /// The upstream that gets the copies.
    upstream as Text = required("say where the copies go: upstream = \"users-v2\"");
    /// How many of the requests are copied, in percent with up to three decimals, chosen by chance.
    percent: Share as Percent(0.0, 100.0) = "100" => share;
    /// Which methods are copied. These requests run twice: name writes only if the mirror's data allows it.
    methods: Vec<Method> as Texts = "GET HEAD" => methods;
    /// The longest request body that is copied, and the longest response body that is compared.
    body_bytes_max: usize as Size(0, 64 * MIB) = "1MiB";
    /// The most copies in flight, all workers together; forebay drops further copies.
    in_flight_max: usize as Count(1, 100_000) = "64";
    /// The longest time of a copy, until the end of its response.
    timeout: Duration as Duration(MILLISECOND, HOUR) = "10s";
    /// Compares the mirror's responses with the clients'. Left out: no comparison.
    compare as Table(Rules::SECTION);
}

table! {
    /// Compares the mirror's responses with the clients'. forebay counts where they differ, and keeps a few as samples,
    /// which the admin API shows.
    impl Rules "[route.mirror.compare]" => check_compare;

    /// Whether forebay compares statuses.
    status: bool = "true";
    /// Response headers that are compared.
    headers: Vec<HeaderName> = "content-type";
    /// Whether forebay compares bodies that are JSON on both sides, by their structure: the order of members and blanks
    /// do not count.
    json_body: bool = "true";
    /// Whether forebay compares all other bodies, byte by byte. It decompresses compressed bodies first.
    other_body: bool = "true";
    /// Places in JSON bodies to ignore: JSON pointers (RFC 6901) in which `*` stands for any one member or element,
    /// such as `"/updated_at"` or `"/items/*/seen"`, each with everything below it.
    ignore: Vec<Pointer> as Texts = "" => ignore;
    /// An upstream that gets a second copy of each request: places where its two responses differ, such as times and
    /// ids, don't count. Left out: all differences count.
    noise_from as Text;
    /// How many of the last differing pairs are kept as samples.
    samples_max as Count(0, 1_000) = "50";
    /// Whether samples show values. `false`: only types and lengths, so that samples hold no personal data.
    sample_values as Flag = "false";
}

fn share(section: &Section<'_>, key: &str) -> Share {
    let share = section.share(key);
    if let Some(share) = share.as_ref().filter(|share| *share.get_ref() == Share::NONE) {
        section.report.add(share.span(), "percent is 0: nothing would be copied", "leave the whole table out");
    }
    share.map_or(Share::WHOLE, toml::Spanned::into_inner)
}

fn methods(section: &Section<'_>, key: &str) -> Vec<Method> {
    if section.is_empty_list(key) {
        let hint = "name some: methods = [\"GET\", \"HEAD\"]";
        section.report.add(section.at(key), "methods is empty: nothing would be copied", hint);
    }
    let mut methods = Vec::new();
    for text in section.texts(key) {
        let Some(method) = method(section, &text) else { continue };
        if method == Method::CONNECT || method == Method::TRACE {
            section.report.add(text.span.clone(), format!("{text} can't be copied"), "it reaches no backend");
        }
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    methods
}

fn check_compare(rules: &Rules, section: &Section<'_>) {
    if !(rules.status || rules.json_body || rules.other_body) && rules.headers.is_empty() {
        let hint = "leave compare out, or one of status, headers, json_body, other_body on";
        section.report.add(section.span.clone(), "compare compares nothing", hint);
    }
    if section.has("ignore") && !rules.json_body {
        let hint = "it is for json_body = true";
        section.report.add(section.at("ignore"), "ignore has no effect", hint);
    }
}

fn ignore(section: &Section<'_>, key: &str) -> Vec<Pointer> {
    let texts = section.texts(key);
    if texts.len() > IGNORED_MAX {
        let cause = format!("there are {} places to ignore", texts.len());
        section.report.add(section.at(key), cause, format!("at most {IGNORED_MAX}"));
    }
    let mut pointers = Vec::new();
    for text in texts {
        let pointer = Pointer::parse(&text.value);
        if pointer.is_none() {
            let hint = "write \"/items/*/seen\": * is any one member or element, ~1 a slash, ~0 a tilde";
            section.report.add(text.span.clone(), format!("{text} is no JSON pointer"), hint);
        }
        pointers.extend(pointer);
    }
    pointers
}
