//! Programs whose short flag takes a password. `-p` alone tells nothing: `mkdir -p x` makes a folder.

use crate::redact::value::run;

/// A program and its flag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tool {
    name: &'static [u8],
    pub(super) flag: u8,
}

const TOOLS: [Tool; 14] = [
    Tool { name: b"curl", flag: b'u' },
    Tool { name: b"ldapmodify", flag: b'w' },
    Tool { name: b"ldapsearch", flag: b'w' },
    Tool { name: b"login", flag: b'p' },
    Tool { name: b"mariadb", flag: b'p' },
    Tool { name: b"mongo", flag: b'p' },
    Tool { name: b"mongodump", flag: b'p' },
    Tool { name: b"mongosh", flag: b'p' },
    Tool { name: b"mysql", flag: b'p' },
    Tool { name: b"mysqladmin", flag: b'p' },
    Tool { name: b"mysqldump", flag: b'p' },
    Tool { name: b"redis-cli", flag: b'a' },
    Tool { name: b"sshpass", flag: b'p' },
    Tool { name: b"zip", flag: b'P' },
];

/// The program with whose name `rest` begins.
pub(super) fn named(rest: &[u8]) -> Option<Tool> {
    let first = rest.first()?;
    let mut candidates = TOOLS.iter().filter(|tool| tool.name.first() == Some(first));
    let end = run(rest, 0, 16, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
    candidates.find(|tool| rest.get(..end) == Some(tool.name)).copied()
}
