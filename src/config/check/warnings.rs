//! Warnings: what a file may have, but probably not on purpose. Reported once the Plan is complete.

use std::collections::HashSet;

use http::Method;
use message::Fields;
use policy::route::RouteRequest;

use super::{acme, loops};
use crate::config::document::{Section, Text};
use crate::config::plan::{Action, Plan, Route};

/// Reports warnings about a Plan. `routes` and `upstreams`: the tables of the file, in its order.
pub(super) fn of_plan(top: &Section<'_>, routes: &[Section<'_>], upstreams: &[Section<'_>], plan: &Plan) {
    if plan.routes.is_empty() && !top.has("route") {
        let hint = "add one: [[route]]";
        top.report.warn(top.span.clone(), "there is no route: every request is answered 404", hint);
    }
    let used: HashSet<usize> = plan.routes.iter().flat_map(used_by).collect();
    // The upstreams of routes with `backends` come after those of the file.
    for (index, section) in upstreams.iter().enumerate().filter(|(index, _)| !used.contains(index)) {
        let name = plan.upstreams.get(index).map(|upstream| upstream.name.to_string()).unwrap_or_default();
        let cause = format!("no route uses upstream {name:?}");
        section.report.warn(section.at("name"), cause, "name it in a route, or leave it out");
    }
    acme::warn(top, plan);
    loops::warn(routes, upstreams, plan);
    for section in upstreams.iter().filter(|section| section.has("send_proxy")) {
        let cause =
            "send_proxy: each client has its own connections to the backends, which are opened and closed with its own";
        let hint = "leave it out if the backends can read X-Forwarded-For or Forwarded";
        section.report.warn(section.at("send_proxy"), cause, hint);
    }
    for (index, section) in routes.iter().enumerate() {
        redirect(section, index, plan);
    }
}

/// The upstreams that a route sends requests to, copies included.
fn used_by(route: &Route) -> Vec<usize> {
    let mut used = match &route.action {
        Action::Forward(upstream) => vec![*upstream],
        Action::Split(split) => split.sides.iter().map(|side| side.upstream).collect(),
        Action::Redirect(_) | Action::Respond(_) => Vec::new(),
    };
    used.extend(route.mirror.as_ref().map(|mirror| mirror.upstream));
    used
}

/// Warns about a redirect to itself, as far as the file alone shows.
fn redirect(route: &Section<'_>, index: usize, plan: &Plan) {
    if !route.has("redirect") {
        return;
    }
    let Some(to) = route.section("redirect").text("to") else { return };
    let fronts = ["http://{host}", "{scheme}://{host}"];
    let target = fronts.iter().find_map(|front| to.value.strip_prefix(front)).unwrap_or(&to.value);
    let is_same = match target {
        "{path}" | "{path}{query}" => true,
        fixed if fixed.starts_with('/') && !fixed.contains('{') => leads_back(route, index, fixed, plan),
        _ => false,
    };
    if is_same {
        let hint = "clients would follow it until they give up";
        route.report.warn(to.span.clone(), format!("{to} redirects to itself"), hint);
    }
}

/// Whether the same route would match a request for this path and query.
fn leads_back(route: &Section<'_>, index: usize, target: &str, plan: &Plan) -> bool {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let hosts = route.texts("host");
    let host = hosts.first().map(|host| host.value.to_ascii_lowercase().replacen('*', "x", 1)).unwrap_or_default();
    let headers = Fields::new();
    let asked = RouteRequest { host: &host, path, query, method: &Method::GET, headers: &headers };
    plan.table.find(&asked) == Some(index)
}

/// Warns about a path in the syntax of another product, which matches nothing here.
pub(super) fn foreign_path(section: &Section<'_>, text: &Text) {
    let path = text.value.as_str();
    let segments = || path.split('/').skip(1);
    let is_parameter = |segment: &str| {
        segment.starts_with(':') && segment.len() > 1 || segment.starts_with('{') && segment.ends_with('}')
    };
    let hint = if let Some(pattern) = path.strip_prefix('~') {
        if !pattern.starts_with([' ', '*']) {
            return;
        }
        let case = if pattern.starts_with('*') { "(?i)" } else { "" };
        let plain = pattern.trim_start_matches('*').trim_start();
        format!("the pattern follows ~ at once: write '~{case}{plain}'")
    } else if path.starts_with('=') {
        return;
    } else if let Some(prefix) = path.strip_suffix("/*").or_else(|| path.strip_suffix("/**")) {
        let prefix = if prefix.is_empty() { "/" } else { prefix };
        format!("a path matches all that is below it: write {prefix:?}")
    } else if segments().any(is_parameter) {
        let pattern = segments().map(|segment| if is_parameter(segment) { "[^/]+" } else { segment });
        format!("there are no path parameters: write '~^/{}$'", pattern.collect::<Vec<_>>().join("/"))
    } else if path.contains('*') {
        "* stands for itself: a pattern begins with ~, as in '~^/img/.*\\.png$'".to_owned()
    } else {
        return;
    };
    section.report.warn(text.span.clone(), format!("{text} probably matches nothing"), hint);
}

#[cfg(test)]
mod tests {
    use crate::config::check_text;
    use crate::config::problem::Severity;

