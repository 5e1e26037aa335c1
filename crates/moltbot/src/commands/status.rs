//! `moltbot status` and `moltbot health`.

use moltbot_gateway::{ScoreFact, StopFact};
use moltbot_protocol::method::Method;
use moltbot_protocol::scope::Scope;
use serde_json::{Map, Value, json};

use crate::arguments::{Facts, Status};
use crate::client::Connection;
use crate::clock;
use crate::commands::models;
use crate::commands::security::scores;
use crate::exit::Exit;
use crate::home::{self, Home, Running};
use crate::log::{FILE, FOLDER};
use crate::output::{self, Paint, harmless};

/// Says what runs here and where everything is, with or without a gateway.
pub(crate) async fn run(home: &Home, options: &Status) -> anyhow::Result<Exit> {
    let running = home.running()?;
    let heard = match &running {
        Some(_) => Some(ask(home, options.all).await?),
        None => None,
    };
    let state = home.state.path();
    let planned = models::explain(&models::planned(home)?);
    let model = heard.as_ref().and_then(|heard| heard.pointer("/status/model")?.as_str().map(harmless));
    let stopped = StopFact::read(&home.state).map_err(|error| home::failed(&error))?;
    let score = ScoreFact::read(&home.state).pop();
    let facts = json!({
        "running": running.is_some(),
        "gateway": running,
        "model": model.unwrap_or(planned),
        "state": state.display().to_string(),
        "config": home.config_path.display().to_string(),
        "token": home.credential_place(),
        "logs": state.join(FOLDER).join(FILE).display().to_string(),
        "stopped": stopped,
        "security": score,
        "heard": heard,
    });
    if options.json {
        output::json(&facts)?
    } else {
        print(running.as_ref(), &facts)?;
        print_score(score.as_ref())?;
    }
    Ok(Exit::Done)
}

/// How safe the installation was found to be when that was last kept.
fn print_score(score: Option<&ScoreFact>) -> anyhow::Result<()> {
    let told = match score {
        None => "not known; `moltbot security audit --deep` tells and keeps it".to_owned(),
        Some(fact) => {
            let ago = clock::duration(clock::now_ms().saturating_sub(fact.at_ms));
            format!("{}, {ago} ago", scores::in_a_line(fact))
        }
    };
    output::line(&format!("security {told}"))?;
    Ok(())
}

async fn ask(home: &Home, all: bool) -> anyhow::Result<Value> {
    let mut connection = Connection::open(home, &[Scope::Read]).await?;
    let mut heard = Map::new();
    let mut methods = vec![("status", Method::Status), ("health", Method::Health)];
    if all {
        let more = [
            ("agents", Method::AgentsList),
            ("models", Method::ModelsList),
            ("sessions", Method::SessionsList),
        ];
        methods.extend(more);
        heard.insert("features".into(), connection.hello().get("features").cloned().unwrap_or_default());
        heard.insert("policy".into(), connection.hello().get("policy").cloned().unwrap_or_default());
    }
    for (name, method) in methods {
        heard.insert(name.into(), connection.ask(method.name(), json!({})).await?);
    }
    connection.close().await;
    Ok(Value::Object(heard))
}

fn print(running: Option<&Running>, facts: &Value) -> anyhow::Result<()> {
    match running {
        None => output::line("gateway  does not run; start it with `moltbot up`")?,
        Some(running @ Running { pid, port, started_at_ms, version, .. }) => {
            let since = clock::duration(clock::now_ms().saturating_sub(*started_at_ms));
            output::line(&format!("gateway  {version} on http://127.0.0.1:{port} (pid {pid}, for {since})"))?;
            for (name, told) in running.reached() {
                output::line(&format!("{name:8} {told}"))?;
            }
        }
    }
    for name in ["model", "token", "config", "state", "logs"] {
        let value = facts.get(name).and_then(Value::as_str).unwrap_or_default();
        output::line(&format!("{name:8} {value}"))?;
    }
    if let Some(stopped) = facts.get("stopped").filter(|stopped| !stopped.is_null()) {
        let by = stopped.get("by").and_then(Value::as_str).unwrap_or_default();
        let since = stopped.get("sinceMs").and_then(Value::as_u64).unwrap_or_default();
        let since = clock::duration(clock::now_ms().saturating_sub(since));
        let told = format!("everything is, by {}, for {since}; `moltbot resume` goes on", harmless(by));
        output::line(&format!("stopped  {}", output::paint(&told, Paint::Warn)))?;
    }
    print_quarantined(facts.pointer("/heard/status/quarantined"))?;
    let Some(heard) = facts.get("heard").and_then(Value::as_object) else { return Ok(()) };
    if let Some(sandbox) = facts.pointer("/heard/status/sandbox") {
        output::line(&format!("sandbox  {}", sandbox_in_a_line(sandbox)))?;
    }
    if let Some(ledger) = facts.pointer("/heard/status/ledger") {
        output::line(&format!("ledger   {}", ledger_in_a_line(ledger)))?;
    }
    print_sending(facts.pointer("/heard/status/sending"))?;
    for (name, value) in heard {
        if let ("agents" | "models" | "sessions", Some(rows)) = (name.as_str(), value.get(name)) {
            let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
            let ids = rows.iter().filter_map(|row| row.get("id").or(row.get("key"))?.as_str());
            output::line(&format!("{name:8} {}", harmless(&ids.collect::<Vec<_>>().join(", "))))?;
        }
    }
    Ok(())
}

