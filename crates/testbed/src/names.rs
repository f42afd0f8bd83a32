//! A resolver for tests, instead of DNS.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use forebay::upstream::resolver::{LookUp, Resolver};

/// Names and their addresses, shared between clones. Other names do not resolve.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    names: HashMap<String, Vec<IpAddr>>,
    look_ups: usize,
}

impl Names {
    /// With one name and its addresses.
    #[must_use]
    pub fn with(name: &str, addresses: &[&str]) -> Self {
        let names = Self::default();
        names.set(name, addresses);
        names
    }

    /// Sets the addresses of a name.
    ///
    /// # Panics
    /// If one is invalid.
    pub fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().expect("an IP address")).collect();
        self.known().names.insert(name.to_owned(), addresses);
    }

    /// Makes a name fail to resolve.
    pub fn lose(&self, name: &str) {
        self.known().names.remove(name);
    }

    /// The number of look-ups.
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
