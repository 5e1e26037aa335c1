//! The escape patterns, by name and severity: what people look for who watch containers.
//!
//! They are looked for in what a command *is*: programs without wrappers, words without quotes, paths without detours;
//! and in the text of code that an interpreter is given. A pattern is a signal beside the walls, never one of them.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizer;

use super::verdict::Severity;

/// A pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pattern {
    /// Its name, as in verdicts and in the book.
    pub name: &'static str,
    /// High is refused, medium is asked about.
    pub severity: Severity,
    /// What it looks for.
    pub meaning: &'static str,
    id: Name,
}

/// Which pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Name {
    BindMount,
    Cgroup,
    Chroot,
    DockerSocket,
    Ebpf,
    KernelLog,
    KernelMemory,
    KernelModule,
    KernelParameter,
    Metadata,
    NamespaceEnter,
    NamespaceUnshare,
    PhysicalMemory,
    PrivilegedContainer,
    ProcessFolder,
    ProcessRoot,
    ProcessTracing,
    RawDisk,
    SelfReference,
}

const fn pattern(id: Name, name: &'static str, severity: Severity, meaning: &'static str) -> Pattern {
    Pattern { name, severity, meaning, id }
}

const HIGH: Severity = Severity::High;
const MEDIUM: Severity = Severity::Medium;

/// Every pattern. The first fourteen are those of the hardening report.
pub const PATTERNS: [Pattern; 19] = [
    pattern(
        Name::KernelParameter,
        "Kernel parameter access",
        HIGH,
        "`/proc/sys/kernel` and the helpers that the kernel runs",
    ),
    pattern(
        Name::Cgroup,
        "CGroup manipulation",
        HIGH,
        "`/sys/fs/cgroup`, `release_agent`; medium when it is only read",
    ),
    pattern(Name::BindMount, "Bind mount attempt", HIGH, "`mount` with bind, in any form"),
    pattern(Name::NamespaceUnshare, "Namespace unshare", HIGH, "the program `unshare`, or its call in code"),
    pattern(
        Name::NamespaceEnter,
        "Namespace enter",
        HIGH,
        "the program `nsenter`, `setns`, or the files of namespaces",
    ),
    pattern(Name::RawDisk, "Raw disk access", HIGH, "the device of a disk, a partition or a mapped volume"),
    pattern(Name::DockerSocket, "Docker socket access", HIGH, "the socket or port of a container runtime"),
    pattern(Name::Chroot, "Chroot escape attempt", MEDIUM, "the program `chroot`, or its call in code"),
    pattern(
        Name::SelfReference,
        "Process self-reference",
        MEDIUM,
        "`/proc/self/exe`, or that of another process",
    ),
    pattern(Name::ProcessRoot, "Process root access", MEDIUM, "`/proc/<process>/root`"),
    pattern(Name::ProcessFolder, "Process CWD access", MEDIUM, "`/proc/<process>/cwd`"),
    pattern(Name::ProcessTracing, "Process tracing", HIGH, "attaching to another process"),
    pattern(Name::PhysicalMemory, "Physical memory access", HIGH, "`/dev/mem`"),
    pattern(Name::KernelMemory, "Kernel memory access", HIGH, "`/dev/kmem`"),
    pattern(Name::Ebpf, "Kernel program loading", HIGH, "eBPF programs"),
    pattern(Name::KernelLog, "Kernel log access", HIGH, "`/dev/kmsg`"),
    pattern(
        Name::KernelModule,
        "Kernel module loading",
        HIGH,
        "`insmod`, `modprobe` and their calls in code",
    ),
    pattern(
        Name::Metadata,
        "Cloud metadata access",
        HIGH,
        "the metadata address of clouds, in every way to write it",
    ),
    pattern(
        Name::PrivilegedContainer,
        "Privileged container",
        HIGH,
        "a container with the host's rights, files or processes",
    ),
];

/// The pattern with this id.
pub(super) fn of(id: Name) -> &'static Pattern {
    static FALLBACK: Pattern = pattern(Name::Cgroup, "CGroup manipulation", HIGH, "");
    PATTERNS.iter().find(|pattern| pattern.id == id).unwrap_or(&FALLBACK)
}

/// The pattern with this name, for the rules that refer to one.
pub(super) fn named(name: &str) -> Option<Name> {
    PATTERNS.iter().find(|pattern| pattern.name == name).map(|pattern| pattern.id)
}

