//! The gateway's own socket in the file system: an entrance for the programs of its owner alone.
//!
//! It is in an owner-only folder and owner-only from birth, and the kernel tells whose program is at the other end. Both
//! ends reach it through a handle of its folder, so that no link is followed, no path is too long, and what was looked at
//! is what is used.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use moltbot_config::limits;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

/// Owner may use it; nobody else may do anything.
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);
/// The rights of group and others.
const OTHERS: u32 = 0o077;
/// How its folder is opened: as a folder, and through no link in its place.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Why the gateway's own socket is not used.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum OwnSocketError {
    /// Others may enter the folder, or it is somebody else's.
    #[error("{path} is not this user's alone, so no socket in it is used; run `chmod 700` on it")]
    Exposed { path: PathBuf },
    /// Another user serves it.
    #[error("{path} is served by the user {server}, who is not believed; nothing was sent to it")]
    Foreign { path: PathBuf, server: u32 },
    /// Something else has its name.
    #[error(
        "{path} is {what} and not a socket of a gateway of this user; move it away, or set gateway.unixSocket to false"
    )]
    Planted { path: PathBuf, what: &'static str },
    /// The operating system refused.
    #[error("the socket {path} cannot be used; set gateway.unixSocket to false to do without it")]
    Unusable { path: PathBuf, source: io::Error },
}

/// The socket, which listens until this is dropped; then its name goes too.
#[derive(Debug)]
pub(crate) struct OwnSocket {
    pub(crate) listener: UnixListener,
    place: Place,
    /// Which file it is.
    made: (u64, u64),
}

/// A name in a folder that is held open.
#[derive(Debug)]
struct Place {
    folder: OwnedFd,
    name: String,
    path: PathBuf,
}

impl OwnSocket {
    /// Listens at `path`. A socket of this user that is there already is one that a gateway left which was killed: no other
    /// runs on this state folder, and it is replaced. Nothing else is.
    pub(crate) fn listen(path: &Path) -> Result<Self, OwnSocketError> {
        let place = Place::open(path)?;
        if let Some(left) = place.look()? {
            place.require_ours(&left)?;
            rustix::fs::unlinkat(&place.folder, &place.name, AtFlags::empty())
                .map_err(|it| place.unusable(it))?;
        }
        let listener = place.bind().map_err(|errno| place.unusable(errno))?;
        let made = place.look()?.ok_or_else(|| place.unusable(Errno::NOENT))?;
        place.require_ours(&made)?;
        if made.st_mode & OTHERS != 0 {
            return Err(OwnSocketError::Exposed { path: place.path });
        }
        let listener = UnixListener::from_std(StdListener::from(listener));
        let listener =
            listener.map_err(|source| OwnSocketError::Unusable { path: place.path.clone(), source })?;
        Ok(Self { listener, made: (made.st_dev, made.st_ino), place })
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        let ours = |stat: &Stat| (stat.st_dev, stat.st_ino) == self.made;
        if self.place.look().ok().flatten().as_ref().is_some_and(ours)
            && let Err(error) = rustix::fs::unlinkat(&self.place.folder, &self.place.name, AtFlags::empty())
        {
            tracing::warn!(%error, path = %self.place.path.display(), "the gateway's socket was not removed");
        }
    }
}

/// Connects to the gateway of this user at `path`; nothing when there is no socket.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the door to the network; the owner's own gateway alone"
)]
pub(crate) async fn connect(path: &Path) -> Result<Option<UnixStream>, OwnSocketError> {
    let place = Place::open(path)?;
    let Some(found) = place.look()? else { return Ok(None) };
    place.require_ours(&found)?;
    let unusable = |source| OwnSocketError::Unusable { path: path.to_owned(), source };
    let stream = UnixStream::connect(place.through_handle()).await.map_err(unusable)?;
    let server = stream.peer_cred().map_err(unusable)?.uid();
    if server == own_user() {
        return Ok(Some(stream));
    }
    Err(OwnSocketError::Foreign { path: path.to_owned(), server })
}

impl Place {
    fn open(path: &Path) -> Result<Self, OwnSocketError> {
        let unusable =
            |errno: Errno| OwnSocketError::Unusable { path: path.to_owned(), source: errno.into() };
        let (Some(above), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(unusable(Errno::INVAL));
        };
        let folder = rustix::fs::open(above, FOLDER, Mode::empty()).map_err(unusable)?;
        let stat = rustix::fs::fstat(&folder).map_err(unusable)?;
        if stat.st_uid != own_user() || stat.st_mode & OTHERS != 0 {
            return Err(OwnSocketError::Exposed { path: above.to_owned() });
        }
        Ok(Self { folder, name: name.to_owned(), path: path.to_owned() })
    }

