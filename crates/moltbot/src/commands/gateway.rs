//! `moltbot gateway …`: run, watch, stop, restart, call.

pub(super) mod rotate;

use std::time::Duration;

use anyhow::Context as _;
use moltbot_config::limits;
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};

use crate::arguments::{Facts, Gateway, Run};
use crate::client::{Connection, exit_of};
use crate::commands::up;
use crate::exit::Exit;
use crate::home::{Home, Running};
use crate::log::{self, Console};
use crate::serve::{Source, Start};
use crate::{background, clock, manager, output, serve};

/// How long a stop may take: the drain, and the closing of the files after it.
const STOP: Duration = limits::DRAIN.saturating_add(Duration::from_secs(5));

/// Does what the command says.
pub(crate) fn run(home: &Home, command: Gateway) -> anyhow::Result<Exit> {
    match &command {
        // A stop depends on nothing that can be wrong, and a start reads the whole config.
        Gateway::Fingerprint | Gateway::Run(_) | Gateway::Stop => {}
        Gateway::Call { .. } | Gateway::RotateToken(_) | Gateway::Status(_) => home.require_guarded()?,
        // Before the one that runs is stopped: the next one would not start.
        Gateway::Restart => drop(home.load()?),
    }
    match command {
        Gateway::Call { method, params } => {
            let params = parse_params(params.as_deref())?;
            serve::block_on(call(home, &method, params))
        }
        Gateway::Fingerprint => fingerprint(home),
        Gateway::Restart => restart(home),
        Gateway::RotateToken(facts) => rotate::run(home, facts),
        Gateway::Run(options) => foreground(home, &options),
        Gateway::Status(facts) => serve::block_on(status(home, facts)),
        Gateway::Stop => stop(home),
    }
}

fn foreground(home: &Home, options: &Run) -> anyhow::Result<Exit> {
    // Before anything is asked: from then on there is no terminal, and a passphrase comes by standard input.
    if options.detached {
        background::leave_session()?;
    }
    if options.throwaway {
        background::end_with_parent()?;
    }
    let console = if options.detached { Console::Silent } else { Console::Shown };
    let levels = log::start(&home.state, console)?;
    let source = if options.last_known_good { Source::LastKnownGood } else { Source::File };
    serve::run(home, Start { port: options.port, source, levels: &levels }, |started| {
        if options.detached {
            return background::ready(started);
        }
        output::note(&format!(
            "gateway on http://127.0.0.1:{}; model: {}",
            started.running.port, started.model
        ));
        started.running.reached().iter().for_each(|(name, told)| output::note(&format!("{name}: {told}")));
        started.notes.iter().for_each(|note| output::note(note));
        manager::ready();
        Ok(())
    })
}

/// What clients pin. Told by the gateway that runs: a certificate on the disk may not be the one that it shows.
fn fingerprint(home: &Home) -> anyhow::Result<Exit> {
    let Some(running) = home.running()? else {
        return Err(Exit::Unreachable.because("no gateway runs here; start one with `moltbot up`"));
    };
    match &running.fingerprint {
        Some(fingerprint) => output::line(fingerprint)?,
        None => {
            let message = "the gateway does not speak TLS; set gateway.tls.enabled to true and restart it";
            return Err(Exit::Failed.because(message));
        }
    }
    Ok(Exit::Done)
}

fn stop(home: &Home) -> anyhow::Result<Exit> {
    match home.running()? {
        None => output::line("no gateway runs here")?,
        Some(running) => {
            end(home, &running, Signal::TERM)?;
            output::line("the gateway has stopped")?;
        }
    }
    Ok(Exit::Done)
}

fn restart(home: &Home) -> anyhow::Result<Exit> {
    // A port given to `up` belongs to that gateway, so the next one keeps it.
    let port = match home.running()? {
        None => None,
        Some(running) => {
            end(home, &running, Signal::USR1)?;
            Some(running.port).filter(|port| *port > 0)
        }
    };
    up::start_detached(home, port)?;
    Ok(Exit::Done)
}

