//! Keeps the addresses of backends that are given by name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::backend::Backend;

/// How soon a name that could not be resolved is tried again, at first.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// Resolves a name now and every `interval`, for as long as the future is kept. When DNS fails, the addresses known
/// before stay.
pub async fn keep(backend: Arc<Backend>, host: String, port: u16, interval: Duration) {
    let mut retry = RETRY_FIRST;
    let mut failing = false;
    loop {
        match tokio::net::lookup_host((host.as_str(), port)).await {
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
