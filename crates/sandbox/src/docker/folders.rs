//! Folders of this machine that a container sees: found without following a link, and known by more than their names.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use moltbot_config::settings::{Bind, ContainerUser, forbidden_source};
use moltbot_policy::profile::{Profile, WorkspaceAccess};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};

use super::EngineError;
use crate::helper::identity::USER;
use crate::helper::inside::Folder;
use crate::protected;

/// The folders of a container, and who owns the workspace.
pub(super) struct Folders {
    pub(super) places: Vec<Place>,
    owner: Option<ContainerUser>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) here: PathBuf,
    pub(super) there: String,
    pub(super) writable: bool,
    device: u64,
    inode: u64,
}

impl Folders {
    /// Those of a command: the workspace, what is held in it, and the owner's binds.
    pub(super) fn of(
        profile: &Profile,
        binds: &[Bind],
        workspace: Option<&OwnedFd>,
    ) -> Result<Self, EngineError> {
        let mut folders = Self { places: Vec::new(), owner: None };
        if let Some(folder) = workspace.filter(|_| profile.workspace != WorkspaceAccess::None) {
            folders.add_workspace(folder.as_fd(), profile.workspace == WorkspaceAccess::ReadWrite)?;
        }
        for bind in binds {
            folders.add_bind(bind)?;
        }
        Ok(folders)
    }

    fn add_workspace(&mut self, folder: BorrowedFd<'_>, writable: bool) -> Result<(), EngineError> {
        let link = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let path = rustix::fs::readlinkat(CWD, link, Vec::new())?;
        let path =
            PathBuf::from(path.to_str().map_err(|_| EngineError::said("the workspace's path is not UTF-8"))?);
        let (was, is) = (rustix::fs::fstat(folder)?, find(&path)?);
        if (was.st_dev, was.st_ino) != (is.st_dev, is.st_ino) {
            return Err(EngineError::said("the workspace was moved or replaced; restart the gateway"));
        }
        self.owner = ContainerUser::parse(&format!(
            "{}:{}",
            was.st_uid,
            if was.st_gid == 0 { was.st_uid } else { was.st_gid }
        ));
        if self.owner.is_none() {
            return Err(EngineError::said(
                "the workspace belongs to root, and a container's user never is root; run the gateway as an ordinary user",
            ));
        }
        self.places.push(Place::new(path.clone(), "/workspace".into(), writable, &is));
        if writable {
            // A mount on itself: what is below may be written, and the folder stays where it is.
            for (names, writable) in [
                (protected::folders_above(folder).collect::<Vec<_>>(), true),
                (protected::held(folder).collect(), false),
            ] {
                for name in names {
                    let here = path.join(name);
                    let found = find(&here)?;
                    self.places.push(Place::new(here, format!("/workspace/{name}"), writable, &found));
                }
            }
        }
        Ok(())
    }

    fn add_bind(&mut self, bind: &Bind) -> Result<(), EngineError> {
        let shown = bind.source.display();
        // The config was judged with the home and the state; here, with what is on the disk.
        if let Some(why) = forbidden_source(&bind.source, None, None) {
            return Err(EngineError::said(format!("the bind {shown} {}", why.because())));
        }
        let found = find(&bind.source).map_err(|error| {
            EngineError::said(format!(
                "the bind {shown} cannot be taken: {error}; name a folder without links in its path"
            ))
        })?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind != FileType::Directory && kind != FileType::RegularFile {
            return Err(EngineError::said(format!("the bind {shown} is neither a folder nor a file")));
        }
        let there = bind.target.to_string_lossy().into_owned();
        self.places.push(Place::new(bind.source.clone(), there, bind.writable, &found));
        Ok(())
    }

    /// Who the container's user is when nobody says: the workspace's owner, else who the gateway is, and never root.
    pub(super) fn user(&self) -> ContainerUser {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let own = ContainerUser::parse(&format!("{uid}:{}", if gid == 0 { uid } else { gid }));
        self.owner.or(own).unwrap_or(ContainerUser { uid: USER, gid: USER })
    }

    /// What the helper is to find inside.
    pub(super) fn identities(&self) -> Vec<Folder> {
        self.places
            .iter()
            .map(|place| Folder { path: place.there.clone(), device: place.device, inode: place.inode })
            .collect()
    }

    /// Where commands may write, besides the workspace.
    pub(super) fn writable(&self) -> Vec<String> {
        let writable = self.places.iter().filter(|place| place.writable && place.there != "/workspace");
        writable.map(|place| place.there.clone()).collect()
    }
}

impl Place {
    fn new(here: PathBuf, there: String, writable: bool, found: &Stat) -> Self {
        Self { here, there, writable, device: found.st_dev, inode: found.st_ino }
    }
}

/// What is at a path in which nothing is a symbolic link.
fn find(path: &Path) -> rustix::io::Result<Stat> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    rustix::fs::fstat(&found)
}
