//! Paths that no command of the agent has business with, however they are written.
//!
//! A path is compared part by part after `//`, `/./` and `..` are gone. A wildcard that could spell a part counts as
//! spelling it.

use std::borrow::Cow;

use super::patterns::Name;
use super::verdict::{Choice, Severity};
use super::word::UNKNOWN;

/// What a path is found to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sensitive {
    pub(super) code: &'static str,
    pub(super) what: &'static str,
    pub(super) pattern: Option<Name>,
    read: Option<Grade>,
    write: Option<Grade>,
}

type Grade = (Choice, Severity);

impl Sensitive {
    /// What follows for a command that reads it, or that may write it.
    pub(super) const fn grade(&self, written: bool) -> Option<Grade> {
        if written { self.write } else { self.read }
    }
}

const HIGH: Option<Grade> = Some((Choice::Refuse, Severity::High));
const MEDIUM: Option<Grade> = Some((Choice::Ask, Severity::Medium));

/// A path with what it is, and how many bytes of it are the same in every path that fits.
struct Place(&'static str, Sensitive, usize);

impl Place {
    /// What every path begins with that fits without wildcards of its own.
    fn stem(&self) -> &'static [u8] {
        self.0.as_bytes().get(..self.2).unwrap_or_default()
    }
}

/// The length of what stands before the first sign that has a meaning, without a slash at its end.
const fn stem(path: &str) -> usize {
    let (mut rest, mut length, mut last) = (path.as_bytes(), 0, 0);
    while let [first, left @ ..] = rest {
        if matches!(first, b'#' | b'*' | b'[') {
            break;
        }
        (rest, length, last) = (left, length + 1, *first);
    }
    if length < path.len() && last == b'/' { length - 1 } else { length }
}

const fn place(
    path: &'static str,
    code: &'static str,
    what: &'static str,
    read: Option<Grade>,
    write: Option<Grade>,
) -> Place {
    Place(path, Sensitive { code, what, pattern: None, read, write }, stem(path))
}

const fn named(
    path: &'static str,
    pattern: Name,
    what: &'static str,
    read: Option<Grade>,
    write: Option<Grade>,
) -> Place {
    Place(path, Sensitive { code: "escape_path", what, pattern: Some(pattern), read, write }, stem(path))
}

/// Disks of all kinds, whose names are read by themselves.
const DISKS: &str = "/dev/sd";

