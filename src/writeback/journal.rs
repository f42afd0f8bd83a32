//! The journal's thread: takes records from everybody, writes what has gathered at once, and tells when it is safe.
//!
//! One write and one sync serve all who wait (group commit). After a failure the file is not trusted any more: another
//! segment is begun as soon as that works.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use policy::write::record::{Payload, Record, SegmentHead, encode};
use tokio::sync::oneshot;

use super::desk::Desk;
use super::segments::Directory;
use crate::config::plan::Durability;
use crate::observe::{clock, dice};

/// A segment is ended when it is this long.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// The most bytes written at once.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// How long `batch-5ms` leaves to the system.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// Why a record is not safe.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failed {
    /// The disk is full or fails.
    #[error("the journal can't be written: {0}")]
    Io(Arc<str>),
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

/// Told when a record is safe: its number, or why it is not.
pub type Told = oneshot::Receiver<Result<u64, Failed>>;

struct Order {
    payload: Payload,
    durability: Durability,
    told: oneshot::Sender<Result<u64, Failed>>,
}

/// The journal: a thread, and the way to it.
#[derive(Debug)]
pub struct Journal {
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    identity: u128,
    bytes: Arc<AtomicU64>,
}

impl Journal {
    /// Starts the thread. `(identity, segment, seq)`: the journal's identity, and the first numbers that are free.
    pub(super) fn start(directory: Directory, from: (u128, u64, u64), desk: Weak<Desk>) -> Self {
        let (orders, taken) = mpsc::channel();
        let (identity, segment, seq) = from;
        let bytes = Arc::new(AtomicU64::new(0));
        let clerk = Clerk {
            directory,
            identity,
            segment,
            seq,
            file: None,
            file_bytes: 0,
            unsynced_since: None,
            desk,
            bytes: Arc::clone(&bytes),
        };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || clerk.run(&taken)).ok();
        let orders = thread.is_some().then_some(orders);
        Self { orders: Mutex::new(orders), thread: Mutex::new(thread), identity, bytes }
    }

    /// Puts a record in. The answer comes when it is as safe as asked for.
    pub fn append(&self, payload: Payload, durability: Durability) -> Told {
        let (told, answer) = oneshot::channel();
        if let Some(orders) = &*self.orders.lock() {
            // A thread that has ended drops the order, and with it the teller.
            let _ended = orders.send(Order { payload, durability, told });
        }
        answer
    }

    /// The journal's identity.
    #[must_use]
    pub fn identity(&self) -> u128 {
        self.identity
    }

    /// How many bytes were written since the start.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Writes what is still to be written, and ends. What comes later is refused.
    pub fn close(&self) {
        drop(self.orders.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            let _panicked = thread.join();
        }
    }
}

/// Who writes.
struct Clerk {
    directory: Directory,
    identity: u128,
    /// The number of the present segment, or of the next if there is none.
    segment: u64,
    /// The next record's number.
    seq: u64,
    file: Option<(File, u64)>,
    file_bytes: u64,
    /// Since when something is with the system only.
    unsynced_since: Option<Duration>,
    desk: Weak<Desk>,
    bytes: Arc<AtomicU64>,
}

impl Clerk {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        loop {
            let first = match self.unsynced_since {
                None => orders.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(since) => {
                    let left = (since + BATCH_WAIT).saturating_sub(clock::mono());
                    orders.recv_timeout(left)
                }
            };
            match first {
                Ok(order) => self.write(order, orders),
                Err(mpsc::RecvTimeoutError::Timeout) => self.sync_late(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.sync_late(),
            }
        }
    }

    /// Writes an order and all that have gathered behind it.
    fn write(&mut self, first: Order, orders: &mpsc::Receiver<Order>) {
        let mark = match self.open() {
            Ok(mark) => mark,
            Err(error) => return fail([first].into_iter().chain(orders.try_iter()), &error),
        };
        let mut bytes = Vec::new();
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(order) = next {
            let record = Record { seq: self.seq, payload: order.payload };
            match encode(&record, mark, &mut bytes) {
                Ok(()) => {
                    self.seq += 1;
                    batch.push((record, order.durability, order.told));
                }
                Err(long) => drop(order.told.send(Err(Failed::Io(long.to_string().into())))),
            }
            next = if bytes.len() < BATCH_BYTES_MAX { orders.try_recv().ok() } else { None };
        }
        let is_synced = batch.iter().any(|(_, durability, _)| *durability == Durability::Fsync);
        let waits = batch.iter().any(|(_, durability, _)| *durability == Durability::Batch);
        if let Err(error) = self.put(&bytes, is_synced) {
            tracing::error!("journal: can't be written: {error}");
            self.give_up();
            let failed = Failed::Io(error.to_string().into());
            return batch.into_iter().for_each(|(_, _, told)| drop(told.send(Err(failed.clone()))));
        }
        if is_synced {
            self.unsynced_since = None;
        } else if waits {
            self.unsynced_since.get_or_insert_with(clock::mono);
        }
        let desk = self.desk.upgrade();
        for (record, _, told) in batch {
            let seq = record.seq;
            if let Some(desk) = &desk {
                desk.recorded(record, self.segment);
            }
            let _left = told.send(Ok(seq));
        }
        if self.file_bytes >= SEGMENT_BYTES_MAX {
            self.end_segment();
        }
        self.tidy();
    }

    fn put(&mut self, bytes: &[u8], sync: bool) -> io::Result<()> {
        let Some((file, _)) = &mut self.file else { return Err(io::Error::other("no segment")) };
        file.write_all(bytes)?;
        if sync {
            file.sync_data()?;
        }
        self.file_bytes += bytes.len() as u64;
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The present segment's mark; a segment is begun if there is none.
    fn open(&mut self) -> io::Result<u64> {
        if let Some((_, mark)) = &self.file {
            return Ok(*mark);
        }
        let mark = dice::roll();
        let head = SegmentHead { journal: self.identity, first_seq: self.seq, mark };
        let file = match self.directory.begin(self.segment, &head) {
            Ok(file) => file,
            Err(error) => {
                // What there is of it has no record: the next try takes another name.
                self.segment += 1;
                return Err(error);
            }
        };
        if let Some(desk) = self.desk.upgrade() {
            desk.begun(self.segment);
        }
        self.file = Some((file, mark));
        self.file_bytes = 0;
        Ok(mark)
    }

    /// After a failure: what was not acknowledged is taken back if that works, and nothing follows it in this file.
    fn give_up(&mut self) {
        if let Some((file, _)) = &self.file {
            let length = SegmentHead::BYTES as u64 + self.file_bytes;
            let _still_there = file.set_len(length);
        }
        self.unsynced_since = None;
        self.file = None;
        self.segment += 1;
    }

    fn end_segment(&mut self) {
        self.sync_late();
        self.file = None;
        self.segment += 1;
    }

    fn sync_late(&mut self) {
        if self.unsynced_since.take().is_some()
            && let Some((file, _)) = &self.file
            && let Err(error) = file.sync_data()
        {
            tracing::error!("journal: can't be synced: {error}");
        }
    }

    fn tidy(&self) {
        let Some(desk) = self.desk.upgrade() else { return };
        for segment in desk.unneeded(self.segment) {
            if let Err(error) = self.directory.remove(segment) {
                tracing::warn!("journal: segment {segment} can't be removed: {error}");
            }
        }
    }
}

fn fail(orders: impl Iterator<Item = Order>, error: &io::Error) {
    tracing::error!("journal: can't be written: {error}");
    let failed = Failed::Io(error.to_string().into());
    orders.for_each(|order| drop(order.told.send(Err(failed.clone()))));
}
