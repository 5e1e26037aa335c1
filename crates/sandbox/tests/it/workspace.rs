//! The workspace: what may be done in it, and whose the files are afterwards.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use moltbot_policy::profile::{Profile, WorkspaceAccess};
use moltbot_sandbox::Exit;
use tokio_util::sync::CancellationToken;

use crate::room::{Room, profile, text};

#[tokio::test]
async fn files_made_inside_belong_to_the_owner_of_the_workspace() {
    let room = Room::new();
    room.put("old", "old\n");
    let seen = room
        .output(
            "cat old; echo new > new; mkdir -p a/b; echo deep > a/b/c; echo more >> old; stat -c %u old new",
        )
        .await;
    assert_eq!(seen, "old\n1000\n1000\n");
    let owner = room.workspace().metadata().unwrap();
    for name in ["new", "a", "a/b/c", "old"] {
        let file = room.workspace().join(name).metadata().unwrap();
        assert_eq!((file.uid(), file.gid()), (owner.uid(), owner.gid()), "{name}");
        assert_eq!(file.permissions().mode() & 0o6000, 0, "{name}");
    }
}

#[tokio::test]
async fn a_workspace_can_be_read_only_or_absent() {
    let room = Room::new();
    room.put("file", "text\n");
    let profile_with = |workspace| Profile { workspace, ..profile() };
    let script = "cat file; touch new 2>/dev/null && echo made; echo x >> file; true";
    let outcome = room
        .run_with(&format!("{{ {script} ; }} 2>/dev/null"), profile_with(WorkspaceAccess::ReadOnly))
        .await;
    assert_eq!(text(&outcome.unwrap()), "text\n");
    let outcome =
        room.run_with("ls -A; echo x > scratch; cat scratch", profile_with(WorkspaceAccess::None)).await;
    assert_eq!(text(&outcome.unwrap()), "x\n");
    assert!(!room.workspace().join("scratch").exists() && !room.workspace().join("new").exists());
}

#[tokio::test]
async fn what_the_host_runs_or_obeys_cannot_be_changed() {
    let room = Room::new();
    for name in
        [".git/config", ".git/hooks/pre-commit", ".envrc", ".vscode/tasks.json", ".moltbot/x", ".git/HEAD"]
    {
        room.put(name, "mine\n");
    }
    for line in [
        "echo theirs > .git/config",
        "echo theirs > .git/hooks/post-commit",
        "rm -f .git/hooks/pre-commit",
        "rm -rf .git/hooks",
        "mv .git/hooks .git/old",
        "mv .git old",
        "rm -f .envrc",
        "echo theirs > other; mv -f other .envrc",
        "ln -f /workspace/.git/HEAD .envrc",
        "mv .vscode old",
        "chmod 777 .moltbot",
        "touch .moltbot/new",
    ] {
        let outcome = room.run(line).await;
        assert_ne!(outcome.exit, Exit::Code(0), "{line}: {}", text(&outcome));
    }
    assert_eq!(
        room.output("echo ref > .git/HEAD; cat .git/HEAD .envrc; ls -A .git/hooks").await,
        "ref\nmine\npre-commit\n"
    );
}

/// The book as it is on disk. It is closed by this.
pub(crate) fn book(room: &Room) -> String {
    room.ledger.shutdown();
    let mut book = String::new();
    for file in std::fs::read_dir(room.home.path().join("state/ledger")).unwrap() {
        #[expect(clippy::disallowed_methods, reason = "the book as it is on disk")]
        let text = std::fs::read(file.unwrap().path()).unwrap();
        book += &String::from_utf8_lossy(&text);
    }
    book
}

