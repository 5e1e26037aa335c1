//! What a turn needs before the model is asked: what was said, which model, which tools, which prompt.

use std::sync::OnceLock;

use moltbot_config::limits;
use moltbot_policy::cause::Cause;
use moltbot_policy::surroundings::{Surroundings, surroundings};
use moltbot_protocol::message::{Message, Part, text_of};
use tokio::task::spawn_blocking;

use super::condensing::{asked, by_turn};
use super::{Halt, Turn, calls_in};
use crate::external;
use crate::history::{Transcript, UNKNOWN_OUTCOME, estimate_text, estimate_tools};
use crate::model::{Model, Prompt, Route, ToolSpec};
use crate::prompt::{self, Facts};
use crate::tools::{Toolbox, sentence};
use crate::workspace;

impl Turn<'_> {
    /// Loads what was said before, and what a stopped gateway had journalled of this turn.
    pub(super) async fn load(&mut self) -> Result<(), Halt> {
        let loaded = self.inside.store.context(self.pending.id, limits::HISTORY_MESSAGES).await;
        let earlier = loaded.map_err(|error| Halt::Failed(sentence(&error)))?;
        let (mut messages, turns) = by_turn(earlier.messages, &earlier.turns);
        self.turns = turns;
        let question = messages.len();
        let said = Part::text(std::mem::take(&mut self.pending.message.text));
        let images = std::mem::take(&mut self.pending.message.images).into_iter().map(Part::from);
        let told = self.pending.message.look.take().map(|look| look.told).unwrap_or_default();
        let content: Vec<Part> =
            std::iter::once(said).chain(told.into_iter().map(Part::text)).chain(images).collect();
        let principal = self.pending.message.principal.clone();
        self.compacts = asked(&text_of(&content), &principal);
        messages.push(Message::User { content, timestamp: self.pending.accepted_ms, principal });
        self.external = external::mark(&mut messages).map_err(|error| Halt::Failed(sentence(&error)))?;
        for step in std::mem::take(&mut self.pending.steps) {
            messages.extend(step.results);
            messages.push(step.answer);
        }
        messages.append(&mut self.pending.tail);
        self.chosen_model = earlier.chosen_model;
        let of_all = self.inside.config.agents.defaults.thinking_default;
        self.thinking = self.pending.message.thinking.or(earlier.options.thinking_level).or(of_all);
        self.transcript = Transcript::new(messages, question, earlier.cut);
        if let Some(summary) = earlier.summary {
            let summary_message = self.stand_for(&summary).map_err(|error| Halt::Failed(sentence(&error)))?;
            self.transcript.stand_in(summary_message);
            self.turns.iter_mut().for_each(|(_, at)| *at = at.saturating_add(1));
            self.sources = summary.sources;
        }
        self.transcript.settle(UNKNOWN_OUTCOME, (self.clock)());
        self.recall();
        Ok(())
    }

    /// Takes what the turn did before the gateway stopped into its report.
    fn recall(&mut self) {
        let mut used = Vec::new();
        for message in self.transcript.of_turn() {
            match message {
                Message::Assistant { content, provider, model, usage, .. } => {
                    self.steps = self.steps.saturating_add(1);
                    used.push((provider.clone(), model.clone(), *usage));
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
        for (provider, model, usage) in used {
            self.count(&provider, &model, usage);
        }
        self.report.bound();
    }

    /// The model to ask, and the tools with the folder that they act on.
    pub(super) async fn prepare(&mut self) -> Result<(Route, Toolbox), Halt> {
        let agent = self.report.session.agent();
        let Some(main) = self.inside.workspace_of(&agent) else {
            let names = self.inside.agent_names();
            return Err(Halt::Failed(format!("there is no agent named {agent}; there are: {names}")));
        };
        let of_heartbeat = self.inside.config.agents.heartbeat_of(&agent).model;
        let of_heartbeat = of_heartbeat.filter(|_| self.pending.message.principal.is_heartbeat());
        // The owner named it, so it need not be one that sessions may choose.
        let route = match &of_heartbeat {
            Some(model) => self.inside.models.route_of_heartbeat(&agent, model),
            None => self.inside.models.route(&agent, self.chosen_model.as_deref()),
        };
        let route = route.map_err(|error| Halt::Failed(sentence(&error)))?;
        let Surroundings { place, access, .. } =
            surroundings(&self.inside.config.agents, &self.report.session);
        let (state, main) = (self.inside.state.clone(), main.clone());
        let opened = spawn_blocking(move || workspace::of_session(&state, place, &main)).await;
        let workspace = opened
            .map_err(|error| Halt::Failed(sentence(&error)))?
            .map_err(|error| Halt::Failed(sentence(&error)))?;
        let (config, principal) = (&self.inside.config, self.pending.message.principal.clone());
        let cause = Cause::of(config, self.report.session.clone(), self.report.run.clone(), principal);
        let cause =
            route.models().fold(cause, |cause, model| cause.asking(config, model.provider(), model.id()));
        let toolbox = Toolbox {
            config: self.inside.config.clone(),
            ledger: self.inside.ledger.clone(),
            sandbox: self.inside.sandbox.clone(),
            workspace,
            rules: self.inside.rules.clone(),
            access,
            cause,
            approvals: self.inside.approvals.clone(),
            home: self.inside.home.clone(),
            stop: self.stop.clone(),
            processes: self.inside.processes.clone(),
            later: self.control.later.clone(),
            status: self.inside.status(),
            thinking: self.pending.message.thinking,
            incident: OnceLock::new(),
        };
        Ok((route, toolbox))
    }

    /// The prompt that offers these tools, without its messages.
    pub(super) async fn prompt(&self, tools: Vec<ToolSpec>) -> Result<Prompt, Halt> {
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
            external: self.external.as_ref(),
            max_chars: usize::try_from(max_chars).unwrap_or(usize::MAX),
        });
        Ok(Prompt { system, tools, thinking: self.thinking, ..Prompt::default() })
    }
}

/// The tokens that messages may have: the window less the instructions, the tools and the answer. Sets the
/// answer's limit, which is at most half of a small window.
pub(super) fn budget(model: &Model, configured: Option<u64>, prompt: &mut Prompt) -> u64 {
    let window = configured.map_or(model.context_tokens(), |tokens| tokens.min(model.context_tokens()));
    let answer = model.max_tokens().min(window / 2);
    prompt.max_tokens = Some(answer);
    let tools = estimate_tools(&prompt.tools);
    window.saturating_sub(answer).saturating_sub(estimate_text(&prompt.system)).saturating_sub(tools)
}