/// `#` is a process, `*` any part, `**` at the end also everything below; a trailing `*` any ending.
static PLACES: &[Place] = &[
    named("/proc/sys/kernel/**", Name::KernelParameter, "the kernel's settings", HIGH, HIGH),
    place("/proc/sys/**", "kernel_setting", "the kernel's settings", MEDIUM, HIGH),
    place("/proc/sysrq-trigger", "kernel_setting", "the kernel's emergency keys", HIGH, HIGH),
    place("/proc/kcore", "kernel_memory", "the kernel's memory", HIGH, HIGH),
    place("/proc/kallsyms", "kernel_memory", "the kernel's addresses", MEDIUM, HIGH),
    named("/sys/fs/cgroup/**", Name::Cgroup, "control groups", MEDIUM, HIGH),
    named("/sys/fs/bpf/**", Name::Ebpf, "programs in the kernel", HIGH, HIGH),
    place("/sys/kernel/uevent_helper", "kernel_setting", "a helper that the kernel runs", HIGH, HIGH),
    place("/sys/kernel/**", "kernel_setting", "the kernel's settings", MEDIUM, HIGH),
    place("/sys/**", "kernel_setting", "the machine's devices", None, HIGH),
    named(DISKS, Name::RawDisk, "a raw disk", HIGH, HIGH),
    named("/dev/nvme*", Name::RawDisk, "a raw disk", HIGH, HIGH),
    named("/dev/mmcblk*", Name::RawDisk, "a raw disk", HIGH, HIGH),
    named("/dev/dm-*", Name::RawDisk, "a raw disk", HIGH, HIGH),
    named("/dev/md*", Name::RawDisk, "a raw disk", HIGH, HIGH),
    named("/dev/loop*", Name::RawDisk, "a raw disk", HIGH, HIGH),
    named("/dev/mapper/*", Name::RawDisk, "a raw disk", HIGH, HIGH),
    named("/dev/disk/**", Name::RawDisk, "a raw disk", HIGH, HIGH),
    named("/dev/block/**", Name::RawDisk, "a raw disk", HIGH, HIGH),
    named("/dev/mem", Name::PhysicalMemory, "the machine's memory", HIGH, HIGH),
    named("/dev/kmem", Name::KernelMemory, "the kernel's memory", HIGH, HIGH),
    named("/dev/kmsg", Name::KernelLog, "the kernel's log", HIGH, HIGH),
    place("/dev/port", "kernel_memory", "the machine's ports", HIGH, HIGH),
    place("/dev/kvm", "device", "a device of the machine", MEDIUM, HIGH),
    place("/dev/fuse", "device", "a device of the machine", MEDIUM, HIGH),
    place("/dev/tcp/**", "network_by_shell", "a network connection of the shell itself", HIGH, HIGH),
    place("/dev/udp/**", "network_by_shell", "a network connection of the shell itself", HIGH, HIGH),
    named("/proc/#/exe", Name::SelfReference, "the program file of a process", MEDIUM, HIGH),
    named("/proc/#/root/**", Name::ProcessRoot, "the file system of a process", MEDIUM, HIGH),
    named("/proc/#/cwd/**", Name::ProcessFolder, "the folder of a process", MEDIUM, HIGH),
    named("/proc/#/ns/**", Name::NamespaceEnter, "the namespaces of a process", HIGH, HIGH),
    named("/proc/#/task/#/ns/**", Name::NamespaceEnter, "the namespaces of a process", HIGH, HIGH),
    named("/proc/#/task/#/root/**", Name::ProcessRoot, "the file system of a process", MEDIUM, HIGH),
    named("/proc/#/task/#/cwd/**", Name::ProcessFolder, "the folder of a process", MEDIUM, HIGH),
    place("/proc/self/environ", "own_environment", "the environment of this process", MEDIUM, HIGH),
    place("/proc/#/environ", "process_secret", "the environment of a process, with its secrets", HIGH, HIGH),
    place(
        "/proc/#/task/#/environ",
        "process_secret",
        "the environment of a process, with its secrets",
        HIGH,
        HIGH,
    ),
    place("/proc/#/mem", "process_secret", "the memory of a process", HIGH, HIGH),
    place("/proc/#/task/#/mem", "process_secret", "the memory of a process", HIGH, HIGH),
    place("/proc/#/maps", "process_secret", "the memory map of a process", MEDIUM, HIGH),
    place("/proc/#/setgroups", "identity_map", "the identities of a process", MEDIUM, HIGH),
    place("/proc/#/uid_map", "identity_map", "the identities of a process", None, HIGH),
    place("/proc/#/gid_map", "identity_map", "the identities of a process", None, HIGH),
    place("/proc/#/fd/*/*/**", "leaked_descriptor", "a folder that another program left open", HIGH, HIGH),
    place("/proc/#/fd/[012]", "own_descriptor", "its own input and output", None, None),
    place("/proc/#/fd/*", "leaked_descriptor", "what another program left open", MEDIUM, HIGH),
    place("/etc/shadow*", "credentials", "the machine's password hashes", HIGH, HIGH),
    place("/etc/gshadow*", "credentials", "the machine's password hashes", HIGH, HIGH),
    place("/etc/sudoers*", "credentials", "who may become root", HIGH, HIGH),
    place("/etc/sudoers.d/**", "credentials", "who may become root", HIGH, HIGH),
    place("/etc/ld.so.preload", "takeover", "code for every program", MEDIUM, HIGH),
    place("/etc/ssh/**", "credentials", "the machine's keys", MEDIUM, HIGH),
    place("/etc/ssl/private/**", "credentials", "the machine's keys", HIGH, HIGH),
    place("/etc/**", "takeover", "the machine's settings", None, HIGH),
    place("/root/**", "foreign_home", "root's own files", MEDIUM, HIGH),
    place("/boot/**", "takeover", "what the machine starts", MEDIUM, HIGH),
    place("/bin/**", "takeover", "the machine's programs", None, HIGH),
    place("/sbin/**", "takeover", "the machine's programs", None, HIGH),
    place("/lib/**", "takeover", "the machine's programs", None, HIGH),
    place("/lib64/**", "takeover", "the machine's programs", None, HIGH),
    place("/usr/local/**", "takeover", "the machine's programs", None, MEDIUM),
    place("/usr/**", "takeover", "the machine's programs", None, HIGH),
    place("/var/spool/cron/**", "takeover", "what runs by the clock", MEDIUM, HIGH),
    place("/var/lib/docker/**", "container_files", "the files of containers", HIGH, HIGH),
    place("/var/lib/containerd/**", "container_files", "the files of containers", HIGH, HIGH),
    place("/var/lib/kubelet/**", "container_files", "the files of containers", HIGH, HIGH),
    place("/run/secrets/**", "credentials", "secrets that were handed to a container", HIGH, HIGH),
    place("/var/run/secrets/**", "credentials", "secrets that were handed to a container", HIGH, HIGH),
    place("/host/**", "host_files", "the files of the host", MEDIUM, HIGH),
    place("/hostfs/**", "host_files", "the files of the host", MEDIUM, HIGH),
    place("/rootfs/**", "host_files", "the files of the host", MEDIUM, HIGH),
    place("/mnt/host/**", "host_files", "the files of the host", MEDIUM, HIGH),
    place("~/.ssh/known_hosts", "credentials", "which machines are known", None, HIGH),
    place("~/.ssh/*.pub", "credentials", "a public key", None, HIGH),
    place("~/.ssh/**", "credentials", "your keys", HIGH, HIGH),
    place("~/.gnupg/**", "credentials", "your keys", HIGH, HIGH),
    place("~/.aws/**", "credentials", "your credentials", HIGH, HIGH),
    place("~/.azure/**", "credentials", "your credentials", HIGH, HIGH),
    place("~/.config/gcloud/**", "credentials", "your credentials", HIGH, HIGH),
    place("~/.config/gh/**", "credentials", "your credentials", HIGH, HIGH),
    place("~/.kube/**", "credentials", "your credentials", HIGH, HIGH),
    place("~/.docker/config.json", "credentials", "your credentials", HIGH, HIGH),
    place("~/.netrc", "credentials", "your credentials", HIGH, HIGH),
    place("~/.git-credentials", "credentials", "your credentials", HIGH, HIGH),
    place("~/.npmrc", "credentials", "your credentials", HIGH, HIGH),
    place("~/.pypirc", "credentials", "your credentials", HIGH, HIGH),
    place("~/.pgpass", "credentials", "your credentials", HIGH, HIGH),
    place("~/.password-store/**", "credentials", "your credentials", HIGH, HIGH),
    place("~/.local/share/keyrings/**", "credentials", "your credentials", HIGH, HIGH),
    place("~/.mozilla/**", "credentials", "your browser's data", HIGH, HIGH),
    place("~/.config/google-chrome/**", "credentials", "your browser's data", HIGH, HIGH),
    place("~/.moltbot/**", "own_state", "moltbot's own state", HIGH, HIGH),
    place("~/.clawdbot/**", "own_state", "moltbot's own state", HIGH, HIGH),
    place("~/.openclaw/**", "own_state", "moltbot's own state", HIGH, HIGH),
    place("~/.bash_history", "credentials", "what you typed", MEDIUM, HIGH),
    place("~/.bashrc", "takeover", "what runs when you sign in", None, HIGH),
    place("~/.bash_profile", "takeover", "what runs when you sign in", None, HIGH),
    place("~/.bash_login", "takeover", "what runs when you sign in", None, HIGH),
    place("~/.profile", "takeover", "what runs when you sign in", None, HIGH),
    place("~/.zshrc", "takeover", "what runs when you sign in", None, HIGH),
    place("~/.zshenv", "takeover", "what runs when you sign in", None, HIGH),
    place("~/.gitconfig", "takeover", "what git runs", None, HIGH),
    place("~/.config/autostart/**", "takeover", "what runs when you sign in", None, HIGH),
    place("~/.config/systemd/**", "takeover", "what runs when you sign in", None, HIGH),
    place("~/.config/fish/**", "takeover", "what runs when you sign in", None, HIGH),
];

