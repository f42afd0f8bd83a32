//! Finding a route: by exact path, by prefix, by host, and by regular expression, in tables of 10 to 1000.
//!
//! The request always falls under the rule in the middle of the file.

use divan::Bencher;
use http::Method;
use policy::route::{HostPattern, PathPattern, RouteRequest, RouteRule, Table};

use crate::browser;

const ROUTES: [usize; 3] = [10, 100, 1000];

fn rule(hosts: Vec<HostPattern>, path: PathPattern) -> RouteRule {
    RouteRule { hosts, path, methods: vec![], headers: vec![], query: vec![], cookies: vec![] }
}

fn finds(bencher: Bencher<'_, '_>, rules: Vec<RouteRule>, host: &str, path: &str) {
    let middle = rules.len() / 2;
    let table = Table::new(rules);
    let headers = browser();
    let asked = RouteRequest { host, path, query: Some("size=small"), method: &Method::GET, headers: &headers };
    assert_eq!(table.find(&asked), Some(middle), "the benchmark asks for another route than it means to");
    bencher.bench(|| table.find(divan::black_box(&asked)));
}

#[divan::bench(args = ROUTES)]
fn exact(bencher: Bencher<'_, '_>, routes: usize) {
    let rules = (0..routes).map(|nth| rule(vec![], PathPattern::Exact(format!("/api/v1/things/{nth}")))).collect();
    finds(bencher, rules, "shop.example.com", &format!("/api/v1/things/{}", routes / 2));
}

#[divan::bench(args = ROUTES)]
fn prefix(bencher: Bencher<'_, '_>, routes: usize) {
    let rules = (0..routes).map(|nth| rule(vec![], PathPattern::Prefix(format!("/api/v1/things-{nth}")))).collect();
    finds(bencher, rules, "shop.example.com", &format!("/api/v1/things-{}/17/parts/3", routes / 2));
}

#[divan::bench(args = ROUTES)]
fn host(bencher: Bencher<'_, '_>, routes: usize) {
    let of_host =
        |nth| rule(vec![HostPattern::Exact(format!("shop-{nth}.example.com"))], PathPattern::Prefix("/".into()));
    finds(bencher, (0..routes).map(of_host).collect(), &format!("shop-{}.example.com", routes / 2), "/things/17");
}

#[divan::bench(args = ROUTES)]
fn host_suffix(bencher: Bencher<'_, '_>, routes: usize) {
    let of_host =
        |nth| rule(vec![HostPattern::Suffix(format!(".shop-{nth}.example.com"))], PathPattern::Prefix("/".into()));
    finds(bencher, (0..routes).map(of_host).collect(), &format!("www.shop-{}.example.com", routes / 2), "/things/17");
}

/// They are tried in file order: the one kind whose cost grows with the table.
#[divan::bench(args = ROUTES)]
fn regex(bencher: Bencher<'_, '_>, routes: usize) {
    let pattern = |nth| regex::Regex::new(&format!("^/api/v1/things-{nth}/[0-9]+$"));
    let rules = (0..routes).filter_map(|nth| Some(rule(vec![], PathPattern::Regex(pattern(nth).ok()?)))).collect();
    finds(bencher, rules, "shop.example.com", &format!("/api/v1/things-{}/17", routes / 2));
}
