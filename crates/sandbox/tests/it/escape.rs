//! Attempts to get out: each is made for real, and each is refused in the way the table says.

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
    ("unshare user", 272, "0x10000000", PERM),
    ("unshare mount", 272, "0x20000", PERM),
    ("setns", 308, "0, 0", PERM),
    ("mount", 165, "$a, $a, $a, 4096, 0", PERM),
    ("umount2", 166, "$a, 2", PERM),
    ("fsopen", 430, "$a, 0", PERM),
    ("fsmount", 432, "0, 0, 0", PERM),
    ("open_tree", 428, "-100, $a, 1", PERM),
    ("move_mount", 429, "-100, $a, -100, $a, 0", PERM),
    ("mount_setattr", 442, "-100, $a, 0, $a, 32", PERM),
    ("pivot_root", 155, "$a, $a", PERM),
    ("chroot", 161, "$a", PERM),
    ("bpf", 321, "0, $a, 72", PERM),
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
    ("init_module", 175, "0, 0, $a", PERM),
    ("finit_module", 313, "0, $a, 0", PERM),
    ("delete_module", 176, "$a, 0", PERM),
    ("name_to_handle_at", 303, "-100, $a, 0, 0, 0", PERM),
    ("open_by_handle_at", 304, "-100, 0, 0", PERM),
    ("kexec_load", 246, "0, 0, 0, 0", PERM),
    ("reboot", 169, "0, 0, 0, 0", PERM),
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
    ("clone3", 435, "$a, 88", NOSYS),
    ("openat2", 437, "-100, $a, $a, 24", NOSYS),
    ("memfd_create", 319, "$a, 0", NOSYS),
    ("shmget", 29, "0, 4096, 01600", NOSYS),
    ("x32 openat", 0x4000_0000 + 257, "-100, $a, 0", NOSYS),
    ("x32 socket", 0x4000_0000 + 41, "2, 1, 0", NOSYS),
    ("a call of the future", 900, "0", NOSYS),
];

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn no_system_call_leads_out() {
    let room = Room::new();
    let mut script = String::from(
        "$a = \"/tmp\\0\" . (\"\\0\" x 200); $n = \"new\\0\"; $d = \".\\0\"; $f = \"file\\0\"; open(F, '>', 'file');\n",
    );
    let mut expected = String::new();
    for (name, number, arguments, error) in CALLS {
        let comma = if arguments.is_empty() { "" } else { ", " };
        script += &format!(
            "$! = 0; $r = syscall({number}{comma}{arguments}); print '{name}: ', $r == -1 ? $! + 0 : \"returned $r\", \"\\n\"; exit if $$ != $p && $p; $p = $$;\n"
        );
        expected += &format!("{name}: {error}\n");
    }
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
async fn a_socket_file_in_the_workspace_cannot_be_reached() {
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
    if let Some(seen) = perl(&room, "a_socket_file_in_the_workspace_cannot_be_reached", script).await {
        assert_eq!(seen, "refused\nrefused\nrefused\nrefused\nown pair\n");
    }
}