/// The sessions in which nothing runs before their owner lets them go on.
fn print_quarantined(held: Option<&Value>) -> anyhow::Result<()> {
    for held in held.and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| held.get(name).map(in_a_line).unwrap_or_default().replace('\n', " ");
        let (session, why) = (text("sessionKey"), text("reason"));
        let told = format!(
            "{session} is in quarantine, because {why}; `moltbot sessions release {session}` lets it go on"
        );
        output::line(&format!("session  {}", output::paint(&told, Paint::Bad)))?;
    }
    Ok(())
}

/// Where the book is sent, and whether that works.
fn print_sending(sending: Option<&Value>) -> anyhow::Result<()> {
    let part = |name: &str| sending.and_then(|all| all.get(name)).and_then(Value::as_array);
    for server in part("servers").into_iter().flatten() {
        let text = |name: &str| server.get(name).map(in_a_line).unwrap_or_default();
        let known =
            format!("{} to {}, which has it up to record {}", text("server"), text("to"), text("kept"));
        output::line(&format!("book     {known}{}", problem_of(server)))?;
    }
    for anchor in part("anchors").into_iter().flatten() {
        let text = |name: &str| anchor.get(name).map(in_a_line).unwrap_or_default();
        let known = format!("{} remembers record {}", text("path"), text("remembers"));
        output::line(&format!("anchor   {known}{}", problem_of(anchor)))?;
    }
    Ok(())
}

fn problem_of(value: &Value) -> String {
    match value.get("problem").and_then(Value::as_str) {
        None => String::new(),
        Some(problem) => format!("; {}", output::paint(&harmless(problem), Paint::Bad)),
    }
}

/// Whether commands can be run, and why not.
pub(crate) fn sandbox_in_a_line(sandbox: &Value) -> String {
    let member = |name: &str| sandbox.get(name).map(in_a_line).unwrap_or_default();
    match sandbox.get("state").and_then(Value::as_str) {
        Some("ready") => {
            let facts = format!("Landlock {}, as user {}", member("landlockAbi"), member("uid"));
            format!("{} ({facts}, memory held by {})", output::paint("ok", Paint::Good), member("limiter"))
        }
        Some("unavailable") => {
            let refused = output::paint("commands are refused", Paint::Warn);
            format!("{refused}: {}; to do: {}", member("reason"), member("fix"))
        }
        Some("probing") => "is being tried".into(),
        _ => in_a_line(sandbox),
    }
}

/// Whether the book is whole, and what to do when it is not.
fn ledger_in_a_line(ledger: &Value) -> String {
    if ledger.get("ok").and_then(Value::as_bool) == Some(true) {
        return output::paint("ok", Paint::Good);
    }
    let member = |name: &str| ledger.get(name).map(in_a_line).unwrap_or_default();
    let state = output::paint("locked down", Paint::Bad);
    format!("{state}: {}, line {}: {}; {}", member("file"), member("line"), member("what"), member("error"))
}

/// A value's members without JSON's marks.
fn in_a_line(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let members = members.map(|(name, value)| format!("{name}: {}", in_a_line(value)));
            members.collect::<Vec<_>>().join(", ")
        }
        Value::String(text) => harmless(text),
        other => other.to_string(),
    }
}

/// Asks whether the gateway's parts work.
pub(crate) async fn health(home: &Home, facts: Facts) -> anyhow::Result<Exit> {
    let mut connection = Connection::open(home, &[Scope::Read]).await?;
    let health = connection.ask(Method::Health.name(), json!({})).await?;
    connection.close().await;
    if facts.json {
        output::json(&health)?;
    } else {
        print_health(&health)?;
    }
    let well = health.get("ok").and_then(Value::as_bool).unwrap_or(true);
    Ok(if well { Exit::Done } else { Exit::Failed })
}

fn print_health(health: &Value) -> anyhow::Result<()> {
    let well = |part: &Value| match part.get("ok").and_then(Value::as_bool) {
        Some(false) => output::paint("does not work", Paint::Bad),
        Some(true) | None => output::paint("ok", Paint::Good),
    };
    output::line(&format!("gateway  {}", well(health)))?;
    let part = |name: &str| health.get(name).cloned().unwrap_or_default();
    let store = part("store");
    let error = store.get("error").map(in_a_line).map(|error| format!(": {error}")).unwrap_or_default();
    output::line(&format!("store    {}{error}", well(&store)))?;
    output::line(&format!("ledger   {}", ledger_in_a_line(&part("ledger"))))?;
    output::line(&format!("sandbox  {}", sandbox_in_a_line(&part("sandbox"))))?;
    Ok(())
}
