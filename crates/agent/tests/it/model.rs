//! Models over real sockets: what is sent, what is made of an answer, and what of everything that is none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moltbot_agent::model::{
    Answer, Conversation, Discovered, ModelDelta, ModelError, Models, Prompt, ProviderKeys, ToolSpec,
};
use moltbot_config::Config;
use moltbot_config::limits;
use moltbot_config::settings::{ModelChoice, ModelConfig, ModelsMode, ProviderApi, ProviderConfig};
use moltbot_ledger::{Ledger, LedgerOptions};
use moltbot_protocol::ids::AgentId;
use moltbot_protocol::message::{Message, Part, StopReason, Usage};
use moltbot_protocol::principal::Principal;
use moltbot_testkit::model::{Call, INPUT_TOKENS, MODEL, OUTPUT_TOKENS, Reply, ScriptedModel};
use moltbot_vault::StateDir;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) const KEY: &str = "sk-test-0123456789";
const HEADER: &str = "project-5d1f3c77";

pub(crate) fn book() -> (TempDir, Ledger) {
    let home = tempfile::tempdir().unwrap();
    let state = StateDir::open_or_create(&home.path().join("state")).unwrap();
    let ledger = Ledger::open(&state, &moltbot_testkit::vault(&state), LedgerOptions::default()).unwrap();
    (home, ledger)
}

pub(crate) fn scripted(base_url: &str, api: ProviderApi) -> ProviderConfig {
    let model: ModelConfig = serde_json::from_value(json!({"id": MODEL, "maxTokens": 99})).unwrap();
    ProviderConfig {
        api: Some(api),
        api_key: Some(KEY.into()),
        base_url: Some(base_url.into()),
        models: vec![model],
        ..ProviderConfig::default()
    }
}

pub(crate) fn config(name: &str, provider: ProviderConfig) -> Config {
    let mut config = Config::default();
    config.models.providers.insert(name.into(), provider);
    config
}

fn resolve(config: &Config, keys: ProviderKeys, discovered: Option<Discovered>) -> Models {
    let (_home, ledger) = book();
    Models::resolve(config, keys, discovered, ledger).unwrap()
}

/// Opens the model of a provider. The folder holds the book.
pub(crate) async fn open(provider: ProviderConfig) -> (TempDir, Conversation) {
    let (home, ledger) = book();
    let models = Models::resolve(&config("acme", provider), ProviderKeys::default(), None, ledger).unwrap();
    let model = models.chosen(&AgentId::main()).unwrap();
    (home, model.open("agent main").await.unwrap())
}

async fn openai(model: &ScriptedModel) -> (TempDir, Conversation) {
    open(scripted(&model.openai_url(), ProviderApi::OpenAiCompletions)).await
}

async fn anthropic(model: &ScriptedModel) -> (TempDir, Conversation) {
    open(scripted(&model.anthropic_url(), ProviderApi::AnthropicMessages)).await
}

pub(crate) fn prompt() -> Prompt {
    let content = vec![Part::text("hello")];
    let user = Message::User { content, timestamp: 1, principal: Principal::Owner };
    Prompt { system: "be brief".into(), messages: vec![user], tools: vec![read_tool()], ..Prompt::default() }
}

fn read_tool() -> ToolSpec {
    ToolSpec { name: "read", description: "reads a file", parameters: json!({"type": "object"}) }
}

/// Asks once; gives the answer and what was handed on before it, a word for each piece.
pub(crate) async fn ask(
    conversation: &Conversation,
    prompt: &Prompt,
) -> (Result<Answer, ModelError>, Vec<String>) {
    let mut seen = Vec::new();
    let mut watch = |delta| {
        seen.push(match delta {
            ModelDelta::Text(text) => text,
            ModelDelta::ToolCallStarted { name, .. } => format!("[{name}]"),
        });
    };
    let answer = conversation.ask(prompt, &mut watch, &CancellationToken::new()).await;
    (answer, seen)
}

async fn error_of(reply: Reply) -> ModelError {
    let model = ScriptedModel::answering(move |_| reply.clone());
    let (_home, conversation) = openai(&model).await;
    ask(&conversation, &prompt()).await.0.unwrap_err()
}

fn garbage(body: &str) -> Reply {
    Reply::Garbage(body.as_bytes().to_vec())
}

pub(crate) fn call(id: &str, name: &str, arguments: serde_json::Value) -> Part {
    Part::ToolCall { id: id.into(), name: name.into(), arguments }
}

