//! `moltbot models …`: which models there are, which one will answer, whether it does.

mod choosing;
pub(crate) mod pulling;

use moltbot_config::settings::ModelChoice;
use moltbot_posture::model::{self, Choice};
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Value, json};

use crate::arguments::{Facts, Models};
use crate::client::Connection;
use crate::exit::Exit;
use crate::home::Home;
use crate::output::{self, harmless};
use crate::serve::block_on;
use crate::{credentials, environment};

/// A model may have to be loaded from disk before its first word.
const TEST: std::time::Duration = std::time::Duration::from_secs(180);

/// Does what the command says.
pub(crate) fn run(home: &Home, command: Models) -> anyhow::Result<Exit> {
    match command {
        Models::List(facts) => block_on(list(home, facts)),
        Models::Status(facts) => block_on(status(home, facts)),
        Models::Scan { provider, json } => block_on(scan(home, provider, json)),
        Models::Test { model, json } => block_on(test(home, model, json)),
        Models::Pull(options) => pulling::run(home, &options),
        Models::Set { model } => choosing::set(home, &model),
        Models::Aliases(command) => choosing::aliases(home, &command),
        Models::Fallbacks(command) => choosing::fallbacks(home, &command),
    }
}

async fn list(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let mut connection = Connection::open(home, &[Scope::Read]).await?;
    let answer = connection.ask(Method::ModelsList.name(), json!({})).await?;
    connection.close().await;
    if facts.json {
        output::json(&answer)?;
        return Ok(Exit::Done);
    }
    let rows = answer.get("models").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        output::line("no model can be used; `moltbot models status` says what to do")?;
    }
    for row in rows {
        let text = |name: &str| harmless(row.get(name).and_then(Value::as_str).unwrap_or_default());
        let (provider, id, name) = (text("provider"), text("id"), text("name"));
        let window = row.get("contextWindow").and_then(Value::as_u64);
        let window = window.map(|tokens| format!("  {tokens} tokens")).unwrap_or_default();
        let name = if name.is_empty() || name == id { String::new() } else { format!("  {name}") };
        output::line(&format!("{provider}/{id}{name}{window}"))?;
    }
    Ok(Exit::Done)
}

/// The running gateway knows best; without one, what the config and the keys decide.
async fn status(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let said = match home.running()? {
        Some(_) => {
            let mut connection = Connection::open(home, &[Scope::Read]).await?;
            let status = connection.ask(Method::Status.name(), json!({})).await?;
            connection.close().await;
            status.get("model").and_then(Value::as_str).map(harmless)
        }
        None => None,
    };
    let choice = planned(home)?;
    let list = home.load()?.config.agents.defaults.model;
    let fallbacks = list.as_ref().map(ModelChoice::fallbacks).unwrap_or_default().to_vec();
    let said = said.unwrap_or_else(|| explain(&choice));
    if facts.json {
        let source = match choice {
            Choice::Config(_) => "config",
            Choice::Key(_) => "key",
            Choice::Nobody => "discovery",
        };
        output::json(&json!({"model": said, "source": source, "fallbacks": fallbacks}))?;
    } else {
        output::line(&said)?;
        if !fallbacks.is_empty() {
            output::line(&format!("tried after it: {}", choosing::told(&fallbacks)))?;
        }
    }
    Ok(Exit::Done)
}

/// Really asks the providers.
async fn scan(home: &Home, provider: Option<String>, as_json: bool) -> anyhow::Result<Exit> {
    let mut connection = Connection::open(home, &[Scope::Admin]).await?;
    let params = provider.map_or_else(|| json!({}), |provider| json!({"provider": provider}));
    let answer = connection.ask(Method::ModelsScan.name(), params).await?;
    connection.close().await;
    if as_json {
        output::json(&answer)?;
        return Ok(Exit::Done);
    }
    let rows = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |row: &Value, name: &str| harmless(row.get(name).and_then(Value::as_str).unwrap_or_default());
    for row in rows("models") {
        let known = if row.get("known") == Some(&Value::Bool(true)) { "  in the config" } else { "" };
        output::line(&format!("{}/{}{known}", text(&row, "provider"), text(&row, "id")))?;
    }
    for row in rows("failed") {
        output::note(&format!("{}: {}", text(&row, "provider"), text(&row, "why")));
    }
    Ok(Exit::Done)
}

/// What the config and the keys decide.
pub(crate) fn planned(home: &Home) -> anyhow::Result<Choice> {
    let config = home.load()?.config;
    let mut keys = credentials::peek(home, &config)?;
    environment::add_provider_keys(&mut keys, &config.env);
    Ok(model::choice(&config, keys.deciding()))
}

/// The choice in a sentence.
pub(crate) fn explain(choice: &Choice) -> String {
    model::check(choice).what
}

async fn test(home: &Home, model: Option<String>, as_json: bool) -> anyhow::Result<Exit> {
    let mut connection = Connection::open(home, &[Scope::Admin]).await?;
    let params = model.map_or_else(|| json!({}), |model| json!({"model": model}));
    let asked = connection.call(Method::ModelsTest.name(), params);
    let late = || Exit::Failed.because(format!("the model did not answer within {} s", TEST.as_secs()));
    let answer = tokio::time::timeout(TEST, asked).await.map_err(|_| late())??;
    connection.close().await;
    match answer {
        Ok(answer) if as_json => output::json(&answer)?,
        Ok(answer) => {
            let text = |name: &str| harmless(answer.get(name).and_then(Value::as_str).unwrap_or_default());
            output::line(&format!(
                "{}/{} answers: {}",
                text("provider"),
                text("model"),
                text("text").trim()
            ))?;
            for tried in answer.get("tried").and_then(Value::as_array).into_iter().flatten() {
                let text = |name: &str| harmless(tried.get(name).and_then(Value::as_str).unwrap_or_default());
                output::note(&format!("{}/{} did not: {}", text("provider"), text("model"), text("why")));
            }
        }
        Err(error) => return Err(Exit::Failed.because(&error.message)),
    }
    Ok(Exit::Done)
}
