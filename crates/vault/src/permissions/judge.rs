//! What is wrong with a path, by what the kernel says of it. Pure.

use rustix::fs::{FileType, Stat};

use super::{Outcome, PathKind};

/// Every bit that `chmod` can set.
const BITS: u32 = 0o7777;
/// What group and others may do.
const OTHERS: u32 = 0o077;
/// What the owner may do. Set-user-id, set-group-id and sticky have no use in files of ours.
const OWNER: u32 = 0o700;

/// Which rule a path falls under.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rule {
    /// The config.
    Config,
    /// A file that somebody named and that may be another program's: not changed, only refused.
    Guest,
    /// The root keys' file: read by its owner, written by nobody.
    Key,
    /// Ours.
    Ours,
}

/// What is to be done.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Take rights away, so that it has this mode.
    Close(u32),
    /// Nothing.
    Keep,
    /// Leave it as it is, and say so.
    Tell(Outcome),
}

/// The bits of the mode.
pub(super) const fn mode(stat: &Stat) -> u32 {
    stat.st_mode & BITS
}

pub(super) fn kind(stat: &Stat) -> PathKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice | FileType::CharacterDevice => PathKind::Device,
        FileType::Directory => PathKind::Folder,
        FileType::Fifo => PathKind::Pipe,
        FileType::RegularFile => PathKind::File,
        FileType::Socket => PathKind::Socket,
        FileType::Symlink => PathKind::Link,
        FileType::Unknown => PathKind::Unknown,
    }
}

/// The mode that it should have: never more than it has.
pub(super) fn wanted(stat: &Stat, rule: Rule) -> u32 {
    let may = match rule {
        Rule::Key => 0o400,
        Rule::Config | Rule::Guest | Rule::Ours => OWNER,
    };
    mode(stat) & may
}

/// Judges a path for the user who runs this.
pub(super) fn judge(stat: &Stat, rule: Rule, user: u32) -> Verdict {
    match kind(stat) {
        PathKind::Link if rule == Rule::Config => {
            let text = "is a symbolic link, which anybody who may write beside it can turn elsewhere";
            return fail(text, "put the file itself there, or name where it is in MOLTBOT_CONFIG_PATH");
        }
        PathKind::Link => {
            return skip(
                "is a symbolic link, which is not followed",
                "put what it leads to here, or remove it",
            );
        }
        PathKind::Device | PathKind::Unknown => {
            return skip("is a device, which does not belong here", "remove it");
        }
        PathKind::File | PathKind::Folder | PathKind::Pipe | PathKind::Socket => {}
    }
    let open = mode(stat) & !wanted(stat, rule);
    if stat.st_uid != user {
        return foreign(stat, open & OTHERS != 0, user);
    }
    let names = if kind(stat) == PathKind::File { stat.st_nlink } else { 1 };
    match (open, names) {
        (0, 0 | 1) => Verdict::Keep,
        (0, _) => skip(
            &format!("has {names} names (hard links), and is changed by each of them"),
            "find the others with `find / -xdev -samefile` and remove those that are not yours",
        ),
        // Closing it would close the other name's file, which may be something else of the same user's.
        (_, 2..) => fail(
            &format!("is open to others and has {names} names (hard links), so its mode is left alone"),
            "replace it by a copy of its own, and run `chmod go-rwx` on the copy",
        ),
        _ if rule == Rule::Key && open & OTHERS != 0 => fail(
            "is open to others, so the root key may be known to them",
            "run `chmod 400` on it, then `moltbot secrets rotate`",
        ),
        _ if rule == Rule::Guest => {
            fail("is open to others, and may be more than moltbot's", "run `chmod -R go-rwx` on it")
        }
        _ => Verdict::Close(wanted(stat, rule)),
    }
}

/// A path of somebody else's. Ownership is not taken: that would hide whose it was.
fn foreign(stat: &Stat, is_open: bool, user: u32) -> Verdict {
    let owner = stat.st_uid;
    let fix = format!("run `chown {user}` on it when you trust what is in it, or remove it");
    let text = format!("belongs to user {owner}, not to user {user} who runs this");
    // Root gets at everything in any case.
    if owner == 0 && !is_open { skip(&text, &fix) } else { fail(&text, &fix) }
}

pub(super) fn skip(why: &str, fix: &str) -> Verdict {
    Verdict::Tell(Outcome::Skipped { why: why.to_owned(), fix: fix.to_owned() })
}

pub(super) fn fail(reason: &str, fix: &str) -> Verdict {
    Verdict::Tell(Outcome::Failed { reason: reason.to_owned(), fix: fix.to_owned() })
}