    /// What has the name, without following a link.
    fn look(&self) -> Result<Option<Stat>, OwnSocketError> {
        match rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.unusable(errno)),
        }
    }

    /// A socket of this user, and nothing else.
    fn require_ours(&self, stat: &Stat) -> Result<(), OwnSocketError> {
        let what = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket if stat.st_uid == own_user() => return Ok(()),
            FileType::Socket => "a socket of another user",
            FileType::Symlink => "a symbolic link",
            FileType::RegularFile => "a file",
            FileType::Directory => "a folder",
            FileType::Fifo => "a pipe",
            FileType::CharacterDevice | FileType::BlockDevice => "a device",
            FileType::Unknown => "something unknown",
        };
        Err(OwnSocketError::Planted { path: self.path.clone(), what })
    }

    /// The kernel gives the file the mode of the socket that is bound: it is owner-only from birth, whatever the umask.
    fn bind(&self) -> rustix::io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::fs::fchmod(&socket, OWNER_ONLY)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(self.through_handle())?)?;
        rustix::net::listen(&socket, i32::try_from(limits::BACKLOG).unwrap_or(i32::MAX))?;
        Ok(socket)
    }

    /// A path of a few bytes to exactly this folder: a socket's own may have 107.
    fn through_handle(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.folder.as_fd().as_raw_fd().to_string()).join(&self.name)
    }

    fn unusable(&self, errno: Errno) -> OwnSocketError {
        OwnSocketError::Unusable { path: self.path.clone(), source: errno.into() }
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        rustix::fs::chmod(folder.path(), Mode::RWXU).unwrap();
        folder
    }

    fn mode(path: &Path) -> u32 {
        rustix::fs::lstat(path).unwrap().st_mode & 0o777
    }

    #[tokio::test]
    async fn it_is_owner_only_whatever_the_umask_and_goes_with_the_gateway() {
        let home = folder();
        // Longer than the address of a socket may be.
        let deep = home.path().join("d".repeat(200));
        rustix::fs::mkdir(&deep, Mode::RWXU).unwrap();
        let path = deep.join("gateway.sock");
        let before = rustix::process::umask(Mode::empty());
        let socket = OwnSocket::listen(&path).unwrap();
        rustix::process::umask(before);
        assert_eq!(mode(&path), 0o600);
        let (stream, accepted) = tokio::join!(connect(&path), socket.listener.accept());
        assert!(stream.unwrap().is_some());
        assert_eq!(accepted.unwrap().0.peer_cred().unwrap().uid(), own_user());
        drop(socket);
        assert!(connect(&path).await.unwrap().is_none(), "its name is gone");
    }

    #[tokio::test]
    async fn one_that_was_left_is_replaced_and_refuses_until_then() {
        let home = folder();
        let path = home.path().join("gateway.sock");
        let killed = OwnSocket::listen(&path).unwrap();
        let OwnSocket { listener, .. } = &killed;
        rustix::net::shutdown(listener, rustix::net::Shutdown::Both).unwrap();
        let error = connect(&path).await.err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("cannot be used")), "a refusal is no absence");
        let next = OwnSocket::listen(&path).unwrap();
        drop(killed); // the name is another one's now
        let (stream, _accepted) = tokio::join!(connect(&path), next.listener.accept());
        assert!(stream.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_was_planted_in_its_place_is_neither_removed_nor_used() {
        let home = folder();
        let (path, victim) = (home.path().join("gateway.sock"), home.path().join("victim"));
        let _serving = OwnSocket::listen(&victim).unwrap();
        let told = |error: OwnSocketError| error.to_string();
        for plant in ["link", "dangling", "file", "folder", "pipe"] {
            match plant {
                "link" => rustix::fs::symlink(&victim, &path).unwrap(),
                "dangling" => rustix::fs::symlink(home.path().join("nothing"), &path).unwrap(),
                "file" => drop(rustix::fs::open(&path, OFlags::CREATE | OFlags::WRONLY, OWNER_ONLY).unwrap()),
                "folder" => rustix::fs::mkdir(&path, Mode::RWXU).unwrap(),
                _ => rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, OWNER_ONLY, 0).unwrap(),
            }
            let refused = OwnSocket::listen(&path).map(drop).map_err(told).unwrap_err();
            assert!(refused.contains("not a socket of a gateway"), "{plant}: {refused}");
            let refused = connect(&path).await.map(drop).map_err(told).unwrap_err();
            assert!(refused.contains("not a socket of a gateway"), "{plant}: {refused}");
            let flags = if plant == "folder" { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            rustix::fs::unlinkat(rustix::fs::CWD, &path, flags).unwrap();
        }
        assert!(rustix::fs::lstat(&victim).is_ok());
        rustix::fs::chmod(home.path(), Mode::RWXU | Mode::RWXG).unwrap();
        let refused = OwnSocket::listen(&path).map(drop).map_err(told).unwrap_err();
        assert!(refused.contains("this user's alone"), "{refused}");
        rustix::fs::chmod(home.path(), Mode::RWXU).unwrap();
    }
}
