//! Calls of the Bot API through the door to the network.

use std::time::Duration;

use moltbot_config::limits;
use moltbot_net::{Door, FetchError, Method, Request, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use super::token::BotToken;
use super::update::{Answer, Parameters};
use crate::driver::{Broken, NotSent};

/// The longest description of a refusal that is told, in characters.
const DESCRIPTION: usize = 200;

/// Why a call has no result.
#[derive(Debug, Error)]
pub(super) enum CallError {
    /// The way there.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Something else than the Bot API answered.
    #[error("Telegram answered with status {0} and no answer of the Bot API; try again later")]
    Garbage(u16),
    /// The Bot API said no.
    #[error("Telegram refused {method} ({code}): {description}")]
    Refused { method: &'static str, code: u16, description: String, parameters: Parameters },
}

/// A recorded way to the Bot API.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) door: Door,
    pub(super) root: Url,
    pub(super) token: BotToken,
}

impl Api {
    /// Calls a method. The answer may take `idle`.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        parameters: &Value,
        idle: Duration,
    ) -> Result<T, CallError> {
        let path = self.token.path(self.root.path(), method);
        let request = Request {
            method: Method::Post,
            url: self.root.clone(),
            headers: vec![("content-type".to_owned(), "application/json".into())],
            body: Some(parameters.to_string().into()),
            idle,
        };
        let response = self.door.send_at(&path, request).await?;
        let status = response.status;
        let body = response.text(limits::TELEGRAM_ANSWER_BYTES).await?;
        let answer: Answer<T> = serde_json::from_str(&body).map_err(|_| CallError::Garbage(status))?;
        match answer {
            Answer { ok: true, result: Some(result), .. } => Ok(result),
            Answer { ok: true, result: None, .. } => Err(CallError::Garbage(status)),
            Answer { ok: false, error_code, description, parameters, .. } => {
                let description = description.chars().filter(|c| !c.is_control()).take(DESCRIPTION).collect();
                let code = error_code.unwrap_or(status);
                Err(CallError::Refused { method, code, description, parameters })
            }
        }
    }
}

impl CallError {
    /// Whether Telegram does not take the tags of a text.
    pub(super) fn is_about_tags(&self) -> bool {
        matches!(self, Self::Refused { code: 400, description, .. } if description.contains("can't parse entities"))
    }

    /// The id that a group has now.
    pub(super) fn moved_to(&self) -> Option<i64> {
        match self {
            Self::Refused { parameters, .. } => parameters.migrate_to_chat_id,
            Self::Fetch(_) | Self::Garbage(_) => None,
        }
    }

    /// What it means for the account.
    pub(super) fn broken(self, account: &str) -> Broken {
        let wait = match &self {
            Self::Refused { code: 401 | 404, .. } => {
                return Broken::lasting(format!(
                    "Telegram does not know the bot token of account {account}; get a new one from @BotFather and set botToken"
                ));
            }
            Self::Refused { code: 409, .. } => {
                let what = format!(
                    "another program asks Telegram for the updates of account {account}; stop it, or get a new token from @BotFather"
                );
                return Broken { wait: Some(limits::TELEGRAM_CONFLICT), ..Broken::passing(what) };
            }
            Self::Refused { parameters, .. } => parameters.retry_after.map(Duration::from_secs),
            Self::Fetch(FetchError::Refused(refusal)) => return Broken::lasting(refusal.message.clone()),
            Self::Fetch(_) | Self::Garbage(_) => None,
        };
        Broken { wait, ..Broken::passing(self.to_string()) }
    }

    /// What it means for one message.
    pub(super) fn not_sent(self) -> NotSent {
        match &self {
            Self::Refused { code: 429, parameters, .. } => {
                NotSent::Later(Duration::from_secs(parameters.retry_after.unwrap_or(1)))
            }
            Self::Refused { code: 400 | 403 | 413, .. } => NotSent::Never(self.to_string()),
            Self::Refused { .. } | Self::Fetch(_) | Self::Garbage(_) => {
                NotSent::Unreachable(self.to_string())
            }
        }
    }
}
