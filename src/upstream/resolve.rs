//! Keeps the addresses of backends that are given by name.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::backend::Backend;
use super::group::Group;
use crate::config::plan::Address;

/// How soon a name that could not be resolved is tried again, at first.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// How long a start waits for names to be looked up once.
const FIRST_MAX: Duration = Duration::from_secs(1);
/// How often it looks whether they are.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// Waits until each backend's name has been looked up once, so that the first requests find somebody; not for long,
/// so that DNS being down does not keep the proxy from starting.
pub async fn first(groups: &[Arc<Group>]) {
    let waits = |backend: &Arc<Backend>| !backend.is_looked_up.load(Ordering::Relaxed);
    let all = async {
        while groups.iter().flat_map(|group| &group.backends).any(waits) {
            tokio::time::sleep(FIRST_LOOK).await;
        }
    };
    let _given_up = tokio::time::timeout(FIRST_MAX, all).await;
}

/// Resolves the names of an upstream's backends now, and never again: for one that is used once.
///
/// # Errors
/// What DNS says.
pub async fn once(group: &Group) -> io::Result<()> {
    for backend in &group.backends {
        let Address::Name { host, port } = &backend.address else { continue };
        let found = tokio::net::lookup_host((host.as_str(), *port)).await?;
        backend.resolved.store(Arc::new(found.collect()));
    }
    Ok(())
}

/// Resolves a name now and every `interval`, for as long as the future is kept. When DNS fails, the addresses known
/// before stay.
pub async fn keep(backend: Arc<Backend>, host: String, port: u16, interval: Duration) {
    let mut retry = RETRY_FIRST;
    let mut failing = false;
    loop {
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        backend.is_looked_up.store(true, Ordering::Relaxed);
        match found {
            Ok(found) => {
                let found: Vec<SocketAddr> = found.collect();
                if failing {
                    tracing::info!(backend = %backend.name, "name is resolved again");
                }
                (failing, retry) = (false, RETRY_FIRST);
                if !found.is_empty() && **backend.resolved.load() != found {
                    backend.resolved.store(Arc::new(found));
                }
                tokio::time::sleep(interval).await;
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(backend = %backend.name, "name can't be resolved: {error}");
                }
                failing = true;
                tokio::time::sleep(retry.min(interval)).await;
                retry = (retry * 2).min(interval);
            }
        }
    }
}
