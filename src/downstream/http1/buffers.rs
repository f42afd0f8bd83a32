//! What a connection needs while it has a request: lent by the worker with the first byte, given back when it is idle.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;

use bytes::BytesMut;
use http1::RequestHead;
use message::Lines;

use super::output::Output;

/// How many bytes a connection's read buffer has at first.
pub(super) const READ_BYTES: usize = 8 * 1024;
/// The most sets that a worker keeps for connections to come.
const SPARE_MAX: usize = 128;

/// The buffers of one connection that has a request.
#[derive(Default)]
pub(super) struct Buffers {
    /// What was read and not used yet.
    pub(super) input: BytesMut,
    /// The head that is being scanned, then the trailers of its body.
    pub(super) head: RequestHead,
    /// An empty index that has its allocations, for the next head.
    pub(super) lines: Lines,
    /// What is to be written, while the connection's loop does not have it.
    pub(super) output: Option<Box<Output>>,
}

/// One worker's buffers that no connection has at present.
#[derive(Default)]
pub(in crate::downstream) struct BufferPool(RefCell<VecDeque<Box<Buffers>>>);

impl BufferPool {
    pub(super) fn lend(&self) -> Box<Buffers> {
        let kept = self.0.borrow_mut().pop_back();
        let mut buffers = kept.unwrap_or_default();
        if buffers.input.capacity() == 0 {
            buffers.input.reserve(READ_BYTES);
        }
        buffers
    }

    /// Takes back a set whose input was used up. What has grown, or is still referred to from elsewhere, is replaced.
    pub(super) fn take_back(&self, mut buffers: Box<Buffers>) {
        let mut spare = self.0.borrow_mut();
        if spare.len() >= SPARE_MAX {
            return;
        }
        buffers.input.clear();
        if !buffers.input.try_reclaim(READ_BYTES) || buffers.input.capacity() > READ_BYTES {
            buffers.input = BytesMut::new();
        }
        buffers.head.reset();
        if let Some(output) = &mut buffers.output {
            output.reset();
        }
        spare.push_back(buffers);
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BufferPool").field(&self.0.borrow().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_unless_they_have_grown_or_are_still_in_use() {
        let pool = BufferPool::default();
        let mut buffers = pool.lend();
        buffers.input.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
        let place = buffers.input.as_ptr();
        drop(buffers.input.split_to(18).freeze());
        pool.take_back(buffers);
        let mut again = pool.lend();
        again.input.reserve(READ_BYTES);
        assert_eq!(again.input.as_ptr(), place);
        again.input.extend_from_slice(b"kept");
        let kept = again.input.split_to(4).freeze();
        pool.take_back(again);
        let mut fresh = pool.lend();
        fresh.input.extend_from_slice(b"none");
        assert!(kept == "kept" && fresh.input.as_ptr() != place);
        fresh.input.reserve(10 * READ_BYTES);
        pool.take_back(fresh);
        assert!(pool.lend().input.capacity() <= READ_BYTES);
    }
}
