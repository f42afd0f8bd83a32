//! Fills a cache by requesting each of many responses once, so that the number of stored responses is known exactly.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Fallible;
use crate::backend::{SMALL_BYTES, SMALL_HITS};
use crate::client;
use crate::interrupt;

/// The number of concurrent connections.
const CONNECTIONS: usize = 64;
/// The longest duration.
const FILL_MAX: Duration = Duration::from_secs(100);

/// A filled cache.
pub(crate) struct Filled {
    /// The number of responses.
    pub(crate) count: usize,
    /// The duration.
    pub(crate) time: Duration,
    /// The proxy's processor time for each, in µs.
    pub(crate) cpu_us: f64,
    /// Resident memory per stored response, in bytes; `None` if responses were evicted.
    pub(crate) bytes_each: Option<f64>,
}

/// Requests the small responses from 1 to `count`, each once. Returns how many were requested within the time limit,
/// and the duration.
///
/// # Errors
/// If a response is wrong.
pub(crate) fn fill(to: SocketAddr, count: usize) -> Fallible<(usize, Duration)> {
    let begun = Instant::now();
    let asked = Rc::new(Cell::new(0));
    let numbers = Rc::clone(&asked);
    let next = move || {
        let number = numbers.get() + 1;
        if number > count || begun.elapsed() >= FILL_MAX {
            return None;
        }
        numbers.set(number);
        Some(number)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    let filling = async {
        let failed = Rc::new(RefCell::new(None));
        let lanes: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let failed = Rc::clone(&failed);
                let next = next.clone();
                tasks.spawn_local(async move {
                    if let Err(error) = ask_all(to, std::iter::from_fn(next)).await {
                        failed.replace(Some(error.to_string()));
                    }
                })
            })
            .collect();
        for lane in lanes {
            lane.await?;
        }
        failed.take().map_or(Fallible::Ok(()), |error: String| Err(error.into()))
    };
    tasks.block_on(&runtime, async { tokio::time::timeout(2 * FILL_MAX, filling).await? })?;
    Ok((asked.get(), begun.elapsed()))
}

async fn ask_all(to: SocketAddr, numbers: impl Iterator<Item = usize>) -> Fallible<()> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let mut received = Vec::with_capacity(1024);
    for number in numbers {
        interrupt::go_on()?;
        let head = format!("GET {SMALL_HITS}{number} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        received.clear();
        let answer = loop {
            if stream.read_buf(&mut received).await? == 0 {
                return Err("an answer was cut short".into());
            }
            if let Some(answer) = client::whole(&received)? {
                break answer;
            }
        };
        if answer.status != 200 || answer.body.len() != SMALL_BYTES {
            return Err(format!("status {} while filling", answer.status).into());
        }
    }
    Ok(())
}
