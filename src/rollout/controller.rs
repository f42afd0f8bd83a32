//! Evaluates canaries a few times a second.
//!
//! Runs apart from the control thread: a canary's decision is persisted before the next evaluation, and a slow disk
//! must not delay health checks.

use std::sync::Arc;
use std::time::Duration;

use super::Rollout;
use crate::telemetry::clock;

/// The interval between evaluations.
const LOOK: Duration = Duration::from_millis(200);
/// The number of evaluations between saves of unchanged canaries' progress.
const LOOKS_BETWEEN_SAVES: u32 = 25;
/// The number of evaluations before a failed save is retried.
const LOOKS_BETWEEN_TRIES: u32 = 5;

/// Evaluates the canaries. Never returns.
pub(crate) async fn run(rollout: Arc<Rollout>) {
    let mut looks: u32 = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        looks = looks.wrapping_add(1);
        let between = if rollout.is_saved() { LOOKS_BETWEEN_SAVES } else { LOOKS_BETWEEN_TRIES };
        if !rollout.has_canaries() && rollout.is_saved() {
            continue;
        }
        let (saves, rollout) = (looks.is_multiple_of(between), Arc::clone(&rollout));
        let looked = tokio::task::spawn_blocking(move || rollout.tick(clock::now(), saves)).await;
        if let Err(error) = looked {
            tracing::error!("canaries could not be judged: {error}");
        }
    }
}
