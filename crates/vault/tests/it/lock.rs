use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use moltbot_vault::{LockError, StateDir};
use tempfile::tempdir;

use crate::mode;

/// Names the folder in which the child of a test takes the lock.
const CHILD: &str = "MOLTBOT_TEST_LOCK_IN";

#[test]
fn a_lock_is_held_once_and_free_after_its_holder() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    assert_eq!(state.peek_lock("x.lock").unwrap(), None);
    let lock = state.lock("x.lock", b"first").unwrap();
    assert_eq!(mode(&home.path().join("x.lock")), 0o600);
    assert_eq!(state.peek_lock("x.lock").unwrap().as_deref(), Some(&b"first"[..]));
    match state.lock("x.lock", b"second").unwrap_err() {
        LockError::Held { contents, .. } => assert_eq!(contents, b"first"),
        other => panic!("{other}"),
    }
    drop(lock);
    assert_eq!(state.peek_lock("x.lock").unwrap(), None);
    let lock = state.lock("x.lock", b"2").unwrap();
    assert_eq!(state.peek_lock("x.lock").unwrap().as_deref(), Some(&b"2"[..]));
    for contents in [&b"a longer description"[..], b"short"] {
        lock.rewrite(contents).unwrap();
        assert_eq!(state.peek_lock("x.lock").unwrap().as_deref(), Some(contents));
    }
    drop(lock);
}

#[test]
fn a_lock_file_that_is_removed_does_not_make_two_holders_of_one_name() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    let first = state.lock("x.lock", b"1").unwrap();
    state.remove("x.lock").unwrap();
    let second = state.lock("x.lock", b"2").unwrap();
    drop(first);
    assert_eq!(state.peek_lock("x.lock").unwrap().as_deref(), Some(&b"2"[..]), "the new one is not touched");
    drop(second);
}

#[test]
fn those_who_peek_do_not_stop_one_who_locks() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    drop(state.lock("x.lock", b"").unwrap());
    std::thread::scope(|scope| {
        let peeking = scope.spawn(|| {
            for _ in 0..500 {
                state.peek_lock("x.lock").unwrap();
            }
        });
        while !peeking.is_finished() {
            drop(state.lock("x.lock", b"me").unwrap());
        }
    });
}

#[test]
fn a_lock_dies_with_its_process() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the test kills a copy of itself")]
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["lock::child_that_holds_a_lock", "--exact", "--ignored", "--nocapture"]);
    let mut child = child.env(CHILD, home.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("locked")), "the child takes the lock");
    assert_eq!(state.peek_lock("x.lock").unwrap().as_deref(), Some(&b"child"[..]));
    assert!(matches!(state.lock("x.lock", b""), Err(LockError::Held { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(state.peek_lock("x.lock").unwrap(), None, "what it left behind is nobody's");
    drop(state.lock("x.lock", b"after").unwrap());
}

#[test]
#[ignore = "the part of another process in a_lock_dies_with_its_process"]
fn child_that_holds_a_lock() {
    #[expect(clippy::disallowed_methods, reason = "how the parent names the folder")]
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let state = StateDir::open_or_create(path.as_ref()).unwrap();
    let _lock = state.lock("x.lock", b"child").unwrap();
    println!("locked");
    loop {
        std::thread::park();
    }
}