/// Files that are sensitive wherever they are.
const NAMES: &[(&str, Sensitive)] = &[
    ("release_agent", special(Name::Cgroup, "a program that the kernel runs")),
    ("notify_on_release", special(Name::Cgroup, "a program that the kernel runs")),
    ("core_pattern", special(Name::KernelParameter, "a program that the kernel runs")),
    ("sysrq-trigger", special(Name::KernelParameter, "the kernel's emergency keys")),
    ("uevent_helper", special(Name::KernelParameter, "a program that the kernel runs")),
    ("devices.allow", special(Name::Cgroup, "the devices of a control group")),
    (
        "cgroup.procs",
        Sensitive {
            code: "escape_path",
            what: "control groups",
            pattern: Some(Name::Cgroup),
            read: MEDIUM,
            write: HIGH,
        },
    ),
    ("docker.sock", special(Name::DockerSocket, "a container runtime's socket")),
    ("containerd.sock", special(Name::DockerSocket, "a container runtime's socket")),
    ("crio.sock", special(Name::DockerSocket, "a container runtime's socket")),
    ("podman.sock", special(Name::DockerSocket, "a container runtime's socket")),
    ("dockershim.sock", special(Name::DockerSocket, "a container runtime's socket")),
    ("cri-dockerd.sock", special(Name::DockerSocket, "a container runtime's socket")),
    ("buildkitd.sock", special(Name::DockerSocket, "a container runtime's socket")),
    ("authorized_keys", special_without("takeover", "who may sign in as you")),
    ("id_rsa", special_without("credentials", "a private key")),
    ("id_ed25519", special_without("credentials", "a private key")),
    ("id_ecdsa", special_without("credentials", "a private key")),
    (
        "moltbot.json",
        Sensitive {
            code: "own_state",
            what: "moltbot's own settings",
            pattern: None,
            read: MEDIUM,
            write: HIGH,
        },
    ),
    ("exec-approvals.json", special_without("own_state", "moltbot's own settings")),
];

