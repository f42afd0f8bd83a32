//! The journal's thread: takes records from everybody, writes what has gathered at once, and tells when it is safe.
//!
//! One write and one sync serve all who wait (group commit). After a failure the file is not trusted any more: another
//! segment is begun as soon as that works. A write that could not be put down is refused; a note of what became of one
//! is owed until it is put down, for without it the write would be sent again after a restart, over newer ones.

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
use super::shelf::anew;
use crate::config::plan::Durability;
use crate::observe::{clock, dice};

/// A segment is ended when it is this long.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// The most bytes written at once.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// How long `batch-5ms` leaves to the system.
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// How long after a failure the notes that are owed are tried again, if no write comes before.
const RETRY: Duration = Duration::from_secs(1);

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
    /// `None`: only what came before is to be safe.
    payload: Option<Payload>,
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
    /// How many notes were put in.
    noted: AtomicU64,
    /// How many of them, from the first on, are on the disk.
    safe: Arc<AtomicU64>,
}

impl Journal {
    /// Starts the thread. `(identity, segment, seq)`: the journal's identity, and the first numbers that are free.
    pub(super) fn start(directory: Directory, from: (u128, u64, u64), desk: Weak<Desk>) -> Self {
        let (orders, taken) = mpsc::channel();
        let (identity, segment, seq) = from;
        let bytes = Arc::new(AtomicU64::new(0));
        let safe = Arc::new(AtomicU64::new(0));
        let clerk = Clerk {
            directory,
            identity,
            segment,
            seq,
            file: None,
            file_bytes: 0,
            unsynced_since: None,
            owed: Vec::new(),
            is_failing: false,
            noted: 0,
            desk,
            bytes: Arc::clone(&bytes),
            safe: Arc::clone(&safe),
        };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || clerk.run(&taken)).ok();
        let orders = thread.is_some().then_some(orders);
        Self { orders: Mutex::new(orders), thread: Mutex::new(thread), identity, bytes, noted: AtomicU64::new(0), safe }
    }

    /// Puts a record in. The answer comes when it is as safe as asked for; that of a note, once the disk works.
    pub fn append(&self, payload: Payload, durability: Durability) -> Told {
        self.order(Some(payload), durability)
    }

    /// Returns when all notes of what became of writes are on the disk, whatever was asked for them: waits while it fails.
    pub async fn notes_are_safe(&self) {
        if self.safe.load(Ordering::Acquire) < self.noted.load(Ordering::Acquire) {
            let _closed = self.order(None, Durability::Fsync).await;
        }
    }

    fn order(&self, payload: Option<Payload>, durability: Durability) -> Told {
        let (told, answer) = oneshot::channel();
        if let Some(orders) = &*self.orders.lock() {
            self.noted.fetch_add(u64::from(payload.as_ref().is_some_and(is_note)), Ordering::Release);
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
    /// Notes that could not be put down, in their order: bounded by the writes that they are about.
    owed: Vec<Order>,
    /// Whether the last try has failed: told once, not for each write.
    is_failing: bool,
    /// How many notes were put down.
    noted: u64,
    desk: Weak<Desk>,
    bytes: Arc<AtomicU64>,
    safe: Arc<AtomicU64>,
}

/// Whether it says what became of a write.
fn is_note(payload: &Payload) -> bool {
    !matches!(payload, Payload::Write(_))
}

/// An order, and its record.
type Entry = (Option<Record>, Durability, oneshot::Sender<Result<u64, Failed>>);

/// What goes down at once.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Batch {
    /// Takes an order in, under this number. `false`: it was not used.
    fn add(&mut self, order: Order, seq: u64, mark: u64) -> bool {
        let record = order.payload.map(|payload| Record { seq, payload });
        let is_numbered = record.is_some();
        match record.as_ref().map_or(Ok(()), |record| encode(record, mark, &mut self.bytes)) {
            Ok(()) => self.entries.push((record, order.durability, order.told)),
            Err(long) => {
                let _left = order.told.send(Err(Failed::Io(long.to_string().into())));
                return false;
            }
        }
        is_numbered
    }

    fn notes(&self) -> u64 {
        self.entries
            .iter()
            .filter(|(record, ..)| record.as_ref().is_some_and(|record| is_note(&record.payload)))
            .count() as u64
    }

    fn asks_for(&self, wanted: Durability) -> bool {
        self.entries.iter().any(|(_, durability, _)| *durability == wanted)
    }
}

