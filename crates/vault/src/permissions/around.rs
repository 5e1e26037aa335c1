//! What is outside the state folder: the config where the owner put it, its backups, further files and folders, and the
//! folders above them, in which others could swap one for another.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;
use rustix::io::Errno;

use super::judge::{self, Rule, Verdict, fail, skip};
use super::walk::{Walk, names};
use super::{PathKind, Places};
use crate::folder::{Folder, is_temporary};
use crate::history::is_backup_of;
use crate::owner_file::is_config_name;
use crate::root::find_root;
use crate::workspace::refuse_system;

/// A folder in which only the owner of a file may rename or remove it.
const STICKY: u32 = 0o1000;
/// The group may write.
const GROUP: u32 = 0o020;
/// Everybody may write.
const ALL: u32 = 0o002;

/// `path` without links above its last part.
pub(super) fn real(path: &Path) -> PathBuf {
    let above = path.parent().and_then(|above| above.canonicalize().ok());
    match (above, path.file_name()) {
        (Some(above), Some(name)) => above.join(name),
        _ => path.to_owned(),
    }
}

/// Looks at what is outside the state folder; what is in it has been looked at.
pub(super) fn walk(walk: &mut Walk, state: &Path, places: &Places<'_>) {
    let (state, config) = (real(state), real(places.config));
    above(walk, &state);
    if !config.starts_with(&state) {
        above(walk, &config);
        in_folder_of(walk, &config, beside_config);
    }
    for path in places.extra.iter().map(|path| real(path)).filter(|path| !path.starts_with(&state)) {
        above(walk, &path);
        extra(walk, &path, &[&state, &config]);
    }
}

/// The config, its backups, and what cut-off writes of it left behind. The folder itself may be anybody's.
fn beside_config(walk: &mut Walk, folder: &Folder, config: &OsStr) {
    walk.entry(folder, config, rule_of(config, Rule::Config));
    for name in names(folder).0 {
        if is_backup_of(&name, config) || is_temporary(&name) {
            walk.entry(folder, &name, Rule::Ours);
        }
    }
}

/// One further file or folder.
fn extra(walk: &mut Walk, path: &Path, kept: &[&Path]) {
    in_folder_of(walk, path, |walk, folder, name| {
        let is_folder = folder_at(folder, name);
        if is_folder && (refuse_system(path).is_err() || kept.iter().any(|kept| kept.starts_with(path))) {
            let text = "is named for moltbot's credentials but holds more than them";
            return walk.told(folder, name, fail(text, "name a folder of its own"));
        }
        // Root may change everything, so what somebody named by mistake is only refused.
        let is_root = walk.user() == 0;
        let rule = match (is_folder, is_root) {
            (true, true) => Rule::Guest,
            (true, false) => Rule::Ours,
            (false, _) => rule_of(name, Rule::Ours),
        };
        if walk.entry(folder, name, rule) == Some(PathKind::Folder) {
            walk.descend(folder, name, 0, rule);
        }
    });
}

fn folder_at(folder: &Folder, name: &OsStr) -> bool {
    let stat = rustix::fs::statat(folder.fd(), name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| judge::kind(&stat) == PathKind::Folder)
}

/// A file that is named like a config is one. Anything else may be another program's: the environment can name any
/// path, and closing that file could break what uses it.
fn rule_of(name: &OsStr, rule: Rule) -> Rule {
    if is_config_name(Path::new(name)) { rule } else { Rule::Guest }
}

/// Opens the folder that `path` is in. When that is not there, neither is what is in it.
fn in_folder_of(walk: &mut Walk, path: &Path, look: impl FnOnce(&mut Walk, &Folder, &OsStr)) {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    match find_root(above) {
        Ok(None) => {}
        Ok(Some(folder)) => look(walk, &folder, name),
        Err(error) => walk.refused(path, &error),
    }
}

/// The folders above `path`: whoever may write in one can put something else in the place of what is in it.
fn above(walk: &mut Walk, path: &Path) {
    for folder in path.ancestors().skip(1) {
        if walk.report.paths.iter().any(|report| report.path == folder) {
            continue;
        }
        match rustix::fs::lstat(folder) {
            Err(Errno::NOENT) => {}
            Err(errno) => {
                tracing::debug!(path = %folder.display(), %errno, "a folder above cannot be looked at")
            }
            Ok(stat) => {
                if let Verdict::Tell(outcome) = swappable(&stat, walk.user()) {
                    walk.tell(folder, &stat, Rule::Ours, outcome);
                }
            }
        }
    }
}

/// Whether others can swap what is in a folder.
fn swappable(stat: &Stat, user: u32) -> Verdict {
    let (mode, owner) = (judge::mode(stat), stat.st_uid);
    if owner != user && owner != 0 {
        let why =
            format!("belongs to user {owner}, who can put something else in the place of what is in it");
        return skip(&why, "move what is in it to a folder of yours");
    }
    // A group of the user's own, by the convention of one group a user, is nobody else.
    let group = mode & GROUP != 0 && (stat.st_gid != owner || owner != user);
    if mode & STICKY != 0 || (mode & ALL == 0 && !group) {
        return Verdict::Keep;
    }
    let who = if mode & ALL != 0 { "everybody" } else { "its group" };
    let why = format!("may be written by {who}, who can put something else in the place of what is in it");
    skip(&why, "run `chmod go-w` on it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_may_write_in_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let plain = rustix::fs::stat(folder.path()).unwrap();
        let user = plain.st_uid;
        for (mode, owner, group, told) in [
            (0o755, user, 0, false),
            (0o777, user, user, true),
            (0o1777, user, user, false),
            (0o775, user, user, false),
            (0o775, user, user + 1, true),
            (0o755, user + 1, user, true),
        ] {
            let mut stat = plain;
            (stat.st_mode, stat.st_uid, stat.st_gid) = (0o040_000 | mode, owner, group);
            let verdict = swappable(&stat, user);
            assert_eq!(verdict != Verdict::Keep, told, "{mode:o} of {owner}, group {group}");
        }
    }

    #[test]
    fn a_file_of_another_name_than_a_configs_is_a_guest() {
        for (name, rule) in
            [("moltbot.json", Rule::Config), ("a.json5", Rule::Config), ("hosts", Rule::Guest)]
        {
            assert_eq!(rule_of(OsStr::new(name), Rule::Config), rule, "{name}");
        }
    }
}