    const TOP: &str = "listen = [\"127.0.0.1:0\"]\n";

    /// The causes and hints of all warnings, `cause | hint`.
    fn warnings(lines: &str) -> Vec<String> {
        let found =
            check_text("f", &format!("{TOP}{lines}")).map_or_else(|problems| problems, |checked| checked.warnings);
        let list = found.list.into_iter().filter(|problem| problem.severity == Severity::Warning);
        list.map(|problem| format!("{} | {}", problem.cause, problem.hint.unwrap_or_default())).collect()
    }

    fn route(lines: &str) -> String {
        format!("[[route]]\n{lines}\n")
    }

    #[test]
    fn a_file_that_means_what_it_says_has_no_warning() {
        assert_eq!(warnings(&route("path = \"/api\"\nbackends = [\"http://a\"]")), Vec::<String>::new());
        assert_eq!(warnings(include_str!("../../../config.toml").split_once('\n').unwrap().1), Vec::<String>::new());
    }

    #[test]
    fn a_file_without_routes_is_warned_about() {
        assert_eq!(warnings(""), ["there is no route: every request is answered 404 | add one: [[route]]"]);
    }

    #[test]
    fn an_upstream_that_nothing_uses_is_named() {
        let upstreams = ["a", "b", "c", "d"]
            .map(|name| format!("[[upstream]]\nname = \"{name}\"\nbackends = [\"http://{name}\"]\n"))
            .concat();
        let split = "split = [{ upstream = \"a\", weight = 50 }, { upstream = \"b\", weight = 50 }]";
        let mirror = "[route.mirror]\nupstream = \"c\"";
        let found = warnings(&format!("{upstreams}{}", route(&format!("{split}\n{mirror}"))));
        assert_eq!(found, ["no route uses upstream \"d\" | name it in a route, or leave it out"]);
    }

    #[test]
    fn a_redirect_to_itself_is_found() {
        for (lines, is_found) in [
            ("redirect = { to = \"{path}\" }", true),
            ("redirect = { to = \"http://{host}{path}{query}\" }", true),
            ("redirect = { to = \"{scheme}://{host}{path}{query}\" }", true),
            ("redirect = { to = \"https://{host}{path}{query}\" }", false),
            ("path = \"/old\"\nredirect = { to = \"/old/new\" }", true),
            ("path = \"=/old\"\nredirect = { to = \"/old/new\" }", false),
            ("path = \"=/old\"\nredirect = { to = \"/old?x=1\" }", true),
            ("path = \"/old\"\nhost = \"*.a.test\"\nredirect = { to = \"/old\" }", true),
            (
                "path = \"/\"\nredirect = { to = \"/home\" }\n[[route]]\npath = \"/home\"\nbackends = [\"http://a\"]",
                false,
            ),
            ("path = \"/a\"\nmethods = [\"POST\"]\nredirect = { to = \"/a\", status = 303 }", false),
        ] {
            let found = warnings(&route(lines));
            assert_eq!(found.iter().any(|text| text.contains("redirects to itself")), is_found, "{lines}: {found:?}");
        }
    }

    #[test]
    fn connections_that_are_not_shared_are_warned_about() {
        let text = |key: &str| {
            format!(
                "[[upstream]]\nname = \"a\"\nbackends = [\"http://10.0.0.1\"]\n{key}\n[[route]]\nupstream = \"a\"\n"
            )
        };
        let found = warnings(&text("send_proxy = \"v2\""));
        assert!(
            matches!(&found[..], [warning] if warning.contains("each client has its own connections")),
            "{found:?}"
        );
        assert_eq!(warnings(&text("")), [""; 0]);
    }

    #[test]
    fn networks_of_everybody_are_warned_about() {
        let rest = route("backends = [\"http://a\"]");
        for (lines, words) in [
            ("[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n", "believes the forwarding headers of every client"),
            ("[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"::/0\"]\n", "believes the forwarding headers"),
            ("[cache]\npurge_from = [\"::/0\"]\n", "lets every client purge"),
        ] {
            let found = warnings(&format!("{lines}{rest}"));
            assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
        }
    }

    #[test]
    fn paths_of_other_products_are_explained() {
        for (path, hint) in [
            ("/api/*", "write \"/api\""),
            ("/*", "write \"/\""),
            ("/api/**", "write \"/api\""),
            ("/users/{id}", "write '~^/users/[^/]+$'"),
            ("/users/:id/posts", "write '~^/users/[^/]+/posts$'"),
            ("~ \\\\.jpg$", "write '~\\.jpg$'"),
            ("~* \\\\.jpg$", "write '~(?i)\\.jpg$'"),
            ("/img/*.png", "a pattern begins with ~"),
        ] {
            let found = warnings(&route(&format!("path = \"{path}\"\nbackends = [\"http://a\"]")));
            assert!(found.len() == 1 && found[0].contains(hint), "{path}: {found:?}");
        }
        for path in ["/a:b", "=/api/*", "~^/users/[^/]+$", "/api"] {
            let found = warnings(&route(&format!("path = \"{path}\"\nbackends = [\"http://a\"]")));
            assert_eq!(found, Vec::<String>::new(), "{path}");
        }
    }
}