impl Clerk {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        loop {
            let first = match self.wake_in() {
                None => orders.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(wait) => orders.recv_timeout(wait),
            };
            match first {
                Ok(order) => self.write(Some(order), orders),
                Err(mpsc::RecvTimeoutError::Timeout) if self.owed.is_empty() => self.sync_late(),
                Err(mpsc::RecvTimeoutError::Timeout) => self.write(None, orders),
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.finish(orders),
            }
        }
    }

    fn wake_in(&self) -> Option<Duration> {
        match self.unsynced_since {
            Some(since) => Some((since + BATCH_WAIT).saturating_sub(clock::mono())),
            None => (!self.owed.is_empty()).then_some(RETRY),
        }
    }

    fn finish(&mut self, orders: &mpsc::Receiver<Order>) {
        if !self.owed.is_empty() {
            self.write(None, orders);
        }
        self.sync();
    }

    /// Writes what is owed, an order, and all that have gathered behind it.
    fn write(&mut self, first: Option<Order>, orders: &mpsc::Receiver<Order>) {
        let mark = match self.open() {
            Ok(mark) => mark,
            Err(error) => {
                let owed = std::mem::take(&mut self.owed);
                return self.failed(owed.into_iter().chain(first).chain(orders.try_iter()), &error);
            }
        };
        let mut batch = Batch::default();
        for order in std::mem::take(&mut self.owed).into_iter().chain(first) {
            self.seq += u64::from(batch.add(order, self.seq, mark));
        }
        while batch.bytes.len() < BATCH_BYTES_MAX
            && let Ok(order) = orders.try_recv()
        {
            self.seq += u64::from(batch.add(order, self.seq, mark));
        }
        let is_synced = batch.asks_for(Durability::Fsync);
        if let Err(error) = self.put(&batch.bytes, is_synced) {
            let is_cut = self.give_up();
            let orders = batch.entries.into_iter().map(|(record, durability, told)| Order {
                payload: record.map(|record| record.payload),
                durability,
                told,
            });
            self.failed(orders, &error);
            if is_cut {
                self.are_safe(self.noted);
            }
            return;
        }
        self.noted += batch.notes();
        if is_synced {
            self.unsynced_since = None;
            self.are_safe(self.noted);
        } else if batch.asks_for(Durability::Batch) {
            self.unsynced_since.get_or_insert_with(clock::mono);
        }
        self.tell(batch);
        if self.file_bytes >= SEGMENT_BYTES_MAX {
            self.end_segment();
        } else {
            self.tidy();
        }
    }

    /// So many notes are on the disk: those that are owed come after them.
    fn are_safe(&self, notes: u64) {
        self.safe.store(notes, Ordering::Release);
    }

    /// Tells that it is down.
    fn tell(&mut self, batch: Batch) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("journal: can be written again");
        }
        let desk = self.desk.upgrade();
        for (record, _, told) in batch.entries {
            let seq = record.as_ref().map_or(0, |record| record.seq);
            if let (Some(desk), Some(record)) = (&desk, record) {
                desk.recorded(record, self.segment);
            }
            let _left = told.send(Ok(seq));
        }
    }

    /// Writes are refused; all else is tried again.
    fn failed(&mut self, orders: impl Iterator<Item = Order>, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!("journal: can't be written: {error}");
        }
        let failed = Failed::Io(error.to_string().into());
        for order in orders {
            if let Some(Payload::Write(_)) = order.payload {
                let _left = order.told.send(Err(failed.clone()));
            } else {
                self.owed.push(order);
            }
        }
        // What is done with may be what fills the disk.
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
                // What there is of it has no record. If it can't even be removed, the next try takes another name.
                if error.kind() == io::ErrorKind::AlreadyExists || self.directory.remove(self.segment).is_err() {
                    self.segment += 1;
                }
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

    /// After a failure: what was not acknowledged is taken back if that works, and nothing follows it in this file. Whether
    /// what it held before is on the disk.
    fn give_up(&mut self) -> bool {
        self.unsynced_since = None;
        self.segment += 1;
        let length = SegmentHead::BYTES as u64 + self.file_bytes;
        self.file.take().is_some_and(|(file, _)| file.set_len(length).and_then(|()| file.sync_all()).is_ok())
    }

    fn end_segment(&mut self) {
        self.sync();
        if self.file.take().is_some() {
            self.segment += 1;
        }
        // The next is begun before others are removed, as it tells which numbers are used.
        if self.open().is_ok() {
            self.tidy();
            self.thin();
        }
    }

    /// Makes segments small that keep others from being removed.
    fn thin(&self) {
        let Some(desk) = self.desk.upgrade() else { return };
        let bytes = self.directory.segments().unwrap_or_default().into_iter().filter(|segment| *segment < self.segment);
        let to_thin = desk.to_thin(self.segment, bytes.map(|segment| self.directory.bytes(segment)).sum());
        for (segment, is_damaged) in to_thin {
            let Some(live) = desk.live_in(segment).filter(|live| !live.is_empty()) else { continue };
            let done = anew(self.identity, live).and_then(|bytes| self.directory.replace(segment, &bytes, is_damaged));
            match done {
                Ok(()) => desk.thinned(segment, self.segment),
                Err(error) => return tracing::warn!("journal: segment {segment} can't be made small: {error}"),
            }
        }
        self.tidy();
    }

    fn sync_late(&mut self) {
        if self.unsynced_since.is_some() {
            self.sync();
        }
    }

    /// After a failure the file is not trusted any more.
    fn sync(&mut self) {
        self.unsynced_since = None;
        let Some((file, _)) = &self.file else { return };
        match file.sync_data() {
            Ok(()) => self.are_safe(self.noted),
            Err(error) => {
                tracing::error!("journal: can't be synced: {error}");
                self.file = None;
                self.segment += 1;
            }
        }
    }

    fn tidy(&self) {
        let Some(desk) = self.desk.upgrade() else { return };
        for (segment, is_damaged) in desk.unneeded(self.segment, self.file.is_some()) {
            let done = if is_damaged { self.directory.set_aside(segment) } else { self.directory.remove(segment) };
            if let Err(error) = done {
                tracing::warn!("journal: segment {segment} can't be removed: {error}");
            }
        }
    }
}
