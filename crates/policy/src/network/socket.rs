//! A server of this machine that is reached by a socket in the file system.

use std::path::{Path, PathBuf};

use super::{Purpose, entry};
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// Proof that a server of this machine may be asked through a socket in the file system.
#[derive(Debug)]
#[must_use = "a permit that is dropped connects nowhere"]
pub struct SocketPermit {
    purpose: Purpose,
    path: PathBuf,
    actor: String,
}

impl SocketPermit {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the user that serves the socket is one to be believed: this process's own, or root.
    pub const fn believes(&self, server: u32, own: u32) -> bool {
        server == 0 || server == own
    }
}

impl Permit for SocketPermit {
    fn entry(&self) -> Entry {
        entry(self.purpose, format!("unix:{}", self.path.display()), &self.actor, Decision::Allowed)
    }
}

/// Judges the way to a server of this machine, which the config names.
///
/// # Errors
/// When the path is not absolute: it would depend on where the gateway was started.
pub fn local_socket(purpose: Purpose, path: &Path, actor: &str) -> Result<SocketPermit, Refusal> {
    if path.is_absolute() {
        return Ok(SocketPermit { purpose, path: path.to_owned(), actor: actor.to_owned() });
    }
    let message = format!("the socket {path:?} is not an absolute path; give the whole path");
    Err(Refusal::new("egress_refused", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_a_whole_path_and_a_server_that_is_root_or_the_owner() {
        assert!(local_socket(Purpose::Tailscale, Path::new("tailscaled.sock"), "gateway").is_err());
        let permit = local_socket(Purpose::Tailscale, Path::new("/run/x.sock"), "gateway").unwrap();
        assert_eq!(permit.entry().target, "unix:/run/x.sock");
        assert_eq!([0, 1000, 1001].map(|server| permit.believes(server, 1000)), [true, true, false]);
    }
}
