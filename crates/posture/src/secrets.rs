//! How secrets are kept: what wraps the keys, what is sealed, what opens.

use crate::check::Check;

/// What wraps the root keys, by its name in the key file.
pub fn wrapping(name: &str) -> Check {
    const ID: &str = "secrets.wrapping";
    if name == "none" {
        let what = "nothing wraps the root keys: who copies the whole state folder has them";
        return Check::warn(ID, what, "run `moltbot secrets rekey --wrap passphrase`, `file` or `systemd`");
    }
    Check::ok(ID, format!("the root keys are wrapped by: {name}"))
}

/// Whether the last rotation ended.
pub fn rotation(is_rotating: bool) -> Check {
    const ID: &str = "secrets.rotation";
    if is_rotating {
        let fix = "stop the gateway, then run `moltbot secrets rotate` again";
        return Check::fail(ID, "a rotation was interrupted; the old key is still there", fix);
    }
    Check::ok(ID, "one root key seals everything")
}

/// The secrets of the config: how many there are, those that stand in plaintext with their lines, and what those say
/// that do not open.
pub fn config_secrets(count: usize, plain: &[(String, usize)], closed: &[(String, String)]) -> Vec<Check> {
    const ID: &str = "secrets.config";
    let fix = |path: &str| format!("run `moltbot secrets set {path}`");
    let plain = plain.iter().map(|(path, line)| {
        let fix = format!("{}, or change any setting with `moltbot config set`", fix(path));
        Check::fail(ID, format!("{path} (line {line}) stands in plaintext"), fix)
    });
    let closed = closed.iter().map(|(path, said)| Check::fail(ID, said.clone(), fix(path)));
    let rows: Vec<Check> = plain.chain(closed).collect();
    if rows.is_empty() {
        return vec![Check::ok(ID, format!("the secrets of the config are sealed or references: {count}"))];
    }
    rows
}

/// The named secrets: how many there are, and what the first says that does not open.
pub fn named_secrets(count: usize, closed: Option<(&str, String)>) -> Check {
    const ID: &str = "secrets.named";
    match closed {
        None => Check::ok(ID, format!("the named secrets open: {count}")),
        Some((name, said)) => Check::fail(ID, said, format!("run `moltbot secrets set --store {name}`")),
    }
}

/// The files of credentials: how many secrets they have, those in plaintext with their lines, and what those say that do
/// not open.
pub fn credential_files(count: usize, plain: &[(String, usize)], closed: &[(String, String)]) -> Vec<Check> {
    let plain = plain.iter().map(|(place, line)| {
        let what = format!("{place} (line {line}) stands in plaintext");
        Check::fail(CREDENTIALS, what, "run `moltbot secrets seal`")
    });
    let fix = "put the file back from a backup, or move it away and sign in again";
    let closed = closed.iter().map(|(place, said)| Check::fail(CREDENTIALS, format!("{place}: {said}"), fix));
    let rows: Vec<Check> = plain.chain(closed).collect();
    if rows.is_empty() {
        return vec![Check::ok(
            CREDENTIALS,
            format!("the secrets of files of credentials are sealed: {count}"),
        )];
    }
    rows
}

/// That a file of credentials cannot be used, by what is said of it.
pub fn credential_files_unusable(said: &str) -> Check {
    Check::fail(CREDENTIALS, said.to_owned(), "correct the file, or move it away")
}

const CREDENTIALS: &str = "secrets.credentials";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Level, worst};

    #[test]
    fn what_is_not_sealed_or_does_not_open_fails_with_its_fix() {
        assert_eq!(worst(&config_secrets(3, &[], &[])), Level::Ok);
        let rows = config_secrets(
            3,
            &[("a.token".into(), 4)],
            &[("b.token".into(), "b.token does not open".into())],
        );
        assert_eq!((rows.len(), worst(&rows)), (2, Level::Fail));
        assert!(
            rows.iter().all(|row| row.fix.as_deref().is_some_and(|fix| fix.contains("moltbot secrets set")))
        );
        assert_eq!(worst(&credential_files(1, &[], &[])), Level::Ok);
        let rows = credential_files(2, &[("f#a.key".into(), 1)], &[("f#b.key".into(), "no".into())]);
        assert!(rows.len() == 2 && rows.iter().all(|row| row.level == Level::Fail), "{rows:?}");
        for (check, level) in [
            (wrapping("none"), Level::Warn),
            (wrapping("passphrase"), Level::Ok),
            (rotation(true), Level::Fail),
            (rotation(false), Level::Ok),
            (named_secrets(1, None), Level::Ok),
            (named_secrets(1, Some(("n", "n does not open".into()))), Level::Fail),
            (credential_files_unusable("x"), Level::Fail),
        ] {
            assert_eq!(check.level, level, "{check:?}");
        }
    }
}
