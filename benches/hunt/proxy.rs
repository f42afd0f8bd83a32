//! The proxy under test: the binary, with a route for each path through it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Fallible;
use crate::tally::Tally;

/// The longest wait for the proxy to listen, and to become idle after the load.
const REST_MAX: Duration = Duration::from_secs(60);
/// The interval of checks.
const LOOK: Duration = Duration::from_millis(200);

/// The addresses of the backends.
pub(crate) struct Backends {
    /// Behaves well.
    pub(crate) good: SocketAddr,
    /// Resets where the good one responds.
    pub(crate) flaky: SocketAddr,
    /// Sends too late.
    pub(crate) late: SocketAddr,
    /// The path of a Unix socket.
    pub(crate) unix: String,
}

/// A running proxy, which ends when dropped.
pub(crate) struct Proxy {
    /// The address for clients.
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    child: Child,
    events: PathBuf,
    _folder: TempDir,
}

fn free() -> Fallible<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn configuration(address: SocketAddr, admin: SocketAddr, backends: &Backends) -> Fallible<String> {
    let Backends { good, flaky, late, unix } = backends;
    let mut text = format!(
        "listen = [\"{address}\"]\n[server]\nworkers = 2\n[admin]\nlisten = \"{admin}\"\n\
         [log]\naccess = \"off\"\nlevel = \"error\"\n[cache]\nmemory_max = \"8MiB\"\n"
    );
    for (name, urls) in [
        ("good", format!("\"http://{good}\"")),
        ("late", format!("\"http://{late}\"")),
        ("two", format!("\"http://{good}\", \"http://{flaky}\"")),
        ("unix", format!("\"unix:{unix}\"")),
    ] {
        write!(
            text,
            "[[upstream]]\nname = \"{name}\"\nbackends = [{urls}]\n[upstream.ejection]\nconsecutive_failures = 0\n\
             [upstream.retry]\nbudget_percent = 100\nbudget_floor = 1000000\n"
        )?;
    }
    for (path, upstream) in [("pass", "good"), ("late", "late"), ("two", "two"), ("unix", "unix")] {
        write!(text, "[[route]]\npath = \"/{path}\"\nupstream = \"{upstream}\"\n")?;
    }
    text += "[[route]]\npath = \"/hit\"\nupstream = \"good\"\ncache = {}\n";
    text += "[[route]]\npath = \"/through\"\nupstream = \"good\"\ncache = { mode = \"write-through\", ttl = \"1s\" }\n";
    Ok(text)
}

impl Proxy {
    /// Starts the proxy in front of these backends; returns when it listens.
    pub(crate) fn start(folder: TempDir, backends: &Backends) -> Fallible<Self> {
        let (address, admin) = (free()?, free()?);
        let (file, events) = (folder.path().join("config.toml"), folder.path().join("events"));
        fs::write(&file, configuration(address, admin, backends)?)?;
        // The kernel ends it together with this program.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_forebay")])
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&events)?);
        let proxy = Self { address, admin, child: command.spawn()?, events, _folder: folder };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > REST_MAX {
                return Err(format!("the proxy does not listen: {}", fs::read_to_string(&proxy.events)?).into());
            }
            std::thread::sleep(LOOK);
        }
        Ok(proxy)
    }

    /// Reloads the configuration.
    pub(crate) fn reload(&self) -> Fallible<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::HUP)?)
    }

    /// Checks that nothing is left after all clients have gone, and that no event reports a panic.
    pub(crate) fn judge_rest(&self, tally: &Tally) -> Fallible<()> {
        let begun = Instant::now();
        while self.busy()? > 0.0 {
            if begun.elapsed() > REST_MAX {
                tally.fault("requests or connections are left");
                break;
            }
            std::thread::sleep(LOOK);
        }
        let events = fs::read_to_string(&self.events)?;
        events.lines().filter(|event| event.contains("panic")).take(5).for_each(|event| tally.fault(event));
        Ok(())
    }

    /// Client connections, requests in flight, and requests that wait for another one's fetch.
    fn busy(&self) -> Fallible<f64> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.set_read_timeout(Some(REST_MAX))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let gauges = ["forebay_connections ", "forebay_requests_in_flight ", "forebay_requests_following "];
        let values = text.lines().filter_map(|line| gauges.iter().find_map(|gauge| line.strip_prefix(gauge)));
        Ok(values.filter_map(|value| value.trim().parse::<f64>().ok()).sum())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
