//! The proxy under test: the binary, with a configuration that uses most features.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Fallible;
use crate::verdict::Sample;

/// The longest wait for the proxy to listen, and to become idle after the load.
const REST_MAX: Duration = Duration::from_secs(60);
/// The interval of checks.
const LOOK: Duration = Duration::from_millis(200);

/// A running proxy, which ends when dropped.
pub(crate) struct Proxy {
    /// The address for clients.
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    child: Child,
    _folder: TempDir,
}

fn free() -> Fallible<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn configuration(address: SocketAddr, admin: SocketAddr, origin: SocketAddr, state: &str) -> Fallible<String> {
    let down = free()?;
    let mut text = format!(
        "listen = [\"{address}\"]\n\
         [server]\nworkers = 2\nheader_timeout = \"1s\"\nidle_timeout = \"2s\"\nbody_timeout = \"1s\"\nstate_dir = \"{state}\"\n\
         [admin]\nlisten = \"{admin}\"\n[log]\nlevel = \"error\"\n\
         [cache]\nmemory_max = \"16MiB\"\nobject_bytes_max = \"256KiB\"\npurge_from = [\"127.0.0.1\"]\n"
    );
    for (name, backend) in [("good", origin), ("down", down)] {
        write!(
            text,
            "[[upstream]]\nname = \"{name}\"\nbackends = [\"http://{backend}\"]\n\
             [upstream.timeouts]\npool_idle = \"1s\"\nrequest = \"2s\"\n[upstream.ejection]\nconsecutive_failures = 0\n"
        )?;
    }
    text += "[[route]]\npath = \"/pass\"\nupstream = \"good\"\n[[route]]\npath = \"/hit\"\nupstream = \"good\"\ncache = {}\n";
    for (path, upstream) in [("/queued", "good"), ("/refused", "good"), ("/pending", "down")] {
        write!(
            text,
            "[[route]]\npath = \"{path}\"\nupstream = \"{upstream}\"\n[route.cache]\nmode = \"write-back\"\n\
             [route.cache.write_back]\nflush_interval = \"200ms\"\npending_bytes_max = \"1MiB\"\n"
        )?;
    }
    Ok(text)
}

impl Proxy {
    /// Starts the proxy in front of this backend; returns when it listens.
    pub(crate) fn start(origin: SocketAddr) -> Fallible<Self> {
        let folder = TempDir::new()?;
        let (address, admin) = (free()?, free()?);
        let file = folder.path().join("config.toml");
        let state = folder.path().join("state").display().to_string();
        fs::write(&file, configuration(address, admin, origin, &state)?)?;
        // The kernel ends it together with this program.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_forebay")])
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let proxy = Self { address, admin, child: command.spawn()?, _folder: folder };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > REST_MAX {
                return Err("the proxy does not listen".into());
            }
            std::thread::sleep(LOOK);
        }
        Ok(proxy)
    }

    /// Reloads the configuration.
    pub(crate) fn reload(&self) -> Fallible<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::HUP)?)
    }

    /// Its current resources.
    pub(crate) fn sample(&self) -> Fallible<Sample> {
        let process = format!("/proc/{}", self.child.id());
        let status = fs::read_to_string(format!("{process}/status"))?;
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let metrics = self.metrics()?;
        let gauge = |name: &str| {
            let values = metrics
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<f64>().ok());
            values.sum::<f64>()
        };
        Ok(Sample {
            resident_kib: resident.ok_or("the system does not say how much memory it takes")?,
            descriptors: fs::read_dir(format!("{process}/fd"))?.count(),
            connections: gauge("forebay_connections"),
            in_flight: gauge("forebay_requests_in_flight"),
            following: gauge("forebay_requests_following"),
            pending: gauge("forebay_journal_pending"),
            dead: gauge("forebay_journal_dead"),
        })
    }

    /// Its resources when all connections have ended, including idle ones to backends.
    pub(crate) fn at_rest(&self) -> Fallible<Sample> {
        let begun = Instant::now();
        let mut last = None;
        loop {
            let sample = self.sample()?;
            let is_still = last == Some(sample.descriptors) && begun.elapsed() > Duration::from_secs(5);
            if (sample.is_at_rest() && is_still) || begun.elapsed() > REST_MAX {
                return Ok(sample);
            }
            last = Some(sample.descriptors);
            std::thread::sleep(LOOK);
        }
    }

    fn metrics(&self) -> Fallible<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.set_read_timeout(Some(REST_MAX))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.admin)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
