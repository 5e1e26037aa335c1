//! A command cannot take more than its share.

use moltbot_policy::profile::Profile;
use moltbot_sandbox::Exit;

use crate::room::{Room, backend, has, profile, text};

#[tokio::test]
async fn fifty_megabytes_of_output_are_read_and_not_kept() {
    let room = Room::new();
    let profile = Profile { output_bytes: 100_000, ..profile() };
    let outcome = room.run_with("head -c 50000000 /dev/zero; echo end >&2", profile).await.unwrap();
    assert_eq!((outcome.exit, outcome.output.len(), outcome.truncated), (Exit::Code(0), 100_000, true));
    assert_eq!(outcome.dropped_bytes, 50_000_004 - 100_000);
}

#[tokio::test]
async fn a_fork_bomb_stops_at_its_number_of_processes() {
    let room = Room::new();
    let profile = Profile { processes: 40, ..profile() };
    let script = "n=0; while [ $n -lt 200 ]; do sleep 30 & n=$((n+1)); done 2>/dev/null; wait";
    let profile = Profile { timeout: std::time::Duration::from_secs(3), ..profile };
    // Bash tries again for a while when it cannot fork; meanwhile the processes are counted from inside.
    let script = format!("({script}) & sleep 1; set -- /proc/[0-9]*; echo $#");
    let outcome = room.run_with(&script, profile).await.unwrap();
    let seen = text(&outcome);
    let count: u32 = seen.lines().find_map(|line| line.trim().parse().ok()).unwrap_or(0);
    assert!((20..=41).contains(&count), "{count} processes: {seen}");
}

#[tokio::test]
async fn two_commands_do_not_share_one_number_of_processes() {
    let room = Room::new();
    let profile = Profile { processes: 20, ..profile() };
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; wait; echo all";
    let (one, two) =
        tokio::join!(room.run_with(script, profile.clone()), room.run_with(script, profile.clone()));
    assert_eq!((text(&one.unwrap()), text(&two.unwrap())), ("all\n".into(), "all\n".into()));
}

#[tokio::test]
async fn one_process_cannot_take_more_than_its_address_space() {
    if !has("/usr/bin/perl") {
        return moltbot_testkit::skip::skip("one_process_cannot_take…", "there is no /usr/bin/perl");
    }
    let room = Room::new();
    let profile = Profile { address_space: 256 * MIB, ..profile() };
    let outcome = room.run_with("perl -e '$x = \"a\" x (1 << 30); print length $x'", profile).await.unwrap();
    assert_ne!(outcome.exit, Exit::Code(0), "{}", text(&outcome));
}

#[tokio::test]
async fn several_processes_cannot_take_more_memory_than_all_of_them_may() {
    if !has("/usr/bin/perl") {
        return moltbot_testkit::skip::skip("several_processes_cannot_take…", "there is no /usr/bin/perl");
    }
    let room = Room::new();
    let profile = Profile { memory: 200 * MIB, ..profile() };
    let script = "for i in 1 2 3 4; do perl -e '$x = \"a\" x (80 << 20); sleep 60' & done; wait";
    let outcome = room.run_with(script, profile).await.unwrap();
    assert_eq!(outcome.exit, Exit::OutOfMemory, "{}", text(&outcome));
}

#[tokio::test]
async fn memory_in_sockets_counts_although_no_process_has_it() {
    if !has("/usr/bin/perl") {
        return moltbot_testkit::skip::skip("memory_in_sockets_counts…", "there is no /usr/bin/perl");
    }
    let room = Room::new();
    let profile = Profile { memory: 200 * MIB, ..profile() };
    // 450 pairs in each of four processes, each with as much in it as it takes: 700 MB of the kernel's memory.
    let script = "for i in 1 2 3 4; do perl -MSocket -MFcntl -e 'for (1..450) { socketpair(my $a, my $b, AF_UNIX, \
        SOCK_STREAM, 0) or last; push @p, $a, $b; fcntl($a, F_SETFL, O_NONBLOCK); \
        1 while syswrite($a, \"x\" x 65536) } sleep 5' & done; wait";
    let outcome = room.run_with(script, profile).await.unwrap();
    assert_eq!(outcome.exit, Exit::OutOfMemory, "{}", text(&outcome));
}

/// A room whose commands the kernel counts; none where the test of that name is to be skipped.
async fn grouped(name: &str) -> Option<Room> {
    let room = Room::new();
    let limiter = room.sandbox.posture_of(&backend()).await.unwrap().limiter;
    let because = match (has("/usr/bin/perl"), limiter.starts_with("cgroup")) {
        (true, true) => return Some(room),
        (false, _) => "there is no /usr/bin/perl",
        (true, false) => "no control groups were handed to this run",
    };
    moltbot_testkit::skip::skip(name, because);
    None
}

