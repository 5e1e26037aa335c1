//! One command in a container: its order, its output, its reports, and its end.

use std::pin::Pin;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use bollard::query_parameters::KillContainerOptionsBuilder;
use futures_util::{Stream, StreamExt as _};
use moltbot_config::limits;
use moltbot_policy::incident::Attempt;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::EngineError;
use crate::filter;
use crate::helper::inside::Order;
use crate::outcome::{Exit, RunError};
use crate::running::{Finished, Kept};
use crate::wire::{Report, Walls};

/// A command that runs. Dropped before its end, it lets go of the leader's input, and the leader kills everything.
struct Attached {
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    /// The leader's input; gone when the command is to end.
    input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    line: Vec<u8>,
    kept: Kept,
    attempts: Vec<Attempt>,
    walls: Option<Walls>,
    end: Option<Result<Exit, RunError>>,
}

/// How long, and how much; and where attempts to leave the walls are entered.
pub(super) struct Bounds<'a> {
    pub(super) timeout: Duration,
    pub(super) kept: Kept,
    pub(super) attempts: &'a mut Vec<Attempt>,
}

/// Runs an order in a container and waits until nothing of it is left.
pub(super) async fn run(
    engine: &Docker,
    container: &str,
    words: Vec<String>,
    order: &Order,
    bounds: Bounds<'_>,
    abort: &CancellationToken,
) -> Result<Finished, RunError> {
    let deadline = Instant::now() + bounds.timeout;
    let start = attach(engine, container, words, order);
    let mut attached = tokio::select! {
        biased;
        // Dropping the start lets go of the input, if there was one.
        () = abort.cancelled() => return Ok(Finished::before_start(Exit::Aborted)),
        started = start => started.map_err(|error| error.refusal("starting a command in the container"))?,
    };
    attached.kept = bounds.kept;
    let ended = see_to_its_end(&mut attached, engine, container, deadline, abort).await;
    bounds.attempts.append(&mut attached.attempts);
    ended?;
    let exit = attached.end.take().unwrap_or(Err(RunError::Lost))?;
    Ok(Finished { exit, kept: std::mem::take(&mut attached.kept), walls: attached.walls, container: None })
}

async fn see_to_its_end(
    attached: &mut Attached,
    engine: &Docker,
    container: &str,
    deadline: Instant,
    abort: &CancellationToken,
) -> Result<(), RunError> {
    loop {
        tokio::select! {
            biased;
            () = abort.cancelled(), if attached.end.is_none() => attached.stop(Exit::Aborted).await,
            () = tokio::time::sleep_until(deadline), if attached.end.is_none() => attached.stop(Exit::TimedOut).await,
            part = attached.output.next() => if !attached.take(part) { break },
        }
        if attached.input.is_none() {
            break;
        }
    }
    let dry = tokio::time::timeout(limits::COMMAND_END, attached.run_dry()).await;
    if dry.is_err() || attached.end.is_none() {
        // The leader does not answer or is gone: the container ends, and with it every process in it.
        kill(engine, container).await?;
        if tokio::time::timeout(limits::COMMAND_END, attached.run_dry()).await.is_err() {
            return Err(RunError::Survived);
        }
    }
    Ok(())
}

/// Starts the leader and hands it its order.
async fn attach(
    engine: &Docker,
    container: &str,
    words: Vec<String>,
    order: &Order,
) -> Result<Attached, EngineError> {
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(words),
        working_dir: Some("/".into()),
        ..ExecConfig::default()
    };
    let id = engine.create_exec(container, config).await?.id;
    let StartExecResults::Attached { output, mut input } = engine.start_exec(&id, None).await? else {
        return Err(EngineError::said("the engine did not attach to the command"));
    };
    let text = serde_json::to_vec(order).map_err(|error| EngineError::said(error.to_string()))?;
    let length = u32::try_from(text.len()).map_err(|error| EngineError::said(error.to_string()))?;
    let write = async {
        input.write_all(&length.to_le_bytes()).await?;
        input.write_all(&text).await?;
        input.flush().await
    };
    write.await.map_err(|error| EngineError::said(format!("handing over the command: {error}")))?;
    Ok(Attached {
        output,
        input: Some(input),
        line: Vec::new(),
        kept: Kept::default(),
        attempts: Vec::new(),
        walls: None,
        end: None,
    })
}

impl Attached {
    /// Lets go of the leader's input.
    async fn stop(&mut self, exit: Exit) {
        self.end = Some(Ok(exit));
        self.release().await;
    }

    async fn release(&mut self) {
        if let Some(mut input) = self.input.take()
            && let Err(error) = input.shutdown().await
        {
            tracing::debug!(%error, "the input of a command had ended already");
        }
    }

    /// Reads what is left until the leader is gone.
    async fn run_dry(&mut self) {
        loop {
            let part = self.output.next().await;
            if !self.take(part) {
                break;
            }
        }
        self.release().await;
    }

    /// Takes a part of what comes; answers whether there may be more.
    fn take(&mut self, part: Option<Result<LogOutput, bollard::errors::Error>>) -> bool {
        match part {
            None => false,
            Some(Ok(LogOutput::StdErr { message })) => {
                self.hear(&message);
                true
            }
            Some(Ok(LogOutput::StdOut { message } | LogOutput::Console { message })) => {
                self.kept.add(&message);
                true
            }
            Some(Ok(LogOutput::StdIn { .. })) => true,
            Some(Err(error)) => {
                tracing::warn!(%error, "the output of a command cannot be read");
                false
            }
        }
    }

    /// Reads the leader's lines. What is no report comes from the loader, before there was a leader.
    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < LINE {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            match serde_json::from_slice(&line) {
                Ok(Report::Started(walls)) => self.walls = Some(walls),
                Ok(Report::Ended(exit)) => {
                    self.end.get_or_insert(Ok(exit));
                }
                Ok(Report::Failed { step, cause }) => {
                    self.end.get_or_insert(Err(RunError::setup(step, cause)));
                }
                Ok(Report::Attempt { call, program }) => self.attempts.extend(filter::attempt(call, program)),
                Ok(Report::Born | Report::Listening) => {}
                Err(_) => {
                    let text = String::from_utf8_lossy(&line).into_owned();
                    tracing::warn!(%text, "the helper in a container said what is no report");
                }
            }
        }
    }
}

/// The longest report.
const LINE: usize = 8 * 1024;

/// Ends a container with all its processes.
pub(super) async fn kill(engine: &Docker, container: &str) -> Result<(), RunError> {
    let options = KillContainerOptionsBuilder::default().signal("KILL").build();
    match engine.kill_container(container, Some(options)).await {
        Ok(()) => Ok(()),
        // It is not there, or does not run.
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
        Err(error) => Err(EngineError::from(error).refusal("killing the container")),
    }
}
