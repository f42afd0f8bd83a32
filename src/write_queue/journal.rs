//! The handle to the journal's thread.
//!
//! Item waits for the thread is bounded: writes by their number and by their reservations, outcome records by the
//! writes that they concern.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use policy::write::record::Payload;
use tokio::sync::oneshot;

use super::commands::{Command, Completion, Failed, OutcomeRecord, Shared};
use super::submission::Submission;
use crate::config::plan::Durability;

/// The most writes that wait for the thread, including withdrawn ones.
const WAITING_MAX: usize = 16_384;

/// The handle to the journal's thread.
#[derive(Debug)]
pub(crate) struct Journal {
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    identity: u128,
    /// The number of outcome records that were appended.
    outcomes: AtomicU64,
    shared: Arc<Shared>,
}

impl Journal {
    /// Starts the thread, which runs `run` with the commands sent to it.
    pub(super) fn start(
        identity: u128,
        shared: Arc<Shared>,
        run: impl FnOnce(&mpsc::Receiver<Command>) + Send + 'static,
    ) -> Self {
        let (commands, received) = mpsc::channel();
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || run(&received)).ok();
        let commands = thread.is_some().then_some(commands);
        Self {
            commands: Mutex::new(commands),
            thread: Mutex::new(thread),
            identity,
            outcomes: AtomicU64::new(0),
            shared,
        }
    }

    /// Submits a write. The result arrives when the record is durable as requested.
    ///
    /// # Errors
    /// [`Failed::Behind`]: too many writes wait for the thread.
    pub(super) fn submit(&self, submission: Arc<Submission>, durability: Durability) -> Result<Completion, Failed> {
        if self.shared.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Failed::Behind);
        }
        let (sender, completion) = oneshot::channel();
        self.send(Command::Write(submission, durability, sender));
        Ok(completion)
    }

    /// Appends the outcome of a write. The result arrives when the record is durable as requested; while the disk
    /// fails, it is delayed.
    pub(super) fn append(&self, payload: Payload, durability: Durability) -> Completion {
        let (sender, completion) = oneshot::channel();
        self.send(Command::Outcome(OutcomeRecord { payload, durability, completion: sender }));
        completion
    }

    /// Waits until all outcome records so far are synced to disk, whatever durability they were appended with. Waits as
    /// long as the disk fails.
    pub(crate) async fn outcomes_are_durable(&self) {
        let outcomes = self.outcomes.load(Ordering::Acquire);
        let mut synced = self.shared.synced.subscribe();
        if *synced.borrow() >= outcomes {
            return;
        }
        self.shared.wanted.fetch_max(outcomes, Ordering::SeqCst);
        // One such command at a time: the thread clears the flag before it reads `wanted`.
        if !self.shared.is_sync_queued.swap(true, Ordering::SeqCst) {
            self.send(Command::Sync);
        }
        let _ended = synced.wait_for(|synced| *synced >= outcomes).await;
    }

    fn send(&self, command: Command) {
        if let Some(commands) = &*self.commands.lock() {
            self.outcomes.fetch_add(u64::from(matches!(command, Command::Outcome(_))), Ordering::Release);
            // A thread that has ended drops the command, and with it the completion sender.
            let _ended = commands.send(command);
        }
    }

    /// The journal's identity.
    #[must_use]
    pub(crate) fn identity(&self) -> u128 {
        self.identity
    }

    /// Writes what is still to be written, and ends the thread. Later commands are rejected.
    pub(crate) fn close(&self) {
        drop(self.commands.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            let _panicked = thread.join();
        }
    }
}
