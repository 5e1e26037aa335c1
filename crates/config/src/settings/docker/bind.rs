//! A folder of this machine in a container, and which folders may never be.

use std::path::{Component, Path, PathBuf};

/// A folder of this machine that a container sees.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bind {
    /// Where it is here: absolute, without `.` and `..`.
    pub source: PathBuf,
    /// Where it is there: the same.
    pub target: PathBuf,
    /// Whether commands may change it. Not unless `rw` says so.
    pub writable: bool,
}

impl Bind {
    /// Reads `/source:/target`, with `:ro` or `:rw` at the end. Anything else is refused: options of mounts, names of
    /// volumes, relative paths, a target where the container has its own things.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (source, target, access) = (parts.next()?, parts.next()?, parts.next());
        let writable = match (access, parts.next()) {
            (None | Some("ro"), None) => false,
            (Some("rw"), None) => true,
            _ => return None,
        };
        let (source, target) = (plain(source)?, plain(target)?);
        (!OWN_TARGETS.iter().any(|own| overlaps(&target, Path::new(own)))).then_some(Self {
            source,
            target,
            writable,
        })
    }
}

/// What a container has of its own: a bind there would replace it.
const OWN_TARGETS: [&str; 14] = [
    "/.moltbot",
    "/bin",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/var/tmp",
    "/workspace",
];

/// Why a path may not be in a container.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ForbiddenSource {
    /// It holds one of the others.
    Ancestor,
    /// It is the socket of a container engine, which makes who has it root.
    EngineSocket,
    /// It is the home itself, or a hidden folder of it: keys and settings of programs.
    Home,
    /// It is moltbot's own state.
    State,
    /// It is the machine's own.
    System,
}

impl ForbiddenSource {
    /// In words, after "`path`".
    pub const fn because(self) -> &'static str {
        match self {
            Self::Ancestor => "holds folders that no container may have",
            Self::EngineSocket => "is a container engine's socket: who has it is root",
            Self::Home => "is your home, or a hidden folder in it with keys and settings",
            Self::State => "is moltbot's own state, with its keys",
            Self::System => "belongs to the system",
        }
    }
}

/// Why `source` may not be in a container, if it may not. It is judged as it is written: who can follow symbolic links
/// does, and asks again.
pub fn forbidden_source(source: &Path, home: Option<&Path>, state: Option<&Path>) -> Option<ForbiddenSource> {
    let socket = source.file_name().is_some_and(|name| SOCKETS.iter().any(|socket| name == *socket));
    if socket {
        return Some(ForbiddenSource::EngineSocket);
    }
    if let Some(found) =
        SYSTEM.iter().find_map(|path| meets(source, Path::new(path), ForbiddenSource::System))
    {
        return Some(found);
    }
    if let Some(found) = state.and_then(|state| meets(source, state, ForbiddenSource::State)) {
        return Some(found);
    }
    let home = home?;
    if home.starts_with(source) {
        return Some(if home == source { ForbiddenSource::Home } else { ForbiddenSource::Ancestor });
    }
    let below = source.strip_prefix(home).ok()?;
    let hidden = |part: Component<'_>| part.as_os_str().as_encoded_bytes().first() == Some(&b'.');
    below.components().any(hidden).then_some(ForbiddenSource::Home)
}

fn meets(source: &Path, path: &Path, as_what: ForbiddenSource) -> Option<ForbiddenSource> {
    if source.starts_with(path) {
        Some(as_what)
    } else if path.starts_with(source) {
        Some(ForbiddenSource::Ancestor)
    } else {
        None
    }
}

/// Names of engines' sockets, wherever they are.
const SOCKETS: [&str; 5] = ["docker.sock", "containerd.sock", "crio.sock", "podman.sock", "buildkitd.sock"];

/// The machine's own folders. What is below them, and what holds them, is refused as well.
const SYSTEM: [&str; 17] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
];

fn overlaps(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// An absolute path without `.`, `..` and characters that nobody sees.
fn plain(text: &str) -> Option<PathBuf> {
    if !text.starts_with('/') || text.chars().any(|c| c.is_control() || c == '\\' || c == ',') {
        return None;
    }
    if text.split('/').any(|part| part == "." || part == "..") {
        return None;
    }
    // Joined again: `//etc/` is `/etc`.
    Some(Path::new(text).components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d_100_a_bind_is_two_absolute_paths_and_a_word() {
        let bind = |source: &str, target: &str, writable| {
            Some(Bind { source: source.into(), target: target.into(), writable })
        };
        for (text, expected) in [
            ("/srv/a:/data", bind("/srv/a", "/data", false)),
            ("/srv/a:/data:ro", bind("/srv/a", "/data", false)),
            ("//srv/a/:/data/:rw", bind("/srv/a", "/data", true)),
            ("/srv/a", None),
            ("/srv/a:/data:rw,z", None),
            ("/srv/a:/data:rw:x", None),
            ("/srv/a:/data:shared", None),
            ("volume:/data", None),
            ("./a:/data", None),
            ("/srv/../etc:/data", None),
            ("/srv/a:/data/../etc", None),
            ("/srv/a:/etc", None),
            ("/srv/a:/", None),
            ("/srv/a:/usr/bin", None),
            ("/srv/a:/workspace/x", None),
            ("/srv/a:/.moltbot", None),
            ("/srv/a\n:/data", None),
            ("", None),
            ("::", None),
        ] {
            assert_eq!(Bind::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn i06_no_path_of_the_system_of_keys_or_of_an_engine_is_bound_nor_what_holds_one() {
        let (home, state) = (Path::new("/home/ann"), Path::new("/srv/bot/.moltbot"));
        for (source, expected) in [
            ("/", Some(ForbiddenSource::Ancestor)),
            ("/var", Some(ForbiddenSource::Ancestor)),
            ("/home", Some(ForbiddenSource::Ancestor)),
            ("/srv", Some(ForbiddenSource::Ancestor)),
            ("/srv/bot", Some(ForbiddenSource::Ancestor)),
            ("/etc", Some(ForbiddenSource::System)),
            ("/etc/ssl", Some(ForbiddenSource::System)),
            ("/proc/1/root", Some(ForbiddenSource::System)),
            ("/sys/fs/cgroup", Some(ForbiddenSource::System)),
            ("/dev/shm", Some(ForbiddenSource::System)),
            ("/root", Some(ForbiddenSource::System)),
            ("/var/run", Some(ForbiddenSource::System)),
            ("/var/lib/docker", Some(ForbiddenSource::System)),
            ("/var/run/docker.sock", Some(ForbiddenSource::EngineSocket)),
            ("/srv/x/docker.sock", Some(ForbiddenSource::EngineSocket)),
            ("/run/podman/podman.sock", Some(ForbiddenSource::EngineSocket)),
            ("/srv/bot/.moltbot", Some(ForbiddenSource::State)),
            ("/srv/bot/.moltbot/keys", Some(ForbiddenSource::State)),
            ("/home/ann", Some(ForbiddenSource::Home)),
            ("/home/ann/.ssh", Some(ForbiddenSource::Home)),
            ("/home/ann/work/.git", Some(ForbiddenSource::Home)),
            ("/home/ann/work", None),
            ("/srv/data", None),
            ("/etcetera", None),
        ] {
            assert_eq!(forbidden_source(Path::new(source), Some(home), Some(state)), expected, "{source}");
        }
    }
}
