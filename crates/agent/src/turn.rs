//! One turn: from an accepted message to its reply, or to the sentence that says why there is none.
//!
//! Ask the model; when it calls tools, journal what it wants, run them in order, and ask again. What the
//! model wants is on disk before a tool runs, so that after a crash it is known what may have happened; a
//! call whose outcome is unknown is never run again by itself. Every way out ends in the store.

use std::time::Duration;

use moltbot_config::limits;
use moltbot_protocol::message::{Message, Part, StopReason, text_of};
use moltbot_store::{Ending, PendingTurn, Step, TurnEnd};
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

mod speech;

use crate::agent::Inside;
use crate::history::{self, Transcript, UNKNOWN_OUTCOME, estimate_text, value_chars};
use crate::model::{Answer, Conversation, Model, ModelDelta, ModelError, Prompt, ToolSpec};
use crate::prompt::{self, Facts};
use crate::report::{ToolCallReport, TurnEvent, TurnReport};
use crate::tools::{ToolResult, Toolbox, sentence};
use crate::workspace;
use speech::Speech;

/// Who is told what happens.
type Watcher<'a> = &'a (dyn Fn(TurnEvent<'_>) + Send + Sync);
/// Milliseconds since the epoch.
type Clock<'a> = &'a (dyn Fn() -> u64 + Send + Sync);

/// How long a stopped tool may take to say how it ended. The rest of the second belongs to the store.
const GRACE: Duration = Duration::from_millis(700);

/// Why a turn ends without an answer.
enum Halt {
    Aborted,
    Failed(String),
}

/// A turn under way.
struct Turn<'a> {
    inside: &'a Inside,
    pending: PendingTurn,
    watcher: Watcher<'a>,
    clock: Clock<'a>,
    /// Cancelled when the person or the time limit stops the turn.
    stop: CancellationToken,
    transcript: Transcript,
    speech: Speech,
    report: TurnReport,
    /// Model calls so far.
    steps: u32,
}

/// A call of a tool, as the model made it.
struct Call {
    id: String,
    name: String,
    arguments: Value,
}

/// Takes one message to its end.
pub(crate) async fn take(
    inside: &Inside,
    pending: PendingTurn,
    watcher: Watcher<'_>,
    abort: CancellationToken,
    clock: Clock<'_>,
) -> TurnReport {
    let mut turn = Turn::begin(inside, pending, watcher, abort.child_token(), clock);
    let ended = turn.run().await;
    turn.close(ended).await
}

impl<'a> Turn<'a> {
    fn begin(
        inside: &'a Inside,
        pending: PendingTurn,
        watcher: Watcher<'a>,
        stop: CancellationToken,
        clock: Clock<'a>,
    ) -> Self {
        let started_ms = clock();
        let (run, session) = (pending.message.run.clone(), pending.message.session.clone());
        watcher(TurnEvent::Started { run: &run, session: &session, started_ms });
        let report = TurnReport::begun(run, session, started_ms);
        let transcript = Transcript::new(Vec::new(), 0, false);
        let speech = Speech::default();
        Self { inside, pending, watcher, clock, stop, transcript, speech, report, steps: 0 }
    }

    /// Works until there is an answer, a reason for none, or no more time.
    async fn run(&mut self) -> Result<(), Halt> {
        let configured = Duration::from_secs(u64::from(self.inside.config.agents.defaults.timeout_seconds));
        let limit = self.pending.message.timeout_ms.map_or(configured, Duration::from_millis);
        let stop = self.stop.clone();
        let mut work = Box::pin(self.work());
        tokio::select! {
            biased;
            ended = &mut work => ended,
            () = tokio::time::sleep(limit) => {
                stop.cancel();
                work.await.map_err(|_| Halt::Failed(format!(
                    "the turn took longer than its limit of {limit:?} and was stopped; ask for less at a time, or raise agents.defaults.timeoutSeconds"
                )))
            }
        }
    }

    async fn work(&mut self) -> Result<(), Halt> {
        self.load().await?;
        let (model, toolbox) = self.prepare().await?;
        let mut prompt = self.prompt(&model, &toolbox).await?;
        let budget = budget(&model, self.inside.config.agents.defaults.context_tokens, &mut prompt);
        let actor = format!("agent:{}", self.report.run);
        let conversation = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Halt::Aborted),
            opened = model.open(&actor) => opened.map_err(halt)?,
        };
        loop {
            let calls = self.ask(&conversation, &mut prompt, budget).await?;
            if calls.is_empty() {
                return Ok(());
            }
            self.require_room(calls.len())?;
            self.journal().await?;
            for call in calls {
                self.call(&toolbox, call).await?;
            }
        }
    }

    /// Loads what was said before, and what a stopped gateway had journalled of this turn.
    async fn load(&mut self) -> Result<(), Halt> {
        let loaded = self.inside.store.context(self.pending.id, limits::HISTORY_MESSAGES).await;
        let earlier = loaded.map_err(|error| Halt::Failed(sentence(&error)))?;
        let more = u32::try_from(earlier.len()).is_ok_and(|count| count >= limits::HISTORY_MESSAGES);
        let mut messages = history::repair(earlier);
        let question = messages.len();
        let content = vec![Part::text(std::mem::take(&mut self.pending.message.text))];
        messages.push(Message::User { content, timestamp: self.pending.accepted_ms });
        for step in std::mem::take(&mut self.pending.steps) {
            messages.extend(step.results);
            messages.push(step.answer);
        }
        self.transcript = Transcript::new(messages, question, more);
        self.transcript.settle(UNKNOWN_OUTCOME, (self.clock)());
        self.recall();
        Ok(())
    }

    /// Takes what the turn did before the gateway stopped into its report.
    fn recall(&mut self) {
        for message in self.transcript.of_turn() {
            match message {
                Message::Assistant { content, provider, model, usage, .. } => {
                    self.steps = self.steps.saturating_add(1);
                    self.report.usage = self.report.usage.plus(*usage);
                    self.report.provider.clone_from(provider);
                    self.report.model.clone_from(model);
                    self.speech.recall(&text_of(content));
                    self.report.tool_calls.extend(calls_in(content).map(|call| call.report()));
                }
                Message::ToolResult { tool_call_id, is_error, .. } => {
                    let calls = self.report.tool_calls.iter_mut().rev();
                    if let Some(call) = calls.into_iter().find(|call| call.id == *tool_call_id) {
                        call.result = message.text();
                        call.is_error = *is_error;
                    }
                }
                Message::User { .. } => {}
            }
        }
    }

    /// The model to ask, and the tools with the folder that they act on.
    async fn prepare(&mut self) -> Result<(Model, Toolbox), Halt> {
        let agent = self.report.session.agent();
        let Some(main) = self.inside.workspace_of(&agent) else {
            let names = self.inside.agent_names();
            return Err(Halt::Failed(format!("there is no agent named {agent}; there are: {names}")));
        };
        let model = self.inside.models.chosen(&agent).map_err(|error| Halt::Failed(sentence(&error)))?;
        let (state, session, main) = (self.inside.state.clone(), self.report.session.clone(), main.clone());
        let opened = spawn_blocking(move || workspace::of_session(&state, &session, &main)).await;
        let workspace = opened
            .map_err(|error| Halt::Failed(sentence(&error)))?
            .map_err(|error| Halt::Failed(sentence(&error)))?;
        let toolbox = Toolbox {
            config: self.inside.config.clone(),
            ledger: self.inside.ledger.clone(),
            sandbox: self.inside.sandbox.clone(),
            workspace,
            session: self.report.session.clone(),
            run: self.report.run.clone(),
            stop: self.stop.clone(),
        };
        Ok((model, toolbox))
    }

    /// The prompt without its messages.
    async fn prompt(&self, model: &Model, toolbox: &Toolbox) -> Result<Prompt, Halt> {
        let tools = if model.calls_tools() { toolbox.offered() } else { Vec::new() };
        let session = &self.report.session;
        let (agent, main) = (session.agent(), session.is_main());
        let Some(files) = self.inside.workspace_of(&agent).cloned() else {
            return Err(Halt::Failed(format!("there is no agent named {agent}")));
        };
        let read = spawn_blocking(move || prompt::read_files(&files, main)).await;
        let files = read.map_err(|error| Halt::Failed(sentence(&error)))?;
        let max_chars = self.inside.config.agents.defaults.bootstrap_max_chars;
        let system = prompt::write(&Facts {
            name: self.inside.name_of(&agent).unwrap_or(agent.as_str()),
            main,
            files: &files,
            tools: &tools,
            now_ms: (self.clock)(),
            extra: self.pending.message.extra_system_prompt.as_deref(),
            max_chars: usize::try_from(max_chars).unwrap_or(usize::MAX),
        });
        Ok(Prompt { system, messages: Vec::new(), tools, max_tokens: None })
    }

    /// Asks the model once and keeps what it says. The calls that it makes are still to be journalled.
    async fn ask(
        &mut self,
        conversation: &Conversation,
        prompt: &mut Prompt,
        budget: u64,
    ) -> Result<Vec<Call>, Halt> {
        prompt.messages = self.transcript.lend(budget);
        let (speech, watcher) = (&mut self.speech, self.watcher);
        let mut hear = |delta: ModelDelta| match delta {
            ModelDelta::Text(text) => speech.hear(&text, watcher),
            ModelDelta::ToolCallStarted { .. } => {}
        };
        let asked = conversation.ask(prompt, &mut hear, &self.stop).await;
        self.transcript.give_back(std::mem::take(&mut prompt.messages));
        Ok(self.keep(asked.map_err(halt)?))
    }

    /// Takes an answer into the transcript and the report.
    fn keep(&mut self, answer: Answer) -> Vec<Call> {
        let Answer { mut content, usage, stop_reason, provider, model } = answer;
        content.retain(|part| !matches!(part, Part::Text { text } if text.is_empty()));
        self.speech.settle(&text_of(&content), self.watcher);
        self.steps = self.steps.saturating_add(1);
        self.report.usage = self.report.usage.plus(usage);
        self.report.provider.clone_from(&provider);
        self.report.model.clone_from(&model);
        self.report.stop_reason = stop_reason;
        let calls = calls_in(&content).collect();
        let timestamp = (self.clock)();
        let error_message = None;
        let said =
            Message::Assistant { content, timestamp, provider, model, usage, stop_reason, error_message };
        self.transcript.push(said);
        calls
    }

    /// Whether the turn may go on with so many calls.
    fn require_room(&self, calls: usize) -> Result<(), Halt> {
        let used = self.report.usage.total_tokens;
        if self.steps >= limits::TURN_STEPS {
            let steps = limits::TURN_STEPS;
            return Err(Halt::Failed(format!(
                "the turn was stopped after {steps} model calls, which is the limit; say \"go on\" to continue"
            )));
        }
        if used > limits::TURN_TOKENS {
            let most = limits::TURN_TOKENS;
            return Err(Halt::Failed(format!(
                "the turn was stopped after {used} tokens, more than its limit of {most}; say \"go on\" to continue"
            )));
        }
        if calls > limits::ANSWER_CALLS {
            let most = limits::ANSWER_CALLS;
            return Err(Halt::Failed(format!(
                "the model made {calls} tool calls at once, more than the limit of {most}; none was run, ask again"
            )));
        }
        Ok(())
    }

    /// Puts what the model wants on disk, before any of it happens.
    async fn journal(&mut self) -> Result<(), Halt> {
        let mut results = self.transcript.unsaved().to_vec();
        let Some(answer) = results.pop() else { return Ok(()) };
        let step = Step { results, answer };
        let journalled = self.inside.store.journal(self.pending.id, step).await;
        journalled.map_err(|error| {
            Halt::Failed(format!("no tool was run because it could not be journalled: {}", sentence(&error)))
        })?;
        self.transcript.mark_saved();
        Ok(())
    }

    /// Runs one call and keeps its result.
    async fn call(&mut self, toolbox: &Toolbox, call: Call) -> Result<(), Halt> {
        if self.stop.is_cancelled() {
            return Err(Halt::Aborted);
        }
        let Call { id, name, arguments } = call;
        (self.watcher)(TurnEvent::ToolStarted { id: &id, name: &name, arguments: &arguments });
        let patience = async {
            self.stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let ToolResult { text: result, is_error } = tokio::select! {
            biased;
            result = toolbox.call(&name, arguments.clone()) => result,
            () = patience => ToolResult::stopped(),
        };
        (self.watcher)(TurnEvent::ToolEnded { id: &id, name: &name, result: &result, is_error });
        self.transcript.push(Message::ToolResult {
            tool_call_id: id.clone(),
            tool_name: name.clone(),
            content: vec![Part::text(result.clone())],
            is_error,
            timestamp: (self.clock)(),
        });
        self.report.tool_calls.push(ToolCallReport { id, name, arguments, result, is_error });
        if self.stop.is_cancelled() { Err(Halt::Aborted) } else { Ok(()) }
    }

    /// Puts the end on disk and reports it.
    async fn close(mut self, ended: Result<(), Halt>) -> TurnReport {
        let ended_ms = (self.clock)();
        let (ending, error) = match ended {
            Ok(()) => (Ending::Done, None),
            Err(Halt::Aborted) => (Ending::Aborted, None),
            Err(Halt::Failed(why)) => (Ending::Error, Some(why)),
        };
        if ending != Ending::Done {
            self.keep_fragment(ending, error.clone(), ended_ms);
        }
        let Self { inside, pending, watcher, transcript, speech, mut report, .. } = self;
        report.text = speech.into_text();
        report.ended_ms = ended_ms;
        report.state = ending.into();
        report.error = error;
        let end = TurnEnd {
            ending,
            messages: transcript.into_unsaved(),
            reply: (ending == Ending::Done && !report.text.is_empty()).then(|| report.text.clone()),
            error: report.error.clone(),
            usage: report.usage,
            model: (!report.model.is_empty()).then(|| report.model.clone()),
            ended_ms,
        };
        if let Err(error) = inside.store.finish(pending.id, end).await {
            report.not_kept(&sentence(&error));
        }
        log(&report);
        watcher(TurnEvent::Ended(&report));
        report
    }

    /// Keeps what was said of an answer that did not come to its end, and answers calls that did not run.
    fn keep_fragment(&mut self, ending: Ending, error_message: Option<String>, timestamp: u64) {
        let because = match &error_message {
            None => "this was not run: the turn was stopped".to_owned(),
            Some(why) => format!("this was not run: {why}"),
        };
        for (id, name) in self.transcript.settle(&because, timestamp) {
            // A call that was never begun is in the report all the same: the model asked for it.
            let (result, is_error) = (because.clone(), true);
            let arguments = self.transcript.arguments_of(&id).cloned().unwrap_or(Value::Null);
            self.report.tool_calls.push(ToolCallReport { id, name, arguments, result, is_error });
        }
        let fragment = self.speech.fragment();
        let content = if fragment.is_empty() { Vec::new() } else { vec![Part::text(fragment)] };
        let stop_reason = if ending == Ending::Aborted { StopReason::Aborted } else { StopReason::Error };
        self.report.stop_reason = stop_reason;
        self.transcript.push(Message::Assistant {
            content,
            timestamp,
            provider: self.report.provider.clone(),
            model: self.report.model.clone(),
            usage: moltbot_protocol::message::Usage::default(),
            stop_reason,
            error_message,
        });
    }
}

