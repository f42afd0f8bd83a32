//! Pipes through which the kernel moves large bodies between the sockets of a backend and a client without copying
//! (`splice(2)`).
//!
//! The bytes of one socket are moved into a pipe, and from there into the other socket. The code that writes a response
//! or sends a request selects the bodies. On systems without `splice` no pipe is available, and bodies are copied.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

pub(crate) use self::system::is_refusal;
use self::system::{move_bytes, open};

/// The most bytes moved into a pipe at once. A pipe's capacity counts pages, and those of another process may be
/// larger.
const MOVED_BYTES_MAX: usize = 1024 * 1024;
/// The most pipes in use per worker; each takes two descriptors. Further bodies are copied.
const LENT_MAX: usize = 256;
/// The most unused pipes kept per worker.
const SPARE_MAX: usize = 16;

/// The pipes of one worker.
#[derive(Default)]
pub(crate) struct Pipes {
    spare: RefCell<Vec<Ends>>,
    lent: Cell<usize>,
    /// The system does not support splicing these sockets, so it is not tried again.
    is_refused: Cell<bool>,
}

struct Ends {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipes").field("lent", &self.lent).finish_non_exhaustive()
    }
}

impl Pipes {
    /// An empty pipe; `None`: the limit is reached, or the system has none.
    #[must_use]
    pub(crate) fn lend(self: &Rc<Self>) -> Option<Pipe> {
        if self.is_refused.get() || self.lent.get() >= LENT_MAX {
            return None;
        }
        let kept = self.spare.borrow_mut().pop();
        let ends = kept.or_else(open)?;
        self.lent.set(self.lent.get() + 1);
        Some(Pipe { ends: Some(ends), held: Cell::new(0), pipes: Rc::clone(self) })
    }
}

/// A pipe in use for one body.
pub struct Pipe {
    /// `Some` until it is dropped.
    ends: Option<Ends>,
    /// The number of bytes in the pipe.
    held: Cell<usize>,
    pipes: Rc<Pipes>,
}

impl Pipe {
    /// Whether the pipe is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.get() == 0
    }

    /// Moves at most `max` bytes from a socket into the pipe, and returns how many. 0: the stream has ended. A pipe
    /// that is not empty may be full; then `WouldBlock` does not show which of the two is the cause.
    ///
    /// # Errors
    /// Errors of the socket; `WouldBlock`: it has no data yet. An error for which [`is_refusal`] holds: splicing from
    /// it is not supported.
    pub fn fill(&self, socket: impl AsFd, max: u64) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(MOVED_BYTES_MAX);
        let moved = move_bytes(socket, &ends.writer, max)?;
        self.held.set(self.held.get() + moved);
        Ok(moved)
    }

    /// Moves bytes from the pipe into a socket, and returns how many.
    ///
    /// # Errors
    /// Errors of the socket; `WouldBlock`: it accepts no bytes now.
    pub fn drain(&self, socket: impl AsFd) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let moved = move_bytes(&ends.reader, socket, self.held.get())?;
        self.held.set(self.held.get().saturating_sub(moved));
        Ok(moved)
    }

    /// Records that splicing is not supported: no further pipe is lent.
    pub fn refuse(&self) {
        self.pipes.is_refused.set(true);
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Drop for Pipe {
    /// Bytes left in a pipe belong to an incomplete response, so only an empty pipe is reused.
    fn drop(&mut self) {
        self.pipes.lent.set(self.pipes.lent.get().saturating_sub(1));
        let mut spare = self.pipes.spare.borrow_mut();
        if let Some(ends) = self.ends.take_if(|_| self.held.get() == 0 && spare.len() < SPARE_MAX) {
            spare.push(ends);
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::AsFd;

    use rustix::io::Errno;
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

    use super::Ends;

    /// The capacity of a pipe in bytes: that many pages, regardless of how full each is.
    const PIPE_BYTES: usize = 256 * 1024;

    /// `None`: the system has no pipe, or only one that is too small.
    pub(super) fn open() -> Option<Ends> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        fcntl_setpipe_size(&writer, PIPE_BYTES).ok()?;
        Some(Ends { reader, writer })
    }

    pub(super) fn move_bytes(from: impl AsFd, to: impl AsFd, max: usize) -> io::Result<usize> {
        Ok(splice(from, None, to, None, max, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
    }

    /// Whether the system does not support splicing from such a socket.
    #[must_use]
    pub(crate) fn is_refusal(error: &io::Error) -> bool {
        const REFUSALS: [Errno; 5] = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM, Errno::NOMEM];
        Errno::from_io_error(error).is_some_and(|errno| REFUSALS.contains(&errno))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::os::fd::AsFd;

    use super::Ends;

    pub(super) fn open() -> Option<Ends> {
        None
    }

    pub(super) fn move_bytes(_from: impl AsFd, _to: impl AsFd, _max: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether the system does not support splicing from such a socket.
    #[must_use]
    pub fn is_refusal(_error: &io::Error) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, theirs)
    }

    #[test]
    fn what_goes_in_comes_out() {
        let pipe = Rc::<Pipes>::default().lend().unwrap();
        let ((source, mut backend), (sink, mut client)) = (pair(), pair());
        backend.write_all(b"a large body and more").unwrap();
        assert_eq!((pipe.fill(&source, 12).unwrap(), pipe.is_empty()), (12, false));
        assert_eq!((pipe.drain(&sink).unwrap(), pipe.is_empty()), (12, true));
        let mut got = [0; 12];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"a large body");
    }

    #[test]
    fn a_backend_that_has_nothing_blocks_and_one_that_has_left_ends() {
        let pipe = Rc::<Pipes>::default().lend().unwrap();
        let (source, backend) = pair();
        assert_eq!(pipe.fill(&source, 12).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(backend);
        assert_eq!(pipe.fill(&source, 12).unwrap(), 0);
    }

    #[test]
    fn what_the_system_can_not_move_is_told_from_what_fails() {
        assert!(is_refusal(&io::Error::from_raw_os_error(rustix::io::Errno::INVAL.raw_os_error())));
        assert!(!is_refusal(&io::Error::from(io::ErrorKind::ConnectionReset)));
    }

    #[test]
    fn only_an_empty_pipe_is_used_again_and_there_is_an_end_to_them() {
        let pipes: Rc<Pipes> = Rc::default();
        let (source, mut backend) = pair();
        backend.write_all(b"left over").unwrap();
        let pipe = pipes.lend().unwrap();
        assert_eq!(pipe.fill(&source, 4).unwrap(), 4);
        drop(pipe);
        assert_eq!((pipes.spare.borrow().len(), pipes.lent.get()), (0, 0));
        drop(pipes.lend().unwrap());
        assert_eq!((pipes.spare.borrow().len(), pipes.lent.get()), (1, 0));
        pipes.lent.set(LENT_MAX);
        assert!(pipes.lend().is_none());
    }

    #[test]
    fn a_system_that_refuses_is_asked_once() {
        let pipes: Rc<Pipes> = Rc::default();
        pipes.lend().unwrap().refuse();
        assert!(pipes.lend().is_none());
        assert_eq!(pipes.lent.get(), 0);
    }
}
