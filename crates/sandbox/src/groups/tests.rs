use std::process::{Command, Stdio};

use moltbot_policy::profile::Profile;
use moltbot_testkit::skip::skip;

use super::*;

const MOUNTS: &str = "\
25 30 0:23 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
26 30 0:24 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
27 30 0:25 /user.slice /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
28 30 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
";
const OWN: &str = "9:cpu,cpuacct:/x\n8:pids:/user.slice/a\n4:memory:/b/c\n0::/user.slice/moltbot.service\n";

#[test]
fn the_own_group_is_found_where_its_tree_is_mounted() {
    let found = |kind, controller| {
        let folder = mounted(MOUNTS, kind, controller, own_path(OWN, controller)?)?;
        Some(folder.display().to_string())
    };
    for (kind, controller, folder) in [
        ("cgroup", Some("memory"), Some("/sys/fs/cgroup/memory/b/c")),
        ("cgroup", Some("cpuacct"), Some("/sys/fs/cgroup/cpu,cpuacct/x")),
        ("cgroup", Some("pids"), Some("/sys/fs/cgroup/pids/a")),
        ("cgroup", Some("devices"), None),
        ("cgroup2", None, Some("/sys/fs/cgroup/unified/user.slice/moltbot.service")),
    ] {
        assert_eq!(found(kind, controller).as_deref(), folder, "{kind} {controller:?}");
    }
    // A part of the tree is mounted in which this program is not.
    assert_eq!(mounted(MOUNTS, "cgroup", Some("pids"), "/other"), None);
}

#[test]
fn groups_of_a_gateway_that_is_gone_are_removed_and_others_stay() {
    let groups = Groups::find();
    let parents = groups.kind.parents();
    if parents.is_empty() {
        let why = "this run may make no control groups; root may where there is version 1, and others what is delegated";
        return skip("groups_of_a_gateway_that_is_gone…", why);
    }
    // No process has a number beyond 2^22.
    let gone = parents.iter().map(|it| it.join(format!("{NAME}{}-4194305-1", groups.namespace)));
    let other = parents.iter().map(|it| it.join(format!("{NAME}{}-4194305-1", groups.namespace + 1)));
    let (gone, other): (Vec<_>, Vec<_>) = (gone.collect(), other.collect());
    for folder in gone.iter().chain(&other) {
        rustix::fs::mkdir(folder, Mode::from_raw_mode(0o700)).unwrap();
    }
    drop(Groups::find());
    assert!(gone.iter().all(|folder| !folder.exists()));
    for folder in other {
        rustix::fs::rmdir(folder).unwrap();
    }
}

#[test]
fn what_the_kernel_killed_is_counted_by_its_exact_name() {
    assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), 3);
    assert_eq!(count("low 0\nhigh 0\nmax 12\noom 4\noom_kill 0\noom_group_kill 1\n", "oom_kill"), 0);
    assert_eq!(count("", "oom_kill"), 0);
}

/// A process that enters as the helper does, and takes as much memory as there is.
#[expect(clippy::disallowed_methods, reason = "the kernel is asked with a process of its own")]
fn fill(group: &Group) {
    let script = "echo 0; echo 0 >&2; exec > /dev/null 2>&1; head -c 400000000 /dev/zero | tail";
    let entrance = |at: usize| {
        // With one entrance alone nothing is entered a second time.
        group.entrances().get(at).map_or_else(Stdio::null, |it| Stdio::from(it.try_clone().unwrap()))
    };
    let mut shell = Command::new("/bin/sh");
    let ended = shell.args(["-c", script]).stdout(entrance(0)).stderr(entrance(1)).status().unwrap();
    assert!(!ended.success());
}

