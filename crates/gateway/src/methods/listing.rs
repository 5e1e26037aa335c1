//! `agents.*`, `models.*` and `system-presence`: who answers, with which model, and who is connected.

use std::time::Instant;

use moltbot_agent::model::{Scanned, Tried};
use moltbot_protocol::error::WireError;
use moltbot_protocol::message::text_of;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Outcome, agent_named, session};
use crate::presence;
use crate::shared::Shared;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Parameters of `models.list`, of all generations. There is one list: of models that can be asked at this moment.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ModelsParams {
    #[serde(default)]
    agent_id: Option<String>,
    /// Only this provider's.
    #[serde(default)]
    provider: Option<String>,
    #[serde(default, rename = "includeDetails")]
    _include_details: Option<bool>,
    #[serde(default, rename = "refresh")]
    _refresh: Option<bool>,
    #[serde(default, rename = "view")]
    _view: Option<String>,
}

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

/// Clients that are named: who looks for one among more looks into the log.
const PRESENT: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IdentityParams {
    #[serde(default)]
    agent_id: Option<String>,
    #[serde(default)]
    session_key: Option<String>,
}

/// What an agent is called: of the one that is named, that a session is with, or the default one.
pub(super) fn identity(shared: &Shared, call: &Call) -> Outcome {
    let params: IdentityParams = call.params()?;
    let of_session = params.session_key.as_deref().map(|key| session(shared, key)).transpose()?;
    let of_session = of_session.map(|session| session.agent());
    let named = params.agent_id.as_deref().map(|id| agent_named(shared, id)).transpose()?;
    if let (Some(named), Some(of_session)) = (&named, &of_session)
        && named != of_session
    {
        return Err(WireError::invalid("agentId and sessionKey name two agents; give one of them"));
    }
    let id = named.or(of_session).unwrap_or_else(|| shared.default_agent());
    let agents = shared.agent.agents();
    let name = agents.into_iter().find(|agent| agent.id == id).and_then(|agent| agent.name);
    let name = name.unwrap_or_else(|| id.as_str().to_owned());
    Ok(json!({"agentId": id.as_str(), "name": name, "avatar": null}))
}

/// The gateway, then the clients that are connected, newest first.
pub(super) fn presence(shared: &Shared, call: &Call) -> Outcome {
    let Nothing {} = call.params()?;
    let (clients, left_out) = shared.hub.present(PRESENT);
    let mut own = presence::own(shared);
    if left_out > 0
        && let Some(members) = own.as_object_mut()
    {
        members.insert("tags".into(), json!([format!("{left_out} older clients are not listed")]));
    }
    Ok(std::iter::once(own).chain(clients).collect())
}

pub(super) fn models(shared: &Shared, call: &Call) -> Outcome {
    let params: ModelsParams = call.params()?;
    if let Some(agent) = &params.agent_id {
        agent_named(shared, agent)?;
    }
    let models: Vec<Value> = shared
        .agent
        .models()
        .list()
        .into_iter()
        .filter(|model| params.provider.as_ref().is_none_or(|provider| *provider == model.provider))
        .map(|model| {
            json!({
                "id": model.id,
                "name": model.name,
                "provider": model.provider,
                "contextWindow": model.context_tokens,
                "reasoning": model.reasoning,
                "input": if model.images { &["text", "image"][..] } else { &["text"] },
                "available": true,
            })
        })
        .collect();
    Ok(json!({ "models": models }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScanParams {
    /// The provider; all that can be asked when absent.
    #[serde(default)]
    provider: Option<String>,
}

/// Really asks the providers which models they have.
pub(super) async fn scan_models(shared: &Shared, call: &Call) -> Outcome {
    let params: ScanParams = call.params()?;
    let models = shared.agent.models();
    let scanned = models.scan(params.provider.as_deref(), call.grant.actor()).await;
    let scanned = scanned.map_err(|missing| WireError::invalid(missing.to_string()))?;
    let known = models.list();
    let (mut found, mut failed): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    for Scanned { provider, models } in scanned {
        match models {
            Ok(ids) => found.extend(ids.into_iter().map(|id| {
                let known = known.iter().any(|it| it.provider == provider && it.id == id);
                json!({"provider": provider, "id": id, "known": known})
            })),
            Err(error) => {
                failed.push(json!({"provider": provider, "kind": error.kind(), "why": error.to_string()}));
            }
        }
    }
    Ok(json!({"models": found, "failed": failed}))
}

/// Really asks the model.
pub(super) async fn test_model(shared: &Shared, call: &Call) -> Outcome {
    let params: TestParams = call.params()?;
    let began = Instant::now();
    let answer = shared.agent.test_model(params.model.as_deref()).await;
    let answer = answer.map_err(|error| {
        WireError::unavailable(error.to_string()).with_details(json!({"kind": error.kind()}))
    })?;
    let tried: Vec<Value> = answer.tried.iter().map(tried).collect();
    Ok(json!({
        "ok": true,
        "provider": answer.provider,
        "model": answer.model,
        "text": text_of(&answer.content),
        "tried": tried,
        "usage": answer.usage,
        "durationMs": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    }))
}

/// A try that came to nothing before the answer.
fn tried(tried: &Tried) -> Value {
    json!({"provider": tried.provider, "model": tried.model, "kind": tried.kind, "why": tried.why})
}
