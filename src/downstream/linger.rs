//! Ends a client's connection so that it can read the last response.
//!
//! Closing a socket that holds unread bytes makes the kernel send a reset, which can destroy the response on its way
//! (RFC 9112 §9.6). So our half is closed first, and what still comes is read and thrown away, within bounds.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};

use super::socket::Socket;

/// How long a client may send nothing and not close its half.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// How long a client may go on sending.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How many bytes are thrown away: a client that sends all of a request before it reads may send many.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// How many are read at a time.
const READ_BYTES: usize = 8 * 1024;

/// Closes a connection on which nothing is under way. Over TLS it sends `close_notify`, if that needs no waiting.
pub(super) async fn leave(mut socket: Socket) {
    if matches!(socket, Socket::Tls(_)) {
        std::future::poll_fn(|cx| {
            let _told = Pin::new(&mut socket).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }
}

/// Closes our half, and waits a little for the client's.
pub(super) async fn close(mut socket: Socket) {
    let Ok(Ok(())) = tokio::time::timeout(SILENCE_MAX, socket.shutdown()).await else { return };
    // What a client still sends over TLS need not be decrypted.
    let mut socket = socket.into_plain();
    let drain = async {
        let mut buffer = [0_u8; READ_BYTES];
        let mut total = 0;
        while total < BYTES_MAX {
            match tokio::time::timeout(SILENCE_MAX, socket.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) | Err(_) => break,
                Ok(Ok(read)) => total += read,
            }
        }
    };
    let _late = tokio::time::timeout(WAIT_MAX, drain).await;
}
