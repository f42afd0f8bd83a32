//! The compared proxies: their configurations, and how each is started.
//!
//! The templates in `peers/` follow good practice for each proxy. `check` verifies that a proxy performs its workload.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::figures::text;
use crate::floor;
use crate::process::{Child, Place};
use crate::tools::Tool;

/// The longest time from the start of a proxy to its first accepted connection. Varnish compiles its rules with a C
/// compiler in this time.
const START_MAX: Duration = Duration::from_secs(20);

/// The interval of connection attempts, which is the resolution of start times.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// A proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// This project.
    Forebay,
    /// <https://nginx.org>
    Nginx,
    /// <https://www.haproxy.org>
    Haproxy,
    /// <https://varnish-cache.org>
    Varnish,
    /// nginx, configured to send the fields that forebay sends.
    NginxSame,
    /// HAProxy, configured to send the fields that forebay sends.
    HaproxySame,
    /// A bare loop without features: [`floor`].
    Floor,
}

/// Whether it writes an access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logging {
    /// No access log.
    Off,
    /// To a file, one line per request.
    On,
}

impl Peer {
    /// All except forebay.
    pub(crate) const PEERS: [Self; 6] =
        [Self::Nginx, Self::Haproxy, Self::Varnish, Self::NginxSame, Self::HaproxySame, Self::Floor];

    /// Its display name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forebay => "forebay",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Varnish => "Varnish",
            Self::NginxSame => "nginx, same fields",
            Self::HaproxySame => "HAProxy, same fields",
            Self::Floor => "floor",
        }
    }

    /// Whether it is a peer configured with forebay's fields.
    pub(crate) fn sends_same_fields(self) -> bool {
        matches!(self, Self::NginxSame | Self::HaproxySame)
    }

    /// The name of its program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Forebay => "forebay",
            Self::Nginx | Self::NginxSame => "nginx",
            Self::Haproxy | Self::HaproxySame => "haproxy",
            Self::Varnish => "varnishd",
            Self::Floor => "floor",
        }
    }

    /// The Debian package with the program.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Forebay => "forebay",
            Self::Nginx | Self::NginxSame => "nginx",
            Self::Haproxy | Self::HaproxySame => "haproxy",
            Self::Varnish => "varnish",
            Self::Floor => "floor",
        }
    }

    /// The option that prints its version.
    pub(crate) fn version_flag(self) -> &'static str {
        match self {
            Self::Forebay | Self::Floor => "--version",
            Self::Nginx | Self::NginxSame | Self::Haproxy | Self::HaproxySame => "-v",
            Self::Varnish => "-V",
        }
    }

    /// Whether it can write an access log itself. Varnish needs another program; the floor has none.
    pub(crate) fn can_log(self) -> bool {
        !matches!(self, Self::Varnish | Self::Floor)
    }

    /// Its configuration template, and the name of the file. The floor has none.
    fn template(self) -> (&'static str, &'static str) {
        match self {
            Self::Forebay => ("forebay.toml", include_str!("peers/forebay.toml")),
            Self::Nginx => ("nginx.conf", include_str!("peers/nginx.conf")),
            Self::Haproxy => ("haproxy.cfg", include_str!("peers/haproxy.cfg")),
            Self::Varnish => ("varnish.vcl", include_str!("peers/varnish.vcl")),
            Self::NginxSame => ("nginx-same-fields.conf", include_str!("peers/nginx.conf")),
            Self::HaproxySame => ("haproxy-same-fields.cfg", include_str!("peers/haproxy.cfg")),
            Self::Floor => ("floor.txt", ""),
        }
    }

    /// The lines of its configuration that set its fields: for all responses, and for hits of 1 KiB.
    fn fields(self) -> (&'static str, &'static str) {
        match self {
            Self::Nginx => (include_str!("peers/nginx-fields.conf"), ""),
            Self::Haproxy => (include_str!("peers/haproxy-fields.cfg"), ""),
            Self::NginxSame => {
                (include_str!("peers/nginx-same-fields.conf"), include_str!("peers/nginx-same-hit.conf"))
            }
            Self::HaproxySame => (include_str!("peers/haproxy-same-fields.cfg"), ""),
            Self::Forebay | Self::Varnish | Self::Floor => ("", ""),
        }
    }
}

/// The settings shared by all proxies.
pub(crate) struct Setting {
    /// The exclusive folder for configurations and logs.
    pub(crate) folder: PathBuf,
    /// A folder in memory, for caches in files.
    pub(crate) memory_folder: PathBuf,
    /// The backend.
    pub(crate) backend: SocketAddr,
    /// The cores to run on.
    pub(crate) place: Place,
    /// Workers or threads of each.
    pub(crate) workers: usize,
}

/// A running proxy.
pub(crate) struct Proxy {
    /// The peer.
    pub(crate) peer: Peer,
    /// The address for clients.
    pub(crate) address: SocketAddr,
    /// Its processes.
    pub(crate) process: Child,
    /// The path of its access log, if any.
    pub(crate) access_log: Option<PathBuf>,
    /// Its configuration: file name and text.
    pub(crate) configuration: (String, String),
}