const fn special(pattern: Name, what: &'static str) -> Sensitive {
    Sensitive { code: "escape_path", what, pattern: Some(pattern), read: HIGH, write: HIGH }
}

const fn special_without(code: &'static str, what: &'static str) -> Sensitive {
    Sensitive { code, what, pattern: None, read: HIGH, write: HIGH }
}

/// What the paths in `text` are, when one is sensitive. `folder` is where the script has changed to.
pub(super) fn sensitive(text: &str, folder: Option<&str>, written: bool) -> Option<&'static Sensitive> {
    if !text.contains(['/', '~']) && folder.is_none() {
        return name_of(text).filter(|found| found.grade(written).is_some());
    }
    let mut worst: Option<&'static Sensitive> = None;
    let mut consider = |found: Option<&'static Sensitive>| {
        if found.and_then(|found| found.grade(written)) > worst.and_then(|worst| worst.grade(written)) {
            worst = found;
        }
    };
    for candidate in candidates(text) {
        consider(place_of(candidate, written));
    }
    consider(name_of(text));
    let relative = !text.starts_with(['/', '~', '-']);
    if let Some(folder) = folder.filter(|_| relative) {
        consider(place_of(&format!("{folder}/{text}"), written));
    }
    if text.contains("../") {
        let (_, end) = text.rsplit_once("../").unwrap_or(("", text));
        consider(place_of(&format!("/{end}"), written));
    }
    worst
}

/// Whether a path is the whole file system, or a folder that everything needs.
pub(super) fn is_root(text: &str) -> bool {
    let path = collapse(text);
    let path = path.trim_end_matches('*').trim_end_matches('/');
    matches!(
        path,
        "" | "~"
            | "/bin"
            | "/boot"
            | "/dev"
            | "/etc"
            | "/home"
            | "/lib"
            | "/proc"
            | "/root"
            | "/sys"
            | "/usr"
            | "/var"
    ) && text.starts_with(['/', '~', '*'])
}

/// The parts of a word that are paths: from a slash or a tilde that begins one.
fn candidates(text: &str) -> impl Iterator<Item = &str> {
    let option = text.starts_with('-').then(|| text.find('/')).flatten();
    let signs = text.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'/' | b'~'));
    signs.filter_map(move |(at, sign)| {
        let begins = at.checked_sub(1).is_none_or(|before| {
            text.as_bytes().get(before).is_some_and(|before| b"=:,@|'\"( >[".contains(before))
        });
        let (_, rest) =
            (begins || option == Some(at) && sign == b'/').then(|| text.split_at_checked(at)).flatten()?;
        let ends = |byte| matches!(byte, b':' | b',' | b'\'' | b'"' | b' ' | b'|' | b')' | b';' | b'\n');
        rest.get(..rest.bytes().position(ends).unwrap_or(rest.len()))
    })
}