#[tokio::test]
async fn words_are_handed_on_as_they_come_and_the_answer_is_whole() {
    for format in ["openai", "anthropic"] {
        let model = ScriptedModel::queue([Reply::words("one two three")]);
        let (_home, conversation) =
            if format == "openai" { openai(&model).await } else { anthropic(&model).await };
        let (answer, seen) = ask(&conversation, &prompt()).await;
        let expected = Answer {
            content: vec![Part::text("one two three")],
            usage: Usage {
                input: INPUT_TOKENS,
                output: OUTPUT_TOKENS,
                total_tokens: INPUT_TOKENS + OUTPUT_TOKENS,
                ..Usage::default()
            },
            stop_reason: StopReason::Stop,
            provider: "acme".into(),
            model: MODEL.into(),
            tried: Vec::new(),
        };
        assert_eq!(answer.unwrap(), expected, "{format}");
        assert_eq!(seen, ["one ", "two ", "three"], "{format}");
    }
}

#[tokio::test]
async fn tool_calls_split_over_many_pieces_are_put_together() {
    for format in ["openai", "anthropic"] {
        let arguments = json!({"path": "notes/ünïcode.md", "lines": [1, 2]});
        let calls = [("call_a", "read"), ("call_b", "read")].map(|(id, name)| Call {
            id: id.into(),
            name: name.into(),
            arguments: arguments.to_string(),
        });
        let model = ScriptedModel::queue([Reply::ToolCalls { text: "I look.".into(), calls: calls.into() }]);
        let (_home, conversation) =
            if format == "openai" { openai(&model).await } else { anthropic(&model).await };
        let (answer, seen) = ask(&conversation, &prompt()).await;
        let answer = answer.unwrap();
        let expected = vec![
            Part::text("I look."),
            call("call_a", "read", arguments.clone()),
            call("call_b", "read", arguments),
        ];
        assert_eq!((answer.content, answer.stop_reason), (expected, StopReason::ToolUse), "{format}");
        assert_eq!(seen.concat(), "I look.[read][read]", "{format}");
    }
}

#[tokio::test]
async fn arguments_that_are_no_object_are_handed_on_as_they_came() {
    for text in ["7", "[1,2", "{\"path\": ", "null"] {
        let model = ScriptedModel::queue([Reply::wrong_arguments("read", text)]);
        let (_home, conversation) = openai(&model).await;
        let answer = ask(&conversation, &prompt()).await.0.unwrap();
        assert_eq!(answer.content, [call("call_0", "read", json!(text))], "arguments {text}");
    }
}

#[tokio::test]
async fn a_call_written_into_the_text_is_a_call_and_is_not_shown_as_words() {
    let bare = "```json\n{\"name\": \"read\", \"arguments\": {\"path\": \"a\"}}\n```";
    let model = ScriptedModel::queue([Reply::words(bare), Reply::words(bare)]);
    let (_home, conversation) = openai(&model).await;
    let (answer, seen) = ask(&conversation, &prompt()).await;
    let answer = answer.unwrap();
    let [Part::ToolCall { id, name, arguments }] = answer.content.as_slice() else { panic!("{answer:?}") };
    assert_eq!((name.as_str(), arguments), ("read", &json!({"path": "a"})));
    assert!(id.len() > 20, "an id of its own: {id}");
    assert_eq!((seen, answer.stop_reason), (vec!["[read]".to_owned()], StopReason::ToolUse));
    let untooled = Prompt { tools: Vec::new(), ..prompt() };
    let (answer, seen) = ask(&conversation, &untooled).await;
    assert_eq!(answer.unwrap().content, [Part::text(bare)], "no tool was offered");
    assert_eq!(seen.concat(), bare);
}

/// A question after two tool calls, one of them with arguments that were no JSON, and an empty answer.
pub(crate) fn long_prompt() -> Prompt {
    let assistant = |content| Message::Assistant {
        content,
        timestamp: 2,
        provider: "acme".into(),
        model: MODEL.into(),
        usage: Usage::default(),
        stop_reason: StopReason::ToolUse,
        error_message: None,
    };
    let result = |id: &str, is_error| Message::ToolResult {
        tool_call_id: id.into(),
        tool_name: "read".into(),
        content: vec![Part::text("lines")],
        is_error,
        timestamp: 3,
    };
    let calls = vec![call("a", "read", json!({"path": "x"})), call("b", "read", json!("[half"))];
    let mut question = prompt();
    question.messages.extend([
        assistant(calls),
        result("a", false),
        result("b", true),
        assistant(Vec::new()),
    ]);
    question
}

