//! Checks before the measurement that a proxy performs its workload; otherwise it is excluded, with the reason.
//!
//! During the measurement `rounds` checks the backend's counter.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use crate::Fallible;
use crate::backend::{self, Backend};
use crate::client::{self, More};
use crate::peers::Proxy;
use crate::works::Work;

/// Responses may be stored, and log lines written, shortly after the client has its response.
const TRIES: usize = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Sends the request of the workload, and checks the response and the backend.
///
/// # Errors
/// A description of the failure.
pub(crate) fn check(work: Work, proxy: &Proxy, backend: &Backend) -> Fallible<()> {
    if work.is_hit() {
        it_caches(work, proxy, backend)?
    } else {
        it_forwards(work, proxy, backend)?
    }
    match &proxy.access_log {
        Some(log) => until(|| Ok(fs::metadata(log).is_ok_and(|file| file.len() > 0)), "writes no access log"),
        None => Ok(()),
    }
}

fn it_forwards(work: Work, proxy: &Proxy, backend: &Backend) -> Fallible<()> {
    let before = backend.count()?;
    ask(work, proxy)?;
    let after = backend.count()?;
    if after != before + 1 {
        return Err(format!("work {}: one request was {} at the backend", work.letter(), after - before).into());
    }
    Ok(())
}

fn it_caches(work: Work, proxy: &Proxy, backend: &Backend) -> Fallible<()> {
    ask(work, proxy)?;
    let served_without_the_backend = || {
        let before = backend.count()?;
        ask(work, proxy)?;
        Ok(backend.count()? == before)
    };
    until(served_without_the_backend, "asks the backend although the answer may be stored")
}

/// Sends one request; the response must be the backend's, byte for byte.
fn ask(work: Work, proxy: &Proxy) -> Fallible<()> {
    let expected = backend::body(work.body_bytes());
    let body = if work == Work::Post { expected.clone() } else { Vec::new() };
    let more = More { fields: work.fields(), body };
    let answer = client::connect(proxy.address).and_then(|mut stream| client::ask_on(&mut stream, work.path(), &more));
    let answer = answer.map_err(|error| format!("work {}: {error}", work.letter()))?;
    if answer.status != 200 {
        return Err(format!("work {}: answers with status {}", work.letter(), answer.status).into());
    }
    if answer.body != expected {
        return Err(format!("work {}: the body is not the backend's", work.letter()).into());
    }
    Ok(())
}

/// Whether a proxy sends all fields that another one sends, to the backend and to the client.
///
/// # Errors
/// Names the missing fields.
pub(crate) fn sends_as_much(proxy: &Proxy, as_what: &Proxy, works: &[Work]) -> Fallible<()> {
    none_is_lacking("to the backend", &fields_to_backend(proxy)?, &fields_to_backend(as_what)?)?;
    for work in works {
        let fields = |proxy: &Proxy| Fallible::Ok(client::ask(proxy.address, work.path())?.names);
        none_is_lacking("to the client", &fields(proxy)?, &fields(as_what)?)?;
    }
    Ok(())
}

fn none_is_lacking(to: &str, theirs: &BTreeSet<String>, ours: &BTreeSet<String>) -> Fallible<()> {
    let lacking: Vec<&str> = ours.difference(theirs).map(String::as_str).collect();
    if lacking.is_empty() { Ok(()) } else { Err(format!("does not send {to}: {}", lacking.join(", ")).into()) }
}

fn fields_to_backend(proxy: &Proxy) -> Fallible<BTreeSet<String>> {
    let head = client::ask(proxy.address, backend::HEAD_PATH)?.body;
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(&head)?;
    Ok(client::names(request.headers))
}

fn until(mut holds: impl FnMut() -> Fallible<bool>, complaint: &str) -> Fallible<()> {
    for _ in 0..TRIES {
        if holds()? {
            return Ok(());
        }
        thread::sleep(BETWEEN_TRIES);
    }
    Err(complaint.into())
}
