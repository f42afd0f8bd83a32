//! Looks names up: the way to the system, or to whatever stands in for it.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

/// What a look-up brings.
pub type LookUp<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Looks names up.
pub trait Resolver: Debug + Send + Sync {
    /// The addresses of a host, each with this port.
    fn look_up<'a>(&'a self, host: &'a str, port: u16) -> LookUp<'a>;
}

/// Looks names up as the system does: in its hosts file, by DNS, or however it is set up.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Resolver for System {
    fn look_up<'a>(&'a self, host: &'a str, port: u16) -> LookUp<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}