impl Proxy {
    /// Starts a proxy and waits until it accepts connections.
    ///
    /// # Errors
    /// If it does not start; with the end of its output.
    pub(crate) fn start(peer: Peer, tool: &Tool, setting: &Setting, logging: Logging) -> Fallible<Self> {
        let (name, _) = peer.template();
        let stem = match logging {
            Logging::Off => name.to_owned(),
            Logging::On => format!("{name}-logging"),
        };
        let folder = setting.folder.join(&stem);
        fs::create_dir_all(&folder)?;
        let (port, admin_port) = free_ports()?;
        let access_log = folder.join("access.log");
        let configuration =
            configuration(peer, setting, logging, &[("PORT", port), ("ADMIN_PORT", admin_port)], &folder);
        let file = folder.join(name);
        fs::write(&file, &configuration)?;

        let mut command = setting.place.command(&tool.path);
        arguments(&mut command, peer, setting, (&file, port));
        let printed = folder.join("printed.txt");
        let output = if logging == Logging::On { &access_log } else { &printed };
        command.stdout(appended(output)?).stderr(appended(&printed)?);
        let mut proxy = Self {
            peer,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            process: Child::start(command)?,
            access_log: (logging == Logging::On).then_some(access_log),
            configuration: (name.to_owned(), configuration),
        };
        proxy.wait_until_it_listens(&printed)?;
        Ok(proxy)
    }

    /// Starts forebay with a configuration of the caller, which listens on `port`, in an empty folder.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub(crate) fn forebay(
        tool: &Tool,
        place: &Place,
        file: &Path,
        (port, configuration): (u16, String),
    ) -> Fallible<Self> {
        fs::write(file, &configuration)?;
        let printed = file.with_extension("printed");
        let mut command = place.command(&tool.path);
        command.arg("-c").arg(file);
        command.stdout(appended(&printed)?).stderr(appended(&printed)?);
        let mut proxy = Self {
            peer: Peer::Forebay,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            process: Child::start(command)?,
            access_log: None,
            configuration: ("forebay.toml".to_owned(), configuration),
        };
        proxy.wait_until_it_listens(&printed)?;
        Ok(proxy)
    }

    fn wait_until_it_listens(&mut self, printed: &Path) -> Fallible<()> {
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(self.address).is_err() {
            if self.process.has_ended() || Instant::now() > deadline {
                let text = fs::read_to_string(printed).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(3).collect();
                return Err(format!("does not start: {}", last.join(" / ")).into());
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Ok(())
    }
}

/// The template with its values filled in.
fn configuration(peer: Peer, setting: &Setting, logging: Logging, ports: &[(&str, u16)], folder: &Path) -> String {
    let logged = logging == Logging::On;
    let access = match (peer, logged) {
        (Peer::Forebay, true) => "combined".to_owned(),
        (Peer::Nginx | Peer::NginxSame, true) => {
            format!("{} combined buffer=64k flush=1s", folder.join("access.log").display())
        }
        (Peer::Forebay | Peer::Nginx | Peer::NginxSame, false)
        | (Peer::Haproxy | Peer::HaproxySame | Peer::Varnish | Peer::Floor, _) => "off".to_owned(),
    };
    let (log, log_use) = match logged {
        true => ("log stdout format raw local0 info", "log global\n    option httplog"),
        false => ("# no log", "no log"),
    };
    let (fields, hit_fields) = peer.fields();
    let mut values = vec![
        ("FIELDS", fields.trim_end().to_owned()),
        ("HIT_FIELDS", hit_fields.trim_end().to_owned()),
        ("WORKERS", setting.workers.to_string()),
        ("BACKEND_PORT", setting.backend.port().to_string()),
        ("DIR", folder.display().to_string()),
        ("MEMORY_DIR", setting.memory_folder.display().to_string()),
        ("ACCESS", access),
        ("LOG_USE", log_use.to_owned()),
        ("LOG", log.to_owned()),
    ];
    values.extend(ports.iter().map(|(name, port)| (*name, port.to_string())));
    let (_, template) = peer.template();
    text::filled(template, &values)
}

/// The arguments to use a configuration in the foreground.
fn arguments(command: &mut Command, peer: Peer, setting: &Setting, (file, port): (&Path, u16)) {
    let folder = file.parent().unwrap_or(file);
    let workers = setting.workers;
    match peer {
        Peer::Forebay => command.arg("-c").arg(file),
        Peer::Floor => command
            .arg(floor::ARGUMENT)
            .args([usize::from(port), usize::from(setting.backend.port()), workers].map(|number| number.to_string())),
        Peer::Nginx | Peer::NginxSame => command.arg("-c").arg(file).arg("-p").arg(folder).args(["-e", "stderr"]),
        Peer::Haproxy | Peer::HaproxySame => command.arg("-db").arg("-f").arg(file),
        Peer::Varnish => command
            .args(["-F", "-j", "none", "-T", "none", "-s", "malloc,256m"])
            .args(["-p", "thread_pool_min=100", "-p", "thread_pool_max=1000", "-p", "timeout_idle=600"])
            .args(["-p", &format!("thread_pools={workers}")])
            .args(["-a", &format!("127.0.0.1:{port}")])
            .arg("-n")
            .arg(folder.join("work"))
            .arg("-f")
            .arg(file),
    };
}

/// Two free ports.
pub(crate) fn free_ports() -> Fallible<(u16, u16)> {
    let (one, other) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}

fn appended(file: &Path) -> Fallible<File> {
    Ok(File::options().create(true).append(true).open(file)?)
}
