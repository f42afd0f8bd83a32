//! One worker's telemetry: its counters and its access log.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use message::Fields;
use policy::time::Now;

use super::access_log::Log;
use super::access_record::AccessRecord;
use super::captured::Captured;
use super::counters::Counters;

/// The telemetry of one worker.
#[derive(Debug)]
pub(crate) struct WorkerTelemetry {
    /// The worker's counters.
    pub counters: Arc<Counters>,
    log: RefCell<Log>,
    /// When the last exchange ended (monotonic).
    last_end: Cell<Option<Duration>>,
}

impl WorkerTelemetry {
    /// The telemetry of a new worker.
    #[must_use]
    pub(crate) fn new(counters: Arc<Counters>, log: Log) -> Self {
        Self { counters, log: RefCell::new(log), last_end: Cell::new(None) }
    }

    /// Whether exchanges are logged, so that their requests must be kept.
    #[must_use]
    pub(crate) fn is_logging(&self) -> bool {
        self.log.borrow().is_on()
    }

    /// Whether the form of the log needs more of messages than every line has.
    #[must_use]
    pub(crate) fn captures(&self) -> bool {
        self.log.borrow().captures()
    }

    /// The fields of this request that the log's format needs.
    #[must_use]
    pub(crate) fn capture(&self, headers: &Fields) -> Option<Box<Captured>> {
        self.log.borrow().capture(headers)
    }

    /// Counts the beginning of an exchange.
    pub(crate) fn begin(&self) {
        self.counters.exchanges.up();
    }

    /// Counts and logs the end of an exchange.
    pub(crate) fn end(&self, record: &AccessRecord, client: IpAddr, started: Now, ended: Now) {
        self.counters.exchanges.down();
        self.count(ended.mono);
        self.log(record, client, started, ended);
    }

    /// A request has been answered at this moment (monotonic time), or given up.
    pub(crate) fn count(&self, ended: Duration) {
        self.last_end.set(Some(ended));
        self.counters.requests.up();
    }

    /// Logs a request, if requests are logged.
    pub(crate) fn log(&self, record: &AccessRecord, client: IpAddr, started: Now, ended: Now) {
        let mut log = self.log.borrow_mut();
        if log.is_on() {
            log.line(record, client, started, ended);
            self.counters.log_lines_dropped.add(log.take_dropped());
        }
    }

    /// When the last exchange ended (monotonic).
    #[must_use]
    pub(crate) const fn last_end(&self) -> Option<Duration> {
        self.last_end.get()
    }

    /// Passes the buffered lines to the log's writer. Call it a few times a second.
    pub(crate) fn flush(&self) {
        let mut log = self.log.borrow_mut();
        log.flush();
        self.counters.log_lines_dropped.add(log.take_dropped());
    }

    /// Changes the log's format.
    pub(crate) fn set_form(&self, form: crate::config::plan::AccessLog) {
        self.log.borrow_mut().set_form(form);
    }
}
