//! Attempts to get out: each is made for real, and each is refused in the way the table says.

use moltbot_policy::command::Severity;
use moltbot_sandbox::Exit;

use crate::room::{Room, has, profile, text};

/// Runs a Perl script inside; `None` where there is no Perl.
async fn perl(room: &Room, name: &str, script: &str) -> Option<String> {
    if !has("/usr/bin/perl") {
        moltbot_testkit::skip::skip(name, "there is no /usr/bin/perl on this machine");
        return None;
    }
    room.put("attempt.pl", script);
    Some(text(&room.run_with("perl attempt.pl", profile()).await.unwrap()))
}

const PERM: u32 = 1;
const NOSYS: u32 = 38;

/// A system call, its arguments as Perl, and the error it must end with. Numbers of x86-64.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const CALLS: &[(&str, u32, &str, u32)] = &[
    ("chroot", 161, "$a", PERM),
    ("perf_event_open", 298, "$a, 0, -1, -1, 0", PERM),
    ("userfaultfd", 323, "0", PERM),
    ("io_uring_setup", 425, "8, $a", PERM),
    ("keyctl", 250, "0, -3, 0", PERM),
    ("add_key", 248, "$a, $a, 0, 0, -3", PERM),
    ("request_key", 249, "$a, $a, 0, -3", PERM),
    ("ptrace", 101, "0, 0, 0, 0", PERM),
    ("process_vm_readv", 310, "1, 0, 0, 0, 0, 0", PERM),
    ("process_vm_writev", 311, "1, 0, 0, 0, 0, 0", PERM),
    ("kcmp", 312, "1, 1, 0, 0, 0", PERM),
    ("pidfd_getfd", 438, "0, 0, 0", PERM),
    ("name_to_handle_at", 303, "-100, $a, 0, 0, 0", PERM),
    ("swapon", 167, "$a, 0", PERM),
    ("syslog", 103, "3, 0, 0", PERM),
    ("acct", 163, "0", PERM),
    ("quotactl", 179, "0, 0, 0, 0", PERM),
    ("settimeofday", 164, "0, 0", PERM),
    ("clock_settime", 227, "0, 0", PERM),
    ("sethostname", 170, "$a, 1", PERM),
    ("iopl", 172, "3", PERM),
    ("ioperm", 173, "0, 1, 1", PERM),
    ("personality", 135, "0x0040000", PERM),
    ("seccomp", 317, "1, 0, 0", PERM),
    ("move_pages", 279, "1, 0, 0, 0, 0, 0", PERM),
    ("vhangup", 153, "", PERM),
    ("socket inet", 41, "2, 1, 0", PERM),
    ("socket inet6", 41, "10, 1, 0", PERM),
    ("socket udp", 41, "2, 2, 0", PERM),
    ("socket raw", 41, "2, 3, 1", PERM),
    ("socket unix", 41, "1, 1, 0", PERM),
    ("socket netlink", 41, "16, 3, 0", PERM),
    ("socket packet", 41, "17, 3, 0", PERM),
    ("socket vsock", 41, "40, 1, 0", PERM),
    ("socket alg", 41, "38, 5, 0", PERM),
    ("socketpair datagram", 53, "1, 2, 0, $a", PERM),
    ("socketpair datagram with flags", 53, "1, 0x80802, 0, $a", PERM),
    ("connect", 42, "0, $a, 16", PERM),
    ("bind", 49, "0, $a, 16", PERM),
    ("listen", 50, "0, 1", PERM),
    ("accept", 43, "0, 0, 0", PERM),
    ("accept4", 288, "0, 0, 0, 0", PERM),
    ("clone with a user namespace", 56, "0x10000011, 0, 0, 0, 0", PERM),
    ("clone with a mount namespace and bit 32", 56, "0x100020011, 0, 0, 0, 0", PERM),
    ("mknod character device", 133, "$n, 0020666, 259", PERM),
    ("mknod block device", 133, "$n, 0060666, 259", PERM),
    ("mknod socket", 133, "$n, 0140666, 0", PERM),
    ("mknodat device", 259, "-100, $n, 0020666, 259", PERM),
    ("mknod set-uid", 133, "$n, 0104755, 0", PERM),
    ("chmod set-uid", 90, "$f, 04755", PERM),
    ("chmod set-gid", 90, "$f, 02755", PERM),
    ("chmod set-uid and bit 32", 90, "$f, 0x1000009ed", PERM),
    ("fchmod set-uid", 91, "fileno(F), 04755", PERM),
    ("fchmodat set-uid", 268, "-100, $f, 04755", PERM),
    ("fchmodat2 set-uid", 452, "-100, $f, 04755, 0", PERM),
    ("creat set-uid", 85, "$n, 04755", PERM),
    ("open create set-uid", 2, "$n, 0101, 04755", PERM),
    ("openat create set-uid", 257, "-100, $n, 0101, 06755", PERM),
    ("openat temporary set-uid", 257, "-100, $d, 020200002, 04755", PERM),
    ("mkdir set-gid", 83, "$n, 02755", PERM),
    ("mkdirat set-gid", 258, "-100, $n, 02755", PERM),
    ("ioctl TIOCSTI", 16, "0, 0x5412, $a", PERM),
    ("ioctl TIOCSTI with bit 32", 16, "0, 0x100005412, $a", PERM),
    ("ioctl TIOCLINUX", 16, "0, 0x541c, $a", PERM),
    ("ioctl TIOCCONS", 16, "0, 0x541d, $a", PERM),
    ("ioctl btrfs snapshot", 16, "fileno(F), 0x50009401, $a", PERM),
    ("ioctl btrfs snapshot, version 2", 16, "fileno(F), 0x50009417, $a", PERM),
    ("ioctl btrfs snapshot with bit 32", 16, "fileno(F), 0x150009417, $a", PERM),
    ("ioctl bcachefs snapshot", 16, "fileno(F), 0x4020bc10, $a", PERM),
    ("fcntl lease", 72, "fileno(F), 1024, 1", PERM),
    ("fcntl lease with bit 32", 72, "fileno(F), 0x100000400, 1", PERM),
    ("prctl map of memory", 157, "35, 1, 0, 0, 0", PERM),
    ("prctl map of memory with bit 32", 157, "0x100000023, 1, 0, 0, 0", PERM),
    ("fanotify_init", 300, "0, 0", PERM),
    ("fanotify_mark", 301, "0, 1, 1, -100, $a", PERM),
    ("adjtimex", 159, "$a", PERM),
    ("clock_adjtime", 305, "0, $a", PERM),
    ("swapoff", 168, "$a", PERM),
    ("setdomainname", 171, "$a, 1", PERM),
    ("modify_ldt", 154, "0, $a, 16", PERM),
    ("quotactl_fd", 443, "0, 0, 0, 0", PERM),
    ("process_madvise", 440, "0, 0, 0, 4, 0", PERM),
    ("process_mrelease", 448, "0, 0", PERM),
    ("vmsplice", 278, "0, 0, 0, 0", PERM),
    ("set_mempolicy", 238, "0, 0, 0", PERM),
    ("migrate_pages", 256, "1, 0, 0, 0", PERM),
    ("ioprio_set", 251, "1, 0, 0", PERM),
    ("sched_setscheduler", 144, "0, 1, $a", PERM),
    ("sched_setattr", 314, "0, $a, 0", PERM),
    ("io_setup", 206, "1, $a", PERM),
    ("io_uring_enter", 426, "0, 0, 0, 0, 0, 0", PERM),
    ("io_uring_register", 427, "0, 0, 0, 0", PERM),
    ("lookup_dcookie", 212, "0, $a, 1", PERM),
    ("uselib", 134, "$a", PERM),
    ("sync", 162, "", PERM),
    ("statmount", 457, "$a, $a, 0, 0", NOSYS),
    ("listmount", 458, "$a, $a, 0, 0", NOSYS),
    ("setxattrat", 463, "-100, $f, 0, $a, $a, 16", NOSYS),
    ("open_tree_attr", 467, "-100, $a, 1, $a, 32", NOSYS),
    ("clone3", 435, "$a, 88", NOSYS),
    ("openat2", 437, "-100, $a, $a, 24", NOSYS),
    ("memfd_create", 319, "$a, 0", NOSYS),
    ("shmget", 29, "0, 4096, 01600", NOSYS),
    ("x32 openat", 0x4000_0000 + 257, "-100, $a, 0", NOSYS),
    ("x32 socket", 0x4000_0000 + 41, "2, 1, 0", NOSYS),
    ("a call of the future", 900, "0", NOSYS),
];

