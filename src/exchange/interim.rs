//! The way of 1xx responses to the client (RFC 9110 §15.2).
//!
//! They wait here for the loop of the client's connection, which writes them after all of the response before, and before
//! any of the response to come.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// The most 1xx responses passed on for one request.
const RESPONSES_MAX: usize = 32;
/// The most bytes of 1xx responses waiting for the client's socket.
const BYTES_MAX: usize = 64 * 1024;

/// A mailbox between a backend's connection, which sees 1xx responses, and the client's, which writes them.
#[derive(Debug, Default)]
pub struct Interim {
    bytes: RefCell<Vec<u8>>,
    responses: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Interim {
    /// Says whom to wake when there is something to write: the task of the client's connection.
    pub fn attach(&self, waker: &Waker) {
        *self.waker.borrow_mut() = Some(waker.clone());
    }

    /// A try begins: counts anew.
    pub fn begin(&self) {
        self.responses.set(0);
    }

    /// A backend has sent this 1xx response, in wire form.
    pub fn push(&self, response: &[u8]) {
        {
            let mut bytes = self.bytes.borrow_mut();
            if bytes.len() + response.len() > BYTES_MAX {
                self.responses.set(RESPONSES_MAX);
            } else {
                bytes.extend_from_slice(response);
            }
        }
        self.count();
    }

    /// This proxy itself sends a 1xx response, in wire form: at most one for a request.
    pub fn pass_on(&self, response: &[u8]) {
        self.bytes.borrow_mut().extend_from_slice(response);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// A backend has sent a 1xx response that is not passed on.
    pub fn count(&self) {
        self.responses.set(self.responses.get() + 1);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Whether a backend has sent more 1xx responses than anyone needs.
    pub fn has_overflowed(&self) -> bool {
        self.responses.get() > RESPONSES_MAX
    }

    /// Takes what is to be written.
    pub fn take(&self) -> Option<Vec<u8>> {
        let mut bytes = self.bytes.borrow_mut();
        (!bytes.is_empty()).then(|| std::mem::take(&mut *bytes))
    }
}
