//! Which protocol a client without TLS begins with, where a listener speaks both.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;

use super::socket::Socket;

/// What an HTTP/2 client sends first (RFC 9113 §3.4). No request of HTTP/1.1 begins so.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much is read at a time, in bytes.
const READ_BYTES: usize = 1024;

/// What a client has begun with, and what was read of it.
pub(super) enum Spoken {
    Http1(Bytes),
    Http2(Bytes),
    /// It has left, or has taken too long to say.
    Nothing,
}

/// Reads until it is clear which protocol a client speaks, whose first bytes may have been read already. The first byte that is not HTTP/2's says so. One that says nothing
/// before no more requests are to be taken is left to HTTP/1.1, which knows how to end.
pub(super) async fn read(
    socket: &mut Socket,
    ahead: Bytes,
    within: Duration,
    drained: impl Future<Output = ()>,
) -> Spoken {
    let mut drained = std::pin::pin!(drained);
    let mut late = std::pin::pin!(tokio::time::sleep(within));
    let mut bytes = BytesMut::from(ahead);
    loop {
        let length = bytes.len().min(PREFACE.len());
        if bytes.get(..length) != PREFACE.get(..length) {
            return Spoken::Http1(bytes.freeze());
        }
        if length == PREFACE.len() {
            return Spoken::Http2(bytes.freeze());
        }
        bytes.reserve(READ_BYTES);
        tokio::select! {
            biased;
            read = socket.read_buf(&mut bytes) => if !read.is_ok_and(|length| length > 0) {
                return if bytes.is_empty() { Spoken::Nothing } else { Spoken::Http1(bytes.freeze()) };
            },
            () = &mut drained, if bytes.is_empty() => return Spoken::Http1(Bytes::new()),
            () = &mut late => return Spoken::Nothing,
        }
    }
}
