//! Finds vhost-user back ends: by connecting to them, or by letting them
//! connect.

// System calls on sockets that the standard library has no name for.
#![allow(unsafe_code)]

use super::user::UserPeer;
use super::{Connect, Peer, PeerError, Vhost};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which end of the socket this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// It connects to a back end that listens.
    Client,
    /// It listens, and back ends connect.
    Server,
}

/// How long a back end that listens already may take until it answers, when no
/// guest waits for it yet: `dpdk-testpmd` takes a second and more.
const STARTING: Duration = Duration::from_secs(5);

/// A vhost-user back end that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VhostUserError {
    /// Nobody is there.
    #[error(
        "no vhost-user back end {} {}; start it first, or at the same time",
        match .1 { Role::Client => "listens at", Role::Server => "connected to" },
        .0.display()
    )]
    Absent(PathBuf, Role),
    /// The socket cannot be made.
    #[error("cannot listen at {}: {}; remove the file if nothing uses it", .0.display(), .1)]
    Listen(PathBuf, #[source] io::Error),
    /// It does not speak the protocol, or is too old.
    #[error("the vhost-user back end at {} is of no use: {}", .0.display(), .1)]
    Peer(PathBuf, String),
    /// It has too few queues.
    #[error(
        "the vhost-user back end at {} has {} queue pairs; lower 'queues:' from {}",
        .0.display(), .1, .2
    )]
    Queues(PathBuf, u16, u16),
    /// No descriptors left.
    #[error("cannot watch a vhost-user back end: {0}")]
    Watch(#[source] io::Error),
}

/// A socket that goes away with its file.
struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Listener {
    fn bind(path: &Path) -> io::Result<Self> {
        // What a monitor that was killed left behind is in nobody's way.
        let stale = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket())
            && connect(path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
        if stale {
            fs::remove_file(path)?;
        }
        let socket = UnixListener::bind(path)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
        })
    }
    /// The next back end that waits.
    fn accept(&self) -> io::Result<Option<UnixStream>> {
        match self.socket.accept() {
            Ok((stream, _)) => Ok(Some(stream)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A place where back ends are found, before the first one is.
pub struct VhostUser {
    path: PathBuf,
    role: Role,
    pairs: u16,
    listener: Option<Listener>,
}

impl VhostUser {
    /// Looks at `path` for back ends with `pairs` queue pairs; as a server,
    /// makes the socket there.
    pub fn new(path: &Path, role: Role, pairs: u16) -> Result<Self, VhostUserError> {
        let listener = match role {
            Role::Client => None,
            Role::Server => {
                Some(Listener::bind(path).map_err(|e| VhostUserError::Listen(path.to_owned(), e))?)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            role,
            pairs,
            listener,
        })
    }
    /// The back end, if it is there by now. Waits only for the first answer of
    /// one that took the connection; the caller may try as often as it likes.
    pub fn open(self) -> Result<Result<Vhost, Self>, VhostUserError> {
        let fail = |error: PeerError| VhostUserError::Peer(self.path.clone(), error.to_string());
        let stream = match &self.listener {
            Some(listener) => listener.accept(),
            None => find(&self.path),
        };
        let Some(stream) = stream.map_err(|e| fail(e.into()))? else {
            return Ok(Err(self));
        };
        let peer = Box::new(UserPeer::new(stream, Some(STARTING)).map_err(fail)?);
        if peer.max_pairs() < self.pairs {
            let path = self.path.clone();
            return Err(VhostUserError::Queues(path, peer.max_pairs(), self.pairs));
        }
        let name = self.path.display().to_string();
        let pairs = self.pairs;
        // What watches the copy goes on with the original.
        let fd = match &self.listener {
            Some(listener) => Some(
                listener
                    .socket
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(VhostUserError::Watch)?,
            ),
            None => None,
        };
        let listener = fd.as_ref().map(AsFd::as_fd);
        Vhost::new(name, pairs, peer, self.connector(), listener)
            .map(Ok)
            .map_err(VhostUserError::Watch)
    }
    /// What to say when nobody came.
    pub fn absent(&self) -> VhostUserError {
        VhostUserError::Absent(self.path.clone(), self.role)
    }
    fn connector(self) -> Connect {
        Box::new(move || {
            let stream = match &self.listener {
                Some(listener) => listener.accept(),
                None => find(&self.path),
            }?;
            let peer = stream
                .map(|stream| UserPeer::new(stream, None))
                .transpose()?;
            Ok(peer.map(|peer| Box::new(peer) as Box<dyn Peer>))
        })
    }
}

impl std::fmt::Debug for VhostUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VhostUser")
            .field("path", &self.path)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Connects, if somebody listens.
fn find(path: &Path) -> io::Result<Option<UnixStream>> {
    match connect(path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::WouldBlock => Ok(None),
            _ => Err(error),
        },
    }
}

/// As [`UnixStream::connect`], which waits while too many others do.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes its arguments by value and makes a new descriptor.
    let fd = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, so nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut address = libc::sockaddr_un {
        sun_family: libc::AF_UNIX as libc::sa_family_t,
        sun_path: [0; 108],
    };
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() {
        return Err(ErrorKind::InvalidInput.into());
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    let len = std::mem::size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: `address` is a valid `sockaddr_un` of `len` bytes.
    let result = unsafe { libc::connect(fd.as_raw_fd(), (&raw const address).cast(), len) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(UnixStream::from(fd))
}

/// Whether a connection is open and nothing waits on it: a back end says
/// nothing unless it was asked.
pub(super) fn idle(socket: RawFd) -> bool {
    let mut byte = 0u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: at most one byte is written to `byte`.
    let n = unsafe { libc::recv(socket, (&raw mut byte).cast(), 1, flags) };
    n < 0
        && matches!(
            io::Error::last_os_error().kind(),
            ErrorKind::WouldBlock | ErrorKind::Interrupted
        )
}