/// Asks the lock's holder to stop and waits until its process is gone.
///
/// The descriptor names the process for good. The lock is read again after it was opened: had the process
/// ended and its number gone to another, the lock would no longer name it.
fn end(home: &Home, running: &Running, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(running.pid).ok().and_then(Pid::from_raw);
    let pid = pid.context("the gateway's lock names no process")?;
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        other => other.context("cannot reach the gateway's process")?,
    };
    if home.running()?.is_none_or(|now| now.pid != running.pid) {
        return Ok(());
    }
    output::note(&format!(
        "stopping the gateway (pid {}); running answers are finished first …",
        running.pid
    ));
    match pidfd_send_signal(&process, signal) {
        Err(Errno::SRCH) => return Ok(()),
        Err(Errno::PERM) => return Err(Exit::Refused.because("the gateway belongs to another user")),
        other => other.context("cannot signal the gateway")?,
    }
    let wait = Timespec { tv_sec: i64::try_from(STOP.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&wait))?;
    if ended == 0 {
        let message = format!("the gateway (pid {}) did not stop within {} s", running.pid, STOP.as_secs());
        return Err(Exit::Timeout.because(message));
    }
    Ok(())
}

async fn status(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let Some(running) = home.running()? else {
        if let Some(url) = home.remote()?.and_then(|remote| remote.url) {
            return status_elsewhere(home, &url, facts).await;
        }
        if facts.json {
            output::json(&json!({"running": false}))?;
        } else {
            output::line("no gateway runs here; start one with `moltbot up`")?;
        }
        return Ok(Exit::Unreachable);
    };
    let mut connection = Connection::open(home, &[Scope::Read]).await?;
    let health = connection.ask(Method::Health.name(), json!({})).await?;
    connection.close().await;
    if facts.json {
        output::json(&json!({"running": true, "gateway": running, "health": health}))?;
        return Ok(Exit::Done);
    }
    let since = clock::duration(clock::now_ms().saturating_sub(running.started_at_ms));
    let Running { pid, port, version, .. } = &running;
    output::line(&format!("gateway {version} runs on http://127.0.0.1:{port} (pid {pid}, for {since})"))?;
    for (name, told) in running.reached() {
        output::line(&format!("{name:8} {told}"))?;
    }
    Ok(Exit::Done)
}

async fn status_elsewhere(home: &Home, url: &str, facts: Facts) -> anyhow::Result<Exit> {
    let mut connection = Connection::open(home, &[Scope::Read]).await?;
    let health = connection.ask(Method::Health.name(), json!({})).await?;
    connection.close().await;
    if facts.json {
        output::json(&json!({"running": true, "remote": url, "health": health}))?;
    } else {
        output::line(&format!("the gateway at {} answers", output::harmless(url)))?;
    }
    Ok(Exit::Done)
}

async fn call(home: &Home, method: &str, params: Value) -> anyhow::Result<Exit> {
    // Of a method we do not know, only the gateway can say what it needs; admin implies all.
    let scope = Method::parse(method).map_or(Scope::Admin, Method::scope);
    let mut connection = Connection::open(home, &[scope]).await?;
    let answer = match connection.call(method, params).await? {
        // `agent` answers twice: that it was accepted, then how it ended.
        Ok(_) if method == Method::Agent.name() => connection.second_answer().await?,
        other => other,
    };
    connection.close().await;
    match answer {
        Ok(payload) => {
            output::json(&payload)?;
            Ok(Exit::Done)
        }
        Err(error) => {
            output::note(&serde_json::to_string_pretty(&error)?);
            Ok(exit_of(&error))
        }
    }
}

fn parse_params(text: Option<&str>) -> anyhow::Result<Value> {
    let Some(text) = text else { return Ok(json!({})) };
    serde_json::from_str(text).map_err(|error| {
        Exit::Usage.because(format!("the parameters are not JSON: {error}; quote them: '{{\"limit\":5}}'"))
    })
}
