//! Walls that stand ready before there is a command for them.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use moltbot_policy::profile::Profile;
use moltbot_sandbox::{Exit, Killed, Outcome};
use rustix::process::{Pid, Signal, kill_process};

use crate::room::{Room, profile, text};

/// In a process of its own, whose children are the room's alone. What `again` prints must say that one test has passed.
fn alone(test: &str, work: impl FnOnce(Room)) {
    #[expect(clippy::disallowed_methods, reason = "the test runs itself in a process of its own")]
    if std::env::var_os(ALONE).is_some() {
        return work(Room::new());
    }
    #[expect(clippy::disallowed_methods, reason = "as above")]
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("ahead::{test}"), "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

const ALONE: &str = "MOLTBOT_TEST_ALONE";

fn run(room: &Room, script: &str, profile: Profile) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(room.run_with(script, profile)).unwrap()
}

/// The process ids of this one's children.
fn children() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    #[expect(clippy::disallowed_methods, reason = "what the kernel says of this process")]
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>()).collect()
}

/// The walls that stand ready: the helper's outer process, once the first one waits. The helper of the command before is there
/// for a moment after its end was told, and has a first process that does not wait any more.
fn ready() -> i32 {
    let stands = || match children().as_slice() {
        [outer] => first_of(*outer).filter(|first| waits(*first)).map(|_| *outer),
        _ => None,
    };
    let mut found = None;
    until("walls stand ready", || {
        found = stands();
        std::thread::sleep(Duration::from_millis(100));
        found.is_some() && stands() == found
    });
    found.unwrap()
}

fn waits(process: i32) -> bool {
    #[expect(clippy::disallowed_methods, reason = "what the kernel says of the helper")]
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:\tS"))
}

