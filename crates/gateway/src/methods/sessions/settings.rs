//! What is said in a chat about the conversation's own settings: `/model`, `/models`, `/think`, `/verbose` and `/status`.
//!
//! Whoever may change a setting is for the judge; the change is in the book before it is kept, and counts from the next turn on.

use moltbot_agent::model::NoModel;
use moltbot_policy::authorization::Grant;
use moltbot_policy::chat::{ChatCommand, ChatCommandPermit};
use moltbot_policy::session::SettingsPermit;
use moltbot_policy::{Recorded, Refusal, Unrecorded, record_soon};
use moltbot_protocol::error::WireError;
use moltbot_protocol::ids::{AgentId, SessionKey};
use moltbot_protocol::message::{ThinkingLevel, VerboseLevel};
use moltbot_store::{SessionOptions, SessionPatch, SessionRow, StoreError};
use thiserror::Error;

use super::super::{Call, not_recorded, store_failed};
use super::patch::changed;
use crate::shared::Shared;

/// Models that are named in one sentence or list.
const NAMED: usize = 40;
/// What takes a setting away.
const DEFAULT: [&str; 2] = ["default", "reset"];

/// Why a setting was not changed.
#[derive(Debug, Error)]
pub(crate) enum SettingError {
    /// Whoever asks may not.
    #[error("{0}")]
    Refused(Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The book cannot be written.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
}

/// Who says something about a setting.
pub(crate) enum Sayer<'a> {
    /// On a channel.
    Chat(&'a ChatCommandPermit),
    /// By a client.
    Client(&'a Grant),
}

impl Sayer<'_> {
    fn permit(
        &self,
        session: &SessionKey,
        changes: Vec<(&'static str, String)>,
    ) -> Result<SettingsPermit, SettingError> {
        let session = session.clone();
        let permit = match self {
            Self::Chat(permit) => SettingsPermit::by_chat(permit, session, changes),
            Self::Client(grant) => SettingsPermit::by_client(grant, session, changes),
        };
        permit.map_err(SettingError::Refused)
    }
}

/// Changes a session for who may.
pub(in crate::methods) async fn apply(
    shared: &Shared,
    permit: Recorded<SettingsPermit>,
    patch: SessionPatch,
) -> Result<SessionRow, StoreError> {
    let key = permit.permit().session();
    let row = shared.store.patch_session(key, patch, shared.now_ms()).await?;
    shared.health.touch();
    changed(shared, key, "patch", Some(&row.session_id));
    Ok(row)
}

/// Does what a message of a client says that is one of these commands and no message for the agent; the words to show for it.
/// Nothing for any other message.
pub(in crate::methods) async fn by_text(
    shared: &Shared,
    call: &Call,
    key: &SessionKey,
    message: &str,
) -> Option<Result<String, WireError>> {
    let (command, words) = ChatCommand::parse(message)?;
    let said = say(shared, key, (command, &words), &Sayer::Client(&call.grant)).await?;
    Some(said.map_err(|error| match error {
        SettingError::Refused(refusal) => WireError::invalid(refusal.message),
        SettingError::Store(error) => store_failed(&error),
        SettingError::Unrecorded(unrecorded) => not_recorded(&unrecorded),
    }))
}

/// Does one of these commands; the words to answer. Nothing for any other command.
pub(crate) async fn say(
    shared: &Shared,
    key: &SessionKey,
    (command, words): (ChatCommand, &[&str]),
    sayer: &Sayer<'_>,
) -> Option<Result<String, SettingError>> {
    match (command, words) {
        (ChatCommand::Models, _) | (ChatCommand::Model, ["list"]) => Some(Ok(models(shared, &key.agent()))),
        (ChatCommand::Status, _)
        | (ChatCommand::Model | ChatCommand::Think | ChatCommand::Verbose, [] | ["status"]) => {
            let told = shared.agent.session_status(key).await;
            let how = usage(command).map_or_else(String::new, |usage| format!("\n{usage}"));
            Some(told.map(|told| told + &how).map_err(SettingError::Store))
        }
        (ChatCommand::Model | ChatCommand::Think | ChatCommand::Verbose, [value]) => {
            Some(set(shared, key, (command, value), sayer).await)
        }
        (ChatCommand::Model | ChatCommand::Think | ChatCommand::Verbose, _) => {
            Some(Ok(usage(command).unwrap_or_default()))
        }
        _ => None,
    }
}

async fn set(
    shared: &Shared,
    key: &SessionKey,
    (command, value): (ChatCommand, &str),
    sayer: &Sayer<'_>,
) -> Result<String, SettingError> {
    // Judged before anything is read.
    let of = sayer.permit(key, vec![(command.name(), value.to_owned())])?;
    let before = shared.store.session(key).await?.map(|row| row.options).unwrap_or_default();
    let patch = match read(shared, &key.agent(), (command, value), before) {
        Ok(patch) => patch,
        Err(why) => return Ok(why),
    };
    let permit = record_soon(of, &shared.ledger).await?;
    apply(shared, permit, patch).await?;
    Ok(shared.agent.session_status(key).await?)
}

/// What is to be changed, or the sentence that says what can be said.
fn read(
    shared: &Shared,
    agent: &AgentId,
    (command, value): (ChatCommand, &str),
    mut options: SessionOptions,
) -> Result<SessionPatch, String> {
    let is_default = DEFAULT.contains(&value);
    if command == ChatCommand::Model {
        let chosen = if is_default { None } else { Some(model(shared, agent, value)?) };
        return Ok(SessionPatch { chosen_model: Some(chosen), ..SessionPatch::default() });
    }
    let word = value.to_ascii_lowercase();
    let unknown = || usage(command).unwrap_or_default();
    if command == ChatCommand::Think {
        let level = (!is_default).then(|| ThinkingLevel::parse(&word).ok_or_else(unknown));
        options.thinking_level = level.transpose()?;
    } else {
        let level = (!is_default).then(|| VerboseLevel::parse(&word).ok_or_else(unknown));
        options.verbose_level = level.transpose()?;
    }
    Ok(SessionPatch { options: Some(options), ..SessionPatch::default() })
}

/// The whole name of a model that a session of the agent may choose, or the sentence that says which those are.
pub(in crate::methods) fn model(shared: &Shared, agent: &AgentId, reference: &str) -> Result<String, String> {
    match shared.agent.models().choose(agent, reference) {
        Ok(model) => Ok(format!("{}/{}", model.provider(), model.id())),
        Err(missing) => Err(unknown(shared, agent, &missing)),
    }
}

fn unknown(shared: &Shared, agent: &AgentId, missing: &NoModel) -> String {
    let choices = shared.agent.models().choices(agent);
    let named: Vec<&str> = choices.iter().map(String::as_str).take(NAMED).collect();
    if named.is_empty() { missing.to_string() } else { format!("{missing}; there are: {}", named.join(", ")) }
}

fn models(shared: &Shared, agent: &AgentId) -> String {
    let choices = shared.agent.models().choices(agent);
    let mut lines: Vec<String> = choices.iter().take(NAMED).map(|name| format!("/model {name}")).collect();
    if choices.len() > NAMED {
        lines.push(format!("and {} more: `moltbot models list`", choices.len().saturating_sub(NAMED)));
    }
    if lines.is_empty() { "No model can be chosen.".into() } else { lines.join("\n") }
}

/// What can be said.
fn usage(command: ChatCommand) -> Option<String> {
    let levels = |name: &str, all: &[&str]| format!("/{name} {}|default", all.join("|"));
    match command {
        ChatCommand::Model => Some("/model <provider/model>|default, /models tells which there are".into()),
        ChatCommand::Think => Some(levels("think", &ThinkingLevel::NAMES)),
        ChatCommand::Verbose => Some(levels("verbose", &VerboseLevel::NAMES)),
        _ => None,
    }
}
