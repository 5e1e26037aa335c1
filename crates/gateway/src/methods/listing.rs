//! `agents.list`, `models.list` and `models.test`: who answers, and with which model.

use std::time::Instant;

use moltbot_protocol::error::WireError;
use moltbot_protocol::message::text_of;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Outcome};
use crate::shared::Shared;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestParams {
    /// `provider/model`; the default agent's model when absent.
    #[serde(default)]
    model: Option<String>,
}

pub(super) fn agents(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    let agents: Vec<Value> = shared
        .agent
        .agents()
        .into_iter()
        .map(|agent| match agent.name {
            Some(name) => json!({"id": agent.id.as_str(), "name": name}),
            None => json!({"id": agent.id.as_str()}),
        })
        .collect();
    Ok(json!({
        "defaultId": shared.default_agent().as_str(),
        "mainKey": "main",
        "scope": "per-sender",
        "agents": agents,
    }))
}

pub(super) fn models(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    let models: Vec<Value> = shared
        .agent
        .models()
        .list()
        .into_iter()
        .map(|model| {
            json!({
                "id": model.id,
                "name": model.name,
                "provider": model.provider,
                "contextWindow": model.context_tokens,
                "reasoning": model.reasoning,
                "input": ["text"],
            })
        })
        .collect();
    Ok(json!({ "models": models }))
}

/// Really asks the model.
pub(super) async fn test_model(shared: &Shared, call: &Call) -> Outcome {
    let params: TestParams = call.params()?;
    let began = Instant::now();
    let answer = shared.agent.test_model(params.model.as_deref()).await;
    let answer = answer.map_err(|error| WireError::unavailable(error.to_string()))?;
    Ok(json!({
        "ok": true,
        "provider": answer.provider,
        "model": answer.model,
        "text": text_of(&answer.content),
        "usage": answer.usage,
        "durationMs": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    }))
}