#[tokio::test]
async fn git_is_not_led_to_other_settings() {
    let room = Room::new();
    room.put(".git/config", "mine\n");
    room.put("worktree/.git", "gitdir: /elsewhere\n");
    // It tells git to take settings and hooks from another folder. What else is in the folder stays.
    room.run("mkdir evil; echo theirs > evil/config; echo ../evil > .git/commondir; echo x > .git/HEAD")
        .await;
    assert!(!room.workspace().join(".git/commondir").exists(), "git obeys evil/config");
    assert!(room.workspace().join(".git/HEAD").exists() && room.workspace().join("evil/config").exists());
    room.run("ln -s ../evil .git/commondir").await;
    assert!(room.workspace().join(".git/commondir").symlink_metadata().is_err(), "a link is obeyed too");
    let book = book(&room);
    let ended: Vec<&str> = book.lines().filter(|line| line.contains("command.end")).collect();
    assert!(ended.iter().all(|line| line.contains(r#""removed":".git/commondir""#)), "{ended:?}");
}

#[tokio::test]
async fn a_file_that_leads_git_to_its_folder_is_held() {
    let room = Room::new();
    room.put(".git", "gitdir: /elsewhere\n");
    for line in ["echo gitdir: evil > .git", "rm -f .git", "mv .git old", "echo x > n; mv -f n .git"] {
        let outcome = room.run(line).await;
        assert_ne!(outcome.exit, Exit::Code(0), "{line}: {}", text(&outcome));
    }
    assert_eq!(room.output("cat .git").await, "gitdir: /elsewhere\n");
}

#[tokio::test]
async fn a_link_in_such_a_place_is_named_in_the_book() {
    let room = Room::new();
    room.run("mkdir evil; ln -s evil .git; ln -s evil/x .envrc").await;
    let book = book(&room);
    assert!(book.contains(r#""appeared":".envrc, .git""#), "{book}");
}

#[tokio::test]
async fn what_appears_in_such_a_place_is_named_in_the_book() {
    let room = Room::new();
    room.run("mkdir -p .git/hooks; echo x > .envrc").await;
    let book = book(&room);
    let ended = book.lines().find(|line| line.contains("command.end")).unwrap();
    assert!(
        ended.contains(r#""appeared":".envrc, .git/hooks""#) && ended.contains(r#""outcome":"exit 0""#),
        "{ended}"
    );
    assert!(book.lines().any(|line| line.contains("command.start")), "{book}");
}

#[tokio::test]
async fn pitfall_04_a_symlink_in_the_workspace_leads_to_nothing_of_the_host() {
    let room = Room::new();
    for (target, name) in [("/etc/shadow", "shadow"), ("/root", "root"), ("/proc/1/root", "first")] {
        std::os::unix::fs::symlink(target, room.workspace().join(name)).unwrap();
    }
    assert_eq!(room.output("cat shadow 2>/dev/null; ls root/ first/ 2>/dev/null; echo end").await, "end\n");
}

#[tokio::test]
async fn pitfall_03_a_workspace_that_was_replaced_is_refused_or_the_one_that_was_opened() {
    let room = Room::new();
    let opened = room.open();
    room.put("mine", "");
    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
    std::fs::rename(room.workspace(), room.home.path().join("moved")).unwrap();
    std::os::unix::fs::symlink("/etc", room.workspace()).unwrap();
    let permit = room.permit("ls", profile());
    // Root mounts the very folder by its handle. Another user must find it again, and finds where it is now.
    let outcome = room.sandbox.run(permit, Some(opened), CancellationToken::new()).await.unwrap();
    assert_eq!(text(&outcome), "mine\n");
}

#[tokio::test]
async fn a_file_system_that_cannot_lend_the_workspace_says_what_to_do() {
    if !rustix::process::geteuid().is_root() {
        return moltbot_testkit::skip::skip(
            "a_file_system_that_cannot_lend_the_workspace_says_what_to_do",
            "only a gateway that is root lends its workspace",
        );
    }
    let room = Room::new();
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let folder = rustix::fs::open("/proc/sys", flags, rustix::fs::Mode::empty()).unwrap();
    let failure = room
        .sandbox
        .run(room.permit("true", profile()), Some(folder), CancellationToken::new())
        .await
        .unwrap_err();
    let said = failure.to_string();
    assert!(said.contains("(ownership: ") && said.contains("chown -R "), "{said}");
}
