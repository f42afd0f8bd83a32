//! What single decisions cost: `cargo bench -p policy`.
//!
//! Answers: how long does one take, and how does that grow with the size of a table? What a whole request costs is
//! asked by the benchmarks of the proxy itself. Figures of a table in `docs/performance.md` are medians from here.

mod balance;
mod cache;
mod message;
mod route;
mod split;

use ::message::Fields;

fn main() {
    divan::main();
}

/// A header section.
fn headers(fields: &[(&'static str, &'static str)]) -> Fields {
    fields.iter().copied().collect()
}

/// What a browser sends along with a request.
fn browser() -> Fields {
    headers(&[
        ("host", "shop.example.com"),
        ("connection", "keep-alive"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://shop.example.com/"),
        ("cookie", "theme=dark; session=8f1c2b7e90aa41d3; consent=all"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
        ("upgrade-insecure-requests", "1"),
    ])
}
