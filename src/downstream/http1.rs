//! HTTP/1.1 with a client: one connection is one readable loop (`connection`) on the codec of `crates/http1`.

mod buffers;
mod connection;
mod head;
mod input;
mod output;
mod refusal;
mod reply;
mod response;
mod waits;
mod wire;

pub(super) use self::buffers::BufferPool;
pub(super) use self::connection::serve;
pub(super) use self::waits::Limits;