/// Calls that no ordinary program makes: the first of them ends the command. Its name begins with the call's.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
pub(crate) const ENDING: &[(&str, u32, &str)] = &[
    ("unshare user", 272, "0x10000000"),
    ("unshare mount", 272, "0x20000"),
    ("setns", 308, "0, 0"),
    ("mount", 165, "$a, $a, $a, 4096, 0"),
    ("umount2", 166, "$a, 2"),
    ("fsopen", 430, "$a, 0"),
    ("fsmount", 432, "0, 0, 0"),
    ("open_tree", 428, "-100, $a, 1"),
    ("move_mount", 429, "-100, $a, -100, $a, 0"),
    ("mount_setattr", 442, "-100, $a, 0, $a, 32"),
    ("pivot_root", 155, "$a, $a"),
    ("bpf", 321, "0, $a, 72"),
    ("init_module", 175, "0, 0, $a"),
    ("finit_module", 313, "0, $a, 0"),
    ("delete_module", 176, "$a, 0"),
    ("open_by_handle_at", 304, "-100, 0, 0"),
    ("kexec_load", 246, "0, 0, 0, 0"),
    ("reboot", 169, "0, 0, 0, 0"),
    ("kexec_file_load", 320, "0, 0, 0, 0, 0"),
    ("fspick", 433, "-100, $a, 0"),
    ("fsconfig", 431, "0, 0, 0, 0, 0"),
];

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn each_call_that_leads_out_ends_its_command_and_is_in_the_book() {
    let room = Room::new();
    for (name, number, arguments) in ENDING {
        // Not the shell's own process: a grandchild in a session of its own.
        let script = format!(
            "$a = \"/tmp\\0\"; if (!fork) {{ $! = 0; syscall({number}, {arguments}); print 'went on' }} wait; print 'waited'"
        );
        room.put("attempt.pl", &script);
        if !has("/usr/bin/perl") {
            return moltbot_testkit::skip::skip(
                "each_call_that_leads_out_ends…",
                "there is no /usr/bin/perl",
            );
        }
        let outcome = room.run_with("(setsid perl attempt.pl &) ; sleep 20", profile()).await.unwrap();
        assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::Escape, ""), "{name}");
        let seen: Vec<_> =
            outcome.attempts.iter().map(|one| (one.call, one.severity, one.program.as_str())).collect();
        let call = name.split(' ').next().unwrap();
        assert_eq!(seen, [(call, Severity::High, "perl")], "{name}");
    }
    let book = crate::workspace::book(&room);
    let lines: Vec<&str> = book.lines().filter(|line| line.contains("\"command.attempt\"")).collect();
    assert_eq!(lines.len(), ENDING.len(), "{book}");
    assert!(lines.iter().all(|line| line.contains("\"severity\":\"high\"")), "{book}");
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn what_ordinary_programs_try_fails_is_told_once_and_they_go_on() {
    let room = Room::new();
    let script = "for (1..50) { syscall(101, 0, 0, 0, 0); } $x = syscall(272, 0x200); \
        $y = syscall(56, 0x10000011, 0, 0, 0, 0); syscall(41, 2, 1, 0); syscall(103, 3, 0, 0); print \"$x $y on\"";
    room.put("attempt.pl", script);
    if !has("/usr/bin/perl") {
        return moltbot_testkit::skip::skip("what_ordinary_programs_try…", "there is no /usr/bin/perl");
    }
    let outcome = room.run_with("perl attempt.pl", profile()).await.unwrap();
    assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::Code(0), "-1 -1 on"));
    let seen: Vec<_> = outcome.attempts.iter().map(|one| (one.call, one.severity)).collect();
    assert_eq!(seen, [("ptrace", Severity::Medium), ("clone", Severity::Medium)]);
}

