//! What is to be written to a client: short pieces joined, long ones as they are, all in one call.

use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http1::{CRLF, ChunkHeader};
use tokio::io::AsyncWrite;

/// Content up to this length is copied behind what is there: one `send` costs less than a `writev`, by more than the copy
/// costs.
const JOINED_BYTES_MAX: usize = 2048;
/// How much is gathered before it is written, in bytes.
const QUEUED_BYTES_MAX: usize = 128 * 1024;
/// The most long pieces in one call.
const CONTENTS_MAX: usize = 4;
/// So much of a buffer is kept for the next response.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// Bytes in the order in which they are written: `lead`, `contents`, `tail`.
#[derive(Default)]
pub(super) struct Output {
    /// Heads, headers of chunks, short content.
    lead: Vec<u8>,
    /// Long content.
    contents: Vec<Bytes>,
    /// What ends a chunk, or the body.
    tail: Vec<u8>,
    queued: usize,
    written: usize,
}

impl Output {
    /// Makes it empty. If something is left in it, or it has grown, it is built anew.
    pub(super) fn reset(&mut self) {
        let has_grown = self.lead.capacity() > KEPT_BYTES_MAX || self.tail.capacity() > KEPT_BYTES_MAX;
        if has_grown || !self.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// How many bytes are not written yet.
    pub(super) fn left(&self) -> usize {
        self.queued - self.written
    }

    /// Whether more content is to be gathered before it is written.
    pub(super) fn has_room(&self) -> bool {
        self.tail.is_empty() && self.contents.len() < CONTENTS_MAX && self.queued < QUEUED_BYTES_MAX
    }

    /// Where a head goes. To be asked for while no content is there.
    pub(super) fn head(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.lead.len();
        write(&mut self.lead);
        self.queued += self.lead.len() - before;
    }

    /// Adds content as it is.
    pub(super) fn push(&mut self, content: Bytes) {
        self.queued += content.len();
        if self.contents.is_empty() && content.len() <= JOINED_BYTES_MAX {
            self.lead.extend_from_slice(&content);
        } else if !content.is_empty() {
            self.contents.push(content);
        }
    }

    /// Adds content as a chunk. To be called while there is room.
    pub(super) fn push_chunk(&mut self, content: Bytes) {
        let Some(length) = NonZeroU64::new(content.len() as u64) else { return };
        if self.contents.is_empty() && content.len() <= JOINED_BYTES_MAX {
            self.begin_chunk(length);
            self.push(content);
            self.end_chunk();
        } else {
            self.begin_chunk(length);
            self.queued += content.len();
            self.contents.push(content);
            self.end(CRLF);
        }
    }

    /// Adds the header of a chunk whose content is written otherwise.
    pub(super) fn begin_chunk(&mut self, length: NonZeroU64) {
        self.head(|lead| lead.extend_from_slice(ChunkHeader::new(length).as_bytes()));
    }

    /// Adds the end of a chunk whose content was written otherwise.
    pub(super) fn end_chunk(&mut self) {
        self.head(|lead| lead.extend_from_slice(CRLF));
    }

    /// Adds what comes behind all content.
    pub(super) fn end(&mut self, bytes: &[u8]) {
        self.queued += bytes.len();
        let is_lead = self.contents.is_empty() && self.tail.is_empty();
        let last = if is_lead { &mut self.lead } else { &mut self.tail };
        last.extend_from_slice(bytes);
    }

    /// Writes until nothing is left, and what is written has left the process.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while self.written < self.queued {
            let mut sink = Pin::new(&mut *sink);
            let written = if self.contents.is_empty() && self.tail.is_empty() {
                ready!(sink.as_mut().poll_write(cx, self.lead.get(self.written..).unwrap_or_default()))?
            } else {
                let mut slices = [IoSlice::new(&[]); CONTENTS_MAX + 2];
                let count = self.rest(&mut slices);
                ready!(sink.as_mut().poll_write_vectored(cx, slices.get(..count).unwrap_or_default()))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        ready!(Pin::new(sink).poll_flush(cx))?;
        self.lead.clear();
        self.contents.clear();
        self.tail.clear();
        (self.queued, self.written) = (0, 0);
        Poll::Ready(Ok(()))
    }

    /// The pieces that are not written yet. Returns how many.
    fn rest<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let contents = self.contents.iter().map(|content| &content[..]);
        let pieces = std::iter::once(&self.lead[..]).chain(contents).chain(std::iter::once(&self.tail[..]));
        let (mut skip, mut count) = (self.written, 0);
        for piece in pieces {
            let rest = piece.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(piece.len());
            if let Some(slice) = slices.get_mut(count).filter(|_| !rest.is_empty()) {
                *slice = IoSlice::new(rest);
                count += 1;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes at a time.
    struct Narrow {
        taken: Vec<u8>,
        width: usize,
        calls: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            assert!(slices.iter().all(|slice| !slice.is_empty()), "no empty slices");
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let count = all.len().min(self.width);
            self.taken.extend_from_slice(&all[..count]);
            self.calls += 1;
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn whatever_the_socket_takes_at_a_time_the_bytes_are_the_same() {
        let long = Bytes::from(vec![b'x'; 3000]);
        let expected = [b"head\r\nbb8\r\n".as_slice(), &long, b"\r\n0\r\n\r\n"].concat();
        let mut cx = Context::from_waker(Waker::noop());
        for width in [1, 2, 3, 7, 1000, 4096] {
            let mut output = Output::default();
            output.head(|lead| lead.extend_from_slice(b"head\r\n"));
            output.push_chunk(long.clone());
            assert!(!output.has_room());
            output.end(b"0\r\n\r\n");
            let mut sink = Narrow { taken: Vec::new(), width, calls: 0 };
            assert!(output.poll_write(&mut cx, &mut sink).is_ready());
            assert!(sink.taken == expected && output.is_empty(), "{width}");
            assert!(width < 4096 || sink.calls == 1);
        }
    }

    #[test]
    fn what_has_grown_or_was_not_written_is_given_back() {
        let mut cx = Context::from_waker(Waker::noop());
        let (short, long) = (b"ab".to_vec(), vec![0; KEPT_BYTES_MAX + 1]);
        for (head, is_written, is_kept) in [(&short, true, true), (&short, false, false), (&long, true, false)] {
            let mut output = Output::default();
            output.head(|lead| lead.extend_from_slice(head));
            if is_written {
                let mut sink = Narrow { taken: Vec::new(), width: usize::MAX, calls: 0 };
                assert!(output.poll_write(&mut cx, &mut sink).is_ready());
            }
            output.reset();
            assert_eq!((output.lead.capacity() > 0, output.lead.len(), output.left()), (is_kept, 0, 0));
        }
    }

    #[test]
    fn short_content_is_joined_and_long_content_is_not_copied() {
        let mut output = Output::default();
        output.push_chunk(Bytes::from_static(b"abc"));
        output.push_chunk(Bytes::new());
        output.push_chunk(Bytes::from_static(b"d"));
        assert!(output.contents.is_empty() && output.lead == b"3\r\nabc\r\n1\r\nd\r\n");
        output.reset();
        output.push(Bytes::from_static(b"ab"));
        output.push(Bytes::from(vec![0; JOINED_BYTES_MAX + 1]));
        output.push(Bytes::from_static(b"c"));
        assert_eq!((output.lead.len(), output.contents.len(), output.queued), (2, 2, JOINED_BYTES_MAX + 4));
    }
}
