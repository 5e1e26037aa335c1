//! How strong the walls are on this machine, found out by running a command behind them.

use std::collections::BTreeMap;
use std::time::Duration;

use moltbot_policy::command::permit_probe;
use moltbot_policy::container::Backend;
use moltbot_policy::record_soon;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::outcome::{Exit, Outcome, RunError};
use crate::sandbox::{Given, Sandbox};

/// What the sandbox is on this machine. It was tried by running a command in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Posture {
    /// What builds the walls: its name in the config.
    pub backend: &'static str,
    /// The kernel's release.
    pub kernel: String,
    /// The version of Landlock's rules that hold: 1 restricts files, 4 also TCP, 6 also signals.
    pub landlock_abi: u32,
    /// What holds the memory of all processes together: control groups of the kernel's first or second version where this
    /// program may make some, and `watchdog`, which reads it every 200 ms.
    pub limiter: &'static str,
    /// Whether attempts to leave the walls are seen. Where a container around the gateway watches system calls itself,
    /// they are refused all the same, and not told.
    pub attempts_seen: bool,
    /// The user of this machine that commands run as.
    pub uid: u32,
    /// How long the trial took.
    pub took: Duration,
}

/// Why no command can run on this machine, and what to do about it.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("no command can run here: {reason}; {fix}")]
pub struct Unavailable {
    /// What failed.
    pub reason: String,
    /// What the owner can do.
    pub fix: String,
}

impl Unavailable {
    /// A reason, and what the owner can do.
    pub(crate) fn new(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { reason: reason.into(), fix: fix.into() }
    }
}

/// Runs a command that looks around, and judges what it saw. The helper has by then tried sockets, capabilities and
/// writing itself, as it does before every command.
pub(crate) async fn probe(sandbox: &Sandbox, backend: &Backend) -> Result<Posture, Unavailable> {
    let is_weak = *backend == Backend::EmbeddedWeak;
    let permit = permit_probe(if is_weak { LOOK_AROUND_WEAK } else { LOOK_AROUND }, backend.clone());
    let recorded = record_soon(permit, sandbox.ledger()).await;
    let permit = recorded.map_err(|unrecorded| Unavailable::new(unrecorded.to_string(), "then ask again"))?;
    let (outcome, walls) = match sandbox.execute(permit, Given::default(), &CancellationToken::new()).await {
        Ok(ran) => ran,
        Err(RunError::Setup { step, cause, fix }) => {
            return Err(Unavailable::new(format!("{step}: {cause}"), fix));
        }
        Err(other) => return Err(Unavailable::new(other.to_string(), "see the gateway's log")),
    };
    let Some(walls) = walls.filter(|_| outcome.exit == Exit::Code(0)) else {
        return Err(Unavailable::new(
            format!("the trial ended with {}", outcome.exit),
            "see the gateway's log",
        ));
    };
    let seen = String::from_utf8_lossy(&outcome.output);
    if is_weak { judge_weak(&seen) } else { judge(&seen) }
        .map_err(|hole| Unavailable::new(hole, "report this with `uname -a`: a wall does not hold here"))?;
    let Outcome { duration: took, .. } = outcome;
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    Ok(Posture {
        backend: backend.name(),
        kernel,
        landlock_abi: walls.landlock_abi,
        limiter: sandbox.limiter(),
        attempts_seen: walls.watched,
        uid: walls.uid,
        took,
    })
}

