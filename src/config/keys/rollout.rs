//! The keys of a route's `split`, of `[route.canary]` and of `[route.mirror]`.

use std::time::Duration;

use super::{DAY, HOUR, Kind, MIB, MILLISECOND, section};

/// 30 days: the longest that a canary's step may last.
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// 400 days: browsers keep no cookie longer (RFC 6265bis §4.1.2.2).
const COOKIE_AGE_MAX: Duration = Duration::from_secs(400 * 86_400);

/// One minute.
const MINUTE: Duration = Duration::from_secs(60);

section! {
    /// One side of a split. What decides is asked in this order, and the access log tells what did: `override_header`,
    /// if the request has it and it names a side; else the side that `sticky` keeps the client on; else chance, by
    /// weight. When no backend of the side can take the request, another side stands in, drawn by the weights of the
    /// others and never one with weight 0 (`fallback`); that counts as a failed request of the side that could not. A
    /// side named by `override_header` has no stand-in.
    SPLIT "split = [{ … }]"

    /// The upstream that this side is: one of an `[[upstream]]`, and of no other side.
    upstream: Kind::Text;
    /// Its share of the requests in percent, with up to three decimals; all sides together have 100. 0 takes only what
    /// `override_header` sends there. Weights set at run time, by hand or by a canary, go before these until the file's
    /// own change.
    weight: Kind::Percent(0.0, 100.0);
}

section! {
    /// The cookie of `sticky = "cookie"`. It holds a random key of the client, signed, not the side: which side that is
    /// follows from key and weights. So one cookie serves all routes, and clients are on the same side wherever the
    /// same upstreams are split. It is `HttpOnly`, and `Secure` for clients that came by https. A request that brings
    /// none, or one that is forged or too old, is given a new one, and answered by the side that it will give; not where
    /// `override_header` decided. An answer that brings the cookie is made `private`: a cache in front that many share
    /// would hand it to all of them.
    STICKY_COOKIE "sticky_cookie = { … }"

    /// Its name. Routes of one host that differ in what follows need different names.
    name: Kind::Text => "forebay_side";
    /// Its `Path`.
    path: Kind::Text => "/";
    /// Its `Domain`: it is sent to all names below, too. Left out: to the host alone that was asked for.
    domain: Kind::Text;
    /// How long it is good for. After that the client gets a new one, and perhaps another side.
    max_age: Kind::Duration(MINUTE, COOKIE_AGE_MAX) => "30d";
    /// Its `SameSite`; with `none` it is always `Secure`, so browsers keep it only where they come by https.
    same_site: Kind::Choice(&["lax", "strict", "none"]) => "lax";
    /// What it is signed with, at least 16 visible characters: write it as `"${env:NAME}"` or `"${file:/path}"`, the
    /// same on all proxies of a site. Left out: a key of the proxy's own, kept in `state_dir`, or without one made anew
    /// at each start.
    secret: Kind::Text;
}

