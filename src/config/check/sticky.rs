//! `sticky` and `sticky_cookie`: what a client is known by.

use super::{admin, is_host_name, is_token};
use crate::config::document::Section;
use crate::config::plan::{SameSite, Sticky, StickyCookie};

/// What keeps the clients of a route on their side.
pub(super) fn of_route(route: &Section<'_>) -> Sticky {
    let cookie = cookie(&route.section("sticky_cookie"));
    let Some(text) = route.text("sticky") else { return Sticky::None };
    let sticky = match text.value.split_once(':') {
        None if text.value == "none" => Some(Sticky::None),
        None if text.value == "cookie" => return Sticky::Cookie(cookie),
        None if text.value == "client-ip" => Some(Sticky::ClientIp),
        Some(("header", name)) => name.parse().ok().map(Sticky::Header),
        Some(("cookie", name)) if is_token(name) => Some(Sticky::TheirCookie(name.to_owned())),
        None | Some(_) => None,
    };
    if sticky.is_none() {
        let hint = "one of none, cookie, client-ip, header:NAME, cookie:NAME";
        route.report.add(text.span.clone(), format!("sticky can't be {text}"), hint);
    } else if route.has("split") && route.has("sticky_cookie") {
        let hint = "add sticky = \"cookie\", or leave it out";
        route.report.add(route.at("sticky_cookie"), "sticky_cookie has no effect", hint);
    }
    sticky.unwrap_or(Sticky::None)
}

fn cookie(section: &Section<'_>) -> StickyCookie {
    let same_site = [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];
    let cookie = StickyCookie {
        name: name(section),
        path: path(section),
        domain: domain(section),
        max_age: section.duration("max_age"),
        same_site: section.choice("same_site", &same_site).unwrap_or(SameSite::Lax),
        secret: section.text("secret").map(|text| admin::secret(section, &text, "secret")),
    };
    if cookie.name.starts_with("__Host-") && (cookie.path != "/" || cookie.domain.is_some()) {
        let hint = "a name that starts with __Host- takes path = \"/\" and no domain";
        section.report.add(section.at("name"), "browsers would refuse this cookie", hint);
    }
    cookie
}

fn name(section: &Section<'_>) -> String {
    let Some(text) = section.text("name") else { return String::new() };
    if !is_token(&text.value) {
        let hint = "letters, digits and - _ without blanks";
        section.report.add(text.span.clone(), "this is no name of a cookie", hint);
    }
    text.value
}

/// The path of a cookie (RFC 6265 §4.1.1).
fn path(section: &Section<'_>) -> String {
    let Some(text) = section.text("path") else { return String::new() };
    let is_plain = text.value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    if !text.value.starts_with('/') || !is_plain {
        let hint = "start with a slash, in visible ASCII without semicolons: \"/api\"";
        section.report.add(text.span.clone(), format!("{text} is no path of a cookie"), hint);
    }
    text.value
}

fn domain(section: &Section<'_>) -> Option<String> {
    let text = section.text("domain")?;
    let domain = text.value.to_ascii_lowercase();
    if !is_host_name(&domain) {
        let hint = "write a name without dot at the front, scheme and port: \"example.com\"";
        section.report.add(text.span.clone(), format!("{text} is no domain of a cookie"), hint);
    }
    Some(domain)
}
