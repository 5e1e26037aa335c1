//! Failover: who is asked next, with which key, and what rests meanwhile.

use std::time::Instant;

use moltbot_agent::model::{Conversation, Models, ProviderKeys};
use moltbot_config::Config;
use moltbot_config::settings::{ModelChoice, OrderedModels, ProviderApi, ProviderConfig};
use moltbot_protocol::ids::AgentId;
use moltbot_protocol::message::Part;
use moltbot_testkit::model::{MODEL, Reply, ScriptedModel};
use serde_json::json;
use tempfile::TempDir;

use crate::model::{KEY, ask, book, prompt, scripted};

const SECOND: &str = "sk-second-0123456789";

/// Two providers of which the second stands in for the first.
fn config(first: ProviderConfig, second: ProviderConfig) -> Config {
    let mut config = Config::default();
    config.models.providers.insert("first".into(), first);
    config.models.providers.insert("second".into(), second);
    config.agents.defaults.model = Some(ModelChoice::Ordered(OrderedModels {
        primary: Some(format!("first/{MODEL}")),
        fallbacks: vec!["keyless/x".into(), format!("second/{MODEL}"), format!("first/{MODEL}")],
    }));
    config
}

fn completions(model: &ScriptedModel) -> ProviderConfig {
    scripted(&model.openai_url(), ProviderApi::OpenAiCompletions)
}

struct House {
    _home: TempDir,
    models: Models,
}

impl House {
    fn of(config: &Config) -> Self {
        let (home, ledger) = book();
        let models = Models::resolve(config, ProviderKeys::default(), None, ledger).unwrap();
        Self { _home: home, models }
    }

    async fn turn(&self) -> Conversation {
        self.models.route(&AgentId::main(), None).unwrap().open("agent main").await.unwrap()
    }
}

fn status(code: u16) -> Reply {
    Reply::status(code, "scripted")
}

fn kinds(tried: &[moltbot_agent::model::Tried]) -> Vec<String> {
    tried.iter().map(|it| format!("{} {}", it.provider, it.kind)).collect()
}

#[tokio::test]
async fn the_next_model_answers_at_once_whatever_the_first_one_failed_of() {
    for (reply, kind) in [
        (status(401), "auth"),
        (status(402), "no-credit"),
        (Reply::Status { code: 429, body: String::new(), retry_after: Some(30) }, "rate-limited"),
        (status(503), "overloaded"),
        (Reply::Drop(Vec::new()), "disconnected"),
        (Reply::Garbage(b"\x00\x01".to_vec()), "malformed"),
        (Reply::status(400, "maximum context length"), "context-too-long"),
        (Reply::status(404, "model not found"), "unknown-model"),
    ] {
        let first = ScriptedModel::answering(move |_| reply.clone());
        let second = ScriptedModel::echo();
        let house = House::of(&config(completions(&first), completions(&second)));
        let since = Instant::now();
        let (answer, seen) = ask(&house.turn().await, &prompt()).await;
        let answer = answer.unwrap();
        assert_eq!((answer.provider.as_str(), seen.concat().as_str()), ("second", "echo: hello"), "{kind}");
        assert_eq!(kinds(&answer.tried), [format!("first {kind}")]);
        assert!(since.elapsed().as_millis() < 5000, "{kind}: no wait before another is asked");
    }
}

#[tokio::test]
async fn who_failed_rests_and_is_asked_last() {
    let first = ScriptedModel::answering(|_| status(503));
    let second = ScriptedModel::echo();
    let house = House::of(&config(completions(&first), completions(&second)));
    for turn in 1..=3 {
        let answer = ask(&house.turn().await, &prompt()).await.0.unwrap();
        assert_eq!((answer.provider.as_str(), first.requests().len()), ("second", 1), "turn {turn}");
    }
    // What is wrong with one question says nothing of the next.
    let first = ScriptedModel::queue([Reply::status(400, "maximum context length"), Reply::text("first")]);
    let house = House::of(&config(completions(&first), completions(&second)));
    assert_eq!(ask(&house.turn().await, &prompt()).await.0.unwrap().provider, "second");
    assert_eq!(ask(&house.turn().await, &prompt()).await.0.unwrap().provider, "first");
}