#[tokio::test]
async fn a_conversation_is_sent_in_the_form_of_openai() {
    let model = ScriptedModel::queue([Reply::text("ok")]);
    let (_home, conversation) = openai(&model).await;
    ask(&conversation, &long_prompt()).await.0.unwrap();
    let request = model.requests().pop().unwrap();
    assert_eq!(request.header("authorization"), Some("Bearer sk-test-0123456789"));
    let function = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "read", "arguments": arguments}});
    let expected = json!({
        "model": MODEL, "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 99,
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": null, "tool_calls": [
                function("a", r#"{"path":"x"}"#), function("b", r#"{"invalid":"[half"}"#)]},
            {"role": "tool", "content": "lines", "tool_call_id": "a"},
            {"role": "tool", "content": "lines", "tool_call_id": "b"},
        ],
        "tools": [{"type": "function", "function":
            {"name": "read", "description": "reads a file", "parameters": {"type": "object"}}}],
    });
    assert_eq!(request.body, expected);
}

#[tokio::test]
async fn a_conversation_is_sent_in_the_form_of_anthropic() {
    let model = ScriptedModel::queue([Reply::text("ok")]);
    let (_home, conversation) = anthropic(&model).await;
    ask(&conversation, &long_prompt()).await.0.unwrap();
    let request = model.requests().pop().unwrap();
    assert_eq!(request.header("x-api-key"), Some(KEY));
    assert_eq!(request.header("anthropic-version"), Some("2023-06-01"));
    let text = |text: &str| json!({"type": "text", "text": text});
    let expected = json!({
        "model": MODEL, "stream": true, "max_tokens": 99,
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [text("hello")]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "a", "name": "read", "input": {"path": "x"}},
                {"type": "tool_use", "id": "b", "name": "read", "input": {"invalid": "[half"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "is_error": false, "content": [text("lines")]},
                {"type": "tool_result", "tool_use_id": "b", "is_error": true, "content": [text("lines")],
                    "cache_control": {"type": "ephemeral"}}]},
        ],
        "tools": [{"name": "read", "description": "reads a file", "input_schema": {"type": "object"}}],
    });
    assert_eq!(request.body, expected);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_the_rest_is_not() {
    let busy = |code| Reply::Status { code, body: "busy".into(), retry_after: None };
    let model = ScriptedModel::queue([busy(503), busy(429), Reply::text("here")]);
    let (_home, conversation) = openai(&model).await;
    let (answer, seen) = ask(&conversation, &prompt()).await;
    assert_eq!(answer.unwrap().content, [Part::text("here")]);
    assert_eq!((model.requests().len(), seen.concat().as_str()), (3, "here"));

    let model = ScriptedModel::queue([Reply::Drop(vec!["half ".into()]), Reply::text("whole")]);
    let (_home, conversation) = openai(&model).await;
    let (answer, seen) = ask(&conversation, &prompt()).await;
    assert!(matches!(answer, Err(ModelError::Interrupted { .. })), "{answer:?}");
    assert_eq!((model.requests().len(), seen.concat().as_str()), (1, "half "), "words are said once");

    let model = ScriptedModel::queue([Reply::Drop(Vec::new()), Reply::text("whole")]);
    let (_home, conversation) = openai(&model).await;
    assert_eq!(ask(&conversation, &prompt()).await.0.unwrap().content, [Part::text("whole")]);
}

