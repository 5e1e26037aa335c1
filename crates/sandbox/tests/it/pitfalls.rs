//! What other sandboxes of this kind were caught by, each by its number. The rest of the numbers: 2 and 6 are in `escape`,
//! 3 and 4 in `workspace`, 14 in `view`, and those of containers in `docker`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use moltbot_policy::container::Backend;
use moltbot_sandbox::Exit;
use tokio_util::sync::CancellationToken;

use crate::room::{Room, backend, profile, text};

#[tokio::test]
async fn pitfall_01_no_set_user_id_file_can_be_planted_in_the_workspace() {
    let room = Room::new();
    for line in [
        "cp /bin/ls a; chmod 4755 a",
        "cp /bin/ls b; chmod u+s,g+s b",
        "install -m 6755 /bin/ls c",
        "mkdir -m 2755 d",
        "mkdir e; chmod g+s e",
        "umask 0; cp /bin/ls f; chmod 7777 f",
        "command -v perl && perl -e 'sysopen(F, \"g\", 0101, 06755); mkdir \"h\", 02777; chmod 04755, \"g\"'",
        "command -v tar && cp /bin/su i; tar cf i.tar --mode=4755 i; rm i; tar xpf i.tar",
    ] {
        room.run(line).await;
    }
    let mut names = 0;
    for entry in std::fs::read_dir(room.workspace()).unwrap().flatten() {
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o6000, 0, "{}: {mode:o}", entry.path().display());
        names += 1;
    }
    assert!(names >= 4, "only {names} files were made, so little was tried");
}

/// Runs one test of this program again, in namespaces of its own where `first` was done before.
fn again(first: &str, test: &str) -> Output {
    let user: &[&str] =
        if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-current-user"] };
    #[expect(clippy::disallowed_methods, reason = "the test runs itself elsewhere")]
    Command::new("unshare")
        .args(user)
        .args(["--pid", "--fork", "--mount", "--mount-proc", "/bin/sh", "-c"])
        .arg(format!("{first}\nexec \"$0\" --exact --nocapture {test}"))
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, "1")
        .output()
        .unwrap()
}

/// Set where this program was started by [`again`].
const INSIDE: &str = "MOLTBOT_TEST_INSIDE";

fn is_inside() -> bool {
    #[expect(clippy::disallowed_methods, reason = "set by the test that starts this one again")]
    std::env::var_os(INSIDE).is_some()
}

#[tokio::test]
async fn pitfall_05_a_gateway_that_is_the_first_process_of_a_container_is_no_dead_one() {
    let room = Room::new();
    if is_inside() {
        assert_eq!(std::process::id(), 1);
    }
    assert_eq!(room.output("echo ran").await, "ran\n");
    if !is_inside() {
        const THIS: &str =
            "pitfalls::pitfall_05_a_gateway_that_is_the_first_process_of_a_container_is_no_dead_one";
        let output = again("", THIS);
        assert!(output.status.success() && said(&output).contains("1 passed"), "{}", said(&output));
    }
}

#[tokio::test]
async fn pitfall_08_18_where_a_container_or_a_unit_hides_parts_of_proc_nothing_runs_and_it_says_so() {
    let room = Room::new();
    if is_inside() {
        let failure = room.run_with("touch ran", profile()).await.unwrap_err().to_string();
        assert!(failure.contains("(proc: ") && failure.contains("ProtectKernelTunables"), "{failure}");
        assert!(!room.workspace().join("ran").exists());
        return;
    }
    assert_eq!(room.output("echo ran").await, "ran\n");
    if !rustix::process::geteuid().is_root() {
        return moltbot_testkit::skip::skip(
            "pitfall_08_18_where_a_container_or_a_unit_hides_parts_of_proc_nothing_runs_and_it_says_so",
            "only root can hide parts of /proc",
        );
    }
    const THIS: &str =
        "pitfalls::pitfall_08_18_where_a_container_or_a_unit_hides_parts_of_proc_nothing_runs_and_it_says_so";
    for first in
        ["mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys", "mount -t tmpfs x /proc/irq"]
    {
        let output = again(first, THIS);
        assert!(output.status.success() && said(&output).contains("1 passed"), "{first}: {}", said(&output));
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A command goes on for `seconds` after the thread that asked for it has ended.
fn outlives_its_thread(seconds: u32) {
    let room = Room::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let permit = room.permit(&format!("touch began; sleep {seconds}; echo ended"), profile());
    let mut run = Box::pin(room.sandbox.run(permit, Some(room.open()), CancellationToken::new()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            runtime.block_on(async {
                let began = async {
                    while !room.workspace().join("began").exists() {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    outcome = &mut run => panic!("it ended: {outcome:?}"),
                    () = began => {}
                }
            });
        });
    });
    let outcome = runtime.block_on(run).unwrap();
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::Code(0), "ended\n"));
    assert!(outcome.duration >= Duration::from_secs(seconds.into()));
}

