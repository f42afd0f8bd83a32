//! What a call reads into: lent by the worker when the first byte is there, given back at the call's end.

use std::cell::RefCell;
use std::io;
use std::ops::Deref;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};

use super::socket::Socket;

/// How much is read at a time at first, in bytes: most responses are shorter, and a large one goes on by `splice`.
const READ_BYTES: usize = 16 * 1024;
/// How much is read at a time once a read was full, in bytes.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Behind bytes that are kept, no read has less space than this.
const SPACE_MIN: usize = 4 * 1024;
/// The most unused buffers that a thread keeps.
const SPARE_MAX: usize = 32;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Bytes received and not used yet. Without memory before the first read.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffer {
    bytes: BytesMut,
    was_full: bool,
    /// The last read found nothing: its task has been woken since, most likely because there is something now.
    has_waited: bool,
}

impl ReadBuffer {
    /// Reads once. Returns how many bytes came; 0: the stream has ended.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<io::Result<usize>> {
        // A call that waits for its backend holds no memory for the response.
        if !std::mem::take(&mut self.has_waited) && socket.poll_read_ready(cx)?.is_pending() {
            self.has_waited = true;
            return Poll::Pending;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        let wanted = if self.was_full { READ_BYTES_MAX } else { READ_BYTES };
        let space_min = if self.bytes.is_empty() { wanted } else { SPACE_MIN };
        if self.bytes.capacity() - self.bytes.len() < space_min {
            self.bytes.reserve(wanted);
        }
        let Poll::Ready(read) = socket.poll_read_into(cx, &mut self.bytes) else {
            if self.bytes.is_empty() {
                self.give_back();
            }
            return Poll::Pending;
        };
        self.was_full = self.bytes.len() == self.bytes.capacity();
        Poll::Ready(read)
    }

    /// Takes the first bytes out: they share the buffer's memory.
    pub(crate) fn take(&mut self, count: usize) -> Bytes {
        self.bytes.split_to(count.min(self.bytes.len())).freeze()
    }

    /// Gives the memory back to the worker. Bytes that are left are dropped.
    fn give_back(&mut self) {
        if (1..=READ_BYTES_MAX).contains(&self.bytes.capacity()) {
            self.bytes.clear();
            let bytes = std::mem::take(&mut self.bytes);
            // A thread that ends has none to give back to.
            let _ended = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < SPARE_MAX {
                    spare.push(bytes);
                }
            });
        }
    }

    /// Drops the first bytes.
    pub(crate) fn skip(&mut self, count: usize) {
        self.bytes.advance(count.min(self.bytes.len()));
    }
}

impl Deref for ReadBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        self.give_back();
    }
}