#[test]
fn the_kernel_ends_what_takes_more_and_the_group_says_so() {
    let groups = Groups::find();
    if groups.kind == Kind::None {
        return skip("the_kernel_ends_what_takes_more…", "this run may make no control groups");
    }
    let mut profile = Profile::for_probe();
    (profile.memory, profile.temporary_bytes) = (1 << 20, 1 << 20);
    let request = Request::new("", "", &profile);
    let group = groups.make(&request).unwrap().unwrap();
    let folders = group.made.as_ref().unwrap().folders.clone();
    assert!(!group.has_run_out() && folders.iter().all(|folder| folder.exists()));
    fill(&group);
    assert!(group.has_run_out());
    drop(group);
    // What has ended leaves its group within a moment; then the next command has it, and starts anew.
    let began = std::time::Instant::now();
    while !lock(&groups.free).iter().all(Made::is_empty) && began.elapsed().as_secs() < 5 {}
    let next = groups.make(&request).unwrap().unwrap();
    assert_eq!(next.made.as_ref().unwrap().folders, folders);
    assert!(!next.has_run_out());
    // Another one has a group of its own beside it, and other limits are not shared.
    profile.memory += 1;
    let other = groups.make(&Request::new("", "", &profile)).unwrap().unwrap();
    assert_ne!(other.made.as_ref().unwrap().folders, folders);
    let limiter = groups.limiter();
    drop((next, other, groups));
    assert_eq!(folders.iter().filter(|folder| folder.exists()).count(), 0);
    println!("held by {limiter}");
}

/// What the first process of the other kernel does: hands a group over as a unit's `Delegate=` does, and runs this program in it.
const FIRST: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin:/usr/sbin:/sbin; export PATH
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmp /tmp
mount -t cgroup2 none /sys/fs/cgroup
mkdir /sys/fs/cgroup/unit
echo "+memory +pids" > /sys/fs/cgroup/cgroup.subtree_control
run() { sh -c 'echo $$ > /sys/fs/cgroup/unit/cgroup.procs; exec "$@"' sh "$PROGRAM" --nocapture --exact "$1"; }
echo "not handed over:"
run groups::tests::the_kernel_ends_what_takes_more_and_the_group_says_so
python3 -c "import os; os.setxattr('/sys/fs/cgroup/unit', 'trusted.delegate', b'1')"
echo "handed over:"
run groups::tests::the_kernel_ends_what_takes_more_and_the_group_says_so
echo "left: $(ls -d /sys/fs/cgroup/unit/moltbot-*-* 2> /dev/null)"
halt -f
"#;

#[test]
#[expect(clippy::disallowed_methods, reason = "starts a kernel of its own, as an ordinary process")]
fn groups_of_version_two_hold_in_a_kernel_of_its_own() {
    const KERNEL: &str = "/usr/bin/linux.uml";
    const NAME: &str = "groups_of_version_two_hold…";
    if !Path::new(KERNEL).exists() || !rustix::process::geteuid().is_root() {
        return skip(NAME, "it needs root and the package user-mode-linux, which there is for x86-64");
    }
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let program = std::env::current_exe().unwrap();
    std::fs::write(&first, FIRST).unwrap();
    std::fs::set_permissions(&first, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut kernel = Command::new("timeout");
    kernel.args(["120", KERNEL]);
    kernel.args([
        "mem=1200M",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "con=null",
        "con0=null,fd:2",
        "con1=fd:0,fd:1",
    ]);
    kernel.args([format!("init={}", first.display()), format!("PROGRAM={}", program.display())]);
    kernel.env("TMPDIR", folder.path()).env("HOME", folder.path()).current_dir(folder.path());
    let output = kernel.stdin(Stdio::null()).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let said = said.replace('\r', "");
    if !said.contains(" as init process") {
        println!("{said}");
        return skip(NAME, "a kernel that is a process does not start on this machine");
    }
    let (before, after) =
        said.split_once("not handed over:").and_then(|(_, it)| it.split_once("handed over:")).expect(&said);
    // Root may write there, and yet it is somebody else's.
    assert!(before.contains("1 passed") && !before.contains("held by"), "{said}");
    assert!(after.contains("held by cgroup v2, watchdog") && after.contains("left: \n"), "{said}");
}
