//! Checks whether a Plan could start on this machine, without starting it: ports, addresses, `state_dir`, certificates,
//! backend names that do not resolve, and backends that are this proxy itself. `forebay check --machine` runs it.
//!
//! A port that a running forebay holds is not a problem: the Plan is probably meant for its next reload or restart.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};

use crate::acme::{self, Acme};
use crate::config::plan::{Address, AdminAddress, ListenAddress, Listener, Plan};
use crate::config::problem::{Problem, Severity};
use crate::downstream::listener;
use crate::downstream::tls::Tls;
use crate::telemetry::clock;

/// How many names are resolved at once.
const LOOKUPS_MAX: usize = 16;

/// The problems of a Plan on this machine. Errors keep it from starting; warnings do not.
#[must_use]
pub fn problems(plan: &Plan) -> Vec<Problem> {
    let ports = plan.tcp_addresses().filter_map(|address| {
        let error = listener::open(&ListenAddress::Ip(address), 1).err()?;
        is_problem(address, &error.source).then(|| error.to_string())
    });
    let admin = plan.admin.iter().filter_map(|admin| match &admin.listen {
        AdminAddress::Ip(address) => {
            let error = TcpListener::bind(address).err()?;
            is_problem(*address, &error).then(|| format!("the admin listener can't be at {address}: {error}"))
        }
        AdminAddress::Unix(_) => None,
    });
    // Without the directory of the state, so that nothing in it changes.
    let acme = Acme::new(None).prepare(plan, clock::now().wall);
    let (acme, unusable) = match &acme {
        Ok(acme) => (Some(acme), None),
        Err(error) => (None, Some(problem(Severity::Error, format!("tls.acme: {error}")))),
    };
    let certificates = plan.listeners.iter().filter_map(|listener| certificates(listener, acme?)).flatten();
    let certificates = certificates.chain(unusable);
    let state = plan.server.state_dir.iter().filter_map(|path| state_dir(path).err());
    let errors = ports.chain(admin).chain(state).map(|cause| problem(Severity::Error, cause));
    let warnings = backends(plan).into_iter().map(|cause| problem(Severity::Warning, cause));
    errors.chain(certificates).chain(warnings).collect()
}

/// The errors and warnings about a listener's certificates; `None` for a listener without TLS.
fn certificates(listener: &Listener, acme: &acme::Prepared) -> Option<Vec<Problem>> {
    let now = clock::now().wall;
    let about = |severity, cause: &str| problem(severity, format!("listener {}: {cause}", listener.address));
    Some(match Tls::load(listener.tls.as_ref()?, listener.protocols, acme, (None, now)) {
        Ok(tls) => tls.warnings(now).iter().map(|warning| about(Severity::Warning, warning)).collect(),
        Err(error) => vec![about(Severity::Error, &error.to_string())],
    })
}

fn problem(severity: Severity, cause: String) -> Problem {
    Problem { severity, place: None, cause, hint: None }
}

/// Whether a failure to bind an address is a problem: not if a running forebay has the address.
fn is_problem(address: SocketAddr, error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::AddrInUse || !holders(address.port()).iter().any(|name| name == "forebay")
}

/// The names of the processes that listen on a TCP port, of those whose descriptors this user may read.
fn holders(port: u16) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: BTreeSet<String> =
        tables.iter().flat_map(|table| table.lines()).filter_map(|line| listening(line, port)).collect();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_number = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    let processes = entries.filter(|entry| is_number(&entry.file_name()));
    let has_socket = |process: &PathBuf| {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        descriptors
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|target| target.to_str().is_some_and(|target| sockets.contains(target)))
    };
    let name = |process: PathBuf| fs::read_to_string(process.join("comm")).ok();
    let holders = processes.map(|entry| entry.path()).filter(has_socket).filter_map(name);
    holders.map(|name| name.trim_end().to_owned()).collect()
}

/// Parses a line of `/proc/net/tcp`. Returns `socket:[inode]`, the link target of its descriptors, if the socket
/// listens on this port.
fn listening(line: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
    let (_, hexadecimal) = local.rsplit_once(':')?;
    let is_match = *state == LISTEN && u16::from_str_radix(hexadecimal, 16) == Ok(port);
    is_match.then(|| format!("socket:[{inode}]"))
}

