//! What is set of a conversation, what it used, and within which walls its tools work: for its owner, and for the agent itself
//! as the tool `session_status`. Nothing is changed by asking.

use std::sync::Arc;

use moltbot_config::Config;
use moltbot_policy::allowance::money;
use moltbot_policy::profile::WorkspaceAccess;
use moltbot_policy::surroundings::surroundings;
use moltbot_protocol::ids::SessionKey;
use moltbot_protocol::message::ThinkingLevel;
use moltbot_store::{SessionRow, Store, StoreError};

use crate::model::Models;

/// Where what is told is known from.
#[derive(Clone)]
pub(crate) struct StatusSource {
    pub(crate) config: Arc<Config>,
    pub(crate) models: Models,
    pub(crate) store: Store,
}

impl StatusSource {
    /// A line for each thing. `of_turn` is what one turn alone thinks, where that was asked for.
    pub(crate) async fn tell(
        &self,
        session: &SessionKey,
        of_turn: Option<ThinkingLevel>,
    ) -> Result<String, StoreError> {
        let row = self.store.session(session).await?;
        Ok(self.lines(session, row.as_ref(), of_turn).join("\n"))
    }

    fn lines(
        &self,
        session: &SessionKey,
        row: Option<&SessionRow>,
        of_turn: Option<ThinkingLevel>,
    ) -> Vec<String> {
        let options = row.map(|row| row.options.clone()).unwrap_or_default();
        let defaults = &self.config.agents.defaults;
        let own = options.thinking_level.map(|level| (level, "of this conversation"));
        let of_all = defaults.thinking_default.map(|level| (level, "of all conversations"));
        let thinking = of_turn.map(|level| (level, "of this message")).or(own).or(of_all);
        let verbose = options.verbose_level.unwrap_or(defaults.verbose_default);
        let mut lines = vec![
            format!("session: {session}"),
            self.model(session, row.and_then(|row| row.chosen_model.as_deref())),
            thinking.map_or_else(
                || "thinking: as much as the model does by itself".to_owned(),
                |(level, whose)| format!("thinking: {} ({whose})", level.name()),
            ),
            format!("verbose: {}", verbose.name()),
        ];
        lines.extend(row.map(used));
        lines.push(self.walls(session));
        lines
    }

    fn model(&self, session: &SessionKey, chosen: Option<&str>) -> String {
        let agent = session.agent();
        let (model, whose) = match chosen {
            Some(reference) => (self.models.choose(&agent, reference), "chosen for this conversation"),
            None => (self.models.chosen(&agent), "of the agent"),
        };
        match model {
            Ok(model) => format!("model: {}/{} ({whose})", model.provider(), model.id()),
            Err(missing) => format!("model: none ({missing})"),
        }
    }

    fn walls(&self, session: &SessionKey) -> String {
        let around = surroundings(&self.config.agents, session);
        let access = match around.access {
            WorkspaceAccess::None => "none",
            WorkspaceAccess::ReadOnly => "read only",
            WorkspaceAccess::ReadWrite => "read and write",
        };
        let backend = self.config.agents.defaults.sandbox.backend.name();
        format!("sandbox: {backend}, workspace {access} ({})", around.because)
    }
}

/// What the turns of a session used that have an end.
fn used(row: &SessionRow) -> String {
    let usage = row.usage;
    let mut text = format!(
        "used: {} messages, {} tokens ({} in, {} out), {}",
        row.message_count,
        usage.total_tokens,
        usage.input.saturating_add(usage.cache_read).saturating_add(usage.cache_write),
        usage.output,
        money(row.cost)
    );
    if row.unpriced > 0 {
        text.push_str(&format!(" and {} turns whose price is not known", row.unpriced));
    }
    text
}
