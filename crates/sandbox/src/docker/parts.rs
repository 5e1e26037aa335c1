//! What the helper is made of, so that it can run in any image: the program, its loader and its libraries.
//!
//! An image may have another C library, or none. The loader is called by name, with its own libraries beside it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use crate::HELPER;

/// The folder of the helper in a container.
const FOLDER: &str = "/.moltbot";

/// The helper's files here and there, and how it is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Parts {
    /// Each with its place in the container.
    pub(super) files: Vec<(PathBuf, String)>,
    command: Vec<String>,
}

impl Parts {
    /// The parts of `helper`, which is this program or was linked as it is.
    pub(super) fn of(helper: &Path) -> io::Result<Self> {
        let program = if helper == Path::new("/proc/self/exe") {
            let link = rustix::fs::readlinkat(CWD, helper, Vec::new())?;
            PathBuf::from(link.to_str().map_err(io::Error::other)?)
        } else {
            helper.to_path_buf()
        };
        // As the kernel names a program whose file was replaced.
        if program.to_string_lossy().ends_with(" (deleted)") {
            return Err(io::Error::other("moltbot was updated while it runs; restart the gateway"));
        }
        Ok(Self::with_libraries(program, libraries(&memory_map()?)))
    }

    fn with_libraries(program: PathBuf, libraries: Vec<PathBuf>) -> Self {
        let place = format!("{FOLDER}/moltbot");
        let mut files = vec![(program, place.clone())];
        let mut command = Vec::new();
        for library in libraries {
            let Some(name) = library.file_name().and_then(|name| name.to_str()) else { continue };
            let there = format!("{FOLDER}/{name}");
            if name.starts_with("ld-") || name == "ld.so" {
                command.extend([there.clone(), "--library-path".into(), FOLDER.into()]);
            }
            files.push((library, there));
        }
        command.extend([place, HELPER.to_owned()]);
        Self { files, command }
    }

    /// The words that start the helper for a duty.
    pub(super) fn call(&self, duty: &str) -> Vec<String> {
        let mut words = self.command.clone();
        words.push(duty.to_owned());
        words
    }
}

/// The shared libraries among the files that are mapped, each once.
fn libraries(map: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in map.lines() {
        let Some(at) = line.find('/') else { continue };
        let (Some(head), Some(path)) = (line.get(..at), line.get(at..)) else { continue };
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_code = head.split_ascii_whitespace().nth(1).is_some_and(|access| access.contains('x'));
        let path = PathBuf::from(path);
        if is_code && name.contains(".so") && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

fn memory_map() -> io::Result<String> {
    const LARGEST: usize = 4 * 1024 * 1024;
    let file = rustix::fs::open("/proc/self/maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (mut text, mut bytes) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let length = rustix::io::read(&file, &mut bytes)?;
        if length == 0 || text.len() > LARGEST {
            return String::from_utf8(text).map_err(io::Error::other);
        }
        text.extend_from_slice(bytes.get(..length).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_is_called_with_the_programs_own_libraries() {
        const MAP: &str = "55d0-55d1 r--p 00000000 fe:00 1 /usr/bin/moltbot\n\
            55d1-55d2 r-xp 00000000 fe:00 1 /usr/bin/moltbot\n\
            7f00-7f01 r--p 00000000 fe:00 2 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
            7f01-7f02 r-xp 00000000 fe:00 2 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
            7f03-7f04 r-xp 00000000 fe:00 3 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2\n\
            7f05-7f06 rw-p 00000000 00:00 0 [heap]\n\
            7f07-7f08 r-xp 00000000 00:00 0 [vdso]\n";
        let parts = Parts::with_libraries("/usr/bin/moltbot".into(), libraries(MAP));
        assert_eq!(
            parts.call("lead").join(" "),
            "/.moltbot/ld-linux-x86-64.so.2 --library-path /.moltbot /.moltbot/moltbot __sandbox-init lead"
        );
        assert_eq!(parts.files.len(), 3);
        let alone = Parts::with_libraries("/usr/bin/moltbot".into(), Vec::new());
        assert_eq!(alone.call("keep").join(" "), "/.moltbot/moltbot __sandbox-init keep");
    }
}
