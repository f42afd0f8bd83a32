//! `[upstream.http2]` and `protocol`: HTTP/2 towards backends.

use std::time::Duration;

use super::{DAY, HOUR, KIB, MIB, MILLISECOND, table, words};

table! {
    /// HTTP/2 to the backends of this upstream whose `protocol` is `h2` or `auto`.
    pub struct UpstreamHttp2 "[upstream.http2]";

    /// The most connections of each worker to each address. forebay opens another one when all streams of the others are
    /// in use.
    connections_max: usize as Count(1, 64) = "4";
    /// The most streams at once on one connection. A backend that allows fewer (`SETTINGS_MAX_CONCURRENT_STREAMS`) gets
    /// no more than that.
    streams_max: u32 as Count(1, 10_000) = "100";
    /// How much of a response forebay takes before the client has taken it: the initial window of a stream. The window of
    /// a connection is `streams_max` times as large, so that a slow client delays no other.
    stream_window: u32 as Size(64 * KIB, 16 * MIB) = "256KiB";
    /// forebay asks a backend that sends nothing for this long, while a stream is open, whether it is there (`PING`); 0
    /// turns it off. gRPC servers close connections on which they are asked more often than every 5 minutes.
    ping_interval: Duration as Duration(Duration::ZERO, DAY) = "6m";
    /// How long a backend may take to answer a `PING`. Then forebay closes the connection.
    ping_timeout: Duration as Duration(MILLISECOND, HOUR) = "10s";
}

words! {
    /// The version of HTTP that a backend gets.
    pub enum Protocol {
        /// HTTP/1.1.
        Http1 = "http1",
        /// HTTP/2: with prior knowledge, or by ALPN where there is TLS.
        Http2 = "h2",
        /// HTTP/2 where ALPN has chosen it, else HTTP/1.1.
        Auto = "auto",
    }
}
