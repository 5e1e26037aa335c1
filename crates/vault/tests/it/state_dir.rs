use std::os::unix::fs::symlink;
use std::path::Path;

use moltbot_vault::{FileError, OpenError, StateDir};
use tempfile::tempdir;

use crate::{bytes_of, chmod, make_folder, mode, names, put, variant};

#[test]
fn a_state_folder_and_what_is_above_it_are_owner_only_from_birth() {
    let home = tempdir().unwrap();
    let path = home.path().join("a/b/state");
    let state = StateDir::open_or_create(&path).unwrap();
    assert_eq!(state.path(), path.canonicalize().unwrap());
    for made in ["a", "a/b", "a/b/state"] {
        assert_eq!(mode(&home.path().join(made)), 0o700, "mode of {made}");
    }
    state.write("keys/x", b"1").unwrap();
    assert_eq!((mode(&path.join("keys")), mode(&path.join("keys/x"))), (0o700, 0o600));
}

#[test]
fn rights_of_others_to_an_existing_state_folder_are_taken_away() {
    let home = tempdir().unwrap();
    let path = home.path().join("state");
    make_folder(&path);
    make_folder(&path.join("logs"));
    for (folder, bits) in [(path.clone(), 0o755), (path.clone(), 0o2770), (path.join("logs"), 0o777)] {
        chmod(&folder, bits);
        StateDir::open_or_create(&path).unwrap().folder("logs").unwrap();
        assert_eq!(mode(&folder), 0o700, "{} with mode {bits:o}", folder.display());
    }
}

#[test]
fn a_state_folder_that_is_a_link_a_file_or_relative_is_refused() {
    let home = tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    make_folder(&at("real"));
    symlink(at("real"), at("link")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    put(&at("file"), b"");
    for (path, expected) in [
        (at("link"), "Symlink"),
        (at("dangling"), "Symlink"),
        (at("dangling/below"), "Symlink"),
        (at("file"), "NotFolder"),
        (at("file/below"), "NotFolder"),
        (at("real/../real"), "Relative"),
        ("state".into(), "Relative"),
    ] {
        let error = StateDir::open_or_create(&path).unwrap_err();
        assert_eq!(variant(&error), expected, "opening {}: {error}", path.display());
    }
    let below = StateDir::open_or_create(&at("link/below")).unwrap();
    assert_eq!(below.path(), at("real/below"), "a link above is followed, and the real path is told");
}

#[test]
fn a_state_folder_of_somebody_else_is_refused() {
    if rustix::process::geteuid().is_root() {
        let home = tempdir().unwrap();
        std::os::unix::fs::chown(home.path(), Some(12345), None).unwrap();
        let error = StateDir::open_or_create(home.path()).unwrap_err();
        assert!(matches!(error, OpenError::Foreign { owner: 12345, user: 0, .. }), "{error}");
    } else {
        let error = StateDir::open_or_create(Path::new("/usr")).unwrap_err();
        assert!(matches!(error, OpenError::Foreign { owner: 0, .. }), "{error}");
    }
}

#[test]
fn a_file_is_replaced_as_a_whole_and_no_temporary_file_stays() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    assert_eq!(state.read("a", 10).unwrap(), None);
    state.write("a", b"first").unwrap();
    state.write("a", b"second").unwrap();
    assert_eq!(state.read("a", 10).unwrap().as_deref(), Some(&b"second"[..]));
    make_folder(&home.path().join("folder"));
    put(&home.path().join("folder/inside"), b"");
    let error = state.write("folder", b"x").unwrap_err();
    assert_eq!(variant(&error), "NotFile", "{error}");
    assert_eq!(names(home.path()), ["a", "folder"]);
}

#[test]
fn a_file_is_created_once() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    assert!(state.create("deep/er/a", b"1").unwrap());
    assert!(!state.create("deep/er/a", b"2").unwrap());
    symlink("/nowhere", home.path().join("link")).unwrap();
    assert!(!state.create("link", b"3").unwrap(), "a dangling link counts as something");
    assert_eq!(bytes_of(&home.path().join("deep/er/a")), b"1");
    assert_eq!(names(&home.path().join("deep/er")), ["a"]);
}

