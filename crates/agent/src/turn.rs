//! One turn: from an accepted message to its reply, or to the sentence that says why there is none.
//!
//! Ask the model; when it calls tools, journal what it wants, run them in order, and ask again. What the
//! model wants is on disk before a tool runs, so that after a crash it is known what may have happened; a
//! call whose outcome is unknown is never run again by itself. Every way out ends in the store.

use std::time::Duration;

use moltbot_config::limits;
use moltbot_policy::incident::Incident;
use moltbot_protocol::message::{Message, Part, ThinkingLevel, Usage, text_of};
use moltbot_protocol::principal::Principal;
use moltbot_store::{PendingTurn, Step, TurnId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

mod condensing;
mod ending;
mod outgoing;
mod preparing;
mod speech;
mod steering;

use crate::agent::Inside;
use crate::control::Control;
use crate::external::Boundary;
use crate::history::Transcript;
use crate::model::{Answer, Conversation, Model, ModelDelta, ModelError, Prompt};
use crate::picture;
use crate::report::{NotAllowed, Responding, ToolCallReport, TurnEvent, TurnReport};
use crate::tools::{ToolResult, Toolbox, sentence};
use preparing::budget;
use speech::Speech;

pub(crate) use condensing::NOTHING;
pub(crate) use ending::pass_over;

/// Who is told what happens.
type Watcher<'a> = &'a (dyn Fn(TurnEvent<'_>) + Send + Sync);
/// Whether a model may be asked, after a turn has used so many tokens and so many millionths of a dollar.
type Allowance<'a> = &'a (dyn Fn(u64, u64) -> Result<(), NotAllowed> + Send + Sync);
/// Who has what follows from an incident done: when it resolves, that is on disk.
type Responder<'a> = &'a (dyn Fn(Incident) -> Responding + Send + Sync);
/// Milliseconds since the epoch.
type Clock<'a> = &'a (dyn Fn() -> u64 + Send + Sync);

/// How long a stopped tool may take to say how it ended. The rest of the second belongs to the store.
const GRACE: Duration = Duration::from_millis(700);

/// Why a turn ends without an answer.
enum Halt {
    Aborted,
    Failed(String),
    /// The session is in quarantine.
    Quarantined(String),
    Refused(NotAllowed),
}

/// A turn under way.
struct Turn<'a> {
    inside: &'a Inside,
    pending: PendingTurn,
    watcher: Watcher<'a>,
    allowance: Allowance<'a>,
    responder: Responder<'a>,
    clock: Clock<'a>,
    /// Cancelled when the person or the time limit stops the turn.
    stop: CancellationToken,
    /// Where messages come from that are to be taken in.
    control: Control,
    /// The model that a person chose for the session, as `provider/model`.
    chosen_model: Option<String>,
    /// How much the model is told to think; nothing when it decides itself.
    thinking: Option<ThinkingLevel>,
    transcript: Transcript,
    /// Where the messages of each turn before this one begin in the transcript.
    turns: Vec<(TurnId, usize)>,
    /// Who caused what the summary stands for that the transcript begins with.
    sources: Vec<Principal>,
    /// What a person wants in a summary, when the turn asks for one.
    compacts: Option<String>,
    /// The boundary around what came from outside and around a summary, when there is any.
    external: Option<Boundary>,
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
    allowance: Allowance<'_>,
    responder: Responder<'_>,
    control: Control,
    clock: Clock<'_>,
) -> TurnReport {
    let mut turn = Turn::begin(inside, pending, watcher, allowance, responder, control, clock);
    let ended = turn.run().await;
    turn.close(ended).await
}

impl<'a> Turn<'a> {
    fn begin(
        inside: &'a Inside,
        pending: PendingTurn,
        watcher: Watcher<'a>,
        allowance: Allowance<'a>,
        responder: Responder<'a>,
        control: Control,
        clock: Clock<'a>,
    ) -> Self {
        let started_ms = clock();
        let (run, session) = (pending.message.run.clone(), pending.message.session.clone());
        watcher(TurnEvent::Started { run: &run, session: &session, started_ms });
        let report = TurnReport::begun(run, session, started_ms);
        let transcript = Transcript::new(Vec::new(), 0, false);
        let speech = Speech::default();
        Self {
            inside,
            pending,
            watcher,
            allowance,
            responder,
            clock,
            stop: control.abort.child_token(),
            control,
            chosen_model: None,
            thinking: None,
            transcript,
            turns: Vec::new(),
            sources: Vec::new(),
            compacts: None,
            external: None,
            speech,
            report,
            steps: 0,
        }
    }

    /// Works until there is an answer, a reason for none, or no more time.
    async fn run(&mut self) -> Result<(), Halt> {
        let configured = Duration::from_secs(u64::from(self.inside.config.agents.defaults.timeout_seconds));
        // A client may ask for less than the owner allows, and for no more.
        let limit = self.pending.message.timeout_ms.map_or(configured, Duration::from_millis).min(configured);
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
        self.require_allowed()?;
        let (route, toolbox) = self.prepare().await?;
        let model = route.first();
        let tools = if model.calls_tools() { toolbox.offered() } else { Vec::new() };
        let mut prompt = self.prompt(tools).await?;
        if route.models().any(Model::sees) {
            prompt.pictures = picture::load(&toolbox, self.transcript.pictures()).await;
        }
        let budget = budget(model, self.inside.config.agents.defaults.context_tokens, &mut prompt);
        let actor = format!("agent:{}", self.report.run);
        let conversation = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Halt::Aborted),
            opened = route.open(&actor) => opened.map_err(halt)?,
        };
        if let Some(hint) = self.compacts.take() {
            return self.compact(&conversation, model, budget, &hint).await;
        }
        if self.condense_when_full(&conversation, model, budget).await? {
            let Prompt { max_tokens, pictures, tools, .. } = prompt;
            prompt = Prompt { max_tokens, pictures, ..self.prompt(tools).await? };
        }
        loop {
            let calls = self.ask(&conversation, &mut prompt, budget).await?;
            if calls.is_empty() {
                return Ok(());
            }
            self.require_room()?;
            self.require_allowed()?;
            self.journal().await?;
            for call in calls {
                self.call(&toolbox, call).await?;
            }
            self.take_in().await;
        }
    }

    /// Asks the model once and keeps what it says. The calls that it makes are still to be journalled.
    ///
    /// A model that turns out to have no use for tools is asked again with a prompt that has none, and is
    /// offered none for the rest of the turn.
    async fn ask(
        &mut self,
        conversation: &Conversation,
        prompt: &mut Prompt,
        budget: u64,
    ) -> Result<Vec<Call>, Halt> {
        let asked = self.hear(conversation, prompt, budget).await;
        match asked {
            Err(ModelError::WithoutTools { model }) if !prompt.tools.is_empty() => {
                tracing::info!(model, "the model cannot call tools; asking without them");
                let (max_tokens, pictures) = (prompt.max_tokens, std::mem::take(&mut prompt.pictures));
                *prompt = Prompt { max_tokens, pictures, ..self.prompt(Vec::new()).await? };
                let asked = self.hear(conversation, prompt, budget).await;
                Ok(self.keep(asked.map_err(halt)?))
            }
            asked => Ok(self.keep(asked.map_err(halt)?)),
        }
    }

    /// Asks the model and lets the watcher hear its words.
    async fn hear(
        &mut self,
        conversation: &Conversation,
        prompt: &mut Prompt,
        budget: u64,
    ) -> Result<Answer, ModelError> {
        prompt.messages = self.transcript.lend(budget);
        let (speech, watcher) = (&mut self.speech, self.watcher);
        let mut hear = |delta: ModelDelta| match delta {
            ModelDelta::Text(text) => speech.hear(&text, watcher),
            ModelDelta::ToolCallStarted { .. } => {}
        };
        let asked = conversation.ask(prompt, &mut hear, &self.stop).await;
        self.transcript.give_back(std::mem::take(&mut prompt.messages));
        asked
    }

    /// Takes an answer into the transcript and the report.
    fn keep(&mut self, answer: Answer) -> Vec<Call> {
        let Answer { mut content, usage, stop_reason, provider, model, tried: _ } = answer;
        // Providers refuse a conversation in which somebody said nothing but blanks.
        content.retain(|part| !matches!(part, Part::Text { text } if text.trim().is_empty()));
        self.speech.settle(&text_of(&content), self.watcher);
        self.steps = self.steps.saturating_add(1);
        self.count(&provider, &model, usage);
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

    /// Whether whoever caused the turn may have a model asked, or asked once more.
    fn require_allowed(&self) -> Result<(), Halt> {
        (self.allowance)(self.report.usage.total_tokens, self.report.cost).map_err(Halt::Refused)
    }

    /// Counts what an answer used and what that cost.
    fn count(&mut self, provider: &str, model: &str, usage: Usage) {
        self.report.usage = self.report.usage.plus(usage);
        let price = self.inside.models.price(provider, model);
        match usage.charged.or_else(|| Some(price?.of(&usage))) {
            Some(cost) => self.report.cost = self.report.cost.saturating_add(cost),
            None => self.report.unpriced = true,
        }
    }

    /// Whether the turn may go on.
    fn require_room(&self) -> Result<(), Halt> {
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
        self.report.bound(); // now and not at the end: it is held as long as the turn
        if let Some(incident) = toolbox.incident.get() {
            return Err(self.respond(incident.clone()).await);
        }
        if self.stop.is_cancelled() { Err(Halt::Aborted) } else { Ok(()) }
    }
}

impl Turn<'_> {
    /// Has done what follows from a high incident, before the turn is closed: a crash in between does not lose it.
    async fn respond(&self, incident: Incident) -> Halt {
        let (what, session) = (incident.what.clone(), self.report.session.as_str());
        (self.responder)(incident).await;
        Halt::Quarantined(format!(
            "the turn was ended and its session is in quarantine, because {what}; nothing came of it. Look at what the agent was told: `moltbot sessions show {session}`; then `moltbot sessions release {session}` lets it go on"
        ))
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
        Part::Image { .. } | Part::Text { .. } | Part::Thinking { .. } => None,
    })
}

/// What an error of the model means for the turn.
fn halt(error: ModelError) -> Halt {
    match error {
        ModelError::Aborted => Halt::Aborted,
        error => Halt::Failed(sentence(&error)),
    }
}
