//! What clients connect to: opened before anything else changes, handed to the workers, known by their addresses.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::plan::{ListenAddress, Plan};
use crate::downstream::listener::{self, ListenError, ListenSocket, Opened};
use crate::socket_file::SocketFile;

/// A listener whose sockets no worker has yet.
pub(super) struct New {
    pub(super) address: Arc<ListenAddress>,
    pub(super) sockets: Vec<ListenSocket>,
}

/// The listeners that are open.
#[derive(Default)]
pub(super) struct Listeners(Vec<Open>);

struct Open {
    address: Arc<ListenAddress>,
    local: Option<SocketAddr>,
    _file: Option<SocketFile>,
}

/// Listeners that are opened for a plan, and not taken up yet.
pub(super) struct Prepared(Vec<(Arc<ListenAddress>, Opened)>);

impl Listeners {
    /// Opens what a plan has and is not open yet, for so many workers.
    pub(super) fn prepare(&self, plan: &Plan, workers: usize) -> Result<Prepared, ListenError> {
        let is_open = |address: &ListenAddress| self.0.iter().any(|open| *open.address == *address);
        let new = plan.listeners.iter().map(|listener| &listener.address).filter(|address| !is_open(address));
        let opened = new.map(|address| Ok((Arc::new(address.clone()), listener::open(address, workers)?)));
        Ok(Prepared(opened.collect::<Result<_, _>>()?))
    }

    /// Takes up what was opened; the sockets are the workers'.
    pub(super) fn add(&mut self, prepared: Prepared) -> Vec<New> {
        let mut new = Vec::new();
        for (address, opened) in prepared.0 {
            let Opened { sockets, local, file } = opened;
            self.0.push(Open { address: Arc::clone(&address), local, _file: file });
            new.push(New { address, sockets });
        }
        new
    }

    /// Gives up what a plan does not have, and returns it.
    pub(super) fn remove_others(&mut self, plan: &Plan) -> Vec<Arc<ListenAddress>> {
        let is_kept = |open: &Open| plan.listeners.iter().any(|listener| listener.address == *open.address);
        let (kept, gone) = std::mem::take(&mut self.0).into_iter().partition(is_kept);
        self.0 = kept;
        gone.into_iter().map(|open: Open| open.address).collect()
    }

    /// The TCP addresses; for port 0 with the ports that the system chose.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|open| open.local).collect()
    }
}