impl Call {
    /// The call in a report, without its result.
    fn report(self) -> ToolCallReport {
        let Self { id, name, arguments } = self;
        ToolCallReport { id, name, arguments, result: String::new(), is_error: false }
    }
}

/// The calls in what a model said.
fn calls_in(content: &[Part]) -> impl Iterator<Item = Call> {
    content.iter().filter_map(|part| match part {
        Part::ToolCall { id, name, arguments } => {
            Some(Call { id: id.clone(), name: name.clone(), arguments: arguments.clone() })
        }
        Part::Text { .. } => None,
    })
}

/// The tokens that messages may have: the window less the instructions, the tools and the answer. Sets the
/// answer's limit, which is at most half of a small window.
fn budget(model: &Model, configured: Option<u64>, prompt: &mut Prompt) -> u64 {
    let window = configured.map_or(model.context_tokens(), |tokens| tokens.min(model.context_tokens()));
    let answer = model.max_tokens().min(window / 2);
    prompt.max_tokens = Some(answer);
    let tool = |tool: &ToolSpec| {
        estimate_text(tool.name)
            .saturating_add(estimate_text(tool.description))
            .saturating_add(value_chars(&tool.parameters) / 4)
    };
    let tools = prompt.tools.iter().map(tool).fold(0, u64::saturating_add);
    window.saturating_sub(answer).saturating_sub(estimate_text(&prompt.system)).saturating_sub(tools)
}

/// What an error of the model means for the turn.
fn halt(error: ModelError) -> Halt {
    match error {
        ModelError::Aborted => Halt::Aborted,
        error => Halt::Failed(sentence(&error)),
    }
}

/// One line about the end of a turn, without what was said.
fn log(report: &TurnReport) {
    let took_ms = report.ended_ms.saturating_sub(report.started_ms);
    let (run, session) = (report.run.as_str(), report.session.as_str());
    match &report.error {
        None => tracing::info!(run, session, state = ?report.state, took_ms, "a turn has ended"),
        Some(error) => tracing::warn!(run, session, took_ms, error, "a turn has failed"),
    }
}
