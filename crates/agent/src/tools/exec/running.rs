//! A command of the sandbox that runs: its turn waits for its end, or goes on without it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use moltbot_net::{Authorities, Proxy, Traffic};
use moltbot_policy::Recorded;
use moltbot_policy::command::{CommandPermit, Severity};
use moltbot_policy::incident::Incident;
use moltbot_policy::profile::NetworkAccess;
use moltbot_sandbox::{Beside, Exit, Outcome, RunError, Sandbox};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::{describe, shown};
use crate::processes::{Ended, Process, Ran, Waiting};
use crate::tools::{ToolResult, Toolbox, sentence};

/// When the turn goes on without a command that still runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Patience {
    /// Never.
    Whole,
    /// At once.
    None,
    /// When it has run for so long.
    For(Duration),
}

/// Runs a recorded command, and answers what the model is told of it.
pub(super) async fn run(
    tools: &Toolbox,
    permit: Recorded<CommandPermit>,
    workspace: OwnedFd,
    patience: Patience,
) -> ToolResult {
    let script = permit.permit().script();
    let cause = &tools.cause;
    let process = Process::new(permit.sequence(), script, cause.session(), cause.principal());
    let process = Arc::new(process);
    let left = patience == Patience::None && tools.processes.adopt(&process, tools.kept_for());
    let work = execute(tools, permit, workspace, &process);
    tools.processes.run(&process, work, tools.later.clone());
    if left {
        return still_runs(&process);
    }
    let waiting = Waiting::on(Arc::clone(&process));
    let ended = tokio::select! {
        biased;
        ended = process.ended() => Some(ended),
        () = tools.stop.cancelled() => {
            process.kill.cancel();
            Some(process.ended().await)
        }
        () = ran_for(&process, patience) => {
            if tools.processes.adopt(&process, tools.kept_for()) { None } else { Some(heard(tools, &process).await) }
        }
    };
    waiting.let_go();
    match ended {
        None => still_runs(&process),
        Some(ended) => {
            ended.ran.incidents.iter().cloned().for_each(|incident| tools.incident(incident));
            told(&ended)
        }
    }
}

/// Waits until a command that began has run for as long as its turn waits for it.
async fn ran_for(process: &Process, patience: Patience) {
    match patience {
        Patience::For(time) => {
            process.feed.begun().await;
            tokio::time::sleep(time).await;
        }
        Patience::None | Patience::Whole => std::future::pending().await,
    }
}

/// Waits for the end of a command for which there is no room in the background.
async fn heard(tools: &Toolbox, process: &Process) -> Arc<Ended> {
    tokio::select! {
        biased;
        ended = process.ended() => return ended,
        () = tools.stop.cancelled() => process.kill.cancel(),
    }
    process.ended().await
}

/// What is told of a command that goes on.
fn still_runs(process: &Process) -> ToolResult {
    let name = process.name();
    let mut text = format!(
        "Command still running (session {name}). Use process (list/poll/log/kill/clear/remove) for follow-up."
    );
    let part = process.look();
    if !part.bytes.is_empty() {
        text.push_str("\n\n");
        text.push_str(&shown(&part.bytes));
    }
    ToolResult::done(text)
}

/// What is told of a command that has ended.
pub(in crate::tools) fn told(ended: &Ended) -> ToolResult {
    match &ended.ran.result {
        Err(why) => ToolResult::error(why.clone()),
        Ok((outcome, traffic)) => {
            let mut result = describe(outcome);
            if let Some(traffic) = traffic {
                result.text.push_str(&through_proxy(*traffic));
            }
            result
        }
    }
}

/// All that a command does, with a way out where its walls have one. The way is gone when the command is.
fn execute(
    tools: &Toolbox,
    permit: Recorded<CommandPermit>,
    workspace: OwnedFd,
    process: &Arc<Process>,
) -> impl Future<Output = Ran> + Send + 'static + use<> {
    let proxy = (permit.permit().profile().network == NetworkAccess::Proxy).then(|| {
        let rules = tools.config.agents.outbound_of(&tools.cause.agent()).clone();
        let book = Arc::new(tools.ledger.clone());
        Arc::new(Proxy::new(rules, Authorities::System, book, tools.cause.actor()))
    });
    let (sandbox, process) = (tools.sandbox.clone(), Arc::clone(process));
    async move { finish(&sandbox, permit, workspace, &process, proxy).await }
}

async fn finish(
    sandbox: &Sandbox,
    permit: Recorded<CommandPermit>,
    workspace: OwnedFd,
    process: &Process,
    proxy: Option<Arc<Proxy>>,
) -> Ran {
    let (way_out, served) = proxy.as_ref().map(serve).unzip();
    let beside = Beside { feed: Some(process.feed.clone()), way_out };
    let ended = sandbox.run_beside(permit, Some(workspace), beside, process.kill.clone()).await;
    drop(served);
    let incidents = incidents_of(&ended);
    let result = ended.map_err(|error| sentence(&error));
    let traffic = proxy.map(|proxy| proxy.traffic());
    Ran { result: result.map(|outcome| (outcome, traffic)), incidents }
}

/// Serves a proxy on the socket that the sandbox sends.
fn serve(proxy: &Arc<Proxy>) -> (oneshot::Sender<OwnedFd>, AbortOnDropHandle<()>) {
    let (way_out, socket) = oneshot::channel();
    let proxy = Arc::clone(proxy);
    let serving = tokio::spawn(async move {
        if let Ok(socket) = socket.await
            && let Err(error) = proxy.serve(socket).await
        {
            tracing::warn!(%error, "the proxy of a command ended before it");
        }
    });
    (way_out, AbortOnDropHandle::new(serving))
}

/// What the owner must know. Who fills the disk before he tries to leave the walls has not got away with it.
fn incidents_of(ended: &Result<Outcome, RunError>) -> Vec<Incident> {
    match ended {
        Ok(outcome) => {
            let of = |attempt: &moltbot_policy::incident::Attempt| Incident {
                severity: attempt.severity,
                what: format!("a command made {attempt}"),
            };
            outcome.attempts.iter().map(of).collect()
        }
        Err(RunError::Unrecorded { exit, .. }) if *exit == Exit::Escape.to_string() => {
            let what = "a command tried to leave the sandbox, which could not be recorded".into();
            vec![Incident { severity: Severity::High, what }]
        }
        Err(_) => Vec::new(),
    }
}

/// What went through the proxy, for the model: a refusal is otherwise easily taken for a host that is down.
fn through_proxy(traffic: Traffic) -> String {
    let Traffic { bytes, connections, refused } = traffic;
    format!("\n(network: {connections} connections, {refused} refused, {bytes} bytes)")
}
