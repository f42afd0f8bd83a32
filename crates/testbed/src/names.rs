//! Names and their addresses, in place of DNS.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use forebay::upstream::resolver::{LookUp, Resolver};

/// Names and their addresses; clones are the same. A name that is not in it does not resolve.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    names: HashMap<String, Vec<IpAddr>>,
    look_ups: usize,
}

impl Names {
    /// With this name and these addresses.
    #[must_use]
    pub fn with(name: &str, addresses: &[&str]) -> Self {
        let names = Self::default();
        names.set(name, addresses);
        names
    }

    /// From now on the name has these addresses.
    ///
    /// # Panics
    ///
    /// When one is none.
    pub fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().expect("an IP address")).collect();
        self.known().names.insert(name.to_owned(), addresses);
    }

    /// From now on the name does not resolve.
    pub fn lose(&self, name: &str) {
        self.known().names.remove(name);
    }

    /// How many look-ups there were.
    #[must_use]
    pub fn look_ups(&self) -> usize {
        self.known().look_ups
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no test holds it")
    }
}

impl Resolver for Names {
    fn look_up<'a>(&'a self, host: &'a str, port: u16) -> LookUp<'a> {
        let mut known = self.known();
        known.look_ups += 1;
        let found = known.names.get(host).map(|found| found.iter().map(|ip| SocketAddr::new(*ip, port)).collect());
        Box::pin(async move { found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name")) })
    }
}
