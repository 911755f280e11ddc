//! A path in the file system that this process has bound a socket to.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket},
        stat::{Mode, fchmod},
    },
};

use super::SocketError;

/// The path of a socket. It is removed on drop, if it is still ours.
#[derive(Debug)]
pub(super) struct UnixPath {
    path: PathBuf,
    file: Option<(u64, u64)>,
}

impl UnixPath {
    /// Binds `unbound` to `path`, which only the owner may then connect to (mode 0600). A socket that is there already
    /// is replaced if nobody is behind it, as after a crash.
    pub(super) fn bind(
        unbound: impl AsFd,
        kind: SockType,
        path: &Path,
    ) -> Result<Self, SocketError> {
        let address = address(path)?;
        let system = |doing| {
            let place = path.display().to_string();
            move |source: io::Error| SocketError::System {
                doing,
                place,
                source,
            }
        };
        remove_stale(path, &address, kind)?;
        // The file takes its mode from the socket.
        fchmod(&unbound, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(|errno| system("set the mode of")(errno.into()))?;
        match bind(unbound.as_fd().as_raw_fd(), &address) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                file: identity(path),
            }),
            Err(Errno::EADDRINUSE) => Err(SocketError::InUse {
                path: path.to_owned(),
            }),
            Err(errno) => Err(system("make the socket")(errno.into())),
        }
    }
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        if self.file.is_some() && identity(&self.path) == self.file {
            // Nothing is to be done about one that stays: it is replaced the next time.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A path as a socket address.
pub(super) fn address(path: &Path) -> Result<UnixAddr, SocketError> {
    UnixAddr::new(path)
        .ok()
        .filter(|_| !path.as_os_str().is_empty())
        .ok_or_else(|| SocketError::Path {
            path: path.to_owned(),
        })
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

/// Removes a socket that nobody is behind any more.
fn remove_stale(path: &Path, address: &UnixAddr, kind: SockType) -> Result<(), SocketError> {
    let Ok(file) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let path = path.to_owned();
    if !file.file_type().is_socket() {
        return Err(SocketError::NotASocket { path });
    }
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let try_it = socket(AddressFamily::Unix, kind, flags, None)
        .and_then(|probe| connect(probe.as_raw_fd(), address));
    match try_it {
        Err(Errno::ECONNREFUSED) => {
            // What cannot be removed cannot be bound either, which tells.
            let _ = fs::remove_file(path);
            Ok(())
        }
        _ => Err(SocketError::InUse { path }),
    }
}
