//! `moltbot stop` and `moltbot resume`: end everything that runs, and go on.
//!
//! A stop asks nobody. It is kept first, so that a gateway that is about to start begins nothing, and the one that runs is
//! told by a signal, which it hears when it hears nothing else.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use moltbot_gateway::{Ended, ResumeError, StopFact};
use moltbot_policy::Book as _;
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};

use crate::arguments::{Facts, Stop};
use crate::book::OWNER;
use crate::client::Connection;
use crate::exit::Exit;
use crate::home::{self, Home, Running};
use crate::{clock, output, serve};

/// How long the gateway may take to say that it has stopped everything.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// Stops everything, here or at the gateway that the config names.
pub(crate) fn stop(home: &Home, options: &Stop) -> anyhow::Result<Exit> {
    let running = home.running()?;
    if running.is_none() && home.remote().ok().flatten().and_then(|remote| remote.url).is_some() {
        return stop_elsewhere(home, options);
    }
    let fact = StopFact { by: OWNER.into(), since_ms: clock::now_ms(), ended: None };
    let kept = fact.write(&home.state);
    let fact = match running {
        // Told also when it could not be kept: a stop that lasts until the next start is better than none.
        Some(running) => tell(home, &running)?,
        None => {
            let ledger = home.ledger()?;
            ledger.enter_when_possible(fact.entry());
            home.close_book();
            fact
        }
    };
    kept.map_err(|error| home::failed(&error))
        .context("everything is stopped, and would go on after a restart")?;
    if options.json {
        output::json(&json!({"stopped": fact}))?;
    } else {
        output::line(&in_words(&fact))?;
    }
    Ok(Exit::Done)
}

/// Stops everything at the gateway of this installation, and says what it ended.
pub(super) fn press(home: &Home) -> anyhow::Result<StopFact> {
    let running = home.running()?.context("no gateway runs that could be stopped")?;
    tell(home, &running)
}

fn in_words(fact: &StopFact) -> String {
    let what = match &fact.ended {
        None => "no gateway runs here; the next one begins nothing".to_owned(),
        Some(Ended { turns, processes, left: 0, took_ms }) => {
            format!("turns ended: {turns}, processes killed: {processes}, in {took_ms} ms")
        }
        Some(Ended { left, .. }) => {
            format!("processes that were killed and have not ended: {left}; see `dmesg`")
        }
    };
    format!("everything is stopped ({what}); `moltbot resume` goes on")
}

/// Signals the gateway, and waits until it says what it ended.
fn tell(home: &Home, running: &Running) -> anyhow::Result<StopFact> {
    let pid = i32::try_from(running.pid).ok().and_then(Pid::from_raw);
    let pid = pid.context("the gateway's lock names no process")?;
    let gone = || Ok(StopFact { by: OWNER.into(), since_ms: clock::now_ms(), ended: None });
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return gone(),
        other => other.context("cannot reach the gateway's process")?,
    };
    // The number may be another's since: the lock would no longer name it.
    if home.running()?.is_none_or(|now| now.pid != running.pid) {
        return gone();
    }
    match pidfd_send_signal(&process, Signal::USR2) {
        Err(Errno::SRCH) => return gone(),
        Err(Errno::PERM) => return Err(Exit::Refused.because("the gateway belongs to another user")),
        other => other.context("cannot signal the gateway")?,
    }
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match StopFact::read(&home.state) {
            Ok(Some(fact)) if fact.ended.is_some() => return Ok(fact),
            Ok(_) | Err(_) => std::thread::sleep(LOOK),
        }
    }
    let message = format!("the gateway (pid {}) has not said that everything is stopped", running.pid);
    Err(Exit::Timeout.because(message))
}

fn stop_elsewhere(home: &Home, options: &Stop) -> anyhow::Result<Exit> {
    let answer = serve::block_on(ask(home, Method::TurnsStop, Scope::Write))?;
    if options.json {
        output::json(&answer)?;
    } else {
        output::line("everything is stopped at that gateway; `moltbot resume` goes on")?;
    }
    Ok(Exit::Done)
}

/// Goes on. Without a gateway, what keeps everything stopped is taken away.
pub(crate) fn resume(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let is_elsewhere = home.remote().ok().flatten().and_then(|remote| remote.url).is_some();
    let resumed = if home.running()?.is_some() || is_elsewhere {
        let answer = serve::block_on(ask(home, Method::TurnsResume, Scope::Admin))?;
        answer.get("resumed").and_then(Value::as_bool).unwrap_or_default()
    } else {
        resume_here(home)?
    };
    if facts.json {
        output::json(&json!({"resumed": resumed}))?;
    } else {
        output::line(if resumed { "moltbot goes on" } else { "nothing was stopped" })?;
    }
    Ok(Exit::Done)
}

fn resume_here(home: &Home) -> anyhow::Result<bool> {
    if StopFact::read(&home.state).map_err(|error| home::failed(&error))?.is_none() {
        return Ok(false);
    }
    let ledger = home.ledger()?;
    StopFact::resume(OWNER, &home.state, |entry| ledger.enter(entry)).map_err(|error| match error {
        ResumeError::Unrecorded(unrecorded) => Exit::Busy.because(unrecorded),
        error => home::failed(&error),
    })?;
    home.close_book();
    Ok(true)
}

async fn ask(home: &Home, method: Method, scope: Scope) -> anyhow::Result<Value> {
    let mut connection = Connection::open(home, &[scope]).await?;
    let answer = connection.ask(method.name(), json!({})).await?;
    connection.close().await;
    Ok(answer)
}
