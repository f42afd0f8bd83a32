//! Generates thousands of configuration items (loopback addresses, backends, routes), and computes how many fit within
//! a limit of open files.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// The addresses used of one network of 256, without the first and last.
const HOSTS: usize = 250;

/// The address in 127.0.0.0/8 with this number, from 127.1.1.1; distinct up to seven million.
pub(crate) fn loopback(number: usize) -> Ipv4Addr {
    let part = |value: usize| u8::try_from(value % HOSTS + 1).unwrap_or(1);
    Ipv4Addr::new(127, part(number / HOSTS / HOSTS), part(number / HOSTS), part(number))
}

/// This many backends on one port, as the value of the key `backends`.
pub(crate) fn backends(count: usize, port: u16) -> String {
    let urls: Vec<String> = (0..count).map(|number| format!("\"http://{}:{port}\"", loopback(number))).collect();
    format!("[{}]", urls.join(", "))
}

/// The condition that distinguishes routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// An exact path: `/many/1`.
    Exact,
    /// A path prefix: `/many/1` and below.
    Prefix,
    /// A host: `h1.example`.
    Host,
}

/// This many routes to an upstream, numbered from 1.
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

/// How many of `wanted` fit if each needs `files_each` open files of one process, and some are open already.
pub(crate) fn fitting(wanted: usize, files_each: usize, files_max: Option<u64>) -> usize {
    const OPEN_ALREADY: usize = 400;
    let free = files_max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    wanted.min(free.saturating_sub(OPEN_ALREADY) / files_each.max(1))
}

/// The value of a metric without labels in the text of `/metrics`.
pub(crate) fn metric(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}
