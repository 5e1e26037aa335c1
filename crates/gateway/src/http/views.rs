//! What may be looked at over HTTP: the models, the gateway's figures, whether it takes messages.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::answer::{self, Body};
use crate::shared::Shared;

/// The text form of Prometheus.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /v1/models`, in the form of OpenAI's list. A model is named as a request names it.
pub(super) fn models(shared: &Shared) -> Response<Body> {
    let models = shared.agent.models().list();
    let data: Vec<Value> = models
        .into_iter()
        .map(|model| {
            let id = format!("{}/{}", model.provider, model.id);
            json!({"id": id, "object": "model", "created": 0, "owned_by": model.provider})
        })
        .collect();
    answer::json(StatusCode::OK, &json!({"object": "list", "data": data}))
}

/// `GET /readyz`: `ok` while messages are taken and answered. A stranger is not told what is wrong.
pub(super) async fn ready(shared: &Arc<Shared>) -> Response<Body> {
    let answers = shared.health.current(shared).await;
    let is_well = answers.value().get("ok").and_then(Value::as_bool).unwrap_or_default();
    if is_well && shared.stop.fact().is_none() && !shared.stopping.is_cancelled() {
        return answer::text("ok");
    }
    answer::plain(StatusCode::SERVICE_UNAVAILABLE, "not ready")
}

/// `GET /metrics`: a line for each figure that `status` has too. None names a person, a session or a text.
pub(super) async fn metrics(shared: &Arc<Shared>) -> Response<Body> {
    let answers = shared.health.current(shared).await;
    let (health, status) = (answers.value(), answers.status());
    let number = |value: &Value, at: &str| value.pointer(at).and_then(Value::as_u64).unwrap_or_default();
    let flag =
        |value: &Value, at: &str| u64::from(value.pointer(at).and_then(Value::as_bool).unwrap_or_default());
    let is_ready = u64::from(status.pointer("/sandbox/state") == Some(&json!("ready")));
    let mut text = format!(
        "# HELP moltbot_build_info The program, always 1.\n# TYPE moltbot_build_info gauge\nmoltbot_build_info{{version=\"{}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    );
    for (name, help, value) in [
        ("uptime_seconds", "Since the start.", number(status, "/uptimeMs") / 1000),
        ("connections", "Clients that are signed in over a WebSocket.", number(status, "/connections")),
        ("runs", "Turns that are under way or wait.", number(status, "/runs")),
        ("sessions", "Conversations that are kept.", number(status, "/sessions/count")),
        ("ledger_flushes_total", "Flushes of the book to the disk.", number(status, "/ledgerFlushes")),
        ("store_commits_total", "Commits of the state database.", number(status, "/storeCommits")),
        ("ledger_whole", "1 while the book is whole, 0 in lockdown.", flag(health, "/ledger/ok")),
        ("store_well", "1 while the state database answers.", flag(health, "/store/ok")),
        ("sandbox_ready", "1 once the sandbox was tried and holds.", is_ready),
        ("stopped", "1 between `stop` and `resume`.", u64::from(shared.stop.fact().is_some())),
    ] {
        // What only grows is named so.
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        text.push_str(&format!(
            "# HELP moltbot_{name} {help}\n# TYPE moltbot_{name} {kind}\nmoltbot_{name} {value}\n"
        ));
    }
    // Left out while none was kept: 0 would be one.
    if let Some(score) = status.pointer("/security/score").and_then(Value::as_u64) {
        let help = "How safe the installation was found to be, of 100.";
        text.push_str(&format!(
            "# HELP moltbot_security_score {help}\n# TYPE moltbot_security_score gauge\nmoltbot_security_score {score}\n"
        ));
    }
    answer::whole(StatusCode::OK, EXPOSITION, text)
}
