//! Models through the real binary: failover, what it costs, and the commands that choose.

use std::fs;

use moltbot_testkit::home::{Home, PROVIDER_KEY};
use moltbot_testkit::model::{MODEL, Reply, ScriptedModel};
use moltbot_testkit::process::{Gateway, run};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_moltbot");

fn moltbot(home: &Home, arguments: &[&str]) -> (i32, String, String) {
    let ran = run(PROGRAM, home, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (ran.status.code().unwrap(), text(&ran.stdout), text(&ran.stderr))
}

fn shown(home: &Home, arguments: &[&str]) -> Value {
    let (code, out, err) = moltbot(home, arguments);
    assert_eq!(code, 0, "{arguments:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

fn said(home: &Home, message: &str) -> Value {
    shown(home, &["agent", "--message", message, "--json"])
}

/// A second provider, which stands in for the first.
fn with_fallback(home: &Home, second: &ScriptedModel) {
    let provider = json!({
        "baseUrl": second.openai_url(), "apiKey": "sk-second-8Zr3VtLx0NwYbE5mKc7Hd",
        "models": [{"id": MODEL, "cost": {"input": 1, "output": 2}}],
    });
    home.change_config(|config| {
        config["models"]["providers"]["spare"] = provider;
        config["agents"]["defaults"]["model"] =
            json!({"primary": format!("scripted/{MODEL}"), "fallbacks": [format!("spare/{MODEL}")]});
    });
}

/// Everything in the logs and the book of a home.
#[expect(clippy::disallowed_methods, reason = "a test reads what was written")]
fn written(home: &Home) -> String {
    let mut all = String::new();
    for folder in ["logs", "ledger"] {
        for file in fs::read_dir(home.state_path().join(folder)).into_iter().flatten().flatten() {
            all.push_str(&String::from_utf8_lossy(&fs::read(file.path()).unwrap_or_default()));
        }
    }
    all
}

#[test]
fn a_turn_with_tools_goes_on_with_the_next_model_and_runs_no_tool_twice() {
    // The first calls a tool and then breaks; the second goes on where it was.
    let first = ScriptedModel::queue([Reply::tool("read", &json!({"path": "AGENTS.md"}))]);
    for _ in 0..8 {
        first.push(Reply::status(503, &format!("down, said to {PROVIDER_KEY}")));
    }
    let second = ScriptedModel::answering(|_| Reply::text("done by the second"));
    let home = Home::with_model(&first);
    with_fallback(&home, &second);
    let gateway = Gateway::start(PROGRAM, &home);
    let answer = said(&home, "look");
    assert_eq!(
        (&answer["text"], answer["toolCalls"].as_array().unwrap().len()),
        (&json!("done by the second"), 1)
    );
    let asked = second.requests();
    assert_eq!((asked.len(), asked[0].tool_results().len()), (1, 1), "it has the result of the one call");

    let tested = shown(&home, &["models", "test", "--json"]);
    assert_eq!((&tested["provider"], &tested["tried"]), (&json!("spare"), &json!([])), "who failed rests");
    let resting = shown(&home, &["gateway", "call", "usage.status"]);
    let scripted =
        resting["providers"].as_array().unwrap().iter().find(|it| it["provider"] == "scripted").unwrap();
    assert!(scripted["restsForSeconds"].as_u64().unwrap() > 0, "{resting}");
    drop(gateway);
    let written = written(&home);
    assert!(written.contains("a model did not answer"), "the log tells what was tried");
    assert!(!written.contains(PROVIDER_KEY) && !written.contains("sk-second"), "and no key");
}

#[test]
fn what_was_used_is_told_by_day_session_sender_and_run_and_costs_what_the_provider_counted() {
    let model = ScriptedModel::answering(|_| Reply::text("yes"));
    let home = Home::with_model(&model);
    home.change_config(|config| {
        let provider = config["models"]["providers"].as_object_mut().unwrap().values_mut().next().unwrap();
        provider["models"][0]["cost"] = json!({"input": 3, "output": 15});
    });
    let _gateway = Gateway::start(PROGRAM, &home);
    said(&home, "one");
    said(&home, "two");
    // 12 tokens read at 3 dollars and 5 written at 15 dollars a million, twice.
    let totals =
        |answer: &Value| (answer["totals"]["totalCost"].clone(), answer["totals"]["totalTokens"].clone());
    for (by, list, name, expected) in [
        ("session", "sessions", "key", json!("agent:main:main")),
        ("sender", "senders", "who", json!("owner")),
    ] {
        let answer = shown(&home, &["usage", "--by", by, "--json"]);
        assert_eq!(totals(&answer), (json!(0.000_222), json!(34)), "{answer}");
        assert_eq!(answer["daily"].as_array().unwrap().len(), 1);
        let row = answer[list].as_array().unwrap().iter().find(|row| row[name] == expected);
        let row = row.unwrap_or_else(|| panic!("{expected} in {answer}"));
        assert_eq!((&row["totalCost"], &row["turns"]), (&json!(0.000_222), &json!(2)), "{by}");
    }
    let runs = shown(&home, &["usage", "--by", "run", "--json"]);
    let runs: Vec<&Value> = runs["runs"].as_array().unwrap().iter().collect();
    assert_eq!(runs.len(), 2);
    assert!(
        runs.iter()
            .all(|run| run["totalCost"] == json!(0.000_111) && run["input"] == 12 && run["output"] == 5)
    );
    let (code, out, _) = moltbot(&home, &["usage", "--days", "1"]);
    assert_eq!(code, 0);
    assert!(
        out.ends_with("1 days: 2 turns, 34 tokens (24 read, 0 from a cache, 10 written), $0.000222\n"),
        "{out}"
    );
    assert_eq!(moltbot(&home, &["usage", "--days", "0"]).0, 2);
}

#[test]
fn the_commands_choose_models_and_keep_the_rest_of_the_config() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    let config = home.config_text().unwrap();
    home.write_config_text(&config.replacen('{', "{ // the owner's words\n", 1));
    let run = |arguments: &[&str]| {
        let (code, out, err) = moltbot(&home, arguments);
        (code, [out, err].concat())
    };
    for (arguments, code, expected) in [
        (&["models", "aliases", "add", "fast", "spare/quick"][..], 0, "fast is spare/quick"),
        (&["models", "aliases", "add", "fa st", "spare/quick"], 2, "letters, digits"),
        (&["models", "aliases", "list"], 0, "fast: spare/quick"),
        (&["models", "fallbacks", "add", "fast"], 0, "tried after the first: spare/quick"),
        (&["models", "fallbacks", "add", "opus"], 0, "spare/quick, anthropic/claude-opus-4-5"),
        (
            &["models", "fallbacks", "remove", "spare/quick"],
            0,
            "tried after the first: anthropic/claude-opus-4-5",
        ),
        (&["models", "fallbacks", "remove", "spare/quick"], 1, "is no fallback"),
        (&["models", "set", "nothing"], 2, "names no model"),
        (&["models", "set", "scripted/scripted"], 0, "scripted/scripted answers from the next start"),
        (&["models", "status"], 0, "tried after it: anthropic/claude-opus-4-5"),
        (&["models", "fallbacks", "clear"], 0, "tried after the first: none"),
        (&["models", "aliases", "remove", "fast"], 0, "fast is no short name any more"),
        (&["models", "aliases", "remove", "fast"], 1, "no short name fast"),
        (&["config", "validate"], 0, "is valid"),
    ] {
        let (found, text) = run(arguments);
        assert_eq!(found, code, "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    let text = home.config_text().unwrap();
    assert!(text.contains("// the owner's words"), "{text}");
}

#[test]
fn a_scan_says_what_providers_have_and_a_session_chooses_only_what_is_listed() {
    let model = ScriptedModel::echo();
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["models"]["providers"]["gone"] =
            json!({"baseUrl": "http://127.0.0.1:9/v1", "apiKey": PROVIDER_KEY, "models": [{"id": "x"}]});
        config["agents"]["defaults"]["model"] = json!(format!("scripted/{MODEL}"));
        config["agents"]["defaults"]["models"] = json!({"scripted/other": {"alias": "other"}});
    });
    let _gateway = Gateway::start(PROGRAM, &home);
    let scanned = shown(&home, &["models", "scan", "--json"]);
    assert_eq!(scanned["models"], json!([{"provider": "scripted", "id": MODEL, "known": true}]));
    assert_eq!(scanned["failed"][0]["kind"], json!("unreachable"), "{scanned}");
    let (code, _, err) = moltbot(&home, &["models", "scan", "nobody"]);
    assert_ne!(code, 0);
    assert!(err.contains("unknown provider"), "{err}");

    let choose = |model: &str| {
        let params = json!({"key": "main", "model": model}).to_string();
        moltbot(&home, &["gateway", "call", "sessions.patch", &params])
    };
    assert_eq!(choose("other").0, 0);
    assert_eq!(choose(&format!("scripted/{MODEL}")).0, 0, "what the config names is always allowed");
    let (code, _, err) = choose("gone/x");
    assert_ne!(code, 0);
    assert!(err.contains("may not be chosen"), "{err}");
}

/// The smallest picture there is.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

#[test]
fn a_picture_is_shown_to_a_model_that_sees_and_what_is_none_is_refused() {
    let model = ScriptedModel::answering(|_| Reply::text("a dot"));
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["models"]["providers"]["scripted"]["models"][0]["input"] = json!(["text", "image"]);
    });
    let mut gateway = Gateway::start(PROGRAM, &home);
    let send = |key: &str, content: &str| {
        let picture =
            json!({"type": "image", "mimeType": "text/plain", "fileName": "../x.exe", "content": content});
        let params = json!({"sessionKey": "main", "message": "what is it?", "idempotencyKey": key, "attachments": [picture]});
        moltbot(&home, &["gateway", "call", "chat.send", &params.to_string()])
    };
    assert_eq!(send("one", PNG).0, 0);
    let request = model.wait_for_requests(1).pop().unwrap();
    let shown = |request: &moltbot_testkit::model::ModelRequest| {
        let messages = request.messages();
        let parts = messages.iter().filter_map(|message| message["content"].as_array()).flatten();
        parts.filter_map(|part| part["image_url"]["url"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(shown(&request), [format!("data:image/png;base64,{PNG}")], "of the type that its bytes say");
    assert!(
        request
            .last_user_text()
            .starts_with("what is it?\n\n[Attached: a picture. It is the file received/webchat-")
    );
    for nothing in ["PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+", "TVqQAAMAAAAEAAAA"] {
        let (code, _, err) = send("two", nothing);
        assert_ne!(code, 0);
        assert!(err.contains("is no picture"), "{err}");
    }
    // It is there for the next turn, also after a kill; a model that does not see is told where it is and no more.
    gateway.kill9();
    gateway.restart(&home);
    said(&home, "and its colour?");
    assert_eq!(shown(model.requests().last().unwrap()).len(), 1);
    drop(gateway);
    home.change_config(|config| {
        config["models"]["providers"]["scripted"]["models"][0]["input"] = json!(["text"]);
    });
    let _gateway = Gateway::start(PROGRAM, &home);
    said(&home, "still there?");
    let last = model.requests().pop().unwrap();
    assert!(shown(&last).is_empty() && !last.body.to_string().contains(PNG));
    assert!(last.body.to_string().contains("received/webchat-"));
}

#[test]
fn how_much_to_think_is_told_to_a_model_that_can_be_told() {
    let model = ScriptedModel::answering(|_| Reply::text("yes"));
    let home = Home::with_model(&model);
    home.change_config(|config| {
        config["models"]["providers"]["scripted"]["models"][0]["reasoning"] = json!(true);
        config["agents"]["defaults"]["thinkingDefault"] = json!("low");
    });
    let _gateway = Gateway::start(PROGRAM, &home);
    said(&home, "one");
    assert_eq!(model.requests()[0].body["reasoning_effort"], json!("low"));
}