#[tokio::test]
async fn an_error_says_what_to_do_and_never_the_key() {
    let status = |code, kind: &str, message: &str| Reply::Status {
        code,
        body: json!({"error": {"type": kind, "message": message}}).to_string(),
        retry_after: None,
    };
    let echoed = format!("Incorrect API key provided: {KEY}");
    for (reply, expected) in [
        (
            status(401, "x", &echoed),
            "acme did not accept the key from models.providers.acme.apiKey; put a valid key there",
        ),
        (
            status(403, "x", "no"),
            "acme did not accept the key from models.providers.acme.apiKey; put a valid key there",
        ),
        (
            status(404, "x", "model 'scripted' not found"),
            "acme has no model named \"scripted\"; choose another in agents.defaults.model",
        ),
        (
            status(404, "x", "no such page"),
            "acme has no chat under that address (status 404); correct models.providers.acme.baseUrl",
        ),
        (
            status(400, "model_not_found", "no"),
            "acme has no model named \"scripted\"; choose another in agents.defaults.model",
        ),
        (
            status(400, "context_length_exceeded", "no"),
            "the conversation is longer than scripted can read; start a new one with `/new`",
        ),
        (
            status(400, "invalid_request_error", "prompt is too long: 210000 tokens"),
            "the conversation is longer than scripted can read; start a new one with `/new`",
        ),
        (
            status(429, "insufficient_quota", "pay"),
            "acme says that the account has no credit left; add some, or choose another provider",
        ),
        (
            status(402, "x", "pay"),
            "acme says that the account has no credit left; add some, or choose another provider",
        ),
        (status(418, "x", &echoed), "acme refused the request (status 418): Incorrect API key provided: ***"),
        (
            status(308, "x", "no"),
            "127.0.0.1: answered with a redirect (308), which is not followed; set the final address",
        ),
    ] {
        let error = error_of(reply).await;
        let said = error.to_string();
        let said = said.split_once(" answered with").map_or(said.clone(), |(host, rest)| {
            format!("{} answered with{rest}", host.trim_end_matches(|c: char| c.is_ascii_digit()))
        });
        assert_eq!(said, expected);
        assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    }
}

#[tokio::test]
async fn a_stream_that_makes_no_sense_is_an_error_and_ends_at_once() {
    let chunk = |text: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let half_call = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}}]}"#;
    for (body, expected) in [
        ("\u{0}\u{1}\u{2}".to_owned(), "without any event"),
        (String::new(), "without any event"),
        ("data: not json\n\n".to_owned(), "not a completion chunk"),
        ("data: {\"choices\":7}\n\n".to_owned(), "not a completion chunk"),
        (format!("data: {half_call}\n\n"), "without a name"),
        (chunk("half an answer"), "ended before the answer was complete"),
        ("data: {\"error\":{\"message\":\"out of memory\",\"code\":400}}\n\n".to_owned(), "out of memory"),
        (format!("data: {}", "x".repeat(limits::MODEL_EVENT_BYTES)), "larger than 1048576 bytes"),
        (chunk(&"x".repeat(1000)).repeat(17_000), "larger than 16777216 bytes"),
    ] {
        let error = error_of(garbage(&body)).await.to_string();
        assert!(error.contains(expected), "{error}: not {expected}");
    }
    let error = error_of(Reply::HalfToolCall { name: "read".into() }).await;
    assert!(matches!(error, ModelError::Interrupted { .. }), "{error:?}");
}

#[tokio::test]
async fn servers_with_an_accent_are_understood() {
    let done = "data: [DONE]";
    let ollama = r#"data: {"choices":[{"delta":{"content":"","tool_calls":[{"id":"x","index":0,"function":{"name":"read","arguments":"{\"path\":\"a\"}"}}]}}]}

data: {"choices":[{"delta":{"tool_calls":[{"id":"y","index":0,"function":{"name":"read","arguments":{"path":"b"}}}]},"finish_reason":"stop"}]}

data: [DONE]

"#;
    let both = vec![call("x", "read", json!({"path": "a"})), call("y", "read", json!({"path": "b"}))];
    let nameless = r#"data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"read","arguments":"{\"path\":"}},{"function":{"arguments":"\"a\"}"}}]},"finish_reason":"tool_calls"}]}

"#;
    for (body, expected) in [
        (
            format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"hi\"}}}}]}}\n\n{done}"),
            vec![Part::text("hi")],
        ),
        (
            "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n"
                .to_owned(),
            vec![Part::text("hi")],
        ),
        (ollama.to_owned(), both),
        (": ping\n\ndata: {\"choices\":[],\"usage\":null}\n\ndata: [DONE]\n\n".to_owned(), Vec::new()),
    ] {
        let model = ScriptedModel::queue([garbage(&body)]);
        let (_home, conversation) = openai(&model).await;
        let answer = ask(&conversation, &prompt()).await.0.unwrap();
        assert_eq!(answer.content, expected, "{body}");
        assert!(answer.usage.input > 0, "an estimate where nothing is said: {:?}", answer.usage);
    }
    let model = ScriptedModel::queue([garbage(nameless)]);
    let (_home, conversation) = openai(&model).await;
    let answer = ask(&conversation, &prompt()).await.0.unwrap();
    let [Part::ToolCall { id, arguments, .. }] = answer.content.as_slice() else { panic!("{answer:?}") };
    assert_eq!((id.starts_with("call_"), arguments), (true, &json!({"path": "a"})));
}

