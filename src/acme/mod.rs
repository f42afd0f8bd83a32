//! Certificates that renew themselves, from an ACME authority (RFC 8555): orders, their challenges, what is kept of them.
//!
//! `shared` is what workers see: a certificate for each name, and answers to challenges. `manager` runs on the control thread,
//! and orders what `policy::certificate::renewal` says is due. Handshakes are the business of `downstream`, requests for
//! challenges that of `proxy`.

mod challenges;
mod client;
mod files;
mod information;
mod managed;
pub(crate) mod manager;
mod order;
mod session;
mod shared;

pub(crate) use challenges::{PROTOCOL, Published};
pub(crate) use managed::{Managed, Standing};
pub(crate) use shared::{Acme, Prepared};