#[test]
fn threads_that_create_one_file_at_once_have_one_winner() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    let wins: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n: usize| {
                scope.spawn({
                    let state = &state;
                    move || usize::from(state.create("sub/one", n.to_string().as_bytes()).unwrap())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((wins, names(&home.path().join("sub"))), (1, vec!["one".to_owned()]));
}

#[test]
fn names_that_are_not_plain_are_refused_by_every_call() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(&home.path().join("state")).unwrap();
    put(&home.path().join("outside"), b"secret");
    for name in ["", ".", "..", "../outside", "a/../../outside", "/etc/passwd", "a//b", "a/", "a\0b"] {
        let errors = [
            state.read(name, 10).map(drop).unwrap_err(),
            state.write(name, b"x").unwrap_err(),
            state.create(name, b"x").map(drop).unwrap_err(),
            state.append(name).map(drop).unwrap_err(),
            state.folder(name).map(drop).unwrap_err(),
            state.rename(name, "ok").unwrap_err(),
            state.rename("ok", name).map(drop).unwrap_err(),
            state.remove(name).unwrap_err(),
        ];
        for error in errors {
            // What does not exist may be noticed first; what is outside is never reached.
            assert!(matches!(error, FileError::Name { .. } | FileError::Missing { .. }), "{name:?}: {error}");
        }
    }
    assert_eq!((names(state.path()), names(home.path())), (vec![], vec!["outside".into(), "state".into()]));
}

#[test]
fn links_are_not_followed_anywhere_in_a_name() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(&home.path().join("state")).unwrap();
    make_folder(&home.path().join("outside"));
    put(&home.path().join("outside/file"), b"secret");
    symlink(home.path().join("outside"), state.path().join("folder")).unwrap();
    symlink(home.path().join("outside/file"), state.path().join("file")).unwrap();
    for name in ["folder/file", "file"] {
        for error in [
            state.read(name, 10).map(drop).unwrap_err(),
            state.append(name).map(drop).unwrap_err(),
            state
                .lock(name, b"")
                .map(drop)
                .map_err(|error| match error {
                    moltbot_vault::LockError::File { source, .. } => source,
                    other => panic!("{other}"),
                })
                .unwrap_err(),
        ] {
            assert_eq!(variant(&error), "Symlink", "{name}: {error}");
        }
    }
    assert_eq!(variant(&state.write("folder/file", b"x").unwrap_err()), "Symlink");
    state.write("file", b"mine").unwrap();
    assert_eq!(bytes_of(&home.path().join("outside/file")), b"secret", "the link itself was replaced");
}

#[test]
fn what_is_larger_than_allowed_is_not_read() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    state.write("a", &[7; 100]).unwrap();
    assert_eq!(state.read("a", 100).unwrap().map(|bytes| bytes.len()), Some(100));
    let error = state.read("a", 99).unwrap_err();
    assert!(matches!(error, FileError::TooLarge { size: 100, max: 99, .. }), "{error}");
    // It says that it is empty and is not: the limit holds while it is read.
    let endless = StateDir::open_or_create(home.path()).unwrap();
    assert_eq!(endless.read("missing/too", 1).unwrap(), None);
}

#[test]
fn a_file_grows_at_its_end_and_is_cut() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    let mut file = state.append("logs/x").unwrap();
    let mut other = state.append("logs/x").unwrap();
    file.write_all(b"abc").unwrap();
    other.write_all(b"def").unwrap();
    file.sync_data().unwrap();
    assert_eq!((file.len().unwrap(), mode(file.path())), (6, 0o600));
    file.truncate(4).unwrap();
    let mut buffer = [0; 8];
    assert_eq!((other.read_at(1, &mut buffer).unwrap(), &buffer[..3]), (3, &b"bcd"[..]));
    state.rename("logs/x", "logs/y").unwrap();
    state.remove("logs/y").unwrap();
    assert_eq!(variant(&file.len().unwrap_err()), "Missing", "a removed file is noticed");
    assert_eq!(variant(&state.remove("logs/y").unwrap_err()), "Missing");
}

#[test]
fn a_listing_is_sorted_and_leaves_leftovers_out() {
    let home = tempdir().unwrap();
    let state = StateDir::open_or_create(home.path()).unwrap();
    for name in ["b", "a", ".hidden"] {
        state.write(name, b"").unwrap();
    }
    put(&home.path().join(".0123456789abcdef.tmp"), b"half");
    assert_eq!(state.list().unwrap(), [".hidden", "a", "b"]);
}