#[tokio::test]
async fn what_a_provider_repeats_of_its_credentials_is_cut_out() {
    let repeated = format!(
        "data: {{\"error\":{{\"type\":\"invalid_request_error\",\"message\":\"bad key {KEY} with {HEADER}\"}}}}\n\n"
    );
    for reply in [Reply::status(400, &format!("bad key {KEY} with {HEADER}")), garbage(&repeated)] {
        let model = ScriptedModel::queue([reply]);
        let mut provider = scripted(&model.openai_url(), ProviderApi::OpenAiCompletions);
        provider.headers.insert("x-project".into(), HEADER.into());
        let (_home, conversation) = open(provider).await;
        let error = ask(&conversation, &prompt()).await.0.unwrap_err().to_string();
        assert!(error.contains("bad key *** with ***"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_cut_by_its_limit_says_so() {
    let model = ScriptedModel::queue([Reply::TextCut(vec!["long".into()])]);
    let (_home, conversation) = openai(&model).await;
    assert_eq!(ask(&conversation, &prompt()).await.0.unwrap().stop_reason, StopReason::Length);
}

#[tokio::test]
async fn an_abort_ends_every_wait_within_a_second_and_hangs_up() {
    let busy = Reply::Status { code: 503, body: String::new(), retry_after: Some(30) };
    for (reply, hangs_up) in [(Reply::Hang, true), (Reply::Stall(vec!["a ".into()]), true), (busy, false)] {
        let model = Arc::new(ScriptedModel::answering(move |_| reply.clone()));
        let (_home, conversation) = openai(&model).await;
        let abort = CancellationToken::new();
        let question = prompt();
        let mut watch = |_: ModelDelta| {};
        let asked = conversation.ask(&question, &mut watch, &abort);
        let aborted = async {
            let asked = Arc::clone(&model);
            tokio::task::spawn_blocking(move || asked.wait_for_requests(1)).await.unwrap();
            abort.cancel();
            Instant::now()
        };
        let (outcome, since) = tokio::join!(asked, aborted);
        assert!(matches!(outcome, Err(ModelError::Aborted)), "{outcome:?}");
        assert!(since.elapsed() < Duration::from_secs(1), "took {:?}", since.elapsed());
        if hangs_up {
            tokio::task::spawn_blocking(move || model.wait_for_hang_ups(1)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_turn_is_one_line_of_the_book_however_often_the_model_is_asked() {
    let model = ScriptedModel::echo();
    let (_home, ledger) = book();
    let provider = scripted(&model.openai_url(), ProviderApi::OpenAiCompletions);
    let models =
        Models::resolve(&config("acme", provider), ProviderKeys::default(), None, ledger.clone()).unwrap();
    let conversation = models.chosen(&AgentId::main()).unwrap().open("agent main").await.unwrap();
    let flushes = ledger.flushes();
    for _ in 0..3 {
        ask(&conversation, &prompt()).await.0.unwrap();
    }
    assert_eq!((model.requests().len(), ledger.flushes()), (3, flushes));
}

#[tokio::test]
async fn a_provider_whose_name_stands_for_this_machine_is_refused() {
    let mut config = Config::default();
    config.agents.defaults.model = Some(ModelChoice::One("acme/x".into()));
    let metadata =
        ProviderConfig { base_url: Some("http://169.254.169.254/v1".into()), ..ProviderConfig::default() };
    config.models.providers.insert("acme".into(), metadata);
    let (_home, ledger) = book();
    let models = Models::resolve(&config, ProviderKeys::default(), None, ledger).unwrap();
    let error = models.chosen(&AgentId::main()).unwrap().open("agent main").await.unwrap_err();
    assert!(matches!(error, ModelError::Refused(_)), "{error:?}");
}

#[test]
fn the_choice_is_the_configs_then_a_keys_then_a_server_found_here_then_none() {
    let keys = |anthropic: bool, openai: bool, openrouter: bool| {
        let given = [("anthropic", anthropic), ("openai", openai), ("openrouter", openrouter)];
        let mut keys = ProviderKeys::default();
        for (provider, _) in given.into_iter().filter(|(_, is_set)| *is_set) {
            keys.add(provider, KEY.into(), format!("{}_API_KEY", provider.to_uppercase()));
        }
        keys
    };
    let found = || {
        Some(Discovered {
            server: "Ollama",
            base_url: "http://127.0.0.1:11434/v1".into(),
            model: "qwen2.5:0.5b".into(),
        })
    };
    let own = config("acme", scripted("http://127.0.0.1:1/v1", ProviderApi::OpenAiCompletions));
    let mut named = own.clone();
    named.agents.defaults.model = Some(ModelChoice::One("openai/gpt-x".into()));
    let mut replaced = Config::default();
    replaced.models.mode = ModelsMode::Replace;
    let none = Config::default();
    for (config, keys, found, expected) in [
        (&named, keys(true, true, true), found(), "openai/gpt-x (key from OPENAI_API_KEY)"),
        (
            &named,
            keys(true, false, true),
            found(),
            "the model openai/gpt-x needs a key: set OPENAI_API_KEY or models.providers.openai.apiKey, then restart moltbot",
        ),
        (&own, keys(true, true, true), found(), "acme/scripted (at http://127.0.0.1:1, from the config)"),
        (&none, keys(true, true, true), found(), "anthropic/claude-opus-4-5 (key from ANTHROPIC_API_KEY)"),
        (&none, keys(false, true, true), found(), "openai/gpt-5.2 (key from OPENAI_API_KEY)"),
        (&none, keys(false, false, true), found(), "openrouter/auto (key from OPENROUTER_API_KEY)"),
        (
            &none,
            keys(false, false, false),
            found(),
            "local/qwen2.5:0.5b (Ollama found on this machine at http://127.0.0.1:11434/v1)",
        ),
        (
            &none,
            keys(false, false, false),
            None,
            "no model is set up: set ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY or OPENROUTER_API_KEY, start a model server such as Ollama on this machine, or fetch a small model with `moltbot models pull`, then restart moltbot",
        ),
        (
            &replaced,
            keys(true, true, true),
            None,
            "no model is set up: set ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY or OPENROUTER_API_KEY, start a model server such as Ollama on this machine, or fetch a small model with `moltbot models pull`, then restart moltbot",
        ),
    ] {
        let models = resolve(config, keys, found);
        assert_eq!(models.describe_choice(), expected);
        assert_eq!(models.chosen(&AgentId::main()).is_ok(), expected.ends_with(')'), "{expected}");
    }
}

#[test]
fn a_reference_names_a_model_or_says_what_is_missing() {
    let mut config = config("acme", scripted("http://127.0.0.1:1/v1/", ProviderApi::OpenAiCompletions));
    config.models.providers.insert("bare".into(), ProviderConfig::default());
    let mut keys = ProviderKeys::default();
    keys.add("openrouter", KEY.into(), "OPENROUTER_API_KEY");
    let models = resolve(&config, keys, None);
    for (reference, expected) in [
        ("acme/scripted", "acme scripted"),
        ("acme/unlisted", "acme unlisted"),
        ("openrouter/auto", "openrouter auto"),
        ("openrouter/meta/llama", "openrouter meta/llama"),
        (
            "opus",
            "the model opus needs a key: set ANTHROPIC_API_KEY or models.providers.anthropic.apiKey, then restart moltbot",
        ),
        (
            "scripted",
            "\"scripted\" does not name a model: write provider/model, such as anthropic/claude-opus-4-5",
        ),
        (
            "bare/x",
            "the model bare/x cannot be asked: models.providers.bare has no baseUrl; add it to the config",
        ),
        (
            "nobody/x",
            "the model nobody/x is of the unknown provider \"nobody\": add models.providers.nobody with its baseUrl, or choose another model",
        ),
    ] {
        let found = models.named(reference);
        let found =
            found.map_or_else(|error| error.to_string(), |it| format!("{} {}", it.provider(), it.id()));
        assert_eq!(found, expected, "{reference}");
    }
    let listed: Vec<String> =
        models.list().into_iter().map(|model| format!("{}/{}", model.provider, model.id)).collect();
    assert_eq!(listed, ["acme/scripted", "openrouter/auto"]);
}

#[test]
fn a_base_url_that_makes_no_sense_is_an_error_at_the_start() {
    for url in ["", "localhost:8080", "ftp://host/v1", "http://user:pw@host/v1", "data:x"] {
        let config = config("acme", scripted(url, ProviderApi::OpenAiCompletions));
        let (_home, ledger) = book();
        let error = Models::resolve(&config, ProviderKeys::default(), None, ledger).unwrap_err();
        assert!(error.to_string().starts_with("models.providers.acme.baseUrl is "), "{url}: {error}");
    }
}