/// Uses nothing but the shell itself: a machine may have little else.
const LOOK_AROUND: &str = r#"
echo root /*
echo pids /proc/[0-9]*
read -r inside outside count < /proc/self/uid_map; echo map "$inside" "$count"
while read -r name value rest; do
    case $name in CapEff:|CapPrm:|CapBnd:|NoNewPrivs:|Seccomp:) echo "$name" "$value" ;; esac
done < /proc/self/status
while read -r name rest; do case $name in *:) echo device "$name" ;; esac; done < /proc/net/dev
(echo x > /usr/moltbot-check) 2>/dev/null && echo wrote /usr
(echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo wrote /proc
echo end
"#;

/// The same where there is no private root, and no `/proc` to look at. What is hidden is there, and must not be had.
const LOOK_AROUND_WEAK: &str = r#"
for path in /etc/passwd /etc/hostname /proc/version /proc/self/status /proc/1/environ /proc/$PPID/cmdline; do
    (read -r line < "$path") 2>/dev/null && echo "read $path"
done
for folder in / /home /root /var /proc /sys /tmp /run /etc /dev /usr/src; do
    set -- "${folder%/}"/*; [ "$1" = "${folder%/}/*" ] || echo "listed $folder"
done
for folder in / /tmp /usr /var/tmp /dev/shm; do
    (echo x > "${folder%/}/moltbot-check") 2>/dev/null && echo "wrote $folder"
done
for process in 1 $PPID; do kill -0 "$process" 2>/dev/null && echo "reached process $process"; done
(echo x > "$HOME/own") 2>/dev/null || echo "cannot write to its own folder"
echo end
"#;

/// What is wrong with what the command could do.
fn judge_weak(seen: &str) -> Result<(), String> {
    match seen.strip_suffix("end\n") {
        Some("") => Ok(()),
        Some(holes) => Err(format!("inside, a command {}", holes.trim_end().replace('\n', ", "))),
        None => Err("the trial did not finish".into()),
    }
}

/// What is wrong with what the command saw.
fn judge(seen: &str) -> Result<(), String> {
    const NAMES: [&str; 13] = [
        "/bin",
        "/dev",
        "/etc",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/proc",
        "/sbin",
        "/tmp",
        "/usr",
        "/workspace",
        "/",
    ];
    let facts: BTreeMap<&str, &str> = seen.lines().filter_map(|line| line.split_once(' ')).collect();
    let fact = |name: &str| facts.get(name).copied().unwrap_or("missing");
    if let Some(name) = fact("root").split(' ').find(|name| !NAMES.contains(name)) {
        return Err(format!("{name} of this machine is visible inside"));
    }
    if fact("pids").split(' ').count() > 3 {
        return Err(format!("other processes are visible inside: {}", fact("pids")));
    }
    for (name, wanted) in [
        ("map", "1000 1"),
        ("CapEff:", "0000000000000000"),
        ("CapPrm:", "0000000000000000"),
        ("CapBnd:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
        ("device", "lo:"),
    ] {
        if fact(name) != wanted {
            return Err(format!("{name} is {} inside, not {wanted}", fact(name)));
        }
    }
    if seen.lines().any(|line| line.starts_with("wrote")) || !seen.ends_with("end\n") {
        return Err("the private root can be written inside, or the trial did not finish".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "root /bin /dev /etc /proc /tmp /usr /workspace\npids /proc/1 /proc/2\nmap 1000 1\n\
        CapEff: 0000000000000000\nCapPrm: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2\n\
        device lo:\nend\n";

    #[test]
    fn what_a_command_can_do_without_namespaces_is_named() {
        assert_eq!(judge_weak("end\n"), Ok(()));
        assert_eq!(judge_weak(""), Err("the trial did not finish".into()));
        let seen = "read /etc/passwd\nreached process 1\nend\n";
        assert_eq!(judge_weak(seen), Err("inside, a command read /etc/passwd, reached process 1".into()));
    }

    #[test]
    fn each_wall_that_does_not_hold_is_named() {
        assert_eq!(judge(GOOD), Ok(()));
        for (good, bad, said) in [
            ("/workspace", "/home", "/home of this machine is visible inside"),
            (
                "/proc/2",
                "/proc/2 /proc/3 /proc/4",
                "other processes are visible inside: /proc/1 /proc/2 /proc/3 /proc/4",
            ),
            ("map 1000 1", "map 0 4294967295", "map is 0 4294967295 inside, not 1000 1"),
            ("Seccomp: 2", "Seccomp: 0", "Seccomp: is 0 inside, not 2"),
            ("NoNewPrivs: 1\n", "", "NoNewPrivs: is missing inside, not 1"),
            ("device lo:", "device eth0:", "device is eth0: inside, not lo:"),
            ("end", "wrote /usr\nend", "the private root can be written inside, or the trial did not finish"),
        ] {
            assert_eq!(judge(&GOOD.replace(good, bad)), Err(said.to_owned()), "{bad}");
        }
    }
}