fn name_of(text: &str) -> Option<&'static Sensitive> {
    let end = text.trim_end_matches(['/', '\'', '"', ')', ';']);
    let parts = |byte: u8| matches!(byte, b'/' | b'=' | b':' | b'@' | b'\'' | b'"' | b' ');
    let begins = end.bytes().rposition(parts).map_or(0, |at| at.saturating_add(1));
    let name = end.get(begins..).unwrap_or(end);
    if name.len() < 6 {
        return None;
    }
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, found)| found)
}

fn place_of(path: &str, written: bool) -> Option<&'static Sensitive> {
    if !path.starts_with("/proc") && !path.contains("..") {
        return find(&collapse(path));
    }
    // A path through a descriptor means another place when `..` is taken as text: both readings count.
    let collapsed = collapse_without_parents(path);
    find(&collapsed).into_iter().chain(find(&collapse(path))).max_by_key(|found| found.grade(written))
}

fn find(path: &str) -> Option<&'static Sensitive> {
    if path.len() < 4 && !super::glob::is_wild(path) {
        return None;
    }
    let home = home_of(path);
    let path = home.as_deref().unwrap_or(path);
    let spelt = super::glob::is_wild(path);
    // Behind the first letter most differ already.
    let (bytes, second) = (path.as_bytes(), path.as_bytes().get(1));
    let near = |place: &&Place| {
        spelt || place.0.as_bytes().get(1) == second && (place.0 == DISKS || bytes.starts_with(place.stem()))
    };
    // The first that fits says what a path is: the more exact stand in front.
    let mut known = PLACES.iter().filter(near).filter(|place| fits(path, place.0)).map(|place| &place.1);
    // What wildcards spell may be several places: the worst of them.
    let known = if spelt { known.max_by_key(|found| (found.read, found.write)) } else { known.next() };
    known.or_else(|| is_device(path).then_some(&DEVICE))
}

const DEVICE: Sensitive =
    Sensitive { code: "device", what: "a device of the machine", pattern: None, read: MEDIUM, write: HIGH };

/// Whether a path below `/dev` is none of those that every program may use. Names of devices have no dot.
fn is_device(path: &str) -> bool {
    let Some(name) = path.strip_prefix("/dev/").filter(|name| !name.is_empty() && !name.contains(['.', '*']))
    else {
        return false;
    };
    let (first, rest) = name.split_once('/').unwrap_or((name, ""));
    match first {
        "null" | "zero" | "full" | "random" | "urandom" | "tty" | "stdin" | "stdout" | "stderr" | "fd"
        | "shm" | "pts" | "ptmx" | "log" | "mqueue" => false,
        // Folders of devices; another folder is none.
        "bus" | "cpu" | "dri" | "input" | "net" | "snd" | "usb" | "vfio" => !rest.is_empty(),
        _ => rest.is_empty(),
    }
}

/// Whether git runs what a file says: a hook, or the settings of a repository.
pub(super) fn is_obeyed_by_git(path: &str) -> bool {
    path.contains(".git/hooks/") || path.ends_with(".git/config") || path.ends_with(".git/hooks")
}

/// `/home/x/y`, `/root/y` and an unknown folder in front of a hidden one are `~/y`.
fn home_of(path: &str) -> Option<String> {
    let below = path
        .strip_prefix("/home/")
        .or_else(|| path.strip_prefix("/Users/"))
        .and_then(|rest| rest.split_once('/'));
    let below = below.map(|(_, below)| below).or_else(|| path.strip_prefix("/root/"));
    below.filter(|below| below.starts_with('.')).map(|below| format!("~/{below}"))
}

/// Without doubled slashes and `/./`, and with `..` taken as text.
pub(super) fn collapse(path: &str) -> Cow<'_, str> {
    let detours = path.contains("//") || path.contains("/.") || (path.len() > 1 && path.ends_with('/'));
    if !detours {
        return Cow::Borrowed(path);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    Cow::Owned(joined(path, &parts))
}

fn collapse_without_parents(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    joined(path, &parts)
}

