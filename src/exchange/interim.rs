//! The way of 1xx responses to the client (RFC 9110 §15.2).
//!
//! hyper's server can't send them, so they are handed to the tap on the client's socket, which writes them while
//! hyper has nothing of its own to write: after all of the response before, before any of the response to come.

use std::task::Waker;

use parking_lot::Mutex;

/// The most 1xx responses passed on for one request.
const RESPONSES_MAX: usize = 32;
/// The most bytes of 1xx responses waiting for the client's socket.
const BYTES_MAX: usize = 64 * 1024;

/// A mailbox between a backend's connection, which sees 1xx responses, and the client's, which writes them.
///
/// `Send` only because hyper asks it of its callbacks: both ends live on one thread, and the lock is never contended.
#[derive(Debug, Default)]
pub struct Interim(Mutex<Mailbox>);

#[derive(Debug, Default)]
struct Mailbox {
    /// Which request of the connection may put something in.
    serial: u64,
    bytes: Vec<u8>,
    responses: usize,
    continued: bool,
    overflowed: bool,
    waker: Option<Waker>,
}

impl Interim {
    /// Says whom to wake when there is something to write: the task of the client's connection.
    pub fn attach(&self, waker: &Waker) {
        self.0.lock().waker = Some(waker.clone());
    }

    /// A request begins; whatever an older one still sends is refused. Answers its serial.
    pub fn begin(&self) -> u64 {
        let mut mailbox = self.0.lock();
        mailbox.serial += 1;
        mailbox.responses = 0;
        mailbox.continued = false;
        mailbox.overflowed = false;
        mailbox.serial
    }

    /// No request may put anything in until the next begins.
    pub fn end(&self) {
        self.0.lock().serial += 1;
    }

    /// A backend has sent `100 Continue` for the request with this serial.
    pub fn set_continued(&self, serial: u64) {
        let mut mailbox = self.0.lock();
        if mailbox.serial == serial {
            mailbox.continued = true;
            wake(&mailbox);
        }
    }

    /// Whether the backend has asked for the body.
    pub fn is_continued(&self) -> bool {
        self.0.lock().continued
    }

    /// A backend has sent this 1xx response, in wire form, for the request with this serial.
    pub fn push(&self, serial: u64, response: &[u8]) {
        let mut mailbox = self.0.lock();
        if mailbox.serial != serial {
            return;
        }
        mailbox.responses += 1;
        if mailbox.responses > RESPONSES_MAX || mailbox.bytes.len() + response.len() > BYTES_MAX {
            mailbox.overflowed = true;
        } else {
            mailbox.bytes.extend_from_slice(response);
        }
        wake(&mailbox);
    }

    /// Whether a backend has sent more 1xx responses than anyone needs.
    pub fn has_overflowed(&self) -> bool {
        self.0.lock().overflowed
    }

    /// Counts a 1xx response that is not passed on.
    pub fn count(&self, serial: u64) {
        let mut mailbox = self.0.lock();
        if mailbox.serial == serial {
            mailbox.responses += 1;
            if mailbox.responses > RESPONSES_MAX {
                mailbox.overflowed = true;
                wake(&mailbox);
            }
        }
    }

    /// Takes what is to be written.
    pub fn take(&self) -> Option<Vec<u8>> {
        let mut mailbox = self.0.lock();
        (!mailbox.bytes.is_empty()).then(|| std::mem::take(&mut mailbox.bytes))
    }
}

fn wake(mailbox: &Mailbox) {
    if let Some(waker) = &mailbox.waker {
        waker.wake_by_ref();
    }
}