#[tokio::test]
async fn memory_that_no_process_has_counts_where_there_are_control_groups() {
    let Some(room) = grouped("memory_that_no_process_has…").await else { return };
    // 768 MB of shared memory, each part filled by a process that is gone by then: no process has it in its table. Smaller than
    // what a process may map, and none of them ever has as much as all may have.
    let script = "perl -MPOSIX -e 'for (1..6) { my $p = syscall(9, 0, 128 << 20, 3, 0x21, -1, 0); \
        if (!fork) { open(Z, \"<\", \"/dev/zero\"); \
            for (my $n = 0; $n < 128 << 20; $n += 1 << 20) { syscall(0, fileno(Z), $p + $n, 1 << 20) } \
            POSIX::_exit(0) } wait; print $?, \" \" } sleep 1'";
    let profile = Profile { memory: 200 * MIB, temporary_bytes: MIB, ..profile() };
    let outcome = room.run_with(script, profile).await.unwrap();
    assert_eq!(outcome.exit, Exit::OutOfMemory, "{}", text(&outcome));
    // With enough for all the same ends well: nothing else has killed it.
    let profile = Profile { memory: 2048 * MIB, ..crate::room::profile() };
    let outcome = room.run_with(script, profile).await.unwrap();
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::Code(0), "0 0 0 0 0 0 "));
    drop(room);
}

#[tokio::test]
async fn what_the_kernel_kills_for_memory_ends_the_whole_command() {
    let Some(room) = grouped("what_the_kernel_kills_for_memory_ends…").await else { return };
    // The watchdog of the helper counts only what is left of the hog, which is nothing: the kernel is faster, and the shell
    // waits for another process.
    // It says something all the time, so that nothing is looked at only while it is quiet.
    let script =
        "while :; do echo; sleep 0.05; done & (perl -e 'my $x = \"a\" x (700 << 20)'; echo gone) & sleep 600";
    let profile = Profile { memory: 100 * MIB, temporary_bytes: MIB, ..profile() };
    let began = std::time::Instant::now();
    let outcome = room.run_with(script, profile).await.unwrap();
    assert_eq!(outcome.exit, Exit::OutOfMemory, "{} after {:?}", text(&outcome), began.elapsed());
}

#[tokio::test]
async fn files_and_folders_in_memory_are_bounded() {
    let room = Room::new();
    let profile = Profile { file_size: 3 * MIB, temporary_bytes: 2 * MIB, ..profile() };
    let script = "head -c 9000000 /dev/zero > /workspace/large; wc -c < /workspace/large; \
        head -c 9000000 /dev/zero > /tmp/large; wc -c < /tmp/large; true";
    let outcome = room.run_with(script, profile).await.unwrap();
    let sizes: Vec<u64> = text(&outcome).lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(sizes, [3 * MIB, 2 * MIB], "{}", text(&outcome));
}

#[tokio::test]
async fn a_command_that_fills_the_disk_of_its_workspace_is_killed() {
    let room = Room::new();
    let profile = Profile { disk: 48 * MIB, file_size: 8 * MIB, ..profile() };
    // Each file is small, and the first ones are deleted and still open.
    let script = "for i in 1 2 3 4; do exec {fd}>gone; head -c 8000000 /dev/zero >&$fd; rm gone; done; \
        for i in {1..8}; do head -c 8000000 /dev/zero > f$i; done; sleep 30; echo on";
    let outcome = room.run_with(script, profile).await.unwrap();
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::DiskFull, ""));
    assert!(crate::workspace::book(&room).contains(r#""outcome":"disk filled up""#));
}

#[tokio::test]
async fn limits_are_those_of_the_profile_and_cannot_be_raised() {
    let room = Room::new();
    let script = "ulimit -c; ulimit -n; ulimit -u; ulimit -v; ulimit -t; \
        ulimit -n 2000 2>/dev/null && echo raised; ulimit -u 2000 2>/dev/null && echo raised; true";
    let profile =
        Profile { open_files: 300, processes: 77, address_space: 512 * MIB, cpu_seconds: 9, ..profile() };
    let outcome = room.run_with(script, profile).await.unwrap();
    assert_eq!(text(&outcome), "0\n300\n77\n524288\n9\n");
}

const MIB: u64 = 1024 * 1024;