fn joined(path: &str, parts: &[&str]) -> String {
    let text = parts.join("/");
    if path.starts_with('/') { format!("/{text}") } else { text }
}

fn fits(path: &str, known: &str) -> bool {
    // Where a disk's name ends in letters and digits, a folder that only begins so is another thing.
    if known == DISKS {
        return is_disk(path);
    }
    let (mut path, mut known) = (path.split('/'), known.split('/'));
    // A star alone may be any part, when another part is spelt out.
    let (mut stars, mut spelt) = (false, false);
    loop {
        match (known.next(), path.next()) {
            (Some("**"), _) | (None, None) => return spelt || !stars,
            (Some(wanted), Some("*")) if !matches!(wanted, "#" | "*") => stars = true,
            (Some(wanted), Some(part)) if part_fits(part, wanted) => {
                spelt |= !matches!(wanted, "" | "#" | "*")
            }
            _ => return false,
        }
    }
}

fn is_disk(path: &str) -> bool {
    let Some(name) = path.strip_prefix("/dev/") else { return false };
    let letters = ["sd", "vd", "xvd", "hd"].iter().find_map(|kind| name.strip_prefix(kind));
    letters.is_some_and(|rest| {
        let disk = rest.trim_end_matches(|c: char| c.is_ascii_digit() || "*?]}[".contains(c));
        !rest.is_empty() && disk.len() <= 2 && disk.chars().all(|c| c.is_ascii_lowercase() || c == UNKNOWN)
    })
}

fn part_fits(part: &str, wanted: &str) -> bool {
    if part == wanted {
        return true;
    }
    match wanted {
        "#" => {
            matches!(part, "self" | "thread-self")
                || (!part.is_empty()
                    && part.chars().all(|c| c.is_ascii_digit() || "*?[]-{},.".contains(c) || c == UNKNOWN))
        }
        "*" => !part.is_empty(),
        "[012]" => matches!(part, "0" | "1" | "2"),
        _ => match wanted.strip_suffix('*') {
            Some(start) => part.starts_with(start) || spells(part, start),
            None => match wanted.strip_prefix('*') {
                Some(end) => part.ends_with(end),
                None => spells(part, wanted),
            },
        },
    }
}

/// Whether wildcards in `part` can spell `wanted`. A star alone could be anything, and is not taken for it.
fn spells(part: &str, wanted: &str) -> bool {
    part.contains(['?', '[', '*'])
        && part != "*"
        && !part.contains(UNKNOWN)
        && super::glob::fits(part, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_however_it_is_written() {
        for text in [
            "/proc//sys/kernel/x",
            "/proc/sys/./kernel",
            "/proc/sys/../sys/kernel/core_pattern",
            "/dev/nvme0n1",
            "/dev/vda",
            "/dev/sda1",
            "/dev/mapper/root",
            "/proc/self/root",
            "/proc/self/cwd",
            "/proc/thread-self/root",
            "/proc/\u{1}/root",
            "/proc/1/ns/mnt",
            "/run/DOCKER.SOCK",
            "unix:///run/crio/crio.sock",
            "UNIX-CONNECT:/x/docker.sock",
            "--mount=/proc/1/ns/mnt",
            "-f/etc/shadow",
            "/e??/sh?d?w",
            "../../../etc/shadow",
            "~/.ssh/id_rsa",
            "/home/a/.aws/credentials",
            "release_agent",
            "/tmp/x/release_agent",
            "/dev/kmsg",
            "@/etc/shadow",
            "/proc/self/fd/7/../../etc/passwd",
            "/proc/*/environ",
            "if=/dev/sdb",
        ] {
            assert!(
                sensitive(text, None, false).is_some_and(|found| found.grade(false).is_some()),
                "{text:?}"
            );
        }
        for text in [
            "/dev/memory-notes.txt",
            "/dev/sdk/include",
            "/workspace/proc/1/root.txt",
            "notes/unshare.md",
            "/usr/share/doc/b*",
            "/dev/null",
            "~/.bashrc",
            "/proc/self/status",
            "/etc/hosts",
            "src/*.rs",
            "s/a/b/",
            "*",
            "docker.sock.md",
        ] {
            assert_eq!(sensitive(text, None, false).and_then(|found| found.grade(false)), None, "{text}");
        }
    }
}
