use std::os::unix::fs::symlink;

use moltbot_vault::{FileError, OwnerFile};
use tempfile::tempdir;

use crate::{bytes_of, chmod, make_folder, mode, names, put, variant};

#[test]
fn a_file_of_the_owner_is_private_wherever_it_is() {
    let home = tempdir().unwrap();
    let path = home.path().join("new/config.json");
    let file = OwnerFile::at(&path);
    assert_eq!(file.read(100).unwrap(), None);
    assert_eq!(names(home.path()), Vec::<String>::new(), "reading makes nothing");
    file.write(b"{}").unwrap();
    file.write(b"{1}").unwrap();
    assert_eq!(file.read(100).unwrap().as_deref(), Some(&b"{1}"[..]));
    assert_eq!((mode(&path), names(&home.path().join("new"))), (0o600, vec!["config.json".to_owned()]));
    assert_eq!(variant(&file.read(2).unwrap_err()), "TooLarge");
}

#[test]
fn a_folder_that_is_shared_keeps_its_rights_and_the_file_loses_them() {
    let home = tempdir().unwrap();
    chmod(home.path(), 0o755);
    let path = home.path().join("config.json");
    put(&path, b"old");
    for bits in [0o644, 0o666, 0o620] {
        chmod(&path, bits);
        assert_eq!(OwnerFile::at(&path).read(100).unwrap().as_deref(), Some(&b"old"[..]));
        assert_eq!((mode(&path), mode(home.path())), (0o600, 0o755), "a file with mode {bits:o}");
    }
}

#[test]
fn a_link_a_folder_and_a_pipe_are_refused() {
    let home = tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    put(&at("real"), b"secret");
    symlink(at("real"), at("link")).unwrap();
    make_folder(&at("folder"));
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).unwrap();
    for (name, expected) in [("link", "Symlink"), ("folder", "NotFile"), ("pipe", "NotFile")] {
        let file = OwnerFile::at(at(name));
        assert_eq!(variant(&file.read(100).unwrap_err()), expected, "reading {name}");
        assert_eq!(variant(&file.write(b"x").unwrap_err()), expected, "writing {name}");
    }
    assert_eq!(bytes_of(&at("real")), b"secret");
    assert_eq!(variant(&OwnerFile::at("relative.json").write(b"").unwrap_err()), "Name");
}

#[test]
fn a_file_of_somebody_else_is_refused() {
    let name = "owner_file::a_file_of_somebody_else_is_refused";
    if !rustix::process::geteuid().is_root() {
        return moltbot_testkit::skip::skip(name, "only root can give a file away");
    }
    let home = tempdir().unwrap();
    let path = home.path().join("config.json");
    put(&path, b"{}");
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    let file = OwnerFile::at(&path);
    assert_eq!(variant(&file.read(100).unwrap_err()), "Foreign");
    assert_eq!(variant(&file.write(b"x").unwrap_err()), "Foreign");
}

#[test]
fn a_file_that_is_written_as_it_comes_is_whole_or_not_there() {
    let home = tempdir().unwrap();
    let path = home.path().join("export");
    let file = OwnerFile::at(&path);
    let fill = |out: &mut dyn std::io::Write| {
        for _ in 0..3 {
            out.write_all(&[b'x'; 300_000]).unwrap();
        }
        Ok::<_, FileError>(7)
    };
    assert_eq!(file.create_from(fill).unwrap(), Some(7));
    assert_eq!((bytes_of(&path).len(), mode(&path)), (900_000, 0o600));
    let kept = file.create_from(|_| -> Result<(), FileError> { panic!("there is a file") });
    assert_eq!(kept.unwrap(), None);
    let other = OwnerFile::at(home.path().join("other"));
    let failed = other.create_from(|out| {
        out.write_all(b"half").unwrap();
        Err::<(), _>(FileError::Missing { path: path.clone() })
    });
    assert_eq!(variant(&failed.unwrap_err()), "Missing");
    assert_eq!(names(home.path()), ["export"], "nothing is left of it");
}
