//! Attacks from within the sandbox: commands of this program, run behind the walls that the agent's commands have, and
//! recorded in a book that is thrown away.
//!
//! Each says `through` when it succeeds, and `end` when it came so far. None changes anything where it succeeds.

use std::time::Duration;

use moltbot_config::settings::SandboxBackend;
use moltbot_policy::command::permit_own;
use moltbot_policy::container::Backend;
use moltbot_policy::drill::DrillPermit;
use moltbot_policy::profile::{Profile, WorkspaceAccess};
use moltbot_policy::{Recorded, record};
use moltbot_sandbox::{Exit, Outcome, Sandbox};
use tokio_util::sync::CancellationToken;

use super::Seen;
use super::field::Field;
use crate::serve::block_on;

/// How long a command may take. The longest needs half a second, and on a busy machine ten times that.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Processes that the bomb starts where nothing holds it.
const BOMB: usize = 400;

const ESCAPE: &str = r#"
[ -e /proc/1/root/etc/shadow ] && echo through: the root of another process
for folder in /home /root /boot /sys/fs/cgroup /var/lib; do [ -e "$folder" ] && echo through: "$folder"; done
(: > /usr/moltbot-drill) 2> /dev/null && rm -f /usr/moltbot-drill && echo through: /usr can be written
kill -0 -1 2> /dev/null && echo through: signals reach other processes
echo tried
unshare -r echo through: a user namespace of its own
nsenter -t 1 -m echo through: the mounts of process 1
chroot / /bin/sh -c 'echo through: chroot'
echo end
"#;

const SECRET: &str = r#"
for file in /etc/shadow /etc/sudoers /root/.ssh/id_* /home/*/.ssh/id_* /root/.moltbot/keys/* /home/*/.moltbot/keys/* \
    /root/.moltbot/moltbot.json /home/*/.moltbot/moltbot.json /tmp/moltbot-drill-*/s/keys/secrets.key /proc/[2-9]*/environ; do
    [ "$file" = "/proc/$$/environ" ] && continue
    (read -r line < "$file") 2> /dev/null && [ ! -O "$file" ] && echo through: "$file"
    case $file in */keys/*|*/.ssh/*|*/.moltbot/*) (read -r line < "$file") 2> /dev/null && echo through: "$file" ;; esac
done
echo end
"#;

const SOCKET: &str = r#"
command -v bash > /dev/null || { echo nothing to try it with; exit 0; }
echo tried
bash -c ': > /dev/udp/127.0.0.1/9' 2> /dev/null && echo through: a datagram
bash -c ': > /dev/tcp/127.0.0.1/9' 2>&1 | grep -q refused && echo through: a connection, which nobody took
echo end
"#;

/// By the plain shell: bash waits for fifteen seconds before it believes that it may start nothing.
const FORK_BOMB: &str = r#"
exec sh <<'BOMB'
count=0
pids=
trap 'kill $pids 2> /dev/null' EXIT
while [ $count -lt 400 ]; do
    sleep 60 &
    pids="$pids $!"
    count=$((count + 1))
    echo $count
done
BOMB
"#;

pub(super) fn escape(field: &mut Field<'_>, _: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    attack(field, ESCAPE)
}

pub(super) fn secret(field: &mut Field<'_>, _: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    attack(field, SECRET)
}

pub(super) fn socket(field: &mut Field<'_>, _: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    attack(field, SOCKET)
}

pub(super) fn fork_bomb(field: &mut Field<'_>, _: &Recorded<DrillPermit>) -> anyhow::Result<Seen> {
    let outcome = run(field, FORK_BOMB)?;
    let text = String::from_utf8_lossy(&outcome.output);
    let started = text.lines().filter_map(|line| line.parse::<usize>().ok()).max().unwrap_or_default();
    // Processes that wait for their turn are none that were held.
    let is_over = started >= BOMB || outcome.exit != Exit::TimedOut;
    anyhow::ensure!(started > 0 && is_over, "{started} of {BOMB} were started, then {}", outcome.exit);
    let took = outcome.duration.as_millis();
    let what =
        format!("{started} of {BOMB} were started, then {}; none was left after {took} ms", outcome.exit);
    Ok(Seen { held: started < BOMB, what })
}

fn attack(field: &mut Field<'_>, script: &'static str) -> anyhow::Result<Seen> {
    let outcome = run(field, script)?;
    let text = String::from_utf8_lossy(&outcome.output);
    anyhow::ensure!(!text.contains("nothing to try it with"), "there is no bash to try it with");
    let through: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("through: ")).collect();
    let came_far = text.lines().any(|line| matches!(line, "end" | "tried")) || outcome.exit == Exit::Escape;
    anyhow::ensure!(came_far || !through.is_empty(), "the command did not get to it: {}", outcome.exit);
    let mut calls: Vec<&str> = outcome.attempts.iter().map(|attempt| attempt.call).collect();
    calls.dedup();
    let seen = match through.as_slice() {
        [] if calls.is_empty() => format!("nothing was reached; {}", outcome.exit),
        [] => format!("nothing was reached, and {} was seen; {}", calls.join(", "), outcome.exit),
        some => some.join("; "),
    };
    Ok(Seen { held: through.is_empty(), what: seen })
}

/// Behind the walls that the config chooses. Where they do not stand, nothing runs.
fn run(field: &mut Field<'_>, script: &'static str) -> anyhow::Result<Outcome> {
    let backend = match field.home.load()?.config.agents.defaults.sandbox.backend {
        SandboxBackend::Bwrap => Backend::Bwrap,
        SandboxBackend::Docker => {
            anyhow::bail!("commands run in containers, which are looked at from inside before each command")
        }
        SandboxBackend::Embedded => Backend::Embedded,
        SandboxBackend::EmbeddedWeak => Backend::EmbeddedWeak,
    };
    let ledger = field.bench()?.home.ledger()?.clone();
    let workspace = WorkspaceAccess::None;
    let profile = Profile { backend, workspace, timeout: TIMEOUT, ..Profile::for_probe() };
    block_on(async {
        let sandbox = Sandbox::new(ledger.clone());
        sandbox.available(&profile.backend).await?;
        let permit = record(permit_own(script, profile), &ledger)?;
        Ok(sandbox.run(permit, None, CancellationToken::new()).await?)
    })
}
