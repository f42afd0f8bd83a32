//! The environment of the measurements: one backend with many addresses, one load generator, and instances of forebay
//! with generated configurations.

use std::cell::Cell;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::Fallible;
use crate::backend::{Backend, Reach};
use crate::client;
use crate::figures::{many, text};
use crate::interrupt;
use crate::load::Load;
use crate::peers::{self, Peer, Proxy};
use crate::process::Place;
use crate::scale::Pace;
use crate::tools::{Tool, Toolbox};

/// The metric with the number of requests that forebay has answered.
const REQUESTS: &str = "forebay_requests_total";

/// The cores of the processes.
pub(crate) struct Crew {
    /// The proxy.
    pub(crate) proxy: Place,
    /// Load generator and backend.
    pub(crate) beside: Place,
    /// Threads of the load generator.
    pub(crate) threads: usize,
}

/// The environment shared by the measurements of a part.
pub(crate) struct Stage {
    /// The backend.
    pub(crate) backend: Backend,
    /// The load generator.
    pub(crate) load: Load,
    /// The parameters of the measurement.
    pub(crate) pace: Pace,
    tool: Tool,
    place: Place,
    folder: PathBuf,
    no_many_addresses: Option<String>,
    made: Cell<usize>,
}

/// A running forebay.
pub(crate) struct Subject {
    /// The process.
    pub(crate) proxy: Proxy,
    file: PathBuf,
    ports: (u16, u16),
}

impl Stage {
    /// Starts the backend.
    pub(crate) fn open(toolbox: &Toolbox, folder: &Path, crew: Crew, pace: Pace) -> Fallible<Self> {
        let (_, tool) = toolbox.proxies.iter().find(|(peer, _)| *peer == Peer::Forebay).ok_or("no forebay")?;
        let (backend, no_many_addresses) = match Backend::start(&crew.beside, Reach::AllOfLoopback) {
            Ok(backend) => (backend, None),
            Err(error) => (Backend::start(&crew.beside, Reach::One)?, Some(error.to_string())),
        };
        let load = Load::new(&toolbox.wrk.path, crew.beside, crew.threads, folder)?;
        Ok(Self {
            backend,
            load,
            pace,
            tool: tool.clone(),
            place: crew.proxy,
            folder: folder.to_owned(),
            no_many_addresses,
            made: Cell::new(0),
        })
    }

    /// Why the backend has only one address; `None`: it has all of loopback.
    pub(crate) fn no_many_addresses(&self) -> Option<&str> {
        self.no_many_addresses.as_deref()
    }

    /// The number of backends: `wanted`, or as many as the limit of open files allows, each with a kept connection.
    pub(crate) fn backends(&self, wanted: usize) -> usize {
        let most = if self.no_many_addresses.is_some() { 1 } else { wanted };
        many::fitting(wanted, 1, self.pace.files_max).min(most)
    }

    /// The value of the key `backends` for this many.
    pub(crate) fn urls(&self, count: usize) -> String {
        match count {
            1 => format!("[\"http://{}\"]", self.backend.address()),
            _ => many::backends(count, self.backend.address().port()),
        }
    }

    /// Starts forebay with `@PORT@` and `@ADMIN_PORT@` of `configuration` filled in.
    pub(crate) fn start(&self, configuration: &str) -> Fallible<Subject> {
        interrupt::go_on()?;
        let file = self.file("subject")?.join("forebay.toml");
        let ports = peers::free_ports()?;
        let proxy = Proxy::forebay(&self.tool, &self.place, &file, (ports.0, with_ports(configuration, ports)))?;
        Ok(Subject { proxy, file, ports })
    }

    /// A script that requests a random one of `count` things each time, with its number between two texts.
    pub(crate) fn spread(&self, count: u64, before: &str, after: &str) -> Fallible<PathBuf> {
        let values = [("COUNT", count.to_string()), ("BEFORE", before.to_owned()), ("AFTER", after.to_owned())];
        let script = text::filled(include_str!("../peers/spread.lua"), &values);
        let file = self.file("script")?.join("spread.lua");
        fs::write(&file, format!("{script}{}", include_str!("../peers/load.lua")))?;
        Ok(file)
    }

    /// A new folder.
    fn file(&self, what: &str) -> Fallible<PathBuf> {
        self.made.set(self.made.get() + 1);
        // Several stages may share the folder.
        let folder = self.folder.join(format!("{what}-{}-{}", self.backend.address().port(), self.made.get()));
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

impl Subject {
    /// The requests that it has answered, by its own counter.
    pub(crate) fn answered(&self) -> Fallible<u64> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.1));
        let answer = client::ask(admin, "/metrics")?;
        let text = String::from_utf8_lossy(&answer.body);
        Ok(many::metric(&text, REQUESTS).ok_or("forebay tells no number of requests")?)
    }

    /// Reloads with another configuration.
    pub(crate) fn reload(&self, configuration: &str) -> Fallible<()> {
        fs::write(&self.file, with_ports(configuration, self.ports))?;
        self.proxy.process.hang_up()
    }
}

fn with_ports(configuration: &str, (port, admin_port): (u16, u16)) -> String {
    text::filled(configuration, &[("PORT", port.to_string()), ("ADMIN_PORT", admin_port.to_string())])
}
