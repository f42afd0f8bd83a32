//! Lets canaries look at what there is, a few times a second.
//!
//! Beside the control thread: what they decide is on the disk before they look again, and a slow disk must not keep
//! checks of backends waiting.

use std::sync::Arc;
use std::time::Duration;

use super::Rollout;
use crate::telemetry::clock;

/// How often canaries look.
const LOOK: Duration = Duration::from_millis(200);
/// How often their progress is kept although nothing has happened, in looks.
const LOOKS_BETWEEN_SAVES: u32 = 25;
/// How often they are tried to be kept after they could not, in looks.
const LOOKS_BETWEEN_TRIES: u32 = 5;

/// Goes on for as long as it is polled.
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
