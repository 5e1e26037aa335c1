//! Facts of the files: who may use them, and whether somebody else's machine has a copy.

use std::path::Path;

use moltbot_vault::{Opening, Outcome, PathReport, SecureReport};

use crate::check::Check;

/// The most paths that are told one by one: a state folder copied without its modes has thousands.
const ROWS: usize = 20;
/// Names of folders that a program copies to other machines, in lower case, and how it is called.
const SYNCED: [(&str, &str); 11] = [
    ("box sync", "Box"),
    ("cloudstorage", "a cloud drive"),
    ("dropbox", "Dropbox"),
    ("google drive", "Google Drive"),
    ("googledrive", "Google Drive"),
    ("icloud drive", "iCloud"),
    ("mobile documents", "iCloud"),
    ("my drive", "Google Drive"),
    ("nextcloud", "Nextcloud"),
    ("onedrive", "OneDrive"),
    ("syncthing", "Syncthing"),
];

/// Who may use the files, as the vault has found them; one row for each path that is not as it should be. The state
/// folder itself has a check of its own.
pub fn permissions(report: &SecureReport, state: &Path) -> Vec<Check> {
    let mut checks: Vec<Check> =
        report.paths.iter().filter(|found| found.path != state || found.is_exposed()).map(row).collect();
    if checks.is_empty() {
        let what = match report.kept {
            0 => "there is nothing yet that others could use".to_owned(),
            kept => format!("nobody else can use the {kept} files and folders"),
        };
        return vec![Check::ok(ID, what)];
    }
    // The worst first: what is left out is then the mildest.
    checks.sort_by_key(|check| std::cmp::Reverse(check.level));
    let more = checks.len().saturating_sub(ROWS);
    checks.truncate(ROWS);
    if more > 0 {
        let fix = "correct those above, then look again";
        checks.push(Check::warn(ID, format!("{more} more paths are not as they should be"), fix));
    }
    checks
}

const ID: &str = "state.permissions";

fn row(found: &PathReport) -> Check {
    let what = found.to_string();
    match &found.outcome {
        Outcome::Failed { fix, .. } => Check::fail(ID, what, fix),
        Outcome::Skipped { fix, .. } => Check::warn(ID, what, fix),
        Outcome::Open(Opening::AccessList | Opening::Mode) => Check::warn(
            ID,
            what,
            "nothing to do: the gateway closes it when it starts; change what was secret in it if others use this machine",
        ),
        // Looking changes nothing, so these do not come from it.
        Outcome::Removed | Outcome::Repaired(_) => Check::ok(ID, what),
    }
}

/// Whether a program copies the state folder to other machines. Its keys would be there, too.
pub fn synced(state: &Path) -> Check {
    const ID: &str = "state.synced";
    let real = state.canonicalize();
    let real = real.as_deref().unwrap_or(state);
    let found = real.iter().find_map(|part| service(&part.to_string_lossy().to_lowercase()));
    match found {
        None => Check::ok(ID, "the state folder is in no folder that is known to be synced"),
        Some(service) => Check::warn(
            ID,
            format!(
                "{} is in a folder that {service} copies to other machines, with its keys",
                real.display()
            ),
            "name a folder outside of it in MOLTBOT_STATE_DIR, move everything there, then run `moltbot secrets rotate`",
        ),
    }
}

/// The program that syncs a folder of this name. People add an account's name at the end: `OneDrive - Example`.
fn service(name: &str) -> Option<&'static str> {
    let is_named = |start: &str| {
        name.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '-', '_', '(']))
    };
    SYNCED.iter().find(|(start, _)| is_named(start)).map(|(_, service)| *service)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use moltbot_vault::PathKind;

    use super::*;
    use crate::check::{Level, worst};

    fn found(path: &str, outcome: Outcome) -> PathReport {
        PathReport { path: path.into(), kind: PathKind::File, found: 0o644, wanted: 0o600, outcome }
    }

    fn report(paths: Vec<PathReport>) -> SecureReport {
        let mut report = SecureReport::default();
        (report.kept, report.paths) = (3, paths);
        report
    }

    #[test]
    fn j11_each_path_that_is_open_has_a_row_and_a_fix() {
        let state = Path::new("/s");
        assert_eq!(permissions(&report(vec![]), state).len(), 1);
        let fix = "run `chown`".to_owned();
        let paths = vec![
            found("/s", Outcome::Open(Opening::Mode)),
            found("/s/a", Outcome::Open(Opening::Mode)),
            found("/s/b", Outcome::Skipped { why: "is a symbolic link".into(), fix: fix.clone() }),
            found("/s/c", Outcome::Failed { reason: "belongs to user 5".into(), fix: fix.clone() }),
        ];
        let checks = permissions(&report(paths), state);
        let told: Vec<_> = checks.iter().map(|check| (check.level, check.what.as_str())).collect();
        assert_eq!(
            told,
            [
                (Level::Fail, "/s/c (mode 0644) belongs to user 5"),
                (Level::Warn, "/s/a has mode 0644; 0600 is enough for its owner"),
                (Level::Warn, "/s/b is a symbolic link"),
            ],
            "the folder itself is told elsewhere"
        );
        assert_eq!(checks[0].fix.as_ref(), Some(&fix));
    }

    #[test]
    fn many_open_paths_are_counted_and_the_worst_is_told() {
        let mut paths: Vec<_> =
            (0..100).map(|n| found(&format!("/s/{n}"), Outcome::Open(Opening::Mode))).collect();
        paths.push(found("/s/z", Outcome::Failed { reason: String::new(), fix: String::new() }));
        let checks = permissions(&report(paths), Path::new("/s"));
        assert_eq!((checks.len(), worst(&checks)), (ROWS + 1, Level::Fail));
        assert!(checks[ROWS].what.starts_with("81 more"), "{}", checks[ROWS].what);
    }

    #[test]
    fn j11_a_synced_folder_is_told() {
        for (path, is_synced) in [
            ("/home/a/.moltbot", false),
            ("/home/a/Dropbox/.moltbot", true),
            ("/home/a/Dropbox (Work)/x", true),
            ("/home/a/OneDrive - Example/x", true),
            ("/home/a/Google Drive/My Drive/x", true),
            ("/Users/a/Library/Mobile Documents/com~apple~CloudDocs/x", true),
            ("/Users/a/Library/CloudStorage/x", true),
            ("/home/a/dropboxes/x", false),
            ("/home/a/nextcloud/x", true),
        ] {
            let expected = if is_synced { Level::Warn } else { Level::Ok };
            assert_eq!(synced(&PathBuf::from(path)).level, expected, "{path}");
        }
        let home = tempfile::tempdir().unwrap();
        let real = home.path().join("Dropbox");
        rustix::fs::mkdir(&real, rustix::fs::Mode::RWXU).unwrap();
        rustix::fs::symlink(&real, home.path().join("state")).unwrap();
        assert_eq!(synced(&home.path().join("state")).level, Level::Warn, "by where it really is");
    }
}
