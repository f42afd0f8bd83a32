//! Pieces of a message that are written at once: joined into one, where that is short.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// The longest message that is joined, in bytes.
const JOINED_BYTES_MAX: usize = 2048;

/// Writes pieces, as one where they are short: `send` costs the kernel less than `writev`, by more than the copy costs.
pub fn poll_write(
    stream: &mut (impl AsyncWrite + Unpin),
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    match pieces {
        [only] => stream.poll_write(cx, only),
        several => match joined(several, &mut [0; JOINED_BYTES_MAX]) {
            Some(whole) => stream.poll_write(cx, whole),
            None => stream.poll_write_vectored(cx, several),
        },
    }
}

fn joined<'a>(pieces: &[IoSlice<'_>], room: &'a mut [u8; JOINED_BYTES_MAX]) -> Option<&'a [u8]> {
    let mut length = 0;
    for piece in pieces {
        let end = length + piece.len();
        room.get_mut(length..end)?.copy_from_slice(piece);
        length = end;
    }
    room.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_joined_and_what_does_not_is_left() {
        let mut room = [0; JOINED_BYTES_MAX];
        let pieces = [IoSlice::new(b"head"), IoSlice::new(b""), IoSlice::new(b"body")];
        assert_eq!(joined(&pieces, &mut room), Some(&b"headbody"[..]));
        let long = [b'x'; JOINED_BYTES_MAX];
        assert_eq!(joined(&[IoSlice::new(&long)], &mut room), Some(&long[..]));
        assert_eq!(joined(&[IoSlice::new(&long), IoSlice::new(b"x")], &mut room), None);
    }
}
