//! What holds without namespaces although Landlock alone would not hold it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use moltbot_policy::container::Backend;
use moltbot_policy::profile::{Profile, WorkspaceAccess};
use moltbot_sandbox::{Exit, RunError, Step};

use crate::lifetime::marker;
use crate::room::{Room, has, profile, survivors, text};

const PERM: &str = "1";

fn weak(seconds: u64) -> Profile {
    Profile { backend: Backend::EmbeddedWeak, timeout: Duration::from_secs(seconds), ..profile() }
}

fn room() -> Room {
    Room::over(Backend::EmbeddedWeak)
}

/// A file beside the workspace of whom commands run as.
fn key(room: &Room) -> PathBuf {
    let path = room.home.path().join("key");
    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    std::fs::write(&path, "of-the-owner-alone").unwrap();
    rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    room.give(&path);
    path
}

#[tokio::test]
async fn files_of_the_owner_are_neither_read_nor_changed_nor_moved() {
    let room = room();
    let key = key(&room);
    let path = key.display();
    let script = format!(
        "cat {path}; echo x >> {path}; echo x > {path}; cp {path} got; ln {path} got; mv {path} got; rm -f {path}; \
         ln -s {path} link; cat link; ls {0}; mkdir {0}/new; touch {0}/new; true",
        room.home.path().display()
    );
    let outcome = room.run_with(&format!("({script}) 2>/dev/null"), weak(20)).await.unwrap();
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::Code(0), ""));
    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    let kept = std::fs::read_to_string(&key).unwrap();
    assert_eq!(kept, "of-the-owner-alone");
    assert!(!room.workspace().join("got").exists() && !room.home.path().join("new").exists());
}

/// Calls for which Landlock has no rules, and their arguments as Perl: `$k` is the path of the owner's file, `$p` another
/// process of the same user. Numbers of x86-64.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const CALLS: &[(&str, u32, &str)] = &[
    ("chmod", 90, "$k, 0666"),
    ("fchmodat", 268, "-100, $k, 0666"),
    ("fchmodat2", 452, "-100, $k, 0666, 0"),
    ("chown", 92, "$k, $<, $<"),
    ("lchown", 94, "$k, $<, $<"),
    ("fchownat", 260, "-100, $k, $<, $<, 0"),
    ("utime", 132, "$k, 0"),
    ("utimes", 235, "$k, 0"),
    ("futimesat", 261, "-100, $k, 0"),
    ("utimensat", 280, "-100, $k, 0, 0"),
    ("setxattr", 188, "$k, $n, $n, 1, 0"),
    ("lsetxattr", 189, "$k, $n, $n, 1, 0"),
    ("removexattr", 197, "$k, $n"),
    ("lremovexattr", 198, "$k, $n"),
    ("inotify_add_watch", 254, "0, $k, 0xfff"),
    ("prlimit64 of another", 302, "$p, 0, 0, $b"),
    ("sched_setaffinity of another", 203, "$p, 8, $b"),
    ("setpriority of another", 141, "0, $p, 5"),
    ("setpriority of the user", 141, "2, 0, 5"),
    ("setpriority of the group", 141, "1, 0, 5"),
    ("kill", 62, "$p, 0"),
    ("tgkill", 234, "$p, $p, 0"),
    ("rt_sigqueueinfo", 129, "$p, 0, $b"),
];

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn what_landlock_has_no_rules_for_is_refused() {
    const NAME: &str = "what_landlock_has_no_rules_for_is_refused";
    if !has("/usr/bin/perl") {
        return moltbot_testkit::skip::skip(NAME, "there is no /usr/bin/perl on this machine");
    }
    let room = room();
    let key = key(&room);
    let mut script = format!(
        "$k = \"{}\\0\"; $n = \"user.x\\0\"; $b = \"\\1\" . (\"\\0\" x 127); $p = getppid(); $p = $ARGV[0] + 0;\n",
        key.display()
    );
    let mut expected = String::new();
    for (name, number, arguments) in CALLS {
        script += &format!(
            "$! = 0; $r = syscall({number}, {arguments}); print '{name}: ', $r == -1 ? $! + 0 : 'done', \"\\n\";\n"
        );
        expected += &format!("{name}: {PERM}\n");
    }
    // Of itself, and of open files, all of it works.
    script += "open(F, '>', 'own'); print 'own: ', syscall(280, fileno(F), 0, 0, 0), syscall(302, 0, 7, 0, $b), \
        syscall(141, 0, 0, 5), syscall(91, fileno(F), 0640), \"\\n\";\n";
    expected += "own: 0000\n";
    room.put("attempt.pl", &script);
    let outcome = room.run_with("perl attempt.pl $PPID", weak(20)).await.unwrap();
    assert_eq!(text(&outcome), expected);
    let kept = key.metadata().unwrap();
    assert_eq!((kept.permissions().mode() & 0o777, kept.nlink()), (0o600, 1));
}

