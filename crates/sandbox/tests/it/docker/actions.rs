//! What rules for containers look out for, done in one: each line says `out` when it worked.

use super::berth::Berth;
use crate::room::{has, text};

/// A line for the shell, named after what it does. Where a tool is not in the image, the kernel's own door is tried.
#[rustfmt::skip]
const ACTIONS: &[(&str, &str)] = &[
    ("adding_ssh_keys_to_authorized_keys", "mkdir -p /root/.ssh && echo k >> /root/.ssh/authorized_keys && echo out; mkdir -p /home/a/.ssh && echo out"),
    ("change_namespace_privileges_via_unshare", "for f in -r -m -p -n -i -u; do unshare $f true && echo out; done"),
    ("change_thread_namespace", "for n in mnt net pid ipc uts; do nsenter -t 1 --$n true && echo out; done; nsenter --mount=/proc/1/ns/mnt true && echo out"),
    ("clear_log_activities", "mkdir -p /var/log && echo out; : > /var/log/syslog && echo out; rm -r /var/tmp && echo out"),
    ("contact_cloud_metadata", "wget -q -T 2 -O- http://169.254.169.254/latest/meta-data && echo out; (exec 3<>/dev/tcp/169.254.169.254/80) && echo out"),
    ("contact_by_other_addresses", "for a in 2852039166 0xa9fea9fe [fd00:ec2::254] metadata.google.internal; do wget -q -T 2 -O- http://$a/ && echo out; done"),
    ("container_drift_chmod", "cp /bin/busybox /tmp/ls && chmod +x /tmp/ls && /tmp/ls / && echo out"),
    ("container_drift_open_create", "cp /bin/busybox /bin/new && echo out; cp /bin/busybox /run/ls && /run/ls / && echo out"),
    ("copying_sensitive_file", "cat /etc/shadow && echo out; cat /proc/1/root/etc/shadow && echo out; cat /etc/sudoers && echo out"),
    ("create_files_below_dev", "echo x > /dev/x && echo out; mkdir /dev/y && echo out; echo x > /dev/shm/../x && echo out"),
    ("create_hardlink_over_sensitive_files", "ln /bin/busybox /workspace/h && echo out; ln /etc/shadow /workspace/s && echo out"),
    ("create_hidden_file", "echo x > /.hidden && echo out; echo x > /etc/.hidden && echo out"),
    ("create_symlink_over_sensitive_files", "ln -s /etc/shadow /workspace/l && cat /workspace/l && echo out"),
    ("debugfs_in_privileged_container", "for d in /dev/vda /dev/sda /dev/nvme0n1 /dev/dm-0; do dd if=$d count=1 && echo out; done"),
    ("make_a_raw_disk", "for n in 'b 254 0' 'b 8 0' 'b 259 0' 'c 1 1' 'c 1 2'; do mknod /tmp/d $n && echo out; mknod /workspace/d $n && echo out; done"),
    ("release_agent", "for d in /sys/fs/cgroup /tmp /workspace; do mkdir $d/c; mount -t cgroup -o rdma cgroup $d/c && echo out; echo /x > $d/release_agent && [ $d = /sys/fs/cgroup ] && echo out; done"),
    ("directory_traversal", "cat ../../../../../../etc/shadow && echo out; cat /workspace/../../../proc/1/environ && echo out"),
    ("disallowed_ssh", "(exec 3<>/dev/tcp/1.1.1.1/22) && echo out; (exec 3<>/dev/tcp/127.0.0.1/2222) && echo out"),
    ("drop_and_execute_in_dev_shm", "cp /bin/busybox /dev/shm/ls && /dev/shm/ls / && echo out"),
    ("find_aws_credentials", "find / -name credentials -path '*aws*' 2>/dev/null | grep . && echo out"),
    ("fileless_execution", "perl -e '$n = \"x\\0\"; $r = syscall(319, $n, 0); print \"out\\n\" if $r >= 0'"),
    ("inbound_network", "nc -l -p 8000 -w 1 && echo out; perl -e '$r = syscall(41, 2, 1, 0); print \"out\\n\" if $r >= 0'"),
    ("outbound_network", "nc -w 1 1.1.1.1 443 && echo out; ping -c 1 -W 1 1.1.1.1 && echo out; nslookup example.org && echo out"),
    ("packet_socket", "perl -e '$r = syscall(41, 17, 3, 768); print \"out\\n\" if $r >= 0'; arping -c 1 10.0.0.1 && echo out"),
    ("kernel_module", "insmod /tmp/x.ko && echo out; modprobe dummy && echo out; perl -e '$r = syscall(313, 0, \"\", 0); print \"out\\n\" if $r == 0'"),
    ("modify_binary_dirs", "mv /bin/ls /bin/ls2 && echo out; rm /bin/ls && echo out; mkdir /bin/x && echo out; echo x > /usr/bin/x && echo out"),
    ("modify_container_entrypoint", "echo x > /.moltbot/moltbot && echo out; rm /.moltbot/moltbot && echo out; mv /.moltbot /m && echo out; echo x > /proc/1/exe && echo out"),
    ("modify_shell_configuration", "echo x >> /etc/profile && echo out; echo x >> /root/.bashrc && echo out"),
    ("mount_in_container", "for t in proc sysfs tmpfs devtmpfs cgroup2 debugfs overlay; do mount -t $t x /tmp && echo out; done; mount -o bind / /tmp && echo out; mount -o remount,rw / && echo out"),
    ("umount_what_hides", "umount /sys && echo out; umount /proc/kcore && echo out; umount -l /proc && echo out; ls /sys | grep . && echo out"),
    ("setuid", "cp /bin/busybox /workspace/su && chmod 4755 /workspace/su && echo out; chmod g+s /workspace && echo out; setpriv --reuid 0 true && echo out; su -c id && echo out"),
    ("program_with_proxy_env", "http_proxy=http://127.0.0.1:3128 wget -q -T 2 -O- http://example.org && echo out"),
    ("ptrace", "perl -e '$r = syscall(101, 0, 0, 0, 0); print \"out\\n\" if $r == 0'; strace -p 1 && echo out"),
    ("read_environment_of_others", "for p in /proc/[0-9]*; do [ $p = /proc/$$ ] && continue; tr '\\0' '\\n' < $p/environ | grep -i -e token -e key && echo out; done"),
    ("read_memory_of_others", "for f in mem maps environ; do head -c 1 /proc/1/$f | grep . && echo out; done; ls /proc/1/root/ && echo out; ls /proc/1/fd/ && echo out; ls /proc/1/cwd/ && echo out"),
    ("read_ssh_information", "ls /root/.ssh && echo out; ls /home/*/.ssh && echo out; ls /etc/ssh && echo out"),
    ("redirect_to_network", "bash -c 'exec 5<>/dev/tcp/127.0.0.1/4444' && echo out; bash -c 'cat < /dev/udp/127.0.0.1/53' && echo out"),
    ("remove_bulk_data", "rm -rf /bin/* /etc/* && echo out; shred /bin/busybox && echo out"),
    ("schedule_cron_jobs", "mkdir -p /var/spool/cron && echo x > /var/spool/cron/root && echo out; crontab -l && echo out"),
    ("search_private_keys", "find / -name 'id_rsa*' -o -name '*.pem' -o -name 'gateway.key' 2>/dev/null | grep . && echo out"),
    ("docker_socket", "for s in /var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock; do ls $s && echo out; done; docker ps && echo out; DOCKER_HOST=tcp://127.0.0.1:2375 docker ps && echo out"),
    ("core_pattern", "echo '|/tmp/x' > /proc/sys/kernel/core_pattern && echo out; echo /x > /proc/sys/kernel/modprobe && echo out; echo 1 > /proc/sys/kernel/sysrq && echo out; echo c > /proc/sysrq-trigger && echo out"),
    ("binfmt_and_uevent", "echo x > /proc/sys/fs/binfmt_misc/register && echo out; echo /x > /sys/kernel/uevent_helper && echo out"),
    ("kernel_facts", "head -c 1 /proc/kcore | grep . && echo out; head -c 1 /proc/kallsyms | grep . && echo out; dmesg | grep . && echo out; cat /proc/keys | grep . && echo out; cat /proc/timer_list | grep . && echo out"),
    ("runc_file_descriptors", "for f in /proc/self/fd/[3-9] /proc/self/fd/[1-9][0-9]; do ls $f/../../ | grep -e home -e root && echo out; done; cd /proc/self/cwd/../../..; ls | grep -q home && echo out"),
    ("runc_exe", "echo x > /proc/self/exe && echo out; for p in /proc/[0-9]*; do echo x >> $p/exe && echo out; done"),
    ("masked_paths", "ln -sf /proc/kcore /dev/null && echo out; rm /dev/null && echo out; mv /dev/console /dev/c && echo out"),
    ("own_limits", "ulimit -c unlimited && echo out; ulimit -n 100000 && echo out; echo -1000 > /proc/self/oom_score_adj && echo out"),
    ("cgroup_of_its_own", "mkdir /sys/fs/cgroup/x && echo out; echo $$ > /sys/fs/cgroup/cgroup.procs && echo out; for c in memory pids; do echo max > /sys/fs/cgroup/$c/$c.max && echo out; done"),
    ("kill_the_first_and_the_leader", "kill -9 1 && echo out; kill -9 $PPID && echo out; kill -STOP $PPID && echo out; kill -STOP 1 && sleep 1 && grep -q '^State:.T' /proc/1/status && echo out"),
    ("chroot_out", "chroot / true && echo out; chroot /proc/1/root true && echo out; pivot_root . . && echo out"),
    ("user_namespaces", "echo '0 0 1' > /proc/self/uid_map && echo out; echo deny > /proc/self/setgroups && echo out"),
    ("systemd_and_dbus", "ls /run/systemd && echo out; ls /run/dbus && echo out; systemctl status && echo out; reboot -f && echo out"),
    ("clock", "date -s '2001-01-01'; [ $(date +%Y) = 2001 ] && echo out; hostname evil; [ $(hostname) = evil ] && echo out"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_action_that_rules_look_out_for_works_in_a_container() {
    const NAME: &str = "no_action_that_rules_look_out_for_works_in_a_container";
    let Some(berth) = Berth::new(NAME) else { return };
    if !has("/usr/bin/perl") {
        moltbot_testkit::skip::skip(
            NAME,
            "system calls of three lines were not tried: there is no /usr/bin/perl",
        );
    }
    let mut script = String::new();
    for (name, line) in ACTIONS {
        // Each in a shell of its own, in a fresh folder, as a background job that is waited for.
        script += &format!("echo '{name}:'; (cd /workspace; {line}) 2>/dev/null </dev/null | grep -x out\n");
    }
    let expected: String = ACTIONS.iter().map(|(name, _)| format!("{name}:\n")).collect();
    let seen = text(&berth.run(&script).await);
    assert_eq!(seen, expected);
    assert_eq!(berth.output("echo on; ls /bin/busybox").await, "on\n/bin/busybox\n");
}