/// The script that makes every call but those whose names begin so, and what it writes when each is refused.
#[cfg(target_arch = "x86_64")]
pub(crate) fn calls_without(left_out: &str, more: &[(&str, u32, &str)]) -> (String, String) {
    let mut script = String::from(
        "$a = \"/tmp\\0\" . (\"\\0\" x 200); $n = \"new\\0\"; $d = \".\\0\"; $f = \"file\\0\"; open(F, '>', 'file');\n",
    );
    let mut expected = String::new();
    let more = more.iter().map(|(name, number, arguments)| (*name, *number, *arguments, PERM));
    let calls = CALLS.iter().copied().chain(more).filter(|(name, ..)| !name.starts_with(left_out));
    for (name, number, arguments, error) in calls {
        let comma = if arguments.is_empty() { "" } else { ", " };
        script += &format!(
            "$! = 0; $r = syscall({number}{comma}{arguments}); print '{name}: ', $r == -1 ? $! + 0 : \"returned $r\", \"\\n\"; exit if $$ != $p && $p; $p = $$;\n"
        );
        expected += &format!("{name}: {error}\n");
    }
    (script, expected)
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn no_system_call_leads_out() {
    let room = Room::new();
    let (script, expected) = calls_without("nothing", &[]);
    if let Some(seen) = perl(&room, "no_system_call_leads_out", &script).await {
        let differences: Vec<_> =
            seen.lines().zip(expected.lines()).filter(|(seen, wanted)| seen != wanted).collect();
        assert_eq!((differences, seen.lines().count()), (Vec::new(), expected.lines().count()), "{seen}");
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[tokio::test]
async fn no_system_call_leads_out() {
    moltbot_testkit::skip::skip("no_system_call_leads_out", "the table has the numbers of x86-64");
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn pitfall_06_07_numbers_of_another_abi_and_keys_for_a_terminal_with_bit_32_are_refused() {
    let room = Room::new();
    let script = "$a = 'x' x 200; for ([0x40000000 + 41, 2, 1, 0], [0x40000000 + 257, -100, $a, 0], [435, $a, 88], \
        [16, 0, 0x5412, $a], [16, 0, 0x100005412, $a]) { $! = 0; $r = syscall($$_[0], @$_[1 .. $#$_]); \
        print $r == -1 ? $! + 0 : 'done', ' ' }";
    if let Some(seen) = perl(&room, "pitfall_06_07_numbers_of_another_abi…", script).await {
        assert_eq!(seen, format!("{NOSYS} {NOSYS} {NOSYS} {PERM} {PERM} "));
    }
}

#[tokio::test]
async fn a_connected_pair_of_sockets_still_works() {
    let room = Room::new();
    let script = "use Socket; socketpair(A, B, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die $!; \
        syswrite(A, 'hello'); sysread(B, $x, 5); print $x";
    if let Some(seen) = perl(&room, "a_connected_pair_of_sockets_still_works", script).await {
        assert_eq!(seen, "hello");
    }
}

#[tokio::test]
async fn no_shell_line_leads_out() {
    let room = Room::new();
    for (line, why) in [
        ("unshare -r true", "namespaces"),
        ("unshare -m true", "namespaces"),
        ("nsenter -t 1 -m true", "namespaces"),
        ("mount -t tmpfs none /tmp", "mounts"),
        ("umount /proc", "mounts"),
        ("mount -o remount,rw /usr", "mounts"),
        ("chroot / true", "the root"),
        ("mknod d b 259 0", "devices"),
        ("chmod u+s /workspace/.", "set-uid"),
        ("install -m 4755 /bin/true planted", "set-uid"),
        ("kill -9 1 && sleep 3", "the first process dies"),
        ("cat /proc/1/environ", "the first process"),
        ("ls /proc/1/root/", "the first process"),
        ("ls /proc/1/cwd/", "the first process"),
        ("ls /proc/1/fd/", "the first process"),
        ("echo x > /proc/sys/kernel/core_pattern", "the kernel's settings"),
        ("echo c > /proc/sysrq-trigger && head -c1 /proc/sysrq-trigger | grep .", "the kernel's settings"),
        ("echo 0 > /proc/self/oom_score_adj", "its own oom score"),
        ("echo -1000 > /proc/1/oom_score_adj", "the oom score"),
        ("touch /new", "the private root"),
        ("touch /etc/new", "the private root"),
        ("touch /usr/new", "programs"),
        ("echo x >> /etc/passwd", "settings"),
        ("echo x > /dev/new", "devices"),
        ("exec 3<>/dev/tcp/127.0.0.1/22", "the network"),
        ("exec 3<>/dev/udp/127.0.0.1/53", "the network"),
        ("dmesg | grep .", "the kernel's log"),
        ("su -c true", "set-uid programs"),
        ("/usr/bin/newgrp root </dev/null | grep root", "set-uid programs"),
        ("ls /run/docker.sock /var/run/docker.sock", "docker"),
        ("cat /proc/cmdline | grep .", "the host's boot"),
        ("grep -v lo: /proc/net/dev | grep :", "the host's network"),
    ] {
        let outcome = room.run(line).await;
        assert!(outcome.exit != moltbot_sandbox::Exit::Code(0), "{line} worked ({why}): {}", text(&outcome));
    }
    let mode = rustix::fs::stat(room.workspace()).unwrap().st_mode;
    assert_eq!(mode & 0o7777, 0o700, "the workspace's mode");
}

#[tokio::test]
async fn pitfall_02_a_socket_file_in_the_workspace_cannot_be_reached() {
    let room = Room::new();
    #[expect(clippy::disallowed_methods, reason = "the host's program that listens")]
    let _listener = std::os::unix::net::UnixListener::bind(room.workspace().join("s")).unwrap();
    let _datagrams = std::os::unix::net::UnixDatagram::bind(room.workspace().join("d")).unwrap();
    let script = "use Socket; \
        print socket(S, AF_UNIX, SOCK_STREAM, 0) ? 'socket' : 'refused', \"\\n\"; \
        print socketpair(A, B, AF_UNIX, SOCK_DGRAM, 0) ? 'pair' : 'refused', \"\\n\"; \
        socketpair(A, B, AF_UNIX, SOCK_STREAM, 0); \
        print connect(A, pack_sockaddr_un('s')) ? 'connected' : 'refused', \"\\n\"; \
        print send(A, 'x', 0, pack_sockaddr_un('d')) ? 'sent' : 'refused', \"\\n\"; \
        socketpair(A, B, AF_UNIX, SOCK_SEQPACKET, 0); \
        sub got { my $r = ''; vec($r, fileno(B), 1) = 1; select($r, undef, undef, 0) } \
        send(A, 'x', 0, pack_sockaddr_un('d')); print got() ? 'own pair' : 'elsewhere', \"\\n\"";
    if let Some(seen) =
        perl(&room, "pitfall_02_a_socket_file_in_the_workspace_cannot_be_reached", script).await
    {
        assert_eq!(seen, "refused\nrefused\nrefused\nrefused\nown pair\n");
    }
}

/// Lines of Perl that each try something that no single call shows, and say `out` when it worked.
#[rustfmt::skip]
const TRICKS: &[(&str, &str)] = &[
    ("the parent of every root", "chdir('..') for 1..50; opendir(D, '.'); print 'out' if grep { /^(home|root|var)$/ } readdir D"),
    ("a folder that is moved while inside it", "mkdir 'a'; mkdir 'a/b'; chdir 'a/b'; rename('/workspace/a/b', '/tmp/b') and print 'out'; chdir '..'; chdir '..'; -e 'home' and print 'out'"),
    ("the output's own name", "my $t = readlink('/proc/self/fd/1'); print 'out' if $t =~ m{^/}; open(F, '<', '/proc/self/fd/1/..') and print 'out'"),
    ("standard input leads to the host's folder", "opendir(D, '/proc/self/fd/0/..') and print 'out'; chdir('/proc/self/fd/0') and print 'out'"),
    ("a link of this process to the first one", "for (qw(root cwd exe)) { readlink(\"/proc/1/$_\") and print 'out' }"),
    ("the first process's memory", "open(F, '+<', '/proc/1/mem') and print 'out'; open(F, '<', '/proc/1/maps') and <F> and print 'out'"),
    ("namespaces of the first process", "for (qw(user mnt pid net)) { open(F, '<', \"/proc/1/ns/$_\") and print 'out' }"),
    ("its own user map, written again", "open(F, '>', '/proc/self/uid_map') and syswrite(F, '0 0 1') and print 'out'"),
    ("groups, allowed again", "open(F, '>', '/proc/self/setgroups') and syswrite(F, 'allow') and print 'out'"),
    ("becoming root by number", "$< = 0; $> = 0; ($> == 0 || $< == 0) and print 'out'; $( = 0; $) == 0 and print 'out'"),
    ("a program of another user's rights", "my $u = `/usr/bin/su -c 'id -u' 2>/dev/null </dev/null`; $u =~ /^0/ and print 'out'; `/usr/bin/passwd --status 2>/dev/null` =~ /root/ and print 'out'"),
    ("a hard link to a program of the host", "for (glob '/usr/bin/passwd /usr/bin/perl /etc/ld.so.cache') { link($_, '/workspace/l') and print 'out' }"),
    ("writing to a program that runs", "open(F, '+<', '/proc/self/exe') and print 'out'; open(F, '+<', '/usr/bin/perl') and print 'out'"),
    ("device numbers through an archive", "system('cd /tmp && printf x > n && tar cf t n 2>/dev/null'); for (['b', 259, 0], ['c', 1, 1]) { system(\"mknod /tmp/dev-$$ $_->[0] $_->[1] $_->[2] 2>/dev/null\") or print 'out' }"),
    ("asking the kernel for a module", "open(F, '>', '/proc/sys/kernel/modprobe') and print 'out'; open(F, '>', '/proc/sys/kernel/core_pattern') and print 'out'"),
    ("signals to everybody", "for my $p (1, -1) { next if $p == -1; kill('KILL', $p) and print 'out' }; kill(0, $_) and $_ != $$ and $_ != 2 and print 'out' for 1, 3..400"),
    ("a descriptor of the gateway", "for (3..200) { open(F, '<&=', $_) and -S F and print 'out' }"),
    ("limits, raised", "my $l = pack('QQ', 1 << 45, 1 << 45); syscall(160, $_, $l) == 0 and print 'out' for 0, 1, 4, 6 .. 9, 11 .. 14"),
    ("the oom score, made safe", "open(F, '>', '/proc/self/oom_score_adj') and syswrite(F, '-1000') and close(F) and print 'out'"),
    ("the terminal of whoever started it", "open(F, '+<', '/dev/tty') and print 'out'; open(F, '+<', '/dev/console') and print 'out'; open(F, '+<', '/dev/pts/0') and print 'out'"),
];

/// The script that tries every trick but those whose names begin so, and what it writes when none works.
pub(crate) fn tricks_without(left_out: &[&str]) -> (String, String) {
    let tricks = || TRICKS.iter().filter(|(name, _)| !left_out.iter().any(|out| name.starts_with(out)));
    let mut script = String::from("open(STDERR, '>', '/dev/null'); $| = 1;\n");
    for (name, attempt) in tricks() {
        script += &format!(
            "if (!(my $child = fork)) {{ chdir '/workspace'; print q{{{name}:}}; {attempt}; print \"\\n\"; exit }} wait;\n"
        );
    }
    (script, tricks().map(|(name, _)| format!("{name}:\n")).collect())
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn no_trick_leads_out() {
    let room = Room::new();
    let (script, expected) = tricks_without(&[]);
    if let Some(seen) = perl(&room, "no_trick_leads_out", &script).await {
        assert_eq!(seen, expected);
    }
}
