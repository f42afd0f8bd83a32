//! Connections to backends that carry the requests of one client connection only (`send_proxy`): they begin with its
//! address. They go with the client's connection.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use super::local::LocalEndpoint;
use super::select::Lease;
use super::transport::pool::Pool;
use crate::exchange::ClientConnection;

/// A client's connections that wait for its next request, for each endpoint.
#[derive(Default)]
struct ClientPools(RefCell<Vec<(Weak<LocalEndpoint>, Rc<Pool>)>>);

impl ClientPools {
    /// The pool of one endpoint. Those of endpoints that are gone, also because TLS has other terms now, are dropped.
    fn of(&self, endpoint: &Rc<LocalEndpoint>) -> Rc<Pool> {
        let mut pools = self.0.borrow_mut();
        pools.retain(|(known, _)| known.strong_count() > 0);
        let known = pools.iter().find(|(known, _)| std::ptr::eq(known.as_ptr(), Rc::as_ptr(endpoint)));
        if let Some((_, pool)) = known {
            return Rc::clone(pool);
        }
        let pool = Rc::default();
        pools.push((Rc::downgrade(endpoint), Rc::clone(&pool)));
        pool
    }
}

/// Lets a request of this client use connections that carry its requests only, where the upstream says so.
pub(super) fn choose(claim: &Lease, client: &ClientConnection) {
    let plan = &claim.group().shared.plan;
    if plan.send_proxy.is_none() || !client.is_of_client() {
        return;
    }
    if let Some(pool) = client.kept_by_upstream(ClientPools::default, |pools| pools.of(claim.endpoint())) {
        // Nothing else looks after it.
        pool.tidy(claim.since(), plan.timeouts.pool_idle);
        claim.use_pool(pool);
    }
}