#[test]
fn pitfall_17_a_command_outlives_the_thread_that_asked_for_it() {
    outlives_its_thread(2);
}

#[test]
#[ignore = "takes a minute"]
fn siege_pitfall_17_a_command_of_most_of_a_minute_outlives_the_thread_that_asked_for_it() {
    outlives_its_thread(58);
}

/// What this process has: descriptors, mounts and control groups, and processes that came of it.
fn belongings() -> (usize, usize, usize) {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    #[expect(clippy::disallowed_methods, reason = "what the kernel says of this process")]
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let children = tasks.map(|task| text(&format!("{}/children", task.path().display())));
    let children = children.map(|line| line.split_ascii_whitespace().count()).sum();
    let mounts = text("/proc/self/mountinfo").lines().count();
    (count("/proc/self/fd"), mounts + groups_in(Path::new("/sys/fs/cgroup")), children)
}

/// How many control groups of this process's commands are below a folder.
fn groups_in(folder: &Path) -> usize {
    let namespace = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/proc/self/ns/pid").unwrap());
    let own = format!("moltbot-{namespace}-{}-", std::process::id());
    let folders = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders
        .map(|entry| {
            usize::from(entry.file_name().to_string_lossy().starts_with(&own)) + groups_in(&entry.path())
        })
        .sum()
}

/// In a process of its own, because tests beside this one have descriptors and processes, too.
fn leaves_nothing(runs: u32, test: &str) {
    if !is_inside() {
        let output = again("", test);
        assert!(output.status.success() && said(&output).contains("1 passed"), "{}", said(&output));
        return;
    }
    let room = Room::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = || {
        let outcome = runtime.block_on(room.run("(sleep 1000 &); exit 3"));
        assert_eq!(outcome.exit, Exit::Code(3));
    };
    run();
    // The walls that stand ready for the next command are one child.
    let ready = usize::from(backend() == Backend::Embedded);
    let before = settled(|now| now.2 == ready);
    (0..runs).for_each(|_| run());
    let after = settled(|now| now == before);
    assert!(after.1 <= before.1 && after.2 <= before.2, "{before:?} {after:?}");
    // The book and the runtime open a few things once; a leak would be one for each command.
    assert!(after.0 <= before.0 + 4, "{before:?} {after:?}");
    drop(room);
    let end = settled(|now| now.2 == 0);
    assert!(end.1 <= after.1 && end.2 == 0, "{end:?}: the walls that stood ready are left");
    // This is a namespace of processes: whatever is in it besides this one and who looks is left over.
    let left = std::fs::read_dir("/proc").unwrap().flatten();
    let left =
        left.filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit)).count();
    assert_eq!(left, 1);
}

/// What there is when it is as wanted and stays so, or after a while. A helper is buried after its command has been told as
/// ended, and one that stands ready has its descriptors a moment after it is a child.
fn settled(wanted: impl Fn((usize, usize, usize)) -> bool) -> (usize, usize, usize) {
    let began = std::time::Instant::now();
    let mut last = belongings();
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let now = belongings();
        if (wanted(now) && now == last) || began.elapsed() > Duration::from_secs(5) {
            return now;
        }
        last = now;
    }
}

#[test]
fn two_hundred_commands_leave_no_process_mount_or_descriptor() {
    leaves_nothing(200, "pitfalls::two_hundred_commands_leave_no_process_mount_or_descriptor");
}

#[test]
#[ignore = "takes minutes"]
fn siege_ten_thousand_commands_leave_no_process_mount_or_descriptor() {
    leaves_nothing(
        10_000,
        "pitfalls::siege_ten_thousand_commands_leave_no_process_mount_or_descriptor --ignored",
    );
}
