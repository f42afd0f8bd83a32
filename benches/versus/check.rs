//! Does a proxy really do its work? Asked before anything is measured; one that doesn't is left out, with the reason.
//!
//! During the measurement `rounds` asks again, by the backend's counter.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::Fallible;
use crate::backend::{self, Backend};
use crate::client;
use crate::peers::Proxy;
use crate::works::Work;

/// Answers may be stored, and log lines written, a little after the client has its answer.
const TRIES: usize = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Asks as the work does, and looks at the answer and at the backend.
///
/// # Errors
/// What was wrong, in words.
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

/// One request; the answer must be what the backend says, byte for byte.
fn ask(work: Work, proxy: &Proxy) -> Fallible<()> {
    let expected = backend::body(work.body_bytes());
    let answer = match work {
        Work::Post => client::ask(proxy.address, "POST", work.path(), &expected),
        Work::PassSmall
        | Work::HitSmall
        | Work::HitLarge
        | Work::PassLarge
        | Work::PassHuge
        | Work::PassSmallLogged => client::ask(proxy.address, "GET", work.path(), &[]),
    };
    let answer = answer.map_err(|error| format!("work {}: {error}", work.letter()))?;
    if answer.status != 200 {
        return Err(format!("work {}: answers with status {}", work.letter(), answer.status).into());
    }
    if answer.body != expected {
        return Err(format!("work {}: the body is not the backend's", work.letter()).into());
    }
    Ok(())
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
