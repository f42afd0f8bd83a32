//! HTTP/1.1 with a client: one connection is one readable loop (`connection`) on the codec of `crates/http1`.

mod buffers;
mod connection;
pub(super) mod head;
mod input;
mod output;
mod reply;
pub(super) mod response;
mod wire;

pub(super) use self::buffers::BufferPool;
pub(super) use self::connection::serve;
