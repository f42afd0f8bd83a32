//! Checks `sticky` and `sticky_cookie`.

use super::is_token;
use crate::config::document::Section;
use crate::config::plan::{Sticky, StickyCookie};
use crate::config::value::Value as _;

/// Reads what keeps a client on its side.
pub(super) fn of_route(route: &Section<'_>) -> Sticky {
    let cookie = StickyCookie::read(route, "sticky_cookie");
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
