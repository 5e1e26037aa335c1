//! A root of a system from the packages of Debian or its kin, made by `mmdebstrap`: it checks what it fetches by the keys that
//! this machine's package manager trusts.

use std::io::{self, Read as _};
use std::process::{Command, Stdio};

use moltbot_policy::container::RootPackages;

/// The program that makes the root. By its path, so that no variable says which it is.
const PROGRAM: &str = "/usr/bin/mmdebstrap";

/// Hands on the root as a tar, piece by piece. Its progress goes to standard error.
#[expect(clippy::disallowed_methods, reason = "the door to processes: for a recorded image of the owner")]
pub(super) fn write_tar(
    packages: &RootPackages,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    if !std::path::Path::new(PROGRAM).exists() {
        let message = "mmdebstrap is not on this machine; install it (`apt install mmdebstrap`), or name a root with --from";
        return Err(io::Error::other(message));
    }
    let mut child = Command::new(PROGRAM)
        .args(packages.arguments())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let copied: io::Result<()> = child.stdout.take().map_or(Ok(()), |mut output| {
        let mut bytes = vec![0; super::image::PART];
        loop {
            match output.read(&mut bytes)? {
                0 => return Ok(()),
                length => write(bytes.get(..length).unwrap_or_default())?,
            }
        }
    });
    // Where the engine takes no more, the pipe is closed by now, and the program ends by that.
    let status = child.wait()?;
    copied?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("mmdebstrap failed ({status}); it says above why")))
    }
}