#[tokio::test]
async fn modes_are_changed_in_its_own_folders_alone() {
    let room = room();
    let key = key(&room);
    room.put("own.sh", "echo ran\n");
    std::os::unix::fs::symlink(&key, room.workspace().join("link")).unwrap();
    let path = key.display();
    let script = format!(
        "chmod 755 own.sh && ./own.sh; chmod 700 $HOME && echo home; mkdir d; cd d; chmod 711 ../own.sh && echo up; \
         for out in {path} ../link ../../key /workspace/../key /etc/passwd ../../../../etc/passwd; do \
         chmod 666 $out 2>/dev/null && echo out $out; done; chmod 4755 ../own.sh 2>/dev/null && echo set; \
         chmod 600 /nonexistent 2>/dev/null || echo end"
    );
    let outcome = room.run_with(&script, weak(20)).await.unwrap();
    assert_eq!(text(&outcome), "ran\nhome\nup\nend\n");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&key), mode(&room.workspace().join("own.sh"))), (0o600, 0o711));
    let only_read = Profile { workspace: WorkspaceAccess::ReadOnly, ..weak(20) };
    let outcome = room.run_with("chmod 600 own.sh 2>/dev/null || echo refused", only_read).await.unwrap();
    assert_eq!((text(&outcome).as_str(), mode(&room.workspace().join("own.sh"))), ("refused\n", 0o711));
}

#[tokio::test]
async fn a_process_that_becomes_another_all_the_time_does_not_outlive_its_end() {
    const NAME: &str = "a_process_that_becomes_another_all_the_time_does_not_outlive_its_end";
    if !has("/usr/bin/perl") {
        return moltbot_testkit::skip::skip(NAME, "there is no /usr/bin/perl on this machine");
    }
    let room = room();
    let marker = marker(41);
    // In a session of its own, deaf, and always a process that nobody has seen yet.
    let comet = format!("setsid perl -e '$SIG{{TERM}} = \"IGNORE\"; for (;;) {{ exit if fork }}' {marker} &");
    let outcome = room.run_with(&format!("({comet}) ; sleep 30"), weak(2)).await.unwrap();
    assert_eq!((outcome.exit, survivors(&marker)), (Exit::TimedOut, Vec::new()), "{}", text(&outcome));
    // The same when the shell ends by itself.
    let outcome = room.run_with(&format!("({comet}) ; sleep 0.3; echo on"), weak(20)).await.unwrap();
    assert_eq!(
        (outcome.exit, text(&outcome).as_str(), survivors(&marker)),
        (Exit::Code(0), "on\n", Vec::new())
    );
}

#[tokio::test]
async fn a_fork_bomb_stops_at_its_number_and_ends_with_its_command() {
    let room = room();
    let marker = marker(42);
    let bomb = format!("n=0; while [ $n -lt 200 ]; do sleep {marker} & n=$((n+1)); done 2>/dev/null; wait");
    let profile = Profile { processes: 40, ..weak(3) };
    let run = room.run_with(&bomb, profile);
    let counted = async {
        let mut most = 0;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = most.max(survivors(&format!("sleep {marker}")).len());
        }
        most
    };
    let (outcome, most) = tokio::join!(run, counted);
    assert_eq!((outcome.unwrap().exit, survivors(&marker)), (Exit::TimedOut, Vec::new()));
    // One of them is the shell, which has the marker in its arguments, too.
    assert!((30..=40).contains(&most), "{most} processes");
}

#[tokio::test]
async fn what_is_temporary_has_its_own_folder_which_is_gone_afterwards() {
    let room = room();
    let script = "echo kept > $TMPDIR/x; cat $HOME/x; t=$(mktemp); echo on > $t; cat $t; cp /bin/ls $TMPDIR/ls; \
        $TMPDIR/ls / 2>/dev/null && echo ran; echo x > /tmp/x; echo $TMPDIR";
    let outcome = room.run_with(&format!("{{ {script} ; }} 2>/dev/null"), weak(20)).await.unwrap();
    let said = text(&outcome);
    let folder = said.strip_prefix("kept\non\n").unwrap_or_else(|| panic!("{said}")).trim();
    assert!(folder.starts_with("/tmp/moltbot-"), "{said}");
    let began = std::time::Instant::now();
    while PathBuf::from(folder).exists() {
        assert!(began.elapsed() < Duration::from_secs(5), "{folder} is there still");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_root_gateway_lends_no_workspace_of_its_own() {
    const NAME: &str = "a_root_gateway_lends_no_workspace_of_its_own";
    if !rustix::process::geteuid().is_root() {
        return moltbot_testkit::skip::skip(NAME, "only a gateway that is root lends its workspace");
    }
    let room = Room::over(Backend::Embedded);
    let failure = room.run_with("touch ran", weak(20)).await.unwrap_err();
    assert!(matches!(&failure, RunError::Setup { step: Step::Workspace, .. }), "{failure}");
    assert!(failure.to_string().contains("run the gateway as an ordinary user"), "{failure}");
    assert!(!room.workspace().join("ran").exists());
}
