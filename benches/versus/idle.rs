//! Workload i: the cost of a client connection that has carried one request and waits for the next.
//!
//! Counts resident memory of the proxy's processes, without the kernel's memory for sockets.

use std::thread;
use std::time::Duration;

use crate::Fallible;
use crate::client;
use crate::peers::Proxy;
use crate::works::Work;

/// The most connections.
pub(crate) const CONNECTIONS_MAX: usize = 2_000;
/// Connections opened before the first measurement, so that one-time costs are not counted.
const WARM_UP: usize = 64;
/// The most samples until memory is stable.
const LOOKS: usize = 12;
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// The number of connections possible under this limit of open files.
pub(crate) fn connections(files_max: Option<u64>) -> usize {
    // A proxy needs as many, the backend fewer; some files are open already.
    let free = files_max.map_or(CONNECTIONS_MAX, |max| usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(200));
    free.min(CONNECTIONS_MAX)
}

/// KiB per connection for `count` idle connections of a newly started proxy.
pub(crate) fn kib_for_one(proxy: &Proxy, count: usize) -> Fallible<f64> {
    let warm = opened(proxy, WARM_UP)?;
    let before = at_rest(proxy);
    let open = opened(proxy, count)?;
    let after = at_rest(proxy);
    drop((warm, open));
    Ok(after.saturating_sub(before) as f64 / count as f64)
}

fn opened(proxy: &Proxy, count: usize) -> Fallible<Vec<std::net::TcpStream>> {
    let open = |_| {
        let mut stream = client::connect(proxy.address)?;
        client::ask_on(&mut stream, Work::PassSmall.path(), &client::More::default())?;
        Ok(stream)
    };
    (0..count).map(open).collect()
}

/// Resident memory when two samples agree, or the last sample.
fn at_rest(proxy: &Proxy) -> u64 {
    let mut last = proxy.process.resident_kib();
    for _ in 0..LOOKS {
        thread::sleep(BETWEEN_LOOKS);
        let now = proxy.process.resident_kib();
        if now == last {
            break;
        }
        last = now;
    }
    last
}
