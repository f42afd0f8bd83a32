//! Sockets that the process was started with (socket activation): a service manager listens on them, and names them.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use socket2::{Socket, Type};

/// The sockets of this process by their names; `None`: the environment does not say which they are. They stay open until
/// the process ends, so that a reload can drop a listener and bring it back.
static SOCKETS: OnceLock<Option<HashMap<String, Vec<OwnedFd>>>> = OnceLock::new();

/// Why there is no socket of a name.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("LISTEN_PID or LISTEN_FDS in the environment is no number")]
    Environment,
    #[error("the process was started with no socket of this name, but with: {0}")]
    Name(String),
    #[error("the process was started with {0} sockets of this name; give each its own (FileDescriptorName)")]
    Ambiguous(usize),
    #[error("the socket of this name that the process was started with does not listen for streams")]
    Kind,
}

/// The socket of this name: a descriptor of its own, which does not block.
pub(super) fn socket(name: &str) -> io::Result<Socket> {
    let sockets = SOCKETS.get_or_init(take).as_ref().ok_or_else(|| io::Error::other(Unusable::Environment))?;
    let found = match sockets.get(name).map(Vec::as_slice) {
        Some([socket]) => socket.try_clone()?,
        Some(several) => return Err(io::Error::other(Unusable::Ambiguous(several.len()))),
        None => return Err(io::Error::other(Unusable::Name(names(sockets)))),
    };
    let socket = Socket::from(found);
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return Err(io::Error::other(Unusable::Kind));
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Takes what the service manager has passed on (`LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`). To be called once.
fn take() -> Option<HashMap<String, Vec<OwnedFd>>> {
    let mut sockets: HashMap<String, Vec<OwnedFd>> = HashMap::new();
    for (name, socket) in sd_listen_fds::get().ok()? {
        sockets.entry(name.unwrap_or_default()).or_default().push(socket.into_std());
    }
    Some(sockets)
}

fn names(sockets: &HashMap<String, Vec<OwnedFd>>) -> String {
    let mut names: Vec<&str> = sockets.keys().map(String::as_str).collect();
    names.sort_unstable();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
