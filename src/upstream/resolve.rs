//! Keeps up with the addresses of backends that are given by name.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::shared::SharedUpstream;
use crate::telemetry::{clock, random};

/// How soon a name that could not be resolved is tried again, at first.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// How long a start or a reload waits for names to be looked up once.
const FIRST_MAX: Duration = Duration::from_secs(1);
/// How often it looks whether they are.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// Waits until each backend's name has been looked up once, so that the first requests find an endpoint; not for long,
/// so that DNS being down keeps the proxy neither from starting nor from taking up a plan.
pub async fn first(groups: &[Arc<SharedUpstream>]) {
    let all = async {
        while !groups.iter().all(|group| group.is_settled()) {
            tokio::time::sleep(FIRST_LOOK).await;
        }
    };
    let _given_up = tokio::time::timeout(FIRST_MAX, all).await;
}

/// Resolves the names of an upstream's backends now, and never again: for one that is used once.
///
/// # Errors
/// What the resolver says.
pub async fn once(group: &SharedUpstream) -> io::Result<()> {
    for (backend, host, port) in group.names() {
        let found = group.resolver.look_up(host, port).await?;
        group.found(backend, Ok(found));
    }
    if !group.is_settled() {
        group.regroup(clock::now());
    }
    Ok(())
}

/// Resolves the name of this backend now and every `resolve_interval`, for as long as the future is kept.
pub async fn keep(group: Arc<SharedUpstream>, backend: usize, host: String, port: u16) {
    let interval = group.plan.resolve_interval;
    if group.is_resolved(backend) {
        // A reload has changed something else. Spread out, so that thousands of names aren't all looked up at once.
        tokio::time::sleep(interval.mul_f64(random::fraction())).await;
    }
    let mut retry = RETRY_FIRST;
    loop {
        let found = group.resolver.look_up(&host, port).await;
        if group.found(backend, found) {
            retry = RETRY_FIRST;
            tokio::time::sleep(interval).await;
        } else {
            tokio::time::sleep(retry.min(interval)).await;
            retry = (retry * 2).min(interval);
        }
    }
}