/// Checks that a directory can be written, or created: creates a file in its nearest existing ancestor and removes it.
fn state_dir(path: &Path) -> Result<(), String> {
    let cause = |at: &Path, error: io::Error| format!("state_dir can't be used: {}: {error}", at.display());
    let mut ancestors = path.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let Some(nearest) = ancestors.find(|path| path.exists()) else { return Ok(()) };
    if !nearest.is_dir() {
        return Err(cause(nearest, io::ErrorKind::NotADirectory.into()));
    }
    let probe = nearest.join(format!(".forebay-check-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&probe).map_err(|error| cause(nearest, error))?;
    fs::remove_file(&probe).map_err(|error| cause(nearest, error))
}

/// Backend names that can't be resolved, and backends that are this proxy's own listeners. Those that the file alone
/// shows are left out: `config` has warned about them.
fn backends(plan: &Plan) -> Vec<String> {
    let loops = |name: &str, address: SocketAddr, is_resolved: bool| {
        let listener = plan
            .listener_at(address, is_local)
            .filter(|_| is_resolved || plan.listener_at(address, |_| false).is_none())?;
        Some(format!("backend {name} is this proxy's own listener {listener}"))
    };
    let all = plan.upstreams.iter().flat_map(|upstream| &upstream.backends);
    let written = all.filter_map(|backend| match &backend.address {
        Address::Ip(address) => loops(&backend.name, *address, false),
        Address::Name { .. } | Address::Unix(_) => None,
    });
    let resolved = lookups(plan).into_iter().filter_map(|(host, found)| match found {
        Err(error) => Some(format!("backend name {host:?} can't be resolved: {error}")),
        Ok(_) if host == "localhost" => None,
        Ok(addresses) => addresses.into_iter().find_map(|address| loops(&host, address, true)),
    });
    let mut causes: Vec<String> = written.chain(resolved).collect();
    causes.sort_unstable();
    causes.dedup();
    causes
}

/// Whether an address belongs to this machine, so that a socket can be bound to it.
fn is_local(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// Resolves the names of all backends, [`LOOKUPS_MAX`] at a time.
fn lookups(plan: &Plan) -> Vec<(String, io::Result<Vec<SocketAddr>>)> {
    let backends = plan.upstreams.iter().flat_map(|upstream| &upstream.backends);
    let names: BTreeSet<(&str, u16)> = backends
        .filter_map(|backend| match &backend.address {
            Address::Name { host, port } => Some((host.as_str(), *port)),
            Address::Ip(_) | Address::Unix(_) => None,
        })
        .collect();
    let names: Vec<(&str, u16)> = names.into_iter().collect();
    let mut found = Vec::new();
    for chunk in names.chunks(LOOKUPS_MAX) {
        std::thread::scope(|scope| {
            let lookups: Vec<_> =
                chunk.iter().map(|name| (name.0, scope.spawn(move || name.to_socket_addrs()))).collect();
            for (host, lookup) in lookups {
                if let Ok(addresses) = lookup.join() {
                    found.push((host.to_owned(), addresses.map(Iterator::collect)));
                }
            }
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn causes(text: &str) -> Vec<(Severity, String)> {
        let found = problems(&config::parse("f", text).unwrap());
        found.into_iter().map(|problem| (problem.severity, problem.cause)).collect()
    }

    #[test]
    fn a_port_that_another_program_has_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let found = causes(&format!("listen = [\"{address}\"]\n"));
        assert!(matches!(&found[..], [(Severity::Error, cause)] if cause.contains(&address.to_string())), "{found:?}");
        drop(taken);
        assert_eq!(causes(&format!("listen = [\"{address}\"]\n")), []);
    }

    #[test]
    fn the_holder_of_a_port_is_found_by_name() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(holders(taken.local_addr().unwrap().port()), [own.trim_end()]);
    }

    #[test]
    fn an_address_of_another_machine_is_an_error() {
        // TEST-NET-1 (RFC 5737): no machine has it.
        let found = causes("listen = [\"192.0.2.1:8080\"]\n");
        assert!(matches!(&found[..], [(Severity::Error, cause)] if cause.contains("no such address")), "{found:?}");
    }

    #[test]
    fn a_name_that_does_not_resolve_is_a_warning() {
        let text =
            "listen = [\"127.0.0.1:0\"]\n[[route]]\nbackends = [\"http://nowhere.invalid\", \"http://localhost\"]\n";
        let found = causes(text);
        assert!(matches!(&found[..], [(Severity::Warning, cause)] if cause.contains("nowhere.invalid")), "{found:?}");
    }

    #[test]
    fn a_state_dir_must_be_a_directory_that_can_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(state_dir(&directory.path().join("a/b")), Ok(()));
        assert_eq!(state_dir(directory.path()), Ok(()));
        assert!(state_dir(&file).is_err() && state_dir(&file.join("a")).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
