//! What a command sees.

use moltbot_sandbox::Exit;

use crate::room::{Room, backend, text};

#[tokio::test]
async fn a_command_sees_its_own_world_and_nothing_of_the_host() {
    let room = Room::new();
    let script = r"
        echo /* | tr ' ' '\n' | grep -vxE '/(bin|dev|etc|lib|lib32|lib64|libx32|proc|sbin|tmp|usr|workspace)'
        for hidden in /home /root /var /run /sys /boot /opt /srv /mnt /usr/local/etc /usr/src; do ls -A $hidden 2>/dev/null; done
        ls -A /etc | grep -vxE 'alternatives|group|hosts|ld.so.cache|ld.so.conf|ld.so.conf.d|ld-musl.*|localtime|nsswitch.conf|passwd'
        ls -A /dev | grep -vxE 'fd|full|null|random|shm|stderr|stdin|stdout|tty|urandom|zero'
        for path in /etc/shadow /root /var/run/docker.sock /sys/kernel /dev/vda /dev/sda /dev/mem /proc/1/environ /proc/1/root/etc /proc/1/cwd/ /proc/1/fd/0 /proc/kcore /proc/keys; do
            if head -c 1 $path 2>/dev/null | grep -q .; then echo read $path; fi
            ls -A $path/. 2>/dev/null
        done
        true
    ";
    assert_eq!(room.output(script).await, "");
}

#[tokio::test]
async fn the_state_folder_beside_the_workspace_is_not_there() {
    let room = Room::new();
    let state = room.home.path().join("state");
    let script = format!("ls {} /workspace/.. | sort | tr '\\n' ' '; ls -d {0} 2>&1", state.display());
    let outcome = room.run(&script).await;
    assert!(text(&outcome).contains("No such file"), "{}", text(&outcome));
    assert!(!text(&outcome).contains("ledger"), "{}", text(&outcome));
}

#[tokio::test]
async fn pitfall_14_the_kernels_files_tell_nothing_of_the_hosts_devices_boot_and_keyboard() {
    let room = Room::new();
    let script = "for name in bootconfig cmdline config.gz diskstats interrupts iomem ioports kallsyms key-users keys \
        locks modules partitions swaps timer_list; do \
        head -c 1 /proc/$name 2>/dev/null | grep -aq . && echo $name; done; \
        for name in acpi asound bus driver irq scsi tty; do ls -A /proc/$name 2>/dev/null; done; \
        for name in cpuinfo meminfo stat uptime; do head -c 1 /proc/$name | grep -q . || echo no $name; done; true";
    assert_eq!(room.output(script).await, "");
}

#[tokio::test]
async fn no_process_tells_what_is_mounted_or_where_the_workspace_is_on_this_machine() {
    let room = Room::new();
    let script = "cd /workspace; for process in self thread-self 1 $$; do \
        for list in mountinfo mounts mountstats task/1/mountinfo task/$$/mounts; do cat /proc/$process/$list; done; \
        done 2>/dev/null; cat /proc/mounts; (sleep 5 & cat /proc/$!/mountinfo; kill $!); \
        readlink /proc/self/cwd /proc/self/root; pwd -P; echo written > here; df --output=target . 2>&1 | tail -n 1";
    let output = room.output(script).await;
    assert!(output.starts_with("/workspace\n/\n/workspace\n"), "{output}");
    let host = room.home.path().file_name().unwrap().to_str().unwrap();
    assert!(!output.contains(host), "{output}");
    assert!(room.workspace().join("here").exists());
}

#[tokio::test]
async fn no_other_process_is_visible() {
    let room = Room::new();
    let visible = room.output("set -- /proc/[0-9]*; echo $#").await;
    assert!(["1\n", "2\n", "3\n"].contains(&visible.as_str()), "{visible}");
}

#[tokio::test]
async fn the_environment_has_four_names_and_the_descriptors_are_three() {
    let room = Room::new();
    let environment = room.output("exec /usr/bin/env | grep -vE '^(PWD|SHLVL|_|OLDPWD)=' | sort").await;
    let expected = "HOME=/tmp\nLANG=C.UTF-8\n\
        PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin\n";
    assert_eq!(environment, expected);
    assert_eq!(
        room.output(
            "for fd in /proc/self/fd/*; do readlink $fd; done | grep -cE 'socket|memfd|/workspace'; pwd"
        )
        .await,
        "0\n/workspace\n"
    );
}

#[tokio::test]
async fn nothing_is_left_of_privileges() {
    let room = Room::new();
    let status = room.output("grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status").await;
    for line in status.lines().filter(|line| line.starts_with("Cap")) {
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
    assert!(status.contains("NoNewPrivs:\t1\n") && status.contains("Seccomp:\t2\n"), "{status}");
    assert_eq!(
        room.output("id -u; id -un; hostname 2>/dev/null || cat /proc/sys/kernel/hostname").await,
        "1000\nagent\nsandbox\n"
    );
}

#[tokio::test]
async fn ordinary_work_works() {
    let room = Room::new();
    let script = "echo one > a; mkdir b; mv a b/c; cat b/c; ln -s b d; cat d/c; rm -r b; \
        echo err >&2; echo out > /dev/stdout; (echo sub) | cat; cat <(echo fd); echo x | tee /dev/stderr >/dev/null; \
        t=$(mktemp); echo tmp > $t; cat $t; read -r line; echo \"[$line]\"; exit 7";
    let outcome = room.run(script).await;
    assert_eq!(text(&outcome), "one\none\nerr\nout\nsub\nfd\nx\ntmp\n[]\n");
    assert_eq!(outcome.exit, Exit::Code(7));
}

#[tokio::test]
async fn the_posture_is_found_by_running_a_command() {
    let room = Room::new();
    let posture = room.sandbox.posture_of(&backend()).await.unwrap();
    assert_eq!(posture.backend, backend().name());
    assert!(posture.landlock_abi >= 1, "{posture:?}");
    let root = rustix::process::geteuid().is_root();
    assert_eq!(posture.uid == rustix::process::geteuid().as_raw(), !root, "{posture:?}");
    assert_eq!(room.sandbox.posture_of(&backend()).await.unwrap(), posture, "remembered");
}

#[tokio::test]
async fn programs_that_agents_use_run() {
    let room = Room::new();
    for (program, line, expected) in [
        ("/usr/bin/perl", "perl -e 'print 6*7'", "42"),
        (
            "/usr/bin/python3",
            "python3 -c 'import subprocess; print(subprocess.run([\"echo\", \"42\"], capture_output=True).stdout.decode().strip(), end=\"\")'",
            "42",
        ),
        ("/usr/bin/node", "node -e 'console.log(6*7)' | tr -d '\\n'", "42"),
        ("/usr/bin/tar", "echo 42 > f; tar cf - f | tar xOf - | tr -d '\\n'", "42"),
        ("/usr/bin/yes", "yes 42 | head -n 1 | tr -d '\\n'", "42"),
        ("/usr/bin/find", "mkdir d; find . -name d -printf 42", "42"),
    ] {
        if crate::room::has(program) {
            let outcome = room.run(line).await;
            assert_eq!((outcome.exit, text(&outcome).as_str()), (Exit::Code(0), expected), "{line}");
        } else {
            moltbot_testkit::skip::skip(
                "programs_that_agents_use_run",
                &format!("{program} is not on this machine"),
            );
        }
    }
}

#[tokio::test]
async fn a_repository_can_be_made_and_kept() {
    if !["/usr/bin/git", "/usr/local/bin/git"].into_iter().any(crate::room::has) {
        return moltbot_testkit::skip::skip(
            "a_repository_can_be_made_and_kept",
            "git is not on this machine",
        );
    }
    let room = Room::new();
    let script = "git init -q . && git config user.email a@b && git config user.name a && echo x > f && git add f \
        && git commit -q -m one && git log --oneline | wc -l";
    assert_eq!(room.output(script).await.trim(), "1");
    // The second time its settings and hooks are held, and work goes on.
    assert_eq!(
        room.output("echo y > f && git commit -q -a -m two && git log --oneline | wc -l").await.trim(),
        "2"
    );
}