section! {
    /// Moves the weights of a split by itself: it starts with the process at its first step, and the other sides share
    /// the rest in proportion. A step lasts `hold`, and until the canary and the others together have had
    /// `requests_min` requests each; the next follows when nothing speaks against it. It is judged by what backends
    /// answered in this step, not by what came from the cache. A request has failed when it ends with a status from 500
    /// up, without an answer, with a broken one, or on another side for want of a backend. With the defaults a canary
    /// fails when it is 99 % sure that at least 0.5 percentage points more of its requests fail, when its 95th
    /// percentile of time to the response's head is more than 1.5 times the others', or, before `requests_min`, when
    /// it has 20 times the others' error rate. Weights set by hand pause it. Progress survives a reload, and with
    /// `state_dir` a restart; it starts anew when the weights of the file change.
    CANARY "[route.canary]"

    /// The side that is tried: one of the split's upstreams.
    upstream: Kind::Text;
    /// Its weight at each step in percent, ascending; the last is where it stays.
    steps: Kind::Percents(0.001, 100.0) => "1 5 25 50 100";
    /// How long each step lasts at least.
    hold: Kind::Duration(MILLISECOND, MONTH) => "5m";
    /// How many requests the canary, and the others together, must have had in a step before it is judged. With too
    /// little traffic it waits, and does not guess.
    requests_min: Kind::Count(1, 1_000_000_000) => "500";
    /// How many percentage points more of its requests may fail than of the others'.
    error_rate_max_increase: Kind::Decimal(0.0, 100.0) => "0.5";
    /// How sure it must be that the canary is worse, in percent. More sure is slower to judge.
    confidence: Kind::Decimal(50.0, 99.99) => "99";
    /// How many times as long as the others' its 95th percentile of time to the response's head may be; 0 does not look
    /// at it.
    p95_max_ratio: Kind::Decimal(0.0, 1_000.0) => "1.5";
    /// How many percent of the answers that the mirror compares may differ; the mirror goes to the same upstream. Left
    /// out: they are not looked at.
    mismatch_rate_max: Kind::Decimal(0.0, 100.0);
    /// So many times the others' error rate ends it at once, before there are `requests_min`; 0: nothing does.
    error_ratio_ceiling: Kind::Decimal(0.0, 1_000_000.0) => "20";
    /// What happens when it fails: `rollback` takes its share away, `pause` leaves it and waits for a person.
    on_failure: Kind::Choice(&["rollback", "pause"]) => "rollback";
    /// How it goes back: to nothing at once, or down the steps it came up.
    rollback: Kind::Choice(&["now", "steps"]) => "now";
    /// How long each step down lasts, with `rollback = "steps"`.
    rollback_interval: Kind::Duration(MILLISECOND, DAY) => "10s";
    /// An `http://` URL that is told of every change by a POST of JSON, a few times if it does not answer. Left out:
    /// nobody is.
    webhook: Kind::Text;
}

section! {
    /// Copies requests to another upstream; what it answers reaches no client. Copied is what is sent to a backend of
    /// another upstream than the mirror's: nothing that the cache answers, no upgrade, and no request whose body is
    /// longer than `body_bytes_max`. A copy carries `forebay-mirror: 1` and goes out when the client's answer has
    /// begun, on connections of its own. It never changes, delays or fails the client's request, is never repeated or
    /// cached, and does not count for ejection or balancing. What would go beyond the limits is dropped and counted.
    MIRROR "[route.mirror]"

    /// The upstream that gets the copies.
    upstream: Kind::Text;
    /// How many of the requests are copied, in percent with up to three decimals, drawn by chance.
    percent: Kind::Percent(0.0, 100.0) => "100";
    /// Which methods are copied. Whatever is named runs twice: name writes only when the mirror's data may take them.
    methods: Kind::Texts => "GET HEAD";
    /// The longest request body that is copied, and the longest response body that is compared.
    body_bytes_max: Kind::Size(0, 64 * MIB) => "1MiB";
    /// The most copies under way, all workers together; beyond, they are dropped.
    in_flight_max: Kind::Count(1, 100_000) => "64";
    /// How long a copy may take, until the end of its answer.
    timeout: Kind::Duration(MILLISECOND, HOUR) => "10s";
    /// Compares what the mirror answers with what the client got. Left out: nothing is compared.
    compare: Kind::Table(&COMPARE);
}

section! {
    /// Compares the mirror's answers with the clients'. Where they differ is counted, and a few are kept as samples, for
    /// the admin listener to show.
    COMPARE "[route.mirror.compare]"

    /// Whether their statuses are compared.
    status: Kind::Flag => "true";
    /// Response headers that are compared.
    headers: Kind::Texts => "content-type";
    /// Whether bodies that are JSON on both sides are compared, by their structure: the order of members and blanks do
    /// not count.
    json_body: Kind::Flag => "true";
    /// Whether all other bodies are compared, byte by byte. Compressed ones are inflated first.
    other_body: Kind::Flag => "true";
    /// What is left out of JSON bodies: JSON pointers (RFC 6901) in which `*` stands for any one member or element, as
    /// `"/updated_at"` or `"/items/*/seen"`, each with all that is beneath it.
    ignore: Kind::Texts => "";
    /// An upstream that is asked a second time, as the mirror is: where its two answers differ, as in times and ids,
    /// differences don't count. Left out: all count.
    noise_from: Kind::Text;
    /// How many pairs that differ are kept, the last ones.
    samples_max: Kind::Count(0, 1_000) => "50";
    /// Whether samples show values. `false`: only types and lengths, so that nothing of anybody's data is kept.
    sample_values: Kind::Flag => "false";
}