#[tokio::test]
async fn an_answer_that_was_begun_is_not_begun_again_elsewhere() {
    let first = ScriptedModel::answering(|_| Reply::Drop(vec!["half ".into()]));
    let second = ScriptedModel::echo();
    let house = House::of(&config(completions(&first), completions(&second)));
    let (answer, seen) = ask(&house.turn().await, &prompt()).await;
    assert_eq!(answer.unwrap_err().kind(), "disconnected");
    assert_eq!((seen.concat().as_str(), second.requests().len()), ("half ", 0));
}

#[tokio::test]
async fn what_a_provider_refuses_for_its_content_is_not_taken_to_another() {
    let body = json!({"error": {"code": "content_policy_violation", "message": "no"}}).to_string();
    let first =
        ScriptedModel::answering(move |_| Reply::Status { code: 400, body: body.clone(), retry_after: None });
    let second = ScriptedModel::echo();
    let house = House::of(&config(completions(&first), completions(&second)));
    assert_eq!(ask(&house.turn().await, &prompt()).await.0.unwrap_err().kind(), "content-refused");
    assert!(second.requests().is_empty());
}

#[tokio::test]
async fn when_nobody_answers_everybody_is_named() {
    let first = ScriptedModel::answering(|_| status(401));
    let second = ScriptedModel::answering(|_| status(402));
    let house = House::of(&config(completions(&first), completions(&second)));
    let error = ask(&house.turn().await, &prompt()).await.0.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no model answered: first/scripted: first did not accept the key from models.providers.first.apiKey; put a valid key there; second/scripted: second says that the account has no credit left; add some, or choose another provider"
    );
}

#[tokio::test]
async fn keys_of_one_provider_take_turns() {
    let model = ScriptedModel::answering(|request| {
        let second = request.header("authorization").is_some_and(|value| value.ends_with(SECOND));
        if second { Reply::text("with the second") } else { status(429) }
    });
    let mut provider = completions(&model);
    provider.api_keys.insert("spare".into(), SECOND.into());
    provider.api_keys.insert("twice".into(), KEY.into());
    let house = House::of(&crate::model::config("first", provider));
    let turn = house.models.named("first/scripted").unwrap().open("agent main").await.unwrap();
    let answer = ask(&turn, &prompt()).await.0.unwrap();
    assert_eq!(answer.content, [Part::text("with the second")]);
    assert_eq!(kinds(&answer.tried), ["first rate-limited"]);
    assert_eq!(model.requests().len(), 2);
    ask(&turn, &prompt()).await.0.unwrap();
    assert_eq!(model.requests().len(), 3, "the key that is limited rests");

    // One key that is refused does not stand in the way of another, and is named.
    let model = ScriptedModel::queue([status(401), status(401)]);
    let mut provider = completions(&model);
    provider.api_keys.insert("spare".into(), SECOND.into());
    let house = House::of(&crate::model::config("first", provider));
    let turn = house.models.named("first/scripted").unwrap().open("agent main").await.unwrap();
    let error = ask(&turn, &prompt()).await.0.unwrap_err();
    assert_eq!(error.kind(), "auth");
    assert_eq!(model.requests().len(), 2);
    assert!(!format!("{error} {error:?}").contains("sk-"), "{error:?}");
}

#[tokio::test]
async fn a_fallback_with_a_smaller_window_is_not_sent_what_it_cannot_read() {
    let first = ScriptedModel::answering(|_| status(503));
    let second = ScriptedModel::echo();
    let mut small = completions(&second);
    small.models[0].context_window = Some(1000);
    let house = House::of(&config(completions(&first), small));
    let mut question = prompt();
    question.system = "x".repeat(8000);
    question.tools = Vec::new();
    let turn = house.turn().await;
    let error = ask(&turn, &question).await.0.unwrap_err();
    assert!(error.to_string().contains("second/scripted: the conversation is longer than"), "{error}");
    assert!(second.requests().is_empty());
}
