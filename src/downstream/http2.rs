//! HTTP/2 with a client (RFC 9113), by hyper: one connection is a loop (`connection`), each stream on it a task (`stream`).

mod body;
mod connection;
mod frames;
mod head;
mod response;
mod state;
mod stream;
mod transport;

pub(super) use self::connection::serve;
