//! Bodies that the kernel moves: pipes, and the stand-ins for what is in them.
//!
//! A backend's bytes are moved into a pipe and from there into the client's socket by `splice(2)`, and are never copied
//! into this process. hyper's server still writes the answer: for bytes that are in the pipe it is given a *stand-in* of
//! the same length, and whoever is under hyper on the client's socket moves from the pipe where a stand-in is to be
//! written. So framing, waits, drain and the end of a connection stay what they are. Which bodies go this way is decided
//! in `upstream/reply`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::Waker;

use bytes::Bytes;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// How much a pipe shall hold, in bytes: as many pages, however full each is.
const PIPE_BYTES: usize = 256 * 1024;
/// The most bytes moved into a pipe at a time, and the longest stand-in: pages from another process may be larger than
/// those that the pipe's size is counted in.
const PIECE_BYTES_MAX: usize = 1024 * 1024;
/// The most pipes that a worker has in use at a time; each is two descriptors. More bodies than that are copied.
const LENT_MAX: usize = 256;
/// The most unused pipes that a worker keeps.
const SPARE_MAX: usize = 16;

/// One worker's pipes, and the bytes that stand in for what is in them.
pub struct Pipes {
    spare: RefCell<Vec<Ends>>,
    lent: Cell<usize>,
    /// The system has refused to move anything: it is not asked again.
    is_refused: Cell<bool>,
    /// Never read nor written: only the place in memory says something.
    stand_in: Bytes,
}

struct Ends {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Ends {
    /// `None`: the system has none to give, or only one that is too small.
    fn open() -> Option<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        fcntl_setpipe_size(&writer, PIPE_BYTES).ok()?;
        Some(Self { reader, writer })
    }
}

impl Default for Pipes {
    fn default() -> Self {
        Self {
            spare: RefCell::default(),
            lent: Cell::new(0),
            is_refused: Cell::new(false),
            stand_in: Bytes::from(vec![0; PIECE_BYTES_MAX]),
        }
    }
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipes").field("lent", &self.lent).finish_non_exhaustive()
    }
}

impl Pipes {
    /// An empty pipe; `None`: there is none to be had.
    fn lend(self: &Rc<Self>) -> Option<Pipe> {
        if self.is_refused.get() || self.lent.get() >= LENT_MAX {
            return None;
        }
        let kept = self.spare.borrow_mut().pop();
        let ends = kept.or_else(Ends::open)?;
        self.lent.set(self.lent.get() + 1);
        Some(Pipe {
            ends: Some(ends),
            held: Cell::new(0),
            is_last: Cell::new(false),
            waits: RefCell::default(),
            pipes: Rc::clone(self),
        })
    }

    fn place(&self) -> Range<*const u8> {
        self.stand_in.as_ptr_range()
    }
}

/// A pipe on the way to one client.
pub struct Pipe {
    /// There until it is dropped.
    ends: Option<Ends>,
    /// How many bytes are in it.
    held: Cell<usize>,
    /// Nothing more will be moved into it.
    is_last: Cell<bool>,
    /// Who waits until it is empty.
    waits: RefCell<Option<Waker>>,
    pipes: Rc<Pipes>,
}

impl Pipe {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.get() == 0
    }

    /// Wakes this task once nothing is in it.
    pub fn wait(&self, waker: &Waker) {
        *self.waits.borrow_mut() = Some(waker.clone());
    }

    /// Moves at most `max` bytes of a socket into the pipe, which is empty, and returns what stands in for them. Nothing:
    /// the stream has ended.
    ///
    /// # Errors
    /// The socket's; `WouldBlock`: it has nothing yet. Those of [`is_refusal`]: it can't be moved from.
    pub fn fill(&self, socket: impl AsFd, max: u64) -> io::Result<Bytes> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(PIECE_BYTES_MAX);
        let moved = splice(socket, None, &ends.writer, None, max, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?;
        self.held.set(self.held.get() + moved);
        Ok(self.pipes.stand_in.slice(..moved))
    }

    /// Nothing more will be moved into it.
    pub fn finish(&self) {
        self.is_last.set(true);
    }

    /// The system moves nothing into it: neither this pipe nor another one is of use.
    pub fn refuse(&self) {
        self.pipes.is_refused.set(true);
        self.finish();
    }

    /// Moves at most `max` bytes out of the pipe into a socket.
    ///
    /// # Errors
    /// The socket's; `WouldBlock`: it takes nothing now.
    pub fn drain(&self, socket: impl AsFd, max: usize) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let max = max.min(self.held.get());
        let moved = splice(&ends.reader, None, socket, None, max, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?;
        self.held.set(self.held.get().saturating_sub(moved));
        if self.is_empty()
            && let Some(waker) = self.waits.borrow_mut().take()
        {
            waker.wake();
        }
        Ok(moved)
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("held", &self.held).field("is_last", &self.is_last).finish_non_exhaustive()
    }
}

impl Drop for Pipe {
    /// What is left in a pipe belongs to an answer that broke off: only an empty one is used again.
    fn drop(&mut self) {
        self.pipes.lent.set(self.pipes.lent.get().saturating_sub(1));
        let mut spare = self.pipes.spare.borrow_mut();
        if let Some(ends) = self.ends.take_if(|_| self.held.get() == 0 && spare.len() < SPARE_MAX) {
            spare.push(ends);
        }
    }
}

/// Whether the system can't move from such a socket at all.
#[must_use]
pub fn is_refusal(error: &io::Error) -> bool {
    use rustix::io::Errno;
    const REFUSALS: [Errno; 5] = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| REFUSALS.contains(&errno))
}

