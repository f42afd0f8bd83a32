//! Ends a client's connection so that it can read the last answer.
//!
//! Closing a socket that holds unread bytes makes the kernel send a reset, which can destroy the answer on its way
//! (RFC 9112 §9.6). So our half is closed first, and what still comes is read and thrown away, within bounds.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long we wait for the client to close its half.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// How many bytes we throw away.
const BYTES_MAX: usize = 1024 * 1024;

/// Closes our half, and waits a little for the client's.
pub async fn close(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let drain = async {
        let mut buffer = [0_u8; 512];
        let mut total = 0;
        while total < BYTES_MAX {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => total += read,
            }
        }
    };
    let _late = tokio::time::timeout(WAIT_MAX, drain).await;
}
