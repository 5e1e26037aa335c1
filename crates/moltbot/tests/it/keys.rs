//! An older key file that is put back is noticed, through the real binary; what the owner does to it is not.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::program::Program;

const KEY: &str = "keys/secrets.key";
const REGISTER: &str = "ledger/generation";
const TOKEN: &str = "q8Zr3VtLx0NwYbE5mKc7HdPfJ2sGuA9o1QiTeXyBvRM";

/// A copy of some files, as somebody with a backup has them.
struct Kept(Vec<(PathBuf, Vec<u8>)>);

impl Kept {
    #[expect(clippy::disallowed_methods, reason = "the test copies what it puts back")]
    fn of(program: &Program, names: &[&str]) -> Self {
        let paths = names.iter().map(|name| program.state().join(name));
        Self(paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect())
    }

    #[expect(clippy::disallowed_methods, reason = "the test puts files back behind the program's back")]
    fn put_back(&self) {
        use std::os::unix::fs::PermissionsExt as _;
        for (path, bytes) in &self.0 {
            let mode = if path.ends_with(KEY) { 0o400 } else { 0o600 };
            if path.exists() {
                std::fs::remove_file(path).unwrap();
            }
            std::fs::write(path, bytes).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

fn ok(program: &Program, arguments: &[&str]) -> String {
    let ran = program.run(arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    ran.out
}

/// Every command that needs the keys is refused, and says what to do.
fn assert_refused(program: &Program, says: &str) {
    for arguments in [
        &["gateway", "run"][..],
        &["up", "--detach", "--port", "0"],
        &["secrets", "get", "gateway.auth.token", "--raw"],
        &["secrets", "rotate"],
        &["config", "set", "gateway.port", "18801"],
    ] {
        let ran = program.run(arguments);
        assert_eq!(ran.code, 78, "{arguments:?}: {ran:?}");
        assert!(ran.out.is_empty(), "{arguments:?}: {ran:?}");
        for said in [says, "moltbot secrets accept-keys", "the book has the alarm as record"] {
            assert!(ran.err.contains(said), "{arguments:?} does not say {said}: {ran:?}");
        }
    }
}

/// The records of the key file: what was done, how it was decided, and the generation.
fn records(program: &Program) -> Vec<(String, String, String)> {
    let found = ok(program, &["ledger", "search", "--action", "secret.keys", "--json"]);
    let read = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let details = &record["details"];
        (text(&details["act"]), text(&record["decision"]), text(&details["generation"]))
    };
    found.lines().map(read).collect()
}

fn generation(program: &Program) -> u64 {
    let status: Value = serde_json::from_str(&ok(program, &["secrets", "status", "--json"])).unwrap();
    status["generation"].as_u64().unwrap()
}

fn serves(program: &Program) {
    program.start();
    ok(program, &["health"]);
    ok(program, &["gateway", "stop"]);
}

#[test]
fn an_older_key_file_put_back_with_its_config_after_a_rotation_is_refused_with_an_alarm() {
    let program = Program::new();
    serves(&program);
    let old = Kept::of(&program, &[KEY, "moltbot.json"]);
    ok(&program, &["secrets", "rotate"]);
    serves(&program);
    let new = Kept::of(&program, &[KEY, "moltbot.json"]);
    old.put_back();
    assert_refused(&program, "generation 1, and 3 is the newest");
    // The book has the alarms, and is whole: nobody signed it with another key.
    new.put_back();
    let told = records(&program);
    let expected =
        [("found", "done", "1"), ("begin rotation", "allowed", "2"), ("end rotation", "allowed", "3")];
    for ((act, decision, generation), expected) in told.iter().zip(expected) {
        assert_eq!((act.as_str(), decision.as_str(), generation.as_str()), expected);
    }
    assert!(told[3..].iter().all(|(act, decision, _)| act == "refused" && decision == "refused"), "{told:?}");
    assert_eq!(told.len(), 3 + 5, "{told:?}");
    ok(&program, &["ledger", "verify"]);
    serves(&program);
    ok(&program, &["ledger", "verify"]);
}

#[test]
fn an_older_key_file_does_not_take_a_passphrase_or_the_seal_of_the_installation_away() {
    let program = Program::new();
    program.write_config(&format!("{{ gateway: {{ auth: {{ token: '{TOKEN}' }} }} }}"));
    serves(&program);
    let plain = Kept::of(&program, &[KEY, "moltbot.json"]);
    ok(&program, &["config", "set", "gateway.port", "18801"]);
    assert_eq!(generation(&program), 2);
    plain.put_back();
    assert_refused(&program, "generation 1, and 2 is the newest");

    let program = Program::new();
    serves(&program);
    let unwrapped = Kept::of(&program, &[KEY]);
    let passphrase = "correct horse battery staple\n";
    assert_eq!(program.run_with(&["secrets", "rekey", "--wrap", "passphrase"], passphrase).code, 0);
    unwrapped.put_back();
    assert_refused(&program, "generation 1, and 2 is the newest");
}

#[test]
fn a_register_that_is_removed_or_changed_does_not_help() {
    let program = Program::new();
    serves(&program);
    let (old, register) = (Kept::of(&program, &[KEY, "moltbot.json"]), program.state().join(REGISTER));
    ok(&program, &["secrets", "rotate"]);
    let newest = Kept::of(&program, &[REGISTER]);
    old.put_back();
    remove(&register);
    assert_refused(&program, "it is missing, although the book tells of it");
    newest.put_back();
    assert_refused(&program, "generation 1, and 3 is the newest");
    let other = Program::new();
    serves(&other);
    std::fs::copy(other.state().join(REGISTER), &register).unwrap();
    assert_refused(&program, "it was changed, or belongs to other keys");
}

#[expect(clippy::disallowed_methods, reason = "the test takes a file away")]
fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_owner_can_accept_an_older_key_file_and_it_is_the_newest_then() {
    let program = Program::new();
    serves(&program);
    let ran = program.run(&["secrets", "accept-keys", "--yes"]);
    assert!(ran.code == 1 && ran.err.contains("nothing has to be accepted"), "{ran:?}");
    let old = Kept::of(&program, &[KEY]);
    let passphrase = "correct horse battery staple\n";
    assert_eq!(program.run_with(&["secrets", "rekey", "--wrap", "passphrase"], passphrase).code, 0);
    let wrapped = Kept::of(&program, &[KEY]);
    old.put_back();
    // Nobody says yes, and nothing changes.
    assert_eq!(program.run(&["secrets", "accept-keys"]).code, 1);
    assert_eq!(program.run(&["gateway", "run"]).code, 78);
    ok(&program, &["secrets", "accept-keys", "--yes"]);
    assert_eq!(generation(&program), 3);
    assert!(records(&program).contains(&("accept".into(), "allowed".into(), "3".into())));
    serves(&program);
    // What was the newest before is an older one now.
    wrapped.put_back();
    let ran = program.run_with(&["secrets", "get", "gateway.auth.token", "--raw"], passphrase);
    assert!(ran.code == 78 && ran.err.contains("generation 2, and 3 is the newest"), "{ran:?}");
}

#[test]
fn keys_of_before_a_rotation_can_be_accepted_and_the_book_goes_on_beside_the_old_one() {
    let program = Program::new();
    serves(&program);
    let old = Kept::of(&program, &[KEY, "moltbot.json"]);
    ok(&program, &["secrets", "rotate"]);
    old.put_back();
    let told = ok(&program, &["secrets", "accept-keys", "--yes"]);
    assert!(told.contains("of generation 4") && told.contains("moltbot ledger accept"), "{told}");
    ok(&program, &["ledger", "accept", "--yes"]);
    // What was sealed with the newer key stays closed, and is told.
    let ran = program.run(&["gateway", "run"]);
    assert!(ran.code == 1 && ran.err.contains("state.db does not open"), "{ran:?}");
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let path = program.state().join(name);
        if path.exists() {
            remove(&path);
        }
    }
    serves(&program);
}

#[test]
fn a_crash_between_the_key_file_and_its_register_and_a_whole_backup_are_no_attack() {
    let program = Program::new();
    serves(&program);
    let behind = Kept::of(&program, &[REGISTER]);
    ok(&program, &["secrets", "rotate"]);
    // As after a crash: the file is on disk, and what remembers it is not.
    behind.put_back();
    serves(&program);
    assert_eq!(records(&program).last(), Some(&("found".into(), "done".into(), "3".into())));
    // A backup of the whole state folder fits together.
    let (state, backup) = (program.state(), program.state().with_extension("backup"));
    copy(&state, &backup);
    ok(&program, &["secrets", "rotate"]);
    assert_eq!(generation(&program), 5);
    #[expect(clippy::disallowed_methods, reason = "the test restores a backup")]
    std::fs::remove_dir_all(&state).unwrap();
    copy(&backup, &state);
    serves(&program);
    assert_eq!(generation(&program), 3);
    ok(&program, &["ledger", "verify"]);
}

#[expect(clippy::disallowed_methods, reason = "the test makes a backup as its owner would")]
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}