/// What goes to a client past hyper. By default nothing can: whoever writes to the client must know of stand-ins.
#[derive(Debug, Default)]
pub struct Aside {
    pipes: Option<Rc<Pipes>>,
    pipe: RefCell<Option<Rc<Pipe>>>,
}

impl Aside {
    /// For a client whose socket is written by someone who asks [`Aside::stood_for`] before each write.
    #[must_use]
    pub fn through(pipes: Rc<Pipes>) -> Self {
        Self { pipes: Some(pipes), pipe: RefCell::default() }
    }

    /// A pipe for the rest of an answer's body; `None`: it must be copied.
    #[must_use]
    pub fn open(&self) -> Option<Rc<Pipe>> {
        let pipes = self.pipes.as_ref()?;
        let mut pipe = self.pipe.borrow_mut();
        if pipe.as_ref().is_some_and(|before| !before.is_empty()) {
            return None;
        }
        let opened = Rc::new(pipes.lend()?);
        *pipe = Some(Rc::clone(&opened));
        Some(opened)
    }

    /// The pipe that these bytes stand in for, if they do.
    #[must_use]
    pub fn stood_for(&self, bytes: &[u8]) -> Option<Rc<Pipe>> {
        let pipe = self.pipe.borrow();
        let pipe = pipe.as_ref().filter(|pipe| pipe.pipes.place().contains(&bytes.as_ptr()))?;
        Some(Rc::clone(pipe))
    }

    /// Whether anything may stand in for what is in a pipe.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.tidy();
        self.pipe.borrow().is_some()
    }

    /// Lets go of a pipe that was not used.
    pub fn close(&self) {
        let _unused = self.pipe.borrow_mut().take_if(|pipe| pipe.is_empty());
    }

    /// Lets go of a pipe through which all has gone.
    pub fn tidy(&self) {
        let _done = self.pipe.borrow_mut().take_if(|pipe| pipe.is_empty() && pipe.is_last.get());
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
    fn what_goes_in_comes_out_and_its_stand_in_says_how_much() {
        let aside = Aside::through(Rc::default());
        let pipe = aside.open().unwrap();
        let ((source, mut backend), (sink, mut client)) = (pair(), pair());
        backend.write_all(b"a large body and more").unwrap();
        let stand_in = pipe.fill(&source, 12).unwrap();
        assert_eq!((stand_in.len(), pipe.is_empty()), (12, false));
        assert!(aside.stood_for(&stand_in).is_some() && aside.stood_for(&stand_in[11..]).is_some());
        assert!(aside.stood_for(b"a large body").is_none() && aside.stood_for(b"").is_none());
        assert_eq!(pipe.drain(&sink, 5).unwrap(), 5);
        assert_eq!(pipe.drain(&sink, 500).unwrap(), 7);
        let mut got = [0; 12];
        client.read_exact(&mut got).unwrap();
        assert_eq!((&got, pipe.is_empty()), (b"a large body", true));
    }

    #[test]
    fn a_backend_that_has_nothing_blocks_and_one_that_has_left_ends() {
        let aside = Aside::through(Rc::default());
        let pipe = aside.open().unwrap();
        let (source, backend) = pair();
        assert_eq!(pipe.fill(&source, 12).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(backend);
        assert!(pipe.fill(&source, 12).unwrap().is_empty());
    }

    #[test]
    fn what_the_system_can_not_move_is_told_from_what_fails() {
        assert!(is_refusal(&io::Error::from_raw_os_error(rustix::io::Errno::INVAL.raw_os_error())));
        assert!(!is_refusal(&io::Error::from(io::ErrorKind::ConnectionReset)));
    }

    #[test]
    fn only_an_empty_pipe_is_used_again_and_there_is_an_end_to_them() {
        let pipes: Rc<Pipes> = Rc::default();
        let aside = Aside::through(Rc::clone(&pipes));
        let (source, mut backend) = pair();
        backend.write_all(b"left over").unwrap();
        let pipe = aside.open().unwrap();
        let _stand_in = pipe.fill(&source, 4).unwrap();
        assert!(aside.open().is_none(), "one body after the other");
        drop((pipe, aside));
        assert_eq!((pipes.spare.borrow().len(), pipes.lent.get()), (0, 0));
        drop(pipes.lend().unwrap());
        assert_eq!((pipes.spare.borrow().len(), pipes.lent.get()), (1, 0));
        pipes.lent.set(LENT_MAX);
        assert!(pipes.lend().is_none());
    }

    #[test]
    fn a_pipe_is_let_go_when_all_has_gone_through_it() {
        let aside = Aside::through(Rc::default());
        let ((source, mut backend), (sink, _client)) = (pair(), pair());
        backend.write_all(b"all").unwrap();
        let pipe = aside.open().unwrap();
        let _stand_in = pipe.fill(&source, 3).unwrap();
        pipe.finish();
        aside.tidy();
        assert!(aside.is_open());
        pipe.drain(&sink, 3).unwrap();
        aside.tidy();
        assert!(!aside.is_open());
    }

    #[test]
    fn a_system_that_refuses_is_asked_once() {
        let pipes: Rc<Pipes> = Rc::default();
        let aside = Aside::through(Rc::clone(&pipes));
        aside.open().unwrap().refuse();
        assert!(!aside.is_open() && aside.open().is_none());
        assert_eq!(pipes.lent.get(), 0);
        assert!(Aside::through(pipes).open().is_none());
    }

    #[test]
    fn without_one_who_knows_of_stand_ins_there_is_no_pipe() {
        assert!(Aside::default().open().is_none());
    }
}