/// The first process of the namespace that the outer one has made. Before that it has another child for a moment, which
/// lends the workspace.
fn first_of(outer: i32) -> Option<i32> {
    #[expect(clippy::disallowed_methods, reason = "what the kernel says of the helper")]
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let list = read(format!("/proc/{outer}/task/{outer}/children"));
    let is_first = |child: &&str| {
        let status = read(format!("/proc/{child}/status"));
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        let numbers: Vec<&str> = numbers.split_whitespace().collect();
        numbers.len() > 1 && numbers.last() == Some(&"1")
    };
    list.split_whitespace().find(is_first)?.parse().ok()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: {:?}", children());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process has not ended; one that nobody has buried yet has no arguments any more.
fn lives(process: i32) -> bool {
    #[expect(clippy::disallowed_methods, reason = "what the kernel says of the helper")]
    std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn the_next_command_runs_in_walls_that_stood_ready_and_never_in_used_ones() {
    alone("the_next_command_runs_in_walls_that_stood_ready_and_never_in_used_ones", |room| {
        let mark = "mkdir /tmp/left /dev/shm/left && sleep 0.3 && ls /tmp /dev/shm";
        assert_eq!(text(&run(&room, mark, profile())), "/dev/shm:\nleft\n\n/tmp:\nleft\n");
        for _ in 0..3 {
            let walls = ready();
            let seen = std::thread::scope(|scope| {
                let seen = scope.spawn(|| {
                    until("the command runs", || room.workspace().join("runs").exists());
                    children()
                });
                let outcome = run(&room, "touch runs; ls /tmp /dev/shm; sleep 0.3; rm runs", profile());
                assert_eq!((outcome.exit, text(&outcome)), (Exit::Code(0), "/dev/shm:\n\n/tmp:\n".into()));
                seen.join().unwrap()
            });
            assert_eq!(seen, [walls], "the command ran elsewhere");
            until("its walls are gone", || !lives(walls));
        }
    });
}

#[test]
fn what_came_into_the_workspace_meanwhile_is_protected() {
    alone("what_came_into_the_workspace_meanwhile_is_protected", |room| {
        run(&room, "true", profile());
        ready();
        room.put(".git/hooks/pre-commit", "#!/bin/sh\n");
        room.put(".git/config", "[core]\n");
        let attack = "echo evil >> .git/hooks/pre-commit; echo evil >> .git/config; mv .git git; true";
        let outcome = run(&room, attack, profile());
        assert_eq!(text(&outcome).matches("Read-only file system").count(), 2, "{}", text(&outcome));
        assert!(room.workspace().join(".git/hooks/pre-commit").exists(), "the folder was renamed");
        let told = run(&room, "cat .git/hooks/pre-commit .git/config", profile());
        assert_eq!(text(&told), "#!/bin/sh\n[core]\n");
    });
}

#[test]
fn walls_for_other_limits_or_another_folder_are_not_used_but_ended() {
    alone("walls_for_other_limits_or_another_folder_are_not_used_but_ended", |room| {
        run(&room, "true", profile());
        let first = ready();
        let tighter = Profile { open_files: 77, ..profile() };
        assert_eq!(text(&run(&room, "ulimit -n", tighter)), "77\n");
        until("what was built for others is gone", || !lives(first));
        let second = ready();
        let (moved, other) = (room.workspace().with_extension("moved"), room.workspace());
        rustix::fs::rename(&other, &moved).unwrap();
        rustix::fs::mkdir(&other, rustix::fs::Mode::RWXU).unwrap();
        room.put("here", "");
        assert_eq!(text(&run(&room, "ls", Profile { open_files: 77, ..profile() })), "here\n");
        until("what was built for another folder is gone", || !lives(second));
    });
}

#[test]
fn a_stop_ends_walls_that_stand_ready_and_counts_no_command() {
    alone("a_stop_ends_walls_that_stand_ready_and_counts_no_command", |room| {
        run(&room, "true", profile());
        let walls = ready();
        let first = first_of(walls).unwrap();
        let killed = room.sandbox.stopper().stop().wait(Duration::from_secs(1));
        assert_eq!(killed, Killed { killed: 0, left: 0 });
        until("its first process is gone", || !lives(first));
        room.sandbox.stopper().resume();
        assert_eq!(text(&run(&room, "echo on", profile())), "on\n");
        assert_ne!(ready(), walls);
    });
}

#[test]
fn a_helper_that_was_killed_while_it_waited_costs_no_command() {
    alone("a_helper_that_was_killed_while_it_waited_costs_no_command", |room| {
        run(&room, "true", profile());
        // The outer one, and then the first process of another.
        for which in [|outer| outer, |outer| first_of(outer).unwrap()] {
            let walls = ready();
            kill_process(Pid::from_raw(which(walls)).unwrap(), Signal::KILL).unwrap();
            until("it is dead", || first_of(walls).is_none());
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(text(&run(&room, "echo on", profile())), "on\n");
        }
    });
}

/// Started again by the test below; on its own it does nothing but run a short command.
#[test]
fn a_gateway_with_walls_that_stand_ready() {
    let room = Room::new();
    run(&room, "true", profile());
    #[expect(clippy::disallowed_methods, reason = "set by the test below")]
    if std::env::var_os(WAITS).is_some() {
        let outer = ready();
        println!("ready {outer} {}", first_of(outer).unwrap());
        loop {
            std::thread::park();
        }
    }
}

const WAITS: &str = "MOLTBOT_TEST_WAITS";

#[test]
fn walls_that_stand_ready_do_not_survive_a_gateway_that_is_killed() {
    use std::io::{BufRead as _, BufReader};
    #[expect(clippy::disallowed_methods, reason = "the test runs itself as the gateway that is killed")]
    let mut gateway = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ahead::a_gateway_with_walls_that_stand_ready", "--nocapture"])
        .env(WAITS, "1")
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let lines = BufReader::new(gateway.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told = lines.into_iter().find(|line| line.contains("ready ")).unwrap();
    let ids: Vec<i32> =
        told.split("ready ").nth(1).unwrap().split(' ').map(|id| id.parse().unwrap()).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| lives(*id)), "{told}");
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    until("the helper's processes are gone", || ids.iter().all(|id| !lives(*id)));
}