/// Words in code that mean a pattern, when they stand alone.
const CODE: &[(&str, Name)] = &[
    ("/proc/sys/kernel", Name::KernelParameter),
    ("core_pattern", Name::KernelParameter),
    ("/sys/fs/cgroup", Name::Cgroup),
    ("release_agent", Name::Cgroup),
    ("unshare", Name::NamespaceUnshare),
    ("nsenter", Name::NamespaceEnter),
    ("setns", Name::NamespaceEnter),
    ("docker.sock", Name::DockerSocket),
    ("containerd.sock", Name::DockerSocket),
    ("podman.sock", Name::DockerSocket),
    ("crio.sock", Name::DockerSocket),
    ("chroot", Name::Chroot),
    ("/proc/self/exe", Name::SelfReference),
    ("ptrace", Name::ProcessTracing),
    ("process_vm_readv", Name::ProcessTracing),
    ("process_vm_writev", Name::ProcessTracing),
    ("/dev/mem", Name::PhysicalMemory),
    ("/dev/kmem", Name::KernelMemory),
    ("/dev/kmsg", Name::KernelLog),
    ("insmod", Name::KernelModule),
    ("modprobe", Name::KernelModule),
    ("init_module", Name::KernelModule),
    ("finit_module", Name::KernelModule),
    ("bpftool", Name::Ebpf),
    ("--privileged", Name::PrivilegedContainer),
    ("169.254.169.254", Name::Metadata),
    ("metadata.google.internal", Name::Metadata),
];

/// Prefixes in code: what follows may be anything.
const CODE_PREFIXES: &[(&str, Name)] = &[
    ("/dev/sd", Name::RawDisk),
    ("/dev/vd", Name::RawDisk),
    ("/dev/xvd", Name::RawDisk),
    ("/dev/nvme", Name::RawDisk),
    ("/dev/mapper/", Name::RawDisk),
    ("/proc/1/root", Name::ProcessRoot),
    ("/proc/self/root", Name::ProcessRoot),
    ("/proc/1/cwd", Name::ProcessFolder),
    ("/proc/1/ns/", Name::NamespaceEnter),
    ("mount --bind", Name::BindMount),
    ("mount -o bind", Name::BindMount),
];

/// The patterns in the text of code, after joints between strings are taken out of it.
pub(super) fn in_code(code: &str) -> Vec<Name> {
    let text = joined(code);
    let alone = CODE.iter().filter(|(word, _)| contains_alone(&text, word));
    let begins = CODE_PREFIXES.iter().filter(|(word, _)| text.contains(word));
    let mut found: Vec<Name> = Vec::new();
    for (_, name) in alone.chain(begins) {
        if !found.contains(name) {
            found.push(*name);
        }
    }
    found
}

/// Code as it would run: compatibility forms composed, lower case, strings joined, `//` and `/./` collapsed.
pub(super) fn joined(code: &str) -> String {
    const QUOTES: [char; 2] = ['\'', '"'];
    let code = composed(code).to_lowercase();
    let mut text = String::with_capacity(code.len());
    let mut rest = code.as_str();
    // `"a" + "b"`, `"a" . "b"`, `"a" .. "b"` and `"a" "b"` are `"ab"`.
    while let Some((before, after)) = rest.split_once(QUOTES) {
        text.push_str(before);
        let beyond = after.trim_start_matches(['+', '.', ' ', '\\']);
        if let Some(next) = beyond.strip_prefix(QUOTES) {
            rest = next;
        } else {
            text.push('"');
            rest = after;
        }
    }
    text.push_str(rest);
    while text.contains("//") || text.contains("/./") {
        text = text.replace("//", "/").replace("/./", "/");
    }
    text
}

/// Compatibility forms composed: a full-width letter becomes the plain one.
pub(super) fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    ComposingNormalizer::new_nfkc().normalize(text)
}

/// Whether `word` stands in `text` with no letter, digit or `_` beside it, and no ending of a file name behind it.
pub(super) fn contains_alone(text: &str, word: &str) -> bool {
    let beside = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after =
            at.checked_add(word.len()).and_then(|end| text.get(end..)).and_then(|text| text.chars().next());
        !before.is_some_and(beside) && !after.is_some_and(beside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_read_as_it_would_run() {
        for (code, expected) in [
            ("os.system('nsen'+'ter')", vec![Name::NamespaceEnter]),
            ("os.system(\"un\" \"share\")", vec![Name::NamespaceUnshare]),
            ("open('/proc//sys/./kernel/x')", vec![Name::KernelParameter]),
            ("\u{ff55}nshare", vec![Name::NamespaceUnshare]),
            ("print('ptraced')", vec![]),
            ("open('/dev/memory-notes.txt')", vec![]),
        ] {
            assert_eq!(in_code(code), expected, "{code} is {}", joined(code));
        }
    }

    #[test]
    fn the_reports_fourteen_are_there_with_their_severity() {
        let medium = PATTERNS.iter().take(14).filter(|pattern| pattern.severity == MEDIUM).count();
        assert_eq!(medium, 4);
        assert!(PATTERNS.iter().all(|pattern| of(pattern.id) == pattern));
    }
}
