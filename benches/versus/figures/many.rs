//! Thousands of things to configure: addresses of loopback, backends and routes as lines of a configuration; and how
//! many fit under a limit of open files.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Addresses of one network that are used, of 256: neither the first nor the last.
const HOSTS: usize = 250;

/// The address of 127.0.0.0/8 with that number; they begin with 127.1.1.1 and are all different up to seven million.
pub(crate) fn loopback(number: usize) -> Ipv4Addr {
    let part = |value: usize| u8::try_from(value % HOSTS + 1).unwrap_or(1);
    Ipv4Addr::new(127, part(number / HOSTS / HOSTS), part(number / HOSTS), part(number))
}

/// So many backends on one port, as the value of the key `backends`.
pub(crate) fn backends(count: usize, port: u16) -> String {
    let urls: Vec<String> = (0..count).map(|number| format!("\"http://{}:{port}\"", loopback(number))).collect();
    format!("[{}]", urls.join(", "))
}

/// What tells routes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Each has a path that must be just so: `/many/1`.
    Exact,
    /// Each has the beginning of a path: `/many/1` and all beneath.
    Prefix,
    /// Each has a host: `h1.example`.
    Host,
}

/// So many routes to an upstream, counted from 1.
pub(crate) fn routes(by: By, count: usize, upstream: &str) -> String {
    (1..=count).fold(String::new(), |mut text, number| {
        let what = match by {
            By::Exact => format!("path = \"=/many/{number}\""),
            By::Prefix => format!("path = \"/many/{number}\""),
            By::Host => format!("host = \"h{number}.example\""),
        };
        let _infallible = writeln!(text, "[[route]]\n{what}\nupstream = \"{upstream}\"");
        text
    })
}

/// How many of `wanted` fit when each needs `files_each` open files of one process, and some are open already.
pub(crate) fn fitting(wanted: usize, files_each: usize, files_max: Option<u64>) -> usize {
    const OPEN_ALREADY: usize = 400;
    let free = files_max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    wanted.min(free.saturating_sub(OPEN_ALREADY) / files_each.max(1))
}

/// The number of a metric without labels in the text of `/metrics`.
pub(crate) fn metric(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}
