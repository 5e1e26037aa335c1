//! Limits of files and programs that a config names, and of its own file while a gateway runs.

use std::time::Duration;

/// How often a gateway looks whether its config was changed. Between two looks it has to be still: a file that is being
/// written is not read in parts.
pub const CONFIG_LOOK: Duration = Duration::from_millis(300);
/// The largest file of variables (`.env`), in bytes: a hundred keys have 10 kB.
pub const VARIABLES_BYTES: u64 = 64 * 1024;
/// How many files may include each other in a row. Upstream allows 10; nobody was seen to need 3.
pub const INCLUDE_DEPTH: usize = 8;
/// Files that one config includes, one that is included twice counted twice. Together they are no larger than
/// [`CONFIG_BYTES`](super::CONFIG_BYTES).
pub const INCLUDED_FILES: usize = 64;
/// The largest file that a secret is taken from, in bytes: a service account's key has 3 kB.
pub const SECRET_FILE_BYTES: u64 = 64 * 1024;
/// What a program may print that is asked for secrets, in bytes: upstream's limit.
pub const SECRET_PROGRAM_BYTES: usize = 1024 * 1024;
/// Secrets that one program is asked for: upstream's limit.
pub const SECRET_PROGRAM_IDS: usize = 512;
/// How long processes that a secret's program left may take to end by themselves: those of a shell's last line do at once.
pub const SECRET_PROGRAM_GRACE: Duration = Duration::from_millis(200);
